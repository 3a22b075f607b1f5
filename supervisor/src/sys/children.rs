//! The one child: a Tentacle, or `install-package` before the first. Starting, waiting for, signalling and reaping it.
//!
//! A child runs in a process group of its own, so that a key pressed at a terminal reaches Suction Cup alone and there
//! is one way to end. Signals go to the child and never to its group: what a Tentacle started is work that the Tentacle
//! manages, and killing a half-done deployment helps nobody. A process that a dead Tentacle left behind is no Tentacle;
//! one that claims to be is held off by `tentacle.lock`.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use contract::{Home, Version, env};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, WaitStatus, kill_process, pidfd_open, pidfd_send_signal, test_kill_process,
    wait,
};

use super::files::open_stderr;
use super::signals::Signals;
use super::stderr::Guard;
use crate::end::End;
use crate::machine::Fault;
use crate::status::note::Process;

/// Ended processes that are reaped in one go. What is left is reaped in the next, after a look at the signals.
const REAP_MAX: usize = 1024;

/// Longest wait where something that should wake is missing. After it the children are looked at all the same.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// Longest wait that is asked of the system; a longer one is asked for again.
const POLL_MAX: Duration = Duration::from_hours(24);

/// How long to be still after a system call failed that should never fail, so that it cannot become a busy loop.
const BREATHER: Duration = Duration::from_millis(10);

/// Open files that are kept only to be closed before a launch, so that a launch has room where the limit of open files
/// is used up. The child's stderr and the two ends of the standard library's pipe need three.
const SPARE_FILES: usize = 3;

/// The program that installs a package, beside our own.
const INSTALLER: &str = "install-package";

/// The child, if one runs, and what was launched so far.
#[derive(Debug)]
pub struct Children {
    child: Option<Child>,
    launches: u64,
    spare: Vec<File>,
    guard: Guard,
}

#[derive(Debug)]
struct Child {
    pid: Pid,
    /// Readable when the child ended, whatever becomes of SIGCHLD. `None` where it could not be had.
    handle: Option<OwnedFd>,
}

enum Reaped {
    Child(End),
    Nothing,
    MaybeMore,
}

/// Makes the own stdin, which the children inherit, `/dev/null`. Where that fails it stays what it is.
pub fn close_stdin() {
    if let Ok(null) = File::open("/dev/null") {
        let _ = rustix::stdio::dup2_stdin(&null);
    }
}

/// Whose fault it is that a program was not started.
fn fault(error: &io::Error) -> Fault {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::TXTBSY) => Fault::Busy,
        // TOOBIG: the environment is the same for every version. None: not a word of the system's.
        Some(Errno::AGAIN | Errno::NOMEM | Errno::MFILE | Errno::NFILE | Errno::INTR | Errno::TOOBIG) | None => {
            Fault::Machine
        }
        Some(_) => Fault::Version,
    }
}

/// Whose fault it is and in which words. The system's word for a program whose loader is missing is that of a program
/// that is missing itself; people would look for the wrong thing.
pub fn refusal(error: &io::Error, program: &Path) -> (Fault, String) {
    let names_no_loader = error.kind() == io::ErrorKind::NotFound && fs::symlink_metadata(program).is_ok();
    let hint = if names_no_loader { ": the loader or interpreter that it names is missing" } else { "" };
    (fault(error), format!("{error}{hint}"))
}

impl Children {
    /// No child yet.
    pub fn new() -> Self {
        Self { child: None, launches: 0, spare: Vec::new(), guard: Guard::new() }
    }

    /// Starts the program of a version.
    pub fn launch(&mut self, home: &Home, version: &Version) -> io::Result<()> {
        self.spare.clear();
        let launched = self.launch_with_room(home, version);
        self.keep_spare();
        self.guard.start(&home.stderr());
        launched
    }

    /// Opens the spare files, as many as there is room for. The handle of a new child comes before them.
    pub fn keep_spare(&mut self) {
        while self.spare.len() < SPARE_FILES {
            let Ok(file) = File::open("/dev/null") else { return };
            self.spare.push(file);
        }
    }

