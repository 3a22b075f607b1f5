//! The loop that runs tasks. It takes no input: woken by a poke or a tick, it loads the open tasks from the database and
//! starts those that are not running and whose space lets tasks begin. It may be killed at any line; the next one goes on from the rows.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::future::try_join_all;
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::journal::Journal;
use super::step::outcome;
use super::{CONNECTIVITY, DEPLOY, HEALTH, connect, deploy, health};
use crate::app::App;
use crate::db::DbError;
use crate::db::spaces::space_list_stopped;
use crate::db::tasks::{task_begin, task_end, task_list_open, task_machine_update, task_machines};
use crate::error::chain;
use crate::ids::TaskId;
use crate::live::Change;
use crate::model::{LogCategory, MachineTask, MachineTaskState, Task, TaskState};

/// How long the loop sleeps when nobody pokes it. Then it looks again.
const TICK: Duration = Duration::from_secs(5);

/// Tasks of one kind that run at once. The others stay queued, so that long deployments never hold up health checks.
const TASKS_AT_ONCE_MAX: usize = 10;

/// Machines of one deployment that are worked on at once. The others wait; a machine that is only waited for takes no
/// place.
const DEPLOYS_AT_ONCE_MAX: usize = 10;

/// Machines of one health check that are asked at once. The others wait.
const CHECKS_AT_ONCE_MAX: usize = 32;

/// Runs tasks until `stop`. What is under way then goes on with the next start of the portal.
pub async fn run(app: App, stop: CancellationToken) {
    let mut runner = Runner { app: app.clone(), jobs: HashMap::new(), running: JoinSet::new() };
    loop {
        if let Err(error) = runner.wake().await {
            tracing::error!(error = chain(&error), "the task runner could not load the tasks; it tries again");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = app.live.tasks_poked() => {}
            () = tokio::time::sleep(TICK) => {}
            Some(ended) = runner.running.join_next_with_id() => {
                runner.ended(ended.map(|(job, ())| job)).await;
            }
        }
    }
}

struct Job {
    id: tokio::task::Id,
    kind: &'static str,
    /// Cancelled when people want the task cancelled.
    cancel: CancellationToken,
}

struct Runner {
    app: App,
    jobs: HashMap<TaskId, Job>,
    /// Dropped with the runner, which ends what is under way.
    running: JoinSet<()>,
}

impl Runner {
    async fn wake(&mut self) -> Result<(), DbError> {
        let mut conn = self.app.db.read().await?;
        let open = task_list_open(&mut conn).await?;
        let stopped = space_list_stopped(&mut conn).await?;
        drop(conn);
        for task in open {
            let Some(kind) = [HEALTH, CONNECTIVITY, DEPLOY].into_iter().find(|kind| *kind == task.task.name) else {
                continue;
            };
            // What was begun before its space was stopped goes on; what is not wished any more ends.
            let waits = task.state == TaskState::Queued && stopped.contains(&task.task.space);
            if !waits
                && !self.jobs.contains_key(&task.id)
                && self.jobs.values().filter(|job| job.kind == kind).count() < TASKS_AT_ONCE_MAX
            {
                let cancel = CancellationToken::new();
                if task.state == TaskState::Cancelling {
                    cancel.cancel();
                }
                let id = self.running.spawn(job(self.app.clone(), task.clone(), cancel.clone())).id();
                self.jobs.insert(task.id, Job { id, kind, cancel });
            }
            if let Some(job) = self.jobs.get(&task.id).filter(|_| task.state == TaskState::Cancelling) {
                job.cancel.cancel();
            }
        }
        Ok(())
    }

    async fn ended(&mut self, ended: Result<tokio::task::Id, JoinError>) {
        let id = ended.as_ref().map_or_else(JoinError::id, |id| *id);
        let task = self.jobs.iter().find(|(_, job)| job.id == id).map(|(task, _)| *task);
        let Some(task) = task else { return };
        self.jobs.remove(&task);
        if let Err(error) = ended {
            tracing::error!(task.id = %task, error = chain(&error), "a task's job broke down; the task ends as failed");
            if let Err(error) = break_down(&self.app, task).await {
                tracing::error!(task.id = %task, error = chain(&error), "its end could not be written down");
            }
        }
    }
}

