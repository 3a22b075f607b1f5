//! Ordinary packages by the same mechanism: scripts in their order on several machines, and a true result.

use std::path::PathBuf;

use anyhow::Context as _;
use contract::{PackageId, Version};
use e2e::{LIMIT, World};
use package::PackRequest;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::try_join;
use xtask::wait_for;

/// Packs an ordinary package of version 1.0.0.
pub fn pack(folder: &TempDir, id: &str, files: &[(&str, &str)]) -> anyhow::Result<PathBuf> {
    let mut sources = Vec::new();
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::write(&path, text)?;
        sources.push((path, (*name).to_owned()));
    }
    let (id, version): (PackageId, _) = (id.parse()?, Version::release(1, 0, 0));
    let request = PackRequest { id: &id, version: &version, description: "d", authors: "a", files: &sources };
    Ok(package::pack(&request, folder.path())?)
}

/// Work that goes on at every machine until it is told to end.
pub struct Work {
    task: String,
    folder: TempDir,
}

impl Work {
    /// Starts it, and waits until its script runs.
    pub async fn start(world: &World) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let (begun, end) = (folder.path().join("begun"), folder.path().join("end"));
        let script = format!("touch {}; while [ ! -e {} ]; do sleep 0.05; done", begun.display(), end.display());
        let package = pack(&folder, "Acme.Long", &[("Deploy.sh", &script)])?;
        let (status, answer) = world.push(&package).await?;
        anyhow::ensure!(status == 201, "{status}: {answer}");
        let arguments = json!({ "PackageId": "Acme.Long", "EnvironmentId": world.environment });
        let task = world.task_create("Deploy", arguments).await?;
        wait_for("the script to begin", LIMIT, async || Ok(begun.exists().then_some(()))).await?;
        Ok(Self { task, folder })
    }

    /// Lets it end, and returns its task.
    pub async fn finish(&self, world: &World) -> anyhow::Result<Value> {
        std::fs::write(self.folder.path().join("end"), "")?;
        world.task_over(&self.task).await
    }
}

#[tokio::test]
async fn scripts_run_in_their_order_on_every_machine_with_the_variables() -> anyhow::Result<()> {
    let world = World::start().await?;
    let (one, two, other) = try_join!(world.machine("one"), world.machine("two"), world.machine("other"))?;
    let mut moved = world.api.machine_by_name("other").await?;
    moved["Roles"] = json!(["db"]);
    world.api.put(&format!("/api/machines/{}", moved["Id"].as_str().context("no id")?), &moved).await?;

    let folder = tempfile::tempdir()?;
    let say = |what: &str| format!("echo \"{what} $OCTOPUS_GREETING\" >> said; echo \"{what} was here\"");
    let files = [("PreDeploy.sh", say("pre")), ("Deploy.sh", say("main")), ("PostDeploy.sh", say("post"))];
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let package = pack(&folder, "Acme.Web", &[&files[..], &[("site.txt", "hello")]].concat())?;
    let (status, answer) = world.push(&package).await?;
    assert_eq!(status, 201, "{answer}");
    let arguments = json!({
        "PackageId": "Acme.Web", "EnvironmentId": world.environment, "Roles": ["any"], "Variables": { "Greeting": "hi" },
    });
    let task = world.task_create("Deploy", arguments).await?;
    let over = world.task_over(&task).await?;
    let log = world.api.task_raw(&task).await?;
    assert_eq!(over["State"], "Success", "{log}");
    for machine in [&one, &two] {
        let installed = machine.home().package(&e2e::ENVIRONMENT.parse()?, &"Acme.Web".parse()?).join("1.0.0");
        assert_eq!(std::fs::read_to_string(installed.join("site.txt"))?, "hello");
        let said = std::fs::read_to_string(installed.join("said"))?;
        assert_eq!(said, "pre hi\nmain hi\npost hi\n");
        assert!(log.contains(machine.name()) && log.contains("main was here"), "{log}");
    }
    assert!(!other.home().applications().join(e2e::ENVIRONMENT).exists(), "its role was not chosen");
    Ok(())
}

#[tokio::test]
async fn one_machine_whose_script_fails_fails_the_task_and_is_named() -> anyhow::Result<()> {
    let world = World::start().await?;
    let (good, bad) = try_join!(world.machine("good"), world.machine("bad"))?;
    let folder = tempfile::tempdir()?;
    let deploy = format!("case \"$PWD\" in {}/*) echo 'no room here' >&2; exit 7;; esac", bad.home().path().display());
    let files = [("Deploy.sh", deploy.as_str()), ("PostDeploy.sh", "touch post"), ("DeployFailed.sh", "touch failed")];
    let (status, answer) = world.push(&pack(&folder, "Acme.Web", &files)?).await?;
    assert_eq!(status, 201, "{answer}");
    let arguments = json!({ "PackageId": "Acme.Web", "EnvironmentId": world.environment });
    let task = world.task_create("Deploy", arguments).await?;
    let over = world.task_over(&task).await?;
    let log = world.api.task_raw(&task).await?;
    assert_eq!(over["State"], "Failed", "{log}");
    let error = over["ErrorMessage"].as_str().unwrap_or_default();
    assert!(error.contains("bad") && !error.contains("good"), "{error}");
    assert!(log.contains("no room here") && log.contains('7'), "{log}");
    let folder = |machine: &xtask::Machine| {
        anyhow::Ok(machine.home().package(&e2e::ENVIRONMENT.parse()?, &"Acme.Web".parse()?).join("1.0.0"))
    };
    let (good, bad) = (folder(&good)?, folder(&bad)?);
    assert!(bad.join("failed").exists() && !bad.join("post").exists(), "DeployFailed runs in the place of PostDeploy");
    assert!(good.join("post").exists() && !good.join("failed").exists());
    Ok(())
}
