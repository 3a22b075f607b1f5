//! The listener: accepts connections, speaks TLS where it must, and hands requests to the router.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{ConnectInfo, Request};
use axum::response::Response;
use axum::{BoxError, Extension, Router};
use futures_util::future::BoxFuture;
use http_body_util::BodyExt as _;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use octopus_proto::tls::{Crowd, Place};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ConfigBuilder, ServerConfig, WantsVerifier};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::{Layer as _, Service, ServiceExt as _};

use crate::identities::Identities;

/// Most connections at a time. At one more, the oldest idle one of whoever has the most of them is closed; where none is
/// idle, the newest is.
const CONNECTIONS_MAX: usize = 4096;

/// How long a TLS handshake may take; then the connection is dropped.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connection may wait for the (next) request to be there with all its headers; then it is closed. Clients
/// that zip a package between two requests keep a connection for longer than a minute, so it is well above that.
const HEADERS_TIMEOUT: Duration = Duration::from_secs(150);

/// How often an HTTP/2 client is asked for a sign of life, and how long it may take to give it.
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Most requests at a time on one HTTP/2 connection; further ones wait at the client.
const STREAMS_MAX: u32 = 128;

/// How much of an upload may be under way, in bytes: a link of 100 MB/s and 20 ms is filled.
const STREAM_WINDOW: u32 = 2 << 20;

/// How long requests that are being answered may go on after the portal was told to end; then they are cut off.
const DRAIN_MAX: Duration = Duration::from_secs(10);

/// The pause after `accept` failed (too many open files, say), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A PEM file cannot be read.
    #[error("cannot read the {what} from {}", path.display())]
    Pem {
        /// "certificate" or "private key".
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: rustls_pki_types::pem::Error,
    },
    /// Certificate and key cannot be used.
    #[error("the certificate cannot be used with its private key")]
    Unfit(#[from] rustls::Error),
}

/// TLS with the portal's own identity, whichever that is when somebody connects.
pub fn tls_of_identities(identities: &Arc<Identities>) -> Result<Arc<ServerConfig>, TlsError> {
    let own = Own(Arc::clone(identities));
    let config = with_protocols()?.with_no_client_auth().with_cert_resolver(Arc::new(own));
    Ok(for_http(config))
}

/// Shows the portal's own identity.
#[derive(Debug)]
struct Own(Arc<Identities>);

impl ResolvesServerCert for Own {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.current().certified())
    }
}

/// TLS with a certificate chain and its key from PEM files.
pub fn tls_of_files(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let failed = |what, path: &Path| {
        let path = path.to_owned();
        move |source| TlsError::Pem { what, path, source }
    };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect);
    let chain = chain.map_err(failed("certificate", certificate))?;
    if chain.is_empty() {
        return Err(failed("certificate", certificate)(rustls_pki_types::pem::Error::NoItemsFound));
    }
    tls(chain, PrivateKeyDer::from_pem_file(key).map_err(failed("private key", key))?)
}

fn tls(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<Arc<ServerConfig>, TlsError> {
    Ok(for_http(with_protocols()?.with_no_client_auth().with_single_cert(chain, key)?))
}

fn with_protocols() -> Result<ConfigBuilder<ServerConfig, WantsVerifier>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()
}

fn for_http(mut config: ServerConfig) -> Arc<ServerConfig> {
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Arc::new(config)
}

/// Serves until `shutdown` is cancelled and the requests that were under way then are answered, or out of time.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    router: Router,
    shutdown: &CancellationToken,
) {
    serve_crowd(listener, tls, router, shutdown, &Crowd::new(CONNECTIONS_MAX)).await;
}

