//! Tasks: the list, one with its log, and the wish to cancel it.

pub mod filter;
pub mod view;

use std::collections::HashMap;

use askama::Template;
use askama_web::WebTemplate;
use axum::Router;
use axum::extract::State;
use axum::response::Redirect;
use axum::routing::get;

use self::filter::{Filter, NAMES, Standing};
use self::view::{TaskView, TasksView, task_view, tasks_view};
use super::form::{Address, Body, Fields, Id};
use super::live::{LiveView as _, cursor};
use super::shell::{Section, Shell};
use super::view::{self as words, Status};
use super::{ConfirmPage, PageError, Reason, Weight, sentence};
use crate::app::App;
use crate::auth::{PageUser, may};
use crate::clock::Timestamp;
use crate::db::DbError;
use crate::db::machines::machine_list;
use crate::db::reach::environments_of_task;
use crate::db::rollouts::rollout_of_task;
use crate::db::tasks::{task_get, task_list, task_log_tail, task_machines};
use crate::error::ApiError;
use crate::ids::{MachineId, SpaceId, TaskId};
use crate::model::{LogCategory, Task, TaskState};
use crate::rollout::hands::Who;
use crate::tasks::{TaskError, task_cancel};

/// Tasks on one page of the list. Older ones are on the next.
const PAGE_SIZE: u32 = 50;

/// Lines of a log that a page begins with. Earlier ones are in the whole log.
const TAIL: usize = 500;

/// From where on an open page shows a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The number of its first line.
    from: i64,
    /// There are lines before that.
    has_earlier: bool,
}

impl Window {
    /// Reads it from the address of a stream.
    pub fn read(fields: &Fields) -> Self {
        Self { from: fields.get("from").parse().unwrap_or(0), has_earlier: fields.get("earlier") == "true" }
    }
}

/// Lines that an open page may grow to. Then it begins anew with its last [`TAIL`] lines.
const GROWN_MAX: usize = 2_000;

/// `/tasks` and what is under it.
pub fn router() -> Router<App> {
    Router::new()
        .route("/tasks", get(list))
        .route("/tasks/{id}", get(show))
        .route("/tasks/{id}/cancel", get(ask_cancel).post(cancel))
}

#[derive(Template, WebTemplate)]
#[template(path = "tasks/list.html")]
struct ListPage {
    shell: Shell,
    view: TasksView,
    now: Timestamp,
}

async fn list(user: PageUser, State(app): State<App>, Address(fields): Address) -> Result<ListPage, PageError> {
    let filter = Filter::read(&fields);
    let view = load_list(&app, user.0.space, &filter).await?;
    let scope = format!("page=tasks&number={}{}&seen={}", filter.page, filter.query(), cursor(&view.parts()));
    let shell = Shell::new(&app, &user, Section::Tasks, "Tasks").live(&scope);
    Ok(ListPage { now: shell.now, shell, view })
}

/// One page of the list, and how many tasks wait and run.
pub async fn load_list(app: &App, space: SpaceId, filter: &Filter) -> Result<TasksView, DbError> {
    let mut conn = app.db.read().await?;
    let wanted = filter.of_page(PAGE_SIZE);
    let found = task_list(&mut conn, space, &wanted).await?;
    let count = async |conn: &mut crate::db::Connection, standing| {
        let filter = Filter { standing: Some(standing), ..Filter::default() }.of_page(1);
        task_list(conn, space, &filter).await.map(|found| found.total)
    };
    let queue = (count(&mut conn, Standing::Queued).await?, count(&mut conn, Standing::Running).await?);
    let has_more = found.total > u64::from(wanted.skip) + u64::from(PAGE_SIZE);
    Ok(tasks_view(&found.tasks, filter.clone(), queue, has_more))
}

#[derive(Template, WebTemplate)]
#[template(path = "tasks/show.html")]
struct ShowPage {
    shell: Shell,
    view: TaskView,
    now: Timestamp,
}

