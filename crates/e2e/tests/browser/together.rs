//! Two people before one portal: one at a desk, the other on a phone with a keyboard and no mouse.

use e2e::{LIMIT, World};
use xtask::{Browser, Look, wait_for};

/// Moves on by Tab until what has the focus matches, as somebody without a mouse does.
async fn tab_to(browser: &mut Browser, selector: &str) -> anyhow::Result<()> {
    // More than any page of a small fleet has.
    for _ in 0..100 {
        browser.press("Tab").await?;
        if browser.evaluate(&format!("document.activeElement.matches({selector:?})")).await? == true {
            let seen = "getComputedStyle(document.activeElement).outlineStyle !== 'none'";
            anyhow::ensure!(browser.evaluate(seen).await? == true, "nobody sees the focus on {selector}");
            return Ok(());
        }
    }
    anyhow::bail!("the keyboard does not come to {selector}")
}

fn runs(version: &str) -> String {
    format!("document.querySelector('td.name')?.closest('tr').innerText.includes('{version}')")
}

#[tokio::test]
async fn a_keyboard_on_a_phone_upgrades_a_desk_sees_it_undoes_it_and_both_live_through_a_restart() -> anyhow::Result<()>
{
    let (Some(mut phone), Some(mut desk)) = (super::browser().await?, super::browser().await?) else { return Ok(()) };
    let mut world = World::start().await?;
    let _machine = world.machine("one").await?;
    let (from, to) = (world.from.to_string(), world.to.to_string());
    let url = world.portal.url();
    let environments = format!("{url}/environments");

    phone.look(Look { name: "phone", size: (360, 740), scheme: "dark" }).await?;
    phone.open(&format!("{url}/login?next=/environments"), "document.activeElement.id === 'username'").await?;
    phone.insert("admin").await?;
    tab_to(&mut phone, "#password").await?;
    phone.insert(world.portal.admin_password()).await?;
    phone.press("Enter").await?;
    phone.wait("location.pathname !== '/login'").await?;
    phone.open(&environments, "document.querySelector('#upgrade-all .next')").await?;
    desk.log_in(&world.portal).await?;
    desk.open(&environments, &runs(&from)).await?;
    desk.evaluate("window.mark = 1").await?;

    tab_to(&mut phone, "#upgrade-all button").await?;
    phone.press("Enter").await?;
    phone.wait("location.pathname.startsWith('/rollouts/')").await?;
    phone.wait("document.querySelector('.truth').innerText.includes('1 of 1 upgraded')").await?;
    let wide = phone.evaluate("document.documentElement.scrollWidth").await?;
    assert_eq!(wide, 360, "nothing is wider than the phone");
    let up_to_date = format!("{} && document.body.innerText.includes('up to date')", runs(&to));
    desk.wait(&up_to_date).await?;

    desk.click("a[href='/rollouts']").await?;
    desk.wait("document.querySelector('td a[href^=\"/rollouts/\"]')").await?;
    desk.click("td a[href^='/rollouts/']").await?;
    desk.wait("document.querySelector('button[formaction$=\"/undo\"]')").await?;
    desk.click("button[formaction$='/undo']").await?;
    desk.wait("document.querySelector('dialog[open]')").await?;
    let question = desk.evaluate("document.querySelector('dialog').innerText").await?;
    assert!(question.as_str().is_some_and(|text| text.contains("1 machine") && text.contains(&from)), "{question}");
    phone.open(&environments, &runs(&to)).await?;
    phone.evaluate("window.mark = 1").await?;
    desk.click("dialog button.grave").await?;
    desk.wait("document.querySelector('.truth')?.innerText.includes('1 of 1')").await?;
    phone.wait(&format!("{} && document.body.innerText.includes('upgrade available')", runs(&from))).await?;

    let lost = "document.querySelector('#live-lost').hidden === false";
    let live =
        "document.querySelector('#live-lost').hidden && document.querySelector('#live-state').dataset.state === 'live'";
    phone.wait(live).await?;
    world.portal.kill9();
    phone.wait(lost).await?;
    world.portal.restart().await?;
    phone.wait(live).await?;
    let id = world.api.machine_by_name("one").await?["Id"].as_str().unwrap_or_default().to_owned();
    let held = serde_json::json!({ "Reason": "for the books" });
    wait_for("the hold", LIMIT, async || world.api.put(&format!("/api/machines/{id}/hold"), &held).await.map(Some))
        .await?;
    phone.wait("document.querySelector('td.name').innerText.includes('held')").await?;
    assert_eq!(phone.evaluate("window.mark").await?, 1, "it was never loaded again");
    phone.close().await?;
    desk.close().await
}
