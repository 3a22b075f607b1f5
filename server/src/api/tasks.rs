//! Tasks: made, listed, read and cancelled. What they do is done in the background.

use axum::body::{Body as ResponseBody, Bytes};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use contract::Version;
use futures_util::stream::try_unfold;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::bad;
use super::bind::{Asked, Because, Body, Id, Query, Space, bind};
use super::page::{List, Slice};
use super::task_details::{self, Names};
use super::task_rerun::{self, can_rerun};
use crate::app::App;
use crate::auth::{ApiUser, operates};
use crate::db::rollouts::rollout_of_task;
use crate::db::tasks::{Span, TASK_PAGE_MAX, TaskFilter, TaskPage, task_get, task_list, task_log, task_state_counts};
use crate::db::{Connection, DbError};
use crate::error::{ApiError, sentence};
use crate::ids::{EnvironmentId, MachineId, SpaceId, TaskId};
use crate::model::{Task, TaskState};
use crate::rollout::create::{RolloutRequest, Selection, rollout_create};
use crate::rollout::hands::Who;
use crate::tasks::{
    DEPLOY, DeployRequest, HEALTH, TaskError, UPGRADE, task_cancel, task_create_deploy, task_create_health,
};

/// Longest description of a task, in characters. A longer one is refused.
const DESCRIPTION_MAX: usize = 1000;

pub(super) const FILTERS: [&str; 17] = [
    "ids",
    "name",
    "states",
    "active",
    "running",
    "environment",
    "project",
    "tenant",
    "hasPendingInterruptions",
    "hasWarningsOrErrors",
    "description",
    "fromQueueDate",
    "toQueueDate",
    "fromStartDate",
    "toStartDate",
    "fromCompletedDate",
    "toCompletedDate",
];

/// The list.
pub(super) const LIST: List<'_> = List { take_max: TASK_PAGE_MAX, ..List::of("Task", "/tasks", &FILTERS) };

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/tasks", get(list).post(create))
        .route("/tasks/taskTypes", get(types))
        .route("/tasks/{id}", get(one))
        .route("/tasks/{id}/details", get(details))
        .route("/tasks/{id}/raw", get(raw))
        .route("/tasks/{id}/cancel", post(cancel))
        .merge(task_rerun::routes())
}

/// A task as it stands on the wire.
pub(super) fn resource(task: &Task) -> Value {
    let link = format!("{}/tasks/{}", super::base(task.task.space), task.id);
    let is_completed = task.state.is_completed();
    let duration = task.started_at.map(|started| task.completed_at.unwrap_or(task.updated_at).since(started).as_secs());
    json!({
        "Id": task.id,
        "SpaceId": task.task.space,
        "Name": task.task.name,
        "Description": task.task.description,
        "Arguments": task.task.arguments,
        "State": task.state.word(),
        "Completed": task.completed_at.map_or_else(|| task.state.word().to_owned(), |at| at.rfc3339()),
        "QueueTime": task.queued_at.rfc3339(),
        "QueueTimeExpiry": null,
        "StartTime": task.started_at.map(|at| at.rfc3339()),
        "LastUpdatedTime": task.updated_at.rfc3339(),
        "CompletedTime": task.completed_at.map(|at| at.rfc3339()),
        "ServerNode": "OctopusServerNodes-1",
        "Duration": duration.map_or_else(String::new, |seconds| format!("{seconds} seconds")),
        "ErrorMessage": task.error_message,
        "HasBeenPickedUpByProcessor": task.started_at.is_some(),
        "IsCompleted": is_completed,
        "FinishedSuccessfully": task.state == TaskState::Success,
        "HasPendingInterruptions": false,
        "HasWarningsOrErrors": task.has_warnings,
        "CanRerun": can_rerun(task),
        "EstimatedRemainingQueueDurationSeconds": 0,
        "ProjectId": null,
        "CreatedBy": task.task.created_by,
        "Links": {
            "Self": link,
            "Web": format!("/tasks/{}", task.id),
            "Raw": format!("{link}/raw"),
            "Details": format!("{link}/details{{?verbose,tail}}"),
            "Cancel": format!("{link}/cancel"),
            "QueuedBehind": format!("{link}/queued-behind{{?skip,take}}"),
            "Rerun": format!("{}/tasks/rerun/{}", super::base(task.task.space), task.id),
        },
    })
}

