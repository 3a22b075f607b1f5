//! Filters of the environments page, and what is done to many machines at once.

use contract::Version;
use http::StatusCode;
use octopus_server::db::machine_events::machine_event_list;
use octopus_server::db::machine_holds::hold_get;
use octopus_server::db::machines::{machine_get, machine_list};
use octopus_server::ids::{MachineId, SpaceId};
use octopus_server::testing::TestApp;

use crate::browser::{Browser, Page};
use crate::seed::{self, bundled};

const ROW: &str = ".environment-rows tbody tr";

fn names(page: &Page) -> Vec<String> {
    page.texts(".environment-rows .name a")
}

/// Answers the question of a page as its form would.
async fn confirm(browser: &mut Browser, question: &Page, reason: &str) -> Page {
    let document = question.document();
    let hidden = scraper::Selector::parse("form.panel input[type=hidden]").unwrap();
    let value = |input: scraper::ElementRef<'_>, name: &str| input.attr(name).unwrap_or_default().to_owned();
    let mut fields: Vec<(String, String)> =
        document.select(&hidden).map(|input| (value(input, "name"), value(input, "value"))).collect();
    fields.push(("reason".to_owned(), reason.to_owned()));
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    browser.post("/machines/selected/do", &fields).await
}

async fn is_disabled(portal: &TestApp, id: i64) -> bool {
    let mut conn = portal.db.read().await.unwrap();
    machine_get(&mut conn, SpaceId::DEFAULT, MachineId(id)).await.unwrap().unwrap().is_disabled
}

#[tokio::test]
async fn machines_are_filtered_by_role_health_and_version_state_and_put_in_order() {
    let portal = seed::portal().await;
    let mut browser = Browser::logged_in(&portal).await;
    seed::fleet(&portal, 60).await;
    let all = browser.get("/environments").await;
    assert_eq!(all.count(ROW), 60);
    let options = all.texts("#role option");
    assert_eq!(options, ["Any role", "cache", "web"]);
    let cache = browser.get("/environments?role=CACHE").await;
    assert_eq!(cache.count(ROW), 20);
    assert_eq!(cache.text("#role option[selected]"), "cache");
    let outdated = browser.get("/environments?fit=outdated&state=healthy").await;
    assert!(outdated.count(ROW) > 0);
    for row in outdated.texts(ROW) {
        assert!(row.contains("upgrade available") && row.contains("healthy"), "{row}");
    }
    let unwell = browser.get("/environments?environment=Environments-3&sort=health").await;
    let words = unwell.texts("#environment-3 tbody .status");
    let place = |word: &str| words.iter().position(|status| status.ends_with(word)).unwrap();
    assert!(place("▲unhealthy") < place("●healthy") && place("●healthy") < place("disabled"), "{words:?}");
    assert!(unwell.html.contains("sort=health&#38;number=") || unwell.count(".more") == 0, "the order is kept");
    let nothing = browser.get("/environments?role=mail").await;
    assert_eq!((nothing.count(ROW), nothing.count("#selected")), (0, 0));
}

#[tokio::test]
async fn a_large_environment_is_turned_page_by_page() {
    let portal = seed::portal().await;
    let mut browser = Browser::logged_in(&portal).await;
    seed::fleet(&portal, 450).await;
    let first = browser.get("/environments").await;
    assert!(first.text("#environment-3-head .more").starts_with("1 to 100 of 270 machines"));
    let last = browser.get("/environments?environment=Environments-3&number=2").await;
    assert!(last.text(".more").starts_with("201 to 270 of 270 machines Previous"), "{}", last.text(".more"));
    assert_eq!((last.count(ROW), last.texts(".more a").len()), (70, 1));
    let beyond = browser.get("/environments?environment=Environments-3&number=99").await;
    assert_eq!(beyond.count(ROW), 70, "an address from before still shows machines");
    assert!(!names(&first).contains(&names(&last)[0]));
}

#[tokio::test]
async fn a_question_says_how_many_and_changes_nothing() {
    let portal = seed::portal().await;
    let mut browser = Browser::logged_in(&portal).await;
    seed::fleet(&portal, 60).await;
    let picked = [("which", "picked"), ("deed", "disable"), ("machine", "Machines-1"), ("machine", "Machines-2")];
    let question = browser.post("/machines/selected", &picked).await;
    assert_eq!(question.text("h1"), "Disable 2 machines?");
    assert_eq!(question.texts(".named li"), ["dev-0000", "stage-0001"]);
    assert!(!is_disabled(&portal, 1).await);
    let done = confirm(&mut browser, &question, "").await;
    assert_eq!(done.location.as_deref(), Some("/environments?"));
    assert!(is_disabled(&portal, 1).await && is_disabled(&portal, 2).await && !is_disabled(&portal, 3).await);
    let events = machine_event_list(&mut portal.db.read().await.unwrap(), MachineId(1)).await.unwrap();
    assert_eq!((events[0].what.as_str(), events[0].line.as_str()), ("Disable", "admin disabled machine dev-0000"));

    let nobody = browser.post("/machines/selected", &[("which", "picked"), ("deed", "delete")]).await;
    assert_eq!(nobody.status, StatusCode::BAD_REQUEST);
    assert!(nobody.html.contains("Tick the machines you mean"));
}

