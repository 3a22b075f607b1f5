//! Three thousand machines: filters, and one act on many.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::{Value, json};
use xtask::{Portal, PortalOptions, Programs};

const MACHINES: usize = 3_000;

/// Machines that are added at once.
const AT_ONCE: usize = 8;

/// Every tenth machine is one of these.
const ROLE: &str = "cache";

async fn fill(portal: &Portal) -> anyhow::Result<()> {
    let api = portal.api()?;
    let environment = api.environment_create("Production").await?;
    let machine = |number: usize| {
        let role = if number.is_multiple_of(10) { ROLE } else { "web" };
        // Nobody listens there.
        json!({ "Name": format!("web-{number:04}"), "EnvironmentIds": [environment], "Roles": [role], "Endpoint": {
            "CommunicationStyle": "TentaclePassive", "Uri": format!("https://127.{}.{}.1:1/", 1 + number / 250, number % 250),
            "Thumbprint": format!("{number:064X}") } })
    };
    let adds = stream::iter((0..MACHINES).map(machine))
        .map(async |machine: Value| api.post("/api/machines", &machine).await.map(drop));
    adds.buffer_unordered(AT_ONCE).try_collect().await
}

#[tokio::test]
async fn of_three_thousand_machines_those_that_match_are_disabled_at_once() -> anyhow::Result<()> {
    let Some(mut browser) = super::browser().await? else { return Ok(()) };
    let env = vec![("OCTOPUS_HEALTH_INTERVAL_MS".to_owned(), "3600000".to_owned())];
    let portal = Portal::start(Programs::for_tests().await?, PortalOptions { env, ..PortalOptions::default() }).await?;
    fill(&portal).await?;
    browser.log_in(&portal).await?;
    browser.open(&format!("{}/environments", portal.url()), "document.querySelector('#q')").await?;
    let rows = "document.querySelectorAll('td.name').length";
    let all = browser.evaluate(rows).await?;
    assert!(all.as_u64().is_some_and(|rows| (1..=500).contains(&rows)), "a page of rows: {all}");

    browser.type_into("#q", "web-12").await?;
    browser.press("Enter").await?;
    browser.wait("new URLSearchParams(location.search).get('q') === 'web-12'").await?;
    browser.wait(&format!("{rows} === 100 || document.body.innerText.includes('100 machines')")).await?;
    browser.evaluate(&format!("document.querySelector('#role').value = '{ROLE}'")).await?;
    browser.click(".filters button").await?;
    browser.wait(&format!("{rows} === 10")).await?;
    let shared = browser.evaluate("location.href").await?;

    browser.click("#which-all").await?;
    browser.evaluate("document.querySelector('#deed').value = 'disable'").await?;
    browser.click("#selected button").await?;
    browser.wait("document.querySelector('.named')").await?;
    let question = browser.evaluate("document.querySelector('main').innerText").await?;
    assert!(
        question.as_str().is_some_and(|text| text.contains("10 machines") && text.contains("web-1200")),
        "{question}"
    );
    browser.click("main form button").await?;
    browser.wait("location.pathname === '/environments'").await?;
    browser.open(shared.as_str().unwrap_or_default(), &format!("{rows} === 10")).await?;
    browser.wait("document.querySelectorAll('tr.off').length === 10").await?;

    let disabled = portal.api()?.get("/api/machines?isDisabled=true&take=1").await?;
    assert_eq!(disabled["TotalResults"], 10);
    assert_eq!(browser.complaints, [] as [String; 0], "the browser complained");
    browser.close().await
}
