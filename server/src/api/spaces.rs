//! The root of the API, its spaces and what there is once in the whole portal. `GET /api` is for anybody; it is by its
//! links that clients find everything else.

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::bind::{Query, Space};
use super::page::{List, Page};
use crate::app::App;
use crate::auth::ApiUser;
use crate::error::ApiError;
use crate::ids::SpaceId;

/// The name of the one space that there is for now.
const DEFAULT_NAME: &str = "Default";

/// Its name in addresses.
pub(super) const DEFAULT_SLUG: &str = "default";

/// The revision of the resource shapes that this API speaks.
const API_VERSION: &str = "3.0.0";

/// Links of the default space: name and address template below `/api/Spaces-1`.
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
const LIST: List<'_> = List { has_all: true, ..List::of("Space", "/spaces", &["ids", "name", "partialName"]) };

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/", get(home))
        .route("/spaces", get(list))
        .route("/spaces/all", get(all))
        .route("/spaces/{space}", get(one))
        .route("/{space}", get(space_home))
        .route("/capabilities", get(capabilities))
        .route("/configuration/certificates/certificate-global", get(certificate))
}

async fn home(State(app): State<App>) -> Json<Value> {
    let global = GLOBAL_LINKS.iter().map(|(name, path)| ((*name).to_owned(), json!(path)));
    let links: serde_json::Map<String, Value> = global.chain(space_links()).collect();
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

fn space_links() -> impl Iterator<Item = (String, Value)> {
    SPACE_LINKS
        .iter()
        .map(|(name, path)| ((*name).to_owned(), json!(format!("{}{path}", super::base(SpaceId::DEFAULT)))))
}

/// Holds no version: by that, clients tell a space from the root.
async fn space_home(_user: ApiUser, Space(space): Space) -> Json<Value> {
    let own = [("Self".to_owned(), json!(super::base(space)))];
    let links: serde_json::Map<String, Value> = own.into_iter().chain(space_links()).collect();
    Json(json!({ "Id": space, "Links": links }))
}

fn space_resource(space: SpaceId) -> Value {
    json!({
        "Id": space,
        "Name": DEFAULT_NAME,
        "Slug": DEFAULT_SLUG,
        "Description": "",
        "IsDefault": true,
        "IsPrivate": false,
        "TaskQueueStopped": false,
        "SpaceManagersTeams": [],
        "SpaceManagersTeamMembers": [],
        "Links": { "Self": format!("/api/spaces/{space}"), "SpaceHome": super::base(space) },
    })
}

async fn list(_user: ApiUser, query: Query) -> Result<Json<Page<Value>>, ApiError> {
    let ids = query.list::<SpaceId>("ids")?;
    let has = |name: &str| query.text(name).map(str::to_lowercase);
    let name = DEFAULT_NAME.to_lowercase();
    let passes = (ids.is_empty() || ids.contains(&SpaceId::DEFAULT))
        && has("name").is_none_or(|wanted| wanted == name)
        && has("partialName").is_none_or(|wanted| name.contains(&wanted));
    let spaces = passes.then(|| space_resource(SpaceId::DEFAULT)).into_iter().collect();
    Ok(Json(LIST.cut("/api", spaces, &query)?))
}

async fn all(_user: ApiUser) -> Json<Vec<Value>> {
    Json(vec![space_resource(SpaceId::DEFAULT)])
}

async fn one(_user: ApiUser, Space(space): Space) -> Json<Value> {
    Json(space_resource(space))
}

async fn capabilities(_user: ApiUser) -> Json<Value> {
    Json(json!({ "Capabilities": [] }))
}

/// The certificate that Tentacles pin.
async fn certificate(State(app): State<App>, _user: ApiUser) -> Json<Value> {
    Json(json!({
        "Id": "certificate-global",
        "Name": "The portal's identity",
        "Thumbprint": app.identity.thumbprint().to_string(),
        "SignatureAlgorithm": "sha256",
        "Links": { "Self": "/api/configuration/certificates/certificate-global" },
    }))
}
