//! `cargo xtask`: the project's own chores. Reads the command line, does what it says, returns the exit code.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use xtask::{demo, dist, pack, screenshots};

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
    PackTentacle(pack::Options),
    /// Run a portal and a fleet of real machines on this computer, and leave nothing behind
    Demo(demo::Options),
    /// Clean up after a demo when it has ended. The demo starts this
    #[command(name = demo::KEEPER, hide = true)]
    Keeper,
    /// Look at every page of the portal in a browser, at a desk and on a phone, in the light and in the dark
    Screenshots(screenshots::Options),
    /// Make what operators install: archives and .deb packages for machines and for the portal, all static
    Dist(dist::Options),
    /// Try out what `dist` made: install, upgrade, remove and purge it in a small Debian, and run the rest under qemu
    VerifyDist(dist::verify::Options),
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::PackTentacle(options) => pack::run(options).map(|()| true),
        Command::Demo(options) => demo::run(&options),
        Command::Keeper => demo::keep().map(|()| true),
        Command::Screenshots(options) => screenshots::run(&options).map(|()| true),
        Command::Dist(options) => dist::run(&options),
        Command::VerifyDist(options) => dist::verify::run(&options),
    };
    let well = done.inspect_err(|error| eprintln!("error: {error:#}")).unwrap_or(false);
    ExitCode::from(u8::from(!well))
}
