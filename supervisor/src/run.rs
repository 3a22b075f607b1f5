//! The loop: asks the machine, does what it says, hands the answer back. Called by `main` only.
//!
//! Nothing is decided here but what to do before the home folder is ours.

use std::path::Path;
use std::time::{Duration, Instant};

use contract::Home;

use crate::bundle;
use crate::machine::{Ask, Effect, Event, Machine};
use crate::settings::Settings;
use crate::status::note::{Note, Process};
use crate::sys::{self, Children, Lock, LockError, Signals};

/// The exit code after TERM or INT.
pub const EXIT_DONE: u8 = 0;

/// The exit code for a command line that is not understood.
pub const EXIT_USAGE: u8 = 2;

/// The exit code where another Suction Cup has the home folder.
pub const EXIT_BUSY: u8 = 75;

/// How long until the home folder is tried again that could not be made or locked. Without the lock there could be two
/// Tentacles, so there is no launch before.
const HOME_RETRY: Duration = Duration::from_secs(1);

/// Runs until TERM or INT, or returns at once where another Suction Cup has the home folder. The result is the exit code.
pub fn run(home: &Path, settings: Settings, complaints: &[String]) -> u8 {
    let mut signals = Signals::listen();
    sys::close_stdin();
    complaints.iter().for_each(|complaint| sys::log(complaint));
    let home = Home::new(std::path::absolute(home).unwrap_or_else(|_| home.to_path_buf()));
    let mut children = Children::new();
    // Held until the end of the program; the system frees it however that comes.
    let _lock = match take_home(&home, &mut signals, &mut children) {
        Ok(lock) => lock,
        Err(code) => return code,
    };
    children.keep_spare();
    let mut shell = Shell::new(home, signals, children);
    let mut machine = Machine::new(settings);
    while let Some(event) = shell.answer(&machine) {
        for effect in machine.step(event, shell.now()) {
            shell.perform(effect, &mut machine);
        }
    }
    EXIT_DONE
}

/// Makes and locks the home folder. One that cannot be had is waited for: a disk may come late.
fn take_home(home: &Home, signals: &mut Signals, children: &mut Children) -> Result<Lock, u8> {
    let mut told = false;
    loop {
        match sys::lock(home) {
            Ok(lock) => return Ok(lock),
            Err(LockError::Busy) => {
                sys::log(&format!("another Suction Cup has {}; ending", home.path().display()));
                return Err(EXIT_BUSY);
            }
            Err(LockError::Failed(error)) => {
                if !told {
                    sys::log(&format!("cannot have {} ({error}); trying again and again", home.path().display()));
                }
                told = true;
            }
        }
        let until = Instant::now() + HOME_RETRY;
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            let _ = children.wait(signals, Some(left));
            if signals.take_stop() {
                return Err(EXIT_DONE);
            }
        }
    }
}

struct Shell {
    home: Home,
    signals: Signals,
    children: Children,
    origin: Instant,
    /// Gathered at a child's end, written when there is time: a launch comes first.
    last_words: Option<Vec<u8>>,
    /// What the next note for `suction-cup status` says beside the state, and the last note.
    said: String,
    note: String,
    own: Option<Process>,
    /// The system's monotonic clock at `origin`.
    system_origin: Duration,
}

impl Shell {
    fn new(home: Home, signals: Signals, children: Children) -> Self {
        Self {
            home,
            signals,
            children,
            origin: Instant::now(),
            last_words: None,
            said: String::new(),
            note: String::new(),
            own: sys::process(std::process::id()),
            system_origin: sys::monotonic(),
        }
    }

    /// The monotonic time since the start.
    fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    /// Does the one thing that the machine asks for. `None` is the end.
    fn answer(&mut self, machine: &Machine) -> Option<Event> {
        let ask = machine.ask();
        if ask != Ask::Exit && self.signals.take_stop() {
            return Some(Event::Stop);
        }
        if matches!(ask, Ask::Wait(_) | Ask::Exit) {
            self.write_down(machine);
        }
        Some(match ask {
            Ask::Bundle => self.bundle(),
            Ask::Survey => Event::Surveyed(sys::survey(&self.home)),
            Ask::Count(version) => match sys::count_launch(&self.home, &version) {
                Ok(()) => Event::Counted,
                Err(error) => Event::CountRefused(error.to_string()),
            },
            Ask::Launch(version) => match self.children.launch(&self.home, &version) {
                Ok(()) => Event::Launched,
                Err(error) => {
                    let (fault, why) = sys::refusal(&error, &self.home.tentacle_program(&version));
                    Event::LaunchRefused { fault, why }
                }
            },
            Ask::Wait(until) => self.wait(until),
            Ask::Exit => return None,
        })
    }

    /// What may wait until nothing is more urgent: last words, and the note for `suction-cup status`.
    fn write_down(&mut self, machine: &Machine) {
        if let Some(words) = self.last_words.take() {
            sys::keep_last_words(&self.home, &words);
        }
        let note = Note::of(machine.state(), self.system_origin, self.now());
        let child = if note.version.is_some() { self.children.process() } else { None };
        let text = Note { writer: self.own, child, said: self.said.clone(), ..note }.to_text();
        if text != self.note {
            sys::keep_status(&self.home, &text);
            self.note = text;
        }
    }

    fn wait(&mut self, until: Option<Duration>) -> Event {
        // One more than the time that is left, because a time is over only when it is past.
        let left = until.map(|until| until.saturating_sub(self.now()).saturating_add(Duration::from_nanos(1)));
        let end = self.children.wait(&mut self.signals, left);
        end.map_or(Event::Tick, Event::Ended)
    }

    fn bundle(&mut self) -> Event {
        let Some(folder) = sys::program_folder() else { return Event::NoBundle(None) };
        let names = sys::bundled_names(&folder);
        if names.is_empty() {
            return Event::NoBundle(None);
        }
        let installed = sys::survey(&self.home).versions.into_iter().map(|one| one.version).max();
        let Some((name, version)) = bundle::to_install(names, bundle::runtime(), installed.as_ref()) else {
            return Event::NoBundle(None);
        };
        match self.children.install(&self.home, &folder, &name) {
            Ok(()) => Event::BundleStarted(version),
            Err(error) => Event::NoBundle(Some(format!("cannot install the bundled version {version}: {error}"))),
        }
    }

    fn perform(&mut self, effect: Effect, machine: &mut Machine) {
        match effect {
            Effect::Log(line) => {
                sys::log(&line);
                self.said = line;
            }
            Effect::Reject { version, kind, sentence } => match sys::reject(&self.home, &version, kind, &sentence) {
                Ok(()) => machine.rejection_written(&version),
                Err(error) => sys::log(&format!("the verdict on {version} stands in memory only: {error}")),
            },
            Effect::KeepLastWords(sentence) => {
                self.last_words = Some(sys::gather_last_words(&self.home, &sentence));
            }
            Effect::Terminate => self.children.terminate(),
            Effect::Kill => self.children.kill(),
            Effect::Abandon => self.children.abandon(),
        }
    }
}
