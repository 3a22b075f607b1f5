//! What can be wrong with a message, and the small readers that the conversions share.

use contract::{Sha256, Thumbprint, Version};

use crate::{Refusal, RefusalKind};

/// A message that the other side sent cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the field \"{field}\" of the message cannot be understood: {why}")]
pub struct DecodeError {
    field: &'static str,
    why: String,
}

impl DecodeError {
    pub(crate) fn new(field: &'static str, why: impl ToString) -> Self {
        Self { field, why: why.to_string() }
    }
}

impl From<DecodeError> for Refusal {
    fn from(error: DecodeError) -> Self {
        Self::new(RefusalKind::BadRequest, error.to_string())
    }
}

impl From<DecodeError> for tonic::Status {
    fn from(error: DecodeError) -> Self {
        Refusal::from(error).into()
    }
}

fn bytes32(field: &'static str, bytes: &[u8]) -> Result<[u8; 32], DecodeError> {
    bytes.try_into().map_err(|_| DecodeError::new(field, format!("expected 32 bytes, got {}", bytes.len())))
}

pub(crate) fn sha256(field: &'static str, bytes: &[u8]) -> Result<Sha256, DecodeError> {
    bytes32(field, bytes).map(Sha256)
}

pub(crate) fn thumbprint(field: &'static str, bytes: &[u8]) -> Result<Thumbprint, DecodeError> {
    bytes32(field, bytes).map(Thumbprint)
}

pub(crate) fn version(field: &'static str, text: &str) -> Result<Version, DecodeError> {
    text.parse().map_err(|error| DecodeError::new(field, error))
}
