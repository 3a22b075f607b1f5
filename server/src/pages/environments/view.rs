//! What the environments page shows: wish beside fact, with the fact's age. Built by a pure function from what was
//! loaded; used by the page and by its live stream.

use std::collections::{BTreeMap, HashMap, HashSet};

use contract::Version;

pub use super::bar::Segment;
use super::bar::segments;
use super::filter::{Filter, Sort, Standing};
use super::judged::Judged;
pub use super::offer::Offer;
use crate::clock::Timestamp;
use crate::db::rollouts::Place;
use crate::ids::{EnvironmentId, MachineId, RolloutId};
use crate::model::{Brief, Environment, Facts, Health, VersionState};
use crate::pages::view::{self as words, Status};
use crate::rollout::hindrance::Hold;
use crate::rollout::state::PhaseKind;
use crate::sequel::Sequel;

/// Rows that a panel shows at once. The others are behind its filters, and on its further pages.
pub const ROWS_MAX: usize = 100;

/// Rows that all panels together show. Those of the panels that come after are on the pages of their environments.
const ROWS_ALL_MAX: usize = 500;

/// The Tentacle packages that this portal carries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bundled {
    /// Their one version; `None` where the portal carries none.
    pub version: Option<Version>,
    /// The runtimes there is a package for.
    pub runtimes: Vec<String>,
}

impl Bundled {
    /// The version that is offered to a machine.
    pub fn offered_to(&self, machine: &Brief) -> Option<&Version> {
        let runtime = machine.runtime.as_ref()?;
        self.version.as_ref().filter(|_| self.runtimes.contains(runtime))
    }
}

/// Everything that the page is made from, as it was loaded.
#[derive(Clone, Debug, Default)]
pub struct Truth {
    /// In their order.
    pub environments: Vec<Environment>,
    /// All machines, by name.
    pub machines: Vec<Brief>,
    /// Everything that was seen of those whose rollout lost them or failed with them.
    pub facts: HashMap<MachineId, Facts>,
    /// The places of machines in open rollouts, and of those whose last rollout lost them in that.
    pub places: HashMap<MachineId, Place>,
    /// The open rollouts that start nothing new. What waits in one is free for another.
    pub paused: HashSet<RolloutId>,
    /// What could be offered.
    pub bundled: Bundled,
    /// The machines that people hold.
    pub holds: HashMap<MachineId, Hold>,
}

/// How many machines of a panel stand so. It is a filter, too.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Count {
    /// How they stand.
    pub standing: Standing,
    /// How many.
    pub number: usize,
}

/// What stands above the machines of an environment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PanelHead {
    /// The environment.
    pub id: EnvironmentId,
    /// Its name.
    pub name: String,
    /// What people wrote about it; may be empty.
    pub description: String,
    /// Nothing is upgraded in it.
    pub is_disabled: bool,
    /// All its machines.
    pub total: usize,
    /// How they stand, those that exist only.
    pub counts: Vec<Count>,
    /// What they run, widest first.
    pub segments: Vec<Segment>,
    /// What its own button would touch.
    pub offer: Offer,
    /// The reader wants no more than this of it.
    pub is_folded: bool,
    /// How many machines pass the filter.
    pub matching: usize,
    /// How many of those are shown.
    pub shown: usize,
    /// How many come before those.
    pub before: usize,
}

impl PanelHead {
    /// The number of the page that is shown, from 0.
    pub fn page(&self) -> usize {
        self.before / ROWS_MAX
    }

    /// The pages before and after the one that is shown, where there are any.
    pub fn turns(&self) -> (Option<usize>, Option<usize>) {
        let next = (self.before + self.shown < self.matching).then_some(self.page() + usize::from(self.shown > 0));
        (self.page().checked_sub(1), next)
    }
}

/// What a rollout does with a machine, or did where it lost it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Activity {
    /// The rollout.
    pub rollout: RolloutId,
    /// The phase.
    pub kind: PhaseKind,
    /// Since when.
    pub since: Timestamp,
    /// Why, in a sentence; may be empty.
    pub reason: String,
    /// What was heard of it since, in a sentence; may be empty.
    pub later: String,
    /// The same as it was found out.
    pub sequel: Option<Sequel>,
}

impl Activity {
    /// Shape, colour and word: of what was heard of the machine since, where it was lost.
    pub fn status(&self) -> Status {
        self.sequel.as_ref().map_or_else(|| self.kind.into(), Status::from)
    }

