//! The table `idempotency_keys`: requests that are answered once, however often they are sent.

use super::{Connection, DbError};
use crate::clock::Timestamp;

/// What is known of a key.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct KnownKey {
    /// The hash of the request that it came with.
    pub fingerprint: String,
    /// The status of the answer; `None` while it is not known.
    pub status: Option<i64>,
    /// The body of the answer; `None` where it is not kept.
    pub body: Option<String>,
}

/// What is known of a key, if it is no older than `since`.
pub async fn idempotency_get(
    conn: &mut Connection,
    key_hash: &str,
    since: Timestamp,
) -> Result<Option<KnownKey>, DbError> {
    let sql = "SELECT fingerprint, status, body FROM idempotency_keys WHERE key_hash = $1 AND created_at >= $2";
    Ok(sqlx::query_as(sql).bind(key_hash).bind(since).fetch_optional(conn).await?)
}

/// Writes a key down whose request is not answered yet, and forgets those that are older than `since`.
pub async fn idempotency_begin(
    conn: &mut Connection,
    key_hash: &str,
    fingerprint: &str,
    now: Timestamp,
    since: Timestamp,
) -> Result<(), DbError> {
    sqlx::query("DELETE FROM idempotency_keys WHERE created_at < $1").bind(since).execute(&mut *conn).await?;
    let sql = "INSERT INTO idempotency_keys (key_hash, fingerprint, created_at) VALUES ($1, $2, $3)";
    sqlx::query(sql).bind(key_hash).bind(fingerprint).bind(now).execute(conn).await?;
    Ok(())
}

/// Writes the answer down.
pub async fn idempotency_end(
    conn: &mut Connection,
    key_hash: &str,
    status: u16,
    body: Option<&str>,
) -> Result<(), DbError> {
    let sql = "UPDATE idempotency_keys SET status = $2, body = $3 WHERE key_hash = $1";
    sqlx::query(sql).bind(key_hash).bind(i64::from(status)).bind(body).execute(conn).await?;
    Ok(())
}

/// Forgets a key whose request changed nothing: it may be sent again.
pub async fn idempotency_forget(conn: &mut Connection, key_hash: &str) -> Result<(), DbError> {
    sqlx::query("DELETE FROM idempotency_keys WHERE key_hash = $1").bind(key_hash).execute(conn).await?;
    Ok(())
}
