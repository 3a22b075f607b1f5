//! Why a machine is not upgraded: one true sentence for every machine at any time, in a rollout or outside. Pure.

use std::collections::HashMap;
use std::fmt;

use contract::Version;

use super::gate::FAILED_MACHINES_MAX;
use super::hindrance::{Hindrance, Hold, room_lacks};
use super::phase::{Phase, PhaseKind, SkipReason};
use crate::clock::Timestamp;
use crate::db::rollouts::Place;
use crate::ids::RolloutId;
use crate::model::{Contact, Facts, Report};

/// Longest reason that is repeated in a sentence, in characters. The rest stands where the reason does.
const SENTENCE_MAX: usize = 240;

/// Everything that is known of a machine and that bears on its upgrade.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// It was disabled.
    pub is_disabled: bool,
    /// All of its environments were disabled.
    pub environments_are_disabled: bool,
    /// What it last said, and what came of the last attempt.
    pub facts: Option<&'a Facts>,
    /// The version that this portal carries.
    pub bundled: Option<&'a Version>,
    /// The size of its package for each runtime, in bytes.
    pub packages: &'a HashMap<String, u64>,
    /// A person holds it.
    pub hold: Option<&'a Hold>,
    /// How the bundled version failed on it, where nobody released that.
    pub failed_before: Option<&'a str>,
    /// On how many machines of each runtime the bundled version failed, where nobody released that.
    pub failed_on: &'a HashMap<String, usize>,
    /// Its place in an open rollout, or else in the last one.
    pub place: Option<&'a Place>,
    /// What keeps it from beginning there, where it waits.
    pub hindrance: Option<&'a Hindrance>,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// A rollout is at it.
    Upgrading {
        /// That rollout.
        rollout: RolloutId,
        /// The version it brings.
        target: Version,
        /// What is being done.
        phase: PhaseKind,
    },
    /// It waits in a rollout.
    Waiting {
        /// That rollout.
        rollout: RolloutId,
        /// The version it brings.
        target: Version,
        /// What keeps it from beginning; `None` where it begins at once.
        hindrance: Option<Hindrance>,
        /// Since when it has been silent, where that is not what keeps it: it may not be there when its turn comes.
        silent_since: Option<Timestamp>,
    },
    /// A rollout lost it, and it was not heard of since.
    Lost {
        /// That rollout.
        rollout: RolloutId,
        /// What happened.
        reason: String,
    },
    /// It runs what is bundled.
    UpToDate {
        /// That version.
        version: Version,
        /// Since when it has been silent, so that nobody knows whether it still does.
        silent_since: Option<Timestamp>,
    },
    /// It runs a newer version than the bundled one.
    Newer {
        /// What it runs.
        version: Version,
        /// What is bundled.
        bundled: Version,
    },
    /// A person disabled it.
    Disabled,
    /// All of its environments are disabled.
    EnvironmentsDisabled,
    /// There is nothing to upgrade to.
    NothingBundled,
    /// Nobody ever asked it.
    NeverAsked,
    /// It never answered, so that nobody knows what it runs.
    NeverAnswered {
        /// What the last attempt met.
        reason: String,
    },
    /// Nothing is bundled for its runtime.
    NoPackage {
        /// That runtime.
        runtime: String,
    },
    /// It was not started by Suction Cup.
    Unsupervised,
    /// An upgrade is there, and this keeps the machine from it, in any rollout.
    Hindered {
        /// What is bundled.
        bundled: Version,
        /// What it is.
        hindrance: Hindrance,
    },
    /// The last rollout failed with it.
    Failed {
        /// That rollout.
        rollout: RolloutId,
        /// How.
        reason: String,
    },
    /// A person left it out of the last rollout.
    LeftOut {
        /// That rollout.
        rollout: RolloutId,
        /// Who, and why.
        reason: String,
    },
    /// An upgrade is there, and the machine cannot be reached.
    Unreachable {
        /// What is bundled.
        bundled: Version,
        /// Since when.
        since: Timestamp,
        /// What the last attempt met.
        reason: String,
    },
    /// An upgrade is there, and the machine has problems.
    Unwell {
        /// What is bundled.
        bundled: Version,
        /// The first of them.
        problem: String,
    },
    /// An upgrade is there, and nobody asked for it.
    Available {
        /// What it runs.
        version: Version,
        /// What is bundled.
        bundled: Version,
    },
}

