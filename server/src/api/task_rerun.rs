//! What is asked of one task beside itself: to do the same again, and what it waits behind.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::Value;

use super::bad;
use super::bind::{Asked, Id, Space, bind};
use super::page::{List, Page};
use super::tasks::{LIST, find, resource, whole_resource};
use crate::app::App;
use crate::auth::{ApiUser, Principal, operates};
use crate::db::tasks::{TaskFilter, TaskPage, task_list};
use crate::error::ApiError;
use crate::ids::{EnvironmentId, MachineId, SpaceId, TaskId};
use crate::model::{Task, TaskState};
use crate::rollout::create::{RolloutRequest, Selection, rollout_create};
use crate::tasks::{
    CONNECTIVITY, DEPLOY, DeployRequest, HEALTH, UPGRADE, task_create_connect, task_create_deploy, task_create_health,
};

pub(super) fn routes() -> Router<App> {
    Router::new().route("/tasks/{id}/queued-behind", get(queued_behind)).route("/tasks/rerun/{id}", post(rerun))
}

/// True where the same may be asked for again.
pub(super) fn can_rerun(task: &Task) -> bool {
    task.state.is_completed() && [UPGRADE, HEALTH, DEPLOY, CONNECTIVITY].contains(&task.task.name.as_str())
}

/// What the arguments of tasks hold, of whatever kind.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Arguments {
    environment_id: Option<EnvironmentId>,
    environment_ids: Option<Vec<EnvironmentId>>,
    machine_ids: Option<Vec<MachineId>>,
    selection: Option<Selection>,
    roles: Vec<String>,
    target_version: Option<String>,
    package_id: Option<String>,
    version: Option<String>,
    variables: BTreeMap<String, String>,
}

impl Arguments {
    fn selection(&self) -> Selection {
        match (&self.selection, &self.machine_ids, &self.environment_ids, self.environment_id) {
            (Some(selection), ..) => selection.clone(),
            (_, Some(ids), ..) => Selection::Machines(ids.clone()),
            (_, _, Some(ids), _) => Selection::Environments(ids.clone()),
            (_, _, _, Some(id)) => Selection::Environments(vec![id]),
            (None, None, None, None) => Selection::All,
        }
    }
}

/// Asks for the same once more, as a new task. Who asks must be allowed all of it.
async fn rerun(
    State(app): State<App>,
    ApiUser(user): ApiUser,
    Space(space): Space,
    Id(id): Id<TaskId>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let mut conn = app.db.read().await?;
    let task = find(&mut conn, space, id).await?;
    drop(conn);
    if !task.state.is_completed() {
        return Err(ApiError::conflict(format!("{id} is not over. Cancel it, or wait for its end.")));
    }
    let again = again(&app, &user, space, &task).await?;
    let mut conn = app.db.read().await?;
    let made = find(&mut conn, space, again).await?;
    Ok((StatusCode::CREATED, Json(whole_resource(&mut conn, &made).await?)))
}

async fn again(app: &App, user: &Principal, space: SpaceId, task: &Task) -> Result<TaskId, ApiError> {
    let arguments: Arguments = bind(task.task.arguments.clone())?;
    let selection = arguments.selection();
    let description = Some(task.task.description.clone());
    let who = user.username.as_str();
    operates(app, user, space, &selection).await?;
    match task.task.name.as_str() {
        UPGRADE => {
            let (Some(target), Some(_)) = (&arguments.target_version, &arguments.selection) else {
                let how = format!("{} cannot be made again: it undid a rollout. Make a new one.", task.id);
                return Err(ApiError::bad_request(how));
            };
            let target = Some(target.parse().map_err(bad)?);
            let request =
                RolloutRequest { target, roles: arguments.roles, description, ..RolloutRequest::of(selection) };
            Ok(rollout_create(app, space, who, request).await?.task)
        }
        DEPLOY => {
            let version = arguments.version.as_deref().map(str::parse).transpose().map_err(bad)?;
            let request = DeployRequest {
                package_id: arguments.package_id.unwrap_or_default().parse().map_err(bad)?,
                version,
                environment: arguments.environment_id.ok_or_else(|| bad("the task names no environment"))?,
                roles: arguments.roles,
                variables: arguments.variables,
                description,
            };
            Ok(task_create_deploy(app, space, who, request).await?)
        }
        CONNECTIVITY => {
            let machine = arguments.machine_ids.and_then(|ids| ids.first().copied());
            let machine = machine.ok_or_else(|| bad("the task names no machine"))?;
            Ok(task_create_connect(app, space, who, machine).await?)
        }
        _ => Ok(task_create_health(app, space, who, &selection, description).await?),
    }
}

/// The tasks of the same kind that began or begin before a queued one. An upgrade waits for its hour, and behind nobody.
async fn queued_behind(Asked { app, space, query }: Asked, Id(id): Id<TaskId>) -> Result<Json<Page<Value>>, ApiError> {
    let path = format!("/tasks/{id}/queued-behind");
    let list = List { path: &path, filters: &[], ..LIST };
    let slice = list.slice(&query)?;
    let mut conn = app.db.read().await?;
    let task = find(&mut conn, space, id).await?;
    let found = if task.state == TaskState::Queued && task.task.name != UPGRADE {
        let filter = TaskFilter {
            name: Some(task.task.name),
            states: vec![TaskState::Queued, TaskState::Executing, TaskState::Cancelling],
            before: Some(id),
            skip: slice.skip,
            take: slice.take,
            ..TaskFilter::default()
        };
        task_list(&mut conn, space, &filter).await?
    } else {
        TaskPage { tasks: Vec::new(), total: 0 }
    };
    let items = found.tasks.iter().map(resource).collect();
    Ok(Json(list.page(&super::base(space), items, found.total, slice, &query)))
}
