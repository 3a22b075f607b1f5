//! Every page in every state that its things can be in: shape, colour and word stand there, and what can be done and nothing
//! else is offered. A state that is added to the model and not here does not compile.

use contract::Version;
use http::StatusCode;
use octopus_server::db::rollouts::{rollout_get, rollout_machine_update, rollout_set_state};
use octopus_server::db::tasks::{task_begin, task_cancel_request, task_end};
use octopus_server::ids::{MachineId, RolloutId, SpaceId, TaskId};
use octopus_server::model::{Contact, Facts, Health, Instances, TaskState, VersionState};
use octopus_server::rollout::phase::{Command, Mark, Phase, PhaseKind, SkipReason, WaitReason};
use octopus_server::rollout::state::RolloutState;
use octopus_server::testing::TestApp;

use crate::browser::{Browser, Page};
use crate::seed::{self, bundled};

/// Class and word of a status.
type Shown = (&'static str, &'static str);

fn phase_shown(kind: PhaseKind) -> Shown {
    match kind {
        PhaseKind::Waiting => ("waiting", "waiting"),
        PhaseKind::Checking => ("upgrading", "checking"),
        PhaseKind::Uploading => ("upgrading", "uploading"),
        PhaseKind::Installing => ("upgrading", "installing"),
        PhaseKind::Restarting => ("upgrading", "restarting"),
        PhaseKind::Proving => ("upgrading", "proving"),
        PhaseKind::Upgraded => ("healthy", "upgraded"),
        PhaseKind::FellBack => ("failed", "fell back"),
        PhaseKind::Failed => ("failed", "failed"),
        PhaseKind::Lost => ("failed", "lost"),
        PhaseKind::Skipped => ("quiet-mark", "left as it is"),
        PhaseKind::Cancelled => ("quiet-mark", "cancelled"),
    }
}

/// A phase of a kind, and what its page must say of why.
fn phase_of(kind: PhaseKind) -> (Phase, &'static str) {
    let command = || Command {
        ticket: "t".into(),
        generation: 4,
        expected: "2026.4.0".into(),
        instance: "8f14e45fceea167a5a36dedd4bea2543".into(),
        mark: Mark::New,
    };
    match kind {
        PhaseKind::Waiting => (Phase::Waiting(WaitReason::Offline { reason: "no route to it".into() }), ""),
        PhaseKind::Checking => (Phase::Checking, ""),
        PhaseKind::Uploading => (Phase::Uploading, ""),
        PhaseKind::Installing => (Phase::Installing(command()), ""),
        PhaseKind::Restarting => (Phase::Restarting(command()), ""),
        PhaseKind::Proving => {
            (Phase::Proving { command: Some(command()), instance: "new".into(), well_since: None }, "")
        }
        PhaseKind::Upgraded => (Phase::Upgraded, ""),
        PhaseKind::FellBack => (Phase::FellBack { reason: "it crashed at <start>".into() }, "It crashed at <start>"),
        PhaseKind::Failed => (Phase::Failed { reason: "its disk is full".into() }, "Its disk is full."),
        PhaseKind::Lost => (Phase::Lost { command: Some(command()), reason: "no answer".into() }, "No answer"),
        PhaseKind::Skipped => {
            let reason = SkipReason::ByPerson { who: "ada".into(), why: "a ledger is written".into() };
            (Phase::Skipped(reason), "a ledger is written")
        }
        PhaseKind::Cancelled => (Phase::Cancelled, ""),
    }
}

/// A portal with a rollout of one machine for each kind of phase, in that phase.
async fn all_phases() -> (TestApp, Browser) {
    let portal = seed::portal().await;
    let mut browser = Browser::logged_in(&portal).await;
    let staging = seed::environment(&portal, "Staging").await;
    for kind in PhaseKind::ALL {
        let id = seed::machine(&portal, &format!("m-{}", kind.word()), &[staging]).await;
        seed::answered(&portal, id, seed::report(Version::release(2026, 4, 0), portal.now())).await;
    }
    assert_eq!(browser.post("/environments/upgrade", &[]).await.status, StatusCode::SEE_OTHER);
    let mut tx = portal.db.write().await.unwrap();
    let rollout = rollout_get(&mut tx, SpaceId::DEFAULT, RolloutId(1)).await.unwrap().unwrap();
    for (mut machine, kind) in rollout.machines.into_iter().zip(PhaseKind::ALL) {
        machine.machine = MachineId(i64::try_from(place(kind)).unwrap());
        machine.phase = phase_of(kind).0;
        // Each was written once before, when the rollout was made.
        assert!(rollout_machine_update(&mut tx, RolloutId(1), &machine).await.unwrap(), "{kind:?}");
    }
    tx.commit().await.unwrap();
    (portal, browser)
}

