//! The guard on the child's stderr. It is a file, so that nothing can block on it and nothing has to be read; the price is
//! that it could fill the disk. The kernel tells once when the file was written to; then its size is looked at until it
//! grows no more, and the kernel is asked to tell again. A child that is silent costs no wake-up.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FallocateFlags, OFlags, fallocate, inotify};

/// Disk space that the file may use. Beyond it all but the end is given back to the disk.
const SPACE_MAX: u64 = 16 * 1024 * 1024;

/// What is kept of a file that was too long: more than last words take, in whole blocks of every file system.
const KEPT: u64 = 64 * 1024;

/// How long after a write the size is looked at, and again while it grows. So long can a child write unseen.
const LOOK: Duration = Duration::from_secs(1);

/// How often the size is looked at where the kernel cannot be asked to tell.
const BLIND_LOOK: Duration = Duration::from_secs(60);

/// Most bytes of the kernel's messages that are taken at once. What is left wakes again.
const MESSAGES_MAX: usize = 512;

/// The guard. It rests until [`Guard::start`].
#[derive(Debug)]
pub struct Guard {
    path: PathBuf,
    kernel: Option<OwnedFd>,
    look_at: Option<Instant>,
    /// The length at the last look.
    seen: u64,
    cuts: u32,
}

impl Guard {
    /// A guard that has nothing to watch yet.
    pub fn new() -> Self {
        let kernel = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK).ok();
        Self { path: PathBuf::new(), kernel, look_at: None, seen: 0, cuts: 0 }
    }

    /// Watches the file of a child that was just started.
    pub fn start(&mut self, path: &Path) {
        if self.path != path {
            path.clone_into(&mut self.path);
        }
        (self.seen, self.cuts) = (0, 0);
        self.rest();
    }

    /// There is nothing to watch any more.
    pub fn stop(&mut self) {
        self.look_at = None;
    }

    /// What to poll for reading.
    pub fn waker(&self) -> Option<BorrowedFd<'_>> {
        self.kernel.as_ref().map(OwnedFd::as_fd)
    }

    /// How long until the next look; `None` where none is due.
    pub fn left(&self) -> Option<Duration> {
        self.look_at.map(|at| at.saturating_duration_since(Instant::now()))
    }

    /// To be called after each wake-up.
    pub fn tend(&mut self) {
        if self.was_told() && self.look_at.is_none() {
            self.look_at = Some(Instant::now() + LOOK);
        }
        if self.left() == Some(Duration::ZERO) {
            self.look();
        }
    }

    fn was_told(&self) -> bool {
        let mut messages = [0_u8; MESSAGES_MAX];
        self.kernel.as_ref().is_some_and(|kernel| rustix::io::read(kernel, &mut messages).is_ok_and(|count| count > 0))
    }

    /// Asks the kernel to tell of the next write.
    fn rest(&mut self) {
        use inotify::WatchFlags as Flags;
        let flags = Flags::MODIFY | Flags::ONESHOT | Flags::DONT_FOLLOW;
        let asked = self.kernel.as_ref().is_some_and(|kernel| inotify::add_watch(kernel, &self.path, flags).is_ok());
        self.look_at = (!asked).then(|| Instant::now() + BLIND_LOOK);
    }

    fn look(&mut self) {
        let Ok(metadata) = fs::symlink_metadata(&self.path) else {
            // Whoever deleted it sees to the space.
            return self.stop();
        };
        // A file with holes uses less than its length, and one that was reserved for uses more.
        if metadata.is_file() && metadata.len().min(metadata.blocks().saturating_mul(512)) > SPACE_MAX {
            self.tell(metadata.len(), &cut(&self.path));
        }
        if metadata.len() == self.seen {
            self.rest();
        } else {
            self.seen = metadata.len();
            self.look_at = Some(Instant::now() + LOOK);
        }
    }

    fn tell(&mut self, length: u64, cut: &io::Result<()>) {
        self.cuts = self.cuts.saturating_add(1);
        // At the first time, the second, the fourth and so on: this must not fill the log in turn.
        if self.cuts.is_power_of_two() {
            let done = match cut {
                Ok(()) => "only the end is kept".to_owned(),
                Err(error) => format!("it cannot be cut: {error}"),
            };
            super::log(&format!("the child has written {} MiB to its stderr; {done}", length >> 20));
        }
    }
}

/// Gives back the space of all but the end. Where the disk cannot do that the file is emptied, and the child, which
/// appends, goes on from its beginning.
fn cut(path: &Path) -> io::Result<()> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file: File = OpenOptions::new().write(true).custom_flags(flags).open(path)?;
    let length = file.metadata()?.len();
    let head = length.saturating_sub(KEPT) / KEPT * KEPT;
    let punched = fallocate(&file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, 0, head);
    punched.map_err(io::Error::from).or_else(|_| file.set_len(0))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_long_file_is_cut_to_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stderr");
        let mut file = File::create(&path).unwrap();
        file.write_all(&vec![b'x'; 1 << 20]).unwrap();
        file.write_all(b"the end").unwrap();
        file.sync_all().unwrap();
        cut(&path).unwrap();
        let metadata = fs::metadata(&path).unwrap();
        assert!(metadata.len().min(metadata.blocks() * 512) <= 2 * KEPT + 4096, "{metadata:?}");
        if metadata.len() > 0 {
            assert!(fs::read(&path).unwrap().ends_with(b"xxxthe end"));
        }
    }

    #[test]
    fn a_write_is_told_and_silence_costs_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stderr");
        let mut file = File::create(&path).unwrap();
        let mut guard = Guard::new();
        guard.start(&path);
        guard.tend();
        assert_eq!(guard.left(), None, "nothing was written");
        file.write_all(b"x").unwrap();
        guard.tend();
        assert!(guard.left().is_some_and(|left| left <= LOOK));
        for grown in [true, false] {
            guard.look();
            assert_eq!(guard.left().is_some(), grown, "it is looked at until it grows no more");
        }
        file.write_all(b"x").unwrap();
        guard.tend();
        assert!(guard.left().is_some(), "the next write is told as well");
    }

    #[test]
    fn without_the_kernels_help_the_size_is_looked_at_now_and_then() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stderr");
        File::create(&path).unwrap();
        let mut guard = Guard { kernel: None, ..Guard::new() };
        guard.start(&path);
        assert!(guard.left().is_some_and(|left| left > LOOK));
        fs::remove_file(&path).unwrap();
        guard.look();
        assert_eq!(guard.left(), None, "a file that is gone is not looked for");
    }
}
