//! What the environments page shows: wish beside fact, with the fact's age. Built by a pure function from what was
//! loaded; used by the page and by its live stream.

use std::collections::{HashMap, HashSet};

use contract::Version;

use super::filter::{Filter, Standing};
use crate::clock::Timestamp;
use crate::ids::{EnvironmentId, MachineId, RolloutId};
use crate::model::{Contact, Environment, Health, Observed, VersionState};
use crate::pages::view::{Status, thousands};
use crate::rollout::state::{PhaseKind, RolloutMachine};

/// Rows that a panel shows at once. The others are behind its filters and "Show all".
pub const ROWS_MAX: usize = 200;

/// Parts into which the bar of versions is divided.
const BAR_WIDTH: usize = 1000;

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
    pub fn offered_to(&self, observed: &Observed) -> Option<&Version> {
        let report = observed.facts.as_ref()?.report.as_ref()?;
        self.version.as_ref().filter(|_| self.runtimes.contains(&report.runtime))
    }
}

/// Everything that the page is made from, as it was loaded.
#[derive(Clone, Debug, Default)]
pub struct Truth {
    /// In their order.
    pub environments: Vec<Environment>,
    /// All machines, by name.
    pub observed: Vec<Observed>,
    /// The machines that an open rollout has.
    pub rollouts: HashMap<MachineId, (RolloutId, RolloutMachine)>,
    /// The open rollouts that start nothing new. What waits in one is free for another.
    pub paused: HashSet<RolloutId>,
    /// What could be offered.
    pub bundled: Bundled,
}

/// How many machines an upgrade would touch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Offer {
    /// Outdated, enabled, reachable, and no open rollout is at them or will be.
    pub ready: usize,
    /// The same, but unreachable: they follow when they reappear.
    pub unreachable: usize,
    /// An open rollout is at them, or will be.
    pub under_way: usize,
    /// Enabled machines whose version is not known.
    pub unknown: usize,
    /// All enabled machines.
    pub enabled: usize,
}

impl Offer {
    fn add(&mut self, machine: &Judged<'_>) {
        self.enabled += 1;
        match machine.version_state {
            _ if machine.is_under_way() => self.under_way += 1,
            VersionState::UpgradeAvailable if machine.health == Health::Unavailable => self.unreachable += 1,
            VersionState::UpgradeAvailable => self.ready += 1,
            VersionState::Unknown => self.unknown += 1,
            VersionState::UpToDate | VersionState::NewerThanBundled => {}
        }
    }

    /// What stands in the button's place where there is nothing to press; empty where there is nothing to say.
    pub fn calm(&self) -> &'static str {
        match self {
            Self { ready: 1.., .. } | Self { enabled: 0, .. } => "",
            Self { under_way: 1.., .. } => "An upgrade is under way",
            Self { unreachable: 1.., .. } => "Everything within reach is up to date",
            Self { unknown, enabled, .. } if unknown == enabled => "No version is known yet",
            Self { unknown: 1.., .. } => "Everything known is up to date",
            Self { .. } => "Everything is up to date",
        }
    }

    /// What happens to those that are not counted in the button; empty if there are none.
    pub fn aside(&self) -> String {
        let mut parts = Vec::new();
        if self.unreachable > 0 && self.ready > 0 {
            parts.push(format!("{} unreachable will follow when they reappear", thousands(self.unreachable)));
        } else if self.unreachable > 0 {
            parts.push(format!("{} unreachable run an older version", thousands(self.unreachable)));
        }
        if self.unknown > 0 && self.ready > 0 {
            parts.push(format!("{} never seen will follow if they are outdated", thousands(self.unknown)));
        }
        if self.under_way > 0 && self.ready > 0 {
            parts.push(format!("{} in a rollout: what still waits there moves over", thousands(self.under_way)));
        }
        parts.join(", ")
    }
}

/// How many machines of a panel stand so. It is a filter, too.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Count {
    /// How they stand.
    pub standing: Standing,
    /// How many.
    pub number: usize,
}

