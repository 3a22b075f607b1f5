//! The official TypeScript client against a real portal with a real machine. Where it is not installed the test passes over;
//! `OCTOPUS_TS_CLIENT` names the folder of modules in which npm put `@octopusdeploy/api-client`.

use std::process::Stdio;

use anyhow::{Context as _, ensure};
use e2e::{LIMIT, World};
use tokio::process::Command;

use crate::deploy::pack;

/// How long the client may take for all of it, in the times that one thing may take.
const TURNS: u32 = 4;

#[tokio::test]
async fn the_official_client_connects_changes_deploys_cancels_and_upgrades() -> anyhow::Result<()> {
    let Some(modules) = std::env::var_os("OCTOPUS_TS_CLIENT") else {
        eprintln!("OCTOPUS_TS_CLIENT names no folder of modules: passed over");
        return Ok(());
    };
    let world = World::start().await?;
    let machine = world.machine("one").await?;
    let folder = tempfile::tempdir()?;
    let short = pack(&folder, "Acme.Short", &[("Deploy.sh", "echo hello from the package")])?;
    let long = pack(&folder, "Acme.Long", &[("Deploy.sh", "echo the long one begins; exec sleep 600")])?;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/official.js");
    let mut command = Command::new("node");
    command.arg(script).env("NODE_PATH", modules).env("PORTAL", world.portal.url()).env("KEY", world.portal.api_key());
    command.env("SHORT", short).env("LONG", long).env("TARGET", world.to.to_string());
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(LIMIT * TURNS, command.output()).await.context("the client did not end")??;
    let (said, told) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success() && said.contains("all of it"), "{said}{told}\n{}", world.log());
    world.runs(&machine, &world.to).await
}