/// The number of the machine that stands in a phase.
fn place(kind: PhaseKind) -> usize {
    1 + PhaseKind::ALL.iter().position(|other| *other == kind).unwrap()
}

#[tokio::test]
async fn every_phase_of_a_machine_is_shown_on_every_page_that_tells_of_it() {
    let (_portal, mut browser) = all_phases().await;
    let rollout = browser.get("/rollouts/Rollouts-1").await;
    let environments = browser.get("/environments").await;
    for kind in PhaseKind::ALL {
        let (class, word) = phase_shown(kind);
        let number = place(kind);
        let row = format!("#machine-{number}");
        assert!(rollout.text(&format!("{row} .status.{class}")).ends_with(word), "{kind:?}: {}", rollout.text(&row));
        assert!(rollout.text(&row).contains(phase_of(kind).1), "{kind:?}: {}", rollout.text(&row));
        let cell = format!("#cell-{number}.{class}[aria-label^='m-{}: {word}']", kind.word());
        assert_eq!(rollout.count(&cell), 1, "{kind:?}: {cell}");
        let (can_skip, can_retry) = (kind == PhaseKind::Waiting, kind.is_failure());
        assert_eq!(rollout.count(&format!("{row} form[action$='/skip']")), usize::from(can_skip), "{kind:?}");
        assert_eq!(rollout.count(&format!("{row} form[action$='/retry']")), usize::from(can_retry), "{kind:?}");

        let machine = browser.get(&format!("/machines/Machines-{number}")).await;
        assert_eq!(machine.status, StatusCode::OK, "{kind:?}");
        if kind.is_in_flight() || kind == PhaseKind::Waiting {
            let said = environments.text(&format!("#machine-{number}-in-1 [data-label=Rollout]"));
            assert!(said.contains(word), "{kind:?}: {said}");
            assert!(machine.text(".truth").contains(word), "{kind:?}: {}", machine.text(".truth"));
        }
    }
    let unescaped = rollout.html.contains("<start>");
    assert!(!unescaped, "what a program said is escaped");
}

/// What a rollout offers in a state, by the last part of the address of each button.
fn offered(state: RolloutState) -> &'static [&'static str] {
    match state {
        RolloutState::Scheduled => &["start", "pause", "cancel"],
        RolloutState::Running => &["pause", "cancel"],
        RolloutState::Paused => &["resume", "cancel"],
        // Machines still wait in these, and follow when they are there.
        RolloutState::Completed | RolloutState::CompletedWithFailures => &["pause", "cancel"],
        RolloutState::Cancelled => &[],
    }
}

fn rollout_shown(state: RolloutState) -> Shown {
    match state {
        RolloutState::Scheduled => ("waiting", "scheduled"),
        RolloutState::Running => ("upgrading", "running"),
        RolloutState::Paused => ("attention", "paused"),
        RolloutState::Completed => ("healthy", "completed"),
        RolloutState::CompletedWithFailures => ("failed", "completed with failures"),
        RolloutState::Cancelled => ("quiet-mark", "cancelled"),
    }
}

fn hands(page: &Page) -> Vec<String> {
    let words = ["start", "pause", "resume", "cancel"];
    let is_there = |word: &str| {
        page.count(&format!("button[formaction='/rollouts/Rollouts-1/{word}'], a[href='/rollouts/Rollouts-1/{word}']"))
    };
    words.into_iter().filter(|word| is_there(word) > 0).map(str::to_owned).collect()
}

