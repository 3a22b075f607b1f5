//! Tests of the undo with a real database, the real loop and a fleet that is a value.

use super::*;
use crate::db::machines::machine_delete;
use crate::db::version_failures::version_failures;
use crate::rollout::state::SkipReason;
use crate::rollout::undo::{Undo, rollout_undo};

fn other() -> Version {
    Version::release(1, 1, 0)
}

/// Three machines, the second of another version than the others, brought to the target.
async fn upgraded() -> (Fixture, Rollout, CancellationToken) {
    let fixture = Fixture::new(3).await;
    fixture.fleet.machines().insert(MachineId(2), FakeMachine::running(other()));
    let rollout = fixture.roll_out().await;
    let (_, stop) = fixture.start();
    let done = fixture.until(&rollout, |rollout| rollout.state.is_completed()).await;
    assert_eq!(done.state, RolloutState::Completed);
    (fixture, done, stop)
}

async fn undo(fixture: &Fixture, rollout: &Rollout, why: &str) -> Result<Undo, RolloutError> {
    rollout_undo(&fixture.test.app, rollout.space, rollout.id, alice(why)).await
}

async fn made(fixture: &Fixture, rollout: &Rollout) -> Rollout {
    match undo(fixture, rollout, "it leaks").await.unwrap() {
        Undo::Made(undo) => undo,
        Undo::Known(undo) => panic!("{} was there already", undo.id),
    }
}

fn runs(fixture: &Fixture) -> Vec<Version> {
    fixture.fleet.machines().values().map(|machine| machine.status.version.clone()).collect()
}

#[tokio::test]
async fn every_machine_goes_back_to_its_own_version_with_no_bytes_and_is_proven_there() {
    let (fixture, rollout, stop) = upgraded().await;
    fixture.fleet.machines().values_mut().for_each(|machine| machine.packages.clear());
    let undo = made(&fixture, &rollout).await;
    assert_eq!((undo.undo_of, undo.machines.len()), (Some(rollout.id), 3));
    let done = fixture.until(&undo, |rollout| rollout.state.is_completed()).await;
    assert_eq!(done.state, RolloutState::Completed);
    assert_eq!(done.summary(), "3 of 3 brought back");
    assert_eq!(runs(&fixture), [old(), other(), old()]);
    for machine in fixture.fleet.machines().values() {
        let order = machine.orders.last().unwrap();
        assert_eq!((order.package, &order.expected, machine.orders.len()), (None, &target(), 2));
        assert!(machine.packages.is_empty(), "something was sent");
        let last = machine.confirmed.last().unwrap();
        assert_eq!(*last, (machine.status.instance_id.clone(), machine.status.version.clone()));
    }
    assert_eq!(fixture.task_state(&undo).await, TaskState::Success);
    stop.cancel();
}

#[tokio::test]
async fn an_undo_is_made_once_and_both_rollouts_tell_who_wished_it_and_why() {
    let (fixture, rollout, stop) = upgraded().await;
    let first = made(&fixture, &rollout).await;
    let Undo::Known(second) = undo(&fixture, &rollout, "again").await.unwrap() else { panic!("a second one") };
    assert_eq!(first.id, second.id);
    for (id, words) in [(rollout.id, "undid Rollouts-1 on 3 machines"), (first.id, "2 machines to 1.0.0")] {
        let events = event_list(&mut fixture.test.db.read().await.unwrap(), id).await.unwrap();
        let [event] = &events[..] else { panic!("{events:?}") };
        assert!(event.who == "alice" && event.line.contains(words) && event.line.ends_with(": it leaks"), "{event:?}");
    }
    let retried = rollout_hand(&fixture.test.app, rollout.space, rollout.id, alice(""), &Hand::Retry(Vec::new())).await;
    assert!(matches!(retried, Err(RolloutError::Over { .. })), "what is undone is closed for good");
    stop.cancel();
}

