//! That this portal is not what it was: it was restored from a backup, or a machine has seen a later state of it. Until an
//! administrator has looked and confirmed, no rollout goes on or begins, nobody but administrators logs in, and no key of
//! the backup is honoured: which of them was revoked since, and what machines were brought to since, only a person knows.
//!
//! `octopus-server restore` writes it into the backup's database before that is put in its place, so the portal knows from
//! its first moment. `settle` is what the first start does, `confirm` what the administrator does.

pub mod confirm;
pub mod settle;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::audit::{Deed, PORTAL};
use crate::clock::Timestamp;
use crate::db::settings::{setting_get, setting_set};
use crate::db::snapshot::KeysIssued;
use crate::db::{Connection, DbError};
use crate::ids::{ApiKeyId, RegistrationKeyId, SpaceId};
use crate::model::{AuditCategory, AuditKind};

/// The name of the setting that holds it.
pub const RESTORED: &str = "restored";

/// What somebody is told who is kept out by it.
pub const WHAT_TO_DO: &str = "An administrator must look first and confirm it, on the page Settings, Restore";

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

    /// What happened, as the reason of a pause tells it.
    pub fn reason(&self) -> String {
        match &self.how {
            How::Backup { made_at, .. } => format!("this portal was restored from a backup of {}", made_at.minutes()),
            How::Noticed { machine } => format!(
                "{machine} was commanded by a later state of this portal than the one that runs now: this portal was \
                 restored from an old backup"
            ),
        }
    }

    /// True where keys rest until it is confirmed. A machine alone, which may lie, takes nobody's keys away.
    pub fn keys_rest(&self) -> bool {
        match self.how {
            How::Backup { .. } => self.confirmed.is_none(),
            How::Noticed { .. } => false,
        }
    }
}

/// The last time that this portal was restored, as far as it knows.
pub async fn restored_get(conn: &mut Connection) -> Result<Option<Restored>, DbError> {
    let Some(text) = setting_get(conn, RESTORED).await? else { return Ok(None) };
    serde_json::from_str(&text).map(Some).map_err(|_| DbError::damaged("settings.restored", text))
}

/// The same, while it is not confirmed.
pub async fn restored_open(conn: &mut Connection) -> Result<Option<Restored>, DbError> {
    Ok(restored_get(conn).await?.filter(|restored| restored.confirmed.is_none()))
}

async fn restored_put(conn: &mut Connection, restored: &Restored) -> Result<(), DbError> {
    setting_set(conn, RESTORED, &restored.text()).await
}

/// Why an API key is not honoured now; `None` where it is.
pub async fn api_key_rests(conn: &mut Connection, id: ApiKeyId) -> Result<Option<String>, DbError> {
    let rests = |restored: &Restored| restored.keys_rest() && id.0 <= restored.api_keys;
    Ok(restored_open(conn).await?.filter(rests).map(|restored| restored.reason()))
}

/// Why a registration key is not honoured now; `None` where it is.
pub async fn registration_key_rests(conn: &mut Connection, id: RegistrationKeyId) -> Result<Option<String>, DbError> {
    let rests = |restored: &Restored| restored.keys_rest() && id.0 <= restored.registration_keys;
    Ok(restored_open(conn).await?.filter(rests).map(|restored| restored.reason()))
}

/// Writes down that a machine has seen a later state of this portal, unless it is known to have been restored and nobody
/// has confirmed that yet. True where it was news.
pub async fn restored_notice(
    conn: &mut Connection,
    space: SpaceId,
    machine: &str,
    now: Timestamp,
) -> Result<bool, DbError> {
    if restored_open(conn).await?.is_some() {
        return Ok(false);
    }
    let how = How::Noticed { machine: machine.to_owned() };
    let noticed = Restored { settled_at: Some(now), ..Restored::new(how, now, KeysIssued::default()) };
    restored_put(conn, &noticed).await?;
    tracing::warn!(machine.name = machine, "a machine has seen later commands than this portal ever gave");
    let line = format!("paused every rollout: {}", noticed.reason());
    let deed = Deed::new(AuditKind::Setting, AuditCategory::Modified, "NoticeRestore", line).by(PORTAL);
    deed.write(conn, space, now).await?;
    Ok(true)
}
