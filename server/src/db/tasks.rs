//! Tasks, their logs and their machines: all SQL about what runs in the background.
//!
//! `cancel_requested_at` is the wish of people and has one writer, [`task_cancel_request`]. Everything else is written
//! by what runs the task: the task runner, or the rollout orchestrator for `Upgrade`.

use sqlx::{QueryBuilder, Sqlite};

use super::{Connection, DbError};
use crate::clock::Timestamp;
use crate::ids::{EnvironmentId, MachineId, SpaceId, TaskId};
use crate::model::{LogCategory, LogEntry, MachineTask, MachineTaskState, NewTask, Task, TaskState};

/// Lines of a log that one call of [`task_log`] reads. Whoever wants more asks again, after the last one.
pub const LOG_PAGE_MAX: i64 = 2000;

/// Tasks that one call of [`task_list`] reads, however many are asked for.
pub const TASK_PAGE_MAX: u32 = 1000;

/// A task's state as people see it: a wish to cancel shows at once, although what runs the task has not seen it yet.
const SHOWN_STATE: &str = "CASE WHEN cancel_requested_at IS NOT NULL AND state IN ('Queued', 'Executing') \
                           THEN 'Cancelling' ELSE state END";

/// Which tasks to list. The default lists all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskFilter {
    /// Only these; empty for any.
    pub ids: Vec<TaskId>,
    /// Only those called so, without regard to case.
    pub name: Option<String>,
    /// Only those in one of these states; empty for any.
    pub states: Vec<TaskState>,
    /// Only those whose description holds this text, without regard to case.
    pub description: Option<String>,
    /// Only those with, or without, a warning or an error in their log.
    pub has_warnings: Option<bool>,
    /// Only those that were queued then.
    pub queued: Span,
    /// Only those that began then.
    pub started: Span,
    /// Only those that ended then.
    pub completed: Span,
    /// Only those asked for with this environment.
    pub environment: Option<EnvironmentId>,
    /// Only those that concern this machine.
    pub machine: Option<MachineId>,
    /// Only those that were queued before this one.
    pub before: Option<TaskId>,
    /// How many of the newest to leave out.
    pub skip: u32,
    /// How many to list at most; cut to [`TASK_PAGE_MAX`].
    pub take: u32,
}

/// A time from one moment to another, both included. Without a moment there is no end on that side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// The first moment.
    pub from: Option<Timestamp>,
    /// The last moment.
    pub to: Option<Timestamp>,
}

/// A page of tasks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskPage {
    /// The tasks, newest first.
    pub tasks: Vec<Task>,
    /// How many there are on all pages.
    pub total: u64,
}

#[derive(sqlx::FromRow)]
struct TaskRow {
    id: TaskId,
    space_id: SpaceId,
    name: String,
    description: String,
    arguments: String,
    shown_state: String,
    has_warnings: bool,
    error_message: String,
    created_by: String,
    queued_at: Timestamp,
    started_at: Option<Timestamp>,
    updated_at: Timestamp,
    completed_at: Option<Timestamp>,
}

impl TaskRow {
    fn read(self) -> Result<Task, DbError> {
        let arguments = serde_json::from_str(&self.arguments);
        let task = NewTask {
            space: self.space_id,
            name: self.name,
            description: self.description,
            arguments: arguments.map_err(|_| DbError::damaged("tasks.arguments", self.id))?,
            created_by: self.created_by,
        };
        Ok(Task {
            id: self.id,
            task,
            state: TaskState::from_word(&self.shown_state)
                .ok_or_else(|| DbError::damaged("tasks.state", &self.shown_state))?,
            has_warnings: self.has_warnings,
            error_message: self.error_message,
            queued_at: self.queued_at,
            started_at: self.started_at,
            updated_at: self.updated_at,
            completed_at: self.completed_at,
        })
    }
}

fn select() -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::new("SELECT tasks.*, ");
    query.push(SHOWN_STATE).push(" AS shown_state FROM tasks WHERE ");
    query
}

