//! `fleet`: measurements with real Tentacles and the real portal. Reads the command line, measures, prints one line of JSON.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use contract::TentacleExit;
use fleet::{idle, pages, plan, push, simulate, soak};

/// Measurements with real Tentacles and the real portal on this computer; each prints one line of JSON.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Send one package to many Tentacle services and install it there
    Push(push::Options),
    /// Leave one Suction Cup and its proven Tentacle alone, and see what they cost
    Idle(idle::Options),
    /// Play whole fleets from seeds under the portal's real planner
    Simulate(simulate::Options),
    /// Measure one step of the planner for a large rollout
    Plan(plan::Options),
    /// Measure how soon the portal's pages come, with many machines
    Pages(pages::Options),
    /// Kill a Tentacle and its Suction Cup at random moments, and see them come back
    Soak(soak::Options),
    /// Be the Tentacle of one machine; what `push` starts
    #[command(hide = true)]
    Tentacle(tentacle::config::Run),
}

fn main() -> ExitCode {
    let line = match Cli::parse().command {
        Command::Push(options) => push::run(&options),
        Command::Idle(options) => idle::run(&options),
        Command::Plan(options) => plan::run(&options),
        Command::Pages(options) => pages::run(&options),
        Command::Simulate(options) => simulate::run(&options),
        Command::Soak(options) => soak::run(&options),
        Command::Tentacle(options) => return be_tentacle(&options),
    };
    match line {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn be_tentacle(options: &tentacle::config::Run) -> ExitCode {
    let ended = tentacle::run::run(options).inspect_err(|error| eprintln!("error: {error:#}"));
    ExitCode::from(ended.unwrap_or(TentacleExit::Failed).code())
}
