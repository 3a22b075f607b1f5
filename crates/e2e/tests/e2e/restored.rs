//! A portal that is restored from an old backup, with a real machine that has seen later commands: nothing goes on by
//! itself, no key of the backup works, and after a person's word upgrades do.

use std::path::PathBuf;

use contract::Version;
use e2e::{LIMIT, Visitor, World, upgrades_commanded};
use reqwest::Method;
use serde_json::json;
use xtask::{Api, Flavor, packed_tentacle, wait_for};

/// A moment that no test lives to see.
const FAR: &str = "2120-01-01T00:00:00Z";

/// A package of a version newer than any there is.
async fn newest(world: &World) -> anyhow::Result<(Version, PathBuf)> {
    let version = Version::release(2099, 1, 0);
    let (programs, wanted) = (world.programs(), version.clone());
    let package = tokio::task::spawn_blocking(move || packed_tentacle(programs, Flavor::Real, &wanted)).await??;
    Ok((version, package))
}

#[tokio::test]
async fn a_portal_restored_from_an_old_backup_does_nothing_by_itself_and_goes_on_after_a_persons_word()
-> anyhow::Result<()> {
    let mut world = World::start().await?;
    let machine = world.machine("m").await?;
    let nightly = world.portal.create_api_key("nightly").await?;
    let planned = world.api.rollout_create(&json!({ "StartAt": FAR })).await?;
    let file = world.portal.data_dir().with_file_name("portal.backup");
    let file = file.to_string_lossy().into_owned();
    world.portal.command(&["backup", &file, "--packages", "none"]).await?;

    // Since the backup: the rollout is done, and a key is revoked.
    world.api.post(&format!("/api/rollouts/{}/start", planned.id), &json!({})).await?;
    world.upgraded(&planned, &[&machine]).await?;
    let commanded = upgrades_commanded(machine.home())?;
    let keys = world.api.get("/api/users/me").await?["Id"].as_str().unwrap_or_default().to_owned();
    let keys = format!("/api/users/{keys}/apikeys");
    let listed = world.api.get(&keys).await?;
    let old = listed["Items"].as_array().into_iter().flatten().find(|key| key["Purpose"] == "nightly").cloned();
    let old = old.unwrap_or_default()["Id"].as_str().unwrap_or_default().to_owned();
    world.api.delete(&format!("{keys}/{old}")).await?;

    world.portal.kill9();
    world.portal.command(&["restore", &file, "--force"]).await?;
    world.portal.restart().await?;
    let url = world.portal.url();
    for key in [nightly.as_str(), world.portal.api_key()] {
        let (status, answer) = Api::new(&url, key)?.send(Method::GET, "/api/users/me", None).await?;
        assert!(status == 401 && answer.to_string().contains("suspended"), "{status}: {answer}");
    }
    let since = Api::new(&url, &world.portal.create_api_key("since").await?)?;
    let paused = since.rollout_get(&planned.id).await?;
    assert_eq!(paused.state, "Paused", "{paused:#?}");
    wait_for("the portal to see what the machine runs", LIMIT, async || {
        Ok((since.machine_version("m").await? == Some(world.to.clone())).then_some(()))
    })
    .await?;
    assert_eq!(upgrades_commanded(machine.home())?, commanded, "nothing was commanded");
    let (status, answer) = since.send(Method::POST, "/api/rollouts", Some(&json!({}))).await?;
    assert!(status == 409 && answer.to_string().contains("must look first"), "{status}: {answer}");

    // An administrator looks, revokes what was revoked, and confirms.
    let mut visitor = Visitor::log_in(&world.portal).await?;
    let dashboard = visitor.page("/").await?.text();
    assert!(dashboard.contains("until an administrator has looked: this portal was restored"), "{dashboard}");
    let page = visitor.page("/settings/restore").await?;
    let page = visitor.submit(&page.button("Revoke the key of admin for nightly")?, &[]).await?;
    let page = visitor.submit(&page.button("Confirm: let 1 API key")?, &[]).await?.text();
    assert!(page.contains("admin confirmed it"), "{page}");
    let (status, _) = Api::new(&url, &nightly)?.send(Method::GET, "/api/users/me", None).await?;
    assert_eq!(status, 401, "what was revoked stays so");
    assert_eq!(world.api.rollout_get(&planned.id).await?.state, "Paused", "a person resumes it");

    // Commands go on above the highest generation that the machine has seen.
    let (version, package) = newest(&world).await?;
    let (status, answer) = world.push(&package).await?;
    assert_eq!(status, 201, "{answer}");
    let next = world.api.rollout_create(&json!({ "TargetVersion": version.to_string() })).await?;
    let over = world.over(&next).await?;
    assert_eq!(over.machine("m")?.phase, "Upgraded", "{over:#?}\n{}", world.log());
    world.runs(&machine, &version).await
}
