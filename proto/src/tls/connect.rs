//! The client's side: a gRPC channel to one server, or a look at the certificate that a server shows.

use std::error::Error as StdError;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use contract::Thumbprint;
use hyper_util::rt::TokioIo;
use rustls::client::Resumption;
use rustls::sign::SingleCertAndKey;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};

use super::pin::Server;
use super::{CONNECTION_WINDOW, FRAME_MAX, Identity, STREAM_WINDOW, provider};

/// How often a server is asked for a sign of life while a call is open, and how long it may take to give it: a dead one
/// is noticed in 20 s, and the call fails.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(12);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(8);

/// Room for the server's first words. Later reads go past this buffer.
const FIRST_WORDS: usize = 1024;

/// Why there is no connection.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nobody answers there, or the connection broke.
    #[error("cannot reach {address}")]
    Unreachable {
        /// Host and port.
        address: String,
        /// What the system says.
        source: Arc<io::Error>,
    },
    /// No connection within the time given.
    #[error("{address} did not answer within {} ms", timeout.as_millis())]
    TimedOut {
        /// Host and port.
        address: String,
        /// The time given.
        timeout: Duration,
    },
    /// Somebody else answered.
    #[error("{address} shows the certificate {found}, but {expected} was expected")]
    WrongCertificate {
        /// Host and port.
        address: String,
        /// The thumbprint that is pinned.
        expected: Thumbprint,
        /// The thumbprint that was shown.
        found: Thumbprint,
    },
    /// The other side refused our certificate.
    #[error("{address} does not trust this certificate: add its thumbprint {ours} to the list of trusted ones there")]
    NotTrusted {
        /// Host and port.
        address: String,
        /// Our thumbprint.
        ours: Thumbprint,
    },
    /// Whoever answers does not speak our kind of TLS.
    #[error("{address} answers, but not as a Tentacle does: {why}")]
    NotTls {
        /// Host and port.
        address: String,
        /// What the TLS library says.
        why: String,
    },
}

impl ConnectError {
    /// The reason in a failed call's status, when the call failed because its connection could not be made again;
    /// `None` when it failed for another reason.
    pub fn from_status(status: &tonic::Status) -> Option<Self> {
        find(status)
    }
}

fn find(error: &(dyn StdError + 'static)) -> Option<ConnectError> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<ConnectError>() {
            return Some(found.clone());
        }
        next = error.source();
    }
    None
}

/// Connects to `address` (host and port) where a certificate with the thumbprint `expected` must be shown, and waits until
/// the other side has accepted ours. The channel connects again by itself when it broke, with the same checks.
///
/// `timeout` is for one attempt, the whole of it; calls have their own deadlines.
pub async fn connect(
    address: &str,
    identity: &Identity,
    expected: Thumbprint,
    timeout: Duration,
) -> Result<Channel, ConnectError> {
    let target = Target { address: address.into(), identity: identity.clone(), expected: Some(expected), timeout };
    let connector = tower::service_fn(move |_: tonic::codegen::http::Uri| {
        let target = target.clone();
        async move { target.open_and_hear().await.map(TokioIo::new) }
    });
    // The address in it is not used: the connector knows where to go.
    Endpoint::from_static("https://tentacle.invalid")
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME_MAX)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .connect_with_connector(connector)
        .await
        .map_err(|error| {
            find(&error).unwrap_or_else(|| ConnectError::Unreachable {
                address: address.to_owned(),
                source: Arc::new(io::Error::other(error)),
            })
        })
}

/// The thumbprint of the certificate that `address` shows. Nothing is trusted and nothing is said: it is for a person to
/// compare.
pub async fn discover(address: &str, identity: &Identity, timeout: Duration) -> Result<Thumbprint, ConnectError> {
    let target = Target { address: address.into(), identity: identity.clone(), expected: None, timeout };
    target.in_time(target.open()).await.map(|(_, found)| found)
}

