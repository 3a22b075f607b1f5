//! The tables `registration_keys`, `registration_key_environments` and `registration_uses`. Only SHA-256 hashes of keys
//! are kept.

use std::collections::HashMap;

use super::{Connection, DbError};
use crate::clock::Timestamp;
use crate::ids::{EnvironmentId, MachineId, RegistrationKeyId, SpaceId, UserId};
use crate::model::{KeyUse, RegistrationKey, UseOutcome};

/// Keys that a list shows at most; older ones stay in the table.
const LISTED_MAX: u32 = 100;

/// Uses of one key that came to nothing and are kept; older ones are forgotten, so that nobody fills the table with a
/// key that works no more. Uses that added a machine are bounded by the key itself.
const REFUSED_KEPT: u32 = 100;

/// A key to be added.
#[derive(Clone, Debug)]
pub struct NewRegistrationKey<'a> {
    /// Who makes it.
    pub user: UserId,
    /// Its hash.
    pub key_hash: &'a str,
    /// Where its machines come.
    pub environments: &'a [EnvironmentId],
    /// The roles that they get; none holds a comma.
    pub roles: &'a [String],
    /// How many machines it may add.
    pub machines_max: u32,
    /// When it stops working.
    pub expires_at: Timestamp,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: RegistrationKeyId,
    space_id: SpaceId,
    user_id: UserId,
    username: String,
    roles: String,
    machines_max: i64,
    machines_used: i64,
    created_at: Timestamp,
    expires_at: Timestamp,
    revoked_at: Option<Timestamp>,
    revoked_by: Option<String>,
}

impl Row {
    fn key(self, environments: Vec<EnvironmentId>) -> Result<RegistrationKey, DbError> {
        let number = |what: &str, value: i64| u32::try_from(value).map_err(|_| DbError::damaged(what, value));
        Ok(RegistrationKey {
            id: self.id,
            space: self.space_id,
            user: self.user_id,
            username: self.username,
            environments,
            roles: self.roles.split(',').filter(|role| !role.is_empty()).map(str::to_owned).collect(),
            machines_max: number("registration_keys.machines_max", self.machines_max)?,
            machines_used: number("registration_keys.machines_used", self.machines_used)?,
            created_at: self.created_at,
            expires_at: self.expires_at,
            revoked: self.revoked_at.map(|at| (at, self.revoked_by.unwrap_or_default())),
        })
    }
}

/// Adds a key by its hash.
pub async fn registration_key_insert(
    conn: &mut Connection,
    space: SpaceId,
    new: &NewRegistrationKey<'_>,
    now: Timestamp,
) -> Result<RegistrationKeyId, DbError> {
    let id: RegistrationKeyId = sqlx::query_scalar(
        "INSERT INTO registration_keys (space_id, user_id, key_hash, roles, machines_max, created_at, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING id",
    )
    .bind(space)
    .bind(new.user)
    .bind(new.key_hash)
    .bind(new.roles.join(","))
    .bind(i64::from(new.machines_max))
    .bind(now)
    .bind(new.expires_at)
    .fetch_one(&mut *conn)
    .await?;
    for environment in new.environments {
        let sql = "INSERT INTO registration_key_environments (key_id, environment_id) VALUES ($1, $2)
                   ON CONFLICT DO NOTHING";
        sqlx::query(sql).bind(id).bind(environment).execute(&mut *conn).await?;
    }
    Ok(id)
}

/// Loads the keys that the end of a statement selects.
macro_rules! load {
    ($conn:expr, $condition:literal, $($value:expr),+) => {{
        let rows: Vec<Row> = sqlx::query_as(concat!(
            "SELECT k.*, u.username FROM registration_keys k JOIN users u ON u.id = k.user_id WHERE ", $condition
        ))
        $(.bind($value))+.fetch_all(&mut *$conn).await?;
        let mut keys = Vec::with_capacity(rows.len());
        for row in rows {
            let sql = "SELECT e.id FROM registration_key_environments k JOIN environments e ON e.id = k.environment_id
                       WHERE k.key_id = $1 ORDER BY e.sort_order, e.id";
            let environments = sqlx::query_scalar(sql).bind(row.id).fetch_all(&mut *$conn).await?;
            keys.push(row.key(environments)?);
        }
        keys
    }};
}

