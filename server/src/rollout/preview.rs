//! The preview of a rollout: drawn up as it would be made at this moment, and followed to its end. Nothing is written.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use contract::Version;

use super::course::{Course, Known, Pace, RoleLoss, Stays, course};
use super::create::{Draft, RolloutError, RolloutRequest, draw_up};
use super::look::Snapshot;
use super::state::{Phase, Rollout, RolloutMachine, RolloutState, RolloutWave, WaitReason};
use super::strategy::{Candidate, Strategy};
use crate::app::App;
use crate::clock::Timestamp;
use crate::db::machines::machine_role_sizes;
use crate::db::maintenance::calendar_load;
use crate::db::rollouts::{rollout_durations, rollout_open};
use crate::db::{Connection, DbError};
use crate::ids::{MachineId, RolloutId, SpaceId, TaskId};

/// Upgrades whose durations are looked at: the last ones.
const MEASURED_MAX: u32 = 500;

/// In percent: where a strategy says nothing, a role that has more of its machines in progress at once is pointed out.
const ROLE_SHARE_TOLD: u32 = 50;

/// What a rollout would do.
#[derive(Clone, Debug)]
pub struct Preview {
    /// The version wished for.
    pub target: Version,
    /// How it goes about its machines.
    pub strategy: Strategy,
    /// Its waves.
    pub waves: Vec<RolloutWave>,
    /// Its machines in their order: the wave of each from 0, and its name.
    pub machines: Vec<(usize, MachineId, String)>,
    /// See [`Rollout::max_in_flight`].
    pub max_in_flight: u32,
    /// See [`Rollout::failure_budget`].
    pub failure_budget: u32,
    /// What would happen. Machines that were meant and are not in it stay, too.
    pub course: Course,
    /// Roles that would have more of their machines in progress at once than the strategy allows, or than half.
    pub roles: Vec<RoleLoss>,
    /// Machines that do work now. An upgrade waits for it, and is put off where it takes too long.
    pub busy: Vec<Stays>,
    /// How long an upgrade took so far.
    pub pace: Option<Pace>,
    /// Differs where the machines, the strategy or the start do.
    pub choice: String,
}

/// What a rollout would do if it were made now. Refused for the same reasons as that.
pub async fn rollout_preview(app: &App, space: SpaceId, request: &RolloutRequest) -> Result<Preview, RolloutError> {
    let now = app.clock.now();
    let mut conn = app.db.read().await?;
    let draft = draw_up(app, &mut conn, space, request).await?;
    let choice = choice(&draft, request.start_at);
    let rollout = as_made(&draft, space, request.start_at.filter(|at| *at > now), now);
    let open = rollout_open(&mut conn).await?;
    let snapshot = Snapshot::read(app, &mut conn, std::slice::from_ref(&rollout)).await?;
    let (mut observations, mut limits) = snapshot.look(&open, &rollout);
    limits.packages = draft.packages.iter().map(|package| (package.runtime.clone(), package.size)).collect();
    let again = request.tried_again();
    for (_, seen) in observations.iter_mut().filter(|(id, _)| again.contains(id)) {
        seen.tried_again |= seen.failed_before.take().is_some();
    }
    let candidates: HashMap<MachineId, Candidate> =
        draft.machines.iter().map(|(machine, candidate)| (machine.machine, candidate.clone())).collect();
    let role_sizes = machine_role_sizes(&mut conn, space).await?;
    let calendar = calendar_load(&mut conn, space, now).await?;
    let pace = pace(&mut conn, space).await?;
    drop(conn);
    let busy =
        rollout.machines.iter().filter_map(|machine| busy(machine, observations.get(&machine.machine)?)).collect();
    let waves = rollout.waves.clone();
    let machines = rollout.machines.iter().map(|m| (m.wave, m.machine, m.name.clone())).collect();
    let (max_in_flight, failure_budget) = (rollout.max_in_flight, rollout.failure_budget);
    // It may take a second for a large fleet, and other requests shall not wait for it.
    let known = Known { observations, limits, candidates, role_sizes, calendar };
    let followed = tokio::task::spawn_blocking(move || course(rollout, known, pace, now));
    let mut course = followed.await.map_err(|error| DbError::Damaged(format!("the preview ended: {error}")))?;
    let left_out = draft.left_out.into_iter().map(|left| Stays {
        machine: left.machine,
        name: left.name,
        wave: None,
        code: left.why.code(),
        why: left.why.sentence(),
    });
    course.stays.extend(left_out);
    let most = draft.strategy.max_percent_of_role.unwrap_or(ROLE_SHARE_TOLD) as usize;
    let roles = course.roles.iter().filter(|role| role.most * 100 > role.all * most).cloned().collect();
    let (target, strategy) = (draft.target, draft.strategy);
    Ok(Preview { target, strategy, waves, machines, max_in_flight, failure_budget, course, roles, busy, pace, choice })
}

