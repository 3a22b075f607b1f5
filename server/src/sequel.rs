//! What was heard of a machine after its rollout called it lost or failed. A rollout that is over looks at its machines no
//! more, but the health check goes on: whoever shows such a machine tells both. Used by pages and API. Pure.

use std::collections::HashMap;

use contract::{Rejection, Version};

use crate::clock::Timestamp;
use crate::ids::MachineId;
use crate::model::{Contact, Facts, Report};
use crate::rollout::state::{PhaseKind, Return, Rollout, RolloutMachine};

/// What became of a machine since.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Sequel {
    /// It is silent still.
    Silent {
        /// What the last attempt met, in a sentence.
        reason: String,
    },
    /// Somebody answers at its address who is not spoken to.
    Refused {
        /// Why not, in a sentence.
        reason: String,
    },
    /// It answered.
    Heard {
        /// How it was found.
        found: Found,
        /// What it runs.
        version: Version,
        /// When it last answered.
        at: Timestamp,
        /// Why it is silent again; `None` while it answers.
        silence: Option<String>,
    },
}

/// How a machine was found when it turned up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Found {
    /// It runs the version that was wished, and that is proven.
    Upgraded,
    /// It runs the version that was wished, and that is not proven yet.
    Unproven,
    /// It gave up the version that was wished, and runs another.
    FellBack(Rejection),
    /// It runs a newer version than was wished.
    Newer,
    /// It runs an older version, and nothing says that it ever tried the one that was wished.
    NotUpgraded,
}

impl Found {
    fn of(report: &Report, target: &Version, back: Option<&Return>) -> Self {
        let verdicts = report.verdicts(target).unwrap_or_default();
        let gave_up = || match verdicts.rejected.filter(|_| !verdicts.proven) {
            Some(kind) => Self::FellBack(kind),
            None => Self::NotUpgraded,
        };
        match report.version.cmp(target) {
            std::cmp::Ordering::Equal if verdicts.proven => Self::Upgraded,
            std::cmp::Ordering::Equal => Self::Unproven,
            // What an undo was to take back is newer, and no success.
            std::cmp::Ordering::Greater if back.is_some_and(|back| back.from == report.version) => gave_up(),
            std::cmp::Ordering::Greater => Self::Newer,
            std::cmp::Ordering::Less => gave_up(),
        }
    }

    /// True where nobody has to look at the machine for this rollout's sake any more.
    pub fn is_well(self) -> bool {
        match self {
            Self::Upgraded | Self::Newer => true,
            Self::Unproven | Self::FellBack(_) | Self::NotUpgraded => false,
        }
    }
}

/// What became of a machine since its rollout to `target` called it lost, or failed and it made it after all. `None` for
/// every other machine, and while nobody has asked it since.
pub fn sequel(machine: &RolloutMachine, target: &Version, facts: Option<&Facts>) -> Option<Sequel> {
    let facts = facts.filter(|facts| facts.tried_at >= machine.since)?;
    let silence = match &facts.contact {
        Contact::Answered => None,
        Contact::Silent { reason } | Contact::Refused { reason } => Some(reason.clone()),
    };
    let heard = facts.report.as_ref().filter(|report| report.at >= machine.since).map(|report| Sequel::Heard {
        found: Found::of(report, target, machine.back.as_ref()),
        version: report.version.clone(),
        at: report.at,
        silence: silence.clone(),
    });
    match machine.phase.kind() {
        PhaseKind::Lost => heard.or_else(|| {
            silence.map(|reason| match facts.contact {
                Contact::Refused { .. } => Sequel::Refused { reason },
                Contact::Answered | Contact::Silent { .. } => Sequel::Silent { reason },
            })
        }),
        PhaseKind::Failed => heard.filter(Sequel::is_well),
        PhaseKind::Waiting
        | PhaseKind::Checking
        | PhaseKind::Uploading
        | PhaseKind::Installing
        | PhaseKind::Restarting
        | PhaseKind::Proving
        | PhaseKind::Upgraded
        | PhaseKind::FellBack
        | PhaseKind::Skipped
        | PhaseKind::Cancelled => None,
    }
}

impl Sequel {
    /// True where nobody has to look at the machine for this rollout's sake any more.
    pub fn is_well(&self) -> bool {
        matches!(self, Self::Heard { found, silence: None, .. } if found.is_well())
    }

