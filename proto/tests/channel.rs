//! The channel from end to end on loopback: who gets through, who does not, and in which words.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use contract::Thumbprint;
use octopus_proto::tls::{self, ConnectError, Identity, Peer, Trust};
use octopus_proto::wire::tentacle_client::TentacleClient;
use octopus_proto::wire::tentacle_server::{Tentacle, TentacleServer};
use octopus_proto::{Refusal, RefusalKind, wire};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tonic::{Request, Response, Status, Streaming};

/// Long enough for a busy machine, short enough for a test that waits for it.
const TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
struct Trusted(Mutex<HashSet<Thumbprint>>);

impl Trust for Trusted {
    fn trusts(&self, peer: &Thumbprint) -> bool {
        self.0.lock().unwrap().contains(peer)
    }
}

/// Answers `GetStatus` with the peer it saw as the nonce, and counts the bytes of an upload.
struct Fake;

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl Tentacle for Fake {
    async fn get_status(&self, request: Request<wire::GetStatusRequest>) -> Answer<wire::Status> {
        let nonce = Peer::of(&request).unwrap().thumbprint.to_string();
        Ok(Response::new(wire::Status { nonce, ..Default::default() }))
    }

    async fn begin_upload(&self, _: Request<wire::BeginUploadRequest>) -> Answer<wire::BeginUploadReply> {
        Err(Refusal::new(RefusalKind::Busy, "somebody else is uploading it").into())
    }

    async fn upload(&self, request: Request<Streaming<wire::UploadChunk>>) -> Answer<wire::UploadReply> {
        let mut stream = request.into_inner();
        let mut offset = 0;
        while let Some(chunk) = stream.message().await? {
            offset += chunk.data.len() as u64;
        }
        Ok(Response::new(wire::UploadReply { offset, complete: true }))
    }

    async fn start(&self, _: Request<wire::StartRequest>) -> Answer<wire::StartReply> {
        Err(Status::unimplemented(""))
    }

    async fn watch(&self, _: Request<wire::WatchRequest>) -> Answer<wire::Progress> {
        Err(Status::unimplemented(""))
    }

    async fn cancel(&self, _: Request<wire::CancelRequest>) -> Answer<wire::CancelReply> {
        Err(Status::unimplemented(""))
    }

    async fn upgrade(&self, _: Request<wire::UpgradeRequest>) -> Answer<wire::UpgradeReply> {
        Err(Status::unimplemented(""))
    }

    async fn confirm(&self, _: Request<wire::ConfirmRequest>) -> Answer<wire::ConfirmReply> {
        Err(Status::unimplemented(""))
    }

    async fn trust(&self, _: Request<wire::TrustRequest>) -> Answer<wire::TrustReply> {
        Err(Status::unimplemented(""))
    }
}

