//! `cargo xtask`: the project's own chores. Reads the command line, does what it says, returns the exit code.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use contract::Version;
use xtask::{Flavor, Programs, demo, pack_tentacle};

/// The project's own chores.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Pack a Tentacle program as the package that portals and installers bundle
    PackTentacle(PackTentacle),
    /// Run a portal and a fleet of real machines on this computer, and leave nothing behind
    Demo(demo::Options),
    /// Clean up after a demo when it has ended. The demo starts this
    #[command(name = demo::KEEPER, hide = true)]
    Keeper,
}

#[derive(Args)]
struct PackTentacle {
    /// The version that the Tentacle will have
    #[arg(long)]
    version: Version,
    /// The folder that the package is written into
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// The program [default: `tentacle` of this workspace, built for release]
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// The kind of computer it runs on, in .NET's words
    #[arg(long, default_value = package::current_runtime())]
    runtime: String,
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::PackTentacle(options) => pack(options).map(|()| true),
        Command::Demo(options) => demo::run(&options),
        Command::Keeper => demo::keep().map(|()| true),
    };
    let well = done.inspect_err(|error| eprintln!("error: {error:#}")).unwrap_or(false);
    ExitCode::from(u8::from(!well))
}

fn pack(options: PackTentacle) -> anyhow::Result<()> {
    let program = options.program.map_or_else(|| Programs::build(true).map(|programs| programs.tentacle), Ok)?;
    let path = pack_tentacle(&program, Flavor::Real, &options.runtime, &options.version, &options.out)?;
    println!("{}", path.display());
    Ok(())
}
