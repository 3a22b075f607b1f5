//! Upgrades ordered from a real Tentacle process: what is refused leaves nothing, what is armed ends it with 0.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use contract::{Sha256, Verdicts, Version};
use octopus_proto::{RefusalKind, Start, Ticket, UpgradeOrder, Work, WorkState};
use support::{Client, LIMIT, Machine, Process, machine, until};

fn newer() -> Version {
    Version::release(9000, 1, 0)
}

fn order(ticket: &str, package: Sha256, generation: u64) -> UpgradeOrder {
    UpgradeOrder {
        ticket: ticket.parse().unwrap(),
        package: Some(package),
        version: newer(),
        generation,
        expected: env!("CARGO_PKG_VERSION").parse().unwrap(),
        drain_ms: 20_000,
    }
}

async fn uploaded(machine: &Machine, process: &Process) -> (Client, Sha256) {
    let mut client = machine.connect(process).await.unwrap();
    let package = client.upload(&machine.tentacle_package(&newer())).await;
    (client, package)
}

async fn start_script(machine: &Machine, client: &mut Client, script: &str) -> Ticket {
    let package = client.upload(&machine.package("Acme.Web", &[("Deploy.sh", script)])).await;
    let work = Work::Install {
        package,
        environment: "Production".parse().unwrap(),
        variables: BTreeMap::new(),
        sensitive: BTreeMap::new(),
    };
    let ticket: Ticket = "work-1".parse().unwrap();
    let start = Start { ticket: ticket.clone(), description: "Deploy Acme.Web".to_owned(), work };
    client.start(start).await.unwrap();
    ticket
}

#[tokio::test]
async fn an_upgrade_is_armed_and_the_process_ends_with_0_after_its_last_answer() {
    let machine = machine();
    let mut process = machine.run();
    let (mut client, package) = uploaded(&machine, &process).await;
    let order = order("u1", package, 1);
    client.upgrade(&order).await.unwrap();
    let (state, lines) = client.end_of(&order.ticket).await;
    assert_eq!(state, WorkState::Succeeded, "{lines:?}");
    assert_eq!(process.ended().code(), Some(0));
    assert_eq!(machine.tentacles(), [newer().folder_name()]);

    let process = machine.run();
    let mut client = machine.connect(&process).await.unwrap();
    client.upgrade(&order).await.unwrap();
    assert_eq!(client.end_of(&order.ticket).await.0, WorkState::Succeeded, "the same order again does nothing");
    let status = client.status().await.unwrap();
    assert_eq!(status.generation, 1);
    assert_eq!(status.installed[0].version, newer());
}

#[tokio::test]
async fn every_order_that_is_refused_leaves_nothing() {
    let machine = machine();
    let mut process = machine.run();
    let (mut client, package) = uploaded(&machine, &process).await;
    let ordinary = client.upload(&machine.package("Acme.Web", &[])).await;
    let good = order("u1", package, 5);
    let (version, expected) = (Version::release(1, 0, 0), Version::release(1, 0, 0));
    let cases = [
        (UpgradeOrder { expected, ..good.clone() }, RefusalKind::VersionChanged),
        (UpgradeOrder { version: version.clone(), ..good.clone() }, RefusalKind::BadPackage),
        (UpgradeOrder { package: Some(Sha256([1; 32])), ..good.clone() }, RefusalKind::BadPackage),
        (UpgradeOrder { package: Some(ordinary), version, ..good.clone() }, RefusalKind::BadPackage),
        (UpgradeOrder { generation: 0, ..good.clone() }, RefusalKind::StaleGeneration),
    ];
    for (order, kind) in cases {
        let refusal = client.upgrade(&order).await.unwrap_err();
        assert_eq!(refusal.kind, kind, "{refusal}");
    }
    assert_eq!(machine.tentacles(), Vec::<String>::new());
    assert!(!machine.home.work().join("u1").exists());
    assert_eq!(client.status().await.unwrap().generation, 0);
    assert!(process.is_running());
}

