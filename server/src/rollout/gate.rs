//! The gate of a rollout: which waiting machines begin, when it is stopped, and where the rollout itself stands. Pure.
//!
//! A part of the planner, called by `plan` alone.

use std::collections::HashMap;
use std::time::Duration;

use super::plan::{Action, Limits, Observation};
use super::settle::is_watched;
use super::state::{Phase, PhaseKind, Rollout, RolloutMachine, RolloutState, WaitReason};
use crate::clock::Timestamp;
use crate::ids::MachineId;
use crate::model::Contact;

/// How long a machine that was interrupted waits before it is begun again.
const RETRY_INTERRUPTED: Duration = Duration::from_secs(5);

/// How long a machine that is busy or unwell waits before it is looked at again.
const RETRY_BUSY: Duration = Duration::from_secs(30);

/// True where nobody may be commanded any more: it is paused or cancelled, or its budget is spent.
pub(super) fn is_halted(rollout: &Rollout) -> bool {
    let closed = matches!(rollout.state, RolloutState::Paused | RolloutState::Cancelled);
    let spent = rollout.count(PhaseKind::is_failure) >= rollout.failure_budget as usize;
    closed || spent || rollout.cancel_requested_at.is_some()
}

/// Which waiting machines begin now.
pub(super) fn starts(
    next: &mut Rollout,
    observations: &HashMap<MachineId, Observation>,
    now: Timestamp,
) -> Vec<Action> {
    if is_halted(next) {
        return Vec::new();
    }
    let one_is_proven = next.count(|kind| kind == PhaseKind::Upgraded) > 0;
    let cap = if one_is_proven { next.max_in_flight as usize } else { 1 };
    let free = cap.saturating_sub(next.count(PhaseKind::is_in_flight));
    let mut ready: Vec<&mut RolloutMachine> = next
        .machines
        .iter_mut()
        .filter(|machine| observations.get(&machine.machine).is_some_and(|seen| is_ready(machine, seen, now)))
        .collect();
    // Those that were reachable a moment ago come first: a silent one would only hold up the first place.
    ready.sort_by_key(|machine| (!is_reachable(&observations[&machine.machine]), machine.position));
    let mut actions = Vec::new();
    for machine in ready.into_iter().take(free) {
        machine.phase = Phase::Checking;
        actions.push(Action::Move { machine: machine.machine, to: Phase::Checking });
    }
    actions
}

fn is_reachable(observation: &Observation) -> bool {
    observation.facts.as_ref().is_some_and(|facts| facts.contact == Contact::Answered)
}

fn is_ready(machine: &RolloutMachine, observation: &Observation, now: Timestamp) -> bool {
    let Phase::Waiting(why) = &machine.phase else { return false };
    if observation.withdrawn || observation.elsewhere.is_some() || observation.call_under_way {
        return false;
    }
    match why {
        WaitReason::Turn | WaitReason::PortalWasAway => true,
        WaitReason::Offline { .. } => {
            let seen = observation.facts.as_ref().filter(|facts| facts.contact == Contact::Answered);
            seen.is_some_and(|facts| facts.tried_at > machine.since)
        }
        WaitReason::Interrupted { .. } => now >= machine.since.after(RETRY_INTERRUPTED),
        WaitReason::Busy { .. } | WaitReason::Unwell { .. } => now >= machine.since.after(RETRY_BUSY),
    }
}

/// Where the rollout itself stands after the machines' steps.
pub(super) fn state_after(next: &Rollout, now: Timestamp) -> Option<Action> {
    let set = |state, reason| {
        let differs = state != next.state;
        differs.then_some(Action::SetState { state, reason })
    };
    let in_flight = next.count(PhaseKind::is_in_flight);
    let failures = next.count(PhaseKind::is_failure);
    // A lost machine may turn up; until it is given up, the rollout does not say how it ended.
    let is_watching = next.machines.iter().any(|machine| is_watched(machine, now));
    let will_start = next.machines.iter().any(|machine| match &machine.phase {
        Phase::Waiting(why) => !matches!(why, WaitReason::Offline { .. }),
        _ => false,
    });
    if next.cancel_requested_at.is_some() && !next.state.is_completed() {
        return if in_flight == 0 { set(RolloutState::Cancelled, String::new()) } else { None };
    }
    match next.state {
        RolloutState::CompletedWithFailures if failures == 0 && in_flight == 0 && !will_start => {
            // What was lost turned up well.
            set(RolloutState::Completed, String::new())
        }
        RolloutState::Cancelled | RolloutState::CompletedWithFailures => None,
        RolloutState::Running | RolloutState::Paused | RolloutState::Completed
            if in_flight == 0 && !will_start && !is_watching =>
        {
            let state = if failures > 0 { RolloutState::CompletedWithFailures } else { RolloutState::Completed };
            set(state, String::new())
        }
        RolloutState::Completed | RolloutState::Paused => None,
        RolloutState::Running => {
            let spent = failures >= next.failure_budget as usize;
            if spent { set(RolloutState::Paused, budget_spent(next, failures)) } else { None }
        }
    }
}

/// The reason to pause where a machine saw a higher generation than this portal ever issued.
pub(super) fn restored(
    next: &Rollout,
    observations: &HashMap<MachineId, Observation>,
    limits: &Limits,
) -> Option<String> {
    if next.state != RolloutState::Running || next.cancel_requested_at.is_some() {
        return None;
    }
    let ahead = next.machines.iter().find(|machine| {
        let report = observations.get(&machine.machine).and_then(|o| o.facts.as_ref()).and_then(|f| f.report.as_ref());
        report.is_some_and(|report| report.generation > limits.issued_generation)
    })?;
    Some(format!(
        "{} was commanded by a later state of this portal than the one that runs now: this portal was restored from an \
         old backup. Check what the machines run before you start another rollout",
        ahead.name
    ))
}

fn budget_spent(next: &Rollout, failures: usize) -> String {
    let names: Vec<String> = next
        .machines
        .iter()
        .filter(|machine| machine.phase.kind().is_failure())
        .map(|machine| format!("{} ({})", machine.name, machine.phase.kind()))
        .collect();
    let budget = next.failure_budget;
    format!("stopped: {failures} of {budget} allowed failures: {}. Nothing new is started", names.join(", "))
}
