//! What a simulated fleet promises: at each step, at every moment, and at the end.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use octopus_server::rollout::plan::{hindrances, is_halted};
use octopus_server::rollout::state::{PhaseKind, Rollout, RolloutMachine, RolloutState};

use super::machine::{Done, Machine};
use super::world::{Place, World};

impl World {
    /// Promises about one step.
    pub(super) fn check_step(&mut self, place: Place, before: &RolloutMachine, after: &RolloutMachine) {
        let (from, to) = (before.phase.kind(), after.phase.kind());
        let (rollout, machine) = (&self.rollouts[place.0], &self.machines[&after.machine]);
        // A copy runs for ever what an undo brings the machine back to, and answers for it.
        let copy_answers = after.back.is_some() && machine.is_cloned(self.now);
        if to == PhaseKind::Upgraded && !copy_answers && !machine.is_proven_at(after.target(&rollout.target)) {
            let runs = machine.version.to_string();
            return self.breaks(format!("{} is shown as upgraded and runs {runs}", after.name));
        }
        let is_commanded = from != to && to == PhaseKind::Installing;
        if is_commanded && is_halted(rollout, self.clock()) {
            return self.breaks(format!("{} is commanded though the rollout is stopped", after.name));
        }
        let is_cloned = self.facts.get(&after.machine).is_some_and(|facts| facts.instances.is_cloned());
        if to == PhaseKind::Installing && is_cloned {
            return self.breaks(format!("{} is commanded though two machines answer as it", after.name));
        }
        if to == PhaseKind::Checking && after.wave > rollout.open_wave {
            return self.breaks(format!("{} begins before its wave", after.name));
        }
        if from == PhaseKind::Waiting
            && to == PhaseKind::Checking
            && let Some(promise) = self.overtakes_canary(rollout, after)
        {
            return self.breaks(promise);
        }
        let keeps_hours = rollout.strategy.ignore_windows.is_none();
        let home = &self.homes[&after.machine];
        if from == PhaseKind::Waiting
            && to == PhaseKind::Checking
            && keeps_hours
            && !self.hours.is_open(home, self.clock())
        {
            return self.breaks(format!("{} begins outside its hours", after.name));
        }
        if let Some(promise) = judges_falsely(machine, before, after) {
            return self.breaks(promise);
        }
        if is_commanded {
            self.check_way_back(place, after);
        }
    }

    /// After the first wave nothing larger than a canary begins before a proven machine has soaked, unless somebody
    /// released the wave.
    fn overtakes_canary(&self, rollout: &Rollout, row: &RolloutMachine) -> Option<String> {
        let open = rollout.open_wave;
        if open == 0 || rollout.waves[open].released_at.is_some() {
            return None;
        }
        let soak = |wave: usize| rollout.waves[..wave.max(1)].iter().map(|wave| wave.soak).max().unwrap_or_default();
        let is_proven = |other: &&RolloutMachine| other.phase.kind() == PhaseKind::Upgraded;
        let mut proven = rollout.machines.iter().filter(is_proven).peekable();
        if proven.peek().is_none() {
            let is_alone = rollout.count(PhaseKind::is_in_flight) == 0;
            return (!is_alone).then(|| format!("{} begins beside another before one is proven", row.name));
        }
        let has_soaked = proven.any(|other| other.since.after(soak(other.wave)) <= self.clock());
        (!has_soaked).then(|| format!("{} begins before a proven machine has soaked", row.name))
    }

    /// No wave begins before those that it follows have soaked, unless somebody released it.
    pub(super) fn check_soak(&mut self, of: usize, wave: usize) {
        let rollout = &self.rollouts[of];
        let is_end = |row: &RolloutMachine| {
            let kind = row.phase.kind();
            let was_commanded = row.previous.is_some() && (kind.is_failure() || kind == PhaseKind::Skipped);
            kind == PhaseKind::Upgraded || was_commanded
        };
        let spared = |row: &RolloutMachine| rollout.waves[row.wave + 1].released_at.is_some();
        let former = rollout.machines.iter().filter(|row| (rollout.open_wave..wave).contains(&row.wave) && is_end(row));
        let mut early =
            former.filter(|row| !spared(row) && row.since.after(rollout.waves[row.wave].soak) > self.clock());
        if let Some(row) = early.next() {
            let promise = format!("wave {} begins though {} of wave {} soaks", wave + 1, row.name, row.wave + 1);
            self.breaks(promise);
        }
    }

    /// An undo commands none but the machines that its rollout changed, each to what it ran before that.
    fn check_way_back(&mut self, (of, _): Place, row: &RolloutMachine) {
        let Some(back) = &row.back else { return };
        let changed = of.checked_sub(1).and_then(|undone| self.change_by(&self.rollouts[undone], row.machine));
        match changed {
            None => self.breaks(format!("{} is brought back and was never changed", row.name)),
            Some(done) if (&done.from, &done.to) != (&back.to, &back.from) => self.breaks(format!(
                "{} was brought from {} to {}, and is brought from {} to {}",
                row.name, done.from, done.to, back.from, back.to
            )),
            Some(_) => {}
        }
    }

