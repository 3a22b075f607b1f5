//! A real machine, as small as it gets: a Suction Cup laid out by an installer, the Tentacle that it launches, and a home
//! folder of their own on this computer.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use contract::{Home, Verdicts, Version, env};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::port::Port;
use crate::portal::Portal;
use crate::process::{Process, children_of, kill_processes_with, log_tail};
use crate::programs::Programs;
use crate::wait::wait_for;

/// How long a new machine may take until its Tentacle listens. It is long because tests start many at a time.
const START_LIMIT: Duration = Duration::from_secs(60);

/// How long one call of `tentacle register` or `show-thumbprint` may take; then it is killed.
const PROGRAM_LIMIT: Duration = Duration::from_secs(60);

/// How to start a machine.
#[derive(Clone, Debug)]
pub struct MachineOptions {
    /// Its name in the portal.
    pub name: String,
    /// The package that lies in `bundle/` beside its Suction Cup, and is installed at the first start.
    pub package: PathBuf,
    /// Added to the environment of Suction Cup, and so of Tentacle: `SUCTION_CUP_PROBATION_MS`, for example.
    pub env: Vec<(String, String)>,
}

/// A machine. Everything on it ends, and its folder goes, when this is dropped.
#[derive(Debug)]
pub struct Machine {
    options: MachineOptions,
    programs: Programs,
    supervisor: Option<Process>,
    home: Home,
    // Dropped last.
    folder: TempDir,
    port: Port,
}

impl Machine {
    /// Lays a machine out as an installer does, starts its Suction Cup and waits until its Tentacle listens.
    pub async fn start(programs: &Programs, options: MachineOptions) -> anyhow::Result<Self> {
        let mut machine = Self::lay_out(programs, options)?;
        machine.start_supervisor()?;
        machine.wait_until_listening(START_LIMIT).await?;
        Ok(machine)
    }

    /// Lays a machine out as an installer does; nothing runs on it yet.
    pub fn lay_out(programs: &Programs, options: MachineOptions) -> anyhow::Result<Self> {
        let folder = programs.make_folder("octopus-machine-")?;
        let (program, home) = (folder.path().join("program"), folder.path().join("home"));
        let bundle = program.join("bundle");
        fs::create_dir_all(&bundle)?;
        fs::create_dir(&home)?;
        place(&programs.suction_cup, &program.join("suction-cup"))?;
        place(&programs.install_package, &program.join("install-package"))?;
        let package = options.package.file_name().context("the package has no name")?;
        place(&options.package, &bundle.join(package))?;
        let port = Port::claim()?;
        let home = Home::new(home);
        fs::write(home.config(), format!("listen = \"{}\"\n", port.address()))?;
        Ok(Self { options, programs: programs.clone(), supervisor: None, home, folder, port })
    }

    /// Starts Suction Cup, as the service manager does.
    pub fn start_supervisor(&mut self) -> anyhow::Result<()> {
        ensure!(self.supervisor.is_none(), "Suction Cup runs on {} already", self.name());
        let mut command = self.programs.command(&self.folder.path().join("program/suction-cup"));
        command.arg("--home").arg(self.home.path()).envs(self.options.env.iter().cloned());
        self.supervisor = Some(Process::start(command, &self.log())?);
        Ok(())
    }

