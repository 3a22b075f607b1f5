//! People and what they may do, as they meet it on pages and in the REST API.

use http::StatusCode;
use octopus_server::clock::Timestamp;
use octopus_server::db::settings::setting_set;
use octopus_server::db::snapshot::KeysIssued;
use octopus_server::db::users::user_by_name;
use octopus_server::model::{Reach, Role};
use octopus_server::restored::{How, RESTORED, Restored};
use octopus_server::spaces::spaces_load;
use octopus_server::testing::TestApp;
use serde_json::{Value, json};

use crate::browser::{Browser, PASSWORD, Page};
use crate::seed;

async fn role_of(portal: &TestApp, name: &str) -> Role {
    user_by_name(&mut portal.db.read().await.unwrap(), name).await.unwrap().unwrap().role
}

/// Adds a user by the form, and logs them in by the link that it shows.
async fn joined(portal: &TestApp, boss: &mut Browser, name: &str, fields: &[(&str, &str)]) -> Browser {
    let fields: Vec<(&str, &str)> = [("name", name)].into_iter().chain(fields.iter().copied()).collect();
    let added = boss.post("/settings/users", &fields).await;
    assert_eq!(added.status, StatusCode::OK, "{}", added.html);
    let link = added.text(".print");
    let token = link.strip_prefix("/setup?token=").unwrap().to_owned();
    let mut browser = Browser::new(portal);
    assert!(browser.get(&link).await.html.contains(&format!("<b>{name}</b>")));
    let chosen = [("token", token.as_str()), ("password", PASSWORD), ("again", PASSWORD)];
    assert_eq!(browser.post("/setup", &chosen).await.status, StatusCode::SEE_OTHER);
    browser
}

fn is_refused(page: &Page) -> bool {
    page.status == StatusCode::FORBIDDEN && page.html.contains("Nothing was changed.")
}

#[tokio::test]
async fn a_viewer_sees_everything_and_changes_nothing() {
    let portal = seed::portal().await;
    let mut boss = Browser::logged_in(&portal).await;
    let staging = seed::environment(&portal, "Staging").await;
    seed::machine(&portal, "a", &[staging]).await;
    let mut viewer = joined(&portal, &mut boss, "vera", &[("role", "viewer")]).await;
    for path in ["/environments", "/machines/Machines-1", "/rollouts", "/packages", "/tasks", "/freezes", "/account"] {
        assert_eq!(viewer.get(path).await.status, StatusCode::OK, "{path}");
    }
    for path in ["/environments/upgrade", "/machines/Machines-1/check", "/machines/Machines-1/delete", "/freezes"] {
        assert!(is_refused(&viewer.post(path, &[]).await), "{path}");
    }
    for path in ["/settings/users", "/environments/new", "/machines/new", "/deploy"] {
        assert!(is_refused(&viewer.get(path).await), "{path}");
    }
    assert_eq!(boss.get("/machines/Machines-1").await.status, StatusCode::OK, "it is still there");
}

#[tokio::test]
async fn an_operator_works_in_their_own_environments_alone() {
    let portal = seed::portal().await;
    let mut boss = Browser::logged_in(&portal).await;
    let staging = seed::environment(&portal, "Staging").await;
    let production = seed::environment(&portal, "Production").await;
    seed::machine(&portal, "a", &[staging]).await;
    seed::machine(&portal, "b", &[production]).await;
    let own = staging.to_string();
    let fields = [("role", "operator"), ("reach", "some"), ("environment", own.as_str())];
    let mut olga = joined(&portal, &mut boss, "olga", &fields).await;
    assert_eq!(role_of(&portal, "olga").await, Role::Operator(Reach::Only([staging].into())));
    assert!(olga.get("/account").await.text(".head").contains("You operate the machines of Staging"));

    assert_eq!(olga.post("/machines/Machines-1/check", &[]).await.status, StatusCode::SEE_OTHER);
    assert!(is_refused(&olga.post("/machines/Machines-2/check", &[]).await));
    let pick = |machine| [("which", "picked"), ("deed", "check"), ("machine", machine)];
    assert_eq!(olga.post("/machines/selected", &pick("Machines-1")).await.status, StatusCode::OK);
    assert!(is_refused(&olga.post("/machines/selected", &pick("Machines-2")).await));
    let act = [("deed", "delete"), ("machines", "Machines-1,Machines-2")];
    assert!(is_refused(&olga.post("/machines/selected/do", &act).await));
    let print = "AB".repeat(32);
    let add = |environment| {
        [
            ("name", "new"),
            ("host", "h"),
            ("port", "10933"),
            ("thumbprint", print.as_str()),
            ("environment", environment),
        ]
    };
    let elsewhere = production.to_string();
    assert!(is_refused(&olga.post("/machines", &add(&elsewhere)).await));
    let freeze = |environment| {
        [("from", "2030-01-01T00:00"), ("until", "2030-01-02T00:00"), ("reason", "x"), ("environment", environment)]
    };
    assert!(is_refused(&olga.post("/freezes", &freeze(&elsewhere)).await));
    assert_eq!(olga.post("/freezes", &freeze(&own)).await.status, StatusCode::SEE_OTHER);
    assert!(is_refused(&olga.post("/environments/upgrade", &[]).await), "that is everything");
    let both = seed::machine(&portal, "both", &[staging, production]).await;
    assert!(is_refused(&olga.post(&format!("/machines/{both}/check"), &[]).await), "it is in production, too");
    assert_eq!(boss.get("/machines/Machines-2").await.status, StatusCode::OK);
}

