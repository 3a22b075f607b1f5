//! How a rollout goes about its machines: the waves, the limits and the brake. Pure: read, checked, and cut into waves.
//!
//! What is written down with a rollout is the strategy as it was asked for, and beside it what it came to for these very
//! machines, so that nothing changes under way.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::absent::{LateArrivals, Offline, WAIT_HOURS_MAX};
use crate::ids::EnvironmentId;

/// Waves that a strategy may have. More are refused.
pub const WAVES_MAX: usize = 20;

/// Most machines in flight at once that can be asked for. More would only queue at the portal's own network.
pub const MAX_IN_FLIGHT_MAX: u32 = 500;

/// Machines in flight at once where nothing is said.
const MAX_IN_FLIGHT_DEFAULT: u32 = 10;

/// Failures that stop a rollout where nothing is said.
const FAILURE_BUDGET_DEFAULT: u32 = 1;

/// Longest soak that can be asked for, in seconds: a fortnight. Somebody who wants more waits for a person.
const SOAK_MAX: u64 = 14 * 24 * 3600;

/// Longest reason to ignore the maintenance windows, in characters.
const REASON_MAX: usize = 500;

/// Longest name of a wave, in characters.
const NAME_MAX: usize = 60;

/// A number of machines, or a share of them: `3` or `"10%"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Amount {
    /// So many.
    Number(u32),
    /// So many of a hundred, rounded up.
    Percent(u32),
}

impl Amount {
    /// How many that is of `total`; at least one.
    pub fn of(self, total: usize) -> u32 {
        match self {
            Self::Number(number) => number.max(1),
            Self::Percent(percent) => {
                let total = u64::try_from(total).unwrap_or(u64::MAX);
                let share = total.saturating_mul(u64::from(percent)).div_ceil(100);
                u32::try_from(share).unwrap_or(u32::MAX).max(1)
            }
        }
    }
}

impl Amount {
    /// How many of `total` that is at most: a share is rounded down. At least one.
    pub fn of_at_most(self, total: usize) -> usize {
        match self {
            Self::Number(number) => number.max(1) as usize,
            Self::Percent(percent) => (total.saturating_mul(percent as usize) / 100).max(1),
        }
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl std::str::FromStr for Amount {
    type Err = StrategyError;

    fn from_str(text: &str) -> Result<Self, StrategyError> {
        let wrong = || StrategyError::Amount(text.chars().take(NAME_MAX).collect());
        let text = text.trim();
        match text.strip_suffix('%') {
            Some(percent) => percent.trim().parse().map(Self::Percent).map_err(|_| wrong()),
            None => text.parse().map(Self::Number).map_err(|_| wrong()),
        }
    }
}

impl JsonSchema for Amount {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Amount".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A number of machines, or a share of them: 3 or \"10%\".",
            "anyOf": [{ "type": "integer", "minimum": 0 }, { "type": "string" }],
        })
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(number) => serializer.serialize_u32(*number),
            Self::Percent(_) => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl serde::de::Visitor<'_> for Visitor {
            type Value = Amount;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of machines or a share like \"10%\"")
            }

            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Amount, E> {
                u32::try_from(number).map(Amount::Number).map_err(E::custom)
            }

            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Amount, E> {
                u32::try_from(number).map(Amount::Number).map_err(E::custom)
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Amount, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

/// Which machines a wave takes, of those that no wave before it took.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Members {
    /// The next so many; a share is one of all machines of the rollout.
    Next(Amount),
    /// Those of an environment.
    Environment(EnvironmentId),
    /// Those with a role.
    Role(String),
    /// All that are left.
    Rest,
}

/// What must happen before a wave begins, besides that the one before it is done and has soaked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Approval {
    /// Nothing.
    #[default]
    None,
    /// A person must release it.
    Person,
}

impl Approval {
    /// The word in the database and on the wire.
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Person => "Person",
        }
    }

    /// Reads [`Approval::word`].
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::None, Self::Person].into_iter().find(|approval| approval.word() == word)
    }
}

/// A part of a rollout that must do well before the next one begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct Wave {
    /// What it is called; empty for a name made of its members.
    #[serde(default)]
    pub name: String,
    /// Its machines.
    pub members: Members,
    /// How long the next wave waits after the last machine of this one was proven, in seconds; `None` for the portal's
    /// own default.
    #[serde(default)]
    pub soak_seconds: Option<u64>,
    /// Who must agree before it begins.
    #[serde(default)]
    pub approval: Approval,
    /// Failures in it that stop the rollout; `None` where only those of the whole rollout are counted.
    #[serde(default)]
    pub failure_budget: Option<Amount>,
}

