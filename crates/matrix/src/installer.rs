//! `install-package`, interfered with at one call; then Suction Cup is started on what it left.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use contract::{Rejection, Verdicts, Version};

use crate::case::{Outcome, Scenario};
use crate::faults::Fault;
use crate::stage::{Kit, Stage, new, old, wait};
use crate::strace::{self, Calls, Injection, Threads};
use crate::supervisor::restart;

/// The longest that an installation of this size may take, and the start after it. A case fails at it.
const LIMIT: Duration = Duration::from_secs(12);

/// The code of a program whose loader could not load it.
const NOT_LOADED: i32 = 127;

/// What is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Installing {
    /// The bundled package, where nothing is installed.
    FirstInstall,
    /// A newer version beside a proven one, on a person's word.
    Upgrade,
    /// A version that was rejected is installed again beside the one that runs: its verdicts are cleared.
    Pardon,
    /// A damaged version is replaced while another runs.
    Repair,
}

impl Installing {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::FirstInstall, Self::Upgrade, Self::Pardon, Self::Repair];

    fn package(self, kit: &Kit, stage: &Stage) -> anyhow::Result<PathBuf> {
        match self {
            Self::FirstInstall => stage.bundle(&kit.package(&old())),
            Self::Upgrade | Self::Pardon | Self::Repair => Ok(kit.package(&new())),
        }
    }

    pub(crate) fn start(self, kit: &Kit, stage: &Stage, words: &[String]) -> anyhow::Result<xtask::Process> {
        let mut command = stage.command(words, "install-package");
        if self == Self::FirstInstall {
            command.arg("--bundled");
        }
        command.arg("--home").arg(stage.home.path()).arg(self.package(kit, stage)?);
        stage.start(command, &[])
    }

    pub(crate) fn target(self) -> Version {
        if self == Self::FirstInstall { old() } else { new() }
    }

    /// What holds at every moment: each visible version is whole, or the damaged one is still as it was.
    pub(crate) fn look_around(self, stage: &Stage) -> anyhow::Result<BTreeSet<Version>> {
        let is_old_damage = self == Self::Repair && fs::read(damaged(stage)).is_ok_and(|bytes| bytes == b"damaged");
        let complete = match stage.complete_versions() {
            Ok(complete) => complete,
            Err(_) if is_old_damage => [old()].into(),
            Err(error) => return Err(error),
        };
        if self == Self::Repair {
            ensure!(stage.home.tentacle(&new()).exists(), "the version that was to be repaired is gone");
        }
        if self != Self::FirstInstall {
            ensure!(complete.contains(&old()), "the proven version was deleted");
            ensure!(Verdicts::read(&stage.home, &old()).proven, "the mark of the proven version is gone");
        }
        Ok(complete)
    }
}

/// A file of the newer version.
fn damaged(stage: &Stage) -> PathBuf {
    stage.home.tentacle(&new()).join("lib/data")
}

impl Scenario for Installing {
    fn program(&self) -> &'static str {
        "install-package"
    }

    fn name(&self) -> &'static str {
        match self {
            Self::FirstInstall => "first-install",
            Self::Upgrade => "upgrade",
            Self::Pardon => "pardon",
            Self::Repair => "repair",
        }
    }

    fn record(&self, kit: &Kit) -> anyhow::Result<Calls> {
        let stage = self.set(kit)?;
        let log = strace::log_in(stage.around(), "record");
        let mut installer = self.start(kit, &stage, &strace::recording(&log, Threads::First, "trace=all"))?;
        let ended = installer.wait(LIMIT);
        ensure!(ended.is_some_and(|status| status.success()), "the scenario does not play: {}", stage.words());
        Ok(Calls::read(&log))
    }

    fn set(&self, kit: &Kit) -> anyhow::Result<Stage> {
        let stage = kit.stage()?;
        if *self == Self::FirstInstall {
            return Ok(stage);
        }
        stage.prepare_home()?;
        stage.install(&kit.installed(&old()), "1.0.0")?;
        stage.prove(&old())?;
        if *self == Self::Pardon {
            let words = format!("{} It was launched 3 times.\n", Rejection::Crashed.word());
            fs::write(stage.home.rejected(&new()), words)?;
            fs::write(stage.home.launches(&new()), "...")?;
        }
        if *self == Self::Repair {
            stage.install(&kit.installed(&new()), "2.0.0")?;
            fs::write(damaged(&stage), "damaged")?;
        }
        Ok(stage)
    }

    fn interfere(
        &self,
        kit: &Kit,
        stage: &Stage,
        calls: &Calls,
        injection: &Injection,
    ) -> anyhow::Result<(Outcome, Duration)> {
        let log = strace::log_in(stage.around(), "case");
        let begun = Instant::now();
        let mut installer = self.start(kit, stage, &strace::interfering(&log, Threads::First, injection))?;
        let status = installer.wait(LIMIT).with_context(|| format!("it did not end in {LIMIT:?}"))?;
        let complete = self.look_around(stage)?;
        match status.code() {
            Some(0) => ensure!(complete.contains(&self.target()), "it reported success, and nothing is installed"),
            Some(1) => {}
            None if injection.fault == Fault::Kill => {}
            Some(NOT_LOADED) | None if calls.is_before_start(injection) => {}
            Some(code) => bail!("it ended with code {code}"),
            None => bail!("it ended itself by a signal"),
        }
        Ok((strace::outcome(&log), begun.elapsed()))
    }

    fn restart(&self, _: &Kit, stage: &Stage) -> anyhow::Result<Duration> {
        restart(stage, &[], |stage, cup| {
            let complete = self.look_around(stage)?;
            // A damaged program would run: only its own installer knows what it should be.
            let newer = complete.contains(&new()) && !Verdicts::read(&stage.home, &new()).is_marked_bad();
            let expected = if newer || *self == Self::Repair { new() } else { old() };
            let runs = wait(LIMIT, || match cup.ended() {
                Some(_) => Some(false),
                None => (stage.running() == Some(expected.clone())).then_some(true),
            });
            ensure!(runs == Some(true), "{expected} does not run in {LIMIT:?}");
            self.look_around(stage).map(drop)
        })
    }
}
