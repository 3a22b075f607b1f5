//! The root of the API, its spaces and what there is once in the whole portal. `GET /api` is for anybody; it is by its
//! links that clients find everything else.

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::bind::{Body, Query, Space};
use super::page::{List, Page};
use crate::app::App;
use crate::auth::ApiUser;
use crate::db::spaces::{space_get, space_list};
use crate::error::ApiError;
use crate::ids::SpaceId;
use crate::model::{NewSpace, TaskQueue};
use crate::spaces::{space_add, space_change, space_remove};

/// The revision of the resource shapes that this API speaks.
const API_VERSION: &str = "3.0.0";

/// Links of a space: name and address template below its own address.
const SPACE_LINKS: [(&str, &str); 19] = [
    ("DiscoverMachine", "/machines/discover{?host,port,type,proxyId}"),
    ("Environments", "/environments{/id}{?name,skip,ids,take,partialName}"),
    (
        "EnvironmentsSummary",
        "/environments/summary{?ids,partialName,machinePartialName,roles,isDisabled,healthStatuses,commStyles,\
         tenantIds,tenantTags,hideEmptyEnvironments}",
    ),
    (
        "Events",
        "/events{/id}{?skip,take,ids,user,users,eventCategories,eventGroups,eventAgents,documentTypes,regarding,\
         regardingAny,environments,from,to,fromAutoId,toAutoId,name,partialName,spaces,excludeDifference}",
    ),
    ("EventAgents", "/events/agents"),
    ("EventCategories", "/events/categories{?appliesTo}"),
    ("EventDocumentTypes", "/events/documenttypes"),
    ("EventGroups", "/events/groups{?appliesTo}"),
    ("MachineRoles", "/machineroles/all"),
    (
        "Machines",
        "/machines{/id}{?skip,take,name,ids,partialName,roles,isDisabled,healthStatuses,commStyles,tenantIds,\
         tenantTags,environmentIds,thumbprint,deploymentId}",
    ),
    ("PackageUpload", "/packages/raw{?overwriteMode}"),
    ("Packages", "/packages{/id}{?nuGetPackageId,filter,latest,skip,take,includeNotes}"),
    ("Rollouts", "/rollouts{/id}{?skip,take}"),
    ("EnvironmentsAll", "/environments/all"),
    ("MachinesAll", "/machines/all"),
    ("MachineTasks", "/machines/{id}/tasks{?skip,take}"),
    ("MachineConnection", "/machines/{id}/connection"),
    ("PackageRaw", "/packages/{id}/raw"),
    ("RolloutCancel", "/rollouts/{id}/cancel"),
];

/// Links outside any space.
const GLOBAL_LINKS: [(&str, &str); 7] = [
    ("Self", "/api"),
    ("CertificateConfiguration", "/api/configuration/certificates{/id}"),
    ("CurrentUser", "/api/users/me"),
    ("SpaceHome", "/api/{spaceId}"),
    ("Users", "/api/users{/id}{?skip,take,ids,filter}"),
    ("Spaces", "/api/spaces{/id}{?name,skip,ids,take,partialName}"),
    (
        "Tasks",
        "/api/tasks{/id}{?skip,active,environment,tenant,project,name,node,running,states,hasPendingInterruptions,\
         hasWarningsOrErrors,description,fromQueueDate,toQueueDate,fromStartDate,toStartDate,fromCompletedDate,\
         toCompletedDate,take,ids,partialName,spaces,includeSystem}",
    ),
];

/// The list.
pub(super) const LIST: List<'_> =
    List { has_all: true, ..List::of("Space", "/spaces", &["ids", "name", "partialName"]) };

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/", get(home))
        .route("/spaces", get(list).post(create))
        .route("/spaces/all", get(all))
        .route("/spaces/{space}", get(one).put(update).delete(remove))
        .route("/{space}", get(space_home))
        .route("/capabilities", get(capabilities))
        .route("/configuration/certificates/certificate-global", get(certificate))
}

async fn home(State(app): State<App>) -> Json<Value> {
    let global = GLOBAL_LINKS.iter().map(|(name, path)| ((*name).to_owned(), json!(path)));
    let links: serde_json::Map<String, Value> = global.chain(space_links(SpaceId::DEFAULT)).collect();
    Json(json!({
        "Application": "Octopus Deploy",
        "Version": app.public_info.version.to_string(),
        "ApiVersion": API_VERSION,
        "InstallationId": app.public_info.installation_id.to_string(),
        "IsEarlyAccessProgram": false,
        "HasLongTermSupport": false,
        "Links": links,
    }))
}

fn space_links(space: SpaceId) -> impl Iterator<Item = (String, Value)> {
    SPACE_LINKS.iter().map(move |(name, path)| ((*name).to_owned(), json!(format!("{}{path}", super::base(space)))))
}

