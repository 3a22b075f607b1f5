//! Which environments something concerns: those of the machines that it is about. Asked where it is decided who may do it.

use std::collections::BTreeSet;

use sqlx::AssertSqlSafe;

use super::{Connection, DbError, NAMED_MAX, places};
use crate::ids::{EnvironmentId, FreezeId, MachineId, RegistrationKeyId, RolloutId, TaskId};

/// The environments of some machines.
pub async fn environments_of_machines(
    conn: &mut Connection,
    machines: &[MachineId],
) -> Result<Vec<EnvironmentId>, DbError> {
    let mut found = BTreeSet::new();
    for some in machines.chunks(NAMED_MAX) {
        let places = places(some.len());
        let sql = format!("SELECT DISTINCT environment_id FROM machine_environments WHERE machine_id IN ({places})");
        let query = some.iter().fold(sqlx::query_scalar(AssertSqlSafe(sql)), |query, id| query.bind(id));
        let ids: Vec<EnvironmentId> = query.fetch_all(&mut *conn).await?;
        found.extend(ids);
    }
    Ok(found.into_iter().collect())
}

/// These environments, and all others that a machine of theirs belongs to.
pub async fn environments_around(
    conn: &mut Connection,
    environments: &[EnvironmentId],
) -> Result<Vec<EnvironmentId>, DbError> {
    let mut found: BTreeSet<EnvironmentId> = environments.iter().copied().collect();
    for some in environments.chunks(NAMED_MAX) {
        let places = places(some.len());
        let sql = format!(
            "SELECT DISTINCT other.environment_id FROM machine_environments own
             JOIN machine_environments other ON other.machine_id = own.machine_id
             WHERE own.environment_id IN ({places})"
        );
        let query = some.iter().fold(sqlx::query_scalar(AssertSqlSafe(sql)), |query, id| query.bind(id));
        let ids: Vec<EnvironmentId> = query.fetch_all(&mut *conn).await?;
        found.extend(ids);
    }
    Ok(found.into_iter().collect())
}

/// The environments of the machines of a rollout, of those that are still there.
pub async fn environments_of_rollout(conn: &mut Connection, id: RolloutId) -> Result<Vec<EnvironmentId>, DbError> {
    let sql = "SELECT DISTINCT me.environment_id FROM rollout_machines rm
               JOIN machine_environments me ON me.machine_id = rm.machine_id WHERE rm.rollout_id = $1";
    Ok(sqlx::query_scalar(sql).bind(id).fetch_all(conn).await?)
}

/// The environments of the machines of a task, or of its rollout.
pub async fn environments_of_task(conn: &mut Connection, id: TaskId) -> Result<Vec<EnvironmentId>, DbError> {
    let sql = "SELECT me.environment_id FROM task_machines tm
               JOIN machine_environments me ON me.machine_id = tm.machine_id WHERE tm.task_id = $1
               UNION SELECT me.environment_id FROM rollouts r JOIN rollout_machines rm ON rm.rollout_id = r.id
               JOIN machine_environments me ON me.machine_id = rm.machine_id WHERE r.task_id = $1";
    Ok(sqlx::query_scalar(sql).bind(id).fetch_all(conn).await?)
}

/// The environments of a freeze: every one there is where it is for all.
pub async fn environments_of_freeze(conn: &mut Connection, id: FreezeId) -> Result<Vec<EnvironmentId>, DbError> {
    let sql = "SELECT environment_id FROM freeze_environments WHERE freeze_id = $1
               UNION SELECT e.id FROM environments e JOIN freezes f ON f.space_id = e.space_id
               WHERE f.id = $1 AND f.is_for_all = TRUE";
    Ok(sqlx::query_scalar(sql).bind(id).fetch_all(conn).await?)
}

/// The environments that the machines of a registration key come into.
pub async fn environments_of_registration_key(
    conn: &mut Connection,
    id: RegistrationKeyId,
) -> Result<Vec<EnvironmentId>, DbError> {
    let sql = "SELECT environment_id FROM registration_key_environments WHERE key_id = $1";
    Ok(sqlx::query_scalar(sql).bind(id).fetch_all(conn).await?)
}