/// The machines of a panel that run one version: a segment of its bar, and a filter.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Segment {
    /// `None` where no version is known.
    pub version: Option<String>,
    /// How many machines.
    pub number: usize,
    /// Beside the bundled version.
    pub state: VersionState,
    /// Where it begins, in thousandths of the bar.
    pub from: usize,
    /// How wide it is, in thousandths of the bar.
    pub width: usize,
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
    /// How many machines pass the filter.
    pub matching: usize,
    /// How many of those are shown.
    pub shown: usize,
}

/// What an open rollout does with a machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Activity {
    /// The rollout.
    pub rollout: RolloutId,
    /// The phase.
    pub kind: PhaseKind,
    /// Since when.
    pub since: Timestamp,
    /// Why; may be empty.
    pub reason: String,
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
    /// What an open rollout does with it.
    pub activity: Option<Activity>,
    /// True where its own button is shown.
    pub can_upgrade: bool,
}

impl Row {
    /// The id of its element.
    pub fn element(&self) -> String {
        format!("machine-{}-in-{}", self.machine.0, self.environment.0)
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
    /// One for each environment that is not filtered out.
    pub panels: Vec<Panel>,
    /// What the reader chose to see.
    pub filter: Filter,
}

/// A machine and what was found out about it once, however many panels it stands in.
struct Judged<'a> {
    observed: &'a Observed,
    health: Health,
    version: Option<&'a Version>,
    version_state: VersionState,
    rollout: Option<&'a (RolloutId, RolloutMachine)>,
    is_paused: bool,
}

impl<'a> Judged<'a> {
    fn new(observed: &'a Observed, truth: &'a Truth) -> Self {
        let version = observed.facts.as_ref().and_then(|facts| facts.report.as_ref()).map(|report| &report.version);
        let rollout = truth.rollouts.get(&observed.machine.id);
        Self {
            observed,
            health: Health::of(observed.facts.as_ref()),
            version,
            version_state: VersionState::of(version, truth.bundled.offered_to(observed)),
            rollout,
            is_paused: rollout.is_some_and(|(id, _)| truth.paused.contains(id)),
        }
    }

    /// True where an open rollout is at it or will be.
    fn is_under_way(&self) -> bool {
        self.rollout.is_some_and(|(_, machine)| match machine.phase.kind() {
            PhaseKind::Waiting => !self.is_paused,
            kind => kind.is_in_flight(),
        })
    }

    fn standing(&self) -> Standing {
        if self.observed.machine.is_disabled { Standing::Disabled } else { self.health.into() }
    }

    fn row(&self, environment: EnvironmentId, is_enabled: bool, bundled: &Bundled) -> Row {
        let machine = &self.observed.machine;
        let facts = self.observed.facts.as_ref();
        let is_old = self.version_state == VersionState::UpgradeAvailable;
        let wish = bundled.offered_to(self.observed).filter(|_| is_old);
        let may = is_old && !machine.is_disabled && is_enabled && self.health != Health::Unavailable;
        Row {
            machine: machine.id,
            environment,
            name: machine.name.clone(),
            roles: machine.roles.clone(),
            is_disabled: machine.is_disabled,
            health: self.health,
            health_reason: health_reason(self.observed),
            version: self.version.map(Version::to_string),
            wish: wish.map(Version::to_string),
            version_state: self.version_state,
            seen: facts.and_then(|facts| facts.report.as_ref()).map(|report| report.at),
            activity: self.rollout.map(|(rollout, place)| Activity {
                rollout: *rollout,
                kind: place.phase.kind(),
                since: place.since,
                reason: place.phase.reason(),
            }),
            can_upgrade: may && !self.is_under_way(),
        }
    }
}

/// Why a machine's health is as it is, in a sentence; empty where the word says it all.
pub fn health_reason(observed: &Observed) -> String {
    match observed.facts.as_ref().map(|facts| (&facts.contact, &facts.report)) {
        Some((Contact::Silent { reason } | Contact::Refused { reason }, _)) => reason.clone(),
        Some((Contact::Answered, Some(report))) => report.problems.join("; "),
        Some((Contact::Answered, None)) | None => String::new(),
    }
}

/// One machine as a row, whatever environment it is looked at in: it may be upgraded if any of them is enabled.
pub fn row_of(observed: &Observed, truth: &Truth) -> Row {
    let own = |e: &&Environment| observed.machine.environments.contains(&e.id);
    let is_enabled = truth.environments.iter().filter(own).any(|environment| !environment.is_disabled);
    let first = observed.machine.environments.first().copied().unwrap_or(EnvironmentId(0));
    Judged::new(observed, truth).row(first, is_enabled, &truth.bundled)
}

