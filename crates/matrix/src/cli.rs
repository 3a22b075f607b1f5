//! The command line: which part of the matrix is run, and where the report goes.

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use clap::Parser;

use crate::case::{self, Choice, Mode};
use crate::power::{POWER_CUT, Recorded, Syncs};
use crate::strace::{self, Injection};
use crate::{Kit, Programs, Report, scenarios};

/// Kill the programs at every system call that they make, and let every call fail in every way that it can. The exit
/// code is 0 if everything held.
#[derive(Debug, Parser)]
pub struct Cli {
    /// Only this program: suction-cup, install-package or tentacle
    #[arg(long)]
    program: Option<String>,

    /// Only scenarios of this name
    #[arg(long)]
    scenario: Option<String>,

    /// Only this: kill, fail or power-cut
    #[arg(long)]
    mode: Option<String>,

    /// Only one case, as a report names it: CALL:N:FAULT
    #[arg(long)]
    only: Option<Injection>,

    /// At most so many cases of each scenario and mode, spread evenly [default: all]
    #[arg(long)]
    at_most: Option<usize>,

    /// Cases at a time; they wait more than they work [default: 3 for each processor]
    #[arg(long)]
    jobs: Option<usize>,

    /// Take the programs from this folder [default: they are built]
    #[arg(long, value_name = "FOLDER")]
    programs: Option<PathBuf>,

    /// Take Suction Cup as it is shipped: static, with another libc and other system calls
    #[arg(long, conflicts_with = "programs")]
    shipped: bool,

    /// Write the report here too, as JSON
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

/// Runs what was asked for; true if everything held.
pub fn run(cli: &Cli) -> anyhow::Result<bool> {
    ensure!(strace::is_there(), "strace is not installed: apt-get install strace");
    let stand_in = std::env::current_exe().context("cannot find the own program")?;
    let programs = match &cli.programs {
        Some(folder) => Programs::in_folder(folder, stand_in),
        None if cli.shipped => Programs::of(&xtask::Programs::build(false)?.with_static_supervisor()?, stand_in),
        None => Programs::of(&xtask::Programs::build(false)?, stand_in),
    };
    let kit = Kit::make(&programs)?;
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let jobs = cli.jobs.unwrap_or(3 * processors);
    let choice = Choice { at_most: cli.at_most, only: cli.only.clone(), jobs };
    let mut report = Report::default();
    let begun = Instant::now();
    let fits = |filter: &Option<String>, name: &str| filter.as_ref().is_none_or(|filter| filter == name);
    for scenario in scenarios() {
        let modes: Vec<_> = Mode::ALL.into_iter().filter(|mode| fits(&cli.mode, mode.word())).collect();
        if fits(&cli.program, scenario.program()) && fits(&cli.scenario, scenario.name()) && !modes.is_empty() {
            eprintln!("{} {} …", scenario.program(), scenario.name());
            report.extend(case::run(&kit, &*scenario, &choice, &modes)?);
        }
    }
    for recorded in Recorded::ALL {
        let (program, name) = recorded.names();
        if fits(&cli.program, program) && fits(&cli.scenario, name) && fits(&cli.mode, POWER_CUT) && cli.only.is_none()
        {
            eprintln!("{program} {name}, power cut …");
            report.extend([recorded.run(&kit, Syncs::Heeded, cli.at_most, jobs)?]);
        }
    }
    report.seconds = begun.elapsed().as_secs_f64();
    eprint!("{}", report.table());
    if let Some(path) = &cli.report {
        fs::write(path, serde_json::to_string_pretty(&report)?).with_context(|| path.display().to_string())?;
    }
    println!("{}", serde_json::to_string(&report)?);
    Ok(report.failures == 0)
}
