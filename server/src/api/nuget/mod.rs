//! The built-in feed as NuGet's own clients speak to it: the third version of the protocol, and of the second what is
//! needed to push, delete, list and install. Mounted at `/nuget` and, for a named space, at `/api/{space}/nuget`.
//!
//! A client that reads shows its API key in a header, or as the password of basic authentication: that is what NuGet's
//! configuration files have room for.

mod publish;
mod v2;
mod v3;

use axum::Router;
use axum::extract::{FromRequestParts, OriginalUri};
use axum::http::header;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use contract::PackageId;
use hyper::ext::ReasonPhrase;
use package::{Dependency, Limits, PackageFile};

use super::bind::{Query, Space};
use crate::app::App;
use crate::auth::ApiUser;
use crate::db::packages::package_list;
use crate::error::ApiError;
use crate::ids::SpaceId;
use crate::model::Package;

/// The part of an address below which everything here stands.
const MOUNT: &str = "nuget";

/// Most packages that one answer of a search or a list holds; a client that wants more asks for the next page.
const TAKE_MAX: usize = 100;

/// The feed, to be nested at [`MOUNT`].
pub fn router() -> Router<App> {
    Router::new().merge(v3::routes()).merge(v2::routes()).merge(publish::routes())
}

/// An error as NuGet's clients show it: most print nothing but the line of the status, so the sentence stands there too.
#[derive(Debug)]
struct NugetError(ApiError);

impl<E: Into<ApiError>> From<E> for NugetError {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for NugetError {
    fn into_response(self) -> Response {
        let ApiError { message, errors, .. } = &self.0;
        let said = errors.first().map_or_else(|| message.clone(), |first| format!("{message} {first}"));
        let reason = ReasonPhrase::try_from(said.replace(|c: char| !(' '..='~').contains(&c), "?").into_bytes());
        let mut response = self.0.into_response();
        if let Ok(reason) = reason {
            response.extensions_mut().insert(reason);
        }
        response
    }
}

/// Where the feed stands, as this client reaches it. For anybody.
struct Base(String);

impl FromRequestParts<App> for Base {
    type Rejection = NugetError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, NugetError> {
        Space::from_request_parts(parts, app).await?;
        Ok(Self(base(parts, app)?))
    }
}

/// What every request has that is not for anybody: somebody who may ask, the space, where the feed stands, and what is asked for.
struct Asked {
    app: App,
    space: SpaceId,
    /// Where the feed stands, as this client reaches it: `https://portal:8443/nuget`.
    base: String,
    query: Query,
}

impl FromRequestParts<App> for Asked {
    type Rejection = NugetError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, NugetError> {
        ApiUser::from_request_parts(parts, app).await?;
        let Space(space) = Space::from_request_parts(parts, app).await?;
        let query = Query::from_request_parts(parts, app).await?;
        Ok(Self { app: app.clone(), space, base: base(parts, app)?, query })
    }
}

/// Addresses in the answers are those by which the client came.
fn base(parts: &Parts, app: &App) -> Result<String, ApiError> {
    let scheme = if app.access.is_secure() { "https" } else { "http" };
    let named = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = named.or_else(|| parts.uri.authority().map(|authority| authority.as_str()));
    let host = host.ok_or_else(|| ApiError::bad_request("The request names no host; send the header Host."))?;
    let path = parts.extensions.get::<OriginalUri>().map_or(parts.uri.path(), |uri| uri.0.path());
    Ok(format!("{scheme}://{host}{}", mount(path)))
}

/// The path up to where the feed is mounted. The name of a space may be the same word.
fn mount(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let before = if parts.starts_with(&["api", "spaces"]) { 3 } else { 0 };
    let feed =
        parts.iter().skip(before).position(|part| *part == MOUNT).map_or(parts.len(), |place| before + place + 1);
    parts.iter().take(feed).map(|part| format!("/{part}")).collect()
}

impl Asked {
    /// All packages of the space: by id, the newest version of each first.
    async fn packages(&self) -> Result<Vec<Package>, ApiError> {
        Ok(package_list(&mut *self.app.db.read().await?, self.space).await?)
    }

