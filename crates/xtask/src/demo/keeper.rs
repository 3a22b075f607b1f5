//! The keeper: a process that outlives a demo which was killed, ends what that left running, and removes its folder.
//!
//! It is the program `xtask` itself, in a session of its own, and holds one end of a pipe whose other end only the demo
//! has. When the demo is gone, however it went, the pipe is closed. What belongs to the demo is known by a variable that
//! every process inherits, so there is no moment at which something runs and is not known.

use std::fs;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use crate::process::{kill_processes_with, processes_with};
use crate::programs::HARNESS;

/// The subcommand of `xtask` that is the keeper.
pub const KEEPER: &str = "keeper";

/// Between two looks for processes.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Looks in a row that must find nothing. One is not enough: a process that the demo was just starting carries the
/// variable a moment later.
const QUIET_LOOKS: u32 = 3;

/// How long the keeper cleans up; then it says what it could not do, and ends.
const CLEAN_UP_LIMIT: Duration = Duration::from_secs(20);

/// How long a demo that ends waits for its keeper; then it leaves it alone.
const DISMISS_LIMIT: Duration = Duration::from_secs(25);

/// The demo's side of it. Dropping it waits until everything of the demo is gone.
#[derive(Debug)]
pub(super) struct Keeper {
    process: Child,
    folder: PathBuf,
}

impl Keeper {
    /// Starts a keeper, which makes a folder for the demo.
    pub(super) fn start() -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("cannot find the own program")?;
        let mut command = Command::new(program);
        command.arg(KEEPER).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().context("cannot start the keeper of the demo")?;
        let stdout = process.stdout.take().context("the keeper has no stdout")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).context("the keeper cannot be heard")?;
        ensure!(line.ends_with('\n'), "the keeper ended at its start");
        Ok(Self { process, folder: PathBuf::from(line.trim_end_matches('\n')) })
    }

    /// The folder for everything that the demo makes.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let begin = Instant::now();
        while matches!(self.process.try_wait(), Ok(None)) && begin.elapsed() < DISMISS_LIMIT {
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

/// The keeper's own side: makes the folder, says where it is, and cleans up when nobody holds the pipe any more.
pub fn keep() -> anyhow::Result<()> {
    // Neither a key at the terminal nor its end, nor a signal for the demo's group, must reach the keeper.
    rustix::process::setsid().context("cannot begin a session")?;
    let folder = tempfile::Builder::new().prefix("octopus-demo-").tempdir().context("cannot make a folder")?;
    writeln!(io::stdout(), "{}", folder.path().display()).context("nobody hears the keeper")?;
    // Nothing is ever written: this ends when the demo does.
    io::copy(&mut io::stdin(), &mut io::sink()).context("cannot read from the demo")?;
    clean_up(folder.path())
}

fn clean_up(folder: &Path) -> anyhow::Result<()> {
    let begin = Instant::now();
    let mut quiet = 0;
    while quiet < QUIET_LOOKS && begin.elapsed() < CLEAN_UP_LIMIT {
        kill_processes_with(HARNESS, folder);
        std::thread::sleep(LOOK_EVERY);
        quiet = if processes_with(HARNESS, folder).is_empty() { quiet + 1 } else { 0 };
    }
    let left = processes_with(HARNESS, folder);
    ensure!(left.is_empty(), "the demo is gone, and of its processes these could not be ended: {left:?}");
    fs::remove_dir_all(folder).with_context(|| format!("cannot remove the demo's folder {}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_carries_the_folder_is_ended_with_all_that_it_starts_and_the_folder_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("demo");
        fs::create_dir(&path).unwrap();
        // It leaves its group, and starts another whenever one is killed.
        let script = "while :; do setsid sleep 600 & wait; done";
        let mut child = Command::new("sh").args(["-c", script]).env(HARNESS, &path).spawn().unwrap();
        let mut stranger = Command::new("sleep").arg("600").spawn().unwrap();
        let begin = Instant::now();
        while processes_with(HARNESS, &path).len() < 2 {
            assert!(begin.elapsed() < Duration::from_secs(30), "the shell never started its child");
            std::thread::sleep(LOOK_EVERY);
        }
        let reaper = std::thread::spawn(move || child.wait());
        clean_up(&path).unwrap();
        assert_eq!(processes_with(HARNESS, &path), Vec::<u32>::new());
        assert!(!path.exists());
        assert!(stranger.try_wait().unwrap().is_none(), "nobody else is touched");
        stranger.kill().unwrap();
        stranger.wait().unwrap();
        reaper.join().unwrap().unwrap();
    }
}
