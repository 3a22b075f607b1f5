//! The file `supervisor/status`: what the running Suction Cup does, as it goes into each wait. Written for `suction-cup
//! status` of the same build and read by nothing else, so its form may change; it is no part of the contract.

use std::fmt::Write as _;
use std::time::Duration;

use contract::Version;

use crate::machine::{Run, State};

/// Waits that are shorter are told without their end, so that a state that is entered again and again is written once.
const UNTIL_MIN: Duration = Duration::from_secs(5);

/// A process, so that another one with the same number is not taken for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// When it was started, in the system's ticks since the machine was.
    pub started: u64,
}

/// What is written down.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Note {
    /// The Suction Cup that wrote it.
    pub writer: Option<Process>,
    /// The name of its state.
    pub doing: String,
    /// The version that runs, is ended or installed.
    pub version: Option<Version>,
    /// Its process.
    pub child: Option<Process>,
    /// When the state ends by itself, on the system's monotonic clock.
    pub until: Option<Duration>,
    /// The last line of the log.
    pub said: String,
}

impl Note {
    /// What there is to tell of a state at `now`. `origin` is the monotonic time from which the machine counts.
    pub fn of(state: &State, origin: Duration, now: Duration) -> Self {
        let (version, until) = match state {
            State::Running(Run { version, prove_by, .. }) | State::Checking(Run { version, prove_by, .. }) => {
                (Some(version), *prove_by)
            }
            State::Ending { run, until, .. } => (Some(&run.version), Some(*until)),
            State::Installing { version, until } => (Some(version), Some(*until)),
            State::Waiting { until, .. } | State::Abandoning { until, .. } => (None, Some(*until)),
            State::Bundling
            | State::Choosing { .. }
            | State::Counting { .. }
            | State::Launching { .. }
            | State::Stopped => (None, None),
        };
        let until = until.filter(|until| until.saturating_sub(now) >= UNTIL_MIN);
        Self {
            doing: state.name().to_owned(),
            version: version.cloned(),
            until: until.map(|until| origin.saturating_add(until)),
            ..Self::default()
        }
    }

    /// The text of the file.
    pub fn to_text(&self) -> String {
        let mut text = format!("doing {}\n", self.doing);
        let mut line = |key: &str, value: String| {
            // Writing to a text cannot fail.
            let _ = writeln!(text, "{key} {value}");
        };
        let process = |process: Process| format!("{} {}", process.pid, process.started);
        self.writer.into_iter().for_each(|writer| line("suction-cup", process(writer)));
        self.child.into_iter().for_each(|child| line("child", process(child)));
        self.version.iter().for_each(|version| line("version", version.to_string()));
        self.until.into_iter().for_each(|until| line("until-ms", until.as_millis().to_string()));
        line("said", self.said.replace('\n', " "));
        text
    }

    /// Reads the file. What is damaged or not known is left out.
    pub fn from_text(text: &str) -> Self {
        let mut note = Self::default();
        for (key, value) in text.lines().filter_map(|line| line.split_once(' ')) {
            let process = || {
                let (pid, started) = value.split_once(' ')?;
                Some(Process { pid: pid.parse().ok()?, started: started.parse().ok()? })
            };
            match key {
                "doing" => value.clone_into(&mut note.doing),
                "suction-cup" => note.writer = process(),
                "child" => note.child = process(),
                "version" => note.version = value.parse().ok(),
                "until-ms" => note.until = value.parse().ok().map(Duration::from_millis),
                "said" => value.clone_into(&mut note.said),
                _ => {}
            }
        }
        note
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::{Attempt, Before, Then};

    const SECOND: Duration = Duration::from_secs(1);

    fn run() -> Run {
        Run { version: "2.0.0".parse().unwrap(), since: SECOND, prove_by: Some(600 * SECOND) }
    }

    #[test]
    fn a_note_is_read_as_it_was_written() {
        let process = |pid| Some(Process { pid, started: 77 });
        let note = Note {
            writer: process(1),
            child: process(2),
            said: "launching 2.0.0\nat once".to_owned(),
            ..Note::of(&State::Running(run()), 1_000 * SECOND, 2 * SECOND)
        };
        let read = Note::from_text(&note.to_text());
        assert_eq!(read, Note { said: "launching 2.0.0 at once".to_owned(), ..note });
        assert_eq!(read.until, Some(1_600 * SECOND));
        assert_eq!((read.doing.as_str(), read.version), ("Running", Some("2.0.0".parse().unwrap())));
    }

    #[test]
    fn a_damaged_note_is_read_as_far_as_it_goes() {
        for text in ["", "\n\n", "doing", "suction-cup 1", "child x y\nuntil-ms soon\nversion ../x", "\u{0}"] {
            assert_eq!(Note::from_text(text), Note::default(), "{text:?}");
        }
        let whole = Note { until: Some(SECOND), ..Note::of(&State::Running(run()), SECOND, SECOND) }.to_text();
        for end in 0..whole.len() {
            Note::from_text(&whole[..end]);
        }
    }

    #[test]
    fn short_waits_are_all_alike() {
        let waiting = |until| State::Waiting { until, before: Before::Nothing, attempt: Attempt::default() };
        let note = |until| Note::of(&waiting(until), Duration::ZERO, 10 * SECOND);
        assert_eq!(note(11 * SECOND), note(12 * SECOND));
        assert_eq!(note(40 * SECOND).until, Some(40 * SECOND));
        let ending = State::Ending { run: run(), until: 40 * SECOND, then: Then::Exit };
        assert_eq!(Note::of(&ending, Duration::ZERO, SECOND).version, Some("2.0.0".parse().unwrap()));
    }
}
