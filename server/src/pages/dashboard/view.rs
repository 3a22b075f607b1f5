//! What the dashboard shows. Built by a pure function from what was loaded; used by the page and by its live stream.

use std::collections::BTreeMap;

use askama::Template;
use contract::Version;

use crate::clock::Timestamp;
use crate::db::overview::{Failed, Group, RecentRollout, Stuck};
use crate::db::samples::Sample;
use crate::ids::MachineId;
use crate::model::{Health, VersionState};
use crate::pages::environments::filter::Filter;
use crate::pages::environments::view::{Bundled, Segment};
use crate::pages::live::WholeView;
use crate::pages::sentence;
use crate::pages::tasks::view::Head;
use crate::pages::view::{self as words, Mark, Status, count, thousands};
use crate::rollout::state::{PhaseKind, RolloutState};

/// Cloned machines that are named; further ones are counted.
const NAMED_MAX: usize = 5;

/// Parts into which bars are divided.
const BAR_WIDTH: usize = 1000;

/// Width of a day in the chart, in its own units.
pub const DAY_WIDTH: usize = 10;

/// Height of the chart of days, in its own units.
pub const CHART_HEIGHT: usize = 80;

/// Everything that the page is made from, as it was loaded.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// How many environments there are.
    pub environments: usize,
    /// The machines by how they stand.
    pub groups: Vec<Group>,
    /// The machines that answer as two.
    pub cloned: Vec<(MachineId, String)>,
    /// What happened, where the portal was restored and nobody has confirmed that.
    pub restored: Option<String>,
    /// The rollouts that are paused.
    pub paused: Vec<Stuck>,
    /// The rollouts that ask a person.
    pub asking: Vec<Stuck>,
    /// What rollouts failed with.
    pub failed: Vec<Failed>,
    /// What machines ran, day by day.
    pub samples: Vec<Sample>,
    /// The newest rollouts.
    pub rollouts: Vec<RecentRollout>,
    /// The newest tasks.
    pub tasks: Vec<Head>,
    /// What could be offered.
    pub bundled: Bundled,
}

/// Something that needs a person.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Need {
    /// Shape, colour and word.
    pub status: Status,
    /// What it is, in a sentence.
    pub sentence: String,
    /// Where something can be done about it, and what is there.
    pub link: (String, &'static str),
}

/// What machines ran on one day.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Day {
    /// The day, as `2026-11-23`.
    pub name: String,
    /// Where its bar begins from the left.
    pub place: usize,
    /// Parts of its bar from below: the class, where it begins from above and how high it is.
    pub parts: Vec<(VersionState, usize, usize)>,
    /// The versions with how many machines ran each, in words.
    pub told: String,
}

/// A rollout of the list of recent ones.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RolloutLine {
    /// Where it is shown.
    pub path: String,
    /// What it does.
    pub title: String,
    /// How it stands.
    pub status: Status,
    /// How far it is.
    pub done: String,
    /// When it was made.
    pub at: Timestamp,
    /// By whom.
    pub by: String,
}

/// What to do first, where there is nothing yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum First {
    /// There is no environment.
    Environment,
    /// There is no machine.
    Machine,
}

/// The page.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DashboardView {
    /// What to do first.
    pub first: Option<First>,
    /// What needs a person, the gravest first.
    pub needs: Vec<Need>,
    /// How the fleet is, in a sentence.
    pub calm: String,
    /// All machines but the disabled ones.
    pub machines: usize,
    /// What they run, widest first.
    pub segments: Vec<Segment>,
    /// The version that is offered.
    pub bundled: Option<String>,
    /// What they ran, day by day.
    pub days: Vec<Day>,
    /// The newest rollouts.
    pub rollouts: Vec<RolloutLine>,
    /// The newest tasks.
    pub tasks: Vec<Head>,
}

impl DashboardView {
    /// Where the machines of a version are shown.
    pub fn path(&self, segment: &Segment) -> String {
        let version = segment.version.as_ref().and_then(|text| text.parse().ok());
        format!("/environments?{}", Filter { version: Some(version), ..Filter::default() }.query())
    }
}

/// Builds the page.
pub fn dashboard_view(loaded: Loaded) -> DashboardView {
    let active = || loaded.groups.iter().filter(|group| !group.is_disabled);
    let machines = active().map(|group| group.number).sum();
    let all: usize = loaded.groups.iter().map(|group| group.number).sum();
    let first = match (loaded.environments, all) {
        (0, _) => Some(First::Environment),
        (_, 0) => Some(First::Machine),
        _ => None,
    };
    let bundled = loaded.bundled.version.as_ref();
    DashboardView {
        first,
        needs: needs(&loaded),
        calm: calm(&loaded, machines),
        machines,
        segments: segments(&loaded, machines),
        bundled: bundled.map(Version::to_string),
        days: days(&loaded.samples, bundled),
        rollouts: loaded.rollouts.iter().map(rollout_line).collect(),
        tasks: loaded.tasks,
    }
}

