//! Spaces: parts of the portal that know nothing of each other. Everything that people make belongs to one.

use crate::ids::SpaceId;

/// Whether the tasks of a space begin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TaskQueue {
    /// They do.
    #[default]
    Runs,
    /// They are taken and wait, and rollouts command no machine. What was begun goes on to its end.
    Stopped,
}

impl TaskQueue {
    /// By what the REST API calls `TaskQueueStopped`.
    pub fn of(is_stopped: bool) -> Self {
        if is_stopped { Self::Stopped } else { Self::Runs }
    }

    /// What the REST API calls `TaskQueueStopped`.
    pub fn is_stopped(self) -> bool {
        self == Self::Stopped
    }
}

/// A space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Space {
    /// Its id.
    pub id: SpaceId,
    /// Its name.
    pub name: String,
    /// Its name in addresses.
    pub slug: String,
    /// What people wrote about it.
    pub description: String,
    /// Addresses that name no space mean this one.
    pub is_default: bool,
    /// Whether its tasks begin.
    pub queue: TaskQueue,
}

/// What a person says of a space, new or changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSpace {
    /// Its name.
    pub name: String,
    /// Its name in addresses; `None` makes one of the name of a new space, and leaves that of an old one.
    pub slug: Option<String>,
    /// What people wrote about it.
    pub description: String,
    /// Whether its tasks begin.
    pub queue: TaskQueue,
}

/// How much there is in a space.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, sqlx::FromRow)]
pub struct SpaceContents {
    /// Environments.
    pub environments: i64,
    /// Machines.
    pub machines: i64,
    /// Packages.
    pub packages: i64,
    /// Rollouts, those that are over too.
    pub rollouts: i64,
    /// Tasks, those that are over too.
    pub tasks: i64,
}

/// What goes on in a space at this moment, and would be torn off if it were deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, sqlx::FromRow)]
pub struct SpaceActivity {
    /// Tasks that have begun and are not over.
    pub tasks: i64,
    /// Machines that a rollout is at.
    pub machines: i64,
}

impl SpaceActivity {
    /// True where nothing goes on.
    pub fn is_none(self) -> bool {
        self == Self::default()
    }
}
