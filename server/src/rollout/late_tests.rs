//! Tests of what comes late: answers after a failure, machines after their rollout, clocks that were set.

use super::*;

#[test]
fn a_failure_stops_everybody_who_is_not_commanded_yet_in_the_same_moment() {
    let mut fleet = Fleet::new(&[Nature::Crashes, Nature::Good, Nature::Good, Nature::Good]);
    let command = |instance: &str| Command {
        ticket: "t".into(),
        generation: 1,
        expected: "1.0.0".into(),
        instance: instance.into(),
        mark: Mark::New,
    };
    fleet.now = 20 * SECOND;
    fleet.sims.get_mut(&MachineId(1)).unwrap().commanded_at = Some(0);
    let phases = [
        Phase::Restarting(command("a")),
        Phase::Uploading,
        Phase::Installing(command("a")),
        Phase::Installing(command("a")),
    ];
    for (row, phase) in fleet.rollout.machines.iter_mut().zip(phases) {
        row.phase = phase;
        row.deadline = Some(Timestamp(1000 * SECOND));
    }
    // The last one may have been told already: only that one goes on.
    fleet.rollout.machines[3].tried_at = Some(Timestamp(18 * SECOND));
    fleet.observe(MachineId(1));
    let observation = |id: &MachineId| Observation { facts: fleet.facts.get(id).cloned(), ..Observation::default() };
    let seen = fleet.sims.keys().map(|id| (*id, observation(id))).collect();
    let actions = plan(&fleet.rollout, &seen, &fleet.limits, Timestamp(fleet.now));
    let of = |id| actions.iter().filter(|action| action.machine() == Some(MachineId(id))).collect::<Vec<_>>();
    let back = |id| Action::Move { machine: MachineId(id), to: Phase::Waiting(WaitReason::Turn) };
    assert!(matches!(of(1)[..], [Action::Move { to: Phase::FellBack { .. }, .. }]));
    assert_eq!((of(2), of(3)), (vec![&back(2)], vec![&back(3)]));
    assert_eq!(of(4), [&Action::Install { machine: MachineId(4) }]);
}

#[test]
fn a_lost_machine_that_turns_up_after_hours_is_told_truthfully() {
    for (nature, proven, truth) in [
        (Nature::Good, true, PhaseKind::Upgraded),
        (Nature::Mute, false, PhaseKind::FellBack),
        (Nature::Offline, false, PhaseKind::Lost),
        (Nature::Replaced, false, PhaseKind::Failed),
    ] {
        let mut fleet = Fleet::new(&[Nature::Dies]);
        fleet.run(3600);
        assert_eq!((fleet.phase(1), fleet.rollout.state), (PhaseKind::Lost, RolloutState::CompletedWithFailures));
        let sim = fleet.sims.get_mut(&MachineId(1)).unwrap();
        (sim.nature, sim.proven) = (nature, proven);
        fleet.observe(MachineId(1));
        fleet.run(5);
        assert_eq!(fleet.phase(1), truth, "{nature:?}");
        let state = if proven { RolloutState::Completed } else { RolloutState::CompletedWithFailures };
        assert_eq!(fleet.rollout.state, state, "{nature:?}");
    }
}

#[test]
fn a_machine_whose_last_answer_was_lost_is_awaited_when_its_process_is_known_to_be_gone() {
    let mut fleet = Fleet::new(&[Nature::Good]);
    let id = MachineId(1);
    for phase in [Phase::Checking, Phase::Uploading] {
        fleet.to(id, phase);
    }
    let command =
        Command { ticket: "t".into(), generation: 1, expected: "1.0.0".into(), instance: "a".into(), mark: Mark::New };
    fleet.call(id, &Outcome::Ready(command));
    fleet.call(id, &Outcome::Broken("the call broke off".to_owned()));
    assert_eq!(fleet.phase(1), PhaseKind::Installing, "a broken call says nothing of the machine");
    fleet.call(id, &Outcome::Gone("connection refused".to_owned()));
    assert_eq!(fleet.phase(1), PhaseKind::Restarting);
}

