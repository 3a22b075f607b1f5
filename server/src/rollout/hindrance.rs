//! What keeps a machine of a rollout from beginning, in words. Pure.

use std::collections::HashMap;
use std::fmt;

use contract::Version;
use serde::{Deserialize, Serialize};

use super::calendar::Closed;
use crate::clock::Timestamp;
use crate::ids::RolloutId;
use crate::model::Report;

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

impl Hold {
    /// Who holds it, until when and why.
    pub fn sentence(&self) -> String {
        let until = self.until.map(|until| format!(" until {}", until.minutes())).unwrap_or_default();
        format!("{} holds it{until}: {}", self.by, self.reason)
    }
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
    /// Its disk has no room for the package.
    NoRoom {
        /// What is free, in bytes.
        free: u64,
        /// What is needed, in bytes.
        needed: u64,
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
    /// The task queue of its space is stopped.
    QueueStopped,
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
    /// The waves before the open one came to nothing; the first machine that was proven must soak.
    FirstSoaks {
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

impl Hindrance {
    /// The moment at which it ends by itself; `None` where something has to happen first.
    pub fn ends_at(&self) -> Option<Timestamp> {
        match self {
            Self::Held(hold) => hold.until,
            Self::Resting { until, .. } | Self::Soaking { until, .. } | Self::FirstSoaks { until } => Some(*until),
            Self::Scheduled { at } => Some(*at),
            Self::Closed(closed) => closed.opens(),
            _ => None,
        }
    }

    /// True where its turn comes as the rollout goes on, and nothing lies in the machine itself.
    pub fn is_turn(&self) -> bool {
        match self {
            Self::CallUnderWay
            | Self::WaveClosed { .. }
            | Self::Soaking { .. }
            | Self::FirstSoaks { .. }
            | Self::AwaitsPerson { .. }
            | Self::OneFirst
            | Self::CapFull { .. }
            | Self::TransfersFull { .. }
            | Self::RoleFull { .. } => true,
            Self::Withdrawn
            | Self::Cloned { .. }
            | Self::Held(_)
            | Self::FailedBefore { .. }
            | Self::VersionHeld { .. }
            | Self::NoRoom { .. }
            | Self::Elsewhere { .. }
            | Self::Offline { .. }
            | Self::Resting { .. }
            | Self::Closed(_)
            | Self::Cancelled
            | Self::Scheduled { .. }
            | Self::Stopped { .. }
            | Self::QueueStopped => false,
        }
    }

    /// The word on the wire.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Withdrawn => "Disabled",
            Self::Cloned { .. } => "Cloned",
            Self::Held(_) => "Held",
            Self::FailedBefore { .. } => "FailedBefore",
            Self::VersionHeld { .. } => "VersionHeld",
            Self::NoRoom { .. } => "NoRoom",
            Self::Elsewhere { .. } => "InAnotherRollout",
            Self::Offline { .. } => "Offline",
            Self::Resting { .. } => "Resting",
            Self::Closed(_) => "Closed",
            Self::CallUnderWay => "BeingLookedAt",
            Self::Cancelled => "Cancelled",
            Self::Scheduled { .. } => "Scheduled",
            Self::Stopped { .. } => "Stopped",
            Self::QueueStopped => "QueueStopped",
            Self::WaveClosed { .. } => "WaveClosed",
            Self::Soaking { .. } | Self::FirstSoaks { .. } => "Soaking",
            Self::AwaitsPerson { .. } => "AwaitsPerson",
            Self::OneFirst => "OneFirst",
            Self::CapFull { .. } => "CapFull",
            Self::TransfersFull { .. } => "TransfersFull",
            Self::RoleFull { .. } => "RoleFull",
        }
    }
}

/// What a disk must hold for an upgrade, in sizes of the package: the package as it is sent, what it unpacks to (programs
/// shrink to about a third), and as much again as a reserve for what else the machine writes meanwhile.
const ROOM_PER_PACKAGE: u64 = 5;

/// What is free and what is needed, in bytes, where a machine's disk cannot hold the package of its runtime. A version
/// that is installed already needs no room; and a disk of which nothing is known is tried.
pub(super) fn room_lacks(report: &Report, target: &Version, packages: &HashMap<String, u64>) -> Option<(u64, u64)> {
    let needed = packages.get(&report.runtime)?.saturating_mul(ROOM_PER_PACKAGE);
    // An agent that cannot tell says 0, and names that among its problems, for which it waits anyhow.
    let lacks = report.free_disk_bytes > 0 && report.free_disk_bytes < needed && report.verdicts(target).is_none();
    lacks.then_some((report.free_disk_bytes, needed))
}

/// The sentence for a disk without room.
pub(super) fn no_room(free: u64, needed: u64) -> String {
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    format!("its disk has {} MiB free, and the upgrade needs {} MiB; make room there", free >> 20, mib(needed))
}

impl fmt::Display for Hindrance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Withdrawn => f.write_str("it was disabled or deleted"),
            Self::Cloned { how } => f.write_str(how),
            Self::Held(hold) => f.write_str(&hold.sentence()),
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
            Self::NoRoom { free, needed } => write!(f, "{}", no_room(*free, *needed)),
            Self::Elsewhere { other } => write!(f, "{other} is at it; it follows when that is done"),
            Self::Offline { reason } => write!(f, "it cannot be reached: {reason}"),
            Self::Resting { why, until } => write!(f, "{why}; it is looked at again at {}", until.minutes()),
            Self::Closed(closed) => closed.fmt(f),
            Self::CallUnderWay => f.write_str("it is being looked at"),
            Self::Cancelled => f.write_str("the rollout is cancelled"),
            Self::Scheduled { at } => write!(f, "the rollout begins at {}", at.minutes()),
            Self::Stopped { reason } => write!(f, "the rollout is paused: {reason}"),
            Self::QueueStopped => {
                f.write_str("the task queue of its space is stopped; it begins when an administrator starts that again")
            }
            Self::WaveClosed { wave, open } => {
                write!(f, "it is in wave {}, and wave {} is not done", wave + 1, open + 1)
            }
            Self::Soaking { wave, until } => {
                write!(f, "it is in wave {}, and wave {wave} soaks until {}", wave + 1, until.minutes())
            }
            Self::FirstSoaks { until } => write!(
                f,
                "no machine of an earlier wave was proven, so the first one that was soaks until {} before the others begin",
                until.minutes()
            ),
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
