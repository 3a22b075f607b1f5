//! What each page shows, and what its forms do.

use contract::{Thumbprint, Version};
use http::StatusCode;
use octopus_server::db::machines::machine_list;
use octopus_server::db::rollouts::rollout_list;
use octopus_server::ids::{MachineId, SpaceId, TaskId};
use octopus_server::model::{Contact, Facts, Instances, LogCategory};
use octopus_server::tentacle::fake::{FakeMachine, FakeTentacles};
use std::sync::Arc;

use crate::browser::{Browser, PASSWORD, setup_token};
use crate::seed::{self, bundled};

fn old() -> Version {
    Version::release(2026, 4, 0)
}

#[tokio::test]
async fn a_stranger_is_led_to_the_log_in_page_and_back() {
    let portal = seed::portal().await;
    let mut browser = Browser::new(&portal);
    let answer = browser.get("/rollouts?page=1").await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    let login = answer.location.unwrap();
    assert!(login.starts_with("/login?next="), "{login}");
    let token = setup_token(&portal).await;
    browser.post("/setup", &[("token", &token), ("password", PASSWORD), ("again", PASSWORD)]).await;
    browser.forget();

    let wrong = browser.post("/login", &[("username", "admin"), ("password", "wrong"), ("next", "/tasks")]).await;
    assert_eq!(wrong.status, StatusCode::UNAUTHORIZED);
    assert_eq!(wrong.text(".notice"), "The name or the password is wrong.");
    let fields = [("username", "admin"), ("password", PASSWORD), ("next", "/rollouts?page=1")];
    let right = browser.post("/login", &fields).await;
    assert_eq!((right.status, right.location.as_deref()), (StatusCode::SEE_OTHER, Some("/rollouts?page=1")));
    assert_eq!(browser.get("/rollouts?page=1").await.status, StatusCode::OK);

    let away = browser.post("/logout", &[]).await;
    assert_eq!(away.location.as_deref(), Some("/login"));
    assert_eq!(browser.get("/environments").await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn the_first_password_is_chosen_by_a_link_that_works_once() {
    let portal = seed::portal().await;
    let mut browser = Browser::new(&portal);
    let token = setup_token(&portal).await;
    assert_eq!(browser.get(&format!("/setup?token={token}")).await.count("input[name=token]"), 1);
    let differs = browser.post("/setup", &[("token", &token), ("password", PASSWORD), ("again", "other")]).await;
    assert_eq!(differs.text(".notice"), "The two passwords differ.");
    let short = browser.post("/setup", &[("token", &token), ("password", "short"), ("again", "short")]).await;
    assert_eq!(short.status, StatusCode::UNPROCESSABLE_ENTITY);
    let chosen = browser.post("/setup", &[("token", &token), ("password", PASSWORD), ("again", PASSWORD)]).await;
    assert_eq!(chosen.location.as_deref(), Some("/environments"));
    let used = browser.get(&format!("/setup?token={token}")).await;
    assert_eq!(used.status, StatusCode::FORBIDDEN);
    assert!(used.text("main").contains("does not work any more"));
}

#[tokio::test]
async fn an_empty_portal_says_what_to_do_first() {
    let portal = seed::portal().await;
    let mut browser = Browser::logged_in(&portal).await;
    let page = browser.get("/environments").await;
    assert_eq!(page.text(".blank h2"), "No environments yet");
    assert_eq!(page.count("#upgrade-all"), 0);
    for path in ["/rollouts", "/packages", "/tasks", "/deploy", "/machines/new"] {
        assert_eq!(browser.get(path).await.count(".blank"), 1, "{path}");
    }
}

#[tokio::test]
async fn one_outdated_machine_is_shown_and_upgraded_by_the_button() {
    let portal = seed::portal().await;
    let mut browser = Browser::logged_in(&portal).await;
    let staging = seed::environment(&portal, "Staging").await;
    let id = seed::machine(&portal, "web-1", &[staging]).await;
    seed::answered(&portal, id, seed::report(old(), portal.now())).await;
    portal.clock.advance(std::time::Duration::from_secs(12));

    let page = browser.get("/environments").await;
    assert!(page.text("#upgrade-all button").starts_with("Upgrade all Tentacles (1)"));
    let row = page.text("#machine-1-in-1");
    for words in ["web-1", "healthy", "2026.4.0 → 2026.4.1", "upgrade available", "seen 12 s ago"] {
        assert!(row.contains(words), "{words} in {row}");
    }
    let made = browser.post("/environments/upgrade", &[]).await;
    assert_eq!((made.status, made.location.as_deref()), (StatusCode::SEE_OTHER, Some("/rollouts/Rollouts-1")));
    let rollouts = rollout_list(&mut portal.db.read().await.unwrap(), SpaceId::DEFAULT, 0, 10).await.unwrap();
    assert_eq!((rollouts.len(), &rollouts[0].target), (1, &bundled()));

    let page = browser.get("/environments").await;
    assert_eq!(page.text("#upgrade-all button"), "An upgrade is under way");
    assert!(page.text("#machine-1-in-1").contains("waiting"));
    let rollout = browser.get("/rollouts/Rollouts-1").await;
    assert_eq!(rollout.text(".truth p"), "◐running 0 of 1 upgraded, 1 waiting.");
    assert!(rollout.text("#machine-1").contains("2026.4.1"));
}

#[tokio::test]
async fn the_buttons_of_an_environment_and_of_a_machine_upgrade_just_those() {
    let portal = seed::portal().await;
    let mut browser = Browser::logged_in(&portal).await;
    let staging = seed::environment(&portal, "Staging").await;
    let production = seed::environment(&portal, "Production").await;
    for (name, environment) in [("a", staging), ("b", staging), ("c", production)] {
        let id = seed::machine(&portal, name, &[environment]).await;
        seed::answered(&portal, id, seed::report(old(), portal.now())).await;
    }
    assert_eq!(browser.post("/machines/Machines-3/upgrade", &[]).await.status, StatusCode::SEE_OTHER);
    assert_eq!(browser.post("/environments/Environments-1/upgrade", &[]).await.status, StatusCode::SEE_OTHER);
    let rollouts = rollout_list(&mut portal.db.read().await.unwrap(), SpaceId::DEFAULT, 0, 10).await.unwrap();
    let names = |place: usize| rollouts[place].machines.iter().map(|m| m.name.as_str()).collect::<Vec<_>>();
    assert_eq!((names(1), names(0)), (vec!["c"], vec!["a", "b"]));
}

#[tokio::test]
async fn a_button_that_can_do_nothing_says_why() {
    let portal = seed::portal().await;
    let mut browser = Browser::logged_in(&portal).await;
    let staging = seed::environment(&portal, "Staging").await;
    let id = seed::machine(&portal, "web-1", &[staging]).await;
    seed::answered(&portal, id, seed::report(bundled(), portal.now())).await;
    let page = browser.get("/environments").await;
    assert_eq!(page.text("#upgrade-all button[disabled]"), "Everything is up to date");
    let refused = browser.post("/environments/upgrade", &[]).await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
    assert!(refused.text("main").contains("There is nothing to upgrade"), "{}", refused.html);
}

#[tokio::test]
async fn thirty_machines_are_all_shown_and_three_thousand_are_bounded() {
    let portal = seed::portal().await;
    let mut browser = Browser::logged_in(&portal).await;
    seed::fleet(&portal, 30).await;
    let page = browser.get("/environments").await;
    assert_eq!(page.count(".environment-rows tbody tr"), 30);
    assert_eq!(page.count("section.panel"), 3);
    assert!(page.count("svg.bar rect") >= 6);
    let filtered = browser.get("/environments?state=unreachable").await;
    assert_eq!(filtered.texts(".environment-rows .status").len(), filtered.texts(".status.unreachable").len() - 1);

    let portal = seed::portal().await;
    let mut browser = Browser::logged_in(&portal).await;
    seed::fleet(&portal, 3_000).await;
    let page = browser.get("/environments").await;
    assert_eq!(page.count(".environment-rows tbody tr"), 300);
    assert!(page.text("#environment-3-head .more").starts_with("1 to 100 of 1,800 machines"));
    let found = browser.get("/environments?q=WEB-2999").await;
    assert_eq!(found.count(".environment-rows tbody tr"), 1);
}

#[tokio::test]
async fn hostile_names_and_last_words_are_escaped() {
    let portal = seed::portal().await;
    let mut browser = Browser::logged_in(&portal).await;
    let staging = seed::environment(&portal, "a&b'c").await;
    let id = seed::machine(&portal, "<img src=x onerror=alert(1)>\"'", &[staging]).await;
    let mut report = seed::report(old(), portal.now());
    report.last_words = Some("</pre><script>alert(2)</script>".into());
    report.problems = vec!["\"><b>bad</b>".into()];
    report.os = "<i>os</i>".into();
    seed::answered(&portal, id, report).await;
    browser.post("/environments/upgrade", &[]).await;
    for path in [
        "/environments",
        "/machines/Machines-1",
        "/machines/Machines-1/edit",
        "/machines/Machines-1/delete",
        "/rollouts",
        "/rollouts/Rollouts-1",
        "/environments/Environments-1/edit",
        "/environments?q=%22%3E%3Cimg%3E",
        "/nothing/%3Cimg%3E",
    ] {
        let page = browser.get(path).await;
        assert_eq!(page.count("main img[src=x], main script, main b b, main i"), 0, "{path}");
        assert!(!page.html.contains("<img src=x") && !page.html.contains("<script>alert"), "{path}");
    }
    let page = browser.get("/machines/Machines-1").await;
    assert_eq!(page.text("pre.words"), "</pre><script>alert(2)</script>");
}

#[tokio::test]
async fn environments_are_added_changed_and_deleted_by_forms() {
    let portal = seed::portal().await;
    let mut browser = Browser::logged_in(&portal).await;
    let bad = browser.post("/environments", &[("name", "../etc")]).await;
    assert_eq!(bad.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(bad.text(".notice").contains("../etc"));
    let added = browser.post("/environments", &[("name", "Staging"), ("description", "before the real one")]).await;
    assert_eq!(added.location.as_deref(), Some("/environments#environment-1"));
    let twice = browser.post("/environments", &[("name", "staging")]).await;
    assert!(twice.text(".notice").starts_with("There is already an environment with the name"), "{}", twice.html);
    let fields = [("name", "Stage"), ("disabled", "true"), ("sort_order", "5")];
    browser.post("/environments/Environments-1/edit", &fields).await;
    assert_eq!(browser.get("/environments").await.text("h2"), "Stage disabled");

    seed::machine(&portal, "web-1", &["Environments-1".parse().unwrap()]).await;
    let asked = browser.get("/environments/Environments-1/delete").await;
    assert!(asked.text("h1").starts_with("Delete Stage?"));
    let refused = browser.post("/environments/Environments-1/delete", &[]).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    assert!(refused.text("main").contains("still has 1 machine"), "{}", refused.html);
    browser.post("/machines/Machines-1/delete", &[]).await;
    let gone = browser.post("/environments/Environments-1/delete", &[]).await;
    assert_eq!(gone.location.as_deref(), Some("/environments"));
}

#[tokio::test]
async fn a_machine_is_added_only_after_its_thumbprint_was_confirmed() {
    let tentacles = FakeTentacles::default();
    let fakes = tentacles.clone();
    let portal = seed::portal().await.with(move |inner| inner.tentacles = Arc::new(fakes));
    let mut browser = Browser::logged_in(&portal).await;
    seed::environment(&portal, "Staging").await;
    let mut fake = FakeMachine::running(old());
    fake.thumbprint = Thumbprint([0xAB; 32]);
    tentacles.machines().insert(MachineId(1), fake);

    let mut fields = vec![("name", "web-1"), ("host", "web1.example.com"), ("port", "10933"), ("roles", "web, db")];
    let nowhere = browser.post("/machines/discover", &fields).await;
    assert_eq!(nowhere.text(".notice"), "A machine must belong to at least one environment.");
    fields.push(("environment", "Environments-1"));
    let found = browser.post("/machines/discover", &fields).await;
    assert_eq!(found.status, StatusCode::OK, "{}", found.html);
    assert!(found.text(".fingerprint").starts_with("ABAB ABAB"));
    assert!(machine_list(&mut portal.db.read().await.unwrap(), SpaceId::DEFAULT).await.unwrap().is_empty());

    let thumbprint = Thumbprint([0xAB; 32]).to_string();
    fields.push(("thumbprint", &thumbprint));
    let added = browser.post("/machines", &fields).await;
    assert_eq!(added.location.as_deref(), Some("/machines/Machines-1"), "{}", added.html);
    let again = browser.post("/machines/discover", &fields).await;
    assert!(again.text(".notice").starts_with("There is already a machine with the name"));

    let page = browser.get("/machines/Machines-1").await;
    assert!(page.text("main").contains("web1.example.com:10933"));
    let edit =
        [("name", "web-one"), ("host", "h"), ("port", "1"), ("thumbprint", "no"), ("environment", "Environments-1")];
    let bad = browser.post("/machines/Machines-1/edit", &edit).await;
    assert!(bad.text(".notice").starts_with("That is no thumbprint"), "{}", bad.html);
    let mut edit = edit.to_vec();
    edit[3].1 = &thumbprint;
    edit.push(("disabled", "true"));
    edit.pop();
    browser.post("/machines/Machines-1/edit", &edit).await;
    let tasks = browser.get("/tasks").await;
    assert!(tasks.text("#task-1").contains("Check the health of web-one"), "what was seen was seen elsewhere");
    edit.push(("disabled", "true"));
    browser.post("/machines/Machines-1/edit", &edit).await;
    let page = browser.get("/environments").await;
    assert!(page.text("#machine-1-in-1").contains("disabled"));
}

#[tokio::test]
async fn an_unreachable_machine_keeps_its_last_version_and_says_how_old_it_is() {
    let portal = seed::portal().await;
    let mut browser = Browser::logged_in(&portal).await;
    let staging = seed::environment(&portal, "Staging").await;
    let id = seed::machine(&portal, "web-1", &[staging]).await;
    let report = seed::report(old(), portal.now());
    portal.clock.advance(std::time::Duration::from_secs(7_200));
    let contact = Contact::Silent { reason: "no route to host".into() };
    let now = portal.now();
    seed::put_facts(
        &portal,
        id,
        &Facts { tried_at: now, contact, contact_since: now, report: Some(report), instances: Instances::default() },
    )
    .await;
    let page = browser.get("/environments").await;
    let row = page.text("#machine-1-in-1");
    assert!(row.contains("unreachable") && row.contains("2026.4.0") && row.contains("seen 2 h ago"), "{row}");
    assert_eq!(page.text("#upgrade-all button"), "Everything within reach is up to date");
    assert!(page.text("#environments-top").contains("1 unreachable run an older version"));
}

#[tokio::test]
async fn a_rollout_is_cancelled_after_a_question() {
    let portal = seed::portal().await;
    let mut browser = Browser::logged_in(&portal).await;
    let staging = seed::environment(&portal, "Staging").await;
    let id = seed::machine(&portal, "web-1", &[staging]).await;
    seed::answered(&portal, id, seed::report(old(), portal.now())).await;
    browser.post("/environments/upgrade", &[]).await;
    let asked = browser.get("/rollouts/Rollouts-1/cancel").await;
    assert!(asked.text("h1").starts_with("Cancel the upgrade to 2026.4.1?"));
    let cancelled = browser.post("/rollouts/Rollouts-1/cancel", &[]).await;
    assert_eq!(cancelled.location.as_deref(), Some("/rollouts/Rollouts-1"));
    let page = browser.get("/rollouts/Rollouts-1").await;
    assert!(page.text(".truth p").starts_with("◐cancelling"));
    assert_eq!(page.count("a[href='/rollouts/Rollouts-1/cancel']"), 0);
}

#[tokio::test]
async fn a_task_shows_its_log_and_a_long_one_shows_its_end() {
    let portal = seed::portal().await;
    let mut browser = Browser::logged_in(&portal).await;
    let staging = seed::environment(&portal, "Staging").await;
    let id = seed::machine(&portal, "web-1", &[staging]).await;
    let checked = browser.post("/machines/Machines-1/check", &[]).await;
    assert_eq!(checked.location.as_deref(), Some("/tasks/ServerTasks-1"));
    let mut tx = portal.db.write().await.unwrap();
    for number in 0..700 {
        let line = format!("<line> {number}");
        let append = octopus_server::db::tasks::task_log_append;
        append(&mut tx, TaskId(1), Some(id), portal.now(), LogCategory::Warning, &line).await.unwrap();
    }
    tx.commit().await.unwrap();
    let page = browser.get("/tasks/ServerTasks-1").await;
    assert_eq!(page.count("#log li"), 500);
    assert!(page.texts("#log li").last().unwrap().ends_with("web-1Warning: <line> 699"));
    assert!(page.text("#task-head").contains("earlier lines are in the whole log"));
    let cancelled = browser.post("/tasks/ServerTasks-1/cancel", &[]).await;
    assert_eq!(cancelled.location.as_deref(), Some("/tasks/ServerTasks-1"));
    assert_eq!(browser.get("/tasks").await.count("#task-1"), 1);
}

#[tokio::test]
async fn a_file_that_is_no_package_is_refused_in_words() {
    let portal = seed::portal().await;
    let mut browser = Browser::logged_in(&portal).await;
    let refused = browser.upload("a.nupkg", b"not a zip").await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{}", refused.html);
    let notice = refused.text(".notice");
    assert!(notice.starts_with("The file is no package that can be used. The file is not a complete zip"), "{notice}");
    let none = browser.upload("", b"").await;
    assert!(none.text(".notice").starts_with("No file was chosen."));
}

#[tokio::test]
async fn what_is_not_there_is_said_on_a_page() {
    let portal = seed::portal().await;
    let mut browser = Browser::logged_in(&portal).await;
    for path in [
        "/machines/Machines-9",
        "/rollouts/Rollouts-9",
        "/tasks/ServerTasks-9",
        "/environments/Environments-9/edit",
        "/nothing",
        "/machines/no-id",
        "/rollouts/no-id",
        "/tasks/no-id",
        "/environments/no-id/edit",
    ] {
        let page = browser.get(path).await;
        assert_eq!(page.status, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(page.text("h1"), "Not found", "{path}");
        assert!(page.text("main").contains(path.rsplit('/').find(|part| part.contains('-')).unwrap_or(path)), "{path}");
    }
}

#[tokio::test]
async fn no_page_holds_inline_code_or_asks_another_site() {
    let portal = seed::portal().await;
    let mut browser = Browser::logged_in(&portal).await;
    seed::fleet(&portal, 30).await;
    browser.post("/environments/upgrade", &[]).await;
    let pages = [
        "/environments",
        "/environments/new",
        "/environments/Environments-1/edit",
        "/environments/Environments-1/delete",
        "/freezes",
        "/machines/new",
        "/machines/Machines-5",
        "/machines/Machines-5/edit",
        "/rollouts",
        "/rollouts/Rollouts-1",
        "/rollouts/Rollouts-1/cancel",
        "/packages",
        "/deploy",
        "/tasks",
        "/tasks/ServerTasks-1",
        "/nothing",
    ];
    for path in pages {
        let page = browser.get(path).await;
        assert_eq!(page.count("[style], style, script:not([src])"), 0, "{path}");
        let document = page.document();
        let mut ids = std::collections::HashSet::new();
        for element in document.tree.nodes().filter_map(scraper::ElementRef::wrap) {
            for (name, value) in element.value().attrs() {
                assert!(!name.starts_with("on") && !name.starts_with("hx-on"), "{path}: {name}");
                let leads = matches!(name, "src" | "href" | "action");
                assert!(!leads || value.starts_with('/') || value.starts_with('#'), "{path}: {name}={value}");
                assert!(name != "id" || ids.insert(value.to_owned()), "{path}: the id {value} is there twice");
            }
        }
        assert_eq!(page.count("form:not([method])"), 0, "{path}");
        let unlabelled =
            "input:not([type=hidden]):not([id]):not([type=checkbox]), select:not([id]), textarea:not([id])";
        assert_eq!(page.count(unlabelled), 0, "{path}");
        assert_eq!(page.count("h1"), 1, "{path}");
    }
}
