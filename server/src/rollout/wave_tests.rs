//! Tests of waves, brakes, limits, holds and hands, with the simulated fleet of the planner's tests.

use super::super::super::strategy::{Amount, Approval, Candidate, CutWave, Members, Strategy, Wave};
use super::*;

const SOAK: i64 = 600;

impl Fleet {
    /// A fleet that is rolled out by `strategy`, with ten minutes of soak where that says nothing else.
    pub(super) fn by(strategy: Strategy, natures: &[Nature]) -> Self {
        let mut fleet = Self::new(natures);
        let candidates = vec![Candidate::default(); natures.len()];
        let cut = strategy.cut(&candidates, Duration::from_secs(SOAK.unsigned_abs()));
        let rollout = &mut fleet.rollout;
        rollout.max_in_flight = strategy.max_in_flight.of(natures.len());
        rollout.failure_budget = strategy.failure_budget.of(natures.len());
        for (machine, wave) in rollout.machines.iter_mut().zip(cut.wave_of) {
            machine.wave = wave;
        }
        let wave = |cut: CutWave| RolloutWave {
            title: cut.title,
            soak: cut.soak,
            approval: cut.approval,
            failure_budget: cut.failure_budget,
            ..RolloutWave::only()
        };
        rollout.waves = cut.waves.into_iter().map(wave).collect();
        rollout.strategy = strategy;
        fleet
    }

    fn why(&self, id: i64) -> String {
        let found = hindrances(&self.rollout, &self.seen(), &self.limits, Timestamp(self.now));
        found.get(&MachineId(id)).map(ToString::to_string).unwrap_or_default()
    }

    fn set_nature(&mut self, id: i64, nature: Nature) {
        self.sims.get_mut(&MachineId(id)).unwrap().nature = nature;
    }
}

fn careful() -> Strategy {
    Strategy { max_in_flight: Amount::Number(3), ..Strategy::default() }
}

#[test]
fn waves_begin_one_after_the_other_each_when_the_former_is_proven_and_has_soaked() {
    let mut fleet = Fleet::by(careful(), &[Nature::Good; 10]);
    fleet.run(60);
    assert_eq!((fleet.touched(), fleet.phase(1)), (1, PhaseKind::Upgraded), "the canary alone");
    assert!(fleet.why(2).contains("wave 1 soaks until"), "{}", fleet.why(2));
    assert!(fleet.why(9).contains("wave 1 is not done"), "{}", fleet.why(9));
    fleet.run(SOAK);
    assert_eq!((fleet.touched(), fleet.rollout.open_wave), (2, 1), "then a tenth");
    fleet.run(SOAK + 60);
    assert!(fleet.touched() <= 7 && fleet.touched() > 4, "then half: {}", fleet.touched());
    fleet.run(2 * SOAK);
    assert_eq!(fleet.rollout.state, RolloutState::Completed);
    assert_eq!((fleet.touched(), fleet.in_flight_max), (10, 3));
}

#[test]
fn a_wave_never_overtakes_the_one_before_it() {
    let mut fleet = Fleet::by(careful(), &[Nature::Good; 10]);
    let mut open = 0;
    for _ in 0..20_000 {
        let before = fleet.rollout.clone();
        fleet.turn();
        fleet.now += SECOND / 4;
        if fleet.rollout.open_wave > open {
            let former = before.machines.iter().filter(|machine| machine.wave <= open);
            assert!(former.clone().all(|machine| machine.phase.kind().is_final()), "wave {open} was not done");
            open = fleet.rollout.open_wave;
        }
        let begun = |machine: &&RolloutMachine| machine.phase.kind() != PhaseKind::Waiting;
        assert!(fleet.rollout.machines.iter().filter(begun).all(|machine| machine.wave <= open));
    }
    assert_eq!(fleet.rollout.state, RolloutState::Completed);
}

#[test]
fn a_wave_that_waits_for_a_person_begins_when_it_is_released() {
    let waves = vec![
        Wave { soak_seconds: Some(0), ..Wave::of(Members::Next(Amount::Number(1))) },
        Wave { approval: Approval::Person, ..Wave::of(Members::Rest) },
    ];
    let mut fleet = Fleet::by(Strategy { waves, ..careful() }, &[Nature::Good; 3]);
    fleet.run(3600);
    assert_eq!((fleet.touched(), fleet.rollout.state), (1, RolloutState::Running));
    assert!(fleet.why(2).contains("waits for a person's release"), "{}", fleet.why(2));
    fleet.rollout.waves[1].released_at = Some(Timestamp(fleet.now));
    fleet.run(60);
    assert_eq!(fleet.rollout.state, RolloutState::Completed);
}

