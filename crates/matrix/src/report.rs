//! The report: what was tried, what did not hold, and how long it took. One JSON document for machines, a table for
//! people.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use crate::case::Outcome;
use crate::strace::Injection;

/// Everything that was run.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Cases in all parts.
    pub cases: usize,
    /// Failures in all parts.
    pub failures: usize,
    /// Wall time.
    pub seconds: f64,
    /// One program, one scenario, one mode each.
    pub parts: Vec<Part>,
}

/// One program, one scenario, one mode.
#[derive(Debug, Serialize)]
pub struct Part {
    /// `suction-cup`, …
    pub program: &'static str,
    /// What was played.
    pub scenario: &'static str,
    /// `kill`, `fail` or `power-cut`.
    pub mode: &'static str,
    /// System calls that the program makes in the scenario; for a power cut, what was written down.
    pub calls: usize,
    /// Cases that were run.
    pub cases: usize,
    /// Of them, those whose call was not made in that run.
    pub not_reached: usize,
    /// Calls of several threads that cannot be told apart, and of which only the first is killed at.
    pub hidden: usize,
    /// The longest time until the right version ran, in seconds.
    pub longest_wait_seconds: f64,
    /// Wall time.
    pub seconds: f64,
    /// What did not hold.
    pub failures: Vec<Failure>,
}

/// A case in which something did not hold.
#[derive(Debug, Serialize)]
pub struct Failure {
    /// What was done; `--only` does it again.
    pub case: String,
    /// What did not hold.
    pub why: String,
}

impl Failure {
    pub(crate) fn new(injection: &Injection, error: &anyhow::Error) -> Self {
        Self { case: injection.to_string(), why: format!("{error:#}") }
    }
}

impl Part {
    pub(crate) fn new(program: &'static str, scenario: &'static str, mode: &'static str, calls: usize) -> Self {
        Self {
            program,
            scenario,
            mode,
            calls,
            cases: 0,
            not_reached: 0,
            hidden: 0,
            longest_wait_seconds: 0.0,
            seconds: 0.0,
            failures: Vec::new(),
        }
    }

    pub(crate) fn passed(&mut self, outcome: Outcome, waited: Duration) {
        self.not_reached += usize::from(outcome == Outcome::NotReached);
        self.longest_wait_seconds = self.longest_wait_seconds.max(waited.as_secs_f64());
    }
}

impl Report {
    /// Adds parts, and their sums.
    pub fn extend(&mut self, parts: impl IntoIterator<Item = Part>) {
        for part in parts {
            self.cases += part.cases;
            self.failures += part.failures.len();
            self.parts.push(part);
        }
    }

    /// A line for each part, and for each failure.
    pub fn table(&self) -> String {
        let mut text = String::new();
        for part in &self.parts {
            let Part { program, scenario, mode, calls, cases, not_reached, hidden, .. } = part;
            let (longest, seconds, failures) = (part.longest_wait_seconds, part.seconds, part.failures.len());
            let _ = writeln!(
                text,
                "{program:16} {scenario:18} {mode:9} {calls:5} calls {cases:6} cases ({not_reached} not reached, {hidden} hidden) \
                 {failures:4} failures, longest wait {longest:.2} s, {seconds:.0} s",
            );
            for failure in &part.failures {
                let _ = writeln!(text, "    {}: {}", failure.case, failure.why);
            }
        }
        let _ = writeln!(text, "{} cases, {} failures, {:.0} s", self.cases, self.failures, self.seconds);
        text
    }
}
