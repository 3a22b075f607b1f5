//! Every page under `axe-core`, which looks for what keeps people out: names that are missing, colours too near to each
//! other, headings and landmarks out of order. `OCTOPUS_AXE` names its file (npm has it as `axe-core`); without it this is
//! passed over. And every page on a phone: nothing is wider than its window.

use std::path::PathBuf;

use serde_json::Value;
use xtask::{Browser, Look, Programs, Showroom};

/// What runs on a page: what `axe` found, a line for each.
fn run(options: &str) -> String {
    format!(
        "axe.run(document, {options}).then(found => found.violations.map(one => \
         `${{one.id}}: ${{one.help}}: ${{one.nodes.slice(0, 3).map(node => node.html).join(' … ')}}`))"
    )
}

/// What is asked of a page in each look: everything once, and the colours again where they are others.
fn asked(look: Look) -> Option<String> {
    match look.name {
        "desk-light" => Some(run("{ resultTypes: ['violations'] }")),
        "desk-dark" => Some(run("{ runOnly: ['color-contrast', 'link-in-text-block'] }")),
        _ => None,
    }
}

#[tokio::test]
async fn no_page_keeps_anybody_out_in_the_light_and_in_the_dark_nor_is_wider_than_a_phone() -> anyhow::Result<()> {
    let Some(mut browser) = super::browser().await? else { return Ok(()) };
    let axe = match std::env::var_os("OCTOPUS_AXE").map(PathBuf::from) {
        Some(file) => std::fs::read_to_string(file)?,
        None => {
            eprintln!("passed over: OCTOPUS_AXE names no axe-core");
            return Ok(());
        }
    };
    let room = Showroom::start(Programs::for_tests().await?).await?;
    let url = room.portal().url();
    let mut wrong = Vec::new();
    browser.open(&format!("{url}/login"), "document.querySelector('#username')").await?;
    look(&mut browser, &axe, "login", &mut wrong).await?;
    browser.log_in(room.portal()).await?;
    for (name, path) in room.pages() {
        browser.open(&format!("{url}{path}"), "document.querySelector('main')").await?;
        look(&mut browser, &axe, name, &mut wrong).await?;
    }
    // What is there only after a button was pressed.
    browser.open(&format!("{url}/registration-keys"), "document.querySelector('[name=environment]')").await?;
    browser.click("[name=environment]").await?;
    browser.click("main form button.next").await?;
    browser.wait("document.querySelector('#command')").await?;
    look(&mut browser, &axe, "registration-key-made", &mut wrong).await?;
    browser.open(&format!("{url}/registration-keys/RegistrationKeys-1"), "document.querySelector('main h1')").await?;
    look(&mut browser, &axe, "registration-key", &mut wrong).await?;
    let rollout = room.pages().iter().find(|(name, _)| name == "rollout").map(|(_, path)| path.as_str());
    let rollout = format!("{url}{}", rollout.unwrap_or_default());
    browser.open(&rollout, "document.querySelector('button[formaction$=\"/resume\"]')").await?;
    browser.click("button[formaction$='/resume']").await?;
    browser.wait("document.querySelector('dialog[open]')").await?;
    look(&mut browser, &axe, "question-over-a-page", &mut wrong).await?;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    browser.close().await
}

async fn look(browser: &mut Browser, axe: &str, name: &str, wrong: &mut Vec<String>) -> anyhow::Result<()> {
    browser.evaluate(axe).await?;
    for look in Look::ALL {
        browser.look(look).await?;
        let width = browser.evaluate("document.documentElement.scrollWidth").await?;
        if width.as_u64() > Some(u64::from(look.size.0)) {
            wrong.push(format!("{name}, {}: {width} pixels wide", look.name));
        }
        let Some(script) = asked(look) else { continue };
        if let Value::Array(found) = browser.evaluate(&script).await? {
            wrong.extend(found.iter().map(|one| format!("{name}, {}: {one}", look.name)));
        }
    }
    Ok(())
}
