//! Tests of the automatic policy and of machines that come late, with a real database and no loop.

use contract::{Sha256, Thumbprint};

use super::*;
use crate::bundle::{Bundle, BundledPackage};
use crate::clock::Timestamp;
use crate::db::environments::environment_insert;
use crate::db::machines::machine_insert;
use crate::db::policies::policy_put;
use crate::db::rollout_events::event_list;
use crate::db::rollouts::{rollout_get, rollout_list};
use crate::ids::MachineId;
use crate::inventory::inventory_record;
use crate::model::{Address, NewEnvironment, NewMachine};
use crate::rollout::absent::LateArrivals;
use crate::rollout::create::rollout_create;
use crate::rollout::hands::{Who, rollout_cancel};
use crate::rollout::late::admit;
use crate::rollout::state::Rollout;
use crate::tentacle::fake::FakeMachine;
use crate::testing::TestApp;

fn v(patch: u32) -> Version {
    Version::release(1, 0, patch)
}

fn bundle(version: &Version) -> Bundle {
    let package = |runtime: &str| BundledPackage {
        runtime: runtime.to_owned(),
        version: version.clone(),
        sha256: Sha256([9; 32]),
        size: 7,
    };
    [package("linux-x64")].into_iter().collect()
}

/// A portal that bundles `version`, started anew on the same data.
fn carrying(test: TestApp, version: &Version) -> TestApp {
    test.with(|inner| inner.bundle = bundle(version))
}

async fn environment(test: &TestApp, name: &str, strategy: Option<&Strategy>) -> EnvironmentId {
    let mut tx = test.db.write().await.unwrap();
    let new = NewEnvironment {
        name: name.parse().unwrap(),
        description: String::new(),
        sort_order: None,
        is_disabled: false,
    };
    let id = environment_insert(&mut tx, SpaceId::DEFAULT, &new).await.unwrap().id;
    policy_put(&mut tx, id, strategy).await.unwrap();
    tx.commit().await.unwrap();
    id
}

async fn machine(test: &TestApp, name: &str, environment: EnvironmentId, version: Option<Version>) -> MachineId {
    let new = NewMachine {
        name: name.to_owned(),
        address: Address::new("127.0.0.1", 10933).unwrap(),
        thumbprint: Thumbprint([7; 32]),
        is_disabled: false,
        environments: vec![environment],
        roles: Vec::new(),
    };
    let mut tx = test.db.write().await.unwrap();
    let id = machine_insert(&mut tx, SpaceId::DEFAULT, &new, test.now()).await.unwrap().id;
    tx.commit().await.unwrap();
    if let Some(version) = version {
        report(test, id, version).await;
    }
    id
}

async fn report(test: &TestApp, id: MachineId, version: Version) {
    inventory_record(&test.app, id, test.now(), Ok(FakeMachine::running(version).status)).await.unwrap();
}

async fn rollouts(test: &TestApp) -> Vec<Rollout> {
    rollout_list(&mut test.db.read().await.unwrap(), SpaceId::DEFAULT, 0, 100).await.unwrap()
}

async fn start(test: &TestApp) -> Vec<Rollout> {
    on_start(&test.app, SpaceId::DEFAULT).await.unwrap();
    rollouts(test).await
}

async fn outcome(test: &TestApp, version: &Version) -> String {
    bundles_seen(&mut test.db.read().await.unwrap(), SpaceId::DEFAULT).await.unwrap().remove(version).unwrap()
}

#[tokio::test]
async fn a_new_bundle_makes_one_rollout_for_the_environments_that_ask_for_it_and_only_once() {
    let test = carrying(App::for_tests().await, &v(1));
    let careful = Strategy::default();
    let (a, b) = (environment(&test, "A", Some(&careful)).await, environment(&test, "B", Some(&careful)).await);
    let by_hand = environment(&test, "By hand", None).await;
    for (name, place) in [("a-1", a), ("b-1", b), ("h-1", by_hand)] {
        machine(&test, name, place, Some(v(0))).await;
    }
    let made = start(&test).await;
    assert_eq!(made.len(), 1);
    let names: Vec<&str> = made[0].machines.iter().map(|machine| machine.name.as_str()).collect();
    assert_eq!((names, made[0].created_by.as_str()), (vec!["a-1", "b-1"], WHO));
    assert_eq!((&made[0].target, &made[0].strategy), (&v(1), &careful));
    assert_eq!(start(&test).await.len(), 1, "a restart makes no other");
    rollout_cancel(&test.app, SpaceId::DEFAULT, made[0].id, Who { name: "alice", why: "" }).await.unwrap();
    assert_eq!(start(&test).await.len(), 1, "nor after a person cancelled it");
    let next = carrying(test, &v(2));
    assert_eq!(start(&next).await.len(), 2, "the next version is another matter");
}

