//! When to launch again after an end: the crash limit. Pure: time is a parameter, nothing is read or written.
//!
//! Called by the machine only, and only for an end that is not an upgrade.

use std::collections::VecDeque;
use std::time::Duration;

use crate::settings::Settings;

/// Probes of the chosen version after the crash limit tripped. When all of them ended early, the further probes go
/// round the proven versions.
const PROBES_OF_THE_CHOSEN: u32 = 5;

/// Starts of any kind within the crash window. A further one waits until the oldest of them is out of the window, so
/// that not even a chain of upgrades can become a busy loop.
pub(crate) const STARTS_MAX: usize = 20;

/// When to launch again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// At once.
    Now,
    /// When this much time has passed.
    After(Duration),
}

/// The ends of the chosen version that are not forgotten yet. Holds no more than the crash limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct History {
    /// When the latest ends were, oldest first; empty while tripped.
    ends: VecDeque<Duration>,
    /// Waits since the crash limit tripped; 0 while it has not.
    waits: u32,
}

impl History {
    /// Forgets everything: another version was chosen.
    pub fn clear(&mut self) {
        self.ends.clear();
        self.waits = 0;
    }

    /// Which of the proven versions the next probe takes, counted from the newest and round and round; `None` while
    /// the chosen version is the one to launch.
    pub fn turn(&self) -> Option<u32> {
        self.waits.checked_sub(PROBES_OF_THE_CHOSEN + 1)
    }
}

/// Decides when to launch again after an end at `now` of a child that `ran` for so long, and records the end.
///
/// The end that fills the window trips the limit; the window's edge is inside. From then on every launch is one probe
/// per wait, with waits that double up to the longest, until a run lasts as long as the window.
pub fn restart(ran: Duration, history: &mut History, settings: &Settings, now: Duration) -> Restart {
    if history.waits > 0 && ran < settings.crash_window {
        return wait(history, settings);
    }
    history.waits = 0;
    history.ends.push_back(now);
    while history.ends.len() > settings.crash_limit {
        history.ends.pop_front();
    }
    let first = history.ends.front().copied().unwrap_or(now);
    if history.ends.len() == settings.crash_limit && now.saturating_sub(first) <= settings.crash_window {
        return wait(history, settings);
    }
    Restart::Now
}

fn wait(history: &mut History, settings: &Settings) -> Restart {
    let factor = 1_u32.checked_shl(history.waits).unwrap_or(u32::MAX);
    let delay = settings.wait_min.saturating_mul(factor).min(settings.wait_max);
    history.ends.clear();
    history.waits = history.waits.saturating_add(1);
    Restart::After(delay)
}

/// The latest starts of any kind. Holds no more than twenty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Starts(VecDeque<Duration>);

impl Starts {
    /// Records a start.
    pub fn record(&mut self, now: Duration) {
        if self.0.len() >= STARTS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(now);
    }

    /// The time that must have passed before the next start; `None` where it may be at once.
    pub fn not_before(&self, settings: &Settings) -> Option<Duration> {
        let oldest = *self.0.front()?;
        (self.0.len() >= STARTS_MAX).then(|| oldest.saturating_add(settings.crash_window))
    }
}

/// For the model check, which sees times from now and whatever can make no difference any more as gone.
#[cfg(test)]
impl History {
    pub(crate) fn parts_mut(&mut self) -> (&mut VecDeque<Duration>, &mut u32) {
        (&mut self.ends, &mut self.waits)
    }

