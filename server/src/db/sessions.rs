//! The table `sessions`, which survives restarts. A session's id is a secret: only its hash is kept.

use super::{Connection, DbError};
use crate::clock::Timestamp;

/// Adds a session. False if the id is taken.
pub async fn session_insert(
    conn: &mut Connection,
    id_hash: &str,
    data: &str,
    expires_at: Timestamp,
) -> Result<bool, DbError> {
    let done =
        sqlx::query("INSERT INTO sessions (id, data, expires_at) VALUES ($1, $2, $3) ON CONFLICT (id) DO NOTHING")
            .bind(id_hash)
            .bind(data)
            .bind(expires_at)
            .execute(conn)
            .await?;
    Ok(done.rows_affected() > 0)
}

/// Writes a session that is there. One that was deleted meanwhile stays deleted.
pub async fn session_update(
    conn: &mut Connection,
    id_hash: &str,
    data: &str,
    expires_at: Timestamp,
) -> Result<(), DbError> {
    sqlx::query("UPDATE sessions SET data = $2, expires_at = $3 WHERE id = $1")
        .bind(id_hash)
        .bind(data)
        .bind(expires_at)
        .execute(conn)
        .await?;
    Ok(())
}

/// A session's data and when it expires; `None` if it is not there or expired at `now`.
pub async fn session_get(
    conn: &mut Connection,
    id_hash: &str,
    now: Timestamp,
) -> Result<Option<(String, Timestamp)>, DbError> {
    let row = sqlx::query_as("SELECT data, expires_at FROM sessions WHERE id = $1 AND expires_at > $2");
    Ok(row.bind(id_hash).bind(now).fetch_optional(conn).await?)
}

/// Deletes a session, whether or not it is there.
pub async fn session_delete(conn: &mut Connection, id_hash: &str) -> Result<(), DbError> {
    sqlx::query("DELETE FROM sessions WHERE id = $1").bind(id_hash).execute(conn).await?;
    Ok(())
}

/// Deletes the sessions that expired at `now`, and says how many.
pub async fn session_delete_expired(conn: &mut Connection, now: Timestamp) -> Result<u64, DbError> {
    Ok(sqlx::query("DELETE FROM sessions WHERE expires_at <= $1").bind(now).execute(conn).await?.rows_affected())
}