#[tokio::test]
async fn every_state_of_a_rollout_is_shown_with_what_can_be_done_in_it() {
    let portal = seed::portal().await;
    let mut browser = Browser::logged_in(&portal).await;
    let staging = seed::environment(&portal, "Staging").await;
    let id = seed::machine(&portal, "web-1", &[staging]).await;
    seed::answered(&portal, id, seed::report(Version::release(2026, 4, 0), portal.now())).await;
    browser.post("/environments/upgrade", &[]).await;
    for state in RolloutState::ALL {
        let mut tx = portal.db.write().await.unwrap();
        rollout_set_state(&mut tx, RolloutId(1), state, "because of <this>", portal.now()).await.unwrap();
        tx.commit().await.unwrap();
        let (class, word) = rollout_shown(state);
        let page = browser.get("/rollouts/Rollouts-1").await;
        assert!(page.text(&format!(".truth.{class} .status.{class}")).ends_with(word), "{state:?}");
        assert!(page.text(".truth").contains("Because of <this>."), "{state:?}: {}", page.text(".truth"));
        assert_eq!(hands(&page), offered(state), "{state:?}");
        for list in ["/rollouts", "/"] {
            let page = browser.get(list).await;
            assert!(
                page.texts(&format!(".status.{class}")).iter().any(|said| said.ends_with(word)),
                "{list}: {state:?}"
            );
        }
    }
}

fn task_shown(state: TaskState) -> (Shown, bool) {
    match state {
        TaskState::Queued => (("waiting", "queued"), true),
        TaskState::Executing => (("upgrading", "running"), true),
        TaskState::Cancelling => (("upgrading", "cancelling"), false),
        TaskState::Success => (("healthy", "succeeded"), false),
        TaskState::Failed => (("failed", "failed"), false),
        TaskState::Canceled => (("quiet-mark", "cancelled"), false),
        TaskState::TimedOut => (("failed", "took too long"), false),
    }
}

#[tokio::test]
async fn every_state_of_a_task_is_shown_with_what_can_be_done_in_it() {
    for state in TaskState::ALL {
        let portal = seed::portal().await;
        let mut browser = Browser::logged_in(&portal).await;
        let staging = seed::environment(&portal, "Staging").await;
        seed::machine(&portal, "web-1", &[staging]).await;
        assert_eq!(browser.post("/machines/Machines-1/check", &[]).await.status, StatusCode::SEE_OTHER);
        let (id, now) = (TaskId(1), portal.now());
        let mut tx = portal.db.write().await.unwrap();
        if state != TaskState::Queued {
            task_begin(&mut tx, id, now).await.unwrap();
        }
        match state {
            TaskState::Queued | TaskState::Executing => {}
            TaskState::Cancelling => {
                task_cancel_request(&mut tx, SpaceId::DEFAULT, id, now).await.unwrap();
            }
            TaskState::Success | TaskState::Failed | TaskState::Canceled | TaskState::TimedOut => {
                task_end(&mut tx, id, state, "the reason & more", now).await.unwrap();
            }
        }
        tx.commit().await.unwrap();
        let ((class, word), can_cancel) = task_shown(state);
        let page = browser.get("/tasks/ServerTasks-1").await;
        assert!(page.texts(&format!(".status.{class}")).iter().any(|said| said.ends_with(word)), "{state:?}");
        assert_eq!(page.count("a[href='/tasks/ServerTasks-1/cancel']"), usize::from(can_cancel), "{state:?}");
        assert_eq!(
            page.text("main").contains("he reason & more"),
            state.is_completed(),
            "{state:?}: {}",
            page.text("main")
        );
        let list = browser.get("/tasks").await;
        assert!(list.texts(&format!(".status.{class}")).iter().any(|said| said.ends_with(word)), "{state:?}");
    }
}

fn health_shown(health: Health) -> Shown {
    match health {
        Health::Healthy => ("healthy", "healthy"),
        Health::Unhealthy => ("attention", "unhealthy"),
        Health::Unavailable => ("unreachable", "unreachable"),
        Health::Unknown => ("unknown", "unknown"),
    }
}

