//! API keys: `API-` and 32 characters from 160 random bits. Shown once; only their hash is kept.

use serde_json::{Value, json};
use subtle::ConstantTimeEq as _;

use super::{Principal, Via, random};
use crate::audit::Deed;
use crate::clock::Timestamp;
use crate::db::api_keys::{api_key_by_hash, api_key_insert};
use crate::db::users::user_get;
use crate::db::{Connection, DbError};
use crate::error::ApiError;
use crate::ids::{SpaceId, UserId};
use crate::model::{ApiKey, AuditCategory, AuditKind, KeyWish};
use crate::restored::{WHAT_TO_DO, api_key_rests};

/// How every key begins; existing clients look for it.
const PREFIX: &str = "API-";

/// Characters after the prefix.
const LENGTH: usize = 32;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum ApiKeyError {
    /// The operating system gave no random bits.
    #[error("the operating system gives no random numbers")]
    Random(#[from] rand::rngs::SysError),
    /// It could not be stored.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Makes a key for a user and returns it, with its text: the only time that anybody sees that.
pub async fn api_key_create(
    conn: &mut Connection,
    user: UserId,
    wish: &KeyWish<'_>,
    now: Timestamp,
) -> Result<(ApiKey, String), ApiKeyError> {
    let key = format!("{PREFIX}{}", random::secret()?);
    let made = api_key_insert(conn, user, &random::hash(&key), wish, now).await?;
    let owner = user_get(conn, user).await?.map(|user| user.username).unwrap_or_default();
    let line = format!("made an API key for {owner}: {}", wish.purpose);
    let deed = Deed::new(AuditKind::ApiKey, AuditCategory::Created, "Create", line).on(made.id).on(user);
    let expires = wish.expires_at.map(|at| at.rfc3339());
    let after = json!({ "Purpose": wish.purpose, "Scope": wish.scope.word(), "Expires": expires });
    deed.changed(Value::Null, after).write(conn, SpaceId::DEFAULT, now).await?;
    Ok((made, key))
}

/// Whose working key it is; `None` for every other text. A key of a backup that nobody has confirmed is refused in words.
pub(super) async fn principal(conn: &mut Connection, key: &str, now: Timestamp) -> Result<Option<Principal>, ApiError> {
    let Some(secret) = key.strip_prefix(PREFIX) else { return Ok(None) };
    if secret.len() != LENGTH || !secret.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit()) {
        return Ok(None);
    }
    let hash = random::hash(key);
    let found = api_key_by_hash(conn, &hash, now).await?;
    let found = found.filter(|(_, stored, _)| bool::from(stored.as_bytes().ct_eq(hash.as_bytes())));
    let Some((key, _, username)) = found else { return Ok(None) };
    let Some(user) = user_get(conn, key.user).await?.filter(|user| !user.is_disabled) else { return Ok(None) };
    if let Some(reason) = api_key_rests(conn, key.id).await? {
        let message = format!("This API key is suspended, because {reason}. {WHAT_TO_DO}.");
        return Err(ApiError::new(http::StatusCode::UNAUTHORIZED, message));
    }
    let via = Via::ApiKey { id: key.id, scope: key.scope };
    Ok(Some(Principal { user: user.id, username, role: user.role, via, space: SpaceId::DEFAULT }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::api_keys::{api_key_list, api_key_revoke};
    use crate::db::users::{user_insert, user_set_disabled};
    use crate::model::{Role, Scope};
    use crate::testing::TestDb;

    const WISH: KeyWish<'_> = KeyWish { purpose: "tests", scope: Scope::Register, expires_at: None };

    #[tokio::test]
    async fn a_key_works_until_it_is_revoked_and_is_stored_nowhere() {
        let db = TestDb::new().await;
        let mut tx = db.write().await.unwrap();
        let user = user_insert(&mut tx, "admin", &Role::Administrator, Timestamp(0)).await.unwrap();
        let key = api_key_create(&mut tx, user.id, &WISH, Timestamp(1)).await.unwrap().1;
        assert!(key.len() == 36 && key.starts_with("API-"), "{key}");
        let found = principal(&mut tx, &key, Timestamp(9)).await.unwrap().unwrap();
        assert_eq!((found.user, found.username.as_str()), (user.id, "admin"));
        let Via::ApiKey { id, scope: Scope::Register } = found.via else { panic!("{found:?}") };
        let listed = api_key_list(&mut tx, user.id).await.unwrap();
        assert!(!format!("{listed:?}").contains(&key));
        user_set_disabled(&mut tx, user.id, true).await.unwrap();
        assert_eq!(principal(&mut tx, &key, Timestamp(9)).await.unwrap(), None, "its user was disabled");
        user_set_disabled(&mut tx, user.id, false).await.unwrap();
        assert!(api_key_revoke(&mut tx, user.id, id, Timestamp(2)).await.unwrap());
        assert!(!api_key_revoke(&mut tx, user.id, id, Timestamp(3)).await.unwrap());
        assert_eq!(principal(&mut tx, &key, Timestamp(9)).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_key_with_an_end_works_until_then() {
        let db = TestDb::new().await;
        let mut tx = db.write().await.unwrap();
        let user = user_insert(&mut tx, "admin", &Role::Administrator, Timestamp(0)).await.unwrap();
        let wish = KeyWish { expires_at: Some(Timestamp(5)), ..WISH };
        let (made, key) = api_key_create(&mut tx, user.id, &wish, Timestamp(1)).await.unwrap();
        assert!(principal(&mut tx, &key, Timestamp(4)).await.unwrap().is_some() && made.works(Timestamp(4)));
        assert!(principal(&mut tx, &key, Timestamp(5)).await.unwrap().is_none() && !made.works(Timestamp(5)));
    }

    #[tokio::test]
    async fn other_texts_are_no_keys() {
        let db = TestDb::new().await;
        let mut conn = db.read().await.unwrap();
        for text in ["", "API-", "api-AAAA", &format!("API-{}", "A".repeat(32)), &format!("API-{}", "é".repeat(16))] {
            assert_eq!(principal(&mut conn, text, Timestamp(0)).await.unwrap(), None, "{text}");
        }
    }
}
