//! People and the keys of their scripts, as they are added, changed and revoked: each in one transaction with its row in the
//! trail. Used by pages and API alike. A key is shown once, to its own user, and only its hash is kept.

use serde_json::Value;

use crate::app::App;
use crate::audit::{Deed, because, user_state};
use crate::auth::{ApiKeyError, SetupError, api_key_create, setup_link_create};
use crate::db::api_keys::{api_key_list, api_key_revoke};
use crate::db::audit::api_key_purpose;
use crate::db::users::{user_get, user_insert, user_other_administrators, user_set_disabled, user_set_role};
use crate::db::{Connection, DbError};
use crate::ids::{ApiKeyId, SpaceId, UserId};
use crate::live::Change;
use crate::model::{ApiKey, AuditCategory, AuditKind, KeyWish, Role, User};

/// Keys that a user may have at once and that work. A further one is refused until one is revoked or over.
const KEYS_MAX: usize = 100;

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum PeopleError {
    /// There is no such user.
    #[error("the user {0} was not found")]
    UnknownUser(UserId),
    /// Nobody could change anything any more.
    #[error("this is the last administrator who can log in; make somebody else one first")]
    LastAdministrator,
    /// They have enough keys.
    #[error("a user may have at most {KEYS_MAX} API keys that work; revoke one first")]
    TooManyKeys,
    /// The link could not be made.
    #[error("the link by which they choose a password could not be made")]
    Link(#[from] SetupError),
    /// The key could not be made.
    #[error("the key could not be made")]
    Key(#[from] ApiKeyError),
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Adds a user. Returns the token of the link by which they choose a password, too.
pub async fn user_add(app: &App, name: &str, role: &Role) -> Result<(User, String), PeopleError> {
    let mut tx = app.db.write().await?;
    let added = user_insert(&mut tx, name, role, app.now()).await?;
    let line = format!("added user {}", added.username);
    let deed = Deed::new(AuditKind::User, AuditCategory::Created, "Create", line).on(added.id);
    deed.changed(Value::Null, user_state(&added)).write(&mut tx, SpaceId::DEFAULT, app.now()).await?;
    let token = setup_link_create(&mut tx, added.id, app.now()).await?;
    tx.commit().await.map_err(DbError::from)?;
    Ok((added, token))
}

/// Changes what a user may do, and whether they are let in, to what `wish` makes of what it is.
pub async fn user_change(app: &App, id: UserId, wish: impl FnOnce(&User) -> (Role, bool)) -> Result<User, PeopleError> {
    let mut tx = app.db.write().await?;
    let old = known(&mut tx, id).await?;
    let (role, is_disabled) = wish(&old);
    let stays = role == Role::Administrator && !is_disabled;
    if !stays && user_other_administrators(&mut tx, id).await? == 0 {
        return Err(PeopleError::LastAdministrator);
    }
    user_set_role(&mut tx, id, &role).await?;
    user_set_disabled(&mut tx, id, is_disabled).await?;
    let changed = known(&mut tx, id).await?;
    let line = format!("changed what {} may do", old.username);
    let deed = Deed::new(AuditKind::User, AuditCategory::Modified, "Edit", line).on(id);
    let deed = deed.changed(user_state(&old), user_state(&changed));
    if !deed.changes_nothing() {
        deed.write(&mut tx, SpaceId::DEFAULT, app.now()).await?;
    }
    tx.commit().await.map_err(DbError::from)?;
    // Whoever was disabled is shown nothing more.
    app.live.tell(Change::Sessions);
    Ok(changed)
}

async fn known(conn: &mut Connection, id: UserId) -> Result<User, PeopleError> {
    user_get(conn, id).await?.ok_or(PeopleError::UnknownUser(id))
}

/// Makes an API key for a user. The text is the key itself: the only time that anybody sees it.
pub async fn api_key_add(app: &App, user: UserId, wish: &KeyWish<'_>) -> Result<(ApiKey, String), PeopleError> {
    let mut tx = app.db.write().await?;
    let keys = api_key_list(&mut tx, user).await?;
    if keys.iter().filter(|key| key.works(app.now())).count() >= KEYS_MAX {
        return Err(PeopleError::TooManyKeys);
    }
    let made = api_key_create(&mut tx, user, wish, app.now()).await?;
    tx.commit().await.map_err(DbError::from)?;
    Ok(made)
}

/// Revokes a key of a user for ever. False where they have none of that id that works; then nothing changes.
pub async fn api_key_end(app: &App, owner: &User, id: ApiKeyId) -> Result<bool, DbError> {
    let mut tx = app.db.write().await?;
    let is_done = api_key_revoke(&mut tx, owner.id, id, app.now()).await?;
    if is_done {
        let line = format!("revoked an API key of {}{}", owner.username, because(&api_key_purpose(&mut tx, id).await?));
        let deed = Deed::new(AuditKind::ApiKey, AuditCategory::Deleted, "Revoke", line).on(id).on(owner.id);
        deed.write(&mut tx, SpaceId::DEFAULT, app.now()).await?;
    }
    tx.commit().await?;
    Ok(is_done)
}