    /// The word for what its rollout called it, where something else is known since.
    pub fn was(&self) -> Option<&'static str> {
        let heard = self.sequel.as_ref().and_then(Sequel::heard_at);
        heard.map(|_| Status::from(self.kind).word)
    }

    /// True where the machine's own health and version tell everything: it was lost, and is well where it was to be.
    pub fn is_settled(&self) -> bool {
        self.sequel.as_ref().is_some_and(Sequel::is_well)
    }

    /// Everything there is to say, in sentences; may be empty.
    pub fn why(&self) -> String {
        [self.reason.as_str(), self.later.as_str()].join(" ").trim().to_owned()
    }
}

/// One machine in one environment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Row {
    /// The machine.
    pub machine: MachineId,
    /// The environment whose panel it stands in.
    pub environment: EnvironmentId,
    /// Its name.
    pub name: String,
    /// All environments that it belongs to.
    pub places: Vec<EnvironmentId>,
    /// Its roles.
    pub roles: Vec<String>,
    /// It is not checked or upgraded.
    pub is_disabled: bool,
    /// How it is.
    pub health: Health,
    /// Why it is so; empty if there is nothing to say.
    pub health_reason: String,
    /// What it ran when it was last seen.
    pub version: Option<String>,
    /// What it is to run, where that differs from what it runs.
    pub wish: Option<String>,
    /// Its version beside the bundled one.
    pub version_state: VersionState,
    /// When it last answered.
    pub seen: Option<Timestamp>,
    /// What a rollout does with it, or did where it lost it.
    pub activity: Option<Activity>,
    /// Who holds it, until when and why, in a sentence; empty where nobody does.
    pub hold: String,
    /// True where its own button is shown.
    pub can_upgrade: bool,
}

impl Row {
    /// The id of its element.
    pub fn element(&self) -> String {
        format!("machine-{}-in-{}", self.machine.0, self.environment.0)
    }

    /// Its version beside the bundled one, in a word.
    pub fn version_word(&self) -> &'static str {
        match (&self.version, self.version_state) {
            // It is known; what is not known is anything to compare it with.
            (Some(_), VersionState::Unknown) => "nothing bundled for it",
            (_, state) => words::version_word(state),
        }
    }

    /// Shape, colour and word.
    pub fn status(&self) -> Status {
        if self.is_disabled { Standing::Disabled.status() } else { self.health.into() }
    }
}

/// An environment with its machines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Panel {
    /// What stands above them.
    pub head: PanelHead,
    /// Those that are shown.
    pub rows: Vec<Row>,
}

/// The whole page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvironmentsView {
    /// The version that is offered.
    pub bundled: Option<String>,
    /// What "Upgrade all Tentacles" would touch.
    pub offer: Offer,
    /// All machines.
    pub machines: usize,
    /// Every role that a machine has, in alphabetical order.
    pub roles: Vec<String>,
    /// How many machines pass the filter, each counted once.
    pub matching: usize,
    /// One for each environment that is not filtered out.
    pub panels: Vec<Panel>,
    /// What the reader chose to see.
    pub filter: Filter,
}

/// One machine as a row, whatever environment it is looked at in: it may be upgraded if any of them is enabled.
pub fn row_of(machine: &Brief, truth: &Truth) -> Row {
    let own = |e: &&Environment| machine.environments.contains(&e.id);
    let is_enabled = truth.environments.iter().filter(own).any(|environment| !environment.is_disabled);
    let first = machine.environments.first().copied().unwrap_or(EnvironmentId(0));
    Judged::new(machine, truth).row(first, is_enabled, &truth.bundled)
}