#[tokio::test]
async fn an_undo_of_an_undo_goes_forward_again_and_then_the_first_can_be_undone_anew() {
    let (fixture, rollout, stop) = upgraded().await;
    let back = made(&fixture, &rollout).await;
    fixture.until(&back, |rollout| rollout.state.is_completed()).await;
    let forward = made(&fixture, &back).await;
    let done = fixture.until(&forward, |rollout| rollout.state.is_completed()).await;
    assert_eq!(done.state, RolloutState::Completed, "{:#?}", done.machines);
    assert_eq!(runs(&fixture), [target(), target(), target()]);
    let again = made(&fixture, &rollout).await;
    let done = fixture.until(&again, |rollout| rollout.state.is_completed()).await;
    assert_eq!((done.state, runs(&fixture)), (RolloutState::Completed, vec![old(), other(), old()]));
    stop.cancel();
}

#[tokio::test]
async fn a_machine_that_runs_something_else_by_now_or_is_gone_is_left_out_with_the_reason() {
    let (fixture, rollout, stop) = upgraded().await;
    let newer = Version::release(3, 0, 0);
    fixture.fleet.machines().insert(MachineId(1), FakeMachine::running(newer.clone()));
    let machine = machine_list(&mut fixture.test.db.read().await.unwrap(), rollout.space).await.unwrap().remove(0);
    crate::health::machine_check(&fixture.test.app, &machine).await.unwrap();
    let mut tx = fixture.test.db.write().await.unwrap();
    machine_delete(&mut tx, rollout.space, MachineId(2)).await.unwrap();
    tx.commit().await.unwrap();
    let undo = made(&fixture, &rollout).await;
    let done = fixture.until(&undo, |rollout| rollout.state.is_completed()).await;
    let phases: Vec<_> = done.machines.iter().map(|row| (row.machine.0, row.phase.kind())).collect();
    assert_eq!(phases, [(3, PhaseKind::Upgraded), (1, PhaseKind::Skipped)]);
    assert!(done.machines[1].phase.reason().contains("it runs 3.0.0 by now"), "{}", done.machines[1].phase.reason());
    assert_eq!(fixture.fleet.machines()[&MachineId(1)].orders.len(), 0);
    stop.cancel();
}

#[tokio::test]
async fn a_version_that_failed_before_or_is_held_for_the_platform_may_be_gone_back_to() {
    let (fixture, rollout, stop) = upgraded().await;
    let mut tx = fixture.test.db.write().await.unwrap();
    for machine in [1, 2, 3].map(MachineId) {
        for version in [old(), other()] {
            version_failure_insert(&mut tx, rollout.id, machine, &version, "linux-x64", "crashed", fixture.test.now())
                .await
                .unwrap();
        }
    }
    tx.commit().await.unwrap();
    let undo = made(&fixture, &rollout).await;
    let done = fixture.until(&undo, |rollout| rollout.state.is_completed()).await;
    assert_eq!(done.state, RolloutState::Completed, "{}", done.summary());
    stop.cancel();
}

#[tokio::test]
async fn an_undo_that_falls_forward_again_is_a_failure_that_stops_it_and_is_not_held_against_the_version() {
    let (fixture, rollout, stop) = upgraded().await;
    fixture.fleet.machines().values_mut().for_each(|machine| machine.nature = Nature::Crashes);
    let undo = made(&fixture, &rollout).await;
    let done = fixture.until(&undo, |rollout| rollout.state == RolloutState::Paused).await;
    assert_eq!((done.count(|kind| kind == PhaseKind::FellBack), done.count(|kind| kind == PhaseKind::Waiting)), (1, 2));
    let reason = done.machines[0].phase.reason();
    assert!(reason.contains("rejected 1.0.0 and launched 2.0.0 again"), "{reason}");
    assert_eq!(runs(&fixture), [target(), target(), target()]);
    let mut conn = fixture.test.db.read().await.unwrap();
    assert!(version_failures(&mut conn, &old()).await.unwrap().is_empty());
    stop.cancel();
}

#[tokio::test]
async fn a_rollout_that_goes_on_is_cancelled_by_its_undo_and_what_was_under_way_is_brought_back_too() {
    let fixture = Fixture::new(4).await;
    let rollout = fixture.roll_out().await;
    let (task, stop) = fixture.start();
    fixture.until(&rollout, |rollout| rollout.count(|kind| kind == PhaseKind::Proving) > 0).await;
    stop.cancel();
    task.await.unwrap();
    // One is proving, nobody is upgraded, and three wait.
    let undo = made(&fixture, &rollout).await;
    assert_eq!(undo.machines.len(), 1);
    let (_, stop) = fixture.start();
    let done = fixture.until(&undo, |rollout| rollout.state.is_completed()).await;
    assert_eq!((done.state, runs(&fixture)), (RolloutState::Completed, vec![old(); 4]));
    let rollout = fixture.rollout(&rollout).await;
    assert_eq!(rollout.state, RolloutState::Cancelled);
    assert_eq!(rollout.count(|kind| kind == PhaseKind::Cancelled), 3);
    stop.cancel();
}

