//! The clean-up: a loop that takes away old tasks with their logs, old logs of rollouts that are over, old changes of health
//! and registration keys that stopped working long ago. In small bites, so that nobody waits for the database; never what a
//! rollout that is open, or an undo, needs: rollouts, their machines and their tasks stay.

use std::time::Duration;

use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::audit::Deed;
use crate::clock::Timestamp;
use crate::db::retention::{
    health_changes_delete, registration_keys_delete, rollout_logs_expired, task_beyond, task_delete, task_lines_delete,
    tasks_expired,
};
use crate::db::space_settings::{space_setting_list, space_setting_put};
use crate::db::spaces::space_ids;
use crate::db::{Connection, DbError};
use crate::error::chain;
use crate::ids::{SpaceId, TaskId};
use crate::live::Change;
use crate::model::{AuditCategory, AuditKind};

/// How long tasks are kept where nobody said anything else.
const DAYS_USUAL: u32 = 90;

/// How many tasks are kept where nobody said anything else.
const TASKS_USUAL: u32 = 10_000;

/// Most days that can be set. Whoever wishes to keep more keeps everything.
pub const DAYS_MAX: u32 = 3650;

/// Most tasks that can be set; the same.
pub const TASKS_MAX: u32 = 1_000_000;

/// How often the loop looks. What is too old goes at most this much later.
const TICK: Duration = Duration::from_secs(10 * 60);

/// Rows that one transaction takes away at most. The rest goes in the next bite.
const BITE: u32 = 1_000;

/// How long the database is left to others between two bites.
const PAUSE: Duration = Duration::from_millis(50);

/// Names in the database.
const DAYS: &str = "task_days";
const TASKS: &str = "tasks_kept";

/// What the number of a setting is that keeps everything.
const FOR_EVER: i64 = -1;

/// How much is kept. `None`: everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Days that tasks and their logs are kept after their end.
    pub days: Option<u32>,
    /// Tasks that are kept, the newest.
    pub tasks: Option<u32>,
}

impl Default for Retention {
    fn default() -> Self {
        Self { days: Some(DAYS_USUAL), tasks: Some(TASKS_USUAL) }
    }
}

impl Retention {
    /// Why it cannot be.
    pub fn problem(self) -> Option<String> {
        if self.days.is_some_and(|days| !(1..=DAYS_MAX).contains(&days)) {
            return Some(format!("days must be between 1 and {DAYS_MAX}, or empty"));
        }
        let is_wrong = self.tasks.is_some_and(|tasks| !(1..=TASKS_MAX).contains(&tasks));
        is_wrong.then(|| format!("tasks must be between 1 and {TASKS_MAX}, or empty"))
    }
}

/// How much a space keeps.
pub async fn retention_get(conn: &mut Connection, space: SpaceId) -> Result<Retention, DbError> {
    let all = space_setting_list(conn, space).await?;
    let read = |name: &str, usual: Option<u32>| match all.get(name) {
        None => usual,
        Some(number) => u32::try_from(*number).ok(),
    };
    let usual = Retention::default();
    Ok(Retention { days: read(DAYS, usual.days), tasks: read(TASKS, usual.tasks) })
}

/// Writes down how much a space keeps. The loop does it at its next round.
pub async fn retention_put(app: &App, space: SpaceId, new: Retention) -> Result<(), DbError> {
    let mut tx = app.db.write().await?;
    let before = retention_get(&mut tx, space).await?;
    let state = |keep: Retention| json!({ "Days": keep.days, "Tasks": keep.tasks });
    let line = "changed how long tasks are kept";
    let deed = Deed::new(AuditKind::Setting, AuditCategory::Modified, "Retention", line).on(space);
    let deed = deed.changed(state(before), state(new));
    if !deed.changes_nothing() {
        deed.write(&mut tx, space, app.now()).await?;
    }
    let number = |number: Option<u32>| Some(number.map_or(FOR_EVER, i64::from));
    space_setting_put(&mut tx, space, DAYS, number(new.days)).await?;
    space_setting_put(&mut tx, space, TASKS, number(new.tasks)).await?;
    Ok(tx.commit().await?)
}

/// Cleans up until `stop`.
pub async fn run(app: App, stop: CancellationToken) {
    loop {
        let round = tokio::select! {
            () = stop.cancelled() => return,
            round = clean(&app) => round,
        };
        match round {
            Ok(0) => {}
            Ok(rows) => tracing::info!(rows, "old tasks, logs and changes of health were cleaned up"),
            Err(error) => tracing::warn!(error = chain(&error), "the clean-up was interrupted; it goes on later"),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(TICK) => {}
        }
    }
}

