//! The dashboard.

use http::StatusCode;
use octopus_server::attention::{look, sample};

use crate::browser::Browser;
use crate::seed;

#[tokio::test]
async fn an_empty_portal_says_what_to_do_first() {
    let portal = seed::portal().await;
    let mut browser = Browser::logged_in(&portal).await;
    let page = browser.get("/").await;
    assert_eq!((page.status, page.text(".blank h2").as_str()), (StatusCode::OK, "Begin with an environment"));
    assert_eq!(page.texts(".blank a"), ["Add environment"]);
    seed::environment(&portal, "Staging").await;
    assert_eq!(browser.get("/").await.text(".blank h2"), "Now add the first machine");
}

#[tokio::test]
async fn what_needs_a_person_is_counted_and_leads_to_the_machines() {
    let portal = seed::portal().await;
    let mut browser = Browser::logged_in(&portal).await;
    seed::fleet(&portal, 120).await;
    let page = browser.get("/").await;
    assert_eq!(page.text("h1"), "Dashboard");
    let needs = page.texts(".needs li > .break");
    assert!(needs.iter().any(|need| need.contains("can be upgraded to")), "{needs:?}");
    let document = page.document();
    let links = scraper::Selector::parse(".needs a").unwrap();
    for link in document.select(&links).filter_map(|link| link.attr("href")) {
        let shown = browser.get(link).await;
        assert_eq!(shown.status, StatusCode::OK, "{link}");
        assert!(!link.starts_with("/environments") || shown.count("tbody tr") > 0, "{link} shows nothing");
    }
    assert!(page.count("svg.bar rect") > 0 && page.count(".legend li") == page.count("svg.bar rect"));
    assert_eq!(page.count(".badge"), 0, "nothing was counted yet");
    look(&portal).await.unwrap();
    assert!(browser.get("/").await.count(".badge") > 0);
}

#[tokio::test]
async fn days_are_drawn_and_told_once_there_are_two() {
    let portal = seed::portal().await;
    let mut browser = Browser::logged_in(&portal).await;
    seed::fleet(&portal, 12).await;
    sample(&portal).await.unwrap();
    assert_eq!(browser.get("/").await.count("svg.chart"), 0);
    portal.clock.advance(std::time::Duration::from_secs(24 * 60 * 60));
    sample(&portal).await.unwrap();
    let page = browser.get("/").await;
    assert_eq!((page.count("svg.chart g"), page.count(".over-time tbody tr")), (2, 2));
}
