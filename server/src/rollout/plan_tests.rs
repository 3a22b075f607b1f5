//! Tests of the planner: a small fleet is simulated second by second, with nothing but values.

use std::time::Duration;

use contract::{Rejection, Verdicts, Version};

use super::super::state::{Command, Mark, PhaseKind, RolloutMachine, RolloutWave, SkipReason};
use super::super::{calendar::Calendar, settle::*, strategy::Strategy};
use super::*;
use crate::ids::{SpaceId, TaskId};
use crate::model::{Answer, Contact, InstalledVersion, Instances, Report, RunningWork, TaskState};

#[path = "hour_tests.rs"]
mod hours;
#[path = "late_tests.rs"]
mod late;
#[path = "mark_tests.rs"]
mod marks;
#[path = "queue_tests.rs"]
mod queue;
#[path = "undo_plan_tests.rs"]
mod undo;
#[path = "wave_tests.rs"]
mod waves;

const SECOND: i64 = 1_000_000;

fn old() -> Version {
    Version::release(1, 0, 0)
}

fn target() -> Version {
    Version::release(2, 0, 0)
}

/// How a simulated machine takes the new version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Nature {
    /// It works.
    Good,
    /// The new version ends at once; Suction Cup falls back after a few seconds.
    Crashes,
    /// The new version cannot be reached; Suction Cup falls back after ten minutes.
    Mute,
    /// Nobody answers, from the beginning.
    Offline,
    /// It goes silent for ever once it is commanded.
    Dies,
    /// It is killed in the middle of an installation, once.
    KilledOnce,
    /// It runs the target already.
    Current,
    /// It runs a newer version.
    Ahead,
    /// It has work that does not end.
    Busy,
    /// Somebody set it up anew after it was commanded.
    Replaced,
}

struct Sim {
    nature: Nature,
    commanded_at: Option<i64>,
    killed: bool,
    proven: bool,
}

/// A rollout, its machines and a clock.
struct Fleet {
    rollout: Rollout,
    sims: HashMap<MachineId, Sim>,
    facts: HashMap<MachineId, Facts>,
    limits: Limits,
    now: i64,
    in_flight_max: usize,
    commands: usize,
    holds: HashMap<MachineId, Hold>,
    failed_before: HashMap<MachineId, String>,
    groups: HashMap<MachineId, Vec<(EnvironmentId, String)>>,
    calendar: Calendar,
    /// Where nothing is said, a machine's environment has its own number.
    environments: HashMap<MachineId, Vec<EnvironmentId>>,
    /// Free disk in bytes, where it is known.
    free: HashMap<MachineId, u64>,
}

impl Fleet {
    fn new(natures: &[Nature]) -> Self {
        let ids = (1..).map(MachineId);
        let machine = |(position, id): (i64, MachineId)| RolloutMachine {
            machine: id,
            name: format!("m{}", id.0),
            position,
            phase: Phase::Waiting(WaitReason::Turn),
            since: Timestamp(0),
            deadline: None,
            attempt: 0,
            from: None,
            tried_at: None,
            previous: None,
            back: None,
            was_away: false,
            wave: 0,
            forgiven_at: None,
            revision: 0,
        };
        let rollout = Rollout {
            id: RolloutId(1),
            space: SpaceId::DEFAULT,
            task: TaskId(1),
            target: target(),
            undo_of: None,
            strategy: Strategy::plain(3, 1),
            waves: vec![RolloutWave::only()],
            open_wave: 0,
            start_at: None,
            max_in_flight: 3,
            failure_budget: 1,
            created_by: "somebody".to_owned(),
            created_at: Timestamp(0),
            state: RolloutState::Running,
            state_reason: String::new(),
            cancel_requested_at: None,
            completed_at: None,
            revision: 0,
            machines: (0..).zip(ids.clone()).take(natures.len()).map(machine).collect(),
        };
        let sim = |nature: &Nature| Sim { nature: *nature, commanded_at: None, killed: false, proven: false };
        Self {
            rollout,
            sims: ids.zip(natures.iter().map(sim)).collect(),
            facts: HashMap::new(),
            limits: Limits {
                queue: crate::model::TaskQueue::Runs,
                deadlines: Deadlines::default(),
                held: None,
                issued_generation: 100,
                packages: HashMap::from([("linux-x64".to_owned(), 1 << 20)]),
                failed_on: HashMap::new(),
                role_sizes: HashMap::new(),
            },
            now: 0,
            in_flight_max: 0,
            commands: 0,
            holds: HashMap::new(),
            failed_before: HashMap::new(),
            groups: HashMap::new(),
            calendar: Calendar::default(),
            environments: HashMap::new(),
            free: HashMap::new(),
        }
    }