    fn launch_with_room(&mut self, home: &Home, version: &Version) -> io::Result<()> {
        let mut command = Command::new(home.tentacle_program(version));
        command
            .arg("run")
            .env(env::SUCTION_CUP_CONTRACT, env::SUCTION_CUP_CONTRACT_VALUE)
            .env(env::SUCTION_CUP_LAUNCH_ID, self.launch_id())
            .env(env::SUCTION_CUP_VERSION, version.folder_name());
        // Where the file cannot be had the child writes to our own stderr.
        if let Ok(file) = open_stderr(home) {
            command.stderr(file);
        }
        self.start(home, command)
    }

    /// Starts `install-package` on a bundled package. Its words go where a Tentacle's stderr goes.
    pub fn install(&mut self, home: &Home, folder: &Path, package: &str) -> io::Result<()> {
        let mut command = Command::new(folder.join(INSTALLER));
        command.args([OsStr::new("--bundled"), folder.join("bundle").join(package).as_os_str()]);
        command.args([OsStr::new("--home"), home.path().as_os_str()]);
        if let Ok(file) = open_stderr(home) {
            if let Ok(copy) = file.try_clone() {
                command.stdout(copy);
            }
            command.stderr(file);
        }
        self.guard.start(&home.stderr());
        self.start(home, command)
    }

    /// Nothing of ours runs between fork and exec, so the standard library uses `posix_spawn`. `reap` reaps the child.
    fn start(&mut self, home: &Home, mut command: Command) -> io::Result<()> {
        command.env(env::TENTACLE_HOME, home.path()).stdin(Stdio::inherit()).process_group(0);
        let child = command.spawn()?;
        // Frees the file of its stderr before another one is needed.
        drop(command);
        let pid = Pid::from_child(&child);
        self.child = Some(Child { pid, handle: pidfd_open(pid, PidfdFlags::empty()).ok() });
        Ok(())
    }

    /// Differs at every launch, of this Suction Cup and of every other.
    fn launch_id(&mut self) -> String {
        self.launches = self.launches.wrapping_add(1);
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_nanos();
        format!("{now:x}-{:x}-{:x}", std::process::id(), self.launches)
    }

    /// Waits for a signal, the child's end or the time. Returns how the child ended, if it did.
    ///
    /// Processes that are not ours but were left to us are reaped by the way.
    pub fn wait(&mut self, signals: &mut Signals, left: Option<Duration>) -> Option<End> {
        let mut left = left.map_or(POLL_MAX, |left| left.min(POLL_MAX));
        match self.reap() {
            Reaped::Child(end) => return Some(end),
            Reaped::Nothing => {}
            Reaped::MaybeMore => left = Duration::ZERO,
        }
        if signals.is_stopping() {
            return None;
        }
        self.sleep(signals, self.guard.left().map_or(left, |look| look.min(left)));
        signals.drain();
        self.guard.tend();
        match self.reap() {
            Reaped::Child(end) => Some(end),
            Reaped::Nothing | Reaped::MaybeMore => None,
        }
    }

    fn sleep(&self, signals: &Signals, left: Duration) {
        let handle = self.child.as_ref().map(|child| child.handle.as_ref());
        let deaf = signals.wake().is_none() || matches!(handle, Some(None));
        let left = if deaf { left.min(HEARTBEAT) } else { left };
        let wakers = [signals.wake(), handle.flatten().map(|handle| handle.as_fd()), self.guard.waker()];
        let mut fds: Vec<_> = wakers.iter().flatten().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
        match poll(&mut fds, Timespec::try_from(left).ok().as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => std::thread::sleep(BREATHER),
        }
    }

