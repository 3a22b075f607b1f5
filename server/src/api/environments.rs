//! Environments, their machines and the summary of everything in one call.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, put};
use axum::{Json, Router};
use contract::EnvironmentName;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::bind::{Asked, Body, Id, Query, Space};
use super::fleet::{Seen, fleet};
use super::machine_resource;
use super::machines::{self, Filter};
use super::page::{List, Page};
use crate::app::App;
use crate::auth::ApiUser;
use crate::db::Connection;
use crate::db::environments::{environment_get, environment_list};
use crate::error::ApiError;
use crate::ids::{EnvironmentId, SpaceId};
use crate::model::{Environment, NewEnvironment};
use crate::rollout::automatic::UpgradePolicy;
use crate::rollout::calendar::WindowSpec;
use crate::rollout::care::{Cares, NewCare};
use crate::roster::{environment_remove, environment_write, environments_sort};

/// The list. On a page there are ten where nothing else is said.
pub(super) const LIST: List<'_> =
    List { has_all: true, take: 10, ..List::of("Environment", "/environments", &["ids", "name", "partialName"]) };

/// Machines of an environment on a page where nothing else is said.
const MACHINES_TAKE_DEFAULT: u32 = 20;

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/environments", get(list).post(create))
        .route("/environments/v2", get(list))
        .route("/environments/all", get(all))
        .route("/environments/summary", get(summary))
        .route("/environments/summary/v2", get(summary_v2))
        .route("/environments/sortorder", put(sort))
        .route("/environments/{id}", get(one).put(update).delete(remove))
        .route("/environments/{id}/machines", get(its_machines))
}

fn resource(environment: &Environment, cares: &Cares) -> Value {
    let link = format!("{}/environments/{}", super::base(environment.space), environment.id);
    json!({
        "Id": environment.id,
        "SpaceId": environment.space,
        "Name": environment.name.as_str(),
        "Slug": environment.slug,
        "Type": "Static",
        "Description": environment.description,
        "SortOrder": environment.sort_order,
        "IsDisabled": environment.is_disabled,
        "UseGuidedFailure": false,
        "AllowDynamicInfrastructure": false,
        "EnvironmentTags": [],
        "MaintenanceWindows": cares.windows(environment.id),
        "AutomaticUpgrade": cares.policy(environment.id),
        "ExtensionSettings": [],
        "Links": {
            "Self": link,
            "Machines": format!("{link}/machines{{?skip,take,partialName,roles,isDisabled,healthStatuses,commStyles}}"),
        },
    })
}

fn passes(environment: &Environment, query: &Query) -> Result<bool, ApiError> {
    let ids = query.list::<EnvironmentId>("ids")?;
    let name = environment.name.as_str().to_lowercase();
    let wanted = |filter: &str| query.text(filter).map(str::to_lowercase);
    Ok((ids.is_empty() || ids.contains(&environment.id))
        && wanted("name").is_none_or(|wanted| wanted == name)
        && wanted("partialName").is_none_or(|wanted| name.contains(&wanted)))
}

/// The environments that were asked for, and what all say of upgrades.
async fn filtered(app: &App, space: SpaceId, query: &Query) -> Result<(Vec<Environment>, Cares), ApiError> {
    let mut conn = app.db.read().await?;
    let mut found = Vec::new();
    for environment in environment_list(&mut conn, space).await? {
        if passes(&environment, query)? {
            found.push(environment);
        }
    }
    Ok((found, Cares::load(&mut conn, space).await?))
}

async fn list(Asked { app, space, query }: Asked) -> Result<Json<Page<Value>>, ApiError> {
    let (found, cares) = filtered(&app, space, &query).await?;
    let items = found.iter().map(|environment| resource(environment, &cares)).collect();
    Ok(Json(LIST.cut(&super::base(space), items, &query)?))
}

async fn all(Asked { app, space, query }: Asked) -> Result<Json<Vec<Value>>, ApiError> {
    let (found, cares) = filtered(&app, space, &query).await?;
    Ok(Json(found.iter().map(|environment| resource(environment, &cares)).collect()))
}

