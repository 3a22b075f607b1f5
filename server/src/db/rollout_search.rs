//! Rollouts by what somebody looks for. Called by the REST API.

use contract::Version;
use sqlx::{QueryBuilder, Sqlite};

use super::rollouts::{Row, with_machines};
use super::{Connection, DbError};
use crate::ids::{EnvironmentId, MachineId, RolloutId, SpaceId};
use crate::rollout::state::{Rollout, RolloutState};

/// Which rollouts are looked for. What is empty or `None` leaves out none.
#[derive(Clone, Debug, Default)]
pub struct RolloutFilter {
    /// Only these.
    pub ids: Vec<RolloutId>,
    /// Only those in one of these states.
    pub states: Vec<RolloutState>,
    /// Only those that have this machine.
    pub machine: Option<MachineId>,
    /// Only those that have a machine which is in this environment now.
    pub environment: Option<EnvironmentId>,
    /// Only those to this version.
    pub target: Option<Version>,
    /// Only undos of this one.
    pub undo_of: Option<RolloutId>,
    /// How many of the newest to leave out.
    pub skip: u32,
    /// How many to list at most.
    pub take: u32,
}

/// Rollouts that were found, newest first, and how many there are in all.
#[derive(Clone, Debug)]
pub struct RolloutPage {
    /// Those of this page.
    pub rollouts: Vec<Rollout>,
    /// All.
    pub total: u64,
}

/// The rollouts of a space that are looked for, with their machines.
pub async fn rollout_search(
    conn: &mut Connection,
    space: SpaceId,
    filter: &RolloutFilter,
) -> Result<RolloutPage, DbError> {
    let mut count = QueryBuilder::new("SELECT COUNT(*) FROM rollouts r WHERE ");
    push_filter(&mut count, space, filter);
    let total: i64 = count.build_query_scalar().fetch_one(&mut *conn).await?;
    let mut page = QueryBuilder::new("SELECT r.* FROM rollouts r WHERE ");
    push_filter(&mut page, space, filter);
    page.push(" ORDER BY r.id DESC LIMIT ").push_bind(filter.take);
    page.push(" OFFSET ").push_bind(filter.skip);
    let rows: Vec<Row> = page.build_query_as().fetch_all(&mut *conn).await?;
    Ok(RolloutPage { rollouts: with_machines(conn, rows).await?, total: u64::try_from(total).unwrap_or(0) })
}

fn push_filter(query: &mut QueryBuilder<Sqlite>, space: SpaceId, filter: &RolloutFilter) {
    query.push("r.space_id = ").push_bind(space);
    if !filter.ids.is_empty() {
        query.push(" AND r.id IN (");
        let mut ids = query.separated(", ");
        filter.ids.iter().for_each(|id| {
            ids.push_bind(*id);
        });
        query.push(")");
    }
    if !filter.states.is_empty() {
        query.push(" AND r.state IN (");
        let mut states = query.separated(", ");
        filter.states.iter().for_each(|state| {
            states.push_bind(state.word());
        });
        query.push(")");
    }
    if let Some(machine) = filter.machine {
        query.push(" AND EXISTS (SELECT 1 FROM rollout_machines m WHERE m.rollout_id = r.id AND m.machine_id = ");
        query.push_bind(machine).push(")");
    }
    if let Some(environment) = filter.environment {
        query.push(
            " AND EXISTS (SELECT 1 FROM rollout_machines m JOIN machine_environments e ON e.machine_id = m.machine_id
              WHERE m.rollout_id = r.id AND e.environment_id = ",
        );
        query.push_bind(environment).push(")");
    }
    if let Some(target) = &filter.target {
        query.push(" AND r.target_version = ").push_bind(target.to_string());
    }
    if let Some(undone) = filter.undo_of {
        query.push(" AND r.undo_of = ").push_bind(undone);
    }
}