struct Machine {
    address: String,
    identity: Identity,
    trusted: Arc<Trusted>,
    server: JoinHandle<()>,
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn machine(trusted: &[&Identity]) -> Machine {
    let identity = Identity::generate("machine").unwrap();
    let trusted = Arc::new(Trusted(Mutex::new(trusted.iter().map(|i| i.thumbprint()).collect())));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let connections = tls::incoming(listener, tls::server_config(&identity, trusted.clone()));
    let server = tokio::spawn(async move {
        tls::server().serve_with_incoming(TentacleServer::new(Fake), connections).await.unwrap();
    });
    Machine { address, identity, trusted, server }
}

fn portal() -> Identity {
    Identity::generate("portal").unwrap()
}

async fn ask(channel: tonic::transport::Channel) -> Result<String, Status> {
    let request = wire::GetStatusRequest { nonce: String::new() };
    Ok(TentacleClient::new(channel).get_status(request).await?.into_inner().nonce)
}

#[tokio::test]
async fn both_sides_know_each_other_and_the_service_sees_the_peer() {
    let portal = portal();
    let machine = machine(&[&portal]).await;
    let channel = tls::connect(&machine.address, &portal, machine.identity.thumbprint(), TIMEOUT).await.unwrap();
    assert_eq!(ask(channel).await.unwrap(), portal.thumbprint().to_string());
}

#[tokio::test]
async fn a_machine_with_another_certificate_is_refused_by_the_portal() {
    let portal = portal();
    let machine = machine(&[&portal]).await;
    let expected = Identity::generate("another").unwrap().thumbprint();
    let error = tls::connect(&machine.address, &portal, expected, TIMEOUT).await.unwrap_err();
    let found = machine.identity.thumbprint();
    assert!(
        matches!(error, ConnectError::WrongCertificate { expected: e, found: f, .. } if (e, f) == (expected, found)),
        "{error}"
    );
}

#[tokio::test]
async fn a_portal_that_is_not_trusted_is_told_so_in_words() {
    let (portal, stranger) = (portal(), Identity::generate("portal").unwrap());
    let machine = machine(&[&portal]).await;
    let error = tls::connect(&machine.address, &stranger, machine.identity.thumbprint(), TIMEOUT).await.unwrap_err();
    assert!(matches!(error, ConnectError::NotTrusted { ours, .. } if ours == stranger.thumbprint()), "{error:?}");
    assert!(error.to_string().contains("does not trust"), "{error}");
}

#[tokio::test]
async fn a_portal_whose_trust_was_taken_away_cannot_connect_again() {
    let portal = portal();
    let first = machine(&[&portal]).await;
    let channel = tls::connect(&first.address, &portal, first.identity.thumbprint(), TIMEOUT).await.unwrap();
    ask(channel.clone()).await.unwrap();
    first.trusted.0.lock().unwrap().clear();
    let error = tls::connect(&first.address, &portal, first.identity.thumbprint(), TIMEOUT).await.unwrap_err();
    assert!(matches!(error, ConnectError::NotTrusted { .. }), "{error:?}");
}

#[tokio::test]
async fn a_channel_that_connects_again_checks_again_and_says_why_it_cannot() {
    let portal = portal();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let trusted = Arc::new(Trusted(Mutex::new([portal.thumbprint()].into())));
    let serve = |listener, identity: &Identity| {
        let connections = tls::incoming(listener, tls::server_config(identity, trusted.clone()));
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let end = async { drop(stopped.await) };
        let serving = tls::server().serve_with_incoming_shutdown(TentacleServer::new(Fake), connections, end);
        let server = tokio::spawn(serving);
        (stop, server)
    };
    let identity = Identity::generate("machine").unwrap();
    let (stop, server) = serve(listener, &identity);
    let channel = tls::connect(&address.to_string(), &portal, identity.thumbprint(), TIMEOUT).await.unwrap();
    ask(channel.clone()).await.unwrap();
    drop(stop);
    server.await.unwrap().unwrap();

    let impostor = Identity::generate("machine").unwrap();
    let bind = async {
        loop {
            match TcpListener::bind(address).await {
                Ok(listener) => break listener,
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    };
    let listener = tokio::time::timeout(TIMEOUT, bind).await.unwrap();
    let (_stop, server) = serve(listener, &impostor);
    let status = ask(channel).await.unwrap_err();
    let error = ConnectError::from_status(&status);
    assert!(
        matches!(error, Some(ConnectError::WrongCertificate { found, .. }) if found == impostor.thumbprint()),
        "{status:?}"
    );
    server.abort();
}

#[tokio::test]
async fn discover_tells_the_thumbprint_to_a_stranger_and_trusts_nothing() {
    let machine = machine(&[]).await;
    let found = tls::discover(&machine.address, &portal(), TIMEOUT).await.unwrap();
    assert_eq!(found, machine.identity.thumbprint());
}

#[tokio::test]
async fn nobody_there_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let error = tls::discover(&address, &portal(), TIMEOUT).await.unwrap_err();
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error:?}");
}

#[tokio::test]
async fn somebody_silent_is_timed_out() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let expected = portal().thumbprint();
    let error = tls::connect(&address, &portal(), expected, Duration::from_millis(100)).await.unwrap_err();
    assert!(matches!(error, ConnectError::TimedOut { .. }), "{error:?}");
}

#[tokio::test]
async fn somebody_who_speaks_something_else_is_not_tls() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let web = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        stream
    });
    let error = tls::discover(&address, &portal(), TIMEOUT).await.unwrap_err();
    assert!(matches!(error, ConnectError::NotTls { .. }), "{error:?}");
    drop(web.await);
}

#[tokio::test]
async fn silent_clients_do_not_keep_a_portal_out_however_many_they_are() {
    let portal = portal();
    let machine = machine(&[&portal]).await;
    let mut silent = Vec::new();
    for _ in 0..300 {
        silent.push(tokio::net::TcpStream::connect(&machine.address).await.unwrap());
    }
    let channel = tls::connect(&machine.address, &portal, machine.identity.thumbprint(), TIMEOUT).await.unwrap();
    ask(channel).await.unwrap();
}

#[tokio::test]
async fn refusals_and_large_streams_pass() {
    let portal = portal();
    let machine = machine(&[&portal]).await;
    let channel = tls::connect(&machine.address, &portal, machine.identity.thumbprint(), TIMEOUT).await.unwrap();
    let mut client = TentacleClient::new(channel);
    let status = client.begin_upload(wire::BeginUploadRequest::default()).await.unwrap_err();
    assert_eq!(Refusal::from_status(&status).unwrap().kind, RefusalKind::Busy);
    assert!(ConnectError::from_status(&status).is_none());

    let data = bytes::Bytes::from(vec![7; octopus_proto::UPLOAD_CHUNK_MAX]);
    let chunks = (0..16).map(move |_| wire::UploadChunk { data: data.clone(), ..Default::default() });
    let reply = client.upload(tokio_stream::iter(chunks)).await.unwrap().into_inner();
    assert_eq!(reply.offset, 16 * octopus_proto::UPLOAD_CHUNK_MAX as u64);
}
