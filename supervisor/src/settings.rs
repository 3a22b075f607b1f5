//! The numbers that Suction Cup runs by, and the one place that reads the environment for them.
//!
//! Read once at the start, by `main`. A value that makes no sense is complained of and the default is used: nothing
//! here can keep a Tentacle from starting.

use std::ffi::OsString;
use std::time::Duration;

use contract::env;

/// Highest crash limit that is taken, so that the history of ends stays small. A higher one is a bad value.
const CRASH_LIMIT_MAX: u64 = 1_000;

/// Highest number of probation launches that is taken. A higher one is a bad value.
const PROBATION_LAUNCHES_MAX: u64 = 1_000;

/// Longest time that is taken: a year. A longer one is a bad value.
const MILLISECONDS_MAX: u64 = 365 * 24 * 60 * 60 * 1_000;

/// Limits and times. [`Settings::default`] is what the service runs with; the environment is for demos and tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Ends within the window that trip the crash limit.
    pub crash_limit: usize,
    /// The window of the crash limit; also how long a probe must run to end the waits.
    pub crash_window: Duration,
    /// The first wait after the crash limit tripped.
    pub wait_min: Duration,
    /// The longest wait after the crash limit tripped.
    pub wait_max: Duration,
    /// Launches that a version on probation gets.
    pub probation_launches: u64,
    /// How long after a launch a version on probation must have become proven.
    pub probation: Duration,
    /// How long a child may take to end after TERM before it is killed.
    pub grace: Duration,
    /// How long `install-package` may take for the bundled package before it is killed.
    pub bundle: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            crash_limit: 5,
            crash_window: Duration::from_secs(30),
            wait_min: Duration::from_secs(30),
            wait_max: Duration::from_mins(5),
            probation_launches: 3,
            probation: Duration::from_mins(10),
            grace: Duration::from_secs(30),
            bundle: Duration::from_mins(5),
        }
    }
}

impl Settings {
    /// Reads the settings through `get`, which looks up an environment variable. The second value holds a sentence for
    /// each variable that was not understood.
    pub fn read(get: impl Fn(&str) -> Option<OsString>) -> (Self, Vec<String>) {
        let default = Self::default();
        let mut reader = Reader { get, complaints: Vec::new() };
        let settings = Self {
            crash_limit: reader.count(env::SUCTION_CUP_CRASH_LIMIT, default.crash_limit, 2, CRASH_LIMIT_MAX),
            crash_window: reader.time(env::SUCTION_CUP_CRASH_WINDOW_MS, default.crash_window),
            wait_min: reader.time(env::SUCTION_CUP_WAIT_MIN_MS, default.wait_min),
            wait_max: reader.time(env::SUCTION_CUP_WAIT_MAX_MS, default.wait_max),
            probation_launches: reader.number(
                env::SUCTION_CUP_PROBATION_LAUNCHES,
                default.probation_launches,
                1,
                PROBATION_LAUNCHES_MAX,
            ),
            probation: reader.time(env::SUCTION_CUP_PROBATION_MS, default.probation),
            grace: reader.time(env::SUCTION_CUP_GRACE_MS, default.grace),
            bundle: reader.time(env::SUCTION_CUP_BUNDLE_MS, default.bundle),
        };
        (settings, reader.complaints)
    }
}

struct Reader<G> {
    get: G,
    complaints: Vec<String>,
}

impl<G: Fn(&str) -> Option<OsString>> Reader<G> {
    fn number(&mut self, name: &str, default: u64, min: u64, max: u64) -> u64 {
        let Some(value) = (self.get)(name) else { return default };
        match value.to_str().and_then(|text| text.parse().ok()) {
            Some(number) if (min..=max).contains(&number) => number,
            _ => {
                let sentence = format!("{name}={value:?} is not a number from {min} to {max}; using {default}");
                self.complaints.push(sentence);
                default
            }
        }
    }

    fn count(&mut self, name: &str, default: usize, min: u64, max: u64) -> usize {
        usize::try_from(self.number(name, default as u64, min, max)).unwrap_or(default)
    }

    fn time(&mut self, name: &str, default: Duration) -> Duration {
        let default = u64::try_from(default.as_millis()).unwrap_or(MILLISECONDS_MAX);
        Duration::from_millis(self.number(name, default, 1, MILLISECONDS_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_environment_gives_the_numbers_of_the_design() {
        let (settings, complaints) = Settings::read(|_| None);
        assert_eq!(settings, Settings::default());
        assert_eq!(complaints, Vec::<String>::new());
    }

    #[test]
    fn every_number_can_be_set() {
        let (settings, complaints) = Settings::read(|_| Some("7".into()));
        let seven = Duration::from_millis(7);
        let expected = Settings {
            crash_limit: 7,
            crash_window: seven,
            wait_min: seven,
            wait_max: seven,
            probation_launches: 7,
            probation: seven,
            grace: seven,
            bundle: seven,
        };
        assert_eq!((settings, complaints), (expected, Vec::new()));
    }

    #[test]
    fn a_bad_value_is_complained_of_and_the_default_is_used() {
        for bad in ["", "0", "-1", "1e3", "99999999999999999999999", "five"] {
            let (settings, complaints) = Settings::read(|_| Some(bad.into()));
            assert_eq!(settings, Settings::default(), "{bad}");
            assert_eq!(complaints.len(), 8, "{bad}");
        }
        let year = 31_536_000_000_u64;
        for (value, taken) in [(year, true), (year + 1, false)] {
            let only = |name: &str| (name == env::SUCTION_CUP_GRACE_MS).then(|| value.to_string().into());
            let (settings, complaints) = Settings::read(only);
            assert_eq!(complaints.is_empty(), taken, "{complaints:?}");
            assert_eq!(settings.grace == Duration::from_millis(value), taken);
        }
        let (settings, complaints) =
            Settings::read(|name| (name == env::SUCTION_CUP_CRASH_LIMIT).then(|| OsString::from("1")));
        assert_eq!(settings.crash_limit, 5, "a limit of one would wait after every end");
        assert_eq!(complaints.len(), 1);
    }
}
