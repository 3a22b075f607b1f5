//! What a simulated fleet promises: at each step, at every moment, and at the end.

use octopus_server::rollout::plan::{hindrances, is_halted};
use octopus_server::rollout::state::{PhaseKind, RolloutMachine};

use super::world::World;

impl World {
    /// Promises about one step.
    pub(super) fn check_step(&mut self, before: &RolloutMachine, after: &RolloutMachine) {
        let (from, to) = (before.phase.kind(), after.phase.kind());
        let machine = &self.machines[&after.machine];
        if to == PhaseKind::Upgraded && !machine.is_upgraded(&self.target) {
            let runs = machine.version.to_string();
            return self.breaks(format!("{} is shown as upgraded and runs {runs}", after.name));
        }
        if from == PhaseKind::Uploading && to == PhaseKind::Installing && is_halted(&self.rollout, self.clock()) {
            return self.breaks(format!("{} is commanded though the rollout is stopped", after.name));
        }
        let is_cloned = self.facts.get(&after.machine).is_some_and(|facts| facts.instances.is_cloned());
        if to == PhaseKind::Installing && is_cloned {
            return self.breaks(format!("{} is commanded though two machines answer as it", after.name));
        }
        if to == PhaseKind::Checking && after.wave > self.rollout.open_wave {
            self.breaks(format!("{} begins before its wave", after.name));
        }
    }

    /// Promises that hold at every moment.
    pub(super) fn check(&mut self) {
        let in_flight = self.rollout.count(PhaseKind::is_in_flight);
        let upgraded = self.rollout.count(|kind| kind == PhaseKind::Upgraded);
        let cap = self.rollout.max_in_flight as usize;
        if in_flight > cap {
            self.breaks(format!("{in_flight} machines are in flight, and {cap} may be"));
        }
        if upgraded == 0 && in_flight > 1 {
            self.breaks(format!("{in_flight} machines are in flight before one is proven"));
        }
        let counts = |machine: &&RolloutMachine| machine.phase.kind().is_failure() && machine.forgiven_at.is_none();
        let failures = self.rollout.machines.iter().filter(counts).count();
        let budget = self.rollout.failure_budget as usize;
        if failures < budget {
            self.grace = in_flight;
        }
        if failures > budget + self.grace.min(cap) {
            self.breaks(format!("{failures} failures count, and {budget} stop the rollout"));
        }
        let outrage = self.machines.values().find_map(|machine| machine.outrage.clone());
        let twice = self.machines.values().find_map(|machine| {
            let tickets = &machine.carried_out;
            let again = tickets.iter().enumerate().find(|(at, ticket)| tickets[..*at].contains(ticket))?;
            Some(format!("{} did {} twice", machine.name, again.1))
        });
        if let Some(promise) = outrage.or(twice) {
            self.breaks(promise);
        }
    }

    /// Promises about the end: every machine stands where it truthfully stands, or waits with a reason.
    pub(super) fn check_end(&mut self) {
        let why = hindrances(&self.rollout, &self.observations(), &self.limits(), self.clock());
        for row in self.rollout.machines.clone() {
            let kind = row.phase.kind();
            let machine = &self.machines[&row.machine];
            let is_true = match kind {
                PhaseKind::Upgraded => machine.is_upgraded(&self.target),
                PhaseKind::FellBack => machine.version != self.target,
                PhaseKind::Waiting => why.contains_key(&row.machine),
                PhaseKind::Lost => !machine.answers(self.now),
                PhaseKind::Failed | PhaseKind::Skipped | PhaseKind::Cancelled => true,
                // A machine that reboots all the while or is retried at the last moment may be under way.
                _ => row.deadline.is_some_and(|deadline| deadline > self.clock()),
            };
            if !is_true {
                let nature = machine.nature;
                self.breaks(format!("{} ends as {kind} for no reason ({nature:?})", row.name));
            }
        }
    }
}
