//! A home folder with scripts for Tentacles, and a running Suction Cup that is ended when the test is over.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use contract::Home;
use rustix::process::{Pid, Signal, kill_process};

/// The longest that any test waits for anything, in seconds. A test fails at it. `OCTOPUS_TEST_PATIENCE` makes it shorter
/// where failures are what is looked for.
const PATIENCE: usize = 45;

/// Lines of the log that a test shows when it fails.
const END_MAX: usize = 40;

/// Tries to delete a test's folder. After them it is left behind.
const DELETIONS_MAX: u32 = 100;

/// The program under test.
pub const SUCTION_CUP: &str = env!("CARGO_BIN_EXE_suction-cup");

/// Settings with which crashes bring no wait, for tests that make many.
pub const UNLIMITED: [(&str, &str); 2] = [("SUCTION_CUP_CRASH_LIMIT", "1000"), ("SUCTION_CUP_CRASH_WINDOW_MS", "1")];

/// A setting with which a version on probation falls at its first end, for tests that need a fall and no times.
pub const ONE_LAUNCH: [(&str, &str); 1] = [("SUCTION_CUP_PROBATION_LAUNCHES", "1")];

/// A script's last line for a Tentacle that runs for longer than any test looks at it.
pub const STAY: &str = "exec sleep 60";

/// A line of a script that writes what Tentacle writes when it was confirmed.
pub const PROVE: &str = ": >\"$OCTOPUS_TENTACLE_HOME/supervisor/$SUCTION_CUP_VERSION.proven\"";

/// A line of the `starts` file: one launch.
#[derive(Clone, Debug)]
pub struct Start {
    pub version: String,
    pub pid: i32,
    /// Nanoseconds since the epoch.
    pub at: u128,
}

/// A home folder in a temporary one.
pub struct Place {
    pub home: Home,
    folder: tempfile::TempDir,
}

impl Place {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(folder.path().join("home"));
        fs::create_dir_all(home.tentacles()).unwrap();
        Self { home, folder }
    }

    /// The temporary folder around the home.
    pub fn around(&self) -> &Path {
        self.folder.path()
    }

    /// Installs a version whose program notes its start and then does what `body` says.
    pub fn install(&self, version: &str, body: &str) -> &Self {
        let incoming = self.home.tentacles().join(format!(".incoming-{version}-test"));
        fs::create_dir_all(&incoming).unwrap();
        write_program(&incoming.join("tentacle"), &script(body));
        fs::rename(&incoming, self.home.tentacles().join(version)).unwrap();
        self
    }

    pub fn prove(&self, version: &str) -> &Self {
        fs::create_dir_all(self.home.supervisor()).unwrap();
        File::create(self.home.proven(&version.parse().unwrap())).unwrap();
        self
    }

    /// The launches so far.
    pub fn starts(&self) -> Vec<Start> {
        let text = fs::read_to_string(self.home.path().join("starts")).unwrap_or_default();
        let whole_lines = text.rfind('\n').map_or("", |end| &text[..end]);
        let read = |line: &str| {
            let mut words = line.split(' ');
            Start {
                version: words.next().unwrap().to_owned(),
                pid: words.next().unwrap().parse().unwrap(),
                at: words.next().unwrap().parse().unwrap(),
            }
        };
        whole_lines.lines().map(read).collect()
    }

    pub fn started(&self) -> Vec<String> {
        self.starts().into_iter().map(|start| start.version).collect()
    }

    pub fn wait_for_starts(&self, count: usize) -> Vec<Start> {
        wait_until(&format!("start {count}"), || self.starts().len() >= count);
        self.starts()
    }

    pub fn read(&self, path: &Path) -> String {
        fs::read_to_string(path).unwrap_or_default()
    }

    pub fn log(&self) -> String {
        self.read(&self.folder.path().join("log"))
    }

    /// Starts Suction Cup with its log in a file.
    pub fn run(&self, settings: &[(&str, &str)]) -> Running<'_> {
        self.run_with(Path::new(SUCTION_CUP), settings, self.log_file().into())
    }

    /// Starts Suction Cup by way of a shell: `lines` come first, and the last of them ends with the words before its
    /// name: `exec strace`, for example.
    pub fn run_through(&self, lines: &str, settings: &[(&str, &str)]) -> Running<'_> {
        let program = self.around().join("through");
        write_program(&program, &format!("#!/bin/sh\n{lines} {SUCTION_CUP} \"$@\"\n"));
        self.run_with(&program, settings, self.log_file().into())
    }

    fn log_file(&self) -> File {
        File::options().append(true).create(true).open(self.folder.path().join("log")).unwrap()
    }

    pub fn run_with(&self, program: &Path, settings: &[(&str, &str)], stderr: Stdio) -> Running<'_> {
        let mut command = Command::new(program);
        command.arg("--home").arg(self.home.path()).envs(settings.iter().copied());
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr).spawn().unwrap();
        Running { place: self, child }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // A child that was started in the last moment may still make a file in a folder that is just being deleted.
        for _ in 0..DELETIONS_MAX {
            match fs::remove_dir_all(self.folder.path()) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                _ => return,
            }
        }
    }
}

