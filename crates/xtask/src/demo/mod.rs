//! `cargo xtask demo`: a portal and a fleet of real Suction Cup and Tentacle pairs on loopback, for people to look at
//! (plain), to show an upgrade (`--upgrade`), or to show what becomes of a broken one (`--break`).
//!
//! Called by the program `xtask`. Whatever happens, Ctrl-C included, everything ends and every folder goes; where the
//! demo itself was killed, its keeper sees to that.

pub(crate) mod fleet;
mod keeper;
mod probe;
mod report;
mod verdict;
mod watch;

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};

use crate::packages::Flavor;
use crate::programs::Programs;
use fleet::Fleet;
use keeper::Keeper;
pub use keeper::{KEEPER, keep};

/// How the demo goes.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// How many machines
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(u16).range(1..=MACHINES_MAX))]
    pub machines: u16,
    /// Where the portal listens; port 0 means a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// Upgrade all machines through the REST API, tell how it went, and end
    #[arg(long)]
    pub upgrade: bool,
    /// The same with a newer version that is broken, to see it stopped and undone
    #[arg(long, value_name = "HOW")]
    pub r#break: Option<Break>,
    /// Use the programs as they are released
    #[arg(long)]
    pub release: bool,
    /// Use the programs in this folder, and build none
    #[arg(long, value_name = "FOLDER", conflicts_with = "release")]
    pub programs: Option<PathBuf>,
}

/// Each machine is two processes and, while it is upgraded, a package that is unpacked: more make a computer a poor demo.
const MACHINES_MAX: i64 = 200;

/// How the newer version is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Break {
    /// It ends at once
    Crash,
    /// It runs and never listens
    Hang,
    /// It listens where the portal cannot reach it
    Mute,
}

impl From<Break> for Flavor {
    fn from(how: Break) -> Self {
        match how {
            Break::Crash => Self::Crash,
            Break::Hang => Self::Hang,
            Break::Mute => Self::Mute,
        }
    }
}

/// Runs the demo to its end. True if everything was as it should be.
pub fn run(options: &Options) -> anyhow::Result<bool> {
    let programs = match &options.programs {
        Some(folder) => Programs::in_folder(folder)?,
        None => {
            eprintln!("building the programs");
            Programs::build(options.release)?
        }
    };
    // Dropped last, when there should be nothing left for it to do.
    let keeper = Keeper::start()?;
    let programs = programs.of_harness(keeper.folder());
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")?;
    runtime.block_on(async {
        tokio::select! {
            done = show(&programs, options) => done,
            // Dropping the demo in the middle of anything ends all of it.
            told = told_to_end() => told.map(|()| eprintln!("\nending the demo")).map(|()| !is_test(options)),
        }
    })
}

/// True where the demo has something to prove, and being told to end means that it did not.
fn is_test(options: &Options) -> bool {
    options.upgrade || options.r#break.is_some()
}

async fn told_to_end() -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
    Ok(())
}

async fn show(programs: &Programs, options: &Options) -> anyhow::Result<bool> {
    let mut fleet = Fleet::start(programs, options).await?;
    fleet.introduce();
    if !is_test(options) {
        println!("\nPress Ctrl-C to end it.");
        std::io::stdout().flush()?;
        return std::future::pending().await;
    }
    let watched = watch::upgrade(&fleet, options.r#break).await;
    let verdict = match &watched {
        Ok(watched) => verdict::judge(&fleet, watched, options.r#break).await,
        Err(error) => Err(anyhow::anyhow!("{error:#}")),
    };
    match verdict {
        Ok(report) => {
            report.print();
            if !report.complaints.is_empty() {
                fleet.diagnose();
            }
            fleet.end();
            println!("{}", report.json());
            Ok(report.complaints.is_empty())
        }
        Err(error) => {
            fleet.diagnose();
            fleet.end();
            Err(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        options: Options,
    }

    fn read(arguments: &str) -> Result<Options, clap::Error> {
        Cli::try_parse_from(std::iter::once("demo").chain(arguments.split_whitespace())).map(|cli| cli.options)
    }

    #[test]
    fn the_defaults_are_six_machines_on_port_8080() {
        let options = read("").unwrap();
        assert_eq!((options.machines, options.listen.to_string().as_str()), (6, "127.0.0.1:8080"));
        assert!(!is_test(&options));
    }

    #[test]
    fn an_upgrade_and_each_way_to_break_it_can_be_asked_for() {
        assert!(is_test(&read("--upgrade --machines 3 --listen 127.0.0.1:0").unwrap()));
        for (word, how) in [("crash", Break::Crash), ("hang", Break::Hang), ("mute", Break::Mute)] {
            let options = read(&format!("--break {word}")).unwrap();
            assert_eq!(options.r#break, Some(how));
            assert!(is_test(&options));
        }
        for wrong in ["--break fire", "--machines 0", "--machines 1000", "--listen here", "--release --programs x"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
