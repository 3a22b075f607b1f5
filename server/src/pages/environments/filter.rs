//! What the reader of the environments page chose to see. It stands in the page's address, so that it can be kept and
//! shared. Pure.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use contract::Version;

use crate::ids::EnvironmentId;
use crate::model::{Brief, Health, VersionState};
use crate::pages::form::Fields;
use crate::pages::view::{Mark, Status};

/// Longest text that is searched for, in characters. What is longer is cut.
const SEARCH_MAX: usize = 100;

/// Most environments that an address folds. What it names beyond them stays unfolded.
const FOLDED_MAX: usize = 200;

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

/// In which order machines are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Sort {
    /// By name.
    #[default]
    Name,
    /// What needs a person first.
    Health,
    /// The oldest version first.
    Version,
    /// What was not seen for longest first.
    Seen,
}

impl Sort {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Name, Self::Health, Self::Version, Self::Seen];

    /// The word in the address.
    pub fn word(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Health => "health",
            Self::Version => "version",
            Self::Seen => "seen",
        }
    }

    /// What a person chooses.
    pub fn label(self) -> &'static str {
        match self {
            Self::Name => "by name",
            Self::Health => "unwell first",
            Self::Version => "oldest version first",
            Self::Seen => "longest unseen first",
        }
    }
}

/// Versions beside the bundled one, as they can be asked for, each with the word in the address.
pub const FITS: [(VersionState, &str); 4] = [
    (VersionState::UpgradeAvailable, "outdated"),
    (VersionState::UpToDate, "current"),
    (VersionState::NewerThanBundled, "newer"),
    (VersionState::Unknown, "unknown"),
];

/// Which machines are shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Filter {
    /// Of this environment only.
    pub environment: Option<EnvironmentId>,
    /// That stand so only.
    pub standing: Option<Standing>,
    /// That run this version only; `Some(None)` means those of which no version is known.
    pub version: Option<Option<Version>>,
    /// Whose version stands so beside the bundled one.
    pub fit: Option<VersionState>,
    /// That have this role; empty for every one.
    pub role: String,
    /// Whose name or role holds this, without regard to case.
    pub search: String,
    /// In this order.
    pub sort: Sort,
    /// Which part of them, from 0. Only an environment that is shown alone has more than the first.
    pub page: usize,
    /// The environments of which only the totals are shown.
    pub folded: BTreeSet<EnvironmentId>,
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
            fit: FITS.into_iter().find(|(_, word)| *word == fields.get("fit")).map(|(fit, _)| fit),
            role: short(fields.get("role")),
            search: short(fields.get("q")),
            sort: Sort::ALL.into_iter().find(|sort| sort.word() == fields.get("sort")).unwrap_or_default(),
            page: fields.get("number").parse().unwrap_or(0),
            folded: fields.get("folded").split(',').take(FOLDED_MAX).filter_map(|id| id.parse().ok()).collect(),
        }
    }

    /// True where it lets every machine pass.
    pub fn is_empty(&self) -> bool {
        let plain = Self { sort: self.sort, page: self.page, folded: self.folded.clone(), ..Self::default() };
        *self == plain
    }

    /// True where a machine is shown.
    pub fn passes(&self, machine: &Brief, standing: Standing, fit: VersionState) -> bool {
        let search = self.search.to_lowercase();
        let holds = |text: &String| text.to_lowercase().contains(&search);
        self.standing.is_none_or(|wanted| wanted == standing)
            && self.version.as_ref().is_none_or(|wanted| *wanted == machine.version)
            && self.fit.is_none_or(|wanted| wanted == fit)
            && (self.role.is_empty() || machine.roles.iter().any(|role| self.is_role(role)))
            && (search.is_empty() || holds(&machine.name) || machine.roles.iter().any(holds))
    }

    /// True where just the machines with this role are shown.
    pub fn is_role(&self, role: &str) -> bool {
        role.to_lowercase() == self.role.to_lowercase()
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
        if let Some(version) = self.version_word() {
            add("version", &version);
        }
        if let Some((_, word)) = FITS.iter().find(|(fit, _)| self.fit == Some(*fit)) {
            add("fit", word);
        }
        if !self.role.is_empty() {
            add("role", &self.role);
        }
        if !self.search.is_empty() {
            add("q", &self.search);
        }
        if self.sort != Sort::default() {
            add("sort", self.sort.word());
        }
        if self.page > 0 {
            add("number", &self.page.to_string());
        }
        if !self.folded.is_empty() {
            add("folded", &self.folded_word());
        }
        query
    }

    /// The version that is asked for, as it stands in the address.
    pub fn version_word(&self) -> Option<String> {
        self.version.as_ref().map(|version| version.as_ref().map_or_else(|| NO_VERSION.to_owned(), Version::to_string))
    }

    /// The folded environments, as they stand in the address.
    pub fn folded_word(&self) -> String {
        self.folded.iter().map(EnvironmentId::to_string).collect::<Vec<_>>().join(",")
    }

    fn href(&self) -> String {
        format!("/environments?{}", self.query())
    }

    /// The address that shows every machine, with the same environments folded.
    pub fn everything(&self) -> String {
        Self { folded: self.folded.clone(), ..Self::default() }.href()
    }

    /// The address that folds an environment, or unfolds it.
    pub fn toggle_fold(&self, environment: &EnvironmentId) -> String {
        let mut next = self.clone();
        if !next.folded.remove(environment) {
            next.folded.insert(*environment);
        }
        next.href()
    }

    /// True where only the totals of an environment are shown.
    pub fn folds(&self, environment: &EnvironmentId) -> bool {
        self.folded.contains(environment)
    }

    /// The address that shows an environment's machines that stand so, or, where it shows them already, all.
    pub fn toggle_standing(&self, environment: &EnvironmentId, standing: &Standing) -> String {
        let is_on = self.shows_standing(environment, standing);
        let environment = (!is_on).then_some(*environment);
        Self { environment, standing: (!is_on).then_some(*standing), page: 0, ..self.clone() }.href()
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
        Self { environment, version: (!is_on).then_some(wanted), page: 0, ..self.clone() }.href()
    }

    /// True where just those are shown.
    pub fn shows_version(&self, environment: &EnvironmentId, version: &Option<String>) -> bool {
        let wanted = self.version.as_ref().map(|wanted| wanted.as_ref().map(Version::to_string));
        wanted.as_ref() == Some(version) && self.environment == Some(*environment)
    }

    /// The address that shows a part of an environment's machines that pass.
    pub fn turn_to(&self, environment: &EnvironmentId, page: &usize) -> String {
        Self { environment: Some(*environment), page: *page, ..self.clone() }.href()
    }
}

/// A text of the address, cut to what is searched for at most.
fn short(text: &str) -> String {
    text.trim().chars().take(SEARCH_MAX).collect()
}
