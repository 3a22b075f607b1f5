//! Tasks that run in the portal's background: `Health`, `Connectivity` and `Deploy`. (`Upgrade` is run by the rollout orchestrator.)
//!
//! Pages and the REST API call what is in this file: it writes wishes and pokes. The [`runner`] does them, and is the only
//! one here that calls machines.

mod connect;
mod deploy;
mod health;
mod journal;
pub mod runner;
pub mod step;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet};

use contract::{PackageId, Version};

use crate::app::App;
use crate::audit::{Deed, because};
use crate::db::environments::environment_get;
use crate::db::machines::{machine_get, machine_list};
use crate::db::packages::{package_get, package_list};
use crate::db::rollouts::rollout_of_task;
use crate::db::tasks::{task_cancel_request, task_get, task_insert, task_log_append, task_machine_insert};
use crate::db::{Connection, DbError};
use crate::ids::{EnvironmentId, MachineId, SpaceId, TaskId};
use crate::live::Change;
use crate::model::{AuditCategory, AuditKind, Environment, LogCategory, Machine, NewTask, Package, TaskState};
use crate::rollout::create::{RolloutError, Selection};
use crate::rollout::hands::{WHY_MAX, Who, rollout_cancel};

/// The name of tasks that ask machines how they are.
pub const HEALTH: &str = "Health";

/// The name of tasks that walk the way to a machine step by step.
pub const CONNECTIVITY: &str = "Connectivity";

/// The name of tasks that install a package on machines.
pub const DEPLOY: &str = "Deploy";

/// The name of tasks that show a rollout's log.
pub const UPGRADE: &str = "Upgrade";

/// Most variables of a deployment. More are refused.
const VARIABLES_MAX: usize = 1000;

/// Longest part of a variable's name that is repeated in an error, in characters.
const VARIABLE_NAME_SHOWN: usize = 50;

/// Why a task was not made or cancelled, in words for the person who asked.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// Nothing to do.
    #[error("no machine was selected: {why}")]
    NothingSelected {
        /// Why not.
        why: String,
    },
    /// There is no such environment.
    #[error("there is no environment {0}")]
    UnknownEnvironment(EnvironmentId),
    /// The environment is disabled.
    #[error("the environment {0} is disabled; enable it first")]
    DisabledEnvironment(String),
    /// There is no such machine.
    #[error("there is no machine {0}")]
    UnknownMachine(MachineId),
    /// There is no such package.
    #[error("the portal has no package {id} {version}; push it first")]
    UnknownPackage {
        /// The package's id.
        id: String,
        /// The version, or "in any version".
        version: String,
    },
    /// More variables than a deployment may have.
    #[error("a deployment may have at most {VARIABLES_MAX} variables, not {0}")]
    TooManyVariables(usize),
    /// A variable that no script could ever see.
    #[error("the variable \"{name}\" cannot be passed to the package's scripts: {why}")]
    UnfitVariable {
        /// Its name, cut to [`VARIABLE_NAME_SHOWN`] characters.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// There is no such task.
    #[error("there is no task {0}")]
    UnknownTask(TaskId),
    /// The task is over.
    #[error("{task} cannot be cancelled: it is over, its state is {state}", state = state.word())]
    Completed {
        /// The task.
        task: TaskId,
        /// How it ended.
        state: TaskState,
    },
    /// The rollout that it shows could not be cancelled.
    #[error(transparent)]
    Rollout(RolloutError),
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// What a deployment is asked for with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeployRequest {
    /// The package.
    pub package_id: PackageId,
    /// Its version; `None` for the newest.
    pub version: Option<Version>,
    /// Where to.
    pub environment: EnvironmentId,
    /// Only machines with any of these roles; empty for all.
    pub roles: Vec<String>,
    /// Variables for the package's scripts.
    pub variables: BTreeMap<String, String>,
    /// What the task is called; `None` for a sentence made of the rest.
    pub description: Option<String>,
}

