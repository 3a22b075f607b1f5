//! The real `tentacle` under the real Suction Cup, interfered with at each call that has to do with files or with its end,
//! in its first start and its own upgrade. This side plays the portal, which tries again until it has its way.

use std::fs;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use contract::Verdicts;
use octopus_proto::tls::{self, Identity};
use octopus_proto::wire::{GetStatusRequest, tentacle_client::TentacleClient};
use octopus_proto::{BeginUpload, Status, UpgradeOrder, UploadOffset, UploadStart, wire};
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

/// What the cases play with: the crash limit is not what is tested here.
const SETTINGS: [(&str, &str); 2] = [("SUCTION_CUP_WAIT_MIN_MS", "100"), ("SUCTION_CUP_WAIT_MAX_MS", "200")];

/// Calls that have to do with files or with the end.
const CONCERNED: [&str; 28] = [
    "openat",
    "mkdir",
    "rename",
    "renameat2",
    "unlink",
    "unlinkat",
    "rmdir",
    "fsync",
    "fdatasync",
    "write",
    "pwrite64",
    "ftruncate",
    "fchmod",
    "chmod",
    "flock",
    "getdents64",
    "statx",
    "newfstatat",
    "statfs",
    "readlink",
    "access",
    "faccessat2",
    "lseek",
    "pread64",
    "copy_file_range",
    "exit",
    "exit_group",
    "dup2",
];

/// What is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Real {
    /// Tentacle starts in a home folder that holds nothing of its own yet, and is told to end.
    StartAndStop,
    /// It receives a package, puts it in its place and ends; the stand-in of the newer version is launched.
    Upgrade,
}

impl Real {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::StartAndStop, Self::Upgrade];

    fn set(self, kit: &Kit) -> anyhow::Result<Stage> {
        let stage = kit.stage()?;
        fs::create_dir_all(stage.home.tentacles())?;
        fs::create_dir(stage.home.supervisor())?;
        stage.install_real(kit)?;
        stage.prove(&old())?;
        stage.play(&new(), Play::Prove)?;
        let trusted = portal()?.thumbprint();
        fs::write(stage.home.config(), format!("listen = \"127.0.0.1:0\"\ntrusted = [\"{trusted}\"]\n"))?;
        Ok(stage)
    }

    /// Plays it to its end. The first launch of Tentacle is traced, if the stage says so.
    fn play(self, kit: &Kit, stage: &Stage) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        let mut cup = stage.start(stage.supervisor(&[]), &SETTINGS)?;
        self.settle(kit, stage, &mut cup)?;
        let waited = begun.elapsed();
        self.look_around(stage)?;
        ensure!(cup.end().is_some_and(|status| status.success()), "Suction Cup did not end as it was told to");
        ensure!(stage.is_left_by_all(), "a Tentacle outlived its Suction Cup");
        Ok(waited)
    }

    /// Waits until the right version runs; for an upgrade it is ordered until it has come to pass.
    fn settle(self, kit: &Kit, stage: &Stage, cup: &mut Process) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let begun = Instant::now();
        let mut said = String::new();
        for attempt in 1.. {
            if let Some(status) = cup.ended() {
                bail!("Suction Cup ended: {status}");
            }
            if self == Self::Upgrade && stage.running() == Some(new()) {
                return self.is_alone(stage);
            }
            let tried = runtime.block_on(async { tokio::time::timeout(TRY, self.attempt(kit, stage, attempt)).await });
            match tried {
                Ok(Ok(())) if self == Self::StartAndStop => return self.is_alone(stage),
                Ok(Ok(())) => {}
                Ok(Err(error)) => said = format!("{error:#}"),
                Err(_) => said = format!("no answer in {TRY:?}"),
            }
            ensure!(begun.elapsed() < LIMIT, "the right version does not run in {LIMIT:?}: {said}");
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }

    fn is_alone(self, stage: &Stage) -> anyhow::Result<()> {
        let alive = stage.alive().len();
        ensure!(alive == 1, "{alive} Tentacles run");
        Ok(())
    }

    async fn attempt(self, kit: &Kit, stage: &Stage, attempt: u64) -> anyhow::Result<()> {
        let mut client = connect(stage).await?;
        let request = GetStatusRequest { nonce: "n".to_owned() };
        let status: Status = client.get_status(request).await?.into_inner().try_into()?;
        ensure!(status.version == old(), "{} runs", status.version);
        if self == Self::StartAndStop {
            return Ok(());
        }
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
        let order =
            UpgradeOrder { ticket, package: Some(sha256), version, generation: attempt, expected, drain_ms: 1000 };
        client.upgrade(wire::UpgradeRequest::from(order)).await?;
        Ok(())
    }

    fn look_around(self, stage: &Stage) -> anyhow::Result<()> {
        let complete = stage.complete_versions()?;
        ensure!(complete.contains(&old()), "the proven version was deleted");
        let verdicts = Verdicts::read(&stage.home, &old());
        ensure!(verdicts.proven && verdicts.rejected.is_none(), "the proven version lost its mark");
        ensure!(Verdicts::read(&stage.home, &new()).rejected.is_none(), "a version that works was rejected");
        Ok(())
    }

    fn trace(self, kit: &Kit, stage: &Stage, words: &[String]) -> anyhow::Result<Duration> {
        fs::write(stage.around().join("trace"), words.join(" "))?;
        self.play(kit, stage)
    }
}

