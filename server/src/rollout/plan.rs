//! The planner: what to do next for a rollout, from what was written down and what was last seen. Pure.
//!
//! It is called again after every change and at every tick, with everything loaded anew, so it never remembers
//! anything. An action is the next step of one machine; whatever it leads to is seen at the next call.

use std::collections::HashMap;

use super::advance::Context;
use super::gate::{is_halted, restored, starts, state_after};
use super::phase::{Phase, WaitReason};
use super::state::{Deadlines, Rollout, RolloutMachine, RolloutState};
use crate::clock::Timestamp;
use crate::ids::{MachineId, RolloutId};
use crate::model::Facts;

/// What is known of one machine of a rollout when it is planned.
#[derive(Clone, Debug, Default)]
pub struct Observation {
    /// True if the machine was disabled or deleted, or all of its environments were disabled.
    pub withdrawn: bool,
    /// What the inventory knows of it.
    pub facts: Option<Facts>,
    /// Another rollout that has it.
    pub elsewhere: Option<Elsewhere>,
    /// True while a call to it is under way for this rollout.
    pub call_under_way: bool,
}

/// How another rollout has a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Elsewhere {
    /// A newer rollout wants it too: this one leaves it alone, if it has not begun.
    Newer(RolloutId),
    /// An older rollout is at it: this one waits until that is over.
    Older(RolloutId),
}

/// What bounds a rollout from outside.
#[derive(Clone, Debug)]
pub struct Limits {
    /// How long each phase may take.
    pub deadlines: Deadlines,
    /// The highest generation this portal ever issued.
    pub issued_generation: u64,
    /// The runtimes that the rollout has packages for.
    pub runtimes: Vec<String>,
}

/// One step. A machine gets at most one in a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Write down that the machine stands in another phase.
    Move {
        /// The machine.
        machine: MachineId,
        /// Where it stands now.
        to: Phase,
    },
    /// Ask the machine for its status.
    Observe {
        /// The machine.
        machine: MachineId,
    },
    /// Send it the package; when that is done, write the command down.
    Upload {
        /// The machine.
        machine: MachineId,
    },
    /// Send it the command that was written down, and follow it to its end.
    Install {
        /// The machine.
        machine: MachineId,
    },
    /// Tell it that this very process was seen well.
    Confirm {
        /// The machine.
        machine: MachineId,
        /// That process.
        instance: String,
    },
    /// Write down that the rollout stands elsewhere.
    SetState {
        /// Where.
        state: RolloutState,
        /// Why, in a sentence; may be empty.
        reason: String,
    },
}

impl Action {
    /// The machine that it is about; `None` where it is about the rollout itself.
    pub fn machine(&self) -> Option<MachineId> {
        match self {
            Self::Move { machine, .. }
            | Self::Observe { machine }
            | Self::Upload { machine }
            | Self::Install { machine }
            | Self::Confirm { machine, .. } => Some(*machine),
            Self::SetState { .. } => None,
        }
    }
}

/// The next steps of `rollout` at the moment `now`. `observations` need not hold every machine: one that is missing was
/// deleted.
pub fn plan(
    rollout: &Rollout,
    observations: &HashMap<MachineId, Observation>,
    limits: &Limits,
    now: Timestamp,
) -> Vec<Action> {
    let missing = Observation { withdrawn: true, ..Observation::default() };
    let mut next = rollout.clone();
    let mut actions = Vec::new();
    if let Some(reason) = restored(rollout, observations, limits) {
        actions.extend(stand_still(&mut next));
        actions.push(Action::SetState { state: RolloutState::Paused, reason });
        return actions;
    }
    let mut calls = Vec::new();
    for machine in &mut next.machines {
        let seen = observations.get(&machine.machine);
        let observation = seen.unwrap_or(&missing);
        let context = Context { rollout, observation, is_deleted: seen.is_none(), limits, now };
        match context.advance(machine) {
            Some(Action::Move { machine: id, to }) => {
                machine.phase = to.clone();
                actions.push(Action::Move { machine: id, to });
            }
            call => calls.extend(call),
        }
    }
    // Only now it is known whether a failure of one machine stops the others.
    if is_halted(&next) {
        let back = stand_still(&mut next);
        actions.retain(|action| back.iter().all(|back| back.machine() != action.machine()));
        calls.retain(|call| back.iter().all(|back| back.machine() != call.machine()));
        actions.extend(back);
    }
    actions.extend(calls);
    actions.extend(starts(&mut next, observations, now));
    actions.extend(state_after(&next, now));
    actions
}

/// Takes back what was begun and not commanded yet. A command that was written down and never sent is no command.
fn stand_still(next: &mut Rollout) -> Vec<Action> {
    let begun = |machine: &&mut RolloutMachine| match &machine.phase {
        Phase::Checking | Phase::Uploading => true,
        Phase::Installing(_) => machine.tried_at.is_none(),
        _ => false,
    };
    let back = |machine: &mut RolloutMachine| {
        machine.phase = Phase::Waiting(WaitReason::Turn);
        Action::Move { machine: machine.machine, to: machine.phase.clone() }
    };
    next.machines.iter_mut().filter(begun).map(back).collect()
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
