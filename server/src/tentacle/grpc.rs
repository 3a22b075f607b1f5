//! The only file of the portal that speaks the wire types: calls over gRPC and mutual TLS with pinned certificates.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use contract::{Sha256, Thumbprint, Version};
use octopus_proto::tls::{self, ConnectError, Identity};
use octopus_proto::wire::tentacle_client::TentacleClient;
use octopus_proto::{
    BeginUpload, Confirm, InstanceId, Progress, Refusal, Start, Status, Ticket, TrustChange, UpgradeOrder,
    UploadOffset, UploadStart, Uploaded, Watch, Work, wire,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

use super::pace::Pace;
use super::{Call, CallError, Target, Tentacles};
use crate::identities::Identities;
use crate::model::Address;

/// How long a connection may take, handshake included. Then the machine counts as silent for now.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a short call may take. Then it counts as not answered.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a machine may take to check an order before it accepts it: it hashes the package.
const UPGRADE_TIMEOUT: Duration = Duration::from_secs(60);

/// How long one attempt to send a package may take. The next one goes on where it broke off.
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(10 * 60);

/// What a message of an upload carries. Small enough that the machine's allocator uses the same memory for each again:
/// four times as much cost a tenth more processor time on both sides, and twice the memory.
const CHUNK: usize = 64 * 1024;

/// The same where transfers keep a pace: small, so that each gets its share often.
const CHUNK_PACED: usize = 32 * 1024;

/// How long a transfer waits for its share before it looks whether anybody still wants it.
const NAP_MAX: Duration = Duration::from_millis(200);

/// Messages of an upload that are read ahead of the network. With [`CHUNK`], what an upload costs in memory.
const CHUNKS_AHEAD: usize = 2;

/// Calls to real machines.
#[derive(Clone, Debug)]
pub struct GrpcTentacles {
    identities: Arc<Identities>,
    /// The pace of all transfers together; `None` where they may go as fast as they can.
    pace: Option<Arc<Pace>>,
}

impl GrpcTentacles {
    /// Calls that show `identity` to the machines.
    pub fn new(identity: Arc<Identity>) -> Self {
        Self::of(Arc::new(Identities::only(identity)))
    }

    /// Calls that show the identity that is in use, and the one before to machines that know only that.
    pub fn of(identities: Arc<Identities>) -> Self {
        Self { identities, pace: None }
    }

    /// The same, whose transfers together send so many bytes in a second at most.
    pub fn at_most(self, bytes_per_second: Option<u64>) -> Self {
        Self { pace: bytes_per_second.map(|bytes| Arc::new(Pace::new(bytes))), ..self }
    }

    async fn connect(&self, target: &Target) -> Result<TentacleClient<Channel>, CallError> {
        let address = target.address.to_string();
        let set = self.identities.set();
        let connected = tls::connect(&address, &set.current, target.thumbprint, CONNECT_TIMEOUT).await;
        let channel = match (connected, set.former) {
            (Err(ConnectError::NotTrusted { .. }), Some(former)) => {
                tls::connect(&address, &former, target.thumbprint, CONNECT_TIMEOUT).await
            }
            (other, _) => other,
        };
        Ok(TentacleClient::new(channel.map_err(|error| refused_or_silent(&error))?))
    }

    async fn send(&self, target: &Target, file: &Path, sha256: Sha256, size: u64) -> Result<(), CallError> {
        is_whole(file, size).await?;
        let mut client = self.connect(target).await?;
        let begin = wire::BeginUploadRequest::from(BeginUpload { sha256, size });
        let UploadOffset(offset) =
            in_time(CALL_TIMEOUT, "the start of an upload", client.begin_upload(begin)).await?.into();
        if offset == size {
            return Ok(());
        }
        let (sender, receiver) = mpsc::channel(CHUNKS_AHEAD);
        let path = file.to_owned();
        let pace = self.pace.clone();
        let reader = tokio::task::spawn_blocking(move || read_chunks(&path, sha256, offset, &sender, pace.as_deref()));
        let upload = client.upload(ReceiverStream::new(receiver));
        let reply = in_time(UPLOAD_TIMEOUT, "the end of an upload", upload).await;
        if let Ok(Err(error)) = reader.await {
            let sentence = format!("the package cannot be read from the portal's store: {error}");
            return Err(CallError::Protocol { sentence });
        }
        let uploaded = Uploaded::from(reply?);
        if uploaded.complete {
            return Ok(());
        }
        let sentence = format!("the upload ended at byte {} of {size}", uploaded.offset.0);
        Err(CallError::Unreachable { sentence })
    }
}

/// Looks at a file of the portal's store before it is sent: the machine could only say that it got something else.
async fn is_whole(file: &Path, size: u64) -> Result<(), CallError> {
    let sentence = match tokio::fs::metadata(file).await {
        Ok(metadata) if metadata.len() == size => return Ok(()),
        Ok(metadata) => format!(
            "the package in the portal's store has {} bytes and not {size}: it is damaged, and must be put there again",
            metadata.len()
        ),
        Err(error) => format!("the package cannot be read from the portal's store: {error}"),
    };
    Err(CallError::Protocol { sentence })
}

/// Reads the file from `offset` into messages until the receiver is gone.
fn read_chunks(
    path: &PathBuf,
    sha256: Sha256,
    offset: u64,
    sender: &mpsc::Sender<wire::UploadChunk>,
    pace: Option<&Pace>,
) -> std::io::Result<()> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut start = Some(UploadStart { sha256, offset });
    loop {
        let most = if pace.is_some() { CHUNK_PACED } else { CHUNK };
        let mut data = Vec::with_capacity(most);
        let read = file.by_ref().take(most as u64).read_to_end(&mut data)?;
        if read == 0 || !paced(pace, read, sender) {
            return Ok(());
        }
        let chunk = match start.take() {
            Some(start) => start.with_data(data.into()),
            None => wire::UploadChunk { data: data.into(), ..wire::UploadChunk::default() },
        };
        if sender.blocking_send(chunk).is_err() {
            // The call is over; its own error says why.
            return Ok(());
        }
    }
}

