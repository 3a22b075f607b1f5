//! Which version to launch. Pure: takes what is installed with its marks, returns a version, reads nothing.
//!
//! Called by the machine only. The order in which the versions are given never matters.

use contract::Version;

/// An installed version and everything that is known of it, from the disk and from memory.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Installed {
    /// The version.
    pub version: Version,
    /// A number that a version installed anew under the same name is unlikely to share (the folder's inode), so that
    /// what memory holds against the former one is forgotten.
    pub folder: u64,
    /// Tentacle wrote that it was confirmed. Wins over `rejected`.
    pub proven: bool,
    /// Suction Cup gave up on it.
    pub rejected: bool,
    /// Tentacle wrote, on the portal's word, that it is not to be chosen.
    pub withdrawn: bool,
    /// Launches while unproven.
    pub launches: u64,
    /// Its program could not be run just now. Never written down.
    pub skipped: bool,
}

impl Installed {
    /// A version with no marks.
    pub fn new(version: Version) -> Self {
        Self { version, folder: 0, proven: false, rejected: false, withdrawn: false, launches: 0, skipped: false }
    }

    fn is_good(&self) -> bool {
        !self.withdrawn && (self.proven || !self.rejected)
    }
}

/// The newest version that is neither rejected nor withdrawn; if there is none, the newest proven one; else the newest.
/// Skipped versions are not there; `None` where nothing is left.
pub fn select(versions: &[Installed]) -> Option<&Installed> {
    newest(versions, Installed::is_good)
        .or_else(|| newest(versions, |one| one.proven))
        .or_else(|| newest(versions, |_| true))
}

/// The version for a probe when every probe of the chosen one ended early: the proven versions, newest first, round and
/// round. Withdrawn ones are left out unless all are withdrawn. `None` where no version is proven.
pub fn stand_in(versions: &[Installed], turn: u32) -> Option<&Installed> {
    let sorted = |with_withdrawn: bool| {
        let usable = |one: &&Installed| one.proven && !one.skipped && (with_withdrawn || !one.withdrawn);
        let mut proven: Vec<_> = versions.iter().filter(usable).collect();
        proven.sort_unstable_by(|a, b| b.version.cmp(&a.version));
        proven
    };
    let mut proven = sorted(false);
    if proven.is_empty() {
        proven = sorted(true);
    }
    let place = (turn as usize).checked_rem(proven.len())?;
    proven.get(place).copied()
}

/// True where `version` has to prove itself: it is installed, not proven and not given up on, and there is another version
/// to go back to. The first version ever installed therefore has no probation.
pub fn is_on_probation(versions: &[Installed], version: &Version) -> bool {
    let own = versions.iter().find(|one| one.version == *version);
    let open = own.is_some_and(|one| !one.proven && !one.rejected);
    open && versions.iter().any(|one| one.version != *version && !one.skipped && (one.is_good() || one.proven))
}

