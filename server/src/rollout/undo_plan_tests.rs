//! Tests of what an undo is made of, and of what the planner makes of a machine that goes back.

use super::super::super::state::Return;
use super::super::super::undo::{UndoPlan, WayBack};
use super::*;

/// A rollout whose first machine goes back from the target, and what is known of it.
fn back(report: impl FnOnce(&mut Report)) -> (Rollout, HashMap<MachineId, Observation>, Limits) {
    let mut fleet = Fleet::new(&[Nature::Good]);
    fleet.now = 100 * SECOND;
    let id = MachineId(1);
    fleet.rollout.undo_of = Some(RolloutId(7));
    let row = &mut fleet.rollout.machines[0];
    row.back = Some(Return { from: target(), to: old() });
    (row.phase, row.since, row.attempt) = (Phase::Checking, Timestamp(99 * SECOND), 1);
    let verdicts = Verdicts { proven: true, ..Verdicts::default() };
    let installed = [target(), old()].map(|version| InstalledVersion { version, verdicts });
    let mut told = fleet.report(target(), "a", installed.into());
    report(&mut told);
    let (tried_at, contact) = (Timestamp(fleet.now), Contact::Answered);
    fleet.facts.insert(
        id,
        Facts { tried_at, contact, contact_since: tried_at, report: Some(told), instances: Instances::default() },
    );
    // None of these keeps a machine from going back.
    fleet.limits.packages.clear();
    fleet.limits.failed_on.insert("linux-x64".to_owned(), 9);
    fleet.failed_before.insert(id, "it crashed".to_owned());
    (fleet.rollout.clone(), fleet.seen(), fleet.limits)
}

fn next(report: impl FnOnce(&mut Report)) -> Action {
    let (rollout, seen, limits) = back(report);
    plan(&rollout, &seen, &limits, Timestamp(100 * SECOND)).remove(0)
}