/// The page, from what was loaded and what the reader chose to see.
pub fn environments_view(truth: &Truth, filter: &Filter) -> EnvironmentsView {
    let judged: Vec<Judged<'_>> = truth.machines.iter().map(|machine| Judged::new(machine, truth)).collect();
    let mut members: HashMap<EnvironmentId, Vec<&Judged<'_>>> = HashMap::new();
    for machine in &judged {
        for environment in &machine.brief.environments {
            members.entry(*environment).or_default().push(machine);
        }
    }
    let enabled = |id: &EnvironmentId| truth.environments.iter().any(|e| e.id == *id && !e.is_disabled);
    let mut offer = Offer::default();
    for machine in &judged {
        if !machine.brief.is_disabled && machine.brief.environments.iter().any(enabled) {
            offer.add(machine);
        }
    }
    let wanted = truth.environments.iter().filter(|e| filter.environment.is_none_or(|id| id == e.id));
    let none = Vec::new();
    let mut room = ROWS_ALL_MAX;
    let mut panels = Vec::new();
    for environment in wanted {
        let panel = panel(environment, members.get(&environment.id).unwrap_or(&none), truth, filter, room);
        room -= panel.rows.len();
        panels.push(panel);
    }
    EnvironmentsView {
        bundled: truth.bundled.version.as_ref().map(Version::to_string),
        offer,
        machines: judged.len(),
        roles: roles(truth),
        matching: chosen(&among(&judged, filter), filter).len(),
        panels,
        filter: filter.clone(),
    }
}

/// Every role, once.
fn roles(truth: &Truth) -> Vec<String> {
    let all: HashSet<&String> = truth.machines.iter().flat_map(|machine| &machine.roles).collect();
    let by_key: BTreeMap<String, &String> = all.into_iter().map(|role| (role.to_lowercase(), role)).collect();
    by_key.into_values().cloned().collect()
}

/// The machines that pass a filter, in its order.
fn chosen<'a>(members: &[&'a Judged<'a>], filter: &Filter) -> Vec<&'a Judged<'a>> {
    let passes = |m: &&&Judged<'_>| filter.passes(m.brief, m.standing(), m.version_state);
    let mut found: Vec<&Judged<'_>> = members.iter().filter(passes).copied().collect();
    // They come by name, and stay so where they are equal.
    match filter.sort {
        Sort::Name => {}
        Sort::Health => found.sort_by_key(|m| Standing::ALL.iter().position(|standing| *standing == m.standing())),
        Sort::Version => found.sort_by(|a, b| a.brief.version.cmp(&b.brief.version)),
        Sort::Seen => found.sort_by_key(|m| m.brief.seen),
    }
    found
}

/// The machines of the environment that is shown alone, or all.
fn among<'a>(judged: &'a [Judged<'a>], filter: &Filter) -> Vec<&'a Judged<'a>> {
    let in_it = |m: &&Judged<'_>| filter.environment.is_none_or(|id| m.brief.environments.contains(&id));
    judged.iter().filter(in_it).collect()
}

/// The machines that pass a filter, each once, by name.
pub fn matching(truth: &Truth, filter: &Filter) -> Vec<MachineId> {
    let judged: Vec<Judged<'_>> = truth.machines.iter().map(|machine| Judged::new(machine, truth)).collect();
    chosen(&among(&judged, filter), filter).iter().map(|machine| machine.brief.id).collect()
}

/// `room` is how many rows there may be at most.
fn panel(environment: &Environment, members: &[&Judged<'_>], truth: &Truth, filter: &Filter, room: usize) -> Panel {
    let mut offer = Offer::default();
    for machine in members.iter().filter(|m| !environment.is_disabled && !m.brief.is_disabled) {
        offer.add(machine);
    }
    let counts = Standing::ALL.into_iter().map(|standing| Count {
        standing,
        number: members.iter().filter(|machine| machine.standing() == standing).count(),
    });
    let matching = chosen(members, filter);
    // An address from before may lead beyond the end.
    let last = matching.len().saturating_sub(1) / ROWS_MAX;
    let page = if filter.environment.is_some() { filter.page.min(last) } else { 0 };
    let before = page * ROWS_MAX;
    let is_folded = filter.folds(&environment.id);
    let shown = if is_folded { 0 } else { (matching.len() - before).min(ROWS_MAX).min(room) };
    Panel {
        head: PanelHead {
            id: environment.id,
            name: environment.name.to_string(),
            description: environment.description.clone(),
            is_disabled: environment.is_disabled,
            total: members.len(),
            counts: counts.filter(|count| count.number > 0).collect(),
            segments: segments(members, truth.bundled.version.as_ref()),
            offer,
            is_folded,
            matching: matching.len(),
            shown,
            before,
        },
        rows: matching
            .iter()
            .skip(before)
            .take(shown)
            .map(|m| m.row(environment.id, !environment.is_disabled, &truth.bundled))
            .collect(),
    }
}

#[cfg(test)]
#[path = "view_tests.rs"]
mod tests;