/// The page, from what was loaded and what the reader chose to see.
pub fn environments_view(truth: &Truth, filter: &Filter) -> EnvironmentsView {
    let judged: Vec<Judged<'_>> = truth.observed.iter().map(|observed| Judged::new(observed, truth)).collect();
    let mut members: HashMap<EnvironmentId, Vec<&Judged<'_>>> = HashMap::new();
    for machine in &judged {
        for environment in &machine.observed.machine.environments {
            members.entry(*environment).or_default().push(machine);
        }
    }
    let enabled = |id: &EnvironmentId| truth.environments.iter().any(|e| e.id == *id && !e.is_disabled);
    let mut offer = Offer::default();
    for machine in &judged {
        if !machine.observed.machine.is_disabled && machine.observed.machine.environments.iter().any(enabled) {
            offer.add(machine);
        }
    }
    let wanted = truth.environments.iter().filter(|e| filter.environment.is_none_or(|id| id == e.id));
    let none = Vec::new();
    let panels = wanted.map(|e| panel(e, members.get(&e.id).unwrap_or(&none), truth, filter)).collect();
    EnvironmentsView {
        bundled: truth.bundled.version.as_ref().map(Version::to_string),
        offer,
        machines: judged.len(),
        panels,
        filter: filter.clone(),
    }
}

fn panel(environment: &Environment, members: &[&Judged<'_>], truth: &Truth, filter: &Filter) -> Panel {
    let mut offer = Offer::default();
    for machine in members.iter().filter(|m| !environment.is_disabled && !m.observed.machine.is_disabled) {
        offer.add(machine);
    }
    let counts = Standing::ALL.into_iter().map(|standing| Count {
        standing,
        number: members.iter().filter(|machine| machine.standing() == standing).count(),
    });
    let passes = |m: &&&Judged<'_>| filter.passes(&m.observed.machine, m.standing(), m.version);
    let matching: Vec<_> = members.iter().filter(passes).collect();
    let shown = if filter.all { matching.len() } else { matching.len().min(ROWS_MAX) };
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
            matching: matching.len(),
            shown,
        },
        rows: matching
            .iter()
            .take(shown)
            .map(|m| m.row(environment.id, !environment.is_disabled, &truth.bundled))
            .collect(),
    }
}

fn segments(members: &[&Judged<'_>], bundled: Option<&Version>) -> Vec<Segment> {
    let mut numbers: HashMap<Option<&Version>, usize> = HashMap::new();
    for machine in members {
        *numbers.entry(machine.version).or_default() += 1;
    }
    let mut numbers: Vec<_> = numbers.into_iter().collect();
    numbers.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| b.0.cmp(&a.0)));
    let mut before = 0;
    let place = |count: usize| count * BAR_WIDTH / members.len().max(1);
    let segment = |(version, number): (Option<&Version>, usize)| {
        let from = place(before);
        before += number;
        let version_state = VersionState::of(version, bundled);
        Segment {
            version: version.map(Version::to_string),
            number,
            state: version_state,
            from,
            width: place(before) - from,
        }
    };
    numbers.into_iter().map(segment).collect()
}

#[cfg(test)]
mod tests {
    use contract::Thumbprint;

    use super::*;
    use crate::ids::SpaceId;
    use crate::model::{Address, Facts, Machine, Report};
    use crate::rollout::state::{Phase, WaitReason};

    const NOW: Timestamp = Timestamp(1_795_428_000_000_000);

    fn environment(id: i64, is_disabled: bool) -> Environment {
        Environment {
            id: EnvironmentId(id),
            space: SpaceId::DEFAULT,
            name: format!("Environment {id}").parse().unwrap(),
            slug: String::new(),
            description: String::new(),
            sort_order: id,
            is_disabled,
        }
    }

    fn report(version: Version) -> Report {
        Report {
            at: NOW,
            instance_seen_at: NOW,
            version,
            instance_id: String::new(),
            started_at: NOW,
            runtime: "linux-x64".into(),
            os: String::new(),
            hostname: String::new(),
            supervisor_contract: Some(1),
            installed: Vec::new(),
            last_words: None,
            free_disk_bytes: 0,
            running_work: Vec::new(),
            generation: 0,
            problems: Vec::new(),
        }
    }

