//! `fleet idle`: what a Suction Cup and its Tentacle cost when there is nothing to do.

use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use serde::Serialize;
use xtask::{Flavor, Machine, MachineOptions, Programs, packed_tentacle, product_version, wait_for};

use crate::usage::{cpu_time, status_number};

/// How long the Tentacle may take to prove itself.
const PROVEN_LIMIT: Duration = Duration::from_secs(60);

/// After the verdict, until idle threads of the Tentacle are gone.
const SETTLE: Duration = Duration::from_secs(5);

/// How long they are left alone.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// How long they are left alone, in seconds
    #[arg(long, value_name = "S", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub seconds: u64,
}

/// The line that is printed. Wake-ups are voluntary context switches of the main thread within the time.
#[derive(Debug, Serialize)]
struct Report {
    seconds: u64,
    suction_cup_rss_mib: f64,
    suction_cup_wake_ups: u64,
    suction_cup_cpu_seconds: f64,
    tentacle_rss_mib: f64,
    tentacle_wake_ups: u64,
    tentacle_cpu_seconds: f64,
}

/// Measures the programs as they are released. Returns the line to print.
pub fn run(options: &Options) -> anyhow::Result<String> {
    let programs = Programs::build(true)?.with_static_supervisor()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(measure(&programs, options))?;
    Ok(serde_json::to_string(&report)?)
}

async fn measure(programs: &Programs, options: &Options) -> anyhow::Result<Report> {
    let version = product_version();
    let package = packed_tentacle(programs, Flavor::Real, &version)?;
    let env = vec![("OCTOPUS_TENTACLE_SELF_PROVE_MS".to_owned(), "1000".to_owned())];
    let machine = Machine::start(programs, MachineOptions { name: "idle".to_owned(), package, env }).await?;
    let proven = wait_for("the proof", PROVEN_LIMIT, async || Ok(machine.verdicts(&version).proven.then_some(())));
    proven.await.with_context(|| machine.diagnosis())?;
    tokio::time::sleep(SETTLE).await;
    let cup = machine.supervisor_pid().context("Suction Cup does not run")?;
    let tentacle = machine.tentacle_pid().context("the Tentacle does not run")?;
    let (cup_before, tentacle_before) = (Effort::read(cup)?, Effort::read(tentacle)?);
    tokio::time::sleep(Duration::from_secs(options.seconds)).await;
    let (cup_after, tentacle_after) = (Effort::read(cup)?, Effort::read(tentacle)?);
    Ok(Report {
        seconds: options.seconds,
        suction_cup_rss_mib: rss_mib(cup)?,
        suction_cup_wake_ups: cup_after.wake_ups - cup_before.wake_ups,
        suction_cup_cpu_seconds: (cup_after.cpu - cup_before.cpu).as_secs_f64(),
        tentacle_rss_mib: rss_mib(tentacle)?,
        tentacle_wake_ups: tentacle_after.wake_ups - tentacle_before.wake_ups,
        tentacle_cpu_seconds: (tentacle_after.cpu - tentacle_before.cpu).as_secs_f64(),
    })
}

struct Effort {
    wake_ups: u64,
    cpu: Duration,
}

impl Effort {
    fn read(pid: u32) -> anyhow::Result<Self> {
        Ok(Self { wake_ups: status_number(pid, "voluntary_ctxt_switches")?, cpu: cpu_time(pid)? })
    }
}

#[expect(clippy::cast_precision_loss, reason = "memory in KiB has far fewer digits than an f64 holds")]
fn rss_mib(pid: u32) -> anyhow::Result<f64> {
    Ok((status_number(pid, "VmRSS")? as f64 / 1024.0 * 100.0).round() / 100.0)
}
