//! Of the second version of NuGet's protocol what its clients need to list and install: the feed's own description,
//! packages by id, one package, a search, and the file. The rest of OData is answered with 501.

use askama::Template;
use axum::Router;
use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use package::Dependency;

use super::publish::pushing;
use super::{Asked, Base, NugetError, TAKE_MAX, matching, newest, said};
use crate::api::packages::file_of;
use crate::app::App;
use crate::clock::Timestamp;
use crate::error::ApiError;
use crate::model::Package;

/// Filters that NuGet's clients send, each of which asks for the newest versions only.
const NEWEST: [&str; 2] = ["IsLatestVersion", "IsAbsoluteLatestVersion"];

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/", get(feed).merge(pushing()))
        .route("/packages", get(service).merge(pushing()))
        .route("/{resource}", get(resource))
        .route("/package/{id}/{version}", get(file))
}

#[derive(Template)]
#[template(path = "nuget/service.xml")]
struct Service<'a> {
    base: &'a str,
}

#[derive(Template)]
#[template(path = "nuget/metadata.xml")]
struct Metadata;

#[derive(Template)]
#[template(path = "nuget/feed.xml")]
struct Feed<'a> {
    base: &'a str,
    title: &'a str,
    updated: String,
    entries: Vec<Entry>,
    /// Where the next page stands.
    next: Option<String>,
}

#[derive(Template)]
#[template(path = "nuget/entry.xml")]
struct One<'a> {
    base: &'a str,
    entry: Entry,
}

/// A version of a package as the feed shows it.
#[derive(Debug)]
struct Entry {
    id: String,
    version: String,
    title: String,
    summary: String,
    description: String,
    authors: String,
    release_notes: String,
    dependencies: String,
    published: String,
    size: u64,
    /// SHA-256, base64.
    hash: String,
    is_prerelease: bool,
    /// Whether it is the newest that is finished.
    is_latest: bool,
    /// Whether it is the newest of all.
    is_absolute_latest: bool,
}

fn xml(template: &impl Template, kind: &'static str) -> Result<Response, NugetError> {
    let text = template.render().map_err(|error| ApiError::internal("write the feed", &error))?;
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}

const ATOM: &str = "application/atom+xml; charset=utf-8";
const XML: &str = "application/xml; charset=utf-8";

/// Asks for the key: the client sends what it was configured with to all that follows only where this was refused.
async fn feed(asked: Asked) -> Result<Response, NugetError> {
    xml(&Service { base: &asked.base }, XML)
}

/// For anybody: a client that pushes looks here first, without its key, and gives up where that is refused.
async fn service(Base(base): Base) -> Result<Response, NugetError> {
    xml(&Service { base: &base }, XML)
}

/// `$metadata`, `Packages()`, `Packages(Id='a',Version='1.0')`, `FindPackagesById()` or `Search()`.
async fn resource(asked: Asked, Path(path): Path<Vec<(String, String)>>) -> Result<Response, NugetError> {
    let name = path.iter().find(|(key, _)| key == "resource").map_or("", |(_, value)| value);
    let (name, arguments) = name.strip_suffix(')').and_then(|name| name.split_once('(')).unwrap_or((name, ""));
    match (name, arguments) {
        ("$metadata", "") => xml(&Metadata, XML),
        ("Packages", "") | ("Search", "") => {
            let text = quoted(asked.query.text("searchTerm").unwrap_or_default());
            let packages = matching(asked.packages().await?, &text);
            list(&asked, name, packages).await
        }
        ("Packages", arguments) => {
            let (id, version) = (argument(arguments, "Id"), argument(arguments, "Version"));
            let package = asked.version(&id, &version).await?;
            let entry = entries(&asked, &[package]).await?.pop();
            let entry = entry.ok_or_else(|| ApiError::not_found(format!("The package {id} {version}")))?;
            xml(&One { base: &asked.base, entry }, ATOM)
        }
        ("FindPackagesById", "") => {
            let id = quoted(asked.query.text("id").unwrap_or_default());
            // A client that asks for a package that is not there wants an empty list.
            let packages = asked.versions(&id).await;
            let packages = packages
                .or_else(|error| if error.status == StatusCode::NOT_FOUND { Ok(Vec::new()) } else { Err(error) })?;
            list(&asked, name, packages).await
        }
        _ => {
            let message = format!("This feed has no {name} in the second version of NuGet's protocol.");
            Err(ApiError::new(StatusCode::NOT_FOUND, message).into())
        }
    }
}

async fn file(asked: Asked, Path(path): Path<Vec<(String, String)>>) -> Result<Response, NugetError> {
    let part = |name: &str| path.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value);
    let package = asked.version(part("id"), part("version")).await?;
    Ok(file_of(&asked.app, &package).await?)
}