impl Wave {
    /// One without a name or conditions of its own.
    pub fn of(members: Members) -> Self {
        Self { name: String::new(), members, soak_seconds: None, approval: Approval::None, failure_budget: None }
    }

    /// Its name, or one made of its members.
    pub fn title(&self) -> String {
        match &self.members {
            _ if !self.name.trim().is_empty() => self.name.trim().to_owned(),
            Members::Next(Amount::Number(1)) => "1 machine".to_owned(),
            Members::Next(Amount::Number(number)) => format!("{number} machines"),
            Members::Next(Amount::Percent(percent)) => format!("{percent} %"),
            Members::Environment(id) => id.to_string(),
            Members::Role(role) => role.clone(),
            Members::Rest => "the rest".to_owned(),
        }
    }
}

/// How a rollout goes about its machines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", default)]
pub struct Strategy {
    /// The waves in their order. Machines that no wave takes are a last wave of their own.
    pub waves: Vec<Wave>,
    /// Machines in flight at once, as soon as one is proven.
    pub max_in_flight: Amount,
    /// Failures that stop it.
    pub failure_budget: Amount,
    /// Machines of one role in one environment that may be in flight at once, as a share of all that have it there;
    /// never less than one. `None` for no such limit.
    pub max_percent_of_role: Option<u32>,
    /// Machines that may be sent the package at once; `None` for as many as are in flight.
    pub max_transfers: Option<u32>,
    /// What becomes of machines that cannot be reached.
    pub offline: Offline,
    /// What becomes of machines that come into its environments while it is under way.
    pub late_arrivals: LateArrivals,
    /// Why it begins machines at any hour, whatever maintenance windows and freezes say; `None` where it keeps to them.
    pub ignore_windows: Option<String>,
}

impl Default for Strategy {
    /// What a careful operator would choose: one, a tenth, half, and then the rest.
    fn default() -> Self {
        let wave = |members| Wave::of(members);
        Self {
            waves: vec![
                Wave { name: "Canary".to_owned(), ..wave(Members::Next(Amount::Number(1))) },
                wave(Members::Next(Amount::Percent(10))),
                wave(Members::Next(Amount::Percent(50))),
                wave(Members::Rest),
            ],
            max_in_flight: Amount::Number(MAX_IN_FLIGHT_DEFAULT),
            failure_budget: Amount::Number(FAILURE_BUDGET_DEFAULT),
            max_percent_of_role: None,
            max_transfers: None,
            offline: Offline::default(),
            late_arrivals: LateArrivals::default(),
            ignore_windows: None,
        }
    }
}

impl Strategy {
    /// One wave of all machines.
    pub fn plain(max_in_flight: u32, failure_budget: u32) -> Self {
        Self {
            waves: Vec::new(),
            max_in_flight: Amount::Number(max_in_flight),
            failure_budget: Amount::Number(failure_budget),
            ..Self::default()
        }
    }
}

/// Why a strategy is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StrategyError {
    /// It is no number and no share.
    #[error("\"{0}\" is no number of machines and no share of them: write 3 or \"10%\"")]
    Amount(String),
    /// A number is out of its range.
    #[error("{what} must be between 1 and {max}")]
    OutOfRange {
        /// What the number is.
        what: &'static str,
        /// The largest one allowed.
        max: u64,
    },
    /// Too many waves.
    #[error("a strategy may have at most {WAVES_MAX} waves")]
    TooManyWaves,
    /// Nothing is left for a wave.
    #[error("wave {number} comes after one that takes all that is left, so it would have no machine")]
    AfterTheRest {
        /// The wave, from 1.
        number: usize,
    },
    /// Nobody would know why.
    #[error("who ignores the maintenance windows must say why, in at most {REASON_MAX} characters")]
    NoReason,
    /// A name is too long.
    #[error("a wave's name or role must have at most {NAME_MAX} characters, and a role at least one")]
    Name,
}

