//! The table `settings`: what the portal keeps of itself, by name.

use super::{Connection, DbError};

/// The name of the portal's own id, made at its first start and part of its backup.
pub const INSTALLATION_ID: &str = "installation_id";

/// A setting; `None` where it was never set.
pub async fn setting_get(conn: &mut Connection, name: &str) -> Result<Option<String>, DbError> {
    Ok(sqlx::query_scalar("SELECT value FROM settings WHERE name = $1").bind(name).fetch_optional(conn).await?)
}

/// Writes a setting, whether or not it was there.
pub async fn setting_set(conn: &mut Connection, name: &str, value: &str) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
    )
    .bind(name)
    .bind(value)
    .execute(conn)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestDb;

    #[tokio::test]
    async fn a_setting_is_what_was_written_last() {
        let db = TestDb::new().await;
        let mut tx = db.write().await.unwrap();
        assert_eq!(setting_get(&mut tx, "a").await.unwrap(), None);
        setting_set(&mut tx, "a", "1").await.unwrap();
        setting_set(&mut tx, "a", "2").await.unwrap();
        assert_eq!(setting_get(&mut tx, "a").await.unwrap().as_deref(), Some("2"));
    }
}
