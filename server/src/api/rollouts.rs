//! Rollouts: one wish each to bring machines to one Tentacle version.

use std::collections::HashMap;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use contract::Version;
use serde::Deserialize;
use serde_json::{Value, json};

use super::bind::{Asked, Body, Id, Space};
use super::page::{List, Page};
use super::tasks::description;
use crate::app::App;
use crate::auth::ApiUser;
use crate::db::facts::facts_of;
use crate::db::rollouts::{rollout_count, rollout_get, rollout_list};
use crate::error::{ApiError, sentence};
use crate::ids::{EnvironmentId, MachineId, RolloutId, SpaceId};
use crate::model::Facts;
use crate::rollout::create::{RolloutError, RolloutRequest, Selection, rollout_cancel, rollout_create};
use crate::rollout::state::{PhaseKind, Rollout, RolloutMachine};
use crate::sequel::{may_have_sequel, sequel, tally};

/// The list. On a page there are at most a hundred, because each carries all its machines.
const LIST: List<'_> = List { take_max: 100, ..List::of("Rollout", "/rollouts", &[]) };

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/rollouts", get(list).post(create))
        .route("/rollouts/{id}", get(one))
        .route("/rollouts/{id}/cancel", post(cancel))
}

/// A rollout as it stands on the wire. `facts` are those of the machines that [`may_have_sequel`].
fn resource(rollout: &Rollout, facts: &HashMap<MachineId, Facts>) -> Value {
    let space = super::base(rollout.space);
    let link = format!("{space}/rollouts/{}", rollout.id);
    let counts: serde_json::Map<String, Value> = PhaseKind::ALL
        .iter()
        .map(|kind| (kind.word().to_owned(), json!(rollout.count(|of| of == *kind))))
        .chain([("Total".to_owned(), json!(rollout.machines.len()))])
        .collect();
    json!({
        "Id": rollout.id,
        "SpaceId": rollout.space,
        "TaskId": rollout.task,
        "TargetVersion": rollout.target.to_string(),
        "MaxInFlight": rollout.max_in_flight,
        "FailureBudget": rollout.failure_budget,
        "State": rollout.state.word(),
        "StateReason": rollout.state_reason,
        "Summary": match tally(rollout, facts) {
            tally if tally.is_empty() => rollout.summary(),
            tally => format!("{}. {tally}", rollout.summary()),
        },
        "IsCompleted": rollout.state.is_completed(),
        "CancelRequested": rollout.cancel_requested_at.map(|at| at.rfc3339()),
        "CreatedBy": rollout.created_by,
        "Created": rollout.created_at.rfc3339(),
        "Completed": rollout.completed_at.map(|at| at.rfc3339()),
        "Counts": counts,
        "Machines": rollout.machines.iter().map(|row| machine(row, rollout, facts)).collect::<Vec<_>>(),
        "Links": {
            "Self": link,
            "Web": format!("/rollouts/{}", rollout.id),
            "Cancel": format!("{link}/cancel"),
            "Task": format!("{space}/tasks/{}", rollout.task),
        },
    })
}

fn machine(row: &RolloutMachine, rollout: &Rollout, facts: &HashMap<MachineId, Facts>) -> Value {
    let later = sequel(row, &rollout.target, facts.get(&row.machine));
    json!({
        "MachineId": row.machine,
        "Name": row.name,
        "Phase": row.phase.kind().word(),
        "PhaseSince": row.since.rfc3339(),
        "DeadlineAt": row.deadline.map(|at| at.rfc3339()),
        "Reason": row.phase.reason(),
        "Later": later.map(|sequel| sequel.sentence(&rollout.target)),
        "FromVersion": row.from.as_ref().map(ToString::to_string),
        "ToVersion": rollout.target.to_string(),
        "Attempt": row.attempt,
    })
}

