//! The table `api_keys`. Only SHA-256 hashes of keys are kept.

use super::{Connection, DbError};
use crate::clock::Timestamp;
use crate::ids::{ApiKeyId, UserId};
use crate::model::{ApiKey, KeyWish, Scope};

#[derive(sqlx::FromRow)]
struct Row {
    id: ApiKeyId,
    user_id: UserId,
    purpose: String,
    scope: String,
    created_at: Timestamp,
    revoked_at: Option<Timestamp>,
    expires_at: Option<Timestamp>,
}

impl TryFrom<Row> for ApiKey {
    type Error = DbError;

    fn try_from(row: Row) -> Result<Self, DbError> {
        Ok(Self {
            id: row.id,
            user: row.user_id,
            purpose: row.purpose,
            scope: Scope::from_word(&row.scope).ok_or_else(|| DbError::damaged("api_keys.scope", &row.scope))?,
            created_at: row.created_at,
            revoked_at: row.revoked_at,
            expires_at: row.expires_at,
        })
    }
}

/// Adds a key by its hash.
pub async fn api_key_insert(
    conn: &mut Connection,
    user: UserId,
    key_hash: &str,
    wish: &KeyWish<'_>,
    now: Timestamp,
) -> Result<ApiKey, DbError> {
    let row: Row = sqlx::query_as(
        "INSERT INTO api_keys (user_id, key_hash, purpose, scope, created_at, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6) RETURNING *",
    )
    .bind(user)
    .bind(key_hash)
    .bind(wish.purpose)
    .bind(wish.scope.word())
    .bind(now)
    .bind(wish.expires_at)
    .fetch_one(conn)
    .await?;
    row.try_into()
}

/// The key with that hash if it works at `now`, the hash as it is stored, and its user's name.
pub async fn api_key_by_hash(
    conn: &mut Connection,
    key_hash: &str,
    now: Timestamp,
) -> Result<Option<(ApiKey, String, String)>, DbError> {
    #[derive(sqlx::FromRow)]
    struct Found {
        #[sqlx(flatten)]
        key: Row,
        key_hash: String,
        username: String,
    }
    let found: Option<Found> = sqlx::query_as(
        "SELECT k.*, u.username FROM api_keys k JOIN users u ON u.id = k.user_id
         WHERE k.key_hash = $1 AND k.revoked_at IS NULL",
    )
    .bind(key_hash)
    .fetch_optional(conn)
    .await?;
    let found = found.filter(|found| found.key.expires_at.is_none_or(|end| now < end));
    found.map(|found| Ok((found.key.try_into()?, found.key_hash, found.username))).transpose()
}

/// The keys of a user, newest first.
pub async fn api_key_list(conn: &mut Connection, user: UserId) -> Result<Vec<ApiKey>, DbError> {
    let rows: Vec<Row> =
        sqlx::query_as("SELECT * FROM api_keys WHERE user_id = $1 ORDER BY id DESC").bind(user).fetch_all(conn).await?;
    rows.into_iter().map(ApiKey::try_from).collect()
}

/// The keys of all users up to a number that were not revoked, with their users' names: by user, newest first.
pub async fn api_key_list_through(conn: &mut Connection, through: i64) -> Result<Vec<(ApiKey, String)>, DbError> {
    #[derive(sqlx::FromRow)]
    struct Found {
        #[sqlx(flatten)]
        key: Row,
        username: String,
    }
    let found: Vec<Found> = sqlx::query_as(
        "SELECT k.*, u.username FROM api_keys k JOIN users u ON u.id = k.user_id
         WHERE k.id <= $1 AND k.revoked_at IS NULL ORDER BY u.username, k.id DESC",
    )
    .bind(through)
    .fetch_all(conn)
    .await?;
    found.into_iter().map(|found| Ok((found.key.try_into()?, found.username))).collect()
}

/// Revokes a key for ever. False if there is no such working key of that user.
pub async fn api_key_revoke(
    conn: &mut Connection,
    user: UserId,
    id: ApiKeyId,
    now: Timestamp,
) -> Result<bool, DbError> {
    let done = sqlx::query("UPDATE api_keys SET revoked_at = $3 WHERE user_id = $1 AND id = $2 AND revoked_at IS NULL")
        .bind(user)
        .bind(id)
        .bind(now)
        .execute(conn)
        .await?;
    Ok(done.rows_affected() > 0)
}
