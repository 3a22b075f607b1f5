//! The simulated portal: the real planner, gate and settlement over a database that is a value, a virtual clock, and a
//! network that loses, delays and repeats. Its shell does what the orchestrator's does, in the same order: plan, one
//! transaction, then the calls.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use contract::Version;
use octopus_server::clock::Timestamp;
use octopus_server::ids::MachineId;
use octopus_server::model::{Answer, Contact, Facts, Report};
use octopus_server::rollout::hindrance::Hold;
use octopus_server::rollout::plan::{Action, Limits, Observation, is_halted, plan};
use octopus_server::rollout::settle::{Outcome, by_hand, enter, intend, lag, settle, shift};
use octopus_server::rollout::state::{
    Command, Deadlines, Phase, PhaseKind, Rollout, RolloutMachine, RolloutState, WaitReason,
};
use octopus_server::rollout::strategy::{Amount, Strategy};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

use super::machine::{Machine, Nature, SECOND};
use super::seed::{new_rollout, some_nature};

/// How often each machine is checked besides.
const HEALTH_INTERVAL: i64 = 60 * SECOND;

/// How long a rollout is watched. Longer than every machine's trouble, every deadline and every soak together.
const WATCHED: i64 = 4 * 3600 * SECOND;

/// How long people do things. What they begin has time to end.
const PEOPLE_UNTIL: i64 = WATCHED / 2;

/// Lines of a transcript that are kept; a seed that fails is replayed with all of them.
const LINES_MAX: usize = 20_000;

/// A call to one machine that is under way.
#[derive(Clone, Debug)]
struct Call {
    job: Job,
    done_at: i64,
    /// The reply gets lost, though the machine did what it was told.
    is_lost: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Job {
    Observe,
    Upload,
    Install,
    Confirm(String),
}

/// See the head of this file.
pub(crate) struct World {
    rng: SmallRng,
    pub now: i64,
    old: Version,
    pub(super) target: Version,
    pub(super) machines: BTreeMap<MachineId, Machine>,
    // The portal's database.
    pub(super) rollout: Rollout,
    pub(super) facts: HashMap<MachineId, Facts>,
    holds: HashMap<MachineId, Hold>,
    failed_before: HashMap<MachineId, String>,
    generation: u64,
    // The portal's memory: gone when it is killed.
    calls: BTreeMap<MachineId, Call>,
    checked_at: i64,
    /// The process that the last health check met on each machine.
    well: HashMap<MachineId, String>,
    /// Answers that come later than they should: when, from whom, and when it was asked.
    late: Vec<(i64, MachineId, Timestamp, Report)>,
    /// Commands that the network delivers once more.
    echoes: Vec<(i64, MachineId, Command)>,
    /// By how much the portal's clock is ahead of the true one.
    skew: i64,
    /// Failures that may still come though the budget is spent: those that were in flight then.
    pub(super) grace: usize,
    pub steps: usize,
    pub transcript: Vec<String>,
    pub broken: Option<String>,
}

/// How a seed ended.
pub(crate) struct End {
    pub steps: usize,
    pub transcript: Vec<String>,
    /// The first promise that was broken.
    pub broken: Option<String>,
}

/// Plays one seed to its end.
pub(crate) fn play(seed: u64) -> End {
    let mut world = World::new(seed);
    while world.broken.is_none() && world.now < WATCHED {
        world.step();
    }
    if world.broken.is_none() {
        world.check_end();
    }
    End { steps: world.steps, transcript: world.transcript, broken: world.broken }
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let (old, target) = (Version::release(1, 0, 0), Version::release(2, 0, 0));
        let count = rng.random_range(1..40_i64);
        let bad = rng.random_range(0..40_u32);
        let nature = |rng: &mut SmallRng| if rng.random_range(0..100) < bad { some_nature(rng) } else { Nature::Good };
        let machines: BTreeMap<MachineId, Machine> = (1..=count)
            .map(|id| (MachineId(id), Machine::new(format!("m{id}"), nature(&mut rng), &old, &target)))
            .collect();
        let strategy = Strategy {
            max_in_flight: Amount::Number(rng.random_range(1..8)),
            failure_budget: Amount::Number(rng.random_range(1..4)),
            max_transfers: rng.random_bool(0.3).then(|| rng.random_range(1..4)),
            ..Strategy::default()
        };
        let rollout = new_rollout(&machines, strategy, &target, Duration::from_secs(rng.random_range(0..120)));
        Self {
            rng,
            now: SECOND,
            old,
            target,
            machines,
            rollout,
            facts: HashMap::new(),
            holds: HashMap::new(),
            failed_before: HashMap::new(),
            generation: 0,
            calls: BTreeMap::new(),
            checked_at: 0,
            well: HashMap::new(),
            late: Vec::new(),
            echoes: Vec::new(),
            skew: 0,
            grace: usize::MAX,
            steps: 0,
            transcript: Vec::new(),
            broken: None,
        }
    }

