//! The table `space_settings`: numbers that people set for a space, by name.

use std::collections::BTreeMap;

use super::{Connection, DbError};
use crate::ids::SpaceId;

/// Every number that was set.
pub async fn space_setting_list(conn: &mut Connection, space: SpaceId) -> Result<BTreeMap<String, i64>, DbError> {
    let sql = "SELECT name, value FROM space_settings WHERE space_id = $1";
    let rows: Vec<(String, i64)> = sqlx::query_as(sql).bind(space).fetch_all(conn).await?;
    Ok(rows.into_iter().collect())
}

/// Sets a number; without one, what the portal was started with holds again.
pub async fn space_setting_put(
    conn: &mut Connection,
    space: SpaceId,
    name: &str,
    value: Option<i64>,
) -> Result<(), DbError> {
    let Some(value) = value else {
        let sql = "DELETE FROM space_settings WHERE space_id = $1 AND name = $2";
        sqlx::query(sql).bind(space).bind(name).execute(conn).await?;
        return Ok(());
    };
    let sql = "INSERT INTO space_settings (space_id, name, value) VALUES ($1, $2, $3)
               ON CONFLICT (space_id, name) DO UPDATE SET value = excluded.value";
    sqlx::query(sql).bind(space).bind(name).bind(value).execute(conn).await?;
    Ok(())
}
