//! The words and marks of the portal, in one place: every status has a shape, a colour and a word. Used by all pages.
//!
//! Pure: nothing here does I/O or reads a clock. Each `match` names every state, so that a new one does not compile
//! until it has a word.

use std::borrow::Borrow;
use std::fmt;
use std::time::Duration;

use askama::filters::HtmlSafe;

use crate::clock::Timestamp;
pub use crate::counts::{count, thousands};
use crate::model::{Health, LogCategory, MachineTaskState, TaskState, VersionState};
use crate::rollout::state::{PhaseKind, RolloutState};
use crate::sequel::{Found, Sequel};

/// A shape with its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mark {
    /// All is well.
    Healthy,
    /// Work is under way.
    Upgrading,
    /// Its turn has not come.
    Waiting,
    /// A person should look at it.
    Attention,
    /// It failed, or fell back.
    Failed,
    /// It cannot be reached; it may be well.
    Unreachable,
    /// Nobody knows.
    Unknown,
    /// Nothing was done, and nothing is to be done.
    Quiet,
}

impl Mark {
    /// The shape, as a character.
    pub fn glyph(self) -> char {
        match self {
            Self::Healthy => '●',
            Self::Upgrading => '◐',
            Self::Waiting => '◌',
            Self::Attention => '▲',
            Self::Failed => '■',
            Self::Unreachable => '○',
            Self::Unknown => '?',
            Self::Quiet => '–',
        }
    }

    /// The class in the style sheet.
    pub fn class(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Upgrading => "upgrading",
            Self::Waiting => "waiting",
            Self::Attention => "attention",
            Self::Failed => "failed",
            Self::Unreachable => "unreachable",
            Self::Unknown => "unknown",
            Self::Quiet => "quiet-mark",
        }
    }
}

/// A mark with its word. Displays as HTML.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Status {
    /// Shape and colour.
    pub mark: Mark,
    /// The word beside it.
    pub word: &'static str,
}

const fn status(mark: Mark, word: &'static str) -> Status {
    Status { mark, word }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (class, glyph, word) = (self.mark.class(), self.mark.glyph(), self.word);
        write!(
            f,
            "<span class=\"status {class}\"><span class=\"glyph\" aria-hidden=\"true\">{glyph}</span>{word}</span>"
        )
    }
}

// Holds fixed texts of this file only.
impl HtmlSafe for Status {}

impl From<Health> for Status {
    fn from(health: Health) -> Self {
        match health {
            Health::Healthy => status(Mark::Healthy, "healthy"),
            Health::Unhealthy => status(Mark::Attention, "unhealthy"),
            Health::Unavailable => status(Mark::Unreachable, "unreachable"),
            Health::Unknown => status(Mark::Unknown, "unknown"),
        }
    }
}

impl From<PhaseKind> for Status {
    fn from(kind: PhaseKind) -> Self {
        match kind {
            PhaseKind::Waiting => status(Mark::Waiting, "waiting"),
            PhaseKind::Checking => status(Mark::Upgrading, "checking"),
            PhaseKind::Uploading => status(Mark::Upgrading, "uploading"),
            PhaseKind::Installing => status(Mark::Upgrading, "installing"),
            PhaseKind::Restarting => status(Mark::Upgrading, "restarting"),
            PhaseKind::Proving => status(Mark::Upgrading, "proving"),
            PhaseKind::Upgraded => status(Mark::Healthy, "upgraded"),
            PhaseKind::FellBack => status(Mark::Failed, "fell back"),
            PhaseKind::Failed => status(Mark::Failed, "failed"),
            PhaseKind::Lost => status(Mark::Failed, "lost"),
            PhaseKind::Skipped => status(Mark::Quiet, "left as it is"),
            PhaseKind::Cancelled => status(Mark::Quiet, "cancelled"),
        }
    }
}

