//! `strace`: which system calls a program makes, and one of them interfered with.
//!
//! The tracer runs apart (`-D`), so the program is our own child, with its own number and its own end. Only the program
//! itself is traced, never what it starts, unless a scenario asks for its threads.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::faults::Fault;

/// How long the tracer may take to write its last line after the program ended.
const LAST_LINE_LIMIT: Duration = Duration::from_secs(2);

/// The last call of the standard library's own start: what follows is the program's.
const STARTED: &str = "rt_sigaction(SIGBUS, {";

/// What is added to the line of a call that closes a folder. It has nothing left to write, so it cannot fail to.
pub(crate) const A_FOLDER: &str = " # a folder";

/// One system call that is interfered with: the `nth` of its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Injection {
    /// The name of the call.
    pub call: String,
    /// Counted from one, for each name.
    pub nth: usize,
    /// What happens there.
    pub fault: Fault,
}

impl fmt::Display for Injection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.call, self.nth, self.fault)
    }
}

impl std::str::FromStr for Injection {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let parts: Vec<_> = text.split(':').collect();
        let [call, nth, fault] = parts[..] else { bail!("expected CALL:N:FAULT, as in fsync:2:EIO or close:1:KILL") };
        Ok(Self { call: call.to_owned(), nth: nth.parse().context("N is no number")?, fault: fault.parse()? })
    }
}

/// What is traced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threads {
    /// The first thread, and nothing that the program starts.
    First,
    /// All threads, and processes that the program starts.
    All,
}

/// True where `strace` is installed.
pub fn is_there() -> bool {
    Command::new("strace").arg("-V").output().is_ok_and(|output| output.status.success())
}

/// The start of a command line that records every call, or only what a filter (`trace=…`) names, into `log`.
pub fn recording(log: &Path, threads: Threads, filter: &str) -> Vec<String> {
    words(log, threads, &["-e".to_owned(), filter.to_owned()])
}

/// The start of a command line that interferes with one call.
pub fn interfering(log: &Path, threads: Threads, injection: &Injection) -> Vec<String> {
    let Injection { call, nth, fault } = injection;
    let inject = format!("inject={call}:{}:when={nth}", fault.in_strace());
    words(log, threads, &["-e".to_owned(), format!("trace={call}"), "-e".to_owned(), inject])
}

fn words(log: &Path, threads: Threads, more: &[String]) -> Vec<String> {
    let mut words = vec!["strace".to_owned(), "-D".to_owned()];
    if threads == Threads::All {
        // Not with `--seccomp-bpf`, under which no signal is injected.
        words.push("-f".to_owned());
    }
    words.extend(["-o".to_owned(), log.display().to_string()]);
    words.extend_from_slice(more);
    words
}

/// The command that runs `program` under a tracer.
pub fn command(words: &[String], program: &Path) -> Command {
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).arg("--").arg(program);
    command
}

