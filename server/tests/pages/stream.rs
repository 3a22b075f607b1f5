//! The live stream of a page.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use contract::Version;
use futures_util::StreamExt as _;
use http::StatusCode;
use octopus_server::ids::MachineId;
use octopus_server::live::Change;
use octopus_server::rotation::tell::tell;
use octopus_server::tentacle::fake::{FakeMachine, FakeTentacles};
use octopus_server::testing::TestApp;

use crate::browser::{Browser, PASSWORD, setup_token};
use crate::seed::{self, bundled};

/// Longest wait for a message that must come.
const COMES_WITHIN: Duration = Duration::from_secs(20);

/// How long silence must last to count as silence: longer than changes are collected.
const SILENCE: Duration = Duration::from_millis(900);

pub struct Stream {
    body: BodyDataStream,
}

impl Stream {
    /// The stream that a page asks for.
    pub async fn of(browser: &mut Browser, path: &str) -> Self {
        let page = browser.get(path).await;
        let document = page.document();
        let live = document.select(&scraper::Selector::parse("#live").unwrap()).next().expect("a live page");
        let address = live.attr("hx-sse:connect").unwrap().to_owned();
        Self::at(browser, &address, &[]).await
    }

    pub async fn at(browser: &Browser, address: &str, headers: &[(&str, &str)]) -> Self {
        let answer = browser.open(address, headers).await;
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        Self { body: Body::into_data_stream(answer.into_body()) }
    }

    /// The next message; `None` where the stream ends.
    pub async fn message(&mut self) -> Option<String> {
        let piece = tokio::time::timeout(COMES_WITHIN, self.body.next()).await.expect("a message in time");
        piece.map(|piece| String::from_utf8(piece.unwrap().to_vec()).unwrap())
    }

    async fn is_silent(&mut self) -> bool {
        tokio::time::timeout(SILENCE, self.body.next()).await.is_err()
    }
}

fn targets(message: &str) -> Vec<&str> {
    message.split("hx-target=\"#").skip(1).filter_map(|rest| rest.split('"').next()).collect()
}

fn id_of(message: &str) -> &str {
    message.lines().find_map(|line| line.strip_prefix("id:")).expect("an id").trim()
}

async fn three_machines(portal: &TestApp) {
    let staging = seed::environment(portal, "Staging").await;
    for name in ["a", "b", "c"] {
        let id = seed::machine(portal, name, &[staging]).await;
        seed::answered(portal, id, seed::report(bundled(), portal.now())).await;
    }
}

#[tokio::test]
async fn one_changed_machine_sends_one_fragment() {
    let portal = seed::portal().await;
    let mut browser = Browser::logged_in(&portal).await;
    three_machines(&portal).await;
    let mut stream = Stream::of(&mut browser, "/environments").await;
    assert!(stream.is_silent().await, "the page shows the truth already");

    portal.clock.advance(Duration::from_secs(30));
    let machine = "Machines-2".parse().unwrap();
    seed::answered(&portal, machine, seed::report(bundled(), portal.now())).await;
    for _ in 0..20 {
        portal.live.tell(Change::Machine(machine));
    }
    let message = stream.message().await.unwrap();
    assert_eq!(targets(&message), ["machine-2-in-1"], "{message}");
    assert!(message.contains("seen <time") && message.contains("hx-swap=\"outerMorph\""), "{message}");
    assert!(stream.is_silent().await, "what was sent once is not sent again");

    portal.live.tell(Change::Machine(machine));
    assert!(stream.is_silent().await, "a row that did not change is not sent");
}

#[tokio::test]
async fn a_new_machine_sends_the_whole_list() {
    let portal = seed::portal().await;
    let mut browser = Browser::logged_in(&portal).await;
    three_machines(&portal).await;
    let mut stream = Stream::of(&mut browser, "/environments").await;
    assert!(stream.is_silent().await);
    let id = seed::machine(&portal, "d", &["Environments-1".parse().unwrap()]).await;
    portal.live.tell(Change::Machine(id));
    assert_eq!(targets(&stream.message().await.unwrap()), ["environments"]);
}

