//! Clean-up of a home: folders that a dead installer left, and Tentacle versions that nobody needs any more.
//!
//! Called by Tentacle, at its start and after it was proven. Careful before thorough: what cannot be judged stays.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use contract::{Home, Verdicts, Version};

use crate::incoming::{free_name, remove};
use crate::sys;

/// How many proven versions stay, the newest: Suction Cup goes back to one of them when newer ones fail.
const PROVEN_KEPT: usize = 3;

/// Removes every `.incoming-…` folder that nobody is unpacking to and that has not been touched for `older_than`.
/// Returns those that were removed; what cannot be removed is left for the next time.
pub fn sweep_incoming(home: &Home, older_than: Duration) -> Vec<PathBuf> {
    let mut removed = Vec::new();
    sweep_folder(&home.tentacles(), older_than, &mut removed);
    let environments = folders_in(&home.applications()).into_iter().filter(|folder| *folder != home.tentacles());
    for package in environments.flat_map(|environment| folders_in(&environment)) {
        sweep_folder(&package, older_than, &mut removed);
    }
    removed
}

fn sweep_folder(parent: &Path, older_than: Duration, removed: &mut Vec<PathBuf>) {
    for folder in folders_in(parent) {
        let is_incoming = folder.file_name().and_then(|name| name.to_str()).is_some_and(Home::is_incoming_name);
        // A folder from the future has no age: the clock was set back, and it may be in use.
        let age = || fs::metadata(&folder).and_then(|metadata| metadata.modified()).ok()?.elapsed().ok();
        if is_incoming && age().is_some_and(|age| age >= older_than) && remove_unused(&folder).unwrap_or(false) {
            removed.push(folder);
        }
    }
}

/// Removes a folder unless an installer holds its lock.
fn remove_unused(folder: &Path) -> io::Result<bool> {
    let Some(_lock) = sys::lock_folder(folder)? else { return Ok(false) };
    remove(folder)?;
    Ok(true)
}

/// The folders in a folder, links left out; none where it cannot be read.
fn folders_in(parent: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(parent) else { return Vec::new() };
    let is_folder = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
    entries.flatten().filter(is_folder).map(|entry| entry.path()).collect()
}

/// Deletes the Tentacle versions that nobody needs: all but the one that is `running`, the three newest proven ones, and
/// those on probation, which have neither `.proven` nor `.rejected` nor `.withdrawn`. Returns the deleted, newest first.
///
/// A version is renamed out of sight before it is deleted, so a half-deleted one is never visible. Its verdicts stay:
/// they keep the bundled package from bringing a rejected version back.
pub fn retain_tentacles(home: &Home, running: &Version) -> io::Result<Vec<Version>> {
    let mut proven = 0;
    let mut deleted = Vec::new();
    for version in home.installed_tentacles()? {
        let verdicts = Verdicts::read(home, &version);
        proven += usize::from(verdicts.proven);
        let keep = match verdicts {
            _ if version == *running => true,
            Verdicts { proven: true, .. } => proven <= PROVEN_KEPT,
            Verdicts { rejected, withdrawn, .. } => rejected.is_none() && !withdrawn,
        };
        if !keep {
            delete(home, &version)?;
            deleted.push(version);
        }
    }
    Ok(deleted)
}

fn delete(home: &Home, version: &Version) -> io::Result<()> {
    let parent = home.tentacles();
    let hidden = free_name(&parent, version);
    fs::rename(home.tentacle(version), &hidden)?;
    sys::sync_folder(&parent)?;
    remove(&hidden)
}
