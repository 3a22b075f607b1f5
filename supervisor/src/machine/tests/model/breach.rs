//! What must never happen, and the notes that the world keeps to see it: none of them is the machine's own.

use std::collections::VecDeque;

use super::super::*;
use super::disk::{Disk, Place, VERSIONS_MAX, place};
use super::relative::LAUNCHES_MAX;
use crate::restart::STARTS_MAX;

/// Starts in one window without a change of version.
const SAME_STARTS_MAX: usize = 5;

/// What must never happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Breach {
    /// A launch while another Tentacle runs.
    TwoTentacles,
    /// A launch of a version that was not complete when the folder was last read.
    IncompleteLaunched,
    /// Suction Cup ended, or waits for nothing, without being told to.
    Final,
    /// A fourth launch of a version that never became proven, while there was another one.
    FourthLaunch,
    /// A verdict on a proven version.
    ProvenRejected,
    /// An end that led to another version, and is counted all the same or waited for.
    UpgradeCounted,
    /// A sixth start within 30 s, with no change of version among the six.
    SixStarts,
    /// A twenty-first start within 30 s.
    TwentyOneStarts,
}

/// A start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Start {
    age: Duration,
    place: Place,
    /// Another version was to be chosen than before the start before.
    after_change: bool,
}

/// What the world writes down.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Notes {
    /// Starts within the window, oldest first.
    starts: VecDeque<Start>,
    /// The version that was to be chosen last.
    wanted: Option<Place>,
    /// It changed since the last start.
    changed: bool,
    /// Launches of each version while it was unproven and there was another, since its files were lost or it came.
    launches: [u64; VERSIONS_MAX],
    /// Those of them that the disk did not take.
    uncounted: [u64; VERSIONS_MAX],
    /// The version whose coming launch was counted, and whether the disk took it.
    counted: Option<(Place, bool)>,
    /// The version whose count was lost before its launch.
    excused: Option<Place>,
    /// Complete at the last reading of the folder.
    pub seen: [bool; VERSIONS_MAX],
    /// Given up on in words, and not seen on the disk yet.
    spoken: [bool; VERSIONS_MAX],
    /// Could not be run at the last try.
    pub unrunnable: [bool; VERSIONS_MAX],
    /// Came since the folder was last read.
    arrived: [bool; VERSIONS_MAX],
    /// The disk as it was when its marks were last read, in this life.
    marks: Option<Disk>,
}

impl Notes {
    /// Suction Cup died, and what it knew.
    pub fn crash(&mut self) {
        for place in 0..VERSIONS_MAX {
            self.launches[place] = self.launches[place].saturating_sub(self.uncounted[place]);
        }
        *self = Self { launches: self.launches, ..Self::default() };
    }

    /// A version's launches are not known any more, or do not count any more.
    pub fn forget_launches(&mut self, place: Place) {
        (self.launches[place], self.uncounted[place]) = (0, 0);
        if self.counted.is_some_and(|(counted, _)| counted == place) {
            self.excused = Some(place);
        }
    }

    /// The coming launch is counted, or the disk refuses.
    pub fn count(&mut self, place: Place, taken: bool) {
        self.counted = Some((place, taken));
    }

    /// A version came, in place of the former one if there was one.
    pub fn arrive(&mut self, place: Place) {
        self.forget_launches(place);
        self.arrived[place] = true;
    }

    pub fn read(&mut self, disk: &Disk) {
        if disk.versions_hidden {
            return;
        }
        self.seen = disk.slots.map(|slot| slot.complete);
        for place in 0..VERSIONS_MAX {
            if mem::take(&mut self.arrived[place]) {
                (self.spoken[place], self.unrunnable[place]) = (false, false);
            }
        }
        if !disk.marks_hidden {
            self.marks = Some(*disk);
            for place in disk.complete() {
                self.spoken[place] &= !disk.slots[place].rejected;
            }
        }
    }

    pub fn reject(&mut self, place: Place, disk: &Disk) -> Option<Breach> {
        self.spoken[place] = true;
        (disk.slots[place].proven && !disk.marks_hidden).then_some(Breach::ProvenRejected)
    }

    /// A choice is due. True where it is another than before.
    pub fn choose(&mut self, versions: &[Installed]) -> bool {
        let Some(wanted) = wanted(versions).map(place) else {
            // None is another too, but one that no launch follows.
            self.changed = true;
            return false;
        };
        let another = self.wanted.replace(wanted) != Some(wanted);
        self.changed |= another;
        another
    }

    pub fn pass(&mut self, time: Duration, window: Duration) {
        self.starts.iter_mut().for_each(|start| start.age += time);
        self.starts.retain(|start| start.age <= window);
    }

    /// A start. What the machine cannot have read is not held against it.
    pub fn start(&mut self, place: Place) -> Option<Breach> {
        self.starts.push_back(Start { age: Duration::ZERO, place, after_change: self.changed });
        self.changed = false;
        let uncounted = self.counted.take() == Some((place, false));
        // Memory counted it for the one that was replaced after the choice.
        let replaced = uncounted && self.arrived[place];
        let excused = self.excused.take() == Some(place) || replaced;
        self.unrunnable[place] = false;
        // As it was when the choice was made.
        let had_to_prove_itself = |known: &Disk| {
            let good = |other: &Place| self.seen[*other] && known.slots[*other].is_good();
            let others = known.complete().filter(|other| *other != place && good(other));
            !known.slots[place].proven && others.into_iter().any(|other| !self.spoken[other] && !self.unrunnable[other])
        };
        if !excused && self.marks.as_ref().is_some_and(had_to_prove_itself) {
            self.launches[place] += 1;
            self.uncounted[place] += u64::from(uncounted);
        }
        let same = self.starts.iter().rev().take(SAME_STARTS_MAX + 1);
        let same = same.take_while(|start| start.place == place).scan(false, |changed, start| {
            let before = *changed;
            *changed |= start.after_change;
            (!before).then_some(())
        });
        if self.starts.len() > STARTS_MAX {
            Some(Breach::TwentyOneStarts)
        } else if same.count() > SAME_STARTS_MAX {
            Some(Breach::SixStarts)
        } else if self.launches[place] > LAUNCHES_MAX {
            Some(Breach::FourthLaunch)
        } else {
            None
        }
    }
}

/// The version to choose, as the design words it. Written without a look at `select`.
fn wanted(versions: &[Installed]) -> Option<&Version> {
    let there = versions.iter().filter(|one| !one.skipped);
    let rank = |one: &&Installed| {
        let neither = !one.withdrawn && (one.proven || !one.rejected);
        (neither, one.proven, one.version.numbers()[0])
    };
    there
        .max_by_key(|one| if rank(one).0 { (2, rank(one).2) } else { (u32::from(rank(one).1), rank(one).2) })
        .map(|one| &one.version)
}
