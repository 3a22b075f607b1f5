//! Orders to a real Tentacle process that come again, late or from two portals, and orders to go to a version that is
//! installed already.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod support;

use contract::{Sha256, Verdicts, Version};
use octopus_proto::tls::Identity;
use octopus_proto::{RefusalKind, UpgradeOrder, WorkState};
use support::{Machine, Process, machine};

fn own() -> Version {
    env!("CARGO_PKG_VERSION").parse().unwrap()
}

fn older() -> Version {
    Version::release(1, 0, 0)
}

fn newer() -> Version {
    Version::release(9000, 1, 0)
}

fn order(ticket: &str, package: Option<Sha256>, version: Version, generation: u64) -> UpgradeOrder {
    UpgradeOrder { ticket: ticket.parse().unwrap(), package, version, generation, expected: own(), drain_ms: 20_000 }
}

/// Installs a version beside the running one, proven.
fn install(machine: &Machine, version: &Version) {
    let package = machine.tentacle_package(version);
    let installed = machine.command(&["install", package.to_str().unwrap()]).output().unwrap();
    assert!(installed.status.success(), "{installed:?}");
    std::fs::write(machine.home.proven(version), "").unwrap();
}

/// Tells what an order that does not end the process came to.
async fn refused(machine: &Machine, process: &Process, order: &UpgradeOrder) -> (RefusalKind, String) {
    let refusal = machine.connect(process).await.unwrap().upgrade(order).await.unwrap_err();
    (refusal.kind, refusal.sentence)
}

#[tokio::test]
async fn an_installed_version_is_gone_back_to_without_an_upload() {
    let machine = machine();
    install(&machine, &older());
    install(&machine, &own());
    let mut process = machine.run();
    let mut client = machine.connect(&process).await.unwrap();
    let order = order("back", None, older(), 1);
    client.upgrade(&order).await.unwrap();
    let (state, lines) = client.end_of(&order.ticket).await;
    assert_eq!(state, WorkState::Succeeded, "{lines:?}");
    assert_eq!(process.ended().code(), Some(0));
    let verdicts = Verdicts::read(&machine.home, &older());
    assert!(!verdicts.proven && !verdicts.is_marked_bad(), "it proves itself again: {verdicts:?}");
    assert!(Verdicts::read(&machine.home, &own()).withdrawn);
    assert_eq!(std::fs::read_dir(machine.home.packages()).unwrap().count(), 0, "no bytes were sent");
}

#[tokio::test]
async fn an_installed_version_that_is_gone_or_damaged_is_refused_in_words_and_nothing_is_touched() {
    let machine = machine();
    install(&machine, &own());
    let mut process = machine.run();
    let back = order("back", None, older(), 1);
    let (kind, sentence) = refused(&machine, &process, &back).await;
    assert!(kind == RefusalKind::BadPackage && sentence.contains("is not on this machine any more"), "{sentence}");

    install(&machine, &older());
    std::fs::write(machine.home.tentacle_program(&older()), "something else").unwrap();
    let (kind, sentence) = refused(&machine, &process, &back).await;
    assert!(kind == RefusalKind::BadPackage && sentence.contains("is damaged"), "{sentence}");
    assert!(Verdicts::read(&machine.home, &older()).proven && !Verdicts::read(&machine.home, &own()).withdrawn);
    let (kind, sentence) = refused(&machine, &process, &order("same", None, own(), 1)).await;
    assert!(kind == RefusalKind::BadPackage && sentence.contains("is what runs already"), "{sentence}");
    let status = machine.connect(&process).await.unwrap().status().await.unwrap();
    assert!(status.generation == 0 && process.is_running());
}

#[tokio::test]
async fn an_order_that_was_carried_out_does_nothing_when_it_comes_again() {
    let machine = machine();
    install(&machine, &older());
    install(&machine, &own());
    let mut process = machine.run();
    let first = order("first", None, older(), 1);
    machine.connect(&process).await.unwrap().upgrade(&first).await.unwrap();
    process.ended();
    // The version that was left runs again, as after a way forward and back: what was expected is true once more.
    std::fs::remove_file(machine.home.withdrawn(&own())).unwrap();
    let mut process = machine.run();
    let mut client = machine.connect(&process).await.unwrap();
    client.upgrade(&first).await.unwrap();
    assert_eq!(client.end_of(&first.ticket).await.0, WorkState::Succeeded, "its end is told again");
    let other = UpgradeOrder { version: newer(), ..first.clone() };
    assert_eq!(client.upgrade(&other).await.unwrap_err().kind, RefusalKind::TicketReused);
    // The ticket was cleaned up long ago: the generation still tells that the order is old.
    let late = order("late", None, older(), 1);
    assert_eq!(client.upgrade(&late).await.unwrap_err().kind, RefusalKind::StaleGeneration);
    assert!(!Verdicts::read(&machine.home, &own()).withdrawn && process.is_running());
}

#[tokio::test]
async fn of_two_portals_that_wish_different_versions_the_second_is_told_what_runs() {
    let machine = machine();
    let second = Identity::generate("second portal").unwrap();
    machine.settings(&format!("trusted = [\"{}\", \"{}\"]", machine.portal.thumbprint(), second.thumbprint()));
    install(&machine, &older());
    let mut process = machine.run();
    let mut first = machine.connect(&process).await.unwrap();
    let mut other = machine.connect_as(&process, &second).await.unwrap();
    // The second has not noticed that the first brought the machine here.
    let wish = UpgradeOrder { expected: Version::release(2, 0, 0), ..order("second", None, older(), 7) };
    let refusal = other.upgrade(&wish).await.unwrap_err();
    assert_eq!(refusal.kind, RefusalKind::VersionChanged);
    assert!(refusal.sentence.contains(&own().to_string()), "it is told what runs: {refusal}");
    let seen = [first.status().await.unwrap().generation, other.status().await.unwrap().generation];
    assert_eq!(seen, [0, 0], "what was refused leaves no generation");

    let (a, b) = (order("a", None, older(), 1), order("b", None, older(), 8));
    let (a, b) = tokio::join!(first.upgrade(&a), other.upgrade(&b));
    let refusals: Vec<RefusalKind> = [a, b].into_iter().filter_map(|result| result.err().map(|r| r.kind)).collect();
    assert!(matches!(refusals[..], [RefusalKind::Busy | RefusalKind::Ending]), "one of them is obeyed: {refusals:?}");
    assert_eq!(process.ended().code(), Some(0));
}