/// Waits until the bytes may be sent. False if the call is over meanwhile: its own error says why.
fn paced(pace: Option<&Pace>, bytes: usize, sender: &mpsc::Sender<wire::UploadChunk>) -> bool {
    let Some(pace) = pace else { return true };
    let mut left = pace.take(bytes);
    while !left.is_zero() && !sender.is_closed() {
        let nap = left.min(NAP_MAX);
        std::thread::sleep(nap);
        left -= nap;
    }
    !sender.is_closed()
}

async fn in_time<T>(
    limit: Duration,
    what: &str,
    call: impl Future<Output = Result<tonic::Response<T>, tonic::Status>>,
) -> Result<T, CallError> {
    match tokio::time::timeout(limit, call).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => Err(not_done(&status)),
        Err(_) => Err(CallError::TimedOut { sentence: format!("{what} was awaited for {} s", limit.as_secs()) }),
    }
}

fn not_done(status: &tonic::Status) -> CallError {
    if let Some(refusal) = Refusal::from_status(status) {
        return CallError::Refused(refusal);
    }
    if let Some(error) = ConnectError::from_status(status) {
        return refused_or_silent(&error);
    }
    let sentence = format!("the call broke off: {}", status.message());
    match status.code() {
        tonic::Code::Unavailable | tonic::Code::Unknown | tonic::Code::Cancelled | tonic::Code::Internal => {
            CallError::Unreachable { sentence }
        }
        tonic::Code::DeadlineExceeded => CallError::TimedOut { sentence },
        tonic::Code::Unimplemented => {
            CallError::Protocol { sentence: "the Tentacle is too old to know this call; upgrade it first".to_owned() }
        }
        _ => CallError::Protocol { sentence },
    }
}

fn refused_or_silent(error: &ConnectError) -> CallError {
    let sentence = match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    };
    match error {
        ConnectError::Unreachable { source, .. } if source.kind() == std::io::ErrorKind::ConnectionRefused => {
            CallError::Closed { sentence }
        }
        ConnectError::Unreachable { .. } => CallError::Unreachable { sentence },
        ConnectError::TimedOut { .. } => CallError::TimedOut { sentence },
        ConnectError::WrongCertificate { .. } | ConnectError::NotTrusted { .. } | ConnectError::NotTls { .. } => {
            CallError::Untrusted { sentence }
        }
    }
}

fn not_understood(error: impl std::fmt::Display) -> CallError {
    CallError::Protocol { sentence: format!("the Tentacle's answer was not understood: {error}") }
}

impl Tentacles for GrpcTentacles {
    fn status<'a>(&'a self, target: &'a Target) -> Call<'a, Status> {
        Box::pin(async move {
            let mut client = self.connect(target).await?;
            let nonce = uuid::Uuid::new_v4().to_string();
            let question = wire::GetStatusRequest { nonce: nonce.clone() };
            let answer = in_time(CALL_TIMEOUT, "its status", client.get_status(question)).await?;
            let status = Status::try_from(answer).map_err(not_understood)?;
            if status.nonce == nonce { Ok(status) } else { Err(not_understood("it answers another question")) }
        })
    }

