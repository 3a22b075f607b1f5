//! Reads a package's nuspec: what it says of itself. The XML namespace is ignored, because every published schema has
//! its own and the elements are the same.

use contract::{PackageId, Version};
use serde::Deserialize;

use crate::error::PackageError;

/// What a package says of itself. Texts that are empty or blank are `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nuspec {
    /// As it was written; ids are equal without regard to case.
    pub id: PackageId,
    /// In normal form.
    pub version: Version,
    /// For people, instead of the id.
    pub title: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// Who made it, separated by commas.
    pub authors: Option<String>,
    /// A short description.
    pub summary: Option<String>,
    /// What is new in this version.
    pub release_notes: Option<String>,
}

/// A package that a package needs, as its nuspec says it. Nothing here looks for it: feeds hand it on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependency {
    /// The other package's id; `None` where a framework is named for which nothing is needed.
    pub id: Option<String>,
    /// The versions that will do, in NuGet's notation; `None` is any.
    pub versions: Option<String>,
    /// For which framework; `None` is for all.
    pub framework: Option<String>,
}

#[derive(Deserialize)]
struct NeedsDocument {
    metadata: NeedsMetadata,
}

#[derive(Deserialize)]
struct NeedsMetadata {
    #[serde(default)]
    dependencies: NeedsList,
}

#[derive(Default, Deserialize)]
struct NeedsList {
    #[serde(default)]
    group: Vec<NeedsGroup>,
    #[serde(default)]
    dependency: Vec<Need>,
}

#[derive(Deserialize)]
struct NeedsGroup {
    #[serde(rename = "@targetFramework")]
    framework: Option<String>,
    #[serde(default)]
    dependency: Vec<Need>,
}

#[derive(Deserialize)]
struct Need {
    #[serde(rename = "@id")]
    id: String,
    #[serde(rename = "@version")]
    version: Option<String>,
}

/// The packages that a package needs, by the text of its nuspec. A nuspec that names them in no published way needs none.
pub fn dependencies(xml: &str) -> Vec<Dependency> {
    let xml = xml.strip_prefix('\u{feff}').unwrap_or(xml);
    let Ok(document) = quick_xml::de::from_str::<NeedsDocument>(xml) else { return Vec::new() };
    let NeedsList { group, dependency } = document.metadata.dependencies;
    let one = |need: Need, framework: Option<&String>| Dependency {
        id: Some(need.id.trim().to_owned()),
        versions: said(need.version),
        framework: framework.cloned(),
    };
    let of_group = |group: NeedsGroup| {
        let framework = said(group.framework);
        if group.dependency.is_empty() {
            vec![Dependency { id: None, versions: None, framework }]
        } else {
            group.dependency.into_iter().map(|need| one(need, framework.as_ref())).collect()
        }
    };
    let bare: Vec<_> = dependency.into_iter().map(|need| one(need, None)).collect();
    bare.into_iter().chain(group.into_iter().flat_map(of_group)).collect()
}

#[derive(Deserialize)]
struct Document {
    metadata: Metadata,
}

/// The elements that are read; all others are skipped.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    id: String,
    version: String,
    title: Option<String>,
    description: Option<String>,
    authors: Option<String>,
    summary: Option<String>,
    release_notes: Option<String>,
}

impl Nuspec {
    /// Reads the XML of a nuspec, with or without a byte order mark. `entry` is its name, for the error.
    pub(crate) fn read(entry: &str, xml: &str) -> Result<Self, PackageError> {
        let xml = xml.strip_prefix('\u{feff}').unwrap_or(xml);
        let refuse = |error: quick_xml::DeError| PackageError::Nuspec { entry: entry.into(), why: error.to_string() };
        let metadata = quick_xml::de::from_str::<Document>(xml).map_err(refuse)?.metadata;
        Ok(Self {
            id: metadata.id.trim().parse().map_err(PackageError::Id)?,
            version: metadata.version.trim().parse().map_err(PackageError::Version)?,
            title: said(metadata.title),
            description: said(metadata.description),
            authors: said(metadata.authors),
            summary: said(metadata.summary),
            release_notes: said(metadata.release_notes),
        })
    }
}