#[test]
fn a_released_wave_need_not_soak_but_never_overtakes() {
    let mut fleet = Fleet::by(careful(), &[Nature::Good; 3]);
    fleet.rollout.waves[1].released_at = Some(Timestamp(0));
    fleet.run(10);
    assert_eq!(fleet.touched(), 1, "the canary is not proven yet");
    fleet.run(60);
    assert_eq!(fleet.rollout.count(|kind| kind == PhaseKind::Upgraded), 2);
}

#[test]
fn canaries_that_are_all_offline_are_passed_over_and_the_next_wave_begins_with_one() {
    let mut natures = vec![Nature::Good; 10];
    (natures[0], natures[1]) = (Nature::Offline, Nature::Offline);
    let mut fleet = Fleet::by(careful(), &natures);
    fleet.run(15);
    assert_eq!((fleet.rollout.open_wave, fleet.touched()), (2, 1), "one alone until it is proven");
    fleet.run(3 * SOAK);
    assert_eq!(fleet.rollout.count(|kind| kind == PhaseKind::Upgraded), 8);
    assert_eq!(fleet.rollout.state, RolloutState::Completed);
    fleet.set_nature(1, Nature::Good);
    fleet.observe(MachineId(1));
    fleet.run(60);
    assert_eq!(fleet.phase(1), PhaseKind::Upgraded, "it joins at the back");
}

#[test]
fn a_canary_that_failed_below_the_budget_soaks_too_and_the_next_wave_takes_its_place() {
    let mut natures = vec![Nature::Good; 10];
    natures[0] = Nature::Crashes;
    let mut fleet = Fleet::by(Strategy { failure_budget: Amount::Number(3), ..careful() }, &natures);
    fleet.run(120);
    assert_eq!((fleet.touched(), fleet.phase(1)), (1, PhaseKind::FellBack), "the canary alone");
    assert!(fleet.why(2).contains("wave 1 soaks until"), "{}", fleet.why(2));
    fleet.run(SOAK);
    assert_eq!((fleet.touched(), fleet.rollout.open_wave), (2, 1), "then a tenth");
    fleet.run(SOAK - 120);
    assert_eq!(fleet.touched(), 2, "nothing larger before a proven machine has soaked");
    fleet.run(180);
    assert!(fleet.touched() > 4, "then half: {}", fleet.touched());
}

#[test]
fn where_the_canary_was_passed_over_one_goes_first_and_soaks_before_the_others_of_its_wave() {
    let mut natures = vec![Nature::Good; 10];
    natures[0] = Nature::Offline;
    let strategy =
        Strategy { waves: vec![Wave::of(Members::Next(Amount::Number(1))), Wave::of(Members::Rest)], ..careful() };
    let mut fleet = Fleet::by(strategy, &natures);
    fleet.run(120);
    assert_eq!((fleet.rollout.open_wave, fleet.touched()), (1, 1), "one alone");
    assert_eq!(fleet.rollout.count(|kind| kind == PhaseKind::Upgraded), 1);
    assert!(fleet.why(5).contains("no machine of an earlier wave was proven"), "{}", fleet.why(5));
    fleet.set_nature(1, Nature::Good);
    fleet.observe(MachineId(1));
    fleet.run(60);
    assert_eq!(fleet.touched(), 1, "not even the canary, which is back");
    fleet.run(SOAK + 60);
    assert_eq!(fleet.rollout.state, RolloutState::Completed, "{}", fleet.rollout.summary());
    assert_eq!(fleet.rollout.count(|kind| kind == PhaseKind::Upgraded), 10);
}

#[test]
fn who_releases_the_open_wave_spares_the_soak_of_the_machine_that_went_first_in_it() {
    let mut natures = vec![Nature::Good; 10];
    natures[0] = Nature::Offline;
    let strategy =
        Strategy { waves: vec![Wave::of(Members::Next(Amount::Number(1))), Wave::of(Members::Rest)], ..careful() };
    let mut fleet = Fleet::by(strategy, &natures);
    fleet.run(60);
    assert!(awaits_proof(&fleet.rollout, Timestamp(fleet.now)));
    fleet.rollout.waves[1].released_at = Some(Timestamp(fleet.now));
    assert!(!awaits_proof(&fleet.rollout, Timestamp(fleet.now)));
    fleet.run(120);
    assert_eq!(fleet.rollout.state, RolloutState::Completed, "{}", fleet.rollout.summary());
}

