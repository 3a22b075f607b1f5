//! The phases of a machine in a rollout, and the one table of legal steps, as drawn in `docs/rollout.md`. Pure.

use std::fmt;

use contract::Verdicts;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::ids::RolloutId;

/// Why a machine waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WaitReason {
    /// Its turn has not come.
    Turn,
    /// It cannot be reached. It is tried again when it reappears, and never counts as a failure.
    Offline {
        /// What the last attempt met, in a sentence.
        reason: String,
    },
    /// It is doing work that must not be killed.
    Busy {
        /// What it is doing, in a sentence.
        reason: String,
    },
    /// It has problems of its own, so that nobody could tell whether an upgrade made it worse.
    Unwell {
        /// Its first problem, in a sentence.
        reason: String,
    },
    /// It was interrupted before anything was armed, and is tried again.
    Interrupted {
        /// What happened, in a sentence.
        reason: String,
    },
    /// It gave the new version up because nobody confirmed it, and the portal had been away. It is tried again.
    PortalWasAway,
}

/// Why a machine was left as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SkipReason {
    /// It runs the target version already.
    UpToDate,
    /// It runs a newer version. A downgrade is not offered.
    Newer {
        /// What it runs.
        version: String,
    },
    /// A newer rollout has it.
    Superseded {
        /// That rollout.
        by: RolloutId,
    },
    /// A person left it out.
    ByPerson {
        /// Who.
        who: String,
        /// Why; may be empty.
        why: String,
    },
    /// It could not be reached, and the strategy does not wait for such machines.
    Offline {
        /// What the last attempt met.
        reason: String,
    },
    /// It could not be reached for as long as the strategy waits.
    OfflineTooLong {
        /// So many hours.
        hours: u32,
        /// What the last attempt met.
        reason: String,
    },
    /// It was disabled or deleted.
    Withdrawn,
    /// It was deleted after it was commanded, so nobody will ever know what became of it.
    Deleted,
    /// In an undo: it does not run any more what is to be taken back.
    Changed {
        /// What it runs.
        version: String,
        /// What is taken back.
        brought: String,
    },
    /// In an undo: nobody knows what it ran before.
    NoRecord,
    /// In an undo: its command came to nothing, a machine with its identity runs what is to be taken back all the same, and
    /// there are two of these.
    Cloned,
    /// Somebody else brought it to another version after it was commanded.
    Overtaken {
        /// What it runs.
        version: String,
    },
    /// The rollout has no package for its runtime.
    NoPackage {
        /// Its runtime.
        runtime: String,
    },
}

impl SkipReason {
    /// The word on the wire.
    pub fn code(&self) -> &'static str {
        match self {
            Self::UpToDate => "UpToDate",
            Self::Newer { .. } => "Newer",
            Self::Superseded { .. } => "Superseded",
            Self::ByPerson { .. } => "LeftOut",
            Self::Offline { .. } => "Offline",
            Self::OfflineTooLong { .. } => "OfflineTooLong",
            Self::Withdrawn => "Disabled",
            Self::Deleted => "Deleted",
            Self::Changed { .. } => "Changed",
            Self::NoRecord => "NoRecord",
            Self::Cloned => "Cloned",
            Self::Overtaken { .. } => "Overtaken",
            Self::NoPackage { .. } => "NoPackage",
        }
    }

    /// Why, for people.
    pub fn sentence(&self) -> String {
        match self {
            Self::UpToDate => "it runs the target version already".to_owned(),
            Self::Newer { version } => {
                format!("it runs {version}, which is newer than the target; a downgrade is not offered")
            }
            Self::Superseded { by } => format!("a newer rollout has it: {by}"),
            Self::ByPerson { who, why } if why.is_empty() => format!("{who} left it out"),
            Self::ByPerson { who, why } => format!("{who} left it out: {why}"),
            Self::Offline { reason } => {
                format!("it could not be reached, and this rollout does not wait for such machines: {reason}")
            }
            Self::OfflineTooLong { hours, reason } => {
                format!("it could not be reached for {hours} hours, and this rollout waits no longer: {reason}")
            }
            Self::Withdrawn => "it was disabled or deleted".to_owned(),
            Self::Deleted => {
                "it was deleted in the middle of its upgrade, so what became of that is not known".to_owned()
            }
            Self::Changed { version, brought } => {
                format!("it runs {version} by now, and not {brought}, which is to be taken back")
            }
            Self::NoRecord => "what it ran before is not on record".to_owned(),
            Self::Cloned => {
                "two machines answer with its identity, so nobody knows whether this one was changed".to_owned()
            }
            Self::Overtaken { version } => format!(
                "it runs {version}, which this rollout did not ask for: another portal or a person brought it there \
                 meanwhile"
            ),
            Self::NoPackage { runtime } => {
                format!("this portal carries no Tentacle package for its runtime, {runtime}")
            }
        }
    }
}

