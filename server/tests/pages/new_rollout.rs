//! The page that draws up a rollout and shows what it would do, and the hold on a machine's page.

use contract::Version;
use http::StatusCode;
use octopus_server::model::Report;
use octopus_server::testing::TestApp;

use crate::browser::{Browser, Page};
use crate::seed;

/// What a machine says that no portal ever commanded.
fn report(version: Version, portal: &TestApp) -> Report {
    Report { generation: 0, ..seed::report(version, portal.now()) }
}

/// A portal with so many outdated machines that answer, a browser, and nothing under way.
async fn portal(count: usize) -> (TestApp, Browser) {
    let portal = seed::portal().await;
    let browser = Browser::logged_in(&portal).await;
    let staging = seed::environment(&portal, "Staging").await;
    for n in 1..=count {
        let id = seed::machine(&portal, &format!("web-{n}"), &[staging]).await;
        seed::answered(&portal, id, report(Version::release(2026, 4, 0), &portal)).await;
    }
    (portal, browser)
}

fn problem(page: &Page) -> String {
    page.text("[role=alert]")
}

#[tokio::test]
async fn a_rollout_is_drawn_up_looked_at_and_started_and_nothing_starts_that_was_not_looked_at() {
    let (portal, mut browser) = portal(4).await;
    let blank = browser.get("/rollouts/new").await;
    assert_eq!((blank.status, blank.count(".wave-rows li"), blank.count(".preview")), (StatusCode::OK, 4, 0));
    let fields = [("wave_takes", "next"), ("wave_value", "1"), ("max_in_flight", "2"), ("failure_budget", "1")];
    let with = |more: &[(&'static str, String)]| {
        let fields = fields.iter().map(|(name, value)| (*name, (*value).to_owned()));
        fields.chain(more.iter().cloned()).collect::<Vec<_>>()
    };
    let doing = |what: &str| ("do", what.to_owned());
    let post = async |browser: &mut Browser, fields: Vec<(&'static str, String)>| {
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        browser.post("/rollouts/new", &fields).await
    };
    let longer = post(&mut browser, with(&[doing("add")])).await;
    assert_eq!((longer.count(".wave-rows li"), longer.count(".preview")), (2, 0));

    browser.post("/machines/Machines-4/hold", &[("reason", "month end")]).await;
    let page = post(&mut browser, with(&[doing("preview")])).await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.html);
    let truth = page.text(".preview .truth");
    assert!(truth.contains("3 of 4 machines chosen would be upgraded to 2026.4.1, at most 2"), "{truth}");
    assert!(page.text(".preview .truth").contains("unknown yet"), "nothing was measured");
    assert_eq!(page.count(".preview .waves li"), 2);
    assert_eq!(page.texts(".preview tbody td"), ["web-4 wave 2", "Admin holds it: month end."]);
    assert_eq!(page.text(".preview .start"), "Start the rollout with 4 machines");
    assert_eq!(page.count(".preview .notice"), 0, "half of a role is not more than half");
    let document = page.document();
    let hidden = scraper::Selector::parse("input[name=choice]").unwrap();
    let choice = document.select(&hidden).next().unwrap().attr("value").unwrap().to_owned();

    // Meanwhile one of them was upgraded.
    let id = octopus_server::ids::MachineId(3);
    seed::answered(&portal, id, report(seed::bundled(), &portal)).await;
    let start = with(&[("choice", choice), doing("start")]);
    let refused = post(&mut browser, start.clone()).await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
    assert!(problem(&refused).contains("Nothing was started"), "{}", problem(&refused));
    assert_eq!(refused.text(".preview .start"), "Start the rollout with 3 machines");
    assert_eq!(browser.get("/rollouts/Rollouts-1").await.status, StatusCode::NOT_FOUND);

    seed::answered(&portal, id, report(Version::release(2026, 4, 0), &portal)).await;
    let started = post(&mut browser, start).await;
    assert_eq!(started.location.as_deref(), Some("/rollouts/Rollouts-1"));
    assert!(browser.get("/rollouts/Rollouts-1").await.text(".meters").contains("of at most 2"));
}

