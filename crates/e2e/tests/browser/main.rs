//! The portal in a real browser. Where none is installed the tests say so and pass over; with
//! `OCTOPUS_E2E_BROWSER=required` they fail instead.

mod axe;
mod brake;
mod many;
mod person;
mod small;
mod together;
mod upgrade;

use xtask::Browser;

/// A browser with an empty page; `None` where the test is to be passed over.
async fn browser() -> anyhow::Result<Option<Browser>> {
    let Some(program) = Browser::installed() else {
        let required = std::env::var_os("OCTOPUS_E2E_BROWSER").is_some_and(|wish| wish == "required");
        anyhow::ensure!(!required, "no browser is installed, and OCTOPUS_E2E_BROWSER demands one: install chromium");
        eprintln!("passed over: no browser is installed");
        return Ok(None);
    };
    Browser::start(program.as_os_str()).await.map(Some)
}
