//! One broken decision for each property, so that a check which could never fail is found out. Nothing of it is in the
//! product: what the machine reads is forged, or what it decided is overwritten.

use super::super::*;
use super::disk::version;
use super::relative::NOW;
use super::world::World;

/// What is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// A look at a version's mark is followed by another launch.
    LaunchesBesideAChild,
    /// A version that is still being installed is taken for complete.
    SeesTheIncomplete,
    /// After the crash limit tripped nothing is waited for but a signal.
    GivesUp,
    /// A long wait is longer than the longest.
    WaitsTooLong,
    /// Launches are not written down.
    NeverCounts,
    /// The mark of a proven version is overlooked.
    OverlooksProven,
    /// An upgrade is counted like a crash.
    CountsUpgrades,
    /// The crash limit trips one end too late.
    AllowsSix,
    /// Starts of other versions are not remembered.
    ForgetsStarts,
    /// The probes never go round.
    NeverGoesRound,
}

impl Sabotage {
    /// What the machine gets to read.
    pub fn read(self, mut survey: Survey, world: &World) -> Survey {
        match (self, world.installing) {
            (Self::SeesTheIncomplete, Some(place)) if !world.disk.slots[place].complete => {
                survey.versions.push(Installed::new(version(place)));
            }
            (Self::OverlooksProven, _) => survey.versions.iter_mut().for_each(|one| one.proven = false),
            _ => {}
        }
        survey
    }

    /// Overwrites what the machine decided.
    pub fn meddle(self, machine: &mut Machine, now: Duration) {
        match self {
            Self::SeesTheIncomplete | Self::NeverCounts | Self::OverlooksProven => {}
            Self::LaunchesBesideAChild => {
                if let State::Checking(run) = &machine.state {
                    machine.state = State::Launching { version: run.version.clone(), attempt: Attempt::default() };
                }
            }
            Self::GivesUp => {
                if matches!(&machine.state, State::Waiting { until, .. } if *until > now + 100 * SECOND) {
                    machine.state = State::Stopped;
                }
            }
            Self::WaitsTooLong => {
                if let State::Waiting { until, .. } = &mut machine.state
                    && *until > now + 200 * SECOND
                {
                    *until += 100 * SECOND;
                }
            }
            Self::CountsUpgrades => {
                let (ends, _) = machine.history.parts_mut();
                if ends.is_empty() && matches!(machine.state, State::Launching { .. } | State::Counting { .. }) {
                    ends.push_back(now);
                }
            }
            Self::AllowsSix => {
                let (ends, _) = machine.history.parts_mut();
                if ends.len() == 4 {
                    ends.pop_front();
                }
            }
            Self::ForgetsStarts => machine.starts.times_mut().clear(),
            Self::NeverGoesRound => {
                let (_, waits) = machine.history.parts_mut();
                *waits = (*waits).min(5);
            }
        }
        debug_assert!(now >= NOW, "time does not go back");
    }
}
