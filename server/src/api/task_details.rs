//! A task with its log as a tree: one child for each machine.

use std::collections::{HashMap, VecDeque};

use serde_json::{Value, json};

use crate::clock::Timestamp;
use crate::db::rollouts::{rollout_get, rollout_of_task};
use crate::db::tasks::{task_log, task_machines};
use crate::db::{Connection, DbError};
use crate::ids::MachineId;
use crate::model::{LogEntry, MachineTaskState, Task, TaskState};
use crate::rollout::state::PhaseKind;

/// Lines of log in one answer. Of a longer log these are the last; `raw` has all of them.
const LINES_MAX: usize = 10_000;

/// A machine's part of a task, of whatever kind.
struct Part {
    machine: MachineId,
    name: String,
    status: &'static str,
    started_at: Option<Timestamp>,
    ended_at: Option<Timestamp>,
    message: String,
}

async fn parts(conn: &mut Connection, task: &Task) -> Result<Vec<Part>, DbError> {
    if let Some(id) = rollout_of_task(conn, task.id).await? {
        let rollout = rollout_get(conn, task.task.space, id).await?;
        let machines = rollout.map(|rollout| rollout.machines).unwrap_or_default();
        let part = |row: crate::rollout::state::RolloutMachine| {
            let kind = row.phase.kind();
            let begun = !matches!(kind, PhaseKind::Waiting | PhaseKind::Skipped | PhaseKind::Cancelled);
            Part {
                machine: row.machine,
                name: row.name,
                status: status_of_phase(kind),
                started_at: begun.then_some(row.since),
                ended_at: kind.is_final().then_some(row.since),
                message: match row.phase.reason() {
                    reason if reason.is_empty() => kind.word().to_owned(),
                    reason => format!("{}: {reason}", kind.word()),
                },
            }
        };
        return Ok(machines.into_iter().map(part).collect());
    }
    let rows = task_machines(conn, task.id).await?;
    let part = |row: crate::model::MachineTask| Part {
        machine: row.machine,
        name: row.machine_name,
        status: status_of_machine(row.state),
        started_at: row.started_at,
        ended_at: row.completed_at,
        message: row.reason,
    };
    Ok(rows.into_iter().map(part).collect())
}

fn status_of_phase(kind: PhaseKind) -> &'static str {
    match kind {
        PhaseKind::Waiting => "Pending",
        PhaseKind::Checking
        | PhaseKind::Uploading
        | PhaseKind::Installing
        | PhaseKind::Restarting
        | PhaseKind::Proving => "Running",
        PhaseKind::Upgraded => "Success",
        PhaseKind::FellBack | PhaseKind::Failed | PhaseKind::Lost => "Failed",
        PhaseKind::Skipped => "Skipped",
        PhaseKind::Cancelled => "Canceled",
    }
}

fn status_of_machine(state: MachineTaskState) -> &'static str {
    match state {
        MachineTaskState::Pending => "Pending",
        MachineTaskState::Running => "Running",
        MachineTaskState::Success => "Success",
        // The wire has no word for an end that nobody knows; the progress message says it.
        MachineTaskState::Failed | MachineTaskState::Unknown => "Failed",
        MachineTaskState::Canceled => "Canceled",
    }
}

fn status_of_task(task: &Task) -> &'static str {
    match task.state {
        TaskState::Queued => "Pending",
        TaskState::Executing | TaskState::Cancelling => "Running",
        TaskState::Success if task.has_warnings => "SuccessWithWarning",
        TaskState::Success => "Success",
        TaskState::Failed | TaskState::TimedOut => "Failed",
        TaskState::Canceled => "Canceled",
    }
}

