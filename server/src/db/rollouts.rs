//! Rollouts and their machines. The rows of a rollout are written when it is made; from then on by the orchestrator.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use contract::{Sha256, Version};
use sqlx::FromRow;

use super::{Connection, DbError};
use crate::clock::Timestamp;
use crate::db::rollout_waves::{waves_insert, waves_list};
use crate::ids::{MachineId, RolloutId, SpaceId, TaskId};
use crate::rollout::state::{
    Phase, Return, Rollout, RolloutMachine, RolloutState, RolloutWave, SkipReason, WaitReason,
};
use crate::rollout::strategy::{CutWave, Strategy};

/// The name of the setting that holds the highest generation this portal ever issued.
const GENERATION: &str = "generation";

/// What a rollout is made of.
#[derive(Clone, Debug)]
pub struct NewRollout {
    /// The space it belongs to.
    pub space: SpaceId,
    /// The task that shows its log.
    pub task: TaskId,
    /// The version wished for.
    pub target: Version,
    /// The rollout that it undoes.
    pub undo_of: Option<RolloutId>,
    /// What was asked for, as JSON.
    pub selection: String,
    /// How it goes about its machines.
    pub strategy: Strategy,
    /// Its waves.
    pub waves: Vec<CutWave>,
    /// When it begins; `None` for at once.
    pub start_at: Option<Timestamp>,
    /// See [`Rollout::max_in_flight`].
    pub max_in_flight: u32,
    /// See [`Rollout::failure_budget`].
    pub failure_budget: u32,
    /// Who wished it.
    pub created_by: String,
    /// When.
    pub created_at: Timestamp,
    /// Its machines in their order.
    pub machines: Vec<NewRolloutMachine>,
    /// The packages it carries.
    pub packages: Vec<RolloutPackage>,
}

/// A machine of a new rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRolloutMachine {
    /// The machine.
    pub machine: MachineId,
    /// Its name.
    pub name: String,
    /// What it ran when it was last seen; `None` if it was never seen.
    pub from: Option<Version>,
    /// Its wave, from 0.
    pub wave: usize,
    /// In an undo: the way that it goes.
    pub back: Option<Return>,
    /// Why it is left as it is from the start.
    pub skipped: Option<SkipReason>,
}

/// A Tentacle package of a rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolloutPackage {
    /// In .NET's words: `linux-x64`.
    pub runtime: String,
    /// Names the file in the store.
    pub sha256: Sha256,
    /// Its size in bytes.
    pub size: u64,
}

/// A machine's place in a rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The rollout.
    pub rollout: RolloutId,
    /// The version it wishes.
    pub target: Version,
    /// Where the machine stands in it.
    pub machine: RolloutMachine,
}

/// A [`Place`] as it is read: `m.*, r.target_version`.
#[derive(FromRow)]
pub(super) struct PlaceRow {
    rollout_id: RolloutId,
    target_version: String,
    #[sqlx(flatten)]
    machine: MachineRow,
}

#[derive(FromRow)]
pub(super) struct Row {
    id: RolloutId,
    space_id: SpaceId,
    task_id: TaskId,
    target_version: String,
    max_in_flight: i64,
    failure_budget: i64,
    created_by: String,
    created_at: Timestamp,
    state: String,
    state_reason: String,
    cancel_requested_at: Option<Timestamp>,
    completed_at: Option<Timestamp>,
    revision: i64,
    strategy: String,
    open_wave: i64,
    start_at: Option<Timestamp>,
    undo_of: Option<RolloutId>,
}

#[derive(FromRow)]
struct MachineRow {
    machine_id: MachineId,
    machine_name: String,
    position: i64,
    detail: String,
    phase_since: Timestamp,
    deadline_at: Option<Timestamp>,
    attempt: i64,
    from_version: Option<String>,
    previous_version: Option<String>,
    return_from: Option<String>,
    return_to: Option<String>,
    tried_at: Option<Timestamp>,
    was_away: bool,
    revision: i64,
    wave: i64,
    forgiven_at: Option<Timestamp>,
}

const SELECT: &str = "SELECT r.* FROM rollouts r";

