//! What operators do with a simulated fleet, now and then: as the portal's hands do it, and in their order.

use octopus_server::ids::{EnvironmentId, MachineId, RolloutId};
use octopus_server::rollout::hindrance::Hold;
use octopus_server::rollout::plan::is_spent;
use octopus_server::rollout::settle::by_hand;
use octopus_server::rollout::state::{Phase, PhaseKind, Rollout, RolloutMachine, RolloutState, WaitReason};
use octopus_server::rollout::undo::{UndoDraft, UndoPlan, WayBack};
use rand::RngExt as _;

use super::seed::undo_of;
use super::world::{PEOPLE_UNTIL, World};

/// Why a rollout is paused that a person paused. No retry has it go on.
const PAUSED_BY_HAND: &str = "alice paused it";

impl World {
    /// What operators do at this moment.
    pub(super) fn people(&mut self) {
        if self.undo_at.last().is_some_and(|at| *at <= self.now) {
            self.undo_at.pop();
            self.undo();
        }
        if self.now > PEOPLE_UNTIL || !self.rng.random_bool(0.001) {
            return;
        }
        let of = self.rng.random_range(0..self.rollouts.len());
        match self.rng.random_range(0..7) {
            0 => self.pause(of),
            1 | 2 => self.resume(of),
            3 => self.retry(of),
            4 if self.rng.random_bool(0.1) => self.cancel(of),
            5 => self.change_hours(),
            6 if self.rng.random_bool(0.1) => self.ignore_windows(of),
            _ => self.hold_or_release(of),
        }
        self.rollouts[of].revision += 1;
    }

    fn pause(&mut self, of: usize) {
        let rollout = &mut self.rollouts[of];
        if rollout.state.may_become_by_hand(RolloutState::Paused) && rollout.cancel_requested_at.is_none() {
            (rollout.state, rollout.state_reason) = (RolloutState::Paused, PAUSED_BY_HAND.to_owned());
            self.say(format!("alice pauses {}", self.rollouts[of].id));
        }
    }

    fn resume(&mut self, of: usize) {
        let now = self.clock();
        let rollout = &mut self.rollouts[of];
        if rollout.state == RolloutState::Paused && rollout.cancel_requested_at.is_none() {
            if rollout.start_at.is_some_and(|at| now < at) {
                rollout.state = RolloutState::Scheduled;
                return self.say(format!("alice has {} wait for its hour again", self.rollouts[of].id));
            }
            for machine in rollout.machines.iter_mut().filter(|machine| machine.phase.kind().is_failure()) {
                machine.forgiven_at = Some(now);
            }
            rollout.state = RolloutState::Running;
            self.say(format!("alice resumes {}", self.rollouts[of].id));
        }
    }

    fn retry(&mut self, of: usize) {
        let now = self.clock();
        // A machine that failed, where there is one.
        let failed = (0..).zip(&self.rollouts[of].machines).filter(|(_, row)| row.phase.kind().is_failure());
        let failed: Vec<usize> = failed.map(|(at, _)| at).collect();
        let at = self.rng.random_range(0..failed.len().max(1));
        let Some(at) = failed.get(at).copied() else { return };
        if self.rollouts[of].cancel_requested_at.is_some() || self.rollouts[of].state == RolloutState::Cancelled {
            return;
        }
        let again = by_hand(&self.rollouts[of].machines[at], Phase::Waiting(WaitReason::Turn), now);
        let Some(again) = again else { return };
        self.say(format!("alice retries {} in {}", again.name, self.rollouts[of].id));
        let memory = (self.rollouts[of].target.clone(), again.machine);
        if self.failed_before.remove(&memory).is_some() {
            self.tried_again.insert(memory);
        }
        let was_spent = is_spent(&self.rollouts[of], now);
        self.put((of, at), again);
        let rollout = &mut self.rollouts[of];
        let goes_on = match rollout.state {
            RolloutState::Paused => was_spent && rollout.state_reason != PAUSED_BY_HAND,
            RolloutState::Completed | RolloutState::CompletedWithFailures => true,
            RolloutState::Scheduled | RolloutState::Running | RolloutState::Cancelled => false,
        };
        if !goes_on {
            return;
        }
        if is_spent(rollout, now) {
            let failed = rollout.machines.iter_mut().filter(|machine| machine.phase.kind().is_failure());
            failed.for_each(|machine| machine.forgiven_at = machine.forgiven_at.or(Some(now)));
        }
        rollout.state = RolloutState::Running;
    }

