//! One machine's page: its past, how its health changed, the test of the way to it, and trusting it again.

use std::sync::Arc;

use contract::Thumbprint;
use http::StatusCode;
use octopus_server::db::machines::machine_get;
use octopus_server::health::machine_check;
use octopus_server::ids::{MachineId, SpaceId};
use octopus_server::model::Machine;
use octopus_server::rollout::create::{RolloutRequest, Selection, rollout_create};
use octopus_server::tasks::task_create_health;
use octopus_server::tentacle::fake::{FakeMachine, FakeTentacles};
use octopus_server::testing::TestApp;

use crate::browser::Browser;
use crate::seed;

/// A portal with one machine that answers, and shows the certificate of sevens.
async fn portal() -> (TestApp, FakeTentacles, MachineId) {
    let tentacles = FakeTentacles::default();
    let portal = seed::portal().await.with(|inner| inner.tentacles = Arc::new(tentacles.clone()));
    let staging = seed::environment(&portal, "Staging").await;
    let machine = seed::machine(&portal, "web-1", &[staging]).await;
    tentacles.machines().insert(machine, FakeMachine::running(contract::Version::release(2026, 1, 0)));
    (portal, tentacles, machine)
}

async fn described(portal: &TestApp, id: MachineId) -> Machine {
    machine_get(&mut portal.db.read().await.unwrap(), SpaceId::DEFAULT, id).await.unwrap().unwrap()
}

#[tokio::test]
async fn its_health_is_told_over_time_and_only_where_it_changed() {
    let (portal, tentacles, id) = portal().await;
    let mut browser = Browser::logged_in(&portal).await;
    assert!(browser.get("/machines/Machines-1").await.html.contains("It was not asked yet."));
    let machine = described(&portal, id).await;
    for is_online in [true, true, false, false, true] {
        tentacles.machines().get_mut(&id).unwrap().is_online = is_online;
        portal.clock.advance(std::time::Duration::from_secs(60));
        machine_check(&portal, &machine).await.unwrap();
    }
    let rows = browser.get("/machines/Machines-1").await.texts("[aria-label=\"Health over time\"] tbody tr");
    assert_eq!(rows.len(), 3, "{rows:?}");
    for (row, word) in rows.iter().zip(["healthy", "unreachable", "healthy"]) {
        assert!(row.contains(word), "{word}: {rows:?}");
    }
    assert!(rows[1].contains("nobody answers at"), "{rows:?}");
}

#[tokio::test]
async fn every_upgrade_and_task_that_it_had_is_listed_in_pages() {
    let (portal, _, id) = portal().await;
    let machine = described(&portal, id).await;
    machine_check(&portal, &machine).await.unwrap();
    let selection = Selection::Machines(vec![id]);
    rollout_create(&portal, SpaceId::DEFAULT, "ada", RolloutRequest::of(selection.clone())).await.unwrap();
    for _ in 0..60 {
        task_create_health(&portal, SpaceId::DEFAULT, "ada", &selection, None).await.unwrap();
    }
    let mut browser = Browser::logged_in(&portal).await;
    let row = browser.get("/machines/Machines-1").await.text("[aria-label=History] tbody tr");
    assert!(row.contains("2026.4.1") && row.contains("waiting") && row.contains("ada"), "{row}");
    assert_eq!(browser.get("/machines/Machines-1/past?kind=upgrades").await.count("tbody tr"), 1);
    assert!(browser.get("/machines/Machines-1/past?kind=deployments").await.html.contains("Nothing of this kind"));
    let first = browser.get("/machines/Machines-1/past?kind=everything").await;
    assert_eq!(first.count("tbody tr"), 50);
    assert!(first.text(".head").contains("61 entries") && first.html.contains("kind=everything&page=1"));
    let second = browser.get("/machines/Machines-1/past?kind=everything&page=1").await;
    assert_eq!(second.count("tbody tr"), 11);
    assert!(second.text("tbody tr:last-child").contains("2026.4.1"), "{}", second.html);
    assert_eq!(browser.get("/machines/Machines-9/past").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_way_to_it_is_tested_by_a_task() {
    let (portal, _, _) = portal().await;
    let mut browser = Browser::logged_in(&portal).await;
    assert_eq!(browser.get("/machines/Machines-1").await.count("form[action$='/connect']"), 1);
    let answer = browser.post("/machines/Machines-1/connect", &[]).await;
    let task = answer.location.unwrap();
    assert!(browser.get(&task).await.text("h1").contains("Test the connection to web-1"));
    assert_eq!(browser.post("/machines/Machines-9/connect", &[]).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn another_certificate_is_trusted_only_after_both_were_shown() {
    let (portal, tentacles, id) = portal().await;
    let mut browser = Browser::logged_in(&portal).await;
    let pinned = described(&portal, id).await.thumbprint;
    let found = Thumbprint([7; 32]);
    let page = browser.get("/machines/Machines-1/trust").await;
    let shown = page.texts(".fingerprint");
    assert_eq!(shown.len(), 2, "{}", page.html);
    for (text, thumbprint) in shown.iter().zip([pinned, found]) {
        assert_eq!(text.replace(' ', ""), thumbprint.to_string());
    }

    let (before, after) = (pinned.to_string(), found.to_string());
    let stale = browser.post("/machines/Machines-1/trust", &[("before", &after), ("found", &after)]).await;
    assert_eq!(stale.status, StatusCode::CONFLICT);
    let nonsense = browser.post("/machines/Machines-1/trust", &[("before", &before), ("found", "x")]).await;
    assert_eq!(nonsense.status, StatusCode::BAD_REQUEST);
    assert_eq!(described(&portal, id).await.thumbprint, pinned, "nothing was changed");

    let trusted = browser.post("/machines/Machines-1/trust", &[("before", &before), ("found", &after)]).await;
    assert_eq!(trusted.location.as_deref(), Some("/machines/Machines-1"));
    assert_eq!(described(&portal, id).await.thumbprint, found);
    let page = browser.get("/machines/Machines-1").await;
    assert!(page.text("[aria-label='What was done']").contains("admin changed machine web-1"), "{}", page.html);
    assert!(browser.get("/tasks").await.html.contains("Check the health of web-1"), "it is asked anew");

    assert!(browser.get("/machines/Machines-1/trust").await.html.contains("Nothing to do"));
    tentacles.machines().get_mut(&id).unwrap().is_online = false;
    assert!(browser.get("/machines/Machines-1/trust").await.html.contains("No certificate was shown"));
}