/// Writes a new rollout, all of its machines waiting for their turn.
pub async fn rollout_insert(conn: &mut Connection, new: &NewRollout) -> Result<RolloutId, DbError> {
    let id: RolloutId = sqlx::query_scalar(
        "INSERT INTO rollouts (space_id, task_id, target_version, selection, max_in_flight, failure_budget, created_by,
                               created_at, state, state_since, strategy, start_at, undo_of)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $8, $10, $11, $12) RETURNING id",
    )
    .bind(new.space)
    .bind(new.task)
    .bind(new.target.to_string())
    .bind(&new.selection)
    .bind(i64::from(new.max_in_flight))
    .bind(i64::from(new.failure_budget))
    .bind(&new.created_by)
    .bind(new.created_at)
    .bind(if new.start_at.is_some() { RolloutState::Scheduled.word() } else { RolloutState::Running.word() })
    .bind(serde_json::to_string(&new.strategy).map_err(|error| DbError::damaged("rollouts.strategy", error))?)
    .bind(new.start_at)
    .bind(new.undo_of)
    .fetch_one(&mut *conn)
    .await?;
    waves_insert(conn, id, &new.waves).await?;
    for (position, machine) in (0_i64..).zip(&new.machines) {
        rollout_machine_insert(conn, id, position, machine, new.created_at).await?;
    }
    for package in &new.packages {
        sqlx::query("INSERT INTO rollout_packages (rollout_id, runtime, sha256, size) VALUES ($1, $2, $3, $4)")
            .bind(id)
            .bind(&package.runtime)
            .bind(package.sha256.to_string())
            .bind(i64::try_from(package.size).unwrap_or(i64::MAX))
            .execute(&mut *conn)
            .await?;
    }
    Ok(id)
}

/// Writes a machine of a rollout, waiting for its turn unless it is left out. False where the rollout has it already.
pub async fn rollout_machine_insert(
    conn: &mut Connection,
    rollout: RolloutId,
    position: i64,
    machine: &NewRolloutMachine,
    now: Timestamp,
) -> Result<bool, DbError> {
    let phase = machine.skipped.clone().map_or(Phase::Waiting(WaitReason::Turn), Phase::Skipped);
    let done = sqlx::query(
        "INSERT INTO rollout_machines (rollout_id, machine_id, machine_name, position, phase, detail, phase_since,
                                       from_version, wave, return_from, return_to)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT DO NOTHING",
    )
    .bind(rollout)
    .bind(machine.machine)
    .bind(&machine.name)
    .bind(position)
    .bind(phase.kind().word())
    .bind(write_phase(&phase)?)
    .bind(now)
    .bind(machine.from.as_ref().map(Version::to_string))
    .bind(i64::try_from(machine.wave).unwrap_or(i64::MAX))
    .bind(machine.back.as_ref().map(|back| back.from.to_string()))
    .bind(machine.back.as_ref().map(|back| back.to.to_string()))
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// One rollout with its machines.
pub async fn rollout_get(conn: &mut Connection, space: SpaceId, id: RolloutId) -> Result<Option<Rollout>, DbError> {
    let sql = format!("{SELECT} WHERE r.space_id = $1 AND r.id = $2");
    let rows = sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(space).bind(id).fetch_all(&mut *conn).await?;
    Ok(with_machines(conn, rows).await?.pop())
}

/// All rollouts of a space with their machines, newest first, from the `skip`th on, at most `take`.
pub async fn rollout_list(
    conn: &mut Connection,
    space: SpaceId,
    skip: u32,
    take: u32,
) -> Result<Vec<Rollout>, DbError> {
    let sql = format!("{SELECT} WHERE r.space_id = $1 ORDER BY r.id DESC LIMIT $3 OFFSET $2");
    let rows = sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(space).bind(skip).bind(take).fetch_all(&mut *conn).await?;
    with_machines(conn, rows).await
}

/// Every rollout that the orchestrator has to look at, oldest first: those that are not over, those that are over but
/// for machines that were offline, and those whose lost machines may turn up. A lost machine that was deleted, or that a
/// newer rollout has, is not waited for.
pub async fn rollout_open(conn: &mut Connection) -> Result<Vec<Rollout>, DbError> {
    let sql = format!(
        "{SELECT} WHERE r.state IN ('Scheduled', 'Running', 'Paused')
         OR (r.state IN ('Completed', 'CompletedWithFailures') AND EXISTS (SELECT 1 FROM rollout_machines m WHERE m.rollout_id = r.id
             AND m.phase IN ('Waiting', 'Checking', 'Uploading', 'Installing', 'Restarting', 'Proving')))
         OR EXISTS (SELECT 1 FROM rollout_machines m JOIN machines h ON h.id = m.machine_id
             WHERE m.rollout_id = r.id AND m.phase = 'Lost' AND NOT EXISTS
                 (SELECT 1 FROM rollout_machines n WHERE n.machine_id = m.machine_id AND n.rollout_id > m.rollout_id))
         ORDER BY r.id"
    );
    let rows = sqlx::query_as(sqlx::AssertSqlSafe(sql)).fetch_all(&mut *conn).await?;
    with_machines(conn, rows).await
}