#[tokio::test]
async fn environments_that_go_about_it_differently_get_a_rollout_each() {
    let test = carrying(App::for_tests().await, &v(1));
    let bold = Strategy::plain(5, 3);
    for (name, strategy) in [("A", &Strategy::default()), ("B", &bold)] {
        let place = environment(&test, name, Some(strategy)).await;
        machine(&test, name, place, Some(v(0))).await;
    }
    let made = start(&test).await;
    assert_eq!(made.iter().map(|rollout| &rollout.strategy).collect::<Vec<_>>(), [&bold, &Strategy::default()]);
}

#[tokio::test]
async fn a_policy_that_is_chosen_later_waits_for_the_next_version() {
    let test = carrying(App::for_tests().await, &v(1));
    let place = environment(&test, "A", None).await;
    machine(&test, "a-1", place, Some(v(0))).await;
    assert!(start(&test).await.is_empty());
    assert_eq!(outcome(&test, &v(1)).await, "no environment asks for it");
    let mut tx = test.db.write().await.unwrap();
    policy_put(&mut tx, place, Some(&Strategy::default())).await.unwrap();
    tx.commit().await.unwrap();
    assert!(start(&test).await.is_empty());
    assert_eq!(start(&carrying(test, &v(2))).await.len(), 1);
}

#[tokio::test]
async fn nothing_is_made_where_all_is_up_to_date_or_newer_or_the_portal_went_back() {
    let test = carrying(App::for_tests().await, &v(5));
    let place = environment(&test, "A", Some(&Strategy::default())).await;
    machine(&test, "a-1", place, Some(v(5))).await;
    machine(&test, "a-2", place, Some(v(6))).await;
    assert!(start(&test).await.is_empty());
    assert!(outcome(&test, &v(5)).await.contains("nothing to upgrade"));
    let back = carrying(test, &v(4));
    machine(&back, "a-3", place, Some(v(0))).await;
    assert!(start(&back).await.is_empty());
    assert_eq!(outcome(&back, &v(4)).await, "nothing was made: this portal bundled 1.0.5 before, which is newer");
}

#[tokio::test]
async fn a_version_that_a_person_called_off_is_not_begun_by_itself() {
    let test = carrying(App::for_tests().await, &v(1));
    let place = environment(&test, "A", Some(&Strategy::default())).await;
    machine(&test, "a-1", place, Some(v(0))).await;
    let by_hand = RolloutRequest::of(Selection::All);
    let rollout = rollout_create(&test.app, SpaceId::DEFAULT, "alice", by_hand).await.unwrap();
    rollout_cancel(&test.app, SpaceId::DEFAULT, rollout.id, Who { name: "alice", why: "" }).await.unwrap();
    assert_eq!(start(&test).await.len(), 1, "only the one that alice made");
    assert!(outcome(&test, &v(1)).await.contains("alice cancelled Rollouts-1"));
}

#[tokio::test]
async fn a_kill_before_the_commit_leaves_nothing_and_the_next_start_makes_it() {
    let test = carrying(App::for_tests().await, &v(1));
    let place = environment(&test, "A", Some(&Strategy::default())).await;
    machine(&test, "a-1", place, Some(v(0))).await;
    let mut tx = test.db.write().await.unwrap();
    let request = RolloutRequest::of(Selection::Environments(vec![place]));
    rollout_write(&test.app, &mut tx, SpaceId::DEFAULT, WHO, request).await.unwrap();
    drop(tx);
    assert!(rollouts(&test).await.is_empty());
    assert_eq!(start(&test).await.len(), 1);
}

#[tokio::test]
async fn a_portal_that_bundles_nothing_does_nothing() {
    let test = App::for_tests().await;
    environment(&test, "A", Some(&Strategy::default())).await;
    assert!(start(&test).await.is_empty());
}