fn needs(loaded: &Loaded) -> Vec<Need> {
    let rollout = |status: RolloutState, stuck: &Stuck, what: &str, label| Need {
        status: status.into(),
        sentence: format!("The upgrade to {} {what}{}", stuck.target, reason(&stuck.reason)),
        link: (format!("/rollouts/{}", stuck.id), label),
    };
    let paused = loaded.paused.iter().map(|stuck| rollout(RolloutState::Paused, stuck, "is paused", "Look and decide"));
    let asking = loaded.asking.iter().map(|stuck| Need {
        status: Status { mark: Mark::Attention, word: "asks you" },
        sentence: format!(
            "The upgrade to {} waits for somebody to release its next wave{}",
            stuck.target,
            reason(&stuck.reason)
        ),
        link: (format!("/rollouts/{}", stuck.id), "Look and release"),
    });
    let failed = loaded.failed.iter().map(|failed| {
        let kind = PhaseKind::ALL.into_iter().find(|kind| kind.word() == failed.phase).unwrap_or(PhaseKind::Failed);
        let number = usize::try_from(failed.number).unwrap_or(0);
        Need {
            status: kind.into(),
            sentence: format!("{} in {}.", count(number, "machine"), failed.rollout),
            link: (format!("/rollouts/{}", failed.rollout), "See why"),
        }
    });
    let restored = loaded.restored.iter().map(|reason| Need {
        status: Status { mark: Mark::Attention, word: "asks you" },
        sentence: format!("Nothing goes on until an administrator has looked: {}.", reason),
        link: ("/settings/restore".to_owned(), "Look and confirm"),
    });
    restored.chain(paused).chain(asking).chain(failed).chain(cloned(loaded)).chain(standing(loaded)).collect()
}

fn reason(reason: &str) -> String {
    if reason.is_empty() { ".".to_owned() } else { format!(": {}", sentence(reason)) }
}

fn cloned(loaded: &Loaded) -> Option<Need> {
    let (id, _) = loaded.cloned.first()?;
    let mut names: Vec<&str> = loaded.cloned.iter().take(NAMED_MAX).map(|(_, name)| name.as_str()).collect();
    let more = format!("and {} more", loaded.cloned.len().saturating_sub(NAMED_MAX));
    if loaded.cloned.len() > NAMED_MAX {
        names.push(&more);
    }
    Some(Need {
        status: Status { mark: Mark::Attention, word: "cloned" },
        sentence: format!("{} answers as two: {}.", count(loaded.cloned.len(), "machine"), names.join(", ")),
        link: (format!("/machines/{id}"), "See what to do"),
    })
}

/// Machines that are not well, and those that could be upgraded.
fn standing(loaded: &Loaded) -> Vec<Need> {
    let number = |fits: &dyn Fn(&Group) -> bool| -> usize {
        loaded.groups.iter().filter(|group| !group.is_disabled && fits(group)).map(|group| group.number).sum()
    };
    let mut needs = Vec::new();
    for (health, what, label) in [
        (Health::Unhealthy, "with a problem of its own", "Show them"),
        (Health::Unavailable, "not reached", "Show them"),
    ] {
        let machines = number(&|group| group.health == health);
        if machines > 0 {
            let status = Status::from(health);
            let sentence = match (health, machines) {
                (Health::Unhealthy, 1) => "1 machine has a problem of its own.".to_owned(),
                (Health::Unhealthy, _) => format!("{} have problems of their own.", count(machines, "machine")),
                _ => format!("{} {what}. What they last said is shown with its age.", count(machines, "machine")),
            };
            needs.push(Need { status, sentence, link: (format!("/environments?state={}", status.word), label) });
        }
    }
    let outdated = number(&|group| version_state(group, &loaded.bundled) == VersionState::UpgradeAvailable);
    if let (true, Some(version)) = (outdated > 0, &loaded.bundled.version) {
        needs.push(Need {
            status: Status { mark: Mark::Waiting, word: "outdated" },
            sentence: format!("{} can be upgraded to {version}.", count(outdated, "machine")),
            link: ("/environments?fit=outdated".to_owned(), "Show them"),
        });
    }
    needs
}

