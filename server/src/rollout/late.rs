//! Machines that come into a rollout's environments while it is under way: they join its last wave and go through the same
//! gates, where its strategy says so.
//!
//! Membership of the others never changes. Machines that were looked at when the rollout was made never join: they were up
//! to date, and whatever they run now somebody wished since.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::absent::LateArrivals;
use super::create::Selection;
use super::state::{Rollout, RolloutState};
use crate::app::App;
use crate::audit::{Deed, PORTAL};
use crate::clock::Timestamp;
use crate::db::environments::environment_list;
use crate::db::facts::facts_of;
use crate::db::machines::machine_list;
use crate::db::policies::{Scope, scope_get, scope_strangers};
use crate::db::rollouts::{NewRolloutMachine, rollout_machine_insert, rollout_open, rollout_revise};
use crate::db::tasks::task_log_append;
use crate::db::{Connection, DbError};
use crate::ids::{EnvironmentId, MachineId};
use crate::live::Change;
use crate::model::{AuditCategory, AuditKind, LogCategory, Machine, VersionState};
use crate::restored::restored_open;

/// How often it is looked for machines that came late. Each waits for so long at most before it is listed.
const TICK: Duration = Duration::from_secs(5);

/// Looks for machines that came late, until `stop`.
pub async fn run(app: App, stop: CancellationToken) {
    while !stop.is_cancelled() {
        if let Err(error) = admit(&app).await {
            tracing::error!(error = &error as &dyn std::error::Error, "late machines could not be looked for");
        }
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(TICK) => {}
        }
    }
}

/// Lets machines that came late into the rollouts that are not over.
pub async fn admit(app: &App) -> Result<(), DbError> {
    let mut conn = app.db.read().await?;
    if restored_open(&mut conn).await?.is_some() {
        return Ok(());
    }
    for rollout in rollout_open(&mut conn).await?.iter().filter(|rollout| is_joined(rollout)) {
        let found = latecomers(&mut conn, rollout).await?;
        if !found.is_empty() {
            join(app, rollout, found).await?;
        }
    }
    Ok(())
}

fn is_joined(rollout: &Rollout) -> bool {
    let goes_on = matches!(rollout.state, RolloutState::Scheduled | RolloutState::Running | RolloutState::Paused);
    goes_on && rollout.cancel_requested_at.is_none() && rollout.strategy.late_arrivals == LateArrivals::Join
}

/// The machines that are known to be outdated, and were not there when the rollout was made.
async fn latecomers(conn: &mut Connection, rollout: &Rollout) -> Result<Vec<NewRolloutMachine>, DbError> {
    let Some(scope) = scope_get(conn, rollout.id).await? else { return Ok(Vec::new()) };
    let strangers = scope_strangers(conn, rollout.space, rollout.id).await?;
    if strangers.is_empty() {
        return Ok(Vec::new());
    }
    let enabled: Vec<EnvironmentId> = environment_list(conn, rollout.space)
        .await?
        .into_iter()
        .filter(|environment| !environment.is_disabled)
        .map(|environment| environment.id)
        .collect();
    let mut machines = machine_list(conn, rollout.space).await?;
    machines.retain(|machine| strangers.contains(&machine.id) && is_meant(&scope, machine, &enabled));
    let ids: Vec<MachineId> = machines.iter().map(|machine| machine.id).collect();
    let facts = facts_of(conn, &ids).await?;
    let wave = rollout.waves.len().saturating_sub(1);
    let join = |machine: Machine| {
        let version = facts.get(&machine.id)?.report.as_ref()?.version.clone();
        let is_outdated = VersionState::of(Some(&version), Some(&rollout.target)) == VersionState::UpgradeAvailable;
        let (from, name) = (Some(version), machine.name);
        is_outdated.then(|| NewRolloutMachine { machine: machine.id, name, from, wave, back: None, skipped: None })
    };
    Ok(machines.into_iter().filter_map(join).collect())
}

fn is_meant(scope: &Scope, machine: &Machine, enabled: &[EnvironmentId]) -> bool {
    let is_selected = match &scope.selection {
        Selection::All => true,
        Selection::Environments(ids) => machine.environments.iter().any(|id| ids.contains(id)),
        // Who names machines means these.
        Selection::Machines(_) => false,
    };
    let fits = |role: &String| scope.roles.iter().any(|wanted| wanted.trim().eq_ignore_ascii_case(role));
    is_selected
        && !machine.is_disabled
        && machine.environments.iter().any(|id| enabled.contains(id))
        && (scope.roles.is_empty() || machine.roles.iter().any(fits))
}

async fn join(app: &App, rollout: &Rollout, found: Vec<NewRolloutMachine>) -> Result<(), DbError> {
    let now: Timestamp = app.clock.now();
    let mut tx = app.db.write().await?;
    let last = rollout.machines.iter().map(|machine| machine.position).max().unwrap_or(0);
    let mut joined = Vec::new();
    for (position, machine) in (last + 1..).zip(found) {
        if rollout_machine_insert(&mut tx, rollout.id, position, &machine, now).await? {
            let line = format!("{} came late and joins wave {}", machine.name, machine.wave + 1);
            task_log_append(&mut tx, rollout.task, Some(machine.machine), now, LogCategory::Info, &line).await?;
            let line = format!("let {} join {}, wave {}", machine.name, rollout.id, machine.wave + 1);
            let deed = Deed::new(AuditKind::Rollout, AuditCategory::Modified, "Join", line).by(PORTAL);
            deed.on(rollout.id).on(machine.machine).write(&mut tx, rollout.space, now).await?;
            joined.push(machine.machine);
        }
    }
    rollout_revise(&mut tx, rollout.id).await?;
    tx.commit().await.map_err(DbError::from)?;
    joined.iter().for_each(|machine| app.live.tell(Change::Machine(*machine)));
    app.live.tell(Change::Rollout(rollout.id));
    app.live.poke_orchestrator();
    Ok(())
}
