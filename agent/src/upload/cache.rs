//! The folder `Packages/`: its names, and which of its files are deleted when.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use contract::Sha256;

/// Age at which a partial upload is deleted, at the start of Tentacle.
const PART_AGE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Most packages that are kept for nobody in particular; beyond it the oldest are deleted.
const PACKAGES_KEPT: usize = 8;

/// Most bytes of such packages together; beyond it the oldest are deleted, but never the newest.
const BYTES_KEPT: u64 = 2 << 30;

const PACKAGE: &str = "nupkg";
const PART: &str = "part";

pub(super) fn package_path(folder: &Path, sha256: Sha256) -> PathBuf {
    folder.join(format!("{sha256}.{PACKAGE}"))
}

pub(super) fn part_path(folder: &Path, sha256: Sha256) -> PathBuf {
    folder.join(format!("{sha256}.{PART}"))
}

/// Keeps a package from being deleted while it is held.
pub(crate) struct InUse {
    _token: Arc<()>,
}

/// Which packages are in use.
#[derive(Default)]
pub(super) struct Uses(Mutex<HashMap<Sha256, Weak<()>>>);

impl Uses {
    pub(super) fn take(&self, sha256: Sha256) -> InUse {
        let mut uses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        uses.retain(|_, token| token.strong_count() > 0);
        let held = uses.get(&sha256).and_then(Weak::upgrade).unwrap_or_default();
        uses.insert(sha256, Arc::downgrade(&held));
        InUse { _token: held }
    }

    fn contains(&self, sha256: Sha256) -> bool {
        let uses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        uses.get(&sha256).is_some_and(|token| token.strong_count() > 0)
    }
}

struct Cached {
    path: PathBuf,
    sha256: Sha256,
    size: u64,
    modified: SystemTime,
}

/// The files of a kind, newest first. What cannot be read is skipped: it will be looked at the next time.
fn cached(folder: &Path, extension: &str) -> Vec<Cached> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let read = |entry: fs::DirEntry| {
        let path = entry.path();
        let of_this_kind = path.extension().is_some_and(|e| e == extension);
        let sha256 = path.file_stem()?.to_str()?.parse().ok().filter(|_| of_this_kind)?;
        let metadata = entry.metadata().ok()?;
        Some(Cached { sha256, size: metadata.len(), modified: metadata.modified().ok()?, path })
    };
    let mut files: Vec<_> = entries.flatten().filter_map(read).collect();
    files.sort_by_key(|file| std::cmp::Reverse(file.modified));
    files
}

/// Deletes partial uploads that nobody will resume.
pub(super) fn sweep_parts(folder: &Path) {
    for part in cached(folder, PART) {
        if part.modified.elapsed().is_ok_and(|age| age > PART_AGE_MAX) {
            delete(&part.path);
        }
    }
}

/// Deletes the oldest packages beyond the limits, but never one that is in use.
pub(super) fn prune(folder: &Path, uses: &Uses) {
    let (mut count, mut bytes) = (0, 0);
    for package in cached(folder, PACKAGE) {
        count += 1;
        bytes += package.size;
        let over = count > PACKAGES_KEPT || (bytes > BYTES_KEPT && count > 1);
        if over && !uses.contains(package.sha256) {
            delete(&package.path);
        }
    }
}

fn delete(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        tracing::warn!(path = %path.display(), %error, "could not delete an old package");
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    fn file(path: &Path, age: Duration) {
        let file = File::create(path).unwrap();
        file.set_modified(SystemTime::now() - age).unwrap();
    }

    fn sha256(number: u8) -> Sha256 {
        Sha256([number; 32])
    }

    #[test]
    fn the_oldest_packages_go_but_never_one_in_use() {
        let folder = tempfile::tempdir().unwrap();
        for number in 0..12 {
            file(&package_path(folder.path(), sha256(number)), Duration::from_secs(u64::from(number)));
        }
        let uses = Uses::default();
        let (held, also) = (uses.take(sha256(11)), uses.take(sha256(11)));
        drop(also);
        prune(folder.path(), &uses);
        let kept = |number| package_path(folder.path(), sha256(number)).exists();
        assert!((0..8).all(kept) && kept(11));
        assert!(!(8..11).any(kept));
        drop(held);
        prune(folder.path(), &uses);
        assert!(!kept(11));
    }

    #[test]
    fn parts_older_than_a_day_go() {
        let folder = tempfile::tempdir().unwrap();
        file(&part_path(folder.path(), sha256(1)), PART_AGE_MAX + Duration::from_secs(60));
        file(&part_path(folder.path(), sha256(2)), PART_AGE_MAX / 2);
        file(&folder.path().join("other"), PART_AGE_MAX * 2);
        sweep_parts(folder.path());
        assert!(!part_path(folder.path(), sha256(1)).exists());
        assert!(part_path(folder.path(), sha256(2)).exists() && folder.path().join("other").exists());
    }
}