/// Writes a task down, queued at `now`.
pub async fn task_insert(conn: &mut Connection, task: &NewTask, now: Timestamp) -> Result<TaskId, DbError> {
    let id = sqlx::query_scalar(
        "INSERT INTO tasks (space_id, name, description, arguments, state, created_by, queued_at, updated_at) \
         VALUES ($1, $2, $3, $4, 'Queued', $5, $6, $6) RETURNING id",
    )
    .bind(task.space)
    .bind(&task.name)
    .bind(&task.description)
    .bind(task.arguments.to_string())
    .bind(&task.created_by)
    .bind(now);
    Ok(id.fetch_one(conn).await?)
}

/// The task called `id`.
pub async fn task_get(conn: &mut Connection, space: SpaceId, id: TaskId) -> Result<Option<Task>, DbError> {
    let mut query = select();
    query.push("space_id = ").push_bind(space).push(" AND id = ").push_bind(id);
    query.build_query_as::<TaskRow>().fetch_optional(conn).await?.map(TaskRow::read).transpose()
}

/// The tasks that `filter` lets pass, newest first.
pub async fn task_list(conn: &mut Connection, space: SpaceId, filter: &TaskFilter) -> Result<TaskPage, DbError> {
    let mut count = QueryBuilder::new("SELECT COUNT(*) FROM tasks WHERE ");
    push_filter(&mut count, space, filter);
    let total: i64 = count.build_query_scalar().fetch_one(&mut *conn).await?;
    let mut page = select();
    push_filter(&mut page, space, filter);
    page.push(" ORDER BY id DESC LIMIT ").push_bind(filter.take.min(TASK_PAGE_MAX));
    page.push(" OFFSET ").push_bind(filter.skip);
    let rows: Vec<TaskRow> = page.build_query_as().fetch_all(conn).await?;
    let tasks = rows.into_iter().map(TaskRow::read).collect::<Result<_, _>>()?;
    Ok(TaskPage { tasks, total: u64::try_from(total).unwrap_or(0) })
}

/// How many of the tasks that `filter` lets pass are in which state; none is said of those in which there is none.
pub async fn task_state_counts(
    conn: &mut Connection,
    space: SpaceId,
    filter: &TaskFilter,
) -> Result<Vec<(TaskState, i64)>, DbError> {
    let mut query = QueryBuilder::new("SELECT ");
    query.push(SHOWN_STATE).push(" AS shown_state, COUNT(*) FROM tasks WHERE ");
    push_filter(&mut query, space, filter);
    query.push(" GROUP BY 1");
    let rows: Vec<(String, i64)> = query.build_query_as().fetch_all(conn).await?;
    let read = |(word, count): (String, i64)| {
        let state = TaskState::from_word(&word).ok_or_else(|| DbError::damaged("tasks.state", word))?;
        Ok((state, count))
    };
    rows.into_iter().map(read).collect()
}

fn push_filter(query: &mut QueryBuilder<Sqlite>, space: SpaceId, filter: &TaskFilter) {
    query.push("space_id = ").push_bind(space);
    if let Some(before) = filter.before {
        query.push(" AND id < ").push_bind(before);
    }
    if !filter.ids.is_empty() {
        query.push(" AND id IN (");
        let mut ids = query.separated(", ");
        filter.ids.iter().for_each(|id| {
            ids.push_bind(*id);
        });
        query.push(")");
    }
    if let Some(name) = &filter.name {
        query.push(" AND LOWER(name) = ").push_bind(name.to_lowercase());
    }
    if !filter.states.is_empty() {
        query.push(" AND ").push(SHOWN_STATE).push(" IN (");
        let mut states = query.separated(", ");
        filter.states.iter().for_each(|state| {
            states.push_bind(state.word());
        });
        query.push(")");
    }
    if let Some(description) = &filter.description {
        query.push(" AND LOWER(description) LIKE LOWER(").push_bind(containing(description)).push(") ESCAPE '!'");
    }
    if let Some(has_warnings) = filter.has_warnings {
        query.push(" AND has_warnings = ").push_bind(has_warnings);
    }
    let spans = [("queued_at", filter.queued), ("started_at", filter.started), ("completed_at", filter.completed)];
    for (column, span) in spans {
        for (order, moment) in [(">=", span.from), ("<=", span.to)] {
            if let Some(moment) = moment {
                query.push(format!(" AND {column} {order} ")).push_bind(moment);
            }
        }
    }
    if let Some(environment) = filter.environment {
        // Arguments are JSON: an id among them stands in quotes, and no other id does.
        query.push(" AND arguments LIKE ").push_bind(format!("%\"{environment}\"%"));
    }
    if let Some(machine) = filter.machine {
        query.push(" AND (id IN (SELECT task_id FROM task_machines WHERE machine_id = ").push_bind(machine);
        query.push(") OR id IN (SELECT rollouts.task_id FROM rollouts JOIN rollout_machines ");
        query.push("ON rollout_machines.rollout_id = rollouts.id WHERE rollout_machines.machine_id = ");
        query.push_bind(machine).push("))");
    }
}