/// Holds no version: by that, clients tell a space from the root.
async fn space_home(_user: ApiUser, Space(space): Space) -> Json<Value> {
    let own = [("Self".to_owned(), json!(super::base(space)))];
    let links: serde_json::Map<String, Value> = own.into_iter().chain(space_links(space)).collect();
    Json(json!({ "Id": space, "Links": links }))
}

fn resource(space: &crate::model::Space) -> Value {
    json!({
        "Id": space.id,
        "Name": space.name,
        "Slug": space.slug,
        "Description": space.description,
        "IsDefault": space.is_default,
        "IsPrivate": false,
        "TaskQueueStopped": space.queue.is_stopped(),
        "SpaceManagersTeams": [],
        "SpaceManagersTeamMembers": [],
        "Links": { "Self": format!("/api/spaces/{}", space.id), "SpaceHome": super::base(space.id) },
    })
}

async fn found(app: &App, query: &Query) -> Result<Vec<Value>, ApiError> {
    let ids = query.list::<SpaceId>("ids")?;
    let wanted = |name: &str| query.text(name).map(str::to_lowercase);
    let (name, part) = (wanted("name"), wanted("partialName"));
    let mut spaces = space_list(&mut *app.db.read().await?).await?;
    spaces.retain(|space| {
        let own = space.name.to_lowercase();
        (ids.is_empty() || ids.contains(&space.id))
            && name.as_ref().is_none_or(|name| *name == own)
            && part.as_ref().is_none_or(|part| own.contains(part))
    });
    Ok(spaces.iter().map(resource).collect())
}

async fn list(State(app): State<App>, _user: ApiUser, query: Query) -> Result<Json<Page<Value>>, ApiError> {
    Ok(Json(LIST.cut("/api", found(&app, &query).await?, &query)?))
}

async fn all(State(app): State<App>, _user: ApiUser, query: Query) -> Result<Json<Vec<Value>>, ApiError> {
    Ok(Json(found(&app, &query).await?))
}

async fn one(State(app): State<App>, _user: ApiUser, Space(id): Space) -> Result<Json<Value>, ApiError> {
    let space = space_get(&mut *app.db.read().await?, id).await?;
    space.map(|space| Json(resource(&space))).ok_or_else(|| ApiError::not_found(format!("The space {id}")))
}

/// What a client says of a space. In an update, what is left out stays as it is. Who manages it is not asked: every
/// administrator does.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct SpaceBody {
    /// What it is called; needed where it is made.
    name: Option<String>,
    /// Its name in addresses; made of the name where it is left out.
    slug: Option<String>,
    /// For people.
    description: Option<String>,
    /// Cannot be changed.
    is_default: Option<bool>,
    /// No task of it begins while this holds.
    task_queue_stopped: Option<bool>,
}

impl SpaceBody {
    fn read(self, old: Option<&crate::model::Space>) -> Result<NewSpace, ApiError> {
        let is_default = old.is_some_and(|old| old.is_default);
        if self.is_default.is_some_and(|wish| wish != is_default) {
            let how = format!("The default space is {}, and stays so: IsDefault cannot be changed.", SpaceId::DEFAULT);
            return Err(ApiError::bad_request(how));
        }
        let queue = old.map(|old| old.queue).unwrap_or_default();
        Ok(NewSpace {
            name: self.name.or_else(|| old.map(|old| old.name.clone())).unwrap_or_default(),
            slug: self.slug.filter(|slug| !slug.is_empty()),
            description: self.description.or_else(|| old.map(|old| old.description.clone())).unwrap_or_default(),
            queue: self.task_queue_stopped.map_or(queue, TaskQueue::of),
        })
    }
}

async fn create(
    State(app): State<App>,
    _user: ApiUser,
    Body(body): Body<SpaceBody>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let space = space_add(&app, &body.read(None)?).await?;
    Ok((StatusCode::CREATED, Json(resource(&space))))
}

async fn update(
    State(app): State<App>,
    _user: ApiUser,
    Space(id): Space,
    Body(body): Body<SpaceBody>,
) -> Result<Json<Value>, ApiError> {
    let space = space_change(&app, id, |old| body.read(Some(old))).await?;
    Ok(Json(resource(&space)))
}

async fn remove(State(app): State<App>, _user: ApiUser, Space(id): Space) -> Result<Json<Value>, ApiError> {
    if !space_remove(&app, id).await? {
        return Err(ApiError::not_found(format!("The space {id}")));
    }
    Ok(Json(json!({})))
}

async fn capabilities(_user: ApiUser) -> Json<Value> {
    Json(json!({ "Capabilities": [] }))
}

/// The certificate that Tentacles pin.
async fn certificate(State(app): State<App>, _user: ApiUser) -> Json<Value> {
    Json(json!({
        "Id": "certificate-global",
        "Name": "The portal's identity",
        "Thumbprint": app.identities.thumbprint().to_string(),
        "SignatureAlgorithm": "sha256",
        "Links": { "Self": "/api/configuration/certificates/certificate-global" },
    }))
}