/// Waits until the tracer has written its last line, and returns all of them.
pub fn finished(log: &Path) -> String {
    let begun = Instant::now();
    loop {
        let text = fs::read_to_string(log).unwrap_or_default();
        if text.contains("+++ exited") || text.contains("+++ killed") || begun.elapsed() > LAST_LINE_LIMIT {
            return text;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// True where the log shows that the injection took place.
pub fn was_reached(log: &Path) -> bool {
    let text = finished(log);
    text.contains("(INJECTED)") || text.contains("+++ killed by SIGKILL")
}

/// The calls of a recording: for each name, the line of each call in order.
#[derive(Debug, Default)]
pub struct Calls {
    /// Each call's line, by the name of the call.
    pub lines: BTreeMap<String, Vec<String>>,
    /// How many calls of each name belong to the loader and the standard library's start.
    pub before_start: BTreeMap<String, usize>,
}

impl Calls {
    /// Reads a recording. Lines of several threads are told apart by the number that they begin with; the calls of the
    /// thread that made most of a name count.
    pub fn read(path: &Path) -> Self {
        Self::parse(&finished(path))
    }

    fn parse(text: &str) -> Self {
        let mut threads: BTreeMap<&str, Self> = BTreeMap::new();
        let mut folders = BTreeSet::new();
        for line in text.lines() {
            let digits = line.find(|c: char| !c.is_ascii_digit()).unwrap_or(0);
            let (thread, line) = line.split_at(digits);
            let line = line.trim_start();
            let Some((name, _)) = line.split_once('(') else { continue };
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
                continue;
            }
            let calls = threads.entry(thread).or_default();
            let mut line = line.to_owned();
            if name == "close" && folders.contains(line[name.len() + 1..].split(')').next().unwrap_or_default()) {
                line += A_FOLDER;
            } else if name.starts_with("open")
                && let Some((_, descriptor)) = line.rsplit_once("= ")
            {
                if line.contains("O_DIRECTORY") {
                    folders.insert(descriptor.to_owned());
                } else {
                    folders.remove(descriptor);
                }
            }
            calls.lines.entry(name.to_owned()).or_default().push(line.clone());
            if line.starts_with(STARTED) {
                calls.before_start = calls.lines.iter().map(|(name, lines)| (name.clone(), lines.len())).collect();
            }
        }
        let mut all = Self::default();
        threads.into_values().for_each(|calls| all.join(calls));
        all
    }

    /// Takes in another recording of the same: the longer one counts, name by name.
    pub fn join(&mut self, other: Self) {
        for (name, lines) in other.lines {
            let own = self.lines.entry(name).or_default();
            if lines.len() > own.len() {
                *own = lines;
            }
        }
        for (name, count) in other.before_start {
            let own = self.before_start.entry(name).or_default();
            *own = count.max(*own);
        }
    }

    /// How many calls there are.
    pub fn count(&self) -> usize {
        self.lines.values().map(Vec::len).sum()
    }

    /// True for a call of the loader or the standard library's start.
    pub fn is_before_start(&self, injection: &Injection) -> bool {
        self.before_start.get(&injection.call).is_some_and(|count| injection.nth <= *count)
    }
}

/// Where a recording or an interference writes its log.
pub fn log_in(folder: &Path, what: &str) -> PathBuf {
    folder.join(format!("strace-{what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_for_each_name_and_the_start_is_told_apart() {
        let text = "execve(\"a\", [\"a\"], 0x1) = 0\nread(3, \"x(y\", 8) = 3\n\
                    rt_sigaction(SIGBUS, {sa_handler=0x1}, NULL, 8) = 0\nread(3, \"\", 8) = 0\n\
                    --- SIGCHLD {si_signo=SIGCHLD} ---\nread(3, \"\", 8) = 0\n+++ exited with 0 +++\n";
        let calls = Calls::parse(text);
        assert_eq!(calls.lines["read"].len(), 3);
        assert_eq!(calls.count(), 5);
        let at = |nth| Injection { call: "read".to_owned(), nth, fault: Fault::Kill };
        assert!(calls.is_before_start(&at(1)) && !calls.is_before_start(&at(2)));
    }

    #[test]
    fn the_thread_that_made_most_calls_of_a_name_counts() {
        let text = "10 openat(AT_FDCWD, \"a\", O_RDONLY|O_DIRECTORY) = 7\n10 close(7) = 0\n";
        assert!(Calls::parse(text).lines["close"][0].ends_with(A_FOLDER));
        let text = "10 fsync(1) = 0\n11 fsync(1) = 0\n11 fsync(1 <unfinished ...>\n11 <... fsync resumed>) = 0\n\
                    10 openat(1) = 0\n+++ exited with 0 +++";
        let calls = Calls::parse(text);
        assert_eq!((calls.lines["fsync"].len(), calls.lines["openat"].len()), (2, 1));
    }

    #[test]
    fn an_injection_reads_what_it_writes() {
        for text in ["fsync:2:EIO", "close:1:KILL", "brk:3:NULL"] {
            assert_eq!(text.parse::<Injection>().unwrap().to_string(), text);
        }
        assert!("fsync:2".parse::<Injection>().is_err() && "fsync:x:EIO".parse::<Injection>().is_err());
    }
}