#[tokio::test]
async fn a_version_that_is_gone_from_the_disk_is_told_and_nothing_is_changed() {
    let (fixture, rollout, stop) = upgraded().await;
    let gone = |machine: &mut FakeMachine| machine.status.installed.retain(|installed| installed.version == target());
    fixture.fleet.machines().values_mut().for_each(gone);
    let undo = made(&fixture, &rollout).await;
    let done = fixture.until(&undo, |rollout| rollout.state == RolloutState::Paused).await;
    let reason = done.machines[0].phase.reason();
    assert!(reason.contains("1.0.0 is not on its disk any more"), "{reason}");
    assert!(fixture.fleet.machines().values().all(|machine| machine.orders.len() == 1));
    stop.cancel();
}

#[tokio::test]
async fn a_rollout_that_changed_nothing_has_nothing_to_undo() {
    let fixture = Fixture::new(2).await;
    let rollout = fixture.roll_out().await;
    assert!(matches!(undo(&fixture, &rollout, "").await, Err(RolloutError::NothingToUndo { .. })));
    let rollout = fixture.rollout(&rollout).await;
    assert_eq!(rollout.cancel_requested_at, None, "nothing was written");
}

#[tokio::test]
async fn the_portal_may_be_killed_at_any_moment_of_an_undo_and_no_machine_is_commanded_twice() {
    let lives = [10, 30, 80].map(Duration::from_millis);
    futures_util::future::join_all(lives.map(kill_again_and_again_in_an_undo)).await;
}

async fn kill_again_and_again_in_an_undo(mut lives_for: Duration) {
    let (fixture, rollout, stop) = upgraded().await;
    stop.cancel();
    let undo = made(&fixture, &rollout).await;
    let begun = Instant::now();
    while !fixture.rollout(&undo).await.state.is_completed() {
        assert!(begun.elapsed() < LIMIT * 2, "{}", fixture.rollout(&undo).await.summary());
        let (portal, stop) = fixture.start();
        tokio::time::sleep(lives_for).await;
        portal.abort();
        let _ = portal.await;
        stop.cancel();
        lives_for += lives_for / 20;
    }
    assert_eq!(runs(&fixture), [old(), other(), old()]);
    assert!(fixture.fleet.machines().values().all(|machine| machine.orders.len() == 2));
}

#[tokio::test]
async fn a_machine_that_another_portal_brought_to_the_target_is_not_taken_for_one_of_this_rollout() {
    let fixture = Fixture::new(1).await;
    fixture.fleet.machines().values_mut().for_each(|machine| machine.overtaken_by = Some(target()));
    let rollout = fixture.roll_out().await;
    let (_, stop) = fixture.start();
    let done = fixture.until(&rollout, |rollout| rollout.state.is_completed()).await;
    assert_eq!(done.machines[0].phase, Phase::Skipped(SkipReason::UpToDate));
    assert_eq!(done.machines[0].previous, None, "it was never given the command that was written down");
    assert!(fixture.fleet.machines()[&MachineId(1)].orders.is_empty());
    assert!(matches!(undo(&fixture, &rollout, "").await, Err(RolloutError::NothingToUndo { .. })));
    stop.cancel();
}

#[tokio::test]
async fn a_machine_that_another_portal_brought_further_is_left_there_and_counts_as_nothing_else() {
    let fixture = Fixture::new(1).await;
    let further = Version::release(3, 0, 0);
    fixture.fleet.machines().values_mut().for_each(|machine| machine.overtaken_by = Some(further.clone()));
    let rollout = fixture.roll_out().await;
    let (_, stop) = fixture.start();
    let done = fixture.until(&rollout, |rollout| rollout.state.is_completed()).await;
    assert_eq!(done.state, RolloutState::Completed);
    assert_eq!(done.machines[0].phase, Phase::Skipped(SkipReason::Newer { version: further.to_string() }));
    assert_eq!(done.machines[0].previous, None);
    stop.cancel();
}
