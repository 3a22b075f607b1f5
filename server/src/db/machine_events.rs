//! What was done with a machine, as its page shows it: read from the trail.

use super::rollout_events::Event;
use super::{Connection, DbError};
use crate::ids::MachineId;

/// Events of a machine that are read at most; older ones stand in the trail.
const EVENTS_MAX: u32 = 50;

/// The newest events of a machine, newest first.
pub async fn machine_event_list(conn: &mut Connection, machine: MachineId) -> Result<Vec<Event>, DbError> {
    let sql = "SELECT a.occurred_at, a.username, a.what, a.username || ' ' || a.line AS line, d.document AS machine
               FROM audit_documents d JOIN audit a ON a.id = d.audit_id WHERE d.document = $1
               ORDER BY d.audit_id DESC LIMIT $2";
    Ok(sqlx::query_as(sql).bind(machine.to_string()).bind(EVENTS_MAX).fetch_all(conn).await?)
}
