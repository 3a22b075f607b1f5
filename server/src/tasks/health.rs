//! One machine of a `Health` task: it is asked how it is, and the inventory writes the answer down. Asking twice does no
//! harm, so a task that was interrupted asks again.

use std::time::Duration;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::journal::Journal;
use crate::app::App;
use crate::db::DbError;
use crate::db::machines::machine_get;
use crate::health::machine_check;
use crate::model::{Contact, Facts, LogCategory, MachineTask, MachineTaskState, Task};

/// How long one check may take. Then the machine counts as not reached.
const CHECK_MAX: Duration = Duration::from_secs(60);

/// Checks the machine of `part` and writes down what came of it.
pub(super) async fn run(
    app: &App,
    task: &Task,
    mut part: MachineTask,
    gate: &Semaphore,
    cancel: &CancellationToken,
) -> Result<(), DbError> {
    let journal = Journal::new(app.clone(), task.id);
    // The semaphore is never closed; without a place, the check just goes on.
    let _place = gate.acquire().await.ok();
    part.started_at = part.started_at.or(Some(app.now()));
    let (state, reason) = if cancel.is_cancelled() {
        (MachineTaskState::Canceled, "It was cancelled before the machine was asked.".to_owned())
    } else {
        part.state = MachineTaskState::Running;
        journal.record(&part, &[]).await?;
        check(app, task, &part).await?
    };
    let line = match state {
        MachineTaskState::Success => journal.line(LogCategory::Info, "It answered and is healthy."),
        MachineTaskState::Canceled => journal.line(LogCategory::Warning, reason.clone()),
        _ => journal.line(LogCategory::Error, reason.clone()),
    };
    part.state = state;
    part.reason = reason;
    part.completed_at = Some(app.now());
    journal.record(&part, &[line]).await
}

async fn check(app: &App, task: &Task, part: &MachineTask) -> Result<(MachineTaskState, String), DbError> {
    let mut conn = app.db.read().await?;
    let machine = machine_get(&mut conn, task.task.space, part.machine).await?;
    drop(conn);
    let Some(machine) = machine else {
        return Ok((MachineTaskState::Failed, "The machine was deleted.".to_owned()));
    };
    match tokio::time::timeout(CHECK_MAX, machine_check(app, &machine)).await {
        Ok(facts) => Ok(verdict(&facts?)),
        Err(_) => Ok((MachineTaskState::Failed, format!("It did not answer within {} s.", CHECK_MAX.as_secs()))),
    }
}

fn verdict(facts: &Facts) -> (MachineTaskState, String) {
    match &facts.contact {
        Contact::Silent { reason } | Contact::Refused { reason } => (MachineTaskState::Failed, reason.clone()),
        Contact::Answered => match facts.problems() {
            problems if problems.is_empty() => (MachineTaskState::Success, String::new()),
            problems => (MachineTaskState::Failed, format!("It answered with problems: {}", problems.join(" "))),
        },
    }
}