/// What [`Preview::choice`] would be now.
pub async fn rollout_choice(app: &App, space: SpaceId, request: &RolloutRequest) -> Result<String, RolloutError> {
    let mut conn = app.db.read().await?;
    Ok(choice(&draw_up(app, &mut conn, space, request).await?, request.start_at))
}

/// How long upgrades took in a space; `None` where none was measured.
pub async fn pace(conn: &mut Connection, space: SpaceId) -> Result<Option<Pace>, DbError> {
    Ok(Pace::of(&rollout_durations(conn, space, MEASURED_MAX).await?))
}

fn choice(draft: &Draft, start_at: Option<Timestamp>) -> String {
    let mut hasher = DefaultHasher::new();
    draft.target.to_string().hash(&mut hasher);
    // Whoever changes the strategy after the preview has not seen what it does.
    format!("{:?} {:?} {start_at:?}", draft.strategy, draft.waves).hash(&mut hasher);
    for (machine, _) in &draft.machines {
        (machine.machine, machine.wave).hash(&mut hasher);
    }
    format!("{:016x}", hasher.finish())
}

fn busy(machine: &RolloutMachine, seen: &super::plan::Observation) -> Option<Stays> {
    let work = seen.facts.as_ref()?.report.as_ref()?.running_work.first()?;
    let why = format!("it is busy: {}", work.description);
    Some(Stays { machine: machine.machine, name: machine.name.clone(), wave: Some(machine.wave), code: "Busy", why })
}

/// The rollout as it would stand in the database.
fn as_made(draft: &Draft, space: SpaceId, start_at: Option<Timestamp>, now: Timestamp) -> Rollout {
    let machine = |(position, (machine, _)): (i64, &(crate::db::rollouts::NewRolloutMachine, _))| RolloutMachine {
        machine: machine.machine,
        name: machine.name.clone(),
        position,
        wave: machine.wave,
        phase: Phase::Waiting(WaitReason::Turn),
        since: now,
        deadline: None,
        attempt: 0,
        from: machine.from.clone(),
        previous: None,
        back: None,
        tried_at: None,
        was_away: false,
        forgiven_at: None,
        revision: 0,
    };
    let wave = |wave: &super::strategy::CutWave| RolloutWave {
        title: wave.title.clone(),
        soak: wave.soak,
        approval: wave.approval,
        failure_budget: wave.failure_budget,
        released_at: None,
        released_by: String::new(),
    };
    Rollout {
        // The newest of all: what older ones are at is left to them.
        id: RolloutId(i64::MAX),
        space,
        task: TaskId(0),
        target: draft.target.clone(),
        undo_of: None,
        strategy: draft.strategy.clone(),
        waves: draft.waves.iter().map(wave).collect(),
        open_wave: 0,
        start_at,
        max_in_flight: draft.max_in_flight,
        failure_budget: draft.failure_budget,
        created_by: String::new(),
        created_at: now,
        state: if start_at.is_some() { RolloutState::Scheduled } else { RolloutState::Running },
        state_reason: String::new(),
        cancel_requested_at: None,
        completed_at: None,
        revision: 0,
        machines: (0..).zip(&draft.machines).map(machine).collect(),
    }
}
