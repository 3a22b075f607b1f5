//! Machines: as people described them, beside what is known of them.

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use contract::Thumbprint;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::bad;
use super::bind::{Asked, Body, Id, Query, Space};
use super::fleet::{Seen, fleet, seen};
use super::machine_resource::{COMMUNICATION_STYLE, discovered, resource};
use super::page::{List, Page};
use super::{machine_policies, tasks};
use crate::app::App;
use crate::auth::ApiUser;
use crate::db::machine_holds::hold_get;
use crate::db::machines::{machine_get, machine_list};
use crate::db::tasks::{TaskFilter, task_list};
use crate::discovery::discover;
use crate::error::ApiError;
use crate::ids::{EnvironmentId, MachineId, SpaceId};
use crate::model::machine::TENTACLE_PORT;
use crate::model::{Address, Contact, Machine, NewMachine};
use crate::rollout::create::Selection;
use crate::rollout::hands::{Who, machine_hold, machine_release};
use crate::roster::{machine_add, machine_change, machine_remove};
use crate::tasks::task_create_health;

/// The list.
pub(super) const LIST: List<'_> = List { has_all: true, ..List::of("Machine", "/machines", &Filter::NAMES) };

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/machines", get(list).post(create))
        .route("/machines/all", get(all))
        .route("/machines/v2", get(list_v2))
        .route("/machines/discover", get(discovery))
        .route("/machines/{id}", get(one).put(update).delete(remove))
        .route("/machines/{id}/connection", get(connection))
        .route("/machines/{id}/tasks", get(machine_tasks))
        .route("/machineroles/all", get(roles))
}

/// Which machines a list shows.
#[derive(Debug, Default)]
pub(super) struct Filter {
    ids: Vec<MachineId>,
    name: Option<String>,
    partial_name: Option<String>,
    roles: Vec<String>,
    is_disabled: Option<bool>,
    health_statuses: Vec<String>,
    comm_styles: Vec<String>,
    environments: Vec<EnvironmentId>,
    thumbprint: Option<Thumbprint>,
    /// A tenant or a deployment is asked for: this portal has none, so no machine is of one.
    is_of_nothing_here: bool,
}

/// Filters of which this portal can only say that no machine passes.
const OF_NOTHING_HERE: [&str; 3] = ["tenantIds", "tenantTags", "deploymentId"];

impl Filter {
    pub(super) const NAMES: [&'static str; 12] = [
        "ids",
        "name",
        "partialName",
        "roles",
        "isDisabled",
        "healthStatuses",
        "commStyles",
        "environmentIds",
        "thumbprint",
        OF_NOTHING_HERE[0],
        OF_NOTHING_HERE[1],
        OF_NOTHING_HERE[2],
    ];

    pub(super) fn of(query: &Query) -> Result<Self, ApiError> {
        Ok(Self {
            ids: query.list("ids")?,
            name: query.text("name").map(str::to_lowercase),
            partial_name: query.text("partialName").map(str::to_lowercase),
            ..Self::of_machines_only(query)?
        })
    }

    /// The filters whose names mean the same wherever machines are counted.
    fn of_machines_only(query: &Query) -> Result<Self, ApiError> {
        Ok(Self {
            roles: query.list("roles")?,
            is_disabled: query.flag("isDisabled")?,
            health_statuses: query.list("healthStatuses")?,
            comm_styles: query.list("commStyles")?,
            environments: query.list("environmentIds")?,
            thumbprint: query.one("thumbprint")?,
            is_of_nothing_here: OF_NOTHING_HERE.iter().any(|name| query.text(name).is_some()),
            ..Self::default()
        })
    }

    /// Which machines count in a list of environments, where `ids`, `name` and `partialName` choose environments.
    pub(super) fn of_summary(query: &Query) -> Result<Self, ApiError> {
        let partial_name = query.text("machinePartialName").map(str::to_lowercase);
        Ok(Self { partial_name, ..Self::of_machines_only(query)? })
    }

