//! The simulated portal: the real planner, gate and settlement over a database that is a value, a virtual clock, and a
//! network that loses, delays and repeats. Its shell does what the orchestrator's does, in the same order: plan, one
//! transaction, then the calls.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use contract::Version;
use octopus_server::clock::Timestamp;
use octopus_server::ids::{EnvironmentId, MachineId};
use octopus_server::model::{Facts, Report};
use octopus_server::rollout::hindrance::Hold;
use octopus_server::rollout::look::elsewhere;
use octopus_server::rollout::plan::{Action, Limits, Observation, is_halted, plan};
use octopus_server::rollout::settle::{Outcome, enter, intend, lag, settle, shift};
use octopus_server::rollout::state::{
    Command, Deadlines, Mark, Phase, PhaseKind, Rollout, RolloutMachine, RolloutState,
};
use octopus_server::rollout::strategy::{Amount, Candidate, Strategy};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

use super::hours::Hours;
use super::machine::{Machine, Order, SECOND};
use super::people::ticket_of;
use super::seed::{new_rollout_of, some_machines};
use super::variety::Variety;

/// How long a rollout is watched. Longer than every machine's trouble, every deadline and every soak together, and a minute
/// longer than the hours in which windows open, so that what waits for one is not judged in the second in which it opens.
const WATCHED: i64 = (4 * 3600 + 60) * SECOND;

/// How long people do things. What they begin has time to end.
pub(super) const PEOPLE_UNTIL: i64 = 2 * 3600 * SECOND;

/// Machines of a fleet where nothing else is said: fewer than this.
const FEW_MAX: i64 = 40;

/// The longest time for which the portal is away after it was killed, in seconds.
const DOWN_MAX: i64 = 120;

/// Lines of a transcript that are kept; a seed that fails is replayed with all of them.
const LINES_MAX: usize = 20_000;

/// A machine of a rollout: their places.
pub(super) type Place = (usize, usize);