/// Writes down what makes a machine so healthy.
async fn make(portal: &TestApp, id: MachineId, health: Health) {
    let now = portal.now();
    let mut report = seed::report(bundled(), now);
    let contact = match health {
        Health::Unknown => return,
        Health::Healthy => Contact::Answered,
        Health::Unhealthy => {
            report.problems = vec!["the clock is <wrong>".into()];
            Contact::Answered
        }
        Health::Unavailable => Contact::Silent { reason: "nobody listens".into() },
    };
    let facts =
        Facts { tried_at: now, contact, contact_since: now, report: Some(report), instances: Instances::default() };
    seed::put_facts(portal, id, &facts).await;
}

#[tokio::test]
async fn every_health_is_shown_on_every_page_that_tells_of_it_and_can_be_filtered_by() {
    let portal = seed::portal().await;
    let mut browser = Browser::logged_in(&portal).await;
    let staging = seed::environment(&portal, "Staging").await;
    let all = [Health::Healthy, Health::Unhealthy, Health::Unavailable, Health::Unknown];
    for health in all {
        let id = seed::machine(&portal, &format!("m-{}", health_shown(health).1), &[staging]).await;
        make(&portal, id, health).await;
    }
    let environments = browser.get("/environments").await;
    for (health, number) in all.into_iter().zip(1..) {
        let (class, word) = health_shown(health);
        let row = format!("#machine-{number}-in-1 [data-label=Health] .status.{class}");
        assert!(environments.text(&row).ends_with(word), "{health:?}");
        let machine = browser.get(&format!("/machines/Machines-{number}")).await;
        assert!(machine.text(&format!(".truth.{class}")).contains(word), "{health:?}: {}", machine.text(".truth"));
        let filtered = browser.get(&format!("/environments?state={word}")).await;
        assert_eq!(filtered.texts("td.name a"), [format!("m-{word}")], "{health:?}");
    }
    let unhealthy = browser.get("/machines/Machines-2").await;
    assert!(unhealthy.text("main").contains("he clock is <wrong>"), "{}", unhealthy.text("main"));
    let silent = browser.get("/machines/Machines-3").await;
    assert!(silent.text(".truth").contains("nobody listens"), "{}", silent.text(".truth"));
    let dashboard = browser.get("/").await;
    for word in ["unhealthy", "unreachable"] {
        assert!(dashboard.text(".needs").contains(word), "{word}: {}", dashboard.text(".needs"));
    }
}

#[tokio::test]
async fn every_standing_of_a_version_is_shown() {
    let portal = seed::portal().await;
    let mut browser = Browser::logged_in(&portal).await;
    let staging = seed::environment(&portal, "Staging").await;
    let shown = |state| match state {
        VersionState::UpToDate => (Some(bundled()), "up to date"),
        VersionState::UpgradeAvailable => (Some(Version::release(2026, 4, 0)), "upgrade available"),
        VersionState::NewerThanBundled => (Some(Version::release(2027, 1, 0)), "newer than bundled"),
        VersionState::Unknown => (None, "version unknown"),
    };
    let all =
        [VersionState::UpToDate, VersionState::UpgradeAvailable, VersionState::NewerThanBundled, VersionState::Unknown];
    for (state, number) in all.into_iter().zip(1..) {
        let (version, word) = shown(state);
        let id = seed::machine(&portal, &format!("m{number}"), &[staging]).await;
        let is_known = version.is_some();
        if let Some(version) = version {
            seed::answered(&portal, id, seed::report(version, portal.now())).await;
        }
        let row = browser.get("/environments").await.text(&format!("#machine-{number}-in-1"));
        assert!(row.contains(word) || (!is_known && row.contains("unknown")), "{state:?}: {row}");
        assert_eq!(
            row.contains('→'),
            state == VersionState::UpgradeAvailable,
            "an arrow only where they differ: {row}"
        );
        let page = browser.get(&format!("/machines/Machines-{number}")).await;
        let button = page.count(&format!("form[action='/machines/Machines-{number}/upgrade'] button:not([disabled])"));
        assert_eq!(button, usize::from(state == VersionState::UpgradeAvailable), "{state:?}");
    }
}