/// Makes a task that asks machines how they are. It is called `description`, or a sentence made of the selection.
pub async fn task_create_health(
    app: &App,
    space: SpaceId,
    who: &str,
    selection: &Selection,
    description: Option<String>,
) -> Result<TaskId, TaskError> {
    let mut tx = app.db.write().await?;
    let machines = selected(&mut tx, space, selection).await?;
    let description = description.unwrap_or_else(|| match machines.as_slice() {
        [machine] => format!("Check the health of {}", machine.name),
        machines => format!("Check the health of {} machines", machines.len()),
    });
    let arguments = match selection {
        Selection::All => serde_json::json!({}),
        Selection::Environments(ids) => match ids.as_slice() {
            [id] => serde_json::json!({ "EnvironmentId": id }),
            ids => serde_json::json!({ "EnvironmentIds": ids }),
        },
        Selection::Machines(ids) => serde_json::json!({ "MachineIds": ids }),
    };
    let task = NewTask { space, name: HEALTH.to_owned(), description, arguments, created_by: who.to_owned() };
    let id = insert(&mut tx, app, &task, &machines).await?;
    tx.commit().await.map_err(DbError::from)?;
    announce(app, id);
    Ok(id)
}

/// Makes a task that walks the way to a machine step by step. A disabled machine may be tried, too: that harms nothing, and
/// a person asked.
pub async fn task_create_connect(
    app: &App,
    space: SpaceId,
    who: &str,
    machine: MachineId,
) -> Result<TaskId, TaskError> {
    let mut tx = app.db.write().await?;
    let machine = machine_get(&mut tx, space, machine).await?.ok_or(TaskError::UnknownMachine(machine))?;
    let description = format!("Test the connection to {}", machine.name);
    let arguments = serde_json::json!({ "MachineIds": [machine.id] });
    let task = NewTask { space, name: CONNECTIVITY.to_owned(), description, arguments, created_by: who.to_owned() };
    let id = insert(&mut tx, app, &task, std::slice::from_ref(&machine)).await?;
    tx.commit().await.map_err(DbError::from)?;
    announce(app, id);
    Ok(id)
}

/// Makes a task that installs a package on the enabled machines of an environment that have any of the roles.
pub async fn task_create_deploy(
    app: &App,
    space: SpaceId,
    who: &str,
    request: DeployRequest,
) -> Result<TaskId, TaskError> {
    check_variables(&request.variables)?;
    let mut tx = app.db.write().await?;
    let environment = environment_get(&mut tx, space, request.environment).await?;
    let environment = environment.ok_or(TaskError::UnknownEnvironment(request.environment))?;
    if environment.is_disabled {
        return Err(TaskError::DisabledEnvironment(environment.name.to_string()));
    }
    let package = package_for(&mut tx, space, &request).await?;
    let machines = machine_list(&mut tx, space).await?;
    let machines: Vec<Machine> =
        machines.into_iter().filter(|machine| is_deployed_to(machine, environment.id, &request.roles)).collect();
    if machines.is_empty() {
        return Err(TaskError::NothingSelected { why: no_machine(&environment, &request.roles) });
    }
    let description = request.description.clone().unwrap_or_else(|| {
        format!("Deploy {} {} to {}", package.package.package_id, package.package.version, environment.name)
    });
    let order = deploy::Order::new(&package, &request);
    let arguments = serde_json::to_value(&order).map_err(|error| DbError::damaged("tasks.arguments", error))?;
    let task = NewTask { space, name: DEPLOY.to_owned(), description, arguments, created_by: who.to_owned() };
    let id = insert(&mut tx, app, &task, &machines).await?;
    tx.commit().await.map_err(DbError::from)?;
    announce(app, id);
    Ok(id)
}

/// Writes the wish to cancel a task of any kind; where it shows a rollout, that is what is cancelled. To wish it twice is no
/// error.
pub async fn task_cancel(app: &App, space: SpaceId, id: TaskId, who: Who<'_>) -> Result<(), TaskError> {
    let mut tx = app.db.write().await?;
    let task = task_get(&mut tx, space, id).await?.ok_or(TaskError::UnknownTask(id))?;
    if task.state.is_completed() {
        return Err(TaskError::Completed { task: id, state: task.state });
    }
    if let Some(rollout) = rollout_of_task(&mut tx, id).await? {
        drop(tx);
        rollout_cancel(app, space, rollout, who).await.map_err(TaskError::Rollout)?;
        return Ok(());
    }
    if task_cancel_request(&mut tx, space, id, app.now()).await? {
        let why: String = who.why.trim().chars().take(WHY_MAX).collect();
        let line = format!("{} asked to cancel the task{}", who.name, because(&why));
        task_log_append(&mut tx, id, None, app.now(), LogCategory::Warning, &line).await?;
        let line = format!("asked to cancel {id} ({}){}", task.task.description, because(&why));
        let deed = Deed::new(AuditKind::Task, AuditCategory::Canceled, "Cancel", line).by(who.name).on(id);
        deed.write(&mut tx, space, app.now()).await?;
    }
    tx.commit().await.map_err(DbError::from)?;
    announce(app, id);
    app.live.poke_orchestrator();
    Ok(())
}

