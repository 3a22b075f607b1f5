//! `fleet plan`: how long the planner takes for one step of a large rollout, and what that costs in memory.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use clap::Args;
use contract::Version;
use octopus_server::clock::Timestamp;
use octopus_server::ids::MachineId;
use octopus_server::model::{Contact, Facts, Instances};
use octopus_server::rollout::plan::{Limits, Observation, plan};
use octopus_server::rollout::state::{Deadlines, Phase, WaitReason};
use octopus_server::rollout::strategy::Strategy;
use serde::Serialize;

use crate::simulate::machine::{Machine, Nature, SECOND};
use crate::simulate::seed::new_rollout;
use crate::usage::status_number;

/// How large.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Machines of the rollout
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(i64).range(1..=1_000_000))]
    pub machines: i64,
    /// Steps that are measured
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub steps: u32,
}

/// The line that is printed.
#[derive(Debug, Serialize)]
struct Report {
    machines: i64,
    steps: usize,
    step_ms_p50: f64,
    step_ms_max: f64,
    actions: usize,
    rss_mib: f64,
}

/// Plans, and changes nothing. Returns the line to print.
pub fn run(options: &Options) -> anyhow::Result<String> {
    let (old, target) = (Version::release(1, 0, 0), Version::release(2, 0, 0));
    let machine = |id| (MachineId(id), Machine::new(format!("m{id}"), Nature::Good, &old, &target));
    let machines: BTreeMap<MachineId, Machine> = (1..=options.machines).map(machine).collect();
    let mut rollout = new_rollout(&machines, Strategy::default(), &target, Duration::ZERO);
    // The hardest moment: the last wave is open, half of all are done, some are offline, some failed within the budget.
    rollout.open_wave = rollout.waves.len() - 1;
    rollout.failure_budget = u32::MAX;
    for (at, row) in rollout.machines.iter_mut().enumerate() {
        row.phase = match at % 10 {
            0..=4 => Phase::Upgraded,
            5 => Phase::Waiting(WaitReason::Offline { reason: "no route".to_owned() }),
            6 if at % 1000 == 6 => Phase::Failed { reason: "no room on the disk".to_owned() },
            _ => Phase::Waiting(WaitReason::Turn),
        };
    }
    let now = Timestamp(1000 * SECOND);
    let observation = |machine: &Machine| Observation {
        facts: Some(Facts {
            tried_at: Timestamp(0),
            contact: Contact::Answered,
            contact_since: Timestamp(0),
            report: Some(machine.report(0)),
            instances: Instances::default(),
        }),
        ..Observation::default()
    };
    let seen: HashMap<MachineId, Observation> = machines.iter().map(|(id, m)| (*id, observation(m))).collect();
    let limits = Limits {
        queue: octopus_server::model::TaskQueue::Runs,
        deadlines: Deadlines::default(),
        held: None,
        issued_generation: 0,
        packages: HashMap::from([("linux-x64".to_owned(), 1 << 20)]),
        failed_on: HashMap::new(),
        role_sizes: HashMap::new(),
    };
    let mut actions = 0;
    let mut times: Vec<Duration> = (0..options.steps)
        .map(|_| {
            let begun = Instant::now();
            actions += plan(&rollout, &seen, &limits, now).len();
            begun.elapsed()
        })
        .collect();
    times.sort();
    let ms = |time: Option<&Duration>| time.map_or(0.0, |time| time.as_secs_f64() * 1000.0);
    let report = Report {
        machines: options.machines,
        steps: times.len(),
        step_ms_p50: ms(times.get(times.len() / 2)),
        step_ms_max: ms(times.last()),
        actions,
        rss_mib: status_number(std::process::id(), "VmRSS")? as f64 / 1024.0,
    };
    Ok(serde_json::to_string(&report)?)
}
