//! The program `suction-cup`: reads the command line, runs, and returns the exit code. Nothing else happens here.

use std::io::Write as _;
use std::process::ExitCode;

use suction_cup::args::{self, Command};
use suction_cup::settings::Settings;
use suction_cup::{run, status};

fn main() -> ExitCode {
    match args::read(std::env::args_os().skip(1), args::variable) {
        Command::Run(home) => {
            let (settings, complaints) = Settings::read(args::variable);
            ExitCode::from(run::run(&home, settings, &complaints))
        }
        Command::Status(home) => {
            let report = status::look(&home);
            if say(&report.text) == ExitCode::SUCCESS { ExitCode::from(report.exit) } else { ExitCode::FAILURE }
        }
        Command::Version => say(&format!("suction-cup {}\n", env!("CARGO_PKG_VERSION"))),
        Command::Help => say(args::HELP),
        Command::Wrong(why) => {
            // A closed stderr is no reason to end in any other way.
            let _ = writeln!(std::io::stderr(), "suction-cup: {why}; see suction-cup --help");
            ExitCode::from(run::EXIT_USAGE)
        }
    }
}

fn say(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
