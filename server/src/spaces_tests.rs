//! Spaces added, stopped and deleted: what goes with one, what stays, and what keeps it.

use contract::{Sha256, Thumbprint, Version};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::bundle::BundledPackage;
use crate::db::audit::{AuditFilter, audit_list};
use crate::db::environments::environment_insert;
use crate::db::machines::{machine_insert, machine_list};
use crate::db::policies::bundles_seen;
use crate::db::rollouts::{rollout_get, rollout_machine_update};
use crate::db::spaces::space_list;
use crate::db::tasks::{task_begin, task_end, task_get};
use crate::ids::{MachineId, TaskId};
use crate::model::{Audit, NewEnvironment, NewMachine, TaskState};
use crate::policy::{Knob, MachinePolicy, machine_policy_save};
use crate::rollout::create::{RolloutRequest, Selection, rollout_create};
use crate::rollout::phase::Phase;
use crate::rollout::state::RolloutMachine;
use crate::tasks::{runner, task_create_health};
use crate::tentacle::fake::{FakeMachine, FakeTentacles};
use crate::testing::TestApp;

/// How long a test waits for anything.
const PATIENCE: Duration = Duration::from_secs(20);

fn named(name: &str, queue: TaskQueue) -> NewSpace {
    NewSpace { name: name.to_owned(), slug: None, description: String::new(), queue }
}

fn v2() -> Version {
    Version::release(2, 0, 0)
}

/// A portal that bundles 2.0.0, and the machines' Tentacles.
async fn portal() -> (TestApp, FakeTentacles) {
    let fleet = FakeTentacles::default();
    let app = App::for_tests().await.with(|inner| {
        let package =
            BundledPackage { runtime: "linux-x64".to_owned(), version: v2(), sha256: Sha256([7; 32]), size: 1 };
        inner.bundle = [package].into_iter().collect();
        inner.tentacles = std::sync::Arc::new(fleet.clone());
    });
    (app, fleet)
}

/// A machine in a new environment of a space.
async fn furnish(app: &App, fleet: &FakeTentacles, space: SpaceId) -> MachineId {
    let mut tx = app.db.write().await.unwrap();
    let (name, description) = ("Production".parse().unwrap(), String::new());
    let new = NewEnvironment { name, description, sort_order: None, is_disabled: false };
    let environment = environment_insert(&mut tx, space, &new).await.unwrap().id;
    let new = NewMachine {
        name: "web".to_owned(),
        address: "server:10933".parse().unwrap(),
        thumbprint: Thumbprint([7; 32]),
        is_disabled: false,
        environments: vec![environment],
        roles: vec!["web".to_owned()],
    };
    let id = machine_insert(&mut tx, space, &new, app.now()).await.unwrap().id;
    tx.commit().await.unwrap();
    fleet.machines().insert(id, FakeMachine::running(Version::release(1, 0, 0)));
    id
}

async fn set(app: &App, id: SpaceId, queue: TaskQueue) {
    let wish = |old: &Space| Ok::<_, SpaceError>(NewSpace { queue, ..named(&old.name, queue) });
    space_change(app, id, wish).await.unwrap();
}

async fn trail(app: &App, space: SpaceId) -> Vec<Audit> {
    let filter = AuditFilter { take: 100, ..AuditFilter::default() };
    audit_list(&mut app.db.read().await.unwrap(), space, &filter).await.unwrap()
}

async fn state_of(app: &App, space: SpaceId, id: TaskId) -> TaskState {
    task_get(&mut app.db.read().await.unwrap(), space, id).await.unwrap().unwrap().state
}

#[tokio::test]
async fn a_new_space_knows_what_the_portal_bundles_and_is_told_in_the_default_one() {
    let (app, _) = portal().await;
    let space = space_add(&app, &named("Blue", TaskQueue::Runs)).await.unwrap();
    let seen = bundles_seen(&mut app.db.read().await.unwrap(), space.id).await.unwrap();
    assert_eq!(seen.keys().collect::<Vec<_>>(), [&v2()], "a restart is no first time for it");
    assert_eq!(trail(&app, SpaceId::DEFAULT).await[0].entry.line, "added space Blue");
    let long = NewSpace { description: "x".repeat(DESCRIPTION_MAX + 1), ..named("Green", TaskQueue::Runs) };
    assert!(matches!(space_add(&app, &long).await, Err(SpaceError::DescriptionTooLong(_))));
}

#[tokio::test]
async fn there_are_only_so_many_spaces() {
    let (app, _) = portal().await;
    for n in 1..SPACES_MAX {
        space_add(&app, &named(&format!("s{n}"), TaskQueue::Runs)).await.unwrap();
    }
    assert!(matches!(space_add(&app, &named("more", TaskQueue::Runs)).await, Err(SpaceError::TooMany)));
}

#[tokio::test]
async fn a_change_is_told_in_the_space_itself_and_what_is_the_same_is_no_change() {
    let (app, _) = portal().await;
    let id = space_add(&app, &named("Blue", TaskQueue::Runs)).await.unwrap().id;
    set(&app, id, TaskQueue::Stopped).await;
    set(&app, id, TaskQueue::Stopped).await;
    set(&app, id, TaskQueue::Runs).await;
    let told = trail(&app, id).await;
    let lines: Vec<(&str, &str)> = told.iter().map(|row| (row.entry.what.as_str(), row.entry.line.as_str())).collect();
    assert_eq!(
        lines,
        [("StartQueue", "started the task queue of space Blue"), ("StopQueue", "stopped the task queue of space Blue")]
    );
    assert_eq!(Value::from(told[1].entry.changes.after.clone()), json!({ "TaskQueueStopped": true }));
}

