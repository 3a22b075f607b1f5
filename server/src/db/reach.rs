//! Which environments something concerns: those of the machines that it is about. Asked where it is decided who may do it.
//! Nothing of another space is found: what is asked for there is as unknown as what is not there at all.

use std::collections::BTreeSet;

use sqlx::AssertSqlSafe;

use super::{Connection, DbError, NAMED_MAX, places};
use crate::ids::{EnvironmentId, FreezeId, MachineId, RegistrationKeyId, RolloutId, SpaceId, TaskId};

/// The environments of some machines.
pub async fn environments_of_machines(
    conn: &mut Connection,
    space: SpaceId,
    machines: &[MachineId],
) -> Result<Vec<EnvironmentId>, DbError> {
    let mut found = BTreeSet::new();
    for some in machines.chunks(NAMED_MAX) {
        let (places, last) = (places(some.len()), some.len() + 1);
        let sql = format!(
            "SELECT DISTINCT me.environment_id FROM machine_environments me JOIN machines m ON m.id = me.machine_id
             WHERE me.machine_id IN ({places}) AND m.space_id = ${last}"
        );
        let query = some.iter().fold(sqlx::query_scalar(AssertSqlSafe(sql)), |query, id| query.bind(id));
        let ids: Vec<EnvironmentId> = query.bind(space).fetch_all(&mut *conn).await?;
        found.extend(ids);
    }
    Ok(found.into_iter().collect())
}

/// These environments, and all others that a machine of theirs belongs to.
pub async fn environments_around(
    conn: &mut Connection,
    space: SpaceId,
    environments: &[EnvironmentId],
) -> Result<Vec<EnvironmentId>, DbError> {
    let mut found: BTreeSet<EnvironmentId> = environments.iter().copied().collect();
    for some in environments.chunks(NAMED_MAX) {
        let (places, last) = (places(some.len()), some.len() + 1);
        let sql = format!(
            "SELECT DISTINCT other.environment_id FROM machine_environments own
             JOIN machines m ON m.id = own.machine_id
             JOIN machine_environments other ON other.machine_id = own.machine_id
             WHERE own.environment_id IN ({places}) AND m.space_id = ${last}"
        );
        let query = some.iter().fold(sqlx::query_scalar(AssertSqlSafe(sql)), |query, id| query.bind(id));
        let ids: Vec<EnvironmentId> = query.bind(space).fetch_all(&mut *conn).await?;
        found.extend(ids);
    }
    Ok(found.into_iter().collect())
}

/// The environments of the machines of a rollout, of those that are still there.
pub async fn environments_of_rollout(
    conn: &mut Connection,
    space: SpaceId,
    id: RolloutId,
) -> Result<Vec<EnvironmentId>, DbError> {
    let sql = "SELECT DISTINCT me.environment_id FROM rollouts r JOIN rollout_machines rm ON rm.rollout_id = r.id
               JOIN machine_environments me ON me.machine_id = rm.machine_id WHERE r.space_id = $1 AND r.id = $2";
    Ok(sqlx::query_scalar(sql).bind(space).bind(id).fetch_all(conn).await?)
}

/// The environments of the machines of a task, or of its rollout.
pub async fn environments_of_task(
    conn: &mut Connection,
    space: SpaceId,
    id: TaskId,
) -> Result<Vec<EnvironmentId>, DbError> {
    let sql = "SELECT me.environment_id FROM tasks t JOIN task_machines tm ON tm.task_id = t.id
               JOIN machine_environments me ON me.machine_id = tm.machine_id WHERE t.space_id = $1 AND t.id = $2
               UNION SELECT me.environment_id FROM rollouts r JOIN rollout_machines rm ON rm.rollout_id = r.id
               JOIN machine_environments me ON me.machine_id = rm.machine_id WHERE r.space_id = $1 AND r.task_id = $2";
    Ok(sqlx::query_scalar(sql).bind(space).bind(id).fetch_all(conn).await?)
}

/// The environments of a freeze: every one there is where it is for all.
pub async fn environments_of_freeze(
    conn: &mut Connection,
    space: SpaceId,
    id: FreezeId,
) -> Result<Vec<EnvironmentId>, DbError> {
    let sql = "SELECT fe.environment_id FROM freezes f JOIN freeze_environments fe ON fe.freeze_id = f.id
               WHERE f.space_id = $1 AND f.id = $2
               UNION SELECT e.id FROM environments e JOIN freezes f ON f.space_id = e.space_id
               WHERE f.space_id = $1 AND f.id = $2 AND f.is_for_all = TRUE";
    Ok(sqlx::query_scalar(sql).bind(space).bind(id).fetch_all(conn).await?)
}

/// The environments that the machines of a registration key come into.
pub async fn environments_of_registration_key(
    conn: &mut Connection,
    space: SpaceId,
    id: RegistrationKeyId,
) -> Result<Vec<EnvironmentId>, DbError> {
    let sql = "SELECT ke.environment_id FROM registration_keys k
               JOIN registration_key_environments ke ON ke.key_id = k.id WHERE k.space_id = $1 AND k.id = $2";
    Ok(sqlx::query_scalar(sql).bind(space).bind(id).fetch_all(conn).await?)
}
