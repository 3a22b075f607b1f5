//! A rollout as the orchestrator wrote it down: its state, its machines, and how long each phase may take. Pure.

use std::time::Duration;

use contract::Version;
use serde::{Deserialize, Serialize};

use super::strategy::{Approval, Strategy};
use crate::clock::Timestamp;
use crate::counts::thousands;
use crate::ids::{MachineId, RolloutId, SpaceId, TaskId};

pub use super::phase::{Command, IllegalStep, Mark, Phase, PhaseKind, SkipReason, WaitReason};

/// Where a rollout stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RolloutState {
    /// Its hour has not come.
    Scheduled,
    /// Machines are being brought to the target.
    Running,
    /// Nothing new is started; the reason stands beside it.
    Paused,
    /// Every machine that could begin is at the target. Machines that are offline or held back may still be waiting.
    Completed,
    /// Nothing is under way any more, and some machines failed.
    CompletedWithFailures,
    /// It was cancelled, and nothing is under way any more.
    Cancelled,
}

impl RolloutState {
    /// Every state.
    pub const ALL: [Self; 6] =
        [Self::Scheduled, Self::Running, Self::Paused, Self::Completed, Self::CompletedWithFailures, Self::Cancelled];

    /// The word on the wire and in the database.
    pub fn word(self) -> &'static str {
        match self {
            Self::Scheduled => "Scheduled",
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

    /// The one table of steps that the planner takes.
    pub fn may_become(self, next: Self) -> bool {
        use RolloutState as S;
        match self {
            S::Scheduled => matches!(next, S::Running | S::Cancelled),
            S::Running => matches!(next, S::Paused | S::Completed | S::CompletedWithFailures | S::Cancelled),
            S::Paused => matches!(next, S::Completed | S::CompletedWithFailures | S::Cancelled),
            S::Completed => matches!(next, S::CompletedWithFailures | S::Paused),
            S::CompletedWithFailures => matches!(next, S::Completed | S::Paused),
            S::Cancelled => false,
        }
    }

    /// The steps that only a person's hand takes: start now, pause, resume, retry.
    pub fn may_become_by_hand(self, next: Self) -> bool {
        use RolloutState as S;
        match next {
            S::Running => matches!(self, S::Scheduled | S::Paused | S::Completed | S::CompletedWithFailures),
            S::Paused => matches!(self, S::Scheduled | S::Running | S::Completed | S::CompletedWithFailures),
            S::Scheduled => self == S::Paused,
            S::Completed | S::CompletedWithFailures | S::Cancelled => false,
        }
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
    /// How long the next wave waits after the last machine of a wave was proven, where its strategy says nothing else.
    pub soak: Duration,
    /// Machines that may be sent the package at once, where the pace of all transfers together is limited.
    pub transfers: Option<u32>,
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
            soak: Duration::from_secs(10 * 60),
            transfers: None,
        }
    }
}

impl Deadlines {
    /// The same where all transfers together send so many bytes in a second: only so many machines are sent a package of
    /// that size at once as can have it in half the time allowed; and one alone is always given twice the time it needs.
    pub fn paced(self, bytes_per_second: Option<u64>, package_size: u64) -> Self {
        let Some(pace) = bytes_per_second.filter(|pace| *pace > 0) else { return self };
        let takes = Duration::from_secs((package_size / pace).saturating_add(1));
        let uploading = self.uploading.max(takes.saturating_mul(2));
        let at_once = uploading.as_secs() / takes.as_secs().saturating_mul(2);
        let transfers = Some(u32::try_from(at_once).unwrap_or(u32::MAX).max(1));
        Self { uploading, transfers, ..self }
    }

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
    /// Its wave, from 0. It never changes.
    pub wave: usize,
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
    /// What ran when the command was written down that it was last given; `None` where it was given none. That is what
    /// an undo brings it back to.
    pub previous: Option<Version>,
    /// In an undo: the way that it goes.
    pub back: Option<Return>,
    /// When the portal last tried to reach it in this phase.
    pub tried_at: Option<Timestamp>,
    /// True if the portal once stopped trying for long since the command.
    pub was_away: bool,
    /// When a person forgave its failure: it no longer counts against the budget.
    pub forgiven_at: Option<Timestamp>,
    /// Grows with each write; a write with an old one is refused.
    pub revision: i64,
}

