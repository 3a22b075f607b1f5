//! `strace`: which system calls a program makes, and one of them interfered with.
//!
//! The tracer runs apart (`-D`), so the program is our own child, with its own number and its own end. Only the program
//! itself is traced, never what it starts, unless a scenario asks for its threads.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use xtask::Process;

use crate::case::Outcome;
use crate::faults::Fault;
use crate::stage::wait;

/// How long the tracer may take to write its last line after the program ended.
const LAST_LINE_LIMIT: Duration = Duration::from_secs(2);

/// How long the tracer may take to have a program that runs already. After it the case has failed.
const ATTACH_LIMIT: Duration = Duration::from_secs(10);

/// The word with which the tracer goes apart.
const APART: &str = "-D";

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
    /// All threads, and processes that the program starts; with the file that each call has to do with.
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
    let mut words = vec!["strace".to_owned(), APART.to_owned()];
    if threads == Threads::All {
        // Not with `--seccomp-bpf`, under which no signal is injected.
        words.extend(["-f".to_owned(), "-y".to_owned()]);
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

/// Has these words trace a program that runs already, from now on: each thread's calls are counted from here. The tracer
/// goes with what is returned, or with the program.
pub fn attach(words: &[String], pid: i32, said: &Path) -> anyhow::Result<Process> {
    let mut command = Command::new(&words[0]);
    command.args(words[1..].iter().filter(|word| *word != APART)).arg("-p").arg(pid.to_string());
    let tracer = Process::start(command, said)?;
    let attached = wait(ATTACH_LIMIT, || tracer.tail().contains("attached").then_some(()));
    ensure!(attached.is_some(), "strace is not attached in {ATTACH_LIMIT:?}: {}", tracer.tail());
    Ok(tracer)
}

/// Waits until the tracer has written its last line, and returns all of them.
pub fn finished(log: &Path) -> String {
    let mut text = String::new();
    wait(LAST_LINE_LIMIT, || {
        text = fs::read_to_string(log).unwrap_or_default();
        (text.contains("+++ exited") || text.contains("+++ killed")).then_some(())
    });
    text
}

/// What the log shows of a case that did not fail: whether the injection took place.
pub(crate) fn outcome(log: &Path) -> Outcome {
    let text = finished(log);
    let reached = text.contains("(INJECTED)") || text.contains("+++ killed by SIGKILL");
    if reached { Outcome::Passed } else { Outcome::NotReached }
}

/// The calls of a recording: for each name, the line of each call in order.
#[derive(Debug, Default)]
pub struct Calls {
    /// Each call's line, by the name of the call. What several threads did at the same place has a line for each thread.
    pub lines: BTreeMap<String, Vec<String>>,
    /// How many calls of each name belong to the loader and the standard library's start.
    pub before_start: BTreeMap<String, usize>,
}

impl Calls {
    /// Reads a recording. Lines of several threads are told apart by the number that they begin with, for each thread's
    /// calls are counted apart.
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
        threads.into_values().for_each(|calls| all.join_thread(calls));
        all
    }

    /// Takes in what another thread did meanwhile.
    fn join_thread(&mut self, other: Self) {
        for (name, lines) in other.lines {
            let own = self.lines.entry(name).or_default();
            for (index, line) in lines.into_iter().enumerate() {
                match own.get_mut(index) {
                    Some(own) => own.extend(["\n", line.as_str()]),
                    None => own.push(line),
                }
            }
        }
        for (name, count) in other.before_start {
            let own = self.before_start.entry(name).or_default();
            *own = count.max(*own);
        }
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
    fn each_threads_calls_are_counted_apart() {
        let text = "10 openat(AT_FDCWD, \"a\", O_RDONLY|O_DIRECTORY) = 7</a>\n10 close(7</a>) = 0\n";
        assert!(Calls::parse(text).lines["close"][0].ends_with(A_FOLDER));
        let text = "10 fsync(1) = 0\n11 fsync(1) = 0\n11 fsync(1 <unfinished ...>\n11 <... fsync resumed>) = 0\n\
                    10 openat(1) = 0\n+++ exited with 0 +++";
        let calls = Calls::parse(text);
        assert_eq!((calls.lines["fsync"].len(), calls.lines["openat"].len()), (2, 1));
        assert_eq!(calls.lines["fsync"][0].lines().count(), 2);
    }

    #[test]
    fn an_injection_reads_what_it_writes() {
        for text in ["fsync:2:EIO", "close:1:KILL", "brk:3:NULL"] {
            assert_eq!(text.parse::<Injection>().unwrap().to_string(), text);
        }
        assert!("fsync:2".parse::<Injection>().is_err() && "fsync:x:EIO".parse::<Injection>().is_err());
    }
}
