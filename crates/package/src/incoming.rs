//! A folder that is being unpacked: `.incoming-<version>-<random>` beside its final place.
//!
//! Called by the installer, and by the sweep for what a dead installer left. Nobody else sees such folders.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use contract::{Home, Version};

use crate::sys;

/// A folder that nobody else can see yet. Dropping it removes it with everything in it.
#[derive(Debug)]
pub(crate) struct Incoming {
    folder: PathBuf,
    /// Held for as long as the folder is in use, so that a sweep leaves it alone however old it is.
    _lock: Option<File>,
}

impl Incoming {
    /// Makes a new, empty one in `parent`.
    pub(crate) fn create(parent: &Path, version: &Version) -> io::Result<Self> {
        let folder = free_name(parent, version);
        sys::create_folder(&folder, sys::FOLDER_MODE)?;
        // Where the file system has no locks, its age alone keeps the folder from the sweep.
        let lock = sys::lock_folder(&folder).ok().flatten();
        Ok(Self { folder, _lock: lock })
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        // After a rename there is nothing here. What cannot be removed now, the sweep removes later.
        let _ = remove(&self.folder);
    }
}

/// A name in `parent` that nobody has. 64 random bits: two installers never meet.
pub(crate) fn free_name(parent: &Path, version: &Version) -> PathBuf {
    parent.join(Home::incoming_name(version, &format!("{:016x}", rand::random::<u64>())))
}

/// Removes a folder with everything in it, or whatever else has that name. Links are removed, not followed.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}
