//! What the reader of the environments page chose to see. It stands in the page's address, so that it can be kept and
//! shared. Pure.

use std::fmt::Write as _;

use contract::Version;

use crate::ids::EnvironmentId;
use crate::model::{Brief, Health};
use crate::pages::form::Fields;
use crate::pages::view::{Mark, Status};

/// Longest text that is searched for, in characters. What is longer is cut.
const SEARCH_MAX: usize = 100;

/// How a machine stands, as the counts above a table tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// See [`Health::Unhealthy`].
    Unhealthy,
    /// See [`Health::Unavailable`].
    Unreachable,
    /// See [`Health::Unknown`].
    Unknown,
    /// See [`Health::Healthy`].
    Healthy,
    /// It is not checked.
    Disabled,
}

impl From<Health> for Standing {
    fn from(health: Health) -> Self {
        match health {
            Health::Healthy => Self::Healthy,
            Health::Unhealthy => Self::Unhealthy,
            Health::Unavailable => Self::Unreachable,
            Health::Unknown => Self::Unknown,
        }
    }
}

impl Standing {
    /// All of them, what needs a person first.
    pub const ALL: [Self; 5] = [Self::Unhealthy, Self::Unreachable, Self::Unknown, Self::Healthy, Self::Disabled];

    /// Shape, colour and word.
    pub fn status(self) -> Status {
        match self {
            Self::Unhealthy => Health::Unhealthy.into(),
            Self::Unreachable => Health::Unavailable.into(),
            Self::Unknown => Health::Unknown.into(),
            Self::Healthy => Health::Healthy.into(),
            Self::Disabled => Status { mark: Mark::Quiet, word: "disabled" },
        }
    }
}

/// Which machines are shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Filter {
    /// Of this environment only.
    pub environment: Option<EnvironmentId>,
    /// That stand so only.
    pub standing: Option<Standing>,
    /// That run this version only; `Some(None)` means those of which no version is known.
    pub version: Option<Option<Version>>,
    /// Whose name or role holds this, without regard to case.
    pub search: String,
    /// However many there are.
    pub all: bool,
}

/// The word in the address for "no version is known".
const NO_VERSION: &str = "unknown";

impl Filter {
    /// Reads it from an address. What cannot be read is left out.
    pub fn read(fields: &Fields) -> Self {
        let version = match fields.get("version") {
            NO_VERSION => Some(None),
            text => text.parse().ok().map(Some),
        };
        Self {
            environment: fields.get("environment").parse().ok(),
            standing: Standing::ALL.into_iter().find(|standing| standing.status().word == fields.get("state")),
            version,
            search: fields.get("q").trim().chars().take(SEARCH_MAX).collect(),
            all: fields.get("all") == "true",
        }
    }

    /// True where it lets every machine pass.
    pub fn is_empty(&self) -> bool {
        self.environment.is_none() && self.standing.is_none() && self.version.is_none() && self.search.is_empty()
    }

    /// True where a machine is shown.
    pub fn passes(&self, machine: &Brief, standing: Standing) -> bool {
        let search = self.search.to_lowercase();
        let holds = |text: &String| text.to_lowercase().contains(&search);
        self.standing.is_none_or(|wanted| wanted == standing)
            && self.version.as_ref().is_none_or(|wanted| *wanted == machine.version)
            && (search.is_empty() || holds(&machine.name) || machine.roles.iter().any(holds))
    }

    /// As it stands in an address, without the question mark; empty where nothing was chosen.
    pub fn query(&self) -> String {
        let mut query = String::new();
        let mut add = |name: &str, value: &str| {
            let joint = if query.is_empty() { "" } else { "&" };
            let Ok(value) = askama::filters::urlencode_strict(value);
            // Writing to a string never fails.
            let _ = write!(query, "{joint}{name}={value}");
        };
        if let Some(id) = self.environment {
            add("environment", &id.to_string());
        }
        if let Some(standing) = self.standing {
            add("state", standing.status().word);
        }
        if let Some(version) = &self.version {
            add("version", &version.as_ref().map_or_else(|| NO_VERSION.to_owned(), Version::to_string));
        }
        if !self.search.is_empty() {
            add("q", &self.search);
        }
        if self.all {
            add("all", "true");
        }
        query
    }

    fn href(&self) -> String {
        format!("/environments?{}", self.query())
    }

    /// The address that shows an environment's machines that stand so, or, where it shows them already, all.
    pub fn toggle_standing(&self, environment: &EnvironmentId, standing: &Standing) -> String {
        let is_on = self.shows_standing(environment, standing);
        let environment = (!is_on).then_some(*environment);
        Self { environment, standing: (!is_on).then_some(*standing), all: false, ..self.clone() }.href()
    }

    /// True where just those are shown.
    pub fn shows_standing(&self, environment: &EnvironmentId, standing: &Standing) -> bool {
        self.standing == Some(*standing) && self.environment == Some(*environment)
    }

    /// The address that shows an environment's machines of one version, or, where it shows them already, all.
    pub fn toggle_version(&self, environment: &EnvironmentId, version: &Option<String>) -> String {
        let is_on = self.shows_version(environment, version);
        let wanted = version.as_ref().map(|text| text.parse().ok()).unwrap_or_default();
        let environment = (!is_on).then_some(*environment);
        Self { environment, version: (!is_on).then_some(wanted), all: false, ..self.clone() }.href()
    }

    /// True where just those are shown.
    pub fn shows_version(&self, environment: &EnvironmentId, version: &Option<String>) -> bool {
        let wanted = self.version.as_ref().map(|wanted| wanted.as_ref().map(Version::to_string));
        wanted.as_ref() == Some(version) && self.environment == Some(*environment)
    }

    /// The address that shows every machine of an environment that passes.
    pub fn show_all(&self, environment: &EnvironmentId) -> String {
        Self { environment: Some(*environment), all: true, ..self.clone() }.href()
    }
}
