//! The table `users`. Password hashes go in and out by functions of their own, so that no value carries them about.

use std::collections::BTreeSet;

use super::{Connection, DbError, Refusal};
use crate::clock::Timestamp;
use crate::ids::{EnvironmentId, UserId};
use crate::model::{Reach, Role, User};

/// Longest name of a user, in characters. A longer one is refused.
const NAME_MAX: usize = 100;

#[derive(sqlx::FromRow)]
struct Row {
    id: UserId,
    username: String,
    password_hash: Option<String>,
    role: String,
    is_everywhere: bool,
    is_disabled: bool,
    created_at: Timestamp,
}

impl Row {
    fn read(self, environments: BTreeSet<EnvironmentId>) -> Result<User, DbError> {
        let role = match self.role.as_str() {
            "viewer" => Role::Viewer,
            "operator" if self.is_everywhere => Role::Operator(Reach::Everywhere),
            "operator" => Role::Operator(Reach::Only(environments)),
            "administrator" => Role::Administrator,
            other => return Err(DbError::damaged("users.role", other)),
        };
        let has_password = self.password_hash.is_some();
        let (id, username, created_at) = (self.id, self.username, self.created_at);
        Ok(User { id, username, has_password, role, is_disabled: self.is_disabled, created_at })
    }
}

async fn with_environments(conn: &mut Connection, row: Option<Row>) -> Result<Option<User>, DbError> {
    let Some(row) = row else { return Ok(None) };
    let sql = "SELECT environment_id FROM user_environments WHERE user_id = $1";
    let environments: Vec<EnvironmentId> = sqlx::query_scalar(sql).bind(row.id).fetch_all(conn).await?;
    row.read(environments.into_iter().collect()).map(Some)
}

/// The users, by name.
pub async fn user_list(conn: &mut Connection) -> Result<Vec<User>, DbError> {
    let rows: Vec<Row> = sqlx::query_as("SELECT * FROM users ORDER BY username_key").fetch_all(&mut *conn).await?;
    let sql = "SELECT user_id, environment_id FROM user_environments";
    let pairs: Vec<(UserId, EnvironmentId)> = sqlx::query_as(sql).fetch_all(conn).await?;
    let own = |id| pairs.iter().filter(|(user, _)| *user == id).map(|(_, environment)| *environment).collect();
    rows.into_iter()
        .map(|row| {
            let own = own(row.id);
            row.read(own)
        })
        .collect()
}

/// One user.
pub async fn user_get(conn: &mut Connection, id: UserId) -> Result<Option<User>, DbError> {
    let row = sqlx::query_as("SELECT * FROM users WHERE id = $1").bind(id).fetch_optional(&mut *conn).await?;
    with_environments(conn, row).await
}

/// The user of that name, without regard to case.
pub async fn user_by_name(conn: &mut Connection, username: &str) -> Result<Option<User>, DbError> {
    let query = sqlx::query_as("SELECT * FROM users WHERE username_key = $1").bind(username.to_lowercase());
    let row = query.fetch_optional(&mut *conn).await?;
    with_environments(conn, row).await
}

/// Adds a user without a password.
pub async fn user_insert(conn: &mut Connection, username: &str, role: &Role, now: Timestamp) -> Result<User, DbError> {
    let unfit = username.trim().is_empty() || username.chars().count() > NAME_MAX;
    if unfit || username.chars().any(char::is_control) {
        return Err(Refusal::NameUnfit { what: "a user", max: NAME_MAX }.into());
    }
    let taken = || Refusal::NameTaken { what: "a user", name: username.to_owned() };
    let sql = "INSERT INTO users (username, username_key, created_at) VALUES ($1, $2, $3) RETURNING id";
    let id: UserId = sqlx::query_scalar(sql)
        .bind(username.trim())
        .bind(username.trim().to_lowercase())
        .bind(now)
        .fetch_one(&mut *conn)
        .await
        .map_err(|error| DbError::or_taken(error, taken))?;
    user_set_role(conn, id, role).await?;
    user_get(conn, id).await?.ok_or_else(|| DbError::damaged("users.id", id))
}

/// Writes what a user may do from now on.
pub async fn user_set_role(conn: &mut Connection, id: UserId, role: &Role) -> Result<(), DbError> {
    let is_everywhere = *role == Role::Operator(Reach::Everywhere);
    let sql = "UPDATE users SET role = $2, is_everywhere = $3 WHERE id = $1";
    sqlx::query(sql).bind(id).bind(role.word()).bind(is_everywhere).execute(&mut *conn).await?;
    sqlx::query("DELETE FROM user_environments WHERE user_id = $1").bind(id).execute(&mut *conn).await?;
    if let Role::Operator(Reach::Only(environments)) = role {
        for environment in environments {
            // One that was deleted meanwhile is left out.
            let sql =
                "INSERT INTO user_environments (user_id, environment_id) SELECT $1, id FROM environments WHERE id = $2";
            sqlx::query(sql).bind(id).bind(environment).execute(&mut *conn).await?;
        }
    }
    Ok(())
}

