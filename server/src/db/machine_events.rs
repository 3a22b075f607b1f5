//! What people did with machines outside a rollout: written once, never changed.

use super::rollout_events::Event;
use super::{Connection, DbError};
use crate::clock::Timestamp;
use crate::ids::MachineId;

/// Events of a machine that are read at most; older ones stay in the table.
const EVENTS_MAX: u32 = 50;

/// Writes down what somebody did: the word of it, and all of it in a sentence.
pub async fn machine_event_insert(
    conn: &mut Connection,
    machine: MachineId,
    at: Timestamp,
    who: &str,
    what: &str,
    line: &str,
) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO machine_events (machine_id, occurred_at, username, what, line) VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(machine)
    .bind(at)
    .bind(who)
    .bind(what)
    .bind(line)
    .execute(conn)
    .await?;
    Ok(())
}

/// The newest events of a machine, newest first.
pub async fn machine_event_list(conn: &mut Connection, machine: MachineId) -> Result<Vec<Event>, DbError> {
    let sql = "SELECT machine_id, occurred_at, username, what, line FROM machine_events WHERE machine_id = $1
               ORDER BY id DESC LIMIT $2";
    Ok(sqlx::query_as(sql).bind(machine).bind(EVENTS_MAX).fetch_all(conn).await?)
}
