//! Tests of the loop with a real database and a fleet that is a value: what is written down, and what survives a kill.

use std::time::Instant;

use contract::{Sha256, Thumbprint, Version};

use super::*;
use crate::db::environments::environment_insert;
use crate::db::facts::facts_list;
use crate::db::machines::{machine_insert, machine_list};
use crate::db::packages::package_insert;
use crate::db::rollout_events::event_list;
use crate::db::rollouts::{rollout_durations, rollout_get};
use crate::ids::SpaceId;
use crate::model::{Address, NewEnvironment, NewMachine, NewPackage};
use crate::rollout::create::{RolloutError, RolloutRequest, Selection, rollout_create};
use crate::rollout::hands::{Hand, Who, machine_hold, machine_release, rollout_cancel, rollout_hand};
use crate::rollout::look::why;
use crate::rollout::state::{Command, Deadlines, Mark, RolloutMachine};
use crate::rollout::strategy::Amount;
use crate::tentacle::fake::{FakeMachine, FakeTentacles, Nature};
use crate::testing::{SetClock, TestApp};

#[path = "stopped_tests.rs"]
mod stopped;
#[path = "undo_tests.rs"]
mod undo;

/// Longer than any of these tests takes on a slow machine.
const LIMIT: Duration = Duration::from_secs(30);

fn old() -> Version {
    Version::release(1, 0, 0)
}

fn target() -> Version {
    Version::release(2, 0, 0)
}

struct Fixture {
    test: TestApp,
    clock: Arc<SetClock>,
    fleet: FakeTentacles,
}

impl Fixture {
    /// A portal with `count` machines at the old version, a package of the target, and no loop running.
    async fn new(count: i64) -> Self {
        let fleet = FakeTentacles::default();
        let clock = Arc::new(SetClock::default());
        let test = crate::app::App::for_tests().await.with(|inner| {
            inner.tentacles = Arc::new(fleet.clone());
            inner.clock = clock.clone();
            inner.health_interval = Duration::from_millis(100);
            let ms = Duration::from_millis;
            inner.rollout = Deadlines { restarting: ms(600), proving: ms(5000), proving_time: ms(50), ..inner.rollout };
        });
        let sha256 = Sha256([9; 32]);
        std::fs::write(test.store.path(&sha256), b"package").unwrap();
        let mut tx = test.db.write().await.unwrap();
        let package = NewPackage {
            space: SpaceId::DEFAULT,
            package_id: "Octopus.Tentacle.linux-x64".parse().unwrap(),
            version: target(),
            sha256,
            size: 7,
            title: String::new(),
            summary: String::new(),
            description: String::new(),
            release_notes: String::new(),
        };
        package_insert(&mut tx, &package, test.now()).await.unwrap();
        let production = NewEnvironment {
            name: "Production".parse().unwrap(),
            description: String::new(),
            sort_order: None,
            is_disabled: false,
        };
        let production = environment_insert(&mut tx, SpaceId::DEFAULT, &production).await.unwrap();
        for n in 1..=count {
            let machine = NewMachine {
                name: format!("web-{n}"),
                address: Address::new("127.0.0.1", 10933).unwrap(),
                thumbprint: Thumbprint([7; 32]),
                is_disabled: false,
                environments: vec![production.id],
                roles: Vec::new(),
            };
            let machine = machine_insert(&mut tx, SpaceId::DEFAULT, &machine, test.now()).await.unwrap();
            fleet.machines().insert(machine.id, FakeMachine::running(old()));
        }
        tx.commit().await.unwrap();
        Self { test, clock, fleet }
    }

    async fn roll_out(&self) -> Rollout {
        let request = RolloutRequest {
            target: Some(target()),
            max_in_flight: Some(Amount::Number(3)),
            ..RolloutRequest::of(Selection::All)
        };
        rollout_create(&self.test.app, SpaceId::DEFAULT, "somebody", request).await.unwrap()
    }

