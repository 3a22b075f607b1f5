//! A machine with what its row shows, found out from what was loaded. Pure; used by `view`.

use contract::Version;

use super::filter::Standing;
use super::view::{Activity, Bundled, Row, Truth};
use crate::db::rollouts::Place;
use crate::ids::EnvironmentId;
use crate::model::{Brief, Health, VersionState};
use crate::pages::sentence;
use crate::rollout::hindrance::Hold;
use crate::rollout::state::PhaseKind;
use crate::sequel::{Sequel, sequel};

/// A machine and what was found out about it once, however many panels it stands in.
pub(super) struct Judged<'a> {
    pub(super) brief: &'a Brief,
    pub(super) version_state: VersionState,
    /// Its place in an open rollout, or in the last one, which lost it.
    place: Option<&'a Place>,
    sequel: Option<Sequel>,
    is_paused: bool,
    /// A person said that it is not to be upgraded.
    pub(super) hold: Option<&'a Hold>,
}

impl<'a> Judged<'a> {
    /// Finds it out.
    pub(super) fn new(brief: &'a Brief, truth: &'a Truth) -> Self {
        let place = truth.places.get(&brief.id);
        Self {
            brief,
            version_state: VersionState::of(brief.version.as_ref(), truth.bundled.offered_to(brief)),
            place,
            sequel: place.and_then(|place| sequel(&place.machine, &place.target, truth.facts.get(&brief.id))),
            hold: truth.holds.get(&brief.id),
            is_paused: place.is_some_and(|place| truth.paused.contains(&place.rollout)),
        }
    }

    /// What it ran when it last answered.
    pub(super) fn version(&self) -> Option<&'a Version> {
        self.brief.version.as_ref()
    }

    /// True where an open rollout is at it or will be.
    pub(super) fn is_under_way(&self) -> bool {
        self.place.is_some_and(|place| match place.machine.phase.kind() {
            PhaseKind::Waiting => !self.is_paused,
            kind => kind.is_in_flight(),
        })
    }

    /// How it stands.
    pub(super) fn standing(&self) -> Standing {
        if self.brief.is_disabled { Standing::Disabled } else { self.brief.health.into() }
    }

    /// Its row in the panel of an environment.
    pub(super) fn row(&self, environment: EnvironmentId, is_enabled: bool, bundled: &Bundled) -> Row {
        let machine = self.brief;
        let is_old = self.version_state == VersionState::UpgradeAvailable;
        let wish = bundled.offered_to(machine).filter(|_| is_old);
        let may = is_old && !machine.is_disabled && is_enabled && machine.health != Health::Unavailable;
        Row {
            machine: machine.id,
            environment,
            name: machine.name.clone(),
            places: machine.environments.clone(),
            roles: machine.roles.clone(),
            is_disabled: machine.is_disabled,
            health: machine.health,
            health_reason: machine.health_reason.clone(),
            version: self.version().map(Version::to_string),
            wish: wish.map(Version::to_string),
            version_state: self.version_state,
            seen: machine.seen,
            activity: self.place.map(|place| Activity {
                rollout: place.rollout,
                kind: place.machine.phase.kind(),
                since: place.machine.since,
                reason: sentence(&place.machine.phase.reason()),
                later: self.sequel.as_ref().map(|sequel| sequel.sentence(&place.target)).unwrap_or_default(),
                sequel: self.sequel.clone(),
            }),
            hold: self.hold.map(|hold| sentence(&hold.sentence())).unwrap_or_default(),
            can_upgrade: may && !self.is_under_way() && self.hold.is_none(),
        }
    }
}
