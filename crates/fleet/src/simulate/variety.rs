//! What only every other seed plays: other waves and limits, roles, an hour at which it begins, machines that come late, and
//! what people do with those. Drawn from dice of its own, so that the other seeds play what they would play without it.

use std::collections::{BTreeMap, HashMap};

use octopus_server::clock::Timestamp;
use octopus_server::ids::{EnvironmentId, MachineId};
use octopus_server::rollout::absent::{LateArrivals, Offline};
use octopus_server::rollout::settle::by_hand;
use octopus_server::rollout::state::{Phase, Rollout, RolloutMachine, RolloutState, SkipReason};
use octopus_server::rollout::strategy::{Amount, Approval, Candidate, Members, Strategy, Wave, role_sizes};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

use super::machine::SECOND;
use super::seed::new_row;
use super::world::{PEOPLE_UNTIL, World};

/// What sets the second dice apart from those of the seed.
const APART: u64 = 0x6f63_746f_7075_7321;

/// The roles that machines have.
const ROLES: [&str; 2] = ["web", "db"];

/// Machines that come late, at most.
const LATE_MAX: usize = 3;

/// See the head of this file.
pub(super) struct Variety {
    dice: SmallRng,
    is_varied: bool,
    /// The role of each machine; none where nothing is varied.
    roles: BTreeMap<MachineId, String>,
    /// Machines that come late, and when; the first last.
    late: Vec<(i64, MachineId)>,
}

impl Variety {
    pub fn of(seed: u64, machines: &[MachineId]) -> Self {
        let mut dice = SmallRng::seed_from_u64(seed ^ APART);
        let is_varied = dice.random_bool(0.5);
        let (mut roles, mut late) = (BTreeMap::new(), Vec::new());
        if is_varied {
            roles = machines.iter().map(|id| (*id, ROLES[dice.random_range(0..2)].to_owned())).collect();
            let some = if machines.len() > 2 * LATE_MAX { dice.random_range(0..=LATE_MAX) } else { 0 };
            late = machines.iter().rev().take(some).map(|id| (dice.random_range(1..PEOPLE_UNTIL), *id)).collect();
            late.sort_by(|one, other| other.cmp(one));
        }
        Self { dice, is_varied, roles, late }
    }

    pub fn is_late(&self, id: MachineId) -> bool {
        self.late.iter().any(|(_, late)| *late == id)
    }

    /// Another strategy.
    pub fn strategy(&mut self, strategy: Strategy, environments: i64) -> Strategy {
        if !self.is_varied {
            return strategy;
        }
        let dice = &mut self.dice;
        let mut waves = match dice.random_range(0..4) {
            0 => strategy.waves.clone(),
            1 => (1..=environments).map(|id| Wave::of(Members::Environment(EnvironmentId(id)))).collect(),
            2 => ROLES.map(|role| Wave::of(Members::Role(role.to_owned()))).to_vec(),
            _ => vec![Wave::of(Members::Next(Amount::Number(1))), Wave::of(Members::Next(Amount::Percent(30)))],
        };
        for wave in &mut waves {
            wave.soak_seconds = dice.random_bool(0.5).then(|| dice.random_range(0..900));
            wave.approval = if dice.random_bool(0.2) { Approval::Person } else { Approval::None };
            wave.failure_budget = dice.random_bool(0.2).then(|| Amount::Number(dice.random_range(1..3)));
        }
        let mut amount = |amount, percent: std::ops::Range<u32>| {
            if dice.random_bool(0.3) { Amount::Percent(dice.random_range(percent)) } else { amount }
        };
        let max_in_flight = amount(strategy.max_in_flight, 5..60);
        let failure_budget = amount(strategy.failure_budget, 5..40);
        Strategy {
            waves,
            max_in_flight,
            failure_budget,
            max_percent_of_role: dice.random_bool(0.4).then(|| dice.random_range(10..60)),
            offline: match dice.random_range(0..4) {
                0 => Offline::Leave,
                1 => Offline::WaitHours(1),
                _ => strategy.offline,
            },
            late_arrivals: if dice.random_bool(0.8) { LateArrivals::Join } else { LateArrivals::Leave },
            ..strategy
        }
    }

