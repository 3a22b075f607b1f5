//! `fleet soak`: kills a real Tentacle, and now and then its Suction Cup, at random moments for as long as is wished. Every
//! kill must be followed by one start, there must never be two Tentacles, and what Suction Cup uses must not grow.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use clap::Args;
use serde::Serialize;
use xtask::{Flavor, Machine, MachineOptions, Programs, packed_tentacle, processes_of, product_version, wait_for};

use crate::usage::status_number;

/// How long a start may take after a kill. It is long because the computer may be busy; the longest is reported.
const START_LIMIT: Duration = Duration::from_secs(60);

/// One kill in so many is that of Suction Cup.
const SUPERVISOR_EVERY: u64 = 10;

/// Kills bring no waits here, because many in a short time are what is wished for.
const NO_WAITS: [(&str, &str); 3] = [
    ("SUCTION_CUP_CRASH_LIMIT", "1000"),
    ("SUCTION_CUP_CRASH_WINDOW_MS", "1"),
    ("OCTOPUS_TENTACLE_SELF_PROVE_MS", "1"),
];

/// How long, how often and in which order it kills.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// How long it kills, in seconds; a week is 604800
    #[arg(long, value_name = "S", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=31_536_000))]
    pub seconds: u64,
    /// Kills in a second, on average
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=20))]
    pub per_second: u64,
    /// The same number gives the same kills
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
}

/// The line that is printed. Whatever must not happen is an error instead.
#[derive(Debug, Default, Serialize)]
struct Report {
    seconds: u64,
    kills_of_tentacle: u64,
    kills_of_suction_cup: u64,
    starts: u64,
    back_ms_median: u64,
    back_ms_longest: u64,
    suction_cup_own_memory_kib: Range,
    suction_cup_files: Range,
}

/// The least and the most that was seen at rest.
#[derive(Debug, Default, Serialize)]
struct Range {
    least: u64,
    most: u64,
}

impl Range {
    fn add(&mut self, number: u64) {
        *self = if self.most == 0 {
            Self { least: number, most: number }
        } else {
            Self { least: self.least.min(number), most: self.most.max(number) }
        };
    }
}

/// Soaks the programs as they are released. Returns the line to print.
pub fn run(options: &Options) -> anyhow::Result<String> {
    let programs = Programs::build(true)?.with_static_supervisor()?;
    soak(&programs, options)
}

/// The same with these programs.
pub fn soak(programs: &Programs, options: &Options) -> anyhow::Result<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(kill_on(programs, options))?;
    Ok(serde_json::to_string(&report)?)
}

async fn kill_on(programs: &Programs, options: &Options) -> anyhow::Result<Report> {
    let package = packed_tentacle(programs, Flavor::Real, &product_version())?;
    let env = NO_WAITS.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let mut machine = Machine::start(programs, MachineOptions { name: "soak".to_owned(), package, env }).await?;
    let (mut report, mut random) = (Report { seconds: options.seconds, ..Report::default() }, Random(options.seed));
    let (begun, mut back) = (Instant::now(), Vec::new());
    while begun.elapsed() < Duration::from_secs(options.seconds) {
        tokio::time::sleep(Duration::from_micros(random.below(2_000_000 / options.per_second))).await;
        let killed = Instant::now();
        if random.below(SUPERVISOR_EVERY) == 0 {
            machine.kill9_supervisor();
            machine.start_supervisor()?;
            report.kills_of_suction_cup += 1;
            one_runs(&machine, None).await?;
        } else {
            let former = machine.kill9_tentacle()?;
            report.kills_of_tentacle += 1;
            one_runs(&machine, Some(former)).await?;
        }
        back.push(u64::try_from(killed.elapsed().as_millis())?);
        look(&machine, &mut report)?;
    }
    machine.wait_until_listening(START_LIMIT).await?;
    report.starts = starts(&machine)?;
    let expected = 1 + report.kills_of_tentacle + report.kills_of_suction_cup;
    ensure!(report.starts == expected, "{} starts after {expected} reasons: {}", report.starts, machine.diagnosis());
    back.sort_unstable();
    report.back_ms_median = back.get(back.len() / 2).copied().unwrap_or(0);
    report.back_ms_longest = back.last().copied().unwrap_or(0);
    Ok(report)
}

/// Waits until exactly one Tentacle runs, of Suction Cup's, and another than `former`. What a killed Suction Cup left is
/// ended by the kernel, which may take a moment.
async fn one_runs(machine: &Machine, former: Option<u32>) -> anyhow::Result<()> {
    let running = wait_for("exactly one Tentacle", START_LIMIT, async || {
        let all = processes_of(machine.home().path());
        let ours = machine.tentacle_pid();
        let one = all.len() == 1 && ours.is_some() && all.first().copied() == ours && ours != former;
        anyhow::ensure!(one, "the processes are {all:?}, and Suction Cup's child is {ours:?}");
        Ok(Some(()))
    });
    running.await.with_context(|| machine.diagnosis())
}

/// What Suction Cup uses at rest. Nothing of it may grow from kill to kill; children that ended and are not reaped would.
fn look(machine: &Machine, report: &mut Report) -> anyhow::Result<()> {
    let cup = machine.supervisor_pid().context("Suction Cup does not run")?;
    report.suction_cup_own_memory_kib.add(status_number(cup, "RssAnon")?);
    report.suction_cup_files.add(fs::read_dir(format!("/proc/{cup}/fd"))?.count() as u64);
    let children = fs::read_to_string(format!("/proc/{cup}/task/{cup}/children"))?;
    ensure!(children.split_whitespace().count() <= 1, "Suction Cup has children that it did not reap: {children}");
    Ok(())
}

/// The launches that Suction Cup has logged.
fn starts(machine: &Machine) -> anyhow::Result<u64> {
    let log = fs::read_to_string(machine.log())?;
    let launches = log.lines().filter(|line| line.starts_with("suction-cup: ") && line.contains("launching "));
    Ok(launches.count() as u64)
}

/// A small generator, so that the kills are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}