    /// When the machine last answered; `None` where it has been silent all the while.
    pub fn heard_at(&self) -> Option<Timestamp> {
        match self {
            Self::Heard { at, .. } => Some(*at),
            Self::Silent { .. } | Self::Refused { .. } => None,
        }
    }

    /// The whole of it, for people.
    pub fn sentence(&self, target: &Version) -> String {
        let (found, version, silence) = match self {
            Self::Silent { reason } => return format!("It is silent still: {}", stopped(reason)),
            Self::Refused { reason } => {
                return format!("It was not heard of since; somebody else answers at its address: {}", stopped(reason));
            }
            Self::Heard { found, version, silence, .. } => (found, version, silence),
        };
        let found = match found {
            Found::Upgraded => format!("It answered since: it runs {version}, which is proven."),
            Found::Unproven => format!("It answered since: it runs {version}, which is not proven yet."),
            Found::FellBack(kind) => {
                let why = match kind {
                    Rejection::Crashed => "that crashed",
                    Rejection::Unstartable => "that could not be started",
                    Rejection::Unconfirmed => "nobody confirmed that in time",
                };
                format!("It answered since: it gave {target} up, because {why}, and runs {version}.")
            }
            Found::Newer => format!("It answered since: it runs {version}, which is newer."),
            Found::NotUpgraded => {
                format!("It answered since: it runs {version}, so it is not where it was to be brought.")
            }
        };
        match silence {
            Some(reason) => format!("{found} Now it is silent again: {}", stopped(reason)),
            None => found,
        }
    }
}

fn stopped(reason: &str) -> String {
    format!("{}.", reason.trim_end_matches('.'))
}

/// What the counts of a rollout do not tell: how many of its lost machines answered since, in a sentence; empty where
/// there is nothing to tell.
pub fn tally(rollout: &Rollout, facts: &HashMap<MachineId, Facts>) -> String {
    let sequels = rollout.machines.iter().filter(|machine| machine.phase.kind() == PhaseKind::Lost);
    let sequels: Vec<Option<Sequel>> =
        sequels.map(|machine| sequel(machine, machine.target(&rollout.target), facts.get(&machine.machine))).collect();
    let heard = sequels.iter().flatten().filter(|sequel| sequel.heard_at().is_some()).count();
    let upgraded = sequels.iter().flatten().filter(|sequel| sequel.is_well()).count();
    let at = match rollout.undo_of {
        Some(_) => "where it was to be brought back to".to_owned(),
        None => format!("at {} or newer", rollout.target),
    };
    match (sequels.len(), heard, upgraded) {
        (_, 0, _) => String::new(),
        (1, _, 1) => format!("The lost one answered since, and is {at}."),
        (1, _, _) => match rollout.undo_of {
            Some(_) => format!("The lost one answered since, and is not {at}."),
            None => format!("The lost one answered since, and is not well at {}.", rollout.target),
        },
        (lost, heard, upgraded) => {
            format!("Of the {lost} lost, {heard} answered since; well {at}: {upgraded}.")
        }
    }
}

/// The machines of which [`sequel`] may have something to tell.
pub fn may_have_sequel(rollouts: &[Rollout]) -> Vec<MachineId> {
    rollouts.iter().flat_map(|r| &r.machines).filter(|m| may_be_judged(m)).map(|machine| machine.machine).collect()
}

/// True where something may have been heard of the machine since that its phase does not say.
pub fn may_be_judged(machine: &RolloutMachine) -> bool {
    matches!(machine.phase.kind(), PhaseKind::Lost | PhaseKind::Failed)
}

#[cfg(test)]
mod tests {
    use contract::Verdicts;

    use super::*;
    use crate::model::{InstalledVersion, Instances};
    use crate::rollout::state::Phase;

    fn version(patch: u32) -> Version {
        Version::release(2026, 4, patch)
    }

    fn machine(phase: Phase) -> RolloutMachine {
        RolloutMachine {
            machine: MachineId(1),
            name: "web-1".into(),
            position: 1,
            phase,
            since: Timestamp(100),
            deadline: None,
            attempt: 1,
            from: Some(version(0)),
            previous: Some(version(0)),
            back: None,
            tried_at: None,
            was_away: false,
            wave: 0,
            forgiven_at: None,
            revision: 0,
        }
    }

