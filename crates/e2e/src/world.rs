//! A portal that bundles a newer Tentacle, and machines that run an older one: the real programs, all on loopback.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use contract::Version;
use contract::env::SUCTION_CUP_PROBATION_MS;
use reqwest::multipart::{Form, Part};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use xtask::{Api, Flavor, Machine, MachineOptions, Portal, PortalOptions, Programs, Rollout};
use xtask::{packed_tentacle, product_version, wait_for};

use crate::proxy::Proxy;

/// How long anything is waited for. It is long, because the machine may be busy; who waits so long has failed.
pub const LIMIT: Duration = Duration::from_secs(90);

/// The environment of every machine.
pub const ENVIRONMENT: &str = "Test";

/// How often the portal asks how the machines are.
const HEALTH_INTERVAL_MS: &str = "1000";

/// How long a new version must be well. Tests that look at the phase Proving take longer.
const PROVING_TIME_MS: &str = "500";

/// How long a broken version has to become proven.
const PROBATION_MS: &str = "6000";

/// A portal and what belongs to it.
#[derive(Debug)]
pub struct World {
    /// The portal.
    pub portal: Portal,
    /// Its API.
    pub api: Api,
    /// What the machines run.
    pub from: Version,
    /// What the portal bundles.
    pub to: Version,
    /// The id of [`ENVIRONMENT`].
    pub environment: String,
    programs: &'static Programs,
    flavor: Flavor,
}

impl World {
    /// A portal that bundles a newer version which is good.
    pub async fn start() -> anyhow::Result<Self> {
        Self::with(Flavor::Real, &[]).await
    }

    /// A portal that bundles a newer version of this flavor, with more in its environment.
    pub async fn with(flavor: Flavor, env: &[(&str, &str)]) -> anyhow::Result<Self> {
        let programs = Programs::for_tests().await?;
        let to = product_version();
        let bundled = packed(programs, flavor, &to).await?;
        let defaults = [
            ("OCTOPUS_HEALTH_INTERVAL_MS", HEALTH_INTERVAL_MS),
            ("OCTOPUS_ROLLOUT_PROVING_TIME_MS", PROVING_TIME_MS),
            ("OCTOPUS_ROLLOUT_SOAK_MS", "1"),
        ];
        // What is set later counts.
        let env = defaults.iter().chain(env).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let options = PortalOptions { bundle_dir: bundled.parent().map(Into::into), env, ..PortalOptions::default() };
        let portal = Portal::start(programs, options).await?;
        let api = portal.api()?;
        let environment = api.environment_create(ENVIRONMENT).await?;
        let from = Version::release(2026, 1, 0);
        Ok(Self { portal, api, from, to, environment, programs, flavor })
    }

    /// A machine that runs the older version and is registered where it listens.
    pub async fn machine(&self, name: &str) -> anyhow::Result<Machine> {
        let machine = self.start_machine(name, &self.from).await?;
        self.register(&machine, machine.address(), "any").await?;
        self.runs(&machine, &self.from).await?;
        Ok(machine)
    }

    /// The same, but the portal reaches it through a proxy.
    pub async fn machine_behind_proxy(&self, name: &str) -> anyhow::Result<(Machine, Proxy)> {
        let machine = self.start_machine(name, &self.from).await?;
        let proxy = Proxy::start(machine.address()).await?;
        self.register(&machine, proxy.address(), "any").await?;
        self.runs(&machine, &self.from).await?;
        Ok((machine, proxy))
    }

    /// A machine that runs this version, and that no portal knows.
    pub async fn start_machine(&self, name: &str, version: &Version) -> anyhow::Result<Machine> {
        let package = packed(self.programs, Flavor::Real, version).await?;
        let broken = self.flavor != Flavor::Real;
        let env = broken.then(|| (SUCTION_CUP_PROBATION_MS.to_owned(), PROBATION_MS.to_owned()));
        let options = MachineOptions { name: name.to_owned(), package, env: env.into_iter().collect() };
        Machine::start(self.programs, options).await
    }