    /// Promises that hold at every moment.
    pub(super) fn check(&mut self) {
        (0..self.rollouts.len()).for_each(|of| self.check_limits(of));
        let mut at_it = BTreeSet::new();
        let rows = self.rollouts.iter().flat_map(|rollout| &rollout.machines);
        let in_two = rows.filter(|row| row.phase.kind().is_in_flight()).find(|row| !at_it.insert(row.machine));
        let in_two = in_two.map(|row| format!("two rollouts are at {}", row.name));
        let twice = self.machines.values().find_map(|machine| {
            let done = &machine.carried_out;
            let is_again = |(at, one): &(usize, &Done)| done[..*at].iter().any(|other| other.ticket == one.ticket);
            let again = done.iter().enumerate().find(is_again)?;
            Some(format!("{} did {} twice", machine.name, again.1.ticket))
        });
        if let Some(promise) = in_two.or(twice) {
            self.breaks(promise);
        }
    }

    fn check_limits(&mut self, of: usize) {
        let rollout = &self.rollouts[of];
        let in_flight = rollout.count(PhaseKind::is_in_flight);
        let upgraded = rollout.count(|kind| kind == PhaseKind::Upgraded);
        let cap = rollout.max_in_flight as usize;
        let counts = |machine: &&RolloutMachine| machine.phase.kind().is_failure() && machine.forgiven_at.is_none();
        let failures = rollout.machines.iter().filter(counts).count();
        let budget = rollout.failure_budget as usize;
        let sent = rollout.count(|kind| matches!(kind, PhaseKind::Checking | PhaseKind::Uploading));
        if let Some(most) = rollout.strategy.max_transfers.filter(|most| sent > *most as usize) {
            return self.breaks(format!("{sent} machines are asked or sent the package, and {most} may be"));
        }
        if let Some(promise) = self.too_many_of_a_role(rollout) {
            return self.breaks(promise);
        }
        if in_flight > cap {
            self.breaks(format!("{in_flight} machines are in flight, and {cap} may be"));
        }
        if upgraded == 0 && in_flight > 1 {
            self.breaks(format!("{in_flight} machines are in flight before one is proven"));
        }
        if failures < budget {
            self.grace[of] = in_flight;
        }
        if failures > budget + self.grace[of].min(cap) {
            self.breaks(format!("{failures} failures count, and {budget} stop the rollout"));
        }
    }

    fn too_many_of_a_role(&self, rollout: &Rollout) -> Option<String> {
        let percent = rollout.strategy.max_percent_of_role?;
        let mut at_once: BTreeMap<_, usize> = BTreeMap::new();
        for row in rollout.machines.iter().filter(|row| row.phase.kind().is_in_flight()) {
            for group in self.groups(rollout, row.machine) {
                *at_once.entry(group).or_default() += 1;
            }
        }
        let sizes = if at_once.is_empty() { HashMap::new() } else { self.group_sizes() };
        let may = |group| (sizes.get(group).copied().unwrap_or(0) * percent as usize / 100).max(1);
        let (group, number) = at_once.iter().find(|(group, number)| **number > may(*group))?;
        Some(format!("{number} machines of {group:?} are in flight, and {} may be", may(group)))
    }

    /// Promises about the end: every machine stands where it truthfully stands, or waits with a reason.
    pub(super) fn check_end(&mut self) {
        let now = self.clock();
        self.hours.look(self.homes.values(), now);
        for of in 0..self.rollouts.len() {
            self.check_end_of(of);
        }
    }

    fn check_end_of(&mut self, of: usize) {
        let rollout = self.rollouts[of].clone();
        let why = hindrances(&rollout, &self.observations(of), &self.limits(of), self.clock());
        let newer: BTreeSet<_> =
            self.rollouts[of + 1..].iter().flat_map(|rollout| &rollout.machines).map(|row| row.machine).collect();
        for row in &rollout.machines {
            let kind = row.phase.kind();
            let machine = &self.machines[&row.machine];
            let target = row.target(&rollout.target);
            let is_true = match kind {
                // What a newer rollout made of it since is told there.
                PhaseKind::Upgraded | PhaseKind::FellBack | PhaseKind::Lost if newer.contains(&row.machine) => true,
                PhaseKind::Upgraded if row.back.is_some() && machine.is_cloned(self.now) => true,
                PhaseKind::Upgraded => machine.is_proven_at(target),
                PhaseKind::FellBack => machine.version != *target,
                PhaseKind::Waiting => rollout.state != RolloutState::Cancelled && why.contains_key(&row.machine),
                PhaseKind::Lost => !machine.answers(self.now),
                PhaseKind::Failed | PhaseKind::Skipped | PhaseKind::Cancelled => true,
                // A machine that reboots all the while or is retried at the last moment may be under way.
                _ => row.deadline.is_some_and(|deadline| deadline > self.clock()),
            };
            if !is_true {
                let (nature, back) = (machine.nature, machine.back);
                self.breaks(format!(
                    "{} ends as {kind} in {} for no reason ({nature:?}, {back:?})",
                    row.name, rollout.id
                ));
            }
        }
    }
}

/// No machine has fallen back from a version that it was not given, and none fails by a deadline alone that was only
/// interrupted before it armed anything.
fn judges_falsely(machine: &Machine, before: &RolloutMachine, after: &RolloutMachine) -> Option<String> {
    let (from, to) = (before.phase.kind(), after.phase.kind());
    let ticket = &before.phase.command()?.ticket;
    let was_carried_out = machine.carried_out.iter().any(|done| done.ticket == *ticket);
    if to == PhaseKind::FellBack && !was_carried_out {
        return Some(format!("{} is said to have fallen back, and did nothing since the command", after.name));
    }
    let by_deadline = from == PhaseKind::Restarting && after.phase.reason().contains("took longer than");
    let is_false = to == PhaseKind::Failed && by_deadline && machine.was_interrupted(ticket);
    is_false.then(|| format!("{} was interrupted before it armed, and is failed by a deadline alone", after.name))
}
