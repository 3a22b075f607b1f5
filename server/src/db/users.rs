//! The table `users`. Password hashes go in and out by functions of their own, so that no value carries them about.

use super::{Connection, DbError, Refusal};
use crate::clock::Timestamp;
use crate::ids::UserId;
use crate::model::User;

#[derive(sqlx::FromRow)]
struct Row {
    id: UserId,
    username: String,
    password_hash: Option<String>,
    created_at: Timestamp,
}

impl From<Row> for User {
    fn from(row: Row) -> Self {
        let has_password = row.password_hash.is_some();
        Self { id: row.id, username: row.username, has_password, created_at: row.created_at }
    }
}

/// The users, by name.
pub async fn user_list(conn: &mut Connection) -> Result<Vec<User>, DbError> {
    let rows: Vec<Row> = sqlx::query_as("SELECT * FROM users ORDER BY username_key").fetch_all(conn).await?;
    Ok(rows.into_iter().map(User::from).collect())
}

/// One user.
pub async fn user_get(conn: &mut Connection, id: UserId) -> Result<Option<User>, DbError> {
    let row: Option<Row> = sqlx::query_as("SELECT * FROM users WHERE id = $1").bind(id).fetch_optional(conn).await?;
    Ok(row.map(User::from))
}

/// The user of that name, without regard to case.
pub async fn user_by_name(conn: &mut Connection, username: &str) -> Result<Option<User>, DbError> {
    let row: Option<Row> = sqlx::query_as("SELECT * FROM users WHERE username_key = $1")
        .bind(username.to_lowercase())
        .fetch_optional(conn)
        .await?;
    Ok(row.map(User::from))
}

/// Adds a user without a password.
pub async fn user_insert(conn: &mut Connection, username: &str, now: Timestamp) -> Result<User, DbError> {
    let taken = || Refusal::NameTaken { what: "a user", name: username.to_owned() };
    let row: Row =
        sqlx::query_as("INSERT INTO users (username, username_key, created_at) VALUES ($1, $2, $3) RETURNING *")
            .bind(username)
            .bind(username.to_lowercase())
            .bind(now)
            .fetch_one(conn)
            .await
            .map_err(|error| DbError::or_taken(error, taken))?;
    Ok(row.into())
}

/// The hash of a user's password; `None` for a user that has none or is not there.
pub async fn user_password_hash(conn: &mut Connection, id: UserId) -> Result<Option<String>, DbError> {
    let hash: Option<Option<String>> =
        sqlx::query_scalar("SELECT password_hash FROM users WHERE id = $1").bind(id).fetch_optional(conn).await?;
    Ok(hash.flatten())
}

/// Writes the hash of a user's password.
pub async fn user_set_password_hash(conn: &mut Connection, id: UserId, hash: &str) -> Result<(), DbError> {
    sqlx::query("UPDATE users SET password_hash = $2 WHERE id = $1").bind(id).bind(hash).execute(conn).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestDb;

    #[tokio::test]
    async fn a_user_is_found_without_regard_to_case() {
        let db = TestDb::new().await;
        let mut tx = db.write().await.unwrap();
        let user = user_insert(&mut tx, "Ada", Timestamp(1)).await.unwrap();
        assert!(!user.has_password);
        assert!(user_insert(&mut tx, "ADA", Timestamp(1)).await.unwrap_err().is_duplicate());
        user_set_password_hash(&mut tx, user.id, "hash").await.unwrap();
        assert_eq!(user_password_hash(&mut tx, user.id).await.unwrap().as_deref(), Some("hash"));
        assert!(user_by_name(&mut tx, "aDA").await.unwrap().unwrap().has_password);
    }
}
