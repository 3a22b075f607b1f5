//! A rollout that its brake stops, resumed by a person.

use e2e::World;
use tokio::try_join;
use xtask::Flavor;

#[tokio::test]
async fn a_rollout_that_its_brake_stopped_says_why_and_goes_on_when_a_person_resumes_it() -> anyhow::Result<()> {
    let Some(mut browser) = super::browser().await? else { return Ok(()) };
    let world = World::with(Flavor::Crash, &[]).await?;
    let _machines = try_join!(world.machine("one"), world.machine("two"))?;
    browser.log_in(&world.portal).await?;
    browser.open(&format!("{}/environments", world.portal.url()), "document.querySelector('#upgrade-all')").await?;
    browser.wait("document.querySelector('#upgrade-all .next')").await?;
    browser.click("#upgrade-all button").await?;
    browser.wait("location.pathname.startsWith('/rollouts/')").await?;

    let fell = "[...document.querySelectorAll('td[data-label=Phase]')].filter(it => it.innerText.includes('fell back')).length";
    let paused = "document.querySelector('.truth')?.innerText.includes('paused')";
    browser.wait(&format!("{paused} && {fell} === 1")).await?;
    let truth = browser.evaluate("document.querySelector('main').innerText").await?;
    assert!(truth.as_str().is_some_and(|text| text.contains("exit code 3")), "the last words are there: {truth}");
    browser
        .wait("[...document.querySelectorAll('#rollout-hands button')].some(b => b.innerText.includes('Resume'))")
        .await?;
    browser.evaluate("window.mark = 1").await?;
    browser.click("button[formaction$='/resume']").await?;
    browser.wait("document.querySelector('dialog[open] #why') === document.activeElement").await?;
    let question = browser.evaluate("document.querySelector('dialog').innerText").await?;
    let says = question.as_str().is_some_and(|text| text.contains("1 machine") && text.contains("no longer counts"));
    assert!(says, "what will happen, and to how many: {question}");
    browser.press("Escape").await?;
    browser.wait("!document.querySelector('dialog') && document.activeElement.innerText.includes('Resume')").await?;
    assert_eq!(browser.evaluate("window.mark").await?, 1, "it is still the same page");
    browser.click("button[formaction$='/resume']").await?;
    browser.wait("document.querySelector('dialog[open] #why')").await?;
    browser.type_into("#why", "one is a strange machine").await?;
    browser.press("Enter").await?;
    browser.wait(&format!("{fell} === 2 && document.body.innerText.includes('0 of 2 upgraded')")).await?;
    let told = browser.evaluate("document.querySelector('main').innerText").await?;
    assert!(told.as_str().is_some_and(|text| text.contains("one is a strange machine")), "who and why: {told}");
    assert_eq!(browser.complaints, [] as [String; 0], "the browser complained");
    browser.close().await
}
