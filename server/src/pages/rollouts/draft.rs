//! The fields of a new rollout as they were typed, and what they ask for. Pure.

use crate::ids::{EnvironmentId, MachineId};
use crate::model::{Environment, Machine};
use crate::pages::form::{Fields, moment};
use crate::pages::view::count;
use crate::rollout::absent::{LateArrivals, Offline};
use crate::rollout::create::{RolloutRequest, Selection};
use crate::rollout::strategy::{Amount, Approval, Members, Strategy, Wave};

/// Which machines are meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// Everything that is outdated.
    #[default]
    All,
    /// Those of some environments.
    Environments,
    /// Those that are named.
    Machines,
}

/// What a wave takes, as it is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Takes {
    /// The next so many.
    #[default]
    Next,
    /// Those of an environment.
    Environment,
    /// Those with a role.
    Role,
    /// All that are left.
    Rest,
}

impl Takes {
    /// All of them, in the order of the choice.
    pub const ALL: [Self; 4] = [Self::Next, Self::Environment, Self::Role, Self::Rest];

    /// The word in the form.
    pub fn word(self) -> &'static str {
        match self {
            Self::Next => "next",
            Self::Environment => "environment",
            Self::Role => "role",
            Self::Rest => "rest",
        }
    }

    /// What the reader chooses.
    pub fn choice(self) -> &'static str {
        match self {
            Self::Next => "the next",
            Self::Environment => "the environment",
            Self::Role => "the role",
            Self::Rest => "the rest",
        }
    }
}

/// What becomes of machines that cannot be reached, as it is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Absent {
    /// They are waited for.
    #[default]
    Wait,
    /// They are left as they are.
    Leave,
}

/// A wave as it was typed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WaveDraft {
    /// Its name; may be empty.
    pub name: String,
    /// What it takes.
    pub takes: Takes,
    /// How many, or which.
    pub value: String,
    /// How long it soaks, in minutes; empty for the portal's own default.
    pub soak: String,
    /// Failures in it that stop the rollout; empty for none of its own.
    pub budget: String,
    /// A person must release it.
    pub needs_person: bool,
}

/// What stands in the form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Draft {
    /// Which machines are meant.
    pub scope: Scope,
    /// Their environments.
    pub environments: Vec<EnvironmentId>,
    /// Their names or ids.
    pub machines: String,
    /// Only those with one of these roles.
    pub roles: String,
    /// The version; empty for the bundled one.
    pub target: String,
    /// The waves in their order.
    pub waves: Vec<WaveDraft>,
    /// Machines in progress at once.
    pub max_in_flight: String,
    /// Failures that stop it.
    pub failure_budget: String,
    /// Share of a role at once, in percent.
    pub max_percent_of_role: String,
    /// Machines that are sent the package at once.
    pub max_transfers: String,
    /// When it begins, in UTC.
    pub start_at: String,
    /// What becomes of machines that cannot be reached.
    pub offline: Absent,
    /// How long they are waited for, in hours; empty for the default.
    pub wait_hours: String,
    /// What becomes of machines that come later.
    pub late_arrivals: LateArrivals,
    /// Why it begins at any hour; empty where it keeps to the maintenance windows.
    pub ignore_windows: String,
}

impl From<&Strategy> for Draft {
    fn from(strategy: &Strategy) -> Self {
        let text = |number: Option<u32>| number.map(|number| number.to_string()).unwrap_or_default();
        let wave = |wave: &Wave| {
            let (takes, value) = match &wave.members {
                Members::Next(amount) => (Takes::Next, amount.to_string()),
                Members::Environment(id) => (Takes::Environment, id.to_string()),
                Members::Role(role) => (Takes::Role, role.clone()),
                Members::Rest => (Takes::Rest, String::new()),
            };
            WaveDraft {
                name: wave.name.clone(),
                takes,
                value,
                soak: wave.soak_seconds.map(|seconds| seconds.div_ceil(60).to_string()).unwrap_or_default(),
                budget: wave.failure_budget.map(|budget| budget.to_string()).unwrap_or_default(),
                needs_person: wave.approval == Approval::Person,
            }
        };
        Self {
            waves: strategy.waves.iter().map(wave).collect(),
            max_in_flight: strategy.max_in_flight.to_string(),
            failure_budget: strategy.failure_budget.to_string(),
            max_percent_of_role: text(strategy.max_percent_of_role),
            max_transfers: text(strategy.max_transfers),
            offline: match strategy.offline {
                Offline::WaitHours(_) => Absent::Wait,
                Offline::Leave => Absent::Leave,
            },
            wait_hours: match strategy.offline {
                Offline::WaitHours(hours) => hours.to_string(),
                Offline::Leave => String::new(),
            },
            late_arrivals: strategy.late_arrivals,
            ignore_windows: strategy.ignore_windows.clone().unwrap_or_default(),
            ..Self::default()
        }
    }
}