fn version_state(group: &Group, bundled: &Bundled) -> VersionState {
    let version: Option<Version> = group.version.as_deref().and_then(|text| text.parse().ok());
    let offered = group.runtime.as_ref().filter(|runtime| bundled.runtimes.contains(runtime));
    VersionState::of(version.as_ref(), offered.and(bundled.version.as_ref()))
}

fn calm(loaded: &Loaded, machines: usize) -> String {
    let healthy: usize = loaded
        .groups
        .iter()
        .filter(|group| !group.is_disabled && group.health == Health::Healthy)
        .map(|group| group.number)
        .sum();
    format!("{} of {} healthy", thousands(healthy), count(machines, "machine"))
}

fn segments(loaded: &Loaded, machines: usize) -> Vec<Segment> {
    let mut numbers: BTreeMap<Option<&String>, usize> = BTreeMap::new();
    for group in loaded.groups.iter().filter(|group| !group.is_disabled) {
        *numbers.entry(group.version.as_ref()).or_default() += group.number;
    }
    let mut numbers: Vec<_> = numbers.into_iter().collect();
    numbers.sort_by_key(|(_, number)| std::cmp::Reverse(*number));
    let mut before = 0;
    let place = |number: usize| number * BAR_WIDTH / machines.max(1);
    let segment = |(version, number): (Option<&String>, usize)| {
        let from = place(before);
        before += number;
        let parsed: Option<Version> = version.and_then(|text| text.parse().ok());
        let state = VersionState::of(parsed.as_ref(), loaded.bundled.version.as_ref());
        Segment { version: version.cloned(), number, state, from, width: place(before) - from }
    };
    numbers.into_iter().map(segment).collect()
}

fn days(samples: &[Sample], bundled: Option<&Version>) -> Vec<Day> {
    let highest = |day: Timestamp| -> usize {
        samples
            .iter()
            .filter(|sample| sample.day == day)
            .map(|sample| usize::try_from(sample.machines).unwrap_or(0))
            .sum()
    };
    let mut by_day: BTreeMap<i64, Vec<&Sample>> = BTreeMap::new();
    for sample in samples {
        by_day.entry(sample.day.0).or_default().push(sample);
    }
    let full = by_day.keys().map(|day| highest(Timestamp(*day))).max().unwrap_or(0).max(1);
    let day = |(place, (day, samples)): (usize, (i64, Vec<&Sample>))| Day {
        place: place * DAY_WIDTH,
        ..day_of(Timestamp(day), &samples, full, bundled)
    };
    by_day.into_iter().enumerate().map(day).collect()
}

fn day_of(day: Timestamp, samples: &[&Sample], full: usize, bundled: Option<&Version>) -> Day {
    const ORDER: [VersionState; 4] =
        [VersionState::UpToDate, VersionState::NewerThanBundled, VersionState::UpgradeAvailable, VersionState::Unknown];
    let state = |sample: &Sample| VersionState::of(sample.version.parse().ok().as_ref(), bundled);
    let number = |sample: &Sample| usize::try_from(sample.machines).unwrap_or(0);
    let mut below = 0;
    let mut parts = Vec::new();
    for wanted in ORDER {
        let machines: usize =
            samples.iter().filter(|sample| state(sample) == wanted).map(|sample| number(sample)).sum();
        let (from, to) = (below * CHART_HEIGHT / full, (below + machines) * CHART_HEIGHT / full);
        below += machines;
        if to > from {
            parts.push((wanted, CHART_HEIGHT - to, to - from));
        }
    }
    let told = samples.iter().map(|sample| {
        let version = if sample.version.is_empty() { "unknown" } else { &sample.version };
        format!("{version}: {}", thousands(number(sample)))
    });
    let name = day.rfc3339().chars().take("2026-11-23".len()).collect();
    Day { name, place: 0, parts, told: told.collect::<Vec<_>>().join(", ") }
}

fn rollout_line(rollout: &RecentRollout) -> RolloutLine {
    let state = RolloutState::from_word(&rollout.state).unwrap_or(RolloutState::Running);
    let number = |number: i64| usize::try_from(number).unwrap_or(0);
    RolloutLine {
        path: format!("/rollouts/{}", rollout.id),
        title: match rollout.undo_of {
            Some(of) => format!("Undo {of}"),
            None => format!("Upgrade to {}", rollout.target),
        },
        status: state.into(),
        done: format!("{} of {}", thousands(number(rollout.upgraded)), count(number(rollout.machines), "machine")),
        at: rollout.created_at,
        by: rollout.created_by.clone(),
    }
}

