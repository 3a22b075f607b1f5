//! The channel between a portal and a Tentacle: TLS 1.3 in which both sides show a certificate and pin the SHA-256 of the
//! other's.
//!
//! Dates, names and issuers are not looked at; that the other side holds the key of its certificate is checked by the
//! provider. Sessions are never resumed, so that trust is asked at each connection.

mod connect;
mod crowd;
mod identity;
mod pin;
mod serve;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

pub use connect::{ConnectError, Shown, connect, discover, https_config};
pub use crowd::{Busy, Crowd, Place};
pub use identity::{Identity, IdentityError, thumbprint_of};
pub use pin::Trust;
pub use serve::{Accepted, Peer, incoming, server, server_config};

/// How much a sender may send on one call before it was read. Holds two pieces of an upload.
const STREAM_WINDOW: u32 = 2 * 1024 * 1024;

/// The same for all calls of one connection together.
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;

/// Largest HTTP/2 frame: large enough that framing costs next to nothing in an upload.
const FRAME_MAX: u32 = 256 * 1024;

/// The one TLS provider of the project, always named, so that no other can slip in.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
