//! Sessions of people who logged in: a cookie that names a row of the database, so that they survive a restart.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast::{self, error::RecvError};
use tower_sessions::cookie::SameSite;
use tower_sessions::session::{Id, Record};
use tower_sessions::session_store::{Error as StoreError, ExpiredDeletion, Result as StoreResult};
use tower_sessions::{Expiry, Session, SessionManagerLayer, SessionStore};

use super::{PasswordError, Principal, password, random, trail};
use crate::app::{Access, App};
use crate::audit::Deed;
use crate::clock::{Clock as _, SystemClock, Timestamp};
use crate::db::sessions::{session_delete, session_delete_expired, session_get, session_insert, session_update};
use crate::db::spaces::space_get;
use crate::db::users::{user_by_name, user_end_sessions, user_get, user_password_hash, user_sessions_from};
use crate::db::{Connection, Db, DbError};
use crate::ids::{SpaceId, UserId};
use crate::live::Change;
use crate::model::{AuditCategory, AuditKind, Role, User};
use crate::restored::{Restored, restored_open};

/// How long a session lasts without a request; then its bearer logs in again.
const IDLE_MAX: Duration = Duration::from_secs(12 * 60 * 60);

/// How old the last note of a request may be before a new one is written: reading pages does not write each time.
const NOTE_EVERY: Duration = Duration::from_secs(60 * 60);

/// How often a session is looked up while something is open on its behalf. An end that nobody told of, such as that of a
/// session too old or of a password set by another process, is noticed this late.
const LOOK_EVERY: Duration = Duration::from_secs(15);

/// New ids that are tried for a session. Two equal ones of 128 random bits mean that something else is wrong.
const ID_TRIES: u32 = 3;

/// The name of the cookie. A browser takes one with the prefix only from HTTPS, for this host alone.
const COOKIE: &str = "octopus-session";
const COOKIE_SECURE: &str = "__Host-octopus-session";

/// Where a session keeps who logged in.
const LOGIN_KEY: &str = "login";

/// Where a session keeps the space that its bearer looks at.
const SPACE_KEY: &str = "space";

/// Who logged in.
#[derive(Serialize, Deserialize)]
struct Login {
    user: i64,
    /// Names the password that was given. A session ends when its user's password changes.
    stamp: String,
    /// When a request was last noted, in microseconds since the Unix epoch.
    noted_at: i64,
    /// When it began. 0 in sessions from before this was kept.
    #[serde(default)]
    began_at: i64,
}

/// Why somebody is not logged in.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// The name or the password is wrong; which one is nobody's business.
    #[error("the name or the password is wrong")]
    Wrong,
    /// The portal was restored, and only administrators are let in until that is confirmed.
    #[error("only administrators can log in now, because {reason}")]
    Restored {
        /// What happened.
        reason: String,
    },
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
    let known = user.as_ref().map(|user| user.username.clone());
    let user = user.filter(|user| !user.is_disabled);
    let (Some(user), Some(stored), true) = (user, stored, matches) else {
        trail::login_failed(app, known).await?;
        return Err(LoginError::Wrong);
    };
    app.logins.succeeded(peer, username);
    if let Some(reason) = kept_out(&mut *app.db.read().await?, &user).await? {
        return Err(LoginError::Restored { reason });
    }
    begin(app, session, user.id, &stored).await?;
    trail::logged_in(app, &user).await?;
    Ok(Principal::logged_in(user, SpaceId::DEFAULT))
}

/// Why somebody who proved who they are is not let in all the same; `None` for those who are.
pub(super) async fn kept_out(conn: &mut Connection, user: &User) -> Result<Option<String>, DbError> {
    // Who may do what since the backup, an administrator must look at first.
    let restored = restored_open(conn).await?.filter(Restored::keys_rest);
    Ok(restored.filter(|_| user.role != Role::Administrator).map(|restored| restored.reason()))
}

