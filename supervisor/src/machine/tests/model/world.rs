//! The world around the machine: the shell that answers it, a child, a disk, and what happens to them. Time passes only
//! where the machine waits for it, or for its child.

use super::super::*;
use super::breach::{Breach, Notes};
use super::disk::{Disk, Mark, Place, VERSIONS_MAX, place, version};
use super::relative::{NOW, settle};
use super::sabotage::Sabotage;
use crate::restart::STARTS_MAX;

/// The longest pause between two launches of a version on probation.
const PAUSE_MAX: Duration = Duration::from_secs(4);

/// Readings in a row that may fail before it is decided without the marks.
const READINGS: u32 = 5;

/// What is wrong with launching, for every version alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shortage {
    /// The machine is short of something.
    Machine,
    /// The programs are open for writing.
    Busy,
}

/// When a child ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum After {
    /// At once.
    Nothing,
    /// When a part of the window has passed.
    Part,
    /// When it has run for exactly as long as the window.
    Window,
}

/// What happens next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// The shell does what it is asked, and it goes as the world is. A wait is over.
    Answer,
    /// There is a newer bundled package, and its installer was started.
    BundleStarted,
    /// The installer ends; where it is done well the bundled version is there, unless there is a verdict on it.
    InstallerEnds { well: bool },
    /// The child ends.
    ChildEnds(After),
    /// The child is confirmed.
    Confirm,
    /// An installation that has begun is done.
    Arrive,
    /// What was wrong is so no longer.
    Mend,
    /// Suction Cup dies, and its child with it: by itself, or because the machine does.
    Crash,
    /// The same after the coming launch was written down and before it came.
    CrashCounted,
    /// The portal or a person installs a version: its verdicts are cleared, and it is not there yet.
    Install(Place),
    /// The same, done in one go.
    Reinstall(Place),
    /// A version's folder is deleted.
    Delete(Place),
    /// A file is lost.
    Lose(Place, Mark),
    /// The folder `supervisor/` is lost.
    LoseAll,
    /// The child makes room for an older version, as the portal told it: every newer one is withdrawn.
    Downgrade(Place),
    /// The disk takes no counts and no verdicts.
    Refuse,
    /// The marks cannot be read.
    HideMarks,
    /// The versions cannot be read.
    HideVersions,
    /// No program can be started.
    Lack(Shortage),
    /// A version's program cannot be run any more.
    Break(Place),
}

/// A Tentacle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Child {
    pub place: Place,
    /// No more than the window.
    pub age: Duration,
}

/// Everything.
#[derive(Clone, Debug)]
pub struct World {
    pub machine: Machine,
    pub disk: Disk,
    pub child: Option<Child>,
    pub installing: Option<Place>,
    pub lack: Option<Shortage>,
    pub notes: Notes,
    pub breach: Option<Breach>,
    /// Mishaps and installations that may still come.
    pub left: u8,
    /// The version of the bundled package.
    pub bundled: Option<Place>,
    /// Another machine to which the same happens at other times, and its time. Nothing of it is forgotten.
    pub twin: Option<Box<(Machine, Duration)>>,
}

impl World {
    pub fn new(disk: Disk, left: u8, bundled: Option<Place>) -> Self {
        Self {
            machine: Machine::new(Settings::default()),
            disk,
            child: None,
            installing: None,
            lack: None,
            notes: Notes::default(),
            breach: None,
            left,
            bundled,
            twin: None,
        }
    }

    /// Does `action`. False where it cannot be done now.
    pub fn act(&mut self, action: Action, sabotage: Option<Sabotage>) -> bool {
        match action {
            Action::Answer => return self.answer(sabotage),
            Action::BundleStarted => {
                let Some(bundled) = self.bundled.filter(|bundled| self.disk.complete().all(|place| place < *bundled))
                else {
                    return false;
                };
                self.step(Event::BundleStarted(version(bundled)), Duration::ZERO, sabotage);
            }
            Action::InstallerEnds { well } => self.installer_ends(well, sabotage),
            Action::ChildEnds(after) => return self.child_ends(after, sabotage),
            Action::Crash => self.crash(),
            Action::CrashCounted => {
                let Ask::Count(version) = self.machine.ask() else { return false };
                if self.disk.refuses {
                    return false;
                }
                self.disk.slots[place(&version)].count();
                self.crash();
            }
            _ => return self.change(action),
        }
        true
    }