async fn one(
    State(app): State<App>,
    _user: ApiUser,
    Space(space): Space,
    Id(id): Id<EnvironmentId>,
) -> Result<Json<Value>, ApiError> {
    let mut conn = app.db.read().await?;
    let environment = find(&mut conn, space, id).await?;
    Ok(Json(resource(&environment, &Cares::load(&mut conn, space).await?)))
}

async fn find(conn: &mut Connection, space: SpaceId, id: EnvironmentId) -> Result<Environment, ApiError> {
    environment_get(conn, space, id).await?.ok_or_else(|| not_found(id))
}

fn not_found(id: EnvironmentId) -> ApiError {
    ApiError::not_found(format!("The environment {id}"))
}

/// What a client says of an environment. In an update, what is left out stays as it is.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct EnvironmentBody {
    /// What it is called. A new one needs it.
    name: Option<String>,
    /// For people.
    description: Option<String>,
    /// Its place among the others.
    sort_order: Option<i64>,
    /// Whether its machines are left as they are.
    is_disabled: Option<bool>,
    /// When its machines may be begun. An empty list is at any time.
    maintenance_windows: Option<Vec<WindowSpec>>,
    /// Whether it is upgraded by itself when the portal brings a version for the first time.
    automatic_upgrade: Option<UpgradePolicy>,
}

impl EnvironmentBody {
    fn care(&self) -> Result<NewCare, ApiError> {
        NewCare::read(self.maintenance_windows.as_deref(), self.automatic_upgrade.clone()).map_err(super::bad)
    }

    fn read(self, old: Option<&Environment>) -> Result<NewEnvironment, ApiError> {
        let name = self.name.or_else(|| old.map(|old| old.name.as_str().to_owned())).unwrap_or_default();
        let name: EnvironmentName = name.parse().map_err(super::bad)?;
        let description = self.description.or_else(|| old.map(|old| old.description.clone())).unwrap_or_default();
        let is_disabled = self.is_disabled.unwrap_or_else(|| old.is_some_and(|old| old.is_disabled));
        Ok(NewEnvironment { name, description, sort_order: self.sort_order, is_disabled })
    }
}

async fn create(
    State(app): State<App>,
    _user: ApiUser,
    Space(space): Space,
    Body(body): Body<EnvironmentBody>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let care = body.care()?;
    let (environment, cares) = environment_write(&app, space, None, |_| body.read(None), &care).await?;
    Ok((StatusCode::CREATED, Json(resource(&environment, &cares))))
}

async fn update(
    State(app): State<App>,
    _user: ApiUser,
    Space(space): Space,
    Id(id): Id<EnvironmentId>,
    Body(body): Body<EnvironmentBody>,
) -> Result<Json<Value>, ApiError> {
    let care = body.care()?;
    find(&mut *app.db.read().await?, space, id).await?;
    let (environment, cares) = environment_write(&app, space, Some(id), |old| body.read(old), &care).await?;
    Ok(Json(resource(&environment, &cares)))
}

async fn remove(
    State(app): State<App>,
    _user: ApiUser,
    Space(space): Space,
    Id(id): Id<EnvironmentId>,
) -> Result<Json<Value>, ApiError> {
    if !environment_remove(&app, space, id).await? {
        return Err(not_found(id));
    }
    Ok(Json(json!({})))
}

/// Puts the environments into the order of the ids. Those that are not named come after them, as they stood.
async fn sort(
    State(app): State<App>,
    _user: ApiUser,
    Space(space): Space,
    Body(ids): Body<Vec<EnvironmentId>>,
) -> Result<Json<Vec<Value>>, ApiError> {
    environments_sort(&app, space, &ids).await?;
    let (found, cares) = filtered(&app, space, &Query::default()).await?;
    Ok(Json(found.iter().map(|environment| resource(environment, &cares)).collect()))
}

