//! `fleet simulate`: whole fleets from a seed, under the portal's real planner, gate and settlement.
//!
//! A seed decides everything: the machines and their troubles, copies of them, what the network loses, repeats and holds
//! up, when the portal is killed and its clock set, what people do. So a seed that fails replays exactly.

mod hours;
pub(crate) mod machine;
mod network;
mod people;
mod promises;
pub(crate) mod seed;
mod variety;
pub(crate) mod world;

use std::time::Instant;

use anyhow::bail;
use clap::Args;
use serde::Serialize;

use self::world::play;

/// Seeds that fail are named up to this many.
const NAMED_MAX: usize = 20;

/// Which seeds.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// How many seeds
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub seeds: u64,
    /// The first one
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    pub first: u64,
    /// Machines of each fleet; without it there are 1 to 39, as the seed says
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..=20_000))]
    pub machines: Option<i64>,
    /// Print what happened, line by line
    #[arg(long)]
    pub transcript: bool,
}

/// The line that is printed.
#[derive(Debug, Serialize)]
struct Report {
    seeds: u64,
    steps: usize,
    failures: usize,
    failed: Vec<String>,
    seconds: f64,
}

/// Plays the seeds. Returns the line to print, or an error that holds it where a promise was broken.
pub fn run(options: &Options) -> anyhow::Result<String> {
    let begun = Instant::now();
    let mut report = Report { seeds: options.seeds, steps: 0, failures: 0, failed: Vec::new(), seconds: 0.0 };
    for seed in options.first..options.first.saturating_add(options.seeds) {
        let end = play(seed, options.machines);
        report.steps += end.steps;
        if options.transcript {
            end.transcript.iter().for_each(|line| println!("{line}"));
        }
        if let Some(broken) = end.broken {
            report.failures += 1;
            if report.failed.len() < NAMED_MAX {
                report.failed.push(format!("seed {seed}: {broken}"));
            }
        }
    }
    report.seconds = begun.elapsed().as_secs_f64();
    let line = serde_json::to_string(&report)?;
    if report.failures > 0 { bail!("promises were broken: {line}") } else { Ok(line) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_hundred_fleets_keep_every_promise() {
        for seed in 0..200 {
            let end = play(seed, None);
            if let Some(broken) = end.broken {
                let tail = end.transcript.iter().rev().take(60).rev().cloned().collect::<Vec<_>>().join("\n");
                panic!("seed {seed}: {broken}\n{tail}");
            }
        }
    }

    #[test]
    fn a_seed_replays_exactly() {
        assert_eq!(play(7, None).transcript, play(7, None).transcript);
    }
}