/// A call to one machine that is under way.
#[derive(Clone, Debug)]
pub(super) struct Call {
    /// Of which rollout.
    of: usize,
    job: Job,
    done_at: i64,
    /// The reply gets lost, though the machine did what it was told.
    is_lost: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Job {
    Observe,
    Upload,
    Command,
    Install,
    Ask,
    Confirm(String),
}

/// See the head of this file.
pub(crate) struct World {
    pub(super) rng: SmallRng,
    pub(super) variety: Variety,
    pub now: i64,
    pub(super) machines: BTreeMap<MachineId, Machine>,
    /// How many environments there are, and those of each machine.
    pub(super) environments: i64,
    pub(super) homes: BTreeMap<MachineId, Vec<EnvironmentId>>,
    /// When somebody undoes the last rollout, the first time last.
    pub(super) undo_at: Vec<i64>,
    // The portal's database.
    /// The rollout, its undo, the undo of that, and so on.
    pub(super) rollouts: Vec<Rollout>,
    pub(super) hours: Hours,
    pub(super) facts: HashMap<MachineId, Facts>,
    pub(super) holds: HashMap<MachineId, Hold>,
    pub(super) failed_before: HashMap<(Version, MachineId), String>,
    /// Where a person had a version tried again that failed before.
    pub(super) tried_again: HashSet<(Version, MachineId)>,
    generation: u64,
    // The portal's memory: gone when it is killed.
    calls: BTreeMap<MachineId, Call>,
    /// Until then it does not run.
    down_until: i64,
    pub(super) checked_at: i64,
    /// The process that the last health check met on each machine.
    pub(super) well: HashMap<MachineId, String>,
    /// Answers that come later than they should: when, from whom, and when it was asked, by both clocks.
    pub(super) late: Vec<(i64, MachineId, (Timestamp, i64), Report)>,
    /// Commands that the network delivers once more.
    pub(super) echoes: Vec<(i64, MachineId, Order)>,
    /// By how much the portal's clock is ahead of the true one.
    skew: i64,
    /// Failures of each rollout that may still come though its budget is spent: those that were in flight then.
    pub(super) grace: Vec<usize>,
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

/// Plays one seed to its end, with so many machines, or as many as it says.
pub(crate) fn play(seed: u64, machines: Option<i64>) -> End {
    let mut world = World::new(seed, machines);
    while world.broken.is_none() && world.now < WATCHED {
        world.step();
    }
    if world.broken.is_none() {
        world.check_end();
    }
    End { steps: world.steps, transcript: world.transcript, broken: world.broken }
}

impl World {
    fn new(seed: u64, machines: Option<i64>) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let target = Version::release(2, 0, 0);
        let few = rng.random_range(1..FEW_MAX);
        let count = machines.unwrap_or(few);
        let machines = some_machines(&mut rng, count, &target);
        let strategy = Strategy {
            max_in_flight: Amount::Number(rng.random_range(1..8).max(u32::try_from(count / FEW_MAX).unwrap_or(0))),
            failure_budget: Amount::Number(rng.random_range(1..4)),
            max_transfers: rng.random_bool(0.3).then(|| rng.random_range(1..4)),
            ..Strategy::default()
        };
        let soak = Duration::from_secs(rng.random_range(0..120));
        let environments = rng.random_range(1..4);
        let mut home = || {
            let mut home: Vec<_> = (0..2).map(|_| EnvironmentId(rng.random_range(1..=environments))).collect();
            home.dedup();
            home
        };
        let homes: BTreeMap<_, _> = machines.keys().map(|id| (*id, home())).collect();
        let mut variety = Variety::of(seed, &machines.keys().copied().collect::<Vec<_>>());
        let strategy = variety.strategy(strategy, environments);
        let early = || machines.iter().filter(|(id, _)| !variety.is_late(**id));
        let candidates: Vec<Candidate> = early().map(|(id, _)| variety.candidate(*id, &homes)).collect();
        let mut rollout = new_rollout_of(early(), &candidates, strategy, &target, soak);
        variety.schedule(&mut rollout);
        // An undo in every other fleet, and some undos of undos.
        let undos = rng.random_range(0..4_usize).saturating_sub(1);
        let mut undo_at: Vec<i64> = (0..undos).map(|_| rng.random_range(60 * SECOND..PEOPLE_UNTIL)).collect();
        undo_at.sort_by(|one, other| other.cmp(one));
        let hours = Hours::some(&mut rng, environments);
        Self {
            rng,
            variety,
            now: SECOND,
            machines,
            environments,
            homes,
            undo_at,
            rollouts: vec![rollout],
            hours,
            facts: HashMap::new(),
            holds: HashMap::new(),
            failed_before: HashMap::new(),
            tried_again: HashSet::new(),
            generation: 0,
            calls: BTreeMap::new(),
            down_until: 0,
            checked_at: 0,
            well: HashMap::new(),
            late: Vec::new(),
            echoes: Vec::new(),
            skew: 0,
            grace: vec![usize::MAX],
            steps: 0,
            transcript: Vec::new(),
            broken: None,
        }
    }

    /// The portal's clock.
    pub(super) fn clock(&self) -> Timestamp {
        Timestamp(self.now + self.skew)
    }

    pub(super) fn say(&mut self, line: impl Into<String>) {
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
            machine.live(self.now);
        }
        if self.now < self.down_until {
            self.now += SECOND;
            return;
        }
        if self.rng.random_bool(0.002) {
            self.say("the portal is killed and started again");
            self.calls.clear();
        }
        if self.rng.random_bool(0.0005) {
            self.set_clock();
        }
        self.people();
        self.vary();
        self.deliver();
        self.deliver_again();
        self.check_health();
        let now = self.clock();
        self.hours.look(self.homes.values(), now);
        (0..self.rollouts.len()).for_each(|of| self.turn(of));
        self.check();
        let in_flight = |rollout: &Rollout| rollout.count(PhaseKind::is_in_flight) > 0;
        let busy = self.rollouts.iter().any(in_flight) || !self.calls.is_empty();
        self.now += if busy { SECOND } else { 10 * SECOND };
    }

