//! The vocabulary of the machine: its states, what can happen to it, and what it asks of the shell.
//!
//! Values only. What follows what is in `machine/mod.rs`, and drawn with these names in `docs/suction-cup.md`.

use std::time::Duration;

use contract::{Rejection, Version};

use crate::end::End;
use crate::select::Installed;

/// What Suction Cup is doing. Times are counted from its start on the monotonic clock.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Looks for a bundled package that is newer than everything installed.
    Bundling,
    /// `install-package` runs on the bundled package; it is killed at `until`.
    Installing {
        /// The bundled version.
        version: Version,
        /// When it has had its time.
        until: Duration,
    },
    /// `install-package` was killed; its end is not waited for beyond `until`.
    Abandoning {
        /// When it is left behind.
        until: Duration,
        /// What comes next.
        then: Then,
    },
    /// Reads what is installed and decides what to launch, and when.
    Choosing {
        /// What led here, not yet judged.
        before: Before,
        /// What was tried since the last launch.
        attempt: Attempt,
    },
    /// Writes down that a version on probation is about to be launched.
    Counting {
        /// The version.
        version: Version,
        /// The start of the log line for the decision; `None` where it was logged before the wait.
        heading: Option<String>,
        /// What was tried since the last launch.
        attempt: Attempt,
    },
    /// Starts the program of a version.
    Launching {
        /// The version.
        version: Version,
        /// What was tried since the last launch.
        attempt: Attempt,
    },
    /// A Tentacle runs.
    Running(Run),
    /// A Tentacle runs, and its time to become proven is over: reads whether it has.
    Checking(Run),
    /// No Tentacle runs until the time has come to choose again.
    Waiting {
        /// When the wait is over.
        until: Duration,
        /// What led here, where it could not be judged yet.
        before: Before,
        /// What was tried since the last launch.
        attempt: Attempt,
    },
    /// A Tentacle was told to end; it is killed at `until`, and again each time the grace has passed.
    Ending {
        /// The Tentacle.
        run: Run,
        /// When it is killed.
        until: Duration,
        /// What comes next.
        then: Then,
    },
    /// It is over: Suction Cup was told to end.
    Stopped,
}

/// A running Tentacle.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Run {
    /// Its version.
    pub version: Version,
    /// When it was launched.
    pub since: Duration,
    /// When it must have become proven; `None` for one that need not.
    pub prove_by: Option<Duration>,
}

/// What was tried since the last launch that worked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Attempt {
    /// The version whose coming launch is on the disk already, so that it is counted once.
    pub counted: Option<Version>,
    /// Failures in a row that were nobody's fault: they set the back-off.
    pub failures: u32,
}

/// What led to a choice.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Before {
    /// Nothing that needs to be judged.
    Nothing,
    /// There was no version that can be run, and the time has come to look at the bundled package again.
    NoVersion,
    /// A child ended.
    Ended {
        /// Its version.
        version: Version,
        /// For how long it ran.
        ran: Duration,
        /// When it ended.
        at: Duration,
        /// How.
        end: End,
    },
    /// The program of this version could not be run.
    Unstartable {
        /// The version.
        version: Version,
        /// The system's words.
        why: String,
    },
}

/// What comes after a child's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Then {
    /// Another launch.
    Choose,
    /// The end of Suction Cup.
    Exit,
}

/// What can happen to the machine: the answer to its question, or a signal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// TERM or INT came.
    Stop,
    /// Time passed, or nothing at all.
    Tick,
    /// `install-package` was started.
    BundleStarted(Version),
    /// There is no bundled package to install, or its installer cannot be started. Holds what to log, if anything.
    NoBundle(Option<String>),
    /// What is installed was read.
    Surveyed(Survey),
    /// The coming launch is on the disk.
    Counted,
    /// The disk refused to count the coming launch.
    CountRefused(String),
    /// The program was started.
    Launched,
    /// The program was not started.
    LaunchRefused {
        /// Whose fault it is.
        fault: Fault,
        /// The system's words.
        why: String,
    },
    /// The child ended.
    Ended(End),
}

