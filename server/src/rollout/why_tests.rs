//! Every state that a machine can be in, and the sentence for it.

use super::*;
use crate::ids::MachineId;
use crate::rollout::state::{Command, Mark, Phase, RolloutMachine, WaitReason};

const NOW: Timestamp = Timestamp(1_795_428_000_000_000);
const MIB: u64 = 1 << 20;

fn v(major: u32) -> Version {
    Version::release(major, 0, 0)
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
        free_disk_bytes: 900 * MIB,
        running_work: Vec::new(),
        generation: 0,
        problems: Vec::new(),
    }
}

fn facts(contact: Contact, report: Option<Report>) -> Option<Facts> {
    Some(Facts { tried_at: NOW, contact, contact_since: NOW, report, instances: Default::default() })
}

fn silent() -> Contact {
    Contact::Silent { reason: "no route".into() }
}

fn place(phase: Phase, since: Timestamp) -> Option<Place> {
    let machine = RolloutMachine {
        machine: MachineId(1),
        name: "web-1".into(),
        position: 1,
        phase,
        since,
        deadline: None,
        attempt: 1,
        from: None,
        previous: None,
        back: None,
        tried_at: None,
        was_away: false,
        wave: 0,
        forgiven_at: None,
        revision: 0,
    };
    Some(Place { rollout: RolloutId(7), target: v(2), machine })
}

/// A machine as the table below describes it.
struct Case {
    is_disabled: bool,
    environments_are_disabled: bool,
    facts: Option<Facts>,
    bundled: Option<Version>,
    hold: Option<Hold>,
    failed_before: Option<&'static str>,
    failed_on: usize,
    place: Option<Place>,
    hindrance: Option<Hindrance>,
}

fn case() -> Case {
    Case {
        is_disabled: false,
        environments_are_disabled: false,
        facts: facts(Contact::Answered, Some(report(v(1)))),
        bundled: Some(v(2)),
        hold: None,
        failed_before: None,
        failed_on: 0,
        place: None,
        hindrance: None,
    }
}

impl Case {
    fn with(change: impl FnOnce(&mut Report)) -> Self {
        let mut report = report(v(1));
        change(&mut report);
        Self { facts: facts(Contact::Answered, Some(report)), ..case() }
    }

    fn why(&self) -> Why {
        why(&Known {
            is_disabled: self.is_disabled,
            environments_are_disabled: self.environments_are_disabled,
            facts: self.facts.as_ref(),
            bundled: self.bundled.as_ref(),
            packages: &HashMap::from([("linux-x64".to_owned(), 20 * MIB)]),
            hold: self.hold.as_ref(),
            failed_before: self.failed_before,
            failed_on: &HashMap::from([("linux-x64".to_owned(), self.failed_on)]),
            place: self.place.as_ref(),
            hindrance: self.hindrance.as_ref(),
        })
    }
}

fn hold(until: Option<Timestamp>) -> Option<Hold> {
    Some(Hold { reason: "the audit runs".into(), by: "ann".into(), since: NOW, until })
}

fn turn() -> Option<Place> {
    place(Phase::Waiting(WaitReason::Turn), NOW)
}

fn command() -> Command {
    Command { ticket: "t".into(), generation: 1, expected: "1.0.0".into(), instance: "i".into(), mark: Mark::New }
}