    fn phase(&self, id: i64) -> PhaseKind {
        self.rollout.machines[usize::try_from(id - 1).unwrap()].phase.kind()
    }

    fn touched(&self) -> usize {
        self.sims.values().filter(|sim| sim.commanded_at.is_some()).count()
    }

    /// What a machine answers now; `None` for silence.
    fn status(&self, id: MachineId) -> Option<Report> {
        let sim = &self.sims[&id];
        let since = sim.commanded_at.map(|at| self.now - at);
        let rejected = |kind| Verdicts { rejected: Some(kind), ..Verdicts::default() };
        let at_old = (old(), "a", Verdicts::default());
        let at_new = (target(), "b", Verdicts { proven: sim.proven, ..Verdicts::default() });
        let (version, instance, verdicts) = match (sim.nature, since) {
            (Nature::Offline, _) | (Nature::Dies, Some(_)) => return None,
            (Nature::Current, _) => (target(), "a", Verdicts { proven: true, ..Verdicts::default() }),
            (Nature::Ahead, _) => (Version::release(3, 0, 0), "a", Verdicts::default()),
            (_, None) => at_old,
            (Nature::KilledOnce, _) if sim.killed && self.commands == 1 => (old(), "k", Verdicts::default()),
            (_, Some(t)) if t < SECOND => return None,
            (Nature::Crashes, Some(t)) if t < 8 * SECOND => return None,
            (Nature::Crashes, _) => (old(), "c", rejected(Rejection::Crashed)),
            (Nature::Replaced, _) => {
                let proven = Verdicts { proven: true, ..Verdicts::default() };
                let installed = vec![InstalledVersion { version: old(), verdicts: proven }];
                return Some(self.report(old(), "r", installed));
            }
            (Nature::Mute, Some(t)) if t < 600 * SECOND => return None,
            (Nature::Mute, _) => (old(), "c", rejected(Rejection::Unconfirmed)),
            _ => at_new,
        };
        Some(self.report(version, instance, vec![InstalledVersion { version: target(), verdicts }]))
    }

    fn report(&self, version: Version, instance: &str, installed: Vec<InstalledVersion>) -> Report {
        Report {
            at: Timestamp(self.now),
            instance_seen_at: Timestamp(self.now),
            version,
            instance_id: instance.to_owned(),
            started_at: Timestamp(0),
            runtime: "linux-x64".to_owned(),
            os: String::new(),
            hostname: String::new(),
            supervisor_contract: Some(1),
            installed,
            last_words: Some("panicked at the wrong moment".to_owned()),
            free_disk_bytes: 0,
            running_work: Vec::new(),
            generation: 1,
            problems: Vec::new(),
        }
    }

    fn observe(&mut self, id: MachineId) {
        let tried_at = Timestamp(self.now);
        let mut report = self.status(id);
        if let (Some(report), Some(free)) = (&mut report, self.free.get(&id)) {
            report.free_disk_bytes = *free;
            report.installed.retain(|_| self.sims[&id].commanded_at.is_some());
        }
        let contact = match report {
            Some(_) => Contact::Answered,
            None => Contact::Silent { reason: "no route".to_owned() },
        };
        let former = self.facts.get(&id).and_then(|facts| facts.report.clone());
        let instances = self.facts.get(&id).map(|facts| facts.instances.clone()).unwrap_or_default();
        let report = report.or(former);
        self.facts.insert(id, Facts { tried_at, contact, contact_since: tried_at, report, instances });
    }

    fn to(&mut self, id: MachineId, phase: Phase) {
        let machine = self.rollout.machines.iter_mut().find(|machine| machine.machine == id).unwrap();
        *machine = enter(machine, phase, &self.limits.deadlines, Timestamp(self.now)).expect("a legal step");
    }

