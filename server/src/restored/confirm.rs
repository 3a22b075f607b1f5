//! What an administrator does who has looked at a restored portal: one deed, by page, REST API or command line.

use super::{Restored, restored_get, restored_open, restored_put};
use crate::app::App;
use crate::audit::Deed;
use crate::clock::Timestamp;
use crate::counts::count;
use crate::db::api_keys::api_key_list_through;
use crate::db::facts::generation_seen;
use crate::db::registration_keys::registration_key_list;
use crate::db::rollouts::{generation_issued, generation_put};
use crate::db::spaces::space_ids;
use crate::db::{Connection, DbError};
use crate::ids::SpaceId;
use crate::model::{ApiKey, AuditCategory, AuditKind, KeyState, RegistrationKey};

/// A restored portal, and the keys that rest because of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resting {
    /// How it came to it.
    pub restored: Restored,
    /// API keys that would work, with the names of their users, by user.
    pub api_keys: Vec<(ApiKey, String)>,
    /// Registration keys that would work.
    pub registration_keys: Vec<RegistrationKey>,
}

impl Resting {
    /// The keys, in words: "2 API keys and 1 registration key".
    pub fn keys(&self) -> String {
        let (api, registration) = (self.api_keys.len(), self.registration_keys.len());
        format!("{} and {}", count(api, "API key"), count(registration, "registration key"))
    }
}

/// What the last restore was, and which keys rest.
pub async fn restored_look(conn: &mut Connection, now: Timestamp) -> Result<Option<Resting>, DbError> {
    let Some(restored) = restored_get(conn).await? else { return Ok(None) };
    let (mut api_keys, mut registration_keys) = (Vec::new(), Vec::new());
    if restored.keys_rest() {
        api_keys = api_key_list_through(conn, restored.api_keys).await?;
        api_keys.retain(|(key, _)| key.works(now));
        for space in space_ids(conn).await? {
            registration_keys.extend(registration_key_list(conn, space).await?);
        }
        registration_keys.retain(|key| key.id.0 <= restored.registration_keys && key.state(now) == KeyState::Works);
    }
    Ok(Some(Resting { restored, api_keys, registration_keys }))
}

/// Confirms the restore: keys work again, rollouts may be resumed and begun, and the generations of commands go on above the
/// highest that any machine has seen. What was confirmed; `None` where nothing waits for it.
pub async fn restored_confirm(conn: &mut Connection, now: Timestamp, who: &str) -> Result<Option<Resting>, DbError> {
    if restored_open(conn).await?.is_none() {
        return Ok(None);
    }
    let Some(mut resting) = restored_look(conn, now).await? else { return Ok(None) };
    let seen = generation_seen(conn).await?;
    if seen > generation_issued(conn).await? {
        generation_put(conn, seen).await?;
    }
    resting.restored.confirmed = Some((who.to_owned(), now));
    restored_put(conn, &resting.restored).await?;
    let line =
        format!("confirmed that {}: {} work again, rollouts may go on", resting.restored.reason(), resting.keys());
    let deed = Deed::new(AuditKind::Setting, AuditCategory::Modified, "ConfirmRestore", line);
    deed.write(conn, SpaceId::DEFAULT, now).await?;
    Ok(Some(resting))
}

/// The same, for a page or the REST API of a running portal.
pub async fn confirm(app: &App, who: &str) -> Result<Option<Resting>, DbError> {
    let mut tx = app.db.write().await?;
    let confirmed = restored_confirm(&mut tx, app.now(), who).await?;
    tx.commit().await?;
    if let Some(confirmed) = &confirmed {
        tracing::warn!(by = who, reason = confirmed.restored.reason(), "the restore was confirmed");
        app.live.tell(crate::live::Change::Portal);
        app.live.poke_orchestrator();
    }
    Ok(confirmed)
}
