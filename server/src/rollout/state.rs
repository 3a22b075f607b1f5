//! A rollout as the orchestrator wrote it down: its state, its machines, and how long each phase may take. Pure.

use std::time::Duration;

use contract::Version;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::ids::{MachineId, RolloutId, SpaceId, TaskId};

pub use super::phase::{Command, IllegalStep, Phase, PhaseKind, SkipReason, WaitReason};

/// Where a rollout stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RolloutState {
    /// Machines are being brought to the target.
    Running,
    /// Nothing new is started; the reason stands beside it.
    Paused,
    /// Every machine that could be reached is at the target. Machines that were offline may still be waiting.
    Completed,
    /// Nothing is under way any more, and some machines failed.
    CompletedWithFailures,
    /// It was cancelled, and nothing is under way any more.
    Cancelled,
}

impl RolloutState {
    /// Every state.
    pub const ALL: [Self; 5] =
        [Self::Running, Self::Paused, Self::Completed, Self::CompletedWithFailures, Self::Cancelled];

    /// The word on the wire and in the database.
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "Running",
            Self::Paused => "Paused",
            Self::Completed => "Completed",
            Self::CompletedWithFailures => "CompletedWithFailures",
            Self::Cancelled => "Cancelled",
        }
    }

    /// Reads [`RolloutState::word`].
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.word() == word)
    }

    /// True where nothing will be started any more, but for machines that were offline.
    pub fn is_completed(self) -> bool {
        matches!(self, Self::Completed | Self::CompletedWithFailures | Self::Cancelled)
    }
}

/// How long each phase may take, and the proving time. What happens at each deadline stands with the field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// Then the machine waits as offline.
    pub checking: Duration,
    /// Then it waits as offline if it is silent, and has failed otherwise.
    pub uploading: Duration,
    /// Then it is lost if it is silent, failed otherwise. Holds the drain and the unpacking.
    pub installing: Duration,
    /// Then it is lost if it is silent, failed otherwise.
    pub restarting: Duration,
    /// Then it is lost if it is silent, failed otherwise. Longer than the proving time.
    pub proving: Duration,
    /// How long a new process must have been well before it is confirmed.
    pub proving_time: Duration,
    /// How long running work may go on before an upgrade is put off.
    pub drain: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            checking: Duration::from_secs(30),
            uploading: Duration::from_secs(10 * 60),
            installing: Duration::from_secs(10 * 60),
            restarting: Duration::from_secs(2 * 60),
            proving: Duration::from_secs(5 * 60),
            proving_time: Duration::from_secs(20),
            drain: Duration::from_secs(5 * 60),
        }
    }
}

impl Deadlines {
    /// The time that `phase` may take; `None` for phases that have no end of their own.
    pub fn of(&self, phase: PhaseKind) -> Option<Duration> {
        match phase {
            PhaseKind::Checking => Some(self.checking),
            PhaseKind::Uploading => Some(self.uploading),
            PhaseKind::Installing => Some(self.installing),
            PhaseKind::Restarting => Some(self.restarting),
            PhaseKind::Proving => Some(self.proving),
            PhaseKind::Waiting
            | PhaseKind::Upgraded
            | PhaseKind::FellBack
            | PhaseKind::Failed
            | PhaseKind::Lost
            | PhaseKind::Skipped
            | PhaseKind::Cancelled => None,
        }
    }
}

/// One machine of a rollout, as the orchestrator wrote it down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolloutMachine {
    /// The machine.
    pub machine: MachineId,
    /// Its name when the rollout was made.
    pub name: String,
    /// Its place in the order.
    pub position: i64,
    /// Where it stands.
    pub phase: Phase,
    /// Since when.
    pub since: Timestamp,
    /// When the phase must be over; `None` where it has no deadline.
    pub deadline: Option<Timestamp>,
    /// How many times it was begun.
    pub attempt: u32,
    /// What it ran when it was first checked.
    pub from: Option<Version>,
    /// When the portal last tried to reach it in this phase.
    pub tried_at: Option<Timestamp>,
    /// True if the portal once stopped trying for long since the command.
    pub was_away: bool,
    /// Grows with each write; a write with an old one is refused.
    pub revision: i64,
}

/// A rollout with all its machines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rollout {
    /// Its id.
    pub id: RolloutId,
    /// The space it belongs to.
    pub space: SpaceId,
    /// The task that shows its log.
    pub task: TaskId,
    /// The version wished for.
    pub target: Version,
    /// Machines in flight at once, once the first is proven. At least 1.
    pub max_in_flight: u32,
    /// At this many failures nothing new is started. At least 1.
    pub failure_budget: u32,
    /// Who wished it.
    pub created_by: String,
    /// When.
    pub created_at: Timestamp,
    /// Where it stands.
    pub state: RolloutState,
    /// Why, where there is something to say.
    pub state_reason: String,
    /// When somebody asked to cancel it.
    pub cancel_requested_at: Option<Timestamp>,
    /// When it was over.
    pub completed_at: Option<Timestamp>,
    /// Grows with every wish of a person, every change of state and every failure. A plan made before is worth nothing.
    pub revision: i64,
    /// Its machines, in their order.
    pub machines: Vec<RolloutMachine>,
}

impl Rollout {
    /// How many machines stand in a phase for which `wanted` is true.
    pub fn count(&self, wanted: impl Fn(PhaseKind) -> bool) -> usize {
        self.machines.iter().filter(|machine| wanted(machine.phase.kind())).count()
    }

    /// True where nothing is left to be cancelled. One that is complete is not over while machines that were offline wait.
    pub fn is_over(&self) -> bool {
        let waits = self.state != RolloutState::Cancelled && self.count(|kind| kind == PhaseKind::Waiting) > 0;
        self.state.is_completed() && !waits
    }

    /// The whole truth in one sentence.
    pub fn summary(&self) -> String {
        let of = |kind| self.count(|k| k == kind);
        let mut parts = vec![format!("{} of {} upgraded", of(PhaseKind::Upgraded), self.machines.len())];
        let mut add = |count: usize, word: &str| {
            if count > 0 {
                parts.push(format!("{count} {word}"));
            }
        };
        add(self.count(PhaseKind::is_in_flight), "in progress");
        add(of(PhaseKind::Waiting), "waiting");
        add(of(PhaseKind::FellBack), "fell back");
        add(of(PhaseKind::Failed), "failed");
        add(of(PhaseKind::Lost), "lost");
        add(of(PhaseKind::Skipped), "left as they are");
        add(of(PhaseKind::Cancelled), "cancelled");
        parts.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_phase_in_flight_has_a_deadline_and_no_other() {
        for kind in PhaseKind::ALL {
            assert_eq!(Deadlines::default().of(kind).is_some(), kind.is_in_flight(), "{kind}");
        }
    }
}
