//! Two machines with one identity: a whole home was copied, and sometimes the one answers and sometimes the other.

use e2e::{LIMIT, Proxy, World};
use serde_json::Value;
use xtask::{Machine, wait_for};

async fn cloned(world: &World) -> anyhow::Result<Option<Value>> {
    let machine = world.api.machine_by_name("one").await?;
    Ok((!machine["Cloned"].is_null()).then_some(machine))
}

/// Lets the machines answer by turns, until the portal says something of it.
async fn answer_by_turns(world: &World, proxy: &Proxy, machines: [&Machine; 2]) -> anyhow::Result<Value> {
    let mut turn = 0;
    let seen = wait_for("the clone to be noted", LIMIT, async || {
        turn += 1;
        proxy.lead_to(machines[turn % 2].address());
        let id = world.api.machine_by_name("one").await?["Id"].as_str().unwrap_or_default().to_owned();
        let task = world.task_create("Health", serde_json::json!({ "MachineIds": [id] })).await?;
        world.task_over(&task).await?;
        cloned(world).await
    });
    seen.await
}

#[tokio::test]
async fn two_machines_with_one_identity_are_found_out_and_not_upgraded_until_a_person_says_so() -> anyhow::Result<()> {
    let world = World::start().await?;
    let (original, proxy) = world.machine_behind_proxy("one").await?;
    let mut copy = world.start_machine("copy", &world.from).await?;
    copy.stop();
    std::fs::copy(original.home().identity(), copy.home().identity())?;
    let settings = std::fs::read_to_string(original.home().config())?;
    let settings = settings.replace(&original.address().to_string(), &copy.address().to_string());
    std::fs::write(copy.home().config(), settings)?;
    copy.start_supervisor()?;
    copy.wait_until_listening(LIMIT).await?;
    assert_eq!(original.thumbprint().await?, copy.thumbprint().await?);

    let machine = answer_by_turns(&world, &proxy, [&original, &copy]).await?;
    assert_eq!(machine["HealthStatus"], "Unhealthy", "{machine}");
    let said = machine["StatusSummary"].as_str().unwrap_or_default();
    assert!(said.contains("two machines answer with its identity"), "{said}");

    let rollout = world.roll_out().await?;
    let over = world.over(&rollout).await?;
    assert_eq!(over.machine("one")?.phase, "Waiting", "{over:#?}");
    let answer = world.api.get(&format!("/api/rollouts/{}", rollout.id)).await?;
    let why = answer["Machines"][0]["Why"].as_str().unwrap_or_default();
    assert!(why.contains("wo machines answer with its identity"), "{why}");
    assert_eq!([&original, &copy].map(Machine::running_version), [Some(world.from.clone()), Some(world.from.clone())]);

    copy.stop();
    proxy.lead_to(original.address());
    let id = machine["Id"].as_str().unwrap_or_default();
    world.api.delete(&format!("/api/machines/{id}/clone")).await?;
    world.phase(&rollout, "one", "Upgraded").await?;
    world.runs(&original, &world.to).await?;
    assert_eq!(cloned(&world).await?, None);
    Ok(())
}