    /// Somebody sets the portal's clock, and its loop notices, as the orchestrator does.
    fn set_clock(&mut self) {
        let step = self.rng.random_range(-40_000..40_000) * SECOND;
        self.say(format!("the portal's clock is set by {} s", step / SECOND));
        self.skew += step;
        let now = self.clock();
        let rollouts = self.rollouts.iter().enumerate();
        let places: Vec<Place> =
            rollouts.flat_map(|(of, rollout)| (0..rollout.machines.len()).map(move |at| (of, at))).collect();
        for place in places {
            let by = lag(self.row(place), step, now);
            if by != 0 {
                let moved = shift(self.row(place), by);
                self.put(place, moved);
            }
        }
    }

    pub(super) fn row(&self, (of, at): Place) -> &RolloutMachine {
        &self.rollouts[of].machines[at]
    }

    pub(super) fn put(&mut self, (of, at): Place, mut machine: RolloutMachine) {
        machine.revision += 1;
        self.rollouts[of].machines[at] = machine;
    }

    fn place(&self, of: usize, id: MachineId) -> Option<Place> {
        Some((of, self.rollouts[of].machines.iter().position(|machine| machine.machine == id)?))
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
        let Some(place) = self.place(call.of, id) else { return };
        let row = self.row(place).clone();
        let target = row.target(&self.rollouts[call.of].target).clone();
        let Some(machine) = self.machines.get_mut(&id) else { return };
        let outcome = match (&call.job, row.phase) {
            (Job::Observe, _) => {
                if !call.is_lost {
                    self.observe(id);
                }
                return;
            }
            (Job::Command, _) => return self.command(place),
            (Job::Upload, _) => match machine.upload(self.now) {
                Err(outcome) => outcome,
                Ok(()) if call.is_lost => Outcome::Broken("the reply was lost".to_owned()),
                Ok(()) => return self.command(place),
            },
            (Job::Install, Phase::Installing(command)) => {
                let order = Order { command, to: target, with_package: row.back.is_none() };
                self.send(id, &order)
            }
            (Job::Ask, Phase::Restarting(command)) => machine.ask(self.now, &command.ticket),
            (Job::Install | Job::Ask, _) => return,
            (Job::Confirm(instance), _) => machine.confirm(self.now, instance, &target),
        };
        let outcome = if call.is_lost { Outcome::Broken("the reply was lost".to_owned()) } else { outcome };
        if matches!(outcome, Outcome::Broken(_)) {
            self.observe(id);
        }
        self.settle(place, &outcome);
    }

    fn send(&mut self, id: MachineId, order: &Order) -> Outcome {
        let (comes_again, comes_now) = (self.rng.random_bool(0.1), self.rng.random_bool(0.98));
        if comes_again || !comes_now {
            let due = self.now + self.rng.random_range(1..2000) * SECOND;
            self.echoes.push((due, id, order.clone()));
        }
        let takes = self.rng.random_range(0..20) * SECOND;
        match self.machines.get_mut(&id) {
            Some(machine) if comes_now => machine.install(self.now, order, takes),
            _ => Outcome::Broken("the command is held up".to_owned()),
        }
    }