fn portal() -> anyhow::Result<&'static Identity> {
    static PORTAL: OnceLock<Identity> = OnceLock::new();
    if let Some(portal) = PORTAL.get() {
        return Ok(portal);
    }
    let portal = Identity::generate("portal").context("cannot make the portal's identity")?;
    Ok(PORTAL.get_or_init(|| portal))
}

/// Connects to the newest Tentacle that says that it is running.
async fn connect(stage: &Stage) -> anyhow::Result<TentacleClient<Channel>> {
    let log = fs::read_to_string(stage.around().join("log"))?;
    let value = |key: &str| {
        let line = log.lines().rev().find(|line| line.contains("Tentacle is running"))?;
        Some(line.split_once(key)?.1.split_whitespace().next()?.to_owned())
    };
    let address = value("listen=").context("no Tentacle has said that it is running")?;
    let thumbprint = value("thumbprint=").context("no thumbprint")?.parse()?;
    Ok(TentacleClient::new(tls::connect(&address, portal()?, thumbprint, TRY).await?))
}

impl Scenario for Real {
    fn program(&self) -> &'static str {
        "tentacle"
    }

    fn name(&self) -> &'static str {
        match self {
            Self::StartAndStop => "start-and-stop",
            Self::Upgrade => "upgrade",
        }
    }

    /// Not the log: this side reads there where Tentacle listens.
    fn concerns(&self, call: &str, line: &str) -> bool {
        CONCERNED.contains(&call) && !line.starts_with("write(1, ")
    }

    fn record(&self, kit: &Kit) -> anyhow::Result<Calls> {
        let stage = self.set(kit)?;
        let log = strace::log_in(stage.around(), "record");
        let played = self.trace(kit, &stage, &strace::recording(&log, Threads::All, "trace=all"));
        played.with_context(|| format!("the scenario does not play: {}", stage.words()))?;
        Ok(Calls::read(&log))
    }

    fn run(&self, kit: &Kit, _: &Calls, injection: &Injection) -> anyhow::Result<(Outcome, Duration)> {
        let stage = self.set(kit)?;
        let say = |error: anyhow::Error, when: &str| anyhow::anyhow!("{when}: {error:#}; {}", stage.words());
        let log = strace::log_in(stage.around(), "case");
        let words = strace::interfering(&log, Threads::All, injection);
        let waited = self.trace(kit, &stage, &words).map_err(|error| say(error, "interfered"))?;
        let outcome = if strace::was_reached(&log) { Outcome::Passed } else { Outcome::NotReached };
        let again = restart(&stage, &SETTINGS, |stage, cup| {
            self.settle(kit, stage, cup)?;
            self.look_around(stage)
        });
        let again = again.map_err(|error| say(error, "started again"))?;
        Ok((outcome, waited.max(again)))
    }
}