    fn reap(&mut self) -> Reaped {
        for _ in 0..REAP_MAX {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if self.child.as_ref().is_some_and(|child| child.pid == pid) => {
                    self.child = None;
                    return Reaped::Child(end_of(status));
                }
                // A process that lost its parent and was left to us.
                Ok(Some(_)) | Err(Errno::INTR) => {}
                Ok(None) => return Reaped::Nothing,
                Err(Errno::CHILD) => return self.miss(),
                Err(_) => {
                    std::thread::sleep(BREATHER);
                    return Reaped::Nothing;
                }
            }
        }
        Reaped::MaybeMore
    }

    /// There is no child, says the system. It is believed only if the child is really gone: two Tentacles are worse than
    /// none for a while.
    fn miss(&mut self) -> Reaped {
        let Some(child) = &self.child else { return Reaped::Nothing };
        let gone = match &child.handle {
            Some(handle) => {
                let mut fds = [PollFd::new(handle, PollFlags::IN)];
                poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|count| count > 0)
            }
            None => test_kill_process(child.pid) == Err(Errno::SRCH),
        };
        if gone {
            self.child = None;
            return Reaped::Child(End::Unknown);
        }
        Reaped::Nothing
    }

    /// The child's process, if one runs.
    pub fn process(&self) -> Option<Process> {
        super::process(u32::try_from(self.child.as_ref()?.pid.as_raw_nonzero().get()).ok()?)
    }

    /// Asks the child to end.
    pub fn terminate(&self) {
        self.send(Signal::TERM);
    }

    /// Kills the child.
    pub fn kill(&self) {
        self.send(Signal::KILL);
    }

    /// Cares no more for the child. It is reaped when it ends.
    pub fn abandon(&mut self) {
        self.child = None;
    }

    /// The number cannot have passed to another process, because the child was not reaped. A signal that cannot be sent
    /// is followed by the next after the grace.
    fn send(&self, signal: Signal) {
        let Some(child) = &self.child else { return };
        let sent = child.handle.as_ref().is_some_and(|handle| pidfd_send_signal(handle, signal).is_ok());
        if !sent && let Err(error) = kill_process(child.pid, signal) {
            super::log(&format!("cannot send signal {} to the child: {error}", signal.as_raw()));
        }
    }
}

fn end_of(status: WaitStatus) -> End {
    /// Set in a status where the kernel wrote a core.
    const CORE: i32 = 0x80;
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => End::Code(code),
        (None, Some(number)) => End::Signal { number, core: status.as_raw() & CORE != 0 },
        (None, None) => End::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_to_start_is_the_machines_or_the_versions() {
        let of = |error: Errno| fault(&io::Error::from_raw_os_error(error.raw_os_error()));
        for error in [Errno::AGAIN, Errno::NOMEM, Errno::MFILE, Errno::NFILE, Errno::INTR, Errno::TOOBIG] {
            assert_eq!(of(error), Fault::Machine, "{error:?}");
        }
        for error in [Errno::NOENT, Errno::ACCESS, Errno::NOEXEC, Errno::LOOP, Errno::ISDIR, Errno::PERM] {
            assert_eq!(of(error), Fault::Version, "{error:?}");
        }
        assert_eq!(of(Errno::TXTBSY), Fault::Busy);
        assert_eq!(fault(&io::Error::other("not the system's word")), Fault::Machine);
    }

    #[test]
    fn only_a_program_that_is_there_and_not_found_names_a_missing_loader() {
        let folder = tempfile::tempdir().unwrap();
        let [there, gone] = ["there", "gone"].map(|name| folder.path().join(name));
        File::create(&there).unwrap();
        let hinted = |error: Errno, program| {
            let (_, why) = refusal(&io::Error::from_raw_os_error(error.raw_os_error()), program);
            why.ends_with(": the loader or interpreter that it names is missing")
        };
        assert!(hinted(Errno::NOENT, &there));
        assert!(!hinted(Errno::NOENT, &gone));
        assert!(!hinted(Errno::ACCESS, &there));
        let refused = refusal(&io::Error::from_raw_os_error(Errno::ACCESS.raw_os_error()), &there);
        assert_eq!(refused, (Fault::Version, "Permission denied (os error 13)".to_owned()));
    }

    #[test]
    fn as_many_files_are_kept_as_a_launch_needs() {
        let mut children = Children::new();
        for _ in 0..2 {
            children.keep_spare();
            assert_eq!(children.spare.len(), 3);
        }
    }

    #[test]
    fn a_launch_id_is_different_each_time_and_names_this_process() {
        let mut children = Children::new();
        let ids = [children.launch_id(), children.launch_id()];
        assert_ne!(ids[0], ids[1]);
        let own = format!("{:x}", std::process::id());
        assert!(ids.iter().all(|id| id.split('-').nth(1) == Some(&own)), "{ids:?}");
    }
}
