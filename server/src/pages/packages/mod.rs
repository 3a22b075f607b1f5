//! Packages: what was uploaded, and uploading more. Deploying one is in `deploy`.

mod delete;
mod deploy;

use askama::Template;
use askama_web::WebTemplate;
use axum::Router;
use axum::extract::multipart::Field;
use axum::extract::{DefaultBodyLimit, Multipart, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};

use super::PageError;
use super::live::{LiveView as _, WholeView, cursor};
use super::shell::{Section, Shell};
use super::view as words;
use crate::app::App;
use crate::auth::PageUser;
use crate::clock::Timestamp;
use crate::db::DbError;
use crate::db::packages::package_list;
use crate::error::ApiError;
use crate::feed::{OverwriteMode, package_upload};
use crate::ids::SpaceId;
use crate::model::Package;

/// Digits of a digest that are shown; all of them appear on hovering.
const DIGEST_SHOWN: usize = 12;

/// `/packages` and `/deploy`.
pub fn router() -> Router<App> {
    // The package store has the limit: a package is far larger than any form.
    let upload = post(upload).layer(DefaultBodyLimit::disable());
    Router::new()
        .route("/packages", get(list))
        .route("/packages", upload)
        .merge(delete::router())
        .merge(deploy::router())
}

/// A package among others.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PackageRow {
    /// Its id.
    pub id: String,
    /// Its version.
    pub version: String,
    /// For people; may be empty.
    pub title: String,
    /// In bytes.
    pub size: u64,
    /// The digest of its bytes.
    pub sha256: String,
    /// The beginning of that.
    pub short: String,
    /// When it was uploaded.
    pub uploaded_at: Timestamp,
    /// It is the Tentacle itself.
    pub is_tentacle: bool,
}

impl From<&Package> for PackageRow {
    fn from(package: &Package) -> Self {
        let sha256 = package.package.sha256.to_string();
        Self {
            id: package.package.package_id.to_string(),
            version: package.package.version.to_string(),
            title: package.package.title.clone(),
            size: package.package.size,
            short: sha256.chars().take(DIGEST_SHOWN).collect(),
            sha256,
            uploaded_at: package.uploaded_at,
            is_tentacle: package.package.package_id.tentacle_runtime().is_some(),
        }
    }
}

/// A Tentacle package that the portal carries.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BundledRow {
    /// For which machines.
    pub runtime: String,
    /// Its version.
    pub version: String,
    /// In bytes.
    pub size: u64,
    /// The digest of its bytes.
    pub sha256: String,
}

/// The versions of one package.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PackageGroup {
    /// Its id.
    pub id: String,
    /// Newest first; at least one.
    pub versions: Vec<PackageRow>,
}

/// The list of packages.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PackagesView {
    /// By id.
    pub groups: Vec<PackageGroup>,
    /// What the portal carries by itself.
    pub bundled: Vec<BundledRow>,
}

/// Rows that stand in the order of their ids, in groups.
fn grouped(rows: impl Iterator<Item = PackageRow>) -> Vec<PackageGroup> {
    let mut groups: Vec<PackageGroup> = Vec::new();
    for row in rows {
        match groups.last_mut().filter(|group| group.id.eq_ignore_ascii_case(&row.id)) {
            Some(group) => group.versions.push(row),
            None => groups.push(PackageGroup { id: row.id.clone(), versions: vec![row] }),
        }
    }
    groups
}

#[derive(Template)]
#[template(path = "packages/region.html")]
struct Region<'a> {
    view: &'a PackagesView,
    now: &'a Timestamp,
}

impl WholeView for PackagesView {
    const REGION: &'static str = "packages";

    fn render(&self, now: Timestamp) -> askama::Result<String> {
        Region { view: self, now: &now }.render()
    }
}

#[derive(Template, WebTemplate)]
#[template(path = "packages/list.html")]
struct ListPage {
    shell: Shell,
    view: PackagesView,
    problem: Option<String>,
    now: Timestamp,
}

async fn list(user: PageUser, State(app): State<App>) -> Result<ListPage, PageError> {
    page(&app, &user, None).await
}

async fn page(app: &App, user: &PageUser, problem: Option<String>) -> Result<ListPage, PageError> {
    let view = load(app, user.0.space).await?;
    let scope = format!("page=packages&seen={}", cursor(&view.parts()));
    let shell = Shell::new(app, user, Section::Packages, "Packages").live(&scope);
    Ok(ListPage { now: shell.now, shell, view, problem })
}

/// All packages.
pub async fn load(app: &App, space: SpaceId) -> Result<PackagesView, DbError> {
    let packages = package_list(&mut *app.db.read().await?, space).await?;
    let bundled = app.bundle.packages().iter().map(|package| BundledRow {
        runtime: package.runtime.clone(),
        version: package.version.to_string(),
        size: package.size,
        sha256: package.sha256.to_string(),
    });
    Ok(PackagesView { groups: grouped(packages.iter().map(PackageRow::from)), bundled: bundled.collect() })
}

async fn upload(user: PageUser, State(app): State<App>, form: Multipart) -> Result<Response, PageError> {
    match take(&app, user.0.space, form).await {
        Ok(()) => Ok(Redirect::to("/packages").into_response()),
        Err(error) if error.status.is_client_error() => {
            let details = error.errors.iter().map(|detail| format!(" {detail}")).collect::<String>();
            let page = page(&app, &user, Some(format!("{}{details}", error.message))).await?;
            Ok((error.status, page).into_response())
        }
        Err(error) => Err(error.into()),
    }
}

/// Takes the first file of the form into the store.
async fn take(app: &App, space: SpaceId, mut form: Multipart) -> Result<(), ApiError> {
    let broken = |error: axum::extract::multipart::MultipartError| ApiError::bad_request(error.body_text());
    while let Some(field) = form.next_field().await.map_err(broken)? {
        if field.file_name().is_some_and(|name| !name.is_empty()) {
            let incoming = app.store.receive::<Field<'_>, _>(field).await?;
            package_upload(app, space, incoming, OverwriteMode::FailIfExists).await?;
            return Ok(());
        }
    }
    Err(ApiError::bad_request("No file was chosen. Choose a .nupkg or .zip file, then upload it."))
}
