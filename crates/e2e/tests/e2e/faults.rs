//! What goes wrong around a rollout, with the real programs: two portals, machines that come, go, move or stand elsewhere
//! than anybody thinks, and people who change their mind at each step.

use contract::Version;
use e2e::{LIMIT, Proxy, Visitor, World, signal, tree, upgrades_commanded};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::try_join;
use xtask::{Flavor, Machine, Rollout, packed_tentacle, wait_for};

use crate::deploy::Work;

/// Long enough to be met in the phase Proving.
const SLOW_PROOF: [(&str, &str); 1] = [("OCTOPUS_ROLLOUT_PROVING_TIME_MS", "3000")];

/// Bytes of the package after which its upload is held: it has begun, and is not over.
const SOME_BYTES: u64 = 200_000;

async fn hand(world: &World, rollout: &Rollout, hand: &str) -> anyhow::Result<Value> {
    world.api.post(&format!("/api/rollouts/{}/{hand}", rollout.id), &json!({ "Reason": "a test" })).await
}

/// Waits until the machine's own sentence has these words.
async fn said_of(world: &World, name: &str, words: &str) -> anyhow::Result<()> {
    wait_for("the machine's sentence", LIMIT, async || {
        let said = world.api.machine_by_name(name).await?["UpgradeState"].to_string();
        anyhow::ensure!(said.contains(words), "{said}");
        Ok(Some(()))
    })
    .await
}

#[tokio::test]
async fn two_portals_that_command_one_machine_bring_it_there_once() -> anyhow::Result<()> {
    let (one, other) = try_join!(World::start(), World::start())?;
    let machine = one.start_machine("shared", &one.from).await?;
    let ways = try_join!(Proxy::start(machine.address()), Proxy::start(machine.address()))?;
    for (world, way) in [(&one, &ways.0), (&other, &ways.1)] {
        world.register(&machine, way.address(), "any").await?;
        world.runs(&machine, &world.from).await?;
        way.hold();
    }
    let (first, second) = try_join!(one.roll_out(), other.roll_out())?;
    try_join!(one.phase(&first, "shared", "Checking"), other.phase(&second, "shared", "Checking"))?;
    ways.0.release();
    ways.1.release();
    let (first, second) = try_join!(one.over(&first), other.over(&second))?;
    for over in [&first, &second] {
        assert_eq!(over.state, "Completed", "{first:#?}\n{second:#?}\n{}\n{}", one.log(), other.log());
    }
    let phases = [first.machine("shared")?.phase.as_str(), second.machine("shared")?.phase.as_str()];
    assert!(phases.contains(&"Upgraded"), "{phases:?}");
    assert!(phases.iter().all(|phase| ["Upgraded", "Skipped"].contains(phase)), "{phases:?}");
    try_join!(one.runs(&machine, &one.to), other.runs(&machine, &other.to))?;
    assert_eq!(std::fs::read(machine.home().launches(&one.to))?.len(), 1, "the new version was launched once");
    assert!(machine.verdicts(&one.to).proven);
    Ok(())
}

#[tokio::test]
async fn a_machine_that_comes_late_joins_what_is_paused_and_nothing_that_is_over() -> anyhow::Result<()> {
    let world = World::start().await?;
    let (first, proxy) = world.machine_behind_proxy("a-first").await?;
    proxy.hold_at(SOME_BYTES);
    let rollout = world.roll_out().await?;
    world.phase(&rollout, "a-first", "Uploading").await?;
    hand(&world, &rollout, "pause").await?;
    let late = world.machine("late").await?;
    world.phase(&rollout, "late", "Waiting").await?;
    assert_eq!(late.running_version(), Some(world.from.clone()), "it goes through the same gates");
    proxy.release();
    hand(&world, &rollout, "resume").await?;
    world.upgraded(&rollout, &[&first, &late]).await?;

    let too_late = world.machine("too-late").await?;
    said_of(&world, "too-late", "nobody asked for that").await?;
    let second = world.roll_out().await?;
    assert!(
        second.machine("too-late").is_ok() && world.api.rollout_get(&rollout.id).await?.machine("too-late").is_err()
    );
    world.upgraded(&second, &[&too_late]).await.map(drop)
}

#[tokio::test]
async fn a_machine_that_comes_after_a_cancel_is_left_alone() -> anyhow::Result<()> {
    let world = World::start().await?;
    let (_first, proxy) = world.machine_behind_proxy("a-first").await?;
    proxy.hold_at(SOME_BYTES);
    let rollout = world.roll_out().await?;
    world.phase(&rollout, "a-first", "Uploading").await?;
    world.api.rollout_cancel(&rollout.id).await?;
    let late = world.machine("late").await?;
    said_of(&world, "late", "nobody asked for that").await?;
    proxy.release();
    let over = world.over(&rollout).await?;
    assert!(over.state == "Cancelled" && over.machine("late").is_err(), "{over:#?}");
    assert_eq!(late.running_version(), Some(world.from.clone()));
    Ok(())
}