/// For each machine of a space that an open rollout has, its place in that. Where several have it, the one that is at it
/// wins, then the newest.
pub async fn rollout_machines_live(
    conn: &mut Connection,
    space: SpaceId,
) -> Result<HashMap<MachineId, Place>, DbError> {
    Ok(places_live(&rollout_open(conn).await?, space))
}

/// See [`rollout_machines_live`]; `open` are the open rollouts, oldest first.
pub fn places_live(open: &[Rollout], space: SpaceId) -> HashMap<MachineId, Place> {
    let mut live: HashMap<MachineId, Place> = HashMap::new();
    for rollout in open.iter().filter(|rollout| rollout.space == space) {
        for machine in &rollout.machines {
            // A rollout that is over stays open for what it still waits for, and for nothing else.
            if rollout.state.is_completed() && machine.phase.kind().is_final() {
                continue;
            }
            let at_it = |machine: &RolloutMachine| machine.phase.kind().is_in_flight();
            if live.get(&machine.machine).is_none_or(|other| !at_it(&other.machine) || at_it(machine)) {
                let target = machine.target(&rollout.target).clone();
                live.insert(machine.machine, Place { rollout: rollout.id, target, machine: machine.clone() });
            }
        }
    }
    live
}

/// For each machine of a space its place in the last rollout that did anything with it, or was meant to.
pub async fn rollout_machines_last(
    conn: &mut Connection,
    space: SpaceId,
) -> Result<HashMap<MachineId, Place>, DbError> {
    let sql = "SELECT m.*, r.target_version FROM rollouts r JOIN rollout_machines m ON m.rollout_id = r.id
         WHERE r.space_id = $1 AND m.phase <> 'Cancelled'
         AND NOT EXISTS (SELECT 1 FROM rollout_machines n WHERE n.machine_id = m.machine_id
             AND n.rollout_id > m.rollout_id AND n.phase <> 'Cancelled')";
    let rows: Vec<PlaceRow> = sqlx::query_as(sql).bind(space).fetch_all(conn).await?;
    rows.into_iter().map(PlaceRow::read).collect()
}

/// How long it took to send the package and to install it until the version was proven: of the last machines of a space that
/// were upgraded and of which that was measured, at most `limit`.
pub async fn rollout_durations(
    conn: &mut Connection,
    space: SpaceId,
    limit: u32,
) -> Result<Vec<(Duration, Duration)>, DbError> {
    let sql = "SELECT m.commanded_at - m.begun_at, m.phase_since - m.commanded_at FROM rollout_machines m
               JOIN rollouts r ON r.id = m.rollout_id
               WHERE r.space_id = $1 AND m.phase = 'Upgraded' AND m.commanded_at >= m.begun_at
               AND m.phase_since >= m.commanded_at ORDER BY m.phase_since DESC LIMIT $2";
    let rows: Vec<(i64, i64)> = sqlx::query_as(sql).bind(space).bind(limit).fetch_all(conn).await?;
    let span = |micros: i64| Duration::from_micros(u64::try_from(micros).unwrap_or(0));
    Ok(rows.into_iter().map(|(sent, installed)| (span(sent), span(installed))).collect())
}

/// For each machine of a space whose last rollout lost it and is over, its place in that. A rollout that was cancelled
/// before it did anything with a machine is not its last.
pub async fn rollout_machines_lost(
    conn: &mut Connection,
    space: SpaceId,
) -> Result<HashMap<MachineId, Place>, DbError> {
    let sql = "SELECT m.*, r.target_version FROM rollouts r
         JOIN rollout_machines m ON m.rollout_id = r.id AND m.phase = 'Lost'
         WHERE r.space_id = $1 AND r.state IN ('CompletedWithFailures', 'Cancelled')
         AND NOT EXISTS (SELECT 1 FROM rollout_machines n WHERE n.machine_id = m.machine_id
             AND n.rollout_id > m.rollout_id AND n.phase <> 'Cancelled')";
    let rows: Vec<PlaceRow> = sqlx::query_as(sql).bind(space).fetch_all(conn).await?;
    rows.into_iter().map(PlaceRow::read).collect()
}