    /// The versions of one package, newest first; 404 where there is none.
    async fn versions(&self, id: &str) -> Result<Vec<Package>, ApiError> {
        let key = id.parse::<PackageId>().map(|id| id.key()).unwrap_or_default();
        let mut packages = self.packages().await?;
        packages.retain(|package| package.package.package_id.key() == key);
        if packages.is_empty() { Err(ApiError::not_found(format!("The package {id}"))) } else { Ok(packages) }
    }

    /// One version of a package; 404 where it is not there.
    async fn version(&self, id: &str, version: &str) -> Result<Package, ApiError> {
        let missing = || ApiError::not_found(format!("The package {id} {version}"));
        let wanted: contract::Version = version.parse().map_err(|_| missing())?;
        let versions = self.versions(id).await.map_err(|_| missing())?;
        versions.into_iter().find(|package| package.package.version == wanted).ok_or_else(missing)
    }

    /// Which part of a list is asked for: how many to leave out, and how many to take at most.
    fn part(&self, skip: &str, take: &str) -> Result<(usize, usize), ApiError> {
        let (skip, take) = (self.query.number::<usize>(skip)?, self.query.number::<usize>(take)?);
        Ok((skip.unwrap_or(0), take.unwrap_or(TAKE_MAX).min(TAKE_MAX)))
    }
}

/// What a package's own nuspec says beyond what the portal keeps in its database.
#[derive(Clone, Debug, Default)]
struct Said {
    authors: String,
    dependencies: Vec<Dependency>,
    xml: String,
}

/// Reads nuspecs out of the store. One that cannot be read says nothing, and the log says why: it takes nothing from the
/// others.
async fn said(app: &App, packages: &[Package]) -> Vec<Said> {
    let paths: Vec<_> = packages.iter().map(|package| app.store.path(&package.package.sha256)).collect();
    let number = paths.len();
    let read = tokio::task::spawn_blocking(move || {
        let one = |path: std::path::PathBuf| match PackageFile::open(&path, &Limits::default()) {
            Ok(file) => Said {
                authors: file.nuspec().authors.clone().unwrap_or_default(),
                dependencies: package::dependencies(file.nuspec_xml()),
                xml: file.nuspec_xml().to_owned(),
            },
            Err(error) => {
                tracing::warn!(error = crate::error::chain(&error), "a package of the feed cannot be read");
                Said::default()
            }
        };
        paths.into_iter().map(one).collect::<Vec<_>>()
    });
    read.await.unwrap_or_else(|_| vec![Said::default(); number])
}

/// The packages whose id, title or description holds every word of `words`, without regard to case.
fn matching(packages: Vec<Package>, words: &str) -> Vec<Package> {
    let words: Vec<String> = words.split_whitespace().map(str::to_lowercase).collect();
    let holds = |package: &Package| {
        let new = &package.package;
        let text = format!("{} {} {}", new.package_id, new.title, new.description).to_lowercase();
        words.iter().all(|word| text.contains(word))
    };
    packages.into_iter().filter(holds).collect()
}

/// The newest version of each package.
fn newest(packages: &[Package]) -> Vec<Package> {
    let mut newest: Vec<Package> = Vec::new();
    // The newest of each id stands first.
    for package in packages {
        if newest.last().is_none_or(|last| last.package.package_id.key() != package.package.package_id.key()) {
            newest.push(package.clone());
        }
    }
    newest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_feed_knows_where_it_stands() {
        for (path, place) in [
            ("/nuget", "/nuget"),
            ("/nuget/v3/index.json", "/nuget"),
            ("/api/Spaces-1/nuget/Packages()", "/api/Spaces-1/nuget"),
            ("/api/spaces/nuget/nuget/package/nuget/1.0.0", "/api/spaces/nuget/nuget"),
        ] {
            assert_eq!(mount(path), place);
        }
    }
}
