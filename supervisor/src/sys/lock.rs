//! The lock on the home folder: one Suction Cup per home. The system frees it when the program ends, however it ends.

use std::fs::{self, File, TryLockError};
use std::io;

use contract::Home;

/// The held lock.
#[derive(Debug)]
pub struct Lock {
    _folder: File,
}

/// Why there is no lock.
#[derive(Debug)]
pub enum LockError {
    /// Another process has it.
    Busy,
    /// The folder cannot be made, opened or locked.
    Failed(io::Error),
}

/// Makes the home folder if it is missing, locks it, and makes it the working folder, which the children inherit: it is
/// there whatever becomes of a version's own folder.
pub fn lock(home: &Home) -> Result<Lock, LockError> {
    let folder = match File::open(home.path()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(home.path()).map_err(LockError::Failed)?;
            File::open(home.path())
        }
        opened => opened,
    };
    let folder = folder.map_err(LockError::Failed)?;
    match folder.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(LockError::Busy),
        Err(TryLockError::Error(error)) => return Err(LockError::Failed(error)),
    }
    std::env::set_current_dir(home.path()).map_err(LockError::Failed)?;
    Ok(Lock { _folder: folder })
}