#[test]
fn the_budget_of_a_wave_stops_the_rollout_and_says_which_wave() {
    let waves = vec![
        Wave { soak_seconds: Some(0), ..Wave::of(Members::Next(Amount::Number(1))) },
        Wave { failure_budget: Some(Amount::Number(1)), ..Wave::of(Members::Rest) },
    ];
    let strategy = Strategy { waves, failure_budget: Amount::Number(5), ..careful() };
    let mut fleet = Fleet::by(strategy, &[Nature::Good, Nature::Crashes, Nature::Good, Nature::Good, Nature::Good]);
    fleet.run(200);
    assert_eq!(fleet.rollout.state, RolloutState::Paused);
    let reason = &fleet.rollout.state_reason;
    assert!(reason.contains("1 of 1 allowed failures in wave 2 (the rest): m2 fell back"), "{reason}");
    assert!(fleet.touched() <= 4, "what was in flight finished, and nothing began");
    assert!(fleet.why(5).contains("the rollout is paused"), "{}", fleet.why(5));
}

/// Runs a fleet in which these machines fail, and says why it stopped; empty where it came to its end.
fn stopped(strategy: Strategy, count: usize, failing: &[usize]) -> String {
    let mut natures = vec![Nature::Good; count];
    failing.iter().for_each(|at| natures[*at] = Nature::Crashes);
    let mut fleet = Fleet::by(strategy, &natures);
    fleet.run(1000);
    match fleet.rollout.state {
        RolloutState::Paused => fleet.rollout.state_reason.clone(),
        RolloutState::CompletedWithFailures => String::new(),
        other => panic!("{other:?}: {}", fleet.rollout.summary()),
    }
}

#[test]
fn a_budget_is_a_number_or_a_share_of_all_and_one_failure_less_does_not_stop_it() {
    let plain = |failure_budget| Strategy { waves: Vec::new(), failure_budget, ..careful() };
    for (budget, count, of) in [(Amount::Number(2), 10, "2 of 2"), (Amount::Percent(20), 10, "2 of 2")] {
        let reason = stopped(plain(budget), count, &[3, 5]);
        assert!(reason.contains(&format!("{of} allowed failures: m4 fell back, m6 fell back")), "{budget}: {reason}");
        assert_eq!(stopped(plain(budget), count, &[3]), "", "{budget}");
    }
    // A share is rounded up, and is never nothing.
    assert_eq!(stopped(plain(Amount::Percent(11)), 10, &[3]), "");
    assert!(stopped(plain(Amount::Percent(1)), 10, &[3]).contains("1 of 1 allowed failures"));
}

#[test]
fn the_budget_of_a_wave_is_a_number_or_a_share_of_that_wave() {
    let strategy = |budget| {
        let first =
            Wave { soak_seconds: Some(0), failure_budget: budget, ..Wave::of(Members::Next(Amount::Number(6))) };
        let waves = vec![first, Wave { failure_budget: budget, ..Wave::of(Members::Rest) }];
        Strategy { waves, failure_budget: Amount::Number(9), ..careful() }
    };
    for budget in [Amount::Number(2), Amount::Percent(33)] {
        let reason = stopped(strategy(Some(budget)), 12, &[2, 4]);
        assert!(reason.contains("2 of 2 allowed failures in wave 1 (6 machines): m3"), "{budget}: {reason}");
        assert_eq!(stopped(strategy(Some(budget)), 12, &[2, 8]), "", "one in each wave: {budget}");
    }
    assert_eq!(stopped(strategy(None), 12, &[2, 4]), "", "only those of the whole rollout count");
}

#[test]
fn a_failure_that_a_person_forgave_no_longer_counts() {
    let mut fleet = Fleet::by(Strategy { waves: Vec::new(), ..careful() }, &[Nature::Crashes, Nature::Good]);
    fleet.run(60);
    assert_eq!(fleet.rollout.state, RolloutState::Paused);
    fleet.rollout.machines[0].forgiven_at = Some(Timestamp(fleet.now));
    fleet.rollout.state = RolloutState::Running;
    fleet.run(60);
    assert_eq!((fleet.phase(2), fleet.rollout.state), (PhaseKind::Upgraded, RolloutState::CompletedWithFailures));
}

