//! Processes that the harness started: their logs, their signals, and their certain end.
//!
//! Children stay in the harness's process group, so that a key pressed at the terminal reaches them too.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use contract::env;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal};

/// Between two looks at a process that is ending.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// How long a process may take to end after TERM before it is killed. A portal drains its requests in this time, and a
/// Suction Cup ends its Tentacle.
const GRACE: Duration = Duration::from_secs(10);

/// How long the end of a killed process is waited for. After it the process is left to the system.
const KILL_LIMIT: Duration = Duration::from_secs(5);

/// Most bytes of a log that are shown.
const TAIL_BYTES: u64 = 4096;

/// A child process. Dropping it ends it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` with no stdin, and with stdout and stderr appended to `log`.
    pub fn start(mut command: Command, log: &Path) -> anyhow::Result<Self> {
        let open = || OpenOptions::new().create(true).append(true).open(log);
        let out = open().with_context(|| format!("cannot open the log {}", log.display()))?;
        let err = out.try_clone()?;
        command.stdin(Stdio::null()).stdout(out).stderr(err);
        let child = command.spawn().with_context(|| format!("cannot start {}", command.get_program().display()))?;
        Ok(Self { child, log: log.to_owned() })
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended; `None` while it runs.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Sends it a signal. One that ended gets none.
    pub fn signal(&mut self, signal: Signal) {
        if self.ended().is_none() {
            // It was not reaped, so its number cannot have passed to another process.
            let _ = kill_process(Pid::from_child(&self.child), signal);
        }
    }

    /// Waits for its end; `None` when it still runs after `limit`.
    pub fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        let begin = Instant::now();
        loop {
            match self.ended() {
                None if begin.elapsed() < limit => std::thread::sleep(LOOK_EVERY),
                ended => return ended,
            }
        }
    }

    /// Asks it to end (TERM), and kills it if it does not within 10 s. `None` if even that did not end it.
    pub fn end(&mut self) -> Option<ExitStatus> {
        self.signal(Signal::TERM);
        self.wait(GRACE).or_else(|| self.kill9())
    }

    /// Kills it.
    pub fn kill9(&mut self) -> Option<ExitStatus> {
        self.signal(Signal::KILL);
        self.wait(KILL_LIMIT)
    }

    /// The last lines that it wrote.
    pub fn tail(&self) -> String {
        log_tail(&self.log)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

/// The last 4 KiB of a log; empty where there is none.
pub fn log_tail(path: &Path) -> String {
    let read = || -> std::io::Result<String> {
        let mut file = File::open(path)?;
        let start = file.metadata()?.len().saturating_sub(TAIL_BYTES);
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    read().unwrap_or_default()
}

/// The processes whose parent is `parent`, ended ones that nobody reaped left out.
pub fn children_of(parent: u32) -> Vec<u32> {
    all_processes().filter(|pid| parent_of(*pid) == Some(parent)).collect()
}

/// Every process, however deep, that was started for the Tentacle of `home`: they all carry it in their environment.
pub fn processes_of(home: &Path) -> Vec<u32> {
    processes_with(env::TENTACLE_HOME, home)
}

/// Every process that was started with this variable in its environment, which is how children inherit it.
pub fn processes_with(name: &str, value: &Path) -> Vec<u32> {
    let variable = variable(name, value);
    all_processes().filter(|pid| has(*pid, &variable)).collect()
}

/// Kills every process that was started with this variable in its environment, and returns how many there were.
pub(crate) fn kill_processes_with(name: &str, value: &Path) -> usize {
    let variable = variable(name, value);
    let mut killed = 0;
    for number in processes_with(name, value) {
        let Some(pid) = i32::try_from(number).ok().and_then(Pid::from_raw) else { continue };
        let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) else { continue };
        // Looked at again now that the handle holds it: the number may have passed to a stranger in between.
        if has(number, &variable) && pidfd_send_signal(handle, Signal::KILL).is_ok() {
            killed += 1;
        }
    }
    killed
}

fn all_processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn variable(name: &str, value: &Path) -> Vec<u8> {
    [name.as_bytes(), b"=", value.as_os_str().as_bytes()].concat()
}

/// One that has ended has no environment any more, whether it was reaped or not.
fn has(pid: u32, variable: &[u8]) -> bool {
    fs::read(format!("/proc/{pid}/environ")).is_ok_and(|environ| environ.split(|b| *b == 0).any(|v| v == variable))
}

/// Reads the parent of a process; `None` for one that ended.
fn parent_of(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in parentheses and may hold any character.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    if state == "Z" { None } else { fields.next()?.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_and_what_it_started_for_a_home_are_found_and_ended() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("home");
        let mut command = Command::new("sh");
        command.args(["-c", "echo started; sleep 600 & wait"]).env(env::TENTACLE_HOME, &home);
        let mut process = Process::start(command, &folder.path().join("log")).unwrap();
        let begin = Instant::now();
        while children_of(process.id()).is_empty() {
            assert!(begin.elapsed() < Duration::from_secs(30), "the shell never started its child");
            std::thread::sleep(LOOK_EVERY);
        }
        assert_eq!(processes_of(&home).len(), 2);
        assert_eq!(process.tail(), "started\n");
        assert!(process.end().is_some());
        kill_processes_with(env::TENTACLE_HOME, &home);
        while !processes_of(&home).is_empty() {
            assert!(begin.elapsed() < Duration::from_secs(30), "the grandchild was not ended");
            std::thread::sleep(LOOK_EVERY);
        }
    }
}
