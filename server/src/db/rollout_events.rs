//! What people did with a rollout, as its page and the REST API show it: read from the trail.

use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, Row as _};

use super::{Connection, DbError};
use crate::clock::Timestamp;
use crate::ids::{MachineId, RolloutId};

/// Events of a rollout that are read at most; older ones stand in the trail and in the log of its task.
const EVENTS_MAX: u32 = 200;

/// What somebody did.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Event {
    /// With which machine, where it was one.
    pub machine: Option<MachineId>,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub who: String,
    /// The word of the hand.
    pub what: String,
    /// All of it in a sentence, with the reason.
    pub line: String,
}

impl<'r> FromRow<'r, SqliteRow> for Event {
    fn from_row(row: &'r SqliteRow) -> Result<Self, sqlx::Error> {
        let machine: Option<String> = row.try_get("machine")?;
        Ok(Self {
            machine: machine.and_then(|id| id.parse().ok()),
            at: row.try_get("occurred_at")?,
            who: row.try_get("username")?,
            what: row.try_get("what")?,
            line: row.try_get("line")?,
        })
    }
}

/// The newest events of a rollout, newest first. That it was made, and what it came to by itself, is not among them.
pub async fn event_list(conn: &mut Connection, rollout: RolloutId) -> Result<Vec<Event>, DbError> {
    let sql = "SELECT a.occurred_at, a.username, a.what, a.username || ' ' || a.line AS line,
                      (SELECT MIN(m.document) FROM audit_documents m
                       WHERE m.audit_id = a.id AND m.document LIKE 'Machines-%') AS machine
               FROM audit_documents d JOIN audit a ON a.id = d.audit_id
               WHERE d.document = $1 AND a.kind = 'Rollout' AND a.what NOT IN ('Create', 'Join', 'State')
               ORDER BY d.audit_id DESC LIMIT $2";
    Ok(sqlx::query_as(sql).bind(rollout.to_string()).bind(EVENTS_MAX).fetch_all(conn).await?)
}