#[tokio::test]
async fn roles_change_at_once_and_somebody_stays_who_can_change_them() {
    let portal = seed::portal().await;
    let mut boss = Browser::logged_in(&portal).await;
    let last = boss.post("/settings/users/Users-1", &[("role", "viewer")]).await;
    assert_eq!(last.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(last.text(".notice").contains("the last administrator"));
    let mut second = joined(&portal, &mut boss, "ada", &[("role", "administrator")]).await;
    assert_eq!(second.get("/settings/users").await.texts(".rows .name"), ["ada", "admin"]);
    assert_eq!(boss.post("/settings/users/Users-2", &[("role", "viewer")]).await.status, StatusCode::SEE_OTHER);
    assert!(is_refused(&second.get("/settings/users").await), "she is a viewer by now");
    let off = [("role", "viewer"), ("disabled", "true")];
    boss.post("/settings/users/Users-2", &off).await;
    assert_eq!(second.get("/environments").await.status, StatusCode::SEE_OTHER, "her session is over");
    let login = [("username", "ada"), ("password", PASSWORD)];
    assert_eq!(second.post("/login", &login).await.status, StatusCode::UNAUTHORIZED);
    let taken = boss.post("/settings/users", &[("name", "ADA"), ("role", "viewer")]).await;
    assert!(taken.text(".notice").contains("already a user"), "{}", taken.html);
}

#[tokio::test]
async fn people_change_their_password_and_log_out_everywhere() {
    let portal = seed::portal().await;
    let mut here = Browser::logged_in(&portal).await;
    let mut there = Browser::new(&portal);
    there.post("/login", &[("username", "admin"), ("password", PASSWORD)]).await;
    let new = "another battery staple";
    let change = |old, new, again| [("old", old), ("password", new), ("again", again)];
    for (fields, why) in [
        (change("wrong wrong wrong", new, new), "The present password is another one."),
        (change(PASSWORD, new, "other"), "The two new passwords differ."),
        (change(PASSWORD, "short", "short"), "at least 12 characters"),
    ] {
        let refused = here.post("/account/password", &fields).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(refused.text(".notice").contains(why), "{}", refused.text(".notice"));
    }
    assert_eq!(here.post("/account/password", &change(PASSWORD, new, new)).await.status, StatusCode::SEE_OTHER);
    assert_eq!(here.get("/account").await.status, StatusCode::OK, "this session goes on");
    assert_eq!(there.get("/account").await.status, StatusCode::SEE_OTHER, "the others are over");
    there.post("/login", &[("username", "admin"), ("password", new)]).await;
    assert_eq!(there.get("/account").await.status, StatusCode::OK);
    here.post("/account/sessions/end", &[]).await;
    for browser in [&mut here, &mut there] {
        assert_eq!(browser.get("/account").await.status, StatusCode::SEE_OTHER);
    }
    there.post("/login", &[("username", "admin"), ("password", new)]).await;
    assert_eq!(there.get("/account").await.status, StatusCode::OK, "who logs in again is in again");
}

#[tokio::test]
async fn an_api_key_is_shown_once_and_revoked_on_the_account_page() {
    let portal = seed::portal().await;
    let mut browser = Browser::logged_in(&portal).await;
    let made = browser.post("/account/keys", &[("purpose", "nightly"), ("scope", "full")]).await;
    let key = made.text(".print");
    assert!(key.starts_with("API-") && key.len() == 36, "{key}");
    let later = browser.get("/account").await;
    assert!(!later.html.contains(&key) && later.html.contains("nightly"));
    browser.post("/account/keys/ApiKeys-1/revoke", &[]).await;
    assert!(browser.get("/account").await.text(".rows .do").contains("revoked"));
    let empty = browser.post("/account/keys", &[("purpose", " "), ("scope", "full")]).await;
    assert_eq!(empty.status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn somebody_who_chooses_a_password_while_a_restore_waits_is_told_why_they_are_not_logged_in() {
    let portal = seed::portal().await;
    let mut boss = Browser::logged_in(&portal).await;
    let how = How::Backup { made_at: Timestamp(0), version: "1.0.0".to_owned() };
    let text = Restored::new(how, portal.now(), KeysIssued::default()).text();
    let mut tx = portal.db.write().await.unwrap();
    setting_set(&mut tx, RESTORED, &text).await.unwrap();
    tx.commit().await.unwrap();
    let added = boss.post("/settings/users", &[("name", "vera"), ("role", "viewer")]).await;
    let link = added.text(".print");
    let token = link.strip_prefix("/setup?token=").unwrap();
    let mut vera = Browser::new(&portal);
    let chosen = vera.post("/setup", &[("token", token), ("password", PASSWORD), ("again", PASSWORD)]).await;
    assert_eq!(chosen.status, StatusCode::FORBIDDEN, "{}", chosen.html);
    let told = chosen.text("[role=alert]");
    assert!(told.starts_with("The password was set, but only administrators can log in now, because this"), "{told}");
    assert_eq!((chosen.text("h1").as_str(), chosen.count("input[name=username][value=vera]")), ("Log in", 1));
    let tried = vera.post("/login", &[("username", "vera"), ("password", PASSWORD)]).await;
    assert_eq!(tried.status, StatusCode::FORBIDDEN);
    assert!(tried.text("[role=alert]").starts_with("Only administrators can log in now, because this"));
    assert_eq!(vera.get("/").await.status, StatusCode::SEE_OTHER, "nobody is logged in");
    boss.post("/settings/restore", &[]).await;
    let let_in = vera.post("/login", &[("username", "vera"), ("password", PASSWORD)]).await;
    assert_eq!(let_in.status, StatusCode::SEE_OTHER, "{}", let_in.html);
}

#[tokio::test]
async fn which_machines_do_not_know_a_new_identity_administrators_alone_are_told() {
    let portal = seed::portal().await;
    spaces_load(&portal).await.unwrap();
    let mut boss = Browser::logged_in(&portal).await;
    let staging = seed::environment(&portal, "Staging").await;
    seed::machine(&portal, "near", &[staging]).await;
    boss.post("/settings/spaces", &[("name", "Blue")]).await;
    boss.post("/spaces/Spaces-2/choose", &[]).await;
    boss.post("/environments", &[("name", "Remote"), ("automatic", "never")]).await;
    let thumbprint = "08".repeat(32);
    let (host, port) = (("host", "far.example.com"), ("port", "10933"));
    let fields = [("name", "far"), host, port, ("thumbprint", &thumbprint), ("environment", "Environments-2")];
    assert_eq!(boss.post("/machines", &fields).await.status, StatusCode::SEE_OTHER);
    boss.post("/spaces/Spaces-1/choose", &[]).await;
    boss.post("/settings/identity/ready", &[("word", "change identity")]).await;

    let page = boss.get("/settings/identity").await;
    assert_eq!(page.texts("table.rows td:first-child"), ["far in the space Blue", "near"], "{}", page.html);
    assert_eq!(page.texts("table.rows td a"), ["near"], "what this space does not know has no page here");
    let told: Value = serde_json::from_str(&boss.get("/api/identity").await.html).unwrap();
    assert_eq!((&told["MachinesBehindCount"], &told["MachinesBehind"][0]["Name"]), (&json!(2), &json!("far")));

    for role in ["operator", "viewer"] {
        let mut other = joined(&portal, &mut boss, role, &[("role", role)]).await;
        let page = other.get("/settings/identity").await;
        assert!(page.html.contains("0 of 2 machines") && page.count("table.rows") == 0, "{}", page.html);
        assert!(page.html.contains("for administrators to see"), "{}", page.html);
        let told: Value = serde_json::from_str(&other.get("/api/identity").await.html).unwrap();
        assert_eq!((&told["MachinesBehindCount"], &told["MachinesBehind"]), (&json!(2), &json!([])), "{role}");
    }
}

#[tokio::test]
async fn in_maintenance_an_operator_reads_why_nothing_can_be_changed_and_cannot_end_it() {
    let portal = seed::portal().await;
    let mut boss = Browser::logged_in(&portal).await;
    let staging = seed::environment(&portal, "Staging").await;
    seed::machine(&portal, "a", &[staging]).await;
    let own = staging.to_string();
    let fields = [("role", "operator"), ("reach", "some"), ("environment", own.as_str())];
    let mut operator = joined(&portal, &mut boss, "olga", &fields).await;
    boss.post("/settings/maintenance/begin", &[]).await;
    let page = operator.get("/settings/maintenance").await;
    assert!(page.text(".standing").contains("you can look at everything, and change nothing"), "{}", page.html);
    assert_eq!(page.count("main a.button"), 0, "{}", page.html);
    for hand in ["begin", "end"] {
        assert!(is_refused(&operator.post(&format!("/settings/maintenance/{hand}"), &[]).await));
        assert!(is_refused(&operator.get(&format!("/settings/maintenance/{hand}")).await));
    }
    let refused = operator.post("/machines/Machines-1/check", &[]).await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.html.contains("The portal is in maintenance"), "{}", refused.html);
    boss.post("/settings/maintenance/end", &[]).await;
    assert_eq!(operator.post("/machines/Machines-1/check", &[]).await.status, StatusCode::SEE_OTHER);
}