    /// The transaction that writes a command down, unless somebody stopped the rollout meanwhile.
    fn command(&mut self, place: Place) {
        let row = self.row(place);
        let id = row.machine;
        let is_cloned = self.facts.get(&id).is_some_and(|facts| facts.instances.is_cloned());
        if is_cloned || is_halted(&self.rollouts[place.0], self.clock()) {
            return;
        }
        let Some(report) = self.facts.get(&id).and_then(|facts| facts.report.as_ref()) else { return };
        if row.back.as_ref().is_some_and(|back| back.from != report.version) {
            return;
        }
        let mark = Mark::after(report.verdicts(row.target(&self.rollouts[place.0].target)));
        self.generation = self.generation.max(report.generation) + 1;
        let command = Command {
            ticket: format!("{}{}", ticket_of(&self.rollouts[place.0]), self.generation),
            generation: self.generation,
            expected: report.version.to_string(),
            instance: report.instance_id.clone(),
            mark,
        };
        self.settle(place, &Outcome::Ready(command));
        if self.rng.random_bool(0.01) {
            self.down_until = self.now + self.rng.random_range(1..DOWN_MAX) * SECOND;
            self.say("the portal is killed with a command written down that it never sent");
            self.calls.clear();
        }
    }

    fn settle(&mut self, place: Place, outcome: &Outcome) {
        if let Some(phase) = settle(self.row(place), outcome) {
            self.to(place, phase);
            if matches!(outcome, Outcome::Declined(_)) {
                // It was never given the command that was written down for it.
                self.rollouts[place.0].machines[place.1].previous = None;
            }
        }
    }

    fn to(&mut self, place: Place, phase: Phase) {
        let before = self.row(place).clone();
        let after = match enter(&before, phase, &Deadlines::default(), self.clock()) {
            Ok(after) => after,
            Err(error) => return self.breaks(error.to_string()),
        };
        let (from, to) = (before.phase.kind(), after.phase.kind());
        let (id, target) = (self.rollouts[place.0].id, self.rollouts[place.0].target.clone());
        if from != to {
            let reason = after.phase.reason();
            let because = if reason.is_empty() { reason } else { format!(": {reason}") };
            self.say(format!("{id}  {}: {from} → {to}{because}", after.name));
        }
        if to.is_failure() {
            self.rollouts[place.0].revision += 1;
        }
        let says_something = before.phase.command().is_some() && after.back.is_none();
        if matches!(to, PhaseKind::FellBack | PhaseKind::Failed) && says_something {
            self.tried_again.remove(&(target.clone(), after.machine));
            self.failed_before.insert((target, after.machine), after.phase.reason());
        }
        self.check_step(place, &before, &after);
        self.put(place, after);
    }

    pub(super) fn observations(&self, of: usize) -> HashMap<MachineId, Observation> {
        let rollout = &self.rollouts[of];
        let elsewhere = elsewhere(&self.rollouts, rollout);
        let observation = |id: &MachineId| Observation {
            facts: self.facts.get(id).cloned(),
            call_under_way: self.calls.contains_key(id),
            closed: self.homes.get(id).and_then(|home| self.hours.closed(home)),
            elsewhere: elsewhere.get(id).copied(),
            hold: self.holds.get(id).cloned(),
            failed_before: self.failed_before.get(&(rollout.target.clone(), *id)).cloned(),
            tried_again: self.tried_again.contains(&(rollout.target.clone(), *id)),
            groups: self.groups(rollout, *id),
            ..Observation::default()
        };
        rollout.machines.iter().map(|row| (row.machine, observation(&row.machine))).collect()
    }

    pub(super) fn limits(&self, of: usize) -> Limits {
        let rollout = &self.rollouts[of];
        let failed = self.failed_before.keys().chain(&self.tried_again);
        let failed = failed.filter(|(version, _)| *version == rollout.target).count();
        let packages = [("linux-x64".to_owned(), 1 << 20)].into_iter().filter(|_| rollout.undo_of.is_none());
        Limits {
            queue: octopus_server::model::TaskQueue::Runs,
            deadlines: Deadlines::default(),
            held: None,
            issued_generation: self.generation,
            packages: packages.collect(),
            failed_on: HashMap::from([("linux-x64".to_owned(), failed)]),
            role_sizes: if rollout.strategy.max_percent_of_role.is_some() {
                self.group_sizes()
            } else {
                HashMap::new()
            },
        }
    }