async fn show(user: PageUser, State(app): State<App>, Id(id): Id<TaskId>) -> Result<ShowPage, PageError> {
    let view = load(&app, user.0.space, id, None).await?;
    let from = view.lines.first().map_or(0, |line| line.number);
    let earlier = view.head.has_earlier;
    let scope = format!("task={id}&from={from}&earlier={earlier}&seen={}", cursor(&view.parts()));
    let shell = Shell::new(&app, &user, Section::Tasks, view.head.description.clone()).live(&scope);
    Ok(ShowPage { now: shell.now, shell, view })
}

/// One task with its log from `window` on, or with the end of its log.
pub async fn load(app: &App, space: SpaceId, id: TaskId, window: Option<Window>) -> Result<TaskView, ApiError> {
    let mut conn = app.db.read().await?;
    let task = find(&mut conn, space, id).await?;
    let rollout = rollout_of_task(&mut conn, id).await?;
    let machines = task_machines(&mut conn, id).await?;
    // One more than is shown tells whether there are others before.
    let begun = window.map_or(i64::MIN, |window| window.from);
    let mut log = task_log_tail(&mut conn, id, begun, GROWN_MAX + 1).await?;
    let mut has_earlier = window.is_some_and(|window| window.has_earlier);
    if window.is_none() || log.len() > GROWN_MAX {
        let before = log.len().saturating_sub(TAIL);
        has_earlier = before > 0;
        log.drain(..before);
    }
    let mut names: HashMap<MachineId, String> = machines.iter().map(|m| (m.machine, m.machine_name.clone())).collect();
    if log.iter().any(|entry| entry.machine.is_some_and(|machine| !names.contains_key(&machine))) {
        for machine in machine_list(&mut conn, space).await? {
            names.entry(machine.id).or_insert(machine.name);
        }
    }
    let name_of = |machine: MachineId| names.get(&machine).cloned().unwrap_or_else(|| machine.to_string());
    let mut view = task_view(&task, rollout, &machines, log, has_earlier, name_of);
    view.head.may_cancel = may::post_in("/tasks/{id}/cancel", &environments_of_task(&mut conn, space, id).await?);
    Ok(view)
}

async fn find(conn: &mut crate::db::Connection, space: SpaceId, id: TaskId) -> Result<Task, ApiError> {
    let task = task_get(conn, space, id).await?;
    task.ok_or_else(|| ApiError::not_found(format!("The task {id}")))
}

async fn ask_cancel(user: PageUser, State(app): State<App>, Id(id): Id<TaskId>) -> Result<ConfirmPage, PageError> {
    let task = find(&mut *app.db.read().await?, user.0.space, id).await?;
    Ok(ConfirmPage {
        shell: Shell::new(&app, &user, Section::Tasks, "Cancel the task?"),
        consequence: format!(
            "\"{}\" begins nothing new. What machines are doing for it is told to end; how far they came stands in the \
             log.",
            task.task.description
        ),
        action: format!("/tasks/{id}/cancel"),
        fields: Vec::new(),
        weight: Weight::Grave,
        button: "Cancel task".to_owned(),
        back: format!("/tasks/{id}"),
        reason: Reason::Asked,
    })
}

async fn cancel(
    user: PageUser,
    State(app): State<App>,
    Id(id): Id<TaskId>,
    Body(fields): Body,
) -> Result<Redirect, PageError> {
    let who = Who { name: &user.0.username, why: fields.get("why") };
    task_cancel(&app, user.0.space, id, who).await.map_err(refused)?;
    Ok(Redirect::to(&format!("/tasks/{id}")))
}

/// What a page says of a task that was not made or not cancelled.
pub(super) fn refused(error: TaskError) -> ApiError {
    let message = sentence(&error.to_string());
    match error {
        TaskError::UnknownEnvironment(_)
        | TaskError::UnknownMachine(_)
        | TaskError::UnknownPackage { .. }
        | TaskError::UnknownTask(_) => ApiError::new(http::StatusCode::NOT_FOUND, message),
        TaskError::NothingSelected { .. } | TaskError::DisabledEnvironment(_) | TaskError::Completed { .. } => {
            ApiError::conflict(message)
        }
        TaskError::Rollout(error) => error.into(),
        TaskError::TooManyVariables(_) | TaskError::UnfitVariable { .. } => ApiError::bad_request(message),
        TaskError::Db(error) => error.into(),
    }
}