    fn observed(id: i64, environments: &[i64], version: Option<Version>, contact: Contact) -> Observed {
        let machine = Machine {
            id: MachineId(id),
            space: SpaceId::DEFAULT,
            name: format!("web-{id}"),
            slug: String::new(),
            address: Address { host: "h".into(), port: 1 },
            thumbprint: Thumbprint([0; 32]),
            is_disabled: false,
            environments: environments.iter().copied().map(EnvironmentId).collect(),
            roles: vec!["web".into()],
            created_at: NOW,
        };
        let facts = version.map(|v| Facts { tried_at: NOW, contact, contact_since: NOW, report: Some(report(v)) });
        Observed { machine, facts }
    }

    fn v(patch: u32) -> Version {
        Version::release(2026, 4, patch)
    }

    fn answered(id: i64, environments: &[i64], version: Version) -> Observed {
        observed(id, environments, Some(version), Contact::Answered)
    }

    fn truth(environments: Vec<Environment>, observed: Vec<Observed>) -> Truth {
        let bundled = Bundled { version: Some(v(1)), runtimes: vec!["linux-x64".into()] };
        Truth { environments, observed, rollouts: HashMap::new(), paused: HashSet::new(), bundled }
    }

    fn view(truth: &Truth) -> EnvironmentsView {
        environments_view(truth, &Filter::default())
    }

    #[test]
    fn the_button_counts_what_it_would_touch_and_each_machine_once() {
        let mut disabled = answered(4, &[1], v(0));
        disabled.machine.is_disabled = true;
        let silent = Contact::Silent { reason: "no route".into() };
        let truth = truth(
            vec![environment(1, false), environment(2, false), environment(3, true)],
            vec![
                answered(1, &[1, 2], v(0)),
                answered(2, &[1], v(1)),
                answered(3, &[3], v(0)),
                disabled,
                observed(5, &[2], Some(v(0)), silent),
                observed(6, &[2], None, Contact::Answered),
                answered(7, &[2], v(2)),
            ],
        );
        let view = view(&truth);
        assert_eq!(view.offer, Offer { ready: 1, unreachable: 1, under_way: 0, unknown: 1, enabled: 5 });
        let aside = "1 unreachable will follow when they reappear, 1 never seen will follow if they are outdated";
        assert_eq!(view.offer.aside(), aside);
        let ready: Vec<usize> = view.panels.iter().map(|panel| panel.head.offer.ready).collect();
        assert_eq!(
            ready,
            [1, 1, 0],
            "a machine in two environments counts in both of them, and nothing in a disabled one"
        );
        let offered: Vec<_> = view.panels.iter().flat_map(|p| &p.rows).filter(|row| row.can_upgrade).collect();
        assert_eq!(offered.iter().map(|row| row.element()).collect::<Vec<_>>(), ["machine-1-in-1", "machine-1-in-2"]);
    }

    #[test]
    fn a_machine_in_an_open_rollout_is_not_offered_until_that_is_done_with_it() {
        let mut truth = truth(vec![environment(1, false)], vec![answered(1, &[1], v(0))]);
        let place = |phase| RolloutMachine {
            machine: MachineId(1),
            name: "web-1".into(),
            position: 1,
            phase,
            since: NOW,
            deadline: None,
            attempt: 1,
            from: None,
            tried_at: None,
            was_away: false,
            revision: 0,
        };
        truth.rollouts.insert(MachineId(1), (RolloutId(7), place(Phase::Uploading)));
        let busy = view(&truth);
        assert_eq!((busy.offer.ready, busy.offer.under_way, busy.offer.calm()), (0, 1, "An upgrade is under way"));
        assert_eq!(busy.panels[0].rows[0].activity.as_ref().unwrap().kind, PhaseKind::Uploading);
        let turn = Phase::Waiting(WaitReason::Turn);
        truth.rollouts.insert(MachineId(1), (RolloutId(7), place(turn)));
        assert_eq!(view(&truth).offer.under_way, 1, "its turn will come");
        truth.paused.insert(RolloutId(7));
        assert_eq!(view(&truth).offer.ready, 1, "in a paused rollout its turn never comes");
        truth.rollouts.insert(MachineId(1), (RolloutId(7), place(Phase::Failed { reason: "disk full".into() })));
        assert!(view(&truth).panels[0].rows[0].can_upgrade, "it may be tried again");
    }