    /// The portal's clock.
    pub(super) fn clock(&self) -> Timestamp {
        Timestamp(self.now + self.skew)
    }

    fn say(&mut self, line: impl Into<String>) {
        if self.transcript.len() < LINES_MAX {
            self.transcript.push(format!("{:>6} s  {}", self.now / SECOND, line.into()));
        }
    }

    pub(super) fn breaks(&mut self, promise: impl Into<String>) {
        let promise = promise.into();
        self.say(format!("BROKEN: {promise}"));
        self.broken.get_or_insert(promise);
    }

    fn step(&mut self) {
        self.steps += 1;
        for machine in self.machines.values_mut() {
            machine.live(self.now, &self.old, &self.target);
        }
        if self.rng.random_bool(0.002) {
            self.say("the portal is killed and started again");
            self.calls.clear();
        }
        if self.rng.random_bool(0.0005) {
            self.set_clock();
        }
        self.people();
        self.deliver();
        self.deliver_again();
        self.check_health();
        self.turn();
        self.check();
        let busy = self.rollout.count(PhaseKind::is_in_flight) > 0 || !self.calls.is_empty();
        self.now += if busy { SECOND / 2 } else { 10 * SECOND };
    }

    /// Somebody sets the portal's clock, and its loop notices, as the orchestrator does.
    fn set_clock(&mut self) {
        let step = self.rng.random_range(-40_000..40_000) * SECOND;
        self.say(format!("the portal's clock is set by {} s", step / SECOND));
        self.skew += step;
        let now = self.clock();
        for at in 0..self.rollout.machines.len() {
            let by = lag(&self.rollout.machines[at], step, now);
            if by != 0 {
                let moved = shift(&self.rollout.machines[at], by);
                self.put(at, moved);
            }
        }
    }

    /// What operators do, now and then.
    fn people(&mut self) {
        if self.now > PEOPLE_UNTIL || !self.rng.random_bool(0.001) {
            return;
        }
        let now = self.clock();
        let state = self.rollout.state;
        match self.rng.random_range(0..5) {
            0 if state.may_become_by_hand(RolloutState::Paused) && self.rollout.cancel_requested_at.is_none() => {
                self.say("alice pauses the rollout");
                (self.rollout.state, self.rollout.state_reason) = (RolloutState::Paused, "alice paused it".to_owned());
            }
            1 | 2 if state == RolloutState::Paused && self.rollout.cancel_requested_at.is_none() => {
                self.say("alice resumes the rollout");
                for machine in self.rollout.machines.iter_mut().filter(|machine| machine.phase.kind().is_failure()) {
                    machine.forgiven_at = Some(now);
                }
                self.rollout.state = RolloutState::Running;
            }
            3 if self.rollout.cancel_requested_at.is_none() && state != RolloutState::Cancelled => {
                let at = self.rng.random_range(0..self.rollout.machines.len());
                let again = by_hand(&self.rollout.machines[at], Phase::Waiting(WaitReason::Turn), now);
                if let Some(again) = again {
                    self.say(format!("alice retries {}", again.name));
                    self.failed_before.remove(&again.machine);
                    self.put(at, again);
                    for machine in &mut self.rollout.machines {
                        machine.forgiven_at = machine.phase.kind().is_failure().then_some(now);
                    }
                    self.rollout.state = RolloutState::Running;
                }
            }
            4 if self.rng.random_bool(0.1) && !self.rollout.is_over() => {
                self.say("alice cancels the rollout");
                self.rollout.cancel_requested_at.get_or_insert(now);
            }
            _ => {
                let at = self.rng.random_range(0..self.rollout.machines.len());
                let machine = self.rollout.machines[at].machine;
                if self.holds.remove(&machine).is_none() {
                    let hold = Hold { reason: "a test".into(), by: "bob".into(), since: now, until: None };
                    self.holds.insert(machine, hold);
                }
            }
        }
        self.rollout.revision += 1;
    }

    fn put(&mut self, at: usize, mut machine: RolloutMachine) {
        machine.revision += 1;
        self.rollout.machines[at] = machine;
    }

