//! The loop's brain: one transition function over state, event and time. Pure: it reads no clock and touches no disk.
//!
//! The shell (`run.rs`) asks [`Machine::ask`], does what it says, and hands the answer to [`Machine::step`]. Every state
//! but `Stopped` leads to a launch within the longest wait, whatever fails; `Stopped` is reached by TERM and INT alone.
//! `docs/suction-cup.md` draws it.

mod choose;
mod memory;
mod state;
#[cfg(test)]
mod tests;

use std::mem;
use std::time::Duration;

use contract::{Rejection, Version};

use crate::end::End;
use crate::restart::{History, Starts};
use crate::select::{Installed, is_on_probation};
use crate::settings::Settings;
use memory::Memory;

pub use state::{Ask, Attempt, Before, Effect, Event, Fault, Run, State, Survey, Then};

/// How long the end of a killed `install-package` is waited for. After that it is left behind.
const ABANDON_AFTER: Duration = Duration::from_secs(5);

/// When a version's time to become proven is over and its mark cannot be read: how long until the next look.
const CHECK_AGAIN: Duration = Duration::from_secs(10);

/// The number of SIGKILL. The kernel's killer of processes that use too much memory sends it, and few others do.
const KILL: i32 = 9;

/// The state and what is remembered from one state to the next.
#[derive(Clone, Debug)]
pub struct Machine {
    settings: Settings,
    state: State,
    /// The version that was chosen last. The one that runs may be another: a stand-in.
    chosen: Option<Version>,
    /// The version whose launch the log has told already.
    announced: Option<Version>,
    history: History,
    starts: Starts,
    memory: Memory,
    /// Looks in a row that found no version that can be run.
    looks: u32,
    /// What is installed, as it was last read, with what is remembered of it.
    versions: Vec<Installed>,
}

