//! What people do with several machines at once: enable, disable, hold, release, delete. One transaction for all of them:
//! it is done to every machine or to none. Used by the pages.

use std::fmt;

use serde_json::{Value, json};

use crate::app::App;
use crate::audit::{self, because, hold_state, machine_state};
use crate::clock::Timestamp;
use crate::db::machine_holds::{hold_delete, hold_get, hold_put};
use crate::db::machines::{machine_delete, machine_set_disabled, machine_some};
use crate::db::{Connection, DbError};
use crate::ids::{MachineId, SpaceId};
use crate::live::Change;
use crate::model::{AuditCategory, AuditKind, Machine};
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
    /// As the trail has it.
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
        if let Some(deed) = one(&mut tx, machine, deed, who, now).await? {
            deed.by(who.name).on(machine.id).write(&mut tx, space, now).await?;
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

/// What was done; `None` where it was so already.
async fn one(
    tx: &mut Connection,
    machine: &Machine,
    deed: Deed,
    who: Who<'_>,
    now: Timestamp,
) -> Result<Option<audit::Deed>, DbError> {
    let (id, name) = (machine.id, &machine.name);
    let done = |category, line: String| audit::Deed::new(AuditKind::Machine, category, deed.to_string(), line);
    let disabled = |is: bool| json!({ "IsDisabled": is });
    let why = |verb: &str| format!("{verb} machine {name}{}", because(who.why));
    Ok(match deed {
        Deed::Enable if !machine.is_disabled => None,
        Deed::Enable => {
            machine_set_disabled(tx, id, false).await?;
            Some(done(AuditCategory::Modified, why("enabled")).changed(disabled(true), disabled(false)))
        }
        Deed::Disable if machine.is_disabled => None,
        Deed::Disable => {
            machine_set_disabled(tx, id, true).await?;
            Some(done(AuditCategory::Modified, why("disabled")).changed(disabled(false), disabled(true)))
        }
        Deed::Hold => {
            let before = hold_get(tx, id, now).await?;
            let hold = Hold { reason: who.why.to_owned(), by: who.name.to_owned(), since: now, until: None };
            hold_put(tx, id, &hold).await?;
            let before = before.as_ref().map(hold_state).unwrap_or_default();
            Some(done(AuditCategory::Modified, why("held")).changed(before, hold_state(&hold)))
        }
        Deed::Release => {
            let before = hold_get(tx, id, now).await?.as_ref().map(hold_state).unwrap_or_default();
            let was_held = hold_delete(tx, id).await?;
            was_held.then(|| done(AuditCategory::Modified, why("released")).changed(before, Value::Null))
        }
        Deed::Delete => {
            let is_gone = machine_delete(tx, machine.space, id).await?;
            is_gone.then(|| done(AuditCategory::Deleted, why("deleted")).changed(machine_state(machine), Value::Null))
        }
    })
}
