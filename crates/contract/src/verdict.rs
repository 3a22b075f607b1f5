//! The verdicts on an installed Tentacle version, as they stand in `<home>/supervisor/`.

use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use crate::{Home, Version};

/// Most bytes that are read of a `.rejected` file: its first word is enough to know the kind.
const REJECTED_READ_MAX: u64 = 1024;

/// Why Suction Cup gave up on a version: the first word of its `.rejected` file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rejection {
    /// It ended in every launch that it was given.
    Crashed,
    /// Its program is missing or cannot be run.
    Unstartable,
    /// It ran, but nobody confirmed it in time.
    Unconfirmed,
}

impl Rejection {
    /// The word in the file.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Crashed => "crashed",
            Self::Unstartable => "unstartable",
            Self::Unconfirmed => "unconfirmed",
        }
    }

    /// Reads the first word of a `.rejected` file. The file's existence is the verdict, so a damaged file still means
    /// rejected: whatever is not one of the other words is [`Rejection::Crashed`].
    pub fn from_text(text: &str) -> Self {
        match text.split_whitespace().next() {
            Some("unstartable") => Self::Unstartable,
            Some("unconfirmed") => Self::Unconfirmed,
            _ => Self::Crashed,
        }
    }
}

/// What the files in `<home>/supervisor/` say of one version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdicts {
    /// Written by Tentacle when it was confirmed. Wins over `rejected`.
    pub proven: bool,
    /// Written by Suction Cup.
    pub rejected: Option<Rejection>,
    /// Written by Tentacle on the portal's word: not to be chosen.
    pub withdrawn: bool,
    /// Unproven launches so far: the length of the file in bytes.
    pub launches: u64,
}

impl Verdicts {
    /// Reads the verdicts on `version`. A missing file is no verdict; a file that cannot be looked at counts as missing,
    /// because a damaged folder must never keep a Tentacle from starting.
    pub fn read(home: &Home, version: &Version) -> Self {
        let exists = |path: &Path| fs::symlink_metadata(path).is_ok();
        let rejected_file = home.rejected(version);
        Self {
            proven: exists(&home.proven(version)),
            rejected: exists(&rejected_file).then(|| read_rejection(&rejected_file).unwrap_or(Rejection::Crashed)),
            withdrawn: exists(&home.withdrawn(version)),
            launches: fs::metadata(home.launches(version)).map_or(0, |m| m.len()),
        }
    }

    /// True where Suction Cup would not choose the version as the newest: rejected and not proven, or withdrawn.
    pub fn is_marked_bad(&self) -> bool {
        self.withdrawn || (self.rejected.is_some() && !self.proven)
    }
}

fn read_rejection(path: &Path) -> io::Result<Rejection> {
    let mut text = Vec::new();
    fs::File::open(path)?.take(REJECTED_READ_MAX).read_to_end(&mut text)?;
    Ok(Rejection::from_text(&String::from_utf8_lossy(&text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rejection_is_read_from_its_first_word() {
        for kind in [Rejection::Crashed, Rejection::Unstartable, Rejection::Unconfirmed] {
            assert_eq!(Rejection::from_text(&format!("{} and more\nwords", kind.word())), kind);
        }
        assert_eq!(Rejection::from_text(""), Rejection::Crashed, "a damaged file is still a rejection");
    }

    #[test]
    fn the_verdicts_are_what_lies_in_the_folder_however_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(folder.path());
        let version: Version = "1.0.0-RC".parse().unwrap();
        assert_eq!(Verdicts::read(&home, &version), Verdicts::default(), "no folder, no verdicts");
        fs::create_dir(home.supervisor()).unwrap();
        fs::write(home.proven(&version), "").unwrap();
        assert_eq!(Verdicts::read(&home, &version), Verdicts { proven: true, ..Verdicts::default() });
        fs::write(home.rejected(&version), "unconfirmed It ran for 600.0 s.\n").unwrap();
        fs::write(home.withdrawn(&version), "").unwrap();
        fs::write(home.launches(&version), "...").unwrap();
        let rejected = Some(Rejection::Unconfirmed);
        let all = Verdicts { proven: true, rejected, withdrawn: true, launches: 3 };
        assert_eq!(Verdicts::read(&home, &version), all);
        fs::remove_file(home.rejected(&version)).unwrap();
        fs::create_dir(home.rejected(&version)).unwrap();
        assert_eq!(Verdicts::read(&home, &version), Verdicts { rejected: Some(Rejection::Crashed), ..all });
    }

    #[test]
    fn proven_wins_over_rejected_and_withdrawn_wins_over_proven() {
        let rejected = Some(Rejection::Unconfirmed);
        assert!(Verdicts { rejected, ..Verdicts::default() }.is_marked_bad());
        assert!(!Verdicts { rejected, proven: true, ..Verdicts::default() }.is_marked_bad());
        assert!(Verdicts { withdrawn: true, proven: true, ..Verdicts::default() }.is_marked_bad());
        assert!(!Verdicts::default().is_marked_bad());
    }
}
