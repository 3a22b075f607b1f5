//! What the pages of tasks show. Built by pure functions; used by the pages and by their live streams.

use askama::Template;

use super::filter::{Filter, NAMES, Standing};
use crate::clock::Timestamp;
use crate::ids::{MachineId, RolloutId, TaskId};
use crate::model::{LogCategory, LogEntry, MachineTask, MachineTaskState, Task, TaskState};
use crate::pages::live::{LiveView, Part, WholeView, head_or_row};
use crate::pages::view::{self as words, Status};

/// What stands above a task's log.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Head {
    /// The task.
    pub id: TaskId,
    /// `Upgrade`, `Health` or `Deploy`.
    pub name: String,
    /// What it is.
    pub description: String,
    /// The reader may cancel it.
    pub may_cancel: bool,
    /// Where it stands.
    pub state: TaskState,
    /// Why it failed; empty if it did not.
    pub error: String,
    /// A line of its log is a warning or an error.
    pub has_warnings: bool,
    /// Who asked for it.
    pub created_by: String,
    /// When it was asked for.
    pub queued_at: Timestamp,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub completed_at: Option<Timestamp>,
    /// The rollout whose log it holds.
    pub rollout: Option<RolloutId>,
    /// Its parts, one for each machine; empty for upgrades, whose rollout shows them.
    pub machines: Vec<MachineRow>,
    /// The log has lines before those that are shown.
    pub has_earlier: bool,
}

impl Head {
    /// True where the wish to cancel would have an effect.
    pub fn can_cancel(&self) -> bool {
        match self.state {
            TaskState::Queued | TaskState::Executing => self.may_cancel,
            TaskState::Cancelling
            | TaskState::Success
            | TaskState::Failed
            | TaskState::Canceled
            | TaskState::TimedOut => false,
        }
    }
}

/// One machine of a task.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MachineRow {
    /// The machine.
    pub machine: MachineId,
    /// Its name when the task was made.
    pub name: String,
    /// Where it stands.
    pub state: MachineTaskState,
    /// Why; may be empty.
    pub reason: String,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub completed_at: Option<Timestamp>,
}

/// One line of a log.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Line {
    /// Its place among all lines of all tasks.
    pub number: i64,
    /// When it was written.
    pub at: Timestamp,
    /// How grave it is.
    pub category: LogCategory,
    /// The name of the machine it is about; empty for the task itself.
    pub machine: String,
    /// What it says.
    pub message: String,
}

impl Line {
    /// The time of day, UTC: `10:00:00`.
    pub fn clock(&self) -> String {
        self.at.rfc3339().get(11..19).unwrap_or_default().to_owned()
    }
}

/// The page of one task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskView {
    /// What stands above the log.
    pub head: Head,
    /// The log, from the first line that is shown.
    pub lines: Vec<Line>,
}

/// The list of tasks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TasksView {
    /// Newest first.
    pub tasks: Vec<Head>,
    /// Which are shown.
    pub filter: Filter,
    /// How many wait in the whole queue.
    pub queued: u64,
    /// How many run.
    pub running: u64,
    /// True if there are older ones.
    pub has_more: bool,
}

fn head(task: &Task, rollout: Option<RolloutId>, machines: &[MachineTask], has_earlier: bool) -> Head {
    let row = |part: &MachineTask| MachineRow {
        machine: part.machine,
        name: part.machine_name.clone(),
        state: part.state,
        reason: part.reason.clone(),
        started_at: part.started_at,
        completed_at: part.completed_at,
    };
    Head {
        id: task.id,
        name: task.task.name.clone(),
        description: task.task.description.clone(),
        may_cancel: true,
        state: task.state,
        error: task.error_message.clone(),
        has_warnings: task.has_warnings,
        created_by: task.task.created_by.clone(),
        queued_at: task.queued_at,
        started_at: task.started_at,
        completed_at: task.completed_at,
        rollout,
        machines: machines.iter().map(row).collect(),
        has_earlier,
    }
}

/// The page of one task. `name_of` gives the name of a machine that a line is about.
pub fn task_view(
    task: &Task,
    rollout: Option<RolloutId>,
    machines: &[MachineTask],
    log: Vec<LogEntry>,
    has_earlier: bool,
    name_of: impl Fn(MachineId) -> String,
) -> TaskView {
    let line = |entry: LogEntry| Line {
        number: entry.number,
        at: entry.at,
        category: entry.category,
        machine: entry.machine.map(&name_of).unwrap_or_default(),
        message: entry.message,
    };
    TaskView { head: head(task, rollout, machines, has_earlier), lines: log.into_iter().map(line).collect() }
}

/// What a list shows of a task.
pub fn head_in_list(task: &Task) -> Head {
    head(task, None, &[], false)
}

/// The list of tasks.
pub fn tasks_view(tasks: &[Task], filter: Filter, (queued, running): (u64, u64), has_more: bool) -> TasksView {
    let tasks = tasks.iter().map(head_in_list).collect();
    TasksView { tasks, filter, queued, running, has_more }
}

#[derive(Template)]
#[template(path = "tasks/list-region.html")]
struct ListRegion<'a> {
    view: &'a TasksView,
    now: &'a Timestamp,
}

impl WholeView for TasksView {
    const REGION: &'static str = "tasks";

    fn render(&self, now: Timestamp) -> askama::Result<String> {
        ListRegion { view: self, now: &now }.render()
    }
}

#[derive(Template)]
#[template(path = "tasks/region.html")]
struct Region<'a> {
    view: &'a TaskView,
    now: &'a Timestamp,
}

#[derive(Template)]
#[template(path = "tasks/head.html")]
struct HeadPart<'a> {
    head: &'a Head,
    now: &'a Timestamp,
}

#[derive(Template)]
#[template(path = "tasks/line.html")]
struct LinePart<'a> {
    line: &'a Line,
}

impl LiveView for TaskView {
    fn region(&self) -> &'static str {
        "task"
    }

    fn parts(&self) -> Vec<Part> {
        let head = Part::new("task-head", &self.head);
        // A line that was written never changes: its number says it all.
        let lines =
            self.lines.iter().map(|line| Part { element: format!("line-{}", line.number), fingerprint: 0, within: "" });
        std::iter::once(head).chain(lines).collect()
    }

    fn render_region(&self, now: Timestamp) -> askama::Result<String> {
        Region { view: self, now: &now }.render()
    }

    fn render_part(&self, place: usize, now: Timestamp) -> askama::Result<String> {
        let head = || HeadPart { head: &self.head, now: &now }.render();
        head_or_row(place, head, &self.lines, |line| LinePart { line }.render())
    }

    fn grows_in(&self) -> Option<&'static str> {
        Some("log")
    }
}