async fn job(app: App, task: Task, cancel: CancellationToken) {
    if let Err(error) = run_task(&app, &task, &cancel).await {
        tracing::error!(task.id = %task.id, error = chain(&error), "a task was interrupted; it goes on after a while");
        tokio::time::sleep(TICK).await;
    }
}

async fn run_task(app: &App, task: &Task, cancel: &CancellationToken) -> Result<(), DbError> {
    let journal = Journal::new(app.clone(), task.id);
    let mut tx = app.db.write().await?;
    task_begin(&mut tx, task.id, app.now()).await?;
    let parts = task_machines(&mut tx, task.id).await?;
    tx.commit().await?;
    match task.started_at {
        None => journal.say(None, LogCategory::Info, &format!("{}.", task.task.description)).await?,
        Some(_) => journal.say(None, LogCategory::Info, "The task was interrupted and goes on.").await?,
    }
    let open = parts.into_iter().filter(is_open);
    if task.task.name == DEPLOY {
        match deploy::Order::read(&task.task.arguments) {
            Ok(order) => {
                let gate = Semaphore::new(DEPLOYS_AT_ONCE_MAX);
                let run = |part| deploy::run(app, task, &order, part, &gate, cancel);
                try_join_all(open.map(run)).await?;
            }
            Err(error) => {
                let sentence = format!("The task's arguments cannot be read: {error}.");
                return end(app, &journal, task.id, TaskState::Failed, &sentence).await;
            }
        }
    } else if task.task.name == CONNECTIVITY {
        try_join_all(open.map(|part| connect::run(app, task, part, cancel))).await?;
    } else {
        let gate = Semaphore::new(CHECKS_AT_ONCE_MAX);
        try_join_all(open.map(|part| health::run(app, task, part, &gate, cancel))).await?;
    }
    let mut conn = app.db.read().await?;
    let parts = task_machines(&mut conn, task.id).await?;
    drop(conn);
    let open = || (TaskState::Failed, "A machine's part has no end; this is a defect of the portal.".to_owned());
    let (state, sentence) = outcome(&parts).unwrap_or_else(open);
    end(app, &journal, task.id, state, &sentence).await
}

fn is_open(part: &MachineTask) -> bool {
    matches!(part.state, MachineTaskState::Pending | MachineTaskState::Running)
}

async fn end(app: &App, journal: &Journal, task: TaskId, state: TaskState, sentence: &str) -> Result<(), DbError> {
    match state {
        TaskState::Success => journal.say(None, LogCategory::Info, "Success.").await?,
        TaskState::Canceled => journal.say(None, LogCategory::Warning, &format!("Cancelled. {sentence}")).await?,
        _ => journal.say(None, LogCategory::Error, sentence).await?,
    }
    let error = if state == TaskState::Success { "" } else { sentence };
    let mut tx = app.db.write().await?;
    task_end(&mut tx, task, state, error, app.now()).await?;
    tx.commit().await?;
    app.live.tell(Change::Task(task));
    Ok(())
}

/// Ends a task whose job panicked: it would do so again. What was under way has an end that nobody knows.
async fn break_down(app: &App, task: TaskId) -> Result<(), DbError> {
    let sentence = "The portal broke down over this task; its log says more.";
    let mut tx = app.db.write().await?;
    for mut part in task_machines(&mut tx, task).await?.into_iter().filter(is_open) {
        part.state = match part.ticket.is_empty() {
            true => MachineTaskState::Failed,
            false => MachineTaskState::Unknown,
        };
        part.reason = sentence.to_owned();
        part.completed_at = Some(app.now());
        task_machine_update(&mut tx, task, &part).await?;
    }
    task_end(&mut tx, task, TaskState::Failed, sentence, app.now()).await?;
    tx.commit().await?;
    app.live.tell(Change::Task(task));
    Ok(())
}
