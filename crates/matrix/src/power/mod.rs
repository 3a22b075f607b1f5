//! Power cuts: what a program did to the disk is recorded once, and replayed to every point; at each, the disk is left in
//! every state that it may be in, and must be either old or new. Then the real Suction Cup is started on it.

mod disk;
mod record;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use contract::{Home, Rejection, Verdicts, Version};

use crate::case::{Outcome, Scenario as _, spread, work};
use crate::installer::Installing;
use crate::report::{Failure, Part};
use crate::stage::{Kit, Stage, new, old, wait};
use crate::stand_in::Play;
use crate::strace::{self, Threads};
use crate::supervisor::{Supervised, restart};
use disk::{Disk, Tree, materialise};
use record::Op;

/// The longest that Suction Cup may take to run a version on what a power cut left.
const LIMIT: Duration = Duration::from_secs(12);

/// Its name among the modes.
pub const POWER_CUT: &str = "power-cut";

/// What is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// `install-package`: every write of an installation.
    Installing(Installing),
    /// `suction-cup`: the count of each launch, and the verdict.
    Judging(Supervised),
    /// The same, where the folder that both are written to is not there yet.
    JudgingAnew,
}

/// What becomes of a program's syncs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syncs {
    /// They do what they say.
    Heeded,
    /// They do nothing: to see that it is found out when one is missing.
    Ignored,
}

/// One state of the disk after a power cut.
struct Case {
    /// Calls that were made before the power went.
    point: usize,
    /// Programs that were started before.
    launches: u64,
    /// True where the program had come to its end.
    done: bool,
    tree: Tree,
}

