//! Time as the model sees it: from now. What is too long ago to make a difference is forgotten, and a number that grows
//! without one is held. So there are finitely many states, and none is left out.

use std::collections::VecDeque;

use super::super::*;
use super::disk::VERSIONS_MAX;

/// Now. As long after the machine's start as nothing of it reaches back.
pub const NOW: Duration = Duration::from_hours(1);

/// Launches of a probation: more are as good as these.
pub const LAUNCHES_MAX: u64 = 3;

/// Failures in a row beyond which nothing changes any more: 20 launches that found a program open for writing, 7 waits
/// until the longest back-off, 5 readings.
const FAILURES_MAX: u32 = 20;

/// Waits after which the probes go round, and the first that is as good as one of these: a round of one, two, three or
/// four versions is over after twelve.
const WAITS_MAX: u32 = 6;
const ROUND: u32 = 12;

/// Looks for a version after which the bundled package is tried again, again and again.
const LOOKS_ROUND: u32 = 128;

/// How far back the end of a child is remembered that is not judged yet: beyond the longest wait.
const END_MAX: Duration = Duration::from_secs(400);

/// Sees `machine`, which was just asked at `now`, from [`NOW`].
pub fn settle(machine: &mut Machine, now: Duration) {
    let Machine { settings, state, chosen: _, announced, history, starts, memory, looks, versions } = machine;
    let window = settings.crash_window;
    let seen = |time: Duration| (time + NOW).saturating_sub(now);
    let recent = |time: Duration| seen(time).max(NOW - window);
    let keep = |times: &mut VecDeque<Duration>, now: Duration| {
        times.retain(|time| now.saturating_sub(*time) <= window);
        times.iter_mut().for_each(|time| *time = seen(*time));
    };
    let (ends, waits) = history.parts_mut();
    // An end is counted as of its own time, however much later that is done.
    let counted = match state {
        State::Choosing { before: Before::Ended { at, .. }, .. }
        | State::Waiting { before: Before::Ended { at, .. }, .. } => *at,
        _ => now,
    };
    keep(ends, counted);
    keep(starts.times_mut(), now);
    if *waits >= WAITS_MAX + ROUND {
        *waits -= ROUND;
    }
    // The log alone asks for it.
    *announced = None;
    if *looks >= 2 * LOOKS_ROUND {
        *looks -= LOOKS_ROUND;
    }
    memory.cap_launches(LAUNCHES_MAX);
    versions.iter_mut().for_each(|one| one.launches = one.launches.min(LAUNCHES_MAX));
    let run = |run: &mut Run| {
        run.since = recent(run.since);
        run.prove_by = run.prove_by.map(seen);
    };
    let try_again = |attempt: &mut Attempt| attempt.failures = attempt.failures.min(FAILURES_MAX);
    match state {
        State::Bundling | State::Stopped => {}
        State::Installing { until, .. } | State::Abandoning { until, .. } => *until = seen(*until),
        State::Choosing { before, attempt } => {
            judged(before, window, seen);
            try_again(attempt);
        }
        State::Counting { heading, attempt, .. } => {
            *heading = None;
            try_again(attempt);
        }
        State::Launching { attempt, .. } => try_again(attempt),
        State::Running(one) | State::Checking(one) => run(one),
        State::Waiting { until, before, attempt } => {
            *until = seen(*until);
            judged(before, window, seen);
            try_again(attempt);
        }
        State::Ending { run: one, until, .. } => {
            run(one);
            one.prove_by = None;
            *until = seen(*until);
        }
    }
}

fn judged(before: &mut Before, window: Duration, seen: impl Fn(Duration) -> Duration) {
    if let Before::Ended { ran, at, .. } = before {
        *ran = (*ran).min(window);
        *at = seen(*at).max(NOW - END_MAX);
    }
}

const _: () = assert!(VERSIONS_MAX <= 4, "ROUND is the round of up to four versions");
