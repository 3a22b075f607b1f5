//! The static programs: built by cargo, with zig as the C compiler and linker of every target.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use anyhow::Context as _;

use super::Arch;
use crate::programs::{built, cargo, messages_of};

/// The profile of the one program that is never upgraded and stays on every machine.
const SUPERVISOR_PROFILE: &str = "supervisor";

/// The programs that are delivered for one kind of computer, Tentacle aside.
#[derive(Clone, Debug)]
pub struct StaticPrograms {
    /// `octopus-server`
    pub server: PathBuf,
    /// `suction-cup`
    pub suction_cup: PathBuf,
    /// `install-package`
    pub install_package: PathBuf,
}

/// What is to be packed.
#[derive(Clone, Debug, Default)]
pub struct Built {
    /// `tentacle`, for every kind of computer: a portal offers them all.
    pub tentacles: BTreeMap<Arch, PathBuf>,
    /// The other programs, for the kinds that are delivered to.
    pub programs: BTreeMap<Arch, StaticPrograms>,
}

impl Built {
    /// Builds all programs for `kinds`, and Tentacle for all. Blocks for minutes; cargo's words go to stderr.
    pub(super) fn with_cargo(kinds: &[Arch]) -> anyhow::Result<Self> {
        let mut done = Self::default();
        for kind in Arch::ALL {
            let whole = kinds.contains(&kind);
            let packages: &[&str] = if whole { &["octopus-server", "tentacle", "package"] } else { &["tentacle"] };
            let mut programs = zigbuild(kind, "release", packages)?;
            if whole {
                programs.extend(zigbuild(kind, SUPERVISOR_PROFILE, &["suction-cup"])?);
            }
            let mut take = |name: &str| {
                programs.remove(name).with_context(|| format!("cargo did not build {name} for {}", kind.triple()))
            };
            done.tentacles.insert(kind, take("tentacle")?);
            if whole {
                let (server, suction_cup) = (take("octopus-server")?, take("suction-cup")?);
                let install_package = take("install-package")?;
                done.programs.insert(kind, StaticPrograms { server, suction_cup, install_package });
            }
        }
        Ok(done)
    }
}

fn zigbuild(kind: Arch, profile: &str, packages: &[&str]) -> anyhow::Result<HashMap<String, PathBuf>> {
    let mut command = cargo("zigbuild");
    command.args(["--locked", "--bins", "--profile", profile, "--target", kind.triple()]);
    for package in packages {
        command.args(["--package", package]);
    }
    Ok(built(&messages_of(command)?))
}
