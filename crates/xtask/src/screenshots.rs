//! `cargo xtask screenshots`: every page of the portal in a real browser, at a desk and on a phone, in the light and in the
//! dark, as pictures in a folder, for people to look at. Pages that are wider than their window are told.

use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;

use crate::browser::{Browser, Look};
use crate::portal::{Portal, PortalOptions};
use crate::programs::Programs;
use crate::showroom::Showroom;

/// Where to.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// The folder of the pictures
    #[arg(long, value_name = "DIR", default_value = "screenshots")]
    pub out: PathBuf,
}

/// Pages as they are in a portal that has nothing yet.
const EMPTY: [&str; 5] = ["environments", "rollouts", "packages", "tasks", "settings/users"];

/// Makes the pictures.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let browser = Browser::installed().context("no browser is installed: install chromium")?;
    let programs = Programs::build(false)?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")?;
    fs::create_dir_all(&options.out)?;
    runtime.block_on(async {
        let mut browser = Browser::start(browser.as_os_str()).await?;
        let empty = Portal::start(&programs, PortalOptions::default()).await?;
        browser.open(&format!("{}/login", empty.url()), "document.querySelector('#username')").await?;
        shoot(&mut browser, options, "login").await?;
        browser.log_in(&empty).await?;
        for page in EMPTY {
            browser.open(&format!("{}/{page}", empty.url()), "document.querySelector('main')").await?;
            shoot(&mut browser, options, &format!("{}-empty", page.replace('/', "-"))).await?;
        }
        drop(empty);
        let room = Showroom::start(&programs).await?;
        browser.log_in(room.portal()).await?;
        for (name, path) in room.pages() {
            browser.open(&format!("{}{path}", room.portal().url()), "document.querySelector('main')").await?;
            shoot(&mut browser, options, name).await?;
        }
        println!("the pictures are in {}", options.out.display());
        browser.close().await
    })
}

async fn shoot(browser: &mut Browser, options: &Options, name: &str) -> anyhow::Result<()> {
    for look in Look::ALL {
        browser.look(look).await?;
        let file = options.out.join(format!("{name}-{}.png", look.name));
        fs::write(&file, browser.picture().await?).with_context(|| file.display().to_string())?;
        let width = browser.evaluate("document.documentElement.scrollWidth").await?;
        if width.as_u64() > Some(u64::from(look.size.0)) {
            println!("{name} is {width} pixels wide in {}", look.name);
        }
    }
    Ok(())
}