    /// Some rollouts begin later.
    pub fn schedule(&mut self, rollout: &mut Rollout) {
        if self.is_varied && self.dice.random_bool(0.2) {
            rollout.start_at = Some(Timestamp(self.dice.random_range(60..3600) * SECOND));
            rollout.state = RolloutState::Scheduled;
        }
    }

    /// What a strategy looks at in a machine.
    pub fn candidate(&self, id: MachineId, homes: &BTreeMap<MachineId, Vec<EnvironmentId>>) -> Candidate {
        if !self.is_varied {
            return Candidate::default();
        }
        let environments = homes.get(&id).cloned().unwrap_or_default();
        Candidate { environments, roles: self.roles.get(&id).cloned().into_iter().collect() }
    }
}

impl World {
    /// The groups of a machine, as the portal looks at them where a strategy limits roles.
    pub(super) fn groups(&self, rollout: &Rollout, id: MachineId) -> Vec<(EnvironmentId, String)> {
        if rollout.strategy.max_percent_of_role.is_none() {
            return Vec::new();
        }
        role_sizes([&self.variety.candidate(id, &self.homes)].into_iter()).into_keys().collect()
    }

    /// How many machines there are in each group.
    pub(super) fn group_sizes(&self) -> HashMap<(EnvironmentId, String), usize> {
        let all: Vec<Candidate> = self.machines.keys().map(|id| self.variety.candidate(*id, &self.homes)).collect();
        role_sizes(all.iter())
    }

    /// What comes and what people do besides.
    pub(super) fn vary(&mut self) {
        if !self.variety.is_varied {
            return;
        }
        while self.variety.late.last().is_some_and(|(at, _)| *at <= self.now) {
            if let Some((_, id)) = self.variety.late.pop() {
                self.comes_late(id);
            }
        }
        if self.now > PEOPLE_UNTIL || !self.variety.dice.random_bool(0.002) {
            return;
        }
        let of = self.variety.dice.random_range(0..self.rollouts.len());
        if self.rollouts[of].is_over() || self.rollouts[of].cancel_requested_at.is_some() {
            return;
        }
        match self.variety.dice.random_range(0..4) {
            0 => self.skip(of),
            1 => self.start_now(of),
            _ => self.release_wave(of),
        }
        self.rollouts[of].revision += 1;
    }

    /// A machine joins the rollout at the back, unless that is over or leaves such machines.
    fn comes_late(&mut self, id: MachineId) {
        let now = self.clock();
        let rollout = &mut self.rollouts[0];
        let is_open = matches!(rollout.state, RolloutState::Scheduled | RolloutState::Running | RolloutState::Paused);
        let joins = rollout.strategy.late_arrivals == LateArrivals::Join;
        if !is_open || !joins || rollout.cancel_requested_at.is_some() {
            return;
        }
        let position = rollout.machines.iter().map(|row| row.position).max().unwrap_or(0) + 1;
        let row = new_row(id, &self.machines[&id].name, position, rollout.waves.len() - 1, None);
        rollout.machines.push(RolloutMachine { since: now, ..row });
        rollout.revision += 1;
        self.say(format!("{} comes late and joins", self.machines[&id].name));
    }

    fn skip(&mut self, of: usize) {
        let now = self.clock();
        let at = self.variety.dice.random_range(0..self.rollouts[of].machines.len());
        let why = SkipReason::ByPerson { who: "carol".to_owned(), why: String::new() };
        let row = self.rollouts[of].machines[at].clone();
        if let Some(skipped) = by_hand(&row, Phase::Skipped(why), now) {
            self.say(format!("carol leaves {} out of {}", row.name, self.rollouts[of].id));
            self.put((of, at), skipped);
        }
    }

    fn start_now(&mut self, of: usize) {
        let now = self.clock();
        let rollout = &mut self.rollouts[of];
        if rollout.state == RolloutState::Scheduled {
            (rollout.state, rollout.start_at) = (RolloutState::Running, Some(now));
            self.say(format!("carol begins {} now", self.rollouts[of].id));
        }
    }

    fn release_wave(&mut self, of: usize) {
        let now = self.clock();
        let rollout = &mut self.rollouts[of];
        let next = rollout.open_wave + 1;
        if let Some(wave) = rollout.waves.get_mut(next).filter(|wave| wave.released_at.is_none()) {
            wave.released_at = Some(now);
            self.say(format!("carol releases wave {} of {}", next + 1, self.rollouts[of].id));
        }
    }
}