impl Strategy {
    /// Refuses what makes no sense, with a sentence.
    pub fn check(&self) -> Result<(), StrategyError> {
        let amount = |what, amount: Amount, max| match amount {
            Amount::Number(number) if number == 0 || u64::from(number) > max => {
                Err(StrategyError::OutOfRange { what, max })
            }
            Amount::Percent(percent) if !(1..=100).contains(&percent) => {
                Err(StrategyError::OutOfRange { what: "a share in percent", max: 100 })
            }
            Amount::Number(_) | Amount::Percent(_) => Ok(()),
        };
        amount("the number of machines in flight", self.max_in_flight, MAX_IN_FLIGHT_MAX.into())?;
        amount("the failure budget", self.failure_budget, i32::MAX.unsigned_abs().into())?;
        if let Some(percent) = self.max_percent_of_role {
            amount("the share of a role", Amount::Percent(percent), 100)?;
        }
        if let Some(transfers) = self.max_transfers {
            amount("the number of transfers", Amount::Number(transfers), MAX_IN_FLIGHT_MAX.into())?;
        }
        if let Offline::WaitHours(hours) = self.offline
            && !(1..=WAIT_HOURS_MAX).contains(&hours)
        {
            let what = "the hours that a machine is waited for";
            return Err(StrategyError::OutOfRange { what, max: WAIT_HOURS_MAX.into() });
        }
        if self.ignore_windows.as_ref().is_some_and(|why| why.trim().is_empty() || why.chars().count() > REASON_MAX) {
            return Err(StrategyError::NoReason);
        }
        if self.waves.len() > WAVES_MAX {
            return Err(StrategyError::TooManyWaves);
        }
        for (number, wave) in (1..).zip(&self.waves) {
            if number < self.waves.len() && wave.members == Members::Rest {
                return Err(StrategyError::AfterTheRest { number: number + 1 });
            }
            match &wave.members {
                Members::Next(next) => amount("the size of a wave", *next, i32::MAX.unsigned_abs().into())?,
                Members::Role(role) if role.trim().is_empty() || role.chars().count() > NAME_MAX => {
                    return Err(StrategyError::Name);
                }
                Members::Role(_) | Members::Environment(_) | Members::Rest => {}
            }
            if wave.name.chars().count() > NAME_MAX {
                return Err(StrategyError::Name);
            }
            if wave.soak_seconds.is_some_and(|soak| soak > SOAK_MAX) {
                return Err(StrategyError::OutOfRange { what: "the soak of a wave in seconds", max: SOAK_MAX });
            }
            if let Some(budget) = wave.failure_budget {
                amount("the failure budget of a wave", budget, i32::MAX.unsigned_abs().into())?;
            }
        }
        Ok(())
    }

    /// Cuts machines into waves, in the order they are given. Waves that get none are left out.
    pub fn cut(&self, machines: &[Candidate], soak: Duration) -> Cut {
        let mut waves: Vec<CutWave> = Vec::new();
        let mut wave_of = vec![usize::MAX; machines.len()];
        let rest = Wave::of(Members::Rest);
        for wave in self.waves.iter().chain([&rest]) {
            let most = match wave.members {
                Members::Next(amount) => amount.of(machines.len()) as usize,
                Members::Environment(_) | Members::Role(_) | Members::Rest => usize::MAX,
            };
            let fits = |machine: &Candidate| match &wave.members {
                Members::Next(_) | Members::Rest => true,
                Members::Environment(id) => machine.environments.contains(id),
                Members::Role(role) => machine.roles.iter().any(|has| has.eq_ignore_ascii_case(role.trim())),
            };
            let free = (0..machines.len()).filter(|at| wave_of[*at] == usize::MAX && fits(&machines[*at]));
            let taken: Vec<usize> = free.take(most).collect();
            if taken.is_empty() {
                continue;
            }
            for at in &taken {
                wave_of[*at] = waves.len();
            }
            waves.push(CutWave {
                title: wave.title(),
                size: taken.len(),
                soak: wave.soak_seconds.map_or(soak, Duration::from_secs),
                approval: wave.approval,
                failure_budget: wave.failure_budget.map(|budget| budget.of(taken.len())),
            });
        }
        Cut { waves, wave_of }
    }
}

/// What a strategy looks at in a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Candidate {
    /// Its environments.
    pub environments: Vec<EnvironmentId>,
    /// Its roles.
    pub roles: Vec<String>,
}

/// A wave as it came out for the machines of a rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CutWave {
    /// What it is called.
    pub title: String,
    /// How many machines it has.
    pub size: usize,
    /// How long the next wave waits after the last machine of this one was proven.
    pub soak: Duration,
    /// Who must agree before it begins.
    pub approval: Approval,
    /// Failures in it that stop the rollout.
    pub failure_budget: Option<u32>,
}

/// The waves of a rollout, and for each machine the place of its wave among them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The waves that have machines.
    pub waves: Vec<CutWave>,
    /// For each machine, in the order given.
    pub wave_of: Vec<usize>,
}