#[tokio::test]
async fn an_upgrade_that_work_holds_up_is_put_off_and_the_work_goes_on() {
    let machine = machine();
    let mut process = machine.run();
    let (mut client, package) = uploaded(&machine, &process).await;
    let flag = machine.folder.path().join("flag");
    let script = format!("while [ ! -e {} ]; do sleep 0.05; done; echo through", flag.display());
    let work = start_script(&machine, &mut client, &script).await;
    let busy = UpgradeOrder { drain_ms: 200, ..order("u1", package, 1) };
    client.upgrade(&busy).await.unwrap();
    let (state, _) = client.end_of(&busy.ticket).await;
    let WorkState::Busy { reason } = state else { panic!("{state:?}") };
    assert!(reason.contains("Deploy Acme.Web"), "{reason}");
    assert_eq!(machine.tentacles(), Vec::<String>::new());

    let stale = order("u2", package, 1);
    assert_eq!(client.upgrade(&stale).await.unwrap_err().kind, RefusalKind::StaleGeneration);
    let second = order("u3", package, 2);
    client.upgrade(&second).await.unwrap();
    let late = Start { ticket: "late".parse().unwrap(), description: String::new(), work: late_work(package) };
    assert_eq!(client.start(late).await.unwrap_err().kind, RefusalKind::Ending);
    let third = order("u4", package, 3);
    assert_eq!(client.upgrade(&third).await.unwrap_err().kind, RefusalKind::Busy);
    client.upgrade(&second).await.unwrap();
    std::fs::write(flag, "").unwrap();
    let (state, lines) = client.end_of(&second.ticket).await;
    assert_eq!(state, WorkState::Succeeded, "{lines:?}");
    assert_eq!(process.ended().code(), Some(0));

    let process = machine.run();
    let (state, lines) = machine.connect(&process).await.unwrap().end_of(&work).await;
    assert_eq!(state, WorkState::Succeeded, "{lines:?}");
    assert!(lines.iter().any(|line| line.text == "through"));
}

fn late_work(package: Sha256) -> Work {
    Work::Install {
        package,
        environment: "Production".parse().unwrap(),
        variables: BTreeMap::new(),
        sensitive: BTreeMap::new(),
    }
}

#[tokio::test]
async fn an_upgrade_whose_successor_could_not_start_as_this_machine_is_refused_and_done_when_that_is_mended() {
    let machine = machine();
    let mut process = machine.run();
    let (mut client, package) = uploaded(&machine, &process).await;
    let (settings, identity) = (machine.home.config(), machine.home.identity());
    let texts = [&settings, &identity].map(|path| std::fs::read_to_string(path).unwrap());
    let other = support::machine();
    other.identity();
    let other = std::fs::read_to_string(other.home.identity()).unwrap();
    for (path, text) in [(&settings, "listne = 1"), (&identity, "junk"), (&identity, other.as_str())] {
        std::fs::write(path, text).unwrap();
        let refusal = client.upgrade(&order("u1", package, 1)).await.unwrap_err();
        assert_eq!(refusal.kind, RefusalKind::Internal);
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(refusal.sentence.contains(name) && refusal.sentence.contains("could not start"), "{refusal}");
        let problems = client.status().await.unwrap().problems;
        assert!(problems.len() == 1 && problems[0].contains(name), "{problems:?}");
        for (path, text) in [&settings, &identity].into_iter().zip(&texts) {
            std::fs::write(path, text).unwrap();
        }
    }
    assert!(machine.tentacles().is_empty() && process.is_running());
    client.upgrade(&order("u1", package, 1)).await.unwrap();
    assert_eq!(process.ended().code(), Some(0));
}