fn said(text: Option<String>) -> Option<String> {
    text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(xml: &str) -> Result<Nuspec, PackageError> {
        Nuspec::read("a.nuspec", xml)
    }

    #[test]
    fn every_published_schema_is_read_and_so_is_none() {
        let months = ["2010/07", "2011/08", "2011/10", "2012/06", "2013/01", "2013/05"];
        let schema = |month| format!(r#" xmlns="http://schemas.microsoft.com/packaging/{month}/nuspec.xsd""#);
        for namespace in months.map(schema).into_iter().chain([String::new()]) {
            let nuspec = read(&format!(
                "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<package{namespace}>\n  \
                 <metadata minClientVersion=\"2.8\">\n    <id>Acme.Web</id>\n    <version> 1.01-RC </version>\n    \
                 <title/>\n    <authors>Ann &amp; Bob</authors>\n    <requireLicenseAcceptance>false\
                 </requireLicenseAcceptance>\n    <description><![CDATA[a < b]]></description>\n    \
                 <releaseNotes>one\ntwo</releaseNotes>\n    <dependencies><group targetFramework=\"net45\">\
                 <dependency id=\"X\" version=\"1.0\"/></group></dependencies>\n  </metadata>\n  \
                 <files><file src=\"a\" target=\"b\"/></files>\n</package>\n"
            ))
            .unwrap();
            assert_eq!(nuspec.id.as_str(), "Acme.Web");
            assert_eq!(nuspec.version.to_string(), "1.1.0-RC");
            assert_eq!(nuspec.title, None);
            assert_eq!(nuspec.authors.as_deref(), Some("Ann & Bob"));
            assert_eq!(nuspec.description.as_deref(), Some("a < b"));
            assert_eq!(nuspec.release_notes.as_deref(), Some("one\ntwo"));
        }
    }

    #[test]
    fn what_a_package_needs_is_read_in_both_notations() {
        let with = |inner: &str| {
            format!(
                "<package><metadata><id>a</id><version>1</version><dependencies>{inner}</dependencies></metadata></package>"
            )
        };
        let need = |id: &str, versions: Option<&str>, framework: Option<&str>| Dependency {
            id: (!id.is_empty()).then(|| id.to_owned()),
            versions: versions.map(str::to_owned),
            framework: framework.map(str::to_owned),
        };
        let bare = with(r#"<dependency id="B" version="[1.0,2.0)"/><dependency id="C"/>"#);
        assert_eq!(dependencies(&bare), [need("B", Some("[1.0,2.0)"), None), need("C", None, None)]);
        let groups = with(
            r#"<group targetFramework="net45"><dependency id="B" version="1.0"/></group><group targetFramework="net6.0"/>"#,
        );
        assert_eq!(dependencies(&groups), [need("B", Some("1.0"), Some("net45")), need("", None, Some("net6.0"))]);
        for none in ["<package><metadata><id>a</id></metadata></package>", "no xml", &with("<dependency/>")] {
            assert_eq!(dependencies(none), [], "{none}");
        }
    }

    #[test]
    fn a_prefixed_namespace_is_read_too() {
        let nuspec = read(
            "<n:package xmlns:n=\"urn:x\"><n:metadata><n:id>a</n:id><n:version>1</n:version></n:metadata></n:package>",
        );
        assert_eq!(nuspec.unwrap().version.to_string(), "1.0.0");
    }

    #[test]
    fn what_is_not_a_nuspec_is_refused() {
        let with = |inner: &str| format!("<package><metadata>{inner}</metadata></package>");
        for xml in [
            "",
            "no xml",
            "<package>",
            "<package/>",
            &with("<id>a</id>"),
            &with("<version>1.0</version>"),
            &with("<id>a</id><id>b</id><version>1</version>"),
            &with("<id>../a</id><version>1.0</version>"),
            &with("<id>a</id><version>$version$</version>"),
            &with(&format!("<id>{}</id><version>1.0</version>", "a".repeat(101))),
            "<!DOCTYPE p [<!ENTITY e SYSTEM \"file:///etc/passwd\">]><package><metadata><id>a</id>\
             <version>1.0</version><title>&e;</title></metadata></package>",
        ] {
            assert!(read(xml).is_err(), "{xml}");
        }
        let deep = with(&("<a>".repeat(500_000) + "<id>a</id><version>1</version>"));
        assert!(read(&deep).is_err(), "and no depth overflows the stack");
    }
}