#[test]
fn a_failed_machine_is_tried_again_by_hand() {
    let mut fleet = Fleet::by(Strategy { waves: Vec::new(), ..careful() }, &[Nature::Crashes]);
    fleet.run(60);
    assert_eq!(fleet.phase(1), PhaseKind::FellBack);
    fleet.set_nature(1, Nature::Good);
    let again = by_hand(&fleet.rollout.machines[0], Phase::Waiting(WaitReason::Turn), Timestamp(fleet.now)).unwrap();
    fleet.rollout.machines[0] = again;
    fleet.rollout.state = RolloutState::Running;
    fleet.sims.get_mut(&MachineId(1)).unwrap().commanded_at = None;
    fleet.run(60);
    assert_eq!((fleet.phase(1), fleet.rollout.state), (PhaseKind::Upgraded, RolloutState::Completed));
}

#[test]
fn a_held_machine_is_left_alone_and_holds_nobody_up() {
    let mut fleet = Fleet::by(Strategy { waves: Vec::new(), ..careful() }, &[Nature::Good; 3]);
    let hold = Hold { reason: "month end".into(), by: "alice".into(), since: Timestamp(0), until: None };
    fleet.holds.insert(MachineId(1), hold);
    fleet.failed_before.insert(MachineId(2), "it crashed".into());
    fleet.run(120);
    assert_eq!((fleet.touched(), fleet.rollout.state), (1, RolloutState::Completed));
    assert_eq!(fleet.why(1), "alice holds it: month end");
    assert!(fleet.why(2).contains("not tried there again until a person says so: it crashed"));
    fleet.holds.clear();
    fleet.failed_before.clear();
    fleet.run(120);
    assert_eq!(fleet.rollout.count(|kind| kind == PhaseKind::Upgraded), 3, "it follows when it is let go");
}

#[test]
fn a_version_that_failed_on_three_machines_of_a_platform_is_held_for_it() {
    let mut fleet = Fleet::by(Strategy { waves: Vec::new(), ..careful() }, &[Nature::Good; 2]);
    fleet.limits.failed_on.insert("linux-x64".to_owned(), 3);
    fleet.observe(MachineId(1));
    fleet.observe(MachineId(2));
    fleet.run(60);
    assert_eq!(fleet.touched(), 0);
    assert!(fleet.why(1).contains("failed on 3 machines of linux-x64"), "{}", fleet.why(1));
    fleet.limits.failed_on.insert("linux-x64".to_owned(), 2);
    fleet.run(120);
    assert_eq!(fleet.touched(), 2);
}

#[test]
fn after_the_third_failure_on_a_platform_not_one_more_machine_of_it_is_commanded() {
    let crashing = [Nature::Crashes, Nature::Crashes, Nature::Crashes, Nature::Good, Nature::Good];
    for at_once in 1..=2 {
        let mut fleet = Fleet::by(Strategy { waves: Vec::new(), ..Strategy::plain(at_once, 9) }, &crashing);
        fleet.rollout.max_in_flight = at_once;
        while fleet.now < 120 * SECOND {
            fleet.turn();
            let failed = fleet.rollout.count(|kind| kind == PhaseKind::FellBack);
            fleet.limits.failed_on.insert("linux-x64".to_owned(), failed);
            fleet.now += SECOND / 4;
        }
        assert_eq!((fleet.touched(), fleet.phase(4)), (3, PhaseKind::Waiting));
        assert!(fleet.why(4).contains("failed on 3 machines of linux-x64"), "{}", fleet.why(4));
    }
}

#[test]
fn at_most_a_share_of_a_role_in_an_environment_is_in_flight_at_once() {
    let strategy = Strategy { waves: Vec::new(), max_percent_of_role: Some(25), ..Strategy::default() };
    let mut fleet = Fleet::by(strategy, &[Nature::Good; 8]);
    let web = (EnvironmentId(1), "web".to_owned());
    fleet.groups = (1..=8).map(|id| (MachineId(id), vec![web.clone()])).collect();
    fleet.limits.role_sizes = HashMap::from([(web, 8)]);
    fleet.run(40);
    assert!(fleet.why(8).contains("2 of the 8 machines with the role web"), "{}", fleet.why(8));
    fleet.run(300);
    assert_eq!((fleet.in_flight_max, fleet.rollout.state), (2, RolloutState::Completed));
}

#[test]
fn transfers_are_limited_apart_from_what_is_in_flight() {
    let strategy = Strategy { waves: Vec::new(), max_transfers: Some(1), ..Strategy::default() };
    let mut fleet = Fleet::by(strategy, &[Nature::Good; 6]);
    for _ in 0..2_000 {
        fleet.turn();
        fleet.now += SECOND / 4;
        let sent = |kind| matches!(kind, PhaseKind::Checking | PhaseKind::Uploading);
        assert!(fleet.rollout.count(sent) <= 1);
    }
    assert!(fleet.in_flight_max > 1);
    assert_eq!(fleet.rollout.state, RolloutState::Completed);
}

