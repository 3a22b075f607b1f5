//! `suction-cup`, interfered with at one call of a first installation, a hand-over, a fall-back or an end.
//!
//! Then it is started again with nothing in its way, as its service manager does.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use contract::{Verdicts, Version};
use xtask::Process;

use crate::case::{Outcome, Scenario};
use crate::faults::Fault;
use crate::stage::{Kit, Stage, new, old, wait};
use crate::stand_in::Play;
use crate::strace::{self, Calls, Injection, Threads};

/// The longest that Suction Cup may take to where it should be: the longest of its own waits for something that failed
/// is 2 s, and the rest is for a machine that is busy with many cases. A case fails at it.
const LIMIT: Duration = Duration::from_secs(12);

/// The exit code where another Suction Cup has the home folder.
const BUSY: i32 = 75;

/// How often a version on probation is launched at most, where nothing else is set.
const LAUNCHES: u64 = 3;

/// What the cases play with. Times are short, so that a case is.
const SETTINGS: [(&str, &str); 5] = [
    ("SUCTION_CUP_WAIT_MIN_MS", "100"),
    ("SUCTION_CUP_WAIT_MAX_MS", "200"),
    ("SUCTION_CUP_CRASH_WINDOW_MS", "1000"),
    ("SUCTION_CUP_GRACE_MS", "100"),
    ("SUCTION_CUP_BUNDLE_MS", "8000"),
];

/// What is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Supervised {
    /// Nothing is installed; the bundled package is, and launched.
    FirstInstall,
    /// A proven version puts a newer one in its place and ends; that one proves itself.
    HandOver,
    /// A newer version ends at once; the proven one is launched.
    FallBack,
    /// The same, after as many launches as a version on probation is given.
    FallBackAtLast,
    /// A newer version runs and is never confirmed; the proven one is launched.
    Unconfirmed,
    /// Suction Cup is told to end.
    Shutdown,
    /// Suction Cup is told to end, and its Tentacle does not hear.
    StubbornShutdown,
}

impl Supervised {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::FirstInstall,
        Self::HandOver,
        Self::FallBack,
        Self::FallBackAtLast,
        Self::Unconfirmed,
        Self::Shutdown,
        Self::StubbornShutdown,
    ];

    pub(crate) fn settings(self) -> Vec<(&'static str, &'static str)> {
        let more = match self {
            Self::FallBack => Some(("SUCTION_CUP_PROBATION_LAUNCHES", "1")),
            Self::Unconfirmed => Some(("SUCTION_CUP_PROBATION_MS", "100")),
            _ => None,
        };
        SETTINGS.into_iter().chain(more).collect()
    }

    /// How often a version that does not work is launched.
    pub(crate) fn launches(self) -> u64 {
        if self == Self::FallBackAtLast { LAUNCHES } else { 1 }
    }

    /// Plays it with nothing in the way, behind these words, to its end.
    pub(crate) fn play(self, stage: &Stage, words: &[String]) -> anyhow::Result<()> {
        let mut cup = stage.start(stage.supervisor(words), &self.settings())?;
        if !self.ends_by_itself() {
            let settled = self.settled(stage, &mut cup, false);
            ensure!(matches!(settled, Settled::Runs), "the scenario does not play: {}", stage.words());
        }
        let ended = if self.ends_by_itself() { cup.wait(LIMIT) } else { cup.end() };
        ensure!(ended.is_some_and(|status| status.success()), "the scenario does not end: {}", stage.words());
        Ok(())
    }

    fn ends_by_itself(self) -> bool {
        matches!(self, Self::Shutdown | Self::StubbornShutdown)
    }

    /// The versions of which one has to run in the end. Where the disk refuses to count a launch, the proven version
    /// stays; with nothing in the way, it is the newest that is good.
    fn expected(self, stage: &Stage, calm: bool) -> BTreeSet<Version> {
        match self {
            Self::HandOver if stage.home.tentacle(&new()).exists() => {
                if calm {
                    [new()].into()
                } else {
                    [old(), new()].into()
                }
            }
            _ => [old()].into(),
        }
    }

    /// Waits until the right version runs on. The hand-over is over when the newer one was tried.
    fn settled(self, stage: &Stage, cup: &mut Process, calm: bool) -> Settled {
        let look = || {
            if let Some(status) = cup.ended() {
                return Some(Settled::Ended(status));
            }
            let running = stage.running()?;
            let is_there = self.expected(stage, calm).contains(&running)
                && (self != Self::HandOver || calm || { stage.home.tentacle(&new()).exists() });
            is_there.then_some(Settled::Runs)
        };
        wait(LIMIT, look).unwrap_or(Settled::Never)
    }

    /// What holds at every moment, whatever was interfered with.
    fn look_around(self, stage: &Stage) -> anyhow::Result<()> {
        let complete = stage.complete_versions()?;
        if self != Self::FirstInstall {
            ensure!(complete.contains(&old()), "the proven version was deleted");
        }
        let verdicts = Verdicts::read(&stage.home, &old());
        ensure!(verdicts.rejected.is_none(), "a version that works was rejected");
        let verdicts = Verdicts::read(&stage.home, &new());
        ensure!(!(self == Self::HandOver && verdicts.rejected.is_some()), "a version that works was rejected");
        ensure!(verdicts.launches <= LAUNCHES, "launched {} times on probation", verdicts.launches);
        Ok(())
    }

    /// How Suction Cup may end: killed where that was the point, as told, and otherwise never by itself, unless it
    /// could not even begin.
    fn judge_end(self, code: Option<i32>, calls: &Calls, injection: &Injection) -> anyhow::Result<()> {
        match code {
            None if injection.fault == Fault::Kill => Ok(()),
            Some(0) => Ok(()),
            Some(BUSY) if injection.call == "flock" => Ok(()),
            _ if injection.fault != Fault::Kill && calls.is_before_start(injection) => Ok(()),
            Some(code) => bail!("it ended by itself with code {code}"),
            None => bail!("it ended itself by a signal"),
        }
    }
}

