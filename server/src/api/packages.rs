//! The built-in feed: packages are pushed, listed, fetched and deleted.

use axum::body::Body as ResponseBody;
use axum::extract::multipart::{Multipart, MultipartRejection};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_util::io::ReaderStream;

use super::bind::{Asked, Id, MayBody, Query, Space};
use super::build_information::Builds;
use super::page::{List, Page};
use crate::app::App;
use crate::auth::ApiUser;
use crate::db::DbError;
use crate::db::packages::package_list;
use crate::error::ApiError;
use crate::feed::{OverwriteMode, UploadError, Uploaded, package_exists, package_remove, package_upload};
use crate::ids::SpaceId;
use crate::model::Package;
use crate::store::Incoming;

/// The one feed.
pub(super) const FEED: &str = "feeds-builtin";

/// The field of the form that carries the package; the first file of any other name will do too.
const FIELD: &str = "fileToUpload";

/// Fields of an upload's form that are looked at. A form in which none of them is a file is refused.
const FIELDS_MAX: usize = 10;

/// Packages that one call deletes at most. More are refused.
const BULK_MAX: usize = 1000;

/// The list.
pub(super) const LIST: List<'_> =
    List::of("Package", "/packages", &["nuGetPackageId", "filter", "latest", "includeNotes"]);

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/packages", get(list))
        // The store has its own limit, and nothing of the body is kept in memory.
        .route("/packages/raw", post(push).layer(DefaultBodyLimit::disable()))
        .route("/packages/raw/validate", post(validate).layer(DefaultBodyLimit::disable()))
        .route("/packages/bulk", delete(remove_bulk))
        .route("/packages/{id}", get(one).delete(remove))
        .route("/packages/{id}/raw", get(raw))
}

fn resource(package: &Package, builds: &Builds) -> Value {
    let new = &package.package;
    let link = format!("{}/packages/{}", super::base(new.space), package.wire_id());
    json!({
        "Id": package.wire_id(),
        "SpaceId": new.space,
        "PackageId": new.package_id.as_str(),
        "Version": new.version.to_string(),
        "FileExtension": ".nupkg",
        "FeedId": FEED,
        "NuGetPackageId": new.package_id.as_str(),
        "NuGetFeedId": FEED,
        "Title": new.title,
        "Summary": new.summary,
        "Description": new.description,
        "ReleaseNotes": new.release_notes,
        "Published": package.uploaded_at.rfc3339(),
        "PackageSizeBytes": new.size,
        "Hash": new.sha256.to_string(),
        "PackageVersionBuildInformation": builds.of(package),
        "Links": { "Self": link, "Raw": format!("{link}/raw") },
    })
}

/// One package, with how it was built.
async fn whole(app: &App, package: &Package) -> Result<Value, DbError> {
    let builds = Builds::of_package(&mut *app.db.read().await?, package).await?;
    Ok(resource(package, &builds))
}

async fn list(Asked { app, space, query }: Asked) -> Result<Json<Page<Value>>, ApiError> {
    let mut conn = app.db.read().await?;
    let mut packages = package_list(&mut conn, space).await?;
    let builds = Builds::of_space(&mut conn, space).await?;
    drop(conn);
    let wanted = |name: &str| query.text(name).map(str::to_lowercase);
    if let Some(id) = wanted("nuGetPackageId") {
        packages.retain(|package| package.package.package_id.key() == id);
    }
    if let Some(part) = wanted("filter") {
        packages.retain(|package| package.package.package_id.key().contains(&part));
    }
    if query.flag("latest")? == Some(true) {
        let newest = |package: &Package| {
            let of_it = packages.iter().filter(|other| other.package.package_id == package.package.package_id);
            of_it.map(|other| &other.package.version).max() == Some(&package.package.version)
        };
        packages = packages.iter().filter(|package| newest(package)).cloned().collect();
    }
    let items = packages.iter().map(|package| resource(package, &builds)).collect();
    Ok(Json(LIST.cut(&super::base(space), items, &query)?))
}

/// The package of that id on the wire. Ids and versions may both hold dots and digits, so the id is looked up, not cut.
async fn find(app: &App, space: SpaceId, id: &str) -> Result<Package, ApiError> {
    let packages = package_list(&mut *app.db.read().await?, space).await?;
    let found = packages.into_iter().find(|package| package.wire_id().to_lowercase() == id.to_lowercase());
    found.ok_or_else(|| ApiError::not_found(format!("The package {id}")))
}

async fn one(
    State(app): State<App>,
    _user: ApiUser,
    Space(space): Space,
    Id(id): Id<String>,
) -> Result<Json<Value>, ApiError> {
    Ok(Json(whole(&app, &find(&app, space, &id).await?).await?))
}

async fn raw(
    State(app): State<App>,
    _user: ApiUser,
    Space(space): Space,
    Id(id): Id<String>,
) -> Result<Response, ApiError> {
    file_of(&app, &find(&app, space, &id).await?).await
}