    pub(super) fn passes(&self, seen: &Seen) -> bool {
        fn has(wanted: &[String], is: &str) -> bool {
            wanted.is_empty() || wanted.iter().any(|wanted| wanted.to_lowercase() == is.to_lowercase())
        }
        let machine = &seen.machine;
        let name = machine.name.to_lowercase();
        !self.is_of_nothing_here
            && (self.ids.is_empty() || self.ids.contains(&machine.id))
            && self.name.as_ref().is_none_or(|wanted| *wanted == name)
            && self.partial_name.as_ref().is_none_or(|wanted| name.contains(wanted))
            && (self.roles.is_empty() || machine.roles.iter().any(|role| has(&self.roles, role)))
            && self.is_disabled.is_none_or(|wanted| wanted == machine.is_disabled)
            && has(&self.health_statuses, seen.health_status())
            && has(&self.comm_styles, COMMUNICATION_STYLE)
            && (self.environments.is_empty() || machine.environments.iter().any(|id| self.environments.contains(id)))
            && self.thumbprint.is_none_or(|wanted| wanted == machine.thumbprint)
    }
}

async fn filtered(app: &App, space: SpaceId, query: &Query) -> Result<Vec<Value>, ApiError> {
    let filter = Filter::of(query)?;
    let now = app.now();
    let all = fleet(app, space).await?;
    Ok(all.iter().filter(|seen| filter.passes(seen)).map(|seen| resource(seen, now)).collect())
}

async fn list(Asked { app, space, query }: Asked) -> Result<Json<Page<Value>>, ApiError> {
    let found = filtered(&app, space, &query).await?;
    Ok(Json(LIST.cut(&super::base(space), found, &query)?))
}

/// A page, and beside it how many of all that pass are how.
async fn list_v2(Asked { app, space, query }: Asked) -> Result<Json<Value>, ApiError> {
    let found = filtered(&app, space, &query).await?;
    let mut counts = serde_json::Map::new();
    for machine in &found {
        let status = machine["HealthStatus"].as_str().unwrap_or_default();
        let count = counts.get(status).and_then(Value::as_u64).unwrap_or(0);
        counts.insert(status.to_owned(), (count + 1).into());
    }
    let page = List { path: "/machines/v2", has_all: false, ..LIST }.cut(&super::base(space), found, &query)?;
    Ok(Json(json!({ "DeploymentTargets": page, "TargetCountPerHealthStatus": counts })))
}

async fn all(Asked { app, space, query }: Asked) -> Result<Json<Vec<Value>>, ApiError> {
    Ok(Json(filtered(&app, space, &query).await?))
}

async fn one(
    State(app): State<App>,
    _user: ApiUser,
    Space(space): Space,
    Id(id): Id<MachineId>,
) -> Result<Json<Value>, ApiError> {
    Ok(Json(resource(&seen(&app, space, id).await?, app.now())))
}

/// Where a machine is, as a client says it.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct EndpointBody {
    /// `TentaclePassive` is the one there is.
    communication_style: Option<String>,
    /// Where its Tentacle listens: `https://web-7.example.com:10933/`.
    uri: Option<String>,
    /// The SHA-256 thumbprint of its Tentacle's certificate.
    thumbprint: Option<String>,
    /// Whether it is to be upgraded.
    tentacle_version_details: Option<VersionDetailsBody>,
}

/// What a client may change of a machine's version: whether it is to be upgraded.
#[derive(Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct VersionDetailsBody {
    /// `true` holds it without an end, `false` lets it go.
    upgrade_locked: Option<bool>,
}

/// What a client says of a machine. In an update, what is left out stays as it is.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct MachineBody {
    /// What it is called. A new one needs it.
    name: Option<String>,
    /// Its environments: one at least.
    environment_ids: Option<Vec<EnvironmentId>>,
    /// What it is for, in words of your own.
    roles: Option<Vec<String>>,
    /// Where it is.
    endpoint: Option<EndpointBody>,
    /// The elder place of `Endpoint.Uri`.
    uri: Option<String>,
    /// The elder place of `Endpoint.Thumbprint`.
    thumbprint: Option<String>,
    /// Whether it is left as it is.
    is_disabled: Option<bool>,
    /// `MachinePolicies-1` is the one there is.
    machine_policy_id: Option<String>,
}