impl From<&Fields> for Draft {
    fn from(fields: &Fields) -> Self {
        let text = |name: &str| fields.get(name).trim().to_owned();
        let column = |name: &'static str| fields.all(name).map(|value| value.trim().to_owned()).collect::<Vec<_>>();
        let (names, values, soaks) = (column("wave_name"), column("wave_value"), column("wave_soak"));
        let (budgets, persons) = (column("wave_budget"), column("wave_person"));
        let at = |column: &[String], place: usize| column.get(place).cloned().unwrap_or_default();
        let wave = |(place, takes): (usize, &str)| WaveDraft {
            name: at(&names, place),
            takes: Takes::ALL.into_iter().find(|choice| choice.word() == takes).unwrap_or_default(),
            value: at(&values, place),
            soak: at(&soaks, place),
            budget: at(&budgets, place),
            needs_person: persons.contains(&place.to_string()),
        };
        Self {
            scope: match fields.get("scope") {
                "environments" => Scope::Environments,
                "machines" => Scope::Machines,
                _ => Scope::All,
            },
            environments: fields.parsed("environment").collect(),
            machines: text("machines"),
            roles: fields.words("roles").join(", "),
            target: text("target"),
            waves: fields.all("wave_takes").enumerate().map(wave).collect(),
            max_in_flight: text("max_in_flight"),
            failure_budget: text("failure_budget"),
            max_percent_of_role: text("max_percent_of_role"),
            max_transfers: text("max_transfers"),
            start_at: text("start_at"),
            offline: if fields.get("offline") == "leave" { Absent::Leave } else { Absent::Wait },
            wait_hours: text("wait_hours"),
            late_arrivals: match fields.get("late_arrivals") {
                "leave" => LateArrivals::Leave,
                _ => LateArrivals::Join,
            },
            ignore_windows: text("ignore_windows"),
        }
    }
}

/// Names that a refusal lists at most.
const NAMES_MAX: usize = 5;

