//! Which environments are upgraded by themselves, which bundled versions were seen, and what rollouts were for.

use std::collections::{BTreeMap, HashMap};

use contract::Version;

use super::audit::audit_last_stop;
use super::{Connection, DbError};
use crate::clock::Timestamp;
use crate::ids::{EnvironmentId, MachineId, RolloutId, SpaceId};
use crate::rollout::create::Selection;
use crate::rollout::strategy::Strategy;

/// The strategy of each environment of a space that is upgraded by itself.
pub async fn policies_list(
    conn: &mut Connection,
    space: SpaceId,
) -> Result<BTreeMap<EnvironmentId, Strategy>, DbError> {
    let sql = "SELECT p.environment_id, p.strategy FROM upgrade_policies p
               JOIN environments e ON e.id = p.environment_id WHERE e.space_id = $1";
    let rows: Vec<(EnvironmentId, String)> = sqlx::query_as(sql).bind(space).fetch_all(conn).await?;
    rows.into_iter().map(|(id, text)| Ok((id, read("upgrade_policies.strategy", &text)?))).collect()
}

/// Writes down that an environment is upgraded by itself, and how; or, without a strategy, that it is not.
pub async fn policy_put(
    conn: &mut Connection,
    environment: EnvironmentId,
    strategy: Option<&Strategy>,
) -> Result<(), DbError> {
    let Some(strategy) = strategy else {
        let sql = "DELETE FROM upgrade_policies WHERE environment_id = $1";
        sqlx::query(sql).bind(environment).execute(conn).await?;
        return Ok(());
    };
    let sql = "INSERT INTO upgrade_policies (environment_id, strategy) VALUES ($1, $2)
               ON CONFLICT (environment_id) DO UPDATE SET strategy = excluded.strategy";
    sqlx::query(sql).bind(environment).bind(write("upgrade_policies.strategy", strategy)?).execute(conn).await?;
    Ok(())
}

/// Every version that this portal ever bundled, and what came of it.
pub async fn bundles_seen(conn: &mut Connection, space: SpaceId) -> Result<HashMap<Version, String>, DbError> {
    let sql = "SELECT version, outcome FROM bundles_seen WHERE space_id = $1";
    let rows: Vec<(String, String)> = sqlx::query_as(sql).bind(space).fetch_all(conn).await?;
    let read = |(version, outcome): (String, String)| {
        Ok((version.parse().map_err(|_| DbError::damaged("bundles_seen.version", &version))?, outcome))
    };
    rows.into_iter().map(read).collect()
}

/// Writes down that a version is bundled, and what came of it.
pub async fn bundle_seen_insert(
    conn: &mut Connection,
    space: SpaceId,
    version: &Version,
    outcome: &str,
    now: Timestamp,
) -> Result<(), DbError> {
    sqlx::query("INSERT INTO bundles_seen (space_id, version, seen_at, outcome) VALUES ($1, $2, $3, $4)")
        .bind(space)
        .bind(version.to_string())
        .bind(now)
        .bind(outcome)
        .execute(conn)
        .await?;
    Ok(())
}

/// The last time that a person stopped or undid a rollout to a version, in words; `None` where nobody did.
pub async fn version_called_off(
    conn: &mut Connection,
    space: SpaceId,
    version: &Version,
) -> Result<Option<String>, DbError> {
    let sql = "SELECT id FROM rollouts WHERE space_id = $1 AND target_version = $2";
    let rollouts: Vec<RolloutId> =
        sqlx::query_scalar(sql).bind(space).bind(version.to_string()).fetch_all(&mut *conn).await?;
    audit_last_stop(conn, &rollouts).await
}

/// What a rollout was for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// Which machines.
    pub selection: Selection,
    /// Of those only the ones with one of these roles; empty for all.
    pub roles: Vec<String>,
}

/// Writes down what a new rollout is for, and which machines were looked at and left out.
pub async fn scope_insert(
    conn: &mut Connection,
    rollout: RolloutId,
    scope: &Scope,
    left: &[MachineId],
) -> Result<(), DbError> {
    sqlx::query("INSERT INTO rollout_scopes (rollout_id, selection, roles) VALUES ($1, $2, $3)")
        .bind(rollout)
        .bind(write("rollout_scopes.selection", &scope.selection)?)
        .bind(write("rollout_scopes.roles", &scope.roles)?)
        .execute(&mut *conn)
        .await?;
    for machine in left {
        sqlx::query("INSERT INTO rollout_scope_left (rollout_id, machine_id) VALUES ($1, $2)")
            .bind(rollout)
            .bind(machine)
            .execute(&mut *conn)
            .await?;
    }
    Ok(())
}

/// What a rollout was for; `None` where that was not written down.
pub async fn scope_get(conn: &mut Connection, rollout: RolloutId) -> Result<Option<Scope>, DbError> {
    let sql = "SELECT selection, roles FROM rollout_scopes WHERE rollout_id = $1";
    let row: Option<(String, String)> = sqlx::query_as(sql).bind(rollout).fetch_optional(conn).await?;
    let scope = |(selection, roles): (String, String)| {
        Ok(Scope {
            selection: read("rollout_scopes.selection", &selection)?,
            roles: read("rollout_scopes.roles", &roles)?,
        })
    };
    row.map(scope).transpose()
}

/// The machines of a rollout's space that are not in it, were not left out of it, and are in no newer one.
pub async fn scope_strangers(
    conn: &mut Connection,
    space: SpaceId,
    rollout: RolloutId,
) -> Result<Vec<MachineId>, DbError> {
    let sql = "SELECT m.id FROM machines m WHERE m.space_id = $1
               AND NOT EXISTS (SELECT 1 FROM rollout_machines r WHERE r.machine_id = m.id AND r.rollout_id >= $2)
               AND NOT EXISTS (SELECT 1 FROM rollout_scope_left l WHERE l.rollout_id = $2 AND l.machine_id = m.id)
               ORDER BY m.id";
    Ok(sqlx::query_scalar(sql).bind(space).bind(rollout).fetch_all(conn).await?)
}

fn write<T: serde::Serialize>(what: &str, value: &T) -> Result<String, DbError> {
    serde_json::to_string(value).map_err(|error| DbError::damaged(what, error))
}

fn read<T: serde::de::DeserializeOwned>(what: &str, text: &str) -> Result<T, DbError> {
    serde_json::from_str(text).map_err(|_| DbError::damaged(what, text))
}
