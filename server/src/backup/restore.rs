//! Readies a backup to be put in a portal's place: unpacks it beside, compares every byte with its manifest, and marks its
//! database as restored, so that the portal that starts on it does nothing by itself. Nothing of a portal that is there is
//! touched.

use std::fs;
use std::path::Path;

use contract::Sha256;

use super::archive::{Part, Reader, package_digest, package_name};
use super::place::{self, Placed, discard, is_half_done, is_occupied, pending, plan, plan_write};
use super::{BackupError, DATABASE, PACKAGES, Staging, disk, link, lock};
use crate::clock::Timestamp;
use crate::db::snapshot::{schema_known, snapshot_facts, snapshot_ready};
use crate::restored::{How, RESTORED, Restored};
use crate::sys;

/// How a backup is to be restored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RestoreWish {
    /// What is there goes aside.
    pub force: Force,
    /// Where a portal is running.
    pub running: WhileRunning,
}

/// Whether what is there may go aside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Force {
    /// Only an empty folder will do.
    #[default]
    No,
    /// It may.
    Yes,
}

/// What to do where a portal is running.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhileRunning {
    /// Refuse.
    #[default]
    Refuse,
    /// Leave the backup for its next start.
    AtNextStart,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoreOutcome {
    /// When the backup was made, as RFC 3339.
    pub made_at: String,
    /// The version of the portal that made it.
    pub version: String,
    /// The package files that its database names and that are nowhere.
    pub missing: usize,
    /// What was put in its place; `None` where it waits for the next start of the portal.
    pub placed: Option<Placed>,
}

/// Restores the backup at `path` into the data folder.
pub async fn restore(
    path: &Path,
    data_dir: &Path,
    wish: RestoreWish,
    now: Timestamp,
) -> Result<RestoreOutcome, BackupError> {
    let mut reader = Reader::open(path)?;
    let ours = schema_known();
    let newer =
        |schema, version: &str| BackupError::Newer { path: path.to_owned(), version: version.to_owned(), schema, ours };
    let manifest = reader.manifest.clone();
    if manifest.schema > ours {
        return Err(newer(manifest.schema, &manifest.portal_version));
    }
    let made_at = Timestamp::from_rfc3339(&manifest.made_at).ok_or_else(|| BackupError::Unfit {
        path: path.to_owned(),
        why: format!("its manifest says that it was made at {:?}", manifest.made_at),
    })?;
    sys::private_folder(data_dir).map_err(disk("use the data folder", data_dir))?;
    let lock = lock(data_dir)?;
    may_begin(data_dir, lock.is_some(), wish)?;
    let staging = Staging::new(data_dir)?;
    let packages = staging.path().join(PACKAGES);
    sys::private_folder(&packages).map_err(disk("make the folder", &packages))?;
    for part in &manifest.parts {
        reader.unpack(part, &staging.path().join(&part.name))?;
    }
    let database = staging.path().join(DATABASE);
    let unfit = |error: crate::db::DbError| BackupError::Unfit {
        path: path.to_owned(),
        why: format!("its database cannot be used: {}", crate::error::chain(&error)),
    };
    let facts = snapshot_facts(&database).await.map_err(unfit)?;
    if facts.schema > ours {
        return Err(newer(facts.schema, &manifest.portal_version));
    }
    let how = How::Backup { made_at, version: manifest.portal_version.clone() };
    let note = |keys| Restored::new(how, now, keys).text();
    snapshot_ready(&database, RESTORED, note).await.map_err(unfit)?;
    let named = facts.files.iter().map(|file| file.sha256);
    let missing = fetch(named, &manifest.parts, data_dir, staging.path())?;
    let mut comes: Vec<String> = manifest.parts.iter().map(|part| part.name.clone()).collect();
    comes.retain(|name| !name.contains('/') && name != DATABASE);
    comes.push(PACKAGES.to_owned());
    let plan = plan(data_dir, now, &made_at.minutes(), comes);
    plan_write(staging.path(), &plan)?;
    staging.rename(&pending(data_dir))?;
    let placed = if lock.is_some() { place::place(data_dir)? } else { None };
    Ok(RestoreOutcome { made_at: manifest.made_at, version: manifest.portal_version, missing, placed })
}

/// Looks whether a backup may be readied now, and takes one away that waits and that this one replaces.
fn may_begin(data_dir: &Path, is_ours: bool, wish: RestoreWish) -> Result<(), BackupError> {
    let folder = || data_dir.to_owned();
    if !is_ours && wish.running == WhileRunning::Refuse {
        return Err(BackupError::Running { folder: folder() });
    }
    // One that was begun is a portal that needs the rest.
    if is_ours && is_half_done(data_dir)? {
        place::place(data_dir)?;
    }
    let waits = pending(data_dir);
    match wish.force {
        Force::No if waits.is_dir() => Err(BackupError::Waiting { folder: waits }),
        Force::No if is_occupied(data_dir) => Err(BackupError::Occupied { folder: folder() }),
        Force::Yes if waits.is_dir() => discard(data_dir),
        Force::No | Force::Yes => Ok(()),
    }
}

/// Gathers the package files that the backup left out and that lie here. Returns how many are nowhere.
fn fetch(
    named: impl Iterator<Item = Sha256>,
    parts: &[Part],
    data_dir: &Path,
    staging: &Path,
) -> Result<usize, BackupError> {
    let held: std::collections::BTreeSet<Sha256> = parts.iter().filter_map(|part| package_digest(&part.name)).collect();
    let named: std::collections::BTreeSet<Sha256> = named.collect();
    let mut missing = 0;
    for sha256 in named.difference(&held) {
        let name = package_name(sha256);
        let (from, to) = (data_dir.join(&name), staging.join(&name));
        let is_whole = package::sha256_file(&from).is_ok_and(|(found, _)| found == *sha256);
        match is_whole {
            true => link(&from, &to).map_err(disk("gather", &from))?,
            false => missing += 1,
        }
    }
    // A folder of its own: what is linked belongs to both portals, and neither changes it.
    fs::metadata(staging.join(PACKAGES)).map_err(disk("look at", staging))?;
    Ok(missing)
}
