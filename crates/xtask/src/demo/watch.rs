//! The upgrade of a demo: commanded through the REST API, then watched from outside until nothing moves any more.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures_util::future::try_join_all;
use serde_json::json;

use super::Break;
use super::fleet::Fleet;
use super::probe::Probe;
use crate::api::{Rollout, RolloutMachine};

/// What one wave may take: the proving time, and what a slow computer adds.
const WAVE_LIMIT: Duration = Duration::from_secs(90);

/// What the whole may take where the newer version is broken: nobody waits longer than the probation.
const BREAK_LIMIT: Duration = Duration::from_secs(120);

/// What was seen of an upgrade.
pub(super) struct Watched {
    /// How it ended.
    pub(super) rollout: Rollout,
    /// From the wish to the end.
    pub(super) took: Duration,
    /// By the machine's name.
    pub(super) machines: HashMap<String, Seen>,
}

/// What was seen of one machine.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// The process that ran before.
    pub(super) pid_before: Option<u32>,
    /// From the command to the last phase; none where there was no command, or no end.
    pub(super) commanded_for: Option<Duration>,
    /// How long its port was closed.
    pub(super) port_closed: Duration,
}

/// True while something is done with a machine that may close its port.
fn is_moving(phase: &str) -> bool {
    matches!(phase, "Uploading" | "Installing" | "Restarting")
}

/// True where nothing more happens to a machine.
fn is_over(phase: &str) -> bool {
    matches!(phase, "Upgraded" | "FellBack" | "Failed" | "Lost" | "Skipped" | "Cancelled")
}

/// True from the moment on at which the machine was told to install the package.
fn is_commanded(phase: &str) -> bool {
    !matches!(phase, "Waiting" | "Checking" | "Uploading" | "Skipped" | "Cancelled")
}

/// True where the rollout starts nothing more by itself.
fn has_stopped(rollout: &Rollout) -> bool {
    rollout.state != "Running"
        && rollout.machines.iter().all(|machine| is_over(&machine.phase) || machine.phase == "Waiting")
}

/// Upgrades all machines to the bundled version, and returns when the rollout has ended or stopped.
pub(super) async fn upgrade(fleet: &Fleet, broken: Option<Break>) -> anyhow::Result<Watched> {
    let api = fleet.portal.api()?;
    let probes: HashMap<&str, Probe> =
        fleet.machines.iter().map(|machine| (machine.name(), Probe::start(machine.address()))).collect();
    let pids: HashMap<&str, Option<u32>> =
        fleet.machines.iter().map(|machine| (machine.name(), machine.tentacle_pid())).collect();

    println!("\nupgrading all Tentacles to {}", fleet.to);
    let begin = Instant::now();
    let rollout = api.rollout_create(&json!({ "Description": "Demo" })).await?;
    let mut story = Story { begin, phases: HashMap::new(), commanded: HashMap::new(), over: HashMap::new() };
    let waves = u32::try_from(rollout.machines.len()).unwrap_or(u32::MAX).div_ceil(rollout.max_in_flight.max(1)) + 3;
    let limit = broken.map_or(WAVE_LIMIT * waves, |_| BREAK_LIMIT);
    let rollout = api.rollout_wait(&rollout.id, limit, |rollout| {
        for machine in &rollout.machines {
            story.take_in(machine);
            if let Some(probe) = probes.get(machine.name.as_str()) {
                probe.set_busy(is_moving(&machine.phase));
            }
        }
        has_stopped(rollout)
    });
    let rollout = rollout.await.context("the rollout did not come to its end")?;
    let took = begin.elapsed();

    let closed = probes.into_iter().map(|(name, probe)| async move { anyhow::Ok((name, probe.closed_time().await?)) });
    let machines = try_join_all(closed).await?.into_iter().map(|(name, port_closed)| {
        let commanded_for = story.commanded_for(name);
        (name.to_owned(), Seen { pid_before: pids.get(name).copied().flatten(), commanded_for, port_closed })
    });
    Ok(Watched { rollout, took, machines: machines.collect() })
}

/// When which machine did what, told as it happens.
struct Story {
    begin: Instant,
    phases: HashMap<String, String>,
    commanded: HashMap<String, Duration>,
    over: HashMap<String, Duration>,
}

impl Story {
    fn take_in(&mut self, machine: &RolloutMachine) {
        let (name, phase) = (&machine.name, &machine.phase);
        let now = self.begin.elapsed();
        if is_commanded(phase) {
            self.commanded.entry(name.clone()).or_insert(now);
        }
        if is_over(phase) {
            self.over.entry(name.clone()).or_insert(now);
        }
        if self.phases.insert(name.clone(), phase.clone()).as_ref() != Some(phase) && phase != "Waiting" {
            println!("{:>7.1} s  {name:<18} {phase}", now.as_secs_f64());
        }
    }

    fn commanded_for(&self, name: &str) -> Option<Duration> {
        Some(self.over.get(name)?.saturating_sub(*self.commanded.get(name)?))
    }
}
