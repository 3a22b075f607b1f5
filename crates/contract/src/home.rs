//! The layout of a machine's home folder. Every path in it is made here and nowhere else.

use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::names::TENTACLE_FOLDER;
use crate::{EnvironmentName, PackageId, Version};

/// The start of the name of a folder that is still being unpacked. It is invisible to everybody but the sweep.
const INCOMING_PREFIX: &str = ".incoming-";

/// The name of Tentacle's program inside a version folder, less the platform's suffix (`.exe`).
const TENTACLE_PROGRAM: &str = "tentacle";

/// A home folder: where one Suction Cup and one Tentacle keep everything that is theirs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home(PathBuf);

impl Home {
    /// The home folder of the service.
    pub const SERVICE: &'static str = "/var/lib/octopus/tentacle";

    /// The manifest that every installed folder carries: id, version, the package's SHA-256 and every file's.
    pub const MANIFEST: &'static str = ".octopus-package";

    /// The home folder at `path`. Nothing is looked at or made.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The folder itself. Suction Cup holds a lock on it.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// `Applications/`: everything that was installed.
    pub fn applications(&self) -> PathBuf {
        self.0.join("Applications")
    }

    /// `Applications/.Tentacle/`: the installed Tentacle versions.
    pub fn tentacles(&self) -> PathBuf {
        self.applications().join(TENTACLE_FOLDER)
    }

    /// The folder of a Tentacle version. It exists exactly when the version is complete.
    pub fn tentacle(&self, version: &Version) -> PathBuf {
        self.tentacles().join(version.folder_name())
    }

    /// The program that is launched for a Tentacle version.
    pub fn tentacle_program(&self, version: &Version) -> PathBuf {
        self.tentacle(version).join(format!("{TENTACLE_PROGRAM}{}", std::env::consts::EXE_SUFFIX))
    }

    /// `Applications/<environment>/<package id>/`: the installed versions of an ordinary package.
    pub fn package(&self, environment: &EnvironmentName, id: &PackageId) -> PathBuf {
        self.applications().join(environment.as_str()).join(id.as_str())
    }

    /// The name of a folder that `version` is unpacked into, beside its final place. `random` makes it unique.
    pub fn incoming_name(version: &Version, random: &str) -> String {
        format!("{INCOMING_PREFIX}{}-{random}", version.folder_name())
    }

    /// True for the name of a folder that is still being unpacked, or that a dead installer left.
    pub fn is_incoming_name(name: &str) -> bool {
        name.starts_with(INCOMING_PREFIX)
    }

    /// `Packages/`: uploads and cache, by SHA-256.
    pub fn packages(&self) -> PathBuf {
        self.0.join("Packages")
    }

    /// `Work/`: tickets and logs of running and finished work.
    pub fn work(&self) -> PathBuf {
        self.0.join("Work")
    }

    /// `supervisor/`: the verdicts.
    pub fn supervisor(&self) -> PathBuf {
        self.0.join("supervisor")
    }

    /// Written by Tentacle when it was confirmed. Empty; its existence is the fact.
    pub fn proven(&self, version: &Version) -> PathBuf {
        self.verdict(version, "proven")
    }

    /// Written by Suction Cup. Its existence is the verdict, its first word the kind.
    pub fn rejected(&self, version: &Version) -> PathBuf {
        self.verdict(version, "rejected")
    }

    /// Written by Suction Cup: one byte for each unproven launch.
    pub fn launches(&self, version: &Version) -> PathBuf {
        self.verdict(version, "launches")
    }

    /// Written by Tentacle on the portal's word: not to be chosen.
    pub fn withdrawn(&self, version: &Version) -> PathBuf {
        self.verdict(version, "withdrawn")
    }

    /// The stderr of the running child, truncated at each launch.
    pub fn stderr(&self) -> PathBuf {
        self.supervisor().join("stderr")
    }

    /// How the last child ended, and the tail of its stderr.
    pub fn last_words(&self) -> PathBuf {
        self.supervisor().join("last-words")
    }

    /// What Suction Cup does, for its own `status` command alone: its form is no part of the contract.
    pub fn status(&self) -> PathBuf {
        self.supervisor().join("status")
    }

