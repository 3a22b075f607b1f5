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