    /// True where the portal looks at a rollout at all: what is over is looked at for its lost machines alone, unless a newer
    /// one has them.
    fn is_open(&self, of: usize) -> bool {
        let rollout = &self.rollouts[of];
        let has = |wanted: fn(PhaseKind) -> bool| rollout.count(wanted) > 0;
        let is_elsewhere = |row: &RolloutMachine| {
            self.rollouts[of + 1..].iter().any(|newer| newer.machines.iter().any(|m| m.machine == row.machine))
        };
        let is_lost = |row: &&RolloutMachine| row.phase.kind() == PhaseKind::Lost && !is_elsewhere(row);
        match rollout.state {
            RolloutState::Scheduled | RolloutState::Running | RolloutState::Paused => true,
            RolloutState::Completed | RolloutState::CompletedWithFailures if has(|kind| !kind.is_final()) => true,
            _ => rollout.machines.iter().any(|row| is_lost(&row)),
        }
    }

    fn turn(&mut self, of: usize) {
        if !self.is_open(of) {
            return;
        }
        let seen = self.observations(of);
        let actions = plan(&self.rollouts[of], &seen, &self.limits(of), self.clock());
        for action in actions {
            let place = action.machine().and_then(|id| self.place(of, id));
            match (action, place) {
                (Action::Move { to, .. }, Some(place)) => self.to(place, to),
                (Action::Observe { .. }, Some(place)) => self.call(place, Job::Observe),
                (Action::Upload { .. }, Some(place)) => self.call(place, Job::Upload),
                (Action::Command { .. }, Some(place)) => self.call(place, Job::Command),
                (Action::Install { .. }, Some(place)) => self.call(place, Job::Install),
                (Action::Ask { .. }, Some(place)) => self.call(place, Job::Ask),
                (Action::Confirm { instance, .. }, Some(place)) => self.call(place, Job::Confirm(instance)),
                (Action::OpenWave { wave }, _) => self.open(of, wave),
                (Action::SetState { state, reason }, _) => self.set_state(of, state, reason),
                (_, None) => {}
            }
        }
    }

    fn call(&mut self, place: Place, job: Job) {
        let row = intend(self.row(place), &Deadlines::default(), self.clock());
        let id = row.machine;
        if job == Job::Upload && row.back.is_some() {
            self.breaks(format!("{} is sent a package to go back", row.name));
        }
        self.put(place, row);
        let takes = if job == Job::Upload { self.rng.random_range(1..20) } else { self.rng.random_range(0..3) };
        let is_lost = self.rng.random_bool(0.03);
        self.calls.insert(id, Call { of: place.0, job, done_at: self.now + takes * SECOND / 2, is_lost });
    }

    fn open(&mut self, of: usize, wave: usize) {
        let open = self.rollouts[of].open_wave;
        let at_it = |machine: &&RolloutMachine| machine.wave == open && machine.phase.kind().is_in_flight();
        if let Some(machine) = self.rollouts[of].machines.iter().find(at_it) {
            let name = machine.name.clone();
            self.breaks(format!("wave {} overtakes {name}", wave + 1));
        }
        self.check_soak(of, wave);
        self.say(format!("wave {} begins", wave + 1));
        self.rollouts[of].open_wave = wave;
    }

    fn set_state(&mut self, of: usize, state: RolloutState, reason: String) {
        let rollout = &self.rollouts[of];
        if !rollout.state.may_become(state) {
            self.breaks(format!("a rollout cannot go from {:?} to {state:?}", rollout.state));
        }
        let because = if reason.is_empty() { String::new() } else { format!(": {reason}") };
        self.say(format!("{} is {}{because}", self.rollouts[of].id, state.word()));
        let rollout = &mut self.rollouts[of];
        (rollout.state, rollout.state_reason) = (state, reason);
        rollout.revision += 1;
    }
}
