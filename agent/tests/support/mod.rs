//! A real Tentacle process on a home of its own, and a portal that speaks to it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]
#![expect(dead_code, reason = "each test program uses a part of it")]

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use contract::{Home, Sha256, Thumbprint, Version};
use octopus_proto::tls::{self, ConnectError, Identity};
use octopus_proto::wire::tentacle_client::TentacleClient;
use octopus_proto::{
    BeginUpload, Confirm, LogLine, Progress, Refusal, Start, Status, Ticket, UPLOAD_CHUNK_MAX, UpgradeOrder,
    UploadOffset, UploadStart, Uploaded, Watch, WorkState, wire,
};
use package::PackRequest;
use tonic::transport::Channel;

/// Long enough for a busy machine. A test that waits so long has failed.
pub const LIMIT: Duration = Duration::from_secs(30);

/// A home folder and a portal that is trusted there.
pub struct Machine {
    pub folder: tempfile::TempDir,
    pub home: Home,
    pub portal: Identity,
}

/// A running Tentacle; killed when dropped.
pub struct Process {
    child: Child,
    pub address: String,
    pub identity: Thumbprint,
    /// Lines that it has logged since.
    pub log: mpsc::Receiver<String>,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn machine() -> Machine {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::new(folder.path().join("home"));
    package::prepare_home(&home).unwrap();
    let machine = Machine { folder, home, portal: Identity::generate("portal").unwrap() };
    machine.settings(&format!("trusted = [\"{}\"]", machine.portal.thumbprint()));
    machine
}

impl Machine {
    pub fn settings(&self, text: &str) {
        std::fs::write(self.home.config(), text).unwrap();
    }

    pub fn identity(&self) -> Thumbprint {
        Identity::load_or_create(&self.home.identity(), "machine").unwrap().thumbprint()
    }

    /// `tentacle` with this home and nothing of the test's environment that could disturb.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tentacle"));
        command.args(arguments).env("OCTOPUS_TENTACLE_HOME", self.home.path()).stdin(Stdio::null());
        command.env_remove("SUCTION_CUP_CONTRACT").env_remove("OCTOPUS_API_KEY");
        command
    }

    pub fn run(&self) -> Process {
        self.run_with(&[])
    }

    pub fn run_with(&self, environment: &[(&str, &str)]) -> Process {
        let mut command = self.command(&["run", "--listen", "127.0.0.1:0"]);
        command.envs(environment.iter().copied());
        self.run_command(command)
    }

    /// Runs a command that becomes a Tentacle.
    pub fn run_command(&self, mut command: Command) -> Process {
        let identity = self.identity();
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (lines, log) = mpsc::channel();
        std::thread::spawn(move || {
            // Read on, so that the process never waits for this test.
            stdout.lines().map_while(Result::ok).for_each(|line| drop(lines.send(line)));
        });
        let mut process = Process { child, address: String::new(), identity, log };
        let line = process.logged("Tentacle is running");
        process.address = line.split("listen=").nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
        process
    }

    pub async fn connect(&self, process: &Process) -> Result<Client, ConnectError> {
        self.connect_as(process, &self.portal).await
    }

    pub async fn connect_as(&self, process: &Process, portal: &Identity) -> Result<Client, ConnectError> {
        tls::connect(&process.address, portal, process.identity, LIMIT).await.map(Client::new)
    }

    /// Packs an ordinary package of version 1.0.0 with these files.
    pub fn package(&self, id: &str, files: &[(&str, &str)]) -> PathBuf {
        let id = id.parse().unwrap();
        let mut sources = Vec::new();
        for (name, text) in files {
            let path = self.folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            sources.push((path, (*name).to_owned()));
        }
        let version = Version::release(1, 0, 0);
        let request = PackRequest { id: &id, version: &version, description: "d", authors: "a", files: &sources };
        package::pack(&request, self.folder.path()).unwrap()
    }

    /// Packs a Tentacle package; its program is a text.
    pub fn tentacle_package(&self, version: &Version) -> PathBuf {
        let program = self.folder.path().join("program");
        std::fs::write(&program, format!("program of {version}")).unwrap();
        package::pack_tentacle(package::current_runtime(), version, &program, self.folder.path()).unwrap()
    }

