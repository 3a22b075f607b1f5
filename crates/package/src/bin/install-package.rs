//! `install-package`: installs a Tentacle package into a home folder.
//!
//! Run by a person, or with `--bundled` by Suction Cup at its start. It prints one line of what it did. Exit codes: 0
//! for done or nothing to do, 1 for failed with the reason on stderr, 2 for a command line that was not understood.

use std::error::Error;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use contract::{Home, env};
use package::{
    Authority, BundleOutcome, InstallError, Installed, Limits, Outcome, end_with_parent, install_tentacle_bundle,
    stage_tentacle, verify,
};

/// Install a Tentacle package side by side with the versions that are there.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The home folder
    #[arg(long, env = env::TENTACLE_HOME, default_value = Home::SERVICE)]
    home: PathBuf,

    /// Install only what is newer than every installed version and bears no verdict
    #[arg(long)]
    bundled: bool,

    /// The package, a .nupkg file; with --bundled also a folder that holds one
    package: PathBuf,
}

fn main() -> ExitCode {
    // What was done does not become undone because nobody reads of it: errors of writing the line are ignored.
    match run(&Arguments::parse()) {
        Ok(line) => {
            let _ = writeln!(io::stdout(), "{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            let _ = writeln!(io::stderr(), "install-package: {}", with_causes(&error));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<String, InstallError> {
    let home = Home::new(&arguments.home);
    if arguments.bundled {
        end_with_parent();
        return Ok(tell_bundled(&install_tentacle_bundle(&home, &arguments.package)?));
    }
    let package = verify(&arguments.package, None, &Limits::default())?;
    let installed = stage_tentacle(&home, package)?.arm(Authority::Commanded)?;
    Ok(tell(&installed))
}

fn tell_bundled(outcome: &BundleOutcome) -> String {
    match outcome {
        BundleOutcome::Installed(installed) => tell(installed),
        BundleOutcome::NotNewer { bundled, installed } => {
            format!("nothing to do: {installed} is installed, and the bundled {bundled} is not newer")
        }
        BundleOutcome::Marked { bundled, mark } => {
            format!("nothing to do: the bundled {bundled} bears the mark .{mark}")
        }
    }
}

fn tell(installed: &Installed) -> String {
    let done = match installed.outcome {
        Outcome::New => "installed",
        Outcome::AlreadyThere => "nothing to unpack, there and intact:",
        Outcome::Repaired => "repaired",
    };
    format!("{done} {} in {}", installed.version, installed.folder.display())
}

/// An error and everything below it, on one line.
fn with_causes(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line += &format!(": {error}");
        cause = error.source();
    }
    line
}
