//! When machines may be upgraded: maintenance windows of environments and freezes. Pure: is it open at a moment, when does
//! it close, when does it open next.
//!
//! A machine begins when all of its environments let it: each that has windows has one open, and no freeze holds any. An
//! environment without windows is always open. What is under way goes on, whatever the hour.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::Zoned;
use jiff::tz::TimeZone;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::ids::EnvironmentId;

/// Windows that an environment may have. More are refused.
pub const WINDOWS_MAX: usize = 20;

/// Longest window, in minutes: a week. Who wants more has no window, but a freeze.
pub const MINUTES_MAX: u32 = 7 * 24 * 60;

/// Longest cron expression and longest name of a time zone, in characters.
const TEXT_MAX: usize = 100;

/// Windows that follow each other without a gap are taken for one up to so many; then it counts as always open.
const CHAIN_MAX: usize = 1000;

/// Moments that are looked at for one at which all windows of a machine are open. Then it is said that there is none. Each
/// is the next opening of a window that is closed, so windows that open once a week are searched for two years.
const SEARCH_MAX: usize = 100;

/// What each field of a cron expression is called, and its least values.
const FIELDS: [(&str, &str); 5] = [
    ("minute", "0 to 59"),
    ("hour", "0 to 23"),
    ("day of the month", "1 to 31"),
    ("month", "1 to 12"),
    ("day of the week", "0 to 7, where 0 and 7 are Sunday, or names such as MON-FRI"),
];

/// A maintenance window as people write it and as it stands on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct WindowSpec {
    /// When it opens: minute, hour, day of the month, month, day of the week.
    pub cron: String,
    /// For how many minutes it stays open.
    pub duration_minutes: u32,
    /// Whose clocks the expression means, by its IANA name.
    #[serde(default = "utc")]
    pub time_zone: String,
}

fn utc() -> String {
    "UTC".to_owned()
}

/// Why a window is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    /// It does not have five fields.
    #[error(
        "\"{cron}\" is no cron expression: it has {found} fields and needs 5 (minute, hour, day of the month, month, day \
         of the week). \"0 22 * * 1-5\" is ten in the evening on working days"
    )]
    Fields {
        /// What was written.
        cron: String,
        /// Its fields.
        found: usize,
    },
    /// A field makes no sense.
    #[error(
        "\"{cron}\" is no cron expression: \"{text}\" is no {field}, which is {range}. \"0 22 * * 1-5\" is ten in the \
         evening on working days"
    )]
    Field {
        /// What was written.
        cron: String,
        /// The field.
        text: String,
        /// What it is called.
        field: &'static str,
        /// What it may be.
        range: &'static str,
    },
    /// No moment fits it.
    #[error("\"{0}\" never comes: no month of that kind has such a day")]
    Never(String),
    /// There is no such zone.
    #[error("there is no time zone \"{0}\": write one such as Europe/Berlin, America/New_York or UTC")]
    Zone(String),
    /// It is too short or too long.
    #[error("a maintenance window must last 1 to {MINUTES_MAX} minutes")]
    Minutes,
    /// There are too many.
    #[error("an environment may have at most {WINDOWS_MAX} maintenance windows")]
    TooMany,
}

/// A maintenance window that can be asked for its hours.
#[derive(Clone, Debug)]
pub struct Window {
    spec: WindowSpec,
    cron: Cron,
    zone: TimeZone,
}

