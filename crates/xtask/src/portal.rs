//! A real portal: the program `octopus-server` with a data folder and a port of its own.

use std::ffi::OsString;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use tempfile::TempDir;

use crate::api::Api;
use crate::port::Port;
use crate::process::{Process, log_tail};
use crate::programs::Programs;
use crate::wait::wait_for;

/// How long a portal may take until it answers. It is long because tests start many at a time.
const START_LIMIT: Duration = Duration::from_secs(60);

/// Hexadecimal digits of the password, each 4 bits of chance.
const PASSWORD_DIGITS: usize = 24;

/// How to start a portal. The default is a fresh one on a free port of loopback that bundles nothing.
#[derive(Clone, Debug, Default)]
pub struct PortalOptions {
    /// Its data; none means a folder that goes with the [`Portal`].
    pub data_dir: Option<PathBuf>,
    /// Where it listens; none means a free port of 127.0.0.1 that stays the same over restarts.
    pub listen: Option<SocketAddr>,
    /// The folder of the bundled Tentacle packages.
    pub bundle_dir: Option<PathBuf>,
    /// Added to its environment: deadlines, for example.
    pub env: Vec<(String, String)>,
    /// Added to its command line.
    pub args: Vec<OsString>,
    /// `admin` has no password yet: the link for choosing one is in its log.
    pub needs_setup: bool,
}

/// A portal that runs, or did. It ends, and its folder goes, when this is dropped.
#[derive(Debug)]
pub struct Portal {
    programs: Programs,
    options: PortalOptions,
    process: Option<Process>,
    data_dir: PathBuf,
    listen: SocketAddr,
    admin_password: String,
    api_key: String,
    // Dropped last.
    folder: TempDir,
    _port: Option<Port>,
}

impl Portal {
    /// Starts a portal and waits until it answers.
    pub async fn start(programs: &Programs, options: PortalOptions) -> anyhow::Result<Self> {
        let folder = programs.make_folder("octopus-portal-")?;
        let port = if options.listen.is_none() { Some(Port::claim()?) } else { None };
        let listen = options.listen.or(port.as_ref().map(Port::address)).context("there is no address to listen on")?;
        let data_dir = options.data_dir.clone().unwrap_or_else(|| folder.path().join("data"));
        let admin_password =
            (0..PASSWORD_DIGITS).map(|_| format!("{:x}", rand::random_range(0..16))).collect::<String>();
        fs::write(folder.path().join("admin-password"), &admin_password)?;
        let programs = programs.clone();
        let api_key = String::new();
        let mut portal =
            Self { programs, options, process: None, data_dir, listen, admin_password, api_key, folder, _port: port };
        portal.restart().await?;
        portal.api_key = portal.create_api_key("harness").await?;
        Ok(portal)
    }

    /// Starts it again on the same port and data, ended before if it runs, and waits until it answers.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.process = None;
        // Somebody else's answer there would be taken for this portal's.
        TcpListener::bind(self.listen)
            .with_context(|| format!("the portal cannot listen on {}: choose another with --listen", self.listen))?;
        let mut command = self.programs.command(&self.programs.server);
        command.arg("run").arg("--data-dir").arg(&self.data_dir).arg("--listen").arg(self.listen.to_string());
        if !self.options.needs_setup {
            command.arg("--admin-password-file").arg(self.folder.path().join("admin-password"));
        }
        if let Some(bundle) = &self.options.bundle_dir {
            command.arg("--bundle-dir").arg(bundle);
        }
        command.args(&self.options.args).envs(self.options.env.iter().cloned());
        self.process = Some(Process::start(command, &self.log())?);
        let (url, process) = (self.url(), &mut self.process);
        let api = Api::new(&url, "")?;
        let answered = wait_for("the portal's first answer", START_LIMIT, async || {
            if let Some(status) = process.as_mut().and_then(Process::ended) {
                return Ok(Some(Err(status)));
            }
            api.get("/api").await.map(|_| Some(Ok(())))
        });
        match answered.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(status)) => bail!("the portal ended at its start ({status}); its log:\n{}", log_tail(&self.log())),
            Err(error) => Err(error.context(format!("its log:\n{}", log_tail(&self.log())))),
        }
    }

    /// Kills it (-9).
    pub fn kill9(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill9();
        }
    }

    /// Ends it as a service manager would.
    pub fn stop(&mut self) {
        self.process = None;
    }

    /// The number of its process; `None` while none runs.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// `http://127.0.0.1:8080`
    pub fn url(&self) -> String {
        format!("http://{}", self.listen)
    }

    /// Its REST API, with a key that may do everything.
    pub fn api(&self) -> anyhow::Result<Api> {
        Api::new(&self.url(), &self.api_key)
    }

    /// A key of `admin` that may do everything.
    pub fn api_key(&self) -> &str {
        &self.api_key
    }

    /// The password of `admin`.
    pub fn admin_password(&self) -> &str {
        &self.admin_password
    }

    /// Where its data lies.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Where it logs.
    pub fn log(&self) -> PathBuf {
        self.folder.path().join("portal.log")
    }

    /// Runs `octopus-server` with these arguments on its data folder, and returns what that printed.
    pub async fn command(&self, args: &[&str]) -> anyhow::Result<String> {
        let mut command = tokio::process::Command::from(self.programs.command(&self.programs.server));
        command.args(args).arg("--data-dir").arg(&self.data_dir);
        let output = command.kill_on_drop(true).output().await.context("cannot start octopus-server")?;
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        anyhow::ensure!(output.status.success(), "octopus-server {args:?} failed ({}): {out}{err}", output.status);
        Ok(out.into_owned())
    }

    /// Makes another key through `octopus-server admin create-api-key`.
    pub async fn create_api_key(&self, purpose: &str) -> anyhow::Result<String> {
        let out = self.command(&["admin", "create-api-key", "--purpose", purpose]).await?;
        let key = out.split_whitespace().find(|word| word.starts_with("API-"));
        key.map(str::to_owned).with_context(|| format!("octopus-server made no API key: {out}"))
    }
}