/// A page of what is left when the filters that are known were applied. By id, oldest version first.
async fn list(asked: &Asked, name: &str, mut packages: Vec<Package>) -> Result<Response, NugetError> {
    let filter = asked.query.text("$filter").unwrap_or_default();
    let latest = NEWEST.into_iter().find(|known| filter == *known || filter == format!("{known} eq true"));
    if latest.is_none() && !filter.is_empty() {
        let message = format!("This feed knows the filters {} and {}, and not {filter}.", NEWEST[0], NEWEST[1]);
        return Err(ApiError::new(StatusCode::NOT_IMPLEMENTED, message).into());
    }
    let unfinished = asked.query.flag("includePrerelease")?.unwrap_or(name != "Search");
    if latest == Some(NEWEST[0]) || !unfinished {
        packages.retain(|package| !package.package.version.is_prerelease());
    }
    let mut packages = if latest.is_some() { newest(&packages) } else { packages };
    packages.sort_by(|a, b| {
        let (a, b) = (&a.package, &b.package);
        a.package_id.key().cmp(&b.package_id.key()).then_with(|| a.version.cmp(&b.version))
    });
    let (skip, take) = asked.part("$skip", "$top")?;
    let number = asked.query.number::<usize>("$top")?.unwrap_or(usize::MAX);
    let page: Vec<Package> = packages.iter().skip(skip).take(take).cloned().collect();
    // More than a page holds was asked for, and there is more.
    let next = (number > TAKE_MAX && packages.len() > skip + page.len()).then(|| {
        let kept = ["searchTerm", "id", "includePrerelease", "$filter"];
        let kept = kept.iter().filter_map(|name| Some(format!("&{name}={}", encoded(asked.query.text(name)?))));
        format!("{}/{name}()?$skip={}{}", asked.base, skip + page.len(), kept.collect::<String>())
    });
    let entries = entries(asked, &page).await?;
    let updated = asked.app.now().rfc3339();
    xml(&Feed { base: &asked.base, title: name, updated, entries, next }, ATOM)
}

async fn entries(asked: &Asked, page: &[Package]) -> Result<Vec<Entry>, ApiError> {
    let all = asked.packages().await?;
    let finished: Vec<Package> =
        all.iter().filter(|package| !package.package.version.is_prerelease()).cloned().collect();
    let (absolute, latest) = (newest(&all), newest(&finished));
    let is_in = |list: &[Package], package: &Package| list.iter().any(|other| other.id == package.id);
    let entry = |(package, said): (&Package, super::Said)| {
        let new = package.package.clone();
        Entry {
            is_latest: is_in(&latest, package),
            is_absolute_latest: is_in(&absolute, package),
            is_prerelease: new.version.is_prerelease(),
            id: new.package_id.to_string(),
            version: new.version.to_string(),
            title: if new.title.is_empty() { new.package_id.to_string() } else { new.title },
            summary: new.summary,
            description: new.description,
            authors: said.authors,
            release_notes: new.release_notes,
            dependencies: needs(&said.dependencies),
            published: moment(package.uploaded_at),
            size: new.size,
            hash: base64::Engine::encode(&base64::engine::general_purpose::STANDARD, new.sha256.0),
        }
    };
    Ok(page.iter().zip(said(&asked.app, page).await).map(entry).collect())
}

/// As OData writes moments: in UTC, and without saying so.
fn moment(at: Timestamp) -> String {
    at.rfc3339().trim_end_matches("+00:00").to_owned()
}

/// `id:versions:framework`, joined by `|`.
fn needs(dependencies: &[Dependency]) -> String {
    let text = |part: &Option<String>| part.clone().unwrap_or_default();
    let one = |need: &Dependency| format!("{}:{}:{}", text(&need.id), text(&need.versions), text(&need.framework));
    dependencies.iter().map(one).collect::<Vec<_>>().join("|")
}

/// What stands between the quotes of an OData text; two quotes within it are one.
fn quoted(text: &str) -> String {
    let inner = text.strip_prefix('\'').and_then(|text| text.strip_suffix('\'')).unwrap_or(text);
    inner.replace("''", "'")
}

/// The argument of that name: `Id='a',Version='1.0'`.
fn argument(arguments: &str, name: &str) -> String {
    let found =
        arguments.split(',').filter_map(|argument| argument.split_once('=')).find(|(key, _)| key.trim() == name);
    found.map(|(_, value)| quoted(value.trim())).unwrap_or_default()
}

/// A text for the query of an address.
fn encoded(text: &str) -> String {
    let keep = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~'".contains(&byte);
    text.bytes().map(|byte| if keep(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_and_quotes_are_read() {
        let arguments = "Id='Acme.Web',Version='1.0.0'";
        assert_eq!(
            (argument(arguments, "Id").as_str(), argument(arguments, "Version").as_str()),
            ("Acme.Web", "1.0.0")
        );
        assert_eq!(quoted("'it''s'"), "it's");
        assert_eq!(quoted("bare"), "bare");
        assert_eq!(encoded("'a b&c'"), "'a%20b%26c'");
    }

    #[test]
    fn a_moment_has_no_zone_and_the_feed_can_add_it() {
        assert_eq!(moment(Timestamp(0)), "1970-01-01T00:00:00.000");
        assert!(Timestamp::from_rfc3339(&format!("{}Z", moment(Timestamp(0)))) == Some(Timestamp(0)));
    }

    #[test]
    fn needs_are_written_as_clients_read_them() {
        let need = |id: Option<&str>, versions: Option<&str>, framework: Option<&str>| Dependency {
            id: id.map(str::to_owned),
            versions: versions.map(str::to_owned),
            framework: framework.map(str::to_owned),
        };
        let all = [
            need(Some("B"), Some("[1.0,2.0)"), None),
            need(Some("C"), None, Some("net45")),
            need(None, None, Some("net6.0")),
        ];
        assert_eq!(needs(&all), "B:[1.0,2.0):|C::net45|::net6.0");
        assert_eq!(needs(&[]), "");
    }
}