/// The details of a task; of each node the last `tail` lines.
pub(super) async fn details(
    conn: &mut Connection,
    task: &Task,
    resource: Value,
    tail: Option<usize>,
) -> Result<Value, DbError> {
    let parts = parts(conn, task).await?;
    let (lines, size) = last_lines(conn, task).await?;
    let mut by_machine: HashMap<Option<MachineId>, Vec<Value>> = HashMap::new();
    let known = |machine: MachineId| parts.iter().any(|part| part.machine == machine);
    for line in &lines {
        by_machine.entry(line.machine.filter(|id| known(*id))).or_default().push(element(line));
    }
    let mut elements = |machine: Option<MachineId>| {
        let all = by_machine.remove(&machine).unwrap_or_default();
        let skip = tail.map_or(0, |tail| all.len().saturating_sub(tail));
        all.into_iter().skip(skip).collect::<Vec<_>>()
    };
    let done = parts.iter().filter(|part| part.ended_at.is_some()).count();
    let percentage = match parts.len() {
        0 => {
            if task.state.is_completed() {
                100
            } else {
                0
            }
        }
        all => done * 100 / all,
    };
    let children = parts.iter().map(|part| node(task, part, elements(Some(part.machine))));
    let children: Vec<Value> = children.collect();
    let root = json!({
        "Id": format!("{}/root", task.id),
        "Name": task.task.description,
        "Status": status_of_task(task),
        "Started": task.started_at.map(|at| at.rfc3339()),
        "Ended": task.completed_at.map(|at| at.rfc3339()),
        "Children": children,
        "ShowAtSummaryLevel": true,
        "LogElements": elements(None),
        "ProgressPercentage": percentage,
        "ProgressMessage": task.error_message,
    });
    let link = format!("{}/tasks/{}/details", super::base(task.task.space), task.id);
    Ok(json!({
        "Id": task.id,
        "Task": resource,
        "ActivityLogs": [root],
        "Progress": { "ProgressPercentage": percentage, "EstimatedTimeRemaining": "" },
        "PhysicalLogSize": size,
        "Links": { "Self": link },
    }))
}

fn node(task: &Task, part: &Part, elements: Vec<Value>) -> Value {
    json!({
        "Id": format!("{}/{}", task.id, part.machine),
        "Name": part.name,
        "Status": part.status,
        "Started": part.started_at.map(|at| at.rfc3339()),
        "Ended": part.ended_at.map(|at| at.rfc3339()),
        "Children": [],
        "ShowAtSummaryLevel": true,
        "LogElements": elements,
        "ProgressPercentage": if part.ended_at.is_some() { 100 } else { 0 },
        "ProgressMessage": part.message,
    })
}

fn element(line: &LogEntry) -> Value {
    json!({
        "Category": line.category.word(),
        "OccurredAt": line.at.rfc3339(),
        "MessageText": line.message,
        "Detail": null,
    })
}

/// The last lines of the log, and how many bytes all of its messages have.
async fn last_lines(conn: &mut Connection, task: &Task) -> Result<(VecDeque<LogEntry>, usize), DbError> {
    let (mut kept, mut size, mut after) = (VecDeque::new(), 0, 0);
    loop {
        let lines = task_log(conn, task.id, after).await?;
        let Some(last) = lines.last().map(|line| line.number) else { return Ok((kept, size)) };
        after = last;
        for line in lines {
            size += line.message.len();
            kept.push_back(line);
        }
        kept.drain(..kept.len().saturating_sub(LINES_MAX));
    }
}

/// The names of a task's machines, for its log as text.
pub(super) struct Names(HashMap<MachineId, String>);

impl Names {
    pub(super) async fn of(conn: &mut Connection, task: &Task) -> Result<Self, DbError> {
        Ok(Self(parts(conn, task).await?.into_iter().map(|part| (part.machine, part.name)).collect()))
    }
}

/// A line of the log as text, with its line end.
pub(super) fn text_line(line: &LogEntry, names: &Names) -> String {
    let (at, category) = (line.at.rfc3339(), line.category.word());
    let name = |id: MachineId| names.0.get(&id).cloned().unwrap_or_else(|| id.to_string());
    match line.machine.map(name) {
        Some(name) => format!("{at} {category:<7} | {name} | {}\n", line.message),
        None => format!("{at} {category:<7} | {}\n", line.message),
    }
}
