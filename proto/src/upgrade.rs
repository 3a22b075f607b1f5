//! The orders that change the Tentacle itself: upgrade, confirm and trust.

use contract::{Sha256, Thumbprint, Version};

use crate::{DecodeError, InstanceId, Ticket, decode, wire};

/// The order to change to another version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpgradeOrder {
    /// The ticket that the progress is watched under.
    pub ticket: Ticket,
    /// The digest of the Tentacle package, which must have been uploaded; `None` where the version is installed there
    /// already.
    pub package: Option<Sha256>,
    /// The version that the package must have, or that is installed.
    pub version: Version,
    /// Higher than every generation that this portal has sent to this machine before.
    pub generation: u64,
    /// The version that the portal believes to be running.
    pub expected: Version,
    /// How long running work may take to end, in milliseconds.
    pub drain_ms: u64,
}

/// The word that a process was seen well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confirm {
    /// The instance that was seen.
    pub instance_id: InstanceId,
    /// The version that it reported.
    pub version: Version,
}

/// A change of the list of trusted portals.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustChange {
    /// Thumbprints to add.
    pub add: Vec<Thumbprint>,
    /// Thumbprints to remove.
    pub remove: Vec<Thumbprint>,
}

impl From<UpgradeOrder> for wire::UpgradeRequest {
    fn from(order: UpgradeOrder) -> Self {
        Self {
            ticket: order.ticket.into(),
            package: order.package.map(|package| package.0.to_vec()).unwrap_or_default(),
            version: order.version.to_string(),
            generation: order.generation,
            expected: order.expected.to_string(),
            drain_ms: order.drain_ms,
        }
    }
}

impl TryFrom<wire::UpgradeRequest> for UpgradeOrder {
    type Error = DecodeError;

    fn try_from(request: wire::UpgradeRequest) -> Result<Self, Self::Error> {
        let digest = Some(&request.package).filter(|bytes| !bytes.is_empty());
        Ok(Self {
            ticket: request.ticket.parse()?,
            package: digest.map(|bytes| decode::sha256("package", bytes)).transpose()?,
            version: decode::version("version", &request.version)?,
            generation: request.generation,
            expected: decode::version("expected", &request.expected)?,
            drain_ms: request.drain_ms,
        })
    }
}

impl From<Confirm> for wire::ConfirmRequest {
    fn from(confirm: Confirm) -> Self {
        Self { instance_id: confirm.instance_id.to_string(), version: confirm.version.to_string() }
    }
}

impl TryFrom<wire::ConfirmRequest> for Confirm {
    type Error = DecodeError;

    fn try_from(request: wire::ConfirmRequest) -> Result<Self, Self::Error> {
        Ok(Self { instance_id: request.instance_id.parse()?, version: decode::version("version", &request.version)? })
    }
}

impl From<TrustChange> for wire::TrustRequest {
    fn from(change: TrustChange) -> Self {
        Self { add: encode_thumbprints(&change.add), remove: encode_thumbprints(&change.remove) }
    }
}

impl TryFrom<wire::TrustRequest> for TrustChange {
    type Error = DecodeError;

    fn try_from(request: wire::TrustRequest) -> Result<Self, Self::Error> {
        let read = |field, list: &[Vec<u8>]| list.iter().map(|bytes| decode::thumbprint(field, bytes)).collect();
        let add: Result<_, _> = read("add", &request.add);
        Ok(Self { add: add?, remove: read("remove", &request.remove)? })
    }
}

/// Thumbprints as they travel, 32 bytes each.
pub fn encode_thumbprints(list: &[Thumbprint]) -> Vec<Vec<u8>> {
    list.iter().map(|thumbprint| thumbprint.0.to_vec()).collect()
}

/// The list in the answer to `Trust`.
pub fn decode_thumbprints(reply: &wire::TrustReply) -> Result<Vec<Thumbprint>, DecodeError> {
    reply.trusted.iter().map(|bytes| decode::thumbprint("trusted", bytes)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_survive_the_wire() {
        let order = UpgradeOrder {
            ticket: "t".parse().unwrap(),
            package: Some(Sha256([1; 32])),
            version: Version::release(2, 0, 0),
            generation: 3,
            expected: Version::release(1, 0, 0),
            drain_ms: 4,
        };
        for package in [order.package, None] {
            let order = UpgradeOrder { package, ..order.clone() };
            assert_eq!(UpgradeOrder::try_from(wire::UpgradeRequest::from(order.clone())), Ok(order));
        }
        let half = wire::UpgradeRequest { package: vec![1; 16], ..order.into() };
        assert!(UpgradeOrder::try_from(half).is_err(), "half a digest is not none");
        let confirm = Confirm { instance_id: "i".parse().unwrap(), version: Version::release(1, 0, 0) };
        assert_eq!(Confirm::try_from(wire::ConfirmRequest::from(confirm.clone())), Ok(confirm));
        let change = TrustChange { add: vec![Thumbprint([1; 32])], remove: vec![Thumbprint([2; 32])] };
        assert_eq!(TrustChange::try_from(wire::TrustRequest::from(change.clone())), Ok(change));
    }
}
