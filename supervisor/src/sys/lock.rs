//! The lock on the home folder: one Suction Cup per home. The system frees it when the program ends, however it ends.

use std::fs::{self, File, TryLockError};
use std::io;
use std::time::Duration;

use contract::Home;

/// Looks at a lock that somebody has, before it is believed. A child of a Suction Cup that was killed a moment ago may
/// still hold it: between its start and the first instruction of its program it has all that its parent had open.
const LOOKS: u32 = 50;

/// After each look.
const LOOK_EVERY: Duration = Duration::from_millis(10);

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
    take(&folder)?;
    std::env::set_current_dir(home.path()).map_err(LockError::Failed)?;
    Ok(Lock { _folder: folder })
}

fn take(folder: &File) -> Result<(), LockError> {
    for _ in 0..LOOKS {
        match folder.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOOK_EVERY),
            Err(TryLockError::Error(error)) => return Err(LockError::Failed(error)),
        }
    }
    Err(LockError::Busy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_is_held_is_busy_and_one_that_is_let_go_in_a_moment_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let [first, second] = [(); 2].map(|()| File::open(folder.path()).unwrap());
        take(&first).unwrap();
        assert!(matches!(take(&second), Err(LockError::Busy)));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(3 * LOOK_EVERY);
                first.unlock().unwrap();
            });
            take(&second).unwrap();
        });
    }

    #[test]
    fn what_is_wrong_with_a_home_is_said_as_the_system_says_it() {
        let folder = tempfile::tempdir().unwrap();
        let ring = folder.path().join("ring");
        std::os::unix::fs::symlink("ring", &ring).unwrap();
        let Err(LockError::Failed(error)) = lock(&Home::new(&ring)) else { panic!("a ring of links was locked") };
        assert_eq!(error.kind(), File::open(&ring).unwrap_err().kind());
    }
}