    /// What a look at every machine now and then brings.
    fn check_health(&mut self) {
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
        let report = self.facts.get(&id).filter(|facts| facts.contact == Contact::Answered);
        let Some(report) = report.and_then(|facts| facts.report.clone()) else { return };
        let is_new = self.well.insert(id, report.instance_id.clone()) != Some(report.instance_id.clone());
        if is_new || report.version != self.target || self.rollout.machines.iter().any(is_at_it) {
            return;
        }
        if let Some(machine) = self.machines.get_mut(&id) {
            machine.confirm(self.now, &report.instance_id, &self.target);
        }
        self.observe(id);
    }

    fn observe(&mut self, id: MachineId) {
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
            self.late.push((due, id, asked_at, report));
            return self.hear_nothing(id, asked_at);
        }
        self.hear(id, asked_at, report);
    }

    fn hear_nothing(&mut self, id: MachineId, tried_at: Timestamp) {
        let former = self.facts.remove(&id);
        let instances = former.as_ref().map(|facts| facts.instances.at(tried_at)).unwrap_or_default();
        let contact = Contact::Silent { reason: "nobody answers".to_owned() };
        let report = former.and_then(|facts| facts.report);
        self.facts.insert(id, Facts { tried_at, contact, contact_since: tried_at, report, instances });
    }

    /// What the inventory does with an answer.
    fn hear(&mut self, id: MachineId, tried_at: Timestamp, report: Report) {
        let now = self.clock();
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
    fn deliver_again(&mut self) {
        let now = self.now;
        let (due, late) = std::mem::take(&mut self.late).into_iter().partition(|(at, ..)| *at <= now);
        self.late = late;
        let due: Vec<(i64, MachineId, Timestamp, Report)> = due;
        for (_, id, asked_at, report) in due {
            self.hear(id, asked_at, report);
        }
        let (due, echoes) = std::mem::take(&mut self.echoes).into_iter().partition(|(at, ..)| *at <= now);
        self.echoes = echoes;
        let due: Vec<(i64, MachineId, Command)> = due;
        for (_, id, command) in due {
            if let Some(machine) = self.machines.get_mut(&id) {
                machine.install(now, &command, &self.target);
            }
        }
    }

    fn deliver(&mut self) {
        let due = self.calls.iter().filter(|(_, call)| call.done_at <= self.now).map(|(id, _)| *id);
        for id in due.collect::<Vec<_>>() {
            let Some(call) = self.calls.remove(&id) else { continue };
            self.make(id, &call);
        }
    }

    /// What a call does to the machine, and what the portal writes down of it.
    fn make(&mut self, id: MachineId, call: &Call) {
        let Some(at) = self.rollout.machines.iter().position(|machine| machine.machine == id) else { return };
        let Some(machine) = self.machines.get_mut(&id) else { return };
        let outcome = match (&call.job, &self.rollout.machines[at].phase) {
            (Job::Observe, _) => {
                if !call.is_lost {
                    self.observe(id);
                }
                return;
            }
            (Job::Upload, _) => match machine.upload(self.now) {
                Err(outcome) => outcome,
                Ok(()) if call.is_lost => Outcome::Broken("the reply was lost".to_owned()),
                Ok(()) => return self.command(at),
            },
            (Job::Install, Phase::Installing(command)) => {
                let (comes_again, comes_now) = (self.rng.random_bool(0.1), self.rng.random_bool(0.98));
                if comes_again || !comes_now {
                    let due = self.now + self.rng.random_range(1..2000) * SECOND;
                    self.echoes.push((due, id, command.clone()));
                }
                if comes_now {
                    machine.install(self.now, command, &self.target)
                } else {
                    Outcome::Broken("the command is held up".to_owned())
                }
            }
            (Job::Install, _) => return,
            (Job::Confirm(instance), _) => machine.confirm(self.now, instance, &self.target),
        };
        let outcome = if call.is_lost { Outcome::Broken("the reply was lost".to_owned()) } else { outcome };
        if matches!(outcome, Outcome::Broken(_)) {
            self.observe(id);
        }
        self.settle(at, &outcome);
    }

    /// The transaction that writes a command down, unless somebody stopped the rollout meanwhile.
    fn command(&mut self, at: usize) {
        let id = self.rollout.machines[at].machine;
        let is_cloned = self.facts.get(&id).is_some_and(|facts| facts.instances.is_cloned());
        if is_cloned || is_halted(&self.rollout, self.clock()) {
            return;
        }
        let row = &self.rollout.machines[at];
        let Some(report) = self.facts.get(&row.machine).and_then(|facts| facts.report.as_ref()) else { return };
        self.generation = self.generation.max(report.generation) + 1;
        let command = Command {
            ticket: format!("t{}", self.generation),
            generation: self.generation,
            expected: report.version.to_string(),
            instance: report.instance_id.clone(),
        };
        self.settle(at, &Outcome::Ready(command));
    }

    fn settle(&mut self, at: usize, outcome: &Outcome) {
        if let Some(phase) = settle(&self.rollout.machines[at], outcome) {
            self.to(at, phase);
        }
    }

    fn to(&mut self, at: usize, phase: Phase) {
        let before = self.rollout.machines[at].clone();
        match enter(&before, phase, &Deadlines::default(), self.clock()) {
            Ok(after) => {
                let (from, to) = (before.phase.kind(), after.phase.kind());
                if from != to {
                    let reason = after.phase.reason();
                    self.say(format!(
                        "{}: {from} → {to}{}{reason}",
                        after.name,
                        if reason.is_empty() { "" } else { ": " }
                    ));
                }
                if to.is_failure() {
                    self.rollout.revision += 1;
                }
                if matches!(to, PhaseKind::FellBack | PhaseKind::Failed) && before.phase.command().is_some() {
                    self.failed_before.insert(after.machine, after.phase.reason());
                }
                self.check_step(&before, &after);
                self.put(at, after);
            }
            Err(error) => self.breaks(error.to_string()),
        }
    }

    pub(super) fn observations(&self) -> HashMap<MachineId, Observation> {
        let observation = |id: &MachineId| Observation {
            facts: self.facts.get(id).cloned(),
            call_under_way: self.calls.contains_key(id),
            hold: self.holds.get(id).cloned(),
            failed_before: self.failed_before.get(id).cloned(),
            ..Observation::default()
        };
        self.machines.keys().map(|id| (*id, observation(id))).collect()
    }

    pub(super) fn limits(&self) -> Limits {
        Limits {
            deadlines: Deadlines::default(),
            issued_generation: self.generation,
            packages: HashMap::from([("linux-x64".to_owned(), 1 << 20)]),
            failed_on: HashMap::from([("linux-x64".to_owned(), self.failed_before.len())]),
            role_sizes: HashMap::new(),
        }
    }

    fn turn(&mut self) {
        let seen = self.observations();
        let actions = plan(&self.rollout, &seen, &self.limits(), self.clock());
        for action in actions {
            let at = action.machine().and_then(|id| self.rollout.machines.iter().position(|m| m.machine == id));
            match (action, at) {
                (Action::Move { to, .. }, Some(at)) => self.to(at, to),
                (Action::Observe { .. }, Some(at)) => self.call(at, Job::Observe),
                // Only an undo commands without sending something first.
                (Action::Upload { .. } | Action::Command { .. }, Some(at)) => self.call(at, Job::Upload),
                (Action::Install { .. }, Some(at)) => self.call(at, Job::Install),
                (Action::Confirm { instance, .. }, Some(at)) => self.call(at, Job::Confirm(instance)),
                (Action::OpenWave { wave }, _) => self.open(wave),
                (Action::SetState { state, reason }, _) => self.set_state(state, reason),
                (_, None) => {}
            }
        }
    }

    fn call(&mut self, at: usize, job: Job) {
        let row = intend(&self.rollout.machines[at], &Deadlines::default(), self.clock());
        let id = row.machine;
        self.put(at, row);
        let takes = if job == Job::Upload { self.rng.random_range(1..20) } else { self.rng.random_range(0..3) };
        let is_lost = self.rng.random_bool(0.03);
        self.calls.insert(id, Call { job, done_at: self.now + takes * SECOND / 2, is_lost });
    }

    fn open(&mut self, wave: usize) {
        let open = self.rollout.open_wave;
        let at_it = |machine: &&RolloutMachine| machine.wave == open && machine.phase.kind().is_in_flight();
        if let Some(machine) = self.rollout.machines.iter().find(at_it) {
            let name = machine.name.clone();
            self.breaks(format!("wave {} overtakes {name}", wave + 1));
        }
        self.say(format!("wave {} begins", wave + 1));
        self.rollout.open_wave = wave;
    }

    fn set_state(&mut self, state: RolloutState, reason: String) {
        if !self.rollout.state.may_become(state) {
            self.breaks(format!("a rollout cannot go from {:?} to {state:?}", self.rollout.state));
        }
        self.say(format!("the rollout is {}{}{reason}", state.word(), if reason.is_empty() { "" } else { ": " }));
        (self.rollout.state, self.rollout.state_reason) = (state, reason);
        self.rollout.revision += 1;
    }
}
