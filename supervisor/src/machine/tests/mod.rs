//! Tests of the machine: a small world with a virtual clock plays the shell, the disk and the children.

mod clock;
mod edges;
mod ending;
mod launching;
mod model;
mod oracle;
mod pairs;

use std::collections::HashMap;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const NANO: Duration = Duration::from_nanos(1);
const FOREVER: Duration = Duration::MAX;

/// What a version's program does when it is launched.
#[derive(Clone)]
enum Program {
    /// Runs for so long, then ends with exit code 1.
    Runs(Duration),
    /// Cannot be started.
    Refuses(Fault),
}

/// The shell, the disk and the children, on a virtual clock.
struct World {
    machine: Machine,
    now: Duration,
    disk: Vec<Installed>,
    programs: HashMap<String, Program>,
    disk_refuses: bool,
    survey: Survey,
    marks_hidden: bool,
    child: Option<Duration>,
    heeds_terminate: bool,
    starts: Vec<(Duration, String)>,
    log: Vec<String>,
    words: Vec<String>,
    /// When the bundled package was looked at.
    bundles: Vec<u64>,
    steps: u32,
}

fn v(text: &str) -> Version {
    text.parse().unwrap()
}

fn proven(text: &str) -> Installed {
    Installed { proven: true, ..Installed::new(v(text)) }
}

fn unproven(text: &str) -> Installed {
    Installed::new(v(text))
}

impl World {
    fn new(disk: impl IntoIterator<Item = Installed>) -> Self {
        Self {
            machine: Machine::new(Settings::default()),
            now: Duration::ZERO,
            disk: disk.into_iter().collect(),
            programs: HashMap::new(),
            disk_refuses: false,
            survey: Survey::default(),
            marks_hidden: false,
            child: None,
            heeds_terminate: true,
            starts: Vec::new(),
            log: Vec::new(),
            words: Vec::new(),
            bundles: Vec::new(),
            steps: 0,
        }
    }

    fn program(mut self, version: &str, program: Program) -> Self {
        self.programs.insert(version.to_owned(), program);
        self
    }

    fn on_disk(&mut self, version: &Version) -> &mut Installed {
        self.disk.iter_mut().find(|one| one.version == *version).unwrap()
    }

    /// Answers questions until the clock would pass `until`.
    fn run(&mut self, until: Duration) {
        while self.turn(until) {
            self.steps += 1;
            assert!(self.steps < 100_000, "a busy loop: {:?}", self.log);
        }
    }

    fn turn(&mut self, until: Duration) -> bool {
        let event = match self.machine.ask() {
            Ask::Bundle => {
                self.bundles.push(self.now.as_secs());
                Event::NoBundle(None)
            }
            Ask::Survey => {
                let mut survey = self.survey.clone();
                survey.versions = if survey.versions_fault.is_some() { Vec::new() } else { self.disk.clone() };
                if self.marks_hidden {
                    survey.versions = survey.versions.into_iter().map(|one| Installed::new(one.version)).collect();
                    survey.marks_fault = Some(String::new());
                }
                Event::Surveyed(survey)
            }
            Ask::Count(_) if self.disk_refuses => Event::CountRefused("no space".to_owned()),
            Ask::Count(version) => {
                self.on_disk(&version).launches += 1;
                Event::Counted
            }
            Ask::Launch(version) => self.launch(&version),
            Ask::Wait(deadline) => {
                let tick = deadline.map_or(FOREVER, |deadline| deadline.saturating_add(NANO)).max(self.now);
                let end = self.child.unwrap_or(FOREVER);
                let next = tick.min(end);
                if next > until {
                    self.now = until;
                    return false;
                }
                self.now = next;
                if end <= tick {
                    self.child = None;
                    Event::Ended(End::Code(1))
                } else {
                    Event::Tick
                }
            }
            Ask::Exit => return false,
        };
        self.step(event);
        true
    }

    fn launch(&mut self, version: &Version) -> Event {
        assert_eq!(self.child, None, "two Tentacles");
        match self.programs.get(&version.to_string()).cloned().unwrap_or(Program::Runs(FOREVER)) {
            Program::Runs(time) => {
                self.child = Some(self.now.saturating_add(time));
                self.starts.push((self.now, version.to_string()));
                Event::Launched
            }
            Program::Refuses(fault) => Event::LaunchRefused { fault, why: "refused".to_owned() },
        }
    }

    fn step(&mut self, event: Event) {
        for effect in self.machine.step(event, self.now) {
            match effect {
                Effect::Log(line) => self.log.push(line),
                Effect::Reject { version, .. } if !self.disk_refuses => {
                    if let Some(one) = self.disk.iter_mut().find(|one| one.version == version) {
                        one.rejected = true;
                        self.machine.rejection_written(&version);
                    }
                }
                Effect::Reject { .. } => {}
                Effect::KeepLastWords(words) => self.words.push(words),
                Effect::Terminate if !self.heeds_terminate => {}
                Effect::Terminate | Effect::Kill => self.child = self.child.map(|_| self.now),
                Effect::Abandon => self.child = None,
            }
        }
    }

    fn started(&self) -> Vec<&str> {
        self.starts.iter().map(|(_, version)| version.as_str()).collect()
    }

    fn start_times(&self) -> Vec<u64> {
        self.starts.iter().map(|(time, _)| time.as_secs()).collect()
    }
}

fn crashes() -> Program {
    Program::Runs(Duration::from_millis(1))
}
