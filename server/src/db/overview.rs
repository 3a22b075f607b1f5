//! What the dashboard counts, aggregated by the database: a few rows, however many machines there are.

use sqlx::FromRow;

use super::{Connection, DbError};
use crate::clock::Timestamp;
use crate::ids::{MachineId, RolloutId, SpaceId};
use crate::model::{Health, Instances};

/// Rows of a list that need a person, at most. Further ones are behind the links.
const LISTED_MAX: u32 = 20;

/// Machines that stand alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// They are shown, and nothing else.
    pub is_disabled: bool,
    /// How they are.
    pub health: Health,
    /// What they ran when they last answered.
    pub version: Option<String>,
    /// For which runtime.
    pub runtime: Option<String>,
    /// How many.
    pub number: usize,
}

#[derive(FromRow)]
struct GroupRow {
    is_disabled: bool,
    contact: Option<String>,
    is_well: bool,
    version: Option<String>,
    runtime: Option<String>,
    number: i64,
}

/// The machines of a space by how they stand. What was written before lists had columns of their own counts as well until the
/// machine is tried again.
pub async fn overview_groups(conn: &mut Connection, space: SpaceId) -> Result<Vec<Group>, DbError> {
    let rows: Vec<GroupRow> = sqlx::query_as(
        "SELECT s.is_disabled, s.contact, s.is_well, s.version, s.runtime, COUNT(*) AS number
         FROM (SELECT m.is_disabled, f.contact, f.version, f.runtime,
                      (f.reported_at IS NOT NULL AND COALESCE(f.problems, '') = '') AS is_well
               FROM machines m LEFT JOIN machine_facts f ON f.machine_id = m.id WHERE m.space_id = $1) AS s
         GROUP BY s.is_disabled, s.contact, s.is_well, s.version, s.runtime",
    )
    .bind(space)
    .fetch_all(conn)
    .await?;
    let read = |row: GroupRow| {
        let health = match row.contact.as_deref() {
            None => Health::Unknown,
            Some("answered") if row.is_well => Health::Healthy,
            Some("answered") => Health::Unhealthy,
            Some("silent" | "refused") => Health::Unavailable,
            Some(other) => return Err(DbError::damaged("machine_facts.contact", other)),
        };
        let number = usize::try_from(row.number).unwrap_or(0);
        Ok(Group { is_disabled: row.is_disabled, health, version: row.version, runtime: row.runtime, number })
    };
    rows.into_iter().map(read).collect()
}

/// How many rollouts of each space there are in each state.
pub async fn overview_rollout_states(conn: &mut Connection) -> Result<Vec<(SpaceId, String, i64)>, DbError> {
    let sql = "SELECT space_id, state, COUNT(*) FROM rollouts GROUP BY space_id, state ORDER BY space_id, state";
    Ok(sqlx::query_as(sql).fetch_all(conn).await?)
}

/// How many tasks of each space that are not over there are in each state.
pub async fn overview_task_states(conn: &mut Connection) -> Result<Vec<(SpaceId, String, i64)>, DbError> {
    let sql = "SELECT space_id, state, COUNT(*) FROM tasks WHERE state IN ('Queued', 'Executing', 'Cancelling')
               GROUP BY space_id, state ORDER BY space_id, state";
    Ok(sqlx::query_as(sql).fetch_all(conn).await?)
}

/// The machines that answer as two, by name.
pub async fn overview_cloned(conn: &mut Connection, space: SpaceId) -> Result<Vec<(MachineId, String)>, DbError> {
    let sql = "SELECT m.id, m.name, f.instances FROM machines m JOIN machine_facts f ON f.machine_id = m.id
               WHERE m.space_id = $1 AND m.is_disabled = FALSE AND f.instances LIKE '%\"returns\":{%' ORDER BY m.name_key";
    let rows: Vec<(MachineId, String, String)> = sqlx::query_as(sql).bind(space).fetch_all(conn).await?;
    let mut cloned = Vec::new();
    for (id, name, text) in rows {
        let instances: Instances =
            serde_json::from_str(&text).map_err(|error| DbError::damaged("machine_facts.instances", error))?;
        if instances.is_cloned() {
            cloned.push((id, name));
        }
    }
    Ok(cloned)
}

/// A rollout that needs a person.
#[derive(Clone, Debug, PartialEq, Eq, Hash, FromRow)]
pub struct Stuck {
    /// The rollout.
    pub id: RolloutId,
    /// The version it is to bring.
    #[sqlx(rename = "target_version")]
    pub target: String,
    /// Why it waits; may be empty.
    #[sqlx(rename = "state_reason")]
    pub reason: String,
}

