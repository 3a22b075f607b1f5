//! The only version type of the project: NuGet's rules for reading, ordering and normalising.
//!
//! One to four numbers, an optional pre-release label ordered by SemVer 2 (case-insensitively), and build metadata
//! that is dropped. Facts: learn.microsoft.com, "Package versioning".

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

/// Longest text that is read as a version, and longest normal form of one, in bytes. Longer ones are refused, so that
/// every name made of a version (`.incoming-<version>-<random>`) fits into the 255 bytes of a file name, and every
/// folder's name can be read as the version that it was made of.
pub const VERSION_TEXT_MAX: usize = 128;

/// A NuGet version in normal form.
///
/// Two versions are equal exactly when their [`Version::folder_name`]s are equal: pre-release labels compare without
/// regard to case, and leading zeros are stripped from all-digit labels as they are from numbers.
#[derive(Clone)]
pub struct Version {
    numbers: [u32; 4],
    /// As it was written, for people.
    label: String,
    /// The label in lower case; `semver` agrees with NuGet on how labels order.
    order: semver::Prerelease,
}

/// Why a text is not a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionError {
    text: String,
    why: &'static str,
}

impl fmt::Display for VersionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\" is not a version: {} (write it like 2026.4.1 or 1.0.0-rc.1)", self.text, self.why)
    }
}

impl std::error::Error for VersionError {}

impl Version {
    /// A release version of three numbers. Each must be at most `i32::MAX`, as in NuGet; larger ones are cut to it.
    pub fn release(major: u32, minor: u32, patch: u32) -> Self {
        let cap = |n: u32| n.min(i32::MAX as u32);
        Self {
            numbers: [cap(major), cap(minor), cap(patch), 0],
            label: String::new(),
            order: semver::Prerelease::EMPTY,
        }
    }

    /// The one and only name of this version's folder: the normal form in lower case.
    pub fn folder_name(&self) -> String {
        self.to_string().to_ascii_lowercase()
    }

    /// Reads a folder name. `None` for every name that is not exactly the [`Version::folder_name`] of a version,
    /// so that no two folders can mean the same version.
    pub fn from_folder_name(name: &str) -> Option<Self> {
        let version: Self = name.parse().ok()?;
        (version.folder_name() == name).then_some(version)
    }

    /// True for a version with a pre-release label, such as `1.0.0-rc.1`.
    pub fn is_prerelease(&self) -> bool {
        !self.order.is_empty()
    }

    /// The numbers: major, minor, patch, revision.
    pub fn numbers(&self) -> [u32; 4] {
        self.numbers
    }
}

impl FromStr for Version {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = |why| {
            let text = text.chars().take(VERSION_TEXT_MAX).collect();
            Err(VersionError { text, why })
        };
        if text.len() > VERSION_TEXT_MAX {
            return refuse("it is longer than 128 bytes");
        }
        let (rest, metadata) = text.split_once('+').map_or((text, None), |(rest, metadata)| (rest, Some(metadata)));
        if metadata.is_some_and(|m| semver::BuildMetadata::new(m).is_err() || m.is_empty()) {
            return refuse("the part after + may hold only letters, digits, dots and hyphens");
        }
        let (rest, label) = rest.split_once('-').map_or((rest, None), |(rest, label)| (rest, Some(label)));
        let mut numbers = [0; 4];
        for (i, part) in rest.split('.').enumerate() {
            if i >= numbers.len() {
                return refuse("it has more than four numbers");
            }
            match read_number(part) {
                Some(number) => numbers[i] = number,
                None => return refuse("its parts must be numbers up to 2147483647"),
            }
        }
        if label == Some("") {
            return refuse("there is nothing after the hyphen");
        }
        let label = label.map_or_else(String::new, strip_leading_zeros);
        match semver::Prerelease::new(&label.to_ascii_lowercase()) {
            Ok(order) => {
                let version = Self { numbers, label, order };
                // `1-rc` is longer when it is written as `1.0.0-rc`.
                if version.to_string().len() > VERSION_TEXT_MAX {
                    return refuse("its normal form is longer than 128 bytes");
                }
                Ok(version)
            }
            Err(_) => refuse("the part after the hyphen may hold only letters, digits, dots and hyphens"),
        }
    }
}

