//! A change of the identity: what each machine is told, in which order, and what is left where it is abandoned.

use std::sync::Arc;

use contract::Version;

use super::tell::tell;
use super::*;
use crate::app::App;
use crate::db::environments::environment_insert;
use crate::db::machines::machine_insert;
use crate::ids::MachineId;
use crate::model::{NewEnvironment, NewMachine};
use crate::tentacle::fake::{FakeMachine, FakeTentacles};
use crate::testing::TestApp;

/// A portal with two machines that trust it.
async fn portal() -> (TestApp, FakeTentacles, [MachineId; 2]) {
    let fleet = FakeTentacles::default();
    let app = App::for_tests().await.with(|inner| inner.tentacles = Arc::new(fleet.clone()));
    let mut tx = app.db.write().await.unwrap();
    let new =
        NewEnvironment { name: "A".parse().unwrap(), description: String::new(), sort_order: None, is_disabled: false };
    let environment = environment_insert(&mut tx, SpaceId::DEFAULT, &new).await.unwrap().id;
    let mut ids = Vec::new();
    for name in ["a", "b"] {
        let new = NewMachine {
            name: name.into(),
            address: "server1:10933".parse().unwrap(),
            thumbprint: Thumbprint([7; 32]),
            is_disabled: false,
            environments: vec![environment],
            roles: Vec::new(),
        };
        let id = machine_insert(&mut tx, SpaceId::DEFAULT, &new, app.now()).await.unwrap().id;
        let mut machine = FakeMachine::running(Version::release(1, 0, 0));
        machine.trusted.insert(app.identities.thumbprint());
        fleet.machines().insert(id, machine);
        ids.push(id);
    }
    tx.commit().await.unwrap();
    (app, fleet, ids.try_into().unwrap())
}

fn trusted(fleet: &FakeTentacles, id: MachineId) -> BTreeSet<Thumbprint> {
    fleet.machines()[&id].trusted.clone()
}

async fn behind(app: &App) -> Vec<String> {
    let progress = progress(app, &mut app.db.read().await.unwrap()).await.unwrap();
    progress.behind.into_iter().map(|machine| machine.name).collect()
}

#[tokio::test]
async fn machines_trust_both_before_the_new_one_is_used_and_forget_the_old_one_after() {
    let (app, fleet, [a, b]) = portal().await;
    let old = app.identities.thumbprint();
    assert_eq!(tell(&app).await.unwrap(), Stage::Settled);
    assert_eq!((trusted(&fleet, a), behind(&app).await.len()), ([old].into(), 0), "nothing is told without need");
    fleet.machines().get_mut(&b).unwrap().is_online = false;
    rotate(&app, Wish::Ready).await.unwrap();
    let new = app.identities.set().next.unwrap().thumbprint();
    assert_eq!(behind(&app).await, ["a", "b"]);
    assert_eq!(tell(&app).await.unwrap(), Stage::Readied);
    assert_eq!((trusted(&fleet, a), trusted(&fleet, b)), ([old, new].into(), [old].into()));
    assert_eq!(behind(&app).await, ["b"]);
    assert_eq!(app.identities.thumbprint(), old, "nothing else has changed");

    let refused = rotate(&app, Wish::Switch { cut_off: 0 }).await.unwrap_err();
    assert!(matches!(refused, RotationError::CutsOff { cut_off: 1 }), "{refused}");
    // As many as there were when it was looked at, of which one has followed since.
    rotate(&app, Wish::Switch { cut_off: 2 }).await.unwrap();
    assert_eq!(app.identities.thumbprint(), new);
    app.clock.advance(std::time::Duration::from_secs(60));
    assert_eq!(tell(&app).await.unwrap(), Stage::Kept);
    assert_eq!((trusted(&fleet, a), trusted(&fleet, b)), ([new].into(), [old].into()));
    let refused = rotate(&app, Wish::Forget { cut_off: 0 }).await.unwrap_err();
    assert!(matches!(refused, RotationError::CutsOff { cut_off: 1 }), "{refused}");

    // The late one is told both at once, and then nobody needs the old one.
    fleet.machines().get_mut(&b).unwrap().is_online = true;
    assert_eq!(tell(&app).await.unwrap(), Stage::Kept, "it is left alone for a while");
    app.clock.advance(std::time::Duration::from_secs(60));
    assert_eq!(tell(&app).await.unwrap(), Stage::Settled);
    assert_eq!(trusted(&fleet, b), [new].into());
    assert!(app.identities.set().former.is_none() && behind(&app).await.is_empty());

    // And once more, from where that ended.
    rotate(&app, Wish::Ready).await.unwrap();
    tell(&app).await.unwrap();
    let third = app.identities.set().next.unwrap().thumbprint();
    rotate(&app, Wish::Switch { cut_off: 0 }).await.unwrap();
    assert_eq!(tell(&app).await.unwrap(), Stage::Settled, "all at once, where all are there");
    assert_eq!((trusted(&fleet, a), trusted(&fleet, b)), ([third].into(), [third].into()));
}

#[tokio::test]
async fn an_identity_that_is_abandoned_is_trusted_by_nobody_any_more() {
    let (app, fleet, [a, b]) = portal().await;
    let old = app.identities.thumbprint();
    rotate(&app, Wish::Ready).await.unwrap();
    tell(&app).await.unwrap();
    fleet.machines().get_mut(&b).unwrap().is_online = false;
    rotate(&app, Wish::Abandon).await.unwrap();
    assert!(matches!(rotate(&app, Wish::Switch { cut_off: 2 }).await, Err(RotationError::Identities(_))));
    tell(&app).await.unwrap();
    assert_eq!((trusted(&fleet, a), behind(&app).await), ([old].into(), vec!["b".to_owned()]));
    fleet.machines().get_mut(&b).unwrap().is_online = true;
    app.clock.advance(std::time::Duration::from_secs(60));
    assert_eq!(tell(&app).await.unwrap(), Stage::Settled);
    assert_eq!((trusted(&fleet, b), behind(&app).await.len()), ([old].into(), 0));
}

#[tokio::test]
async fn a_backup_is_taken_away_with_everything_and_written_down() {
    let (app, ..) = portal().await;
    let made = crate::backup::download::backup_download(&app, &crate::backup::make::PackageChoice::None).await.unwrap();
    let place = app.data_dir().join("taken");
    let mut file = made.file.into_std().await;
    std::io::copy(&mut file, &mut std::fs::File::create(&place).unwrap()).unwrap();
    assert_eq!(std::fs::metadata(&place).unwrap().len(), made.size);
    let manifest = crate::backup::archive::Reader::open(&place).unwrap().manifest;
    assert_eq!(manifest.thumbprint, app.identities.thumbprint().to_string());
}
