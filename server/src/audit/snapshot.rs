//! What a thing is at a moment, as the trail keeps it: its fields under the names that the REST API has for them. Pure.

use serde_json::{Value, json};

use crate::db::rollouts::NewRollout;
use crate::ids::EnvironmentId;
use crate::model::{Environment, Machine, Package, Reach, Role, Space, User};
use crate::rollout::calendar::{FreezePeriod, FreezeScope};
use crate::rollout::care::Cares;
use crate::rollout::hindrance::Hold;

/// A machine.
pub fn machine_state(machine: &Machine) -> Value {
    json!({
        "Name": machine.name,
        "Uri": machine.address.uri(),
        "Thumbprint": machine.thumbprint.to_string(),
        "IsDisabled": machine.is_disabled,
        "EnvironmentIds": machine.environments,
        "Roles": machine.roles,
    })
}

/// The hold of a machine.
pub fn hold_state(hold: &Hold) -> Value {
    json!({ "HeldBy": hold.by, "Reason": hold.reason, "Until": hold.until.map(|until| until.rfc3339()) })
}

/// An environment with what it says of upgrades.
pub fn environment_state(environment: &Environment, cares: &Cares) -> Value {
    json!({
        "Name": environment.name.as_str(),
        "Description": environment.description,
        "SortOrder": environment.sort_order,
        "IsDisabled": environment.is_disabled,
        "MaintenanceWindows": cares.windows(environment.id),
        "AutomaticUpgrade": cares.policy(environment.id),
    })
}

/// A freeze.
pub fn freeze_state(period: &FreezePeriod) -> Value {
    let environments: Option<&[EnvironmentId]> = match &period.scope {
        FreezeScope::All => None,
        FreezeScope::Environments(ids) => Some(ids),
    };
    json!({
        "From": period.from.rfc3339(),
        "Until": period.until.rfc3339(),
        "Reason": period.reason,
        "EnvironmentIds": environments,
    })
}

/// A rollout as it is wished.
pub fn rollout_state(rollout: &NewRollout) -> Value {
    json!({
        "Selection": serde_json::from_str(&rollout.selection).unwrap_or(Value::Null),
        "Machines": rollout.machines.len(),
        "TargetVersion": rollout.target.to_string(),
        "Waves": rollout.waves.len(),
        "MaxInFlight": rollout.max_in_flight,
        "FailureBudget": rollout.failure_budget,
        "StartAt": rollout.start_at.map(|at| at.rfc3339()),
    })
}

/// A package.
pub fn package_state(package: &Package) -> Value {
    let package = &package.package;
    json!({
        "PackageId": package.package_id.as_str(),
        "Version": package.version.to_string(),
        "Sha256": package.sha256.to_string(),
        "PackageSizeBytes": package.size,
    })
}

/// A space.
pub fn space_state(space: &Space) -> Value {
    json!({
        "Name": space.name,
        "Slug": space.slug,
        "Description": space.description,
        "TaskQueueStopped": space.queue.is_stopped(),
    })
}

/// A user with what they may do. Whether there is a password is not said, let alone which.
pub fn user_state(user: &User) -> Value {
    let environments = match &user.role {
        Role::Operator(Reach::Only(own)) => json!(own),
        Role::Operator(Reach::Everywhere) => json!("every environment"),
        Role::Viewer | Role::Administrator => Value::Null,
    };
    json!({
        "Username": user.username,
        "Role": user.role.word(),
        "EnvironmentIds": environments,
        "IsDisabled": user.is_disabled,
    })
}
