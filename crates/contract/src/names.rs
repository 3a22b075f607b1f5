//! Names that become folder names on a machine: package ids and environment names.

use std::fmt;
use std::str::FromStr;

/// Longest package id in characters, as in NuGet clients.
const PACKAGE_ID_MAX: usize = 100;

/// Longest package id in bytes. With the longest version the name of its file, `<id>.<version>.nupkg`, has just the 255
/// bytes that a file's name may have; every other name that is made of it is shorter.
const PACKAGE_ID_BYTES_MAX: usize = 120;

/// Longest environment name, in bytes. A longer one would not fit beside other parts of a path.
const ENVIRONMENT_NAME_MAX: usize = 128;

/// The package id under which Tentacle itself is installed: `Applications/.Tentacle/`.
///
/// It begins with a dot, which no [`PackageId`] and no [`EnvironmentName`] can, so no package can ever get there.
pub(crate) const TENTACLE_FOLDER: &str = ".Tentacle";

/// The start of the ids of Tentacle packages: `Octopus.Tentacle.linux-x64`.
const TENTACLE_PACKAGE_PREFIX: &str = "Octopus.Tentacle.";

/// Why a text cannot be a package id or an environment name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameError {
    what: &'static str,
    text: String,
    why: &'static str,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\" cannot be {}: {}", self.text, self.what, self.why)
    }
}

impl std::error::Error for NameError {}

/// A NuGet package id: words joined by dots or hyphens, at most 100 characters and 120 bytes. Equal without regard to
/// case.
#[derive(Clone, Debug)]
pub struct PackageId(String);

impl PackageId {
    /// The id of the Tentacle package for a runtime, in .NET's words: `Octopus.Tentacle.linux-x64`.
    pub fn tentacle(runtime: &str) -> Result<Self, NameError> {
        format!("{TENTACLE_PACKAGE_PREFIX}{runtime}").parse()
    }

    /// The runtime of a Tentacle package's id (`linux-x64`); `None` for any other package.
    pub fn tentacle_runtime(&self) -> Option<&str> {
        let (prefix, runtime) = self.0.split_at_checked(TENTACLE_PACKAGE_PREFIX.len())?;
        prefix.eq_ignore_ascii_case(TENTACLE_PACKAGE_PREFIX).then_some(runtime)
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// In lower case, for keys and addresses.
    pub fn key(&self) -> String {
        self.0.to_lowercase()
    }
}

impl FromStr for PackageId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = |why| {
            let text = text.chars().take(PACKAGE_ID_MAX).collect();
            Err(NameError { what: "a package id", text, why })
        };
        if text.chars().count() > PACKAGE_ID_MAX {
            return refuse("it is longer than 100 characters");
        }
        if text.len() > PACKAGE_ID_BYTES_MAX {
            return refuse("it is longer than 120 bytes, and could not name a file on every machine");
        }
        let word = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || c == '_');
        if !text.split(['.', '-']).all(word) {
            return refuse("it must be words of letters, digits and _ joined by single dots or hyphens");
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for PackageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl PartialEq for PackageId {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for PackageId {}

impl std::hash::Hash for PackageId {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

/// The name of an environment: it is a folder name on the machines.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EnvironmentName(String);

impl EnvironmentName {
    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for EnvironmentName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = |why| {
            let text = text.chars().take(ENVIRONMENT_NAME_MAX).collect();
            Err(NameError { what: "an environment's name", text, why })
        };
        if text.is_empty() || text.trim() != text {
            return refuse("it must not be empty or begin or end with a space");
        }
        if text.len() > ENVIRONMENT_NAME_MAX {
            return refuse("it is longer than 128 bytes");
        }
        if text.starts_with('.') || text.ends_with('.') {
            return refuse("it must not begin or end with a dot, because it names a folder on every machine");
        }
        if text.chars().any(|c| c.is_control() || "/\\:*?\"<>|".contains(c)) {
            return refuse("it must not hold / \\ : * ? \" < > | or control characters, because it names a folder");
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for EnvironmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};

    use super::*;

    #[test]
    fn package_ids_follow_nuget() {
        for id in ["Acme.Web", "Octopus.Tentacle.linux-x64", "a", "A_b-1.é"] {
            assert_eq!(id.parse::<PackageId>().expect(id).as_str(), id);
        }
        for id in ["", ".a", "a.", "a..b", "a/b", "a\\b", "..", "a b", "-a", "a.-b"] {
            assert!(id.parse::<PackageId>().is_err(), "{id}");
        }
    }

    #[test]
    fn a_package_id_is_bounded_in_characters() {
        assert_eq!("a".repeat(100).parse::<PackageId>().unwrap().to_string(), "a".repeat(100));
        for length in [101, 102, 1_000] {
            let error = "a".repeat(length).parse::<PackageId>().unwrap_err().to_string();
            assert!(error.contains("longer than 100 characters"), "{length}: {error}");
        }
    }

    #[test]
    fn a_package_id_is_bounded_in_bytes_so_that_its_file_can_have_a_name() {
        let longest = "é".repeat(PACKAGE_ID_BYTES_MAX / 2);
        assert!(longest.parse::<PackageId>().is_ok());
        assert_eq!(longest.len() + 1 + crate::version::VERSION_TEXT_MAX + ".nupkg".len(), 255);
        let id = "𝒜".repeat(100);
        let error = id.parse::<PackageId>().unwrap_err().to_string();
        assert!(error.contains(&id) && error.contains("longer than 120 bytes"), "{error}");
    }

    #[test]
    fn package_ids_are_equal_without_regard_to_case() {
        let (a, b): (PackageId, PackageId) = ("Acme.Web".parse().unwrap(), "acme.WEB".parse().unwrap());
        assert_eq!(a, b);
        assert_eq!(a.key(), "acme.web");
        assert_ne!(a, "Acme.Webs".parse().unwrap());
        let ids = ["a", "A", "b", "c", "d", "e", "f", "g"].map(|id| id.parse::<PackageId>().unwrap());
        let hashes = ids.map(|id| BuildHasherDefault::<DefaultHasher>::default().hash_one(id));
        assert_eq!(hashes[0], hashes[1], "equal ids are found in a table");
        assert_eq!(HashSet::from(hashes).len(), 7, "and different ones do not all lie in one place of it");
    }

    #[test]
    fn a_tentacle_package_names_its_runtime() {
        let id = PackageId::tentacle("linux-x64").unwrap();
        assert_eq!(id.as_str(), "Octopus.Tentacle.linux-x64");
        assert_eq!(id.tentacle_runtime(), Some("linux-x64"));
        assert_eq!("Octopus.Tent".parse::<PackageId>().unwrap().tentacle_runtime(), None);
        assert_eq!("Octopus.Tentacles.linux-x64".parse::<PackageId>().unwrap().tentacle_runtime(), None);
    }

    #[test]
    fn environment_names_are_safe_as_folder_names() {
        for name in ["Production", "Pre-production (EU)", "Prüfung", TENTACLE_FOLDER.trim_start_matches('.')] {
            let read: EnvironmentName = name.parse().expect(name);
            assert_eq!((read.as_str(), read.to_string().as_str()), (name, name));
        }
        assert!("x".repeat(128).parse::<EnvironmentName>().is_ok());
        for name in
            ["", " a", "a ", ".Tentacle", "..", "a/b", "a\\b", "a\nb", "c:", "a.", &"x".repeat(129), &"x".repeat(200)]
        {
            assert!(name.parse::<EnvironmentName>().is_err(), "{name}");
        }
    }
}