    fn call(&mut self, id: MachineId, outcome: &Outcome) {
        let machine = self.rollout.machines.iter().find(|machine| machine.machine == id).unwrap();
        if let Some(phase) = settle(machine, outcome) {
            self.to(id, phase);
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Move { machine, to } => self.to(machine, to),
            Action::Observe { machine } => {
                self.intend(machine);
                self.observe(machine);
            }
            Action::Upload { machine } | Action::Command { machine } => {
                self.intend(machine);
                let (ticket, instance) = ("t".into(), "a".into());
                let command = Command { ticket, generation: 1, expected: "1.0.0".into(), instance, mark: Mark::New };
                self.call(machine, &Outcome::Ready(command));
            }
            Action::Install { machine } => self.install(machine),
            Action::Ask { .. } => {}
            Action::Confirm { machine, .. } => {
                self.sims.get_mut(&machine).unwrap().proven = true;
                self.call(machine, &Outcome::Confirmed);
            }
            Action::OpenWave { wave } => self.rollout.open_wave = wave,
            Action::SetState { state, reason } => {
                self.rollout.state = state;
                self.rollout.state_reason = reason;
            }
        }
    }

    fn intend(&mut self, id: MachineId) {
        let row = self.rollout.machines.iter_mut().find(|row| row.machine == id).unwrap();
        *row = intend(row, &self.limits.deadlines, Timestamp(self.now));
    }

    fn install(&mut self, id: MachineId) {
        self.intend(id);
        self.commands += 1;
        let now = self.now;
        let sim = self.sims.get_mut(&id).unwrap();
        let outcome = match sim.nature {
            Nature::KilledOnce if !sim.killed => {
                sim.killed = true;
                Outcome::Interrupted("it was killed".to_owned())
            }
            Nature::Busy => Outcome::Busy("a deployment is running".to_owned()),
            _ => {
                sim.commanded_at = Some(now);
                Outcome::Armed
            }
        };
        self.call(id, &outcome);
    }

    fn seen(&self) -> HashMap<MachineId, Observation> {
        let observation = |id: &MachineId| Observation {
            closed: {
                let own = vec![EnvironmentId(id.0)];
                self.calendar.closed(self.environments.get(id).unwrap_or(&own), Timestamp(self.now))
            },
            facts: self.facts.get(id).cloned(),
            hold: self.holds.get(id).cloned(),
            failed_before: self.failed_before.get(id).cloned(),
            groups: self.groups.get(id).cloned().unwrap_or_default(),
            ..Observation::default()
        };
        self.sims.keys().map(|id| (*id, observation(id))).collect()
    }

    /// One look of the planner, with everything it says done at once.
    fn turn(&mut self) {
        let seen = self.seen();
        for action in plan(&self.rollout, &seen, &self.limits, Timestamp(self.now)) {
            self.act(action);
        }
        self.in_flight_max = self.in_flight_max.max(self.rollout.count(PhaseKind::is_in_flight));
    }

    fn run(&mut self, seconds: i64) {
        let end = self.now + seconds * SECOND;
        while self.now < end {
            self.turn();
            self.now += SECOND / 4;
        }
    }
}

#[test]
fn a_good_fleet_is_upgraded_one_first_and_then_up_to_the_cap() {
    let mut fleet = Fleet::new(&[Nature::Good; 8]);
    fleet.run(30);
    assert_eq!(fleet.touched(), 1 + 3, "one alone until it is proven, then three");
    fleet.run(120);
    assert_eq!(fleet.rollout.count(|kind| kind == PhaseKind::Upgraded), 8);
    assert_eq!(fleet.rollout.state, RolloutState::Completed);
    assert_eq!(fleet.in_flight_max, 3);
}

#[test]
fn nothing_is_upgraded_before_the_proving_time_is_over() {
    let mut fleet = Fleet::new(&[Nature::Good]);
    fleet.run(20);
    assert_eq!(fleet.phase(1), PhaseKind::Proving);
    fleet.run(10);
    assert_eq!(fleet.phase(1), PhaseKind::Upgraded);
}

