//! Rollouts followed to their end before they began.

use contract::Version;

use super::*;
use crate::ids::{RolloutId, SpaceId, TaskId};
use crate::model::Report;
use crate::rollout::calendar::{FreezePeriod, FreezeScope};
use crate::rollout::hindrance::Hold;
use crate::rollout::state::{Deadlines, RolloutMachine, RolloutWave};
use crate::rollout::strategy::{Amount, Candidate, CutWave, Members, Strategy, Wave};

const NOW: Timestamp = Timestamp(1_795_428_000_000_000);
const PACE: Pace = Pace { sending: Duration::from_secs(10), installing: Duration::from_secs(50), machines: 7 };
const MINUTE: u64 = 60;

/// Fewer than in a portal: these programs are not optimized.
const LOOKS: usize = 400_000;

fn target() -> Version {
    Version::release(2, 0, 0)
}

fn report() -> Report {
    Report {
        at: NOW,
        instance_seen_at: NOW,
        version: Version::release(1, 0, 0),
        instance_id: "a".into(),
        started_at: NOW,
        runtime: "linux-x64".into(),
        os: String::new(),
        hostname: String::new(),
        supervisor_contract: Some(1),
        installed: Vec::new(),
        last_words: None,
        free_disk_bytes: 1 << 40,
        running_work: Vec::new(),
        generation: 0,
        problems: Vec::new(),
    }
}

/// A rollout of so many machines that are well, and what is known of them.
struct Plan {
    rollout: Rollout,
    known: Known,
}

fn limits() -> Limits {
    Limits {
        queue: crate::model::TaskQueue::Runs,
        deadlines: Deadlines::default(),
        held: None,
        issued_generation: 0,
        packages: HashMap::from([("linux-x64".to_owned(), 1 << 20)]),
        failed_on: HashMap::new(),
        role_sizes: HashMap::new(),
    }
}

impl Plan {
    fn of(strategy: Strategy, count: usize) -> Self {
        let cut = strategy.cut(&vec![Candidate::default(); count], Duration::from_secs(600));
        let machine = |(at, wave): (i64, &usize)| RolloutMachine {
            machine: MachineId(at + 1),
            name: format!("m{}", at + 1),
            position: at,
            wave: *wave,
            phase: Phase::Waiting(WaitReason::Turn),
            since: NOW,
            deadline: None,
            attempt: 0,
            from: None,
            previous: None,
            back: None,
            tried_at: None,
            was_away: false,
            forgiven_at: None,
            revision: 0,
        };
        let wave = |cut: CutWave| RolloutWave {
            title: cut.title,
            soak: cut.soak,
            approval: cut.approval,
            failure_budget: cut.failure_budget,
            ..RolloutWave::only()
        };
        let (contact, report) = (Contact::Answered, Some(report()));
        let facts = Facts { tried_at: NOW, contact, contact_since: NOW, report, instances: Default::default() };
        let observation = Observation { facts: Some(facts), ..Observation::default() };
        let machines: Vec<RolloutMachine> = (0..).zip(&cut.wave_of).map(machine).collect();
        Self {
            known: Known {
                observations: machines.iter().map(|machine| (machine.machine, observation.clone())).collect(),
                limits: limits(),
                candidates: machines.iter().map(|machine| (machine.machine, candidate())).collect(),
                role_sizes: HashMap::new(),
                calendar: Calendar::default(),
            },
            rollout: Rollout {
                id: RolloutId(i64::MAX),
                space: SpaceId::DEFAULT,
                task: TaskId(1),
                target: target(),
                undo_of: None,
                waves: cut.waves.into_iter().map(wave).collect(),
                open_wave: 0,
                start_at: None,
                max_in_flight: strategy.max_in_flight.of(count),
                failure_budget: strategy.failure_budget.of(count),
                strategy,
                created_by: String::new(),
                created_at: NOW,
                state: RolloutState::Running,
                state_reason: String::new(),
                cancel_requested_at: None,
                completed_at: None,
                revision: 0,
                machines,
            },
        }
    }

    fn observation(&mut self, id: i64) -> &mut Observation {
        self.known.observations.get_mut(&MachineId(id)).unwrap()
    }

    fn report(&mut self, id: i64) -> &mut Report {
        self.observation(id).facts.as_mut().unwrap().report.as_mut().unwrap()
    }

    fn course(&self, pace: Option<Pace>) -> Course {
        course_within(LOOKS, self.rollout.clone(), self.known.clone(), pace, NOW)
    }
}

fn candidate() -> Candidate {
    Candidate { environments: vec![EnvironmentId(1)], roles: Vec::new() }
}

fn at(seconds: u64) -> Timestamp {
    NOW.after(Duration::from_secs(seconds))
}

fn plain(count: usize, max_in_flight: u32) -> Plan {
    Plan::of(Strategy::plain(max_in_flight, 1), count)
}

#[test]
fn the_finish_comes_of_the_measured_pace_the_first_machine_and_the_cap() {
    let course = plain(7, 3).course(Some(PACE));
    assert_eq!(course.upgraded, 7);
    assert_eq!(course.finish, Finish::At(at(3 * MINUTE)), "one, then three, then three");
    assert_eq!(course.stays, []);
}