pub(super) async fn whole_resource(conn: &mut Connection, task: &Task) -> Result<Value, DbError> {
    let mut value = resource(task);
    if task.task.name == UPGRADE
        && let Some(rollout) = rollout_of_task(conn, task.id).await?
    {
        value["Links"]["Rollout"] = json!(format!("{}/rollouts/{rollout}", super::base(task.task.space)));
    }
    Ok(value)
}

pub(super) async fn find(conn: &mut Connection, space: SpaceId, id: TaskId) -> Result<Task, ApiError> {
    task_get(conn, space, id).await?.ok_or_else(|| ApiError::not_found(format!("The task {id}")))
}

/// A page, and beside it how many of all that pass are in which state.
async fn list(Asked { app, space, query }: Asked) -> Result<Json<Value>, ApiError> {
    let slice = LIST.slice(&query)?;
    let mut conn = app.db.read().await?;
    let (found, counts) = match filter(&query, slice)? {
        Some(filter) => {
            (task_list(&mut conn, space, &filter).await?, task_state_counts(&mut conn, space, &filter).await?)
        }
        None => (TaskPage { tasks: Vec::new(), total: 0 }, Vec::new()),
    };
    let count = |state: &TaskState| counts.iter().find(|(of, _)| of == state).map_or(0, |(_, count)| *count);
    let counts: serde_json::Map<String, Value> =
        TaskState::ALL.iter().map(|state| (state.word().to_owned(), count(state).into())).collect();
    let items: Vec<Value> = found.tasks.iter().map(resource).collect();
    let mut page = json!(LIST.page(&super::base(space), items, found.total, slice, &query));
    page["TotalCounts"] = counts.into();
    Ok(Json(page))
}

/// What the query asks for; `None` where no task can be what it asks for.
fn filter(query: &Query, slice: Slice) -> Result<Option<TaskFilter>, ApiError> {
    let mut states = TaskState::ALL.to_vec();
    let words = query.list::<String>("states")?;
    if !words.is_empty() {
        let state = |word: &String| {
            let unknown = || ApiError::bad_request(format!("The query's states cannot be read: {word} is no state."));
            TaskState::from_word(word).ok_or_else(unknown)
        };
        states = words.iter().map(state).collect::<Result<_, _>>()?;
    }
    if let Some(active) = query.flag("active")? {
        states.retain(|state| state.is_completed() != active);
    }
    if let Some(running) = query.flag("running")? {
        states.retain(|state| matches!(state, TaskState::Executing | TaskState::Cancelling) == running);
    }
    // There are no projects, tenants or interruptions, so no task is of one.
    let of_what_is_not_there = query.text("project").or(query.text("tenant")).is_some();
    if states.is_empty() || of_what_is_not_there || query.flag("hasPendingInterruptions")? == Some(true) {
        return Ok(None);
    }
    Ok(Some(TaskFilter {
        ids: query.list("ids")?,
        name: query.text("name").map(str::to_owned),
        description: query.text("description").map(str::to_owned),
        has_warnings: query.flag("hasWarningsOrErrors")?,
        queued: span(query, "fromQueueDate", "toQueueDate")?,
        started: span(query, "fromStartDate", "toStartDate")?,
        completed: span(query, "fromCompletedDate", "toCompletedDate")?,
        states: if states.len() == TaskState::ALL.len() { Vec::new() } else { states },
        environment: query.one("environment")?,
        machine: None,
        before: None,
        skip: slice.skip,
        take: slice.take,
    }))
}