    /// What happens to the disk.
    fn change(&mut self, action: Action) -> bool {
        let before = (self.disk, self.installing, self.lack);
        let disk = &mut self.disk;
        match action {
            Action::Confirm => {
                let Some(child) = self.child.filter(|_| !disk.refuses) else { return false };
                disk.slots[child.place].proven = true;
            }
            Action::Install(place) => {
                disk.slots[place].clear();
                self.notes.forget_launches(place);
                self.installing = Some(place);
            }
            Action::Reinstall(place) => {
                disk.slots[place].clear();
                disk.slots[place].arrive();
                self.notes.arrive(place);
            }
            Action::Arrive => {
                let Some(place) = self.installing.take() else { return false };
                disk.slots[place].arrive();
                self.notes.arrive(place);
            }
            Action::Mend => {
                (disk.refuses, disk.marks_hidden, disk.versions_hidden) = (false, false, false);
                disk.slots.iter_mut().for_each(|slot| slot.broken = false);
                self.lack = None;
            }
            Action::Delete(place) => disk.slots[place].complete = false,
            Action::Lose(place, mark) => self.lose(place, mark),
            Action::LoseAll => {
                for place in 0..VERSIONS_MAX {
                    Mark::ALL.into_iter().for_each(|mark| self.lose(place, mark));
                }
            }
            Action::Downgrade(target) => {
                if self.child.is_none_or(|child| child.place <= target) || disk.refuses {
                    return false;
                }
                disk.slots[target].clear();
                disk.slots[target].proven = false;
                self.notes.forget_launches(target);
                let newer = disk.slots.iter_mut().skip(target + 1);
                newer.filter(|slot| slot.complete).for_each(|slot| slot.withdrawn = true);
            }
            Action::Refuse => disk.refuses = true,
            Action::HideMarks => disk.marks_hidden = true,
            Action::HideVersions => disk.versions_hidden = true,
            Action::Lack(shortage) => self.lack = Some(shortage),
            Action::Break(place) => disk.slots[place].broken = true,
            _ => return false,
        }
        before != (self.disk, self.installing, self.lack)
    }

    fn lose(&mut self, place: Place, mark: Mark) {
        self.disk.slots[place].lose(mark);
        if mark == Mark::Launches {
            self.notes.forget_launches(place);
        }
    }

    /// The shell does what the machine asks for.
    fn answer(&mut self, sabotage: Option<Sabotage>) -> bool {
        let (event, time) = match self.machine.ask() {
            Ask::Bundle => (Event::NoBundle(None), Duration::ZERO),
            Ask::Survey => {
                self.notes.read(&self.disk);
                let survey = self.disk.survey();
                (
                    Event::Surveyed(sabotage.map_or(survey.clone(), |sabotage| sabotage.read(survey, self))),
                    Duration::ZERO,
                )
            }
            Ask::Count(version) => {
                let place = place(&version);
                self.notes.count(place, !self.disk.refuses);
                if self.disk.refuses {
                    (Event::CountRefused(String::new()), Duration::ZERO)
                } else {
                    if sabotage != Some(Sabotage::NeverCounts) {
                        self.disk.slots[place].count();
                    }
                    (Event::Counted, Duration::ZERO)
                }
            }
            Ask::Launch(version) => (self.launch(place(&version)), Duration::ZERO),
            Ask::Wait(Some(until)) => (Event::Tick, until.saturating_sub(NOW) + NANO),
            Ask::Wait(None) => return false,
            Ask::Exit => {
                self.breach = Some(Breach::Final);
                return true;
            }
        };
        self.step(event, time, sabotage);
        true
    }

    fn launch(&mut self, place: Place) -> Event {
        if self.child.is_some() {
            self.breach = Some(Breach::TwoTentacles);
        }
        if !self.notes.seen[place] {
            self.breach = Some(Breach::IncompleteLaunched);
        }
        let refused = |fault| Event::LaunchRefused { fault, why: String::new() };
        let slot = self.disk.slots[place];
        match self.lack {
            _ if !slot.complete || slot.broken => {
                self.notes.unrunnable[place] = true;
                refused(Fault::Version)
            }
            Some(Shortage::Machine) => refused(Fault::Machine),
            Some(Shortage::Busy) => {
                self.notes.unrunnable[place] = true;
                refused(Fault::Busy)
            }
            None => {
                self.child = Some(Child { place, age: Duration::ZERO });
                self.breach = self.breach.or(self.notes.start(place));
                Event::Launched
            }
        }
    }

    fn child_ends(&mut self, after: After, sabotage: Option<Sabotage>) -> bool {
        let (Some(child), Ask::Wait(until)) = (self.child, self.machine.ask()) else { return false };
        let window = self.machine.settings.crash_window;
        let time = match after {
            After::Nothing => Duration::ZERO,
            After::Part => window / 2,
            After::Window => window.saturating_sub(child.age),
        };
        let known = after == After::Window && child.age >= window;
        if known || until.is_some_and(|until| NOW + time > until) {
            return false;
        }
        self.child = None;
        if child.age + time >= window {
            // What could not be run is tried again.
            self.notes.unrunnable = [false; VERSIONS_MAX];
        }
        self.step(Event::Ended(End::Code(1)), time, sabotage);
        true
    }

