//! What a running task writes down: lines of its log and the rows of its machines. Called by the runner's jobs only.

use crate::app::App;
use crate::clock::Timestamp;
use crate::db::DbError;
use crate::db::tasks::{task_log_append, task_machine_update};
use crate::ids::{MachineId, TaskId};
use crate::live::Change;
use crate::model::{LogCategory, MachineTask};

/// A line about one machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// When.
    pub at: Timestamp,
    /// How grave.
    pub category: LogCategory,
    /// What.
    pub text: String,
}

/// The journal of one task.
#[derive(Clone)]
pub(super) struct Journal {
    app: App,
    task: TaskId,
}

impl Journal {
    pub(super) fn new(app: App, task: TaskId) -> Self {
        Self { app, task }
    }

    /// A line of the present moment.
    pub(super) fn line(&self, category: LogCategory, text: impl Into<String>) -> Line {
        Line { at: self.app.now(), category, text: text.into() }
    }

    /// Appends a line about a machine, or about the task itself.
    pub(super) async fn say(
        &self,
        machine: Option<MachineId>,
        category: LogCategory,
        text: &str,
    ) -> Result<(), DbError> {
        let mut tx = self.app.db.write().await?;
        task_log_append(&mut tx, self.task, machine, self.app.now(), category, text).await?;
        tx.commit().await?;
        self.app.live.tell(Change::Task(self.task));
        Ok(())
    }

    /// Writes a machine's row and lines about it, both or neither: so no line of a machine's log is copied twice.
    pub(super) async fn record(&self, part: &MachineTask, lines: &[Line]) -> Result<(), DbError> {
        let mut tx = self.app.db.write().await?;
        task_machine_update(&mut tx, self.task, part).await?;
        for line in lines {
            task_log_append(&mut tx, self.task, Some(part.machine), line.at, line.category, &line.text).await?;
        }
        tx.commit().await?;
        self.app.live.tell(Change::Task(self.task));
        Ok(())
    }
}
