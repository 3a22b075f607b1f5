//! The pages below Settings that hold for the whole portal.

use std::time::Duration;

use http::StatusCode;
use octopus_server::ids::SpaceId;
use octopus_server::retention::{Retention, retention_get};

use crate::browser::{Browser, PASSWORD};
use crate::seed;

#[tokio::test]
async fn every_page_of_the_settings_leads_to_every_other() {
    let portal = seed::portal().await;
    let mut browser = Browser::logged_in(&portal).await;
    let paths = ["/account", "/settings/users", "/settings/identity", "/settings/machines", "/settings/windows"];
    let more = ["/settings/restore", "/settings/retention", "/settings/spaces", "/settings/maintenance"];
    for path in paths.into_iter().chain(more) {
        let page = browser.get(path).await;
        assert_eq!(page.status, StatusCode::OK, "{path}");
        assert_eq!(page.count(".subnav a"), 9, "{path}");
        assert_eq!(page.count(&format!(".subnav a[href='{path}'][aria-current=page]")), 1, "{path}");
    }
}

#[tokio::test]
async fn the_identity_is_shown_with_who_trusts_it_and_is_changed_by_whoever_types_the_words() {
    let portal = seed::portal().await;
    let mut browser = Browser::logged_in(&portal).await;
    seed::fleet(&portal, 12).await;
    let page = browser.get("/settings/identity").await;
    assert_eq!(page.text(".fingerprint").replace(' ', ""), portal.identities.thumbprint().to_string());
    assert!(page.text(".facts").contains("answered when they were last asked"), "{}", page.html);
    let refused = browser.post("/settings/identity/ready", &[("word", "yes")]).await;
    assert_eq!((refused.status, refused.count(".notice")), (StatusCode::UNPROCESSABLE_ENTITY, 1));
    assert!(portal.identities.set().next.is_none());
    let readied = browser.post("/settings/identity/ready", &[("word", "Change identity")]).await;
    assert_eq!(readied.location.as_deref(), Some("/settings/identity"));
    let page = browser.get("/settings/identity").await;
    assert_eq!((page.count(".fingerprint"), page.count("table.rows tbody tr")), (2, 12), "{}", page.html);
    let refused = browser.post("/settings/identity/use", &[]).await;
    assert!(refused.text(".notice").contains("12 machine(s) would be cut off"), "{}", refused.html);
    browser.post("/settings/identity/use", &[("machines", "12")]).await;
    assert!(portal.identities.set().former.is_some());
    let page = browser.get("/settings/identity").await;
    assert!(page.html.contains("Give the former identity up"), "{}", page.html);
    browser.post("/settings/identity/forget", &[("machines", "12")]).await;
    let page = browser.get("/settings/identity").await;
    assert!(page.count(".fingerprint") == 1 && page.html.contains("Change identity"), "{}", page.html);
}

#[tokio::test]
async fn the_machine_policy_is_changed_and_what_would_fail_machines_is_refused() {
    let portal = seed::portal().await;
    let mut browser = Browser::logged_in(&portal).await;
    let configured = portal.deadlines(SpaceId::DEFAULT);
    assert_eq!(browser.get("/settings/machines").await.count("input[type=number]"), 9);
    let saved = browser.post("/settings/machines", &[("checking_s", "45"), ("health_interval_s", "120")]).await;
    assert_eq!(saved.location.as_deref(), Some("/settings/machines"));
    assert_eq!(portal.deadlines(SpaceId::DEFAULT).checking, Duration::from_secs(45));
    assert_eq!(portal.health_interval(SpaceId::DEFAULT), Duration::from_secs(120));
    let page = browser.get("/settings/machines").await;
    assert_eq!(page.count("#checking_s[value='45']"), 1);
    assert_eq!(page.count("#restarting_s[value=''][placeholder='120']"), 1, "{}", page.html);

    for (name, value) in [("checking_s", "1"), ("proving_time_s", "3000"), ("drain_s", "soon")] {
        let refused = browser.post("/settings/machines", &[(name, value)]).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{name}");
        assert_eq!(
            (refused.count(".notice"), portal.deadlines(SpaceId::DEFAULT).checking),
            (1, Duration::from_secs(45))
        );
    }
    browser.post("/settings/machines", &[]).await;
    assert_eq!(portal.deadlines(SpaceId::DEFAULT), configured, "emptied, the configured ones hold again");
}

