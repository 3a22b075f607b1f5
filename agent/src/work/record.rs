//! What stands in the folder of a ticket besides its log: the order and the end state.

use std::path::{Path, PathBuf};

use octopus_proto::{Start, UpgradeOrder, Work, WorkState};
use serde::{Deserialize, Serialize};
use sha2::Digest as _;

use crate::agent::now_micros;

/// What was ordered. Of the order itself only a digest is kept: enough to know it again, and no secret in it.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct Record {
    /// For people.
    pub(super) description: String,
    /// Microseconds since 1970 UTC by this machine's clock.
    pub(super) since: i64,
    /// SHA-256 of the order; `None` where it was damaged, and any order may be it.
    digest: Option<String>,
}

impl Record {
    pub(super) fn of_start(start: &Start) -> Self {
        let Work::Install { package, environment, variables, sensitive } = &start.work;
        let order = ("install", package.to_string(), environment.as_str(), variables, sensitive);
        Self::new(start.description.clone(), &order)
    }

    pub(crate) fn of_upgrade(order: &UpgradeOrder) -> Self {
        let UpgradeOrder { ticket: _, package, version, generation, expected, drain_ms } = order;
        let description = format!("Upgrade Tentacle {expected} to {version}");
        // An order without a package has a word in its place.
        let package = package.map_or_else(|| "installed".to_owned(), |package| package.to_string());
        let texts = [package, version.to_string(), expected.to_string()];
        Self::new(description, &("upgrade", texts, generation, drain_ms))
    }

    fn new(description: String, order: &impl Serialize) -> Self {
        // Plain data with text keys: there is nothing in it that could fail to be written as JSON.
        let bytes = serde_json::to_vec(order).unwrap_or_default();
        let digest = contract::Sha256(sha2::Sha256::digest(bytes).into()).to_string();
        Self { description, since: now_micros(), digest: Some(digest) }
    }

    /// Stands for an order that was accepted and cannot be read any more. Without it the work could be done twice.
    pub(super) fn damaged() -> Self {
        Self { description: "Work whose order is damaged".to_owned(), since: now_micros(), digest: None }
    }

    pub(super) fn is_same_order(&self, other: &Self) -> bool {
        self.digest.is_none() || self.digest == other.digest
    }
}

/// The end of a ticket on the disk. No file: it has not ended.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub(super) enum End {
    Succeeded,
    Failed { reason: String },
    Busy { reason: String },
    Cancelled,
    UnknownResult { reason: String },
}

impl End {
    /// `None` for work that has not ended.
    pub(super) fn of(state: &WorkState) -> Option<Self> {
        match state.clone() {
            WorkState::Running => None,
            WorkState::Succeeded => Some(Self::Succeeded),
            WorkState::Failed { reason } => Some(Self::Failed { reason }),
            WorkState::Busy { reason } => Some(Self::Busy { reason }),
            WorkState::Cancelled => Some(Self::Cancelled),
            WorkState::UnknownResult { reason } => Some(Self::UnknownResult { reason }),
        }
    }
}

impl From<End> for WorkState {
    fn from(end: End) -> Self {
        match end {
            End::Succeeded => Self::Succeeded,
            End::Failed { reason } => Self::Failed { reason },
            End::Busy { reason } => Self::Busy { reason },
            End::Cancelled => Self::Cancelled,
            End::UnknownResult { reason } => Self::UnknownResult { reason },
        }
    }
}

pub(super) fn order_path(folder: &Path) -> PathBuf {
    folder.join("order")
}

pub(super) fn log_path(folder: &Path) -> PathBuf {
    folder.join("log")
}

pub(super) fn end_path(folder: &Path) -> PathBuf {
    folder.join("state")
}

pub(super) fn variables_path(folder: &Path) -> PathBuf {
    folder.join("variables")
}