#[tokio::test]
async fn a_deleted_space_takes_everything_with_it_but_its_trail() {
    let (app, fleet) = portal().await;
    let kept = furnish(&app, &fleet, SpaceId::DEFAULT).await;
    let id = space_add(&app, &named("Blue", TaskQueue::Runs)).await.unwrap().id;
    let machine = furnish(&app, &fleet, id).await;
    let own = RolloutRequest::of(Selection::Machines(vec![machine]));
    rollout_create(&app, id, "ann", own).await.unwrap();
    let task = task_create_health(&app, id, "ann", &Selection::All, None).await.unwrap();
    task_create_health(&app, SpaceId::DEFAULT, "ann", &Selection::All, None).await.unwrap();
    let policy = MachinePolicy::new([(Knob::Checking, Duration::from_secs(77))]);
    machine_policy_save(&app, id, policy).await.unwrap();

    let refused = space_remove(&app, id).await.unwrap_err();
    assert!(refused.to_string().contains("runs; stop it first"), "{refused}");
    set(&app, id, TaskQueue::Stopped).await;
    assert!(space_remove(&app, id).await.unwrap());
    assert!(!space_remove(&app, id).await.unwrap(), "it is gone");

    let mut conn = app.db.read().await.unwrap();
    assert_eq!(space_list(&mut conn).await.unwrap().len(), 1);
    for table in ["environments", "machines", "rollouts", "tasks", "space_settings", "bundles_seen", "audit"] {
        let sql = format!("SELECT COUNT(*) FROM {table} WHERE space_id <> 1");
        let left: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(&mut *conn).await.unwrap();
        assert_eq!(left, 0, "{table}");
    }
    let machines = machine_list(&mut conn, SpaceId::DEFAULT).await.unwrap();
    assert_eq!(machines.iter().map(|machine| machine.id).collect::<Vec<_>>(), [kept]);
    drop(conn);
    let told = trail(&app, SpaceId::DEFAULT).await;
    assert_eq!(told[0].entry.line, "deleted space Blue with everything in it");
    let before = Value::from(told[0].entry.changes.before.clone());
    assert_eq!((&before["Machines"], &before["Rollouts"], &before["Tasks"]), (&json!(1), &json!(1), &json!(2)));
    let queued = told.iter().any(|row| row.entry.documents.contains(&task.to_string()));
    assert!(queued, "what was done in it is still told");
    assert_eq!(app.machine_policy(id), MachinePolicy::default());
}

#[tokio::test]
async fn the_default_space_and_one_in_which_something_goes_on_stay() {
    let (app, fleet) = portal().await;
    set(&app, SpaceId::DEFAULT, TaskQueue::Stopped).await;
    let refused = space_remove(&app, SpaceId::DEFAULT).await.unwrap_err();
    assert!(matches!(refused, SpaceError::Default(_)), "{refused}");

    let id = space_add(&app, &named("Blue", TaskQueue::Runs)).await.unwrap().id;
    let machine = furnish(&app, &fleet, id).await;
    let task = task_create_health(&app, id, "ann", &Selection::All, None).await.unwrap();
    let rollout = rollout_create(&app, id, "ann", RolloutRequest::of(Selection::All)).await.unwrap();
    let begin = async || {
        let mut tx = app.db.write().await.unwrap();
        task_begin(&mut tx, task, app.now()).await.unwrap();
        let row = rollout_get(&mut tx, id, rollout.id).await.unwrap().unwrap().machines.remove(0);
        assert_eq!(row.machine, machine);
        let row = RolloutMachine { phase: Phase::Uploading, ..row };
        assert!(rollout_machine_update(&mut tx, rollout.id, &row).await.unwrap());
        tx.commit().await.unwrap();
    };
    begin().await;
    set(&app, id, TaskQueue::Stopped).await;
    let refused = space_remove(&app, id).await.unwrap_err();
    assert!(matches!(refused, SpaceError::Busy { tasks: 1, machines: 1, .. }), "{refused}");
    let mut tx = app.db.write().await.unwrap();
    task_end(&mut tx, task, TaskState::Success, "", app.now()).await.unwrap();
    tx.commit().await.unwrap();
    let refused = space_remove(&app, id).await.unwrap_err();
    assert!(matches!(refused, SpaceError::Busy { tasks: 0, machines: 1, .. }), "{refused}");
}

#[tokio::test]
async fn tasks_of_a_stopped_space_are_taken_and_begin_when_it_is_started_again() {
    let (app, fleet) = portal().await;
    furnish(&app, &fleet, SpaceId::DEFAULT).await;
    let id = space_add(&app, &named("Blue", TaskQueue::Stopped)).await.unwrap().id;
    furnish(&app, &fleet, id).await;
    let waits = task_create_health(&app, id, "ann", &Selection::All, None).await.unwrap();
    let runs = task_create_health(&app, SpaceId::DEFAULT, "ann", &Selection::All, None).await.unwrap();
    let stop = CancellationToken::new();
    let running = tokio::spawn(runner::run(app.app.clone(), stop.clone()));
    let ended = async |space, task| {
        let wait = async {
            while !state_of(&app, space, task).await.is_completed() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("the task ends");
    };
    // That one was looked at in the same round, after the one that waits.
    ended(SpaceId::DEFAULT, runs).await;
    assert_eq!(state_of(&app, id, waits).await, TaskState::Queued);
    set(&app, id, TaskQueue::Runs).await;
    ended(id, waits).await;
    assert_eq!(state_of(&app, id, waits).await, TaskState::Success);
    stop.cancel();
    running.await.unwrap();
}