impl Window {
    /// Reads a window, or says what is wrong with it.
    pub fn read(spec: &WindowSpec) -> Result<Self, WindowError> {
        let shown: String = spec.cron.trim().chars().take(TEXT_MAX).collect();
        let fields: Vec<&str> = shown.split_whitespace().collect();
        if fields.len() != FIELDS.len() || spec.cron.trim().chars().count() > TEXT_MAX {
            return Err(WindowError::Fields { found: fields.len(), cron: shown });
        }
        for (at, (field, range)) in FIELDS.into_iter().enumerate() {
            let mut alone = ["*"; FIELDS.len()];
            alone[at] = fields[at];
            if parse(&alone.join(" ")).is_none() {
                let text = fields[at].to_owned();
                return Err(WindowError::Field { cron: shown, text, field, range });
            }
        }
        let text = fields.join(" ");
        let cron = parse(&text).ok_or_else(|| WindowError::Never(text.clone()))?;
        if !(1..=MINUTES_MAX).contains(&spec.duration_minutes) {
            return Err(WindowError::Minutes);
        }
        let name = spec.time_zone.trim();
        let zone = TimeZone::get(name).map_err(|_| WindowError::Zone(name.chars().take(TEXT_MAX).collect()))?;
        let time_zone = zone.iana_name().unwrap_or(name).to_owned();
        let spec = WindowSpec { cron: text, duration_minutes: spec.duration_minutes, time_zone };
        let window = Self { spec, cron, zone };
        match window.next(Timestamp(0)) {
            Some(_) => Ok(window),
            None => Err(WindowError::Never(window.spec.cron)),
        }
    }

    /// As it is written down.
    pub fn spec(&self) -> &WindowSpec {
        &self.spec
    }

    /// How long it stays open.
    fn duration(&self) -> Duration {
        Duration::from_secs(u64::from(self.spec.duration_minutes) * 60)
    }

    /// The first moment after `now` at which it opens. A moment that the clocks leave out in spring comes when they go on;
    /// one that comes twice in autumn opens it once.
    fn next(&self, now: Timestamp) -> Option<Timestamp> {
        self.cron.find_next_occurrence(&self.zoned(now)?, false).ok().map(|found| moment(&found))
    }

    /// The end of the last opening at or before `now`, where that lies after `now`.
    fn open_until(&self, now: Timestamp) -> Option<Timestamp> {
        let begun = self.cron.find_previous_occurrence(&self.zoned(now)?, true).ok()?;
        Some(moment(&begun).after(self.duration())).filter(|end| *end > now)
    }

    fn zoned(&self, at: Timestamp) -> Option<Zoned> {
        let second = jiff::Timestamp::from_second(at.0.div_euclid(1_000_000)).ok()?;
        Some(second.to_zoned(self.zone.clone()))
    }
}

fn parse(text: &str) -> Option<Cron> {
    CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build().parse(text).ok()
}

fn moment(at: &Zoned) -> Timestamp {
    Timestamp(at.timestamp().as_microsecond())
}

/// Reads all windows of an environment.
pub fn read_windows(specs: &[WindowSpec]) -> Result<Vec<Window>, WindowError> {
    if specs.len() > WINDOWS_MAX {
        return Err(WindowError::TooMany);
    }
    specs.iter().map(Window::read).collect()
}

/// For which environments a freeze is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum FreezeScope {
    /// All, those that come later too.
    All,
    /// These.
    Environments(Vec<EnvironmentId>),
}

/// A time in which nothing is begun.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FreezePeriod {
    /// Where.
    pub scope: FreezeScope,
    /// From when.
    pub from: Timestamp,
    /// Until when.
    pub until: Timestamp,
    /// Why.
    pub reason: String,
}

impl FreezePeriod {
    fn is_for(&self, environments: &[EnvironmentId]) -> bool {
        match &self.scope {
            FreezeScope::All => true,
            FreezeScope::Environments(ids) => ids.iter().any(|id| environments.contains(id)),
        }
    }

    fn holds_at(&self, at: Timestamp) -> bool {
        self.from <= at && at < self.until
    }
}

/// Why a machine may not begin now, though its turn has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Closed {
    /// A freeze holds one of its environments.
    Frozen {
        /// Why.
        reason: String,
        /// The first moment at which it may begin; `None` where none was found.
        opens: Option<Timestamp>,
        /// When the freeze ends.
        until: Timestamp,
    },
    /// An environment of it has windows, and none is open.
    Outside {
        /// That environment, by name.
        environment: String,
        /// The first moment at which it may begin; `None` where none was found: its environments' windows never meet.
        opens: Option<Timestamp>,
    },
}