#[tokio::test]
async fn a_person_says_what_becomes_of_absent_machines_and_why_hours_do_not_count() {
    let (_portal, mut browser) = portal(1).await;
    let blank = browser.get("/rollouts/new").await;
    assert_eq!(blank.texts("select[name=offline] [selected], select[name=late_arrivals] [selected]").len(), 2);
    let reason = ("ignore_windows", "a hole in the old version");
    let fields = [("offline", "leave"), ("late_arrivals", "leave"), reason, ("do", "preview")];
    let page = browser.post("/rollouts/new", &fields).await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.html);
    let chosen = page.texts("select[name=offline] [selected], select[name=late_arrivals] [selected]");
    assert_eq!(chosen, ["are left as they are", "are left as they are"]);
    assert!(page.html.contains("value=\"a hole in the old version\""));
    let hidden = scraper::Selector::parse("input[name=choice]").unwrap();
    let choice = page.document().select(&hidden).next().unwrap().attr("value").unwrap().to_owned();
    let start = [("offline", "leave"), ("late_arrivals", "leave"), reason, ("choice", &choice), ("do", "start")];
    let started = browser.post("/rollouts/new", &start).await;
    assert_eq!(started.location.as_deref(), Some("/rollouts/Rollouts-1"), "{}", problem(&started));
    let page = browser.get("/rollouts/Rollouts-1").await;
    let told = page.text("main");
    assert!(told.contains("in freezes") && told.contains(": a hole in the old version"), "who and why: {told}");
    let wrong = browser.post("/rollouts/new", &[("wait_hours", "0")]).await;
    assert!(problem(&wrong).contains("waited for must be between 1 and 8760"), "{}", problem(&wrong));
}

#[tokio::test]
async fn what_cannot_be_is_told_with_the_form_as_it_was_typed() {
    let (_portal, mut browser) = portal(1).await;
    let fields = [("scope", "machines"), ("machines", "web-1, web-9"), ("max_in_flight", "7"), ("do", "preview")];
    let page = browser.post("/rollouts/new", &fields).await;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(problem(&page).contains("No machine is called \"web-9\""), "{}", problem(&page));
    assert_eq!(page.text("textarea"), "web-1, web-9");
    let page = browser.post("/rollouts/new", &[("target", "9.9.9")]).await;
    assert!(problem(&page).contains("no Tentacle package of version 9.9.9"), "{}", problem(&page));
}

#[tokio::test]
async fn a_machine_is_held_and_let_go_on_its_page_and_says_why_it_is_not_upgraded() {
    let (_portal, mut browser) = portal(1).await;
    let path = "/machines/Machines-1";
    let page = browser.get(path).await;
    assert!(page.text("#machine").contains("2026.4.1 is there for it, and nobody asked for that."));
    assert_eq!(
        browser.post("/machines/Machines-1/hold", &[]).await.status,
        StatusCode::BAD_REQUEST,
        "it needs a reason"
    );
    let past = [("reason", "x"), ("until", "2001-01-01T00:00")];
    assert_eq!(browser.post("/machines/Machines-1/hold", &past).await.status, StatusCode::BAD_REQUEST);
    let held =
        browser.post("/machines/Machines-1/hold", &[("reason", "month end"), ("until", "2099-12-02T08:30")]).await;
    assert_eq!(held.location.as_deref(), Some(path));
    let page = browser.get(path).await;
    let sentence = "but admin holds it until 2099-12-02 08:30 UTC: month end.";
    assert!(page.text("#machine").contains(sentence), "{}", page.text("#machine"));
    assert!(!page.html.contains("/machines/Machines-1/upgrade"), "it is not offered");
    assert_eq!(browser.get("/environments").await.text("tbody .tag.warn"), "held");
    browser.post("/machines/Machines-1/release", &[]).await;
    let page = browser.get(path).await;
    assert!(page.text("#machine").contains("nobody asked for that"));
    assert_eq!(
        page.texts(".events li .break"),
        ["admin released machine web-1", "admin held machine web-1 until 2099-12-02 08:30 UTC: month end"]
    );
}
