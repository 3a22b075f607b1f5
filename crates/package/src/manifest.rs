//! The record that every installed folder carries in `.octopus-package`: what was installed, and every file of it.
//!
//! Written by the installer before a folder becomes visible, read by whoever wants to know whether it is intact.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use contract::{Home, PackageId, Sha256, Version};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::digest::sha256_file;
use crate::sys;

/// Most bytes of a manifest that are read. With the longest names it fits the most entries that a package may have.
const MANIFEST_BYTES: u64 = 128 << 20;

/// What an installed folder was made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The package's id, as it was written.
    #[serde(serialize_with = "write_text", deserialize_with = "read_text")]
    pub id: PackageId,
    /// In normal form.
    #[serde(serialize_with = "write_text", deserialize_with = "read_text")]
    pub version: Version,
    /// The digest of the package file.
    #[serde(serialize_with = "write_text", deserialize_with = "read_text")]
    pub sha256: Sha256,
    /// Every file, in the order of the archive. The manifest itself is not among them.
    pub files: Vec<FileRecord>,
}

/// One installed file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRecord {
    /// Relative to the folder, with `/` between the parts.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// The digest of its bytes.
    #[serde(serialize_with = "write_text", deserialize_with = "read_text")]
    pub sha256: Sha256,
    /// Permission bits, as a number: 420 is 0644.
    pub mode: u32,
}

/// Why a folder is not what its manifest says.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// There is none, or it cannot be read.
    #[error("could not read the manifest {path}")]
    Read {
        /// The manifest.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// It is damaged.
    #[error("the manifest {path} is damaged")]
    Damaged {
        /// The manifest.
        path: PathBuf,
        /// The cause.
        source: serde_json::Error,
    },
    /// A file is missing or cannot be read.
    #[error("could not read the installed file {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A file is not as it was installed.
    #[error("the installed file {path} was changed: its {what} is another")]
    Changed {
        /// The file.
        path: PathBuf,
        /// `kind`, `size`, `mode` or `content`.
        what: &'static str,
    },
}

impl Manifest {
    /// Reads the manifest of an installed folder.
    pub fn read(folder: &Path) -> Result<Self, ManifestError> {
        let path = folder.join(Home::MANIFEST);
        let mut text = Vec::new();
        let read = File::open(&path).and_then(|file| file.take(MANIFEST_BYTES).read_to_end(&mut text));
        match read {
            Ok(_) => serde_json::from_slice(&text).map_err(|source| ManifestError::Damaged { path, source }),
            Err(source) => Err(ManifestError::Read { path, source }),
        }
    }

    /// Checks every file of an installed folder, to the first that is not as it was installed. Files that are there
    /// and not in the manifest are not looked at.
    pub fn verify(&self, folder: &Path) -> Result<(), ManifestError> {
        self.files.iter().try_for_each(|record| record.verify(folder))
    }

    /// Writes the manifest into a folder that nobody sees yet, durable but for the name.
    pub(crate) fn write(&self, folder: &Path) -> io::Result<()> {
        let mut file = sys::create_file(&folder.join(Home::MANIFEST))?;
        sys::set_mode(&file, sys::FILE_MODE)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        file.sync_all()
    }
}

impl FileRecord {
    fn verify(&self, folder: &Path) -> Result<(), ManifestError> {
        let path = folder.join(&self.path);
        let unread = |source| ManifestError::File { path: path.clone(), source };
        let changed = |what| Err(ManifestError::Changed { path: path.clone(), what });
        // Not followed: a link in place of a file is a change.
        let metadata = fs::symlink_metadata(&path).map_err(unread)?;
        if !metadata.is_file() {
            return changed("kind");
        }
        if metadata.len() != self.size {
            return changed("size");
        }
        if sys::mode(&metadata) != self.mode {
            return changed("mode");
        }
        let (sha256, _) = sha256_file(&path).map_err(unread)?;
        if sha256 == self.sha256 { Ok(()) } else { changed("content") }
    }
}

fn write_text<T: ToString, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&value.to_string())
}

fn read_text<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: std::str::FromStr<Err: std::fmt::Display>,
    D: Deserializer<'de>,
{
    String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::sha256_bytes;

    fn installed(folder: &Path) -> Manifest {
        fs::create_dir(folder.join("bin")).unwrap();
        let mut file = sys::create_file(&folder.join("bin/a")).unwrap();
        file.write_all(b"abc").unwrap();
        sys::set_mode(&file, 0o644).unwrap();
        let record = FileRecord { path: "bin/a".to_owned(), size: 3, sha256: sha256_bytes(b"abc"), mode: 0o644 };
        let (id, version) = ("Acme.Web".parse().unwrap(), "1.0-RC".parse().unwrap());
        Manifest { id, version, sha256: sha256_bytes(b"package"), files: vec![record] }
    }

    #[test]
    fn a_manifest_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let manifest = installed(folder.path());
        manifest.write(folder.path()).unwrap();
        assert_eq!(Manifest::read(folder.path()).unwrap(), manifest);
        fs::write(folder.path().join(Home::MANIFEST), "{").unwrap();
        assert!(matches!(Manifest::read(folder.path()), Err(ManifestError::Damaged { .. })));
    }

    #[test]
    fn every_change_to_a_file_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let manifest = installed(folder.path());
        manifest.verify(folder.path()).unwrap();
        let file = folder.path().join("bin/a");
        let found = || manifest.verify(folder.path()).unwrap_err().to_string();

        fs::write(&file, "abd").unwrap();
        assert!(found().ends_with("its content is another"), "{}", found());
        fs::write(&file, "abcd").unwrap();
        assert!(found().ends_with("its size is another"), "{}", found());
        fs::write(&file, "abc").unwrap();
        sys::set_mode(&File::open(&file).unwrap(), 0o755).unwrap();
        assert!(found().ends_with("its mode is another"), "{}", found());
        fs::remove_file(&file).unwrap();
        assert!(found().starts_with("could not read the installed file"), "{}", found());
        std::os::unix::fs::symlink("/etc/hostname", &file).unwrap();
        assert!(found().ends_with("its kind is another"), "{}", found());
    }
}
