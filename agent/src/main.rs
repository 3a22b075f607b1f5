//! The program `tentacle`: parses the command line, runs what it says, turns the outcome into an exit code.

use std::process::ExitCode;

use clap::Parser as _;
use contract::TentacleExit;
use tentacle::config::{Cli, Command};
use tentacle::{exit, install, register, run};

fn main() -> ExitCode {
    if !run::follow_supervisor() {
        exit::last_words("Suction Cup ended before this Tentacle could start");
        return code(TentacleExit::Failed);
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { code(TentacleExit::Usage) } else { ExitCode::SUCCESS };
        }
    };
    let result = match cli.command {
        Command::Run(options) => run::run(&options).map(code),
        Command::Install(options) => install::by_hand(options),
        Command::Register(options) => register::register(options),
        Command::ShowThumbprint(options) => register::show_thumbprint(&options),
    };
    result.unwrap_or_else(|error| {
        exit::last_words(&format!("tentacle: {error:#}"));
        code(TentacleExit::Failed)
    })
}

fn code(exit: TentacleExit) -> ExitCode {
    ExitCode::from(exit.code())
}
