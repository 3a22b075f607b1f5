//! The portal, Tentacle and Suction Cup killed (-9) in every phase of an upgrade: it ends well, and is done once.

use e2e::{LIMIT, World, signal, upgrades_commanded};
use rustix::process::Signal;
use xtask::{Flavor, Machine, Rollout, processes_of, wait_for};

use crate::deploy::Work;

/// Long enough to be met in the phase Proving.
const SLOW_PROOF: [(&str, &str); 1] = [("OCTOPUS_ROLLOUT_PROVING_TIME_MS", "3000")];

/// Bytes of the package after which its upload is held: it has begun, and is not over.
const SOME_BYTES: u64 = 200_000;

/// Kills of the portal during one rollout. The test would go on for as long as the portal makes steps.
const KILLS_MAX: usize = 12;

/// Ends the portal in the middle and starts it on the same data.
async fn kill_portal(world: &mut World) -> anyhow::Result<()> {
    world.portal.kill9();
    world.portal.restart().await
}

/// The machine was brought to the target by one command and one launch.
async fn done_once(world: &World, rollout: &Rollout, machine: &Machine) -> anyhow::Result<()> {
    let over = world.upgraded(rollout, &[machine]).await?;
    assert_eq!(over.machine(machine.name())?.attempt, 1, "{over:#?}");
    assert_eq!(upgrades_commanded(machine.home())?, 1);
    assert_eq!(std::fs::read(machine.home().launches(&world.to))?.len(), 1, "the new version was launched once");
    assert_eq!(world.task_over(&rollout.task_id).await?["State"], "Success");
    Ok(())
}

#[tokio::test]
async fn the_portal_is_killed_while_checking() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let (machine, proxy) = world.machine_behind_proxy("one").await?;
    proxy.hold();
    let rollout = world.roll_out().await?;
    world.phase(&rollout, "one", "Checking").await?;
    kill_portal(&mut world).await?;
    proxy.release();
    done_once(&world, &rollout, &machine).await
}

#[tokio::test]
async fn the_portal_is_killed_while_uploading() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let (machine, proxy) = world.machine_behind_proxy("one").await?;
    proxy.hold_at(SOME_BYTES);
    let rollout = world.roll_out().await?;
    world.phase(&rollout, "one", "Uploading").await?;
    kill_portal(&mut world).await?;
    proxy.release();
    done_once(&world, &rollout, &machine).await
}

#[tokio::test]
async fn the_portal_is_killed_while_installing() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let machine = world.machine("one").await?;
    let work = Work::start(&world).await?;
    let rollout = world.roll_out().await?;
    world.phase(&rollout, "one", "Installing").await?;
    kill_portal(&mut world).await?;
    world.phase(&rollout, "one", "Installing").await?;
    let task = work.finish(&world).await?;
    assert_eq!(task["State"], "Success", "the work outlives the portal: {task}");
    done_once(&world, &rollout, &machine).await
}

#[tokio::test]
async fn the_portal_is_killed_while_restarting() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let machine = world.machine("one").await?;
    signal(machine.supervisor_pid(), Signal::STOP)?;
    let rollout = world.roll_out().await?;
    world.phase(&rollout, "one", "Restarting").await?;
    kill_portal(&mut world).await?;
    signal(machine.supervisor_pid(), Signal::CONT)?;
    done_once(&world, &rollout, &machine).await
}

#[tokio::test]
async fn the_portal_is_killed_while_proving() -> anyhow::Result<()> {
    let mut world = World::with(Flavor::Real, &SLOW_PROOF).await?;
    let machine = world.machine("one").await?;
    let rollout = world.roll_out().await?;
    world.phase(&rollout, "one", "Proving").await?;
    kill_portal(&mut world).await?;
    done_once(&world, &rollout, &machine).await
}

#[tokio::test]
async fn the_portal_is_killed_at_every_step_of_a_fleet() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let (one, two, three) = tokio::try_join!(world.machine("one"), world.machine("two"), world.machine("three"))?;
    let rollout = world.roll_out().await?;
    let mut seen = Vec::new();
    while seen.len() < KILLS_MAX {
        let now =
            world.api.rollout_wait(&rollout.id, LIMIT, |now| now.is_completed || !seen.contains(&steps(now))).await?;
        if now.is_completed {
            break;
        }
        seen.push(steps(&now));
        kill_portal(&mut world).await?;
    }
    assert!(seen.len() >= 3, "the portal was killed too seldom to show anything: {seen:?}");
    world.upgraded(&rollout, &[&one, &two, &three]).await?;
    for machine in [&one, &two, &three] {
        assert_eq!(upgrades_commanded(machine.home())?, 1, "after {seen:?}");
        assert_eq!(std::fs::read(machine.home().launches(&world.to))?.len(), 1, "after {seen:?}");
    }
    Ok(())
}

/// Where every machine stands.
fn steps(rollout: &Rollout) -> Vec<String> {
    rollout.machines.iter().map(|machine| machine.phase.clone()).collect()
}

#[tokio::test]
async fn tentacle_is_killed_while_checking() -> anyhow::Result<()> {
    let world = World::start().await?;
    let (machine, proxy) = world.machine_behind_proxy("one").await?;
    proxy.hold();
    let rollout = world.roll_out().await?;
    world.phase(&rollout, "one", "Checking").await?;
    machine.kill9_tentacle()?;
    proxy.release();
    world.phase(&rollout, "one", "Upgraded").await?;
    world.upgraded(&rollout, &[&machine]).await.map(drop)
}

