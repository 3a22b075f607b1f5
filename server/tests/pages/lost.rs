//! What the pages say of a machine that its rollout lost, from then until it is found.

use std::time::Duration;

use contract::{Rejection, Verdicts, Version};
use octopus_server::db::rollouts::{rollout_get, rollout_machine_update, rollout_set_state};
use octopus_server::ids::{MachineId, RolloutId, SpaceId};
use octopus_server::live::Change;
use octopus_server::model::{Contact, Facts, InstalledVersion, Instances, Report};
use octopus_server::rollout::state::{Phase, RolloutState};
use octopus_server::testing::TestApp;

use crate::browser::Browser;
use crate::seed::{self, bundled};
use crate::stream::Stream;

fn old() -> Version {
    Version::release(2026, 4, 0)
}

/// A portal whose one machine was lost by a rollout that is over.
async fn portal_with_a_lost_machine() -> (TestApp, Browser, MachineId) {
    let portal = seed::portal().await;
    let mut browser = Browser::logged_in(&portal).await;
    let staging = seed::environment(&portal, "Staging").await;
    let id = seed::machine(&portal, "web-1", &[staging]).await;
    seed::answered(&portal, id, seed::report(old(), portal.now())).await;
    browser.post("/environments/upgrade", &[]).await;
    portal.clock.advance(Duration::from_secs(600));
    let mut tx = portal.db.write().await.unwrap();
    let rollout = rollout_get(&mut tx, SpaceId::DEFAULT, RolloutId(1)).await.unwrap().unwrap();
    let mut machine = rollout.machines[0].clone();
    machine.phase = Phase::Lost { command: None, reason: "it has been silent in Restarting".into() };
    machine.since = portal.now();
    assert!(rollout_machine_update(&mut tx, rollout.id, &machine).await.unwrap());
    let state = RolloutState::CompletedWithFailures;
    rollout_set_state(&mut tx, rollout.id, state, "", portal.now()).await.unwrap();
    tx.commit().await.unwrap();
    portal.clock.advance(Duration::from_secs(7200));
    silent(&portal, id, seed::report(old(), octopus_server::clock::Timestamp(0))).await;
    (portal, browser, id)
}

async fn silent(portal: &TestApp, id: MachineId, report: Report) {
    let contact = Contact::Silent { reason: "no route".into() };
    let facts = Facts {
        tried_at: portal.now(),
        contact,
        contact_since: portal.now(),
        report: Some(report),
        instances: Instances::default(),
    };
    seed::put_facts(portal, id, &facts).await;
}

/// What a machine says that runs `version` and has the bundled one installed with those verdicts.
fn found(portal: &TestApp, version: Version, verdicts: Verdicts) -> Report {
    let installed = vec![InstalledVersion { version: bundled(), verdicts }];
    Report { installed, ..seed::report(version, portal.now()) }
}

#[tokio::test]
async fn a_machine_that_is_lost_is_told_on_every_page_after_its_rollout_is_over() {
    let (_portal, mut browser, _) = portal_with_a_lost_machine().await;
    let still = "It is silent still: no route.";
    assert!(browser.get("/environments").await.text("#machine-1-in-1").contains("lost"));
    assert!(browser.get("/machines/Machines-1").await.text(".truth").contains(still));
    let rollout = browser.get("/rollouts/Rollouts-1").await;
    assert!(rollout.text("#machine-1").contains(still) && rollout.text(".truth p").contains("1 lost."));
}

#[tokio::test]
async fn a_machine_that_made_it_after_all_is_told_as_upgraded_however_late() {
    let (portal, mut browser, id) = portal_with_a_lost_machine().await;
    let mut stream = Stream::of(&mut browser, "/rollouts/Rollouts-1").await;
    let proven = Verdicts { proven: true, ..Verdicts::default() };
    seed::answered(&portal, id, found(&portal, bundled(), proven)).await;
    portal.live.tell(Change::Machine(id));
    let told = "It answered since: it runs 2026.4.1, which is proven.";
    assert!(stream.message().await.unwrap().contains(told), "the rollout's open page hears of it");

    let row = browser.get("/environments").await.text("#machine-1-in-1");
    assert!(row.contains("up to date") && !row.contains("lost"), "{row}");
    assert!(browser.get("/machines/Machines-1").await.text(".truth").contains(told));
    let rollout = browser.get("/rollouts/Rollouts-1").await;
    assert!(rollout.text("#machine-1").contains("back, upgraded"));
    let sentence = "1 lost. The lost one answered since, and is at 2026.4.1 or newer.";
    assert!(rollout.text(".truth p").contains(sentence), "{}", rollout.text(".truth p"));
    assert!(browser.get("/rollouts").await.text("#rollout-1").contains(sentence));
}

#[tokio::test]
async fn a_machine_that_fell_back_unseen_is_told_so_and_may_go_silent_again() {
    let (portal, mut browser, id) = portal_with_a_lost_machine().await;
    let crashed = Verdicts { rejected: Some(Rejection::Crashed), launches: 3, ..Verdicts::default() };
    let report = found(&portal, old(), crashed);
    seed::answered(&portal, id, report.clone()).await;
    let told = "It answered since: it gave 2026.4.1 up, because that crashed, and runs 2026.4.0.";
    let row = browser.get("/environments").await.text("#machine-1-in-1");
    assert!(row.contains("back, fell back") && row.contains("lost 2 h ago"), "{row}");
    assert!(browser.get("/machines/Machines-1").await.text(".truth").contains(told));
    assert!(browser.get("/rollouts/Rollouts-1").await.text("#machine-1").contains(told));

    portal.clock.advance(Duration::from_secs(60));
    silent(&portal, id, report).await;
    assert!(browser.get("/environments").await.text("#machine-1-in-1").contains("silent again"));
}

#[tokio::test]
async fn a_newer_rollout_has_the_last_word() {
    let (portal, mut browser, id) = portal_with_a_lost_machine().await;
    seed::answered(&portal, id, found(&portal, old(), Verdicts::default())).await;
    assert!(browser.get("/environments").await.text("#machine-1-in-1").contains("back, not upgraded"));
    browser.post("/machines/Machines-1/upgrade", &[]).await;
    let row = browser.get("/environments").await.text("#machine-1-in-1");
    assert!(row.contains("waiting") && !row.contains("back"), "{row}");
}