/// For HTTPS to a portal: accepts exactly the certificate with the thumbprint `expected`, or any when there is none to
/// compare with. Shows no certificate. Whoever uses it without a thumbprint says why that is safe.
///
/// What stands between a caller and the handshake (an HTTP client) tells of a refused certificate as of any broken
/// connection; the [`Shown`] beside the settings knows better.
pub fn https_config(expected: Option<Thumbprint>) -> (rustls::ClientConfig, Shown) {
    let verifier = Arc::new(Server::new(expected));
    let config = rustls::ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("the provider speaks TLS 1.2 and 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&verifier) as _)
        .with_no_client_auth();
    (config, Shown(verifier))
}

/// Remembers which certificate was shown to connections with the settings of one [`https_config`].
#[derive(Clone, Debug)]
pub struct Shown(Arc<Server>);

impl Shown {
    /// The thumbprint of the first certificate that was shown; `None` while none was.
    pub fn thumbprint(&self) -> Option<Thumbprint> {
        self.0.seen()
    }
}

#[derive(Clone)]
struct Target {
    address: Arc<str>,
    identity: Identity,
    expected: Option<Thumbprint>,
    timeout: Duration,
}

impl Target {
    async fn in_time<T>(&self, work: impl Future<Output = Result<T, ConnectError>>) -> Result<T, ConnectError> {
        let timed_out = ConnectError::TimedOut { address: self.address.to_string(), timeout: self.timeout };
        tokio::time::timeout(self.timeout, work).await.unwrap_or(Err(timed_out))
    }

    /// In TLS 1.3 a client is done before the server has looked at its certificate. The server speaks first (its HTTP/2
    /// settings, or an alert), so waiting for its first words tells whether we are trusted.
    async fn open_and_hear(&self) -> Result<BufReader<TlsStream<TcpStream>>, ConnectError> {
        self.in_time(async {
            let (stream, _) = self.open().await?;
            let mut stream = BufReader::with_capacity(FIRST_WORDS, stream);
            match stream.fill_buf().await {
                Ok([]) => Err(self.unreachable(io::ErrorKind::UnexpectedEof.into())),
                Ok(_) => Ok(stream),
                Err(error) => Err(self.explain(error)),
            }
        })
        .await
    }

    async fn open(&self) -> Result<(TlsStream<TcpStream>, Thumbprint), ConnectError> {
        let address = &*self.address;
        let stream = TcpStream::connect(address).await.map_err(|error| self.unreachable(error))?;
        stream.set_nodelay(true).map_err(|error| self.unreachable(error))?;
        let verifier = Arc::new(Server::new(self.expected));
        let connector = TlsConnector::from(client_config(&self.identity, Arc::clone(&verifier)));
        let name = ServerName::try_from("tentacle.invalid").expect("a valid name");
        let result = connector.connect(name, stream).await;
        match (result, verifier.seen(), self.expected) {
            (Err(_), Some(found), Some(expected)) if found != expected => {
                Err(ConnectError::WrongCertificate { address: address.to_owned(), expected, found })
            }
            (Err(error), ..) => Err(self.explain(error)),
            (Ok(stream), Some(found), _) => Ok((stream, found)),
            (Ok(_), None, _) => Err(self.not_tls("it showed no certificate")),
        }
    }

    fn explain(&self, error: io::Error) -> ConnectError {
        use rustls::{AlertDescription as Alert, Error};
        match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
            Some(Error::AlertReceived(
                Alert::AccessDenied
                | Alert::BadCertificate
                | Alert::CertificateUnknown
                | Alert::CertificateRequired
                | Alert::UnknownCA,
            )) => ConnectError::NotTrusted { address: self.address.to_string(), ours: self.identity.thumbprint() },
            Some(tls) => self.not_tls(tls),
            None => self.unreachable(error),
        }
    }

    fn unreachable(&self, source: io::Error) -> ConnectError {
        ConnectError::Unreachable { address: self.address.to_string(), source: Arc::new(source) }
    }

    fn not_tls(&self, why: impl ToString) -> ConnectError {
        ConnectError::NotTls { address: self.address.to_string(), why: why.to_string() }
    }
}

fn client_config(identity: &Identity, verifier: Arc<Server>) -> Arc<rustls::ClientConfig> {
    let mut config = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("the provider speaks TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity.certified())));
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.enable_sni = false;
    config.resumption = Resumption::disabled();
    Arc::new(config)
}