/// Gives the folders in which Suction Cup makes files to another user.
pub fn own_by(place: &Place, user: u32) {
    for path in [place.around(), place.home.path(), &place.home.supervisor(), &place.home.tentacles()] {
        chown(path, Some(user), Some(user)).unwrap();
    }
}

/// A script that notes its start, then does what `body` says.
pub fn script(body: &str) -> String {
    format!("#!/bin/sh\necho \"$SUCTION_CUP_VERSION $$ $(date +%s%N)\" >>\"$OCTOPUS_TENTACLE_HOME/starts\"\n{body}\n")
}

pub fn write_program(path: &PathBuf, text: &str) {
    // Written by another process: a file that this one has open for writing could be open in a child of another test
    // between its fork and exec, and then could not be run.
    let written = Command::new("sh").args(["-c", "printf %s \"$2\" >\"$1\"", "sh"]).arg(path).arg(text).status();
    assert!(written.unwrap().success());
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// A Suction Cup. At the end of the test it is ended, and its Tentacle with it.
pub struct Running<'a> {
    place: &'a Place,
    pub child: Child,
}

impl Running<'_> {
    pub fn signal(&self, signal: Signal) {
        send(i32::try_from(self.child.id()).unwrap(), signal);
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub fn wait(&mut self) -> ExitStatus {
        wait_until("Suction Cup's end", || self.child.try_wait().unwrap().is_some());
        self.child.wait().unwrap()
    }

    /// Sends TERM and waits for the end.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// A number from `/proc/<pid>/status`.
    pub fn status(&self, field: &str) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        line.trim_matches([':', '\t', ' ', 'k', 'B']).parse().unwrap()
    }

    /// The processor's time that it has used, in the system's ticks of 10 ms.
    pub fn ticks(&self) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<_> = text.rsplit_once(')').unwrap().1.split_ascii_whitespace().collect();
        fields[11..13].iter().map(|ticks| ticks.parse::<u64>().unwrap()).sum()
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        // A script has no parent-death signal, so the last one may still run.
        if let Some(start) = self.place.starts().last().filter(|start| self.is_ours(start.pid)) {
            send(start.pid, Signal::KILL);
        }
        if std::thread::panicking() {
            let (log, starts) = (self.place.log(), self.place.started());
            let end: Vec<_> = log.lines().rev().take(END_MAX).collect();
            let last = &starts[starts.len().saturating_sub(END_MAX)..];
            eprintln!("--- end of the log, last line first ---\n{}\n--- last starts ---\n{last:?}", end.join("\n"));
        }
    }
}

impl Running<'_> {
    /// True if the process was launched for this home folder.
    fn is_ours(&self, pid: i32) -> bool {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let wanted = format!("OCTOPUS_TENTACLE_HOME={}", self.place.home.path().display());
        environment.split(|byte| *byte == 0).any(|entry| entry == wanted.as_bytes())
    }
}

pub fn send(pid: i32, signal: Signal) {
    let _ = kill_process(Pid::from_raw(pid).unwrap(), signal);
}

pub fn is_alive(pid: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    !status.is_empty() && !status.contains("State:\tZ")
}

pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let patience = Duration::from_secs(rounds("OCTOPUS_TEST_PATIENCE", PATIENCE) as u64);
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < patience, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// True where the command succeeds. Otherwise the test that asks has nothing to test with, and says so.
pub fn can(what: &str, program: &str, arguments: &[&str]) -> bool {
    let tried = Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
    let can = tried.is_ok_and(|status| status.success());
    if !can {
        eprintln!("passed over: {what} is not possible here");
    }
    can
}

/// A user that is nobody's, and the words that make a program run as that user; `None` where that is not possible.
pub fn another_user() -> Option<(u32, String)> {
    let user = 40_000 + std::process::id() % 10_000;
    let words = format!("setpriv --reuid={user} --regid={user} --clear-groups");
    can("another user", "sh", &["-c", &format!("{words} true")]).then_some((user, words))
}

/// Where `strace` can be had, the words that run a program under it, with these injections. The program keeps the number
/// of the process that was started. System calls of its children are left alone.
pub fn strace(injections: &[&str]) -> Option<String> {
    can("strace", "strace", &["-qq", "-o", "/dev/null", "true"]).then(|| {
        let injections: String = injections.iter().map(|injection| format!(" -e 'inject={injection}'")).collect();
        format!("exec strace -D -qq -o /dev/null{injections}")
    })
}

/// A number that the environment may raise, for a long run of a test by hand.
pub fn rounds(variable: &str, default: usize) -> usize {
    std::env::var_os(variable).and_then(|value| value.to_str()?.parse().ok()).unwrap_or(default)
}

/// The children of a process.
pub fn children(pid: u32) -> Vec<i32> {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    list.split_ascii_whitespace().map(|number| number.parse().unwrap()).collect()
}

/// Looks for a while that something stays so.
pub fn stays(time: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < time {
        if !condition() {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    true
}