enum Settled {
    Runs,
    Ended(std::process::ExitStatus),
    Never,
}

impl Scenario for Supervised {
    fn program(&self) -> &'static str {
        "suction-cup"
    }

    fn name(&self) -> &'static str {
        match self {
            Self::FirstInstall => "first-install",
            Self::HandOver => "hand-over",
            Self::FallBack => "fall-back",
            Self::FallBackAtLast => "fall-back-at-last",
            Self::Unconfirmed => "unconfirmed",
            Self::Shutdown => "shutdown",
            Self::StubbornShutdown => "stubborn-shutdown",
        }
    }

    fn record(&self, kit: &Kit) -> anyhow::Result<Calls> {
        let stage = self.set(kit)?;
        let log = strace::log_in(stage.around(), "record");
        self.play(&stage, &strace::recording(&log, Threads::First, "trace=all"))?;
        Ok(Calls::read(&log))
    }

    fn set(&self, kit: &Kit) -> anyhow::Result<Stage> {
        let stage = kit.stage()?;
        if *self == Self::FirstInstall {
            stage.bundle(&kit.package(&old()))?;
            return Ok(stage);
        }
        stage.prepare_home()?;
        stage.install(&kit.installed(&old()), "1.0.0")?;
        stage.prove(&old())?;
        match self {
            Self::FirstInstall => {}
            Self::HandOver => {
                stage.install(&kit.installed(&new()), ".incoming-2.0.0-x")?;
                stage.play(&old(), Play::HandOver)?;
                stage.play(&new(), Play::Prove)?;
            }
            Self::FallBack | Self::FallBackAtLast => {
                stage.install(&kit.installed(&new()), "2.0.0")?;
                stage.play(&new(), Play::Crash)?;
            }
            Self::Unconfirmed => stage.install(&kit.installed(&new()), "2.0.0")?,
            Self::Shutdown => stage.play(&old(), Play::Stop)?,
            Self::StubbornShutdown => stage.play(&old(), Play::StopAndStay)?,
        }
        Ok(stage)
    }

    fn interfere(
        &self,
        _: &Kit,
        stage: &Stage,
        calls: &Calls,
        injection: &Injection,
    ) -> anyhow::Result<(Outcome, Duration)> {
        let log = strace::log_in(stage.around(), "case");
        let begun = Instant::now();
        let words = strace::interfering(&log, Threads::First, injection);
        let mut cup = stage.start(stage.supervisor(&words), &self.settings())?;
        let settled = match self.ends_by_itself() {
            true => cup.wait(LIMIT).map_or(Settled::Never, Settled::Ended),
            false => self.settled(stage, &mut cup, false),
        };
        let waited = begun.elapsed();
        match settled {
            Settled::Never => bail!("it did not get there in {LIMIT:?}"),
            Settled::Ended(status) => self.judge_end(status.code(), calls, injection)?,
            Settled::Runs => {
                ensure!(stage.alive().len() == 1, "{} Tentacles run", stage.alive().len());
                self.look_around(stage)?;
                let asked = Instant::now();
                let ended = cup.end();
                ensure!(asked.elapsed() < LIMIT, "it did not end when it was told to");
                if let Some(status) = ended {
                    self.judge_end(status.code(), calls, injection)?;
                }
            }
        }
        ensure!(stage.is_left_by_all(), "a Tentacle outlived its Suction Cup");
        self.look_around(stage)?;
        Ok((strace::outcome(&log), waited))
    }

    fn restart(&self, _: &Kit, stage: &Stage) -> anyhow::Result<Duration> {
        restart(stage, &self.settings(), |stage, cup| {
            let settled = self.settled(stage, cup, true);
            ensure!(matches!(settled, Settled::Runs), "the right version does not run in {LIMIT:?}");
            self.look_around(stage)
        })
    }
}

/// Starts the stage's Suction Cup with nothing in its way, waits until `settled`, and ends it. Exactly one Tentacle must
/// run then, and none afterwards. Returns how long it took until then.
pub fn restart(
    stage: &Stage,
    settings: &[(&str, &str)],
    settled: impl FnOnce(&Stage, &mut Process) -> anyhow::Result<()>,
) -> anyhow::Result<Duration> {
    stage.calm()?;
    let begun = Instant::now();
    let mut cup = stage.start(stage.supervisor(&[]), settings)?;
    settled(stage, &mut cup)?;
    let waited = begun.elapsed();
    ensure!(stage.alive().len() == 1, "{} Tentacles run", stage.alive().len());
    ensure!(cup.end().is_some_and(|status| status.success()), "it did not end as it was told to");
    ensure!(stage.is_left_by_all(), "a Tentacle outlived its Suction Cup");
    Ok(waited)
}
