//! Which versions failed on which machines. A version is not tried again on a machine where it failed until a person
//! releases it; nor on any machine of a platform where it failed on too many.

use std::collections::{HashMap, HashSet};

use contract::Version;

use super::{Connection, DbError};
use crate::clock::Timestamp;
use crate::ids::{MachineId, RolloutId, SpaceId};

/// Writes down that a version failed on a machine.
pub async fn version_failure_insert(
    conn: &mut Connection,
    rollout: RolloutId,
    machine: MachineId,
    version: &Version,
    runtime: &str,
    reason: &str,
    now: Timestamp,
) -> Result<(), DbError> {
    // A machine that was deleted meanwhile is no error.
    sqlx::query(
        "INSERT INTO version_failures (machine_id, version, runtime, rollout_id, reason, failed_at)
         SELECT id, $2, $3, $4, $5, $6 FROM machines WHERE id = $1",
    )
    .bind(machine)
    .bind(version.to_string())
    .bind(runtime)
    .bind(rollout)
    .bind(reason)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}

/// The machines on which a version failed and was not released, with the newest reason. Not those that a person named to
/// be tried again.
pub async fn version_failures(conn: &mut Connection, version: &Version) -> Result<HashMap<MachineId, String>, DbError> {
    let sql = "SELECT machine_id, reason FROM version_failures
               WHERE version = $1 AND released_at IS NULL AND retried_at IS NULL ORDER BY id";
    let rows: Vec<(MachineId, String)> = sqlx::query_as(sql).bind(version.to_string()).fetch_all(conn).await?;
    Ok(rows.into_iter().collect())
}

/// The machines on which a version failed and that a person named since to be tried again.
pub async fn version_retries(conn: &mut Connection, version: &Version) -> Result<HashSet<MachineId>, DbError> {
    let sql = "SELECT DISTINCT f.machine_id FROM version_failures f
               WHERE f.version = $1 AND f.released_at IS NULL AND f.retried_at IS NOT NULL AND NOT EXISTS
                   (SELECT 1 FROM version_failures n WHERE n.version = f.version AND n.machine_id = f.machine_id
                    AND n.released_at IS NULL AND n.retried_at IS NULL)";
    let rows: Vec<MachineId> = sqlx::query_scalar(sql).bind(version.to_string()).fetch_all(conn).await?;
    Ok(rows.into_iter().collect())
}

/// On how many machines of each runtime a version failed in a space and was not released. Those that were tried again count,
/// too.
pub async fn version_failures_by_runtime(
    conn: &mut Connection,
    space: SpaceId,
    version: &Version,
) -> Result<HashMap<String, usize>, DbError> {
    let sql = "SELECT f.runtime, COUNT(DISTINCT f.machine_id) FROM version_failures f
               JOIN machines m ON m.id = f.machine_id
               WHERE m.space_id = $1 AND f.version = $2 AND f.released_at IS NULL GROUP BY f.runtime";
    let rows: Vec<(String, i64)> = sqlx::query_as(sql).bind(space).bind(version.to_string()).fetch_all(conn).await?;
    Ok(rows.into_iter().map(|(runtime, count)| (runtime, usize::try_from(count).unwrap_or(0))).collect())
}

/// Lets a version be tried again on a machine, and on no other. How many failures that is about.
pub async fn version_failures_retry(
    conn: &mut Connection,
    version: &Version,
    machine: MachineId,
    now: Timestamp,
) -> Result<u64, DbError> {
    let sql = "UPDATE version_failures SET retried_at = $3
               WHERE version = $1 AND machine_id = $2 AND released_at IS NULL AND retried_at IS NULL";
    let done = sqlx::query(sql).bind(version.to_string()).bind(machine).bind(now).execute(conn).await?;
    Ok(done.rows_affected())
}

/// Lets a version be tried again on every machine of a space with that runtime. How many failures that released.
pub async fn version_failures_release_runtime(
    conn: &mut Connection,
    space: SpaceId,
    version: &Version,
    runtime: &str,
    now: Timestamp,
) -> Result<u64, DbError> {
    let sql = "UPDATE version_failures SET released_at = $4 WHERE version = $2 AND runtime = $3 AND released_at IS NULL
               AND machine_id IN (SELECT id FROM machines WHERE space_id = $1)";
    let query = sqlx::query(sql).bind(space).bind(version.to_string()).bind(runtime).bind(now);
    let done = query.execute(conn).await?;
    Ok(done.rows_affected())
}