/// Makes `session` that user's. The id changes, so that whoever knew the old one is not logged in.
pub(super) async fn begin(
    app: &App,
    session: &Session,
    user: UserId,
    password_hash: &str,
) -> Result<(), tower_sessions::session::Error> {
    session.cycle_id().await?;
    // The session of the old id ended, and those that began with another password.
    app.live.tell(Change::Sessions);
    let now = SystemClock.now().0;
    let login = Login { user: user.0, stamp: stamp(password_hash), noted_at: now, began_at: now };
    session.insert(LOGIN_KEY, login).await
}

/// Ends a session, and with it what is open on its behalf.
pub async fn logout(app: &App, session: &Session) -> Result<(), tower_sessions::session::Error> {
    // Who it was is asked while it can be known; that it is not must keep nobody from logging out.
    if let Ok(Some(who)) = principal(&app.db, session).await
        && let Err(error) = trail::logged_out(app, &who.username, "logged out").await
    {
        tracing::warn!(error = crate::error::chain(&error), "a log-out is missing in the trail");
    }
    session.flush().await?;
    app.live.tell(Change::Sessions);
    Ok(())
}

/// Ends every session of a user, on whatever computer. It runs on the machine's clock, as sessions do.
pub async fn sessions_end_all(app: &App, user: UserId) -> Result<(), DbError> {
    let mut tx = app.db.write().await?;
    user_end_sessions(&mut tx, user, SystemClock.now()).await?;
    let name = user_get(&mut tx, user).await?.map(|user| user.username).unwrap_or_default();
    let line = format!("ended every session of {name}");
    let deed = Deed::new(AuditKind::Session, AuditCategory::LoggedOut, "EndSessions", line).on(user);
    deed.write(&mut tx, SpaceId::DEFAULT, app.now()).await?;
    tx.commit().await?;
    app.live.tell(Change::Sessions);
    Ok(())
}

/// Gives a user another password, if they know the one they have. All their sessions end but this one.
pub async fn password_change(
    app: &App,
    session: &Session,
    peer: IpAddr,
    who: &Principal,
    old: &str,
    new: &str,
) -> Result<(), LoginError> {
    // Whoever found an open browser may not guess either.
    app.logins.begin(peer, &who.username, app.now()).map_err(|wait| LoginError::TooMany { wait })?;
    if !password::password_is(&app.db, who.user, old).await? {
        trail::login_failed(app, Some(who.username.clone())).await?;
        return Err(LoginError::Wrong);
    }
    app.logins.succeeded(peer, &who.username);
    password::password_set(&app.db, who.user, new).await?;
    let stored = user_password_hash(&mut *app.db.read().await?, who.user).await?.unwrap_or_default();
    begin(app, session, who.user, &stored).await?;
    Ok(())
}

/// Whose session it is; `None` for nobody's.
pub(super) async fn principal(db: &Db, session: &Session) -> Result<Option<Principal>, LoginError> {
    // Loading the session takes a connection: whoever holds one meanwhile may wait for ever.
    let Some(login) = session.get::<Login>(LOGIN_KEY).await? else { return Ok(None) };
    let Some(user) = login_user(db, &login).await? else { return Ok(None) };
    let space = chosen_space(db, session).await?;
    let now = SystemClock.now();
    if now.since(Timestamp(login.noted_at)) >= NOTE_EVERY {
        session.insert(LOGIN_KEY, Login { noted_at: now.0, ..login }).await?;
    }
    Ok(Some(Principal::logged_in(user, space)))
}

/// Has a session look at a space from now on.
pub async fn space_choose(session: &Session, space: SpaceId) -> Result<(), tower_sessions::session::Error> {
    session.insert(SPACE_KEY, space.0).await
}

/// The space that a session looks at: the one that was chosen, as long as it is there.
async fn chosen_space(db: &Db, session: &Session) -> Result<SpaceId, LoginError> {
    let Some(chosen) = session.get::<i64>(SPACE_KEY).await? else { return Ok(SpaceId::DEFAULT) };
    let space = space_get(&mut *db.read().await?, SpaceId(chosen)).await?;
    Ok(space.map_or(SpaceId::DEFAULT, |space| space.id))
}