/// A command as it was sent. It is written down before it is sent, and is sent again under the same ticket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// Names the command to the machine: the same ticket is the same command.
    pub ticket: String,
    /// Higher than that of every command this machine ever got from this portal.
    pub generation: u64,
    /// The version that ran when it was sent; the machine refuses it where another one runs.
    pub expected: String,
    /// The process that ran when it was sent.
    pub instance: String,
    /// What it means that the version is marked as rejected on the machine. A command of an older portal says nothing of it.
    #[serde(default)]
    pub mark: Mark,
}

/// What it means that a version is marked as rejected on the machine that was told to change to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mark {
    /// It was launched since, and rejected: it was not marked when the command was written down, or the machine said that
    /// it armed it, which takes an older mark away.
    #[default]
    New,
    /// Nothing yet: it was marked when the command was written down, and the machine did not say that it armed it.
    Old,
}

impl Mark {
    /// What a mark will mean after a command to a version of which this is known on the machine.
    pub fn after(verdicts: Option<Verdicts>) -> Self {
        let is_rejected = verdicts.is_some_and(|verdicts| verdicts.rejected.is_some() && !verdicts.proven);
        if is_rejected { Self::Old } else { Self::New }
    }
}

/// Where one machine of a rollout stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Nothing is being done with it.
    Waiting(WaitReason),
    /// It is asked how it is.
    Checking,
    /// The package is on its way.
    Uploading,
    /// It was told to install the package and end itself.
    Installing(Command),
    /// The process that was commanded is gone or about to end; a new one is awaited.
    Restarting(Command),
    /// A new process at the target version answered, and must stay well for the proving time.
    Proving {
        /// What was commanded; `None` where the machine arrived after a command that was given up as interrupted.
        command: Option<Command>,
        /// The new process.
        instance: String,
        /// Since when it has been well without a break; `None` while it has problems.
        well_since: Option<Timestamp>,
    },
    /// The new version is proven.
    Upgraded,
    /// Suction Cup gave the new version up and launched an older one.
    FellBack {
        /// Why, last words of the dead version included.
        reason: String,
    },
    /// It was not upgraded, and why is known.
    Failed {
        /// Why, in a sentence.
        reason: String,
    },
    /// It was reachable and went silent after a command.
    Lost {
        /// What was commanded.
        command: Option<Command>,
        /// What the last attempt met, in a sentence.
        reason: String,
    },
    /// It was left as it is.
    Skipped(SkipReason),
    /// The rollout was cancelled before anything was done with it.
    Cancelled,
}

/// A phase without its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum PhaseKind {
    /// See [`Phase::Waiting`].
    Waiting,
    /// See [`Phase::Checking`].
    Checking,
    /// See [`Phase::Uploading`].
    Uploading,
    /// See [`Phase::Installing`].
    Installing,
    /// See [`Phase::Restarting`].
    Restarting,
    /// See [`Phase::Proving`].
    Proving,
    /// See [`Phase::Upgraded`].
    Upgraded,
    /// See [`Phase::FellBack`].
    FellBack,
    /// See [`Phase::Failed`].
    Failed,
    /// See [`Phase::Lost`].
    Lost,
    /// See [`Phase::Skipped`].
    Skipped,
    /// See [`Phase::Cancelled`].
    Cancelled,
}

impl PhaseKind {
    /// Every kind, in the order of a machine's way.
    pub const ALL: [Self; 12] = [
        Self::Waiting,
        Self::Checking,
        Self::Uploading,
        Self::Installing,
        Self::Restarting,
        Self::Proving,
        Self::Upgraded,
        Self::FellBack,
        Self::Failed,
        Self::Lost,
        Self::Skipped,
        Self::Cancelled,
    ];