    fn installer_ends(&mut self, well: bool, sabotage: Option<Sabotage>) {
        if let Some(bundled) = self.bundled.filter(|_| well)
            && !self.disk.slots[bundled].has_verdict()
        {
            self.disk.slots[bundled].arrive();
            self.notes.arrive(bundled);
        }
        self.step(Event::Ended(End::Code(1)), Duration::ZERO, sabotage);
    }

    fn crash(&mut self) {
        self.machine = Machine::new(self.machine.settings.clone());
        if let Some(twin) = &mut self.twin {
            twin.0 = self.machine.clone();
        }
        self.notes.crash();
        self.child = None;
    }

    fn step(&mut self, event: Event, time: Duration, sabotage: Option<Sabotage>) {
        let now = NOW + time;
        self.pass(time);
        let before = self.machine.state.clone();
        let skipped = self.skipped(&event);
        let mut twin = self.twin.take().map(|twin| twin_step(*twin, event.clone(), time));
        let effects = self.machine.step(event, now);
        if let Some(sabotage) = sabotage {
            sabotage.meddle(&mut self.machine, now);
        }
        self.judge_choice(&before, &skipped, now);
        for effect in effects {
            match effect {
                Effect::Reject { version, .. } => {
                    let place = place(&version);
                    self.breach = self.breach.or(self.notes.reject(place, &self.disk));
                    if !self.disk.refuses {
                        self.disk.slots[place].rejected = true;
                        self.machine.rejection_written(&version);
                        twin.iter_mut().for_each(|(machine, _)| machine.rejection_written(&version));
                    }
                }
                Effect::Log(_) | Effect::KeepLastWords(_) | Effect::Terminate | Effect::Kill | Effect::Abandon => {}
            }
        }
        settle(&mut self.machine, now);
        if let Some((machine, now)) = twin {
            let mut settled = machine.clone();
            settle(&mut settled, now);
            assert_eq!(settled.state, self.machine.state);
            self.twin = Some(Box::new((machine, now)));
        }
    }

    fn pass(&mut self, time: Duration) {
        let window = self.machine.settings.crash_window;
        self.notes.pass(time, window);
        if let Some(child) = &mut self.child {
            child.age = (child.age + time).min(window);
        }
    }

    /// The versions that could not be run as far as is known when `event` is judged.
    fn skipped(&self, event: &Event) -> Vec<Version> {
        let (Event::Surveyed(survey), State::Choosing { before, .. }) = (event, &self.machine.state) else {
            return Vec::new();
        };
        let mut read = survey.versions.clone();
        self.machine.memory.clone().merge(&mut read, true, true);
        let late = matches!(before, Before::Ended { ran, .. } if *ran >= self.machine.settings.crash_window);
        let tried = |one: &Installed| {
            let same = |old: &Installed| old.version == one.version && old.folder == one.folder;
            matches!(before, Before::Unstartable { version, .. } if *version == one.version)
                && self.machine.versions.iter().any(same)
        };
        read.into_iter().filter(|one| (one.skipped && !late) || tried(one)).map(|one| one.version).collect()
    }

    /// Where another version is to be chosen than before, the past is forgotten: nothing is counted and nothing waited
    /// for, but for too many starts and a probation's pause.
    fn judge_choice(&mut self, before: &State, skipped: &[Version], now: Duration) {
        let State::Choosing { attempt, .. } = before else { return };
        let undecided = self.disk.versions_hidden || (self.disk.marks_hidden && attempt.failures < READINGS);
        let mut versions = self.machine.versions.clone();
        versions.iter_mut().for_each(|one| one.skipped = skipped.contains(&one.version));
        if undecided || !self.notes.choose(&versions) {
            return;
        }
        let until = match &self.machine.state {
            State::Waiting { until, .. } => *until,
            _ => now,
        };
        let mut starts = self.machine.starts.clone();
        let starts = starts.times_mut();
        let full = starts.len() >= STARTS_MAX;
        let free = starts.front().filter(|_| full).map_or(now, |oldest| *oldest + self.machine.settings.crash_window);
        if !self.machine.history.is_clear() || until > free.max(now + PAUSE_MAX) {
            self.breach = Some(Breach::UpgradeCounted);
        }
    }
}

fn twin_step((mut machine, now): (Machine, Duration), event: Event, time: Duration) -> (Machine, Duration) {
    machine.step(event, now + time);
    (machine, now + time)
}
