//! The lists of packages and tasks: what they show, and what they leave out when asked.

use http::StatusCode;
use octopus_server::ids::SpaceId;
use octopus_server::rollout::create::Selection;
use octopus_server::tasks::{task_cancel, task_create_connect, task_create_health};
use octopus_server::testing::packed;

use crate::browser::Browser;
use crate::seed;

#[tokio::test]
async fn a_package_is_listed_by_its_versions_downloaded_and_deleted_after_a_question() {
    let portal = seed::portal().await;
    let mut browser = Browser::logged_in(&portal).await;
    let page = browser.get("/packages").await;
    assert!(page.text(".blank").contains("No packages yet"));
    assert!(page.text("#packages").contains("linux-x64 2026.4.1"), "what is bundled: {}", page.text("#packages"));
    for version in ["1.0.0", "1.1.0-rc.1"] {
        let sent = browser.upload("a.nupkg", &packed("Acme.Web", version, version)).await;
        assert_eq!(sent.status, StatusCode::SEE_OTHER, "{}", sent.html);
    }
    let page = browser.get("/packages").await;
    let rows = page.texts("#packages .panel:first-of-type tbody tr");
    assert!(rows.iter().any(|row| row.contains("2 versions") && row.contains("1.1.0-rc.1")), "{rows:?}");
    let link = "/api/packages/packages-Acme.Web.1.1.0-rc.1/raw";
    assert_eq!(page.count(&format!("a[download][href='{link}']")), 1, "{}", page.html);
    assert_eq!(browser.open(link, &[]).await.status(), StatusCode::OK);

    let path = "/packages/Acme.Web/1.1.0-rc.1/delete";
    let question = browser.get(path).await;
    assert!(question.text("h1").contains("Delete Acme.Web 1.1.0-rc.1?"), "{}", question.html);
    assert_eq!(browser.get("/packages").await.count("a[download]"), 2, "asking deletes nothing");
    assert_eq!(browser.post(path, &[]).await.location.as_deref(), Some("/packages"));
    assert_eq!(browser.get("/packages").await.count("a[download]"), 1);
    assert_eq!(browser.post(path, &[]).await.status, StatusCode::NOT_FOUND);
    assert_eq!(browser.get("/packages/a%2Fb/x/delete").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn tasks_are_filtered_by_state_kind_and_words_and_the_queue_is_counted() {
    let portal = seed::portal().await;
    let mut browser = Browser::logged_in(&portal).await;
    let staging = seed::environment(&portal, "Staging").await;
    let machine = seed::machine(&portal, "web-1", &[staging]).await;
    let selection = Selection::Machines(vec![machine]);
    for what in ["first & last", "second"] {
        let name = Some(what.to_owned());
        task_create_health(&portal, SpaceId::DEFAULT, "ada", &selection, name).await.unwrap();
    }
    let test = task_create_connect(&portal, SpaceId::DEFAULT, "ada", machine).await.unwrap();
    task_cancel(&portal, SpaceId::DEFAULT, test, octopus_server::rollout::hands::Who { name: "ada", why: "" })
        .await
        .unwrap();

    let page = browser.get("/tasks").await;
    assert_eq!(page.count("tbody tr"), 3);
    assert!(page.text(".queue").contains("2 queued") && page.text(".queue").contains("1 running"), "{}", page.html);
    for (query, count) in [
        ("q=first%20%26", 1),
        ("kind=Health", 2),
        ("kind=Connectivity", 1),
        ("state=queued", 2),
        ("state=queued&kind=Connectivity", 0),
        ("state=succeeded", 0),
    ] {
        let page = browser.get(&format!("/tasks?{query}")).await;
        assert_eq!(page.count("tbody tr"), count, "{query}");
        assert_eq!(page.html.contains("No task is like this."), count == 0, "{query}");
    }
    assert_eq!(browser.get("/tasks?q=first%20%26").await.count("#q[value='first & last'], #q[value='first &']"), 1);
}