#[test]
fn waves_soak_and_a_person_is_taken_to_agree_at_once() {
    let mut strategy = Strategy::default();
    strategy.waves[2].approval = Approval::Person;
    let course = Plan::of(strategy, 6).course(Some(PACE));
    let span = |begins, ends| Span { begins: Some(at(begins)), ends: Some(at(ends)) };
    assert_eq!(
        course.waves,
        [
            span(0, MINUTE),
            span(11 * MINUTE, 12 * MINUTE),
            span(22 * MINUTE, 23 * MINUTE),
            span(33 * MINUTE, 34 * MINUTE)
        ]
    );
    assert_eq!(course.finish, Finish::At(at(34 * MINUTE)));
}

#[test]
fn where_nothing_was_measured_no_time_is_told() {
    let course = Plan::of(Strategy::default(), 6).course(None);
    assert_eq!((course.finish, course.upgraded), (Finish::Unknown, 6));
    assert!(course.waves.iter().all(|span| *span == Span::default()));
}

#[test]
fn a_start_and_a_hold_are_waited_for_and_what_has_no_end_is_told() {
    let mut plan = plain(7, 3);
    plan.rollout.start_at = Some(at(600));
    plan.rollout.state = RolloutState::Scheduled;
    let hold = Hold { reason: "audit".into(), by: "ann".into(), since: NOW, until: None };
    plan.observation(1).hold = Some(hold);
    plan.observation(2).failed_before = Some("it crashed".into());
    plan.report(3).free_disk_bytes = 1 << 20;
    plan.report(4).problems = vec!["no swap".into()];
    plan.observation(5).facts.as_mut().unwrap().contact = Contact::Silent { reason: "no route".into() };
    plan.report(6).runtime = "win-x64".into();
    let course = plan.course(Some(PACE));
    assert_eq!((course.upgraded, course.finish), (1, Finish::At(at(600 + MINUTE))));
    let stays: Vec<_> = course.stays.iter().map(|stays| (stays.name.as_str(), stays.code)).collect();
    assert_eq!(
        stays,
        [
            ("m1", "Held"),
            ("m2", "FailedBefore"),
            ("m3", "NoRoom"),
            ("m4", "Unwell"),
            ("m5", "Offline"),
            ("m6", "NoPackage")
        ]
    );
    assert_eq!(course.stays[3].why, "it has problems: no swap");
}

#[test]
fn what_ends_by_itself_is_waited_for() {
    let mut plan = plain(3, 3);
    let hold = Hold { reason: "audit".into(), by: "ann".into(), since: NOW, until: Some(at(20 * MINUTE)) };
    plan.observation(2).hold = Some(hold);
    let freeze = FreezePeriod {
        reason: "sale".into(),
        scope: FreezeScope::Environments(vec![EnvironmentId(2)]),
        from: NOW,
        until: at(30 * MINUTE),
    };
    plan.known.calendar.freezes.push(freeze);
    plan.known.candidates.get_mut(&MachineId(3)).unwrap().environments.push(EnvironmentId(2));
    let course = plan.course(Some(PACE));
    assert_eq!((course.upgraded, course.finish), (3, Finish::At(at(31 * MINUTE))));
    assert_eq!(course.stays, []);
}

#[test]
fn a_rollout_that_would_stop_says_why() {
    let mut plan = plain(3, 3);
    plan.report(1).supervisor_contract = None;
    let course = plan.course(Some(PACE));
    let Finish::Stops(why) = &course.finish else { panic!("{:?}", course.finish) };
    assert!(why.contains("1 of 1 allowed failures: m1 failed"), "{why}");
    let stays: Vec<_> = course.stays.iter().map(|stays| stays.code).collect();
    assert_eq!(stays, ["Failed", "Stopped", "Stopped"]);
}

#[test]
fn how_many_of_a_role_go_at_once_is_counted() {
    let mut plan = plain(5, 4);
    let web = (EnvironmentId(1), "web".to_owned());
    plan.known.candidates.values_mut().for_each(|candidate| candidate.roles = vec!["web".to_owned()]);
    plan.known.role_sizes = HashMap::from([(web, 6)]);
    let course = plan.course(None);
    let loss = RoleLoss { environment: EnvironmentId(1), role: "web".into(), most: 4, all: 6 };
    assert_eq!(course.roles, [loss]);
}

#[test]
fn a_fleet_is_followed_to_its_end_or_it_is_said_that_it_was_not() {
    let course = Plan::of(Strategy::default(), 300).course(Some(PACE));
    assert_eq!((course.upgraded, course.stays.len()), (300, 0));
    let Finish::At(end) = course.finish else { panic!("{:?}", course.finish) };
    // One alone, then 3, 15 and 12 rounds of ten, and three soaks.
    assert_eq!(end, at((1 + 3 + 15 + 12 + 30) * MINUTE));
    let mut slow = Strategy::plain(1, 1);
    slow.waves = vec![Wave::of(Members::Next(Amount::Number(1)))];
    let course = Plan::of(slow, 6_000).course(Some(PACE));
    assert!(matches!(course.finish, Finish::After(_)), "{:?}", course.finish);
    assert_eq!(course.stays, [], "nothing keeps the others");
}

#[test]
fn the_pace_is_the_median_of_what_was_measured() {
    let measured = [3, 1, 90, 2, 4].map(|n| (Duration::from_secs(n), Duration::from_secs(10 * n)));
    let pace = Pace::of(&measured).unwrap();
    let seconds = (pace.sending.as_secs(), pace.installing.as_secs(), pace.machines);
    assert_eq!(seconds, (3, 30, 5));
    assert_eq!(Pace::of(&[]), None);
}
