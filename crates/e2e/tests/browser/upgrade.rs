//! The button, and what is seen of it.

use e2e::World;
use tokio::try_join;
use xtask::Flavor;

/// The machines reach the new version slowly enough to be watched.
const SLOW_PROOF: [(&str, &str); 1] = [("OCTOPUS_ROLLOUT_PROVING_TIME_MS", "2500")];

const MACHINES: [&str; 3] = ["one", "two", "three"];

/// The number of machines whose row says these two things.
fn rows(version: &str, words: &str) -> String {
    format!(
        "[...document.querySelectorAll('tr')].filter(row => row.querySelector('td.name') \
         && row.innerText.includes('{version}') && row.innerText.includes('{words}')).length"
    )
}

#[tokio::test]
async fn a_person_presses_the_button_and_sees_every_machine_arrive_without_a_reload() -> anyhow::Result<()> {
    let Some(mut browser) = super::browser().await? else { return Ok(()) };
    let world = World::with(Flavor::Real, &SLOW_PROOF).await?;
    let _machines = try_join!(world.machine(MACHINES[0]), world.machine(MACHINES[1]), world.machine(MACHINES[2]))?;
    let (from, to) = (world.from.to_string(), world.to.to_string());
    let environments = format!("{}/environments", world.portal.url());
    browser.log_in(&world.portal).await?;
    browser.open(&environments, "document.querySelector('td.name')").await?;
    browser.wait(&format!("{} === 3", rows(&from, "upgrade available"))).await?;

    browser.click("#upgrade-all button").await?;
    browser.wait("location.pathname.startsWith('/rollouts/') || !document.querySelector('#upgrade-all .next')").await?;
    if browser.evaluate("location.pathname").await? != "/environments" {
        browser.open(&environments, "document.querySelector('td.name')").await?;
    }
    browser.wait("document.querySelector('#live-state')").await?;
    let before = browser.evaluate("window.mark = 'the same page'; window.mark").await?;
    let arrived = browser.evaluate(&rows(&to, "up to date")).await?;
    assert_ne!(arrived, 3, "everything was over before the page could be watched");
    browser.wait(&format!("{} === 3", rows(&to, "up to date"))).await?;
    assert_eq!(browser.evaluate("window.mark").await?, before, "the page was loaded again");
    assert_eq!(browser.complaints, [] as [String; 0], "the browser complained");

    // What was not heard would not be there either if nothing were heard at all.
    let forbidden = "document.body.append(Object.assign(document.createElement('script'), { text: '1' }))";
    browser.evaluate(forbidden).await?;
    browser.wait("true").await?;
    assert_eq!(browser.complaints.len(), 1, "an inline script is forbidden: {:?}", browser.complaints);
    browser.close().await
}
