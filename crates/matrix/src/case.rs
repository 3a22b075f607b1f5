//! What a scenario is, which cases it has, and how they are run, many at a time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::faults::{Fault, plausible};
use crate::report::{Failure, Part};
use crate::stage::{Kit, Stage};
use crate::strace::{Calls, Injection};

/// How often a scenario is recorded: not every run makes the same number of calls, and the longest counts.
const RECORDINGS: usize = 3;

/// Something that one of the programs does, and that can be interfered with at each of its system calls.
pub trait Scenario: Sync {
    /// The program.
    fn program(&self) -> &'static str;

    /// What is played.
    fn name(&self) -> &'static str;

    /// Plays it with nothing in the way, and returns the calls that were made.
    fn record(&self, kit: &Kit) -> anyhow::Result<Calls>;

    /// A stage on which it can begin.
    fn set(&self, kit: &Kit) -> anyhow::Result<Stage>;

    /// Plays it with one call interfered with. The error is what did not hold; the time is until the right version ran.
    fn interfere(
        &self,
        kit: &Kit,
        stage: &Stage,
        calls: &Calls,
        injection: &Injection,
    ) -> anyhow::Result<(Outcome, Duration)>;

    /// Starts Suction Cup on what that left, with nothing in the way. Returns how long it took until the right version ran.
    fn restart(&self, kit: &Kit, stage: &Stage) -> anyhow::Result<Duration>;

    /// The one, and then the other. The time is the longer of the two.
    fn run(&self, kit: &Kit, calls: &Calls, injection: &Injection) -> anyhow::Result<(Outcome, Duration)> {
        let stage = self.set(kit)?;
        let say = |error: anyhow::Error, when: &str| anyhow::anyhow!("{when}: {error:#}; {}", stage.words());
        let interfered = self.interfere(kit, &stage, calls, injection);
        let (outcome, waited) = interfered.map_err(|error| say(error, "interfered"))?;
        let again = self.restart(kit, &stage).map_err(|error| say(error, "started again"))?;
        Ok((outcome, waited.max(again)))
    }

    /// True for calls that are interfered with in this scenario; `line` is how this one was recorded, by each thread.
    fn concerns(&self, _call: &str, _line: &str) -> bool {
        true
    }
}

/// What came of a case that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything held.
    Passed,
    /// The same, but this run did not make the call.
    NotReached,
}

/// What is done to a program: two ways, two parts of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It is killed.
    Kill,
    /// A call fails.
    Fail,
}

impl Mode {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Kill, Self::Fail];

    /// In lower case.
    pub fn word(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Fail => "fail",
        }
    }
}

/// Which cases are run, and how.
#[derive(Clone, Debug)]
pub struct Choice {
    /// At most so many of each scenario and mode, spread evenly; all where it is `None`.
    pub at_most: Option<usize>,
    /// Only this one.
    pub only: Option<Injection>,
    /// Cases at a time.
    pub jobs: usize,
}

/// Runs the chosen cases of a scenario in these modes.
pub fn run(kit: &Kit, scenario: &dyn Scenario, choice: &Choice, modes: &[Mode]) -> anyhow::Result<Vec<Part>> {
    let mut calls = scenario.record(kit)?;
    for _ in 1..RECORDINGS {
        calls.join(scenario.record(kit)?);
    }
    Ok(modes.iter().map(|mode| run_mode(kit, scenario, choice, *mode, &calls)).collect())
}

fn run_mode(kit: &Kit, scenario: &dyn Scenario, choice: &Choice, mode: Mode, calls: &Calls) -> Part {
    let cases = chosen(cases(scenario, mode, calls), choice, mode);
    let mut part = Part::new(scenario.program(), scenario.name(), mode.word(), calls.count());
    part.cases = cases.len();
    part.hidden = if mode == Mode::Kill { hidden(scenario, calls) } else { 0 };
    work(part, &cases, choice.jobs, |injection| {
        scenario.run(kit, calls, injection).map_err(|error| Failure::new(injection, &error))
    })
}

