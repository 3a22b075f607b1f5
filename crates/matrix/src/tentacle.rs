//! The real `tentacle` under the real Suction Cup, interfered with at each call that has to do with files or with its end,
//! in its first start, its own upgrade, a fall-back to it, and its end. This side plays the portal, which tries again until
//! it has its way.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use contract::Verdicts;
use octopus_proto::tls::{self, Identity};
use octopus_proto::wire::{GetStatusRequest, tentacle_client::TentacleClient};
use octopus_proto::{BeginUpload, Confirm, Status, UpgradeOrder, UploadOffset, UploadStart, wire};
use tonic::transport::Channel;
use xtask::Process;

use crate::case::{Outcome, Scenario};
use crate::stage::{Kit, Stage, new, old};
use crate::stand_in::Play;
use crate::strace::{self, Calls, Injection, Threads};
use crate::supervisor::restart;

/// The longest until the right version runs, on a machine that is busy with many cases: a Tentacle that was killed is
/// launched again at once, and the portal asks again at once.
const LIMIT: Duration = Duration::from_secs(40);

/// One try of the portal. After it there is another.
const TRY: Duration = Duration::from_secs(5);

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(30);

/// What the cases play with: neither the crash limit nor probation is what is tested here, and a Tentacle that nobody
/// commands proves itself soon.
const SETTINGS: [(&str, &str); 5] = [
    ("SUCTION_CUP_WAIT_MIN_MS", "100"),
    ("SUCTION_CUP_WAIT_MAX_MS", "200"),
    ("SUCTION_CUP_PROBATION_LAUNCHES", "1"),
    ("OCTOPUS_TENTACLE_LISTEN", "127.0.0.1:0"),
    ("OCTOPUS_TENTACLE_SELF_PROVE_MS", "100"),
];

/// Calls that have to do with files or with the end.
const CONCERNED: [&str; 35] = [
    "access",
    "chmod",
    "close",
    "copy_file_range",
    "dup2",
    "exit",
    "exit_group",
    "faccessat2",
    "fchmod",
    "fdatasync",
    "flock",
    "fstat",
    "fsync",
    "ftruncate",
    "getdents64",
    "lseek",
    "lstat",
    "mkdir",
    "newfstatat",
    "open",
    "openat",
    "pread64",
    "pwrite64",
    "read",
    "readlink",
    "rename",
    "renameat2",
    "rmdir",
    "stat",
    "statfs",
    "statx",
    "unlink",
    "unlinkat",
    "write",
    "writev",
];

/// Of them, those that have to do with a file only where their first argument is one.
const OF_ANY_DESCRIPTOR: [&str; 9] =
    ["close", "fstat", "lseek", "newfstatat", "pread64", "pwrite64", "read", "write", "writev"];

/// The file on the stage with the words that trace the first Tentacle from its start.
const TRACE: &str = "trace";

/// The same, from where it has answered for the first time. What its start did is counted no more: each thread's calls are
/// counted apart, and what a later thread does would hide behind it.
const ATTACH: &str = "attach";

/// What is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Real {
    /// Tentacle starts on a new machine, where nobody commands it, and proves itself.
    FirstInstall,
    /// It runs as a portal's new version: the portal confirms it. Then it is told to end.
    Confirm,
    /// It receives a package, puts it in its place and ends; the stand-in of the newer version is launched.
    Upgrade,
    /// A newer version ends at once, and it is launched again; it tells the portal what became of the other.
    FallBack,
}