fn newest(versions: &[Installed], fits: impl Fn(&Installed) -> bool) -> Option<&Installed> {
    versions.iter().filter(|one| !one.skipped && fits(one)).max_by(|a, b| a.version.cmp(&b.version))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v(text: &str) -> Version {
        text.parse().unwrap()
    }

    /// Reads `1.0.0`, `2.0.0 proven rejected`, ….
    fn installed(lines: &[&str]) -> Vec<Installed> {
        let one = |line: &&str| {
            let mut words = line.split(' ');
            let mut one = Installed::new(v(words.next().unwrap()));
            for word in words {
                match word {
                    "proven" => one.proven = true,
                    "rejected" => one.rejected = true,
                    "withdrawn" => one.withdrawn = true,
                    "skipped" => one.skipped = true,
                    other => panic!("{other}"),
                }
            }
            one
        };
        lines.iter().map(one).collect()
    }

    fn selected(lines: &[&str]) -> Option<String> {
        select(&installed(lines)).map(|one| one.version.to_string())
    }

    #[test]
    fn the_newest_good_version_is_chosen_else_the_newest_proven_else_the_newest() {
        let table: &[(&[&str], Option<&str>)] = &[
            (&[], None),
            (&["1.0.0"], Some("1.0.0")),
            (&["1.9.0", "1.10.0"], Some("1.10.0")),
            (&["1.0.0-rc.1", "1.0.0"], Some("1.0.0")),
            (&["1.0.0", "1.0.0.1"], Some("1.0.0.1")),
            (&["1.0.0", "2.0.0 rejected"], Some("1.0.0")),
            (&["1.0.0", "2.0.0 withdrawn"], Some("1.0.0")),
            (&["1.0.0", "2.0.0 rejected proven"], Some("2.0.0")),
            (&["1.0.0", "2.0.0 withdrawn proven"], Some("1.0.0")),
            (&["1.0.0 proven withdrawn", "2.0.0 rejected"], Some("1.0.0")),
            (&["1.0.0 rejected", "2.0.0 rejected"], Some("2.0.0")),
            (&["1.0.0 rejected", "2.0.0 withdrawn"], Some("2.0.0")),
            (&["1.0.0 proven", "2.0.0 proven skipped"], Some("1.0.0")),
            (&["1.0.0 rejected", "2.0.0 skipped"], Some("1.0.0")),
            (&["1.0.0 skipped", "2.0.0 skipped rejected"], None),
        ];
        for (lines, expected) in table {
            assert_eq!(selected(lines).as_deref(), *expected, "{lines:?}");
        }
    }

    #[test]
    fn the_order_of_the_folder_never_matters() {
        let lines = ["1.0.0 proven", "1.0.1 withdrawn", "1.1.0-rc.1", "1.1.0 rejected"];
        for a in 0..4 {
            for b in (0..4).filter(|b| *b != a) {
                for c in (0..4).filter(|c| *c != a && *c != b) {
                    let d = 6 - a - b - c;
                    let order = [lines[a], lines[b], lines[c], lines[d]];
                    assert_eq!(selected(&order).as_deref(), Some("1.1.0-rc.1"), "{order:?}");
                }
            }
        }
    }

    #[test]
    fn something_is_chosen_whenever_something_can_be_run() {
        for marks in 0..8 * 8 {
            let words = |bits: u32| {
                let mut one = Installed::new(v("1.0.0"));
                (one.proven, one.rejected, one.withdrawn) = (bits & 1 != 0, bits & 2 != 0, bits & 4 != 0);
                one
            };
            let mut both = vec![words(marks % 8), words(marks / 8)];
            both[1].version = v("2.0.0");
            assert!(select(&both).is_some(), "{both:?}");
        }
    }

    #[test]
    fn the_first_version_ever_installed_has_no_probation() {
        let table: &[(&[&str], bool)] = &[
            (&["2.0.0"], false),
            (&["2.0.0 proven", "1.0.0"], false),
            (&["2.0.0 rejected", "1.0.0"], false),
            (&["2.0.0", "1.0.0"], true),
            (&["2.0.0", "1.0.0 proven"], true),
            (&["2.0.0", "3.0.0 proven withdrawn"], true),
            (&["2.0.0", "1.0.0 proven rejected"], true),
            (&["2.0.0", "1.0.0 rejected"], false),
            (&["2.0.0", "3.0.0 withdrawn"], false),
            (&["2.0.0", "1.0.0 proven skipped"], false),
            (&["1.0.0"], false),
        ];
        for (lines, expected) in table {
            assert_eq!(is_on_probation(&installed(lines), &v("2.0.0")), *expected, "{lines:?}");
        }
    }

    #[test]
    fn probes_go_round_the_proven_versions_newest_first() {
        let versions = installed(&["1.0.0 proven", "2.0.0", "3.0.0 proven rejected", "4.0.0 proven withdrawn"]);
        let round: Vec<_> = (0..4).map(|turn| stand_in(&versions, turn).unwrap().version.to_string()).collect();
        assert_eq!(round, ["3.0.0", "1.0.0", "3.0.0", "1.0.0"]);
        let withdrawn = installed(&["1.0.0 proven withdrawn", "2.0.0"]);
        assert_eq!(stand_in(&withdrawn, 7).unwrap().version, v("1.0.0"));
        assert_eq!(stand_in(&installed(&["1.0.0", "2.0.0 proven skipped"]), 0), None);
    }
}