    /// Waits until somebody listens on its port.
    pub async fn wait_until_listening(&mut self, limit: Duration) -> anyhow::Result<()> {
        let (address, supervisor) = (self.address(), &mut self.supervisor);
        let listening = wait_for("a Tentacle that listens", limit, async || {
            if let Some(status) = supervisor.as_mut().and_then(Process::ended) {
                return Ok(Some(Err(status)));
            }
            Ok(TcpStream::connect(address).is_ok().then_some(Ok(())))
        });
        match listening.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(status)) => bail!("Suction Cup ended on {} ({status}); {}", self.name(), self.diagnosis()),
            Err(error) => Err(error.context(format!("{}: {}", self.name(), self.diagnosis()))),
        }
    }

    /// Adds it to a portal by the program `tentacle register`, as an installer does.
    pub async fn register(&self, portal: &Portal, environment: &str, roles: &[&str]) -> anyhow::Result<()> {
        let thumbprint = portal.api()?.portal_thumbprint().await?;
        let mut command = self.tentacle_command("register");
        command.args(["--server", &portal.url(), "--server-thumbprint", &thumbprint, "--name", self.name()]);
        command.args(["--environment", environment, "--address", &self.address().to_string()]);
        for role in roles {
            command.args(["--role", role]);
        }
        command.env("OCTOPUS_API_KEY", portal.api_key());
        self.run(command).await.map(drop)
    }

    /// Tells it to trust a portal that does not know it yet, as an installer does, and starts it again.
    pub async fn trust(&mut self, portal: &Portal) -> anyhow::Result<()> {
        let trusted = format!("trusted = [\"{}\"]\n", portal.api()?.portal_thumbprint().await?);
        let settings = std::fs::read_to_string(self.home.config())?;
        self.stop();
        std::fs::write(self.home.config(), settings + &trusted)?;
        self.start_supervisor()?;
        self.wait_until_listening(START_LIMIT).await
    }

    /// The thumbprint of its Tentacle.
    pub async fn thumbprint(&self) -> anyhow::Result<String> {
        let out = self.run(self.tentacle_command("show-thumbprint")).await?;
        Ok(out.trim().to_owned())
    }

    /// A call of the built program `tentacle` for this home.
    pub fn tentacle_command(&self, subcommand: &str) -> tokio::process::Command {
        let mut command = tokio::process::Command::from(self.programs.command(&self.programs.tentacle));
        command.arg(subcommand).arg("--home").arg(self.home.path());
        command
    }

    async fn run(&self, mut command: tokio::process::Command) -> anyhow::Result<String> {
        let output = tokio::time::timeout(PROGRAM_LIMIT, command.kill_on_drop(true).output()).await;
        let output = output.context("the program tentacle did not end in time")?.context("cannot start tentacle")?;
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.success(), "tentacle failed on {} ({}): {out}{err}", self.name(), output.status);
        Ok(out.into_owned())
    }

    /// Its name in the portal.
    pub fn name(&self) -> &str {
        &self.options.name
    }

    /// Its home folder.
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// Where its Tentacle listens.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Where Suction Cup and Tentacle log.
    pub fn log(&self) -> PathBuf {
        self.folder.path().join("machine.log")
    }

    /// The verdicts on a version.
    pub fn verdicts(&self, version: &Version) -> Verdicts {
        Verdicts::read(&self.home, version)
    }

    /// The number of Suction Cup's process; `None` while none runs.
    pub fn supervisor_pid(&self) -> Option<u32> {
        self.supervisor.as_ref().map(Process::id)
    }

    /// The number of the process that Suction Cup launched; `None` while none runs.
    pub fn tentacle_pid(&self) -> Option<u32> {
        children_of(self.supervisor_pid()?).into_iter().next()
    }

    /// The version whose program runs, by the process itself; `None` where it is no program of an installed version, as
    /// a script is not.
    pub fn running_version(&self) -> Option<Version> {
        let program = fs::read_link(format!("/proc/{}/exe", self.tentacle_pid()?)).ok()?;
        let folder = program.parent().filter(|folder| folder.parent() == Some(&self.home.tentacles()))?;
        Version::from_folder_name(folder.file_name()?.to_str()?)
    }

    /// Kills the process that Suction Cup launched (-9) and returns its number.
    pub fn kill9_tentacle(&self) -> anyhow::Result<u32> {
        let number = self.tentacle_pid().with_context(|| format!("no Tentacle runs on {}", self.name()))?;
        let pid = Pid::from_raw(number.cast_signed()).context("a process has no number")?;
        kill_process(pid, Signal::KILL).context("cannot kill the Tentacle")?;
        Ok(number)
    }

    /// Kills Suction Cup (-9). Its Tentacle ends by itself.
    pub fn kill9_supervisor(&mut self) {
        if let Some(mut supervisor) = self.supervisor.take() {
            supervisor.kill9();
        }
    }

    /// Ends everything on it, as the service manager does.
    pub fn stop(&mut self) {
        self.supervisor = None;
        kill_processes_with(env::TENTACLE_HOME, self.home.path());
    }

    /// The end of its log and the last words of its last Tentacle, for people.
    pub fn diagnosis(&self) -> String {
        let (log, words) = (log_tail(&self.log()), log_tail(&self.home.last_words()));
        format!("its log:\n{log}\nits last words:\n{words}")
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Puts a file beside another name. A link costs nothing, and is never open for writing; where the two places lie on
/// different disks it is copied.
fn place(from: &Path, to: &Path) -> io::Result<()> {
    fs::hard_link(from, to).or_else(|_| fs::copy(from, to).map(drop))
}
