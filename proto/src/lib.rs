//! The wire between a portal and a Tentacle, and the domain types that both sides use past the edge.
//!
//! The stubs and messages in [`wire`] are spoken at two edges only: the portal's client and Tentacle's service. Everything
//! else uses the domain types; the conversions stand beside each. Nothing here decides, waits for work or touches a disk
//! beyond the file of an [`tls::Identity`].

mod decode;
mod refusal;
mod status;
pub mod tls;
mod upgrade;
mod upload;
mod work;

/// The generated stubs and messages. Only for the two edges.
#[expect(clippy::allow_attributes, clippy::too_many_lines, reason = "generated")]
pub mod wire {
    tonic::include_proto!("octopus.tentacle.v1");
}

pub use decode::DecodeError;
pub use refusal::{Refusal, RefusalKind};
pub use status::{InstalledVersion, InstanceId, NONCE_MAX, RunningWork, Status};
pub use upgrade::{Confirm, TrustChange, UpgradeOrder, decode_thumbprints, encode_thumbprints};
pub use upload::{BeginUpload, UPLOAD_CHUNK_MAX, UploadOffset, UploadStart, Uploaded};
pub use work::{
    DESCRIPTION_MAX, LOG_LINE_MAX, LogLevel, LogLine, PROGRESS_LINES_MAX, Progress, Start, Ticket, WATCH_WAIT_MAX,
    Watch, Work, WorkState,
};

/// The port that a Tentacle listens on when nothing else is said.
pub const DEFAULT_PORT: u16 = 10933;