#[test]
fn what_was_seen_before_the_clock_was_set_back_is_not_taken_for_news() {
    let mut fleet = Fleet::new(&[Nature::Good]);
    let id = MachineId(1);
    fleet.now = 1000 * SECOND;
    fleet.observe(id);
    fleet.now = 10 * SECOND;
    fleet.to(id, Phase::Checking);
    let seen = HashMap::from([(id, Observation { facts: fleet.facts.get(&id).cloned(), ..Observation::default() })]);
    let actions = plan(&fleet.rollout, &seen, &fleet.limits, Timestamp(fleet.now));
    assert_eq!(actions, [Action::Observe { machine: id }]);
}

#[test]
fn a_machine_that_nobody_could_ask_in_time_is_asked_before_it_is_judged() {
    let mut fleet = Fleet::new(&[Nature::Good]);
    let id = MachineId(1);
    fleet.run(3);
    let command =
        Command { ticket: "t".into(), generation: 1, expected: "1.0.0".into(), instance: "a".into(), mark: Mark::New };
    fleet.facts.clear();
    fleet.sims.get_mut(&id).unwrap().commanded_at = Some(0);
    let row = &mut fleet.rollout.machines[0];
    (row.phase, row.since) = (Phase::Restarting(command), Timestamp(fleet.now));
    (row.deadline, row.tried_at) = (Some(Timestamp(fleet.now + SECOND)), Some(Timestamp(fleet.now)));
    fleet.now += 2 * SECOND;
    let actions = plan(&fleet.rollout, &fleet.seen(), &fleet.limits, Timestamp(fleet.now));
    assert_eq!(actions, [Action::Observe { machine: id }]);
    fleet.run(40);
    assert_eq!(fleet.phase(1), PhaseKind::Upgraded);
}

/// What is known of processes that came back twice.
fn cloned() -> Instances {
    let answer = |instance| crate::model::Answer { instance, hostname: "h", asked_at: Timestamp(2) };
    let heard = |known: Instances, before, instance| known.after(Some((before, "h")), answer(instance), Timestamp(1));
    let known = heard(Instances::default(), "a", "b");
    heard(heard(known, "b", "a"), "a", "b")
}

#[test]
fn a_machine_whose_identity_was_cloned_is_not_begun_says_so_and_holds_nobody_up() {
    let mut fleet = Fleet::new(&[Nature::Good; 3]);
    let id = MachineId(1);
    fleet.observe(id);
    fleet.facts.get_mut(&id).unwrap().instances = cloned();
    fleet.run(200);
    let phases = [1, 2, 3].map(|id| fleet.phase(id));
    assert_eq!(phases, [PhaseKind::Waiting, PhaseKind::Upgraded, PhaseKind::Upgraded]);
    assert_eq!(fleet.rollout.state, RolloutState::Completed);
    let why = hindrances(&fleet.rollout, &fleet.seen(), &fleet.limits, Timestamp(fleet.now));
    assert!(why[&id].to_string().contains("two machines answer with its identity"), "{why:?}");

    fleet.facts.get_mut(&id).unwrap().instances = Instances::default();
    fleet.run(60);
    assert_eq!(fleet.phase(1), PhaseKind::Upgraded, "it follows when a person says that it is alone");
}

#[test]
fn a_machine_that_turns_out_to_be_cloned_before_its_command_is_not_commanded() {
    for phase in [Phase::Checking, Phase::Uploading] {
        let mut fleet = Fleet::new(&[Nature::Good]);
        let id = MachineId(1);
        fleet.observe(id);
        fleet.rollout.machines[0].phase = phase;
        fleet.facts.get_mut(&id).unwrap().instances = cloned();
        fleet.turn();
        assert_eq!(fleet.phase(1), PhaseKind::Waiting);
        fleet.run(100);
        assert_eq!((fleet.phase(1), fleet.commands), (PhaseKind::Waiting, 0));
    }
}