    fn lost() -> RolloutMachine {
        machine(Phase::Lost { command: None, reason: "it has been silent".into() })
    }

    fn facts(reported_at: i64, runs: u32, contact: Contact, target: Verdicts) -> Facts {
        let report = Report {
            at: Timestamp(reported_at),
            instance_seen_at: Timestamp(0),
            version: version(runs),
            instance_id: "i".into(),
            started_at: Timestamp(0),
            runtime: "linux-x64".into(),
            os: String::new(),
            hostname: String::new(),
            supervisor_contract: Some(1),
            installed: vec![InstalledVersion { version: version(1), verdicts: target }],
            last_words: None,
            free_disk_bytes: 0,
            running_work: Vec::new(),
            generation: 0,
            problems: Vec::new(),
        };
        Facts {
            tried_at: Timestamp(200),
            contact,
            contact_since: Timestamp(0),
            report: Some(report),
            instances: Instances::default(),
        }
    }

    fn silent() -> Contact {
        Contact::Silent { reason: "no route".into() }
    }

    const PROVEN: Verdicts = Verdicts { proven: true, rejected: None, withdrawn: false, launches: 0 };
    const CRASHED: Verdicts =
        Verdicts { proven: false, rejected: Some(Rejection::Crashed), withdrawn: false, launches: 3 };

    fn told(facts: &Facts) -> String {
        sequel(&lost(), &version(1), Some(facts)).map(|sequel| sequel.sentence(&version(1))).unwrap_or_default()
    }

    #[test]
    fn a_lost_machine_is_told_as_it_was_last_seen() {
        let nothing = Verdicts::default();
        for (facts, sentence) in [
            (facts(150, 1, Contact::Answered, PROVEN), "It answered since: it runs 2026.4.1, which is proven."),
            (
                facts(150, 1, Contact::Answered, nothing),
                "It answered since: it runs 2026.4.1, which is not proven yet.",
            ),
            (
                facts(150, 0, Contact::Answered, CRASHED),
                "It answered since: it gave 2026.4.1 up, because that crashed, and runs 2026.4.0.",
            ),
            (facts(150, 2, Contact::Answered, PROVEN), "It answered since: it runs 2026.4.2, which is newer."),
            (
                facts(150, 0, Contact::Answered, nothing),
                "It answered since: it runs 2026.4.0, so it is not where it was to be brought.",
            ),
            (
                facts(150, 1, silent(), PROVEN),
                "It answered since: it runs 2026.4.1, which is proven. Now it is silent again: no route.",
            ),
            (facts(50, 0, silent(), nothing), "It is silent still: no route."),
        ] {
            assert_eq!(told(&facts), sentence);
        }
    }

    #[test]
    fn what_was_seen_before_tells_nothing() {
        let before = Facts { tried_at: Timestamp(99), ..facts(50, 1, Contact::Answered, PROVEN) };
        assert_eq!(sequel(&lost(), &version(1), Some(&before)), None);
        assert_eq!(sequel(&lost(), &version(1), None), None);
    }

    #[test]
    fn a_failed_machine_has_a_sequel_only_where_it_made_it_after_all() {
        let failed = machine(Phase::Failed { reason: "it took too long".into() });
        let of = |facts: &Facts| sequel(&failed, &version(1), Some(facts)).is_some();
        assert!(of(&facts(150, 1, Contact::Answered, PROVEN)));
        assert!(!of(&facts(150, 0, Contact::Answered, CRASHED)) && !of(&facts(150, 1, silent(), PROVEN)));
        let upgraded = machine(Phase::Upgraded);
        assert_eq!(sequel(&upgraded, &version(1), Some(&facts(150, 0, Contact::Answered, CRASHED))), None);
    }

    #[test]
    fn only_what_is_upgraded_and_answers_needs_nobody() {
        let is_well = |facts: &Facts| sequel(&lost(), &version(1), Some(facts)).is_some_and(|sequel| sequel.is_well());
        assert!(is_well(&facts(150, 1, Contact::Answered, PROVEN)));
        assert!(!is_well(&facts(150, 1, silent(), PROVEN)) && !is_well(&facts(150, 0, Contact::Answered, CRASHED)));
    }
}