impl Recorded {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Installing(Installing::FirstInstall),
        Self::Installing(Installing::Upgrade),
        Self::Installing(Installing::Pardon),
        Self::Installing(Installing::Repair),
        Self::Judging(Supervised::FallBack),
        Self::Judging(Supervised::FallBackAtLast),
        Self::Judging(Supervised::Unconfirmed),
        Self::JudgingAnew,
    ];

    /// The program and what it does.
    pub fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Installing(one) => (one.program(), one.name()),
            Self::Judging(one) => (one.program(), one.name()),
            Self::JudgingAnew => (Supervised::FallBack.program(), "fall-back-anew"),
        }
    }

    /// What Suction Cup does in it, if it is about Suction Cup.
    fn judging(self) -> Option<Supervised> {
        match self {
            Self::Installing(_) => None,
            Self::Judging(one) => Some(one),
            Self::JudgingAnew => Some(Supervised::FallBack),
        }
    }

    /// Replays the recording and looks at every state, or at so many of each recording, spread evenly.
    pub fn run(self, kit: &Kit, syncs: Syncs, at_most: Option<usize>, jobs: usize) -> anyhow::Result<Part> {
        let begun = Instant::now();
        let (ops, cases) = self.cases(kit, syncs)?;
        let cases = spread(cases, at_most);
        let (program, name) = self.names();
        let mut part = Part::new(program, name, POWER_CUT, ops);
        part.cases = cases.len();
        let mut part = work(part, &cases, jobs, |case| match self.judge(kit, case) {
            Ok(waited) => Ok((Outcome::Passed, waited)),
            Err(error) => Err(Failure { case: format!("after call {}", case.point), why: format!("{error:#}") }),
        });
        part.seconds = begun.elapsed().as_secs_f64();
        Ok(part)
    }

    /// How many calls were recorded, and every state at every point, each once until a program was started.
    fn cases(self, kit: &Kit, syncs: Syncs) -> anyhow::Result<(usize, Vec<Case>)> {
        let (stage, mut disk, ops) = self.record(kit)?;
        drop(stage);
        let mut cases: Vec<Case> = Vec::new();
        let (mut launches, mut since) = (0, 0);
        for (point, op) in ops.iter().enumerate() {
            if syncs == Syncs::Heeded || !matches!(op, Op::Sync { .. }) {
                disk.play(op)?;
            }
            if *op == Op::Launch {
                launches += 1;
                since = cases.len();
            }
            let done = point + 1 == ops.len();
            for tree in disk.after_power_cut() {
                if done || !cases[since..].iter().any(|case| case.tree == tree) {
                    cases.push(Case { point: point + 1, launches, done, tree });
                }
            }
        }
        Ok((ops.len(), cases))
    }

    fn record(self, kit: &Kit) -> anyhow::Result<(Stage, Disk, Vec<Op>)> {
        let set = |stage: &Stage| -> anyhow::Result<Disk> {
            fs::create_dir_all(stage.home.path())?;
            Disk::read(stage.home.path())
        };
        let log = |stage: &Stage| strace::log_in(stage.around(), "power");
        let (stage, disk) = match self {
            Self::Installing(one) => {
                let stage = one.set(kit)?;
                let disk = set(&stage)?;
                let mut installer = one.start(kit, &stage, &Self::words(&log(&stage)))?;
                ensure!(installer.wait(LIMIT).is_some_and(|end| end.success()), "no installation: {}", stage.words());
                (stage, disk)
            }
            Self::Judging(one) => {
                let stage = one.set(kit)?;
                let disk = set(&stage)?;
                one.play(&stage, &Self::words(&log(&stage)))?;
                (stage, disk)
            }
            Self::JudgingAnew => {
                let stage = Supervised::FallBack.set(kit)?;
                fs::remove_dir_all(stage.home.supervisor())?;
                let disk = set(&stage)?;
                Supervised::FallBack.play(&stage, &Self::words(&log(&stage)))?;
                (stage, disk)
            }
        };
        let text = strace::finished(&log(&stage));
        let ops = record::read(&text, stage.home.path())?;
        ensure!(ops.len() > 5, "nothing was recorded");
        Ok((stage, disk, ops))
    }

    /// Everything of every write, and the paths of open files.
    fn words(log: &Path) -> Vec<String> {
        let mut words = strace::recording(log, Threads::First, record::FILTER);
        words.extend(["-y", "-s", "100000000"].map(str::to_owned));
        words
    }

    /// Puts the state on a real disk and looks at it as readers do; then Suction Cup is started on it.
    fn judge(self, kit: &Kit, case: &Case) -> anyhow::Result<Duration> {
        let stage = kit.stage()?;
        materialise(&case.tree, stage.home.path())?;
        self.look(&stage, case).context("when the power is back")?;
        let (expected, settings) = match self {
            Self::Judging(_) | Self::JudgingAnew => {
                (old(), self.judging().map(Supervised::settings).unwrap_or_default())
            }
            Self::Installing(Installing::FirstInstall) => {
                stage.bundle(&kit.package(&old()))?;
                (old(), Vec::new())
            }
            Self::Installing(_) => (newest_good(&stage.home)?, Vec::new()),
        };
        if self.judging().is_some_and(|one| one != Supervised::Unconfirmed) {
            stage.play(&new(), Play::Crash)?;
        }
        let again = restart(&stage, &settings, |stage, _| {
            let runs = wait(LIMIT, || (stage.running() == Some(expected.clone())).then_some(()));
            runs.with_context(|| format!("{expected} does not run in {LIMIT:?}"))
        });
        again.with_context(|| format!("Suction Cup on what is left; {}", stage.words()))
    }

    fn look(self, stage: &Stage, case: &Case) -> anyhow::Result<()> {
        match self {
            Self::Installing(one) => {
                let complete = one.look_around(stage)?;
                ensure!(
                    !case.done || complete.contains(&one.target()),
                    "it reported success, and nothing is installed"
                );
                let mark = Verdicts::read(&stage.home, &new());
                let is_armed = one == Installing::Pardon && complete.contains(&new());
                ensure!(!is_armed || (mark.rejected.is_none() && mark.launches == 0), "armed before it was pardoned");
            }
            Self::Judging(one) => {
                ensure!(Verdicts::read(&stage.home, &old()).proven, "the mark of the proven version is gone");
                look_at_verdict(stage, case, one)?;
            }
            Self::JudgingAnew => look_at_verdict(stage, case, Supervised::FallBack)?,
        }
        Ok(())
    }
}

/// Every launch of the newer version is counted before it, and the verdict is safe before the older one is launched.
fn look_at_verdict(stage: &Stage, case: &Case, one: Supervised) -> anyhow::Result<()> {
    let complete = stage.complete_versions()?;
    ensure!(complete == [old(), new()].into(), "a version is gone");
    let (mark, given) = (Verdicts::read(&stage.home, &new()), one.launches());
    ensure!(mark.launches >= case.launches.min(given), "a launch was not counted: {}", mark.launches);
    ensure!(case.launches <= given || mark.rejected.is_some(), "the next was launched before the verdict was safe");
    let (kind, word) = match one {
        Supervised::Unconfirmed => (Rejection::Unconfirmed, "unconfirmed "),
        _ => (Rejection::Crashed, "crashed "),
    };
    ensure!(mark.rejected.is_none_or(|rejected| rejected == kind), "the verdict is another");
    let text = fs::read_to_string(stage.home.rejected(&new())).unwrap_or_else(|_| format!("{word}\n"));
    ensure!(text.starts_with(word) && text.ends_with('\n'), "the verdict is torn: {text:?}");
    Ok(())
}

/// What Suction Cup has to choose.
fn newest_good(home: &Home) -> anyhow::Result<Version> {
    let versions = home.installed_tentacles()?;
    let good = versions.into_iter().find(|version| !Verdicts::read(home, version).is_marked_bad());
    good.context("no version is good")
}
