//! That this portal is not what it was: it was restored from a backup. Written into the backup's database before that is
//! put in its place, so that the portal knows from its first moment.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::db::snapshot::KeysIssued;

/// The name of the setting that holds it.
pub const RESTORED: &str = "restored";

/// How it came to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum How {
    /// By `octopus-server restore`.
    Backup {
        /// When the backup was made.
        made_at: Timestamp,
        /// By which version.
        version: String,
    },
    /// A machine reported a higher generation than this portal ever issued: its folder was set back by other means.
    Noticed {
        /// The machine's name.
        machine: String,
    },
}

/// What is known of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restored {
    /// How.
    pub how: How,
    /// When.
    pub at: Timestamp,
    /// API keys up to this number are not honoured before it is confirmed.
    pub api_keys: i64,
    /// The same of registration keys.
    pub registration_keys: i64,
    /// When the portal first started on it and stopped what was under way.
    pub settled_at: Option<Timestamp>,
    /// Who confirmed it, and when.
    pub confirmed: Option<(String, Timestamp)>,
}

impl Restored {
    /// What was restored just now.
    pub fn new(how: How, at: Timestamp, keys: KeysIssued) -> Self {
        let KeysIssued { api_keys, registration_keys } = keys;
        Self { how, at, api_keys, registration_keys, settled_at: None, confirmed: None }
    }

    /// As it is stored.
    pub fn text(&self) -> String {
        // A value of plain fields is always written.
        serde_json::to_string(self).unwrap_or_default()
    }
}