/// A pattern for texts that hold `text` as it is; `!` takes their meaning from the signs of patterns.
pub(super) fn containing(text: &str) -> String {
    let escaped: String =
        text.chars().flat_map(|c| matches!(c, '!' | '%' | '_').then_some('!').into_iter().chain([c])).collect();
    format!("%{escaped}%")
}

/// All tasks of all spaces that are not completed, oldest first.
pub async fn task_list_open(conn: &mut Connection) -> Result<Vec<Task>, DbError> {
    let mut query = select();
    query.push("state IN ('Queued', 'Executing', 'Cancelling') ORDER BY id");
    let rows: Vec<TaskRow> = query.build_query_as().fetch_all(conn).await?;
    rows.into_iter().map(TaskRow::read).collect()
}

/// Writes down that a queued task begins.
pub async fn task_begin(conn: &mut Connection, id: TaskId, now: Timestamp) -> Result<(), DbError> {
    let begin = "UPDATE tasks SET state = 'Executing', started_at = $2, updated_at = $2 \
                 WHERE id = $1 AND state = 'Queued'";
    sqlx::query(begin).bind(id).bind(now).execute(conn).await?;
    Ok(())
}

/// Writes down how a task ended; `error` is empty where there is nothing to say. A task that ended before stays as it is.
pub async fn task_end(
    conn: &mut Connection,
    id: TaskId,
    state: TaskState,
    error: &str,
    now: Timestamp,
) -> Result<(), DbError> {
    let end = "UPDATE tasks SET state = $2, error_message = $3, updated_at = $4, completed_at = $4 \
               WHERE id = $1 AND completed_at IS NULL";
    sqlx::query(end).bind(id).bind(state.word()).bind(error).bind(now).execute(conn).await?;
    Ok(())
}

/// Writes down the wish to cancel a task. False where it is unknown or completed, or the wish stood there already.
pub async fn task_cancel_request(
    conn: &mut Connection,
    space: SpaceId,
    id: TaskId,
    now: Timestamp,
) -> Result<bool, DbError> {
    let wish = "UPDATE tasks SET cancel_requested_at = $3, updated_at = $3 \
                WHERE space_id = $1 AND id = $2 AND completed_at IS NULL AND cancel_requested_at IS NULL";
    let result = sqlx::query(wish).bind(space).bind(id).bind(now).execute(conn).await?;
    Ok(result.rows_affected() > 0)
}

/// Appends a line to a task's log and marks the task where the line is a warning or an error.
pub async fn task_log_append(
    conn: &mut Connection,
    id: TaskId,
    machine: Option<MachineId>,
    at: Timestamp,
    category: LogCategory,
    message: &str,
) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO task_log (task_id, machine_id, occurred_at, category, message) VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(id)
    .bind(machine)
    .bind(at)
    .bind(category.word())
    .bind(message)
    .execute(&mut *conn)
    .await?;
    let mark = "UPDATE tasks SET updated_at = CASE WHEN updated_at < $2 THEN $2 ELSE updated_at END, \
                has_warnings = has_warnings OR $3 WHERE id = $1";
    sqlx::query(mark).bind(id).bind(at).bind(category != LogCategory::Info).execute(conn).await?;
    Ok(())
}