impl From<&Sequel> for Status {
    fn from(sequel: &Sequel) -> Self {
        match sequel {
            Sequel::Silent { .. } | Sequel::Refused { .. } => PhaseKind::Lost.into(),
            Sequel::Heard { silence: Some(_), .. } => status(Mark::Unreachable, "silent again"),
            Sequel::Heard { found, silence: None, .. } => match found {
                Found::Upgraded => status(Mark::Healthy, "back, upgraded"),
                Found::Newer => status(Mark::Healthy, "back, newer"),
                Found::Unproven => status(Mark::Attention, "back, not proven"),
                Found::NotUpgraded => status(Mark::Attention, "back, not upgraded"),
                Found::FellBack(_) => status(Mark::Failed, "back, fell back"),
            },
        }
    }
}

impl From<RolloutState> for Status {
    fn from(state: RolloutState) -> Self {
        match state {
            RolloutState::Scheduled => status(Mark::Waiting, "scheduled"),
            RolloutState::Running => status(Mark::Upgrading, "running"),
            RolloutState::Paused => status(Mark::Attention, "paused"),
            RolloutState::Completed => status(Mark::Healthy, "completed"),
            RolloutState::CompletedWithFailures => status(Mark::Failed, "completed with failures"),
            RolloutState::Cancelled => status(Mark::Quiet, "cancelled"),
        }
    }
}

impl From<TaskState> for Status {
    fn from(state: TaskState) -> Self {
        match state {
            TaskState::Queued => status(Mark::Waiting, "queued"),
            TaskState::Executing => status(Mark::Upgrading, "running"),
            TaskState::Cancelling => status(Mark::Upgrading, "cancelling"),
            TaskState::Success => status(Mark::Healthy, "succeeded"),
            TaskState::Failed => status(Mark::Failed, "failed"),
            TaskState::Canceled => status(Mark::Quiet, "cancelled"),
            TaskState::TimedOut => status(Mark::Failed, "took too long"),
        }
    }
}

impl From<MachineTaskState> for Status {
    fn from(state: MachineTaskState) -> Self {
        match state {
            MachineTaskState::Pending => status(Mark::Waiting, "waiting"),
            MachineTaskState::Running => status(Mark::Upgrading, "running"),
            MachineTaskState::Success => status(Mark::Healthy, "succeeded"),
            MachineTaskState::Failed => status(Mark::Failed, "failed"),
            MachineTaskState::Canceled => status(Mark::Quiet, "cancelled"),
            MachineTaskState::Unknown => status(Mark::Unknown, "result unknown"),
        }
    }
}

/// The word for a reported version beside the bundled one.
pub fn version_word(state: VersionState) -> &'static str {
    match state {
        VersionState::UpToDate => "up to date",
        VersionState::UpgradeAvailable => "upgrade available",
        VersionState::NewerThanBundled => "newer than bundled",
        VersionState::Unknown => "version unknown",
    }
}

/// The class of a log line.
pub fn log_class(category: LogCategory) -> &'static str {
    match category {
        LogCategory::Info => "info",
        LogCategory::Warning => "warning",
        LogCategory::Error => "error",
    }
}

/// A length of time in its largest unit, rounded down: `12 s`, `3 min`, `5 h`, `9 d`. `live.js` writes the same.
pub fn span(length: impl Borrow<Duration>) -> String {
    match length.borrow().as_secs() {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds @ 60..3_600 => format!("{} min", seconds / 60),
        seconds @ 3_600..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

/// What a moment is to the reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relation {
    Ago,
    For,
    Until,
    About,
}

/// A moment in relation to now. Displays as a `<time>` that goes on ticking where scripts run.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    at: Timestamp,
    now: Timestamp,
    relation: Relation,
}

/// `12 s ago`.
pub fn ago(at: &Timestamp, now: &Timestamp) -> Moment {
    Moment { at: *at, now: *now, relation: Relation::Ago }
}

/// `12 s`: how long something has been so.
pub fn lasting(since: &Timestamp, now: &Timestamp) -> Moment {
    Moment { at: *since, now: *now, relation: Relation::For }
}

