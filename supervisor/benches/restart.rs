//! `cargo bench -p suction-cup`: how soon a killed child is back, and what its supervisor costs meanwhile, beside the
//! supervisors that Debian packages and a bare loop of spawn and wait, all in the same run. `-- --quick` takes fewer rounds.
//!
//! Suction Cup is measured as it is shipped: built for the static target where that is installed.

#![expect(clippy::unwrap_used, reason = "a measurement that cannot be set up fails")]

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use rustix::time::{ClockId, clock_gettime};

/// What Suction Cup is shipped for.
const STATIC_TARGET: &str = "x86_64-unknown-linux-musl";

/// For how long a child had lived when it is killed. Some supervisors treat one younger than a second in another way.
const AGES: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(1_300)];

/// For how long all are left alone.
const IDLE: Duration = Duration::from_secs(30);

/// The programs of others, and the Debian packages that they are in.
const OTHERS: [(&str, &str); 3] = [("runsv", "runit"), ("s6-supervise", "s6"), ("supervise", "daemontools")];

/// Kills of each: of what restarts at once, and of what may take a second for it.
struct Rounds {
    fast: [usize; 2],
    slow: [usize; 2],
}

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    if let [word, child] = arguments.as_slice()
        && word == "bare"
    {
        return spawn_and_wait(child.as_ref());
    }
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let rounds =
        if quick { Rounds { fast: [30, 6], slow: [6, 3] } } else { Rounds { fast: [200, 40], slow: [20, 12] } };
    let folder = tempfile::tempdir().unwrap();
    let child = build_child(folder.path());
    let mut fast = [Supervised::bare(folder.path(), &child), Supervised::suction_cup(folder.path(), &child)];
    let mut slow = Vec::new();
    for (program, package) in OTHERS {
        match Supervised::other(folder.path(), &child, program) {
            Some(supervised) => slow.push(supervised),
            None => println!("{program} is not measured: Debian's package {package} is not installed"),
        }
    }
    for (age, time) in AGES.into_iter().enumerate() {
        measure(&mut fast, age, time, rounds.fast[age]);
        for one in &mut slow {
            measure(std::slice::from_mut(one), age, time, rounds.slow[age]);
        }
    }
    let all: Vec<_> = fast.iter_mut().chain(&mut slow).collect();
    let before: Vec<_> = all.iter().map(|one| one.switches()).collect();
    std::thread::sleep(IDLE);
    println!("from kill -9 of the child to the first instruction of the next, in ms; resident and own memory in KiB");
    println!(
        "{:<28}{:>10}{:>8}{:>10}{:>8}{:>10}{:>9}{:>18}",
        "", "0.1 s old", "p99", "1.3 s old", "p99", "resident", "own", "switches in 30 s"
    );
    for (one, before) in all.iter().zip(before) {
        let [(young, young_99), (old, old_99)] = [one.figures(0), one.figures(1)];
        let (resident, private) = one.memory();
        let switches = one.switches() - before;
        println!(
            "{:<28}{young:>10.3}{young_99:>8.3}{old:>10.3}{old_99:>8.3}{resident:>10}{private:>9}{switches:>18}",
            one.name
        );
    }
    let ratio = |age| all[1].figures(age).0 / all[0].figures(age).0;
    println!("suction-cup takes {:.2} and {:.2} times as long as the bare loop", ratio(0), ratio(1));
}

/// The bare loop. It ends when it is killed.
fn spawn_and_wait(child: &Path) {
    let mut command = Command::new(child);
    while command.spawn().and_then(|mut child| child.wait()).is_ok() {}
}

fn build_child(folder: &Path) -> PathBuf {
    let child = folder.join("child");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/child.c");
    let built = Command::new("cc").args(["-O2", "-static", "-o"]).arg(&child).arg(source).status().unwrap();
    assert!(built.success(), "the child cannot be built with cc");
    child
}

/// The program that is shipped, else the one that was built for this measurement.
fn shipped() -> (PathBuf, &'static str) {
    let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    build.args(["build", "--quiet", "--profile", "supervisor", "--package", "suction-cup", "--target", STATIC_TARGET]);
    let built = build.args(["--message-format", "json"]).stderr(Stdio::null()).output();
    let said = built.ok().filter(|output| output.status.success()).map(|output| output.stdout);
    let said = said.and_then(|bytes| String::from_utf8(bytes).ok());
    let path = said.as_deref().and_then(|said| {
        let (_, rest) = said.rsplit_once("\"executable\":\"")?;
        Some(PathBuf::from(rest.split_once('"')?.0))
    });
    match path {
        Some(path) => (path, "suction-cup"),
        None => (env!("CARGO_BIN_EXE_suction-cup").into(), "suction-cup (not static)"),
    }
}