async fn serve_crowd(
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    router: Router,
    shutdown: &CancellationToken,
    crowd: &Arc<Crowd>,
) {
    let acceptor = tls.map(TlsAcceptor::from);
    let connections = TaskTracker::new();
    loop {
        let next = tokio::select! {
            () = shutdown.cancelled() => break,
            next = listener.accept() => next,
        };
        let (stream, peer) = match next {
            Ok(next) => next,
            Err(error) => {
                tracing::warn!(error = %error, "no connection could be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(place) = crowd.enter(peer.ip()) else {
            tracing::warn!(%peer, "a connection was closed: there are too many, and none is idle");
            continue;
        };
        let (acceptor, router, shutdown, place) = (acceptor.clone(), router.clone(), shutdown.clone(), Arc::new(place));
        connections.spawn(async move {
            tokio::select! {
                () = place.sent_away() => tracing::debug!(%peer, "an idle connection was closed: there are too many"),
                () = connection(stream, peer, acceptor, Answers { router, place: Arc::clone(&place) }, &shutdown) => {}
            }
        });
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(DRAIN_MAX, connections.wait()).await.is_err() {
        tracing::warn!(connections = connections.len(), "connections are cut off: their requests took too long to end");
    }
}

/// Answers the requests of one connection, which is not idle until the last byte of an answer is sent.
#[derive(Clone)]
struct Answers {
    router: Router,
    place: Arc<Place>,
}

impl<B> Service<Request<B>> for Answers
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let busy = self.place.busy();
        let answer = self.router.clone().oneshot(request);
        let until_sent = |body: Body| {
            Body::new(body.map_err(move |error| {
                let _busy = &busy;
                error
            }))
        };
        Box::pin(async move { Ok(answer.await?.map(until_sent)) })
    }
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    acceptor: Option<TlsAcceptor>,
    answers: Answers,
    shutdown: &CancellationToken,
) {
    // It costs delay where it fails, and nothing else.
    let _ = stream.set_nodelay(true);
    let Some(acceptor) = acceptor else { return http(stream, peer, false, answers, shutdown).await };
    let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream));
    let done = tokio::select! {
        () = shutdown.cancelled() => return,
        done = handshake => done,
    };
    match done {
        Ok(Ok(stream)) => {
            let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            http(stream, peer, is_http2, answers, shutdown).await;
        }
        Ok(Err(error)) => tracing::debug!(%peer, %error, "a TLS handshake failed"),
        Err(_) => tracing::debug!(%peer, "a TLS handshake took too long"),
    }
}

async fn http<S>(stream: S, peer: SocketAddr, is_http2: bool, answers: Answers, shutdown: &CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    // The protocol is settled by ALPN. Guessing it from the first bytes would wait for them without a limit.
    let builder = auto::Builder::new(TokioExecutor::new());
    let mut builder = if is_http2 { builder.http2_only() } else { builder.http1_only() };
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADERS_TIMEOUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIMEOUT)
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(2 * STREAM_WINDOW);
    let service = TowerToHyperService::new(Extension(ConnectInfo(peer)).layer(answers));
    let mut served = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = shutdown.cancelled() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, error, "a connection broke");
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use futures_util::StreamExt as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// Long enough for a busy machine.
    const LIMIT: Duration = Duration::from_secs(20);

    async fn ask(stream: &mut TcpStream, path: &str) -> String {
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = vec![0; 4096];
        let length = tokio::time::timeout(LIMIT, stream.read(&mut answer)).await.unwrap().unwrap();
        String::from_utf8_lossy(&answer[..length]).into_owned()
    }

    #[tokio::test]
    async fn a_crowd_of_idle_connections_keeps_nobody_out_and_cuts_off_no_answer() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let endless = || async {
            Body::from_stream(
                futures_util::stream::once(async { Ok::<_, Infallible>("on ") }).chain(futures_util::stream::pending()),
            )
        };
        let router = Router::new().route("/", get(|| async { "well" })).route("/endless", get(endless));
        let shutdown = CancellationToken::new();
        let stop = shutdown.clone();
        let server = tokio::spawn(async move {
            serve_crowd(listener, None, router, &stop, &Crowd::new(4)).await;
        });
        let mut follower = TcpStream::connect(address).await.unwrap();
        assert!(ask(&mut follower, "/endless").await.contains("200 OK"));
        let mut idle = Vec::new();
        for _ in 0..20 {
            idle.push(TcpStream::connect(address).await.unwrap());
        }
        let mut newcomer = TcpStream::connect(address).await.unwrap();
        assert!(ask(&mut newcomer, "/").await.contains("well"));
        let first = tokio::time::timeout(LIMIT, idle[0].read(&mut [0; 1])).await.unwrap();
        assert!(matches!(first, Ok(0) | Err(_)), "the oldest idle one was closed");
        let more = tokio::time::timeout(Duration::from_millis(50), async {
            let mut rest = [0; 64];
            while follower.read(&mut rest).await.is_ok_and(|length| length > 0) {}
        });
        assert!(more.await.is_err(), "an answer that goes on is not cut off");
        drop((follower, newcomer, idle));
        shutdown.cancel();
        tokio::time::timeout(LIMIT, server).await.unwrap().unwrap();
    }
}
