//! The planner: what to do next for a rollout, from what was written down and what was last seen. Pure.
//!
//! It is called again after every change and at every tick, with everything loaded anew, so it never remembers
//! anything. An action is the next step of one machine; whatever it leads to is seen at the next call.

use std::collections::HashMap;

use super::advance::Context;
use super::ahead::{Ahead, Proof};
use super::calendar::Closed;
use super::gate::{Gate, restored};
use super::hindrance::{Hindrance, Hold};
use super::phase::{Phase, WaitReason};
use super::state::{Deadlines, Rollout, RolloutState};
use crate::clock::Timestamp;
use crate::ids::{EnvironmentId, MachineId, RolloutId};
use crate::model::{Facts, TaskQueue};

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
    /// Why it may not begin at this hour.
    pub closed: Option<Closed>,
    /// A person said that it is not to be upgraded.
    pub hold: Option<Hold>,
    /// How the target failed on it before, where nobody released it since.
    pub failed_before: Option<String>,
    /// The target failed on it, and a person named it to be tried again: that it is held for its platform does not count.
    pub tried_again: bool,
    /// Each of its roles in each of its environments; empty where the strategy does not ask for it.
    pub groups: Vec<(EnvironmentId, String)>,
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
    /// Whether the tasks of its space begin. Where they do not, it commands no machine.
    pub queue: TaskQueue,
    /// Why nothing may begin or go on, whatever the rollout: the portal was restored, and nobody has confirmed that.
    pub held: Option<String>,
    /// The highest generation this portal ever issued.
    pub issued_generation: u64,
    /// The size in bytes of the package that the rollout has for each runtime.
    pub packages: HashMap<String, u64>,
    /// On how many machines of each runtime the target failed, where nobody released it since.
    pub failed_on: HashMap<String, usize>,
    /// How many machines there are of each role in each environment; empty where the strategy does not ask for it.
    pub role_sizes: HashMap<(EnvironmentId, String), usize>,
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
    /// Write the command down, where nothing has to be sent before.
    Command {
        /// The machine.
        machine: MachineId,
    },
    /// Send it the command that was written down, and follow it to its end.
    Install {
        /// The machine.
        machine: MachineId,
    },
    /// Ask it what became of the command that it was sent.
    Ask {
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
    /// Write down that a wave is open, and with it all before it.
    OpenWave {
        /// The wave, from 0.
        wave: usize,
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
            | Self::Command { machine }
            | Self::Install { machine }
            | Self::Ask { machine }
            | Self::Confirm { machine, .. } => Some(*machine),
            Self::OpenWave { .. } | Self::SetState { .. } => None,
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
    let mut ahead = Ahead::of(rollout, now);
    if let Some(reason) = restored(rollout, observations, limits) {
        stand_still(&mut ahead);
        let pause = Action::SetState { state: RolloutState::Paused, reason };
        return ahead.moves().chain([pause]).collect();
    }
    let missing = Observation { withdrawn: true, ..Observation::default() };
    let mut calls = Vec::new();
    for (at, machine) in rollout.machines.iter().enumerate() {
        if machine.phase.kind().is_settled() {
            continue;
        }
        let seen = observations.get(&machine.machine);
        let context =
            Context { rollout, observation: seen.unwrap_or(&missing), is_deleted: seen.is_none(), limits, now };
        match context.advance(machine) {
            Some(Action::Move { to, .. }) => ahead.set(at, to),
            call => calls.extend(call.map(|call| (at, call))),
        }
    }
    // Only now it is known whether a failure of one machine stops the others.
    if ahead.is_halted() || limits.queue.is_stopped() {
        stand_still(&mut ahead);
    }
    let mut gate = Gate::new(&ahead, observations, limits);
    gate.recall(&mut ahead);
    calls.retain(|(at, _)| !ahead.is_changed(*at));
    let mut actions: Vec<Action> = ahead.moves().chain(calls.into_iter().map(|(_, call)| call)).collect();
    actions.extend(gate.open_waves(&mut ahead));
    actions.extend(gate.starts(&mut ahead));
    actions.extend(gate.state_after(&ahead));
    actions
}

/// What keeps each waiting machine of `rollout` from beginning at the moment `now`: what the planner itself would say.
pub fn hindrances(
    rollout: &Rollout,
    observations: &HashMap<MachineId, Observation>,
    limits: &Limits,
    now: Timestamp,
) -> HashMap<MachineId, Hindrance> {
    let ahead = Ahead::of(rollout, now);
    let gate = Gate::new(&ahead, observations, limits);
    let blocked = gate.blocked(&ahead);
    let machines = rollout.machines.iter().enumerate();
    let hindrance = |at| gate.hindrance(&ahead, at, blocked.as_ref());
    machines.filter_map(|(at, machine)| Some((machine.machine, hindrance(at)?))).collect()
}

/// True where nobody of `rollout` may be commanded any more.
pub fn is_halted(rollout: &Rollout, now: Timestamp) -> bool {
    Ahead::of(rollout, now).is_halted()
}

/// True where the failures reached the budget of the rollout or of a wave.
pub fn is_spent(rollout: &Rollout, now: Timestamp) -> bool {
    Ahead::of(rollout, now).is_spent()
}

/// True where the open wave took the place of a canary, and the machine that goes first in it is not proven or must soak.
pub fn awaits_proof(rollout: &Rollout, now: Timestamp) -> bool {
    let ahead = Ahead::of(rollout, now);
    ahead.open_wave > 0 && ahead.proof() != Proof::Given
}

/// Takes back what was begun and not commanded yet.
fn stand_still(ahead: &mut Ahead) {
    for at in 0..ahead.rollout.machines.len() {
        if ahead.is_only_begun(at) {
            ahead.set(at, Phase::Waiting(WaitReason::Turn));
        }
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