#[tokio::test]
async fn a_machine_that_is_deleted_or_moved_in_the_middle_holds_nobody_up_and_keeps_its_wave() -> anyhow::Result<()> {
    let world = World::start().await?;
    let ((deleted, proxy), moved, other) =
        try_join!(world.machine_behind_proxy("a-deleted"), world.machine("b-moved"), world.machine("c-other"))?;
    proxy.hold_at(SOME_BYTES);
    let rollout = world.roll_out().await?;
    world.phase(&rollout, "a-deleted", "Uploading").await?;
    let elsewhere = world.api.environment_create("Elsewhere").await?;
    let mut machine = world.api.machine_by_name("b-moved").await?;
    machine["EnvironmentIds"] = json!([elsewhere]);
    world.api.put(&format!("/api/machines/{}", machine["Id"].as_str().unwrap_or_default()), &machine).await?;
    let id = world.api.machine_by_name("a-deleted").await?["Id"].as_str().unwrap_or_default().to_owned();
    world.api.delete(&format!("/api/machines/{id}")).await?;
    proxy.release();

    let over = world.over(&rollout).await?;
    assert_eq!(over.state, "Completed", "{over:#?}");
    assert!(over.machine("a-deleted").is_ok_and(|row| row.phase == "Skipped"), "{over:#?}");
    for (name, machine) in [("b-moved", &moved), ("c-other", &other)] {
        assert_eq!(over.machine(name)?.phase, "Upgraded");
        world.runs(machine, &world.to).await?;
    }
    assert_eq!(deleted.running_version(), Some(world.from.clone()));
    assert_eq!(upgrades_commanded(deleted.home())?, 0);
    Ok(())
}

#[tokio::test]
async fn all_canaries_are_offline_and_another_machine_goes_first() -> anyhow::Result<()> {
    let world = World::start().await?;
    let (mut canary, second, third) =
        try_join!(world.machine("a-canary"), world.machine("b-second"), world.machine("c-third"))?;
    let mut machine = world.api.machine_by_name("a-canary").await?;
    machine["Roles"] = json!(["canary"]);
    world.api.put(&format!("/api/machines/{}", machine["Id"].as_str().unwrap_or_default()), &machine).await?;
    canary.stop();
    let waves = json!([{ "Name": "Canaries", "Members": { "Role": "canary" } }, { "Members": { "Next": 1 } }]);
    let rollout = world.api.rollout_create(&json!({ "Strategy": { "Waves": waves } })).await?;
    let over = world.over(&rollout).await?;
    assert_eq!(over.state, "Completed", "silence is no failure: {over:#?}");
    assert_eq!(over.machine("a-canary")?.phase, "Waiting");
    try_join!(world.runs(&second, &world.to), world.runs(&third, &world.to))?;
    canary.start_supervisor()?;
    world.phase(&rollout, "a-canary", "Upgraded").await?;
    world.runs(&canary, &world.to).await
}

#[tokio::test]
async fn a_rollout_is_cancelled_while_checking_and_the_machine_is_as_it_was() -> anyhow::Result<()> {
    let world = World::start().await?;
    let (machine, proxy) = world.machine_behind_proxy("one").await?;
    let before = tree(&machine.home().tentacles())?;
    proxy.hold();
    let rollout = world.roll_out().await?;
    world.phase(&rollout, "one", "Checking").await?;
    world.api.rollout_cancel(&rollout.id).await?;
    proxy.release();
    let over = world.over(&rollout).await?;
    assert_eq!((over.state.as_str(), over.machine("one")?.phase.as_str()), ("Cancelled", "Cancelled"));
    assert!(tree(&machine.home().tentacles())? == before, "something was left in the store");
    world.runs(&machine, &world.from).await
}

/// The rollout is cancelled after the machine was commanded: that goes on to its end.
async fn goes_on_to_its_end(world: &World, rollout: &Rollout, machine: &Machine) -> anyhow::Result<()> {
    let over = world.over(rollout).await?;
    let ended = (over.state.as_str(), over.machine(machine.name())?.phase.as_str());
    assert_eq!(ended, ("Cancelled", "Upgraded"), "{over:#?}\n{}", world.log());
    assert_eq!(upgrades_commanded(machine.home())?, 1);
    world.runs(machine, &world.to).await
}