/// Why a machine is not upgraded. What a rollout does with it comes first; then what it is; then what a person would have
/// to change before an upgrade could begin.
pub fn why(known: &Known<'_>) -> Why {
    if let Some(why) = known.place.and_then(|place| in_rollout(known, place)) {
        return why;
    }
    let report = known.facts.and_then(|facts| facts.report.as_ref());
    if known.is_disabled {
        return Why::Disabled;
    }
    if known.environments_are_disabled {
        return Why::EnvironmentsDisabled;
    }
    let Some(report) = report else { return never_heard(known.facts) };
    let Some(bundled) = known.bundled else { return Why::NothingBundled };
    if report.version == *bundled {
        return Why::UpToDate { version: bundled.clone(), silent_since: silence(known.facts).map(|(since, _)| since) };
    }
    if report.version > *bundled {
        return Why::Newer { version: report.version.clone(), bundled: bundled.clone() };
    }
    outdated(known, report, bundled)
}

fn in_rollout(known: &Known<'_>, place: &Place) -> Option<Why> {
    let (rollout, target) = (place.rollout, place.target.clone());
    let heard_since = known.facts.and_then(|facts| facts.report.as_ref()).is_some_and(|r| r.at >= place.machine.since);
    match place.machine.phase.kind() {
        PhaseKind::Waiting => {
            let hindrance = known.hindrance.cloned().map(|hindrance| match hindrance {
                Hindrance::FailedBefore { reason } => Hindrance::FailedBefore { reason: short(&reason) },
                other => other,
            });
            let is_told = matches!(hindrance, Some(Hindrance::Offline { .. }));
            let silent_since = silence(known.facts).filter(|_| !is_told).map(|(since, _)| since);
            Some(Why::Waiting { rollout, target, hindrance, silent_since })
        }
        PhaseKind::Lost if !heard_since => Some(Why::Lost { rollout, reason: short(&place.machine.phase.reason()) }),
        phase if phase.is_in_flight() => Some(Why::Upgrading { rollout, target, phase }),
        _ => None,
    }
}

/// What there is to say of a machine that runs an older version than the bundled one.
fn outdated(known: &Known<'_>, report: &Report, bundled: &Version) -> Why {
    let hindered = |hindrance| Why::Hindered { bundled: bundled.clone(), hindrance };
    if !known.packages.contains_key(&report.runtime) {
        return Why::NoPackage { runtime: report.runtime.clone() };
    }
    if let Some(how) = known.facts.and_then(|facts| facts.instances.clone_sentence()) {
        return hindered(Hindrance::Cloned { how });
    }
    if let Some(hold) = known.hold {
        return hindered(Hindrance::Held(hold.clone()));
    }
    if let Some(reason) = known.failed_before {
        return hindered(Hindrance::FailedBefore { reason: short(reason) });
    }
    let machines = known.failed_on.get(&report.runtime).copied().unwrap_or(0);
    if machines >= FAILED_MACHINES_MAX {
        return hindered(Hindrance::VersionHeld { runtime: report.runtime.clone(), machines });
    }
    if report.supervisor_contract.is_none() {
        return Why::Unsupervised;
    }
    if let Some(why) = known.place.filter(|place| place.target == *bundled).and_then(last_time) {
        return why;
    }
    if let Some((since, reason)) = silence(known.facts) {
        return Why::Unreachable { bundled: bundled.clone(), since, reason };
    }
    if let Some((free, needed)) = room_lacks(report, bundled, known.packages) {
        return hindered(Hindrance::NoRoom { free, needed });
    }
    match report.problems.first() {
        Some(problem) => Why::Unwell { bundled: bundled.clone(), problem: problem.clone() },
        None => Why::Available { version: report.version.clone(), bundled: bundled.clone() },
    }
}

/// What became of it in the last rollout, where that is why it was not upgraded.
fn last_time(place: &Place) -> Option<Why> {
    let (rollout, reason) = (place.rollout, short(&place.machine.phase.reason()));
    match &place.machine.phase {
        Phase::FellBack { .. } | Phase::Failed { .. } => Some(Why::Failed { rollout, reason }),
        Phase::Skipped(SkipReason::ByPerson { .. }) => Some(Why::LeftOut { rollout, reason }),
        _ => None,
    }
}

/// The sentence of a reason, without what a program wrote.
fn short(reason: &str) -> String {
    let sentence = reason.split(". Its last words:").next().unwrap_or_default();
    sentence.lines().next().unwrap_or_default().chars().take(SENTENCE_MAX).collect()
}

/// Since when the machine has not been spoken to, and why; `None` while it answers.
fn silence(facts: Option<&Facts>) -> Option<(Timestamp, String)> {
    let facts = facts?;
    match &facts.contact {
        Contact::Answered => None,
        Contact::Silent { reason } | Contact::Refused { reason } => Some((facts.contact_since, reason.clone())),
    }
}

