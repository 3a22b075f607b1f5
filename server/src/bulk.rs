//! What people do with several machines at once: enable, disable, hold, release, delete. One transaction for all of them:
//! it is done to every machine or to none. Used by the pages.

use std::fmt;

use crate::app::App;
use crate::clock::Timestamp;
use crate::db::machine_events::machine_event_insert;
use crate::db::machine_holds::{hold_delete, hold_put};
use crate::db::machines::{machine_delete, machine_set_disabled, machine_some};
use crate::db::{Connection, DbError};
use crate::ids::{MachineId, SpaceId};
use crate::live::Change;
use crate::model::Machine;
use crate::rollout::hands::Who;
use crate::rollout::hindrance::Hold;

/// What is done to each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// It is checked, upgraded and deployed to again.
    Enable,
    /// It is shown, and nothing else.
    Disable,
    /// It is not upgraded until it is released.
    Hold,
    /// It may be upgraded again.
    Release,
    /// The portal forgets it.
    Delete,
}

impl fmt::Display for Deed {
    /// As the list of events has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Enable => "Enable",
            Self::Disable => "Disable",
            Self::Hold => "Hold",
            Self::Release => "Release",
            Self::Delete => "Delete",
        })
    }
}

/// Does it to all of them that are there and not so already. Returns how many that were.
pub async fn machines_do(
    app: &App,
    space: SpaceId,
    ids: &[MachineId],
    deed: Deed,
    who: Who<'_>,
) -> Result<usize, DbError> {
    let now = app.now();
    let mut tx = app.db.write().await?;
    let machines = machine_some(&mut tx, ids).await?;
    let mut changed = Vec::new();
    for machine in machines.iter().filter(|machine| machine.space == space) {
        if let Some(line) = one(&mut tx, machine, deed, who, now).await? {
            machine_event_insert(&mut tx, machine.id, now, who.name, &deed.to_string(), &line).await?;
            changed.push(machine.id);
        }
    }
    tx.commit().await.map_err(DbError::from)?;
    tracing::info!(machines = changed.len(), by = who.name, %deed, "several machines were changed");
    for id in &changed {
        app.live.tell(Change::Machine(*id));
    }
    app.live.poke_orchestrator();
    app.live.poke_health();
    Ok(changed.len())
}

/// What was done, in a sentence; `None` where it was so already.
async fn one(
    tx: &mut Connection,
    machine: &Machine,
    deed: Deed,
    who: Who<'_>,
    now: Timestamp,
) -> Result<Option<String>, DbError> {
    let (id, by) = (machine.id, who.name);
    Ok(match deed {
        Deed::Enable if !machine.is_disabled => None,
        Deed::Enable => {
            machine_set_disabled(tx, id, false).await?;
            Some(format!("{by} enables it"))
        }
        Deed::Disable if machine.is_disabled => None,
        Deed::Disable => {
            machine_set_disabled(tx, id, true).await?;
            Some(format!("{by} disables it"))
        }
        Deed::Hold => {
            let hold = Hold { reason: who.why.to_owned(), by: by.to_owned(), since: now, until: None };
            hold_put(tx, id, &hold).await?;
            Some(format!("{by} holds it: {}", who.why))
        }
        Deed::Release => hold_delete(tx, id).await?.then(|| format!("{by} takes the hold away")),
        Deed::Delete => {
            let done = machine_delete(tx, machine.space, id).await?;
            done.then(|| format!("{by} deletes {}", machine.name))
        }
    })
}