/// `3 min left`, or `overdue`.
pub fn until(deadline: &Timestamp, now: &Timestamp) -> Moment {
    Moment { at: *deadline, now: *now, relation: Relation::Until }
}

/// `about 3 min left`, or that it is about to be.
pub fn about(end: &Timestamp, now: &Timestamp) -> Moment {
    Moment { at: *end, now: *now, relation: Relation::About }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let passed = self.now.since(self.at);
        let (relation, text) = match self.relation {
            Relation::Ago => ("ago", format!("{} ago", span(passed))),
            Relation::For => ("for", span(passed)),
            Relation::Until if self.at > self.now => ("until", format!("{} left", span(self.at.since(self.now)))),
            Relation::Until => ("until", "overdue".to_owned()),
            Relation::About if self.at > self.now => ("about", format!("about {} left", span(self.at.since(self.now)))),
            Relation::About => ("about", "almost done".to_owned()),
        };
        let at = self.at.rfc3339();
        write!(f, "<time datetime=\"{at}\" title=\"{at}\" data-ago=\"{relation}\">{text}</time>")
    }
}

// Holds digits and fixed texts only.
impl HtmlSafe for Moment {}

/// A size for people: `25.3 MiB`.
pub fn size(bytes: impl Borrow<u64>) -> String {
    let bytes = *bytes.borrow();
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let Some(power) = bytes.checked_ilog2().map(|log| log / 10).filter(|power| *power > 0) else {
        return format!("{bytes} B");
    };
    let power = power.min(4);
    let tenths = bytes / (1 << (10 * power - 4)) * 10 / 16;
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[power as usize - 1])
}

/// A thumbprint in groups of four digits, for reading aloud and comparing.
pub fn grouped(thumbprint: &contract::Thumbprint) -> String {
    let text = thumbprint.to_string();
    let groups: Vec<&str> = (0..text.len()).step_by(4).filter_map(|i| text.get(i..i + 4)).collect();
    groups.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_a_shape_a_colour_and_a_word() {
        let html = Status::from(Health::Unavailable).to_string();
        assert_eq!(
            html,
            "<span class=\"status unreachable\"><span class=\"glyph\" aria-hidden=\"true\">○</span>unreachable</span>"
        );
    }

    #[test]
    fn phases_in_flight_turn_and_failures_are_squares() {
        for kind in PhaseKind::ALL {
            let mark = Status::from(kind).mark;
            assert_eq!(mark == Mark::Upgrading, kind.is_in_flight(), "{kind}");
            assert_eq!(mark == Mark::Failed, kind.is_failure(), "{kind}");
        }
    }

    #[test]
    fn lengths_of_time_are_told_in_their_largest_unit() {
        let told = |seconds| span(Duration::from_secs(seconds));
        assert_eq!([told(0), told(59), told(60), told(3_599)], ["0 s", "59 s", "1 min", "59 min"]);
        assert_eq!([told(3_600), told(172_799), told(172_800)], ["1 h", "47 h", "2 d"]);
    }

    #[test]
    fn moments_keep_the_exact_time_beside_the_relative_one() {
        let now = Timestamp(1_795_428_000_000_000);
        let earlier = Timestamp(now.0 - 12_000_000);
        assert_eq!(
            ago(&earlier, &now).to_string(),
            "<time datetime=\"2026-11-23T09:59:48.000+00:00\" title=\"2026-11-23T09:59:48.000+00:00\" \
             data-ago=\"ago\">12 s ago</time>"
        );
        assert!(until(&earlier, &now).to_string().contains(">overdue<"));
        assert!(until(&now.after(Duration::from_secs(200)), &now).to_string().contains(">3 min left<"));
        assert!(ago(&now.after(Duration::from_secs(5)), &now).to_string().contains(">0 s ago<"));
    }

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!(size(0), "0 B");
        assert_eq!(size(1023), "1023 B");
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(size(26 * 1024 * 1024), "26.0 MiB");
        assert_eq!(size(u64::MAX), "16777215.9 TiB");
    }
}
