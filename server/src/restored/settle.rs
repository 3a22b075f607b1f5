//! What the first start of a restored portal does before anything else: it stops what the backup says is under way. That was
//! long ago, and what became of it since is not known here.

use super::{restored_get, restored_put};
use crate::app::App;
use crate::audit::{Deed, PORTAL};
use crate::clock::Timestamp;
use crate::db::rollouts::{rollout_machine_update, rollout_open, rollout_set_state};
use crate::db::tasks::{task_end, task_list_open, task_log_append, task_machine_update, task_machines};
use crate::db::{Connection, DbError};
use crate::ids::SpaceId;
use crate::model::{AuditCategory, AuditKind, LogCategory, MachineTaskState, TaskState};
use crate::rollout::settle::enter;
use crate::rollout::state::{Phase, PhaseKind, Rollout, RolloutState, WaitReason};
use crate::tasks::UPGRADE;

/// Stops what is under way, once after each restore. Called at the start, before the loops.
pub async fn settle(app: &App) -> Result<(), DbError> {
    let mut tx = app.db.write().await?;
    let Some(mut restored) = restored_get(&mut tx).await?.filter(|restored| restored.settled_at.is_none()) else {
        return Ok(());
    };
    let (reason, now) = (restored.reason(), app.now());
    let mut paused = 0;
    for rollout in rollout_open(&mut tx).await?.iter().filter(|rollout| goes_on(rollout)) {
        pause(app, &mut tx, rollout, &reason, now).await?;
        paused += 1;
    }
    let mut ended = 0;
    for task in task_list_open(&mut tx).await?.iter().filter(|task| task.task.name != UPGRADE) {
        let sentence = format!("{reason}. What became of this task since is not known here.");
        for mut part in task_machines(&mut tx, task.id).await? {
            if matches!(part.state, MachineTaskState::Pending | MachineTaskState::Running) {
                part.state = MachineTaskState::Unknown;
                part.reason.clone_from(&reason);
                part.completed_at = Some(now);
                task_machine_update(&mut tx, task.id, &part).await?;
            }
        }
        task_log_append(&mut tx, task.id, None, now, LogCategory::Error, &sentence).await?;
        task_end(&mut tx, task.id, TaskState::Failed, &sentence, now).await?;
        ended += 1;
    }
    restored.settled_at = Some(now);
    restored_put(&mut tx, &restored).await?;
    let line = format!("started as restored ({reason}): paused {paused} rollouts, ended {ended} tasks");
    let deed = Deed::new(AuditKind::Setting, AuditCategory::Modified, "Restore", line).by(PORTAL);
    deed.write(&mut tx, SpaceId::DEFAULT, now).await?;
    tx.commit().await?;
    tracing::warn!(reason, rollouts = paused, tasks = ended, "nothing goes on before an administrator confirms this");
    Ok(())
}

/// True where something of it is under way or would begin some day.
fn goes_on(rollout: &Rollout) -> bool {
    rollout.state != RolloutState::Cancelled && (!rollout.is_over() || rollout.count(PhaseKind::is_in_flight) > 0)
}

/// Pauses a rollout. What was begun waits again: no command of the backup is ever sent once more.
async fn pause(
    app: &App,
    conn: &mut Connection,
    rollout: &Rollout,
    reason: &str,
    now: Timestamp,
) -> Result<(), DbError> {
    for machine in rollout.machines.iter().filter(|machine| machine.phase.kind().is_in_flight()) {
        let waits = Phase::Waiting(WaitReason::Interrupted { reason: reason.to_owned() });
        let Ok(next) = enter(machine, waits, &app.deadlines(rollout.space), now) else { continue };
        rollout_machine_update(conn, rollout.id, &next).await?;
        let line = format!("{}: {} → Waiting: {reason}", machine.name, machine.phase.kind());
        task_log_append(conn, rollout.task, Some(machine.machine), now, LogCategory::Warning, &line).await?;
    }
    rollout_set_state(conn, rollout.id, RolloutState::Paused, reason, now).await?;
    task_log_append(conn, rollout.task, None, now, LogCategory::Warning, &format!("Paused: {reason}")).await?;
    let line = format!("set {} to Paused: {reason}", rollout.id);
    let deed = Deed::new(AuditKind::Rollout, AuditCategory::Modified, "State", line).by(PORTAL);
    deed.on(rollout.id).write(conn, rollout.space, now).await
}
