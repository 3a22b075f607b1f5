//! Sessions of people who logged in: a cookie that names a row of the database, so that they survive a restart.

use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tower_sessions::cookie::SameSite;
use tower_sessions::session::{Id, Record};
use tower_sessions::session_store::{Error as StoreError, ExpiredDeletion, Result as StoreResult};
use tower_sessions::{Expiry, Session, SessionManagerLayer, SessionStore};

use super::{PasswordError, Principal, Via, password, random};
use crate::app::{Access, App};
use crate::clock::{Clock as _, SystemClock, Timestamp};
use crate::db::sessions::{session_delete, session_delete_expired, session_get, session_insert, session_update};
use crate::db::users::{user_by_name, user_get, user_password_hash};
use crate::db::{Db, DbError};
use crate::ids::UserId;

/// How long a session lasts without a request; then its bearer logs in again.
const IDLE_MAX: Duration = Duration::from_secs(12 * 60 * 60);

/// How old the last note of a request may be before a new one is written: reading pages does not write each time.
const NOTE_EVERY: Duration = Duration::from_secs(60 * 60);

/// New ids that are tried for a session. Two equal ones of 128 random bits mean that something else is wrong.
const ID_TRIES: u32 = 3;

/// The name of the cookie. A browser takes one with the prefix only from HTTPS, for this host alone.
const COOKIE: &str = "octopus-session";
const COOKIE_SECURE: &str = "__Host-octopus-session";

/// Where a session keeps who logged in.
const LOGIN_KEY: &str = "login";

/// Who logged in.
#[derive(Serialize, Deserialize)]
struct Login {
    user: i64,
    /// Names the password that was given. A session ends when its user's password changes.
    stamp: String,
    /// When a request was last noted, in microseconds since the Unix epoch.
    noted_at: i64,
}