#[test]
fn a_crashing_version_stops_the_rollout_after_one_machine() {
    let mut fleet = Fleet::new(&[Nature::Crashes, Nature::Good, Nature::Good]);
    fleet.run(600);
    assert_eq!(fleet.touched(), 1);
    assert_eq!(fleet.rollout.state, RolloutState::Paused);
    assert!(fleet.rollout.state_reason.contains("m1 fell back"), "{}", fleet.rollout.state_reason);
    assert!(fleet.rollout.machines[0].phase.reason().contains("panicked at the wrong moment"));
    assert_eq!(task_state(&fleet.rollout).0, TaskState::Failed, "a script that waits is told");
}

#[test]
fn a_version_that_cannot_be_reached_is_lost_first_and_known_to_have_fallen_back_later() {
    let mut fleet = Fleet::new(&[Nature::Mute, Nature::Good]);
    fleet.run(200);
    assert_eq!(fleet.phase(1), PhaseKind::Lost);
    assert_eq!(fleet.rollout.state, RolloutState::Paused, "silence after a command counts");
    fleet.run(600);
    assert_eq!(fleet.phase(1), PhaseKind::FellBack);
    assert_eq!(fleet.touched(), 1);
}

#[test]
fn a_machine_that_was_offline_before_waits_and_never_counts() {
    let mut fleet = Fleet::new(&[Nature::Offline, Nature::Good, Nature::Good]);
    fleet.run(200);
    assert_eq!(fleet.phase(1), PhaseKind::Waiting);
    assert_eq!(fleet.rollout.state, RolloutState::Completed);
    fleet.sims.get_mut(&MachineId(1)).unwrap().nature = Nature::Good;
    fleet.observe(MachineId(1));
    fleet.run(60);
    assert_eq!(fleet.phase(1), PhaseKind::Upgraded, "it is upgraded when it reappears");
}

#[test]
fn a_machine_that_goes_silent_after_the_command_is_lost_and_counts() {
    let mut fleet = Fleet::new(&[Nature::Dies, Nature::Good]);
    fleet.run(300);
    assert_eq!(fleet.phase(1), PhaseKind::Lost);
    assert_eq!((fleet.rollout.state, fleet.touched()), (RolloutState::Paused, 1));
}

#[test]
fn a_machine_that_is_deleted_after_the_command_is_let_go_and_never_counts() {
    let mut fleet = Fleet::new(&[Nature::Good, Nature::Good]);
    fleet.run(10);
    assert_eq!(fleet.phase(1), PhaseKind::Proving);
    fleet.sims.remove(&MachineId(1));
    fleet.run(1);
    assert_eq!(fleet.phase(1), PhaseKind::Skipped);
    assert!(fleet.phase(2).is_in_flight(), "the others do not wait for its deadline");
    assert!(fleet.rollout.machines[0].phase.reason().contains("deleted"));
    fleet.run(60);
    assert_eq!((fleet.phase(2), fleet.rollout.state), (PhaseKind::Upgraded, RolloutState::Completed));
}

#[test]
fn a_machine_that_was_interrupted_before_it_was_armed_is_tried_again() {
    let mut fleet = Fleet::new(&[Nature::KilledOnce]);
    fleet.run(60);
    assert_eq!(fleet.phase(1), PhaseKind::Upgraded);
    assert_eq!(fleet.rollout.machines[0].attempt, 2);
}

#[test]
fn a_busy_machine_waits_and_does_not_hold_up_the_others() {
    let mut fleet = Fleet::new(&[Nature::Busy, Nature::Good]);
    fleet.run(120);
    assert_eq!((fleet.phase(1), fleet.phase(2)), (PhaseKind::Waiting, PhaseKind::Upgraded));
    assert_eq!(fleet.rollout.state, RolloutState::Running);
}

#[test]
fn a_machine_at_the_target_or_beyond_is_left_as_it_is() {
    let mut fleet = Fleet::new(&[Nature::Current, Nature::Ahead]);
    fleet.run(10);
    assert_eq!((fleet.phase(1), fleet.phase(2)), (PhaseKind::Skipped, PhaseKind::Skipped));
    assert_eq!((fleet.rollout.state, fleet.touched()), (RolloutState::Completed, 0));
}

