//! Work under tickets: what is started, and how its log and state are watched.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use contract::{EnvironmentName, Sha256};

use crate::{DecodeError, decode, wire};

/// Longest wait of one `Watch`; a longer wish is cut to it.
pub const WATCH_WAIT_MAX: Duration = Duration::from_secs(30);

/// Most lines in one [`Progress`]: with the longest lines it stays below the 4 MiB of a gRPC message. The rest comes with
/// the next `Watch`.
pub const PROGRESS_LINES_MAX: usize = 200;

/// Longest text of a log line in bytes; the rest of a longer line goes on in the next one.
pub const LOG_LINE_MAX: usize = 16 * 1024;

/// Longest description in characters; a longer one is refused.
pub const DESCRIPTION_MAX: usize = 200;

/// Longest ticket in characters.
const TICKET_MAX: usize = 64;

/// The name of one piece of work, made by the portal: 1 to 64 letters, digits and hyphens.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(String);

impl Ticket {
    /// As it travels; safe as a folder name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Ticket {
    type Err = DecodeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let good = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        if text.is_empty() || text.len() > TICKET_MAX || !text.bytes().all(good) {
            return Err(DecodeError::new("ticket", "expected 1 to 64 letters, digits and hyphens"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Ticket> for String {
    fn from(ticket: Ticket) -> Self {
        ticket.0
    }
}

/// What can be done under a ticket.
#[derive(Clone, PartialEq, Eq)]
pub enum Work {
    /// Install an ordinary package by the conventions and run its scripts.
    Install {
        /// The digest of the package, which must have been uploaded.
        package: Sha256,
        /// The environment; a part of the path.
        environment: EnvironmentName,
        /// Variables for the scripts.
        variables: BTreeMap<String, String>,
        /// Variables that must not be seen in the environment of a process.
        sensitive: BTreeMap<String, String>,
    },
}

impl fmt::Debug for Work {
    /// Values of variables are left out, so that no log can hold a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Install { package, environment, variables, sensitive } = self;
        f.debug_struct("Install")
            .field("package", package)
            .field("environment", environment)
            .field("variables", &variables.keys())
            .field("sensitive", &sensitive.keys())
            .finish()
    }
}

/// The order to start work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// The ticket; the same ticket with the same work again starts nothing.
    pub ticket: Ticket,
    /// What it is, for people.
    pub description: String,
    /// What is to be done.
    pub work: Work,
}

/// The question for news of a ticket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    /// The ticket.
    pub ticket: Ticket,
    /// The highest sequence number that is known; 0 for all lines.
    pub after: u64,
    /// How long the answer may wait for news.
    pub wait: Duration,
}

/// News of a ticket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Lines after the one asked for, in order; at most [`PROGRESS_LINES_MAX`].
    pub lines: Vec<LogLine>,
    /// The state. A final one is told only together with the last line.
    pub state: WorkState,
    /// The highest sequence number in `lines`, or the one asked after.
    pub last: u64,
}

/// A line of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// From 1 up, without gaps.
    pub seq: u64,
    /// Microseconds since 1970 UTC by the machine's clock.
    pub at: i64,
    /// How bad.
    pub level: LogLevel,
    /// The text without a line end, at most [`LOG_LINE_MAX`] bytes.
    pub text: String,
}

/// How bad a line of a log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LogLevel {
    /// Information.
    Info,
    /// A warning; also whatever a script writes to stderr.
    Warning,
    /// An error.
    Error,
}

/// The state of work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WorkState {
    /// Waiting or running.
    Running,
    /// Done. For an upgrade: the new version is armed and the process is ending; never "upgraded".
    Succeeded,
    /// It failed; nothing goes on.
    Failed {
        /// Why.
        reason: String,
    },
    /// Other work did not end in the time allowed, so this was put off and nothing was changed.
    Busy {
        /// What was going on.
        reason: String,
    },
    /// It was ended by `Cancel`.
    Cancelled,
    /// The Tentacle died meanwhile; nobody knows how it ended.
    UnknownResult {
        /// What is known.
        reason: String,
    },
}

