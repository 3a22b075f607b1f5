//! The third version of NuGet's protocol: an index of services, files at fixed places, registrations and search.

use axum::extract::Path;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use package::Dependency;
use serde_json::{Value, json};

use super::{Asked, Base, NugetError, Said, matching, newest, said};
use crate::api::packages::file_of;
use crate::app::App;
use crate::error::ApiError;
use crate::model::Package;

/// Where each service stands below the feed, and the names by which clients look for it.
const SERVICES: [(&str, &[&str]); 5] = [
    ("/v3/flat/", &["PackageBaseAddress/3.0.0"]),
    (
        "/v3/registration/",
        &[
            "RegistrationsBaseUrl",
            "RegistrationsBaseUrl/3.0.0-beta",
            "RegistrationsBaseUrl/3.0.0-rc",
            "RegistrationsBaseUrl/3.4.0",
            "RegistrationsBaseUrl/3.6.0",
            "RegistrationsBaseUrl/Versioned",
        ],
    ),
    (
        "/v3/search",
        &[
            "SearchQueryService",
            "SearchQueryService/3.0.0-beta",
            "SearchQueryService/3.0.0-rc",
            "SearchQueryService/3.5.0",
        ],
    ),
    ("/v3/autocomplete", &["SearchAutocompleteService", "SearchAutocompleteService/3.0.0-rc"]),
    ("/packages", &["PackagePublish/2.0.0"]),
];

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/v3/index.json", get(index))
        .route("/v3/search", get(search))
        .route("/v3/autocomplete", get(autocomplete))
        .route("/v3/flat/{id}/index.json", get(flat_versions))
        .route("/v3/flat/{id}/{version}/{file}", get(flat_file))
        .route("/v3/registration/{id}/index.json", get(registration))
        .route("/v3/registration/{id}/{leaf}", get(registration_leaf))
}

async fn index(Base(base): Base) -> Json<Value> {
    let resources = SERVICES.iter().flat_map(|(path, kinds)| {
        let address = format!("{base}{path}");
        kinds.iter().map(move |kind| json!({ "@id": address, "@type": kind }))
    });
    Json(json!({ "version": "3.0.0", "resources": resources.collect::<Vec<_>>() }))
}

/// Where things about one version stand.
struct Places {
    registration: String,
    leaf: String,
    content: String,
}

fn places(asked: &Asked, package: &Package) -> Places {
    let (base, new) = (&asked.base, &package.package);
    let (id, version) = (new.package_id.key(), new.version.folder_name());
    Places {
        registration: format!("{base}/v3/registration/{id}/index.json"),
        leaf: format!("{base}/v3/registration/{id}/{version}.json"),
        content: format!("{base}/v3/flat/{id}/{version}/{id}.{version}.nupkg"),
    }
}

/// The packages that are asked for: those that match, without what is not finished unless that is wanted.
async fn wanted(asked: &Asked) -> Result<Vec<Package>, ApiError> {
    let unfinished = asked.query.flag("prerelease")?.unwrap_or(false);
    let mut packages = matching(asked.packages().await?, asked.query.text("q").unwrap_or_default());
    packages.retain(|package| unfinished || !package.package.version.is_prerelease());
    Ok(packages)
}

async fn search(asked: Asked) -> Result<Json<Value>, NugetError> {
    let packages = wanted(&asked).await?;
    let found = newest(&packages);
    let (skip, take) = asked.part("skip", "take")?;
    let page: Vec<Package> = found.iter().skip(skip).take(take).cloned().collect();
    let said = said(&asked.app, &page).await;
    let data: Vec<Value> = page
        .iter()
        .zip(&said)
        .map(|(package, said)| {
            let (new, places) = (&package.package, places(&asked, package));
            let version = |package: &Package| {
                json!({
                    "@id": self::places(&asked, package).leaf,
                    "version": package.package.version.to_string(),
                    "downloads": 0,
                })
            };
            let of_it = packages.iter().filter(|other| other.package.package_id == new.package_id);
            let mut versions: Vec<Value> = of_it.map(version).collect();
            versions.reverse();
            json!({
                "@id": places.registration,
                "@type": "Package",
                "registration": places.registration,
                "id": new.package_id.as_str(),
                "version": new.version.to_string(),
                "title": new.title,
                "summary": new.summary,
                "description": new.description,
                "authors": [said.authors],
                "totalDownloads": 0,
                "verified": false,
                "packageTypes": [{ "name": "Dependency" }],
                "versions": versions,
            })
        })
        .collect();
    Ok(Json(json!({ "totalHits": found.len(), "data": data })))
}

