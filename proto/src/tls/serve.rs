//! The server's side: a stream of connections whose handshake is done, for tonic's `serve_with_incoming`.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use contract::Thumbprint;
use rustls::server::NoServerSessionStorage;
use rustls::sign::SingleCertAndKey;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;

use super::crowd::Crowd;
use super::pin::Clients;
use super::{CONNECTION_WINDOW, FRAME_MAX, Identity, STREAM_WINDOW, Trust, provider, thumbprint_of};

/// Most handshakes at a time. At one more, the oldest of whoever is at the most of them is dropped.
const HANDSHAKES_MAX: usize = 128;

/// How long a handshake may take; then the connection is dropped.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Connections that wait to be taken by the server; then handshakes wait.
const ACCEPTED_QUEUE: usize = 16;

/// The pause after `accept` failed (too many open files, say), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How often a client is asked for a sign of life, and how long it may take to give it: a dead one is noticed in 20 s.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(12);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(8);

/// Most calls at a time on one connection; further ones wait at the client.
const CALLS_MAX: u32 = 64;

/// Who is at the other end of a connection: found in the extensions of each request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The thumbprint of its certificate.
    pub thumbprint: Thumbprint,
    /// Its address.
    pub address: SocketAddr,
}

impl Peer {
    /// The peer that sent this request; `None` when the request did not come through [`incoming`].
    pub fn of<T>(request: &tonic::Request<T>) -> Option<Self> {
        request.extensions().get().copied()
    }
}

/// A connection whose peer is trusted.
#[derive(Debug)]
pub struct Accepted {
    stream: TlsStream<TcpStream>,
    peer: Peer,
}

/// TLS 1.3, HTTP/2 only, a client certificate demanded; `trust` is asked at each handshake.
pub fn server_config(identity: &Identity, trust: Arc<dyn Trust>) -> Arc<rustls::ServerConfig> {
    let resolver = SingleCertAndKey::from(identity.certified());
    let mut config = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("the provider speaks TLS 1.3")
        .with_client_cert_verifier(Arc::new(Clients::new(trust)))
        .with_cert_resolver(Arc::new(resolver));
    config.alpn_protocols = vec![b"h2".to_vec()];
    // A resumed session would not ask the verifier again.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Arc::new(config)
}

/// A gRPC server with the project's windows, frames, limits and keep-alive pings. Give the one service to its
/// `serve_with_incoming`.
pub fn server() -> tonic::transport::Server {
    tonic::transport::Server::builder()
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME_MAX)
        .max_concurrent_streams(CALLS_MAX)
        .http2_keepalive_interval(Some(KEEP_ALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEP_ALIVE_TIMEOUT))
}

/// Accepts connections and does their handshakes, many at a time, so that a slow or silent client holds up nobody.
/// Failed handshakes are dropped silently. The port is closed when the stream is dropped. Must be called in a runtime.
pub fn incoming(
    listener: TcpListener,
    config: Arc<rustls::ServerConfig>,
) -> impl Stream<Item = io::Result<Accepted>> + Send + 'static {
    let (accepted, queue) = mpsc::channel(ACCEPTED_QUEUE);
    tokio::spawn(accept_all(listener, TlsAcceptor::from(config), accepted));
    ReceiverStream::new(queue)
}

async fn accept_all(listener: TcpListener, acceptor: TlsAcceptor, accepted: mpsc::Sender<io::Result<Accepted>>) {
    let crowd = Crowd::new(HANDSHAKES_MAX);
    loop {
        let (stream, address) = tokio::select! {
            () = accepted.closed() => return,
            next = listener.accept() => match next {
                Ok(next) => next,
                Err(_) => {
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
        };
        // None is ever busy.
        let Some(place) = crowd.enter(address.ip()) else { continue };
        let (acceptor, accepted) = (acceptor.clone(), accepted.clone());
        tokio::spawn(async move {
            let done = tokio::select! {
                () = place.sent_away() => return,
                done = tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake(acceptor, stream, address)) => done,
            };
            drop(place);
            if let Ok(Some(connection)) = done {
                // The server is gone: so is the connection.
                let _ = accepted.send(Ok(connection)).await;
            }
        });
    }
}

async fn handshake(acceptor: TlsAcceptor, stream: TcpStream, address: SocketAddr) -> Option<Accepted> {
    stream.set_nodelay(true).ok()?;
    let stream = acceptor.accept(stream).await.ok()?;
    let thumbprint = thumbprint_of(stream.get_ref().1.peer_certificates()?.first()?);
    Some(Accepted { stream, peer: Peer { thumbprint, address } })
}

impl Connected for Accepted {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer
    }
}

impl AsyncRead for Accepted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Accepted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
