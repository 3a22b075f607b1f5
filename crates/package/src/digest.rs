//! SHA-256 of files and readers. Called by everything here that checks or records bytes.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use contract::Sha256;
use sha2::Digest as _;

/// Bytes that are read, hashed and written at once: large enough that system calls do not count, small enough to
/// stay in the processor's cache.
pub(crate) const CHUNK_BYTES: usize = 256 * 1024;

/// The digest of bytes in memory.
pub fn sha256_bytes(bytes: &[u8]) -> Sha256 {
    Sha256(sha2::Sha256::digest(bytes).into())
}

/// The digest and the size in bytes of a file.
pub fn sha256_file(path: &Path) -> io::Result<(Sha256, u64)> {
    sha256_reader(&mut File::open(path)?)
}

/// The digest and the count of the bytes up to the reader's end.
pub(crate) fn sha256_reader(reader: &mut impl Read) -> io::Result<(Sha256, u64)> {
    let mut hasher = sha2::Sha256::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut size = 0;
    loop {
        let count = read_full(reader, &mut chunk)?;
        if count == 0 {
            return Ok((Sha256(hasher.finalize().into()), size));
        }
        hasher.update(&chunk[..count]);
        size += count as u64;
    }
}

/// Reads until `chunk` is full or the reader ends. Returns how many bytes were read: 0 only at the end.
pub(crate) fn read_full(reader: &mut impl Read, chunk: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < chunk.len() {
        match reader.read(&mut chunk[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_the_digest_of_its_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("abc");
        std::fs::write(&path, "abc").unwrap();
        let (digest, size) = sha256_file(&path).unwrap();
        assert_eq!(digest.to_string(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!((digest, size), (sha256_bytes(b"abc"), 3));
    }

    #[test]
    fn a_file_of_many_chunks_is_read_to_its_end() {
        let bytes = vec![7; 2 * CHUNK_BYTES + 1];
        assert_eq!(sha256_reader(&mut bytes.as_slice()).unwrap(), (sha256_bytes(&bytes), bytes.len() as u64));
    }
}