/// A supervisor and its child.
struct Supervised {
    name: String,
    process: Child,
    starts: BufReader<File>,
    pid: i32,
    /// For each age: from each kill to the next start, in nanoseconds.
    took: [Vec<i64>; 2],
}

impl Supervised {
    fn start(name: &str, folder: &Path, command: &mut Command) -> Self {
        let pipe = folder.join("starts");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        // For reading and writing, so that it neither waits for a writer nor ends with one.
        let starts = File::options().read(true).write(true).open(&pipe).unwrap();
        let quiet = command.env("BENCH_STARTS", &pipe).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = quiet.spawn().unwrap();
        let mut one =
            Self { name: name.to_owned(), process, starts: BufReader::new(starts), pid: 0, took: Default::default() };
        one.next_start();
        one
    }

    fn bare(around: &Path, child: &Path) -> Self {
        let folder = around.join("bare");
        fs::create_dir(&folder).unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        Self::start("bare loop of spawn and wait", &folder, command.arg("bare").arg(child))
    }

    fn suction_cup(around: &Path, child: &Path) -> Self {
        let home = contract::Home::new(around.join("home"));
        let version = "1.0.0".parse().unwrap();
        fs::create_dir_all(home.tentacle(&version)).unwrap();
        fs::create_dir_all(home.supervisor()).unwrap();
        fs::copy(child, home.tentacle_program(&version)).unwrap();
        File::create(home.proven(&version)).unwrap();
        let (program, name) = shipped();
        let mut command = Command::new(program);
        command.arg("--home").arg(home.path());
        // Many kills in a short time are what is measured, not what is to be waited for.
        command.env("SUCTION_CUP_CRASH_LIMIT", "1000").env("SUCTION_CUP_CRASH_WINDOW_MS", "1");
        Self::start(name, home.path(), &mut command)
    }

    fn other(around: &Path, child: &Path, program: &str) -> Option<Self> {
        let folder = around.join(program);
        fs::create_dir(&folder).unwrap();
        fs::copy(child, folder.join("run")).unwrap();
        let found = Command::new("which").arg(program).stdout(Stdio::null()).status().unwrap();
        found.success().then(|| Self::start(program, &folder, Command::new(program).arg(&folder)))
    }

    /// Waits for the child's line; returns when it began.
    fn next_start(&mut self) -> i64 {
        let mut line = String::new();
        self.starts.read_line(&mut line).unwrap();
        let (pid, began) = line.trim_end().split_once(' ').unwrap();
        self.pid = pid.parse().unwrap();
        began.parse().unwrap()
    }

    fn kill_child(&mut self, age: usize) {
        let pid = Pid::from_raw(self.pid).unwrap();
        let killed = clock_gettime(ClockId::Monotonic);
        kill_process(pid, Signal::KILL).unwrap();
        let began = self.next_start();
        self.took[age].push(began - (killed.tv_sec * 1_000_000_000 + killed.tv_nsec));
    }

    /// Median and 99th percentile in milliseconds.
    #[expect(clippy::cast_precision_loss, reason = "times of some seconds have far fewer digits than an f64 holds")]
    fn figures(&self, age: usize) -> (f64, f64) {
        let mut took = self.took[age].clone();
        took.sort_unstable();
        let at = |percent: usize| took[(took.len() * percent / 100).min(took.len() - 1)] as f64 / 1e6;
        (at(50), at(99))
    }

    /// Resident memory, and what of it is its own (pages that it wrote to), in KiB.
    fn memory(&self) -> (u64, u64) {
        let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.process.id())).unwrap();
        let sum = |start: &str| {
            let lines = text.lines().filter(|line| line.starts_with(start));
            lines.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).sum()
        };
        (sum("Rss:"), sum("Private_Dirty:"))
    }

    /// Context switches so far, wished for or not.
    fn switches(&self) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let lines = text.lines().filter(|line| line.contains("voluntary_ctxt_switches"));
        lines.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).sum()
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if let Some(pid) = Pid::from_raw(self.pid) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

/// Kills the children in turn, so that all meet the same moods of the computer.
fn measure(all: &mut [Supervised], age: usize, time: Duration, rounds: usize) {
    for _ in 0..rounds {
        std::thread::sleep(time);
        all.iter_mut().for_each(|one| one.kill_child(age));
    }
}
