//! The open file of a partial upload, with the digest of what is in it so far.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use contract::Sha256;
use sha2::Digest as _;

use crate::sys;

/// How much is read at a time when the bytes of an earlier process are hashed again.
const READ: usize = 256 * 1024;

/// Writes and hashes at once.
pub(super) struct Writer {
    file: File,
    hasher: sha2::Sha256,
    offset: u64,
}

impl Writer {
    /// Opens or makes a partial upload, and hashes what is in it. While it is open nobody else can: bytes of two writers
    /// in one file would be neither's.
    pub(super) fn open(part: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let mut file = sys::private(&mut options).read(true).append(true).create(true).open(part)?;
        file.try_lock()?;
        let mut hasher = sha2::Sha256::new();
        let mut offset = 0;
        let mut buffer = vec![0; READ];
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(Self { file, hasher, offset }),
                read => {
                    hasher.update(&buffer[..read]);
                    offset += read as u64;
                }
            }
        }
    }

    /// True while the file still has its name and all its bytes: somebody else may have deleted or cut it.
    pub(super) fn is_still_at(&self, part: &Path) -> bool {
        let same = || Ok::<_, io::Error>(sys::stamp(part)? == sys::stamp_of(&self.file.metadata()?));
        same().unwrap_or(false) && self.file.metadata().is_ok_and(|metadata| metadata.len() == self.offset)
    }

    /// The bytes in the file.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    pub(super) fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        self.file.write_all(piece)?;
        self.hasher.update(piece);
        self.offset += piece.len() as u64;
        Ok(())
    }

    /// The digest of all bytes.
    pub(super) fn digest(&self) -> Sha256 {
        Sha256(self.hasher.clone().finalize().into())
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }
}