impl Draft {
    /// What it asks for, or why it cannot be.
    pub fn read(&self, environments: &[Environment], machines: &[Machine]) -> Result<RolloutRequest, String> {
        let selection = match self.scope {
            Scope::All => Selection::All,
            Scope::Environments if self.environments.is_empty() => {
                return Err("choose at least one environment".to_owned());
            }
            Scope::Environments => Selection::Environments(self.environments.clone()),
            Scope::Machines => Selection::Machines(self.named(machines)?),
        };
        let target = match self.target.as_str() {
            "" => None,
            text => Some(text.parse().map_err(|error| format!("\"{text}\" is no version: {error}"))?),
        };
        let number = |what: &str, text: &str| match text {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| format!("{what} must be a whole number, not \"{text}\"")),
        };
        let default = Strategy::default();
        let strategy = Strategy {
            waves: self.waves(environments)?,
            max_in_flight: amount(&self.max_in_flight)?.unwrap_or(default.max_in_flight),
            failure_budget: amount(&self.failure_budget)?.unwrap_or(default.failure_budget),
            max_percent_of_role: number("the share of a role", self.max_percent_of_role.trim_end_matches([' ', '%']))?,
            max_transfers: number("the number of transfers", &self.max_transfers)?,
            offline: match self.offline {
                Absent::Wait => number("the hours that a machine is waited for", &self.wait_hours)?
                    .map_or_else(Offline::default, Offline::WaitHours),
                Absent::Leave => Offline::Leave,
            },
            late_arrivals: self.late_arrivals,
            ignore_windows: Some(self.ignore_windows.clone()).filter(|why| !why.is_empty()),
        };
        strategy.check().map_err(|error| error.to_string())?;
        Ok(RolloutRequest {
            target,
            roles: self.roles.split(',').map(str::trim).filter(|role| !role.is_empty()).map(str::to_owned).collect(),
            strategy: Some(strategy),
            start_at: moment(&self.start_at).map_err(|error| error.message)?,
            ..RolloutRequest::of(selection)
        })
    }

    fn named(&self, machines: &[Machine]) -> Result<Vec<MachineId>, String> {
        let words = self.machines.split([',', '\n']).map(str::trim).filter(|word| !word.is_empty());
        let (mut found, mut unknown) = (Vec::new(), Vec::new());
        for word in words {
            let is_it = |machine: &&Machine| machine.name.eq_ignore_ascii_case(word) || machine.id.to_string() == word;
            match machines.iter().find(is_it) {
                Some(machine) => found.push(machine.id),
                None => unknown.push(format!("\"{word}\"")),
            }
        }
        if !unknown.is_empty() {
            let more = unknown.len().saturating_sub(NAMES_MAX);
            unknown.truncate(NAMES_MAX);
            let more = if more > 0 { format!(" and {}", count(more, "other name")) } else { String::new() };
            return Err(format!("no machine is called {}{more}", unknown.join(", ")));
        }
        if found.is_empty() { Err("name at least one machine".to_owned()) } else { Ok(found) }
    }

    fn waves(&self, environments: &[Environment]) -> Result<Vec<Wave>, String> {
        // A row in which nothing was chosen is no wave.
        let is_used = |wave: &&WaveDraft| wave.takes == Takes::Rest || !wave.value.is_empty();
        let read = |wave: &WaveDraft| {
            let members = match wave.takes {
                Takes::Next => Members::Next(wave.value.parse().map_err(|error| format!("{error}"))?),
                Takes::Role => Members::Role(wave.value.clone()),
                Takes::Rest => Members::Rest,
                Takes::Environment => {
                    let is_it = |environment: &&Environment| {
                        environment.name.as_str().eq_ignore_ascii_case(&wave.value)
                            || environment.id.to_string() == wave.value
                    };
                    let found = environments.iter().find(is_it);
                    let found = found.ok_or_else(|| format!("there is no environment \"{}\"", wave.value))?;
                    Members::Environment(found.id)
                }
            };
            let soak = match wave.soak.as_str() {
                "" => None,
                text => {
                    let minutes: u32 =
                        text.parse().map_err(|_| format!("a soak is a whole number of minutes, not \"{text}\""))?;
                    Some(u64::from(minutes) * 60)
                }
            };
            let name = match (&wave.takes, wave.name.as_str()) {
                // An id says nothing to people.
                (Takes::Environment, "") => wave.value.clone(),
                (_, name) => name.to_owned(),
            };
            Ok(Wave {
                name,
                soak_seconds: soak,
                approval: if wave.needs_person { Approval::Person } else { Approval::None },
                failure_budget: amount(&wave.budget)?,
                ..Wave::of(members)
            })
        };
        self.waves.iter().filter(is_used).map(read).collect()
    }
}

