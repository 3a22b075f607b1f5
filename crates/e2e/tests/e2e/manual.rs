//! The examples of `docs/api.md`: every fenced block is run as it stands, against a real portal with a real machine. A block
//! that nobody here can run fails.
//!
//! What is in the shell runs everywhere. The official client, NuGet's client, `dotnet` and PowerShell are used where they
//! are; where one is missing its blocks are passed over, and that is said.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, bail, ensure};
use e2e::{Form, LIMIT, Visitor, World};
use reqwest::Method;
use serde_json::json;
use tempfile::TempDir;
use tokio::process::Command;
use xtask::Machine;

use crate::deploy::pack;

/// How long a script may take, in the times that one thing may take.
const TURNS: u32 = 4;

/// Machines that are never there, beside the one that is.
const ABSENT: u8 = 4;

/// Where the manual's portal stands.
const MANUAL_PORTAL: &str = "http://127.0.0.1:8080";

/// A soak in the manual, which is an hour. Here it is a second.
const MANUAL_SOAK: (&str, &str) = ("3600", "1");

/// A block of the manual.
#[derive(Debug)]
struct Block {
    /// The words behind its fence: the language, and what it needs.
    kind: String,
    text: String,
}

/// What runs a kind of blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Runner {
    Shell,
    Nuget,
    Dotnet,
    PowerShell,
    Node,
}

impl Runner {
    fn of(kind: &str) -> anyhow::Result<Self> {
        Ok(match kind {
            "sh" => Self::Shell,
            "sh nuget" => Self::Nuget,
            "sh dotnet" => Self::Dotnet,
            "powershell" => Self::PowerShell,
            "js" => Self::Node,
            _ => bail!("nobody runs the blocks of the kind \"{kind}\""),
        })
    }
}

fn blocks() -> anyhow::Result<Vec<Block>> {
    let manual = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/api.md"))?;
    let mut blocks: Vec<Block> = Vec::new();
    let mut is_within = false;
    for line in manual.lines() {
        match line.strip_prefix("```") {
            Some("") if is_within => is_within = false,
            Some(kind) => {
                ensure!(!is_within, "a block within a block: {kind}");
                blocks.push(Block { kind: kind.to_owned(), text: String::new() });
                is_within = true;
            }
            None if is_within => {
                let text = &mut blocks.last_mut().context("no block")?.text;
                text.push_str(line);
                text.push('\n');
            }
            None => {}
        }
    }
    ensure!(!is_within, "the last block has no end");
    Ok(blocks)
}

/// All blocks of one runner in their order.
fn script(runner: Runner) -> anyhow::Result<String> {
    let mut script = String::new();
    for block in blocks()? {
        if Runner::of(&block.kind)? == runner {
            script.push_str(&block.text);
            script.push('\n');
        }
    }
    ensure!(!script.is_empty(), "the manual has no block for {runner:?}");
    Ok(script.replace(MANUAL_SOAK.0, MANUAL_SOAK.1))
}

/// A portal as the manual has it: `Machines-1` is there, in `Environments-1`; the others are not, in another one.
async fn world(folder: &TempDir) -> anyhow::Result<(World, Machine)> {
    let world = World::start().await?;
    let machine = world.start_machine("web-1", &world.from).await?;
    world.register(&machine, machine.address(), "web").await?;
    world.runs(&machine, &world.from).await?;
    let elsewhere = world.api.environment_create("Elsewhere").await?;
    for number in 1..=ABSENT {
        let endpoint = json!({
            "CommunicationStyle": "TentaclePassive",
            "Uri": "https://127.0.0.1:9/",
            "Thumbprint": format!("{number:02}").repeat(32),
        });
        let name = format!("away-{number}");
        let wish = json!({ "Name": name, "EnvironmentIds": [elsewhere], "Roles": ["web"], "Endpoint": endpoint });
        world.api.post("/api/machines", &wish).await?;
    }
    pack(folder, "Acme.Web", &[("Deploy.sh", "echo hello")])?;
    Ok((world, machine))
}

/// Runs a script with what the manual takes for granted, and returns what it said.
async fn run(world: &World, mut command: Command, folder: &Path) -> anyhow::Result<String> {
    command.current_dir(folder).env("HOME", folder).env("PORTAL", world.portal.url());
    command.env("OCTOPUS_API_KEY", world.portal.api_key()).stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(LIMIT * TURNS, command.output()).await.context("the script did not end")??;
    let (said, told) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{said}\n{told}\n{}", world.log());
    Ok(said.into_owned())
}

