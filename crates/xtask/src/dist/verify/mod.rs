//! `cargo xtask verify-dist`: tries out what `cargo xtask dist` made, on a small Debian of its own and under qemu.
//!
//! Everything happens in namespaces and folders that go with this process: no package is installed on this computer, and
//! nothing listens where anybody else can reach it. Needs root, and a Debian mirror for the small Debian.

use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::Args;

use self::stock::Stock;
use super::{out_folder, tools};

mod arm;
mod debian;
mod machine;
mod portal;
mod sandbox;
mod stock;

/// What `cargo xtask verify-dist` is told.
#[derive(Args, Debug)]
pub struct Options {
    /// The folder that `cargo xtask dist` wrote into [default: target/dist]
    dist: Option<PathBuf>,
}

/// Tries out everything. False when something failed.
pub fn run(options: &Options) -> anyhow::Result<bool> {
    tools::check(&tools::to_verify())?;
    all(&out_folder(options.dist.as_deref())?)
}

/// Tries out everything in the folder `dist`.
pub(super) fn all(dist: &Path) -> anyhow::Result<bool> {
    let work = tempfile::Builder::new().prefix("octopus-verify-dist-").tempdir()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(async {
        tokio::select! {
            biased;
            // Dropping it in the middle of anything ends all of it.
            told = tokio::signal::ctrl_c() => told.map_err(anyhow::Error::from).and_then(|()| bail!("told to end")),
            report = chapters(dist, work.path()) => report,
        }
    })?;
    println!("{} passed, {} failed", report.passed, report.failed);
    Ok(report.failed == 0)
}

/// The chapters do not need each other, so each is gone through and told of.
async fn chapters(dist: &Path, work: &Path) -> anyhow::Result<Report> {
    let stock = Stock::gather(dist, work)?;
    let debian = debian::make(work)?;
    let mut report = Report::default();
    let ended = stock.verify(&mut report);
    report.end("programs", ended);
    let ended = machine::verify(&debian, &stock, &mut report).await;
    report.end("machine", ended);
    let ended = portal::verify(&debian, &stock, &mut report).await;
    report.end("portal", ended);
    let ended = arm::verify(&stock, work, &mut report).await;
    report.end("arm64", ended);
    Ok(report)
}

/// What held and what did not, told as it is found.
#[derive(Debug, Default)]
struct Report {
    passed: usize,
    failed: usize,
}

impl Report {
    /// Something holds.
    fn holds(&mut self, what: &str) {
        println!("ok      {what}");
        self.passed += 1;
    }

    /// A chapter ended, at its end or where something did not hold.
    fn end(&mut self, chapter: &str, ended: anyhow::Result<()>) {
        if let Err(error) = ended {
            println!("FAILED  {chapter}: {error:#}");
            self.failed += 1;
        }
    }
}
