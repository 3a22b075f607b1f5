//! Registration keys: `REG-` and 32 characters from 160 random bits. Shown once; only their hash is kept. Whoever holds
//! one may add machines to its environments, and nothing else: it is no user, and opens no other route.

use std::net::IpAddr;
use std::time::Duration;

use http::HeaderMap;
use serde_json::{Value, json};

use super::{Principal, Via, random};
use crate::app::App;
use crate::audit::Deed;
use crate::clock::Timestamp;
use crate::db::environments::environment_list;
use crate::db::registration_keys::{
    NewRegistrationKey, registration_key_by_hash, registration_key_insert, registration_use_insert,
};
use crate::db::users::user_get;
use crate::db::{DbError, Refusal};
use crate::error::ApiError;
use crate::ids::{EnvironmentId, RegistrationKeyId, SpaceId};
use crate::model::{AuditCategory, AuditKind, KeyState, KeyUse, RegistrationKey, Role, UseOutcome};
use crate::restored::{WHAT_TO_DO, registration_key_rests};

/// The header that carries one.
const HEADER: &str = "x-octopus-registrationkey";

/// How every key begins.
const PREFIX: &str = "REG-";

/// How long a key works at most. One that is asked for longer is refused.
pub const KEY_LIFE_MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Most machines of one key. One that is asked for more is refused.
pub const KEY_MACHINES_MAX: u32 = 1000;

/// Whoever asks with a registration key that works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bearer {
    /// The key.
    pub key: RegistrationKey,
    /// From which address they ask.
    pub peer: IpAddr,
}

/// What a key is to allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Where its machines come.
    pub environments: Vec<EnvironmentId>,
    /// The roles that they get.
    pub roles: Vec<String>,
    /// How many machines it may add.
    pub machines: u32,
    /// How long it works.
    pub life: Duration,
}

/// Makes a key, for whoever operates its environments. Returns it: the only time that anybody sees it.
pub async fn registration_key_create(
    app: &App,
    space: SpaceId,
    who: &Principal,
    grant: &Grant,
) -> Result<(RegistrationKeyId, String), ApiError> {
    if grant.environments.is_empty() {
        return Err(ApiError::bad_request("Choose at least one environment for the machines."));
    }
    if grant.machines == 0 || grant.machines > KEY_MACHINES_MAX {
        return Err(ApiError::bad_request(format!("A key adds between 1 and {KEY_MACHINES_MAX} machines.")));
    }
    if grant.life.is_zero() || grant.life > KEY_LIFE_MAX {
        let days = KEY_LIFE_MAX.as_secs() / 86_400;
        return Err(ApiError::bad_request(format!("A key works for {days} days at most.")));
    }
    who.operates(&grant.environments)?;
    let secret = random::secret().map_err(|error| ApiError::internal("make the key", &error))?;
    let key = format!("{PREFIX}{secret}");
    let new = NewRegistrationKey {
        user: who.user,
        key_hash: &random::hash(&key),
        environments: &grant.environments,
        roles: &grant.roles,
        machines_max: grant.machines,
        expires_at: app.now().after(grant.life),
    };
    let mut tx = app.db.write().await?;
    let known = environment_list(&mut tx, space).await?;
    if let Some(unknown) = grant.environments.iter().find(|id| known.iter().all(|known| known.id != **id)) {
        return Err(DbError::from(Refusal::UnknownEnvironment(*unknown)).into());
    }
    let id = registration_key_insert(&mut tx, space, &new, app.now()).await?;
    let line = format!("made {id}, by which up to {} machines may register", grant.machines);
    let deed = Deed::new(AuditKind::RegistrationKey, AuditCategory::Created, "Create", line).by(&who.username).on(id);
    let after = json!({
        "EnvironmentIds": grant.environments,
        "Roles": grant.roles,
        "Machines": grant.machines,
        "Expires": new.expires_at.rfc3339(),
    });
    deed.on_all(&grant.environments).changed(Value::Null, after).write(&mut tx, space, app.now()).await?;
    tx.commit().await.map_err(DbError::from)?;
    Ok((id, key))
}

/// Who asks with a registration key, or why it lets nobody in. What is tried with a key that is known is written down.
pub(super) async fn bearer(app: &App, headers: &HeaderMap, peer: IpAddr) -> Result<Bearer, ApiError> {
    let missing = "Send a registration key in the header X-Octopus-RegistrationKey. One is made in the portal under \
                   Environments, Add machine.";
    let unauthorized = |message: &str| ApiError::new(http::StatusCode::UNAUTHORIZED, message);
    let text = headers.get(HEADER).ok_or_else(|| unauthorized(missing))?.to_str().unwrap_or_default().trim();
    let mut conn = app.db.read().await?;
    // Its 160 random bits are looked up by their hash: nobody finds a key by how long that takes.
    let key = registration_key_by_hash(&mut conn, &random::hash(text)).await?;
    let Some(key) = key else { return Err(unauthorized("This registration key is not one of this portal.")) };
    let maker = user_get(&mut conn, key.user).await?.filter(|user| !user.is_disabled);
    let rests = registration_key_rests(&mut conn, key.id).await?;
    drop(conn);
    if let Some(reason) = rests {
        let message = format!("This registration key is suspended, because {reason}. {WHAT_TO_DO}.");
        return Err(unauthorized(&message));
    }
    let Some(why) = refusal(&key, maker.as_ref().map(|user| &user.role), app.now()) else {
        return Ok(Bearer { key, peer });
    };
    let refused = KeyUse {
        at: app.now(),
        peer: peer.to_string(),
        outcome: UseOutcome::Refused,
        machine: None,
        line: why.clone(),
    };
    let mut tx = app.db.write().await?;
    registration_use_insert(&mut tx, key.id, &refused).await?;
    tx.commit().await.map_err(DbError::from)?;
    Err(unauthorized(&format!("{why} Make a new one in the portal under Environments, Add machine.")))
}

/// Why a key lets nobody in: it is over, or who made it could not make it any more.
fn refusal(key: &RegistrationKey, maker: Option<&Role>, now: Timestamp) -> Option<String> {
    match key.state(now) {
        KeyState::Works => {}
        KeyState::UsedUp => return Some(format!("The key has added all {} machines that it may.", key.machines_max)),
        KeyState::Expired => return Some("The key's time is over.".to_owned()),
        KeyState::Revoked => return Some("The key was revoked.".to_owned()),
    }
    if key.environments.is_empty() {
        return Some("The key's environments were deleted.".to_owned());
    }
    let who = |role: &Role| {
        let via = Via::Session;
        Principal { user: key.user, username: key.username.clone(), role: role.clone(), via, space: key.space }
    };
    match maker.map(who) {
        Some(maker) if maker.operates(&key.environments).is_ok() => None,
        _ => Some(format!("{}, who made the key, may add no machines there any more.", key.username)),
    }
}
