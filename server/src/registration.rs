//! A machine makes itself known with a registration key: it is added to the key's environments, and nothing else can be
//! done with the key. Called by the REST API; who may ask was decided by the guard.

use contract::Thumbprint;
use serde_json::Value;

use crate::app::App;
use crate::audit::{Deed, machine_state};
use crate::auth::Bearer;
use crate::clock::Timestamp;
use crate::db::machines::{machine_by_thumbprint, machine_insert};
use crate::db::registration_keys::{registration_key_count, registration_use_insert};
use crate::db::{Connection, DbError};
use crate::error::ApiError;
use crate::live::Change;
use crate::model::{Address, AuditCategory, AuditKind, KeyUse, Machine, NewMachine, RegistrationKey, UseOutcome};

/// A machine as it makes itself known.
#[derive(Clone, Debug)]
pub struct Applicant {
    /// Its name.
    pub name: String,
    /// Where the portal reaches it.
    pub address: Address,
    /// What it shows.
    pub thumbprint: Thumbprint,
}

/// What became of an applicant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Registered {
    /// It was added.
    Added(Machine),
    /// It is one of the key's environments already, and was left as it is. This is counted as no machine, so an answer
    /// that was lost can be asked for again.
    Known(Machine),
}

/// Adds a machine to the environments of a key. Every use is written down, those that came to nothing too.
pub async fn machine_register(app: &App, bearer: &Bearer, applicant: Applicant) -> Result<Registered, ApiError> {
    let key = &bearer.key;
    let now = app.now();
    let name = applicant.name.clone();
    let record = |outcome: UseOutcome, machine: Option<&Machine>, line: String| KeyUse {
        at: now,
        peer: bearer.peer.to_string(),
        outcome,
        machine: machine.map(|machine| machine.id),
        line,
    };
    let mut tx = app.db.write().await?;
    let done = match attempt(&mut tx, key, applicant, now).await {
        Ok(done) => done,
        Err(error) => {
            drop(tx);
            if error.status.is_client_error() {
                let line = format!("\"{name}\" was refused: {}", error.message);
                let mut tx = app.db.write().await?;
                registration_use_insert(&mut tx, key.id, &record(UseOutcome::Refused, None, line)).await?;
                tx.commit().await.map_err(DbError::from)?;
            }
            return Err(error);
        }
    };
    let used = match &done {
        Registered::Added(machine) => {
            let line = format!("{} was added at {}.", machine.name, machine.address);
            let said = format!("added machine {}, which registered itself with {}", machine.name, key.id);
            let deed = Deed::new(AuditKind::Machine, AuditCategory::Created, "Register", said).by(&key.username);
            let deed = deed.on(machine.id).on(key.id).changed(Value::Null, machine_state(machine));
            deed.write(&mut tx, key.space, now).await?;
            record(UseOutcome::Registered, Some(machine), line)
        }
        Registered::Known(machine) => {
            record(UseOutcome::Known, Some(machine), format!("{} was here already.", machine.name))
        }
    };
    registration_use_insert(&mut tx, key.id, &used).await?;
    tx.commit().await.map_err(DbError::from)?;
    if let Registered::Added(machine) = &done {
        tracing::info!(machine.id = %machine.id, key.id = %key.id, peer = %bearer.peer, "a machine registered itself");
        app.live.tell(Change::Machine(machine.id));
        app.live.poke_health();
    }
    Ok(done)
}

async fn attempt(
    conn: &mut Connection,
    key: &RegistrationKey,
    applicant: Applicant,
    now: Timestamp,
) -> Result<Registered, ApiError> {
    let known = machine_by_thumbprint(conn, key.space, applicant.thumbprint).await?;
    if let Some(machine) = known.into_iter().next() {
        let is_own = machine.environments.iter().all(|id| key.environments.contains(id));
        // Of what lives elsewhere the bearer of this key learns nothing.
        return if is_own {
            Ok(Registered::Known(machine))
        } else {
            let message = "A machine with this thumbprint is registered already, in an environment that this key does \
                           not reach. Change its environments in the portal.";
            Err(ApiError::conflict(message))
        };
    }
    if !registration_key_count(conn, key.id, now).await? {
        return Err(ApiError::conflict("The key was used up or revoked just now."));
    }
    let new = NewMachine {
        name: applicant.name,
        address: applicant.address,
        thumbprint: applicant.thumbprint,
        is_disabled: false,
        environments: key.environments.clone(),
        roles: key.roles.clone(),
    };
    Ok(Registered::Added(machine_insert(conn, key.space, &new, now).await?))
}
