//! Passwords: hashed with Argon2id. Hashing is slow on purpose, so it is done off the runtime's threads and only a few
//! at a time.

use std::sync::LazyLock;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, PasswordHasher as _, PasswordVerifier as _};
use tokio::sync::Semaphore;

use crate::audit::Deed;
use crate::clock::{Clock as _, SystemClock};
use crate::db::users::{user_get, user_password_hash, user_set_password_hash};
use crate::db::{Db, DbError};
use crate::ids::{SpaceId, UserId};
use crate::model::{AuditCategory, AuditKind};

/// Shortest password, in characters. A shorter one is refused; nothing else is asked of one.
pub const PASSWORD_MIN: usize = 12;

/// Longest password, in bytes. A longer one is refused, so that hashing takes bounded time.
const PASSWORD_MAX: usize = 1024;

/// Passwords that are hashed at a time, at 19 MiB each. Further ones wait their turn; each takes some 20 ms.
const HASHES_MAX: usize = 4;

static HASHES: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(HASHES_MAX));

/// A hash of no password, with the cost of a real one: checked where there is no user, so that the time tells nothing.
const NOBODYS: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Why a password cannot be chosen, or was not hashed.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// Too short.
    #[error("the password must have at least {PASSWORD_MIN} characters")]
    TooShort,
    /// Too long.
    #[error("the password must not be longer than {PASSWORD_MAX} bytes")]
    TooLong,
    /// The library failed.
    #[error("the password could not be hashed: {0}")]
    Hash(String),
    /// The hash could not be stored.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// The hash to store of a new password.
pub(super) async fn hash(password: &str) -> Result<String, PasswordError> {
    if password.chars().count() < PASSWORD_MIN {
        return Err(PasswordError::TooShort);
    }
    if password.len() > PASSWORD_MAX {
        return Err(PasswordError::TooLong);
    }
    let password = password.to_owned();
    let hashed = slowly(move || Argon2::default().hash_password(password.as_bytes()).map(|hash| hash.to_string()));
    hashed.await?.map_err(|error| PasswordError::Hash(error.to_string()))
}

/// True if `password` is the one that `stored` is the hash of. Takes as long where there is no hash.
pub(super) async fn verify(password: &str, stored: Option<&str>) -> Result<bool, PasswordError> {
    let has_password = stored.is_some();
    let stored = stored.unwrap_or(NOBODYS).to_owned();
    // A longer one was never stored; it is cut so that the time stays bounded, and refused below.
    let password: Vec<u8> = password.bytes().take(PASSWORD_MAX + 1).collect();
    let fits = password.len() <= PASSWORD_MAX;
    let matches = slowly(move || {
        let stored = PasswordHash::new(&stored)?;
        match Argon2::default().verify_password(&password, &stored) {
            Ok(()) => Ok(true),
            Err(argon2::password_hash::Error::PasswordInvalid) => Ok(false),
            Err(error) => Err(error),
        }
    });
    let matches = matches.await?.map_err(|error| PasswordError::Hash(error.to_string()))?;
    Ok(matches && has_password && fits)
}

/// True if that is the user's password.
pub async fn password_is(db: &Db, user: UserId, password: &str) -> Result<bool, PasswordError> {
    let stored = user_password_hash(&mut *db.read().await?, user).await?;
    verify(password, stored.as_deref()).await
}

/// Sets a user's password. Their sessions end by it.
pub async fn password_set(db: &Db, user: UserId, password: &str) -> Result<(), PasswordError> {
    let hash = hash(password).await?;
    let mut tx = db.write().await?;
    user_set_password_hash(&mut tx, user, &hash).await?;
    let name = user_get(&mut tx, user).await?.map(|user| user.username).unwrap_or_default();
    let line = format!("changed the password of {name}");
    let deed = Deed::new(AuditKind::User, AuditCategory::Modified, "Password", line).on(user);
    deed.write(&mut tx, SpaceId::DEFAULT, SystemClock.now()).await?;
    Ok(tx.commit().await.map_err(DbError::from)?)
}

async fn slowly<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, PasswordError> {
    let failed = |error: &dyn ToString| PasswordError::Hash(error.to_string());
    let _turn = HASHES.acquire().await.map_err(|error| failed(&error))?;
    tokio::task::spawn_blocking(work).await.map_err(|error| failed(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_password_itself_matches_its_hash() {
        let stored = hash("correct horse battery").await.unwrap();
        assert!(stored.starts_with("$argon2id$"), "{stored}");
        assert!(verify("correct horse battery", Some(&stored)).await.unwrap());
        assert!(!verify("correct horse batterx", Some(&stored)).await.unwrap());
        assert!(!verify("", Some(&stored)).await.unwrap());
    }

    #[tokio::test]
    async fn nobody_has_no_password() {
        assert!(!verify("", None).await.unwrap());
        assert!(!verify("correct horse battery", None).await.unwrap());
    }

    #[tokio::test]
    async fn short_and_endless_passwords_are_refused() {
        assert!(matches!(hash("elf letters").await, Err(PasswordError::TooShort)));
        assert!(matches!(hash(&"x".repeat(PASSWORD_MAX + 1)).await, Err(PasswordError::TooLong)));
        assert!(!verify(&"x".repeat(PASSWORD_MAX + 1), None).await.unwrap());
    }
}