    /// The names in `Applications/.Tentacle/`, those being unpacked too.
    pub fn tentacles(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.home.tentacles()).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Process {
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line of the log.
    pub fn logged(&self, text: &str) -> String {
        let deadline = Instant::now() + LIMIT;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.log.recv_timeout(left).unwrap_or_else(|_| panic!("\"{text}\" was not logged"));
            if line.contains(text) {
                return line;
            }
        }
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.id()).unwrap()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for the end.
    pub fn ended(&mut self) -> ExitStatus {
        let deadline = Instant::now() + LIMIT;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "the process did not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

/// What a portal says, in domain types.
#[derive(Clone)]
pub struct Client(TentacleClient<Channel>);

fn refusal(status: tonic::Status) -> Refusal {
    Refusal::from_status(&status).unwrap_or_else(|| panic!("not a refusal: {status:?}"))
}

impl Client {
    fn new(channel: Channel) -> Self {
        Self(TentacleClient::new(channel))
    }

    pub async fn status(&mut self) -> Result<Status, tonic::Status> {
        let request = wire::GetStatusRequest { nonce: "n".to_owned() };
        Ok(self.0.get_status(request).await?.into_inner().try_into().unwrap())
    }

    pub async fn begin(&mut self, begin: BeginUpload) -> Result<UploadOffset, Refusal> {
        let reply = self.0.begin_upload(wire::BeginUploadRequest::from(begin)).await.map_err(refusal)?;
        Ok(reply.into_inner().into())
    }

    pub async fn send(&mut self, sha256: Sha256, offset: u64, bytes: &[u8]) -> Result<Uploaded, Refusal> {
        let mut chunks: Vec<_> = bytes
            .chunks(UPLOAD_CHUNK_MAX)
            .map(|data| wire::UploadChunk { data: data.to_vec().into(), ..Default::default() })
            .collect();
        let first = UploadStart { sha256, offset }.with_data(bytes::Bytes::new());
        chunks.insert(0, first);
        Ok(self.0.upload(tokio_stream::iter(chunks)).await.map_err(refusal)?.into_inner().into())
    }

    /// Uploads a whole file and returns its digest.
    pub async fn upload(&mut self, path: &Path) -> Sha256 {
        let bytes = std::fs::read(path).unwrap();
        let sha256 = package::sha256_bytes(&bytes);
        let UploadOffset(offset) = self.begin(BeginUpload { sha256, size: bytes.len() as u64 }).await.unwrap();
        if offset < bytes.len() as u64 {
            assert!(self.send(sha256, offset, &bytes[usize::try_from(offset).unwrap()..]).await.unwrap().complete);
        }
        sha256
    }

    pub async fn start(&mut self, start: Start) -> Result<(), Refusal> {
        self.0.start(wire::StartRequest::from(start)).await.map(drop).map_err(refusal)
    }

    pub async fn watch(&mut self, ticket: &Ticket, after: u64, wait: Duration) -> Result<Progress, tonic::Status> {
        let watch = Watch { ticket: ticket.clone(), after, wait };
        Ok(self.0.watch(wire::WatchRequest::from(watch)).await?.into_inner().into())
    }

    /// Watches to the end.
    pub async fn end_of(&mut self, ticket: &Ticket) -> (WorkState, Vec<LogLine>) {
        let mut lines = Vec::new();
        let mut after = 0;
        loop {
            let progress = self.watch(ticket, after, LIMIT).await.unwrap();
            after = progress.last;
            lines.extend(progress.lines);
            if progress.state.is_final() {
                return (progress.state, lines);
            }
        }
    }

    pub async fn cancel(&mut self, ticket: &Ticket) -> Result<(), Refusal> {
        let request = wire::CancelRequest { ticket: ticket.as_str().to_owned() };
        self.0.cancel(request).await.map(drop).map_err(refusal)
    }

    pub async fn upgrade(&mut self, order: &UpgradeOrder) -> Result<(), Refusal> {
        self.0.upgrade(wire::UpgradeRequest::from(order.clone())).await.map(drop).map_err(refusal)
    }

    pub async fn confirm(&mut self, confirm: Confirm) -> Result<(), Refusal> {
        self.0.confirm(wire::ConfirmRequest::from(confirm)).await.map(drop).map_err(refusal)
    }

    pub async fn trust(&mut self, change: octopus_proto::TrustChange) -> Result<Vec<Thumbprint>, Refusal> {
        let reply = self.0.trust(wire::TrustRequest::from(change)).await.map_err(refusal)?;
        Ok(octopus_proto::decode_thumbprints(&reply.into_inner()).unwrap())
    }
}

/// Polls a condition to the limit.
pub async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !condition().await {
        assert!(Instant::now() < deadline, "did not come true: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
