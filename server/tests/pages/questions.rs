//! The question before each hand of a rollout: what will happen, to how many machines, and that asking changes nothing.

use http::StatusCode;

use crate::browser::Browser;
use crate::seed;
use contract::Version;

/// A portal with a rollout of three machines that wait.
async fn waiting() -> (octopus_server::testing::TestApp, Browser) {
    let portal = seed::portal().await;
    let mut browser = Browser::logged_in(&portal).await;
    let staging = seed::environment(&portal, "Staging").await;
    for name in ["a", "b", "c"] {
        let id = seed::machine(&portal, name, &[staging]).await;
        seed::answered(&portal, id, seed::report(Version::release(2026, 4, 0), portal.now())).await;
    }
    assert_eq!(browser.post("/environments/upgrade", &[]).await.status, StatusCode::SEE_OTHER);
    (portal, browser)
}

#[tokio::test]
async fn a_hand_asks_first_and_says_to_how_many_machines_what_will_happen() {
    let (_portal, mut browser) = waiting().await;
    let rollout = "/rollouts/Rollouts-1";
    let questions = [
        ("pause", "Pause the rollout?", "3 machines wait", "Pause rollout"),
        ("retry?machine=Machines-2", "Retry b?", "b: begun again", "Retry b"),
        ("skip?machine=Machines-3", "Leave c out?", "c keeps what it runs", "Leave out c"),
        ("release-wave?wave=1", "Release wave 1?", "of wave 1 begin", "Release"),
        ("ignore-windows", "Begin outside maintenance windows?", "3 machines may begin", "Begin 3 machines"),
        ("release-version?runtime=linux-x64", "for linux-x64?", "3 machines wait", "Release 2026.4.1 for linux-x64"),
    ];
    for (path, title, consequence, button) in questions {
        let page = browser.get(&format!("{rollout}/{path}")).await;
        assert_eq!(page.status, StatusCode::OK, "{path}");
        assert!(page.text("[data-question] h1").contains(title), "{path}: {}", page.text("h1"));
        assert!(page.text("[data-question] p").contains(consequence), "{path}: {}", page.text("[data-question] p"));
        assert!(page.text("[data-question] form button").starts_with(button), "{path}");
        let action = path.split('?').next().unwrap();
        assert_eq!(page.count(&format!("form[method=post][action='{rollout}/{action}']")), 1, "{path}");
        assert_eq!(page.count(&format!("a.button[href='{rollout}']")), 1, "{path}: there is a way back");
    }
    assert_eq!(browser.get(&format!("{rollout}/skip?machine=Machines-3")).await.count("[name=machine]"), 1);
    assert_eq!(browser.get(&format!("{rollout}/ignore-windows")).await.count("#why[required]"), 1);
    let page = browser.get(rollout).await;
    assert!(page.text(".truth").contains("0 of 3 upgraded, 3 waiting"), "asking changed it: {}", page.text(".truth"));
    assert_eq!(page.count("#rollout-events li"), 0);
}

#[tokio::test]
async fn what_no_hand_is_called_is_not_found() {
    let (_portal, mut browser) = waiting().await;
    for path in ["explode", "skip", "skip?machine=nonsense", "release-wave?wave=x"] {
        let page = browser.get(&format!("/rollouts/Rollouts-1/{path}")).await;
        assert_eq!(page.status, StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(browser.get("/rollouts/Rollouts-99/pause").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_page_of_a_rollout_has_a_cell_for_each_machine_and_leads_to_its_trail() {
    let (_portal, mut browser) = waiting().await;
    let page = browser.get("/rollouts/Rollouts-1").await;
    assert_eq!(page.count("ol.waves a.cell.waiting"), 3);
    assert_eq!(page.count("a.cell[href='/machines/Machines-1'][aria-label^='a: waiting']"), 1, "{}", page.html);
    assert_eq!(page.count("a.cell:not([tabindex='-1'])"), page.count("ol.waves li"), "one stop for Tab in each wave");
    browser.post("/rollouts/Rollouts-1/pause", &[("why", "lunch")]).await;
    let page = browser.get("/rollouts/Rollouts-1").await;
    assert_eq!(page.count("a[href='/audit?document=Rollouts-1']"), 1);
    let trail = browser.get("/audit?document=Rollouts-1").await;
    assert!(trail.text("main").contains("paused Rollouts-1: lunch"), "{}", trail.text("main"));
}