/// Takes away everything that is too old, in every space, bite after bite. Returns how many rows went.
pub async fn clean(app: &App) -> Result<u64, DbError> {
    let spaces = space_ids(&mut *app.db.read().await?).await?;
    let mut rows = 0;
    for space in spaces {
        loop {
            let bite = bite(app, space).await?;
            rows += bite;
            if bite == 0 {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
    Ok(rows)
}

/// One transaction. Returns how many rows went; 0 where nothing is too old.
async fn bite(app: &App, space: SpaceId) -> Result<u64, DbError> {
    let mut conn = app.db.read().await?;
    let keep = retention_get(&mut conn, space).await?;
    let day = Duration::from_secs(86_400);
    let before = keep.days.map_or(Timestamp(i64::MIN), |days| app.now().before(day * days));
    let beyond = match keep.tasks {
        Some(tasks) => task_beyond(&mut conn, space, tasks).await?,
        None => None,
    };
    let beyond = beyond.unwrap_or(TaskId(i64::MIN));
    let task = tasks_expired(&mut conn, space, before, beyond, 1).await?;
    let log = rollout_logs_expired(&mut conn, space, before, beyond, 1).await?;
    drop(conn);
    let mut tx = app.db.write().await?;
    let mut rows = 0;
    let mut changed = None;
    if let Some(task) = task.first() {
        rows += task_lines_delete(&mut tx, *task, BITE).await?;
        if rows < u64::from(BITE) {
            task_delete(&mut tx, *task).await?;
            rows += 1;
        }
        changed = Some(*task);
    } else if let Some(task) = log.first() {
        rows += task_lines_delete(&mut tx, *task, BITE).await?;
        changed = Some(*task);
    } else if keep.days.is_some() {
        rows += health_changes_delete(&mut tx, space, before, BITE).await?;
        if rows == 0 {
            rows += registration_keys_delete(&mut tx, space, before, BITE).await?;
        }
    }
    tx.commit().await.map_err(DbError::from)?;
    if let Some(task) = changed {
        app.live.tell(Change::Task(task));
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::tasks::{task_begin, task_end, task_get, task_insert, task_log, task_log_append};
    use crate::model::{LogCategory, NewTask, TaskState};
    use crate::testing::TestApp;

    const DAY: Duration = Duration::from_secs(86_400);

    /// A task with so many lines in its log; over, or still running.
    async fn task(app: &TestApp, lines: usize, is_over: bool) -> TaskId {
        let mut tx = app.db.write().await.unwrap();
        let new = NewTask {
            space: SpaceId::DEFAULT,
            name: "Health".into(),
            description: "x".into(),
            arguments: serde_json::json!({}),
            created_by: "x".into(),
        };
        let id = task_insert(&mut tx, &new, app.now()).await.unwrap();
        task_begin(&mut tx, id, app.now()).await.unwrap();
        for _ in 0..lines {
            task_log_append(&mut tx, id, None, app.now(), LogCategory::Info, "line").await.unwrap();
        }
        if is_over {
            task_end(&mut tx, id, TaskState::Success, "", app.now()).await.unwrap();
        }
        tx.commit().await.unwrap();
        id
    }

    async fn set(app: &App, days: Option<u32>, tasks: Option<u32>) {
        retention_put(app, SpaceId::DEFAULT, Retention { days, tasks }).await.unwrap();
    }

    async fn is_there(app: &App, id: TaskId) -> bool {
        task_get(&mut app.db.read().await.unwrap(), SpaceId::DEFAULT, id).await.unwrap().is_some()
    }

    /// Makes a task that of a rollout in this state.
    async fn of_rollout(app: &App, task: TaskId, state: &str) {
        let mut tx = app.db.write().await.unwrap();
        sqlx::query(
            "INSERT INTO rollouts (space_id, task_id, target_version, selection, max_in_flight, failure_budget,
             created_by, created_at, state, state_since, strategy) VALUES (1, $1, '1.0.0', '', 1, 1, 'x', 0, $2, 0, '{}')",
        )
        .bind(task)
        .bind(state)
        .execute(&mut *tx)
        .await
        .unwrap();
        tx.commit().await.unwrap();
    }

    async fn lines(app: &App, id: TaskId) -> usize {
        task_log(&mut app.db.read().await.unwrap(), id, 0).await.unwrap().len()
    }

    #[tokio::test]
    async fn old_tasks_go_with_their_logs_in_bites_and_what_runs_stays() {
        let app = App::for_tests().await;
        let (old, running) = (task(&app, 2_500, true).await, task(&app, 3, false).await);
        app.clock.advance(DAY * 20);
        let young = task(&app, 3, true).await;
        set(&app, Some(30), None).await;
        assert_eq!(clean(&app).await.unwrap(), 0, "nothing is old enough");
        app.clock.advance(DAY * 11);
        assert_eq!(clean(&app).await.unwrap(), 2_501);
        assert!(!is_there(&app, old).await && is_there(&app, running).await && is_there(&app, young).await);
        assert_eq!(lines(&app, running).await, 3);
    }

    #[tokio::test]
    async fn beyond_a_number_the_oldest_go() {
        let app = App::for_tests().await;
        let mut all = Vec::new();
        for _ in 0..5 {
            all.push(task(&app, 1, true).await);
        }
        set(&app, None, Some(2)).await;
        clean(&app).await.unwrap();
        let mut left = Vec::new();
        for id in all {
            left.push(is_there(&app, id).await);
        }
        assert_eq!(left, [false, false, false, true, true]);
        set(&app, None, None).await;
        app.clock.advance(DAY * 9_999);
        assert_eq!(clean(&app).await.unwrap(), 0, "everything is kept for ever");
    }

    #[tokio::test]
    async fn a_rollout_keeps_its_task_and_an_open_one_its_log_too() {
        let app = App::for_tests().await;
        let (over, paused) = (task(&app, 4, true).await, task(&app, 4, true).await);
        of_rollout(&app, over, "Completed").await;
        of_rollout(&app, paused, "Paused").await;
        app.clock.advance(DAY * 100);
        clean(&app).await.unwrap();
        assert!(is_there(&app, over).await && is_there(&app, paused).await);
        assert_eq!((lines(&app, over).await, lines(&app, paused).await), (0, 4));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert_eq!(Retention::default().problem(), None);
        assert_eq!(Retention { days: None, tasks: None }.problem(), None);
        assert!(Retention { days: Some(0), tasks: None }.problem().is_some());
        assert!(Retention { days: None, tasks: Some(TASKS_MAX + 1) }.problem().is_some());
    }
}
