//! A rollout as it will stand after the steps that are planned so far, and what can be counted in it. Pure.
//!
//! A part of the planner. Nothing is copied but the phases that change, so that it stays quick for a large fleet.

use std::collections::BTreeMap;

use super::phase::{Phase, PhaseKind};
use super::plan::Action;
use super::settle::is_watched;
use super::state::{Rollout, RolloutState};
use crate::clock::Timestamp;

/// What is counted in a wave, or in a whole rollout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Machines in flight.
    pub in_flight: usize,
    /// Machines that are being asked or sent the package.
    pub transfers: usize,
    /// Machines that failed and that no person has forgiven.
    pub failures: usize,
    /// Machines that are proven.
    pub upgraded: usize,
    /// Lost machines that may turn up soon.
    pub watched: usize,
    /// When the last of the machines that were commanded came to its end, well or not.
    pub settled_at: Option<Timestamp>,
    /// When the first machine was proven, and its wave.
    pub first_proven: Option<(Timestamp, usize)>,
}

/// See [`Ahead::proof`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// No machine of the rollout is proven: one goes alone.
    Missing,
    /// One is, and must soak before more begin.
    Soaking { until: Timestamp },
    /// One is and did, or need not.
    Given,
}

/// See the head of this file.
pub(super) struct Ahead<'a> {
    pub rollout: &'a Rollout,
    pub now: Timestamp,
    /// Of the whole rollout.
    pub all: Tally,
    /// Of each wave.
    pub waves: Vec<Tally>,
    /// The wave that is open.
    pub open_wave: usize,
    changed: BTreeMap<usize, Phase>,
}

impl<'a> Ahead<'a> {
    pub fn of(rollout: &'a Rollout, now: Timestamp) -> Self {
        let waves = vec![Tally::default(); rollout.waves.len().max(1)];
        let open_wave = rollout.open_wave.min(waves.len() - 1);
        let mut ahead = Self { rollout, now, all: Tally::default(), waves, open_wave, changed: BTreeMap::new() };
        for at in 0..rollout.machines.len() {
            ahead.count(at, 1);
        }
        ahead
    }

    /// Where a machine will stand.
    pub fn phase(&self, at: usize) -> &Phase {
        self.changed.get(&at).unwrap_or(&self.rollout.machines[at].phase)
    }

    /// True if a step of the machine is planned.
    pub fn is_changed(&self, at: usize) -> bool {
        self.changed.contains_key(&at)
    }

    /// The machines of which a step is planned.
    pub fn changed_at(&self) -> impl Iterator<Item = usize> {
        self.changed.keys().copied()
    }

    /// True where something was begun with a machine, and no command was sent. One that was written down and never sent is
    /// no command.
    pub fn is_only_begun(&self, at: usize) -> bool {
        match self.phase(at) {
            Phase::Checking | Phase::Uploading => true,
            Phase::Installing(_) => self.rollout.machines[at].tried_at.is_none(),
            _ => false,
        }
    }

    /// Plans a step.
    pub fn set(&mut self, at: usize, to: Phase) {
        self.count(at, -1);
        self.changed.insert(at, to);
        self.count(at, 1);
    }

    /// The steps that were planned, in the order of the machines.
    pub fn moves(&self) -> impl Iterator<Item = Action> {
        self.changed.iter().map(|(at, to)| Action::Move { machine: self.rollout.machines[*at].machine, to: to.clone() })
    }

    /// True where nobody may be commanded any more: it is not running, or a budget is spent.
    pub fn is_halted(&self) -> bool {
        let state = self.rollout.state;
        let closed = matches!(state, RolloutState::Scheduled | RolloutState::Paused | RolloutState::Cancelled);
        closed || self.rollout.cancel_requested_at.is_some() || self.is_spent()
    }

    /// True where the failures reached the budget of the rollout or of a wave.
    pub fn is_spent(&self) -> bool {
        self.all.failures >= self.rollout.failure_budget as usize || self.spent_wave().is_some()
    }

    /// Whether a machine is proven and has soaked, so that more may begin at once than one.
    pub fn proof(&self) -> Proof {
        let open = self.open_wave;
        let Some((at, of)) = self.all.first_proven else { return Proof::Missing };
        // In the first wave nothing was to soak yet, and a release spares it.
        let is_spared = open == 0 || self.rollout.waves.get(open).is_some_and(|wave| wave.released_at.is_some());
        if is_spared {
            return Proof::Given;
        }
        // The waves before its own came to nothing: it stands for them, and so soaks as long as they would have.
        let soak = self.rollout.waves.iter().take(of.max(1)).map(|wave| wave.soak).max().unwrap_or_default();
        let until = at.after(soak);
        if self.now < until { Proof::Soaking { until } } else { Proof::Given }
    }

    /// The first wave whose own budget is spent.
    pub fn spent_wave(&self) -> Option<usize> {
        let budgets = self.rollout.waves.iter().map(|wave| wave.failure_budget);
        self.waves.iter().zip(budgets).position(|(tally, budget)| budget.is_some_and(|b| tally.failures >= b as usize))
    }

    fn count(&mut self, at: usize, by: isize) {
        let machine = &self.rollout.machines[at];
        let is_changed = self.changed.contains_key(&at);
        let kind = self.phase(at).kind();
        let since = if is_changed { self.now } else { machine.since };
        let proven = (kind == PhaseKind::Upgraded).then_some(since);
        let is_end = kind.is_failure() || kind == PhaseKind::Skipped;
        let settled = proven.or((is_end && machine.previous.is_some()).then_some(since));
        let watched = if is_changed { kind == PhaseKind::Lost } else { is_watched(machine, self.now) };
        let failed = kind.is_failure() && (is_changed || machine.forgiven_at.is_none());
        let wave = machine.wave.min(self.waves.len() - 1);
        for tally in [&mut self.all, &mut self.waves[wave]] {
            let add = |count: &mut usize, counts: bool| {
                *count = count.saturating_add_signed(if counts { by } else { 0 });
            };
            add(&mut tally.in_flight, kind.is_in_flight());
            add(&mut tally.transfers, matches!(kind, PhaseKind::Checking | PhaseKind::Uploading));
            add(&mut tally.failures, failed);
            add(&mut tally.upgraded, proven.is_some());
            add(&mut tally.watched, watched);
            tally.settled_at = tally.settled_at.max(settled);
            if let Some(at) = proven {
                tally.first_proven = Some(tally.first_proven.map_or((at, wave), |first| first.min((at, wave))));
            }
        }
    }
}