async fn roll_out(test: &TestApp, late_arrivals: LateArrivals, selection: Selection) -> Rollout {
    let strategy = Some(Strategy { late_arrivals, ..Strategy::default() });
    let request = RolloutRequest { strategy, ..RolloutRequest::of(selection) };
    rollout_create(&test.app, SpaceId::DEFAULT, "alice", request).await.unwrap()
}

async fn members(test: &TestApp, of: &Rollout) -> Vec<(String, usize)> {
    admit(&test.app).await.unwrap();
    let rollout = rollout_get(&mut test.db.read().await.unwrap(), of.space, of.id).await.unwrap().unwrap();
    rollout.machines.into_iter().map(|machine| (machine.name, machine.wave)).collect()
}

fn named(names: &[(&str, usize)]) -> Vec<(String, usize)> {
    names.iter().map(|(name, wave)| ((*name).to_owned(), *wave)).collect()
}

#[tokio::test]
async fn a_machine_that_comes_late_joins_the_last_wave_once_it_is_known_to_be_outdated() {
    let test = carrying(App::for_tests().await, &v(1));
    let place = environment(&test, "A", None).await;
    let elsewhere = environment(&test, "B", None).await;
    for name in ["a-1", "a-2", "a-3"] {
        machine(&test, name, place, Some(v(0))).await;
    }
    let current = machine(&test, "a-current", place, Some(v(1))).await;
    let rollout = roll_out(&test, LateArrivals::Join, Selection::Environments(vec![place])).await;
    let before = named(&[("a-1", 0), ("a-2", 1), ("a-3", 2)]);
    let late = machine(&test, "late", place, None).await;
    machine(&test, "late-current", place, Some(v(1))).await;
    machine(&test, "other", elsewhere, Some(v(0))).await;
    // It was looked at when the rollout was made. Whatever it runs now, somebody wished.
    report(&test, current, v(0)).await;
    assert_eq!(members(&test, &rollout).await, before, "what is not known is not listed");
    report(&test, late, v(0)).await;
    let after = named(&[("a-1", 0), ("a-2", 1), ("a-3", 2), ("late", 2)]);
    assert_eq!(members(&test, &rollout).await, after);
    assert_eq!(members(&test, &rollout).await, after, "once");
}

#[tokio::test]
async fn nobody_joins_where_the_strategy_or_the_selection_says_so_or_a_person_cancelled() {
    let test = carrying(App::for_tests().await, &v(1));
    let place = environment(&test, "A", None).await;
    let first = machine(&test, "a-1", place, Some(v(0))).await;
    let left = roll_out(&test, LateArrivals::Leave, Selection::All).await;
    machine(&test, "late", place, Some(v(0))).await;
    assert_eq!(members(&test, &left).await, named(&[("a-1", 0)]));
    let by_name = roll_out(&test, LateArrivals::Join, Selection::Machines(vec![first])).await;
    assert_eq!(members(&test, &by_name).await, named(&[("a-1", 0)]));
    let cancelled = roll_out(&test, LateArrivals::Join, Selection::All).await;
    rollout_cancel(&test.app, SpaceId::DEFAULT, cancelled.id, Who { name: "alice", why: "" }).await.unwrap();
    machine(&test, "later", place, Some(v(0))).await;
    assert_eq!(members(&test, &cancelled).await, named(&[("a-1", 0), ("late", 1)]));
}

#[tokio::test]
async fn an_emergency_is_written_down_with_who_and_why() {
    let test = carrying(App::for_tests().await, &v(1));
    let place = environment(&test, "A", None).await;
    machine(&test, "a-1", place, Some(v(0))).await;
    let strategy = Strategy { ignore_windows: Some("a hole in 1.0.0".to_owned()), ..Strategy::default() };
    let request = RolloutRequest { strategy: Some(strategy), ..RolloutRequest::of(Selection::All) };
    let rollout = rollout_create(&test.app, SpaceId::DEFAULT, "alice", request).await.unwrap();
    let events = event_list(&mut test.db.read().await.unwrap(), rollout.id).await.unwrap();
    let line =
        "alice let machines begin outside their maintenance windows and in freezes, in Rollouts-1: a hole in 1.0.0";
    assert_eq!((events[0].line.as_str(), events[0].at <= Timestamp(i64::MAX)), (line, true));
}
