//! The page of the trail.

use http::StatusCode;
use octopus_server::db::users::user_insert;
use octopus_server::model::Role;

use crate::browser::{Browser, Page};
use crate::seed;

fn lines(page: &Page) -> Vec<String> {
    page.texts(".deed .said > p:first-child")
}

#[tokio::test]
async fn everybody_reads_who_changed_what_and_filters_it_and_shares_what_they_see() {
    let portal = seed::portal().await;
    let mut browser = Browser::logged_in(&portal).await;
    let staging = seed::environment(&portal, "Staging").await;
    seed::machine(&portal, "web-7", &[staging]).await;
    browser.post("/machines/Machines-1/hold", &[("reason", "<b>a demo</b>")]).await;
    browser.post("/machines/selected/do", &[("deed", "disable"), ("machines", "Machines-1")]).await;
    let mut tx = portal.db.write().await.unwrap();
    user_insert(&mut tx, "vera", &Role::Viewer, portal.now()).await.unwrap();
    tx.commit().await.unwrap();

    let page = browser.get("/audit").await;
    assert_eq!(page.status, StatusCode::OK);
    let told = lines(&page);
    assert_eq!(told[..2], ["admin disabled machine web-7", "admin held machine web-7: <b>a demo</b>"]);
    assert!(told.iter().any(|line| line == "admin chose a password by a setup link and logged in"), "{told:?}");
    assert!(page.text(".deed .small").contains("on a page, from 127.0.0.1"));
    let cells = ".deed:first-child .differs tbody th, .deed:first-child .differs tbody td";
    assert_eq!(page.texts(cells), ["Is disabled", "no", "yes"]);
    assert_eq!(page.texts(".deed:first-child .small a"), ["Machines-1"]);
    assert_eq!(page.text(".rail a[aria-current]"), "Audit");

    let only = browser.get("/audit?document=Machines-1&kind=Machine&q=HELD").await;
    assert_eq!(lines(&only), ["admin held machine web-7: <b>a demo</b>"]);
    assert_eq!(only.texts("#kind option[selected]"), ["machine"]);
    assert!(only.text("main").contains("Only what is about Machines-1."));
    let none = browser.get("/audit?who=vera").await;
    assert_eq!((lines(&none).len(), none.text(".blank h2").as_str()), (0, "Nothing like that"));
    assert_eq!(none.texts("#who option[selected]"), ["vera"]);
    let machine = browser.get("/machines/Machines-1").await;
    assert!(machine.html.contains("/audit?document=Machines-1"));
}

#[tokio::test]
async fn older_rows_are_on_further_pages_of_the_same_filter() {
    let portal = seed::portal().await;
    let mut browser = Browser::logged_in(&portal).await;
    let staging = seed::environment(&portal, "Staging").await;
    seed::machine(&portal, "web-7", &[staging]).await;
    for _ in 0..26 {
        browser.post("/machines/Machines-1/hold", &[("reason", "x")]).await;
        browser.post("/machines/Machines-1/release", &[]).await;
    }
    let first = browser.get("/audit?kind=Machine").await;
    assert_eq!((lines(&first).len(), first.texts("main > nav a")), (50, vec!["Older".to_owned()]));
    let document = first.document();
    let link = document.select(&scraper::Selector::parse("main > nav a").unwrap()).next().unwrap();
    let older = browser.get(link.attr("href").unwrap()).await;
    assert_eq!((lines(&older).len(), older.texts("main > nav a")), (2, vec!["Newest".to_owned()]));
}