#[tokio::test]
async fn an_upgrade_that_is_cancelled_before_it_is_armed_leaves_nothing() {
    let machine = machine();
    let mut process = machine.run();
    let (mut client, package) = uploaded(&machine, &process).await;
    let work = start_script(&machine, &mut client, "sleep 20").await;
    let order = order("u1", package, 1);
    client.upgrade(&order).await.unwrap();
    until("it is staged", async || machine.tentacles().iter().any(|name| name.starts_with(".incoming"))).await;
    client.cancel(&order.ticket).await.unwrap();
    assert_eq!(client.end_of(&order.ticket).await.0, WorkState::Cancelled);
    assert_eq!(machine.tentacles(), Vec::<String>::new());
    client.cancel(&work).await.unwrap();
    assert_eq!(client.end_of(&work).await.0, WorkState::Cancelled);
    assert!(process.is_running());
}

#[tokio::test]
async fn a_tentacle_killed_before_it_armed_leaves_nothing_that_could_be_launched() {
    let machine = machine();
    let process = machine.run();
    let (mut client, package) = uploaded(&machine, &process).await;
    let work = start_script(&machine, &mut client, "sleep 5").await;
    let order = order("u1", package, 1);
    client.upgrade(&order).await.unwrap();
    until("it is staged", async || machine.tentacles().iter().any(|name| name.starts_with(".incoming"))).await;
    process.kill();
    assert_eq!(machine.home.installed_tentacles().unwrap(), []);
    let process = machine.run();
    let mut client = machine.connect(&process).await.unwrap();
    client.upgrade(&order).await.unwrap();
    for ticket in [&order.ticket, &work] {
        let (state, _) = client.end_of(ticket).await;
        assert!(matches!(state, WorkState::UnknownResult { .. }), "{state:?}");
    }
}

#[tokio::test]
async fn going_back_withdraws_the_newer_versions() {
    let machine = machine();
    let mut process = machine.run();
    let mut client = machine.connect(&process).await.unwrap();
    let older = Version::release(1, 0, 0);
    let package = machine.command(&["install", machine.tentacle_package(&newer()).to_str().unwrap()]).output().unwrap();
    assert!(package.status.success(), "{package:?}");
    let package = client.upload(&machine.tentacle_package(&older)).await;
    std::fs::write(machine.home.proven(&older), "").unwrap();
    let order = UpgradeOrder { version: older.clone(), ..order("u1", package, 1) };
    client.upgrade(&order).await.unwrap();
    assert_eq!(client.end_of(&order.ticket).await.0, WorkState::Succeeded);
    assert_eq!(process.ended().code(), Some(0));
    assert!(Verdicts::read(&machine.home, &newer()).withdrawn);
    assert!(!Verdicts::read(&machine.home, &older).proven);
}

#[tokio::test]
async fn the_same_order_twice_at_once_runs_once_and_a_watcher_hears_the_end() {
    let machine = machine();
    let mut process = machine.run();
    let (client, package) = uploaded(&machine, &process).await;
    let order = order("u1", package, 1);
    let (mut a, mut b) = (client.clone(), machine.connect(&process).await.unwrap());
    let (first, second) = tokio::join!(a.upgrade(&order), b.upgrade(&order));
    for result in [first, second] {
        assert!(
            result.as_ref().is_ok_and(|()| true) || result.as_ref().is_err_and(|r| r.kind == RefusalKind::Ending),
            "{result:?}"
        );
    }
    let ended = tokio::time::timeout(LIMIT, a.end_of(&order.ticket)).await.unwrap();
    assert_eq!(ended.0, WorkState::Succeeded);
    assert_eq!(process.ended().code(), Some(0));
}

#[tokio::test]
async fn a_long_poll_on_other_work_does_not_hold_up_the_end() {
    let machine = machine();
    let mut process = machine.run();
    let (mut client, package) = uploaded(&machine, &process).await;
    let order = order("u1", package, 1);
    let mut other = machine.connect(&process).await.unwrap();
    client.upgrade(&order).await.unwrap();
    // Nothing has this sequence number: the poll would wait for its whole time.
    let poll =
        tokio::spawn(async move { other.watch(&"u1".parse().unwrap(), 1_000_000, Duration::from_secs(25)).await });
    let started = std::time::Instant::now();
    assert_eq!(process.ended().code(), Some(0));
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    drop(poll.await);
}