fn never_heard(facts: Option<&Facts>) -> Why {
    match silence(facts) {
        Some((_, reason)) => Why::NeverAnswered { reason },
        None => Why::NeverAsked,
    }
}

impl Why {
    /// The word on the wire.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Upgrading { .. } => "Upgrading",
            Self::Waiting { .. } => "Waiting",
            Self::Lost { .. } => "Lost",
            Self::UpToDate { .. } => "UpToDate",
            Self::Newer { .. } => "Newer",
            Self::Disabled => "Disabled",
            Self::EnvironmentsDisabled => "EnvironmentsDisabled",
            Self::NothingBundled => "NothingBundled",
            Self::NeverAsked => "NeverAsked",
            Self::NeverAnswered { .. } => "NeverAnswered",
            Self::NoPackage { .. } => "NoPackage",
            Self::Unsupervised => "Unsupervised",
            Self::Hindered { .. } => "Hindered",
            Self::Failed { .. } => "Failed",
            Self::LeftOut { .. } => "LeftOut",
            Self::Unreachable { .. } => "Unreachable",
            Self::Unwell { .. } => "Unwell",
            Self::Available { .. } => "Available",
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Upgrading { rollout, target, phase } => {
                write!(f, "{rollout} is bringing it to {target}: {}", doing(*phase))
            }
            Self::Waiting { rollout, target, hindrance, silent_since } => {
                match hindrance {
                    Some(hindrance) => write!(f, "{rollout} is to bring it to {target}, and {hindrance}")?,
                    None => write!(f, "{rollout} is to bring it to {target}, and begins with it now")?,
                }
                silent_since.map_or(Ok(()), |since| write!(f, "; it cannot be reached since {}", since.minutes()))
            }
            Self::Lost { rollout, reason } => write!(f, "{rollout} lost it, and it was not heard of since: {reason}"),
            Self::UpToDate { version, silent_since: None } => {
                write!(f, "it is up to date: it runs {version}, which this portal carries")
            }
            Self::UpToDate { version, silent_since: Some(since) } => write!(
                f,
                "it was up to date when it last answered: it ran {version}; it cannot be reached since {}",
                since.minutes()
            ),
            Self::Newer { version, bundled } => write!(
                f,
                "it runs {version}, which is newer than {bundled}, the version that this portal carries; a downgrade is \
                 not offered"
            ),
            Self::Disabled => f.write_str("it is disabled"),
            Self::EnvironmentsDisabled => f.write_str("its environments are disabled"),
            Self::NothingBundled => f.write_str("this portal carries no Tentacle package to upgrade to"),
            Self::NeverAsked => f.write_str("nobody knows what it runs: the portal has not heard of it yet"),
            Self::NeverAnswered { reason } => write!(f, "nobody knows what it runs: it never answered: {reason}"),
            Self::NoPackage { runtime } => {
                write!(f, "this portal carries no Tentacle package for its runtime, {runtime}")
            }
            Self::Unsupervised => f.write_str(
                "its Tentacle was not started by Suction Cup, so nothing would start a new version; start Suction Cup \
                 on that machine",
            ),
            Self::Hindered { bundled, hindrance } => write!(f, "{bundled} is there for it, but {hindrance}"),
            Self::Failed { rollout, reason } => write!(f, "{rollout} failed with it, and nobody tried again: {reason}"),
            Self::LeftOut { rollout, reason } => write!(f, "it is outdated, and in {rollout} {reason}"),
            Self::Unreachable { bundled, since, reason } => {
                write!(f, "{bundled} is there for it, but it cannot be reached since {}: {reason}", since.minutes())
            }
            Self::Unwell { bundled, problem } => {
                write!(f, "{bundled} is there for it and nobody asked for it; it has problems, too: {problem}")
            }
            Self::Available { version, bundled } => {
                write!(f, "it runs {version}; {bundled} is there for it, and nobody asked for that")
            }
        }
    }
}

/// What is being done in a phase, in words.
fn doing(phase: PhaseKind) -> &'static str {
    match phase {
        PhaseKind::Checking => "it is asked how it is",
        PhaseKind::Uploading => "it is being sent the package",
        PhaseKind::Installing => "it installs the package",
        PhaseKind::Restarting => "its new process is awaited",
        PhaseKind::Proving => "the new version must stay well for a moment",
        PhaseKind::Waiting
        | PhaseKind::Upgraded
        | PhaseKind::FellBack
        | PhaseKind::Failed
        | PhaseKind::Lost
        | PhaseKind::Skipped
        | PhaseKind::Cancelled => "nothing is being done",
    }
}

#[cfg(test)]
#[path = "why_tests.rs"]
mod tests;
