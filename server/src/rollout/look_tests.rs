//! What is read from the database for a turn of the loop.

use contract::{Sha256, Thumbprint};

use super::*;
use crate::db::environments::environment_insert;
use crate::db::facts::facts_put;
use crate::db::machine_holds::hold_put;
use crate::db::machines::machine_insert;
use crate::db::packages::package_insert;
use crate::model::{Address, Contact, NewEnvironment, NewMachine, NewPackage};
use crate::rollout::create::{RolloutRequest, Selection, rollout_create};
use crate::rollout::strategy::Strategy;
use crate::testing::TestApp;

fn target() -> Version {
    Version::release(2, 0, 0)
}

/// A portal with so many machines, none of which ever answered, each with the role web and, every second, db.
async fn portal(count: i64) -> (TestApp, Vec<MachineId>) {
    let test = App::for_tests().await;
    let now = test.now();
    let mut tx = test.db.write().await.unwrap();
    let package = NewPackage {
        space: SpaceId::DEFAULT,
        package_id: "Octopus.Tentacle.linux-x64".parse().unwrap(),
        version: target(),
        sha256: Sha256([9; 32]),
        size: 7,
        title: String::new(),
        summary: String::new(),
        description: String::new(),
        release_notes: String::new(),
    };
    package_insert(&mut tx, &package, now).await.unwrap();
    let production = NewEnvironment {
        name: "Production".parse().unwrap(),
        description: String::new(),
        sort_order: None,
        is_disabled: false,
    };
    let production = environment_insert(&mut tx, SpaceId::DEFAULT, &production).await.unwrap();
    let mut ids = Vec::new();
    for n in 0..count {
        let machine = NewMachine {
            name: format!("web-{n}"),
            address: Address::new("127.0.0.1", 10933).unwrap(),
            thumbprint: Thumbprint([7; 32]),
            is_disabled: false,
            environments: vec![production.id],
            roles: if n % 2 == 0 { vec!["web".into(), "DB".into()] } else { vec!["web".into()] },
        };
        ids.push(machine_insert(&mut tx, SpaceId::DEFAULT, &machine, now).await.unwrap().id);
    }
    tx.commit().await.unwrap();
    (test, ids)
}

async fn roll_out(test: &TestApp, selection: Selection) -> Rollout {
    let strategy = Strategy { max_percent_of_role: Some(50), ..Strategy::default() };
    let request = RolloutRequest { target: Some(target()), strategy: Some(strategy), ..RolloutRequest::of(selection) };
    rollout_create(&test.app, SpaceId::DEFAULT, "somebody", request).await.unwrap()
}

#[tokio::test]
async fn only_what_the_open_rollouts_need_is_read_however_many_machines_there_are() {
    let (test, ids) = portal(700).await;
    let mut tx = test.db.write().await.unwrap();
    for id in &ids {
        let contact = Contact::Silent { reason: format!("no route to {id}") };
        let facts = Facts {
            tried_at: test.now(),
            contact,
            contact_since: test.now(),
            report: None,
            instances: Default::default(),
        };
        facts_put(&mut tx, *id, &facts).await.unwrap();
    }
    let hold = Hold { reason: "audit".into(), by: "admin".into(), since: test.now(), until: None };
    hold_put(&mut tx, ids[1], &hold).await.unwrap();
    tx.commit().await.unwrap();
    let rollouts = [
        roll_out(&test, Selection::Machines(vec![ids[0], ids[1]])).await,
        roll_out(&test, Selection::Machines(vec![ids[1], ids[2]])).await,
    ];
    let mut conn = test.db.read().await.unwrap();
    let known = Snapshot::read(&test.app, &mut conn, &rollouts).await.unwrap();
    assert_eq!((known.machines.len(), known.facts.len()), (3, 3), "and none of the 697 others");
    let (seen, limits) = known.look(&rollouts, &rollouts[0]);
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[&ids[1]].hold, Some(hold));
    assert_eq!(seen[&ids[1]].elsewhere, Some(Elsewhere::Newer(rollouts[1].id)));
    assert_eq!(seen[&ids[0]].groups.len(), 2, "its roles in its environment");
    assert_eq!(limits.role_sizes.len(), 2, "of all machines: a rollout of two may not stop all of a role");
    let sizes = |role: &str| limits.role_sizes.iter().find(|(group, _)| group.1 == role).map(|(_, size)| *size);
    assert_eq!((sizes("web"), sizes("db")), (Some(700), Some(350)));

    let all = [roll_out(&test, Selection::All).await];
    let known = Snapshot::read(&test.app, &mut conn, &all).await.unwrap();
    let (seen, _) = known.look(&all, &all[0]);
    assert_eq!(seen.len(), 700, "more than one statement names");
    assert!(ids.iter().all(|id| seen[id].facts.is_some()));
}