impl MachineBody {
    fn upgrade_lock(&self) -> Option<bool> {
        self.endpoint.as_ref()?.tentacle_version_details?.upgrade_locked
    }

    fn read(self, space: SpaceId, old: Option<Machine>) -> Result<NewMachine, ApiError> {
        let endpoint = self.endpoint.unwrap_or_default();
        if let Some(policy) = self.machine_policy_id.as_deref().filter(|policy| !policy.is_empty()) {
            machine_policies::is_known(space, policy)
                .map_err(|error| ApiError { status: StatusCode::BAD_REQUEST, ..error })?;
        }
        if let Some(style) = endpoint.communication_style.filter(|style| style != COMMUNICATION_STYLE) {
            return Err(ApiError::bad_request(format!(
                "This portal speaks to machines of the style {COMMUNICATION_STYLE} only, not {style}."
            )));
        }
        // The endpoint is where clients write them; the fields beside it are the elder spelling.
        let uri = endpoint.uri.or(self.uri).map(|uri| uri.parse::<Address>().map_err(bad));
        let thumbprint = endpoint.thumbprint.or(self.thumbprint).map(|text| {
            text.parse::<Thumbprint>().map_err(|error| bad(format!("Endpoint.Thumbprint is no thumbprint: {error}")))
        });
        let missing = |what: &str| ApiError::bad_request(format!("A machine needs {what}."));
        let old = old.as_ref();
        let kept_address = old.map(|old| old.address.clone());
        Ok(NewMachine {
            name: self.name.or_else(|| old.map(|old| old.name.clone())).ok_or_else(|| missing("a Name"))?,
            address: uri.transpose()?.or(kept_address).ok_or_else(|| missing("an Endpoint.Uri"))?,
            thumbprint: thumbprint
                .transpose()?
                .or(old.map(|old| old.thumbprint))
                .ok_or_else(|| missing("an Endpoint.Thumbprint"))?,
            is_disabled: self.is_disabled.unwrap_or_else(|| old.is_some_and(|old| old.is_disabled)),
            environments: self.environment_ids.or_else(|| old.map(|old| old.environments.clone())).unwrap_or_default(),
            roles: self.roles.or_else(|| old.map(|old| old.roles.clone())).unwrap_or_default(),
        })
    }
}

async fn create(
    State(app): State<App>,
    ApiUser(user): ApiUser,
    Space(space): Space,
    Body(body): Body<MachineBody>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let lock = body.upgrade_lock();
    let new = body.read(space, None)?;
    user.operates(&new.environments)?;
    let machine = machine_add(&app, space, &new).await?;
    set_lock(&app, space, &user.username, machine.id, lock).await?;
    Ok((StatusCode::CREATED, Json(resource(&seen(&app, space, machine.id).await?, app.now()))))
}

async fn update(
    State(app): State<App>,
    ApiUser(user): ApiUser,
    Space(space): Space,
    Id(id): Id<MachineId>,
    Body(body): Body<MachineBody>,
) -> Result<Json<Value>, ApiError> {
    let lock = body.upgrade_lock();
    let wish = |old: &Machine| {
        let new = body.read(space, Some(old.clone()))?;
        user.operates(&new.environments)?;
        Ok::<_, ApiError>(new)
    };
    let (old, new) = machine_change(&app, space, id, wish).await?.ok_or_else(|| not_found(id))?;
    set_lock(&app, space, &user.username, id, lock).await?;
    let is_elsewhere = (old.address, old.thumbprint) != (new.address, new.thumbprint);
    if is_elsewhere && !new.is_disabled {
        // What is known of it was seen at the old address.
        task_create_health(&app, space, &user.username, &Selection::Machines(vec![id]), None).await?;
    }
    Ok(Json(resource(&seen(&app, space, id).await?, app.now())))
}

/// The lock is a hold without an end. A machine that is held is locked already, whoever holds it; to unlock it is to take
/// its hold away.
async fn set_lock(app: &App, space: SpaceId, who: &str, id: MachineId, lock: Option<bool>) -> Result<(), ApiError> {
    let is_held = hold_get(&mut *app.db.read().await?, id, app.now()).await?.is_some();
    let who = Who { name: who, why: "locked through the REST API" };
    match lock {
        Some(true) if !is_held => machine_hold(app, space, id, who, None).await?,
        Some(false) if is_held => machine_release(app, space, id, Who { why: "", ..who }).await?,
        Some(_) | None => {}
    }
    Ok(())
}

