//! Tests of the planner: a rollout that is cancelled, and a space whose task queue is stopped, begin no machine.

use super::*;

#[test]
fn what_is_only_begun_is_taken_back_when_the_queue_is_stopped_and_what_was_commanded_goes_on() {
    let mut fleet = Fleet::new(&[Nature::Good, Nature::Good]);
    fleet.to(MachineId(1), Phase::Checking);
    let now = Timestamp(SECOND);
    fleet.limits.queue = TaskQueue::Stopped;
    let seen: HashMap<MachineId, Observation> = [1, 2].map(|id| (MachineId(id), Observation::default())).into();
    let back = Action::Move { machine: MachineId(1), to: Phase::Waiting(WaitReason::Turn) };
    assert_eq!(plan(&fleet.rollout, &seen, &fleet.limits, now), [back]);
    let found = hindrances(&fleet.rollout, &seen, &fleet.limits, now);
    assert_eq!(found[&MachineId(2)], Hindrance::QueueStopped);
    assert_eq!(found[&MachineId(2)].code(), "QueueStopped");

    let command = Command {
        ticket: "t".to_owned(),
        generation: 1,
        expected: old().to_string(),
        instance: "a".to_owned(),
        mark: Mark::default(),
    };
    fleet.rollout.machines[0].phase = Phase::Restarting(command);
    let goes_on = plan(&fleet.rollout, &seen, &fleet.limits, now);
    assert!(!goes_on.is_empty() && goes_on.iter().all(|action| action.machine() == Some(MachineId(1))), "{goes_on:?}");
}

#[test]
fn a_cancelled_rollout_starts_nothing_and_lets_the_commanded_finish() {
    let mut fleet = Fleet::new(&[Nature::Good, Nature::Good]);
    fleet.run(10);
    fleet.rollout.cancel_requested_at = Some(Timestamp(fleet.now));
    fleet.run(1);
    assert_eq!((fleet.phase(1), fleet.phase(2)), (PhaseKind::Proving, PhaseKind::Cancelled));
    assert_eq!(fleet.rollout.state, RolloutState::Running, "it is not over while a machine is in flight");
    fleet.run(60);
    assert_eq!((fleet.phase(1), fleet.rollout.state), (PhaseKind::Upgraded, RolloutState::Cancelled));
}
