//! Refusals: the one way in which a Tentacle says no, and the one place where they become a gRPC status and back.

use prost::Message as _;

use crate::wire;

/// Most characters of a sentence that travel. The rest is cut off, because the sentence goes into an HTTP/2 header.
const SENTENCE_MAX: usize = 1000;

/// Why a call was refused: a kind for machines, a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{sentence}")]
pub struct Refusal {
    /// What a machine can act on.
    pub kind: RefusalKind,
    /// What a person can act on.
    pub sentence: String,
}

/// The kinds of refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefusalKind {
    /// The generation of an upgrade is not higher than the last one seen from this portal.
    StaleGeneration,
    /// The running version is not the one that the caller expected.
    VersionChanged,
    /// Somebody else is doing this just now, or too much is going on; try again later.
    Busy,
    /// The process is about to end; ask its successor.
    Ending,
    /// There is no work under this ticket.
    UnknownTicket,
    /// The ticket is known, with other work.
    TicketReused,
    /// The bytes received do not have the digest that was announced.
    DigestMismatch,
    /// The package is missing, damaged, or not one that this machine can use.
    BadPackage,
    /// The instance id or version is not that of this process.
    OtherInstance,
    /// The change would leave the Tentacle trusting nobody, or not the caller.
    LastTrust,
    /// Not enough room on the disk.
    DiskFull,
    /// The request cannot be understood.
    BadRequest,
    /// Something failed on the machine.
    Internal,
}

impl Refusal {
    /// A refusal of a kind. The sentence is for people: what is wrong and what they can do.
    pub fn new(kind: RefusalKind, sentence: impl Into<String>) -> Self {
        Self { kind, sentence: sentence.into() }
    }

    /// The refusal in a gRPC status; `None` when the status means something else, such as a broken connection.
    pub fn from_status(status: &tonic::Status) -> Option<Self> {
        if status.code() != tonic::Code::FailedPrecondition || status.details().is_empty() {
            return None;
        }
        let refusal = wire::Refusal::decode(status.details()).ok()?;
        Some(Self { kind: refusal.kind().into(), sentence: refusal.sentence })
    }
}

impl From<Refusal> for tonic::Status {
    fn from(refusal: Refusal) -> Self {
        let sentence: String = refusal.sentence.chars().take(SENTENCE_MAX).collect();
        let details = wire::Refusal { kind: wire::RefusalKind::from(refusal.kind).into(), sentence: sentence.clone() };
        Self::with_details(tonic::Code::FailedPrecondition, sentence, details.encode_to_vec().into())
    }
}

impl From<wire::RefusalKind> for RefusalKind {
    fn from(kind: wire::RefusalKind) -> Self {
        match kind {
            wire::RefusalKind::StaleGeneration => Self::StaleGeneration,
            wire::RefusalKind::VersionChanged => Self::VersionChanged,
            wire::RefusalKind::Busy => Self::Busy,
            wire::RefusalKind::Ending => Self::Ending,
            wire::RefusalKind::UnknownTicket => Self::UnknownTicket,
            wire::RefusalKind::TicketReused => Self::TicketReused,
            wire::RefusalKind::DigestMismatch => Self::DigestMismatch,
            wire::RefusalKind::BadPackage => Self::BadPackage,
            wire::RefusalKind::OtherInstance => Self::OtherInstance,
            wire::RefusalKind::LastTrust => Self::LastTrust,
            wire::RefusalKind::DiskFull => Self::DiskFull,
            wire::RefusalKind::BadRequest => Self::BadRequest,
            wire::RefusalKind::Internal | wire::RefusalKind::Unspecified => Self::Internal,
        }
    }
}

impl From<RefusalKind> for wire::RefusalKind {
    fn from(kind: RefusalKind) -> Self {
        match kind {
            RefusalKind::StaleGeneration => Self::StaleGeneration,
            RefusalKind::VersionChanged => Self::VersionChanged,
            RefusalKind::Busy => Self::Busy,
            RefusalKind::Ending => Self::Ending,
            RefusalKind::UnknownTicket => Self::UnknownTicket,
            RefusalKind::TicketReused => Self::TicketReused,
            RefusalKind::DigestMismatch => Self::DigestMismatch,
            RefusalKind::BadPackage => Self::BadPackage,
            RefusalKind::OtherInstance => Self::OtherInstance,
            RefusalKind::LastTrust => Self::LastTrust,
            RefusalKind::DiskFull => Self::DiskFull,
            RefusalKind::BadRequest => Self::BadRequest,
            RefusalKind::Internal => Self::Internal,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_survives_the_way_through_a_status() {
        for number in 1..=13 {
            let kind: RefusalKind = wire::RefusalKind::try_from(number).unwrap().into();
            let refusal = Refusal::new(kind, "the generation 4 is not higher than 5: ask for é");
            assert_eq!(Refusal::from_status(&tonic::Status::from(refusal.clone())), Some(refusal));
        }
    }

    #[test]
    fn a_kind_from_the_future_is_internal_and_other_statuses_are_no_refusals() {
        let details = wire::Refusal { kind: 4711, sentence: "new".to_owned() }.encode_to_vec();
        let status = tonic::Status::with_details(tonic::Code::FailedPrecondition, "new", details.into());
        assert_eq!(Refusal::from_status(&status), Some(Refusal::new(RefusalKind::Internal, "new")));
        assert_eq!(Refusal::from_status(&tonic::Status::unavailable("gone")), None);
        assert_eq!(Refusal::from_status(&tonic::Status::failed_precondition("no details")), None);
    }

    #[test]
    fn a_sentence_without_end_is_cut() {
        let status = tonic::Status::from(Refusal::new(RefusalKind::Busy, "é".repeat(100_000)));
        assert_eq!(Refusal::from_status(&status).unwrap().sentence.chars().count(), SENTENCE_MAX);
    }
}
