//! A restored portal: what its first start stops, what rests until a person confirms, and what goes on then.

use contract::Version;

use super::confirm::{confirm, restored_look};
use super::settle::settle;
use super::*;
use crate::app::App;
use crate::audit::{Origin, within};
use crate::auth::{Grant, Principal, api_key_create, registration_key_create, setup_link_create, setup_link_redeem};
use crate::db::audit::{AuditFilter, audit_list};
use crate::db::environments::environment_insert;
use crate::db::facts::facts_put;
use crate::db::machines::machine_insert;
use crate::db::rollouts::{generation_issued, rollout_get, rollout_machine_update};
use crate::db::tasks::{task_get, task_log, task_machines};
use crate::db::users::user_by_name;
use crate::ids::MachineId;
use crate::model::{
    Contact, Facts, Instances, KeyWish, MachineTaskState, NewEnvironment, NewMachine, Role, Scope, TaskState, User,
};
use crate::rollout::create::{RolloutError, RolloutRequest, Selection, rollout_create};
use crate::rollout::hands::{Hand, Who, rollout_hand};
use crate::rollout::state::{Command, Mark, Phase, PhaseKind, Rollout, RolloutState};
use crate::tasks::task_create_health;
use crate::testing::{TestApp, report};

const WHO: Who<'_> = Who { name: "boss", why: "" };

/// A portal with a machine that a rollout has commanded, and a task that waits.
async fn busy() -> (TestApp, Rollout, MachineId) {
    let app = App::for_tests().await.with(|inner| {
        let (runtime, version) = ("linux-x64".to_owned(), Version::release(2, 0, 0));
        let package = crate::bundle::BundledPackage { runtime, version, sha256: contract::Sha256([7; 32]), size: 1 };
        inner.bundle = [package].into_iter().collect();
    });
    let mut tx = app.db.write().await.unwrap();
    let new =
        NewEnvironment { name: "A".parse().unwrap(), description: String::new(), sort_order: None, is_disabled: false };
    let environment = environment_insert(&mut tx, SpaceId::DEFAULT, &new).await.unwrap().id;
    let new = NewMachine {
        name: "m".into(),
        address: "server1:10933".parse().unwrap(),
        thumbprint: contract::Thumbprint([7; 32]),
        is_disabled: false,
        environments: vec![environment],
        roles: Vec::new(),
    };
    let machine = machine_insert(&mut tx, SpaceId::DEFAULT, &new, app.now()).await.unwrap().id;
    let facts = Facts {
        tried_at: app.now(),
        contact: Contact::Answered,
        contact_since: app.now(),
        report: Some(report(Version::release(1, 0, 0), app.now())),
        instances: Instances::default(),
    };
    facts_put(&mut tx, machine, &facts).await.unwrap();
    tx.commit().await.unwrap();
    let rollout = rollout_create(&app, SpaceId::DEFAULT, "x", RolloutRequest::of(Selection::All)).await.unwrap();
    let mut row = rollout.machines[0].clone();
    let command = Command {
        ticket: "t".into(),
        generation: 1,
        expected: "1.0.0".into(),
        instance: "i".into(),
        mark: Mark::default(),
    };
    row.phase = Phase::Installing(command);
    let mut tx = app.db.write().await.unwrap();
    assert!(rollout_machine_update(&mut tx, rollout.id, &row).await.unwrap());
    tx.commit().await.unwrap();
    (app, rollout, machine)
}

/// Does what `restore` does to the database.
async fn restored(app: &App) {
    let how = How::Backup { made_at: Timestamp(0), version: "1.0.0".into() };
    let keys = KeysIssued { api_keys: 1, registration_keys: 1 };
    let mut tx = app.db.write().await.unwrap();
    restored_put(&mut tx, &Restored::new(how, app.now(), keys)).await.unwrap();
    tx.commit().await.unwrap();
}

async fn rollout_now(app: &App, rollout: &Rollout) -> Rollout {
    rollout_get(&mut app.db.read().await.unwrap(), SpaceId::DEFAULT, rollout.id).await.unwrap().unwrap()
}

