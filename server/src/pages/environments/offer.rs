//! What an upgrade would touch, and what there is to say where it would touch nothing. Pure; used by `view`.

use super::judged::Judged;
use crate::model::{Health, VersionState};
use crate::pages::view::thousands;

/// How many machines an upgrade would touch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Offer {
    /// Outdated, enabled, reachable, and no open rollout is at them or will be.
    pub ready: usize,
    /// The same, but unreachable: they follow when they reappear.
    pub unreachable: usize,
    /// An open rollout is at them, or will be.
    pub under_way: usize,
    /// Outdated and enabled, and a person holds them.
    pub held: usize,
    /// Enabled machines whose version is not known.
    pub unknown: usize,
    /// All enabled machines.
    pub enabled: usize,
}

impl Offer {
    /// Counts one enabled machine.
    pub(super) fn add(&mut self, machine: &Judged<'_>) {
        self.enabled += 1;
        match machine.version_state {
            _ if machine.is_under_way() => self.under_way += 1,
            VersionState::UpgradeAvailable if machine.hold.is_some() => self.held += 1,
            VersionState::UpgradeAvailable if machine.brief.health == Health::Unavailable => self.unreachable += 1,
            VersionState::UpgradeAvailable => self.ready += 1,
            VersionState::Unknown => self.unknown += 1,
            VersionState::UpToDate | VersionState::NewerThanBundled => {}
        }
    }

    /// What stands in the button's place where there is nothing to press; empty where there is nothing to say.
    pub fn calm(&self) -> &'static str {
        match self {
            Self { ready: 1.., .. } | Self { enabled: 0, .. } => "",
            Self { under_way: 1.., .. } => "An upgrade is under way",
            Self { held: 1.., .. } => "Everything but what is held is up to date",
            Self { unreachable: 1.., .. } => "Everything within reach is up to date",
            Self { unknown, enabled, .. } if unknown == enabled => "No version is known yet",
            Self { unknown: 1.., .. } => "Everything known is up to date",
            Self { .. } => "Everything is up to date",
        }
    }

    /// What happens to those that are not counted in the button; empty if there are none.
    pub fn aside(&self) -> String {
        let mut parts = Vec::new();
        if self.unreachable > 0 && self.ready > 0 {
            parts.push(format!("{} unreachable will follow when they reappear", thousands(self.unreachable)));
        } else if self.unreachable > 0 {
            parts.push(format!("{} unreachable run an older version", thousands(self.unreachable)));
        }
        if self.unknown > 0 && self.ready > 0 {
            parts.push(format!("{} never seen will follow if they are outdated", thousands(self.unknown)));
        }
        if self.held > 0 && self.ready > 0 {
            parts.push(format!("{} held will follow when that ends", thousands(self.held)));
        }
        if self.under_way > 0 && self.ready > 0 {
            parts.push(format!("{} in a rollout: what still waits there moves over", thousands(self.under_way)));
        }
        parts.join(", ")
    }
}
