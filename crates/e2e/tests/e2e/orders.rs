//! What becomes of a wish: it waits, it is taken over, it is cancelled.

use e2e::{LIMIT, World, signal, tree};
use rustix::process::Signal;
use serde_json::json;
use tokio::try_join;
use xtask::wait_for;

#[tokio::test]
async fn an_offline_machine_waits_and_is_upgraded_when_it_reappears() -> anyhow::Result<()> {
    let world = World::start().await?;
    let (here, mut away) = try_join!(world.machine("here"), world.machine("away"))?;
    away.stop();
    let rollout = world.roll_out().await?;
    let over = world.over(&rollout).await?;
    assert_eq!(over.state, "Completed", "silence is no failure: {over:#?}");
    assert_eq!(over.machine("here")?.phase, "Upgraded");
    let told = over.machine("away")?;
    assert!(told.phase == "Waiting" && told.reason.contains("cannot be reached"), "{told:?}");

    away.start_supervisor()?;
    world.phase(&rollout, "away", "Upgraded").await?;
    world.runs(&away, &world.to).await?;
    world.runs(&here, &world.to).await
}

#[tokio::test]
async fn a_newer_rollout_takes_over_what_still_waits_in_an_older_one() -> anyhow::Result<()> {
    let world = World::start().await?;
    let mut away = world.machine("away").await?;
    away.stop();
    let older = world.roll_out().await?;
    world.over(&older).await?;
    let newer = world.roll_out().await?;
    let older = world.phase(&older, "away", "Skipped").await?;
    let reason = &older.machine("away")?.reason;
    assert!(reason.contains(&newer.id), "{reason}");
    away.start_supervisor()?;
    world.phase(&newer, "away", "Upgraded").await?;
    assert_eq!(e2e::upgrades_commanded(away.home())?, 1);
    Ok(())
}

#[tokio::test]
async fn a_cancelled_rollout_leaves_nothing_that_a_later_crash_would_launch() -> anyhow::Result<()> {
    let world = World::start().await?;
    let ((first, proxy), second) = try_join!(world.machine_behind_proxy("a-first"), world.machine("b-second"))?;
    let stores = || anyhow::Ok((tree(&first.home().applications())?, tree(&second.home().applications())?));
    let before = stores()?;
    proxy.hold_at(100_000);
    let rollout = world.roll_out().await?;
    world.phase(&rollout, "a-first", "Uploading").await?;
    world.api.rollout_cancel(&rollout.id).await?;
    proxy.release();
    let over = world.over(&rollout).await?;
    assert_eq!(over.state, "Cancelled");
    assert_eq!(over.in_phase("Cancelled").count(), 2, "{over:#?}");
    assert_eq!(world.task_over(&rollout.task_id).await?["State"], "Canceled");

    for machine in [&first, &second] {
        let killed = machine.kill9_tentacle()?;
        wait_for("another process", LIMIT, async || {
            Ok(machine.tentacle_pid().filter(|pid| *pid != killed && machine.running_version().is_some()))
        })
        .await?;
        assert_eq!(machine.running_version(), Some(world.from.clone()));
    }
    assert!(stores()? == before, "something was left in the store");
    Ok(())
}

#[tokio::test]
async fn an_upgrade_that_running_work_holds_up_leaves_nothing_and_the_work_ends_well() -> anyhow::Result<()> {
    let world = World::with(xtask::Flavor::Real, &[("OCTOPUS_ROLLOUT_DRAIN_MS", "300")]).await?;
    let machine = world.machine("busy").await?;
    let work = crate::deploy::Work::start(&world).await?;
    let before = tree(&machine.home().tentacles())?;
    let rollout = world.roll_out().await?;
    let waited = world.api.rollout_wait(&rollout.id, LIMIT, |rollout| {
        rollout.machine("busy").is_ok_and(|machine| machine.phase == "Waiting" && machine.reason.contains("busy"))
    });
    waited.await?;
    assert!(tree(&machine.home().tentacles())? == before, "something was left in the store");
    world.api.rollout_cancel(&rollout.id).await?;
    assert_eq!(world.over(&rollout).await?.state, "Cancelled");
    let task = work.finish(&world).await?;
    assert_eq!(task["State"], "Success", "{task}");

    let killed = machine.kill9_tentacle()?;
    wait_for("another process", LIMIT, async || {
        Ok(machine.tentacle_pid().filter(|pid| *pid != killed && machine.running_version().is_some()))
    })
    .await?;
    assert_eq!(machine.running_version(), Some(world.from.clone()));
    assert!(tree(&machine.home().tentacles())? == before, "something was left in the store");
    Ok(())
}

#[tokio::test]
async fn a_machine_that_goes_silent_after_the_command_counts_and_is_believed_when_it_turns_up() -> anyhow::Result<()> {
    let world = World::with(xtask::Flavor::Real, &[("OCTOPUS_ROLLOUT_RESTARTING_MS", "2000")]).await?;
    let (silent, left) = try_join!(world.machine("a-silent"), world.machine("b-left"))?;
    signal(silent.supervisor_pid(), Signal::STOP)?;
    let rollout = world.roll_out().await?;
    world.phase(&rollout, "a-silent", "Lost").await?;
    let stopped = world.api.rollout_wait(&rollout.id, LIMIT, |rollout| rollout.state == "Paused").await?;
    assert_eq!(stopped.machine("b-left")?.phase, "Waiting", "silence after a command is a failure");
    assert_eq!(world.task_over(&rollout.task_id).await?["State"], "Failed");

    signal(silent.supervisor_pid(), Signal::CONT)?;
    world.phase(&rollout, "a-silent", "Upgraded").await?;
    world.runs(&silent, &world.to).await?;
    assert_eq!(left.running_version(), Some(world.from.clone()), "nothing starts again without a person");
    Ok(())
}

#[tokio::test]
async fn a_disabled_machine_is_left_alone() -> anyhow::Result<()> {
    let world = World::start().await?;
    let (used, unused) = try_join!(world.machine("used"), world.machine("unused"))?;
    let mut machine = world.api.machine_by_name("unused").await?;
    machine["IsDisabled"] = json!(true);
    world.api.put(&format!("/api/machines/{}", machine["Id"].as_str().unwrap_or_default()), &machine).await?;
    let rollout = world.roll_out().await?;
    world.upgraded(&rollout, &[&used]).await?;
    assert_eq!(unused.running_version(), Some(world.from.clone()));
    assert!(world.over(&rollout).await?.machine("unused").is_err());
    Ok(())
}