#[tokio::test]
async fn windows_and_automatic_upgrades_stand_in_one_table() {
    let portal = seed::portal().await;
    let mut browser = Browser::logged_in(&portal).await;
    assert!(browser.get("/settings/windows").await.html.contains("No environments yet"));
    let fields = [
        ("name", "Production"),
        ("cron", "0 22 * * 1-5"),
        ("minutes", "90"),
        ("zone", "Europe/Berlin"),
        ("automatic", "careful"),
    ];
    let added = browser.post("/environments", &fields).await;
    assert_eq!(added.status, StatusCode::SEE_OTHER, "{}", added.html);
    seed::environment(&portal, "Staging").await;
    let rows = browser.get("/settings/windows").await.texts("tbody tr");
    assert!(rows[0].contains("0 22 * * 1-5 for 90 min, Europe/Berlin") && rows[0].contains("when the portal brings"));
    assert!(rows[1].contains("at any hour") && rows[1].contains("never"), "{rows:?}");
}

#[tokio::test]
async fn what_is_kept_is_set_by_an_administrator() {
    let portal = seed::portal().await;
    let mut browser = Browser::logged_in(&portal).await;
    assert_eq!(browser.get("/settings/retention").await.count("#days[value='90']"), 1);
    let kept = async || retention_get(&mut portal.db.read().await.unwrap(), SpaceId::DEFAULT).await.unwrap();
    browser.post("/settings/retention", &[("days", "14"), ("tasks", "")]).await;
    assert_eq!(kept().await, Retention { days: Some(14), tasks: None });
    for days in ["0", "100000", "x"] {
        let refused = browser.post("/settings/retention", &[("days", days)]).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{days}");
    }
    assert_eq!(kept().await, Retention { days: Some(14), tasks: None });
}

#[tokio::test]
async fn the_log_in_page_says_how_to_begin_and_that_one_is_out() {
    let portal = seed::portal().await;
    let mut browser = Browser::new(&portal);
    assert!(browser.get("/login").await.text(".notice").contains("Nobody has chosen a password yet"));
    let mut browser = Browser::logged_in(&portal).await;
    let fields = [("old", PASSWORD), ("password", "a new long password"), ("again", "a new long password")];
    let changed = browser.post("/account/password", &fields).await.location.unwrap();
    assert!(browser.get(&changed).await.text(".notice.good").contains("Your password was changed"));
    let out = browser.post("/account/sessions/end", &[]).await.location.unwrap();
    let page = browser.get(&out).await;
    assert_eq!(page.texts(".notice"), ["You are logged out everywhere. Log in to go on."]);
}

#[tokio::test]
async fn a_portal_that_was_never_restored_says_so() {
    let portal = seed::portal().await;
    let page = Browser::logged_in(&portal).await.get("/settings/restore").await;
    assert!(page.text(".empty").contains("never restored"), "{}", page.html);
}

#[tokio::test]
async fn maintenance_begins_and_ends_after_a_question_and_every_page_says_so() {
    let portal = seed::portal().await;
    let mut browser = Browser::logged_in(&portal).await;
    let shown = ["/", "/environments", "/rollouts", "/tasks", "/audit", "/account"];
    let page = browser.get("/settings/maintenance").await;
    assert_eq!((page.count("a[href$='/begin'][data-ask]"), page.count(".standing")), (1, 0), "{}", page.html);
    let asked = browser.get("/settings/maintenance/begin").await;
    let question = asked.text("[data-question]");
    assert!(question.contains("can look at everything and change nothing, in every space"), "{question}");
    assert!(question.contains("Nothing is under way now"), "{question}");
    assert_eq!(asked.count("form[method=post][action='/settings/maintenance/begin']"), 1, "{}", asked.html);

    let begun = browser.post("/settings/maintenance/begin", &[]).await;
    assert_eq!(begun.location.as_deref(), Some("/settings/maintenance"), "{}", begun.html);
    let client = browser.get("/api/serverstatus").await.html;
    assert!(client.contains(r#""IsInMaintenanceMode":true"#), "it is what the REST API tells: {client}");
    for path in shown {
        let page = browser.get(path).await;
        assert!(page.text(".standing").contains("only administrators change anything"), "{path}: {}", page.html);
    }
    let page = browser.get("/settings/maintenance").await;
    assert_eq!((page.count("a[href$='/end'][data-ask]"), page.count("a[href$='/begin']")), (1, 0), "{}", page.html);
    let trail = browser.get("/audit?kind=setting&q=maintenance").await;
    assert!(trail.html.contains("put the portal into maintenance"), "{}", trail.html);
    assert_eq!(browser.post("/settings/retention", &[("days", "9")]).await.status, StatusCode::SEE_OTHER);

    assert!(
        browser.get("/settings/maintenance/end").await.text("[data-question]").contains("Everybody may change again")
    );
    browser.post("/settings/maintenance/end", &[]).await;
    for path in shown {
        assert_eq!(browser.get(path).await.count(".standing"), 0, "{path}");
    }
}