/// The keys of a space, newest first.
pub async fn registration_key_list(conn: &mut Connection, space: SpaceId) -> Result<Vec<RegistrationKey>, DbError> {
    Ok(load!(conn, "k.space_id = $1 ORDER BY k.id DESC LIMIT $2", space, LISTED_MAX))
}

/// One key.
pub async fn registration_key_get(
    conn: &mut Connection,
    space: SpaceId,
    id: RegistrationKeyId,
) -> Result<Option<RegistrationKey>, DbError> {
    Ok(load!(conn, "k.space_id = $1 AND k.id = $2", space, id).pop())
}

/// The key with that hash, whether it works or not.
pub async fn registration_key_by_hash(
    conn: &mut Connection,
    key_hash: &str,
) -> Result<Option<RegistrationKey>, DbError> {
    Ok(load!(conn, "k.key_hash = $1", key_hash).pop())
}

/// Counts one machine. False where the key may add no more, so of two who use the last one up one wins.
pub async fn registration_key_count(
    conn: &mut Connection,
    id: RegistrationKeyId,
    now: Timestamp,
) -> Result<bool, DbError> {
    let sql = "UPDATE registration_keys SET machines_used = machines_used + 1
               WHERE id = $1 AND machines_used < machines_max AND revoked_at IS NULL AND expires_at > $2";
    Ok(sqlx::query(sql).bind(id).bind(now).execute(conn).await?.rows_affected() > 0)
}

/// Revokes a key for ever. False if it was revoked before, or there is none.
pub async fn registration_key_revoke(
    conn: &mut Connection,
    space: SpaceId,
    id: RegistrationKeyId,
    who: &str,
    now: Timestamp,
) -> Result<bool, DbError> {
    let sql = "UPDATE registration_keys SET revoked_at = $3, revoked_by = $4
               WHERE space_id = $1 AND id = $2 AND revoked_at IS NULL";
    let done = sqlx::query(sql).bind(space).bind(id).bind(now).bind(who).execute(conn).await?;
    Ok(done.rows_affected() > 0)
}

/// Writes a use down.
pub async fn registration_use_insert(
    conn: &mut Connection,
    key: RegistrationKeyId,
    new: &KeyUse,
) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO registration_uses (key_id, occurred_at, peer, outcome, machine_id, line)
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(key)
    .bind(new.at)
    .bind(&new.peer)
    .bind(new.outcome.word())
    .bind(new.machine)
    .bind(&new.line)
    .execute(&mut *conn)
    .await?;
    let sql = "DELETE FROM registration_uses WHERE key_id = $1 AND outcome <> 'registered' AND id NOT IN
               (SELECT id FROM registration_uses WHERE key_id = $1 AND outcome <> 'registered'
                ORDER BY id DESC LIMIT $2)";
    sqlx::query(sql).bind(key).bind(REFUSED_KEPT).execute(conn).await?;
    Ok(())
}

/// The uses of a key, newest first.
pub async fn registration_use_list(conn: &mut Connection, key: RegistrationKeyId) -> Result<Vec<KeyUse>, DbError> {
    type Row = (Timestamp, String, String, Option<MachineId>, String);
    let sql = "SELECT occurred_at, peer, outcome, machine_id, line FROM registration_uses WHERE key_id = $1
               ORDER BY id DESC";
    let rows: Vec<Row> = sqlx::query_as(sql).bind(key).fetch_all(conn).await?;
    let read = |(at, peer, word, machine, line): Row| {
        let outcome = UseOutcome::from_word(&word);
        let outcome = outcome.ok_or_else(|| DbError::damaged("registration_uses.outcome", &word))?;
        Ok(KeyUse { at, peer, outcome, machine, line })
    };
    rows.into_iter().map(read).collect()
}

/// When each key was used last, of those that were.
pub async fn registration_use_latest(
    conn: &mut Connection,
    space: SpaceId,
) -> Result<HashMap<RegistrationKeyId, Timestamp>, DbError> {
    let sql = "SELECT u.key_id, MAX(u.occurred_at) FROM registration_uses u
               JOIN registration_keys k ON k.id = u.key_id WHERE k.space_id = $1 GROUP BY u.key_id";
    let rows: Vec<(RegistrationKeyId, Timestamp)> = sqlx::query_as(sql).bind(space).fetch_all(conn).await?;
    Ok(rows.into_iter().collect())
}