    /// `tentacle.toml`: Tentacle's settings.
    pub fn config(&self) -> PathBuf {
        self.0.join("tentacle.toml")
    }

    /// `identity.pem`: Tentacle's key and certificate.
    pub fn identity(&self) -> PathBuf {
        self.0.join("identity.pem")
    }

    /// `tentacle.lock`: held by the running Tentacle.
    pub fn lock(&self) -> PathBuf {
        self.0.join("tentacle.lock")
    }

    /// The complete Tentacle versions, newest first. Names that are not the one spelling of a version are skipped, and
    /// so is whatever is not a folder; a missing `.Tentacle` folder is no versions.
    pub fn installed_tentacles(&self) -> io::Result<Vec<Version>> {
        let entries = match fs::read_dir(self.tentacles()) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut versions = Vec::new();
        for entry in entries {
            let entry = entry?;
            let Some(version) = entry.file_name().to_str().and_then(Version::from_folder_name) else { continue };
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                versions.push(version);
            }
        }
        versions.sort_unstable_by(|a, b| b.cmp(a));
        Ok(versions)
    }

    fn verdict(&self, version: &Version, what: &str) -> PathBuf {
        self.supervisor().join(format!("{}.{what}", version.folder_name()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_is_frozen() {
        let home = Home::new("/h");
        let version: Version = "1.0-RC".parse().unwrap();
        let of = |path: PathBuf| path.to_str().unwrap().to_owned();
        assert_eq!(of(home.tentacle(&version)), "/h/Applications/.Tentacle/1.0.0-rc");
        assert_eq!(of(home.tentacle_program(&version)), "/h/Applications/.Tentacle/1.0.0-rc/tentacle");
        assert_eq!(of(home.proven(&version)), "/h/supervisor/1.0.0-rc.proven");
        assert_eq!(of(home.rejected(&version)), "/h/supervisor/1.0.0-rc.rejected");
        assert_eq!(of(home.launches(&version)), "/h/supervisor/1.0.0-rc.launches");
        assert_eq!(of(home.withdrawn(&version)), "/h/supervisor/1.0.0-rc.withdrawn");
        assert_eq!(of(home.stderr()), "/h/supervisor/stderr");
        assert_eq!(of(home.last_words()), "/h/supervisor/last-words");
        assert_eq!(of(home.status()), "/h/supervisor/status");
        assert_eq!(home.path(), Path::new("/h"));
        assert_eq!(of(home.config()), "/h/tentacle.toml");
        assert_eq!(of(home.identity()), "/h/identity.pem");
        assert_eq!(of(home.lock()), "/h/tentacle.lock");
        assert_eq!(of(home.packages()), "/h/Packages");
        assert_eq!(of(home.work()), "/h/Work");
        let package = home.package(&"Production".parse().unwrap(), &"Acme.Web".parse().unwrap());
        assert_eq!(of(package), "/h/Applications/Production/Acme.Web");
        assert_eq!(Home::incoming_name(&version, "x7"), ".incoming-1.0.0-rc-x7");
        assert!(Home::is_incoming_name(".incoming-1.0.0-rc-x7"));
        assert!(!Home::is_incoming_name("1.0.0-rc") && !Home::is_incoming_name(".incoming"));
    }

    #[test]
    fn a_home_that_is_not_there_has_no_versions() {
        assert_eq!(Home::new("/nonexistent/home").installed_tentacles().unwrap(), Vec::new());
    }

    #[test]
    fn a_folder_of_versions_that_cannot_be_read_is_an_error_and_not_no_versions() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(folder.path());
        fs::create_dir(home.applications()).unwrap();
        fs::write(home.tentacles(), "a file").unwrap();
        assert!(home.installed_tentacles().is_err());
    }

    #[test]
    fn the_complete_versions_are_told_newest_first() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(folder.path());
        for name in ["1.9.0", "1.10.0", "1.0.0-rc", ".incoming-2.0.0-x7", "2.0"] {
            fs::create_dir_all(home.tentacles().join(name)).unwrap();
        }
        fs::write(home.tentacles().join("3.0.0"), "a file").unwrap();
        let names: Vec<_> = home.installed_tentacles().unwrap().iter().map(Version::to_string).collect();
        assert_eq!(names, ["1.10.0", "1.9.0", "1.0.0-rc"]);
    }
}
