//! How variables reach the scripts of a package.
//!
//! - In the environment: `OCTOPUS_<NAME>`, the name in upper case with every character that is not a letter or digit
//!   turned into `_` (`Web.Port` becomes `OCTOPUS_WEB_PORT`, `Octopus.Machine.Name` becomes `OCTOPUS_MACHINE_NAME`); never
//!   a sensitive one, nor one too long for an environment.
//! - In a file that only this user can read, as one JSON object with the names as they are: all of them, sensitive ones
//!   too. `OCTOPUS_VARIABLES_FILE` names it; it is deleted when the scripts have ended.
//! - Of Tentacle itself: `OCTOPUS_ENVIRONMENT` and `OCTOPUS_ENVIRONMENT_NAME`, `OCTOPUS_PACKAGE_ID`, `OCTOPUS_PACKAGE_VERSION`, `OCTOPUS_PACKAGE_FOLDER`.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use crate::sys;

/// Longest value in the environment, in bytes; a longer one is only in the file. The kernel allows 128 KiB.
const VALUE_MAX: usize = 32 * 1024;

/// Most bytes of all of them together; the rest is only in the file. The kernel allows about 2 MiB with everything else.
const VALUES_MAX: usize = 512 * 1024;

const PREFIX: &str = "OCTOPUS_";

/// Names the file to the scripts.
pub(crate) const VARIABLES_FILE: &str = "OCTOPUS_VARIABLES_FILE";

/// The variables of one installation.
#[derive(Clone, Default)]
pub struct Variables {
    /// Seen in the environment and in the file.
    pub plain: BTreeMap<String, String>,
    /// Seen in the file only.
    pub sensitive: BTreeMap<String, String>,
}

/// The file, while the scripts run.
pub(crate) struct VariablesFile(PathBuf);

impl Variables {
    /// The part that scripts see in their environment.
    pub(crate) fn environment(&self) -> BTreeMap<String, &str> {
        let mut room = VALUES_MAX;
        let mut environment = BTreeMap::new();
        for (name, value) in self.plain.iter().filter(|(name, _)| !self.sensitive.contains_key(*name)) {
            let name = environment_name(name);
            let size = name.len() + value.len() + 2;
            if value.len() <= VALUE_MAX && !value.contains('\0') && size <= room {
                room -= size;
                environment.insert(name, value.as_str());
            }
        }
        environment
    }

    /// Writes the file. It is deleted when the answer is dropped.
    pub(crate) fn write(&self, path: &Path) -> io::Result<VariablesFile> {
        let all: BTreeMap<_, _> = self.plain.iter().chain(&self.sensitive).collect();
        // Temporary files are made for their owner alone.
        sys::write_durable(path, &serde_json::to_vec_pretty(&all)?)?;
        Ok(VariablesFile(path.to_owned()))
    }
}

impl VariablesFile {
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for VariablesFile {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            tracing::error!(path = %self.0.display(), %error, "could not delete the variables of an installation");
        }
    }
}

fn environment_name(name: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    let name: String = name.chars().map(safe).collect();
    // The portal's own variables begin with the prefix already.
    if name.starts_with(PREFIX) { name } else { format!("{PREFIX}{name}") }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn sensitive_and_impossible_values_stay_out_of_the_environment() {
        let long = "x".repeat(VALUE_MAX + 1);
        let plain = map(&[
            ("Web.Port", "80"),
            ("Octopus.Task.Id", "7"),
            ("é", "1"),
            ("Secret", "plain"),
            ("Nul", "a\0b"),
            ("Long", &long),
        ]);
        let variables = Variables { plain, sensitive: map(&[("Secret", "hunter2")]) };
        let environment: Vec<_> = variables.environment().into_iter().collect();
        let seen = [("OCTOPUS_TASK_ID", "7"), ("OCTOPUS_WEB_PORT", "80"), ("OCTOPUS__", "1")];
        assert_eq!(environment, seen.map(|(name, value)| (name.to_owned(), value)));
    }

    #[test]
    fn the_file_holds_everything_for_its_owner_alone_and_goes_away() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("variables");
        let variables = Variables { plain: map(&[("a", "1")]), sensitive: map(&[("b", "2")]) };
        let file = variables.write(&path).unwrap();
        let read: BTreeMap<String, String> = serde_json::from_slice(&std::fs::read(file.path()).unwrap()).unwrap();
        assert_eq!(read, map(&[("a", "1"), ("b", "2")]));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        drop(file);
        assert!(!path.exists());
    }

    #[test]
    fn no_more_than_an_environment_can_hold() {
        let value = "x".repeat(VALUE_MAX);
        let plain = (0..100).map(|i| (format!("v{i}"), value.clone())).collect();
        let variables = Variables { plain, sensitive: BTreeMap::new() };
        let size: usize = variables.environment().iter().map(|(name, value)| name.len() + value.len()).sum();
        assert!(size <= VALUES_MAX);
    }
}