impl Real {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::FirstInstall, Self::Confirm, Self::Upgrade, Self::FallBack];

    /// Plays it to its end. The first launch of Tentacle is traced, if the stage says so.
    fn play(self, kit: &Kit, stage: &Stage) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        let mut cup = stage.start(stage.supervisor(&[]), &SETTINGS)?;
        let tracer = self.settle(kit, stage, &mut cup)?;
        let waited = begun.elapsed();
        self.look_around(stage)?;
        ensure!(cup.end().is_some_and(|status| status.success()), "Suction Cup did not end as it was told to");
        ensure!(stage.is_left_by_all(), "a Tentacle outlived its Suction Cup");
        if let Some(mut tracer) = tracer {
            let ended = tracer.wait(LIMIT).is_some();
            ensure!(ended, "strace did not end with what it traced: {}", tracer.tail());
        }
        Ok(waited)
    }

    /// Waits until the right version runs; for an upgrade it is ordered until it has come to pass. Returns what traces a Tentacle from where it serves, if the stage says so.
    fn settle(self, kit: &Kit, stage: &Stage, cup: &mut Process) -> anyhow::Result<Option<Process>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let begun = Instant::now();
        let mut said = String::new();
        let mut tracer = None;
        for attempt in 1.. {
            if let Some(status) = cup.ended() {
                bail!("Suction Cup ended: {status}");
            }
            if self == Self::Upgrade && stage.running() == Some(new()) {
                return self.is_alone(stage).map(|()| tracer);
            }
            let tried = runtime
                .block_on(async { tokio::time::timeout(TRY, self.attempt(kit, stage, attempt, &mut tracer)).await });
            match tried {
                // The answer to an upgrade is no success: the newer version has to run.
                Ok(Ok(())) if self == Self::Upgrade => {}
                Ok(Ok(())) => return self.is_alone(stage).map(|()| tracer),
                Ok(Err(error)) => said = format!("{error:#}"),
                Err(_) => said = format!("no answer in {TRY:?}"),
            }
            ensure!(begun.elapsed() < LIMIT, "the right version does not run in {LIMIT:?}: {said}");
            std::thread::sleep(PAUSE);
        }
        Ok(tracer)
    }

    fn is_alone(self, stage: &Stage) -> anyhow::Result<()> {
        let alive = stage.alive().len();
        ensure!(alive == 1, "{alive} Tentacles run");
        Ok(())
    }

    async fn attempt(self, kit: &Kit, stage: &Stage, attempt: u64, tracer: &mut Option<Process>) -> anyhow::Result<()> {
        if self == Self::FirstInstall {
            let (address, _) = address(stage)?;
            TcpStream::connect(address).context("it does not listen")?;
            ensure!(stage.home.proven(&old()).exists(), "it has not proven itself");
            return Ok(());
        }
        let mut client = connect(stage).await?;
        let request = GetStatusRequest { nonce: "n".to_owned() };
        let status: Status = client.get_status(request).await?.into_inner().try_into()?;
        ensure!(status.version == old(), "{} runs", status.version);
        if let Some(words) = stage.take_words(ATTACH)? {
            *tracer = Some(strace::attach(&words, stage.real_one()?, &stage.around().join("attached"))?);
        }
        match self {
            Self::FirstInstall => Ok(()),
            Self::Confirm => {
                let confirm = Confirm { instance_id: status.instance_id, version: status.version };
                client.confirm(wire::ConfirmRequest::from(confirm)).await?;
                ensure!(stage.home.proven(&old()).exists(), "it is confirmed, and not proven");
                Ok(())
            }
            Self::FallBack => {
                let newer = status.installed.iter().find(|installed| installed.version == new());
                let rejected = newer.is_some_and(|newer| newer.verdicts.rejected.is_some());
                ensure!(rejected, "it does not tell that the newer version was rejected");
                ensure!(status.last_words.is_some(), "it does not tell how the newer version ended");
                Ok(())
            }
            Self::Upgrade => order(kit, &mut client, attempt).await,
        }
    }

    fn look_around(self, stage: &Stage) -> anyhow::Result<()> {
        let complete = stage.complete_versions()?;
        ensure!(complete.contains(&old()), "the proven version was deleted");
        let verdicts = Verdicts::read(&stage.home, &old());
        ensure!(verdicts.proven && verdicts.rejected.is_none(), "the proven version lost its mark");
        let rejected = Verdicts::read(&stage.home, &new()).rejected;
        ensure!(self == Self::FallBack || rejected.is_none(), "a version that works was rejected");
        Ok(())
    }

    fn trace(self, kit: &Kit, stage: &Stage, words: &[String]) -> anyhow::Result<Duration> {
        let when = match self {
            Self::FirstInstall | Self::FallBack => TRACE,
            Self::Confirm | Self::Upgrade => ATTACH,
        };
        fs::write(stage.around().join(when), words.join(" "))?;
        self.play(kit, stage)
    }
}

/// Sends the package of the newer version and orders the upgrade to it.
async fn order(kit: &Kit, client: &mut TentacleClient<Channel>, attempt: u64) -> anyhow::Result<()> {
    let bytes = fs::read(kit.package(&new()))?;
    let (sha256, size) = (package::sha256_bytes(&bytes), bytes.len() as u64);
    let reply = client.begin_upload(wire::BeginUploadRequest::from(BeginUpload { sha256, size })).await?;
    let UploadOffset(offset) = reply.into_inner().into();
    if offset < size {
        let first = UploadStart { sha256, offset }.with_data(bytes::Bytes::new());
        let data = bytes[usize::try_from(offset)?..].to_vec().into();
        let chunks = [first, wire::UploadChunk { data, ..Default::default() }];
        client.upload(tokio_stream::iter(chunks)).await?;
    }
    let ticket = format!("matrix-{attempt}").parse().ok().context("a ticket")?;
    let (version, expected) = (new(), old());
    let order = UpgradeOrder { ticket, package: Some(sha256), version, generation: attempt, expected, drain_ms: 1000 };
    client.upgrade(wire::UpgradeRequest::from(order)).await?;
    Ok(())
}