async fn remove(
    State(app): State<App>,
    _user: ApiUser,
    Space(space): Space,
    Id(id): Id<MachineId>,
) -> Result<Json<Value>, ApiError> {
    if !machine_remove(&app, space, id).await? {
        return Err(not_found(id));
    }
    Ok(Json(json!({})))
}

fn not_found(id: MachineId) -> ApiError {
    ApiError::not_found(format!("The machine {id}"))
}

async fn discovery(
    State(app): State<App>,
    _user: ApiUser,
    Space(space): Space,
    query: Query,
) -> Result<Json<Value>, ApiError> {
    let host = query.text("host").ok_or_else(|| ApiError::bad_request("Say which host: ?host=server1.example.com."))?;
    if let Some(style) = query.text("type").filter(|style| !style.eq_ignore_ascii_case(COMMUNICATION_STYLE)) {
        return Err(ApiError::bad_request(format!(
            "This portal discovers machines of the style {COMMUNICATION_STYLE} only, not {style}."
        )));
    }
    let port = query.number("port")?.unwrap_or(TENTACLE_PORT);
    let address = Address::new(host, port).map_err(bad)?;
    let found = discover(&app, &address).await;
    let thumbprint = found.map_err(|error| bad(format!("No Tentacle was found: {error}")))?;
    Ok(Json(discovered(space, &address, thumbprint)))
}

async fn connection(
    State(app): State<App>,
    _user: ApiUser,
    Space(space): Space,
    Id(id): Id<MachineId>,
) -> Result<Json<Value>, ApiError> {
    let seen = seen(&app, space, id).await?;
    let link = format!("{}/machines/{id}/connection", super::base(space));
    let tried_at = seen.facts.as_ref().map(|facts| facts.tried_at.rfc3339());
    let category = match seen.facts.as_ref().map(|facts| &facts.contact) {
        Some(Contact::Answered) | None => "Info",
        Some(Contact::Silent { .. } | Contact::Refused { .. }) => "Error",
    };
    let log = json!({
        "Category": category,
        "Detail": "",
        "GapLastNumber": null,
        "MessageText": seen.summary(app.now()),
        "Number": 1,
        "OccurredAt": tried_at,
    });
    Ok(Json(json!({
        "Id": format!("{id}-connection"),
        "MachineId": id,
        "CurrentTentacleVersion": seen.reported_version().map(ToString::to_string),
        "LastChecked": tried_at,
        "Status": seen.status(),
        "Logs": [log],
        "Links": { "Self": link },
    })))
}

async fn machine_tasks(
    Asked { app, space, query }: Asked,
    Id(id): Id<MachineId>,
) -> Result<Json<Page<Value>>, ApiError> {
    let path = format!("/machines/{id}/tasks");
    let list = List { path: &path, filters: &[], ..tasks::LIST };
    let slice = list.slice(&query)?;
    let mut conn = app.db.read().await?;
    machine_get(&mut conn, space, id).await?.ok_or_else(|| not_found(id))?;
    let filter = TaskFilter { machine: Some(id), skip: slice.skip, take: slice.take, ..TaskFilter::default() };
    let found = task_list(&mut conn, space, &filter).await?;
    let items = found.tasks.iter().map(tasks::resource).collect();
    Ok(Json(list.page(&super::base(space), items, found.total, slice, &query)))
}

/// Every role that a machine has, once, in alphabetical order.
async fn roles(State(app): State<App>, _user: ApiUser, Space(space): Space) -> Result<Json<Vec<String>>, ApiError> {
    let machines = machine_list(&mut *app.db.read().await?, space).await?;
    let mut roles: Vec<String> = machines.into_iter().flat_map(|machine| machine.roles).collect();
    roles.sort_by_key(|role| role.to_lowercase());
    roles.dedup_by_key(|role| role.to_lowercase());
    Ok(Json(roles))
}