#[tokio::test]
async fn the_first_start_stops_what_was_under_way_and_nothing_begins_before_it_is_confirmed() {
    let (app, rollout, machine) = busy().await;
    let selection = Selection::Machines(vec![machine]);
    let task = task_create_health(&app, SpaceId::DEFAULT, "x", &selection, None).await.unwrap();
    settle(&app).await.unwrap();
    assert_eq!(rollout_now(&app, &rollout).await.state, RolloutState::Running, "nothing was restored");
    restored(&app).await;
    settle(&app).await.unwrap();
    let paused = rollout_now(&app, &rollout).await;
    assert_eq!((paused.state, paused.machines[0].phase.kind()), (RolloutState::Paused, PhaseKind::Waiting));
    assert!(paused.state_reason.contains("restored from a backup of 1970-01-01 00:00 UTC"), "{}", paused.state_reason);
    let mut conn = app.db.read().await.unwrap();
    let ended = task_get(&mut conn, SpaceId::DEFAULT, task).await.unwrap().unwrap();
    assert_eq!(ended.state, TaskState::Failed);
    assert_eq!(task_machines(&mut conn, task).await.unwrap()[0].state, MachineTaskState::Unknown);
    assert!(task_log(&mut conn, rollout.task, 0).await.unwrap().iter().any(|line| line.message.contains("restored")));
    drop(conn);

    let again = rollout_create(&app, SpaceId::DEFAULT, "x", RolloutRequest::of(Selection::All)).await;
    assert!(matches!(again, Err(RolloutError::Restored { .. })), "{again:?}");
    let resumed = rollout_hand(&app, SpaceId::DEFAULT, rollout.id, WHO, &Hand::Resume).await;
    assert!(matches!(resumed, Err(RolloutError::Restored { .. })), "{resumed:?}");
    assert_eq!(
        crate::pages::dashboard::load(&app, SpaceId::DEFAULT).await.unwrap().needs[0].link.0,
        "/settings/restore"
    );
    crate::attention::look(&app).await.unwrap();
    assert_eq!(app.attention.portal(), 1);

    assert!(confirm(&app, "boss").await.unwrap().is_some());
    assert!(confirm(&app, "boss").await.unwrap().is_none(), "once is enough");
    settle(&app).await.unwrap();
    assert_eq!(rollout_now(&app, &rollout).await.state, RolloutState::Paused, "a person resumes it");
    rollout_hand(&app, SpaceId::DEFAULT, rollout.id, WHO, &Hand::Resume).await.unwrap();
    assert_eq!(rollout_now(&app, &rollout).await.state, RolloutState::Running);
}

#[tokio::test]
async fn keys_of_the_backup_rest_and_those_made_since_work() {
    let app = App::for_tests().await;
    let mut tx = app.db.write().await.unwrap();
    let admin = user_by_name(&mut tx, "admin").await.unwrap().unwrap();
    let wish = KeyWish { purpose: "old", scope: Scope::Full, expires_at: None };
    let old = api_key_create(&mut tx, admin.id, &wish, app.now()).await.unwrap().0;
    tx.commit().await.unwrap();
    let who = Principal::logged_in(admin.clone(), SpaceId::DEFAULT);
    let mut tx = app.db.write().await.unwrap();
    let new =
        NewEnvironment { name: "A".parse().unwrap(), description: String::new(), sort_order: None, is_disabled: false };
    let environment = environment_insert(&mut tx, SpaceId::DEFAULT, &new).await.unwrap().id;
    tx.commit().await.unwrap();
    let life = std::time::Duration::from_secs(60);
    let grant = Grant { environments: vec![environment], roles: Vec::new(), machines: 1, life };
    let (registration, _) = registration_key_create(&app, SpaceId::DEFAULT, &who, &grant).await.unwrap();
    let how = How::Backup { made_at: Timestamp(0), version: "1.0.0".into() };
    let keys = KeysIssued { api_keys: old.id.0, registration_keys: registration.0 };
    let mut tx = app.db.write().await.unwrap();
    restored_put(&mut tx, &Restored::new(how, app.now(), keys)).await.unwrap();
    let made = api_key_create(&mut tx, admin.id, &KeyWish { purpose: "new", ..wish }, app.now()).await.unwrap().0;
    assert!(api_key_rests(&mut tx, old.id).await.unwrap().is_some());
    assert!(registration_key_rests(&mut tx, registration).await.unwrap().is_some());
    assert_eq!(api_key_rests(&mut tx, made.id).await.unwrap(), None);
    let resting = restored_look(&mut tx, app.now()).await.unwrap().unwrap();
    assert!(resting.api_keys.iter().all(|(key, _)| key.id != made.id) && !resting.api_keys.is_empty());
    assert_eq!(resting.registration_keys.len(), 1);
    tx.commit().await.unwrap();
    let peer = std::net::Ipv4Addr::LOCALHOST.into();
    let origin = Origin { who: Some("boss".into()), peer, key: None };
    within(origin, confirm(&app, "boss")).await.unwrap();
    let mut conn = app.db.read().await.unwrap();
    assert_eq!(api_key_rests(&mut conn, old.id).await.unwrap(), None);
    assert_eq!(registration_key_rests(&mut conn, registration).await.unwrap(), None);
    let known = restored_get(&mut conn).await.unwrap().unwrap();
    assert_eq!(known.confirmed.unwrap().0, "boss");
}

