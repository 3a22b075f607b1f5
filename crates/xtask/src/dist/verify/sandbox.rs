//! A place with processes, mounts and a network of its own, in which programs are tried out. Dropping it ends whatever runs
//! there and unmounts whatever was mounted there, because both are its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};

use crate::process::{Process, children_of};
use crate::wait::wait_for;

/// How long a sandbox may take to be made. After it the attempt has failed.
const START_MAX: Duration = Duration::from_secs(30);

/// How long what was started here may take to be where it should be. After it the chapter has failed. Long, because
/// an emulated Tentacle on a busy computer is slow.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(180);

/// The last line of the script that prepares a sandbox. The loop reaps whatever loses its parent.
const STAY: &str = "echo ready; while :; do sleep 60; done";

/// The variables of commands in a sandbox.
const ENVIRONMENT: [(&str, &str); 4] = [
    ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
    ("DEBIAN_FRONTEND", "noninteractive"),
    ("LC_ALL", "C.UTF-8"),
    ("HOME", "/"),
];

/// Where it runs.
pub(super) struct Sandbox {
    /// The folder that its commands have as their root.
    root: PathBuf,
    /// Its own users, too: then the system lets it have its own table of program formats.
    users: bool,
    /// Its first process.
    first: u32,
    /// The program that made it; with its end the first process is killed, and with that everything.
    maker: Process,
}

impl Sandbox {
    /// Makes one whose commands have `root` as their root, after the script `prepare` was run in it.
    pub(super) async fn start(root: &Path, users: bool, prepare: &str, log: &Path) -> anyhow::Result<Self> {
        let mut unshare = Command::new("unshare");
        unshare.args(["--mount", "--pid", "--net", "--ipc", "--fork", "--kill-child", "--mount-proc"]);
        if users {
            unshare.args(["--user", "--map-root-user"]);
        }
        unshare.args(["sh", "-c", &format!("set -e\nip link set lo up\n{prepare}\n{STAY}")]);
        let mut maker = Process::start(unshare, log)?;
        let first = wait_for("a sandbox", START_MAX, async || {
            ensure!(maker.ended().is_none(), "it could not be made: {}", maker.tail());
            Ok(children_of(maker.id()).into_iter().next().filter(|_| maker.tail().contains("ready")))
        });
        let first = first.await?;
        Ok(Self { root: root.to_owned(), users, first, maker })
    }

    /// Runs a script, and returns what it wrote to stdout. An error has what it wrote to stderr.
    pub(super) fn sh(&self, script: &str) -> anyhow::Result<String> {
        let mut nsenter = Command::new("nsenter");
        nsenter.args(["--target", &self.first.to_string(), "--mount", "--pid", "--net", "--ipc"]);
        if self.users {
            nsenter.args(["--user", "--preserve-credentials"]);
        }
        nsenter.arg("chroot").arg(&self.root).args(["sh", "-ec", script]);
        nsenter.env_clear().envs(ENVIRONMENT).stdin(Stdio::null());
        let output = nsenter.output().context("cannot start nsenter")?;
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.success(), "this failed ({}): {script}\n{stdout}{stderr}", output.status);
        Ok(stdout.into_owned())
    }

    /// True where a script succeeds.
    pub(super) fn is(&self, script: &str) -> bool {
        self.sh(script).is_ok()
    }

    /// Starts a program that goes on, with its words in the file `log` of the sandbox. Returns its number there.
    pub(super) fn start_program(&self, command: &str, log: &str) -> anyhow::Result<u32> {
        let pid = self.sh(&format!("{command} >>{log} 2>&1 </dev/null & echo $!"))?;
        Ok(pid.trim().parse()?)
    }

    /// Tells a program to end and waits for it.
    pub(super) async fn end_program(&self, pid: u32) -> anyhow::Result<()> {
        self.sh(&format!("kill -TERM {pid}"))?;
        wait_for("the end of a program", WAIT_MAX, async || Ok((!self.is(&format!("kill -0 {pid}"))).then_some(())))
            .await
    }

    /// Waits until a script succeeds.
    pub(super) async fn until(&self, what: &str, script: &str) -> anyhow::Result<String> {
        wait_for(what, WAIT_MAX, async || self.sh(script).map(Some)).await
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // It does not listen to TERM, and there is nothing to be asked.
        self.maker.kill9();
    }
}