fn moved(report: impl FnOnce(&mut Report)) -> Phase {
    match next(report) {
        Action::Move { to, .. } => to,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_machine_that_goes_back_is_commanded_without_an_upload_though_it_has_problems() {
    assert_eq!(next(|_| {}), Action::Command { machine: MachineId(1) });
    let unwell = |report: &mut Report| report.problems.push("the disk is nearly full".to_owned());
    assert_eq!(next(unwell), Action::Command { machine: MachineId(1) });
}

#[test]
fn a_machine_that_runs_something_else_is_not_brought_back() {
    let third = Version::release(1, 5, 0);
    let (version, brought) = (third.to_string(), target().to_string());
    assert_eq!(moved(|report| report.version = third), Phase::Skipped(SkipReason::Changed { version, brought }));
    assert_eq!(moved(|report| report.version = old()), Phase::Skipped(SkipReason::UpToDate));
    assert!(matches!(moved(|report| report.installed.truncate(1)), Phase::Failed { .. }));
    assert!(matches!(moved(|report| report.supervisor_contract = None), Phase::Failed { .. }));
}

#[test]
fn nothing_that_failed_before_keeps_a_machine_from_going_back_and_a_hold_does() {
    let (mut rollout, mut seen, limits) = back(|_| {});
    rollout.machines[0].phase = Phase::Waiting(WaitReason::Turn);
    let now = Timestamp(100 * SECOND);
    assert_eq!(hindrances(&rollout, &seen, &limits, now), HashMap::new());
    let hold = Hold { reason: "the shop is open".into(), by: "bob".into(), since: now, until: None };
    seen.get_mut(&MachineId(1)).unwrap().hold = Some(hold.clone());
    assert_eq!(hindrances(&rollout, &seen, &limits, now), HashMap::from([(MachineId(1), Hindrance::Held(hold))]));
    rollout.machines[0].back = None;
    seen.get_mut(&MachineId(1)).unwrap().hold = None;
    let forward = hindrances(&rollout, &seen, &limits, now);
    assert!(matches!(forward[&MachineId(1)], Hindrance::FailedBefore { .. }));
}

/// What a new process of a machine that was commanded back means.
fn came_up(report: impl FnOnce(&mut Report)) -> Option<Phase> {
    let (mut rollout, seen, limits) = back(|told| {
        told.instance_id = "b".to_owned();
        report(told);
    });
    let command = Command {
        ticket: "t".into(),
        generation: 1,
        expected: target().to_string(),
        instance: "a".into(),
        mark: Mark::New,
    };
    rollout.machines[0].phase = Phase::Restarting(command);
    rollout.machines[0].previous = Some(target());
    plan(&rollout, &seen, &limits, Timestamp(100 * SECOND)).into_iter().find_map(|action| match action {
        Action::Move { to, .. } => Some(to),
        _ => None,
    })
}

#[test]
fn a_machine_that_comes_up_at_its_own_version_proves_itself_and_one_that_falls_forward_fell_back() {
    let proving = came_up(|report| report.version = old());
    assert!(matches!(proving, Some(Phase::Proving { .. })), "{proving:?}");
    let rejected = Verdicts { rejected: Some(Rejection::Crashed), ..Verdicts::default() };
    let fell = came_up(|report| report.installed[1].verdicts = rejected);
    assert!(matches!(&fell, Some(Phase::FellBack { reason }) if reason.contains("launched 2.0.0 again")), "{fell:?}");
    let version = "3.0.0".to_owned();
    let overtaken = came_up(|report| report.version = Version::release(3, 0, 0));
    assert_eq!(overtaken, Some(Phase::Skipped(SkipReason::Overtaken { version })));
}

#[test]
fn a_machine_that_was_restarted_before_it_armed_is_begun_again() {
    let again = came_up(|_| {});
    let is_told = |reason: &str| reason.contains("restarted") && reason.contains("runs 2.0.0 as before");
    assert!(matches!(&again, Some(Phase::Waiting(WaitReason::Interrupted { reason })) if is_told(reason)), "{again:?}");
    let still = came_up(|report| {
        let (description, since) = ("Upgrade".to_owned(), Timestamp(0));
        report.running_work.push(RunningWork { ticket: "t".to_owned(), description, since });
    });
    assert_eq!(still, None, "another process than was thought carries the command out");
}

#[test]
fn a_replayed_end_or_a_late_answer_moves_no_machine_twice() {
    let command =
        Command { ticket: "t".into(), generation: 1, expected: "1.0.0".into(), instance: "a".into(), mark: Mark::New };
    let mut fleet = Fleet::new(&[Nature::Good]);
    let id = MachineId(1);
    for phase in [Phase::Checking, Phase::Uploading] {
        fleet.to(id, phase);
    }
    fleet.call(id, &Outcome::Ready(command.clone()));
    let other = Command { ticket: "u".into(), ..command.clone() };
    fleet.call(id, &Outcome::Ready(other));
    assert_eq!(fleet.rollout.machines[0].phase, Phase::Installing(command.clone()), "there is one command");
    fleet.call(id, &Outcome::Armed);
    let late = [
        Outcome::Armed,
        Outcome::Ready(command.clone()),
        Outcome::Confirmed,
        Outcome::Busy("late".to_owned()),
        Outcome::Refused("late".to_owned()),
        Outcome::Interrupted("late".to_owned()),
        Outcome::Declined(Box::new(Outcome::Interrupted("late".to_owned()))),
    ];
    for outcome in late {
        fleet.call(id, &outcome);
        assert_eq!(fleet.rollout.machines[0].phase, Phase::Restarting(command.clone()), "{outcome:?}");
    }
}

fn undone(phase: Phase, previous: Option<Version>, runs: Option<Version>) -> Option<WayBack> {
    undone_where(Instances::default(), phase, previous, runs)
}

fn undone_where(
    instances: Instances,
    phase: Phase,
    previous: Option<Version>,
    runs: Option<Version>,
) -> Option<WayBack> {
    let mut fleet = Fleet::new(&[Nature::Good]);
    (fleet.rollout.machines[0].phase, fleet.rollout.machines[0].previous) = (phase, previous);
    let report = runs.map(|version| fleet.report(version, "a", Vec::new()));
    let (tried_at, contact) = (Timestamp(0), Contact::Answered);
    let facts =
        HashMap::from([(MachineId(1), Facts { tried_at, contact, contact_since: tried_at, report, instances })]);
    let mut plan = UndoPlan::of(&fleet.rollout, &facts, |_| true);
    assert_eq!(UndoPlan::of(&fleet.rollout, &facts, |_| false), UndoPlan::default());
    plan.machines.pop().map(|(.., way)| way)
}

#[test]
fn exactly_the_machines_that_the_rollout_changed_go_back() {
    let goes = Some(WayBack::Goes(Return { from: target(), to: old() }));
    let command = || Command {
        ticket: "t".into(),
        generation: 1,
        expected: "1.0.0".into(),
        instance: "a".into(),
        mark: Mark::New,
    };
    let reason = || "why".to_owned();
    let (was, is) = (Some(old()), Some(target()));
    let interrupted = || Phase::Waiting(WaitReason::Interrupted { reason: reason() });
    assert_eq!(undone(Phase::Upgraded, was.clone(), is.clone()), goes);
    assert_eq!(undone(Phase::Upgraded, was.clone(), None), goes);
    assert_eq!(undone(Phase::Failed { reason: reason() }, was.clone(), is.clone()), goes, "it was left at the target");
    assert_eq!(undone(interrupted(), was.clone(), is.clone()), goes, "the command had an effect all the same");
    let open = [
        Phase::Installing(command()),
        Phase::Restarting(command()),
        Phase::Proving { command: Some(command()), instance: "b".into(), well_since: None },
        Phase::Lost { command: Some(command()), reason: reason() },
    ];
    for phase in open {
        assert_eq!(undone(phase.clone(), was.clone(), was.clone()), goes, "nobody knows yet: {phase:?}");
    }
    let stays = |reason| Some(WayBack::Stays(reason));
    let changed = SkipReason::Changed { version: "3.0.0".into(), brought: "2.0.0".into() };
    assert_eq!(undone(Phase::Upgraded, was.clone(), Some(Version::release(3, 0, 0))), stays(changed));
    assert_eq!(undone(Phase::Upgraded, None, is.clone()), stays(SkipReason::NoRecord));
    for phase in [Phase::FellBack { reason: reason() }, Phase::Failed { reason: reason() }, interrupted()] {
        assert_eq!(undone(phase, was.clone(), was.clone()), None);
    }
    for phase in [Phase::Waiting(WaitReason::Turn), Phase::Checking, Phase::Uploading, Phase::Cancelled] {
        assert_eq!(undone(phase, None, is.clone()), None);
    }
}

/// Two machines that answer in turn.
fn two_machines() -> Instances {
    let mut instances = Instances::default();
    for at in 1..5 {
        let (before, instance) = if at % 2 == 0 { ("b", "a") } else { ("a", "b") };
        let answer = Answer { instance, hostname: "web", asked_at: Timestamp(at) };
        instances = instances.after(Some((before, "web")), answer, Timestamp(at));
    }
    instances
}

#[test]
fn a_copy_that_runs_what_is_to_be_taken_back_does_not_say_that_the_machine_was_changed() {
    let was = |phase| undone_where(two_machines(), phase, Some(old()), Some(target()));
    let cloned = Some(WayBack::Stays(SkipReason::Cloned));
    assert_eq!(was(Phase::Failed { reason: "why".into() }), cloned);
    assert_eq!(was(Phase::Waiting(WaitReason::Interrupted { reason: "why".into() })), cloned);
    let goes = Some(WayBack::Goes(Return { from: target(), to: old() }));
    assert_eq!(was(Phase::Upgraded), goes, "it goes back as soon as there is one of it");
}