async fn list(Asked { app, space, query }: Asked) -> Result<Json<Page<Value>>, ApiError> {
    let slice = LIST.slice(&query)?;
    let mut conn = app.db.read().await?;
    let total = rollout_count(&mut conn, space).await?;
    let rollouts = rollout_list(&mut conn, space, slice.skip, slice.take).await?;
    let facts = facts_of(&mut conn, &may_have_sequel(&rollouts)).await?;
    let items = rollouts.iter().map(|rollout| resource(rollout, &facts)).collect();
    Ok(Json(LIST.page(&super::base(space), items, total, slice, &query)))
}

async fn one(
    State(app): State<App>,
    _user: ApiUser,
    Space(space): Space,
    Id(id): Id<RolloutId>,
) -> Result<Json<Value>, ApiError> {
    Ok(Json(whole(&app, space, id).await?))
}

async fn whole(app: &App, space: SpaceId, id: RolloutId) -> Result<Value, ApiError> {
    let mut conn = app.db.read().await?;
    let rollout = rollout_get(&mut conn, space, id).await?;
    let rollout = rollout.ok_or_else(|| ApiError::not_found(format!("The rollout {id}")))?;
    let facts = facts_of(&mut conn, &may_have_sequel(std::slice::from_ref(&rollout))).await?;
    Ok(resource(&rollout, &facts))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RolloutBody {
    name: Option<String>,
    description: Option<String>,
    target_version: Option<String>,
    environment_ids: Option<Vec<EnvironmentId>>,
    machine_ids: Option<Vec<MachineId>>,
    roles: Option<Vec<String>>,
    max_in_flight: Option<u32>,
    failure_budget: Option<u32>,
}

impl RolloutBody {
    fn read(self) -> Result<RolloutRequest, ApiError> {
        if self.roles.is_some_and(|roles| !roles.is_empty()) {
            let sentence = "Choosing machines by Roles is not built yet; name EnvironmentIds or MachineIds.";
            return Err(ApiError::new(StatusCode::NOT_IMPLEMENTED, sentence));
        }
        let selection = match (self.machine_ids, self.environment_ids) {
            (None, None) => Selection::All,
            (Some(ids), None) if !ids.is_empty() => Selection::Machines(ids),
            (None, Some(ids)) if !ids.is_empty() => Selection::Environments(ids),
            (Some(_), Some(_)) => {
                return Err(ApiError::bad_request("Name either EnvironmentIds or MachineIds, not both."));
            }
            // An empty list was meant as "none", never as "all".
            _ => return Err(ApiError::bad_request("EnvironmentIds or MachineIds is there and names nothing.")),
        };
        let target = self.target_version.filter(|text| !text.is_empty()).map(|text| text.parse::<Version>());
        Ok(RolloutRequest {
            selection,
            target: target.transpose().map_err(super::bad)?,
            max_in_flight: self.max_in_flight,
            failure_budget: self.failure_budget,
            description: description(self.description.or(self.name))?,
        })
    }
}

async fn create(
    State(app): State<App>,
    ApiUser(user): ApiUser,
    Space(space): Space,
    Body(body): Body<RolloutBody>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let rollout = rollout_create(&app, space, &user.username, body.read()?).await?;
    Ok((StatusCode::CREATED, Json(resource(&rollout, &HashMap::new()))))
}

async fn cancel(
    State(app): State<App>,
    ApiUser(user): ApiUser,
    Space(space): Space,
    Id(id): Id<RolloutId>,
) -> Result<Json<Value>, ApiError> {
    rollout_cancel(&app, space, id, &user.username).await?;
    Ok(Json(whole(&app, space, id).await?))
}

impl From<RolloutError> for ApiError {
    fn from(error: RolloutError) -> Self {
        let sentence = sentence(&error.to_string());
        match error {
            RolloutError::NoRollout { id } => Self::not_found(format!("The rollout {id}")),
            RolloutError::Over { .. } => Self::conflict(sentence),
            RolloutError::Db(error) => error.into(),
            RolloutError::NothingBundled
            | RolloutError::NoPackage { .. }
            | RolloutError::NoMachine { .. }
            | RolloutError::NoEnvironment { .. }
            | RolloutError::NothingToDo { .. }
            | RolloutError::OutOfRange { .. } => Self::bad_request(sentence),
        }
    }
}