impl Machine {
    /// A machine that has done nothing yet.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            state: State::Bundling,
            chosen: None,
            announced: None,
            history: History::default(),
            starts: Starts::default(),
            memory: Memory::default(),
            looks: 0,
            versions: Vec::new(),
        }
    }

    /// What it is doing.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// What it wants to be done next.
    pub fn ask(&self) -> Ask {
        self.state.ask()
    }

    /// Takes what happened at `now`; returns what to do before the next question is asked.
    ///
    /// A time is over when `now` is beyond it: a deadline itself still belongs to the time before.
    pub fn step(&mut self, event: Event, now: Duration) -> Vec<Effect> {
        let mut effects = Vec::new();
        let state = mem::replace(&mut self.state, State::Stopped);
        self.state = self.next(state, event, now, &mut effects);
        effects
    }

    /// To be called when an [`Effect::Reject`] was carried out. A verdict that the disk refused stands in memory until the
    /// version is installed anew; one that is on the disk stands until somebody clears it there.
    pub fn rejection_written(&mut self, version: &Version) {
        if let Some(one) = self.versions.iter().find(|one| one.version == *version) {
            self.memory.written(one);
        }
    }

    fn next(&mut self, state: State, event: Event, now: Duration, effects: &mut Vec<Effect>) -> State {
        match (state, event) {
            (state, Event::Stop) => self.stop(state, now, effects),
            (State::Bundling, Event::NoBundle(why)) => {
                effects.extend(why.map(Effect::Log));
                State::choosing()
            }
            (State::Bundling, Event::BundleStarted(version)) => {
                effects.push(Effect::Log(format!("installing the bundled version {version}")));
                State::Installing { version, until: now.saturating_add(self.settings.bundle) }
            }
            (State::Installing { version, .. }, Event::Ended(end)) => installed(&version, end, effects),
            (State::Installing { version, until }, Event::Tick) if now > until => {
                effects.push(Effect::Log(format!("installing the bundled version {version} took too long; killed it")));
                effects.push(Effect::Kill);
                State::Abandoning { until: now.saturating_add(ABANDON_AFTER), then: Then::Choose }
            }
            (State::Abandoning { then, .. }, Event::Ended(_)) => then.state(),
            (State::Abandoning { until, then }, Event::Tick) if now > until => {
                effects.push(Effect::Abandon);
                then.state()
            }
            (State::Choosing { before, attempt }, Event::Surveyed(survey)) => {
                self.choose(before, attempt, survey, now, effects)
            }
            (State::Counting { version, heading, attempt }, Event::Counted) => {
                self.launch_counted(version, heading, attempt, effects)
            }
            (State::Counting { version, heading, attempt }, Event::CountRefused(why)) => {
                self.launch_uncounted(version, heading, attempt, &why, effects)
            }
            (State::Launching { version, .. }, Event::Launched) => self.launched(version, now),
            (State::Launching { version, attempt }, Event::LaunchRefused { fault, why }) => {
                self.launch_refused(version, attempt, fault, why, now, effects)
            }
            (State::Running(run), Event::Tick) if run.prove_by.is_some_and(|by| now > by) => State::Checking(run),
            (State::Checking(run), Event::Surveyed(survey)) => self.check(run, survey, now, effects),
            (State::Running(run) | State::Checking(run), Event::Ended(end)) => {
                ended(run, end, stranger_hint(end), now, effects)
            }
            (State::Waiting { until, before: Before::NoVersion, .. }, Event::Tick) if now > until => State::Bundling,
            (State::Waiting { until, before, attempt }, Event::Tick) if now > until => {
                State::Choosing { before, attempt }
            }
            (State::Ending { run, then, .. }, Event::Ended(end)) => match (then, ended(run, end, "", now, effects)) {
                (Then::Choose, choosing) => choosing,
                (Then::Exit, _) => State::Stopped,
            },
            (State::Ending { run, until, then }, Event::Tick) if now > until => self.kill(run, then, now, effects),
            (state, Event::Tick) => state,
            (state, event) => {
                effects.push(Effect::Log(format!("{} came while {}; going on", event.name(), state.name())));
                state
            }
        }
    }

    /// TERM or INT. A second one shortens nothing: the grace is bounded, and running work may need it.
    fn stop(&self, state: State, now: Duration, effects: &mut Vec<Effect>) -> State {
        match state {
            State::Running(run) | State::Checking(run) => {
                effects.push(Effect::Log(format!("told to end; ending {}", run.version)));
                self.end(run, Then::Exit, now, effects)
            }
            // Whatever it has done so far is complete or invisible, so there is nothing to wait for.
            State::Installing { .. } => {
                effects.push(Effect::Log("told to end".to_owned()));
                effects.push(Effect::Kill);
                State::Abandoning { until: now.saturating_add(ABANDON_AFTER), then: Then::Exit }
            }
            State::Abandoning { until, then } => {
                say_told(then, "the installer is ending already", effects);
                State::Abandoning { until, then: Then::Exit }
            }
            State::Ending { run, until, then } => {
                say_told(then, &format!("{} is ending already", run.version), effects);
                State::Ending { run, until, then: Then::Exit }
            }
            State::Bundling
            | State::Choosing { .. }
            | State::Counting { .. }
            | State::Launching { .. }
            | State::Waiting { .. } => {
                effects.push(Effect::Log("told to end".to_owned()));
                State::Stopped
            }
            State::Stopped => State::Stopped,
        }
    }

    fn launched(&mut self, version: Version, now: Duration) -> State {
        self.starts.record(now);
        self.looks = 0;
        self.announced = None;
        let probation = is_on_probation(&self.versions, &version);
        let prove_by = probation.then(|| now.saturating_add(self.settings.probation));
        State::Running(Run { version, since: now, prove_by })
    }

    /// The time to become proven is over. The mark is looked for only now, not again and again until it is there:
    /// one wake-up for each launch on probation is the least there can be.
    fn check(&mut self, run: Run, survey: Survey, now: Duration, effects: &mut Vec<Effect>) -> State {
        let known = survey.versions_fault.is_none() && survey.marks_fault.is_none();
        self.remember(survey);
        if self.versions.iter().any(|one| one.version == run.version && one.proven) {
            return State::Running(Run { prove_by: None, ..run });
        }
        if !known {
            // Not knowing is no reason to end a Tentacle.
            return State::Running(Run { prove_by: Some(now.saturating_add(CHECK_AGAIN)), ..run });
        }
        if !is_on_probation(&self.versions, &run.version) {
            return State::Running(Run { prove_by: None, ..run });
        }
        let ran = seconds(now.saturating_sub(run.since));
        self.reject(
            &run.version,
            Rejection::Unconfirmed,
            format!("It ran for {ran}, and nobody confirmed it."),
            effects,
        );
        self.end(run, Then::Choose, now, effects)
    }

    fn end(&self, run: Run, then: Then, now: Duration, effects: &mut Vec<Effect>) -> State {
        effects.push(Effect::Terminate);
        State::Ending { run, until: now.saturating_add(self.settings.grace), then }
    }

    /// The grace is over, for the first time or again: a kill that failed is tried again.
    fn kill(&self, run: Run, then: Then, now: Duration, effects: &mut Vec<Effect>) -> State {
        effects.push(Effect::Log(format!(
            "{} did not end in {}; killing it",
            run.version,
            seconds(self.settings.grace)
        )));
        effects.push(Effect::Kill);
        State::Ending { run, until: now.saturating_add(self.settings.grace), then }
    }

    /// Gives up on a version, on the disk and in memory.
    fn reject(&mut self, version: &Version, kind: Rejection, sentence: String, effects: &mut Vec<Effect>) {
        effects.push(Effect::Log(format!("rejected {version} as {}: {sentence}", kind.word())));
        effects.push(Effect::Reject { version: version.clone(), kind, sentence });
        if let Some(one) = self.versions.iter_mut().find(|one| one.version == *version) {
            one.rejected = true;
            self.memory.reject(one);
        }
    }
}

/// What was to follow changes only at the first TERM or INT, so a further one is no decision.
fn say_told(then: Then, why: &str, effects: &mut Vec<Effect>) {
    if then != Then::Exit {
        effects.push(Effect::Log(format!("told to end; {why}")));
    }
}

fn installed(version: &Version, end: End, effects: &mut Vec<Effect>) -> State {
    let sentence = format!("installing the bundled version {version}: install-package {end}");
    if end != End::Code(0) {
        effects.push(Effect::KeepLastWords(sentence.clone()));
    }
    effects.push(Effect::Log(sentence));
    State::choosing()
}

/// What a kill that was not ours may mean.
fn stranger_hint(end: End) -> &'static str {
    match end {
        End::Signal { number: KILL, .. } => ", perhaps for want of memory,",
        _ => "",
    }
}

fn ended(run: Run, end: End, hint: &str, now: Duration, effects: &mut Vec<Effect>) -> State {
    let ran = now.saturating_sub(run.since);
    effects.push(Effect::KeepLastWords(format!("{} {end}{hint} after {}", run.version, seconds(ran))));
    let before = Before::Ended { version: run.version, ran, at: now, end };
    State::Choosing { before, attempt: Attempt::default() }
}

/// A time for people.
fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}