    fn cancel(&mut self, of: usize) {
        let now = self.clock();
        if !self.rollouts[of].is_over() {
            self.rollouts[of].cancel_requested_at.get_or_insert(now);
            self.say(format!("alice cancels {}", self.rollouts[of].id));
        }
    }

    fn ignore_windows(&mut self, of: usize) {
        if !self.rollouts[of].is_over() && self.rollouts[of].cancel_requested_at.is_none() {
            self.rollouts[of].strategy.ignore_windows = Some("a hole in the old version".to_owned());
            self.say(format!("alice lets {} begin at any hour", self.rollouts[of].id));
        }
    }

    fn change_hours(&mut self) {
        let now = self.clock();
        let said = match self.rng.random_range(0..3) {
            0 => {
                let id = EnvironmentId(self.rng.random_range(1..=self.environments));
                self.hours.change_windows(&mut self.rng, id)
            }
            1 => self.hours.freeze(&mut self.rng, self.environments, now),
            _ => {
                self.hours.thaw();
                "nothing is frozen".to_owned()
            }
        };
        self.say(format!("alice says that {said}"));
    }

    fn hold_or_release(&mut self, of: usize) {
        let at = self.rng.random_range(0..self.rollouts[of].machines.len());
        let (machine, since) = (self.rollouts[of].machines[at].machine, self.clock());
        if self.holds.remove(&machine).is_none() {
            self.holds.insert(machine, Hold { reason: "a test".into(), by: "bob".into(), since, until: None });
        }
    }

    /// Somebody undoes the last rollout, whatever it is at.
    fn undo(&mut self) {
        let now = self.clock();
        let of = self.rollouts.len() - 1;
        let facts = self.facts.clone();
        let plan = UndoPlan::of(&self.rollouts[of], &facts, |_| true);
        self.check_undo_plan(of, &plan);
        if plan.goes() == 0 {
            return;
        }
        let id = RolloutId(self.rollouts[of].id.0 + 1);
        self.rollouts[of].cancel_requested_at.get_or_insert(now);
        self.rollouts[of].revision += 1;
        let undo = undo_of(&self.rollouts[of], UndoDraft::of(&self.rollouts[of], &plan), id, now);
        self.say(format!("alice undoes {} by {id}: {}", self.rollouts[of].id, plan.sentence()));
        self.rollouts.push(undo);
        self.grace.push(usize::MAX);
    }

    /// An undo brings back every machine that its rollout changed, as far as anybody can know, and no other.
    fn check_undo_plan(&mut self, of: usize, plan: &UndoPlan) {
        let rollout = &self.rollouts[of];
        let goes = |id: MachineId| {
            plan.machines.iter().find_map(|(machine, _, way)| match way {
                WayBack::Goes(back) if *machine == id => Some(back),
                WayBack::Goes(_) | WayBack::Stays(_) => None,
            })
        };
        let is_seen_elsewhere = |row: &RolloutMachine| {
            let report = self.facts.get(&row.machine).and_then(|facts| facts.report.as_ref());
            report.is_some_and(|report| report.version != *row.target(&rollout.target))
        };
        let mut wrong = Vec::new();
        for row in &rollout.machines {
            let machine = &self.machines[&row.machine];
            let changed = self.change_by(rollout, row.machine);
            let target = row.target(&rollout.target);
            match (goes(row.machine), changed) {
                // A copy of it may have answered last.
                (None, Some(_))
                    if row.phase.kind() == PhaseKind::Upgraded
                        && machine.version == *target
                        && !is_seen_elsewhere(row) =>
                {
                    wrong.push(format!("{} was changed and is not undone", row.name));
                }
                (Some(back), Some(done)) if back.to != done.from => {
                    wrong.push(format!("{} ran {} and is to go back to {}", row.name, done.from, back.to));
                }
                (Some(_), None) if row.phase.kind().is_final() && row.phase.kind() != PhaseKind::Lost => {
                    wrong.push(format!("{} was not changed and is undone", row.name));
                }
                _ => {}
            }
        }
        wrong.into_iter().for_each(|promise| self.breaks(promise));
    }

    /// What a rollout changed on a machine: the last of its orders that was carried out there.
    pub(super) fn change_by(&self, rollout: &Rollout, id: MachineId) -> Option<super::machine::Done> {
        let ticket = ticket_of(rollout);
        self.machines[&id].carried_out.iter().rev().find(|done| done.ticket.starts_with(&ticket)).cloned()
    }
}

/// How the tickets of a rollout begin.
pub(super) fn ticket_of(rollout: &Rollout) -> String {
    format!("{}/", rollout.id)
}
