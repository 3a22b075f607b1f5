//! Making and cancelling rollouts: the wish is written down, and the orchestrator is poked. Used by pages and API alike.

use contract::{PackageId, Version};
use serde::{Deserialize, Serialize};

use super::state::Rollout;
use crate::app::App;
use crate::db::environments::environment_list;
use crate::db::facts::facts_list;
use crate::db::machines::machine_list;
use crate::db::packages::package_list;
use crate::db::rollouts::{
    NewRollout, NewRolloutMachine, RolloutPackage, rollout_cancel_request, rollout_get, rollout_insert,
};
use crate::db::tasks::{task_cancel_request, task_insert, task_log_append};
use crate::db::{Connection, DbError};
use crate::ids::{EnvironmentId, MachineId, RolloutId, SpaceId};
use crate::live::Change;
use crate::model::{LogCategory, Machine, NewTask, VersionState};

/// Machines in flight at once where nothing is said.
pub const MAX_IN_FLIGHT_DEFAULT: u32 = 10;

/// Most machines in flight at once that can be asked for. More would only queue at the portal's own network.
pub const MAX_IN_FLIGHT_MAX: u32 = 500;

/// Failures that stop a rollout where nothing is said.
pub const FAILURE_BUDGET_DEFAULT: u32 = 1;

/// Which machines a rollout is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Selection {
    /// Every enabled machine in an enabled environment that is not up to date.
    All,
    /// The same, of these environments.
    Environments(Vec<EnvironmentId>),
    /// These machines.
    Machines(Vec<MachineId>),
}

/// What somebody wishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolloutRequest {
    /// For which machines.
    pub selection: Selection,
    /// To which version; `None` for the bundled one.
    pub target: Option<Version>,
    /// See [`Rollout::max_in_flight`]; `None` for [`MAX_IN_FLIGHT_DEFAULT`].
    pub max_in_flight: Option<u32>,
    /// See [`Rollout::failure_budget`]; `None` for [`FAILURE_BUDGET_DEFAULT`].
    pub failure_budget: Option<u32>,
    /// What the task is called; `None` for a sentence made of the selection.
    pub description: Option<String>,
}

/// Why a rollout was not made. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum RolloutError {
    /// There is nothing to bring machines to.
    #[error(
        "this portal carries no Tentacle package: put Octopus.Tentacle.<runtime>.<version>.nupkg files into its bundle \
         folder and start it again, or upload one and name its version"
    )]
    NothingBundled,
    /// The version is not in the store.
    #[error(
        "there is no Tentacle package of version {version}: upload Octopus.Tentacle.<runtime>.{version}.nupkg first"
    )]
    NoPackage {
        /// The version asked for.
        version: Version,
    },
    /// A machine that was named is not there.
    #[error("there is no machine {id}")]
    NoMachine {
        /// Its id.
        id: MachineId,
    },
    /// An environment that was named is not there.
    #[error("there is no environment {id}")]
    NoEnvironment {
        /// Its id.
        id: EnvironmentId,
    },
    /// Nothing is left to do.
    #[error("there is nothing to upgrade: {why}")]
    NothingToDo {
        /// Why no machine was chosen.
        why: String,
    },
    /// A number is out of its range.
    #[error("{what} must be between 1 and {max}")]
    OutOfRange {
        /// What the number is.
        what: &'static str,
        /// The largest one allowed.
        max: u32,
    },
    /// There is no such rollout.
    #[error("there is no rollout {id}")]
    NoRollout {
        /// Its id.
        id: RolloutId,
    },
    /// It is over already.
    #[error("{id} is over already")]
    Over {
        /// Its id.
        id: RolloutId,
    },
    /// The database failed.
    #[error("the rollout could not be written down")]
    Db(#[from] DbError),
}

