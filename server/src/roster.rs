//! The roster: environments and machines as people add, change and delete them, each in one transaction with its row in the
//! trail. Used by pages and API alike. What is done to several machines at once is in [`crate::bulk`].

use serde_json::{Value, json};

use crate::app::App;
use crate::audit::{Deed, environment_state, machine_state};
use crate::db::environments::{
    environment_delete, environment_get, environment_insert, environment_list, environment_set_place,
    environment_update,
};
use crate::db::machines::{machine_delete, machine_get, machine_insert, machine_update};
use crate::db::{Connection, DbError, Refusal};
use crate::ids::{EnvironmentId, MachineId, SpaceId};
use crate::live::Change;
use crate::model::{AuditCategory, AuditKind, Environment, Machine, NewEnvironment, NewMachine};
use crate::rollout::care::{Cares, NewCare};

/// Adds an environment, or changes the one of that id, to what `wish` makes of what it is; with what it says of upgrades.
pub async fn environment_write<E: From<DbError>>(
    app: &App,
    space: SpaceId,
    id: Option<EnvironmentId>,
    wish: impl FnOnce(Option<&Environment>) -> Result<NewEnvironment, E>,
    care: &NewCare,
) -> Result<(Environment, Cares), E> {
    let mut tx = app.db.write().await?;
    let (before, written) = match id {
        None => (Value::Null, environment_insert(&mut tx, space, &wish(None)?).await?),
        Some(id) => {
            let unknown = || DbError::from(Refusal::UnknownEnvironment(id));
            let (old, before) = state_of(&mut tx, space, id).await?.ok_or_else(unknown)?;
            let written = environment_update(&mut tx, space, id, &wish(Some(&old))?).await?;
            (before, written.ok_or_else(unknown)?)
        }
    };
    care.put(&mut tx, written.id).await?;
    let cares = Cares::load(&mut tx, space).await?;
    let (category, what, verb) = match id {
        None => (AuditCategory::Created, "Create", "added"),
        Some(_) => (AuditCategory::Modified, "Edit", "changed"),
    };
    let line = format!("{verb} environment {}", written.name);
    let deed = Deed::new(AuditKind::Environment, category, what, line).on(written.id);
    deed.changed(before, environment_state(&written, &cares)).write(&mut tx, space, app.now()).await?;
    tx.commit().await.map_err(DbError::from)?;
    app.live.tell(Change::Environment(written.id));
    // Windows may have opened.
    app.live.poke_orchestrator();
    Ok((written, cares))
}

/// Puts the environments of a space into the order of `ids`. Those that are not named come after them, as they stood.
pub async fn environments_sort(app: &App, space: SpaceId, ids: &[EnvironmentId]) -> Result<(), DbError> {
    let mut tx = app.db.write().await?;
    let before: Vec<EnvironmentId> =
        environment_list(&mut tx, space).await?.into_iter().map(|known| known.id).collect();
    let mut after: Vec<EnvironmentId> = Vec::with_capacity(before.len());
    for id in ids {
        if !before.contains(id) {
            return Err(Refusal::UnknownEnvironment(*id).into());
        }
        if !after.contains(id) {
            after.push(*id);
        }
    }
    after.extend(before.iter().filter(|id| !ids.contains(id)));
    if before == after {
        return Ok(());
    }
    for (place, id) in after.iter().enumerate() {
        environment_set_place(&mut tx, space, *id, i64::try_from(place).unwrap_or(i64::MAX)).await?;
    }
    let deed = Deed::new(AuditKind::Environment, AuditCategory::Modified, "Sort", "sorted the environments");
    let deed = deed.on_all(&after).changed(json!({ "Order": before }), json!({ "Order": after }));
    deed.write(&mut tx, space, app.now()).await?;
    tx.commit().await?;
    for id in after {
        app.live.tell(Change::Environment(id));
    }
    Ok(())
}

/// Deletes an environment. False if there is none.
pub async fn environment_remove(app: &App, space: SpaceId, id: EnvironmentId) -> Result<bool, DbError> {
    let mut tx = app.db.write().await?;
    let Some((environment, before)) = state_of(&mut tx, space, id).await? else { return Ok(false) };
    environment_delete(&mut tx, space, id).await?;
    let line = format!("deleted environment {}", environment.name);
    let deed = Deed::new(AuditKind::Environment, AuditCategory::Deleted, "Delete", line).on(id);
    deed.changed(before, Value::Null).write(&mut tx, space, app.now()).await?;
    tx.commit().await?;
    app.live.tell(Change::Environment(id));
    Ok(true)
}

async fn state_of(
    conn: &mut Connection,
    space: SpaceId,
    id: EnvironmentId,
) -> Result<Option<(Environment, Value)>, DbError> {
    let Some(environment) = environment_get(conn, space, id).await? else { return Ok(None) };
    let state = environment_state(&environment, &Cares::load(conn, space).await?);
    Ok(Some((environment, state)))
}

/// Adds a machine.
pub async fn machine_add(app: &App, space: SpaceId, new: &NewMachine) -> Result<Machine, DbError> {
    let mut tx = app.db.write().await?;
    let machine = machine_insert(&mut tx, space, new, app.now()).await?;
    let line = format!("added machine {}", machine.name);
    let deed = Deed::new(AuditKind::Machine, AuditCategory::Created, "Create", line).on(machine.id);
    deed.changed(Value::Null, machine_state(&machine)).write(&mut tx, space, app.now()).await?;
    tx.commit().await?;
    app.live.tell(Change::Machine(machine.id));
    app.live.poke_health();
    Ok(machine)
}

/// Changes a machine to what `wish` makes of what it is. Returns it before and after; `None` if there is none. What is the
/// same already is no change.
pub async fn machine_change<E: From<DbError>>(
    app: &App,
    space: SpaceId,
    id: MachineId,
    wish: impl FnOnce(&Machine) -> Result<NewMachine, E>,
) -> Result<Option<(Machine, Machine)>, E> {
    let mut tx = app.db.write().await?;
    let Some(old) = machine_get(&mut tx, space, id).await? else { return Ok(None) };
    let Some(changed) = machine_update(&mut tx, space, id, &wish(&old)?).await? else { return Ok(None) };
    let verb = match (old.is_disabled, changed.is_disabled) {
        (false, true) => "disabled",
        (true, false) => "enabled",
        (true, true) | (false, false) => "changed",
    };
    let line = format!("{verb} machine {}", changed.name);
    let deed = Deed::new(AuditKind::Machine, AuditCategory::Modified, "Edit", line).on(id);
    let deed = deed.changed(machine_state(&old), machine_state(&changed));
    if !deed.changes_nothing() {
        deed.write(&mut tx, space, app.now()).await?;
    }
    tx.commit().await.map_err(DbError::from)?;
    app.live.tell(Change::Machine(id));
    app.live.poke_orchestrator();
    Ok(Some((old, changed)))
}

/// Deletes a machine: the portal forgets it. False if there is none.
pub async fn machine_remove(app: &App, space: SpaceId, id: MachineId) -> Result<bool, DbError> {
    let mut tx = app.db.write().await?;
    let Some(machine) = machine_get(&mut tx, space, id).await? else { return Ok(false) };
    machine_delete(&mut tx, space, id).await?;
    let line = format!("deleted machine {}", machine.name);
    let deed = Deed::new(AuditKind::Machine, AuditCategory::Deleted, "Delete", line).on(id);
    deed.changed(machine_state(&machine), Value::Null).write(&mut tx, space, app.now()).await?;
    tx.commit().await?;
    app.live.tell(Change::Machine(id));
    app.live.poke_orchestrator();
    Ok(true)
}