    /// The word on the wire and in the database.
    pub fn word(self) -> &'static str {
        match self {
            Self::Waiting => "Waiting",
            Self::Checking => "Checking",
            Self::Uploading => "Uploading",
            Self::Installing => "Installing",
            Self::Restarting => "Restarting",
            Self::Proving => "Proving",
            Self::Upgraded => "Upgraded",
            Self::FellBack => "FellBack",
            Self::Failed => "Failed",
            Self::Lost => "Lost",
            Self::Skipped => "Skipped",
            Self::Cancelled => "Cancelled",
        }
    }

    /// True while something is being done with the machine: it takes a place in the cap.
    pub fn is_in_flight(self) -> bool {
        matches!(self, Self::Checking | Self::Uploading | Self::Installing | Self::Restarting | Self::Proving)
    }

    /// True where it counts against the failure budget.
    pub fn is_failure(self) -> bool {
        matches!(self, Self::FellBack | Self::Failed | Self::Lost)
    }

    /// True where nothing more happens, except that a lost machine may turn up again.
    pub fn is_final(self) -> bool {
        self.is_failure() || matches!(self, Self::Upgraded | Self::Skipped | Self::Cancelled)
    }

    /// True where nothing more happens at all, unless by a person's hand.
    pub fn is_settled(self) -> bool {
        self.is_final() && self != Self::Lost
    }

    /// The one table of legal steps. From a phase to itself is legal where its data may change.
    pub fn may_become(self, next: Self) -> bool {
        use PhaseKind as K;
        match self {
            K::Waiting => matches!(next, K::Waiting | K::Checking | K::Failed | K::Skipped | K::Cancelled),
            K::Checking => {
                matches!(
                    next,
                    K::Waiting | K::Uploading | K::Installing | K::Proving | K::Failed | K::Skipped | K::Cancelled
                )
            }
            K::Uploading => {
                matches!(next, K::Waiting | K::Installing | K::Failed | K::Skipped | K::Cancelled)
            }
            K::Installing => {
                matches!(next, K::Waiting | K::Restarting | K::Proving | K::FellBack | K::Failed | K::Lost | K::Skipped)
            }
            K::Restarting => {
                matches!(next, K::Waiting | K::Restarting | K::Proving | K::FellBack | K::Failed | K::Lost | K::Skipped)
            }
            K::Proving => {
                matches!(next, K::Waiting | K::Proving | K::Upgraded | K::FellBack | K::Failed | K::Lost | K::Skipped)
            }
            K::Lost => matches!(next, K::Waiting | K::Upgraded | K::FellBack | K::Failed),
            K::Upgraded | K::FellBack | K::Failed | K::Skipped | K::Cancelled => false,
        }
    }
}

impl PhaseKind {
    /// The steps that only a person's hand takes: what failed is tried again, and what waits is left as it is.
    pub fn may_become_by_hand(self, next: Self) -> bool {
        match next {
            Self::Waiting => self.is_failure(),
            Self::Skipped => self == Self::Waiting,
            _ => false,
        }
    }
}

impl fmt::Display for PhaseKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A step that the table of legal steps does not know. It is logged with both names and not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a machine cannot go from {from} to {to}")]
pub struct IllegalStep {
    /// Where the machine stands.
    pub from: PhaseKind,
    /// Where it was to go.
    pub to: PhaseKind,
}

impl Phase {
    /// The phase without its data.
    pub fn kind(&self) -> PhaseKind {
        match self {
            Self::Waiting(_) => PhaseKind::Waiting,
            Self::Checking => PhaseKind::Checking,
            Self::Uploading => PhaseKind::Uploading,
            Self::Installing(_) => PhaseKind::Installing,
            Self::Restarting(_) => PhaseKind::Restarting,
            Self::Proving { .. } => PhaseKind::Proving,
            Self::Upgraded => PhaseKind::Upgraded,
            Self::FellBack { .. } => PhaseKind::FellBack,
            Self::Failed { .. } => PhaseKind::Failed,
            Self::Lost { .. } => PhaseKind::Lost,
            Self::Skipped(_) => PhaseKind::Skipped,
            Self::Cancelled => PhaseKind::Cancelled,
        }
    }

    /// The command that the machine was given and that may still have an effect.
    pub fn command(&self) -> Option<&Command> {
        match self {
            Self::Installing(command) | Self::Restarting(command) => Some(command),
            Self::Proving { command, .. } | Self::Lost { command, .. } => command.as_ref(),
            _ => None,
        }
    }

    /// Takes a step, if the table knows it.
    pub fn step(&self, next: Self) -> Result<Self, IllegalStep> {
        let (from, to) = (self.kind(), next.kind());
        if from.may_become(to) { Ok(next) } else { Err(IllegalStep { from, to }) }
    }