/// Lets a user in, or not.
pub async fn user_set_disabled(conn: &mut Connection, id: UserId, is_disabled: bool) -> Result<(), DbError> {
    let sql = "UPDATE users SET is_disabled = $2 WHERE id = $1";
    sqlx::query(sql).bind(id).bind(is_disabled).execute(conn).await?;
    Ok(())
}

/// How many administrators can log in, besides one user.
pub async fn user_other_administrators(conn: &mut Connection, id: UserId) -> Result<i64, DbError> {
    let sql = "SELECT COUNT(*) FROM users WHERE role = 'administrator' AND is_disabled = FALSE AND id <> $1";
    Ok(sqlx::query_scalar(sql).bind(id).fetch_one(conn).await?)
}

/// Ends all sessions of a user that began before a moment.
pub async fn user_end_sessions(conn: &mut Connection, id: UserId, before: Timestamp) -> Result<(), DbError> {
    sqlx::query("UPDATE users SET sessions_from = $2 WHERE id = $1").bind(id).bind(before).execute(conn).await?;
    Ok(())
}

/// The moment from which sessions of a user last.
pub async fn user_sessions_from(conn: &mut Connection, id: UserId) -> Result<Timestamp, DbError> {
    let sql = "SELECT sessions_from FROM users WHERE id = $1";
    let from: Option<Timestamp> = sqlx::query_scalar(sql).bind(id).fetch_optional(conn).await?;
    Ok(from.unwrap_or(Timestamp(0)))
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

/// True if anybody has chosen a password.
pub async fn user_any_password(conn: &mut Connection) -> Result<bool, DbError> {
    let sql = "SELECT COUNT(*) FROM users WHERE password_hash IS NOT NULL";
    let count: i64 = sqlx::query_scalar(sql).fetch_one(conn).await?;
    Ok(count > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::environments::{environment_delete, environment_insert};
    use crate::ids::SpaceId;
    use crate::model::NewEnvironment;
    use crate::testing::TestDb;

    #[tokio::test]
    async fn a_user_is_found_without_regard_to_case() {
        let db = TestDb::new().await;
        let mut tx = db.write().await.unwrap();
        let user = user_insert(&mut tx, "Ada", &Role::Viewer, Timestamp(1)).await.unwrap();
        assert!(!user.has_password);
        assert!(user_insert(&mut tx, "ADA", &Role::Viewer, Timestamp(1)).await.unwrap_err().is_duplicate());
        user_set_password_hash(&mut tx, user.id, "hash").await.unwrap();
        assert_eq!(user_password_hash(&mut tx, user.id).await.unwrap().as_deref(), Some("hash"));
        assert!(user_by_name(&mut tx, "aDA").await.unwrap().unwrap().has_password);
    }

    #[tokio::test]
    async fn a_role_is_read_as_it_was_written_and_an_environment_that_goes_takes_its_part() {
        let db = TestDb::new().await;
        let mut tx = db.write().await.unwrap();
        let mut ids = Vec::new();
        for name in ["A", "B"] {
            let (name, description) = (name.parse().unwrap(), String::new());
            let new = NewEnvironment { name, description, sort_order: None, is_disabled: false };
            ids.push(environment_insert(&mut tx, SpaceId::DEFAULT, &new).await.unwrap().id);
        }
        let only = |ids: &[EnvironmentId]| Role::Operator(Reach::Only(ids.iter().copied().collect()));
        let user = user_insert(&mut tx, "ada", &only(&ids), Timestamp(1)).await.unwrap();
        assert_eq!(user.role, only(&ids));
        for role in [Role::Administrator, Role::Operator(Reach::Everywhere), Role::Viewer, only(&ids)] {
            user_set_role(&mut tx, user.id, &role).await.unwrap();
            assert_eq!(user_get(&mut tx, user.id).await.unwrap().unwrap().role, role);
            assert_eq!(user_list(&mut tx).await.unwrap()[0].role, role);
        }
        for (gone, left) in [(ids[0], &ids[1..]), (ids[1], &[][..])] {
            environment_delete(&mut tx, SpaceId::DEFAULT, gone).await.unwrap();
            assert_eq!(user_get(&mut tx, user.id).await.unwrap().unwrap().role, only(left), "never everywhere");
        }
    }
}