/// How many machines there are of each role in each environment.
pub fn role_sizes<'a>(machines: impl Iterator<Item = &'a Candidate>) -> HashMap<(EnvironmentId, String), usize> {
    let mut sizes = HashMap::new();
    for machine in machines {
        for environment in &machine.environments {
            for role in &machine.roles {
                *sizes.entry((*environment, role.to_lowercase())).or_default() += 1;
            }
        }
    }
    sizes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machines(count: usize) -> Vec<Candidate> {
        vec![Candidate::default(); count]
    }

    fn sizes(strategy: &Strategy, machines: &[Candidate]) -> Vec<usize> {
        let cut = strategy.cut(machines, Duration::ZERO);
        assert!(cut.wave_of.iter().all(|wave| *wave < cut.waves.len()), "every machine has a wave");
        assert_eq!(cut.waves.iter().map(|wave| wave.size).sum::<usize>(), machines.len());
        cut.waves.iter().map(|wave| wave.size).collect()
    }

    #[test]
    fn the_default_begins_with_one_then_a_tenth_then_half_then_the_rest() {
        let strategy = Strategy::default();
        assert_eq!(sizes(&strategy, &machines(3_000)), [1, 300, 1_500, 1_199]);
        assert_eq!(sizes(&strategy, &machines(6)), [1, 1, 3, 1]);
        assert_eq!(sizes(&strategy, &machines(2)), [1, 1]);
        assert_eq!(sizes(&strategy, &machines(1)), [1]);
        assert_eq!(strategy.check(), Ok(()));
    }

    #[test]
    fn waves_by_role_and_environment_take_theirs_and_what_is_left_comes_last() {
        let machine = |environment, role: &str| Candidate {
            environments: vec![EnvironmentId(environment)],
            roles: vec![role.to_owned()],
        };
        let machines = [machine(1, "web"), machine(2, "db"), machine(2, "WEB"), machine(3, "db")];
        let waves = vec![Wave::of(Members::Role("Web".to_owned())), Wave::of(Members::Environment(EnvironmentId(2)))];
        let cut = Strategy { waves, ..Strategy::default() }.cut(&machines, Duration::from_secs(5));
        assert_eq!(cut.wave_of, [0, 1, 0, 2]);
        assert_eq!(cut.waves[2].title, "the rest");
        assert_eq!(cut.waves[0].soak, Duration::from_secs(5));
    }

    #[test]
    fn amounts_are_numbers_or_shares_and_never_nothing() {
        for (text, amount, of_45) in [("3", Amount::Number(3), 3), (" 10 %", Amount::Percent(10), 5)] {
            assert_eq!(text.parse(), Ok(amount));
            assert_eq!((amount.of(45), amount.of(0)), (of_45, amount.of(0).max(1)));
        }
        assert!("ten".parse::<Amount>().unwrap_err().to_string().contains("write 3 or"));
        let json = serde_json::to_string(&[Amount::Number(3), Amount::Percent(10)]).unwrap();
        assert_eq!(json, r#"[3,"10%"]"#);
        assert_eq!(serde_json::from_str::<Vec<Amount>>(&json).unwrap(), [Amount::Number(3), Amount::Percent(10)]);
    }

    #[test]
    fn a_strategy_is_read_as_it_is_written_and_what_is_missing_is_the_default() {
        let strategy = Strategy {
            max_percent_of_role: Some(25),
            offline: Offline::Leave,
            late_arrivals: LateArrivals::Leave,
            ignore_windows: Some("a hole in the old version".into()),
            ..Strategy::default()
        };
        let text = serde_json::to_string(&strategy).unwrap();
        assert_eq!(serde_json::from_str::<Strategy>(&text).unwrap(), strategy, "{text}");
        assert_eq!(serde_json::from_str::<Strategy>("{}").unwrap(), Strategy::default());
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_a_sentence() {
        let default = Strategy::default;
        let wave = |members| vec![Wave::of(members)];
        let rest = vec![Wave::of(Members::Rest), Wave::of(Members::Rest)];
        for (strategy, words) in [
            (Strategy { max_in_flight: Amount::Number(0), ..default() }, "in flight must be between 1 and 500"),
            (Strategy { failure_budget: Amount::Percent(101), ..default() }, "between 1 and 100"),
            (Strategy { waves: rest, ..default() }, "wave 2 comes after"),
            (Strategy { waves: wave(Members::Role(" ".into())), ..default() }, "a role at least one"),
            (Strategy { max_transfers: Some(0), ..default() }, "transfers must be between"),
            (Strategy { offline: Offline::WaitHours(0), ..default() }, "waited for must be between 1 and 8760"),
            (Strategy { ignore_windows: Some(" ".into()), ..default() }, "must say why"),
        ] {
            let error = strategy.check().unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
