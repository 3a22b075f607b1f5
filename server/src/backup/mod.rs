//! The portal's backup: everything that a portal is, in one file, and the way back.
//!
//! `make` writes a backup, of a portal that runs or stands still. `restore` unpacks one beside a portal and looks at every
//! byte of it before anything of that portal is touched. `place` puts what was unpacked in the portal's place: by renames
//! that go on where they were cut off, so that a kill leaves the old portal or the new one, whole. `archive` knows the file.
//!
//! Called by the command line, by the start of the portal (`place`) and by the page that offers a backup (`make`).

pub mod archive;
pub mod command;
pub mod download;
pub mod make;
pub mod place;
pub mod restore;

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::db::DbError;
use crate::sys;

/// The database, in the data folder and in a backup.
pub const DATABASE: &str = "octopus.db";

/// The portal's key and certificate, in the data folder and in a backup.
pub use crate::identities::CURRENT as IDENTITY;

/// Other identities, while it is changed.
pub const OTHER_IDENTITIES: [&str; 2] = [crate::identities::NEXT, crate::identities::FORMER];

/// The folder of package files, in the data folder and in a backup.
pub const PACKAGES: &str = "packages";

/// Held by the running portal, in the data folder.
const LOCK: &str = "octopus.lock";

/// The start of the names of folders in which a backup is gathered or unpacked. Nobody else looks into them.
const STAGING: &str = ".backup-";

/// Why there is no backup, or why none was restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// There is nothing to back up.
    #[error("there is no portal in {}: run one there first", folder.display())]
    NoPortal {
        /// The data folder.
        folder: PathBuf,
    },
    /// The backup would go over another file.
    #[error("{} is there already; name another file, or write over it with --force", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The file is no backup, or not all of one.
    #[error("{} cannot be restored: {why}. Nothing was changed", path.display())]
    Unfit {
        /// The file.
        path: PathBuf,
        /// Why, as the rest of a sentence.
        why: String,
    },
    /// The backup holds what this program does not know.
    #[error(
        "{} was made by Octopus {version}, whose database is newer than this program knows (schema {schema}, and this \
         is {ours}): restore it with that version or a newer one. Nothing was changed", path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Who made it.
        version: String,
        /// Its schema.
        schema: i64,
        /// The newest that is known here.
        ours: i64,
    },
    /// Somebody has the folder open.
    #[error(
        "a portal is running on the data folder {}: stop it first, or say --at-next-start to have it take the backup when \
         it starts the next time. Nothing was changed", folder.display()
    )]
    Running {
        /// The data folder.
        folder: PathBuf,
    },
    /// There is something to lose.
    #[error(
        "there is a portal in the data folder {}: say --force to put the backup in its place. What is there now is kept \
         beside it, in a folder before-restore-<time>. Nothing was changed", folder.display()
    )]
    Occupied {
        /// The data folder.
        folder: PathBuf,
    },
    /// Another backup waits for the next start.
    #[error(
        "another backup waits in {} for the next start of the portal: say --force to take this one in its stead. Nothing \
         was changed", folder.display()
    )]
    Waiting {
        /// Where it waits.
        folder: PathBuf,
    },
    /// What would be written would belong to somebody whom the portal does not run as.
    #[error("the data folder {} belongs to another user: run this as that user, as the portal does", folder.display())]
    OtherUser {
        /// The data folder.
        folder: PathBuf,
    },
    /// The disk refused.
    #[error("cannot {step} {}", path.display())]
    Disk {
        /// What was being done: "write the file".
        step: &'static str,
        /// To what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The database did.
    #[error(transparent)]
    Db(#[from] DbError),
}

fn disk(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    move |source| BackupError::Disk { step, path: path.to_owned(), source }
}

/// Takes the lock of a data folder, as every running portal does. `None` where somebody has it. It is the process's own:
/// it goes with it, however that ends.
pub fn lock(data_dir: &Path) -> Result<Option<File>, BackupError> {
    let path = data_dir.join(LOCK);
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(disk("open the lock file", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(disk("lock the file", &path)(error)),
    }
}

/// A folder in the data folder for what is not finished. It goes with this; where the program is killed, the next start of
/// the portal takes it away.
#[derive(Debug)]
struct Staging {
    dir: TempDir,
    _lock: File,
}

impl Staging {
    fn new(data_dir: &Path) -> Result<Self, BackupError> {
        let dir = tempfile::Builder::new().prefix(STAGING).tempdir_in(data_dir);
        let dir = dir.map_err(disk("make a folder in", data_dir))?;
        let owned = sys::same_owner(dir.path(), data_dir).map_err(disk("look at", data_dir))?;
        if !owned {
            return Err(BackupError::OtherUser { folder: data_dir.to_owned() });
        }
        let path = dir.path().join(LOCK);
        let file = File::create(&path).map_err(disk("write the file", &path))?;
        file.try_lock().map_err(|error| disk("lock the file", &path)(error.into()))?;
        Ok(Self { dir, _lock: file })
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The folder by another name, for good.
    fn rename(self, to: &Path) -> Result<(), BackupError> {
        let lock = self.path().join(LOCK);
        fs::remove_file(&lock).map_err(disk("remove", &lock))?;
        sync_tree(self.path())?;
        fs::rename(self.path(), to).map_err(disk("rename to", to))?;
        // What is not there any more cannot be taken away.
        let _ = self.dir.keep();
        let parent = to.parent().unwrap_or(to);
        sys::sync_folder(parent).map_err(disk("sync the folder", parent))
    }
}

/// Makes a folder durable: its files, and the names in it and in the folders below.
fn sync_tree(folder: &Path) -> Result<(), BackupError> {
    for entry in fs::read_dir(folder).map_err(disk("list", folder))? {
        let path = entry.map_err(disk("list", folder))?.path();
        if path.is_dir() {
            sync_tree(&path)?;
        } else {
            File::open(&path).and_then(|file| file.sync_all()).map_err(disk("sync the file", &path))?;
        }
    }
    sys::sync_folder(folder).map_err(disk("sync the folder", folder))
}

/// Removes what programs that were killed left unfinished. Returns how many folders went.
pub fn sweep(data_dir: &Path) -> Result<usize, BackupError> {
    let mut removed = 0;
    for entry in fs::read_dir(data_dir).map_err(disk("list", data_dir))? {
        let path = entry.map_err(disk("list", data_dir))?.path();
        let is_staging = path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(STAGING));
        // One whose lock is held belongs to somebody who is at it.
        let is_held = || File::open(path.join(LOCK)).is_ok_and(|file| file.try_lock().is_err());
        if is_staging && path.is_dir() && !is_held() {
            fs::remove_dir_all(&path).map_err(disk("remove", &path))?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// Puts a file of the same bytes at another name of the same folder tree: a second name for it where that is possible.
fn link(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(error),
        Err(_) => fs::copy(from, to).map(|_| ()),
        Ok(()) => Ok(()),
    }
}