fn span(query: &Query, from: &str, to: &str) -> Result<Span, ApiError> {
    Ok(Span { from: query.moment(from)?, to: query.moment(to)? })
}

async fn types(_user: ApiUser, _space: Space) -> Json<Value> {
    let all = [(UPGRADE, "Upgrade Tentacles"), (HEALTH, "Check the health of machines"), (DEPLOY, "Deploy a package")];
    Json(all.map(|(id, name)| json!({ "Id": id, "Name": name })).into())
}

async fn one(
    State(app): State<App>,
    _user: ApiUser,
    Space(space): Space,
    Id(id): Id<TaskId>,
) -> Result<Json<Value>, ApiError> {
    let mut conn = app.db.read().await?;
    let task = find(&mut conn, space, id).await?;
    Ok(Json(whole_resource(&mut conn, &task).await?))
}

async fn details(
    State(app): State<App>,
    _user: ApiUser,
    Space(space): Space,
    Id(id): Id<TaskId>,
    query: Query,
) -> Result<Json<Value>, ApiError> {
    let tail = query.number("tail")?;
    let mut conn = app.db.read().await?;
    let task = find(&mut conn, space, id).await?;
    let resource = whole_resource(&mut conn, &task).await?;
    Ok(Json(task_details::details(&mut conn, &task, resource, tail).await?))
}

/// The whole log as text, read from the database piece by piece.
async fn raw(
    State(app): State<App>,
    _user: ApiUser,
    Space(space): Space,
    Id(id): Id<TaskId>,
) -> Result<Response, ApiError> {
    let mut conn = app.db.read().await?;
    let task = find(&mut conn, space, id).await?;
    let names = Names::of(&mut conn, &task).await?;
    drop(conn);
    let head = format!("Task ID: {}\n{}\nState: {}\n\n", task.id, task.task.description, task.state.word());
    let pieces = try_unfold((app, names, 0_i64, Some(head)), move |(app, names, after, head)| async move {
        if let Some(head) = head {
            return Ok::<_, DbError>(Some((Bytes::from(head), (app, names, after, None))));
        }
        let lines = task_log(&mut *app.db.read().await?, id, after).await?;
        let Some(last) = lines.last().map(|line| line.number) else { return Ok(None) };
        let text: String = lines.iter().map(|line| task_details::text_line(line, &names)).collect();
        Ok(Some((Bytes::from(text), (app, names, last, None))))
    });
    let content_type = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    Ok((content_type, ResponseBody::from_stream(pieces)).into_response())
}