/// Writes down the wish to bring machines to a version, and pokes the orchestrator.
pub async fn rollout_create(
    app: &App,
    space: SpaceId,
    who: &str,
    request: RolloutRequest,
) -> Result<Rollout, RolloutError> {
    let max_in_flight =
        in_range("the number of machines in flight", request.max_in_flight, MAX_IN_FLIGHT_DEFAULT, MAX_IN_FLIGHT_MAX)?;
    let failure_budget =
        in_range("the failure budget", request.failure_budget, FAILURE_BUDGET_DEFAULT, i32::MAX.unsigned_abs())?;
    let now = app.clock.now();
    let mut tx = app.db.write().await?;
    let (target, packages) = packages(app, &mut tx, space, request.target.as_ref()).await?;
    let machines = select(&mut tx, space, &request.selection, &target).await?;
    let description = match request.description {
        Some(description) if !description.trim().is_empty() => description,
        _ => format!("Upgrade {} to {target}", count(machines.len())),
    };
    let selection = serde_json::to_value(&request.selection).unwrap_or_default();
    let task = NewTask {
        space,
        name: "Upgrade".to_owned(),
        description,
        arguments: serde_json::json!({ "Selection": selection, "TargetVersion": target.to_string() }),
        created_by: who.to_owned(),
    };
    let task = task_insert(&mut tx, &task, now).await?;
    let line = format!(
        "{who} wishes {} at {target}: one first, then at most {max_in_flight} at once; {failure_budget} failures stop it",
        count(machines.len())
    );
    task_log_append(&mut tx, task, None, now, LogCategory::Info, &line).await?;
    let told: Vec<MachineId> = machines.iter().map(|machine| machine.machine).collect();
    let new = NewRollout {
        space,
        task,
        target,
        selection: selection.to_string(),
        max_in_flight,
        failure_budget,
        created_by: who.to_owned(),
        created_at: now,
        machines,
        packages,
    };
    let id = rollout_insert(&mut tx, &new).await?;
    let rollout = rollout_get(&mut tx, space, id).await?.ok_or(RolloutError::NoRollout { id })?;
    tx.commit().await.map_err(DbError::from)?;
    told.into_iter().for_each(|machine| app.live.tell(Change::Machine(machine)));
    app.live.tell(Change::Rollout(id));
    app.live.tell(Change::Task(task));
    app.live.poke_orchestrator();
    Ok(rollout)
}

/// Writes down the wish to cancel a rollout, and pokes the orchestrator. Machines that were commanded already go on to
/// their end; nothing is ever left half done.
pub async fn rollout_cancel(app: &App, space: SpaceId, id: RolloutId, who: &str) -> Result<Rollout, RolloutError> {
    let now = app.clock.now();
    let mut tx = app.db.write().await?;
    let rollout = rollout_get(&mut tx, space, id).await?.ok_or(RolloutError::NoRollout { id })?;
    if rollout.is_over() {
        return Err(RolloutError::Over { id });
    }
    if rollout.cancel_requested_at.is_none() {
        rollout_cancel_request(&mut tx, id, now).await?;
        // The task shows that it is being cancelled, unless it is over.
        task_cancel_request(&mut tx, space, rollout.task, now).await?;
        let line = format!("{who} cancels the rollout");
        task_log_append(&mut tx, rollout.task, None, now, LogCategory::Warning, &line).await?;
    }
    let rollout = rollout_get(&mut tx, space, id).await?.ok_or(RolloutError::NoRollout { id })?;
    tx.commit().await.map_err(DbError::from)?;
    app.live.tell(Change::Rollout(id));
    app.live.tell(Change::Task(rollout.task));
    app.live.poke_orchestrator();
    Ok(rollout)
}

fn count(machines: usize) -> String {
    if machines == 1 { "1 machine".to_owned() } else { format!("{machines} machines") }
}

