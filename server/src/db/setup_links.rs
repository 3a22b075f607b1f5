//! The table `setup_links`: links that let their bearer choose a user's password, once. Only hashes of tokens are kept.

use super::{Connection, DbError};
use crate::clock::Timestamp;
use crate::ids::UserId;

/// Adds a link, and makes every earlier one of that user useless.
pub async fn setup_link_insert(
    conn: &mut Connection,
    user: UserId,
    token_hash: &str,
    now: Timestamp,
) -> Result<(), DbError> {
    sqlx::query("DELETE FROM setup_links WHERE user_id = $1").bind(user).execute(&mut *conn).await?;
    sqlx::query("INSERT INTO setup_links (token_hash, user_id, created_at) VALUES ($1, $2, $3)")
        .bind(token_hash)
        .bind(user)
        .bind(now)
        .execute(conn)
        .await?;
    Ok(())
}

/// Whose link it is, if it was made at or after `oldest` and was not used.
pub async fn setup_link_get(
    conn: &mut Connection,
    token_hash: &str,
    oldest: Timestamp,
) -> Result<Option<UserId>, DbError> {
    let user = sqlx::query_scalar(
        "SELECT user_id FROM setup_links WHERE token_hash = $1 AND used_at IS NULL AND created_at >= $2",
    );
    Ok(user.bind(token_hash).bind(oldest).fetch_optional(conn).await?)
}

/// Uses a link up. `None` where [`setup_link_get`] finds nothing, so of two who use it one wins.
pub async fn setup_link_use(
    conn: &mut Connection,
    token_hash: &str,
    oldest: Timestamp,
    now: Timestamp,
) -> Result<Option<UserId>, DbError> {
    let user = sqlx::query_scalar(
        "UPDATE setup_links SET used_at = $3 WHERE token_hash = $1 AND used_at IS NULL AND created_at >= $2
         RETURNING user_id",
    );
    Ok(user.bind(token_hash).bind(oldest).bind(now).fetch_optional(conn).await?)
}
