//! What was done to one machine, whatever did it: the rollouts that had it and the tasks that worked on it, in one list.
//! Read by its page alone.

use super::{Connection, DbError};
use crate::clock::Timestamp;
use crate::ids::{MachineId, RolloutId, SpaceId, TaskId};
use crate::model::MachineTaskState;
use crate::rollout::state::PhaseKind;

/// What somebody looks for in the past of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PastKind {
    /// Upgrades and deployments.
    Changes,
    /// Upgrades alone.
    Upgrades,
    /// Deployments alone.
    Deployments,
    /// Everything, questions how it is and whether it can be reached too.
    Everything,
}

impl PastKind {
    /// Every kind, in the order of the page.
    pub const ALL: [Self; 4] = [Self::Changes, Self::Upgrades, Self::Deployments, Self::Everything];

    /// The word in an address.
    pub fn word(self) -> &'static str {
        match self {
            Self::Changes => "changes",
            Self::Upgrades => "upgrades",
            Self::Deployments => "deployments",
            Self::Everything => "everything",
        }
    }

    /// Reads [`PastKind::word`].
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }
}

/// What did it, and how that went.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Deed {
    /// A rollout: from what the machine ran then to its target.
    Rollout {
        /// Which.
        id: RolloutId,
        /// What ran before; `None` where the rollout never saw it.
        from: Option<String>,
        /// The version that was wished.
        to: String,
        /// Where the machine stands in it.
        phase: PhaseKind,
    },
    /// A task.
    Task {
        /// Which.
        id: TaskId,
        /// What it is called.
        description: String,
        /// How the machine's part stands.
        state: MachineTaskState,
        /// Why; empty where the word says it all.
        reason: String,
    },
}

/// One of the things that were done to a machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Past {
    /// When it was wished.
    pub at: Timestamp,
    /// By whom.
    pub by: String,
    /// What.
    pub deed: Deed,
}

#[derive(sqlx::FromRow)]
struct Row {
    is_rollout: bool,
    id: i64,
    occurred_at: Timestamp,
    username: String,
    what: String,
    from_version: Option<String>,
    state: String,
    reason: String,
}

impl Row {
    fn read(self) -> Result<Past, DbError> {
        let deed = if self.is_rollout {
            let phase = PhaseKind::ALL.into_iter().find(|kind| kind.word() == self.state);
            let phase = phase.ok_or_else(|| DbError::damaged("rollout_machines.phase", &self.state))?;
            Deed::Rollout { id: RolloutId(self.id), from: self.from_version, to: self.what, phase }
        } else {
            let state = MachineTaskState::from_word(&self.state);
            let state = state.ok_or_else(|| DbError::damaged("task_machines.state", &self.state))?;
            Deed::Task { id: TaskId(self.id), description: self.what, state, reason: self.reason }
        };
        Ok(Past { at: self.occurred_at, by: self.username, deed })
    }
}

/// A part of a machine's past, newest first, and how long all of it is.
pub async fn machine_past(
    conn: &mut Connection,
    space: SpaceId,
    machine: MachineId,
    kind: PastKind,
    (skip, take): (u32, u32),
) -> Result<(Vec<Past>, u64), DbError> {
    // A rollout's own task is told by the rollout.
    let rows = sqlx::query_as(
        "SELECT TRUE AS is_rollout, r.id, r.created_at AS occurred_at, r.created_by AS username,
                r.target_version AS what, m.from_version, m.phase AS state, '' AS reason
         FROM rollout_machines m JOIN rollouts r ON r.id = m.rollout_id
         WHERE m.machine_id = $2 AND r.space_id = $1 AND $3 <> 'deployments'
         UNION ALL
         SELECT FALSE, t.id, t.queued_at, t.created_by, t.description, NULL, m.state, m.reason
         FROM task_machines m JOIN tasks t ON t.id = m.task_id
         WHERE m.machine_id = $2 AND t.space_id = $1
           AND ($3 = 'everything' OR ($3 IN ('changes', 'deployments') AND t.name = 'Deploy'))
         ORDER BY occurred_at DESC, id DESC LIMIT $5 OFFSET $4",
    );
    let rows: Vec<Row> =
        rows.bind(space).bind(machine).bind(kind.word()).bind(skip).bind(take).fetch_all(&mut *conn).await?;
    let count = sqlx::query_scalar(
        "SELECT (SELECT COUNT(*) FROM rollout_machines m JOIN rollouts r ON r.id = m.rollout_id
                 WHERE m.machine_id = $2 AND r.space_id = $1 AND $3 <> 'deployments')
              + (SELECT COUNT(*) FROM task_machines m JOIN tasks t ON t.id = m.task_id
                 WHERE m.machine_id = $2 AND t.space_id = $1
                   AND ($3 = 'everything' OR ($3 IN ('changes', 'deployments') AND t.name = 'Deploy')))",
    );
    let total: i64 = count.bind(space).bind(machine).bind(kind.word()).fetch_one(conn).await?;
    let past = rows.into_iter().map(Row::read).collect::<Result<_, _>>()?;
    Ok((past, u64::try_from(total).unwrap_or(0)))
}