fn in_range(what: &'static str, asked: Option<u32>, default: u32, max: u32) -> Result<u32, RolloutError> {
    match asked.unwrap_or(default) {
        number if (1..=max).contains(&number) => Ok(number),
        _ => Err(RolloutError::OutOfRange { what, max }),
    }
}

/// The target and its packages: what is bundled, or what was uploaded.
async fn packages(
    app: &App,
    conn: &mut Connection,
    space: SpaceId,
    target: Option<&Version>,
) -> Result<(Version, Vec<RolloutPackage>), RolloutError> {
    let bundled = app.bundle.version();
    let Some(target) = target.or(bundled).cloned() else { return Err(RolloutError::NothingBundled) };
    let mut packages: Vec<RolloutPackage> = Vec::new();
    if bundled == Some(&target) {
        packages.extend(app.bundle.packages().iter().map(|package| RolloutPackage {
            runtime: package.runtime.clone(),
            sha256: package.sha256,
            size: package.size,
        }));
    }
    for uploaded in package_list(conn, space).await?.into_iter().filter(|p| p.package.version == target) {
        let runtime = PackageId::tentacle_runtime(&uploaded.package.package_id).map(str::to_owned);
        if let Some(runtime) = runtime.filter(|runtime| packages.iter().all(|package| package.runtime != *runtime)) {
            packages.push(RolloutPackage { runtime, sha256: uploaded.package.sha256, size: uploaded.package.size });
        }
    }
    if packages.is_empty() { Err(RolloutError::NoPackage { version: target }) } else { Ok((target, packages)) }
}

/// The machines of a selection that are not known to be up to date, in the order of their environments and names.
async fn select(
    conn: &mut Connection,
    space: SpaceId,
    selection: &Selection,
    target: &Version,
) -> Result<Vec<NewRolloutMachine>, RolloutError> {
    let environments = environment_list(conn, space).await?;
    let mut machines = machine_list(conn, space).await?;
    let facts = facts_list(conn, space).await?;
    let place = |machine: &Machine| environments.iter().position(|e| machine.environments.contains(&e.id));
    machines.sort_by_key(|machine| (place(machine), machine.name.to_lowercase()));
    match selection {
        Selection::All => {}
        Selection::Environments(ids) => {
            if let Some(id) = ids.iter().find(|id| environments.iter().all(|e| e.id != **id)) {
                return Err(RolloutError::NoEnvironment { id: *id });
            }
            machines.retain(|machine| machine.environments.iter().any(|id| ids.contains(id)));
        }
        Selection::Machines(ids) => {
            if let Some(id) = ids.iter().find(|id| machines.iter().all(|machine| machine.id != **id)) {
                return Err(RolloutError::NoMachine { id: *id });
            }
            machines.retain(|machine| ids.contains(&machine.id));
        }
    }
    if machines.is_empty() {
        return Err(RolloutError::NothingToDo { why: "no machine was chosen".to_owned() });
    }
    let enabled = |id: &EnvironmentId| environments.iter().any(|e| e.id == *id && !e.is_disabled);
    machines.retain(|machine| !machine.is_disabled && machine.environments.iter().any(enabled));
    if machines.is_empty() {
        return Err(RolloutError::NothingToDo { why: "every machine chosen is disabled".to_owned() });
    }
    let chosen = machines.len();
    let reported = |machine: &Machine| facts.get(&machine.id)?.report.as_ref().map(|report| report.version.clone());
    machines.retain(|machine| {
        let state = VersionState::of(reported(machine).as_ref(), Some(target));
        !matches!(state, VersionState::UpToDate | VersionState::NewerThanBundled)
    });
    if machines.is_empty() {
        let why = format!("all of {chosen} chosen run {target} or a newer version; a downgrade is not offered");
        return Err(RolloutError::NothingToDo { why });
    }
    let new = |machine: Machine| {
        let from = reported(&machine);
        NewRolloutMachine { machine: machine.id, name: machine.name, from }
    };
    Ok(machines.into_iter().map(new).collect())
}
