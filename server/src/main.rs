//! The program `octopus-server`. Logging, the command line and the exit code; everything else is in the library.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use clap::Parser as _;
use octopus_server::backup::command::{backup, restore_file};
use octopus_server::config::{Cli, Command};
use octopus_server::{admin, run};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    // stdout is for results; RUST_LOG chooses what is logged.
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).from_env_lossy();
    let is_terminal = std::io::stderr().is_terminal();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(is_terminal);
    // A stderr that nobody reads is no reason to panic.
    log.log_internal_errors(false).init();
    let done = match cli.command {
        Command::Run(args) => run::run(*args).await,
        Command::Admin(command) => admin::admin(command).await,
        Command::Backup(args) => backup(args).await,
        Command::Restore(args) => restore_file(args).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "octopus-server: {error:#}");
            ExitCode::FAILURE
        }
    }
}