/// Digits only: the text was split at every plus and hyphen, so that no part holds the sign that a number may have.
fn read_number(part: &str) -> Option<u32> {
    let number: u32 = part.parse().ok()?;
    (number <= i32::MAX as u32).then_some(number)
}

/// NuGet compares all-digit labels as numbers, so `rc.01` equals `rc.1`: both get one spelling.
fn strip_leading_zeros(label: &str) -> String {
    let one = |part: &str| {
        if !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()) {
            let stripped = part.trim_start_matches('0');
            return if stripped.is_empty() { "0".to_owned() } else { stripped.to_owned() };
        }
        part.to_owned()
    };
    label.split('.').map(one).collect::<Vec<_>>().join(".")
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch, revision] = self.numbers;
        write!(f, "{major}.{minor}.{patch}")?;
        if revision != 0 {
            write!(f, ".{revision}")?;
        }
        if !self.label.is_empty() {
            write!(f, "-{}", self.label)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Version({self})")
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        self.numbers.cmp(&other.numbers).then_with(|| self.order.cmp(&other.order))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Version {}

impl Hash for Version {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.numbers.hash(state);
        self.order.hash(state);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};

    use super::*;

    #[test]
    fn whatever_is_a_version_is_one_in_its_normal_form_too() {
        let of = |length: usize| format!("1-{}", "a".repeat(length - 2)).parse::<Version>();
        let longest = of(VERSION_TEXT_MAX - ".0.0".len()).unwrap();
        assert_eq!(longest.folder_name().len(), VERSION_TEXT_MAX);
        assert_eq!(Version::from_folder_name(&longest.folder_name()), Some(longest));
        let error = of(VERSION_TEXT_MAX).unwrap_err().to_string();
        assert!(error.contains("normal form") && error.contains("1-aaa"), "{error}");
    }

    fn v(text: &str) -> Version {
        text.parse().unwrap_or_else(|e| panic!("{e}"))
    }

    #[test]
    fn normal_form_follows_nuget() {
        let table = [
            ("1", "1.0.0"),
            ("1.0", "1.0.0"),
            ("1.00.0.1", "1.0.0.1"),
            ("1.0.0.0", "1.0.0"),
            ("1.01.1", "1.1.1"),
            ("01.2.3.0", "1.2.3"),
            ("1.0.01", "1.0.1"),
            ("1.0.7+r3456", "1.0.7"),
            ("1.2.3-RC", "1.2.3-RC"),
            ("1.2.3.4-Beta.1+x.y", "1.2.3.4-Beta.1"),
            ("1.0-beta-007", "1.0.0-beta-007"),
            ("1.0.0-rc.007", "1.0.0-rc.7"),
            ("1.0.0-00", "1.0.0-0"),
            ("1.0.0-0a.01a", "1.0.0-0a.01a"),
        ];
        for (text, normal) in table {
            assert_eq!(v(text).to_string(), normal, "{text}");
            assert_eq!(v(normal).to_string(), normal, "normal form is stable: {normal}");
        }
        assert_eq!(v("1.0-RC.1").folder_name(), "1.0.0-rc.1");
    }

    #[test]
    fn versions_order_as_numbers_then_labels() {
        let ascending = [
            "0.0.0.1",
            "1.0.0-0",
            "1.0.0-1",
            "1.0.0-2",
            "1.0.0-10",
            "1.0.0-99999999999999999999",
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-alpha.beta",
            "1.0.0-BETA",
            "1.0.0-beta.2",
            "1.0.0-beta.11",
            "1.0.0-rc.1",
            "1.0.0",
            "1.0.0.1",
            "1.0.1",
            "1.9.0",
            "1.10.0",
            "2026.4.1",
            "2147483647.0.0",
        ];
        for (i, a) in ascending.iter().enumerate() {
            for (j, b) in ascending.iter().enumerate() {
                assert_eq!(v(a).cmp(&v(b)), i.cmp(&j), "{a} against {b}");
                assert_eq!(v(a) == v(b), i == j, "{a} equals {b}");
                assert_eq!(v(a) < v(b), i < j, "{a} before {b}");
            }
        }
    }

    #[test]
    fn the_longest_text_that_is_read_has_128_bytes_whatever_is_dropped_of_it() {
        let of = |length: usize| format!("1.0.0+{}", "a".repeat(length - "1.0.0+".len())).parse::<Version>();
        assert_eq!(of(128).unwrap(), v("1.0.0"));
        for length in [129, 130, 1_000] {
            assert!(of(length).unwrap_err().to_string().contains("longer than 128 bytes"), "{length}");
        }
    }

    #[test]
    fn the_parts_of_a_version_can_be_had() {
        assert_eq!(Version::release(2026, 4, 1), v("2026.4.1"));
        assert_eq!(Version::release(u32::MAX, 0, 0), v("2147483647.0.0"), "as large as NuGet takes");
        assert_eq!(v("1.2.3.4-rc").numbers(), [1, 2, 3, 4]);
        assert!(v("1.0-rc").is_prerelease() && !v("1.0").is_prerelease());
        assert_eq!(format!("{:?}", v("1.0-RC")), "Version(1.0.0-RC)");
    }

    #[test]
    fn equal_versions_are_found_in_a_table_and_others_do_not_all_lie_in_one_place_of_it() {
        let texts = ["1.0", "1.0.0.0", "1.0-rc", "1.0-RC", "1.1", "1.2", "1.3", "1.4"];
        let hashes = texts.map(|text| BuildHasherDefault::<DefaultHasher>::default().hash_one(v(text)));
        assert_eq!((hashes[0], hashes[2]), (hashes[1], hashes[3]));
        assert_eq!(HashSet::from(hashes).len(), 6);
    }

    #[test]
    fn equal_versions_share_one_folder_name() {
        for (a, b) in [("1.0", "1.0.0.0"), ("1.0-RC", "1.0.0-rc"), ("1.0+a", "1.0.0+b"), ("1.0-rc.01", "1.0-RC.1")] {
            assert_eq!(v(a), v(b));
            assert_eq!(v(a).folder_name(), v(b).folder_name());
        }
    }

    #[test]
    fn a_folder_name_is_read_only_in_its_one_spelling() {
        assert_eq!(Version::from_folder_name("1.0.0-rc"), Some(v("1.0-RC")));
        for name in ["1.0", "1.0.0-RC", "01.0.0", "1.0.0.0", "1.0.0+x", "..", ".incoming-1.0.0-ab", "lost+found", ""] {
            assert_eq!(Version::from_folder_name(name), None, "{name}");
        }
    }

    #[test]
    fn what_is_not_a_version_is_refused_with_a_reason() {
        let long = "1".repeat(VERSION_TEXT_MAX + 1);
        for text in [
            "",
            " 1.0",
            "1.0 ",
            "a",
            "1..0",
            ".1",
            "1.",
            "-1",
            "+1.0",
            "1.2.3.4.5",
            "1.0-",
            "1.0-a..b",
            "1.0-a_b",
            "1.0-é",
            "1.0+",
            "1.0+a b",
            "2147483648",
            "99999999999999999999",
            "1.0.0-/etc",
            "1.0.0-..",
            "1.0-+a",
            &long,
        ] {
            let error = text.parse::<Version>().expect_err(text).to_string();
            assert!(error.contains("is not a version: "), "{error}");
        }
    }
}
