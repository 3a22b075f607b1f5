//! The loop that makes rollouts go on. It takes no input: it is woken by a poke or a tick, loads everything from the
//! database, asks the planner, writes down what it says, and starts the calls.
//!
//! The portal may be killed at any line: what was written is true, and what was not written is planned again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use contract::Version;
use tokio_util::sync::CancellationToken;

use super::execute::{Calls, Job};
use super::look::Snapshot;
use super::plan::{Action, Observation, plan};
use super::settle::{enter, intend, lag, shift, task_state};
use super::state::{Phase, PhaseKind, Rollout, RolloutMachine, RolloutState};
use crate::app::App;
use crate::audit::{Deed, PORTAL};
use crate::clock::{StepWatch, Timestamp};
use crate::db::facts::facts_get;
use crate::db::rollouts::{
    generation_issued, generation_put, rollout_machine_update, rollout_open, rollout_open_wave, rollout_revise,
    rollout_revision, rollout_set_state,
};
use crate::db::spaces::space_queue;
use crate::db::tasks::{task_begin, task_end, task_get, task_log_append};
use crate::db::version_failures::version_failure_insert;
use crate::db::{Connection, DbError};
use crate::ids::{MachineId, RolloutId, TaskId};
use crate::live::Change;
use crate::model::{AuditCategory, AuditKind, LogCategory, TaskState};

/// How often the loop looks while a machine is in flight. Every step that depends on time is at most this late.
const TICK_BUSY: Duration = Duration::from_millis(250);

/// How often the loop looks while nothing is in flight. A lost poke costs at most this much time.
const TICK_IDLE: Duration = Duration::from_secs(5);

/// The shortest time between two looks, so that a storm of pokes costs one look and not a thousand.
const TICK_MIN: Duration = Duration::from_millis(20);

/// Runs until `stop`. Calls under way are dropped then; each is made again by the next portal process.
pub async fn run(app: App, stop: CancellationToken) {
    let calls = Arc::new(Calls::new(app.clone()));
    let mut watch = StepWatch::default();
    watch.look(&*app.clock);
    // What is not noted yet: at the start it is only known that a moment in the future is wrong.
    let mut steps = vec![0];
    while !stop.is_cancelled() {
        steps.extend(Some(watch.look(&*app.clock)).filter(|step| *step != 0));
        while let Some(step) = steps.first().copied() {
            match straighten(&app, step).await {
                Ok(()) => steps.remove(0),
                Err(error) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "the clock was set, and not noted");
                    break;
                }
            };
        }
        let tick = match turn(&app, &calls).await {
            Ok(true) => TICK_BUSY,
            Ok(false) => TICK_IDLE,
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "the rollouts could not be looked at");
                TICK_IDLE
            }
        };
        tokio::select! {
            () = stop.cancelled() => break,
            () = app.live.orchestrator_poked() => tokio::time::sleep(TICK_MIN).await,
            () = tokio::time::sleep(tick) => {}
        }
    }
    calls.abort();
}

/// After the clock was set by `step` microseconds, sets every moment that the planner looks at likewise. At the start of a
/// portal (`step` is 0) it is only known that a moment in the future is wrong.
async fn straighten(app: &App, step: i64) -> Result<(), DbError> {
    if step != 0 {
        tracing::warn!(step_us = step, "the clock was set, or the computer slept: no deadline runs from that");
    }
    let mut tx = app.db.write().await?;
    let now = app.clock.now();
    for rollout in rollout_open(&mut tx).await? {
        for machine in &rollout.machines {
            let by = lag(machine, step, now);
            if by != 0 {
                rollout_machine_update(&mut tx, rollout.id, &shift(machine, by)).await?;
            }
        }
    }
    tx.commit().await.map_err(DbError::from)
}

/// Looks at every open rollout once. True while a machine is in flight or waits for a moment to come.
async fn turn(app: &App, calls: &Arc<Calls>) -> Result<bool, DbError> {
    let mut conn = app.db.read().await?;
    let rollouts = rollout_open(&mut conn).await?;
    let known = Snapshot::read(app, &mut conn, &rollouts).await?;
    drop(conn);
    let mut busy = false;
    for rollout in &rollouts {
        let (mut seen, limits) = known.look(&rollouts, rollout);
        for (id, observation) in &mut seen {
            observation.call_under_way = calls.is_under_way(*id);
        }
        let actions = plan(rollout, &seen, &limits, app.clock.now());
        busy |= rollout.count(PhaseKind::is_in_flight) > 0 || !actions.is_empty() || waits_for_a_moment(rollout);
        apply(app, calls, rollout, &seen, actions).await?;
    }
    Ok(busy)
}

/// True where nothing is in flight and yet something happens at a moment that no poke announces: a soak ends, an hour
/// comes.
fn waits_for_a_moment(rollout: &Rollout) -> bool {
    matches!(rollout.state, RolloutState::Running | RolloutState::Scheduled)
}

