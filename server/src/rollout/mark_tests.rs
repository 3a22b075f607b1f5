//! Tests of marks against a version that are older than the command: what they say of it, which is nothing.

use super::*;

fn rejected() -> Verdicts {
    Verdicts { rejected: Some(Rejection::Crashed), ..Verdicts::default() }
}

fn command(mark: Mark) -> Command {
    Command { ticket: "t".into(), generation: 1, expected: "1.0.0".into(), instance: "a".into(), mark }
}

/// A machine that stands in a phase, and whose next process runs the old version and shows the target as rejected.
fn marked(phase: Phase) -> Fleet {
    let mut fleet = Fleet::new(&[Nature::Crashes]);
    fleet.now = 20 * SECOND;
    fleet.sims.get_mut(&MachineId(1)).unwrap().commanded_at = Some(0);
    let row = &mut fleet.rollout.machines[0];
    row.phase = phase;
    (row.attempt, row.previous, row.deadline) = (1, Some(old()), Some(Timestamp(100 * SECOND)));
    fleet.observe(MachineId(1));
    fleet
}

fn step(fleet: &Fleet) -> Vec<Action> {
    let facts = fleet.facts.get(&MachineId(1)).cloned();
    let seen = HashMap::from([(MachineId(1), Observation { facts, ..Observation::default() })]);
    plan(&fleet.rollout, &seen, &fleet.limits, Timestamp(fleet.now))
}

#[test]
fn a_version_that_was_rejected_before_the_command_has_not_fallen_back_again_before_the_machine_says_so() {
    let id = MachineId(1);
    let mut fleet = marked(Phase::Restarting(command(Mark::Old)));
    assert_eq!(step(&fleet), [Action::Ask { machine: id }], "it may have been killed before it armed");
    fleet.call(id, &Outcome::Broken("the reply was lost".to_owned()));
    assert_eq!(step(&fleet), [Action::Ask { machine: id }]);

    fleet.call(id, &Outcome::Interrupted("it ended, and nobody saw how that came out".to_owned()));
    let phase = &fleet.rollout.machines[0].phase;
    assert!(matches!(phase, Phase::Waiting(WaitReason::Interrupted { .. })), "{phase:?}");

    let mut fleet = marked(Phase::Restarting(command(Mark::Old)));
    fleet.call(id, &Outcome::Armed);
    let steps = step(&fleet);
    assert!(matches!(&steps[0], Action::Move { to: Phase::FellBack { .. }, .. }), "it was launched again: {steps:?}");
}

#[test]
fn a_machine_that_never_says_what_became_of_the_command_fails_at_its_deadline_and_says_what_it_runs() {
    let mut fleet = marked(Phase::Restarting(command(Mark::Old)));
    fleet.rollout.machines[0].tried_at = Some(Timestamp(99 * SECOND));
    fleet.now = 100 * SECOND;
    fleet.observe(MachineId(1));
    let steps = step(&fleet);
    let is_told = |reason: &str| reason.contains("took longer") && reason.contains("runs 1.0.0");
    assert!(matches!(&steps[0], Action::Move { to: Phase::Failed { reason }, .. } if is_told(reason)), "{steps:?}");
}

#[test]
fn what_the_machine_said_or_what_was_not_marked_before_is_believed_at_once() {
    let fleet = marked(Phase::Restarting(command(Mark::New)));
    let steps = step(&fleet);
    assert!(matches!(&steps[0], Action::Move { to: Phase::FellBack { .. }, .. }), "{steps:?}");
    let armed = settle(&marked(Phase::Installing(command(Mark::Old))).rollout.machines[0], &Outcome::Armed);
    assert_eq!(armed, Some(Phase::Restarting(command(Mark::New))));
    let gone = settle(&marked(Phase::Installing(command(Mark::Old))).rollout.machines[0], &Outcome::Gone("x".into()));
    assert_eq!(gone, Some(Phase::Restarting(command(Mark::Old))), "nobody knows");
    assert_eq!(Mark::after(Some(rejected())), Mark::Old);
    assert_eq!(Mark::after(Some(Verdicts { proven: true, ..rejected() })), Mark::New, "proven wins");
    assert_eq!((Mark::after(None), Mark::after(Some(Verdicts::default()))), (Mark::New, Mark::New));
}

#[test]
fn a_lost_machine_with_a_mark_of_old_is_not_said_to_have_fallen_back() {
    let lost = |mark| Phase::Lost { command: Some(command(mark)), reason: "silent".to_owned() };
    let steps = step(&marked(lost(Mark::New)));
    assert!(matches!(&steps[0], Action::Move { to: Phase::FellBack { .. }, .. }), "{steps:?}");
    let mut fleet = marked(lost(Mark::Old));
    let steps = step(&fleet);
    assert!(!steps.iter().any(|step| matches!(step, Action::Move { .. })), "it may still come up: {steps:?}");
    fleet.now = 3600 * SECOND;
    fleet.observe(MachineId(1));
    let steps = step(&fleet);
    let is_told = |reason: &str| reason.contains("runs 1.0.0");
    assert!(matches!(&steps[0], Action::Move { to: Phase::Failed { reason }, .. } if is_told(reason)), "{steps:?}");
}