/// What was read of the versions and their marks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// The versions, in any order.
    pub versions: Vec<Installed>,
    /// Why some versions may be missing from the list.
    pub versions_fault: Option<String>,
    /// Why some marks may be missing from the versions.
    pub marks_fault: Option<String>,
}

/// Whose fault it is that a program was not started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The machine is short of something, for every version alike. Never counted.
    Machine,
    /// Somebody has the program open for writing. Never counted.
    Busy,
    /// The program is missing or cannot be run.
    Version,
}

/// The one thing that the machine wants next. Each but [`Ask::Exit`] is answered by an [`Event`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Look for a bundled package and start its installer.
    Bundle,
    /// Read what is installed.
    Survey,
    /// Append one byte to this version's launches, and sync it.
    Count(Version),
    /// Start this version's program.
    Launch(Version),
    /// Wait for a signal, the child's end or this time; `None` waits for ever.
    Wait(Option<Duration>),
    /// End Suction Cup with exit code 0.
    Exit,
}

/// What the shell does for the machine without an answer. A failure changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Write one line to the log.
    Log(String),
    /// Write down that a version is given up on.
    Reject {
        /// The version.
        version: Version,
        /// The first word.
        kind: Rejection,
        /// The rest, for people.
        sentence: String,
    },
    /// Keep this sentence and the tail of the child's stderr.
    KeepLastWords(String),
    /// Ask the child to end.
    Terminate,
    /// Kill the child.
    Kill,
    /// Care no more for the child.
    Abandon,
}

impl State {
    /// Where the machine begins, and where every choice begins that nothing led to.
    pub fn choosing() -> Self {
        Self::Choosing { before: Before::Nothing, attempt: Attempt::default() }
    }

    /// The name, for log lines.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Bundling => "Bundling",
            Self::Installing { .. } => "Installing",
            Self::Abandoning { .. } => "Abandoning",
            Self::Choosing { .. } => "Choosing",
            Self::Counting { .. } => "Counting",
            Self::Launching { .. } => "Launching",
            Self::Running(_) => "Running",
            Self::Checking(_) => "Checking",
            Self::Waiting { .. } => "Waiting",
            Self::Ending { .. } => "Ending",
            Self::Stopped => "Stopped",
        }
    }

    /// What this state wants to be done. It depends on nothing else, so an event that is out of place is harmless: the
    /// question is asked again.
    pub fn ask(&self) -> Ask {
        match self {
            Self::Bundling => Ask::Bundle,
            Self::Choosing { .. } | Self::Checking(_) => Ask::Survey,
            Self::Counting { version, .. } => Ask::Count(version.clone()),
            Self::Launching { version, .. } => Ask::Launch(version.clone()),
            Self::Running(run) => Ask::Wait(run.prove_by),
            Self::Installing { until, .. }
            | Self::Abandoning { until, .. }
            | Self::Waiting { until, .. }
            | Self::Ending { until, .. } => Ask::Wait(Some(*until)),
            Self::Stopped => Ask::Exit,
        }
    }
}

impl Event {
    /// The name, for log lines.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Stop => "Stop",
            Self::Tick => "Tick",
            Self::BundleStarted(_) => "BundleStarted",
            Self::NoBundle(_) => "NoBundle",
            Self::Surveyed(_) => "Surveyed",
            Self::Counted => "Counted",
            Self::CountRefused(_) => "CountRefused",
            Self::Launched => "Launched",
            Self::LaunchRefused { .. } => "LaunchRefused",
            Self::Ended(_) => "Ended",
        }
    }
}

impl Then {
    /// The state that comes next.
    pub fn state(self) -> State {
        match self {
            Self::Choose => State::choosing(),
            Self::Exit => State::Stopped,
        }
    }
}
