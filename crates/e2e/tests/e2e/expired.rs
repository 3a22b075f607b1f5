//! Certificates whose dates are over: the portal and its machines pin thumbprints, and look at no date.

use std::path::Path;

use e2e::{LIMIT, World, upgrades_commanded};
use serde_json::json;

/// Puts another identity in the place of one, with a certificate that was over years ago.
fn expire(identity: &Path, name: &str) -> anyhow::Result<()> {
    let key = rcgen::KeyPair::generate()?;
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    (params.not_before, params.not_after) = (rcgen::date_time_ymd(2001, 1, 1), rcgen::date_time_ymd(2002, 1, 1));
    let certificate = params.self_signed(&key)?;
    // In place, so that nobody else may read it, as before.
    Ok(std::fs::write(identity, format!("{}{}", key.serialize_pem(), certificate.pem()))?)
}

#[tokio::test]
async fn a_machine_is_upgraded_and_brought_back_though_the_certificates_of_both_sides_expired() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    world.portal.stop();
    expire(&world.portal.data_dir().join("identity.pem"), "octopus-server")?;
    world.portal.restart().await?;
    let mut machine = world.start_machine("one", &world.from).await?;
    machine.stop();
    expire(&machine.home().identity(), "one")?;
    machine.start_supervisor()?;
    machine.wait_until_listening(LIMIT).await?;
    world.register(&machine, machine.address(), "any").await?;
    world.runs(&machine, &world.from).await?;

    let rollout = world.roll_out().await?;
    world.upgraded(&rollout, &[&machine]).await?;
    world.api.post(&format!("/api/rollouts/{}/undo", rollout.id), &json!({ "Reason": "a test" })).await?;
    world.runs(&machine, &world.from).await?;
    assert_eq!(upgrades_commanded(machine.home())?, 2, "there and back");
    Ok(())
}