#[tokio::test]
async fn all_that_match_a_filter_are_meant_on_every_page_of_it() {
    let portal = seed::portal().await;
    let mut browser = Browser::logged_in(&portal).await;
    seed::fleet(&portal, 450).await;
    let filter = "environment=Environments-3&role=cache";
    let page = browser.get(&format!("/environments?{filter}")).await;
    let shown = page.text(".selected .which label:nth-child(3)");
    assert_eq!(shown, "All 90 machines that match");
    let question =
        browser.post("/machines/selected", &[("which", "all"), ("filter", filter), ("deed", "delete")]).await;
    assert_eq!(question.text(".button.grave"), "Delete 90 machines");
    assert!(question.text(".named").contains("and 70 more"));
    // What comes after the question is not meant by the answer.
    seed::machine(&portal, "late", &["Environments-3".parse().unwrap()]).await;
    let done = confirm(&mut browser, &question, "").await;
    assert_eq!(done.location.as_deref(), Some("/environments?environment=Environments-3&role=cache"));
    let left = machine_list(&mut portal.db.read().await.unwrap(), SpaceId::DEFAULT).await.unwrap();
    assert_eq!(left.len(), 450 - 90 + 1);
}

#[tokio::test]
async fn many_machines_are_upgraded_checked_and_held() {
    let portal = seed::portal().await;
    let mut browser = Browser::logged_in(&portal).await;
    let staging = seed::environment(&portal, "Staging").await;
    for name in ["a", "b", "c"] {
        let id = seed::machine(&portal, name, &[staging]).await;
        seed::answered(&portal, id, seed::report(Version::release(2026, 4, 0), portal.now())).await;
    }
    let two = |deed| [("which", "picked"), ("deed", deed), ("machine", "Machines-1"), ("machine", "Machines-3")];
    let question = browser.post("/machines/selected", &two("hold")).await;
    assert_eq!(question.text("h1"), "Hold 2 machines?");
    assert_eq!(confirm(&mut browser, &question, " ").await.status, StatusCode::BAD_REQUEST, "a hold has a reason");
    confirm(&mut browser, &question, "month end").await;
    let mut conn = portal.db.read().await.unwrap();
    let hold = hold_get(&mut conn, MachineId(3), portal.now()).await.unwrap().unwrap();
    assert_eq!((hold.reason.as_str(), hold.by.as_str()), ("month end", "admin"));
    drop(conn);
    let question = browser.post("/machines/selected", &two("release")).await;
    confirm(&mut browser, &question, "").await;
    assert_eq!(hold_get(&mut portal.db.read().await.unwrap(), MachineId(3), portal.now()).await.unwrap(), None);

    let question = browser.post("/machines/selected", &two("upgrade")).await;
    assert_eq!(question.text(".actions .button"), "Upgrade 2 machines");
    let begun = confirm(&mut browser, &question, "").await;
    assert_eq!(begun.location.as_deref(), Some("/rollouts/Rollouts-1"));
    let page = browser.get("/rollouts/Rollouts-1").await;
    assert!(page.html.contains(&bundled().to_string()) && page.html.contains(">a<") && !page.html.contains(">b<"));
    let question = browser.post("/machines/selected", &two("check")).await;
    let begun = confirm(&mut browser, &question, "").await;
    assert!(begun.location.unwrap().starts_with("/tasks/ServerTasks-"));
}

#[tokio::test]
async fn one_machine_alone_is_not_called_all_machines() {
    let portal = seed::portal().await;
    let mut browser = Browser::logged_in(&portal).await;
    let staging = seed::environment(&portal, "Staging").await;
    seed::machine(&portal, "web-1", &[staging]).await;
    let whole = ".selected .which label:nth-child(3)";
    assert_eq!(browser.get("/environments").await.text(whole), "The only machine");
    assert_eq!(browser.get("/environments?q=web").await.text(whole), "The only machine that matches");
    seed::machine(&portal, "web-2", &[staging]).await;
    assert_eq!(browser.get("/environments").await.text(whole), "All 2 machines");
}
