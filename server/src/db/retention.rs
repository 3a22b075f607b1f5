//! What is old enough to go, and taking it away in small bites. Called by the clean-up alone.

use super::{Connection, DbError};
use crate::clock::Timestamp;
use crate::ids::{SpaceId, TaskId};

/// The newest task that is too old for its number: of a space's tasks, the one after so many newer ones.
pub async fn task_beyond(conn: &mut Connection, space: SpaceId, kept: u32) -> Result<Option<TaskId>, DbError> {
    let sql = "SELECT id FROM tasks WHERE space_id = $1 ORDER BY id DESC LIMIT 1 OFFSET $2";
    Ok(sqlx::query_scalar(sql).bind(space).bind(kept).fetch_optional(conn).await?)
}

/// Tasks that ended before a moment, or are not younger than `beyond`; never one of a rollout, which keeps its task. The
/// oldest first.
pub async fn tasks_expired(
    conn: &mut Connection,
    space: SpaceId,
    before: Timestamp,
    beyond: TaskId,
    most: u32,
) -> Result<Vec<TaskId>, DbError> {
    let sql = "SELECT t.id FROM tasks t WHERE t.space_id = $1 AND (t.completed_at < $2 OR t.id <= $3)
               AND t.state IN ('Success', 'Failed', 'Canceled', 'TimedOut')
               AND NOT EXISTS (SELECT 1 FROM rollouts r WHERE r.task_id = t.id) ORDER BY t.id LIMIT $4";
    let query = sqlx::query_scalar(sql).bind(space).bind(before).bind(beyond).bind(most);
    Ok(query.fetch_all(conn).await?)
}

/// Tasks of rollouts that are over whose log is old enough to go. A rollout that can still go on keeps all of its log. What
/// an undo needs stands in no log.
pub async fn rollout_logs_expired(
    conn: &mut Connection,
    space: SpaceId,
    before: Timestamp,
    beyond: TaskId,
    most: u32,
) -> Result<Vec<TaskId>, DbError> {
    let sql = "SELECT t.id FROM rollouts r JOIN tasks t ON t.id = r.task_id
               WHERE r.space_id = $1 AND r.state IN ('Completed', 'CompletedWithFailures', 'Cancelled')
               AND t.completed_at IS NOT NULL AND (t.completed_at < $2 OR t.id <= $3)
               AND EXISTS (SELECT 1 FROM task_log l WHERE l.task_id = t.id) ORDER BY t.id LIMIT $4";
    let query = sqlx::query_scalar(sql).bind(space).bind(before).bind(beyond).bind(most);
    Ok(query.fetch_all(conn).await?)
}

/// Takes away some of the oldest lines of a log. Returns how many there were to take.
pub async fn task_lines_delete(conn: &mut Connection, task: TaskId, most: u32) -> Result<u64, DbError> {
    let sql = "DELETE FROM task_log WHERE id IN (SELECT id FROM task_log WHERE task_id = $1 ORDER BY id LIMIT $2)";
    Ok(sqlx::query(sql).bind(task).bind(most).execute(conn).await?.rows_affected())
}

/// Takes away a task and what it says of its machines; its log is gone already.
pub async fn task_delete(conn: &mut Connection, task: TaskId) -> Result<(), DbError> {
    sqlx::query("DELETE FROM tasks WHERE id = $1").bind(task).execute(conn).await?;
    Ok(())
}

/// Takes away some changes of health of a space before a moment, but never the newest of a machine: that is how it is.
pub async fn health_changes_delete(
    conn: &mut Connection,
    space: SpaceId,
    before: Timestamp,
    most: u32,
) -> Result<u64, DbError> {
    let sql = "DELETE FROM machine_health_changes WHERE id IN
               (SELECT c.id FROM machine_health_changes c JOIN machines m ON m.id = c.machine_id
                WHERE m.space_id = $1 AND c.occurred_at < $2 AND EXISTS
                (SELECT 1 FROM machine_health_changes n WHERE n.machine_id = c.machine_id AND n.id > c.id)
                ORDER BY c.id LIMIT $3)";
    Ok(sqlx::query(sql).bind(space).bind(before).bind(most).execute(conn).await?.rows_affected())
}

/// Takes away some registration keys of a space that stopped working before a moment, with their uses.
pub async fn registration_keys_delete(
    conn: &mut Connection,
    space: SpaceId,
    before: Timestamp,
    most: u32,
) -> Result<u64, DbError> {
    let sql = "DELETE FROM registration_keys WHERE id IN
               (SELECT id FROM registration_keys WHERE space_id = $1 AND expires_at < $2 ORDER BY id LIMIT $3)";
    Ok(sqlx::query(sql).bind(space).bind(before).bind(most).execute(conn).await?.rows_affected())
}