#[test]
#[expect(clippy::too_many_lines, reason = "one line for each state, all in one table")]
fn every_state_has_its_sentence() {
    let lost = |since| place(Phase::Lost { command: None, reason: "it has been silent".into() }, since);
    let from_2 = || facts(silent(), Some(report(v(2))));
    let never = || facts(silent(), None);
    let failed = place(Phase::Failed { reason: "no room".into() }, NOW);
    let words = "Suction Cup rejected 2.0.0: it ended. Its last words:\npanicked".to_owned();
    let fell = place(Phase::FellBack { reason: words }, NOW);
    let skipped = SkipReason::ByPerson { who: "ann".into(), why: "too hot".into() };
    let left = place(Phase::Skipped(skipped), NOW);
    let table = [
        ("Available", "it runs 1.0.0; 2.0.0 is there for it, and nobody asked for that", case()),
        ("UpToDate", "up to date: it runs 2.0.0", Case::with(|r| r.version = v(2))),
        (
            "UpToDate",
            "it ran 2.0.0; it cannot be reached since 2026-11-23 10:00 UTC",
            Case { facts: from_2(), ..case() },
        ),
        ("Newer", "3.0.0, which is newer than 2.0.0", Case::with(|r| r.version = v(3))),
        ("Disabled", "it is disabled", Case { is_disabled: true, ..case() }),
        ("EnvironmentsDisabled", "its environments are", Case { environments_are_disabled: true, ..case() }),
        ("NothingBundled", "carries no Tentacle package to", Case { bundled: None, ..case() }),
        ("NeverAsked", "has not heard of it yet", Case { facts: None, ..case() }),
        ("NeverAnswered", "it never answered: no route", Case { facts: never(), ..case() }),
        (
            "NeverAnswered",
            "nobody knows what it runs",
            Case { facts: never(), bundled: None, hold: hold(None), ..case() },
        ),
        ("NoPackage", "for its runtime, win-x64", Case::with(|r| r.runtime = "win-x64".into())),
        ("Unsupervised", "not started by Suction Cup", Case::with(|r| r.supervisor_contract = None)),
        ("Hindered", "but ann holds it: the audit runs", Case { hold: hold(None), ..case() }),
        ("Hindered", "ann holds it until 2026-11-23 10:00 UTC", Case { hold: hold(Some(NOW)), ..case() }),
        ("Hindered", "failed on it before", Case { failed_before: Some("it crashed"), ..case() }),
        ("Hindered", "failed on 3 machines of linux-x64", Case { failed_on: 3, ..case() }),
        ("Available", "nobody asked", Case { failed_on: 2, ..case() }),
        ("Hindered", "99 MiB free, and the upgrade needs 100 MiB", Case::with(|r| r.free_disk_bytes = 100 * MIB - 1)),
        ("Available", "nobody asked", Case::with(|r| r.free_disk_bytes = 0)),
        ("Unwell", "it has problems, too: the disk", Case::with(|r| r.problems = vec!["the disk fails".into()])),
        (
            "Unreachable",
            "cannot be reached since 2026-11-23 10:00 UTC: no route",
            Case { facts: facts(silent(), Some(report(v(1)))), ..case() },
        ),
        (
            "Upgrading",
            "Rollouts-7 is bringing it to 2.0.0: it is asked",
            Case { place: place(Phase::Checking, NOW), ..case() },
        ),
        ("Upgrading", "being sent", Case { place: place(Phase::Uploading, NOW), is_disabled: true, ..case() }),
        ("Upgrading", "installs", Case { place: place(Phase::Installing(command()), NOW), ..case() }),
        ("Upgrading", "awaited", Case { place: place(Phase::Restarting(command()), NOW), ..case() }),
        ("Waiting", "and begins with it now", Case { place: turn(), ..case() }),
        (
            "Waiting",
            "Rollouts-7 is to bring it to 2.0.0, and one machine goes first",
            Case { place: turn(), hindrance: Some(Hindrance::OneFirst), ..case() },
        ),
        (
            "Waiting",
            "and one machine goes first, and that is not proven yet; it cannot be reached since 2026-11-23 10:00 UTC",
            Case {
                place: turn(),
                hindrance: Some(Hindrance::OneFirst),
                facts: facts(silent(), Some(report(v(1)))),
                ..case()
            },
        ),
        (
            "Waiting",
            "Rollouts-7 is to bring it to 2.0.0, and it cannot be reached: no route",
            Case {
                place: turn(),
                hindrance: Some(Hindrance::Offline { reason: "no route".into() }),
                facts: facts(silent(), Some(report(v(1)))),
                ..case()
            },
        ),
        ("Lost", "Rollouts-7 lost it", Case { place: lost(Timestamp(NOW.0 + 1)), ..case() }),
        ("Available", "nobody asked", Case { place: lost(NOW), ..case() }),
        ("Failed", "Rollouts-7 failed with it, and nobody tried again: no room", Case { place: failed, ..case() }),
        ("Failed", "rejected 2.0.0", Case { place: fell, ..case() }),
        ("LeftOut", "in Rollouts-7 ann left it out: too hot", Case { place: left, ..case() }),
        ("UpToDate", "up to date", Case { place: place(Phase::Upgraded, NOW), ..Case::with(|r| r.version = v(2)) }),
    ];
    for (code, words, case) in table {
        let why = case.why();
        assert_eq!(why.code(), code, "{why}");
        assert!(why.to_string().contains(words), "{code}: {why}");
        assert!(!why.to_string().contains("panicked"), "{why}");
        assert!(why.to_string().matches("cannot be reached").count() <= 1, "{why}");
    }
}

#[test]
fn a_version_that_is_installed_already_needs_no_room() {
    let full = |installed| {
        let case = Case::with(|report| {
            report.free_disk_bytes = 1;
            report.installed = installed;
        });
        case.why().code()
    };
    assert_eq!(full(Vec::new()), "Hindered");
    let verdicts = contract::Verdicts::default();
    assert_eq!(full(vec![crate::model::InstalledVersion { version: v(2), verdicts }]), "Available");
}
