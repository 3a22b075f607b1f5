//! Maintenance windows and freezes of a simulated fleet: what the portal is told of them, and, reckoned in another way, when
//! a machine may begin.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use octopus_server::clock::Timestamp;
use octopus_server::ids::EnvironmentId;
use octopus_server::rollout::calendar::{Calendar, Closed, FreezePeriod, FreezeScope, Window, WindowSpec};
use rand::RngExt as _;
use rand::rngs::SmallRng;

use super::machine::SECOND;

/// A minute in the clock's unit. Windows and freezes begin and end with one.
const MINUTE: i64 = 60 * SECOND;

/// How often windows open, in minutes, and how that is written.
const PERIODS: [(i64, &str); 4] = [(20, "*/20 * * * *"), (30, "*/30 * * * *"), (60, "0 * * * *"), (120, "0 */2 * * *")];

/// A maintenance window that opens with each period.
#[derive(Clone, Copy, Debug)]
struct Period {
    at: usize,
    /// For so many minutes: fewer than the period has.
    open: i64,
}

impl Period {
    fn is_open(self, minute: i64) -> bool {
        minute.rem_euclid(PERIODS[self.at].0) < self.open
    }

    fn window(self) -> Option<Window> {
        let duration_minutes = u32::try_from(self.open).ok()?;
        let cron = PERIODS[self.at].1.to_owned();
        Window::read(&WindowSpec { cron, duration_minutes, time_zone: "UTC".to_owned() }).ok()
    }
}

/// See the head of this file.
pub(super) struct Hours {
    periods: BTreeMap<EnvironmentId, Vec<Period>>,
    calendar: Calendar,
    known: HashMap<Vec<EnvironmentId>, Known>,
}

/// What the calendar said of some environments, and for which minutes.
struct Known {
    minutes: Range<i64>,
    closed: Option<Closed>,
}

impl Hours {
    /// Hours of environments 1 to `environments`; in half of all fleets there are none.
    pub fn some(rng: &mut SmallRng, environments: i64) -> Self {
        let calendar = Calendar::default();
        let mut hours = Self { periods: BTreeMap::new(), calendar, known: HashMap::new() };
        if rng.random_bool(0.5) {
            for id in 1..=environments {
                hours.change_windows(rng, EnvironmentId(id));
            }
        }
        hours
    }

    /// Somebody gives an environment other windows, or none. Returns what was done, in words.
    pub fn change_windows(&mut self, rng: &mut SmallRng, id: EnvironmentId) -> String {
        let some = |rng: &mut SmallRng| {
            let at = rng.random_range(0..PERIODS.len());
            Period { at, open: rng.random_range(2..PERIODS[at].0) }
        };
        let periods: Vec<Period> = (0..rng.random_range(0..3)).map(|_| some(rng)).collect();
        let windows: Vec<Window> = periods.iter().filter_map(|period| period.window()).collect();
        let words = |period: &Period| format!("{} for {} min", PERIODS[period.at].1, period.open);
        let said = periods.iter().map(words).collect::<Vec<_>>().join(", ");
        self.calendar.windows.insert(id, (id.to_string(), windows));
        self.periods.insert(id, periods);
        self.known.clear();
        format!("{id} has the windows [{said}]")
    }

    /// Somebody freezes everything, or one environment, from this minute on. Returns what was done, in words.
    pub fn freeze(&mut self, rng: &mut SmallRng, environments: i64, now: Timestamp) -> String {
        let from = now.0.div_euclid(MINUTE);
        let until = from + rng.random_range(1..90_i64);
        let id = EnvironmentId(rng.random_range(1..=environments));
        let scope = if rng.random_bool(0.5) { FreezeScope::All } else { FreezeScope::Environments(vec![id]) };
        let said = format!("{scope:?} is frozen for {} min", until - from);
        let (from, until) = (Timestamp(from * MINUTE), Timestamp(until * MINUTE));
        self.calendar.freezes.push(FreezePeriod { scope, from, until, reason: "a test".to_owned() });
        self.known.clear();
        said
    }

    /// Takes all freezes away.
    pub fn thaw(&mut self) {
        self.calendar.freezes.clear();
        self.known.clear();
    }

    /// Asks the portal's calendar about some environments, so that [`Hours::closed`] knows.
    pub fn look<'a>(&mut self, all: impl Iterator<Item = &'a Vec<EnvironmentId>>, now: Timestamp) {
        let minute = now.0.div_euclid(MINUTE);
        for environments in all {
            if self.known.get(environments).is_none_or(|known| !known.minutes.contains(&minute)) {
                let closed = self.calendar.closed(environments, now);
                // It is closed until it opens; where nobody knows when, and while it is open, it is asked again.
                let until = match closed.as_ref().map(Closed::opens) {
                    Some(Some(opens)) => opens.0.div_euclid(MINUTE),
                    Some(None) => minute + 10,
                    None => minute + 1,
                };
                self.known.insert(environments.clone(), Known { minutes: minute..until, closed });
            }
        }
    }

    /// What the portal's calendar says of machines of these environments.
    pub fn closed(&self, environments: &[EnvironmentId]) -> Option<Closed> {
        self.known.get(environments)?.closed.clone()
    }

    /// The truth about it: reckoned without the calendar.
    pub fn is_open(&self, environments: &[EnvironmentId], now: Timestamp) -> bool {
        let minute = now.0.div_euclid(MINUTE);
        let shut = |id: &EnvironmentId| {
            let periods = self.periods.get(id).map_or(&[][..], Vec::as_slice);
            !periods.is_empty() && !periods.iter().any(|period| period.is_open(minute))
        };
        let holds = |freeze: &FreezePeriod| {
            let is_meant = match &freeze.scope {
                FreezeScope::All => true,
                FreezeScope::Environments(ids) => environments.iter().any(|id| ids.contains(id)),
            };
            is_meant && (freeze.from.0..freeze.until.0).contains(&now.0)
        };
        !environments.iter().any(shut) && !self.calendar.freezes.iter().any(holds)
    }
}