    fn start(&self) -> (tokio::task::JoinHandle<()>, CancellationToken) {
        let stop = CancellationToken::new();
        (tokio::spawn(run(self.test.app.clone(), stop.clone())), stop)
    }

    async fn rollout(&self, of: &Rollout) -> Rollout {
        rollout_get(&mut self.test.db.read().await.unwrap(), of.space, of.id).await.unwrap().unwrap()
    }

    async fn until(&self, of: &Rollout, wanted: impl Fn(&Rollout) -> bool) -> Rollout {
        let begun = Instant::now();
        loop {
            let rollout = self.rollout(of).await;
            if wanted(&rollout) {
                return rollout;
            }
            assert!(begun.elapsed() < LIMIT, "{:?}: {}", rollout.state, rollout.summary());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn task_state(&self, of: &Rollout) -> TaskState {
        let mut conn = self.test.db.read().await.unwrap();
        task_get(&mut conn, of.space, of.task).await.unwrap().unwrap().state
    }
}

#[tokio::test]
async fn every_machine_is_upgraded_commanded_once_and_confirmed() {
    let fixture = Fixture::new(5).await;
    let rollout = fixture.roll_out().await;
    let (_, stop) = fixture.start();
    let done = fixture.until(&rollout, |rollout| rollout.state.is_completed()).await;
    assert_eq!(done.count(|kind| kind == PhaseKind::Upgraded), 5, "{}", done.summary());
    assert_eq!(done.state, RolloutState::Completed);
    assert_eq!(fixture.task_state(&rollout).await, TaskState::Success);
    for (id, machine) in fixture.fleet.machines().iter() {
        assert_eq!(machine.orders.len(), 1, "{id}");
        assert_eq!(machine.confirmed, [(machine.status.instance_id.clone(), target())], "{id}");
        assert_eq!(machine.orders[0].expected, old());
    }
    assert!(done.machines.iter().all(|machine| machine.from == Some(old())));
    let measured = rollout_durations(&mut fixture.test.db.read().await.unwrap(), SpaceId::DEFAULT, 3).await.unwrap();
    assert_eq!(measured.len(), 3, "the last ones");
    let proving_time = fixture.test.rollout.proving_time;
    assert!(measured.iter().all(|(_, installing)| *installing >= proving_time), "{measured:?}");
    stop.cancel();
}

#[tokio::test]
async fn a_version_that_crashes_stops_at_one_machine_and_the_task_fails_with_the_reason() {
    let fixture = Fixture::new(4).await;
    fixture.fleet.machines().values_mut().for_each(|machine| machine.nature = Nature::Crashes);
    let rollout = fixture.roll_out().await;
    let (_, stop) = fixture.start();
    let done = fixture.until(&rollout, |rollout| rollout.state == RolloutState::Paused).await;
    assert_eq!(done.machines[0].phase.kind(), PhaseKind::FellBack);
    assert!(done.machines[0].phase.reason().contains("no such table: widgets"), "{}", done.machines[0].phase.reason());
    assert_eq!(done.count(|kind| kind == PhaseKind::Waiting), 3);
    let commanded = fixture.fleet.machines().values().filter(|machine| !machine.orders.is_empty()).count();
    assert_eq!(commanded, 1);
    assert_eq!(fixture.task_state(&rollout).await, TaskState::Failed);

    rollout_cancel(&fixture.test.app, SpaceId::DEFAULT, rollout.id, Who { name: "somebody", why: "" }).await.unwrap();
    let cancelled = fixture.until(&rollout, |rollout| rollout.state == RolloutState::Cancelled).await;
    assert_eq!(cancelled.count(|kind| kind == PhaseKind::Cancelled), 3, "a paused rollout can be called off");
    stop.cancel();
}

#[tokio::test]
async fn a_machine_that_vanishes_after_the_command_is_lost() {
    let fixture = Fixture::new(2).await;
    fixture.fleet.machines().values_mut().for_each(|machine| machine.nature = Nature::Vanishes);
    let rollout = fixture.roll_out().await;
    let (_, stop) = fixture.start();
    let done = fixture.until(&rollout, |rollout| rollout.state == RolloutState::Paused).await;
    assert_eq!(done.machines[0].phase.kind(), PhaseKind::Lost);
    assert!(done.machines[0].phase.reason().contains("nobody answers"), "{}", done.machines[0].phase.reason());
    stop.cancel();
}

#[tokio::test]
async fn a_machine_that_is_offline_is_passed_over_and_upgraded_when_it_reappears() {
    let fixture = Fixture::new(2).await;
    let first = *fixture.fleet.machines().keys().next().unwrap();
    fixture.fleet.machines().get_mut(&first).unwrap().is_online = false;
    let rollout = fixture.roll_out().await;
    let (_, stop) = fixture.start();
    let done = fixture.until(&rollout, |rollout| rollout.state.is_completed()).await;
    assert_eq!(done.state, RolloutState::Completed, "offline before is no failure");
    fixture.fleet.machines().get_mut(&first).unwrap().is_online = true;
    let health = tokio::spawn(crate::health::run(fixture.test.app.clone(), stop.clone()));
    fixture.until(&rollout, |rollout| rollout.count(|kind| kind == PhaseKind::Upgraded) == 2).await;
    stop.cancel();
    health.await.unwrap();
}

#[tokio::test]
async fn the_portal_may_be_killed_at_any_moment_and_no_machine_is_commanded_twice() {
    let lives = [10, 20, 30, 50, 80, 130, 210].map(Duration::from_millis);
    futures_util::future::join_all(lives.map(kill_again_and_again)).await;
}

/// Lets the portal live for so long, drops it at whatever line it stands, with all its calls, and starts it anew. Each
/// life is a little longer than the last: one that is too short for a single step on a slow machine would never end.
async fn kill_again_and_again(mut lives_for: Duration) {
    let fixture = Fixture::new(3).await;
    let rollout = fixture.roll_out().await;
    let begun = Instant::now();
    while !fixture.rollout(&rollout).await.state.is_completed() {
        let now = fixture.rollout(&rollout).await;
        let phases: Vec<_> = now.machines.iter().map(|machine| (&machine.phase, machine.wave)).collect();
        assert!(begun.elapsed() < LIMIT * 2, "lives for {lives_for:?}: {:?} {phases:?}", now.state);
        let (portal, stop) = fixture.start();
        tokio::time::sleep(lives_for).await;
        portal.abort();
        let _ = portal.await;
        stop.cancel();
        lives_for += lives_for / 20;
    }
    let done = fixture.rollout(&rollout).await;
    assert_eq!(done.count(|kind| kind == PhaseKind::Upgraded), 3, "{}", done.summary());
    for machine in fixture.fleet.machines().values() {
        assert_eq!(machine.orders.len(), 1, "lives for {lives_for:?}");
    }
}

#[tokio::test]
async fn a_newer_rollout_takes_over_what_still_waits() {
    let fixture = Fixture::new(3).await;
    let first = fixture.roll_out().await;
    let second = fixture.roll_out().await;
    let (_, stop) = fixture.start();
    let done = fixture.until(&second, |rollout| rollout.state.is_completed()).await;
    assert_eq!(done.count(|kind| kind == PhaseKind::Upgraded), 3, "{}", done.summary());
    let first = fixture.until(&first, |rollout| rollout.state.is_completed()).await;
    assert_eq!(first.count(|kind| kind == PhaseKind::Skipped), 3, "{}", first.summary());
    assert!(first.machines[0].phase.reason().contains(&second.id.to_string()));
    stop.cancel();
}

#[tokio::test]
async fn a_cancelled_rollout_starts_nothing() {
    let fixture = Fixture::new(3).await;
    let rollout = fixture.roll_out().await;
    rollout_cancel(&fixture.test.app, SpaceId::DEFAULT, rollout.id, Who { name: "somebody", why: "" }).await.unwrap();
    let (_, stop) = fixture.start();
    let done = fixture.until(&rollout, |rollout| rollout.state.is_completed()).await;
    assert_eq!(done.state, RolloutState::Cancelled);
    assert_eq!(done.count(|kind| kind == PhaseKind::Cancelled), 3);
    assert!(fixture.fleet.machines().values().all(|machine| machine.orders.is_empty()));
    assert_eq!(fixture.task_state(&rollout).await, TaskState::Canceled);
    let again =
        rollout_cancel(&fixture.test.app, SpaceId::DEFAULT, rollout.id, Who { name: "somebody", why: "" }).await;
    assert_eq!(again.unwrap().revision, done.revision, "once more changes nothing");
    stop.cancel();
}

#[tokio::test]
async fn a_paused_rollout_is_cancelled_though_its_task_has_ended() {
    let fixture = Fixture::new(3).await;
    fixture.fleet.machines().values_mut().for_each(|machine| machine.nature = Nature::Crashes);
    let rollout = fixture.roll_out().await;
    let (_, stop) = fixture.start();
    fixture.until(&rollout, |rollout| rollout.state == RolloutState::Paused).await;
    rollout_cancel(&fixture.test.app, SpaceId::DEFAULT, rollout.id, Who { name: "somebody", why: "" }).await.unwrap();
    let done = fixture.until(&rollout, |rollout| rollout.state == RolloutState::Cancelled).await;
    assert_eq!(done.count(|kind| kind == PhaseKind::Cancelled), 2);
    assert_eq!(fixture.task_state(&rollout).await, TaskState::Failed, "a task ends once");
    stop.cancel();
}

#[tokio::test]
async fn the_wish_for_a_machine_that_is_still_offline_can_be_taken_back() {
    let fixture = Fixture::new(2).await;
    let first = *fixture.fleet.machines().keys().next().unwrap();
    fixture.fleet.machines().get_mut(&first).unwrap().is_online = false;
    let rollout = fixture.roll_out().await;
    let (_, stop) = fixture.start();
    fixture.until(&rollout, |rollout| rollout.state == RolloutState::Completed).await;
    rollout_cancel(&fixture.test.app, SpaceId::DEFAULT, rollout.id, Who { name: "somebody", why: "" }).await.unwrap();
    let done = fixture.until(&rollout, |rollout| rollout.count(|kind| kind == PhaseKind::Cancelled) == 1).await;
    assert_eq!(done.state, RolloutState::Completed);
    let again =
        rollout_cancel(&fixture.test.app, SpaceId::DEFAULT, rollout.id, Who { name: "somebody", why: "" }).await;
    assert_eq!(again.unwrap().revision, done.revision, "once more changes nothing");
    stop.cancel();
}

#[tokio::test]
async fn a_portal_restored_from_an_old_backup_pauses_and_lets_a_person_go_on() {
    let fixture = Fixture::new(2).await;
    fixture.fleet.machines().values_mut().for_each(|machine| machine.status.generation = 41);
    let rollout = fixture.roll_out().await;
    let (_, stop) = fixture.start();
    let paused = fixture.until(&rollout, |rollout| rollout.state == RolloutState::Paused).await;
    assert!(paused.state_reason.contains("old backup"), "{}", paused.state_reason);
    assert!(fixture.fleet.machines().values().all(|machine| machine.orders.is_empty()), "nothing was commanded");
    let request = RolloutRequest { target: Some(target()), ..RolloutRequest::of(Selection::All) };
    let refused = rollout_create(&fixture.test.app, SpaceId::DEFAULT, "somebody", request).await.unwrap_err();
    assert!(refused.to_string().contains("must look first"), "{refused}");
    crate::restored::confirm::confirm(&fixture.test.app, "somebody").await.unwrap();
    let next = fixture.roll_out().await;
    let done = fixture.until(&next, |rollout| rollout.state.is_completed()).await;
    assert_eq!(done.count(|kind| kind == PhaseKind::Upgraded), 2, "{}", done.summary());
    for machine in fixture.fleet.machines().values() {
        assert_eq!((&machine.status.version, machine.orders[0].generation > 41), (&target(), true));
    }
    stop.cancel();
}

#[tokio::test]
async fn what_cannot_be_rolled_out_is_refused_with_a_sentence_and_nothing_is_written() {
    let fixture = Fixture::new(1).await;
    let app = &fixture.test.app;
    let request =
        |selection, target, max_in_flight| RolloutRequest { target, max_in_flight, ..RolloutRequest::of(selection) };
    let missing = Selection::Machines(vec![MachineId(99)]);
    for (request, words) in [
        (request(Selection::All, None, None), "carries no Tentacle package"),
        (
            request(Selection::All, Some(Version::release(9, 0, 0)), None),
            "upload Octopus.Tentacle.<runtime>.9.0.0.nupkg",
        ),
        (request(missing, Some(target()), None), "there is no machine Machines-99"),
        (request(Selection::All, Some(target()), Some(Amount::Number(0))), "must be between 1 and"),
    ] {
        let error = rollout_create(app, SpaceId::DEFAULT, "somebody", request).await.unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    }
    let mut conn = app.db.read().await.unwrap();
    assert_eq!(crate::db::rollouts::rollout_list(&mut conn, SpaceId::DEFAULT, 0, 1).await.unwrap(), []);
}

#[tokio::test]
async fn a_plan_from_before_a_cancel_is_not_carried_out() {
    let fixture = Fixture::new(1).await;
    let planned = fixture.roll_out().await;
    let machine = planned.machines[0].machine;
    let app = &fixture.test.app;
    rollout_cancel(app, SpaceId::DEFAULT, planned.id, Who { name: "somebody", why: "" }).await.unwrap();
    let calls = Arc::new(Calls::new(app.clone()));
    let actions = vec![Action::Move { machine, to: Phase::Checking }];
    apply(app, &calls, &planned, &HashMap::new(), actions).await.unwrap();
    assert_eq!(fixture.rollout(&planned).await.machines[0].phase.kind(), PhaseKind::Waiting);
}

#[tokio::test]
async fn a_machine_whose_package_arrives_after_a_cancel_is_not_commanded() {
    let fixture = Fixture::new(1).await;
    let rollout = fixture.roll_out().await;
    let app = &fixture.test.app;
    let mut conn = app.db.read().await.unwrap();
    let machine = machine_list(&mut conn, SpaceId::DEFAULT).await.unwrap().remove(0);
    drop(conn);
    crate::health::machine_check(app, &machine).await.unwrap();
    let mut tx = app.db.write().await.unwrap();
    let uploading = RolloutMachine { phase: Phase::Uploading, ..rollout.machines[0].clone() };
    assert!(rollout_machine_update(&mut tx, rollout.id, &uploading).await.unwrap());
    tx.commit().await.unwrap();
    let planned = fixture.rollout(&rollout).await;
    rollout_cancel(app, SpaceId::DEFAULT, rollout.id, Who { name: "somebody", why: "" }).await.unwrap();
    let calls = Arc::new(Calls::new(app.clone()));
    calls.start(&planned, machine.id, Job::Upload);
    let begun = Instant::now();
    while calls.is_under_way(machine.id) {
        assert!(begun.elapsed() < LIMIT);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(fixture.fleet.machines()[&machine.id].packages.len(), 1, "the package had arrived");
    let (_, stop) = fixture.start();
    let done = fixture.until(&rollout, |rollout| rollout.state == RolloutState::Cancelled).await;
    assert_eq!(done.count(|kind| kind == PhaseKind::Cancelled), 1);
    assert!(fixture.fleet.machines()[&machine.id].orders.is_empty());
    stop.cancel();
}

/// A year in microseconds.
const YEAR: i64 = 365 * 24 * 3600 * 1_000_000;

#[tokio::test]
async fn the_clock_may_be_set_by_a_year_at_any_moment_and_no_machine_is_judged_by_that() {
    let fixture = Fixture::new(6).await;
    let rollout = fixture.roll_out().await;
    let (_, stop) = fixture.start();
    let health = tokio::spawn(crate::health::run(fixture.test.app.clone(), stop.clone()));
    let mut steps = [YEAR, -2 * YEAR, YEAR / 2].into_iter().cycle();
    for upgraded in 1..6 {
        fixture.until(&rollout, |rollout| rollout.count(|kind| kind == PhaseKind::Upgraded) >= upgraded).await;
        fixture.clock.0.fetch_add(steps.next().unwrap(), std::sync::atomic::Ordering::SeqCst);
    }
    let done = fixture.until(&rollout, |rollout| rollout.state.is_completed()).await;
    assert_eq!(done.count(|kind| kind == PhaseKind::Upgraded), 6, "{}", done.summary());
    stop.cancel();
    health.await.unwrap();
}

#[tokio::test]
async fn a_portal_that_starts_with_its_clock_set_back_goes_on_at_once() {
    let fixture = Fixture::new(2).await;
    let rollout = fixture.roll_out().await;
    let (portal, _) = fixture.start();
    fixture.until(&rollout, |rollout| rollout.count(|kind| kind == PhaseKind::Proving) > 0).await;
    portal.abort();
    let _ = portal.await;
    fixture.clock.0.fetch_sub(YEAR, std::sync::atomic::Ordering::SeqCst);
    let (_, stop) = fixture.start();
    let done = fixture.until(&rollout, |rollout| rollout.state.is_completed()).await;
    assert_eq!(done.count(|kind| kind == PhaseKind::Upgraded), 2, "{}", done.summary());
    stop.cancel();
}

#[tokio::test]
async fn a_lost_machine_is_looked_at_after_its_rollout_is_over() {
    let fixture = Fixture::new(1).await;
    let rollout = fixture.roll_out().await;
    let mut tx = fixture.test.db.write().await.unwrap();
    let command = Command {
        ticket: "t".into(),
        generation: 1,
        expected: "1.0.0".into(),
        instance: "gone".into(),
        mark: Mark::New,
    };
    let since = Timestamp(fixture.test.now().0 - YEAR);
    let phase = Phase::Lost { command: Some(command), reason: "silent".into() };
    let lost = RolloutMachine { phase, since, ..rollout.machines[0].clone() };
    rollout_machine_update(&mut tx, rollout.id, &lost).await.unwrap();
    rollout_set_state(&mut tx, rollout.id, RolloutState::CompletedWithFailures, "", since).await.unwrap();
    tx.commit().await.unwrap();
    let (_, stop) = fixture.start();
    let health = tokio::spawn(crate::health::run(fixture.test.app.clone(), stop.clone()));
    let done = fixture.until(&rollout, |rollout| rollout.count(|kind| kind == PhaseKind::Failed) == 1).await;
    assert!(done.machines[0].phase.reason().contains("runs 1.0.0"), "{}", done.machines[0].phase.reason());
    stop.cancel();
    health.await.unwrap();
}

#[tokio::test]
async fn health_checks_go_on_when_the_clock_was_set_back() {
    let fixture = Fixture::new(1).await;
    let app = &fixture.test.app;
    let mut conn = app.db.read().await.unwrap();
    let machine = machine_list(&mut conn, SpaceId::DEFAULT).await.unwrap().remove(0);
    drop(conn);
    crate::health::machine_check(app, &machine).await.unwrap();
    fixture.clock.0.fetch_sub(YEAR, std::sync::atomic::Ordering::SeqCst);
    let stop = CancellationToken::new();
    let health = tokio::spawn(crate::health::run(app.clone(), stop.clone()));
    let begun = Instant::now();
    while facts_list(&mut app.db.read().await.unwrap(), SpaceId::DEFAULT).await.unwrap()[&machine.id].tried_at
        > app.now()
    {
        assert!(begun.elapsed() < LIMIT);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stop.cancel();
    health.await.unwrap();
}

fn alice(why: &str) -> Who<'_> {
    Who { name: "alice", why }
}

#[tokio::test]
async fn a_rollout_is_paused_and_resumed_by_hand_and_both_are_written_down_once() {
    let fixture = Fixture::new(3).await;
    let rollout = fixture.roll_out().await;
    let app = &fixture.test.app;
    for _ in 0..2 {
        let paused = rollout_hand(app, SpaceId::DEFAULT, rollout.id, alice("lunch"), &Hand::Pause).await.unwrap();
        assert_eq!((paused.state, paused.state_reason.as_str()), (RolloutState::Paused, "alice paused it: lunch"));
    }
    let calls = Arc::new(Calls::new(app.clone()));
    for _ in 0..2 {
        turn(app, &calls).await.unwrap();
        assert_eq!(fixture.rollout(&rollout).await.count(|kind| kind == PhaseKind::Waiting), 3, "nothing begins");
    }
    let (_, stop) = fixture.start();
    for _ in 0..2 {
        rollout_hand(app, SpaceId::DEFAULT, rollout.id, alice(""), &Hand::Resume).await.unwrap();
    }
    let done = fixture.until(&rollout, |rollout| rollout.state.is_completed()).await;
    assert_eq!(done.count(|kind| kind == PhaseKind::Upgraded), 3);
    let events = event_list(&mut app.db.read().await.unwrap(), rollout.id).await.unwrap();
    let said: Vec<&str> = events.iter().map(|event| event.line.as_str()).collect();
    assert_eq!(said, ["alice resumed Rollouts-1", "alice paused Rollouts-1: lunch"]);
    stop.cancel();
}

#[tokio::test]
async fn a_version_that_failed_on_a_machine_is_tried_there_again_only_when_a_person_says_so() {
    let fixture = Fixture::new(2).await;
    fixture.fleet.machines().values_mut().next().unwrap().nature = Nature::Crashes;
    let rollout = fixture.roll_out().await;
    let app = &fixture.test.app;
    let (_, stop) = fixture.start();
    let stopped = fixture.until(&rollout, |rollout| rollout.state == RolloutState::Paused).await;
    let failed = stopped.machines[0].machine;
    fixture.fleet.machines().get_mut(&failed).unwrap().nature = Nature::Good;
    rollout_hand(app, SpaceId::DEFAULT, rollout.id, alice(""), &Hand::Cancel).await.unwrap();
    fixture.until(&rollout, |rollout| rollout.state == RolloutState::Cancelled).await;

    let second = fixture.roll_out().await;
    let done = fixture.until(&second, |rollout| rollout.state.is_completed()).await;
    assert_eq!((done.state, done.count(|kind| kind == PhaseKind::Upgraded)), (RolloutState::Completed, 1));
    let why = why(app, &mut app.db.read().await.unwrap(), &done).await.unwrap();
    assert!(why[&failed].contains("failed on it before"), "{}", why[&failed]);

    rollout_hand(app, SpaceId::DEFAULT, second.id, alice("fixed its disk"), &Hand::Retry(vec![failed])).await.unwrap();
    fixture.until(&second, |rollout| rollout.count(|kind| kind == PhaseKind::Upgraded) == 2).await;
    stop.cancel();
}

#[tokio::test]
async fn a_failed_machine_is_retried_in_its_own_rollout_which_goes_on() {
    let fixture = Fixture::new(2).await;
    fixture.fleet.machines().values_mut().for_each(|machine| machine.nature = Nature::Crashes);
    let rollout = fixture.roll_out().await;
    let (_, stop) = fixture.start();
    fixture.until(&rollout, |rollout| rollout.state == RolloutState::Paused).await;
    fixture.fleet.machines().values_mut().for_each(|machine| machine.nature = Nature::Good);
    let app = &fixture.test.app;
    rollout_hand(app, SpaceId::DEFAULT, rollout.id, alice(""), &Hand::Retry(Vec::new())).await.unwrap();
    let done = fixture.until(&rollout, |rollout| rollout.state.is_completed()).await;
    assert_eq!((done.state, done.count(|kind| kind == PhaseKind::Upgraded)), (RolloutState::Completed, 2));
    stop.cancel();
}

#[tokio::test]
async fn a_machine_is_left_out_by_hand_while_it_waits_and_not_later() {
    let fixture = Fixture::new(2).await;
    let rollout = fixture.roll_out().await;
    let app = &fixture.test.app;
    let second = rollout.machines[1].machine;
    for _ in 0..2 {
        rollout_hand(app, SpaceId::DEFAULT, rollout.id, alice("its owner asked"), &Hand::Skip(second)).await.unwrap();
    }
    let mut tx = app.db.write().await.unwrap();
    let checking = RolloutMachine { phase: Phase::Checking, ..rollout.machines[0].clone() };
    rollout_machine_update(&mut tx, rollout.id, &checking).await.unwrap();
    tx.commit().await.unwrap();
    let first = Hand::Skip(rollout.machines[0].machine);
    let refused = rollout_hand(app, SpaceId::DEFAULT, rollout.id, alice(""), &first).await.unwrap_err();
    assert!(refused.to_string().contains("cannot be left out any more: it is Checking"), "{refused}");
    let (_, stop) = fixture.start();
    let done = fixture.until(&rollout, |rollout| rollout.state.is_completed()).await;
    assert_eq!(done.machines[1].phase.reason(), "alice left it out: its owner asked");
    assert_eq!(done.count(|kind| kind == PhaseKind::Upgraded), 1);
    stop.cancel();
}

#[tokio::test]
async fn a_scheduled_rollout_is_begun_by_hand() {
    let fixture = Fixture::new(1).await;
    let app = &fixture.test.app;
    let request = RolloutRequest {
        target: Some(target()),
        start_at: Some(Timestamp(app.now().0 + YEAR)),
        ..RolloutRequest::of(Selection::All)
    };
    let rollout = rollout_create(app, SpaceId::DEFAULT, "alice", request).await.unwrap();
    assert_eq!(rollout.state, RolloutState::Scheduled);
    let (_, stop) = fixture.start();
    rollout_hand(app, SpaceId::DEFAULT, rollout.id, alice(""), &Hand::StartNow).await.unwrap();
    let done = fixture.until(&rollout, |rollout| rollout.state.is_completed()).await;
    assert_eq!(done.state, RolloutState::Completed);
    stop.cancel();
}

#[tokio::test]
async fn a_held_machine_is_upgraded_when_it_is_let_go() {
    let fixture = Fixture::new(2).await;
    let rollout = fixture.roll_out().await;
    let held = rollout.machines[0].machine;
    let app = &fixture.test.app;
    machine_hold(app, SpaceId::DEFAULT, held, alice("month end"), None).await.unwrap();
    let (_, stop) = fixture.start();
    let done = fixture.until(&rollout, |rollout| rollout.state.is_completed()).await;
    assert_eq!(done.count(|kind| kind == PhaseKind::Upgraded), 1, "{}", done.summary());
    machine_release(app, SpaceId::DEFAULT, held, alice("")).await.unwrap();
    fixture.until(&rollout, |rollout| rollout.count(|kind| kind == PhaseKind::Upgraded) == 2).await;
    stop.cancel();
}
