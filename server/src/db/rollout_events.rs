//! What people did with a rollout: written once, never changed.

use sqlx::FromRow;

use super::{Connection, DbError};
use crate::clock::Timestamp;
use crate::ids::{MachineId, RolloutId};

/// Events of a rollout that are read at most; older ones stand in the log of its task.
const EVENTS_MAX: u32 = 200;

/// What somebody just did.
#[derive(Clone, Copy, Debug)]
pub struct NewEvent<'a> {
    /// With which rollout.
    pub rollout: RolloutId,
    /// With which machine of it, where it was one.
    pub machine: Option<MachineId>,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub who: &'a str,
    /// The word of the hand.
    pub what: &'a str,
    /// All of it in a sentence, with the reason.
    pub line: &'a str,
}

/// What somebody did.
#[derive(Clone, Debug, PartialEq, Eq, Hash, FromRow)]
pub struct Event {
    /// With which machine, where it was one.
    #[sqlx(rename = "machine_id")]
    pub machine: Option<MachineId>,
    /// When.
    #[sqlx(rename = "occurred_at")]
    pub at: Timestamp,
    /// Who.
    #[sqlx(rename = "username")]
    pub who: String,
    /// The word of the hand.
    pub what: String,
    /// All of it in a sentence, with the reason.
    pub line: String,
}

/// Writes an event down.
pub async fn event_insert(conn: &mut Connection, new: &NewEvent<'_>) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO rollout_events (rollout_id, machine_id, occurred_at, username, what, line)
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(new.rollout)
    .bind(new.machine)
    .bind(new.at)
    .bind(new.who)
    .bind(new.what)
    .bind(new.line)
    .execute(conn)
    .await?;
    Ok(())
}

/// The newest events of a rollout, newest first.
pub async fn event_list(conn: &mut Connection, rollout: RolloutId) -> Result<Vec<Event>, DbError> {
    let sql = "SELECT machine_id, occurred_at, username, what, line FROM rollout_events WHERE rollout_id = $1
               ORDER BY id DESC LIMIT $2";
    Ok(sqlx::query_as(sql).bind(rollout).bind(EVENTS_MAX).fetch_all(conn).await?)
}
