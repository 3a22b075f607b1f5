//! Changing the portal's identity, so that no machine is lost by it. Every machine is first told to trust the new one beside
//! the old one; then the portal calls and serves with the new one, and machines that were away are still reached with the
//! old one; when all have forgotten that, or a person says so, it is given up.
//!
//! People wish (`ready`, `switch`, `abandon`, `forget`); the loop in `tell` is the only one here that calls machines. What a
//! machine is to be told follows from the identities that there are and from what it took before, so the loop goes on
//! wherever it was killed.

pub mod tell;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use contract::Thumbprint;
use octopus_proto::TrustChange;
use serde_json::json;

use crate::app::App;
use crate::audit::Deed;
use crate::db::trust::{MachineTrust, machine_trust_list};
use crate::db::{Connection, DbError};
use crate::identities::{IdentitiesError, Set};
use crate::ids::SpaceId;
use crate::live::Change;
use crate::model::{AuditCategory, AuditKind, Role};

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum RotationError {
    /// The identities refused.
    #[error(transparent)]
    Identities(#[from] IdentitiesError),
    /// More machines would be cut off than was said.
    #[error(
        "{cut_off} machine(s) would be cut off: they have not taken the new identity. Wait for them, or say that number"
    )]
    CutsOff {
        /// How many.
        cut_off: usize,
    },
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// How far a change of the identity is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// None is under way.
    Settled,
    /// Another identity is readied, and machines are told of it.
    Readied,
    /// The new one is in use, and machines are told to forget the one before.
    Kept,
}

impl Stage {
    /// The stage that these identities make.
    pub fn of(set: &Set) -> Self {
        match (&set.next, &set.former) {
            (Some(_), _) => Self::Readied,
            (None, Some(_)) => Self::Kept,
            (None, None) => Self::Settled,
        }
    }
}

/// The identities that every machine is to trust.
fn own(set: &Set) -> BTreeSet<Thumbprint> {
    [Some(&set.current), set.next.as_ref()].into_iter().flatten().map(|identity| identity.thumbprint()).collect()
}

/// What a machine is to be told that took `trusted` before; `None` where it has all that it needs. Pure.
pub fn change(set: &Set, trusted: &BTreeSet<Thumbprint>) -> Option<TrustChange> {
    let own = own(set);
    let former = set.former.as_ref().map(|former| former.thumbprint());
    let is_under_way = set.next.is_some() || former.is_some();
    let mut add: Vec<Thumbprint> = own.difference(trusted).copied().collect();
    if !is_under_way {
        // What it trusts of old it need not be told.
        add.clear();
    }
    // What was abandoned or given up; and the former one of everybody who has not taken the new one yet.
    let mut remove: BTreeSet<Thumbprint> = trusted.difference(&own).copied().collect();
    remove.extend(former.filter(|_| !add.is_empty()));
    let remove: Vec<Thumbprint> = remove.into_iter().collect();
    (!add.is_empty() || !remove.is_empty()).then_some(TrustChange { add, remove })
}

/// A change of the identity, and how far each machine is.
#[derive(Clone, Debug)]
pub struct Progress {
    /// How far it is.
    pub stage: Stage,
    /// All machines.
    pub machines: usize,
    /// Those that have not taken what they were to be told.
    pub behind: Vec<MachineTrust>,
}

impl Progress {
    /// Those that are behind, for somebody of this role to see. They are machines of every space with their addresses and
    /// what is wrong with them, which is for whoever may go on without them; everybody may know how many there are.
    pub fn named_for(&self, role: &Role) -> &[MachineTrust] {
        if *role == Role::Administrator { &self.behind } else { &[] }
    }
}

/// How far every machine is.
pub async fn progress(app: &App, conn: &mut Connection) -> Result<Progress, DbError> {
    let set = app.identities.set();
    let all = machine_trust_list(conn).await?;
    let machines = all.len();
    let behind = all.into_iter().filter(|machine| change(&set, &machine.trusted).is_some()).collect();
    Ok(Progress { stage: Stage::of(&set), machines, behind })
}

/// What a person wishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Ready another identity, and tell every machine of it.
    Ready,
    /// Take it back.
    Abandon,
    /// Use it from now on. So many machines may be left behind.
    Switch {
        /// At most how many.
        cut_off: usize,
    },
    /// Give the former one up. So many machines may be cut off.
    Forget {
        /// At most how many.
        cut_off: usize,
    },
}

/// Does what a person wishes, writes down who it was, and wakes the loop.
pub async fn rotate(app: &App, wish: Wish) -> Result<(), RotationError> {
    let mut tx = app.db.write().await?;
    let left = match wish {
        Wish::Ready | Wish::Abandon => 0,
        Wish::Switch { cut_off } | Wish::Forget { cut_off } => {
            let behind = progress(app, &mut tx).await?.behind.len();
            // Some of them may have followed while the number was typed.
            if behind > cut_off {
                return Err(RotationError::CutsOff { cut_off: behind });
            }
            behind
        }
    };
    let before = app.identities.set();
    let identities = std::sync::Arc::clone(&app.identities);
    // Files are renamed while nobody else may write: the trail and they agree but for a kill between the two.
    let done = tokio::task::spawn_blocking(move || match wish {
        Wish::Ready => identities.ready().map(|next| ("Ready", format!("readied the identity {next}"))),
        Wish::Abandon => identities.abandon().map(|next| ("Abandon", format!("abandoned the identity {next}"))),
        Wish::Switch { .. } => {
            identities.switch().map(|(old, new)| ("Use", format!("put the identity {new} in the place of {old}")))
        }
        Wish::Forget { .. } => identities.forget().map(|old| ("Forget", format!("gave the former identity {old} up"))),
    });
    let done = done.await.map_err(|_| IdentitiesError::Untimely("the identity could not be changed; try again"))?;
    let (what, line) = done?;
    let after = app.identities.set();
    let left = if left > 0 { format!(", with {left} machines behind") } else { String::new() };
    let deed =
        Deed::new(AuditKind::Setting, AuditCategory::Modified, format!("{what}Identity"), format!("{line}{left}"));
    let deed = deed.changed(state(&before), state(&after));
    deed.write(&mut tx, SpaceId::DEFAULT, app.now()).await?;
    tx.commit().await.map_err(DbError::from)?;
    tracing::warn!(line, "the portal's identity");
    app.live.poke_rotation();
    app.live.tell(Change::Portal);
    Ok(())
}

/// The identities as the trail shows them.
fn state(set: &Set) -> serde_json::Value {
    let print =
        |identity: Option<&std::sync::Arc<octopus_proto::tls::Identity>>| identity.map(|i| i.thumbprint().to_string());
    json!({
        "Thumbprint": print(Some(&set.current)),
        "Next": print(set.next.as_ref()),
        "Former": print(set.former.as_ref()),
    })
}