/// The rollout that undoes this one. One that was cancelled, or was itself undone, is none.
pub async fn rollout_undo_of(conn: &mut Connection, id: RolloutId) -> Result<Option<RolloutId>, DbError> {
    let sql = "SELECT id FROM rollouts WHERE undo_of = $1 AND cancel_requested_at IS NULL ORDER BY id DESC LIMIT 1";
    Ok(sqlx::query_scalar(sql).bind(id).fetch_optional(conn).await?)
}

/// The rollouts of a space that start nothing new until a person has looked at them.
pub async fn rollout_paused(conn: &mut Connection, space: SpaceId) -> Result<HashSet<RolloutId>, DbError> {
    let sql = "SELECT id FROM rollouts WHERE space_id = $1 AND state = 'Paused'";
    let ids: Vec<RolloutId> = sqlx::query_scalar(sql).bind(space).fetch_all(conn).await?;
    Ok(ids.into_iter().collect())
}

/// The rollout whose log a task shows.
pub async fn rollout_of_task(conn: &mut Connection, task: TaskId) -> Result<Option<RolloutId>, DbError> {
    let id = sqlx::query_scalar("SELECT id FROM rollouts WHERE task_id = $1").bind(task).fetch_optional(conn).await?;
    Ok(id)
}

/// One machine of a rollout.
pub async fn rollout_machine_get(
    conn: &mut Connection,
    id: RolloutId,
    machine: MachineId,
) -> Result<Option<RolloutMachine>, DbError> {
    let sql = "SELECT * FROM rollout_machines WHERE rollout_id = $1 AND machine_id = $2";
    let row: Option<MachineRow> = sqlx::query_as(sql).bind(id).bind(machine).fetch_optional(conn).await?;
    row.map(MachineRow::read).transpose()
}

/// The rollout that has a machine in flight.
pub async fn rollout_in_flight(conn: &mut Connection, machine: MachineId) -> Result<Option<RolloutId>, DbError> {
    let sql = "SELECT rollout_id FROM rollout_machines WHERE machine_id = $1
               AND phase IN ('Checking', 'Uploading', 'Installing', 'Restarting', 'Proving') ORDER BY rollout_id DESC";
    Ok(sqlx::query_scalar(sql).bind(machine).fetch_optional(conn).await?)
}

/// The packages that a rollout carries.
pub async fn rollout_packages(conn: &mut Connection, id: RolloutId) -> Result<Vec<RolloutPackage>, DbError> {
    let sql = "SELECT runtime, sha256, size FROM rollout_packages WHERE rollout_id = $1 ORDER BY runtime";
    let rows: Vec<(String, String, i64)> = sqlx::query_as(sql).bind(id).fetch_all(conn).await?;
    rows.into_iter()
        .map(|(runtime, sha256, size)| {
            let sha256 = sha256.parse().map_err(|_| DbError::damaged("rollout_packages.sha256", sha256))?;
            Ok(RolloutPackage { runtime, sha256, size: u64::try_from(size).unwrap_or(0) })
        })
        .collect()
}

