//! What a step, an intent and the end of a call make of a machine. Pure.
//!
//! Called by the orchestrator and its calls, which write down what this says.

use std::time::Duration;

use super::phase::{Command, IllegalStep, Mark, Phase, PhaseKind, WaitReason};
use super::state::{Deadlines, Rollout, RolloutMachine, RolloutState};
use crate::clock::Timestamp;
use crate::model::TaskState;

/// How often a machine is begun before an interruption counts as a failure.
pub const ATTEMPTS_MAX: u32 = 3;

/// How long a lost machine is asked often: longer than Suction Cup waits before it falls back. Later, the health check
/// of every minute is what finds it.
const LOST_WATCHED: Duration = Duration::from_secs(15 * 60);

/// A longer break between two attempts to reach a machine means that the portal was away.
const AWAY_AFTER: Duration = Duration::from_secs(30);

/// The machine as it stands after a step to `to`: its clock starts anew, unless only the data of its phase changed.
pub fn enter(
    machine: &RolloutMachine,
    to: Phase,
    deadlines: &Deadlines,
    now: Timestamp,
) -> Result<RolloutMachine, IllegalStep> {
    let mut next = machine.clone();
    next.phase = machine.phase.step(to)?;
    let kind = next.phase.kind();
    if let Phase::Installing(command) = &next.phase {
        next.previous = command.expected.parse().ok();
    }
    if kind == machine.phase.kind() {
        return Ok(next);
    }
    next.since = now;
    next.forgiven_at = None;
    next.deadline = deadlines.of(kind).map(|allowed| now.after(allowed));
    next.tried_at = None;
    if kind == PhaseKind::Checking {
        next.attempt = machine.attempt.saturating_add(1);
        next.was_away = false;
    }
    Ok(next)
}

/// The machine after a person's hand; `None` where there is nothing to be done by hand.
pub fn by_hand(machine: &RolloutMachine, to: Phase, now: Timestamp) -> Option<RolloutMachine> {
    let legal = machine.phase.kind().may_become_by_hand(to.kind());
    let next =
        RolloutMachine { phase: to, since: now, deadline: None, tried_at: None, forgiven_at: None, ..machine.clone() };
    legal.then_some(next)
}

/// The machine when a call to it is about to be made. Where the portal had been away, its deadline starts anew.
pub fn intend(machine: &RolloutMachine, deadlines: &Deadlines, now: Timestamp) -> RolloutMachine {
    let mut next = machine.clone();
    if is_long_untried(machine, now) {
        next.was_away = true;
        next.deadline = deadlines.of(machine.phase.kind()).map(|allowed| now.after(allowed));
    }
    next.tried_at = Some(now);
    next
}

/// True if nobody tried to reach the machine for so long that the portal must have been away.
pub(super) fn is_long_untried(machine: &RolloutMachine, now: Timestamp) -> bool {
    now.since(machine.tried_at.unwrap_or(machine.since).max(machine.since)) > AWAY_AFTER
}

/// True while a lost machine is asked often.
pub(super) fn is_watched(machine: &RolloutMachine, now: Timestamp) -> bool {
    machine.phase.kind() == PhaseKind::Lost && now.since(machine.since) < LOST_WATCHED
}

/// The machine after the portal's clock was set forward (or back, where `by` is negative) by so many microseconds: every
/// moment goes with the clock, so that nothing takes longer or shorter than it would have.
pub fn shift(machine: &RolloutMachine, by: i64) -> RolloutMachine {
    let moved = |moment: Timestamp| Timestamp(moment.0.saturating_add(by));
    let mut next = machine.clone();
    next.since = moved(machine.since);
    next.deadline = machine.deadline.map(moved);
    next.tried_at = machine.tried_at.map(moved);
    if let Phase::Proving { well_since, .. } = &mut next.phase {
        *well_since = well_since.map(moved);
    }
    next
}

