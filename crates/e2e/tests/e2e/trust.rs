//! Wrong certificates, in either direction: refused, and told in words.

use e2e::{LIMIT, Visitor, World};
use reqwest::Method;
use serde_json::json;
use xtask::wait_for;

/// Waits until the page of the environments says these words of a machine, or the API does.
async fn told(world: &World, name: &str, words: &str) -> anyhow::Result<()> {
    let machine = world.api.machine_by_name(name).await?;
    let (id, mut visitor) = (machine["Id"].as_str().unwrap_or_default(), Visitor::log_in(&world.portal).await?);
    wait_for("the portal to say why", LIMIT, async || {
        let machine = world.api.machine_by_name(name).await?;
        let summary = machine["StatusSummary"].as_str().unwrap_or_default().to_owned();
        anyhow::ensure!(summary.contains(words), "the API says: {summary}");
        let page = visitor.page(&format!("/machines/{id}")).await?.text();
        anyhow::ensure!(page.contains(words), "the page says: {page}");
        Ok(Some(()))
    })
    .await
}

/// Tells the portal which certificate a machine has.
async fn pin(world: &World, name: &str, thumbprint: &str) -> anyhow::Result<()> {
    let mut machine = world.api.machine_by_name(name).await?;
    machine["Thumbprint"] = json!(thumbprint);
    machine["Endpoint"]["Thumbprint"] = json!(thumbprint);
    let path = format!("/api/machines/{}", machine["Id"].as_str().unwrap_or_default());
    world.api.put(&path, &machine).await.map(drop)
}

#[tokio::test]
async fn a_machine_with_another_certificate_is_refused() -> anyhow::Result<()> {
    let world = World::start().await?;
    let (real, other) = tokio::try_join!(world.machine("real"), world.start_machine("other", &world.from))?;
    let pinned = other.thumbprint().await?;
    pin(&world, "real", &pinned).await?;
    told(&world, "real", "shows the certificate").await?;
    let rollout = world.roll_out().await?;
    let over = world.over(&rollout).await?;
    let told = over.machine("real")?;
    assert!(told.phase == "Waiting" && told.reason.contains(&pinned), "{told:?}");
    assert_eq!(real.running_version(), Some(world.from.clone()));
    assert_eq!(e2e::upgrades_commanded(real.home())?, 0);
    Ok(())
}

#[tokio::test]
async fn a_portal_that_the_machine_does_not_trust_is_refused() -> anyhow::Result<()> {
    let (world, stranger) = tokio::try_join!(World::start(), World::start())?;
    let machine = world.machine("real").await?;
    let address = machine.address();
    let wish = json!({
        "Name": "stolen", "EnvironmentIds": [stranger.environment], "Roles": ["any"],
        "Endpoint": {
            "CommunicationStyle": "TentaclePassive", "Uri": format!("https://{address}/"),
            "Thumbprint": machine.thumbprint().await?,
        },
    });
    let (status, answer) = stranger.api.send(Method::POST, "/api/machines", Some(&wish)).await?;
    assert_eq!(status, 201, "{answer}");
    told(&stranger, "stolen", "does not trust").await?;
    let rollout = stranger.roll_out().await?;
    let over = stranger.over(&rollout).await?;
    assert_eq!(over.machine("stolen")?.phase, "Waiting", "{over:#?}");
    assert_eq!(e2e::upgrades_commanded(machine.home())?, 0);
    world.runs(&machine, &world.from).await
}

#[tokio::test]
async fn a_machine_that_was_installed_anew_is_refused_until_a_person_pins_its_new_certificate() -> anyhow::Result<()> {
    let world = World::start().await?;
    let mut machine = world.machine("real").await?;
    let before = machine.thumbprint().await?;
    machine.stop();
    std::fs::remove_file(machine.home().identity())?;
    machine.start_supervisor()?;
    machine.wait_until_listening(LIMIT).await?;
    let found = machine.thumbprint().await?;
    assert_ne!(found, before);
    told(&world, "real", &found).await?;

    let taken = world.register(&machine, machine.address(), "any").await.expect_err("a name was taken over");
    assert!(taken.to_string().contains("already a machine with the name"), "{taken}");
    pin(&world, "real", &found).await?;
    wait_for("the machine to be trusted again", LIMIT, async || {
        Ok((world.api.machine_by_name("real").await?["HealthStatus"] == "Healthy").then_some(()))
    })
    .await?;
    let rollout = world.roll_out().await?;
    world.upgraded(&rollout, &[&machine]).await.map(drop)
}