async fn cancel(
    State(app): State<App>,
    ApiUser(user): ApiUser,
    Space(space): Space,
    Id(id): Id<TaskId>,
    Because(reason): Because,
) -> Result<Json<Value>, ApiError> {
    task_cancel(&app, space, id, Who { name: &user.username, why: &reason }).await?;
    let mut conn = app.db.read().await?;
    let task = find(&mut conn, space, id).await?;
    Ok(Json(whole_resource(&mut conn, &task).await?))
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct TaskBody {
    /// `Upgrade`, `Health` or `Deploy`.
    name: String,
    /// What the task is called; a sentence of the portal's where nothing is said.
    description: Option<String>,
    /// For whom, and with what.
    #[schemars(with = "Option<Arguments>")]
    arguments: Option<Value>,
}

/// What the arguments of a task may be: the second of a `Deploy`, the first of the others.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "it tells how arguments are written; which they are is known by the task's name alone")]
enum Arguments {
    Selection(SelectionArguments),
    Deploy(DeployArguments),
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct SelectionArguments {
    /// The machines of this environment.
    environment_id: Option<EnvironmentId>,
    /// These machines.
    machine_ids: Option<Vec<MachineId>>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DeployArguments {
    /// The package.
    package_id: String,
    /// Its version; the newest where nothing is said.
    version: Option<String>,
    /// Where.
    environment_id: EnvironmentId,
    /// Of its machines, only those with one of these roles.
    roles: Option<Vec<String>>,
    /// What its scripts find in their environment.
    variables: Option<std::collections::BTreeMap<String, String>>,
}

impl SelectionArguments {
    /// Machines, if any are named; else the environment, if one is named; else everything.
    fn read(self) -> Result<Selection, ApiError> {
        match (self.machine_ids, self.environment_id) {
            (Some(ids), _) if !ids.is_empty() => Ok(Selection::Machines(ids)),
            (_, Some(id)) => Ok(Selection::Environments(vec![id])),
            // An empty list was meant as "none", never as "all".
            (Some(_), None) => Err(ApiError::bad_request("Arguments.MachineIds names no machine.")),
            (None, None) => Ok(Selection::All),
        }
    }
}

/// What a client calls a task: without white space around it, `None` where nothing is left.
pub(super) fn description(text: Option<String>) -> Result<Option<String>, ApiError> {
    let text = text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    match text.as_ref().map(|text| text.chars().count()) {
        Some(length) if length > DESCRIPTION_MAX => Err(ApiError::bad_request(format!(
            "A Description may have at most {DESCRIPTION_MAX} characters, not {length}."
        ))),
        _ => Ok(text),
    }
}

impl DeployArguments {
    fn read(self, description: Option<String>) -> Result<DeployRequest, ApiError> {
        let version = self.version.filter(|version| !version.is_empty()).map(|version| version.parse::<Version>());
        Ok(DeployRequest {
            package_id: self.package_id.parse().map_err(bad)?,
            version: version.transpose().map_err(bad)?,
            environment: self.environment_id,
            roles: self.roles.unwrap_or_default(),
            variables: self.variables.unwrap_or_default(),
            description,
        })
    }
}

async fn create(
    State(app): State<App>,
    ApiUser(user): ApiUser,
    Space(space): Space,
    Body(body): Body<TaskBody>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let arguments = body.arguments.filter(|arguments| !arguments.is_null()).unwrap_or_else(|| json!({}));
    let description = description(body.description)?;
    let who = user.username.as_str();
    let is = |name: &str| body.name.eq_ignore_ascii_case(name);
    let id = if is(UPGRADE) {
        let selection = bind::<SelectionArguments>(arguments)?.read()?;
        operates(&app, &user, space, &selection).await?;
        let request = RolloutRequest { description, ..RolloutRequest::of(selection) };
        rollout_create(&app, space, who, request).await?.task
    } else if is(HEALTH) {
        let selection = bind::<SelectionArguments>(arguments)?.read()?;
        operates(&app, &user, space, &selection).await?;
        task_create_health(&app, space, who, &selection, description).await?
    } else if is(DEPLOY) {
        let request = bind::<DeployArguments>(arguments)?.read(description)?;
        operates(&app, &user, space, &Selection::Environments(vec![request.environment])).await?;
        task_create_deploy(&app, space, who, request).await?
    } else {
        let name: String = body.name.chars().take(50).collect();
        return Err(ApiError::bad_request(format!(
            "This portal has no task called {name}. It knows {UPGRADE}, {HEALTH} and {DEPLOY}."
        )));
    };
    let mut conn = app.db.read().await?;
    let task = find(&mut conn, space, id).await?;
    Ok((StatusCode::CREATED, Json(whole_resource(&mut conn, &task).await?)))
}

impl From<TaskError> for ApiError {
    fn from(error: TaskError) -> Self {
        let sentence = sentence(&error.to_string());
        match error {
            TaskError::UnknownTask(id) => Self::not_found(format!("The task {id}")),
            TaskError::Completed { .. } => Self::conflict(sentence),
            TaskError::Db(error) => error.into(),
            TaskError::Rollout(error) => error.into(),
            _ => Self::bad_request(sentence),
        }
    }
}
