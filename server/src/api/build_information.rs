//! Build information: how versions of packages were built, as build servers say it. It is shown with the package.

use std::collections::HashMap;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{delete, get};
use axum::{Json, Router};
use contract::Version;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::bad;
use super::bind::{Asked, Body, Id, Query, Space};
use super::packages::overwrite_mode;
use super::page::{List, Page};
use crate::app::App;
use crate::auth::ApiUser;
use crate::build_information::{Told, build_information_add, build_information_remove};
use crate::db::build_information::{build_information_get, build_information_list, build_information_of};
use crate::db::{Connection, DbError};
use crate::error::ApiError;
use crate::ids::{BuildInformationId, SpaceId};
use crate::model::{Build, BuildInformation, Package};

/// That of how many versions one call deletes at most. More are refused.
const BULK_MAX: usize = 1000;

/// The list.
pub(super) const LIST: List<'_> =
    List::of("BuildInformation", "/build-information", &["packageId", "filter", "latest"]);

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/build-information", get(list).post(create))
        .route("/build-information/bulk", delete(remove_bulk))
        .route("/build-information/{id}", get(one).delete(remove))
}

fn resource(information: &BuildInformation) -> Value {
    let build = &information.build;
    let commits =
        build.commits.iter().map(|commit| json!({ "Id": commit.id, "Comment": commit.comment, "LinkUrl": null }));
    json!({
        "Id": information.id,
        "SpaceId": information.space,
        "PackageId": information.package_id.as_str(),
        "Version": information.version.to_string(),
        "BuildEnvironment": build.build_environment,
        "BuildNumber": build.build_number,
        "BuildUrl": build.build_url,
        "Branch": build.branch,
        "VcsType": build.vcs_type,
        "VcsRoot": build.vcs_root,
        "VcsCommitNumber": build.vcs_commit_number,
        "VcsCommitUrl": null,
        "IssueTrackerName": null,
        "WorkItems": [],
        "Commits": commits.collect::<Vec<_>>(),
        "IncompleteDataWarning": null,
        "Created": information.created_at.rfc3339(),
        "Links": { "Self": format!("{}/build-information/{}", super::base(information.space), information.id) },
    })
}

/// How the versions of a space were built, for whoever shows packages.
pub(super) struct Builds(HashMap<(String, String), Value>);

impl Builds {
    pub(super) async fn of_space(conn: &mut Connection, space: SpaceId) -> Result<Self, DbError> {
        let all = build_information_list(conn, space).await?;
        let key = |of: &BuildInformation| (of.package_id.key(), of.version.folder_name());
        Ok(Self(all.iter().map(|information| (key(information), resource(information))).collect()))
    }

    pub(super) async fn of_package(conn: &mut Connection, package: &Package) -> Result<Self, DbError> {
        let new = &package.package;
        let found = build_information_of(conn, new.space, &new.package_id, &new.version).await?;
        let key = (new.package_id.key(), new.version.folder_name());
        Ok(Self(found.iter().map(|information| (key.clone(), resource(information))).collect()))
    }

    /// That of one; `null` where nothing is known.
    pub(super) fn of(&self, package: &Package) -> Value {
        let key = (package.package.package_id.key(), package.package.version.folder_name());
        self.0.get(&key).cloned().unwrap_or(Value::Null)
    }
}

async fn list(Asked { app, space, query }: Asked) -> Result<Json<Page<Value>>, ApiError> {
    let mut all = build_information_list(&mut *app.db.read().await?, space).await?;
    let wanted = |name: &str| query.text(name).map(str::to_lowercase);
    if let Some(id) = wanted("packageId") {
        all.retain(|information| information.package_id.key() == id);
    }
    if let Some(part) = wanted("filter") {
        all.retain(|information| information.package_id.key().contains(&part));
    }
    if query.flag("latest")? == Some(true) {
        // The newest of each stands first.
        all.dedup_by_key(|information| information.package_id.key());
    }
    Ok(Json(LIST.cut(&super::base(space), all.iter().map(resource).collect(), &query)?))
}

async fn one(
    State(app): State<App>,
    _user: ApiUser,
    Space(space): Space,
    Id(id): Id<BuildInformationId>,
) -> Result<Json<Value>, ApiError> {
    let found = build_information_get(&mut *app.db.read().await?, space, id).await?;
    found.map(|information| Json(resource(&information))).ok_or_else(|| not_found(id))
}

fn not_found(id: BuildInformationId) -> ApiError {
    ApiError::not_found(format!("The build information {id}"))
}

/// What a build server says of a version of a package.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct BuildInformationBody {
    /// The package.
    package_id: String,
    /// Its version.
    version: String,
    /// How it was built.
    octopus_build_information: Option<Build>,
}

async fn create(
    State(app): State<App>,
    _user: ApiUser,
    Space(space): Space,
    query: Query,
    Body(body): Body<BuildInformationBody>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let mode = overwrite_mode(&query)?;
    let package = body.package_id.parse().map_err(bad)?;
    let version: Version = body.version.parse().map_err(bad)?;
    let build = body.octopus_build_information.unwrap_or_default();
    let (status, information) = match build_information_add(&app, space, &package, &version, &build, mode).await? {
        Told::New(information) => (StatusCode::CREATED, information),
        Told::Replaced(information) | Told::Kept(information) => (StatusCode::OK, information),
        Told::Refused => {
            let how = "Ask to overwrite it with overwriteMode=OverwriteExisting, or keep it with IgnoreIfExists.";
            let message = "Metadata for the specified Package ID and version already exists.";
            return Err(ApiError { errors: vec![how.to_owned()], ..ApiError::conflict(message) });
        }
    };
    Ok((status, Json(resource(&information))))
}

async fn remove(
    State(app): State<App>,
    _user: ApiUser,
    Space(space): Space,
    Id(id): Id<BuildInformationId>,
) -> Result<Json<Value>, ApiError> {
    remove_all(&app, space, &[id]).await
}

/// Deletes what the query's `ids` name: all of it or, where one is not there, nothing.
async fn remove_bulk(Asked { app, space, query }: Asked) -> Result<Json<Value>, ApiError> {
    let mut ids: Vec<BuildInformationId> = query.list("ids")?;
    ids.sort_unstable();
    ids.dedup();
    if ids.is_empty() || ids.len() > BULK_MAX {
        return Err(ApiError::bad_request(format!("Name what to delete in ?ids=…: 1 to {BULK_MAX} of them.")));
    }
    remove_all(&app, space, &ids).await
}

async fn remove_all(app: &App, space: SpaceId, ids: &[BuildInformationId]) -> Result<Json<Value>, ApiError> {
    match build_information_remove(app, space, ids).await? {
        Some(missing) => Err(not_found(missing)),
        None => Ok(Json(json!({}))),
    }
}