    /// Adds a machine to the portal by the program `tentacle register`.
    pub async fn register(&self, machine: &Machine, address: SocketAddr, role: &str) -> anyhow::Result<()> {
        let thumbprint = self.api.portal_thumbprint().await?;
        let mut command = machine.tentacle_command("register");
        command.args(["--server", &self.portal.url(), "--server-thumbprint", &thumbprint, "--name", machine.name()]);
        command.args(["--environment", ENVIRONMENT, "--role", role, "--address", &address.to_string()]);
        command.env("OCTOPUS_API_KEY", self.portal.api_key()).kill_on_drop(true);
        let output = tokio::time::timeout(LIMIT, command.output()).await.context("register did not end")??;
        ensure!(output.status.success(), "register failed: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// Wishes every machine at the bundled version.
    pub async fn roll_out(&self) -> anyhow::Result<Rollout> {
        self.api.rollout_create(&json!({})).await
    }

    /// Waits until a machine of a rollout is in a phase.
    pub async fn phase(&self, rollout: &Rollout, machine: &str, phase: &str) -> anyhow::Result<Rollout> {
        let wanted = |rollout: &Rollout| rollout.machine(machine).is_ok_and(|machine| machine.phase == phase);
        let waited = self.api.rollout_wait(&rollout.id, LIMIT, wanted).await;
        waited.with_context(|| format!("{machine} was waited for in {phase}; {}", self.log()))
    }

    /// Waits until a rollout is over, and says which state it came to.
    pub async fn over(&self, rollout: &Rollout) -> anyhow::Result<Rollout> {
        let waited = self.api.rollout_wait(&rollout.id, LIMIT, |rollout| rollout.is_completed).await;
        waited.with_context(|| self.log())
    }

    /// Waits until a rollout is over, and demands that every machine was upgraded by it, and is proven there.
    pub async fn upgraded(&self, rollout: &Rollout, machines: &[&Machine]) -> anyhow::Result<Rollout> {
        let over = self.over(rollout).await?;
        ensure!(over.state == "Completed", "{over:#?}\n{}", self.log());
        for machine in machines {
            let told = over.machine(machine.name())?;
            ensure!(told.phase == "Upgraded", "{told:?}");
            ensure!(machine.verdicts(&self.to).proven, "{} is not proven on its disk", machine.name());
            self.runs(machine, &self.to).await?;
        }
        Ok(over)
    }

    /// Waits until a machine runs a version, and the portal says so.
    pub async fn runs(&self, machine: &Machine, version: &Version) -> anyhow::Result<()> {
        let runs = wait_for("a machine's version", LIMIT, async || {
            let (is, said) = (machine.running_version(), self.api.machine_version(machine.name()).await?);
            let right = is.as_ref() == Some(version) && said.as_ref() == Some(version);
            ensure!(right, "it runs {is:?}, and the portal says {said:?}");
            Ok(Some(()))
        });
        runs.await.with_context(|| format!("{} should run {version}; {}", machine.name(), machine.diagnosis()))
    }

    /// Waits until a task is over, and returns it.
    pub async fn task_over(&self, id: &str) -> anyhow::Result<Value> {
        let over = wait_for("the end of a task", LIMIT, async || {
            Ok(Some(self.api.task_get(id).await?).filter(|task| task["IsCompleted"] == true))
        });
        over.await.with_context(|| self.log())
    }

    /// Pushes a package, as `dotnet nuget` or a script would; returns the status and what was answered.
    pub async fn push(&self, package: &Path) -> anyhow::Result<(u16, String)> {
        let name = package.file_name().map_or_else(OsString::new, Into::into).to_string_lossy().into_owned();
        let part = Part::bytes(std::fs::read(package)?).file_name(name);
        let client = reqwest::Client::builder().timeout(LIMIT).build()?;
        let request = client.post(format!("{}/api/packages/raw", self.portal.url()));
        let request = request.header("X-Octopus-ApiKey", self.portal.api_key());
        let response = request.multipart(Form::new().part("fileToUpload", part)).send().await?;
        Ok((response.status().as_u16(), response.text().await?))
    }

    /// Makes a task and returns its id.
    pub async fn task_create(&self, name: &str, arguments: Value) -> anyhow::Result<String> {
        let wish = json!({ "Name": name, "Description": format!("{name} for a test"), "Arguments": arguments });
        let task = self.api.post("/api/tasks", &wish).await?;
        Ok(task["Id"].as_str().context("the task has no id")?.to_owned())
    }

    /// The package of the newer version, as the portal bundles it.
    pub async fn bundled_package(&self) -> anyhow::Result<PathBuf> {
        packed(self.programs, self.flavor, &self.to).await
    }

    /// The real programs.
    pub fn programs(&self) -> &'static Programs {
        self.programs
    }

    /// The end of the portal's log, for people.
    pub fn log(&self) -> String {
        format!("the portal's log:\n{}", xtask::log_tail(&self.portal.log()))
    }
}

async fn packed(programs: &'static Programs, flavor: Flavor, version: &Version) -> anyhow::Result<PathBuf> {
    let version = version.clone();
    tokio::task::spawn_blocking(move || packed_tentacle(programs, flavor, &version)).await?
}

/// Sends a signal to a process of a machine.
pub fn signal(pid: Option<u32>, signal: Signal) -> anyhow::Result<()> {
    let pid = pid.and_then(|pid| Pid::from_raw(pid.cast_signed())).context("there is no such process")?;
    Ok(kill_process(pid, signal)?)
}
