//! Uploads of packages: content-addressed and resumable.

use contract::Sha256;

use crate::{DecodeError, decode, wire};

/// Most bytes in one message of an upload; a longer one is refused.
pub const UPLOAD_CHUNK_MAX: usize = 1024 * 1024;

/// The question where an upload has to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BeginUpload {
    /// The digest of the whole package.
    pub sha256: Sha256,
    /// The size of the whole package in bytes.
    pub size: u64,
}

/// The first byte of an upload that is missing. Equal to the size: complete and verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UploadOffset(pub u64);

/// What the first message of an upload's stream says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UploadStart {
    /// The digest of the whole package.
    pub sha256: Sha256,
    /// Where the first byte of the stream belongs.
    pub offset: u64,
}

/// What became of an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uploaded {
    /// The first byte that is missing.
    pub offset: UploadOffset,
    /// The package is there, whole, synced and with the right digest.
    pub complete: bool,
}

impl From<BeginUpload> for wire::BeginUploadRequest {
    fn from(begin: BeginUpload) -> Self {
        Self { sha256: begin.sha256.0.to_vec(), size: begin.size }
    }
}

impl TryFrom<wire::BeginUploadRequest> for BeginUpload {
    type Error = DecodeError;

    fn try_from(request: wire::BeginUploadRequest) -> Result<Self, Self::Error> {
        Ok(Self { sha256: decode::sha256("sha256", &request.sha256)?, size: request.size })
    }
}

impl From<UploadOffset> for wire::BeginUploadReply {
    fn from(offset: UploadOffset) -> Self {
        Self { offset: offset.0 }
    }
}

impl From<wire::BeginUploadReply> for UploadOffset {
    fn from(reply: wire::BeginUploadReply) -> Self {
        Self(reply.offset)
    }
}

impl UploadStart {
    /// The first message of a stream, with its bytes.
    pub fn with_data(self, data: bytes::Bytes) -> wire::UploadChunk {
        wire::UploadChunk { sha256: self.sha256.0.to_vec(), offset: self.offset, data }
    }
}

impl TryFrom<&wire::UploadChunk> for UploadStart {
    type Error = DecodeError;

    fn try_from(chunk: &wire::UploadChunk) -> Result<Self, Self::Error> {
        Ok(Self { sha256: decode::sha256("sha256", &chunk.sha256)?, offset: chunk.offset })
    }
}

impl From<Uploaded> for wire::UploadReply {
    fn from(uploaded: Uploaded) -> Self {
        Self { offset: uploaded.offset.0, complete: uploaded.complete }
    }
}

impl From<wire::UploadReply> for Uploaded {
    fn from(reply: wire::UploadReply) -> Self {
        Self { offset: UploadOffset(reply.offset), complete: reply.complete }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_messages_of_an_upload_survive_the_wire() {
        let begin = BeginUpload { sha256: Sha256([7; 32]), size: u64::MAX };
        assert_eq!(BeginUpload::try_from(wire::BeginUploadRequest::from(begin)), Ok(begin));
        let start = UploadStart { sha256: Sha256([8; 32]), offset: 5 };
        assert_eq!(UploadStart::try_from(&start.with_data("abc".into())), Ok(start));
        let uploaded = Uploaded { offset: UploadOffset(9), complete: true };
        assert_eq!(Uploaded::from(wire::UploadReply::from(uploaded)), uploaded);
    }

    #[test]
    fn a_digest_of_another_length_is_refused() {
        let request = wire::BeginUploadRequest { sha256: vec![1; 31], size: 1 };
        assert!(BeginUpload::try_from(request).unwrap_err().to_string().contains("got 31"));
    }
}