#[test]
fn a_scheduled_rollout_begins_at_its_hour() {
    let mut fleet = Fleet::by(careful(), &[Nature::Good]);
    fleet.rollout.state = RolloutState::Scheduled;
    fleet.rollout.start_at = Some(Timestamp(100 * SECOND));
    fleet.run(99);
    assert_eq!((fleet.touched(), fleet.rollout.state), (0, RolloutState::Scheduled));
    assert!(fleet.why(1).contains("begins at"), "{}", fleet.why(1));
    fleet.run(60);
    assert_eq!(fleet.rollout.state, RolloutState::Completed);
}

#[test]
fn every_waiting_machine_that_does_not_begin_has_a_reason() {
    let natures = [Nature::Good, Nature::Busy, Nature::Offline, Nature::KilledOnce, Nature::Crashes, Nature::Good];
    let strategy = Strategy { failure_budget: Amount::Number(2), ..careful() };
    let mut fleet = Fleet::by(strategy, &natures);
    for _ in 0..8_000 {
        fleet.turn();
        for (at, machine) in fleet.rollout.machines.iter().enumerate() {
            let why = fleet.why(machine.machine.0);
            let waits = machine.phase.kind() == PhaseKind::Waiting;
            // One that may begin does so in the next moment.
            assert!(waits || why.is_empty(), "machine {at} is {} and yet {why}", machine.phase.kind());
        }
        fleet.now += SECOND / 4;
    }
}

#[test]
fn a_machine_without_room_is_not_begun_holds_nothing_up_and_follows_when_there_is_room() {
    let mut fleet = Fleet::by(
        Strategy {
            waves: vec![Wave { soak_seconds: Some(0), ..Wave::of(Members::Next(Amount::Number(1))) }],
            ..Strategy::default()
        },
        &[Nature::Good, Nature::Good],
    );
    fleet.free.insert(MachineId(1), 3 << 20);
    fleet.observe(MachineId(1));
    fleet.run(60);
    assert_eq!((fleet.phase(1), fleet.phase(2)), (PhaseKind::Waiting, PhaseKind::Upgraded));
    assert_eq!(fleet.rollout.machines[0].attempt, 0, "what is known is enough not to begin");
    assert!(fleet.why(1).contains("3 MiB free, and the upgrade needs 5 MiB"), "{}", fleet.why(1));
    assert_eq!(fleet.rollout.state, RolloutState::Completed);
    fleet.free.insert(MachineId(1), 8 << 20);
    fleet.observe(MachineId(1));
    fleet.run(60);
    assert_eq!(fleet.phase(1), PhaseKind::Upgraded);
}

#[test]
fn a_machine_whose_disk_filled_up_since_waits_after_the_first_look() {
    let mut fleet = Fleet::new(&[Nature::Good]);
    fleet.free.insert(MachineId(1), 3 << 20);
    fleet.run(60);
    assert_eq!((fleet.phase(1), fleet.touched()), (PhaseKind::Waiting, 0));
    assert_eq!(fleet.rollout.machines[0].attempt, 1, "from then on it is known");
    assert_eq!(fleet.rollout.count(PhaseKind::is_failure), 0);
}

#[test]
fn a_rollout_that_is_cancelled_between_the_upload_and_the_command_leaves_nobody_waiting() {
    let mut fleet = Fleet::new(&[Nature::Good]);
    let step = |fleet: &mut Fleet, is_there: fn(&Rollout) -> bool| {
        let limit = fleet.now + 60 * SECOND;
        while !is_there(&fleet.rollout) {
            assert!(fleet.now < limit, "{:?}", fleet.rollout);
            fleet.turn();
            fleet.now += SECOND / 4;
        }
    };
    step(&mut fleet, |rollout| rollout.machines[0].phase.kind() == PhaseKind::Installing);
    assert_eq!(fleet.rollout.machines[0].tried_at, None, "it is not commanded yet");
    fleet.rollout.cancel_requested_at = Some(Timestamp(fleet.now));
    // Nobody looks at a rollout again that is over.
    step(&mut fleet, |rollout| rollout.state == RolloutState::Cancelled);
    assert_eq!((fleet.phase(1), fleet.commands), (PhaseKind::Cancelled, 0));
}