fn amount(text: &str) -> Result<Option<Amount>, String> {
    match text {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|error: crate::rollout::strategy::StrategyError| error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use contract::Thumbprint;

    use super::*;
    use crate::clock::Timestamp;
    use crate::ids::SpaceId;
    use crate::model::Address;

    fn fields(pairs: &[(&str, &str)]) -> Fields {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<Vec<_>>().into()
    }

    fn read(pairs: &[(&str, &str)]) -> Result<RolloutRequest, String> {
        let environment = Environment {
            id: EnvironmentId(3),
            space: SpaceId::DEFAULT,
            name: "Staging".parse().unwrap(),
            slug: String::new(),
            description: String::new(),
            sort_order: 1,
            is_disabled: false,
        };
        let machine = Machine {
            id: MachineId(9),
            space: SpaceId::DEFAULT,
            name: "web-9".into(),
            slug: String::new(),
            address: Address { host: "h".into(), port: 1 },
            thumbprint: Thumbprint([0; 32]),
            is_disabled: false,
            environments: vec![EnvironmentId(3)],
            roles: Vec::new(),
            created_at: Timestamp(0),
        };
        Draft::from(&fields(pairs)).read(&[environment], &[machine])
    }

    #[test]
    fn the_default_strategy_comes_out_as_it_went_in() {
        let draft = Draft::from(&Strategy::default());
        assert_eq!(draft.read(&[], &[]).unwrap().strategy, Some(Strategy::default()));
    }

    #[test]
    fn every_field_is_read() {
        let request = read(&[
            ("scope", "machines"),
            ("machines", "WEB-9\r\nMachines-9,"),
            ("roles", "web, db"),
            ("target", "2.0.0"),
            ("wave_takes", "next"),
            ("wave_name", "Canary"),
            ("wave_value", "1"),
            ("wave_soak", "5"),
            ("wave_budget", ""),
            ("wave_takes", "next"),
            ("wave_name", ""),
            ("wave_value", ""),
            ("wave_soak", ""),
            ("wave_budget", ""),
            ("wave_takes", "environment"),
            ("wave_name", ""),
            ("wave_value", "staging"),
            ("wave_soak", ""),
            ("wave_budget", "10%"),
            ("wave_person", "2"),
            ("max_in_flight", "20%"),
            ("failure_budget", "2"),
            ("max_percent_of_role", "25 %"),
            ("max_transfers", "4"),
            ("start_at", "2026-12-01T22:00"),
            ("offline", "wait"),
            ("wait_hours", "48"),
            ("late_arrivals", "leave"),
            ("ignore_windows", " a hole in the old version "),
        ])
        .unwrap();
        assert_eq!(request.selection, Selection::Machines(vec![MachineId(9), MachineId(9)]));
        assert_eq!(request.roles, ["web", "db"]);
        assert_eq!(request.start_at, Timestamp::from_rfc3339("2026-12-01T22:00:00Z"));
        let canary =
            Wave { name: "Canary".into(), soak_seconds: Some(300), ..Wave::of(Members::Next(Amount::Number(1))) };
        let staging = Wave {
            name: "staging".into(),
            approval: Approval::Person,
            failure_budget: Some(Amount::Percent(10)),
            ..Wave::of(Members::Environment(EnvironmentId(3)))
        };
        let strategy = Strategy {
            waves: vec![canary, staging],
            max_in_flight: Amount::Percent(20),
            failure_budget: Amount::Number(2),
            max_percent_of_role: Some(25),
            max_transfers: Some(4),
            offline: Offline::WaitHours(48),
            late_arrivals: LateArrivals::Leave,
            ignore_windows: Some("a hole in the old version".into()),
        };
        assert_eq!(Draft::from(&strategy).read(&[], &[]).unwrap_err(), "there is no environment \"Environments-3\"");
        assert_eq!(request.strategy, Some(strategy));
    }

    #[test]
    fn machines_that_are_not_there_are_waited_for_or_left() {
        let offline = |pairs: &[(&str, &str)]| read(pairs).unwrap().strategy.unwrap().offline;
        assert_eq!(offline(&[]), Offline::default());
        assert_eq!(offline(&[("offline", "wait"), ("wait_hours", "")]), Offline::default());
        assert_eq!(offline(&[("offline", "leave"), ("wait_hours", "168")]), Offline::Leave);
    }

    #[test]
    fn what_cannot_be_is_refused_with_a_sentence() {
        let wave = |takes, value| vec![("wave_takes", takes), ("wave_value", value)];
        for (pairs, words) in [
            (vec![("scope", "environments")], "choose at least one environment"),
            (vec![("scope", "machines")], "name at least one machine"),
            (vec![("scope", "machines"), ("machines", "a,b,c,d,e,f,g")], "\"e\" and 2 other names"),
            (vec![("target", "two")], "\"two\" is no version"),
            (vec![("max_in_flight", "many")], "write 3 or"),
            (vec![("max_transfers", "x")], "the number of transfers must be a whole number"),
            (vec![("start_at", "soon")], "is no moment"),
            (vec![("wait_hours", "a day")], "the hours that a machine is waited for must be a whole number"),
            (vec![("wait_hours", "0")], "waited for must be between 1 and 8760"),
            (wave("environment", "Nowhere"), "there is no environment \"Nowhere\""),
            (wave("next", "half"), "\"half\" is no number"),
        ] {
            let refused = read(&pairs).unwrap_err();
            assert!(refused.contains(words), "{refused}");
        }
    }
}