/// By how many microseconds the moments of a machine lag behind a clock that was set by `step`: negative where they lie in
/// the future, and never so many that they would come to lie there. What was written after the clock was set is right.
pub fn lag(machine: &RolloutMachine, step: i64, now: Timestamp) -> i64 {
    let latest = machine.tried_at.unwrap_or(machine.since).max(machine.since);
    now.0.saturating_sub(latest.0).min(step.max(0))
}

/// What a call to a machine came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The machine has all that it needs. The command is what it shall be told next.
    Ready(Command),
    /// It did not accept the command, so nothing of it was begun or ever will be; and what that means.
    Declined(Box<Outcome>),
    /// It installed the package, and is ending itself.
    Armed,
    /// It confirmed.
    Confirmed,
    /// It is doing work that must not be killed.
    Busy(String),
    /// It was interrupted before anything was armed, or stood differently than expected.
    Interrupted(String),
    /// It refused, and would refuse again.
    Refused(String),
    /// The machine is there and the process that was commanded is not: nothing listens at its port.
    Gone(String),
    /// The call broke off, and nobody knows what came of it.
    Broken(String),
}

/// Where `machine` stands after a call; `None` if the call changed nothing and is made again.
pub fn settle(machine: &RolloutMachine, outcome: &Outcome) -> Option<Phase> {
    let awaits_word = match &machine.phase {
        Phase::Uploading | Phase::Installing(_) => true,
        Phase::Restarting(command) => command.mark == Mark::Old,
        _ => false,
    };
    match (&machine.phase, outcome) {
        (_, Outcome::Declined(meaning)) => settle(machine, meaning),
        (Phase::Checking | Phase::Uploading, Outcome::Ready(command)) => Some(Phase::Installing(command.clone())),
        (Phase::Installing(command), Outcome::Armed) => {
            Some(Phase::Restarting(Command { mark: Mark::New, ..command.clone() }))
        }
        (Phase::Installing(command), Outcome::Gone(_)) => Some(Phase::Restarting(command.clone())),
        // What was in doubt is told: what is found from now on came of this command.
        (Phase::Restarting(command), Outcome::Armed) if command.mark == Mark::Old => {
            Some(Phase::Restarting(Command { mark: Mark::New, ..command.clone() }))
        }
        (Phase::Proving { .. }, Outcome::Confirmed) => Some(Phase::Upgraded),
        (_, Outcome::Busy(reason)) if awaits_word => Some(Phase::Waiting(WaitReason::Busy { reason: reason.clone() })),
        (_, Outcome::Interrupted(reason)) if awaits_word => Some(interrupted(machine, reason)),
        (_, Outcome::Refused(reason)) if awaits_word => Some(Phase::Failed { reason: reason.clone() }),
        _ => None,
    }
}

/// What the task of a rollout shows: its state, and why it failed.
pub fn task_state(rollout: &Rollout) -> (TaskState, String) {
    let idle = rollout.count(PhaseKind::is_in_flight) == 0;
    match rollout.state {
        RolloutState::Scheduled => (TaskState::Queued, String::new()),
        RolloutState::Running => (TaskState::Executing, String::new()),
        // A script that waits for the task must not wait for a person.
        RolloutState::Paused if idle => (TaskState::Failed, rollout.state_reason.clone()),
        RolloutState::Paused => (TaskState::Executing, String::new()),
        RolloutState::Completed => (TaskState::Success, String::new()),
        RolloutState::CompletedWithFailures => (TaskState::Failed, rollout.summary()),
        RolloutState::Cancelled => (TaskState::Canceled, String::new()),
    }
}

/// Where a machine stands whose attempt came to nothing: it is tried again, but not for ever.
pub(super) fn interrupted(machine: &RolloutMachine, reason: &str) -> Phase {
    if machine.attempt >= ATTEMPTS_MAX {
        return Phase::Failed { reason: format!("{reason}; it was tried {ATTEMPTS_MAX} times") };
    }
    Phase::Waiting(WaitReason::Interrupted { reason: reason.to_owned() })
}