    pub(crate) fn is_clear(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
impl Starts {
    pub(crate) fn times_mut(&mut self) -> &mut VecDeque<Duration> {
        &mut self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Restart::{After, Now};

    const SECOND: Duration = Duration::from_secs(1);
    const NANO: Duration = Duration::from_nanos(1);

    /// A child that crashes as soon as it runs.
    fn crash(history: &mut History, now: Duration) -> Restart {
        restart(Duration::ZERO, history, &Settings::default(), now)
    }

    fn crashes(times: impl IntoIterator<Item = Duration>) -> Vec<Restart> {
        let mut history = History::default();
        times.into_iter().map(|now| crash(&mut history, now)).collect()
    }

    /// A small generator, so that the sequences are the same in every run.
    struct Random(u64);

    impl Random {
        fn below(&mut self, limit: u64) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % limit
        }
    }

    #[test]
    fn four_crashes_in_the_window_restart_at_once() {
        assert_eq!(crashes([0, 1, 2, 3].map(|s| s * SECOND)), [Now; 4]);
    }

    #[test]
    fn the_fifth_end_trips_not_the_fourth_and_not_the_sixth() {
        assert_eq!(crashes([0, 7, 14, 21, 28].map(|s| s * SECOND)), [Now, Now, Now, Now, After(30 * SECOND)]);
    }

    #[test]
    fn the_edge_of_the_window_is_inside() {
        for (gap, expected) in
            [(30 * SECOND - NANO, After(30 * SECOND)), (30 * SECOND, After(30 * SECOND)), (30 * SECOND + NANO, Now)]
        {
            let start = 3 * SECOND;
            let decisions = crashes([start, start, start, start, start + gap]);
            assert_eq!(decisions[4], expected, "{gap:?}");
        }
    }

    #[test]
    fn the_window_slides() {
        let seconds = [0.0, 0.5, 1.0, 29.0, 30.5, 31.0].map(Duration::from_secs_f64);
        assert_eq!(crashes(seconds), [Now; 6], "no five of these are within the window");
        let seconds = [0.0, 0.5, 1.0, 29.0, 30.5, 30.5].map(Duration::from_secs_f64);
        assert_eq!(crashes(seconds)[4..], [Now, After(30 * SECOND)], "0.5 to 30.5 is the window");
    }

    #[test]
    fn equal_instants_are_counted_as_different_ends() {
        assert_eq!(crashes([SECOND; 5])[3..], [Now, After(30 * SECOND)]);
    }

    #[test]
    fn a_clock_that_steps_back_does_no_harm() {
        assert_eq!(crashes([9, 8, 7, 6, 5].map(|s| s * SECOND))[3..], [Now, After(30 * SECOND)]);
    }

    #[test]
    fn the_limiter_equals_a_recount_of_the_whole_past() {
        let settings = Settings::default();
        let mut random = Random(1);
        for _ in 0..20_000 {
            let mut now = Duration::ZERO;
            let mut history = History::default();
            let mut past = Vec::new();
            for _ in 0..50 {
                now += Duration::from_millis(500 * random.below(25));
                past.push(now);
                let recent = past.iter().rev().take(5);
                let trips = past.len() >= 5 && recent.clone().all(|end| now - *end <= settings.crash_window);
                let decision = restart(Duration::ZERO, &mut history, &settings, now);
                assert_eq!(decision, if trips { After(settings.wait_min) } else { Now }, "{past:?}");
                if trips {
                    break;
                }
            }
        }
    }

    #[test]
    fn the_waits_double_up_to_the_longest_and_never_overflow() {
        let mut history = History::default();
        let mut waits = Vec::new();
        for _ in 0..12 {
            if let After(wait) = crash(&mut history, Duration::ZERO) {
                waits.push(wait.as_secs());
            }
        }
        assert_eq!(waits, [30, 60, 120, 240, 300, 300, 300, 300]);
        for waits in [31, 32, 33, 1_000_000_000, u32::MAX] {
            let mut history = History { waits, ..History::default() };
            assert_eq!(crash(&mut history, Duration::MAX), After(300 * SECOND), "{waits}");
        }
    }

    #[test]
    fn a_run_as_long_as_the_window_ends_the_waits() {
        let settings = Settings::default();
        let tripped = History { waits: 3, ..History::default() };
        let mut history = tripped.clone();
        assert_eq!(restart(30 * SECOND - NANO, &mut history, &settings, 100 * SECOND), After(240 * SECOND));
        let mut history = tripped;
        assert_eq!(restart(30 * SECOND, &mut history, &settings, 100 * SECOND), Now);
        let after: Vec<_> = (0..4).map(|_| crash(&mut history, 101 * SECOND)).collect();
        assert_eq!(after, [Now, Now, Now, After(30 * SECOND)], "the long run's end is the first of five");
    }

    #[test]
    fn five_probes_are_of_the_chosen_version_then_they_go_round() {
        let mut history = History::default();
        let mut turns = Vec::new();
        for _ in 0..13 {
            if crash(&mut history, Duration::ZERO) != Now {
                turns.push(history.turn());
            }
        }
        assert_eq!(turns, [None, None, None, None, None, Some(0), Some(1), Some(2), Some(3)]);
    }

    #[test]
    fn no_closed_window_holds_six_starts() {
        let settings = Settings::default();
        let mut random = Random(2);
        for _ in 0..2_000 {
            let mut now = Duration::ZERO;
            let mut history = History::default();
            let mut starts = Vec::new();
            for _ in 0..40 {
                starts.push(now);
                let ran = Duration::from_millis(250 * random.below(160));
                now += ran;
                if let After(delay) = restart(ran, &mut history, &settings, now) {
                    now += delay + NANO; // the machine goes on when the wait is over, not when it ends
                }
            }
            for six in starts.windows(6) {
                assert!(six[5] - six[0] > settings.crash_window, "{six:?}");
            }
        }
    }

    #[test]
    fn the_history_never_holds_more_than_the_limit() {
        let mut history = History::default();
        for i in 0..1_000 {
            crash(&mut history, i * 60 * SECOND);
            assert!(history.ends.len() <= 5);
        }
    }

    #[test]
    fn twenty_starts_are_free_and_the_next_one_waits() {
        let settings = Settings::default();
        let mut starts = Starts::default();
        for i in 0..20 {
            assert_eq!(starts.not_before(&settings), None, "start {i}");
            starts.record(SECOND);
        }
        assert_eq!(starts.not_before(&settings), Some(31 * SECOND));
        starts.record(32 * SECOND);
        assert_eq!(starts.not_before(&settings), Some(31 * SECOND), "nineteen of the first are still in the window");
    }
}