/// Ids that begin like what is typed, or the versions of one.
async fn autocomplete(asked: Asked) -> Result<Json<Value>, NugetError> {
    let mut packages = wanted(&asked).await?;
    if let Some(id) = asked.query.text("id") {
        packages.retain(|package| package.package.package_id.key() == id.to_lowercase());
        let versions: Vec<String> = packages.iter().rev().map(|package| package.package.version.to_string()).collect();
        return Ok(Json(json!({ "data": versions })));
    }
    let found = newest(&packages);
    let (skip, take) = asked.part("skip", "take")?;
    let ids: Vec<&str> =
        found.iter().skip(skip).take(take).map(|package| package.package.package_id.as_str()).collect();
    Ok(Json(json!({ "totalHits": found.len(), "data": ids })))
}

async fn flat_versions(asked: Asked, Path(path): Path<Vec<(String, String)>>) -> Result<Json<Value>, NugetError> {
    let packages = asked.versions(part(&path, "id")).await?;
    let versions: Vec<String> = packages.iter().rev().map(|package| package.package.version.folder_name()).collect();
    Ok(Json(json!({ "versions": versions })))
}

/// The package, or its nuspec.
async fn flat_file(asked: Asked, Path(path): Path<Vec<(String, String)>>) -> Result<Response, NugetError> {
    let (id, version, file) = (part(&path, "id"), part(&path, "version"), part(&path, "file"));
    let package = asked.version(id, version).await?;
    let (id, version) = (package.package.package_id.key(), package.package.version.folder_name());
    if file.eq_ignore_ascii_case(&format!("{id}.{version}.nupkg")) {
        return Ok(file_of(&asked.app, &package).await?);
    }
    if !file.eq_ignore_ascii_case(&format!("{id}.nuspec")) {
        return Err(ApiError::not_found(format!("The file {file} of {id} {version}")).into());
    }
    // Says what is wrong with the file, where it is missing or cut.
    asked.app.store.open(&package.package.sha256, package.package.size).await?;
    let xml = said(&asked.app, std::slice::from_ref(&package)).await.pop().unwrap_or_default().xml;
    Ok(([(header::CONTENT_TYPE, "application/xml; charset=utf-8")], xml).into_response())
}

async fn registration(asked: Asked, Path(path): Path<Vec<(String, String)>>) -> Result<Json<Value>, NugetError> {
    let mut packages = asked.versions(part(&path, "id")).await?;
    packages.reverse();
    let said = said(&asked.app, &packages).await;
    let leaves: Vec<Value> = packages.iter().zip(&said).map(|(package, said)| leaf(&asked, package, said)).collect();
    let version = |package: Option<&Package>| package.map(|package| package.package.version.to_string());
    let address = packages.first().map(|package| places(&asked, package).registration);
    Ok(Json(json!({
        "@id": address,
        "count": 1,
        "items": [{
            "@id": address.as_ref().map(|address| format!("{address}#page")),
            "count": leaves.len(),
            "lower": version(packages.first()),
            "upper": version(packages.last()),
            "items": leaves,
        }],
    })))
}

async fn registration_leaf(asked: Asked, Path(path): Path<Vec<(String, String)>>) -> Result<Json<Value>, NugetError> {
    let name = part(&path, "leaf");
    let version = name.strip_suffix(".json").unwrap_or(name);
    let package = asked.version(part(&path, "id"), version).await?;
    let said = said(&asked.app, std::slice::from_ref(&package)).await.pop().unwrap_or_default();
    Ok(Json(leaf(&asked, &package, &said)))
}

fn leaf(asked: &Asked, package: &Package, said: &Said) -> Value {
    let (new, places) = (&package.package, places(asked, package));
    json!({
        "@id": places.leaf,
        "packageContent": places.content,
        "registration": places.registration,
        "listed": true,
        "published": package.uploaded_at.rfc3339(),
        "catalogEntry": {
            "@id": format!("{}#entry", places.leaf),
            "id": new.package_id.as_str(),
            "version": new.version.to_string(),
            "title": new.title,
            "summary": new.summary,
            "description": new.description,
            "authors": said.authors,
            "listed": true,
            "published": package.uploaded_at.rfc3339(),
            "packageContent": places.content,
            "dependencyGroups": groups(&said.dependencies),
        },
    })
}

/// What is needed, by framework.
fn groups(needs: &[Dependency]) -> Vec<Value> {
    let mut frameworks: Vec<Option<&String>> = needs.iter().map(|need| need.framework.as_ref()).collect();
    frameworks.dedup();
    let group = |framework: Option<&String>| {
        let of_it = needs.iter().filter(|need| need.framework.as_ref() == framework);
        let one = |need: &Dependency| need.id.as_ref().map(|id| json!({ "id": id, "range": need.versions }));
        json!({ "targetFramework": framework, "dependencies": of_it.filter_map(one).collect::<Vec<_>>() })
    };
    frameworks.into_iter().map(group).collect()
}

/// A parameter of the path.
fn part<'a>(path: &'a [(String, String)], name: &str) -> &'a str {
    path.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
}