/// Writes down all steps in one transaction, then starts the calls.
async fn apply(
    app: &App,
    calls: &Arc<Calls>,
    rollout: &Rollout,
    seen: &HashMap<MachineId, Observation>,
    actions: Vec<Action>,
) -> Result<(), DbError> {
    let now = app.clock.now();
    let mut next = rollout.clone();
    let mut jobs = Vec::new();
    let mut changes = Vec::new();
    let mut tx = app.db.write().await?;
    if rollout_revision(&mut tx, rollout.id).await? != Some(rollout.revision) {
        // Somebody wished otherwise, or something failed, after this plan was made.
        app.live.poke_orchestrator();
        return Ok(());
    }
    for action in actions {
        let job = job(&action);
        let goes_on = match action {
            Action::Move { machine, to } => {
                let stepped = step(app, &mut tx, &mut next, seen, machine, to, now).await?;
                changes.extend(stepped.then_some(Change::Machine(machine)));
                stepped
            }
            Action::OpenWave { wave } => {
                open_wave(&mut tx, &mut next, wave, now).await?;
                changes.push(Change::Rollout(rollout.id));
                true
            }
            Action::SetState { state, reason } => {
                set_state(app, &mut tx, &mut next, seen, state, reason, now).await?;
                changes.push(Change::Rollout(rollout.id));
                true
            }
            Action::Observe { machine }
            | Action::Upload { machine }
            | Action::Command { machine }
            | Action::Install { machine }
            | Action::Ask { machine }
            | Action::Confirm { machine, .. } => write_intent(app, &mut tx, &mut next, machine, now).await?,
        };
        // A call whose intent is not written down is not made.
        jobs.extend(job.filter(|_| goes_on));
    }
    let task_changed = sync_task(&mut tx, &next, now).await?;
    tx.commit().await.map_err(DbError::from)?;
    if !changes.is_empty() || task_changed {
        changes.extend([Change::Rollout(rollout.id), Change::Task(rollout.task)]);
        changes.iter().for_each(|change| app.live.tell(*change));
        // One step may be followed by another at once.
        app.live.poke_orchestrator();
    }
    for (machine, job) in jobs {
        calls.start(&next, machine, job);
    }
    Ok(())
}

fn job(action: &Action) -> Option<(MachineId, Job)> {
    match action {
        Action::Observe { machine } => Some((*machine, Job::Observe)),
        Action::Upload { machine } => Some((*machine, Job::Upload)),
        Action::Command { machine } => Some((*machine, Job::Command)),
        Action::Install { machine } => Some((*machine, Job::Install)),
        Action::Ask { machine } => Some((*machine, Job::Ask)),
        Action::Confirm { machine, instance } => Some((*machine, Job::Confirm { instance: instance.clone() })),
        Action::Move { .. } | Action::OpenWave { .. } | Action::SetState { .. } => None,
    }
}

/// Takes one step with one machine. False if it was not taken: the table does not know it, or somebody else wrote first.
async fn step(
    app: &App,
    conn: &mut Connection,
    next: &mut Rollout,
    seen: &HashMap<MachineId, Observation>,
    id: MachineId,
    to: Phase,
    now: Timestamp,
) -> Result<bool, DbError> {
    let (rollout, space) = (next.id, next.space);
    let Some(machine) = next.machines.iter_mut().find(|machine| machine.machine == id) else { return Ok(false) };
    let mut stepped = match enter(machine, to, &app.deadlines(space), now) {
        Ok(stepped) => stepped,
        Err(error) => {
            tracing::error!(machine.id = %id, rollout.id = %rollout, %error, "a step was not taken");
            return Ok(false);
        }
    };
    let report = seen.get(&id).and_then(|seen| seen.facts.as_ref()).and_then(|facts| facts.report.as_ref());
    // What the first check met is what it came from; before, there was only an old fact.
    if machine.phase.kind() == PhaseKind::Checking && machine.attempt <= 1 {
        stepped.from = report.map(|report| report.version.clone());
    }
    if !rollout_machine_update(conn, rollout, &stepped).await? {
        return Ok(false);
    }
    stepped.revision += 1;
    if stepped.phase.kind() != machine.phase.kind() {
        let of = (rollout, next.task, &next.target);
        note_step(conn, of, machine, &stepped, now).await?;
        app.metrics.phase_left(machine, &stepped, now);
    }
    *machine = stepped;
    Ok(true)
}

/// What a step leaves behind besides itself: a line in the log, and the memory of a failure.
pub(super) async fn note_step(
    conn: &mut Connection,
    (rollout, task, target): (RolloutId, TaskId, &Version),
    before: &RolloutMachine,
    after: &RolloutMachine,
    now: Timestamp,
) -> Result<(), DbError> {
    log_step(conn, task, before, after, now).await?;
    let kind = after.phase.kind();
    if kind.is_failure() {
        rollout_revise(conn, rollout).await?;
    }
    // What failed before it was commanded says nothing of the version; and a lost machine may still turn up well. A version
    // that ran before is no new one: an undo neither asks this memory nor adds to it.
    let says_something = before.phase.command().is_some() && after.back.is_none();
    if matches!(kind, PhaseKind::FellBack | PhaseKind::Failed) && says_something {
        let runtime = facts_get(conn, after.machine).await?.and_then(|facts| facts.report).map(|report| report.runtime);
        let reason = after.phase.reason();
        let runtime = runtime.unwrap_or_default();
        version_failure_insert(conn, rollout, after.machine, target, &runtime, &reason, now).await?;
    }
    Ok(())
}

