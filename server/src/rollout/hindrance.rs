//! What keeps a machine of a rollout from beginning, in words. Pure.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::calendar::Closed;
use crate::clock::Timestamp;
use crate::ids::RolloutId;

/// Somebody said that a machine is not to be upgraded.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Hold {
    /// Why.
    pub reason: String,
    /// Who said so.
    pub by: String,
    /// Since when.
    pub since: Timestamp,
    /// Until when; `None` for as long as nobody takes it away.
    pub until: Option<Timestamp>,
}

/// The first thing that keeps a waiting machine from beginning. What lies in the machine itself comes before what lies in
/// the rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hindrance {
    /// It was disabled or deleted.
    Withdrawn,
    /// Two machines answer with its identity, and nobody knows which of them would be upgraded.
    Cloned {
        /// How that shows.
        how: String,
    },
    /// A person holds it.
    Held(Hold),
    /// This version failed on it before.
    FailedBefore {
        /// How.
        reason: String,
    },
    /// This version failed on too many machines of its kind.
    VersionHeld {
        /// Their runtime.
        runtime: String,
        /// How many.
        machines: usize,
    },
    /// Another rollout has it.
    Elsewhere {
        /// That rollout.
        other: RolloutId,
    },
    /// It cannot be reached.
    Offline {
        /// What the last attempt met.
        reason: String,
    },
    /// It is left alone for a moment before it is tried again.
    Resting {
        /// What happened.
        why: String,
        /// Until when.
        until: Timestamp,
    },
    /// It is outside its maintenance windows, or frozen.
    Closed(Closed),
    /// Something else is being done with it at this moment.
    CallUnderWay,
    /// The rollout is cancelled.
    Cancelled,
    /// The rollout begins later.
    Scheduled {
        /// When.
        at: Timestamp,
    },
    /// The rollout is stopped.
    Stopped {
        /// Why.
        reason: String,
    },
    /// A wave before its own is not done.
    WaveClosed {
        /// Its wave, from 0.
        wave: usize,
        /// The open one.
        open: usize,
    },
    /// The wave before its own must soak.
    Soaking {
        /// Its wave, from 0.
        wave: usize,
        /// Until when.
        until: Timestamp,
    },
    /// Its wave waits for a person.
    AwaitsPerson {
        /// Its wave, from 0.
        wave: usize,
    },
    /// One goes first.
    OneFirst,
    /// As many are in flight as may be.
    CapFull {
        /// How many.
        cap: u32,
    },
    /// As many are being sent the package as may be.
    TransfersFull {
        /// How many.
        most: u32,
    },
    /// As many with its role are in flight as may be.
    RoleFull {
        /// The role.
        role: String,
        /// How many may be.
        most: usize,
        /// How many have it in that environment.
        all: usize,
    },
}

impl fmt::Display for Hindrance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Withdrawn => f.write_str("it was disabled or deleted"),
            Self::Cloned { how } => f.write_str(how),
            Self::Held(hold) => {
                write!(f, "{} holds it", hold.by)?;
                if let Some(until) = hold.until {
                    write!(f, " until {}", until.minutes())?;
                }
                write!(f, ": {}", hold.reason)
            }
            Self::FailedBefore { reason } => {
                write!(
                    f,
                    "this version failed on it before and is not tried there again until a person says so: {reason}"
                )
            }
            Self::VersionHeld { runtime, machines } => write!(
                f,
                "this version failed on {machines} machines of {runtime} and is held for that platform until a person \
                 releases it"
            ),
            Self::Elsewhere { other } => write!(f, "{other} is at it; it follows when that is done"),
            Self::Offline { reason } => write!(f, "it cannot be reached: {reason}"),
            Self::Resting { why, until } => write!(f, "{why}; it is looked at again at {}", until.minutes()),
            Self::Closed(closed) => closed.fmt(f),
            Self::CallUnderWay => f.write_str("it is being looked at"),
            Self::Cancelled => f.write_str("the rollout is cancelled"),
            Self::Scheduled { at } => write!(f, "the rollout begins at {}", at.minutes()),
            Self::Stopped { reason } => write!(f, "the rollout is paused: {reason}"),
            Self::WaveClosed { wave, open } => {
                write!(f, "it is in wave {}, and wave {} is not done", wave + 1, open + 1)
            }
            Self::Soaking { wave, until } => {
                write!(f, "it is in wave {}, and wave {wave} soaks until {}", wave + 1, until.minutes())
            }
            Self::AwaitsPerson { wave } => write!(f, "it is in wave {}, which waits for a person's release", wave + 1),
            Self::OneFirst => f.write_str("one machine goes first, and that is not proven yet"),
            Self::CapFull { cap } => write!(f, "{cap} machines are in progress, and no more may be at once"),
            Self::TransfersFull { most } => write!(f, "{most} machines are being sent the package, and no more may be"),
            Self::RoleFull { role, most, all } => write!(
                f,
                "{most} of the {all} machines with the role {role} in its environment are in progress, and no more may be"
            ),
        }
    }
}
