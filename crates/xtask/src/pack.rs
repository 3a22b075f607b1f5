//! `cargo xtask pack-tentacle`: packs a Tentacle program as the package that portals and installers bundle.

use std::path::PathBuf;

use clap::Args;
use contract::Version;

use crate::packages::{Flavor, pack_tentacle};
use crate::programs::Programs;

/// What `cargo xtask pack-tentacle` is told.
#[derive(Args, Debug)]
pub struct Options {
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

/// Packs it and prints the package's path.
pub fn run(options: Options) -> anyhow::Result<()> {
    let program = options.program.map_or_else(|| Programs::build(true).map(|programs| programs.tentacle), Ok)?;
    let path = pack_tentacle(&program, Flavor::Real, &options.runtime, &options.version, &options.out)?;
    println!("{}", path.display());
    Ok(())
}