/// Writes where a machine stands, if nobody else wrote since it was read; `false` if somebody did.
pub async fn rollout_machine_update(
    conn: &mut Connection,
    rollout: RolloutId,
    machine: &RolloutMachine,
) -> Result<bool, DbError> {
    let done = sqlx::query(
        "UPDATE rollout_machines SET phase = $4, detail = $5, phase_since = $6, deadline_at = $7, attempt = $8,
                from_version = $9, tried_at = $10, was_away = $11, forgiven_at = $12, previous_version = $13,
                begun_at = CASE WHEN $4 = 'Checking' AND phase <> 'Checking' THEN $6 ELSE begun_at END,
                commanded_at = CASE WHEN $4 = 'Installing' AND phase <> 'Installing' THEN $6 ELSE commanded_at END,
                revision = revision + 1
         WHERE rollout_id = $1 AND machine_id = $2 AND revision = $3",
    )
    .bind(rollout)
    .bind(machine.machine)
    .bind(machine.revision)
    .bind(machine.phase.kind().word())
    .bind(write_phase(&machine.phase)?)
    .bind(machine.since)
    .bind(machine.deadline)
    .bind(i64::from(machine.attempt))
    .bind(machine.from.as_ref().map(Version::to_string))
    .bind(machine.tried_at)
    .bind(machine.was_away)
    .bind(machine.forgiven_at)
    .bind(machine.previous.as_ref().map(Version::to_string))
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Writes where a rollout stands.
pub async fn rollout_set_state(
    conn: &mut Connection,
    id: RolloutId,
    state: RolloutState,
    reason: &str,
    now: Timestamp,
) -> Result<(), DbError> {
    let completed = state.is_completed().then_some(now);
    sqlx::query(
        "UPDATE rollouts SET state = $2, state_reason = $3, state_since = $4, completed_at = COALESCE(completed_at, $5),
                revision = revision + 1
         WHERE id = $1",
    )
    .bind(id)
    .bind(state.word())
    .bind(reason)
    .bind(now)
    .bind(completed)
    .execute(conn)
    .await?;
    Ok(())
}

/// Writes down how a rollout goes about its machines from now on.
pub async fn rollout_set_strategy(conn: &mut Connection, id: RolloutId, strategy: &Strategy) -> Result<(), DbError> {
    let text = serde_json::to_string(strategy).map_err(|error| DbError::damaged("rollouts.strategy", error))?;
    sqlx::query("UPDATE rollouts SET strategy = $2 WHERE id = $1").bind(id).bind(text).execute(conn).await?;
    Ok(())
}

/// Writes down that a wave is open, and with it all before it.
pub async fn rollout_open_wave(conn: &mut Connection, id: RolloutId, wave: usize) -> Result<(), DbError> {
    let wave = i64::try_from(wave).unwrap_or(i64::MAX);
    sqlx::query("UPDATE rollouts SET open_wave = $2 WHERE id = $1").bind(id).bind(wave).execute(conn).await?;
    Ok(())
}

/// Writes down that a rollout begins earlier than was said.
pub async fn rollout_set_start(conn: &mut Connection, id: RolloutId, at: Timestamp) -> Result<(), DbError> {
    sqlx::query("UPDATE rollouts SET start_at = $2 WHERE id = $1").bind(id).bind(at).execute(conn).await?;
    Ok(())
}

/// True where a rollout is paused because a person said so: that was written down with the state.
pub async fn rollout_is_paused_by_hand(conn: &mut Connection, id: RolloutId) -> Result<bool, DbError> {
    let sql = "SELECT COUNT(*) FROM audit_documents d JOIN audit a ON a.id = d.audit_id
               JOIN rollouts r ON r.id = $1 AND r.state = 'Paused' AND r.state_since = a.occurred_at
               WHERE d.document = $2 AND a.kind = 'Rollout' AND a.what = 'Pause'";
    let found: i64 = sqlx::query_scalar(sql).bind(id).bind(id.to_string()).fetch_one(conn).await?;
    Ok(found > 0)
}

/// Forgives the failures so far: they no longer count against the budget. How many those are.
pub async fn rollout_forgive(conn: &mut Connection, id: RolloutId, now: Timestamp) -> Result<u64, DbError> {
    let sql = "UPDATE rollout_machines SET forgiven_at = $2, revision = revision + 1
               WHERE rollout_id = $1 AND phase IN ('FellBack', 'Failed', 'Lost') AND forgiven_at IS NULL";
    Ok(sqlx::query(sql).bind(id).bind(now).execute(conn).await?.rows_affected())
}

/// Writes down the wish to cancel a rollout.
pub async fn rollout_cancel_request(conn: &mut Connection, id: RolloutId, now: Timestamp) -> Result<(), DbError> {
    let wish = "UPDATE rollouts SET cancel_requested_at = COALESCE(cancel_requested_at, $2), revision = revision + 1
                WHERE id = $1";
    sqlx::query(wish).bind(id).bind(now).execute(conn).await?;
    Ok(())
}

/// The revision of a rollout; `None` where there is none.
pub async fn rollout_revision(conn: &mut Connection, id: RolloutId) -> Result<Option<i64>, DbError> {
    Ok(sqlx::query_scalar("SELECT revision FROM rollouts WHERE id = $1").bind(id).fetch_optional(conn).await?)
}

/// Makes every plan that was made before worthless.
pub async fn rollout_revise(conn: &mut Connection, id: RolloutId) -> Result<(), DbError> {
    sqlx::query("UPDATE rollouts SET revision = revision + 1 WHERE id = $1").bind(id).execute(conn).await?;
    Ok(())
}

/// The highest generation this portal ever issued; 0 for none.
pub async fn generation_issued(conn: &mut Connection) -> Result<u64, DbError> {
    let text: Option<String> =
        sqlx::query_scalar("SELECT value FROM settings WHERE name = $1").bind(GENERATION).fetch_optional(conn).await?;
    match text {
        Some(text) => text.parse().map_err(|_| DbError::damaged("settings.generation", text)),
        None => Ok(0),
    }
}

/// Writes down that generations up to `generation` were issued. Commit it before the command is sent.
pub async fn generation_put(conn: &mut Connection, generation: u64) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
    )
    .bind(GENERATION)
    .bind(generation.to_string())
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn with_machines(conn: &mut Connection, rows: Vec<Row>) -> Result<Vec<Rollout>, DbError> {
    let mut rollouts = Vec::with_capacity(rows.len());
    for row in rows {
        let sql = "SELECT * FROM rollout_machines WHERE rollout_id = $1 ORDER BY position";
        let machines: Vec<MachineRow> = sqlx::query_as(sql).bind(row.id).fetch_all(&mut *conn).await?;
        let waves = waves_list(conn, row.id).await?;
        rollouts.push(row.read(machines, waves)?);
    }
    Ok(rollouts)
}

