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
        self.kernel.as_ref().is_some_and(|kernel| rustix::io::read(kernel, &mut messages).is_ok())
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
            let news = self.news(metadata.len(), &cut(&self.path));
            news.iter().for_each(|news| super::log(news));
        }
        if metadata.len() == self.seen {
            self.rest();
        } else {
            self.seen = metadata.len();
            self.look_at = Some(Instant::now() + LOOK);
        }
    }

    /// What to tell of a cut. At the first time, the second, the fourth and so on: this must not fill the log in turn.
    fn news(&mut self, length: u64, cut: &io::Result<()>) -> Option<String> {
        self.cuts = self.cuts.saturating_add(1);
        self.cuts.is_power_of_two().then(|| {
            let done = match cut {
                Ok(()) => "only the end is kept".to_owned(),
                Err(error) => format!("it cannot be cut: {error}"),
            };
            format!("the child has written {} MiB to its stderr; {done}", length >> 20)
        })
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

    /// Disk space that a file uses.
    fn space(path: &Path) -> u64 {
        let metadata = fs::metadata(path).unwrap();
        metadata.len().min(metadata.blocks() * 512)
    }

    /// A file of so many bytes, each different from the one before, and all on the disk.
    fn long_file(path: &Path, length: usize) -> Vec<u8> {
        let bytes: Vec<_> = (0..251).cycle().take(length).collect();
        let mut file = File::create(path).unwrap();
        file.write_all(&bytes).unwrap();
        file.sync_all().unwrap();
        bytes
    }

    /// Whether the disk of this folder can give back the space of a part of a file.
    fn can_punch(folder: &Path) -> bool {
        let path = folder.join("punched");
        long_file(&path, 1 << 17);
        let flags = FallocateFlags::PUNCH_HOLE.union(FallocateFlags::KEEP_SIZE);
        fallocate(File::options().write(true).open(path).unwrap(), flags, 0, 1 << 16).is_ok()
    }

    #[test]
    fn a_long_file_is_cut_to_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stderr");
        let bytes = long_file(&path, (1 << 20) + 7);
        cut(&path).unwrap();
        if can_punch(folder.path()) {
            let left = fs::read(&path).unwrap();
            assert_eq!(left.len(), bytes.len());
            assert!(left.ends_with(&bytes[bytes.len() - 65_536..]), "what last words are made of is whole");
        }
        assert!(space(&path) <= 2 * 65_536 + 4_096, "{}", space(&path));
    }

    #[test]
    fn a_link_in_the_place_of_the_file_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let [other, path] = ["other", "stderr"].map(|name| folder.path().join(name));
        let bytes = long_file(&other, 1 << 20);
        std::os::unix::fs::symlink(&other, &path).unwrap();
        cut(&path).unwrap_err();
        assert!(fs::read(&other).unwrap() == bytes);
    }

    #[test]
    fn a_file_is_cut_above_sixteen_mebibytes_and_not_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stderr");
        let mut guard = Guard::new();
        for (length, cuts) in [(1 << 10, 0), (16 << 20, 0), ((16 << 20) + 8_192, 1)] {
            long_file(&path, length);
            guard.start(&path);
            guard.look();
            assert_eq!(guard.cuts, cuts, "{length} bytes");
            assert_eq!(space(&path) < 1 << 18, length < 1 << 18 || cuts > 0, "{length} bytes");
            assert!(fs::metadata(&path).unwrap().len() > 0 || cuts > 0);
        }
    }

    #[test]
    fn cuts_are_told_at_the_first_the_second_the_fourth_and_so_on() {
        let mut guard = Guard::new();
        let told: Vec<_> = (1..=9).filter(|_| guard.news(17 << 20, &Ok(())).is_some()).collect();
        assert_eq!(told, [1, 2, 4, 8]);
        let news = |cut| Guard::new().news(17 << 20, &cut).unwrap();
        assert_eq!(news(Ok(())), "the child has written 17 MiB to its stderr; only the end is kept");
        assert!(news(Err(io::ErrorKind::NotFound.into())).contains(" MiB to its stderr; it cannot be cut: "));
    }

    #[test]
    fn one_write_is_told_and_further_ones_only_when_the_kernel_is_asked_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stderr");
        let mut file = File::create(&path).unwrap();
        let mut guard = Guard::new();
        guard.start(&path);
        assert!(!guard.was_told());
        file.write_all(b"x").unwrap();
        assert!(guard.was_told());
        for _ in 0..3 {
            file.write_all(b"x").unwrap();
            assert!(!guard.was_told(), "a child that goes on writing wakes nobody");
        }
        guard.rest();
        file.write_all(b"x").unwrap();
        assert!(guard.was_told());
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
        assert!(guard.waker().is_some(), "the kernel can wake");
        file.write_all(b"x").unwrap();
        guard.tend();
        assert!(guard.left().is_some_and(|left| left <= LOOK));
        assert_eq!(guard.seen, 0, "the size is looked at later, not at each write");
        for grown in [true, false] {
            // The time has come.
            guard.look_at = Some(Instant::now());
            guard.tend();
            assert_eq!(guard.seen, 1);
            let due = guard.left();
            assert_eq!(due.is_some(), grown, "it is looked at until it grows no more");
            assert_ne!(due, Some(Duration::ZERO), "and never without a pause");
        }
        file.write_all(b"x").unwrap();
        guard.tend();
        assert!(guard.left().is_some(), "the next write is told as well");
        let due = guard.look_at;
        guard.tend();
        assert_eq!((guard.look_at, guard.seen), (due, 1), "and what is due is not put off");
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
