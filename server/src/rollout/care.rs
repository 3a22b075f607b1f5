//! What an environment says of upgrades: when they may begin, and whether they begin by themselves. Used by pages and API
//! alike.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::automatic::UpgradePolicy;
use super::calendar::{Window, WindowSpec, read_windows};
use super::state::{PhaseKind, Rollout};
use super::strategy::Strategy;
use crate::clock::Timestamp;
use crate::db::machines::machine_list;
use crate::db::maintenance::{calendar_load, windows_list, windows_put};
use crate::db::policies::{policies_list, policy_put};
use crate::db::{Connection, DbError};
use crate::ids::{EnvironmentId, MachineId, SpaceId};

/// What all environments of a space say.
#[derive(Clone, Debug, Default)]
pub struct Cares {
    windows: HashMap<EnvironmentId, Vec<WindowSpec>>,
    policies: BTreeMap<EnvironmentId, Strategy>,
}

impl Cares {
    /// Loads them.
    pub async fn load(conn: &mut Connection, space: SpaceId) -> Result<Self, DbError> {
        Ok(Self { windows: windows_list(conn, space).await?, policies: policies_list(conn, space).await? })
    }

    /// The maintenance windows of an environment.
    pub fn windows(&self, id: EnvironmentId) -> &[WindowSpec] {
        self.windows.get(&id).map_or(&[], Vec::as_slice)
    }

    /// Whether an environment is upgraded by itself.
    pub fn policy(&self, id: EnvironmentId) -> UpgradePolicy {
        self.policies.get(&id).cloned().map_or(UpgradePolicy::Never, UpgradePolicy::OnNewBundle)
    }
}

/// True where a waiting machine of a rollout is kept from beginning by the hour, and the rollout keeps to it.
pub async fn waits_for_hour(conn: &mut Connection, rollout: &Rollout, now: Timestamp) -> Result<bool, DbError> {
    let calendar = calendar_load(conn, rollout.space, now).await?;
    if rollout.strategy.ignore_windows.is_some() || calendar.is_empty() {
        return Ok(false);
    }
    let waiting: HashSet<MachineId> =
        rollout.machines.iter().filter(|row| row.phase.kind() == PhaseKind::Waiting).map(|row| row.machine).collect();
    let mut machines = machine_list(conn, rollout.space).await?.into_iter();
    Ok(machines.any(|m| waiting.contains(&m.id) && calendar.closed(&m.environments, now).is_some()))
}

/// What somebody wishes to change of an environment; `None` for what stays as it is. Checked.
#[derive(Clone, Debug, Default)]
pub struct NewCare {
    windows: Option<Vec<Window>>,
    policy: Option<UpgradePolicy>,
}

impl NewCare {
    /// Checks a wish; where it makes no sense, says why in a sentence.
    pub fn read(windows: Option<&[WindowSpec]>, policy: Option<UpgradePolicy>) -> Result<Self, String> {
        let windows = windows.map(read_windows).transpose().map_err(|error| error.to_string())?;
        if let Some(strategy) = policy.as_ref().and_then(UpgradePolicy::strategy) {
            strategy.check().map_err(|error| error.to_string())?;
        }
        Ok(Self { windows, policy })
    }

    /// Writes it down.
    pub async fn put(&self, conn: &mut Connection, id: EnvironmentId) -> Result<(), DbError> {
        if let Some(windows) = &self.windows {
            windows_put(conn, id, windows).await?;
        }
        if let Some(policy) = &self.policy {
            policy_put(conn, id, policy.strategy()).await?;
        }
        Ok(())
    }
}