/// The bytes of a package, as an answer.
pub(super) async fn file_of(app: &App, package: &Package) -> Result<Response, ApiError> {
    let package = &package.package;
    let file = app.store.open(&package.sha256, package.size).await?;
    // Ids and versions hold nothing that would have to be quoted.
    let name = format!("attachment; filename=\"{}.{}.nupkg\"", package.package_id, package.version);
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_LENGTH, package.size.to_string()),
        (header::CONTENT_DISPOSITION, if name.is_ascii() { name } else { "attachment".to_owned() }),
    ];
    Ok((headers, ResponseBody::from_stream(ReaderStream::new(file))).into_response())
}

async fn remove(
    State(app): State<App>,
    _user: ApiUser,
    Space(space): Space,
    Id(id): Id<String>,
) -> Result<Json<Value>, ApiError> {
    let package = find(&app, space, &id).await?.package;
    package_remove(&app, space, &package.package_id, &package.version).await?;
    Ok(Json(json!({})))
}

/// A body that names packages.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Named {
    /// Their ids, such as `packages-Acme.Web.1.0.0`.
    ids: Vec<String>,
}

/// Deletes what the query's `ids` or the body's `Ids` name: all of them or, where one is not there, none.
async fn remove_bulk(
    Asked { app, space, query }: Asked,
    MayBody(body): MayBody<Named>,
) -> Result<Json<Value>, ApiError> {
    let mut ids: Vec<String> = query.list("ids")?;
    ids.extend(body.ids);
    if ids.is_empty() || ids.len() > BULK_MAX {
        let how = format!("Name the packages in ?ids=… or in Ids of the body: 1 to {BULK_MAX} of them.");
        return Err(ApiError::bad_request(how));
    }
    let mut found = Vec::with_capacity(ids.len());
    for id in &ids {
        found.push(find(&app, space, id).await?.package);
    }
    for package in found {
        package_remove(&app, space, &package.package_id, &package.version).await?;
    }
    Ok(Json(json!({})))
}

/// Says what is wrong with a package, or `null`. Nothing of it is kept.
async fn validate(
    State(app): State<App>,
    _user: ApiUser,
    Space(space): Space,
    form: Result<Multipart, MultipartRejection>,
) -> Result<Json<Value>, ApiError> {
    let incoming = receive(&app, &mut opened(form)?).await?;
    if incoming.size() == 0 {
        return Ok(Json(json!({ "Issue": "EmptyFile", "Message": "The file is empty." })));
    }
    match package_exists(&app, space, incoming).await {
        Ok(false) => Ok(Json(Value::Null)),
        Ok(true) => {
            let message = "A package with the same name and version already exists.";
            Ok(Json(json!({ "Issue": "PackageAlreadyExists", "Message": message })))
        }
        Err(UploadError::Package { why }) => {
            Ok(Json(json!({ "Issue": "CorruptedNugetPackage", "Message": crate::error::sentence(&why) })))
        }
        Err(error) => Err(error.into()),
    }
}

fn opened(form: Result<Multipart, MultipartRejection>) -> Result<Multipart, ApiError> {
    form.map_err(|error| super::bad(format!("A package is sent as a form (multipart/form-data): {error}")))
}

async fn push(
    State(app): State<App>,
    _user: ApiUser,
    Space(space): Space,
    query: Query,
    form: Result<Multipart, MultipartRejection>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let mode = overwrite_mode(&query)?;
    let incoming = receive(&app, &mut opened(form)?).await?;
    let (package, uploaded) = package_upload(&app, space, incoming, mode).await?;
    let status = match uploaded {
        Uploaded::Created => StatusCode::CREATED,
        Uploaded::Existing | Uploaded::Repaired => StatusCode::OK,
    };
    Ok((status, Json(whole(&app, &package).await?)))
}

/// Receives the file of the form. The form is read to its end, so that the connection can be used again.
pub(super) async fn receive(app: &App, form: &mut Multipart) -> Result<Incoming, ApiError> {
    let mut incoming = None;
    for _ in 0..FIELDS_MAX {
        let Some(field) = form.next_field().await.map_err(cut_off)? else { break };
        if incoming.is_none() && (field.name() == Some(FIELD) || field.file_name().is_some()) {
            incoming = Some(app.store.receive(field).await?);
        }
    }
    incoming.ok_or_else(|| ApiError::bad_request(format!("The form holds no file in the field {FIELD}.")))
}

fn cut_off(error: axum::extract::multipart::MultipartError) -> ApiError {
    super::bad(format!("The upload could not be read: {error}"))
}

pub(super) fn overwrite_mode(query: &Query) -> Result<OverwriteMode, ApiError> {
    match query.text("overwriteMode") {
        Some(word) => OverwriteMode::from_word(word).ok_or_else(|| {
            ApiError::bad_request(
                "The query's overwriteMode must be FailIfExists, OverwriteExisting or IgnoreIfExists.",
            )
        }),
        // The elder spelling.
        None if query.flag("replace")? == Some(true) => Ok(OverwriteMode::OverwriteExisting),
        None => Ok(OverwriteMode::default()),
    }
}