/// Refuses what no environment can hold: the script would run without it, and nobody would know.
fn check_variables(variables: &BTreeMap<String, String>) -> Result<(), TaskError> {
    if variables.len() > VARIABLES_MAX {
        return Err(TaskError::TooManyVariables(variables.len()));
    }
    for (name, value) in variables {
        let why = match name {
            name if name.trim().is_empty() => "its name is empty",
            name if name.contains('=') => "its name holds =, which ends a name",
            name if name.contains('\0') => "its name holds a NUL character",
            _ if value.contains('\0') => "its value holds a NUL character, at which it would end",
            _ => continue,
        };
        return Err(TaskError::UnfitVariable { name: name.chars().take(VARIABLE_NAME_SHOWN).collect(), why });
    }
    Ok(())
}

async fn insert(conn: &mut Connection, app: &App, task: &NewTask, machines: &[Machine]) -> Result<TaskId, DbError> {
    let id = task_insert(conn, task, app.now()).await?;
    for machine in machines {
        task_machine_insert(conn, id, machine.id, &machine.name).await?;
    }
    // Not the arguments: those of a deployment hold its variables.
    let line = format!("queued {}: {}", task.name, task.description);
    let deed = Deed::new(AuditKind::Task, AuditCategory::Queued, task.name.clone(), line).by(&task.created_by).on(id);
    deed.on_all(machines.iter().map(|machine| machine.id)).write(conn, task.space, app.now()).await?;
    Ok(id)
}

fn announce(app: &App, id: TaskId) {
    app.live.tell(Change::Task(id));
    app.live.poke_tasks();
}

/// The enabled machines of a selection. A machine or environment that is named must be there.
async fn selected(conn: &mut Connection, space: SpaceId, selection: &Selection) -> Result<Vec<Machine>, TaskError> {
    let machines = machine_list(conn, space).await?;
    let chosen: Vec<Machine> = match selection {
        Selection::All => machines,
        Selection::Environments(ids) => {
            for id in ids {
                environment_get(conn, space, *id).await?.ok_or(TaskError::UnknownEnvironment(*id))?;
            }
            machines.into_iter().filter(|machine| machine.environments.iter().any(|id| ids.contains(id))).collect()
        }
        Selection::Machines(ids) => {
            let known: HashSet<MachineId> = machines.iter().map(|machine| machine.id).collect();
            if let Some(unknown) = ids.iter().find(|id| !known.contains(id)) {
                return Err(TaskError::UnknownMachine(*unknown));
            }
            machines.into_iter().filter(|machine| ids.contains(&machine.id)).collect()
        }
    };
    let count = chosen.len();
    let enabled: Vec<Machine> = chosen.into_iter().filter(|machine| !machine.is_disabled).collect();
    match (enabled.is_empty(), count) {
        (false, _) => Ok(enabled),
        (true, 0) => Err(TaskError::NothingSelected { why: "there is no machine there".to_owned() }),
        (true, _) => Err(TaskError::NothingSelected { why: format!("all of the {count} there are disabled") }),
    }
}

async fn package_for(conn: &mut Connection, space: SpaceId, request: &DeployRequest) -> Result<Package, TaskError> {
    let id = &request.package_id;
    let found = match &request.version {
        Some(version) => package_get(conn, space, id, version).await?,
        None => {
            let packages = package_list(conn, space).await?.into_iter();
            packages.filter(|package| package.package.package_id == *id).max_by_key(|p| p.package.version.clone())
        }
    };
    found.ok_or_else(|| TaskError::UnknownPackage {
        id: id.as_str().to_owned(),
        version: request.version.as_ref().map_or_else(|| "in any version".to_owned(), ToString::to_string),
    })
}

fn is_deployed_to(machine: &Machine, environment: EnvironmentId, roles: &[String]) -> bool {
    let has = |role: &String| machine.roles.iter().any(|own| own.to_lowercase() == role.to_lowercase());
    !machine.is_disabled && machine.environments.contains(&environment) && (roles.is_empty() || roles.iter().any(has))
}

fn no_machine(environment: &Environment, roles: &[String]) -> String {
    match roles {
        [] => format!("{} has no enabled machine", environment.name),
        [role] => format!("{} has no enabled machine with the role {role}", environment.name),
        roles => format!("{} has no enabled machine with any of the roles {}", environment.name, roles.join(", ")),
    }
}