async fn its_machines(
    Asked { app, space, query }: Asked,
    Id(id): Id<EnvironmentId>,
) -> Result<Json<Page<Value>>, ApiError> {
    find(&mut *app.db.read().await?, space, id).await?;
    let filter = Filter::of(&query)?;
    let now = app.now();
    let all = fleet(&app, space).await?.into_iter().filter(|seen| seen.machine.environments.contains(&id));
    let found = all.filter(|seen| filter.passes(seen)).map(|seen| machine_resource::resource(&seen, now)).collect();
    let path = format!("/environments/{id}/machines");
    let list = List { path: &path, has_all: false, take: MACHINES_TAKE_DEFAULT, ..machines::LIST };
    Ok(Json(list.cut(&super::base(space), found, &query)?))
}

async fn summary(asked: Asked) -> Result<Json<Value>, ApiError> {
    Ok(Json(Value::Object(summary_of(asked).await?)))
}

/// The same without the list of what is to be upgraded, which is long where there are many machines.
async fn summary_v2(asked: Asked) -> Result<Json<Value>, ApiError> {
    let mut whole = summary_of(asked).await?;
    whole.remove("MachineIdsForTentacleUpgrade");
    Ok(Json(Value::Object(whole)))
}

async fn summary_of(Asked { app, space, query }: Asked) -> Result<serde_json::Map<String, Value>, ApiError> {
    let filter = Filter::of_summary(&query)?;
    let (mut environments, cares) = filtered(&app, space, &query).await?;
    let mut all = fleet(&app, space).await?;
    all.retain(|seen| filter.passes(seen));
    if query.flag("hideEmptyEnvironments")? == Some(true) {
        environments.retain(|shown| all.iter().any(|seen| seen.machine.environments.contains(&shown.id)));
    }
    let of = |environment: &Environment| -> Vec<&Seen> {
        all.iter().filter(|seen| seen.machine.environments.contains(&environment.id)).collect()
    };
    let summaries = environments.iter().map(|environment| {
        let mut summary = summarise(&of(environment));
        summary.insert("Environment".to_owned(), resource(environment, &cares));
        Value::Object(summary)
    });
    let summaries: Vec<Value> = summaries.collect();
    let shown = |seen: &&Seen| environments.iter().any(|shown| seen.machine.environments.contains(&shown.id));
    let mut whole = summarise(&all.iter().filter(shown).collect::<Vec<_>>());
    whole.insert("EnvironmentSummaries".to_owned(), summaries.into());
    whole.insert("Links".to_owned(), json!({ "Self": format!("{}/environments/summary", super::base(space)) }));
    Ok(whole)
}

/// What there is to say of some machines. A disabled one is counted, and never asked to be upgraded.
fn summarise(machines: &[&Seen]) -> serde_json::Map<String, Value> {
    let mut health: BTreeMap<&str, usize> =
        ["Healthy", "Unavailable", "Unknown", "HasWarnings", "Unhealthy"].map(|word| (word, 0)).into();
    let mut disabled = 0;
    for seen in machines {
        match seen.machine.is_disabled {
            true => disabled += 1,
            false => *health.entry(seen.health_status()).or_default() += 1,
        }
    }
    let to_upgrade: Vec<_> =
        machines.iter().filter(|seen| seen.can_be_upgraded() && !seen.machine.is_disabled).collect();
    let endpoints = BTreeMap::from([(machine_resource::COMMUNICATION_STYLE, machines.len())]);
    let fields = [
        ("TotalMachines", json!(machines.len())),
        ("TotalDisabledMachines", json!(disabled)),
        ("MachineHealthStatusSummaries", json!(health)),
        ("MachineEndpointSummaries", json!(endpoints)),
        ("DeploymentTargetSummaries", json!(endpoints)),
        ("MachineTenantSummaries", json!({})),
        ("MachineTenantTagSummaries", json!({})),
        ("TentacleUpgradesRequired", json!(!to_upgrade.is_empty())),
        ("MachineIdsForTentacleUpgrade", json!(to_upgrade.iter().map(|seen| seen.machine.id).collect::<Vec<_>>())),
        ("MachineIdsForCalamariUpgrade", json!([])),
    ];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