    /// What there is to say of the phase, for people; empty where the word says it all.
    pub fn reason(&self) -> String {
        match self {
            Self::Waiting(WaitReason::Turn) => "its turn has not come".to_owned(),
            Self::Waiting(WaitReason::Offline { reason }) => format!("it cannot be reached: {reason}"),
            Self::Waiting(WaitReason::Busy { reason }) => format!("it is busy: {reason}"),
            Self::Waiting(WaitReason::Unwell { reason }) => format!("it has problems: {reason}"),
            Self::Waiting(WaitReason::Interrupted { reason }) => format!("it is tried again: {reason}"),
            Self::Waiting(WaitReason::PortalWasAway) => {
                "the portal was away while the new version waited to be confirmed; it is tried again".to_owned()
            }
            Self::FellBack { reason } | Self::Failed { reason } | Self::Lost { reason, .. } => reason.clone(),
            Self::Skipped(why) => why.sentence(),
            Self::Proving { well_since: None, .. } => "it has problems; it must be well before it is proven".to_owned(),
            Self::Checking
            | Self::Uploading
            | Self::Installing(_)
            | Self::Restarting(_)
            | Self::Proving { .. }
            | Self::Upgraded
            | Self::Cancelled => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The drawing in `docs/rollout.md`, as a table: each row is a phase and everything it may become.
    const STEPS: [(PhaseKind, &[PhaseKind]); 12] = {
        use PhaseKind::*;
        [
            (Waiting, &[Waiting, Checking, Failed, Skipped, Cancelled]),
            (Checking, &[Waiting, Uploading, Installing, Proving, Failed, Skipped, Cancelled]),
            (Uploading, &[Waiting, Installing, Failed, Skipped, Cancelled]),
            (Installing, &[Waiting, Restarting, Proving, FellBack, Failed, Lost, Skipped]),
            (Restarting, &[Waiting, Restarting, Proving, FellBack, Failed, Lost, Skipped]),
            (Proving, &[Waiting, Proving, Upgraded, FellBack, Failed, Lost, Skipped]),
            (Upgraded, &[]),
            (FellBack, &[]),
            (Failed, &[]),
            (Lost, &[Waiting, Upgraded, FellBack, Failed]),
            (Skipped, &[]),
            (Cancelled, &[]),
        ]
    };

    #[test]
    fn every_pair_of_phases_is_legal_or_illegal_as_drawn() {
        for (from, legal) in STEPS {
            for to in PhaseKind::ALL {
                assert_eq!(from.may_become(to), legal.contains(&to), "{from} to {to}");
            }
        }
    }

    /// The dashed arrows of the drawing.
    const HANDS: [(PhaseKind, PhaseKind); 4] = [
        (PhaseKind::FellBack, PhaseKind::Waiting),
        (PhaseKind::Failed, PhaseKind::Waiting),
        (PhaseKind::Lost, PhaseKind::Waiting),
        (PhaseKind::Waiting, PhaseKind::Skipped),
    ];

    #[test]
    fn every_pair_of_phases_is_legal_or_illegal_for_a_hand_as_drawn() {
        for from in PhaseKind::ALL {
            for to in PhaseKind::ALL {
                assert_eq!(from.may_become_by_hand(to), HANDS.contains(&(from, to)), "{from} to {to}");
            }
        }
    }

    #[test]
    fn an_illegal_step_names_both_phases_and_is_not_taken() {
        let error = Phase::Upgraded.step(Phase::Checking).unwrap_err();
        assert_eq!(error.to_string(), "a machine cannot go from Upgraded to Checking");
    }

    #[test]
    fn phases_are_read_as_they_are_written() {
        let command = Command {
            ticket: "t".into(),
            generation: 3,
            expected: "1.0.0".into(),
            instance: "i".into(),
            mark: Mark::Old,
        };
        let phases = [
            Phase::Waiting(WaitReason::Offline { reason: "no route".into() }),
            Phase::Proving { command: Some(command.clone()), instance: "j".into(), well_since: Some(Timestamp(5)) },
            Phase::Lost { command: Some(command), reason: "silent".into() },
            Phase::Skipped(SkipReason::Superseded { by: RolloutId(4) }),
        ];
        for phase in phases {
            let text = serde_json::to_string(&phase).unwrap();
            assert_eq!(serde_json::from_str::<Phase>(&text).unwrap(), phase, "{text}");
        }
        let older = r#"{"Restarting":{"ticket":"t","generation":3,"expected":"1.0.0","instance":"i"}}"#;
        let read: Phase = serde_json::from_str(older).unwrap();
        assert_eq!(read.command().map(|command| command.mark), Some(Mark::New), "as an older portal wrote it");
    }
}
