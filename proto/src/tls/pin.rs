//! The two verifiers: whose certificate is good is decided by its thumbprint alone.

use std::fmt::Debug;
use std::sync::{Arc, OnceLock};

use contract::Thumbprint;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::{provider, thumbprint_of};

/// Whom a server trusts. Asked at each handshake, so a change needs no restart.
pub trait Trust: Send + Sync + Debug {
    /// True when a client with this certificate may connect. Called on an I/O thread: must not block for long.
    fn trusts(&self, peer: &Thumbprint) -> bool;
}

const REFUSED: Error = Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure);

/// The server's verifier of clients.
#[derive(Debug)]
pub(super) struct Clients {
    pub(super) trust: Arc<dyn Trust>,
    provider: Arc<CryptoProvider>,
}

impl Clients {
    pub(super) fn new(trust: Arc<dyn Trust>) -> Self {
        Self { trust, provider: provider() }
    }
}

/// The client's verifier of one server. It remembers whom it saw, for the error message and for `discover`.
#[derive(Debug)]
pub(super) struct Server {
    /// `None`: whoever it is, its thumbprint is only looked at.
    expected: Option<Thumbprint>,
    seen: OnceLock<Thumbprint>,
    provider: Arc<CryptoProvider>,
}

impl Server {
    pub(super) fn new(expected: Option<Thumbprint>) -> Self {
        Self { expected, seen: OnceLock::new(), provider: provider() }
    }

    pub(super) fn seen(&self) -> Option<Thumbprint> {
        self.seen.get().copied()
    }
}

impl ClientCertVerifier for Clients {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if self.trust.trusts(&thumbprint_of(end_entity)) { Ok(ClientCertVerified::assertion()) } else { Err(REFUSED) }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

impl ServerCertVerifier for Server {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let found = *self.seen.get_or_init(|| thumbprint_of(end_entity));
        if self.expected.is_none_or(|expected| expected == found) {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(REFUSED)
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
