//! Tasks: what runs in the portal's background and has a log.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::ids::{MachineId, SpaceId, TaskId};

/// Where a task stands. The words are those of the REST API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TaskState {
    /// Written down, not begun.
    Queued,
    /// Under way.
    Executing,
    /// Somebody asked to cancel it; what is under way is being ended.
    Cancelling,
    /// Everything it was for has been done.
    Success,
    /// Something it was for has failed.
    Failed,
    /// It was cancelled.
    Canceled,
    /// It took longer than it may.
    TimedOut,
}

impl TaskState {
    /// Every state, in the order of a task's life.
    pub const ALL: [Self; 7] =
        [Self::Queued, Self::Executing, Self::Cancelling, Self::Success, Self::Failed, Self::Canceled, Self::TimedOut];

    /// True where nothing more will happen.
    pub fn is_completed(self) -> bool {
        matches!(self, Self::Success | Self::Failed | Self::Canceled | Self::TimedOut)
    }

    /// The word on the wire and in the database.
    pub fn word(self) -> &'static str {
        match self {
            Self::Queued => "Queued",
            Self::Executing => "Executing",
            Self::Cancelling => "Cancelling",
            Self::Success => "Success",
            Self::Failed => "Failed",
            Self::Canceled => "Canceled",
            Self::TimedOut => "TimedOut",
        }
    }

    /// Reads [`TaskState::word`], without regard to case.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.word().eq_ignore_ascii_case(word))
    }
}

/// A task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// Its id.
    pub id: TaskId,
    /// What it is and who asked for it.
    pub task: NewTask,
    /// Where it stands.
    pub state: TaskState,
    /// True if a line of its log is a warning or an error.
    pub has_warnings: bool,
    /// Why it failed; empty if it did not.
    pub error_message: String,
    /// When it was asked for.
    pub queued_at: Timestamp,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When anything about it last changed.
    pub updated_at: Timestamp,
    /// When it ended.
    pub completed_at: Option<Timestamp>,
}

/// What somebody asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTask {
    /// The space it belongs to.
    pub space: SpaceId,
    /// `Upgrade`, `Health` or `Deploy`.
    pub name: String,
    /// What it is, for people.
    pub description: String,
    /// What it was asked with, as the REST API received it.
    pub arguments: serde_json::Value,
    /// The name of the user who asked.
    pub created_by: String,
}

/// How grave a line of a log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LogCategory {
    /// As it should be.
    Info,
    /// Worth a look.
    Warning,
    /// It failed.
    Error,
}

impl LogCategory {
    /// The word on the wire and in the database.
    pub fn word(self) -> &'static str {
        match self {
            Self::Info => "Info",
            Self::Warning => "Warning",
            Self::Error => "Error",
        }
    }

    /// Reads [`LogCategory::word`].
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Info, Self::Warning, Self::Error].into_iter().find(|category| category.word() == word)
    }
}

/// A line of a task's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// Its place among all lines of all tasks; later lines have higher numbers.
    pub number: i64,
    /// The machine it is about; `None` for the task itself.
    pub machine: Option<MachineId>,
    /// When it was written.
    pub at: Timestamp,
    /// How grave it is.
    pub category: LogCategory,
    /// What it says.
    pub message: String,
}

/// Where a task stands with one machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MachineTaskState {
    /// Not begun.
    Pending,
    /// Under way.
    Running,
    /// Done.
    Success,
    /// Failed.
    Failed,
    /// Cancelled.
    Canceled,
    /// Nobody knows how it ended: never shown as success.
    Unknown,
}

impl MachineTaskState {
    /// Every state.
    pub const ALL: [Self; 6] =
        [Self::Pending, Self::Running, Self::Success, Self::Failed, Self::Canceled, Self::Unknown];

    /// The word in the database.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Running => "Running",
            Self::Success => "Success",
            Self::Failed => "Failed",
            Self::Canceled => "Canceled",
            Self::Unknown => "Unknown",
        }
    }

    /// Reads [`MachineTaskState::word`].
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.word() == word)
    }
}

/// The part of a task that concerns one machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineTask {
    /// The machine.
    pub machine: MachineId,
    /// Its name when the task was made.
    pub machine_name: String,
    /// Where it stands.
    pub state: MachineTaskState,
    /// Why it ended as it did; empty if there is nothing to say.
    pub reason: String,
    /// The ticket under which the machine does the work; empty until it was given one.
    pub ticket: String,
    /// The last line of the machine's log that was copied.
    pub log_seq: u64,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub completed_at: Option<Timestamp>,
}
