//! Holds: somebody said that a machine is not to be upgraded.

use std::collections::HashMap;

use sqlx::FromRow;

use super::{Connection, DbError};
use crate::clock::Timestamp;
use crate::ids::{MachineId, SpaceId};
use crate::rollout::hindrance::Hold;

#[derive(FromRow)]
struct Row {
    machine_id: MachineId,
    reason: String,
    held_by: String,
    held_at: Timestamp,
    held_until: Option<Timestamp>,
}

/// Holds a machine. A hold that is there is replaced.
pub async fn hold_put(conn: &mut Connection, machine: MachineId, hold: &Hold) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO machine_holds (machine_id, reason, held_by, held_at, held_until) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (machine_id) DO UPDATE SET reason = excluded.reason, held_by = excluded.held_by,
             held_at = excluded.held_at, held_until = excluded.held_until",
    )
    .bind(machine)
    .bind(&hold.reason)
    .bind(&hold.by)
    .bind(hold.since)
    .bind(hold.until)
    .execute(conn)
    .await?;
    Ok(())
}

/// The hold of a machine, if it has one that lasts at `now`.
pub async fn hold_get(conn: &mut Connection, machine: MachineId, now: Timestamp) -> Result<Option<Hold>, DbError> {
    let sql = "SELECT * FROM machine_holds WHERE machine_id = $1 AND (held_until IS NULL OR held_until > $2)";
    let row: Option<Row> = sqlx::query_as(sql).bind(machine).bind(now).fetch_optional(conn).await?;
    Ok(row.map(Row::read))
}

/// Takes the hold of a machine away. True if there was one.
pub async fn hold_delete(conn: &mut Connection, machine: MachineId) -> Result<bool, DbError> {
    let sql = "DELETE FROM machine_holds WHERE machine_id = $1";
    Ok(sqlx::query(sql).bind(machine).execute(conn).await?.rows_affected() > 0)
}

/// The holds of a space that last at `now`.
pub async fn hold_list(
    conn: &mut Connection,
    space: SpaceId,
    now: Timestamp,
) -> Result<HashMap<MachineId, Hold>, DbError> {
    let sql = "SELECT h.* FROM machine_holds h JOIN machines m ON m.id = h.machine_id
               WHERE m.space_id = $1 AND (h.held_until IS NULL OR h.held_until > $2)";
    let rows: Vec<Row> = sqlx::query_as(sql).bind(space).bind(now).fetch_all(conn).await?;
    Ok(rows.into_iter().map(|row| (row.machine_id, row.read())).collect())
}

impl Row {
    fn read(self) -> Hold {
        Hold { reason: self.reason, by: self.held_by, since: self.held_at, until: self.held_until }
    }
}
