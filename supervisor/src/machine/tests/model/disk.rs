//! The disk of the model: up to four versions with their marks, and what can be wrong with it. Knows no machine.

use super::super::*;
use super::relative::LAUNCHES_MAX;

/// Versions that can exist.
pub const VERSIONS_MAX: usize = 4;

/// One of the versions that can exist, by its place in their order.
pub type Place = usize;

/// What stands in a version's place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Slot {
    /// The folder has its name: the version is complete.
    pub complete: bool,
    /// Differs between a folder and the one that replaced it, as inodes do.
    pub folder: bool,
    pub proven: bool,
    pub rejected: bool,
    pub withdrawn: bool,
    /// Bytes in the file. More than the launches of a probation are as good as these.
    pub launches: u64,
    /// Its program cannot be run.
    pub broken: bool,
}

/// One file that says something of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mark {
    Proven,
    Rejected,
    Launches,
    Withdrawn,
}

impl Mark {
    pub const ALL: [Self; 4] = [Self::Proven, Self::Rejected, Self::Launches, Self::Withdrawn];
}

impl Slot {
    /// A version that somebody installed just now.
    pub fn unproven() -> Self {
        Self { complete: true, ..Self::default() }
    }

    pub fn proven() -> Self {
        Self { proven: true, ..Self::unproven() }
    }

    /// A verdict on it is on the disk, so that a bundled package is not installed.
    pub fn has_verdict(self) -> bool {
        self.rejected || self.withdrawn || self.launches > 0
    }

    /// A complete version that is neither rejected nor withdrawn.
    pub fn is_good(self) -> bool {
        self.complete && !self.withdrawn && (self.proven || !self.rejected)
    }

    pub fn has(self, mark: Mark) -> bool {
        match mark {
            Mark::Proven => self.proven,
            Mark::Rejected => self.rejected,
            Mark::Launches => self.launches > 0,
            Mark::Withdrawn => self.withdrawn,
        }
    }

    pub fn lose(&mut self, mark: Mark) {
        match mark {
            Mark::Proven => self.proven = false,
            Mark::Rejected => self.rejected = false,
            Mark::Launches => self.launches = 0,
            Mark::Withdrawn => self.withdrawn = false,
        }
    }

    /// One byte more.
    pub fn count(&mut self) {
        self.launches = (self.launches + 1).min(LAUNCHES_MAX);
    }

    /// What a portal's or a person's installation does before the folder gets its name.
    pub fn clear(&mut self) {
        (self.rejected, self.withdrawn, self.launches) = (false, false, 0);
    }

    /// The folder gets its name, in place of the former one if there was one.
    pub fn arrive(&mut self) {
        (self.complete, self.folder, self.broken) = (true, !self.folder, false);
    }

    fn read(self, place: Place, marks: bool) -> Installed {
        let one = Installed { folder: u64::from(self.folder), ..Installed::new(version(place)) };
        if !marks {
            return one;
        }
        let Self { proven, rejected, withdrawn, launches, .. } = self;
        Installed { proven, rejected, withdrawn, launches, ..one }
    }
}

/// The disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Disk {
    pub slots: [Slot; VERSIONS_MAX],
    /// Nothing can be written into `supervisor/`.
    pub refuses: bool,
    /// The marks cannot be read.
    pub marks_hidden: bool,
    /// The folder of versions cannot be read.
    pub versions_hidden: bool,
}

impl Disk {
    pub fn of(slots: &[Slot]) -> Self {
        let mut disk = Self::default();
        disk.slots[..slots.len()].copy_from_slice(slots);
        disk
    }

    pub fn complete(&self) -> impl DoubleEndedIterator<Item = Place> {
        let slots = self.slots;
        (0..VERSIONS_MAX).filter(move |place| slots[*place].complete)
    }

    /// What the shell would read.
    pub fn survey(&self) -> Survey {
        let fault = |hidden: bool| hidden.then(String::new);
        let mut survey = Survey {
            versions_fault: fault(self.versions_hidden),
            marks_fault: fault(self.marks_hidden),
            ..Survey::default()
        };
        if !self.versions_hidden {
            survey.versions = self.complete().map(|place| self.slots[place].read(place, !self.marks_hidden)).collect();
        }
        survey
    }
}

/// The version in a place.
pub fn version(place: Place) -> Version {
    Version::release(u32::try_from(place + 1).unwrap(), 0, 0)
}

/// The place of a version.
pub fn place(version: &Version) -> Place {
    version.numbers()[0] as usize - 1
}
