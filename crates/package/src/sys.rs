//! What differs by platform, and only that: modes, durable folders, and renames that never overwrite. Linux for now.
//!
//! Called by the rest of this crate; nothing here knows what a package is.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

/// Mode of folders that everybody may read.
pub(crate) const FOLDER_MODE: u32 = 0o755;

/// Mode of folders that are Tentacle's and Suction Cup's alone.
pub(crate) const PRIVATE_FOLDER_MODE: u32 = 0o700;

/// Mode of installed files, and of those that can be run.
pub(crate) const FILE_MODE: u32 = 0o644;
pub(crate) const PROGRAM_MODE: u32 = 0o755;

/// This machine's runtime in .NET's words: `linux-x64`, `linux-arm64`, `win-x64`.
pub fn current_runtime() -> &'static str {
    match (std::env::consts::OS, std::env::consts::ARCH) {
        ("linux", "x86_64") => "linux-x64",
        ("linux", "aarch64") => "linux-arm64",
        ("linux", "arm") => "linux-arm",
        ("linux", "x86") => "linux-x86",
        ("linux", "riscv64") => "linux-riscv64",
        ("windows", "x86_64") => "win-x64",
        ("windows", "aarch64") => "win-arm64",
        ("macos", "aarch64") => "osx-arm64",
        ("macos", "x86_64") => "osx-x64",
        _ => "unknown",
    }
}

/// Ends this process when the one that started it ends, however that ends: Suction Cup bounds its installer in time, and
/// nobody else would. Where the system refuses, the installer ends by itself all the same.
pub fn end_with_parent() {
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
}

/// Makes one folder with exactly this mode, whatever the umask. An existing one is an error.
pub(crate) fn create_folder(path: &Path, mode: u32) -> io::Result<()> {
    DirBuilder::new().mode(mode).create(path)?;
    fs::set_permissions(path, Permissions::from_mode(mode))
}

/// Makes a new file for writing. It never follows a link or opens what is there.
pub(crate) fn create_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(path)
}

/// Gives an open file exactly this mode, whatever the umask.
pub(crate) fn set_mode(file: &File, mode: u32) -> io::Result<()> {
    file.set_permissions(Permissions::from_mode(mode))
}

/// The permission bits of a file.
pub(crate) fn mode(metadata: &Metadata) -> u32 {
    metadata.permissions().mode() & 0o7777
}

/// Has the system begin to write a file to the disk, and does not wait. A mere hint: where it is refused, the sync that
/// follows does all of it.
pub(crate) fn begin_sync(file: &File) {
    let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed);
}

/// Makes the names in a folder durable.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Locks a folder until the returned file is dropped. `None` where another process, or another part of this one, has it.
pub(crate) fn lock_folder(path: &Path) -> io::Result<Option<File>> {
    let folder = File::open(path)?;
    match folder.try_lock() {
        Ok(()) => Ok(Some(folder)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Renames a folder to a name that must be free: [`io::ErrorKind::AlreadyExists`] where it is not.
pub(crate) fn rename_to_free(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Some file systems know no flags. There, a folder still never replaces one that holds anything.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => match fs::rename(from, to) {
            Err(error) if is_taken(&error) => Err(Errno::EXIST.into()),
            other => other,
        },
        other => Ok(other?),
    }
}

fn is_taken(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::NotADirectory)
}

/// Swaps two names at once: at no time is either missing, except on file systems that cannot, where `place` is missing
/// for the moment between two renames and what stood there is at `spare` afterwards all the same.
pub(crate) fn exchange(spare: &Path, place: &Path) -> io::Result<()> {
    match renameat_with(CWD, spare, CWD, place, RenameFlags::EXCHANGE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            let aside = spare.with_added_extension("old");
            fs::rename(place, &aside)?;
            if let Err(error) = fs::rename(spare, place) {
                fs::rename(&aside, place)?;
                return Err(error);
            }
            fs::rename(&aside, spare)
        }
        other => Ok(other?),
    }
}