#[tokio::test]
async fn a_rollout_is_cancelled_while_installing_and_the_machine_comes_to_its_end() -> anyhow::Result<()> {
    let world = World::start().await?;
    let machine = world.machine("one").await?;
    let work = Work::start(&world).await?;
    let rollout = world.roll_out().await?;
    world.phase(&rollout, "one", "Installing").await?;
    let commanded = async || Ok((upgrades_commanded(machine.home())? == 1).then_some(()));
    wait_for("the machine to be commanded", LIMIT, commanded).await?;
    world.api.rollout_cancel(&rollout.id).await?;
    assert_eq!(work.finish(&world).await?["State"], "Success");
    goes_on_to_its_end(&world, &rollout, &machine).await
}

#[tokio::test]
async fn a_rollout_is_cancelled_while_restarting_and_the_machine_comes_to_its_end() -> anyhow::Result<()> {
    let world = World::start().await?;
    let machine = world.machine("one").await?;
    signal(machine.supervisor_pid(), Signal::STOP)?;
    let rollout = world.roll_out().await?;
    world.phase(&rollout, "one", "Restarting").await?;
    world.api.rollout_cancel(&rollout.id).await?;
    signal(machine.supervisor_pid(), Signal::CONT)?;
    goes_on_to_its_end(&world, &rollout, &machine).await
}

#[tokio::test]
async fn a_rollout_is_cancelled_while_proving_and_the_machine_comes_to_its_end() -> anyhow::Result<()> {
    let world = World::with(Flavor::Real, &SLOW_PROOF).await?;
    let machine = world.machine("one").await?;
    let rollout = world.roll_out().await?;
    world.phase(&rollout, "one", "Proving").await?;
    world.api.rollout_cancel(&rollout.id).await?;
    goes_on_to_its_end(&world, &rollout, &machine).await
}

/// Puts another build of the target on the machine's disk: another program under the same version.
async fn install_by_hand(world: &World, machine: &Machine, version: &Version) -> anyhow::Result<()> {
    let (programs, version) = (world.programs(), version.clone());
    let packed = move || packed_tentacle(programs, Flavor::Crash, &version);
    let package = tokio::task::spawn_blocking(packed).await??;
    let mut command = machine.tentacle_command("install");
    let output = command.arg(package).kill_on_drop(true).output();
    let output = tokio::time::timeout(LIMIT, output).await??;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

#[tokio::test]
async fn a_version_with_other_bytes_is_refused_by_the_machine_and_nothing_is_replaced() -> anyhow::Result<()> {
    let world = World::start().await?;
    let machine = world.machine("one").await?;
    install_by_hand(&world, &machine, &world.to).await?;
    let before = tree(&machine.home().tentacles())?;
    let rollout = world.roll_out().await?;
    let stopped = world.phase(&rollout, "one", "Failed").await?;
    let reason = &stopped.machine("one")?.reason;
    assert!(reason.contains("with other bytes"), "{reason}");
    assert!(tree(&machine.home().tentacles())? == before, "a version's bytes never change");
    assert_eq!(machine.running_version(), Some(world.from.clone()));
    let page = Visitor::log_in(&world.portal).await?.page(&format!("/rollouts/{}", rollout.id)).await?;
    assert!(page.row("one")?.to_lowercase().contains("failed"), "{}", page.row("one")?);
    Ok(())
}

#[tokio::test]
async fn a_machine_that_was_set_back_to_a_snapshot_is_seen_as_it_is_and_upgraded_again() -> anyhow::Result<()> {
    let world = World::start().await?;
    let mut machine = world.machine("one").await?;
    let snapshot = tempfile::tempdir()?;
    machine.stop();
    copy_all(machine.home().path(), snapshot.path())?;
    machine.start_supervisor()?;
    let rollout = world.roll_out().await?;
    world.phase(&rollout, "one", "Upgraded").await?;

    machine.stop();
    std::fs::remove_dir_all(machine.home().path())?;
    copy_all(snapshot.path(), machine.home().path())?;
    machine.start_supervisor()?;
    world.runs(&machine, &world.from).await?;
    said_of(&world, "one", &world.to.to_string()).await?;
    let again = world.roll_out().await?;
    world.upgraded(&again, &[&machine]).await?;
    assert_eq!(upgrades_commanded(machine.home())?, 1, "what was set back knows of one command");
    Ok(())
}

/// Copies a folder with the permissions of its files.
fn copy_all(from: &std::path::Path, to: &std::path::Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to)?;
    std::fs::set_permissions(to, std::fs::metadata(from)?.permissions())?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        match entry.file_type()? {
            kind if kind.is_dir() => copy_all(&source, &target)?,
            kind if kind.is_file() => std::fs::copy(&source, &target).map(drop)?,
            _ => {}
        }
    }
    Ok(())
}