impl WorkState {
    /// True for a state that never changes again.
    pub fn is_final(&self) -> bool {
        *self != Self::Running
    }
}

impl From<Start> for wire::StartRequest {
    fn from(start: Start) -> Self {
        let Work::Install { package, environment, variables, sensitive } = start.work;
        let environment = environment.as_str().to_owned();
        let install = wire::InstallWork { package: package.0.to_vec(), environment, variables, sensitive };
        Self {
            ticket: start.ticket.into(),
            description: start.description,
            work: Some(wire::start_request::Work::Install(install)),
        }
    }
}

impl TryFrom<wire::StartRequest> for Start {
    type Error = DecodeError;

    fn try_from(request: wire::StartRequest) -> Result<Self, Self::Error> {
        if request.description.chars().count() > DESCRIPTION_MAX {
            return Err(DecodeError::new("description", "it is longer than 200 characters"));
        }
        let Some(wire::start_request::Work::Install(install)) = request.work else {
            return Err(DecodeError::new("work", "this Tentacle does not know this kind of work; upgrade it first"));
        };
        let work = Work::Install {
            package: decode::sha256("package", &install.package)?,
            environment: install.environment.parse().map_err(|error| DecodeError::new("environment", error))?,
            variables: install.variables,
            sensitive: install.sensitive,
        };
        Ok(Self { ticket: request.ticket.parse()?, description: request.description, work })
    }
}

impl From<Watch> for wire::WatchRequest {
    fn from(watch: Watch) -> Self {
        let wait_ms = u32::try_from(watch.wait.min(WATCH_WAIT_MAX).as_millis()).unwrap_or(u32::MAX);
        Self { ticket: watch.ticket.into(), after: watch.after, wait_ms }
    }
}

impl TryFrom<wire::WatchRequest> for Watch {
    type Error = DecodeError;

    fn try_from(request: wire::WatchRequest) -> Result<Self, Self::Error> {
        let wait = Duration::from_millis(request.wait_ms.into()).min(WATCH_WAIT_MAX);
        Ok(Self { ticket: request.ticket.parse()?, after: request.after, wait })
    }
}

impl From<Progress> for wire::Progress {
    fn from(progress: Progress) -> Self {
        let (state, reason) = match progress.state {
            WorkState::Running => (wire::WorkState::Running, String::new()),
            WorkState::Succeeded => (wire::WorkState::Succeeded, String::new()),
            WorkState::Failed { reason } => (wire::WorkState::Failed, reason),
            WorkState::Busy { reason } => (wire::WorkState::Busy, reason),
            WorkState::Cancelled => (wire::WorkState::Cancelled, String::new()),
            WorkState::UnknownResult { reason } => (wire::WorkState::UnknownResult, reason),
        };
        let lines = progress.lines.into_iter().map(Into::into).collect();
        Self { lines, state: state.into(), reason, last: progress.last }
    }
}

impl From<wire::Progress> for Progress {
    fn from(progress: wire::Progress) -> Self {
        let reason = progress.reason;
        let state = match wire::WorkState::try_from(progress.state) {
            Ok(wire::WorkState::Running) => WorkState::Running,
            Ok(wire::WorkState::Succeeded) => WorkState::Succeeded,
            Ok(wire::WorkState::Failed) => WorkState::Failed { reason },
            Ok(wire::WorkState::Busy) => WorkState::Busy { reason },
            Ok(wire::WorkState::Cancelled) => WorkState::Cancelled,
            Ok(wire::WorkState::UnknownResult) => WorkState::UnknownResult { reason },
            Ok(wire::WorkState::Unspecified) | Err(_) => WorkState::UnknownResult {
                reason: format!("the Tentacle told a state that this portal does not know ({})", progress.state),
            },
        };
        let lines = progress.lines.into_iter().map(Into::into).collect();
        Self { lines, state, last: progress.last }
    }
}

