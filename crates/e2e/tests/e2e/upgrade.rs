//! The main job: one wish brings machines to the bundled version, whichever way it is uttered.

use std::path::PathBuf;

use e2e::{Visitor, World, tree};
use serde_json::json;
use tokio::try_join;
use xtask::{Portal, PortalOptions};

#[tokio::test]
async fn the_button_upgrades_every_machine() -> anyhow::Result<()> {
    let world = World::start().await?;
    let (one, two, three) = try_join!(world.machine("one"), world.machine("two"), world.machine("three"))?;
    let mut visitor = Visitor::log_in(&world.portal).await?;
    let page = visitor.page("/environments").await?;
    let row = page.row("two")?;
    assert!(row.contains(&world.from.to_string()) && row.contains("upgrade available"), "{row}");
    let form = page.form("Upgrade all Tentacles")?;
    visitor.submit(&form, &[]).await?;
    let rollouts = world.api.get("/api/rollouts").await?;
    assert_eq!(rollouts["TotalResults"], 1);
    let id = rollouts["Items"][0]["Id"].as_str().unwrap_or_default();
    let rollout = world.api.rollout_get(id).await?;
    world.upgraded(&rollout, &[&one, &two, &three]).await?;

    let page = visitor.page("/environments").await?;
    for name in ["one", "two", "three"] {
        let row = page.row(name)?;
        assert!(row.contains(&world.to.to_string()) && row.contains("up to date"), "{row}");
    }
    let upgrades: Vec<_> = page.forms()?.into_iter().filter(|form| form.action.ends_with("/upgrade")).collect();
    assert_eq!(upgrades, [], "nothing is left to upgrade");
    let page = visitor.page(&format!("/rollouts/{id}")).await?;
    assert!(page.row("two")?.contains("Upgraded") || page.row("two")?.contains("upgraded"), "{}", page.row("two")?);
    Ok(())
}

#[tokio::test]
async fn a_task_upgrades_an_environment_and_a_rollout_the_machines_that_were_chosen() -> anyhow::Result<()> {
    let world = World::start().await?;
    let (one, two) = try_join!(world.machine("one"), world.machine("two"))?;
    let other = world.api.environment_create("Other").await?;
    let mut moved = world.api.machine_by_name("two").await?;
    let id = moved["Id"].as_str().unwrap_or_default().to_owned();
    moved["EnvironmentIds"] = json!([other]);
    world.api.put(&format!("/api/machines/{id}"), &moved).await?;

    let pid = two.tentacle_pid();
    let task = world.task_create("Upgrade", json!({ "EnvironmentId": world.environment })).await?;
    let over = world.task_over(&task).await?;
    assert_eq!(over["State"], "Success", "{over}\n{}", world.log());
    world.runs(&one, &world.to).await?;
    let log = world.api.task_raw(&task).await?;
    assert!(log.contains("one") && log.contains(&world.to.to_string()), "{log}");
    assert_eq!((two.tentacle_pid(), two.running_version()), (pid, Some(world.from.clone())), "it was not chosen");

    let rollout = world.api.rollout_create(&json!({ "MachineIds": [id] })).await?;
    assert_eq!(rollout.machines.len(), 1);
    world.upgraded(&rollout, &[&two]).await?;
    Ok(())
}

#[tokio::test]
async fn nothing_older_is_offered() -> anyhow::Result<()> {
    let world = World::start().await?;
    let newer = "2099.1.0".parse()?;
    let machine = world.start_machine("ahead", &newer).await?;
    world.register(&machine, machine.address(), "any").await?;
    world.runs(&machine, &newer).await?;

    let mut visitor = Visitor::log_in(&world.portal).await?;
    let page = visitor.page("/environments").await?;
    assert!(page.row("ahead")?.contains("newer"), "{}", page.row("ahead")?);
    assert!(page.forms()?.iter().all(|form| !form.action.ends_with("/upgrade")), "{:?}", page.forms()?);
    let (status, answer) = world.api.send(reqwest::Method::POST, "/api/rollouts", Some(&json!({}))).await?;
    assert_eq!(status, 400);
    assert!(answer.to_string().contains("downgrade is not offered"), "{answer}");
    let summary = world.api.get("/api/environments/summary").await?;
    assert_eq!(summary["TentacleUpgradesRequired"], false, "{summary}");
    assert_eq!(machine.home().installed_tentacles()?, [newer]);
    Ok(())
}

#[tokio::test]
async fn the_same_upgrade_wished_twice_is_done_once() -> anyhow::Result<()> {
    let world = World::start().await?;
    let (machine, proxy) = world.machine_behind_proxy("one").await?;
    proxy.hold();
    let first = world.roll_out().await?;
    let second = world.roll_out().await?;
    proxy.release();
    let (first, second) = try_join!(world.over(&first), world.over(&second))?;
    let phases = [first.machine("one")?.phase.as_str(), second.machine("one")?.phase.as_str()];
    assert!(phases.contains(&"Upgraded") && phases.contains(&"Skipped"), "{phases:?}");
    world.runs(&machine, &world.to).await?;
    assert_eq!(e2e::upgrades_commanded(machine.home())?, 1);
    assert_eq!(std::fs::read(machine.home().launches(&world.to))?.len(), 1, "it was launched once");
    Ok(())
}

#[tokio::test]
async fn two_homes_on_one_machine_do_not_disturb_each_other() -> anyhow::Result<()> {
    let world = World::start().await?;
    let (upgraded, left) = try_join!(world.machine("upgraded"), world.machine("left"))?;
    let (pid, before) = (left.tentacle_pid(), tree(&left.home().applications())?);
    assert_ne!(upgraded.thumbprint().await?, left.thumbprint().await?);
    let id = world.api.machine_by_name("upgraded").await?["Id"].clone();
    let rollout = world.api.rollout_create(&json!({ "MachineIds": [id] })).await?;
    world.upgraded(&rollout, &[&upgraded]).await?;
    assert_eq!(left.tentacle_pid(), pid);
    assert!(tree(&left.home().applications())? == before, "its store was changed");
    upgraded.kill9_tentacle()?;
    world.runs(&upgraded, &world.to).await?;
    assert_eq!(left.tentacle_pid(), pid);
    Ok(())
}

#[tokio::test]
async fn a_second_portal_on_the_same_data_is_refused() -> anyhow::Result<()> {
    let world = World::start().await?;
    let data_dir: Option<PathBuf> = Some(world.portal.data_dir().into());
    let second = Portal::start(world.programs(), PortalOptions { data_dir, ..PortalOptions::default() }).await;
    let error = format!("{:#}", second.expect_err("two portals would both command the machines"));
    assert!(error.contains("another portal is running on the data folder"), "{error}");
    world.api.get("/api").await?;
    Ok(())
}