impl Closed {
    /// The first moment at which the machine may begin.
    pub fn opens(&self) -> Option<Timestamp> {
        match self {
            Self::Frozen { opens, .. } | Self::Outside { opens, .. } => *opens,
        }
    }
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frozen { reason, opens, until } => {
                write!(f, "upgrades are frozen until {}: {reason}", until.minutes())?;
                match opens {
                    Some(opens) if opens > until => write!(f, "; after that its window opens at {}", opens.minutes()),
                    _ => Ok(()),
                }
            }
            Self::Outside { environment, opens: Some(opens) } => {
                write!(f, "it is outside the maintenance windows of {environment}; it may begin at {}", opens.minutes())
            }
            Self::Outside { environment, opens: None } => write!(
                f,
                "it is outside the maintenance windows of {environment}, and no moment was found at which all of its \
                 environments let it begin"
            ),
        }
    }
}

/// The windows and freezes of a space.
#[derive(Clone, Debug, Default)]
pub struct Calendar {
    /// The windows of each environment that has any, with its name.
    pub windows: HashMap<EnvironmentId, (String, Vec<Window>)>,
    /// The freezes that are not over.
    pub freezes: Vec<FreezePeriod>,
}

impl Calendar {
    /// True where everything may begin at any hour.
    pub fn is_empty(&self) -> bool {
        self.windows.is_empty() && self.freezes.is_empty()
    }

    /// Why a machine of these environments may not begin at `now`; `None` where it may.
    pub fn closed(&self, environments: &[EnvironmentId], now: Timestamp) -> Option<Closed> {
        let frozen = self.freezes.iter().filter(|freeze| freeze.is_for(environments) && freeze.holds_at(now));
        if let Some(freeze) = frozen.max_by_key(|freeze| freeze.until) {
            let opens = self.opens(environments, now);
            return Some(Closed::Frozen { reason: freeze.reason.clone(), until: freeze.until, opens });
        }
        let shut = |id: &EnvironmentId| {
            let (name, windows) = self.windows.get(id)?;
            (!windows.is_empty() && open_until(windows, now).is_none()).then_some(name)
        };
        let environment = environments.iter().find_map(shut)?.clone();
        Some(Closed::Outside { environment, opens: self.opens(environments, now) })
    }

    /// The first moment from `now` on at which machines of these environments may begin.
    pub fn opens(&self, environments: &[EnvironmentId], now: Timestamp) -> Option<Timestamp> {
        let mut at = now;
        for _ in 0..SEARCH_MAX {
            let frozen = self.freezes.iter().filter(|freeze| freeze.is_for(environments) && freeze.holds_at(at));
            let mut later = frozen.map(|freeze| freeze.until).max();
            for (_, windows) in environments.iter().filter_map(|id| self.windows.get(id)) {
                if !windows.is_empty() && open_until(windows, at).is_none() {
                    // A window that never opens again: nor does the machine ever begin.
                    later = later.max(Some(windows.iter().filter_map(|window| window.next(at)).min()?));
                }
            }
            match later {
                None => return Some(at),
                Some(later) => at = later,
            }
        }
        None
    }

    /// When machines of these environments, which may begin at `now`, may no longer; `None` for no end in sight.
    pub fn closes(&self, environments: &[EnvironmentId], now: Timestamp) -> Option<Timestamp> {
        let coming = self.freezes.iter().filter(|freeze| freeze.is_for(environments) && freeze.from > now);
        let freeze = coming.map(|freeze| freeze.from).min();
        let windows = environments.iter().filter_map(|id| self.windows.get(id)).map(|(_, windows)| windows);
        let window = windows.filter(|windows| !windows.is_empty()).filter_map(|windows| closes(windows, now)).min();
        [freeze, window].into_iter().flatten().min()
    }
}

/// The latest end of the windows that are open at `now`; `None` where none is.
fn open_until(windows: &[Window], now: Timestamp) -> Option<Timestamp> {
    windows.iter().filter_map(|window| window.open_until(now)).max()
}

/// When the last of the windows that overlap from `now` on closes; `None` where they go on and on.
fn closes(windows: &[Window], now: Timestamp) -> Option<Timestamp> {
    let mut end = open_until(windows, now)?;
    for _ in 0..CHAIN_MAX {
        match open_until(windows, end) {
            Some(later) => end = later,
            None => return Some(end),
        }
    }
    None
}

#[cfg(test)]
#[path = "calendar_tests.rs"]
mod tests;