fn write_phase(phase: &Phase) -> Result<String, DbError> {
    serde_json::to_string(phase).map_err(|error| DbError::damaged("rollout_machines.detail", error))
}

fn read_version(text: &str) -> Result<Version, DbError> {
    text.parse().map_err(|error| DbError::damaged("rollouts version", error))
}

impl Row {
    fn read(self, machines: Vec<MachineRow>, waves: Vec<RolloutWave>) -> Result<Rollout, DbError> {
        let count = |n: i64| u32::try_from(n).unwrap_or(1).max(1);
        let state =
            RolloutState::from_word(&self.state).ok_or_else(|| DbError::damaged("rollouts.state", self.state))?;
        let strategy = match self.strategy.as_str() {
            // From before there were strategies.
            "" => Strategy::plain(count(self.max_in_flight), count(self.failure_budget)),
            text => serde_json::from_str(text).map_err(|e| DbError::damaged("rollouts.strategy", e))?,
        };
        Ok(Rollout {
            strategy,
            waves: if waves.is_empty() { vec![RolloutWave::only()] } else { waves },
            open_wave: usize::try_from(self.open_wave).unwrap_or(0),
            start_at: self.start_at,
            undo_of: self.undo_of,
            id: self.id,
            space: self.space_id,
            task: self.task_id,
            target: read_version(&self.target_version)?,
            max_in_flight: count(self.max_in_flight),
            failure_budget: count(self.failure_budget),
            created_by: self.created_by,
            created_at: self.created_at,
            state,
            state_reason: self.state_reason,
            cancel_requested_at: self.cancel_requested_at,
            completed_at: self.completed_at,
            revision: self.revision,
            machines: machines.into_iter().map(MachineRow::read).collect::<Result<_, _>>()?,
        })
    }
}

impl PlaceRow {
    pub(super) fn read(self) -> Result<(MachineId, Place), DbError> {
        let (rollout, target) = (self.rollout_id, read_version(&self.target_version)?);
        let machine = self.machine.read()?;
        let target = machine.target(&target).clone();
        Ok((machine.machine, Place { rollout, target, machine }))
    }
}

impl MachineRow {
    fn read(self) -> Result<RolloutMachine, DbError> {
        let phase: Phase =
            serde_json::from_str(&self.detail).map_err(|e| DbError::damaged("rollout_machines.detail", e))?;
        Ok(RolloutMachine {
            machine: self.machine_id,
            name: self.machine_name,
            position: self.position,
            phase,
            since: self.phase_since,
            deadline: self.deadline_at,
            attempt: u32::try_from(self.attempt).unwrap_or(u32::MAX),
            from: self.from_version.as_deref().map(read_version).transpose()?,
            previous: self.previous_version.as_deref().map(read_version).transpose()?,
            back: match (self.return_from, self.return_to) {
                (Some(from), Some(to)) => Some(Return { from: read_version(&from)?, to: read_version(&to)? }),
                _ => None,
            },
            tried_at: self.tried_at,
            was_away: self.was_away,
            wave: usize::try_from(self.wave).unwrap_or(0),
            forgiven_at: self.forgiven_at,
            revision: self.revision,
        })
    }
}
