//! The environments page, as its view is built.

use contract::{Thumbprint, Verdicts};

use super::*;
use crate::ids::SpaceId;
use crate::model::{Address, Contact, Facts, InstalledVersion, Instances, Machine, Report};
use crate::pages::environments::bar::BAR_WIDTH;
use crate::rollout::state::{Phase, RolloutMachine, WaitReason};

/// A machine beside everything that is known of it.
struct Observed {
    machine: Machine,
    facts: Option<Facts>,
}

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
    let facts = version.map(|v| Facts {
        tried_at: NOW,
        contact,
        contact_since: NOW,
        report: Some(report(v)),
        instances: Instances::default(),
    });
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
    let machines = observed.iter().map(|seen| Brief::of(&seen.machine, seen.facts.as_ref())).collect();
    let facts = observed.into_iter().filter_map(|seen| Some((seen.machine.id, seen.facts?))).collect();
    Truth { environments, machines, facts, bundled, ..Truth::default() }
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
    assert_eq!(view.offer, Offer { ready: 1, unreachable: 1, under_way: 0, held: 0, unknown: 1, enabled: 5 });
    let aside = "1 unreachable will follow when they reappear, 1 never seen will follow if they are outdated";
    assert_eq!(view.offer.aside(), aside);
    let ready: Vec<usize> = view.panels.iter().map(|panel| panel.head.offer.ready).collect();
    assert_eq!(ready, [1, 1, 0], "a machine in two environments counts in both of them, and nothing in a disabled one");
    let offered: Vec<_> = view.panels.iter().flat_map(|p| &p.rows).filter(|row| row.can_upgrade).collect();
    assert_eq!(offered.iter().map(|row| row.element()).collect::<Vec<_>>(), ["machine-1-in-1", "machine-1-in-2"]);
}

fn place(phase: Phase) -> Place {
    let machine = RolloutMachine {
        machine: MachineId(1),
        name: "web-1".into(),
        position: 1,
        phase,
        since: NOW,
        deadline: None,
        attempt: 1,
        from: None,
        tried_at: None,
        previous: None,
        back: None,
        was_away: false,
        wave: 0,
        forgiven_at: None,
        revision: 0,
    };
    Place { rollout: RolloutId(7), target: v(1), machine }
}

#[test]
fn a_lost_machine_is_shown_as_it_was_found_since() {
    let lost = place(Phase::Lost { command: None, reason: "it has been silent".into() });
    let activity = |observed: Observed| {
        let mut truth = truth(vec![environment(1, false)], vec![observed]);
        truth.places.insert(MachineId(1), lost.clone());
        let activity = view(&truth).panels[0].rows[0].activity.clone().unwrap();
        (activity.status().word, activity.is_settled(), activity.why())
    };
    let silent = Contact::Silent { reason: "no route".into() };
    let mut before = observed(1, &[1], Some(v(0)), silent);
    before.facts.as_mut().unwrap().report.as_mut().unwrap().at = Timestamp(0);
    assert_eq!(activity(before), ("lost", false, "It has been silent. It is silent still: no route.".to_owned()));
    let back = "It has been silent. It answered since: it runs 2026.4.0, so it is not where it was to be brought.";
    assert_eq!(activity(answered(1, &[1], v(0))), ("back, not upgraded", false, back.to_owned()));
    let mut upgraded = answered(1, &[1], v(1));
    let verdicts = Verdicts { proven: true, ..Verdicts::default() };
    upgraded.facts.as_mut().unwrap().report.as_mut().unwrap().installed =
        vec![InstalledVersion { version: v(1), verdicts }];
    let (word, is_settled, _) = activity(upgraded);
    assert_eq!((word, is_settled), ("back, upgraded", true));
}

#[test]
fn a_machine_in_an_open_rollout_is_not_offered_until_that_is_done_with_it() {
    let mut truth = truth(vec![environment(1, false)], vec![answered(1, &[1], v(0))]);
    truth.places.insert(MachineId(1), place(Phase::Uploading));
    let busy = view(&truth);
    assert_eq!((busy.offer.ready, busy.offer.under_way, busy.offer.calm()), (0, 1, "An upgrade is under way"));
    assert_eq!(busy.panels[0].rows[0].activity.as_ref().unwrap().kind, PhaseKind::Uploading);
    let turn = Phase::Waiting(WaitReason::Turn);
    truth.places.insert(MachineId(1), place(turn));
    assert_eq!(view(&truth).offer.under_way, 1, "its turn will come");
    truth.paused.insert(RolloutId(7));
    assert_eq!(view(&truth).offer.ready, 1, "in a paused rollout its turn never comes");
    truth.places.insert(MachineId(1), place(Phase::Failed { reason: "disk full".into() }));
    assert!(view(&truth).panels[0].rows[0].can_upgrade, "it may be tried again");
}

#[test]
fn a_machine_that_is_held_says_so_and_is_not_offered() {
    let mut truth = truth(vec![environment(1, false)], vec![answered(1, &[1], v(0)), answered(2, &[1], v(1))]);
    let hold = Hold { reason: "month end".into(), by: "ann".into(), since: NOW, until: None };
    truth.holds.insert(MachineId(1), hold);
    let view = view(&truth);
    let rows = &view.panels[0].rows;
    assert_eq!((rows[0].hold.as_str(), rows[0].can_upgrade), ("Ann holds it: month end.", false));
    assert_eq!(rows[1].hold, "");
    assert_eq!((view.offer.ready, view.offer.held), (0, 1));
    assert_eq!(view.offer.calm(), "Everything but what is held is up to date");
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
    assert_eq!(row.version_word(), "nothing bundled for it", "its version is known");
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

#[test]
fn a_folded_environment_shows_its_totals_and_no_machine_and_hides_none_from_the_others() {
    let machines = vec![answered(1, &[1, 2], v(0)), answered(2, &[2], v(0))];
    let truth = truth(vec![environment(1, false), environment(2, false)], machines);
    let fields = vec![("folded".to_owned(), "Environments-2,nonsense".to_owned())].into();
    let filter = Filter::read(&fields);
    assert_eq!(filter.query(), "folded=Environments-2");
    assert!(filter.is_empty(), "no machine is filtered out");
    let view = environments_view(&truth, &filter);
    let shown: Vec<_> =
        view.panels.iter().map(|panel| (panel.head.is_folded, panel.rows.len(), panel.head.total)).collect();
    assert_eq!(shown, [(false, 1, 1), (true, 0, 2)]);
    assert_eq!((view.matching, view.offer.ready), (2, 2));
    assert_eq!(filter.toggle_fold(&EnvironmentId(2)), "/environments?");
    assert_eq!(filter.toggle_fold(&EnvironmentId(1)), "/environments?folded=Environments-1%2CEnvironments-2");
}
