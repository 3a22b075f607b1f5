//! A small Tentacle: it notes that it runs, and does what the play says. What a package of the matrix holds is one line
//! that names this program as its interpreter.
//!
//! It keeps the two promises of a Tentacle that Suction Cup relies on: it dies with its parent, and it takes the lock.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc;
use std::time::Duration;

use anyhow::Context as _;
use contract::{Home, Version};
use rustix::process::{Signal, getppid, kill_process, set_parent_process_death_signal};

/// The word on the command line that makes a program of ours the stand-in.
pub const WORD: &str = "stand-in";

/// How long a stand-in lives at most, so that none is left behind whatever becomes of a test.
const LIFE: Duration = Duration::from_secs(60);

/// The name of Suction Cup's process.
const SUPERVISOR: &str = "suction-cup";

/// Where the stand-ins of a home note what they do: a line `start` or `ready`, with version and process number.
pub fn notes(home: &Home) -> PathBuf {
    around(home).join("notes")
}

/// The file that says what the stand-in of a version does.
pub fn play(home: &Home, version: &Version) -> PathBuf {
    around(home).join(format!("play-{version}"))
}

/// The file whose existence says that nothing is interfered with any more: what ended well ends well again, and what
/// told Suction Cup to end does not do so again.
pub fn calm(home: &Home) -> PathBuf {
    around(home).join("calm")
}

fn around(home: &Home) -> &Path {
    home.path().parent().unwrap_or(home.path())
}

/// What a stand-in does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Play {
    /// Runs on.
    Stay,
    /// Writes its own `.proven`, and runs on.
    Prove,
    /// Ends as a crash does.
    Crash,
    /// Puts the newer version that is being unpacked in its place, and ends; if it is there, runs on.
    HandOver,
    /// Tells Suction Cup to end, and runs on.
    Stop,
    /// The same, and does not hear when it is told to end.
    StopAndStay,
}

impl Play {
    const ALL: [(Self, &'static str); 6] = [
        (Self::Stay, "stay"),
        (Self::Prove, "prove"),
        (Self::Crash, "crash"),
        (Self::HandOver, "hand-over"),
        (Self::Stop, "stop"),
        (Self::StopAndStay, "stop-and-stay"),
    ];

    /// Its word in the file.
    pub fn word(self) -> &'static str {
        Self::ALL.iter().find(|(play, _)| *play == self).map_or("stay", |(_, word)| word)
    }

    fn read(home: &Home, version: &Version) -> Self {
        let text = fs::read_to_string(play(home, version)).unwrap_or_default();
        let told = Self::ALL.iter().find(|(_, word)| *word == text).map_or(Self::Stay, |(play, _)| *play);
        match told {
            Self::Stop | Self::StopAndStay | Self::HandOver if calm(home).exists() => Self::Stay,
            told => told,
        }
    }
}

/// Runs as the Tentacle that Suction Cup launched.
pub fn run() -> ExitCode {
    if !follows_supervisor() {
        return ExitCode::FAILURE;
    }
    let (ended, end) = mpsc::channel();
    std::thread::spawn(move || {
        match act() {
            // Nobody listens any more where life is over.
            Ok(Some(code)) => _ = ended.send(code),
            // Runs on: the channel stays open.
            Ok(None) => std::thread::sleep(LIFE),
            Err(error) => {
                eprintln!("stand-in: {error:#}");
                _ = ended.send(ExitCode::FAILURE);
            }
        }
    });
    end.recv_timeout(LIFE).unwrap_or(ExitCode::FAILURE)
}

/// Dies with its parent; false where that died before it could be asked for.
fn follows_supervisor() -> bool {
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    let parent = getppid().map(|pid| pid.as_raw_nonzero().get()).unwrap_or_default();
    fs::read_to_string(format!("/proc/{parent}/comm")).is_ok_and(|name| name.trim_end() == SUPERVISOR)
}

/// `None` is to run on.
fn act() -> anyhow::Result<Option<ExitCode>> {
    let variable = |name| std::env::var_os(name).with_context(|| format!("{name} is not set"));
    let home = Home::new(variable(contract::env::TENTACLE_HOME)?);
    let version = variable(contract::env::SUCTION_CUP_VERSION)?;
    let version = version.to_str().and_then(Version::from_folder_name).context("the version is none")?;
    note(&home, "start", &version)?;
    let lock = File::create(home.lock())?;
    lock.lock()?;
    let play = Play::read(&home, &version);
    match play {
        Play::Crash => return Ok(Some(ExitCode::from(3))),
        Play::HandOver if arm_newer(&home)? => return Ok(Some(ExitCode::SUCCESS)),
        Play::Prove => drop(File::create(home.proven(&version))?),
        Play::StopAndStay => {
            signal_hook::flag::register(Signal::TERM.as_raw(), Arc::new(AtomicBool::new(false)))?;
        }
        Play::Stay | Play::HandOver | Play::Stop => {}
    }
    note(&home, "ready", &version)?;
    if matches!(play, Play::Stop | Play::StopAndStay) {
        kill_process(getppid().context("no parent")?, Signal::TERM)?;
    }
    // Held until the end.
    std::mem::forget(lock);
    Ok(None)
}

fn note(home: &Home, what: &str, version: &Version) -> anyhow::Result<()> {
    let line = format!("{what} {version} {}\n", std::process::id());
    let mut file = OpenOptions::new().create(true).append(true).open(notes(home))?;
    Ok(file.write_all(line.as_bytes())?)
}

/// Puts what is being unpacked in its place. False where nothing is.
fn arm_newer(home: &Home) -> anyhow::Result<bool> {
    for entry in fs::read_dir(home.tentacles())? {
        let name = entry?.file_name();
        let Some(name) = name.to_str().filter(|name| Home::is_incoming_name(name)) else { continue };
        let version = name.split('-').nth(1).context("a name without a version")?;
        fs::rename(home.tentacles().join(name), home.tentacles().join(version))?;
        return Ok(true);
    }
    Ok(false)
}