#[tokio::test]
async fn a_machine_that_saw_later_commands_stops_everything_and_takes_no_key_away() {
    let (app, _, machine) = busy().await;
    let mut tx = app.db.write().await.unwrap();
    let mut facts = crate::db::facts::facts_get(&mut tx, machine).await.unwrap().unwrap();
    facts.report.as_mut().unwrap().generation = 41;
    facts_put(&mut tx, machine, &facts).await.unwrap();
    assert!(restored_notice(&mut tx, SpaceId::DEFAULT, "m", app.now()).await.unwrap());
    assert!(!restored_notice(&mut tx, SpaceId::DEFAULT, "m", app.now()).await.unwrap(), "once is enough");
    tx.commit().await.unwrap();
    let mut conn = app.db.read().await.unwrap();
    assert_eq!(api_key_rests(&mut conn, crate::ids::ApiKeyId(1)).await.unwrap(), None);
    drop(conn);
    let again = rollout_create(&app, SpaceId::DEFAULT, "x", RolloutRequest::of(Selection::All)).await;
    assert!(matches!(again, Err(RolloutError::Restored { .. })), "{again:?}");
    confirm(&app, "boss").await.unwrap();
    assert_eq!(generation_issued(&mut app.db.read().await.unwrap()).await.unwrap(), 41);
    rollout_create(&app, SpaceId::DEFAULT, "x", RolloutRequest::of(Selection::All)).await.unwrap();
}

#[tokio::test]
async fn only_administrators_log_in_before_a_restore_is_confirmed() {
    let app = App::for_tests().await;
    let mut tx = app.db.write().await.unwrap();
    let password = "correct horse battery";
    let mut ids = vec![user_by_name(&mut tx, "admin").await.unwrap().unwrap().id];
    ids.push(crate::db::users::user_insert(&mut tx, "viewer", &Role::Viewer, app.now()).await.unwrap().id);
    tx.commit().await.unwrap();
    for id in ids {
        crate::auth::password_set(&app.db, id, password).await.unwrap();
    }
    restored(&app).await;
    let log_in = async |name: &str| {
        let store = std::sync::Arc::new(crate::auth::Sessions(app.db.clone()));
        let session = tower_sessions::Session::new(None, store, None);
        crate::auth::login(&app, &session, [127, 0, 0, 1].into(), name, password).await
    };
    let refused = log_in("viewer").await.unwrap_err().to_string();
    assert!(refused.contains("only administrators") && refused.contains("restored"), "{refused}");
    log_in("admin").await.unwrap();
    confirm(&app, "admin").await.unwrap();
    log_in("viewer").await.unwrap();
}

#[tokio::test]
async fn a_link_made_before_a_restore_is_confirmed_sets_the_password_and_lets_administrators_in_alone() {
    let app = App::for_tests().await;
    let mut tx = app.db.write().await.unwrap();
    let admin = user_by_name(&mut tx, "admin").await.unwrap().unwrap();
    let viewer = crate::db::users::user_insert(&mut tx, "viewer", &Role::Viewer, app.now()).await.unwrap();
    tx.commit().await.unwrap();
    restored(&app).await;
    let redeem = async |user: &User| {
        let mut tx = app.db.write().await.unwrap();
        let token = setup_link_create(&mut tx, user.id, app.now()).await.unwrap();
        tx.commit().await.unwrap();
        let store = std::sync::Arc::new(crate::auth::Sessions(app.db.clone()));
        let session = tower_sessions::Session::new(None, store, None);
        let redeemed = setup_link_redeem(&app, &session, &token, "correct horse battery").await;
        (redeemed.map_err(|error| error.to_string()), session.is_empty().await)
    };
    let (refused, is_nobodys) = redeem(&viewer).await;
    let refused = refused.unwrap_err();
    assert!(refused.contains("the password was set, but only administrators can log in now"), "{refused}");
    assert!(is_nobodys && crate::auth::password_is(&app.db, viewer.id, "correct horse battery").await.unwrap());
    assert_eq!(redeem(&admin).await, (Ok(Principal::logged_in(admin.clone(), SpaceId::DEFAULT)), false));
    confirm(&app, "admin").await.unwrap();
    assert!(redeem(&viewer).await.0.is_ok());
    let filter = AuditFilter { take: 50, ..AuditFilter::default() };
    let trail = audit_list(&mut app.db.read().await.unwrap(), SpaceId::DEFAULT, &filter).await.unwrap();
    let chose = |line: &str| trail.iter().filter(|row| row.entry.who == "viewer" && row.entry.line == line).count();
    assert_eq!(chose("chose a password by a setup link"), 1);
    assert_eq!(chose("chose a password by a setup link and logged in"), 1);
}
