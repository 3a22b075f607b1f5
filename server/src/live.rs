//! News for everybody who wants to know at once: the loops that wait for work, and the pages that are open.
//!
//! News carries no facts, only where to look: whoever hears it loads the truth from the database. So news that is lost
//! costs a moment, never a fact.

use std::sync::Arc;

use tokio::sync::{Notify, broadcast};

use crate::ids::{EnvironmentId, MachineId, RolloutId, TaskId};

/// News that one slow listener may fall behind. One that falls further behind is told so, and reloads everything.
const BACKLOG_MAX: usize = 1024;

/// What changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    /// An environment was added, changed or deleted.
    Environment(EnvironmentId),
    /// A machine, or what is known of it, or its place in a rollout.
    Machine(MachineId),
    /// A rollout or one of its machines.
    Rollout(RolloutId),
    /// A task, its log or one of its machines.
    Task(TaskId),
    /// A package was uploaded or deleted.
    Packages,
    /// What holds for the whole portal: that it was restored, its identity, or maintenance.
    Portal,
    /// Somebody logged out, or got another password: sessions may have ended.
    Sessions,
}

/// The places where news is told.
#[derive(Clone, Debug)]
pub struct Live {
    changes: broadcast::Sender<Change>,
    orchestrator: Arc<Notify>,
    tasks: Arc<Notify>,
    health: Arc<Notify>,
    rotation: Arc<Notify>,
}

impl Default for Live {
    fn default() -> Self {
        Self {
            changes: broadcast::Sender::new(BACKLOG_MAX),
            orchestrator: Arc::default(),
            tasks: Arc::default(),
            health: Arc::default(),
            rotation: Arc::default(),
        }
    }
}

impl Live {
    /// Tells that something changed. Call it after the commit.
    pub fn tell(&self, change: Change) {
        // No listener is no error.
        let _ = self.changes.send(change);
    }

    /// News from now on.
    pub fn listen(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    /// Wakes the rollout orchestrator. Many pokes before it wakes are one.
    pub fn poke_orchestrator(&self) {
        self.orchestrator.notify_one();
    }

    /// Wakes the task runner. Many pokes before it wakes are one.
    pub fn poke_tasks(&self) {
        self.tasks.notify_one();
    }

    /// Wakes the health check, which then looks at machines that were never looked at. Many pokes are one.
    pub fn poke_health(&self) {
        self.health.notify_one();
    }

    /// Wakes the loop that tells machines of the portal's identity. Many pokes are one.
    pub fn poke_rotation(&self) {
        self.rotation.notify_one();
    }

    /// Waits for a poke of that loop.
    pub async fn rotation_poked(&self) {
        self.rotation.notified().await;
    }

    /// Waits for a poke of the health check.
    pub async fn health_poked(&self) {
        self.health.notified().await;
    }

    /// Waits for a poke of the orchestrator.
    pub async fn orchestrator_poked(&self) {
        self.orchestrator.notified().await;
    }

    /// Waits for a poke of the task runner.
    pub async fn tasks_poked(&self) {
        self.tasks.notified().await;
    }
}
