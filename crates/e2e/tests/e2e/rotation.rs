//! A portal that changes its identity, with two real machines of which one is away: it is killed in between, and in the end
//! both trust the new identity alone and take commands.

use std::fs;
use std::time::Duration;

use contract::Home;
use e2e::{LIMIT, Visitor, World};
use reqwest::Method;
use serde_json::{Value, json};
use xtask::wait_for;

/// The portals that a machine trusts, as its settings say.
fn trusted(home: &Home) -> anyhow::Result<Vec<String>> {
    let settings: toml::Table = fs::read_to_string(home.config())?.parse()?;
    let list = settings.get("trusted").and_then(toml::Value::as_array).cloned().unwrap_or_default();
    Ok(list.iter().filter_map(toml::Value::as_str).map(str::to_owned).collect())
}

/// Waits until the change of the identity is as wished.
async fn until(world: &World, what: &str, wanted: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
    let waited = wait_for(what, LIMIT, async || {
        let told = world.api.get("/api/identity").await?;
        anyhow::ensure!(wanted(&told), "it is {told}");
        Ok(Some(told))
    });
    waited.await.map_err(|error| error.context(world.log()))
}

fn behind(told: &Value) -> Vec<&str> {
    told["MachinesBehind"].as_array().into_iter().flatten().filter_map(|machine| machine["Name"].as_str()).collect()
}

#[tokio::test]
async fn a_portal_changes_its_identity_while_a_machine_is_away_and_is_killed_and_loses_none() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let (near, mut far) = tokio::try_join!(world.machine("near"), world.machine("far"))?;
    let old = world.api.portal_thumbprint().await?;
    far.stop();

    let mut visitor = Visitor::log_in(&world.portal).await?;
    let page = visitor.page("/settings/identity").await?;
    let page = visitor.submit(&page.button("Change identity")?, &[("word", "change identity")]).await?;
    assert!(page.text().contains("Abandon the new identity"), "{}", page.text());
    let told = until(&world, "the near machine to be told", |told| behind(told) == ["far"]).await?;
    let new = told["NextThumbprint"].as_str().unwrap_or_default().to_owned();
    assert_eq!((told["Stage"].as_str(), trusted(near.home())?), (Some("Readied"), vec![old.clone(), new.clone()]));

    // A kill loses nothing of it.
    world.portal.kill9();
    world.portal.restart().await?;
    let told = until(&world, "the change to go on", |told| behind(told) == ["far"]).await?;
    assert_eq!(told["NextThumbprint"].as_str(), Some(new.as_str()));
    let (status, answer) = world.api.send(Method::POST, "/api/identity/use", None).await?;
    assert!(status == 409 && answer.to_string().contains("1 machine(s) would be cut off"), "{status}: {answer}");
    world.api.post("/api/identity/use", &json!({ "MachinesCutOff": 1 })).await?;
    assert_eq!(world.api.portal_thumbprint().await?, new);
    wait_for("the near machine to forget the old identity", LIMIT, async || {
        anyhow::ensure!(trusted(near.home())? == [new.clone()], "it trusts {:?}", trusted(near.home())?);
        Ok(Some(()))
    })
    .await?;
    world.portal.kill9();
    world.portal.restart().await?;
    assert_eq!(world.api.portal_thumbprint().await?, new);

    // The far one is met with the old identity, told of the new one, and then nobody needs the old one.
    far.start_supervisor()?;
    far.wait_until_listening(LIMIT).await?;
    let told = until(&world, "the end of the change", |told| told["Stage"] == "Settled").await?;
    assert_eq!((behind(&told).len(), told["FormerThumbprint"].is_null()), (0, true));
    assert_eq!(trusted(far.home())?, std::slice::from_ref(&new));
    assert!(!world.portal.data_dir().join("identity-former.pem").exists());
    let rollout = world.roll_out().await?;
    world.upgraded(&rollout, &[&near, &far]).await.map(drop)
}

#[tokio::test]
async fn an_identity_that_is_abandoned_is_taken_back_from_the_machines() -> anyhow::Result<()> {
    let world = World::start().await?;
    let machine = world.machine("m").await?;
    let old = world.api.portal_thumbprint().await?;
    world.api.post("/api/identity/ready", &json!({})).await?;
    until(&world, "the machine to be told", |told| behind(told).is_empty()).await?;
    assert_eq!(trusted(machine.home())?.len(), 2);
    world.api.post("/api/identity/abandon", &json!({})).await?;
    until(&world, "the machine to be told otherwise", |told| behind(told).is_empty()).await?;
    assert_eq!((trusted(machine.home())?, world.api.portal_thumbprint().await?), (vec![old.clone()], old));
    tokio::time::timeout(Duration::from_secs(90), world.runs(&machine, &world.from)).await?
}
