//! Setup links: whoever holds one may choose a user's password, once. The first one is printed when the portal starts.

use std::time::Duration;

use tower_sessions::Session;

use super::{PasswordError, Principal, password, random, session};
use crate::app::App;
use crate::audit::Deed;
use crate::clock::Timestamp;
use crate::db::setup_links::{setup_link_get, setup_link_insert, setup_link_use};
use crate::db::users::{user_get, user_set_password_hash};
use crate::db::{Connection, DbError};
use crate::ids::{SpaceId, UserId};
use crate::model::{AuditCategory, AuditKind};

/// How long a setup link works. Then the portal has to be started again, which prints a new one.
pub const SETUP_LINK_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

/// Why a setup link did not work.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// It was used, it is too old, or there never was such a link.
    #[error(
        "this setup link does not work any more: it was used, it is older than 24 hours, or a newer one was made. While \
         no password is set, the portal prints a new one each time it starts"
    )]
    Gone,
    /// The password cannot be chosen.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The operating system gave no random bits.
    #[error("the operating system gives no random numbers")]
    Random(#[from] rand::rngs::SysError),
    /// The password was set, but nobody was logged in.
    #[error("the password was set, but the session could not be stored; log in with the new password")]
    Session(#[from] tower_sessions::session::Error),
    /// The password was set, but only administrators are let in until a restore is confirmed.
    #[error("the password was set, but only administrators can log in now, because {reason}")]
    Restored {
        /// What happened.
        reason: String,
    },
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Makes the user's one setup link and returns its token: `/setup?token=…`. Earlier ones stop working.
pub async fn setup_link_create(conn: &mut Connection, user: UserId, now: Timestamp) -> Result<String, SetupError> {
    let token = random::secret()?;
    setup_link_insert(conn, user, &random::hash(&token), now).await?;
    let name = user_get(conn, user).await?.map(|user| user.username).unwrap_or_default();
    let line = format!("made a link by which {name} may choose a password");
    let deed = Deed::new(AuditKind::User, AuditCategory::Modified, "SetupLink", line).on(user);
    deed.write(conn, SpaceId::DEFAULT, now).await?;
    Ok(token)
}

/// The name of the user whose password it lets one choose; `None` where the token works no more.
pub async fn setup_link_user(app: &App, token: &str) -> Result<Option<String>, SetupError> {
    let mut conn = app.db.read().await?;
    let Some(user) = setup_link_get(&mut conn, &random::hash(token), oldest(app)).await? else { return Ok(None) };
    let user = user_get(&mut conn, user).await?.filter(|user| !user.is_disabled);
    Ok(user.map(|user| user.username))
}

/// Uses the link up: sets its user's password and logs them in, where they could log in with it. A password that cannot be
/// chosen does not use it up.
pub async fn setup_link_redeem(
    app: &App,
    session: &Session,
    token: &str,
    password: &str,
) -> Result<Principal, SetupError> {
    if setup_link_user(app, token).await?.is_none() {
        return Err(SetupError::Gone);
    }
    let password_hash = password::hash(password).await?;
    let mut tx = app.db.write().await?;
    let user = setup_link_use(&mut tx, &random::hash(token), oldest(app), app.now()).await?.ok_or(SetupError::Gone)?;
    user_set_password_hash(&mut tx, user, &password_hash).await?;
    let user = user_get(&mut tx, user).await?.ok_or(SetupError::Gone)?;
    let kept_out = session::kept_out(&mut tx, &user).await?;
    let line = match kept_out {
        None => "chose a password by a setup link and logged in",
        Some(_) => "chose a password by a setup link",
    };
    let deed = Deed::new(AuditKind::User, AuditCategory::Modified, "Password", line).by(&user.username).on(user.id);
    deed.write(&mut tx, SpaceId::DEFAULT, app.now()).await?;
    tx.commit().await.map_err(DbError::from)?;
    if let Some(reason) = kept_out {
        return Err(SetupError::Restored { reason });
    }
    session::begin(app, session, user.id, &password_hash).await?;
    Ok(Principal::logged_in(user, SpaceId::DEFAULT))
}

fn oldest(app: &App) -> Timestamp {
    Timestamp(app.now().0.saturating_sub(i64::try_from(SETUP_LINK_LIFE.as_micros()).unwrap_or(i64::MAX)))
}