    #[test]
    fn what_there_is_to_say_is_never_more_than_is_known() {
        let calm = |observed| view(&truth(vec![environment(1, false)], observed)).offer.calm();
        assert_eq!(calm(vec![]), "");
        assert_eq!(calm(vec![answered(1, &[1], v(1)), answered(2, &[1], v(9))]), "Everything is up to date");
        let never = || observed(2, &[1], None, Contact::Answered);
        assert_eq!(calm(vec![answered(1, &[1], v(1)), never()]), "Everything known is up to date");
        assert_eq!(calm(vec![never()]), "No version is known yet");
    }

    #[test]
    fn versions_are_segments_widest_first_that_fill_the_bar() {
        let machines = [v(0), v(1), v(1), v(0), v(1), Version::release(1, 0, 0), v(2)];
        let mut machines: Vec<Observed> =
            machines.into_iter().zip(1..).map(|(version, id)| answered(id, &[1], version)).collect();
        machines.push(observed(8, &[1], None, Contact::Answered));
        let view = view(&truth(vec![environment(1, false)], machines));
        let segments = &view.panels[0].head.segments;
        let shown: Vec<_> = segments.iter().map(|s| (s.version.as_deref(), s.number, s.state)).collect();
        use VersionState as S;
        assert_eq!(
            shown,
            [
                (Some("2026.4.1"), 3, S::UpToDate),
                (Some("2026.4.0"), 2, S::UpgradeAvailable),
                (Some("2026.4.2"), 1, S::NewerThanBundled),
                (Some("1.0.0"), 1, S::UpgradeAvailable),
                (None, 1, S::Unknown),
            ]
        );
        let ends: Vec<usize> = segments.iter().map(|s| s.from + s.width).collect();
        assert_eq!((segments[0].from, ends.last()), (0, Some(&BAR_WIDTH)));
        assert!(segments.windows(2).all(|pair| pair[0].from + pair[0].width == pair[1].from));
    }

    #[test]
    fn a_runtime_without_a_package_is_offered_nothing() {
        let mut machine = answered(1, &[1], v(0));
        machine.facts.as_mut().unwrap().report.as_mut().unwrap().runtime = "win-x64".into();
        let view = view(&truth(vec![environment(1, false)], vec![machine]));
        let row = &view.panels[0].rows[0];
        assert_eq!((row.can_upgrade, &row.wish, row.version_state), (false, &None, VersionState::Unknown));
    }

    #[test]
    fn a_filter_hides_rows_but_never_changes_totals() {
        let silent = Contact::Silent { reason: "no route".into() };
        let machines = vec![answered(1, &[1], v(0)), observed(2, &[1], Some(v(1)), silent), answered(3, &[2], v(0))];
        let truth = truth(vec![environment(1, false), environment(2, false)], machines);
        let fields = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            Filter::read(&pairs.collect::<Vec<_>>().into())
        };
        let rows = |filter: &Filter| {
            let view = environments_view(&truth, filter);
            assert_eq!((view.offer.ready, view.machines), (2, 3));
            view.panels.iter().flat_map(|panel| &panel.rows).map(|row| row.machine.0).collect::<Vec<_>>()
        };
        assert_eq!(rows(&fields(&[("state", "unreachable")])), [2]);
        assert_eq!(rows(&fields(&[("version", "2026.4.0")])), [1, 3]);
        assert_eq!(rows(&fields(&[("environment", "Environments-2")])), [3]);
        assert_eq!(rows(&fields(&[("q", "WEB-3")])), [3]);
        assert_eq!(rows(&fields(&[("q", "web"), ("version", "unknown")])), Vec::<i64>::new());
        let filter = fields(&[("version", "2026.4.0"), ("q", "a&b=c d"), ("environment", "Environments-2")]);
        assert_eq!(filter.query(), "environment=Environments-2&version=2026.4.0&q=a%26b%3Dc%20d");
    }
}