/// The lines of a task's log after the one with the number `after` (0 for the first), at most [`LOG_PAGE_MAX`].
pub async fn task_log(conn: &mut Connection, id: TaskId, after: i64) -> Result<Vec<LogEntry>, DbError> {
    let rows: Vec<LogRow> = sqlx::query_as(
        "SELECT id, machine_id, occurred_at, category, message FROM task_log \
         WHERE task_id = $1 AND id > $2 ORDER BY id LIMIT $3",
    )
    .bind(id)
    .bind(after)
    .bind(LOG_PAGE_MAX)
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(read_log).collect()
}

/// The last `lines` lines of a task's log, of those with the number `from` or a later one.
pub async fn task_log_tail(
    conn: &mut Connection,
    id: TaskId,
    from: i64,
    lines: usize,
) -> Result<Vec<LogEntry>, DbError> {
    let rows: Vec<LogRow> = sqlx::query_as(
        "SELECT id, machine_id, occurred_at, category, message FROM task_log \
         WHERE task_id = $1 AND id >= $2 ORDER BY id DESC LIMIT $3",
    )
    .bind(id)
    .bind(from)
    .bind(i64::try_from(lines).unwrap_or(i64::MAX))
    .fetch_all(conn)
    .await?;
    rows.into_iter().rev().map(read_log).collect()
}

type LogRow = (i64, Option<MachineId>, Timestamp, String, String);

fn read_log((number, machine, at, category, message): LogRow) -> Result<LogEntry, DbError> {
    let category = LogCategory::from_word(&category).ok_or_else(|| DbError::damaged("task_log.category", category))?;
    Ok(LogEntry { number, machine, at, category, message })
}

#[derive(sqlx::FromRow)]
struct MachineRow {
    machine_id: MachineId,
    machine_name: String,
    state: String,
    reason: String,
    ticket: String,
    log_seq: i64,
    started_at: Option<Timestamp>,
    completed_at: Option<Timestamp>,
}

/// Adds a machine to a task, with nothing done yet.
pub async fn task_machine_insert(
    conn: &mut Connection,
    id: TaskId,
    machine: MachineId,
    name: &str,
) -> Result<(), DbError> {
    sqlx::query("INSERT INTO task_machines (task_id, machine_id, machine_name, state) VALUES ($1, $2, $3, $4)")
        .bind(id)
        .bind(machine)
        .bind(name)
        .bind(MachineTaskState::Pending.word())
        .execute(conn)
        .await?;
    Ok(())
}

/// The machines of a `Health` or `Deploy` task, in the order of their names.
pub async fn task_machines(conn: &mut Connection, id: TaskId) -> Result<Vec<MachineTask>, DbError> {
    let rows: Vec<MachineRow> =
        sqlx::query_as("SELECT * FROM task_machines WHERE task_id = $1 ORDER BY LOWER(machine_name), machine_id")
            .bind(id)
            .fetch_all(conn)
            .await?;
    let read = |row: MachineRow| {
        Ok(MachineTask {
            machine: row.machine_id,
            machine_name: row.machine_name,
            state: MachineTaskState::from_word(&row.state)
                .ok_or_else(|| DbError::damaged("task_machines.state", row.state))?,
            reason: row.reason,
            ticket: row.ticket,
            log_seq: u64::try_from(row.log_seq).map_err(|_| DbError::damaged("task_machines.log_seq", row.log_seq))?,
            started_at: row.started_at,
            completed_at: row.completed_at,
        })
    };
    rows.into_iter().map(read).collect()
}