#[derive(Template)]
#[template(path = "dashboard/region.html")]
struct Region<'a> {
    view: &'a DashboardView,
    now: &'a Timestamp,
}

impl WholeView for DashboardView {
    const REGION: &'static str = "dashboard";

    fn render(&self, now: Timestamp) -> askama::Result<String> {
        Region { view: self, now: &now }.render()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::RolloutId;

    fn group(health: Health, version: Option<&str>, number: usize) -> Group {
        let runtime = version.map(|_| "linux-x64".to_owned());
        Group { is_disabled: false, health, version: version.map(str::to_owned), runtime, number }
    }

    fn loaded() -> Loaded {
        let bundled = Bundled { version: Some(Version::release(2, 0, 0)), runtimes: vec!["linux-x64".into()] };
        Loaded { environments: 1, bundled, ..Loaded::default() }
    }

    #[test]
    fn what_is_well_and_up_to_date_needs_nobody() {
        let view = dashboard_view(Loaded { groups: vec![group(Health::Healthy, Some("2.0.0"), 3)], ..loaded() });
        assert_eq!((view.needs, view.first), (vec![], None));
        assert_eq!(view.calm, "3 of 3 machines healthy");
    }

    #[test]
    fn the_gravest_comes_first_and_each_leads_to_where_something_can_be_done() {
        let stuck = |id, reason: &str| Stuck { id: RolloutId(id), target: "2.0.0".into(), reason: reason.into() };
        let disabled = Group { is_disabled: true, ..group(Health::Unavailable, Some("1.0.0"), 50) };
        let loaded = Loaded {
            groups: vec![
                group(Health::Unhealthy, Some("2.0.0"), 1),
                group(Health::Unavailable, Some("1.0.0"), 1200),
                disabled,
            ],
            cloned: vec![(MachineId(7), "web-7".into())],
            paused: vec![stuck(4, "2 machines fell back")],
            asking: vec![stuck(5, "Canary")],
            failed: vec![Failed { rollout: RolloutId(4), phase: "FellBack".into(), number: 2 }],
            ..loaded()
        };
        let needs = dashboard_view(loaded).needs;
        let told: Vec<_> =
            needs.iter().map(|need| (need.status.word, need.sentence.as_str(), need.link.0.as_str())).collect();
        assert_eq!(
            told,
            [
                ("paused", "The upgrade to 2.0.0 is paused: 2 machines fell back.", "/rollouts/Rollouts-4"),
                (
                    "asks you",
                    "The upgrade to 2.0.0 waits for somebody to release its next wave: Canary.",
                    "/rollouts/Rollouts-5"
                ),
                ("fell back", "2 machines in Rollouts-4.", "/rollouts/Rollouts-4"),
                ("cloned", "1 machine answers as two: web-7.", "/machines/Machines-7"),
                ("unhealthy", "1 machine has a problem of its own.", "/environments?state=unhealthy"),
                (
                    "unreachable",
                    "1,200 machines not reached. What they last said is shown with its age.",
                    "/environments?state=unreachable"
                ),
                ("outdated", "1,200 machines can be upgraded to 2.0.0.", "/environments?fit=outdated"),
            ]
        );
    }

    #[test]
    fn an_empty_portal_says_what_to_do_first() {
        assert_eq!(dashboard_view(Loaded { environments: 0, ..loaded() }).first, Some(First::Environment));
        assert_eq!(dashboard_view(loaded()).first, Some(First::Machine));
    }

    #[test]
    fn days_are_stacked_by_how_versions_stand_to_the_bundled_one() {
        let sample = |day, version: &str, machines| Sample { day: Timestamp(day), version: version.into(), machines };
        let day = 86_400_000_000;
        let samples = [sample(0, "1.0.0", 10), sample(day, "2.0.0", 15), sample(day, "1.0.0", 4), sample(day, "", 1)];
        let days = days(&samples, Some(&Version::release(2, 0, 0)));
        assert_eq!((days[0].name.as_str(), days[0].told.as_str()), ("1970-01-01", "1.0.0: 10"));
        assert_eq!(days[0].parts, [(VersionState::UpgradeAvailable, 40, 40)]);
        assert_eq!(days[1].told, "2.0.0: 15, 1.0.0: 4, unknown: 1");
        let heights: usize = days[1].parts.iter().map(|part| part.2).sum();
        assert_eq!((days[1].parts[0], heights), ((VersionState::UpToDate, 20, 60), CHART_HEIGHT));
    }
}