#[tokio::test]
async fn a_page_that_comes_back_gets_what_it_missed() {
    let portal = seed::portal().await;
    let mut browser = Browser::logged_in(&portal).await;
    three_machines(&portal).await;
    let mut stream = Stream::at(&browser, "/events?page=environments", &[]).await;
    let first = stream.message().await.unwrap();
    assert_eq!(targets(&first), ["environments"], "nobody knows what the page shows");
    drop(stream);

    let seen = [("last-event-id", id_of(&first))];
    let mut unchanged = Stream::at(&browser, "/events?page=environments", &seen).await;
    assert!(unchanged.is_silent().await);
    let machine = "Machines-1".parse().unwrap();
    seed::answered(&portal, machine, seed::report(Version::release(2026, 4, 0), portal.now())).await;
    let mut behind = Stream::at(&browser, "/events?page=environments", &seen).await;
    assert!(behind.message().await.unwrap().contains("Upgrade all Tentacles (1)"));
    assert_eq!(browser.get("/environments").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_task_that_grows_sends_only_its_new_lines() {
    let portal = seed::portal().await;
    let mut browser = Browser::logged_in(&portal).await;
    three_machines(&portal).await;
    browser.post("/machines/Machines-1/check", &[]).await;
    let mut stream = Stream::of(&mut browser, "/tasks/ServerTasks-1").await;
    assert!(stream.is_silent().await);
    let task = "ServerTasks-1".parse().unwrap();
    let mut tx = portal.db.write().await.unwrap();
    let category = octopus_server::model::LogCategory::Info;
    let append = octopus_server::db::tasks::task_log_append;
    append(&mut tx, task, None, portal.now(), category, "carriage\rreturn\nand <b>line</b>").await.unwrap();
    tx.commit().await.unwrap();
    portal.live.tell(Change::Task(task));
    let message = stream.message().await.unwrap();
    assert_eq!(targets(&message), ["log"], "{message}");
    assert!(message.contains("hx-swap=\"beforeend\"") && !message.contains("<b>"), "{message}");
}

#[tokio::test]
async fn a_page_hears_only_of_what_it_shows() {
    let portal = seed::portal().await;
    let mut browser = Browser::logged_in(&portal).await;
    three_machines(&portal).await;
    let mut stream = Stream::of(&mut browser, "/machines/Machines-1").await;
    let other = "Machines-2".parse().unwrap();
    seed::answered(&portal, other, seed::report(Version::release(1, 0, 0), portal.now())).await;
    portal.live.tell(Change::Machine(other));
    assert!(stream.is_silent().await);
}

#[tokio::test]
async fn a_listener_that_fell_behind_still_sees_the_truth() {
    let portal = seed::portal().await;
    let mut browser = Browser::logged_in(&portal).await;
    three_machines(&portal).await;
    let mut stream = Stream::of(&mut browser, "/environments").await;
    assert!(stream.is_silent().await);
    let machine = "Machines-2".parse().unwrap();
    seed::answered(&portal, machine, seed::report(Version::release(2026, 4, 0), portal.now())).await;
    for _ in 0..5_000 {
        portal.live.tell(Change::Packages);
    }
    assert!(stream.message().await.unwrap().contains("2026.4.0"));
}

#[tokio::test]
async fn a_stream_ends_with_its_session_and_with_no_other() {
    let portal = seed::portal().await;
    let mut browser = Browser::logged_in(&portal).await;
    let mut other = Browser::new(&portal);
    other.post("/login", &[("username", "admin"), ("password", PASSWORD)]).await;
    let mut stream = Stream::at(&browser, "/events?page=tasks", &[]).await;
    let mut others = Stream::at(&other, "/events?page=tasks", &[]).await;
    assert!(stream.message().await.is_some() && others.message().await.is_some());
    browser.post("/logout", &[]).await;
    assert_eq!(stream.message().await, None, "its reader logged out");
    assert!(others.is_silent().await, "somebody else's goes on");

    let token = setup_token(&portal).await;
    let new = "another battery staple";
    let chosen = browser.post("/setup", &[("token", &token), ("password", new), ("again", new)]).await;
    assert_eq!(chosen.status, StatusCode::SEE_OTHER);
    assert_eq!(others.message().await, None, "its reader's password is another one now");
}

#[tokio::test]
async fn streams_are_for_people_who_logged_in_and_end_with_the_portal() {
    let portal = seed::portal().await;
    let stranger = Browser::new(&portal).open("/events?page=environments", &[]).await;
    assert_eq!(stranger.status(), StatusCode::UNAUTHORIZED);
    let browser = Browser::logged_in(&portal).await;
    assert_eq!(browser.open("/events?page=nonsense", &[]).await.status(), StatusCode::BAD_REQUEST);
    let mut stream = Stream::at(&browser, "/events?page=tasks", &[]).await;
    assert!(stream.message().await.is_some());
    portal.shutdown.cancel();
    assert!(stream.message().await.is_none());
}

#[tokio::test]
async fn a_change_of_the_identity_is_followed_machine_by_machine_by_whoever_may_see_them() {
    let fleet = FakeTentacles::default();
    let portal = seed::portal().await.with(|inner| inner.tentacles = Arc::new(fleet.clone()));
    let mut browser = Browser::logged_in(&portal).await;
    three_machines(&portal).await;
    let ids: Vec<MachineId> = ["Machines-1", "Machines-2", "Machines-3"].map(|id| id.parse().unwrap()).into();
    for id in &ids {
        fleet.machines().insert(*id, FakeMachine::running(bundled()));
        fleet.machines().get_mut(id).unwrap().is_online = false;
    }
    let mut stream = Stream::of(&mut browser, "/settings/identity").await;
    assert!(stream.is_silent().await, "the page shows the truth already");
    browser.post("/settings/identity/ready", &[("word", "change identity")]).await;
    let message = stream.message().await.unwrap();
    assert!(message.contains("0 of 3 machines") && message.contains("type 3"), "{message}");

    for (done, id) in (1..).zip(&ids[..2]) {
        fleet.machines().get_mut(id).unwrap().is_online = true;
        portal.clock.advance(Duration::from_secs(60));
        tell(&portal).await.unwrap();
        // What one machine after the other did may come in one message or in several.
        let mut message = stream.message().await.unwrap();
        while !message.contains(&format!("{done} of 3 machines")) {
            message = stream.message().await.unwrap();
        }
        assert!(!message.contains("id=\"identity-prints\""), "the thumbprints stay as they are: {message}");
    }
    let page = browser.get("/settings/identity").await;
    assert_eq!((page.texts("#identity-behind td a"), page.count("#identity-course")), (vec!["c".to_owned()], 1));
}