fn portal() -> anyhow::Result<&'static Identity> {
    static PORTAL: OnceLock<Identity> = OnceLock::new();
    if let Some(portal) = PORTAL.get() {
        return Ok(portal);
    }
    let portal = Identity::generate("portal").context("cannot make the portal's identity")?;
    Ok(PORTAL.get_or_init(|| portal))
}

/// Where the newest Tentacle listens that says that it is running, and its thumbprint.
fn address(stage: &Stage) -> anyhow::Result<(SocketAddr, String)> {
    let log = fs::read_to_string(stage.around().join("log"))?;
    let value = |key: &str| {
        let line = log.lines().rev().find(|line| line.contains("Tentacle is running"))?;
        Some(line.split_once(key)?.1.split_whitespace().next()?.to_owned())
    };
    let address = value("listen=").context("no Tentacle has said that it is running")?;
    Ok((address.parse()?, value("thumbprint=").context("no thumbprint")?))
}

async fn connect(stage: &Stage) -> anyhow::Result<TentacleClient<Channel>> {
    let (address, thumbprint) = address(stage)?;
    Ok(TentacleClient::new(tls::connect(&address.to_string(), portal()?, thumbprint.parse()?, TRY).await?))
}

impl Scenario for Real {
    fn program(&self) -> &'static str {
        "tentacle"
    }

    fn name(&self) -> &'static str {
        match self {
            Self::FirstInstall => "first-install",
            Self::Confirm => "confirm-and-end",
            Self::Upgrade => "upgrade",
            Self::FallBack => "fall-back",
        }
    }

    /// Not the log: this side reads there where Tentacle listens.
    fn concerns(&self, call: &str, line: &str) -> bool {
        let is_file = |line: &str| {
            let arguments = line.split_once('(').map_or("", |(_, arguments)| arguments);
            let first = arguments.split([',', ')']).next().unwrap_or_default();
            !line.starts_with("write(1<") && (first.starts_with("AT_FDCWD") || first.contains("</"))
        };
        CONCERNED.contains(&call) && (!OF_ANY_DESCRIPTOR.contains(&call) || line.lines().any(is_file))
    }

    fn record(&self, kit: &Kit) -> anyhow::Result<Calls> {
        let stage = self.set(kit)?;
        let log = strace::log_in(stage.around(), "record");
        let played = self.trace(kit, &stage, &strace::recording(&log, Threads::All, "trace=all"));
        played.with_context(|| format!("the scenario does not play: {}", stage.words()))?;
        Ok(Calls::read(&log))
    }

    fn set(&self, kit: &Kit) -> anyhow::Result<Stage> {
        let stage = kit.stage()?;
        fs::create_dir_all(stage.home.tentacles())?;
        stage.install_real(kit)?;
        if *self == Self::FirstInstall {
            return Ok(stage);
        }
        fs::create_dir(stage.home.supervisor())?;
        match self {
            Self::FirstInstall | Self::Confirm => {}
            Self::Upgrade => {
                stage.prove(&old())?;
                stage.play(&new(), Play::Prove)?;
            }
            Self::FallBack => {
                stage.prove(&old())?;
                stage.install(&kit.installed(&new()), "2.0.0")?;
                stage.play(&new(), Play::Crash)?;
            }
        }
        fs::write(stage.home.config(), format!("trusted = [\"{}\"]\n", portal()?.thumbprint()))?;
        Ok(stage)
    }

    fn interfere(
        &self,
        kit: &Kit,
        stage: &Stage,
        _: &Calls,
        injection: &Injection,
    ) -> anyhow::Result<(Outcome, Duration)> {
        let log = strace::log_in(stage.around(), "case");
        let waited = self.trace(kit, stage, &strace::interfering(&log, Threads::All, injection))?;
        Ok((strace::outcome(&log), waited))
    }

    fn restart(&self, kit: &Kit, stage: &Stage) -> anyhow::Result<Duration> {
        restart(stage, &SETTINGS, |stage, cup| {
            drop(self.settle(kit, stage, cup)?);
            self.look_around(stage)
        })
    }
}