/// A key by which machines register themselves.
async fn registration_key(world: &World) -> anyhow::Result<String> {
    let mut visitor = Visitor::log_in(&world.portal).await?;
    let url = world.portal.url();
    let fields = [("environment", world.environment.as_str()), ("roles", "web"), ("machines", "1"), ("server", &url)];
    let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let action = "/registration-keys".to_owned();
    let form = Form { method: Method::POST, action, fields, words: "Make key".to_owned() };
    let page = visitor.submit(&form, &[]).await?;
    let command = page.text_of("#command").context("no command")?;
    let key = command.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').find(|word| word.starts_with("REG-"));
    Ok(key.with_context(|| command.clone())?.to_owned())
}

/// Whether a program is there. Where it is not and is demanded, the test fails.
fn is_there(program: &str, demand: &str) -> anyhow::Result<bool> {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let is_there = std::env::split_paths(&paths).any(|folder| folder.join(program).is_file());
    ensure!(is_there || std::env::var_os(demand).is_none(), "{program} is demanded by {demand} and is not there");
    if !is_there {
        eprintln!("{program} is not there: its blocks of the manual are passed over");
    }
    Ok(is_there)
}

async fn upgraded_and_said(world: &World, machine: &Machine, said: &str) -> anyhow::Result<()> {
    ensure!(said.contains("1 of 1 would be upgraded"), "{said}");
    ensure!(said.contains("Completed: "), "{said}");
    world.runs(machine, &world.to).await
}

#[tokio::test]
async fn every_block_of_the_manual_has_a_runner() -> anyhow::Result<()> {
    for block in blocks()? {
        Runner::of(&block.kind)?;
    }
    Ok(())
}

#[tokio::test]
async fn the_examples_for_the_shell_run() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let (world, _machine) = world(&folder).await?;
    let script = script(Runner::Shell)?;
    ensure!(script.contains(MANUAL_PORTAL), "the manual names no portal");
    let script = format!("set -euo pipefail\n{}", script.replace(MANUAL_PORTAL, &world.portal.url()));
    let mut command = Command::new("bash");
    command.args(["-c", &script]).env("OCTOPUS_REGISTRATION_KEY", registration_key(&world).await?);
    command.env("THUMBPRINT", "ab".repeat(32));
    let said = run(&world, command, folder.path()).await?;
    ensure!(said.contains("1 of 1 would be upgraded") && said.contains("Completed: "), "{said}");
    Ok(())
}

#[tokio::test]
async fn the_examples_for_the_typescript_client_run() -> anyhow::Result<()> {
    let Some(modules) = std::env::var_os("OCTOPUS_TS_CLIENT") else {
        eprintln!("OCTOPUS_TS_CLIENT names no folder of modules: passed over");
        return Ok(());
    };
    let folder = tempfile::tempdir()?;
    let (world, machine) = world(&folder).await?;
    let mut command = Command::new("node");
    command.args(["-e", &script(Runner::Node)?]).env("NODE_PATH", modules);
    let said = run(&world, command, folder.path()).await?;
    upgraded_and_said(&world, &machine, &said).await
}

#[tokio::test]
async fn the_examples_for_powershell_run_where_it_is() -> anyhow::Result<()> {
    let script = script(Runner::PowerShell)?;
    if !is_there("pwsh", "OCTOPUS_PWSH")? {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let (world, machine) = world(&folder).await?;
    let mut command = Command::new("pwsh");
    command.args(["-NoProfile", "-Command", &format!("$ErrorActionPreference = 'Stop'\n{script}")]);
    let said = run(&world, command, folder.path()).await?;
    upgraded_and_said(&world, &machine, &said).await
}

#[tokio::test]
async fn the_examples_for_nugets_clients_run_where_they_are() -> anyhow::Result<()> {
    for (runner, program, demand) in
        [(Runner::Nuget, "nuget", "OCTOPUS_NUGET"), (Runner::Dotnet, "dotnet", "OCTOPUS_DOTNET")]
    {
        let script = script(runner)?;
        if !is_there(program, demand)? {
            continue;
        }
        let folder = tempfile::tempdir()?;
        let (world, _machine) = world(&folder).await?;
        let mut command = Command::new("bash");
        command.args(["-euc", &script]);
        run(&world, command, folder.path()).await?;
    }
    Ok(())
}
