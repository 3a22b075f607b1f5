//! What the portal last saw of a machine, and the words for it. "Don't know" is an answer, and an old fact keeps its age.

use contract::{Verdicts, Version};

use crate::clock::Timestamp;
use crate::model::Instances;

/// The outcome of the last attempt to reach a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contact {
    /// It answered.
    Answered,
    /// Nobody answered: it may be down, or the network may be. Unreachable is not down.
    Silent {
        /// A sentence for people.
        reason: String,
    },
    /// Somebody answered, but one side did not trust the other's certificate, or it was no Tentacle.
    Refused {
        /// A sentence for people.
        reason: String,
    },
}

/// A version that a machine has installed, and what its Suction Cup thinks of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstalledVersion {
    /// The version.
    pub version: Version,
    /// The verdicts on it.
    pub verdicts: Verdicts,
}

/// Work that a machine was doing when it reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunningWork {
    /// The portal's ticket for it.
    pub ticket: String,
    /// What it is, for people.
    pub description: String,
    /// Since when, by the machine's clock.
    pub since: Timestamp,
}

/// What a Tentacle said of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// When the portal received it, by the portal's clock.
    pub at: Timestamp,
    /// When the portal first heard of this instance.
    pub instance_seen_at: Timestamp,
    /// The version that runs.
    pub version: Version,
    /// Random at each process start.
    pub instance_id: String,
    /// When the process started, by the machine's clock.
    pub started_at: Timestamp,
    /// In .NET's words: `linux-x64`.
    pub runtime: String,
    /// The operating system's own name.
    pub os: String,
    /// The machine's own name.
    pub hostname: String,
    /// The revision of the contract with Suction Cup; `None` where no Suction Cup runs it.
    pub supervisor_contract: Option<u32>,
    /// The installed versions, newest first.
    pub installed: Vec<InstalledVersion>,
    /// How the former process ended, and the tail of its stderr.
    pub last_words: Option<String>,
    /// Free space where packages are installed, in bytes.
    pub free_disk_bytes: u64,
    /// What it is doing.
    pub running_work: Vec<RunningWork>,
    /// The highest generation it saw from this portal; 0 for none.
    pub generation: u64,
    /// What is wrong with it, in sentences; empty means healthy.
    pub problems: Vec<String>,
}

impl Report {
    /// The verdicts on `version`; `None` where it is not installed.
    pub fn verdicts(&self, version: &Version) -> Option<Verdicts> {
        self.installed.iter().find(|installed| installed.version == *version).map(|installed| installed.verdicts)
    }
}

/// What the inventory knows of one machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// When it was last tried.
    pub tried_at: Timestamp,
    /// What came of it.
    pub contact: Contact,
    /// Since when attempts have had this kind of outcome.
    pub contact_since: Timestamp,
    /// The last report, however old; `None` if it never answered.
    pub report: Option<Report>,
    /// The processes that answered before.
    pub instances: Instances,
}

impl Facts {
    /// What is wrong with it, in sentences: what it said itself, and what only the portal can know.
    pub fn problems(&self) -> Vec<String> {
        let reported = self.report.iter().flat_map(|report| report.problems.iter().cloned());
        self.instances.clone_sentence().into_iter().chain(reported).collect()
    }

    /// The same in one line; empty where nothing is wrong.
    pub fn problem_line(&self) -> String {
        self.problems().join("; ")
    }

    /// Why its health is as it is, in a line; empty where the word says it all.
    pub fn reason(&self) -> String {
        match &self.contact {
            Contact::Silent { reason } | Contact::Refused { reason } => reason.clone(),
            Contact::Answered => self.problem_line(),
        }
    }
}

/// A machine's health in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Health {
    /// It answered and has no problems.
    Healthy,
    /// It answered and has problems.
    Unhealthy,
    /// The last attempt to reach it failed.
    Unavailable,
    /// It was never tried.
    Unknown,
}

impl Health {
    /// The health that `facts` tell of.
    pub fn of(facts: Option<&Facts>) -> Self {
        match facts {
            None => Self::Unknown,
            Some(facts @ Facts { contact: Contact::Answered, report: Some(_), .. }) if facts.problems().is_empty() => {
                Self::Healthy
            }
            Some(Facts { contact: Contact::Answered, .. }) => Self::Unhealthy,
            Some(_) => Self::Unavailable,
        }
    }
}

/// A reported version beside the bundled one, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VersionState {
    /// It runs the bundled version.
    UpToDate,
    /// It runs an older version.
    UpgradeAvailable,
    /// It runs a newer version than the bundled one. A downgrade is not offered.
    NewerThanBundled,
    /// It never reported, or this portal bundles nothing for it.
    Unknown,
}

impl VersionState {
    /// Compares what a machine reported with what is bundled for it.
    pub fn of(reported: Option<&Version>, bundled: Option<&Version>) -> Self {
        match (reported, bundled) {
            (Some(reported), Some(bundled)) => match reported.cmp(bundled) {
                std::cmp::Ordering::Less => Self::UpgradeAvailable,
                std::cmp::Ordering::Equal => Self::UpToDate,
                std::cmp::Ordering::Greater => Self::NewerThanBundled,
            },
            _ => Self::Unknown,
        }
    }
}
