//! `select` and `restart` against naive ones that look at the whole past and at every pair: random histories.
//!
//! `SUCTION_CUP_HISTORIES` sets how many; a plain run makes 2,000 of each.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use super::*;
use crate::restart::{Restart, restart};
use crate::select::{is_on_probation, select, stand_in};

const HISTORIES: u32 = 2_000;

/// Longest history.
const ENDS_MAX: usize = 40;

fn check<S: Strategy>(strategy: S, holds: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    let asked = std::env::var_os("SUCTION_CUP_HISTORIES").and_then(|value| value.to_str()?.parse().ok());
    let config = Config { cases: asked.unwrap_or(HISTORIES), failure_persistence: None, ..Config::default() };
    TestRunner::new(config).run(&strategy, holds).unwrap_or_else(|fault| panic!("{fault}"));
}

/// How long a child runs, and by how much more than asked the wait before it was.
fn life() -> impl Strategy<Value = (Duration, Duration)> {
    let ran = prop_oneof![
        4 => (0_u64..80).prop_map(|quarters| Duration::from_millis(250 * quarters)),
        2 => Just(Duration::from_millis(7_500)),
        1 => Just(30 * SECOND),
        1 => Just(30 * SECOND - NANO),
        1 => Just(30 * SECOND + NANO),
        2 => Just(Duration::ZERO),
        1 => any::<u32>().prop_map(|nanos| Duration::from_nanos(u64::from(nanos) * 10)),
    ];
    (ran, prop_oneof![Just(NANO), (1_u64..2_000).prop_map(Duration::from_millis)])
}

/// What the design says of the last end, with the whole past told again: `(when it was, how long the child had run)`.
fn naive(past: &[(Duration, Duration)]) -> Restart {
    const WINDOW: Duration = Duration::from_secs(30);
    let (mut counted, mut probes) = (Vec::new(), 0_u32);
    let mut said = Restart::Now;
    for (at, ran) in past {
        if probes == 0 || *ran >= WINDOW {
            probes = 0;
            counted.push(*at);
            said = Restart::Now;
        }
        if probes > 0 || counted.iter().filter(|end| *at - **end <= WINDOW).count() >= 5 {
            said = Restart::After(
                [30_u32, 60, 120, 240, 300].get(probes as usize).map_or(300 * SECOND, |wait| *wait * SECOND),
            );
            counted.clear();
            probes += 1;
        }
    }
    said
}

#[test]
fn the_crash_limit_equals_a_naive_one_for_every_random_history() {
    let settings = Settings::default();
    check(proptest::collection::vec(life(), 1..ENDS_MAX), |lives| {
        let mut history = crate::restart::History::default();
        let (mut now, mut past) = (Duration::ZERO, Vec::new());
        for (ran, late) in lives {
            now += ran;
            past.push((now, ran));
            let decision = restart(ran, &mut history, &settings, now);
            prop_assert_eq!(decision, naive(&past), "{:?}", past);
            if let Restart::After(delay) = decision {
                now += delay + late;
            }
        }
        Ok(())
    });
}

fn installed() -> impl Strategy<Value = Vec<Installed>> {
    let version = prop_oneof![
        (0_u32..3, 0_u32..12, 0_u32..2).prop_map(|(a, b, c)| Version::release(a, b, c)),
        "[0-2]\\.[0-9]{1,2}\\.0(\\.1)?-(rc|RC|beta)(\\.[0-9]{1,2})?".prop_map(|text| v(&text)),
    ];
    let one = (version, any::<[bool; 4]>(), 0_u64..5);
    let one = one.prop_map(|(version, [proven, rejected, withdrawn, skipped], launches)| Installed {
        proven,
        rejected,
        withdrawn,
        skipped,
        launches,
        ..Installed::new(version)
    });
    proptest::collection::vec(one, 0..8).prop_map(|mut versions| {
        let mut names = std::collections::HashSet::new();
        versions.retain(|one| names.insert(one.version.folder_name()));
        versions
    })
}

/// Better than every other, by the design's words alone: a pair at a time.
fn beats(one: &Installed, other: &Installed) -> bool {
    let class = |one: &Installed| match (one.withdrawn, one.proven, one.rejected) {
        (false, true, _) | (false, false, false) => 2,
        (_, true, _) => 1,
        _ => 0,
    };
    match class(one).cmp(&class(other)) {
        std::cmp::Ordering::Equal => one.version > other.version,
        order => order.is_gt(),
    }
}

#[test]
fn the_choice_equals_a_naive_one_whatever_the_order() {
    check((installed(), any::<prop::sample::Index>(), 0_u32..9), |(mut versions, turn_by, turn)| {
        let there: Vec<_> = versions.iter().filter(|one| !one.skipped).cloned().collect();
        let best = there.iter().find(|one| there.iter().all(|other| other == *one || beats(one, other))).cloned();
        prop_assert_eq!(select(&versions), best.as_ref());
        prop_assert_eq!(select(&versions).is_none(), there.is_empty());

        let own: Vec<_> = there.iter().filter(|one| one.proven && !one.withdrawn).collect();
        let any: Vec<_> = there.iter().filter(|one| one.proven).collect();
        let round = if own.is_empty() { any } else { own };
        let expected = round.iter().find(|one| {
            let newer = round.iter().filter(|other| other.version > one.version).count();
            newer == turn as usize % round.len()
        });
        prop_assert_eq!(stand_in(&versions, turn), expected.copied());

        for one in &versions {
            let to_prove = !one.proven && !one.rejected;
            let back = there
                .iter()
                .any(|other| other.version != one.version && (other.proven || !(other.rejected || other.withdrawn)));
            prop_assert_eq!(is_on_probation(&versions, &one.version), to_prove && back);
        }
        if !versions.is_empty() {
            let by = turn_by.index(versions.len());
            versions.rotate_left(by);
            prop_assert_eq!(select(&versions), best.as_ref(), "in another order");
            versions.reverse();
            prop_assert_eq!(select(&versions), best.as_ref(), "in another order");
        }
        Ok(())
    });
}