#[test]
fn a_fall_back_while_the_portal_was_away_is_tried_again_and_does_not_count() {
    let mut fleet = Fleet::new(&[Nature::Mute]);
    fleet.limits.deadlines.restarting = Duration::from_secs(3600);
    fleet.run(5);
    assert_eq!(fleet.phase(1), PhaseKind::Restarting);
    fleet.now += 700 * SECOND;
    for _ in 0..3 {
        fleet.turn();
    }
    assert_eq!(fleet.rollout.count(PhaseKind::is_failure), 0);
    assert_eq!((fleet.phase(1), fleet.rollout.machines[0].attempt), (PhaseKind::Checking, 2), "it begins again");
}

#[test]
fn a_fall_back_while_the_portal_tried_all_the_while_counts() {
    let mut fleet = Fleet::new(&[Nature::Mute]);
    fleet.limits.deadlines.restarting = Duration::from_secs(3600);
    fleet.run(700);
    assert_eq!(fleet.phase(1), PhaseKind::FellBack);
}

#[test]
fn a_machine_that_a_newer_rollout_has_is_left_to_it() {
    let mut fleet = Fleet::new(&[Nature::Good]);
    fleet.observe(MachineId(1));
    let elsewhere = Some(Elsewhere::Newer(RolloutId(9)));
    let seen = HashMap::from([(MachineId(1), Observation { elsewhere, ..Observation::default() })]);
    let actions = plan(&fleet.rollout, &seen, &fleet.limits, Timestamp(1));
    let superseded = Phase::Skipped(SkipReason::Superseded { by: RolloutId(9) });
    assert_eq!(actions[0], Action::Move { machine: MachineId(1), to: superseded });
}

#[test]
fn a_machine_that_an_older_rollout_is_at_waits_for_it() {
    let (fleet, elsewhere) = (Fleet::new(&[Nature::Good]), Some(Elsewhere::Older(RolloutId(0))));
    let seen = HashMap::from([(MachineId(1), Observation { elsewhere, ..Observation::default() })]);
    assert_eq!(plan(&fleet.rollout, &seen, &fleet.limits, Timestamp(1)), Vec::new());
}

#[test]
fn a_generation_that_was_never_issued_pauses_the_rollout() {
    let mut fleet = Fleet::new(&[Nature::Good, Nature::Good]);
    fleet.limits.issued_generation = 0;
    fleet.observe(MachineId(2));
    fleet.turn();
    assert_eq!((fleet.rollout.state, fleet.touched()), (RolloutState::Paused, 0));
    assert!(fleet.rollout.state_reason.contains("old backup"), "{}", fleet.rollout.state_reason);
}

#[test]
fn a_call_that_is_under_way_is_not_made_twice() {
    let mut fleet = Fleet::new(&[Nature::Good]);
    fleet.to(MachineId(1), Phase::Checking);
    let seen =
        |call_under_way| HashMap::from([(MachineId(1), Observation { call_under_way, ..Observation::default() })]);
    assert_eq!(plan(&fleet.rollout, &seen(true), &fleet.limits, Timestamp(SECOND)), Vec::new());
    assert_eq!(plan(&fleet.rollout, &seen(false), &fleet.limits, Timestamp(SECOND)).len(), 1);
}

#[test]
fn the_rollout_is_the_same_wherever_the_portal_is_killed() {
    // The planner remembers nothing, so a portal that starts anew at any moment is a portal that never ended. What is
    // lost are calls whose result was not written: each is made again.
    for killed_at in 0..160 {
        let mut fleet = Fleet::new(&[Nature::Good, Nature::Good]);
        for turn in 0..600 {
            let lost = turn == killed_at;
            let before = fleet.rollout.clone();
            fleet.turn();
            if lost {
                fleet.rollout = before;
            }
            fleet.now += SECOND / 4;
        }
        let upgraded = fleet.rollout.count(|kind| kind == PhaseKind::Upgraded);
        let left = fleet.rollout.count(|kind| kind == PhaseKind::Skipped);
        assert_eq!(upgraded + left, 2, "killed at turn {killed_at}: {}", fleet.rollout.summary());
        assert_eq!(fleet.rollout.state, RolloutState::Completed, "killed at turn {killed_at}");
    }
}