/// The user who logged in; `None` where they are gone or have another password by now.
async fn login_user(db: &Db, login: &Login) -> Result<Option<User>, LoginError> {
    let id = UserId(login.user);
    let mut conn = db.read().await?;
    let Some(user) = user_get(&mut conn, id).await?.filter(|user| !user.is_disabled) else { return Ok(None) };
    if login.began_at < user_sessions_from(&mut conn, id).await?.0 {
        return Ok(None);
    }
    let stored = user_password_hash(&mut conn, id).await?;
    Ok((stored.as_deref().map(stamp).as_ref() == Some(&login.stamp)).then_some(user))
}

/// True while the session of that id is somebody's. To look does not make it last longer.
async fn is_alive(db: &Db, id: Id) -> Result<bool, LoginError> {
    let session = Session::new(Some(id), Arc::new(Sessions(db.clone())), None);
    match session.get::<Login>(LOGIN_KEY).await? {
        Some(login) => Ok(login_user(db, &login).await?.is_some()),
        None => Ok(false),
    }
}

/// Waits until the session of a request has ended: by logging out, by another password, by its age. What is open on its
/// behalf ends with it. A session that cannot be looked up counts as ended: whoever has it may ask again.
pub async fn session_ended(app: &App, session: &Session) {
    ended(app, session, LOOK_EVERY).await;
}

async fn ended(app: &App, session: &Session, look_every: Duration) {
    let Some(id) = session.id() else { return };
    let mut news = app.live.listen();
    loop {
        match is_alive(&app.db, id).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                return tracing::error!(error = crate::error::chain(&error), "a session could not be looked up");
            }
        }
        // The end of a session that brings no news is seen at the next look.
        let _ = tokio::time::timeout(look_every, told_of_sessions(&mut news)).await;
    }
}

async fn told_of_sessions(news: &mut broadcast::Receiver<Change>) {
    loop {
        match news.recv().await {
            Ok(Change::Sessions) | Err(RecvError::Lagged(_)) => return,
            Ok(_) => {}
            // Nobody will ever tell.
            Err(RecvError::Closed) => return std::future::pending().await,
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::password_set;
    use crate::testing::TestApp;

    /// Longest wait for an end that must be noticed.
    const NOTICED_WITHIN: Duration = Duration::from_secs(20);

    async fn logged_in(portal: &TestApp) -> Session {
        let admin = user_by_name(&mut portal.db.read().await.unwrap(), "admin").await.unwrap().unwrap().id;
        password_set(&portal.db, admin, "correct horse battery").await.unwrap();
        let session = Session::new(None, Arc::new(Sessions(portal.db.clone())), None);
        login(portal, &session, [127, 0, 0, 1].into(), "admin", "correct horse battery").await.unwrap();
        session.save().await.unwrap();
        session
    }

    #[tokio::test]
    async fn a_session_that_grew_too_old_ends_without_any_news() {
        let portal = App::for_tests().await;
        let session = logged_in(&portal).await;
        let soon = Duration::from_millis(20);
        let mut end = std::pin::pin!(ended(&portal, &session, soon));
        assert!(tokio::time::timeout(soon * 10, &mut end).await.is_err(), "it is alive");
        session.set_expiry(Some(Expiry::AtDateTime(time::OffsetDateTime::UNIX_EPOCH)));
        session.save().await.unwrap();
        tokio::time::timeout(NOTICED_WITHIN, end).await.expect("its end is noticed");
    }

    #[tokio::test]
    async fn a_password_set_by_another_process_ends_its_sessions() {
        let portal = App::for_tests().await;
        let session = logged_in(&portal).await;
        let mut end = std::pin::pin!(ended(&portal, &session, Duration::from_millis(20)));
        assert!(tokio::time::timeout(Duration::from_millis(200), &mut end).await.is_err(), "it is alive");
        let admin = user_by_name(&mut portal.db.read().await.unwrap(), "admin").await.unwrap().unwrap().id;
        password_set(&portal.db, admin, "another battery staple").await.unwrap();
        tokio::time::timeout(NOTICED_WITHIN, end).await.expect("its end is noticed");
    }

    #[tokio::test]
    async fn nobodys_session_is_over_at_once() {
        let portal = App::for_tests().await;
        let session = Session::new(None, Arc::new(Sessions(portal.db.clone())), None);
        session_ended(&portal, &session).await;
    }
}
