//! Where machines stand in rollouts, asked without reading whole rollouts: for lists of machines, and for one of them.

use std::collections::HashMap;

use super::rollouts::{Place, PlaceRow};
use super::{Connection, DbError};
use crate::ids::{MachineId, RolloutId, SpaceId};

/// The places that a machine may have in rollouts that are not done with it, and where its last rollout lost it.
const PLACES: &str = "SELECT m.*, r.target_version FROM rollouts r JOIN rollout_machines m ON m.rollout_id = r.id
    WHERE r.space_id = $1 AND (r.state IN ('Scheduled', 'Running', 'Paused')
        OR (r.state IN ('Completed', 'CompletedWithFailures')
            AND m.phase IN ('Waiting', 'Checking', 'Uploading', 'Installing', 'Restarting', 'Proving'))
        OR (r.state IN ('CompletedWithFailures', 'Cancelled') AND m.phase = 'Lost'
            AND NOT EXISTS (SELECT 1 FROM rollout_machines n WHERE n.machine_id = m.machine_id
                AND n.rollout_id > m.rollout_id AND n.phase <> 'Cancelled')))";

/// For each machine of a space that an open rollout has, its place in that; where several have it, the one that is at it
/// wins, then the newest. For each other machine that its last rollout lost, its place in that.
pub async fn place_list(conn: &mut Connection, space: SpaceId) -> Result<HashMap<MachineId, Place>, DbError> {
    let sql = format!("{PLACES} ORDER BY r.id");
    let rows: Vec<PlaceRow> = sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(space).fetch_all(conn).await?;
    latest(rows)
}

/// The place of one machine, as [`place_list`] has it.
pub async fn place_of(conn: &mut Connection, space: SpaceId, machine: MachineId) -> Result<Option<Place>, DbError> {
    let sql = format!("{PLACES} AND m.machine_id = $2 ORDER BY r.id");
    let query = sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(space).bind(machine);
    let rows: Vec<PlaceRow> = query.fetch_all(conn).await?;
    Ok(latest(rows)?.remove(&machine))
}

fn latest(rows: Vec<PlaceRow>) -> Result<HashMap<MachineId, Place>, DbError> {
    let at_it = |place: &Place| place.machine.phase.kind().is_in_flight();
    let mut found: HashMap<MachineId, Place> = HashMap::with_capacity(rows.len());
    for row in rows {
        let (machine, place) = row.read()?;
        if found.get(&machine).is_none_or(|other| !at_it(other) || at_it(&place)) {
            found.insert(machine, place);
        }
    }
    Ok(found)
}

/// The place of a machine in the last rollout that did anything with it, or was meant to.
pub async fn place_last(conn: &mut Connection, machine: MachineId) -> Result<Option<Place>, DbError> {
    let sql = "SELECT m.*, r.target_version FROM rollout_machines m JOIN rollouts r ON r.id = m.rollout_id
               WHERE m.machine_id = $1 AND m.phase <> 'Cancelled' ORDER BY m.rollout_id DESC LIMIT 1";
    let row: Option<PlaceRow> = sqlx::query_as(sql).bind(machine).fetch_optional(conn).await?;
    row.map(|row| row.read().map(|(_, place)| place)).transpose()
}

/// The rollouts that are not done with a machine, oldest first.
pub async fn place_rollouts(conn: &mut Connection, machine: MachineId) -> Result<Vec<RolloutId>, DbError> {
    let sql = "SELECT rollout_id FROM rollout_machines WHERE machine_id = $1
               AND phase IN ('Waiting', 'Checking', 'Uploading', 'Installing', 'Restarting', 'Proving')
               ORDER BY rollout_id";
    Ok(sqlx::query_scalar(sql).bind(machine).fetch_all(conn).await?)
}