/// The rollouts that are paused, newest first.
pub async fn overview_paused(conn: &mut Connection, space: SpaceId) -> Result<Vec<Stuck>, DbError> {
    let sql = "SELECT id, target_version, state_reason FROM rollouts
               WHERE space_id = $1 AND state = 'Paused' AND cancel_requested_at IS NULL ORDER BY id DESC LIMIT $2";
    Ok(sqlx::query_as(sql).bind(space).bind(LISTED_MAX).fetch_all(conn).await?)
}

/// The rollouts whose next wave a person must release, and whose waves before it are done, newest first.
pub async fn overview_asking(conn: &mut Connection, space: SpaceId) -> Result<Vec<Stuck>, DbError> {
    let sql = "SELECT r.id, r.target_version, w.title AS state_reason FROM rollouts r
               JOIN rollout_waves w ON w.rollout_id = r.id AND w.number = r.open_wave + 1
               WHERE r.space_id = $1 AND r.state = 'Running' AND r.cancel_requested_at IS NULL
                 AND w.approval = 'Person' AND w.released_at IS NULL
                 AND EXISTS (SELECT 1 FROM rollout_machines n WHERE n.rollout_id = r.id AND n.wave = w.number
                             AND n.phase = 'Waiting')
                 AND NOT EXISTS (SELECT 1 FROM rollout_machines m WHERE m.rollout_id = r.id AND m.wave <= r.open_wave
                     AND (m.phase IN ('Checking', 'Uploading', 'Installing', 'Restarting', 'Proving')
                          OR (m.phase = 'Waiting' AND m.detail NOT LIKE '%\"Offline\"%')))
               ORDER BY r.id DESC LIMIT $2";
    Ok(sqlx::query_as(sql).bind(space).bind(LISTED_MAX).fetch_all(conn).await?)
}

/// Machines whose last rollout failed with them, and that do not run its version since.
#[derive(Clone, Debug, PartialEq, Eq, Hash, FromRow)]
pub struct Failed {
    /// The rollout.
    #[sqlx(rename = "rollout_id")]
    pub rollout: RolloutId,
    /// How it failed: FellBack, Failed or Lost.
    pub phase: String,
    /// How many machines.
    pub number: i64,
}

/// See [`Failed`]; what a person has forgiven is left out. The newest rollout first.
pub async fn overview_failed(conn: &mut Connection, space: SpaceId) -> Result<Vec<Failed>, DbError> {
    let sql = "SELECT m.rollout_id, m.phase, COUNT(*) AS number FROM rollout_machines m
               JOIN rollouts r ON r.id = m.rollout_id JOIN machines k ON k.id = m.machine_id
               LEFT JOIN machine_facts f ON f.machine_id = k.id
               WHERE r.space_id = $1 AND k.is_disabled = FALSE AND m.phase IN ('FellBack', 'Failed', 'Lost')
                 AND m.forgiven_at IS NULL
                 AND (f.version IS NULL OR f.version <> COALESCE(m.return_to, r.target_version))
                 AND NOT EXISTS (SELECT 1 FROM rollout_machines n WHERE n.machine_id = m.machine_id
                                 AND n.rollout_id > m.rollout_id AND n.phase <> 'Cancelled')
               GROUP BY m.rollout_id, m.phase ORDER BY m.rollout_id DESC, m.phase LIMIT $2";
    Ok(sqlx::query_as(sql).bind(space).bind(LISTED_MAX).fetch_all(conn).await?)
}

/// A rollout of the list of recent ones.
#[derive(Clone, Debug, PartialEq, Eq, Hash, FromRow)]
pub struct RecentRollout {
    /// The rollout.
    pub id: RolloutId,
    /// The version it brings.
    #[sqlx(rename = "target_version")]
    pub target: String,
    /// The rollout that it undoes.
    pub undo_of: Option<RolloutId>,
    /// The word of its state.
    pub state: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// Who wished it.
    pub created_by: String,
    /// Its machines.
    pub machines: i64,
    /// Of those, the ones that are there.
    pub upgraded: i64,
}

/// The newest rollouts, newest first.
pub async fn overview_rollouts(
    conn: &mut Connection,
    space: SpaceId,
    take: u32,
) -> Result<Vec<RecentRollout>, DbError> {
    let sql = "SELECT r.id, r.target_version, r.undo_of, r.state, r.created_at, r.created_by,
                      (SELECT COUNT(*) FROM rollout_machines m WHERE m.rollout_id = r.id) AS machines,
                      (SELECT COUNT(*) FROM rollout_machines m WHERE m.rollout_id = r.id AND m.phase = 'Upgraded')
                          AS upgraded
               FROM rollouts r WHERE r.space_id = $1 ORDER BY r.id DESC LIMIT $2";
    Ok(sqlx::query_as(sql).bind(space).bind(take).fetch_all(conn).await?)
}