    fn upload<'a>(&'a self, target: &'a Target, file: &'a Path, sha256: Sha256, size: u64) -> Call<'a, ()> {
        Box::pin(self.send(target, file, sha256, size))
    }

    fn start<'a>(&'a self, target: &'a Target, ticket: &'a Ticket, description: &'a str, work: Work) -> Call<'a, ()> {
        Box::pin(async move {
            let start = Start { ticket: ticket.clone(), description: description.to_owned(), work };
            let mut client = self.connect(target).await?;
            in_time(CALL_TIMEOUT, "the start of work", client.start(wire::StartRequest::from(start))).await.map(|_| ())
        })
    }

    fn watch<'a>(&'a self, target: &'a Target, ticket: &'a Ticket, after: u64, wait: Duration) -> Call<'a, Progress> {
        Box::pin(async move {
            let mut client = self.connect(target).await?;
            let watch = wire::WatchRequest::from(Watch { ticket: ticket.clone(), after, wait });
            in_time(wait + CALL_TIMEOUT, "news of work", client.watch(watch)).await.map(Progress::from)
        })
    }

    fn cancel<'a>(&'a self, target: &'a Target, ticket: &'a Ticket) -> Call<'a, ()> {
        Box::pin(async move {
            let mut client = self.connect(target).await?;
            let cancel = wire::CancelRequest { ticket: ticket.to_string() };
            in_time(CALL_TIMEOUT, "the end of work", client.cancel(cancel)).await.map(|_| ())
        })
    }

    fn upgrade<'a>(&'a self, target: &'a Target, order: UpgradeOrder) -> Call<'a, ()> {
        Box::pin(async move {
            let mut client = self.connect(target).await?;
            let order = wire::UpgradeRequest::from(order);
            in_time(UPGRADE_TIMEOUT, "an answer to the order to upgrade", client.upgrade(order)).await.map(|_| ())
        })
    }

    fn confirm<'a>(&'a self, target: &'a Target, instance: &'a InstanceId, version: &'a Version) -> Call<'a, ()> {
        Box::pin(async move {
            let mut client = self.connect(target).await?;
            let confirm = Confirm { instance_id: instance.clone(), version: version.clone() };
            let call = client.confirm(wire::ConfirmRequest::from(confirm));
            in_time(CALL_TIMEOUT, "an answer to the confirmation", call).await.map(|_| ())
        })
    }

    fn trust<'a>(&'a self, target: &'a Target, change: TrustChange) -> Call<'a, ()> {
        Box::pin(async move {
            let mut client = self.connect(target).await?;
            let call = client.trust(wire::TrustRequest::from(change));
            in_time(CALL_TIMEOUT, "an answer to whom it shall trust", call).await.map(|_| ())
        })
    }

    fn discover<'a>(&'a self, address: &'a Address) -> Call<'a, Thumbprint> {
        Box::pin(async move {
            let found = tls::discover(&address.to_string(), &self.identities.current(), CONNECT_TIMEOUT).await;
            found.map_err(|error| refused_or_silent(&error))
        })
    }
}

#[cfg(test)]
mod tests {
    use contract::Thumbprint;

    use super::*;
    use crate::ids::MachineId;

    #[test]
    fn a_transfer_keeps_its_pace_sends_every_byte_in_order_and_ends_when_nobody_wants_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("package");
        let bytes: Vec<u8> = (0..200_000_u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
        std::fs::write(&path, &bytes).unwrap();
        let sha256 = Sha256([1; 32]);
        for pace in [None, Some(Pace::new(400_000))] {
            let (sender, mut receiver) = mpsc::channel(CHUNKS_AHEAD);
            let begun = std::time::Instant::now();
            let got = std::thread::scope(|scope| {
                let (path, pace) = (&path, pace.as_ref());
                scope.spawn(move || read_chunks(path, sha256, 1000, &sender, pace).unwrap());
                let mut got = Vec::new();
                while let Some(chunk) = receiver.blocking_recv() {
                    got.extend_from_slice(&chunk.data);
                }
                got
            });
            assert_eq!(got, bytes[1000..], "nothing is lost, whatever the pace");
            let must_take = Duration::from_millis(if pace.is_some() { 400 } else { 0 });
            assert!(begun.elapsed() >= must_take, "{:?}", begun.elapsed());
        }
        let (sender, receiver) = mpsc::channel(CHUNKS_AHEAD);
        drop(receiver);
        // At a byte a second this would take days.
        read_chunks(&path, sha256, 0, &sender, Some(&Pace::new(1))).unwrap();
    }

    #[tokio::test]
    async fn a_port_where_nobody_listens_is_told_from_silence() {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = Address::new("127.0.0.1", port).unwrap();
        let target = Target { machine: MachineId(1), address, thumbprint: Thumbprint([0; 32]) };
        let tentacles = GrpcTentacles::new(Arc::new(Identity::generate("tests").unwrap()));
        let error = tentacles.status(&target).await.unwrap_err();
        assert!(matches!(error, CallError::Closed { .. }), "{error:?}");
    }
}