#[test]
fn a_machine_that_arrived_though_its_attempt_was_given_up_proves_itself_and_counts_as_upgraded() {
    let mut fleet = Fleet::new(&[Nature::Good]);
    let id = MachineId(1);
    let row = &mut fleet.rollout.machines[0];
    row.phase = Phase::Waiting(WaitReason::Interrupted { reason: "it was killed after it was armed".to_owned() });
    row.attempt = 1;
    (row.from, row.previous) = (Some(old()), Some(old()));
    fleet.sims.get_mut(&id).unwrap().commanded_at = Some(-60 * SECOND);
    fleet.run(15);
    assert_eq!(fleet.phase(1), PhaseKind::Proving);
    fleet.run(30);
    assert_eq!((fleet.phase(1), fleet.commands), (PhaseKind::Upgraded, 0), "nothing is commanded again");
}

#[test]
fn a_portal_that_was_away_past_a_deadline_asks_before_it_judges() {
    for (phase, away) in [
        (PhaseKind::Uploading, 700),
        (PhaseKind::Installing, 700),
        (PhaseKind::Restarting, 150),
        (PhaseKind::Proving, 310),
    ] {
        let mut fleet = Fleet::new(&[Nature::Good]);
        let id = MachineId(1);
        for turn in 0.. {
            assert!(turn < 100, "{phase} was never reached");
            if fleet.phase(1) == phase {
                break;
            }
            fleet.turn();
            fleet.now += SECOND / 4;
        }
        fleet.now += away * SECOND;
        fleet.run(60);
        assert_eq!(fleet.phase(1), PhaseKind::Upgraded, "away in {phase}: {:?}", fleet.rollout.machines[0].phase);
        assert!(fleet.sims[&id].proven);
    }
}

#[test]
fn a_lost_machine_is_waited_for_though_it_is_the_only_one() {
    let mut fleet = Fleet::new(&[Nature::Mute]);
    fleet.run(300);
    assert_eq!((fleet.phase(1), fleet.rollout.state), (PhaseKind::Lost, RolloutState::Paused));
    fleet.run(600);
    assert_eq!((fleet.phase(1), fleet.rollout.state), (PhaseKind::FellBack, RolloutState::CompletedWithFailures));
}

#[test]
fn a_lost_machine_that_fell_back_while_the_portal_was_away_does_not_count() {
    let mut fleet = Fleet::new(&[Nature::Mute, Nature::Good]);
    fleet.run(200);
    assert_eq!(fleet.phase(1), PhaseKind::Lost);
    fleet.now += 500 * SECOND;
    fleet.run(5);
    assert_eq!(fleet.rollout.count(PhaseKind::is_failure), 0, "{:?}", fleet.rollout.machines[0].phase);
}

#[test]
fn an_offline_machine_is_upgraded_later_though_another_failed_within_the_budget() {
    let mut fleet = Fleet::new(&[Nature::Crashes, Nature::Offline]);
    fleet.rollout.failure_budget = 3;
    fleet.run(120);
    assert_eq!(fleet.rollout.state, RolloutState::CompletedWithFailures);
    fleet.sims.get_mut(&MachineId(2)).unwrap().nature = Nature::Good;
    fleet.observe(MachineId(2));
    fleet.run(60);
    assert_eq!(fleet.phase(2), PhaseKind::Upgraded);
}

#[test]
fn a_machine_that_goes_silent_before_it_is_commanded_waits_as_offline() {
    let mut fleet = Fleet::new(&[Nature::Offline]);
    let id = MachineId(1);
    fleet.to(id, Phase::Checking);
    fleet.to(id, Phase::Uploading);
    let mut late = fleet.limits.deadlines.uploading;
    late += Duration::from_secs(1);
    fleet.now = i64::try_from(late.as_micros()).unwrap();
    fleet.intend(id);
    fleet.rollout.machines[0].deadline = Some(Timestamp(fleet.now));
    fleet.observe(id);
    fleet.turn();
    assert_eq!(fleet.phase(1), PhaseKind::Waiting);
    assert_eq!(fleet.rollout.count(PhaseKind::is_failure), 0);
}
