//! What Suction Cup knows of versions beside what the disk says: verdicts that the disk refused, and programs that could
//! not be run. Pure; used by the machine only.
//!
//! The disk's word wins where it was ever heard: a verdict that was written to the disk or seen there and is gone was
//! cleared by somebody who installed the version again, and is forgotten here as well.

use contract::Version;

use crate::select::Installed;

/// What is held in memory about one version.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Entry {
    version: Version,
    folder: u64,
    rejected: bool,
    rejected_on_disk: bool,
    /// Launches that the disk refused to count.
    launches: u64,
    skipped: bool,
}

/// The memory. Never holds more entries than versions are installed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Memory(Vec<Entry>);

impl Memory {
    /// Adds what is remembered to what was read, and forgets what is out of date: versions that are no longer installed
    /// (where `all` were read) or were installed anew, and rejections that were cleared (where the `marks` were read).
    pub fn merge(&mut self, versions: &mut [Installed], all: bool, marks: bool) {
        self.0.retain(|entry| match versions.iter().find(|one| one.version == entry.version) {
            Some(one) => one.folder == entry.folder,
            None => !all,
        });
        for entry in &mut self.0 {
            let Some(one) = versions.iter_mut().find(|one| one.version == entry.version) else { continue };
            if marks && entry.rejected {
                if !one.rejected && entry.rejected_on_disk {
                    (entry.rejected, entry.rejected_on_disk) = (false, false);
                }
                entry.rejected_on_disk |= one.rejected;
            }
            one.rejected |= entry.rejected;
            one.launches = one.launches.saturating_add(entry.launches);
            one.skipped |= entry.skipped;
        }
    }

    /// Remembers that a version was given up on.
    pub fn reject(&mut self, version: &Installed) {
        self.entry(version).rejected = true;
    }

    /// Remembers that the disk has the verdict on a version, so that its absence means something from now on.
    pub fn written(&mut self, version: &Installed) {
        self.entry(version).rejected_on_disk = true;
    }

    /// Remembers a launch that the disk refused to count.
    pub fn count_launch(&mut self, version: &Installed) {
        let entry = self.entry(version);
        entry.launches = entry.launches.saturating_add(1);
    }

    /// The launches of a version that the disk refused to count.
    pub fn launches(&self, one: &Installed) -> u64 {
        let own = |entry: &&Entry| entry.version == one.version && entry.folder == one.folder;
        self.0.iter().find(own).map_or(0, |entry| entry.launches)
    }

    /// Remembers that a version's program cannot be run.
    pub fn skip(&mut self, version: &Installed) {
        self.entry(version).skipped = true;
    }

    /// Forgets which programs could not be run, so that they are tried again.
    pub fn forget_skips(&mut self) {
        for entry in &mut self.0 {
            entry.skipped = false;
        }
    }

    fn entry(&mut self, one: &Installed) -> &mut Entry {
        let place = self.0.iter().position(|entry| entry.version == one.version).unwrap_or_else(|| {
            self.0.push(Entry {
                version: one.version.clone(),
                folder: one.folder,
                rejected: false,
                rejected_on_disk: false,
                launches: 0,
                skipped: false,
            });
            self.0.len() - 1
        });
        &mut self.0[place]
    }
}

/// For the model check, to which one launch too many is as good as a thousand.
#[cfg(test)]
impl Memory {
    pub(crate) fn cap_launches(&mut self, most: u64) {
        for entry in &mut self.0 {
            entry.launches = entry.launches.min(most);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one() -> Installed {
        Installed::new("2.0.0".parse().unwrap())
    }

    fn merged(memory: &mut Memory, mut one: Installed) -> Installed {
        memory.merge(std::slice::from_mut(&mut one), true, true);
        one
    }

    #[test]
    fn a_verdict_that_the_disk_refused_stands_in_memory() {
        let mut memory = Memory::default();
        memory.reject(&one());
        memory.count_launch(&one());
        let seen = merged(&mut memory, one());
        assert!(seen.rejected && seen.launches == 1);
        assert!(merged(&mut memory, one()).rejected, "it never was on the disk, so its absence says nothing");
    }

    #[test]
    fn a_verdict_that_was_cleared_on_the_disk_is_forgotten() {
        let mut memory = Memory::default();
        memory.reject(&one());
        assert!(merged(&mut memory, Installed { rejected: true, ..one() }).rejected);
        assert!(!merged(&mut memory, one()).rejected);
    }

    #[test]
    fn a_verdict_that_was_written_and_cleared_before_it_was_seen_is_forgotten() {
        let mut memory = Memory::default();
        memory.reject(&one());
        memory.written(&one());
        assert!(!merged(&mut memory, one()).rejected);
        memory.reject(&one());
        assert!(merged(&mut memory, one()).rejected, "the next verdict begins afresh");
    }

    #[test]
    fn a_version_that_was_installed_anew_starts_afresh() {
        let mut memory = Memory::default();
        memory.reject(&one());
        memory.skip(&one());
        let anew = merged(&mut memory, Installed { folder: 7, ..one() });
        assert!(!anew.rejected && !anew.skipped);
        assert_eq!(memory, Memory::default());
    }

    #[test]
    fn versions_that_are_gone_are_forgotten_but_not_on_a_partial_reading() {
        let mut memory = Memory::default();
        memory.reject(&one());
        memory.merge(&mut [], false, false);
        assert!(merged(&mut memory, one()).rejected);
        memory.merge(&mut [], true, true);
        assert_eq!(memory, Memory::default());
    }

    #[test]
    fn skips_can_be_forgotten() {
        let mut memory = Memory::default();
        memory.skip(&one());
        assert!(merged(&mut memory, one()).skipped);
        memory.forget_skips();
        assert!(!merged(&mut memory, one()).skipped);
    }

    #[test]
    fn a_reading_without_marks_clears_nothing() {
        let unread = |memory: &mut Memory| {
            let mut seen = one();
            memory.merge(std::slice::from_mut(&mut seen), true, false);
            seen.rejected
        };
        let mut memory = Memory::default();
        memory.reject(&one());
        memory.written(&one());
        assert!(unread(&mut memory) && unread(&mut memory));
        assert!(merged(&mut memory, Installed { rejected: true, ..one() }).rejected);
        assert!(unread(&mut memory), "it was seen on the disk, and not seen to be cleared");
    }

    #[test]
    fn a_verdict_of_former_times_says_nothing_of_the_one_that_the_disk_refused_now() {
        let mut memory = Memory::default();
        memory.count_launch(&one());
        assert!(merged(&mut memory, Installed { rejected: true, ..one() }).rejected);
        memory.reject(&one());
        assert!(merged(&mut memory, one()).rejected);
    }

    #[test]
    fn what_is_held_is_held_against_one_version_in_one_folder() {
        let other = || Installed::new("3.0.0".parse().unwrap());
        let mut memory = Memory::default();
        memory.count_launch(&other());
        for _ in 0..2 {
            memory.count_launch(&one());
        }
        let launches = [one(), other(), Installed { folder: 7, ..one() }].map(|one| memory.launches(&one));
        assert_eq!(launches, [2, 1, 0]);
        memory.skip(&other());
        let mut both = [one(), Installed { launches: 4, ..other() }];
        memory.merge(&mut both, true, true);
        assert_eq!(both.map(|one| (one.launches, one.skipped)), [(2, false), (5, true)]);
    }
}