/// Why somebody is not logged in.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// The name or the password is wrong; which one is nobody's business.
    #[error("the name or the password is wrong")]
    Wrong,
    /// Too many tries.
    #[error("too many tries to log in; try again in {} min", wait.as_secs().div_ceil(60))]
    TooMany {
        /// How long to wait.
        wait: Duration,
    },
    /// The password could not be checked.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The session could not be stored.
    #[error("the session could not be stored")]
    Session(#[from] tower_sessions::session::Error),
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Checks name and password, and makes `session` that user's, under a new id.
pub async fn login(
    app: &App,
    session: &Session,
    peer: IpAddr,
    username: &str,
    password: &str,
) -> Result<Principal, LoginError> {
    app.logins.begin(peer, username, app.now()).map_err(|wait| LoginError::TooMany { wait })?;
    let mut conn = app.db.read().await?;
    let user = user_by_name(&mut conn, username).await?;
    let stored = match &user {
        Some(user) => user_password_hash(&mut conn, user.id).await?,
        None => None,
    };
    // Hashing takes long; the connection is needed elsewhere meanwhile.
    drop(conn);
    let matches = password::verify(password, stored.as_deref()).await?;
    let (Some(user), Some(stored), true) = (user, stored, matches) else { return Err(LoginError::Wrong) };
    app.logins.succeeded(peer, username);
    begin(session, user.id, &stored).await?;
    Ok(Principal { user: user.id, username: user.username, via: Via::Session })
}

/// Makes `session` that user's. The id changes, so that whoever knew the old one is not logged in.
pub(super) async fn begin(
    session: &Session,
    user: UserId,
    password_hash: &str,
) -> Result<(), tower_sessions::session::Error> {
    session.cycle_id().await?;
    let login = Login { user: user.0, stamp: stamp(password_hash), noted_at: SystemClock.now().0 };
    session.insert(LOGIN_KEY, login).await
}

/// Ends a session.
pub async fn logout(session: &Session) -> Result<(), tower_sessions::session::Error> {
    session.flush().await
}

/// Whose session it is; `None` for nobody's.
pub(super) async fn principal(db: &Db, session: &Session) -> Result<Option<Principal>, LoginError> {
    // Loading the session takes a connection: whoever holds one meanwhile may wait for ever.
    let Some(login) = session.get::<Login>(LOGIN_KEY).await? else { return Ok(None) };
    let id = UserId(login.user);
    let mut conn = db.read().await?;
    let Some(user) = user_get(&mut conn, id).await? else { return Ok(None) };
    let stored = user_password_hash(&mut conn, id).await?;
    drop(conn);
    if stored.as_deref().map(stamp).as_ref() != Some(&login.stamp) {
        return Ok(None);
    }
    let now = SystemClock.now();
    if now.since(Timestamp(login.noted_at)) >= NOTE_EVERY {
        session.insert(LOGIN_KEY, Login { noted_at: now.0, ..login }).await?;
    }
    Ok(Some(Principal { user: id, username: user.username, via: Via::Session }))
}

/// Names a password by the hash of its hash, which is salted.
fn stamp(password_hash: &str) -> String {
    random::hash(password_hash)
}

/// The layer that gives each request its session.
pub fn session_layer(db: &Db, access: Access) -> SessionManagerLayer<Sessions> {
    let idle = time::Duration::try_from(IDLE_MAX).unwrap_or(time::Duration::HOUR);
    SessionManagerLayer::new(Sessions(db.clone()))
        .with_name(if access.is_secure() { COOKIE_SECURE } else { COOKIE })
        .with_secure(access.is_secure())
        .with_http_only(true)
        .with_same_site(SameSite::Lax)
        .with_path("/")
        .with_expiry(Expiry::OnInactivity(idle))
}

/// The sessions in the database, for the layer. It runs on the machine's clock, as the layer does.
#[derive(Clone, Debug)]
pub struct Sessions(pub Db);

fn backend(error: impl Into<DbError>) -> StoreError {
    StoreError::Backend(crate::error::chain(&error.into()))
}

fn key(id: &Id) -> String {
    random::hash(&id.to_string())
}

fn data(record: &Record) -> StoreResult<String> {
    serde_json::to_string(&record.data).map_err(|error| StoreError::Encode(error.to_string()))
}

fn expiry(record: &Record) -> Timestamp {
    Timestamp(i64::try_from(record.expiry_date.unix_timestamp_nanos() / 1000).unwrap_or(i64::MAX))
}

#[async_trait]
impl SessionStore for Sessions {
    async fn create(&self, record: &mut Record) -> StoreResult<()> {
        for _ in 0..ID_TRIES {
            let mut tx = self.0.write().await.map_err(backend)?;
            let added = session_insert(&mut tx, &key(&record.id), &data(record)?, expiry(record)).await;
            if added.map_err(backend)? {
                return tx.commit().await.map_err(backend);
            }
            record.id = Id::default();
        }
        Err(StoreError::Backend("no free session id was found".to_owned()))
    }

    async fn save(&self, record: &Record) -> StoreResult<()> {
        let mut tx = self.0.write().await.map_err(backend)?;
        session_update(&mut tx, &key(&record.id), &data(record)?, expiry(record)).await.map_err(backend)?;
        tx.commit().await.map_err(backend)
    }

    async fn load(&self, id: &Id) -> StoreResult<Option<Record>> {
        let mut conn = self.0.read().await.map_err(backend)?;
        let found = session_get(&mut conn, &key(id), SystemClock.now()).await.map_err(backend)?;
        let Some((data, expires_at)) = found else { return Ok(None) };
        let data = serde_json::from_str(&data).map_err(|error| StoreError::Decode(error.to_string()))?;
        let expiry_date = time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(expires_at.0) * 1000)
            .map_err(|error| StoreError::Decode(error.to_string()))?;
        Ok(Some(Record { id: *id, data, expiry_date }))
    }

    async fn delete(&self, id: &Id) -> StoreResult<()> {
        let mut tx = self.0.write().await.map_err(backend)?;
        session_delete(&mut tx, &key(id)).await.map_err(backend)?;
        tx.commit().await.map_err(backend)
    }
}

#[async_trait]
impl ExpiredDeletion for Sessions {
    async fn delete_expired(&self) -> StoreResult<()> {
        let mut tx = self.0.write().await.map_err(backend)?;
        session_delete_expired(&mut tx, SystemClock.now()).await.map_err(backend)?;
        tx.commit().await.map_err(backend)
    }
}
