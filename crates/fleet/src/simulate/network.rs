//! The simulated network, and what the portal's inventory makes of what it brings: answers that are lost or come late, and
//! commands that come twice.

use octopus_server::clock::Timestamp;
use octopus_server::ids::MachineId;
use octopus_server::model::{Answer, Contact, Facts, Report};
use octopus_server::rollout::state::RolloutMachine;
use rand::RngExt as _;

use super::machine::{Order, SECOND};
use super::world::World;

/// How often each machine is checked besides.
const HEALTH_INTERVAL: i64 = 60 * SECOND;

impl World {
    /// What a look at every machine now and then brings.
    pub(super) fn check_health(&mut self) {
        if self.now - self.checked_at >= HEALTH_INTERVAL {
            self.checked_at = self.now;
            for id in self.machines.keys().copied().collect::<Vec<_>>() {
                self.observe(id);
                self.confirm_by_health(id);
            }
        }
    }

    /// The health check confirms what no rollout is at and what it finds well twice, as the portal's does.
    fn confirm_by_health(&mut self, id: MachineId) {
        let is_at_it = |row: &RolloutMachine| row.machine == id && row.phase.kind().is_in_flight();
        let is_under_way = self.rollouts.iter().flat_map(|rollout| &rollout.machines).any(is_at_it);
        let report = self.facts.get(&id).filter(|facts| facts.contact == Contact::Answered);
        let Some(report) = report.and_then(|facts| facts.report.clone()) else { return };
        let is_new = self.well.insert(id, report.instance_id.clone()) != Some(report.instance_id.clone());
        if is_new || is_under_way || report.verdicts(&report.version).is_none_or(|verdicts| verdicts.proven) {
            return;
        }
        if let Some(machine) = self.machines.get_mut(&id) {
            machine.confirm(self.now, &report.instance_id, &report.version);
        }
        self.observe(id);
    }

    pub(super) fn observe(&mut self, id: MachineId) {
        let machine = &self.machines[&id];
        let asked_at = self.clock();
        if !machine.answers(self.now) {
            return self.hear_nothing(id, asked_at);
        }
        let by_twin = machine.is_cloned(self.now) && self.rng.random_bool(0.5);
        let machine = &self.machines[&id];
        let report = if by_twin { machine.report_of_twin() } else { machine.report(self.now) };
        if self.rng.random_bool(0.02) {
            // It is on its way; meanwhile the question counts as not answered.
            let due = self.now + self.rng.random_range(1..40) * SECOND;
            self.late.push((due, id, (asked_at, self.now), report));
            return self.hear_nothing(id, asked_at);
        }
        self.hear(id, (asked_at, self.now), report);
    }

    fn hear_nothing(&mut self, id: MachineId, tried_at: Timestamp) {
        let former = self.facts.remove(&id);
        let instances = former.as_ref().map(|facts| facts.instances.at(tried_at)).unwrap_or_default();
        let contact = Contact::Silent { reason: "nobody answers".to_owned() };
        let report = former.and_then(|facts| facts.report);
        self.facts.insert(id, Facts { tried_at, contact, contact_since: tried_at, report, instances });
    }

    /// What the inventory does with an answer. It was asked for at a moment by the portal's clock, and at one by the true
    /// time, for the portal measures how long ago it was.
    fn hear(&mut self, id: MachineId, (asked_at, truly): (Timestamp, i64), report: Report) {
        let now = self.clock();
        let tried_at = asked_at.min(Timestamp(now.0 - (self.now - truly)));
        let former = self.facts.get(&id);
        let answer = Answer { instance: &report.instance_id, hostname: &report.hostname, asked_at: tried_at };
        let known = former.map(|facts| facts.instances.at(now)).unwrap_or_default();
        let is_old = former.is_some_and(|facts| facts.tried_at > tried_at && facts.tried_at <= now);
        if is_old || known.is_late(answer) {
            return;
        }
        let before = former.and_then(|facts| facts.report.as_ref());
        let before = before.map(|report| (report.instance_id.as_str(), report.hostname.as_str()));
        let instances = known.after(before, answer, now);
        let is_found = instances.is_cloned() && !known.is_cloned();
        let report = Some(Report { at: now, instance_seen_at: now, ..report });
        let contact = Contact::Answered;
        self.facts.insert(id, Facts { tried_at, contact, contact_since: tried_at, report, instances });
        if is_found {
            let name = self.machines[&id].name.clone();
            self.say(format!("{name}: two machines answer with its identity"));
            if !self.machines[&id].is_cloned(self.now) {
                self.breaks(format!("{name} is taken for two machines and is one"));
            }
        }
    }

    /// Answers that come late, and commands that come twice. Nobody listens to what those are answered with.
    pub(super) fn deliver_again(&mut self) {
        let now = self.now;
        let (due, late) = std::mem::take(&mut self.late).into_iter().partition(|(at, ..)| *at <= now);
        self.late = late;
        let due: Vec<(i64, MachineId, (Timestamp, i64), Report)> = due;
        for (_, id, asked_at, report) in due {
            self.hear(id, asked_at, report);
        }
        let (due, echoes) = std::mem::take(&mut self.echoes).into_iter().partition(|(at, ..)| *at <= now);
        self.echoes = echoes;
        let due: Vec<(i64, MachineId, Order)> = due;
        for (_, id, order) in due {
            if let Some(machine) = self.machines.get_mut(&id) {
                machine.install(now, &order, 0);
            }
        }
    }
}