/// The way back of a machine in an undo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Return {
    /// What the rollout that is undone brought it to. Where it runs something else by now, it is left as it is.
    pub from: Version,
    /// What it ran before, and still has on its disk.
    pub to: Version,
}

impl RolloutMachine {
    /// Where it is to be brought by a rollout to `target`.
    pub fn target<'a>(&'a self, target: &'a Version) -> &'a Version {
        self.back.as_ref().map_or(target, |back| &back.to)
    }
}

/// A wave of a rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolloutWave {
    /// What it is called.
    pub title: String,
    /// How long the next wave waits after the last machine of this one was proven.
    pub soak: Duration,
    /// Who must agree before it begins.
    pub approval: Approval,
    /// Failures in it that stop the rollout; `None` where only those of the whole rollout are counted.
    pub failure_budget: Option<u32>,
    /// When a person released it.
    pub released_at: Option<Timestamp>,
    /// Who; empty while nobody did.
    pub released_by: String,
}

impl RolloutWave {
    /// The wave of a rollout that has but one.
    pub fn only() -> Self {
        Self {
            title: "All machines".to_owned(),
            soak: Duration::ZERO,
            approval: Approval::None,
            failure_budget: None,
            released_at: None,
            released_by: String::new(),
        }
    }
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
    /// The version wished for. In an undo each machine has one of its own, and this is the newest of them.
    pub target: Version,
    /// The rollout that this one undoes.
    pub undo_of: Option<RolloutId>,
    /// How it goes about its machines, as it was asked for.
    pub strategy: Strategy,
    /// Its waves, in their order. At least one.
    pub waves: Vec<RolloutWave>,
    /// The last wave whose machines may begin, from 0.
    pub open_wave: usize,
    /// When it begins, where that was said.
    pub start_at: Option<Timestamp>,
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
        let done = if self.undo_of.is_some() { "brought back" } else { "upgraded" };
        let mut parts =
            vec![format!("{} of {} {done}", thousands(of(PhaseKind::Upgraded)), thousands(self.machines.len()))];
        let mut add = |count: usize, word: &str| {
            if count > 0 {
                parts.push(format!("{} {word}", thousands(count)));
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

    #[test]
    fn where_transfers_keep_a_pace_none_fails_because_it_is_slow() {
        let default = Deadlines::default();
        assert_eq!(default.paced(None, 30_000_000), default);
        let fast = default.paced(Some(10_000_000), 30_000_000);
        assert_eq!((fast.uploading, fast.transfers), (default.uploading, Some(75)), "4 s each, in half of 600 s");
        let slow = default.paced(Some(10_000), 30_000_000);
        assert_eq!((slow.uploading.as_secs(), slow.transfers), (6002, Some(1)), "one after the other");
    }

    #[test]
    fn every_pair_of_states_is_legal_or_illegal_as_drawn() {
        use RolloutState::*;
        let planned: [(RolloutState, &[RolloutState]); 6] = [
            (Scheduled, &[Running, Cancelled]),
            (Running, &[Paused, Completed, CompletedWithFailures, Cancelled]),
            (Paused, &[Completed, CompletedWithFailures, Cancelled]),
            (Completed, &[CompletedWithFailures, Paused]),
            (CompletedWithFailures, &[Completed, Paused]),
            (Cancelled, &[]),
        ];
        let by_hand: [(RolloutState, &[RolloutState]); 6] = [
            (Scheduled, &[Running, Paused]),
            (Running, &[Paused]),
            (Paused, &[Scheduled, Running]),
            (Completed, &[Running, Paused]),
            (CompletedWithFailures, &[Running, Paused]),
            (Cancelled, &[]),
        ];
        for ((from, planned), (_, by_hand)) in planned.into_iter().zip(by_hand) {
            for to in RolloutState::ALL {
                assert_eq!(from.may_become(to), planned.contains(&to), "{from:?} to {to:?}");
                assert_eq!(from.may_become_by_hand(to), by_hand.contains(&to), "{from:?} to {to:?} by hand");
            }
        }
    }
}