/// Writes down where a task stands with one machine.
pub async fn task_machine_update(conn: &mut Connection, id: TaskId, row: &MachineTask) -> Result<(), DbError> {
    sqlx::query(
        "UPDATE task_machines SET state = $3, reason = $4, ticket = $5, log_seq = $6, started_at = $7, \
         completed_at = $8 WHERE task_id = $1 AND machine_id = $2",
    )
    .bind(id)
    .bind(row.machine)
    .bind(row.state.word())
    .bind(&row.reason)
    .bind(&row.ticket)
    .bind(i64::try_from(row.log_seq).unwrap_or(i64::MAX))
    .bind(row.started_at)
    .bind(row.completed_at)
    .execute(conn)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::Db;

    async fn db() -> (tempfile::TempDir, Db) {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open(&folder.path().join("octopus.db")).await.unwrap();
        (folder, db)
    }

    fn health(arguments: serde_json::Value) -> NewTask {
        NewTask {
            space: SpaceId::DEFAULT,
            name: "Health".to_owned(),
            description: "Check".to_owned(),
            arguments,
            created_by: "alice".to_owned(),
        }
    }

    #[tokio::test]
    async fn a_task_is_read_as_it_was_written_and_lives_through_its_states() {
        let (_folder, db) = db().await;
        let mut tx = db.write().await.unwrap();
        let new = health(serde_json::json!({"MachineIds": ["Machines-1"]}));
        let id = task_insert(&mut tx, &new, Timestamp(5)).await.unwrap();
        let get = async |tx: &mut Connection| task_get(tx, SpaceId::DEFAULT, id).await.unwrap().unwrap();
        let task = get(&mut tx).await;
        assert_eq!((task.task.clone(), task.state, task.queued_at), (new, TaskState::Queued, Timestamp(5)));
        assert_eq!(task_get(&mut tx, SpaceId(2), id).await.unwrap(), None, "another space does not see it");

        task_begin(&mut tx, id, Timestamp(6)).await.unwrap();
        task_begin(&mut tx, id, Timestamp(7)).await.unwrap();
        let task = get(&mut tx).await;
        assert_eq!((task.state, task.started_at), (TaskState::Executing, Some(Timestamp(6))));

        assert!(task_cancel_request(&mut tx, SpaceId::DEFAULT, id, Timestamp(8)).await.unwrap());
        assert!(!task_cancel_request(&mut tx, SpaceId::DEFAULT, id, Timestamp(9)).await.unwrap());
        assert_eq!(get(&mut tx).await.state, TaskState::Cancelling);
        assert_eq!(task_list_open(&mut tx).await.unwrap().len(), 1);

        task_end(&mut tx, id, TaskState::Failed, "no", Timestamp(10)).await.unwrap();
        task_end(&mut tx, id, TaskState::Success, "", Timestamp(11)).await.unwrap();
        let task = get(&mut tx).await;
        assert_eq!((task.state, task.error_message.as_str()), (TaskState::Failed, "no"), "an end is the end");
        assert_eq!(task.completed_at, Some(Timestamp(10)));
        assert!(task_list_open(&mut tx).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_list_is_filtered_and_paged_newest_first() {
        let (_folder, db) = db().await;
        let mut tx = db.write().await.unwrap();
        for n in 1..=4 {
            let arguments = serde_json::json!({"EnvironmentId": format!("Environments-{n}")});
            let id = task_insert(&mut tx, &health(arguments), Timestamp(n)).await.unwrap();
            task_machine_insert(&mut tx, id, MachineId(n % 2), "web").await.unwrap();
        }
        task_cancel_request(&mut tx, SpaceId::DEFAULT, TaskId(2), Timestamp(9)).await.unwrap();
        let mut list = async |filter: TaskFilter| {
            let page = task_list(&mut tx, SpaceId::DEFAULT, &filter).await.unwrap();
            (page.tasks.iter().map(|task| task.id.0).collect::<Vec<_>>(), page.total)
        };
        let all = TaskFilter { take: 10, ..TaskFilter::default() };
        assert_eq!(list(all.clone()).await, (vec![4, 3, 2, 1], 4));
        assert_eq!(list(TaskFilter { skip: 1, take: 2, ..all.clone() }).await, (vec![3, 2], 4));
        assert_eq!(list(TaskFilter { ids: vec![TaskId(1), TaskId(9)], ..all.clone() }).await, (vec![1], 1));
        assert_eq!(list(TaskFilter { states: vec![TaskState::Cancelling], ..all.clone() }).await, (vec![2], 1));
        assert_eq!(list(TaskFilter { name: Some("HEALTH".to_owned()), ..all.clone() }).await.1, 4);
        assert_eq!(list(TaskFilter { environment: Some(EnvironmentId(3)), ..all.clone() }).await, (vec![3], 1));
        for (text, found) in [("HECK", 4), ("%", 0), ("C_eck", 0), ("!", 0)] {
            let description = Some(text.to_owned());
            assert_eq!(list(TaskFilter { description, ..all.clone() }).await.1, found, "{text}");
        }
        let queued = Span { from: Some(Timestamp(2)), to: Some(Timestamp(3)) };
        assert_eq!(list(TaskFilter { queued, ..all.clone() }).await, (vec![3, 2], 2));
        let never = Span { from: Some(Timestamp(0)), to: None };
        assert_eq!(list(TaskFilter { completed: never, ..all.clone() }).await.1, 0);
        assert_eq!(list(TaskFilter { has_warnings: Some(false), ..all.clone() }).await.1, 4);
        assert_eq!(list(TaskFilter { machine: Some(MachineId(1)), ..all }).await, (vec![3, 1], 2));
    }

    #[tokio::test]
    async fn a_log_goes_on_after_a_line_and_marks_warnings() {
        let (_folder, db) = db().await;
        let mut tx = db.write().await.unwrap();
        let id = task_insert(&mut tx, &health(serde_json::Value::Null), Timestamp(5)).await.unwrap();
        task_log_append(&mut tx, id, None, Timestamp(6), LogCategory::Info, "one").await.unwrap();
        let first = task_log(&mut tx, id, 0).await.unwrap()[0].number;
        assert!(!task_get(&mut tx, SpaceId::DEFAULT, id).await.unwrap().unwrap().has_warnings);
        let machine = Some(MachineId(7));
        task_log_append(&mut tx, id, machine, Timestamp(7), LogCategory::Warning, "two").await.unwrap();
        task_log_append(&mut tx, id, machine, Timestamp(3), LogCategory::Info, "three").await.unwrap();
        let task = task_get(&mut tx, SpaceId::DEFAULT, id).await.unwrap().unwrap();
        assert!(task.has_warnings);
        assert_eq!(task.updated_at, Timestamp(7), "a machine's slow clock does not turn time back");
        let lines = task_log(&mut tx, id, first).await.unwrap();
        assert_eq!(lines.iter().map(|line| line.message.as_str()).collect::<Vec<_>>(), ["two", "three"]);
        assert_eq!((lines[0].machine, lines[0].category), (machine, LogCategory::Warning));
    }

    #[tokio::test]
    async fn a_machines_part_is_read_as_it_was_written() {
        let (_folder, db) = db().await;
        let mut tx = db.write().await.unwrap();
        let id = task_insert(&mut tx, &health(serde_json::Value::Null), Timestamp(5)).await.unwrap();
        task_machine_insert(&mut tx, id, MachineId(2), "web2").await.unwrap();
        task_machine_insert(&mut tx, id, MachineId(3), "Web1").await.unwrap();
        let mut rows = task_machines(&mut tx, id).await.unwrap();
        assert_eq!(rows.iter().map(|row| row.machine).collect::<Vec<_>>(), [MachineId(3), MachineId(2)]);
        rows[0].state = MachineTaskState::Unknown;
        rows[0].reason = "nobody knows".to_owned();
        rows[0].ticket = "t".to_owned();
        rows[0].log_seq = 9;
        rows[0].started_at = Some(Timestamp(1));
        rows[0].completed_at = Some(Timestamp(2));
        task_machine_update(&mut tx, id, &rows[0]).await.unwrap();
        assert_eq!(task_machines(&mut tx, id).await.unwrap(), rows);
    }
}