/// The line that a step leaves in the log of the rollout's task.
async fn log_step(
    conn: &mut Connection,
    task: TaskId,
    before: &RolloutMachine,
    after: &RolloutMachine,
    now: Timestamp,
) -> Result<(), DbError> {
    let (from, to) = (before.phase.kind(), after.phase.kind());
    let reason = after.phase.reason();
    let because = if reason.is_empty() { String::new() } else { format!(": {reason}") };
    let category = match to {
        kind if kind.is_failure() => LogCategory::Error,
        PhaseKind::Waiting => LogCategory::Warning,
        _ => LogCategory::Info,
    };
    tracing::info!(machine.id = %after.machine, machine.name = after.name, %from, %to, reason, "a machine took a step");
    let line = format!("{}: {from} → {to}{because}", after.name);
    task_log_append(conn, task, Some(after.machine), now, category, &line).await.map(|_| ())
}

async fn open_wave(conn: &mut Connection, next: &mut Rollout, wave: usize, now: Timestamp) -> Result<(), DbError> {
    rollout_open_wave(conn, next.id, wave).await?;
    next.open_wave = wave;
    let title = next.waves.get(wave).map(|wave| wave.title.as_str()).unwrap_or_default();
    let size = next.machines.iter().filter(|machine| machine.wave == wave).count();
    let line = format!("Wave {} of {} ({title}) begins: {size} machines", wave + 1, next.waves.len());
    task_log_append(conn, next.task, None, now, LogCategory::Info, &line).await.map(|_| ())
}

async fn set_state(
    app: &App,
    conn: &mut Connection,
    next: &mut Rollout,
    seen: &HashMap<MachineId, Observation>,
    state: RolloutState,
    reason: String,
    now: Timestamp,
) -> Result<(), DbError> {
    rollout_set_state(conn, next.id, state, &reason, now).await?;
    // A generation that a machine saw is taken as issued from now on: the pause was for a person to notice, and what a
    // person starts next must not be refused by the machines.
    let generations = seen.values().filter_map(|seen| Some(seen.facts.as_ref()?.report.as_ref()?.generation));
    let highest = generations.max().unwrap_or(0);
    if state == RolloutState::Paused && highest > generation_issued(conn).await? {
        generation_put(conn, highest).await?;
    }
    next.state = state;
    next.state_reason = reason;
    let because = if next.state_reason.is_empty() { next.summary() } else { next.state_reason.clone() };
    let category = if state == RolloutState::Completed { LogCategory::Info } else { LogCategory::Warning };
    tracing::info!(rollout.id = %next.id, state = state.word(), reason = because, "a rollout changed");
    let at = app.clock.now();
    let line = format!("set {} to {}: {because}", next.id, state.word());
    let deed = Deed::new(AuditKind::Rollout, AuditCategory::Modified, "State", line).by(PORTAL).on(next.id);
    deed.write(conn, next.space, at).await?;
    task_log_append(conn, next.task, None, at, category, &format!("{}: {because}", state.word())).await.map(|_| ())
}

/// Writes down that a call is about to be made. False if somebody else wrote first.
async fn write_intent(
    app: &App,
    conn: &mut Connection,
    next: &mut Rollout,
    id: MachineId,
    now: Timestamp,
) -> Result<bool, DbError> {
    let (rollout, space) = (next.id, next.space);
    let Some(machine) = next.machines.iter_mut().find(|machine| machine.machine == id) else { return Ok(false) };
    let intent = intend(machine, &app.deadlines(space), now);
    if !rollout_machine_update(conn, rollout, &intent).await? {
        return Ok(false);
    }
    *machine = intent;
    machine.revision += 1;
    Ok(true)
}

/// Brings the task that shows the rollout's log in line with it. True if it changed.
async fn sync_task(conn: &mut Connection, next: &Rollout, now: Timestamp) -> Result<bool, DbError> {
    let Some(task) = task_get(conn, next.space, next.task).await? else { return Ok(false) };
    let (wanted, error) = task_state(next);
    if task.state.is_completed() || task.state == wanted {
        return Ok(false);
    }
    match wanted {
        TaskState::Executing if task.state == TaskState::Queued => {
            if space_queue(conn, next.space).await?.is_stopped() {
                return Ok(false);
            }
            task_begin(conn, next.task, now).await?;
        }
        state if state.is_completed() => task_end(conn, next.task, state, &error, now).await?,
        _ => return Ok(false),
    }
    Ok(true)
}

#[cfg(test)]
#[path = "orchestrator_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "transcript_tests.rs"]
mod transcripts;