impl From<LogLine> for wire::LogLine {
    fn from(line: LogLine) -> Self {
        let level = match line.level {
            LogLevel::Info => wire::LogLevel::Info,
            LogLevel::Warning => wire::LogLevel::Warning,
            LogLevel::Error => wire::LogLevel::Error,
        };
        Self { seq: line.seq, at: line.at, level: level.into(), text: line.text }
    }
}

impl From<wire::LogLine> for LogLine {
    fn from(line: wire::LogLine) -> Self {
        let level = match wire::LogLevel::try_from(line.level) {
            Ok(wire::LogLevel::Warning) => LogLevel::Warning,
            Ok(wire::LogLevel::Error) => LogLevel::Error,
            Ok(wire::LogLevel::Info | wire::LogLevel::Unspecified) | Err(_) => LogLevel::Info,
        };
        Self { seq: line.seq, at: line.at, level, text: line.text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> Start {
        let map = |key: &str, value: &str| BTreeMap::from([(key.to_owned(), value.to_owned())]);
        let work = Work::Install {
            package: Sha256([1; 32]),
            environment: "Production".parse().unwrap(),
            variables: map("a", "b"),
            sensitive: map("password", "hunter2"),
        };
        Start { ticket: "t-1".parse().unwrap(), description: "Deploy".to_owned(), work }
    }

    #[test]
    fn tickets_are_safe_as_folder_names() {
        for text in ["a", "0198-af", &"a".repeat(64)] {
            assert_eq!(text.parse::<Ticket>().unwrap().as_str(), text);
        }
        for text in ["", ".", "..", "a/b", "a_b", "é", "a b", &"a".repeat(65)] {
            assert!(text.parse::<Ticket>().is_err(), "{text}");
        }
    }

    #[test]
    fn work_survives_the_wire_and_shows_no_secret() {
        assert_eq!(Start::try_from(wire::StartRequest::from(start())), Ok(start()));
        assert!(!format!("{:?}", start()).contains("hunter2"));
    }

    #[test]
    fn a_kind_of_work_from_the_future_is_refused() {
        let request = wire::StartRequest { work: None, ..start().into() };
        assert!(Start::try_from(request).unwrap_err().to_string().contains("upgrade it first"));
    }

    #[test]
    fn every_state_and_level_survives_the_wire() {
        let reason = || "because".to_owned();
        let states = [
            WorkState::Running,
            WorkState::Succeeded,
            WorkState::Failed { reason: reason() },
            WorkState::Busy { reason: reason() },
            WorkState::Cancelled,
            WorkState::UnknownResult { reason: reason() },
        ];
        for (state, level) in
            states.into_iter().zip([LogLevel::Info, LogLevel::Warning, LogLevel::Error].iter().cycle())
        {
            let lines = vec![LogLine { seq: 1, at: 2, level: *level, text: "text".to_owned() }];
            let progress = Progress { lines, state, last: 1 };
            assert_eq!(Progress::from(wire::Progress::from(progress.clone())), progress);
        }
    }

    #[test]
    fn a_state_from_the_future_is_an_unknown_result() {
        let progress = Progress::from(wire::Progress { state: 77, ..Default::default() });
        assert!(matches!(progress.state, WorkState::UnknownResult { .. }));
    }

    #[test]
    fn a_watch_never_waits_longer_than_the_limit() {
        let request = wire::WatchRequest { ticket: "t".to_owned(), after: 0, wait_ms: u32::MAX };
        assert_eq!(Watch::try_from(request).unwrap().wait, WATCH_WAIT_MAX);
    }

    #[test]
    fn the_largest_progress_fits_into_a_message() {
        use prost::Message as _;
        let line = LogLine { seq: u64::MAX, at: i64::MAX, level: LogLevel::Error, text: "x".repeat(LOG_LINE_MAX) };
        let lines = vec![line; PROGRESS_LINES_MAX];
        let progress: wire::Progress = Progress { lines, state: WorkState::Running, last: 1 }.into();
        assert!(progress.encoded_len() < 4 * 1024 * 1024);
    }
}
