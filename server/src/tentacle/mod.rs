//! The seam between the portal and its Tentacles: what can be asked of a machine.
//!
//! Used by the loops that run in the background (rollouts, tasks, health) and by discovery, never by a handler.
//! `grpc` is the real thing and the only file of the portal that speaks the wire types; tests use a fake.

#[doc(hidden)]
pub mod fake;
pub mod grpc;
mod pace;

use std::path::Path;
use std::time::Duration;

use contract::{Sha256, Thumbprint, Version};
use futures_util::future::BoxFuture;
use octopus_proto::{InstanceId, Progress, Refusal, Status, Ticket, TrustChange, UpgradeOrder, Work};

use crate::ids::MachineId;
use crate::model::{Address, Machine};

/// Whom a call goes to, and which certificate must be shown there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The machine.
    pub machine: MachineId,
    /// Where its Tentacle listens.
    pub address: Address,
    /// The certificate that its Tentacle must show.
    pub thumbprint: Thumbprint,
}

impl From<&Machine> for Target {
    fn from(machine: &Machine) -> Self {
        Self { machine: machine.id, address: machine.address.clone(), thumbprint: machine.thumbprint }
    }
}

/// Why a call did not do what it was for. The sentences are for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The machine answers, and nothing listens at the port: the process that did is gone.
    #[error("{sentence}")]
    Closed {
        /// What was met.
        sentence: String,
    },
    /// Nobody answers, or the connection broke. Unreachable is not down.
    #[error("{sentence}")]
    Unreachable {
        /// What was met.
        sentence: String,
    },
    /// One side does not trust the other's certificate, or whoever answers is no Tentacle.
    #[error("{sentence}")]
    Untrusted {
        /// What was met.
        sentence: String,
    },
    /// The Tentacle understood and said no.
    #[error("{}", .0.sentence)]
    Refused(Refusal),
    /// No answer within the time allowed.
    #[error("{sentence}")]
    TimedOut {
        /// What was awaited.
        sentence: String,
    },
    /// The Tentacle answered something that this portal does not understand, or there is nothing right to send it.
    #[error("{sentence}")]
    Protocol {
        /// What is wrong.
        sentence: String,
    },
}

/// The outcome of a call, in time.
pub type Call<'a, T> = BoxFuture<'a, Result<T, CallError>>;

/// What can be asked of a machine. Every call is bounded in time and may be made again.
pub trait Tentacles: Send + Sync {
    /// How it is. The nonce of the question is fresh, and the answer's is checked.
    fn status<'a>(&'a self, target: &'a Target) -> Call<'a, Status>;

    /// Sends it a file, going on where an earlier attempt broke off. Done when the machine has verified the digest.
    fn upload<'a>(&'a self, target: &'a Target, file: &'a Path, sha256: Sha256, size: u64) -> Call<'a, ()>;

    /// Starts work under a ticket. The same ticket again starts nothing.
    fn start<'a>(&'a self, target: &'a Target, ticket: &'a Ticket, description: &'a str, work: Work) -> Call<'a, ()>;

    /// News of a ticket after line `after`; waits up to `wait` for it.
    fn watch<'a>(&'a self, target: &'a Target, ticket: &'a Ticket, after: u64, wait: Duration) -> Call<'a, Progress>;

    /// Ends the work of a ticket.
    fn cancel<'a>(&'a self, target: &'a Target, ticket: &'a Ticket) -> Call<'a, ()>;

    /// Orders a change to another version. Done when the machine has accepted the order.
    fn upgrade<'a>(&'a self, target: &'a Target, order: UpgradeOrder) -> Call<'a, ()>;

    /// Tells a process that it was seen well.
    fn confirm<'a>(&'a self, target: &'a Target, instance: &'a InstanceId, version: &'a Version) -> Call<'a, ()>;

    /// Changes the list of portals that it trusts.
    fn trust<'a>(&'a self, target: &'a Target, change: TrustChange) -> Call<'a, ()>;

    /// The certificate that is shown at an address. Nothing is trusted.
    fn discover<'a>(&'a self, address: &'a Address) -> Call<'a, Thumbprint>;
}
