//! A person's first quarter of an hour: the link of the first start, a password, an environment, a machine.

use contract::Version;
use e2e::LIMIT;
use xtask::{Flavor, Machine, MachineOptions, Portal, PortalOptions, Programs, packed_tentacle, wait_for};

/// The address that the first start of a portal tells its administrator.
async fn setup_link(portal: &Portal) -> anyhow::Result<String> {
    wait_for("the setup link in the log", LIMIT, async || {
        let log = std::fs::read_to_string(portal.log())?;
        let mut words = log.split(|c: char| c.is_whitespace() || c == '"');
        Ok(words.find(|word| word.contains("/setup?token=")).map(str::to_owned))
    })
    .await
}

#[tokio::test]
async fn a_person_sets_the_portal_up_logs_in_and_adds_a_machine() -> anyhow::Result<()> {
    let Some(mut browser) = super::browser().await? else { return Ok(()) };
    let programs = Programs::for_tests().await?;
    let options = PortalOptions { needs_setup: true, ..PortalOptions::default() };
    let portal = Portal::start(programs, options).await?;
    let url = portal.url();
    let link = setup_link(&portal).await?;
    let (_, path) = link.split_once("/setup").unwrap_or_default();

    browser.open(&format!("{url}/setup{path}"), "document.querySelector('#again')").await?;
    for field in ["#password", "#again"] {
        browser.type_into(field, "correct horse battery staple").await?;
    }
    browser.click("form button").await?;
    browser.wait("location.pathname !== '/setup'").await?;
    browser.open(&format!("{url}/setup{path}"), "document.querySelector('#again, .notice, h1')").await?;
    assert_eq!(browser.evaluate("Boolean(document.querySelector('#again'))").await?, false, "the link works once");
    assert_eq!(browser.complaints.len(), 1, "it is forbidden: {:?}", browser.complaints);
    browser.complaints.clear();

    browser.open(&format!("{url}/account"), "document.querySelector('form[action=\"/account/sessions/end\"]')").await?;
    browser.click("form[action=\"/account/sessions/end\"] button").await?;
    browser.wait("location.pathname === '/login'").await?;
    browser.type_into("#username", "admin").await?;
    browser.type_into("#password", "correct horse battery staple").await?;
    browser.click("form button").await?;
    browser.wait("location.pathname !== '/login'").await?;
    browser.open(&format!("{url}/environments"), "document.querySelector('.blank a')").await?;

    browser.click(".blank a").await?;
    browser.wait("document.querySelector('#name')").await?;
    browser.type_into("#name", "Production").await?;
    browser.click("main form button.next").await?;
    browser.wait("[...document.querySelectorAll('h2')].some(head => head.innerText.includes('Production'))").await?;

    let version = Version::release(2026, 1, 0);
    let package = tokio::task::spawn_blocking(move || packed_tentacle(programs, Flavor::Real, &version)).await??;
    let options = MachineOptions { name: "web-1".to_owned(), package, env: Vec::new() };
    let mut machine = Machine::start(programs, options).await?;
    machine.trust(&portal).await?;
    browser.click("a[href^='/machines/new']").await?;
    browser.wait("document.querySelector('#host')").await?;
    browser.type_into("#name", "web-1").await?;
    browser.type_into("#host", &machine.address().ip().to_string()).await?;
    browser.evaluate("document.querySelector('#port').value = ''").await?;
    browser.type_into("#port", &machine.address().port().to_string()).await?;
    browser.evaluate("[...document.querySelectorAll('[name=\"roles\"]')].at(-1).id = 'the-roles'").await?;
    browser.type_into("#the-roles", "web").await?;
    browser.click("main form button.next").await?;
    browser.wait("document.querySelector('.fingerprint')").await?;
    let shown = browser.evaluate("document.querySelector('.fingerprint').innerText.replaceAll(/\\s/g, '')").await?;
    assert_eq!(shown.as_str().map(str::to_lowercase), Some(machine.thumbprint().await?.to_lowercase()));
    browser.click("main form button.next").await?;
    browser.wait("!document.querySelector('.fingerprint') && document.querySelector('main')").await?;
    browser.open(&format!("{url}/environments"), "document.querySelector('td.name')").await?;
    browser.wait("document.querySelector('main').innerText.includes('2026.1.0')").await?;
    assert_eq!(browser.complaints, [] as [String; 0], "the browser complained");
    browser.close().await
}