#[tokio::test]
async fn tentacle_is_killed_while_uploading() -> anyhow::Result<()> {
    let world = World::start().await?;
    let (machine, proxy) = world.machine_behind_proxy("one").await?;
    proxy.hold_at(SOME_BYTES);
    let rollout = world.roll_out().await?;
    world.phase(&rollout, "one", "Uploading").await?;
    machine.kill9_tentacle()?;
    proxy.release();
    done_once(&world, &rollout, &machine).await
}

#[tokio::test]
async fn tentacle_is_killed_while_installing() -> anyhow::Result<()> {
    let world = World::start().await?;
    let machine = world.machine("one").await?;
    let work = Work::start(&world).await?;
    let rollout = world.roll_out().await?;
    world.phase(&rollout, "one", "Installing").await?;
    machine.kill9_tentacle()?;
    let over = world.upgraded(&rollout, &[&machine]).await?;
    assert!(over.machine("one")?.attempt <= 2, "{over:#?}");
    let task = work.finish(&world).await?;
    assert_eq!(task["State"], "Failed", "nobody knows what became of the script, so it did not succeed: {task}");
    Ok(())
}

#[tokio::test]
async fn tentacle_is_killed_while_restarting() -> anyhow::Result<()> {
    let world = World::start().await?;
    let machine = world.machine("one").await?;
    signal(machine.supervisor_pid(), Signal::STOP)?;
    let rollout = world.roll_out().await?;
    world.phase(&rollout, "one", "Restarting").await?;
    signal(machine.supervisor_pid(), Signal::CONT)?;
    wait_for("the new version", LIMIT, async || Ok(machine.running_version().filter(|version| *version == world.to)))
        .await?;
    machine.kill9_tentacle()?;
    world.upgraded(&rollout, &[&machine]).await?;
    assert_eq!(upgrades_commanded(machine.home())?, 1);
    Ok(())
}

#[tokio::test]
async fn tentacle_is_killed_while_proving() -> anyhow::Result<()> {
    let world = World::with(Flavor::Real, &SLOW_PROOF).await?;
    let machine = world.machine("one").await?;
    let rollout = world.roll_out().await?;
    world.phase(&rollout, "one", "Proving").await?;
    machine.kill9_tentacle()?;
    world.upgraded(&rollout, &[&machine]).await?;
    assert_eq!(upgrades_commanded(machine.home())?, 1);
    assert_eq!(std::fs::read(machine.home().launches(&world.to))?.len(), 2, "the proof began anew with a new process");
    Ok(())
}

#[tokio::test]
async fn tentacle_is_killed_at_every_step_and_the_portal_tells_the_truth() -> anyhow::Result<()> {
    let world = World::with(Flavor::Real, &SLOW_PROOF).await?;
    let machine = world.machine("one").await?;
    let rollout = world.roll_out().await?;
    // A machine that was met between two processes waits as offline, and is begun again.
    let is_over = |now: &Rollout| {
        now.machine("one").is_ok_and(|one| ["Upgraded", "FellBack", "Failed"].contains(&one.phase.as_str()))
    };
    let mut seen = Vec::new();
    let over = loop {
        let wanted = |now: &Rollout| is_over(now) || !seen.contains(&steps(now));
        let now = world.api.rollout_wait(&rollout.id, LIMIT, wanted).await?;
        if is_over(&now) {
            break now;
        }
        seen.push(steps(&now));
        // Between two processes there is none to kill.
        let _ = machine.kill9_tentacle();
    };
    match over.machine("one")?.phase.as_str() {
        "Upgraded" => world.runs(&machine, &world.to).await,
        // Killed at every launch it had, a good version is given up like a bad one.
        "FellBack" | "Failed" => world.runs(&machine, &world.from).await,
        other => anyhow::bail!("{other} after {seen:?}: {over:#?}"),
    }
}

#[tokio::test]
async fn suction_cup_is_killed_and_its_tentacle_goes_with_it() -> anyhow::Result<()> {
    let world = World::start().await?;
    let mut machine = world.machine("one").await?;
    let orphan = machine.tentacle_pid();
    machine.kill9_supervisor();
    machine.start_supervisor()?;
    wait_for("one Tentacle, and another one", LIMIT, async || {
        let running = processes_of(machine.home().path());
        anyhow::ensure!(running.len() == 1 && machine.tentacle_pid() == running.first().copied(), "{running:?}");
        anyhow::ensure!(machine.tentacle_pid() != orphan, "the orphan lives on");
        Ok(Some(()))
    })
    .await?;
    world.runs(&machine, &world.from).await?;
    let rollout = world.roll_out().await?;
    done_once(&world, &rollout, &machine).await
}

#[tokio::test]
async fn suction_cup_is_killed_while_proving_and_the_upgrade_ends_well() -> anyhow::Result<()> {
    let world = World::with(Flavor::Real, &SLOW_PROOF).await?;
    let mut machine = world.machine("one").await?;
    let rollout = world.roll_out().await?;
    world.phase(&rollout, "one", "Proving").await?;
    machine.kill9_supervisor();
    machine.start_supervisor()?;
    world.upgraded(&rollout, &[&machine]).await?;
    assert_eq!(processes_of(machine.home().path()).len(), 1, "never two Tentacles");
    assert_eq!(upgrades_commanded(machine.home())?, 1);
    Ok(())
}