/// Runs cases, so many at a time, and adds what came of them to the part.
pub(crate) fn work<C: Sync>(
    part: Part,
    cases: &[C],
    jobs: usize,
    run: impl Fn(&C) -> Result<(Outcome, Duration), Failure> + Sync,
) -> Part {
    let begun = Instant::now();
    let next = AtomicUsize::new(0);
    let shared = Mutex::new(part);
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let result = run(case);
                    let mut part = shared.lock().unwrap_or_else(PoisonError::into_inner);
                    match result {
                        Ok((outcome, waited)) => part.passed(outcome, waited),
                        Err(failure) => part.failures.push(failure),
                    }
                }
            });
        }
    });
    let mut part = shared.into_inner().unwrap_or_else(PoisonError::into_inner);
    part.seconds = begun.elapsed().as_secs_f64();
    part
}

/// Every call of every name, with each thing that can happen there.
fn cases(scenario: &dyn Scenario, mode: Mode, calls: &Calls) -> Vec<Injection> {
    let mut cases = Vec::new();
    for (call, lines) in &calls.lines {
        // The first `execve` is the tracer's, before the program is there.
        if call == "execve" {
            continue;
        }
        for (index, line) in lines.iter().enumerate().filter(|(_, line)| scenario.concerns(call, line)) {
            let faults = match mode {
                Mode::Kill => vec![Fault::Kill],
                Mode::Fail => plausible(call, line),
            };
            cases.extend(faults.into_iter().map(|fault| Injection { call: call.clone(), nth: index + 1, fault }));
        }
    }
    cases
}

/// The calls that no kill reaches: a thread made one of the same name and number earlier, and is killed there.
fn hidden(scenario: &dyn Scenario, calls: &Calls) -> usize {
    let of = |call: &str, lines: &str| lines.lines().filter(|line| scenario.concerns(call, line)).count();
    let all = calls.lines.iter().flat_map(|(call, lines)| lines.iter().map(move |lines| of(call, lines)));
    all.map(|threads| threads.saturating_sub(1)).sum()
}

fn chosen(cases: Vec<Injection>, choice: &Choice, mode: Mode) -> Vec<Injection> {
    if let Some(only) = &choice.only {
        let fits = (mode == Mode::Kill) == (only.fault == Fault::Kill);
        return fits.then(|| only.clone()).into_iter().collect();
    }
    spread(cases, choice.at_most)
}

/// At most so many of them: the middle one of each of so many equal parts.
pub(crate) fn spread<C>(cases: Vec<C>, at_most: Option<usize>) -> Vec<C> {
    let count = cases.len();
    let Some(at_most) = at_most.filter(|at_most| *at_most < count) else { return cases };
    let mut next = 0;
    let is_middle = |index: usize| {
        let is_it = next < at_most && index == (2 * next + 1) * count / (2 * at_most);
        next += usize::from(is_it);
        is_it
    };
    let picked: Vec<bool> = (0..count).map(is_middle).collect();
    cases.into_iter().zip(picked).filter_map(|(case, is_it)| is_it.then_some(case)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_spread_evenly_and_one_case_can_be_asked_for() {
        let case = |nth| Injection { call: "read".to_owned(), nth, fault: Fault::Kill };
        let all: Vec<_> = (0..100).map(case).collect();
        let choice = |at_most, only| Choice { at_most, only, jobs: 1 };
        assert_eq!(chosen(all.clone(), &choice(None, None), Mode::Kill), all);
        assert_eq!(chosen(all.clone(), &choice(Some(4), None), Mode::Kill), [12, 37, 62, 87].map(case));
        assert_eq!(chosen(all.clone(), &choice(None, Some(case(3))), Mode::Kill), [case(3)]);
        assert_eq!(chosen(all, &choice(None, Some(case(3))), Mode::Fail), []);
    }
}
