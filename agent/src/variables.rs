//! How variables reach the scripts of a package.
//!
//! - In the environment: `OCTOPUS_<NAME>`, the name in upper case with every character that is not a letter or digit
//!   turned into `_` (`Web.Port` becomes `OCTOPUS_WEB_PORT`, `Octopus.Machine.Name` becomes `OCTOPUS_MACHINE_NAME`); never
//!   a sensitive one. One that an environment cannot hold is left out, and the log says so.
//! - In a file that only this user can read, as one JSON object with the names as they are: all of them, sensitive ones
//!   too. `OCTOPUS_VARIABLES_FILE` names it; it is deleted when the scripts have ended.
//! - Of Tentacle itself: `OCTOPUS_ENVIRONMENT` and `OCTOPUS_ENVIRONMENT_NAME`, `OCTOPUS_PACKAGE_ID`, `OCTOPUS_PACKAGE_VERSION`, `OCTOPUS_PACKAGE_FOLDER`.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::sys;

/// Longest name in the environment, in bytes; a variable with a longer one is only in the file.
const NAME_MAX: usize = 1024;

/// Characters of a name that are shown of a variable that was left out.
const NAME_SHOWN_MAX: usize = 100;

/// Longest value in the environment, in bytes; a longer one is only in the file. The kernel allows 128 KiB.
const VALUE_MAX: usize = 32 * 1024;

/// Most bytes of all of them together; the rest is only in the file. The kernel allows about 2 MiB with everything else.
const VALUES_MAX: usize = 512 * 1024;

const PREFIX: &str = "OCTOPUS_";

/// What Tentacle itself says of an installation. No variable takes the place of one of these.
pub(crate) type BuiltIn = [(&'static str, OsString)];

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

/// What scripts see in their environment, and what they do not.
#[derive(Default)]
pub(crate) struct InEnvironment<'a> {
    pub(crate) variables: BTreeMap<String, &'a str>,
    pub(crate) left_out: Vec<LeftOut<'a>>,
    /// Bytes of the variables.
    size: usize,
}

impl<'a> InEnvironment<'a> {
    fn take(&mut self, name: &'a str, in_environment: String, value: &'a str) {
        let size = self.size + in_environment.len() + value.len() + 2;
        let why = match self.variables.entry(in_environment) {
            _ if value.contains('\0') => "it holds a NUL byte".to_owned(),
            _ if value.len() > VALUE_MAX => format!("it has {} bytes, and {VALUE_MAX} fit", value.len()),
            Entry::Occupied(other) => format!("another one is {} already", other.key()),
            Entry::Vacant(entry) if entry.key().len() > NAME_MAX => format!("its name has more than {NAME_MAX} bytes"),
            Entry::Vacant(_) if size > VALUES_MAX => {
                format!("all of them together have more than {VALUES_MAX} bytes")
            }
            Entry::Vacant(entry) => {
                entry.insert(value);
                self.size = size;
                return;
            }
        };
        self.left_out.push(LeftOut { name, why });
    }
}

/// A variable that is in the file only, though it is not sensitive.
pub(crate) struct LeftOut<'a> {
    name: &'a str,
    why: String,
}

impl fmt::Display for LeftOut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name: String = self.name.chars().take(NAME_SHOWN_MAX).collect();
        let more = if name.len() < self.name.len() { "…" } else { "" };
        let Self { why, .. } = self;
        write!(
            f,
            "The variable \"{name}{more}\" is not in the environment of the scripts, because {why}; \
             it is in the file that {VARIABLES_FILE} names"
        )
    }
}

/// The file, while the scripts run.
pub(crate) struct VariablesFile(PathBuf);

impl Variables {
    /// The part that scripts see in their environment.
    pub(crate) fn environment(&self, built_in: &BuiltIn) -> InEnvironment<'_> {
        let mut seen = InEnvironment::default();
        for (name, value) in self.plain.iter().filter(|(name, _)| !self.sensitive.contains_key(*name)) {
            let in_environment = environment_name(name);
            let own = built_in.iter().find(|(own, _)| *own == in_environment);
            match own {
                Some((_, own)) if own == value.as_str() => {}
                Some((own, _)) => seen.left_out.push(LeftOut { name, why: format!("{own} is Tentacle's own") }),
                None => seen.take(name, in_environment, value),
            }
        }
        seen
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
    fn sensitive_and_impossible_values_stay_out_of_the_environment_and_the_impossible_are_told() {
        let (long, name) = ("x".repeat(VALUE_MAX + 1), "n".repeat(NAME_MAX));
        let plain = map(&[
            ("Web.Port", "80"),
            ("Octopus.Task.Id", "7"),
            ("é", "1"),
            ("Secret", "plain"),
            ("Nul", "a\0b"),
            ("Long", &long),
            (&name, "x"),
        ]);
        let variables = Variables { plain, sensitive: map(&[("Secret", "hunter2")]) };
        let InEnvironment { variables, left_out, .. } = variables.environment(&[]);
        let seen = [("OCTOPUS_TASK_ID", "7"), ("OCTOPUS_WEB_PORT", "80"), ("OCTOPUS__", "1")];
        assert_eq!(variables.into_iter().collect::<Vec<_>>(), seen.map(|(name, value)| (name.to_owned(), value)));
        let said: Vec<_> = left_out.iter().map(LeftOut::to_string).collect();
        assert_eq!(said.len(), 3, "{said:?}");
        assert!(said[0].starts_with("The variable \"Long\" is not in the environment"), "{said:?}");
        assert!(said[0].contains("32769 bytes") && said[0].contains("in the file that OCTOPUS_VARIABLES_FILE names"));
        assert!(said[1].contains("\"Nul\"") && said[1].contains("NUL byte"), "{said:?}");
        assert!(said[2].contains(&format!("\"{}…\"", "n".repeat(100))) && said[2].contains("its name"), "{said:?}");
    }

    #[test]
    fn of_two_variables_of_one_name_the_second_is_told_and_none_takes_tentacles_own() {
        let plain = map(&[("Web.Port", "80"), ("Web_Port", "81"), ("Environment", "mine"), ("Package.Id", "Acme")]);
        let variables = Variables { plain, sensitive: BTreeMap::new() };
        let built_in = [("OCTOPUS_ENVIRONMENT", "Production".into()), ("OCTOPUS_PACKAGE_ID", "Acme".into())];
        let InEnvironment { variables, left_out, .. } = variables.environment(&built_in);
        assert_eq!(variables.into_iter().collect::<Vec<_>>(), [("OCTOPUS_WEB_PORT".to_owned(), "80")]);
        let said: Vec<_> = left_out.iter().map(LeftOut::to_string).collect();
        assert_eq!(said.len(), 2, "one with the value that it has anyway is not worth a word: {said:?}");
        assert!(said[0].contains("OCTOPUS_ENVIRONMENT is Tentacle's own"), "{said:?}");
        assert!(said[1].contains("another one is OCTOPUS_WEB_PORT already"), "{said:?}");
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
        let InEnvironment { variables, left_out, .. } = variables.environment(&[]);
        let size: usize = variables.iter().map(|(name, value)| name.len() + value.len()).sum();
        assert!(size <= VALUES_MAX && variables.len() + left_out.len() == 100);
        assert!(left_out.iter().all(|left_out| left_out.to_string().contains("together")));
    }
}
