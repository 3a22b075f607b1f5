//! Uploads: bytes from the portal become `Packages/<sha256>.nupkg`, which is visible only when its digest is right.
//!
//! A cut upload stays as `<sha256>.part` and goes on from the bytes on the disk. One writer per digest.

mod cache;
mod writer;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use contract::Sha256;
use octopus_proto::{BeginUpload, Refusal, RefusalKind, UPLOAD_CHUNK_MAX, UploadOffset, UploadStart, Uploaded};
use package::{Limits, PackageError, Verified};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::{Stream, StreamExt as _};

pub(crate) use cache::InUse;
use cache::Uses;
use writer::Writer;

use crate::log::chain;
use crate::sys;

/// Largest package. A larger announcement is refused.
const PACKAGE_MAX: u64 = 4 << 30;

/// Bytes that an upload must leave free on the disk; below them it is refused.
const DISK_RESERVE: u64 = 64 << 20;

/// Uploads that are known at a time. At the limit one that nobody writes is forgotten (its bytes stay and it can be begun
/// again); when all are being written a new one is refused as busy.
const UPLOADS_MAX: usize = 16;

/// Pieces between the network and the disk; then the network waits.
const PIECES_QUEUED: usize = 4;

/// How long a second upload of a package waits for the first one to let go; then it is refused as busy.
const WRITER_WAIT: Duration = Duration::from_secs(5);

/// How long a stream may be silent; then the upload is cut, and can be resumed.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// Packages that are remembered as hashed. At the limit all are forgotten, and hashed again when they are installed.
const HASHED_MAX: usize = 64;

type Writing = JoinHandle<Result<Uploaded, Refusal>>;

/// The uploads and the packages of a machine.
pub(crate) struct Uploads {
    folder: PathBuf,
    begun: Mutex<HashMap<Sha256, Arc<Begun>>>,
    uses: Uses,
    /// The packages that this process received and hashed, as they were then.
    hashed: Mutex<HashMap<Sha256, sys::Stamp>>,
}

/// An upload that was announced.
struct Begun {
    size: u64,
    /// Held by the one who writes. `None` until the first write: the bytes on the disk are not hashed yet.
    writer: Arc<tokio::sync::Mutex<Option<Writer>>>,
}

impl Uploads {
    /// Uploads into `folder`, which must exist. Old parts and packages that nobody needs are deleted.
    pub(crate) fn open(folder: PathBuf) -> Self {
        let uploads = Self { folder, begun: Mutex::default(), uses: Uses::default(), hashed: Mutex::default() };
        cache::sweep_parts(&uploads.folder);
        uploads.prune();
        uploads
    }

    /// Where a package is, or would be.
    pub(crate) fn package(&self, sha256: Sha256) -> PathBuf {
        cache::package_path(&self.folder, sha256)
    }

    /// Opens a package and makes sure of its digest. One that this process hashed while it arrived, and that was not
    /// touched since, is not hashed again. Blocks.
    pub(crate) fn verified(&self, sha256: Sha256) -> Result<Verified, PackageError> {
        let path = self.package(sha256);
        let known = self.hashed().get(&sha256).copied();
        match sys::stamp(&path) {
            Ok(stamp) if known == Some(stamp) => package::open_hashed(&path, sha256, &Limits::default()),
            _ => package::verify(&path, Some(sha256), &Limits::default()),
        }
    }

    fn hashed(&self) -> std::sync::MutexGuard<'_, HashMap<Sha256, sys::Stamp>> {
        self.hashed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember_hashed(&self, sha256: Sha256) {
        let mut hashed = self.hashed();
        if hashed.len() >= HASHED_MAX {
            hashed.clear();
        }
        // Where there is no stamp it is hashed again.
        if let Ok(stamp) = sys::stamp(&self.package(sha256)) {
            hashed.insert(sha256, stamp);
        }
    }

    /// Keeps a package from being pruned until the answer is dropped.
    pub(crate) fn in_use(&self, sha256: Sha256) -> InUse {
        self.uses.take(sha256)
    }

    fn prune(&self) {
        cache::prune(&self.folder, &self.uses);
    }

    fn begun(&self) -> std::sync::MutexGuard<'_, HashMap<Sha256, Arc<Begun>>> {
        // The map is never left half-changed, so a panic elsewhere does not make it wrong.
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where an upload has to go on. Waits a little for an earlier writer of the same package to let go.
    pub(crate) async fn begin(self: &Arc<Self>, begin: BeginUpload) -> Result<UploadOffset, Refusal> {
        let earlier = self.begun().get(&begin.sha256).map(|begun| Arc::clone(&begun.writer));
        if let Some(writer) = earlier {
            drop(tokio::time::timeout(WRITER_WAIT, writer.lock()).await.map_err(|_| being_written())?);
        }
        let uploads = Arc::clone(self);
        let look = tokio::task::spawn_blocking(move || uploads.look(begin));
        look.await.map_err(|error| internal("look at the upload", &error))?
    }

    fn look(&self, begin: BeginUpload) -> Result<UploadOffset, Refusal> {
        let BeginUpload { sha256, size } = begin;
        if size == 0 || size > PACKAGE_MAX {
            return Err(bad(format!(
                "a package must have 1 to {PACKAGE_MAX} bytes, this one is announced with {size}"
            )));
        }
        if let Some(there) = file_size(&self.package(sha256)) {
            if there != size {
                return Err(bad(format!("the package {sha256} is here and has {there} bytes, not {size}")));
            }
            return Ok(UploadOffset(size));
        }
        package::ensure_private_folder(&self.folder).map_err(|error| internal("make the folder", &chain(&error)))?;
        let part = cache::part_path(&self.folder, sha256);
        let mut have = file_size(&part).unwrap_or(0);
        let mut begun = self.begun();
        let known = begun.get(&sha256).is_some_and(|known| known.size == size);
        if have >= size && known {
            return Err(being_written());
        }
        if have >= size {
            // All bytes and yet not finished: it is of another size, or the last writer died. Its digest was never checked.
            remove(&part)?;
            have = 0;
        }
        let free = sys::free_disk(&self.folder).map_err(|error| internal("look at the disk", &error))?;
        if size.saturating_sub(have).saturating_add(DISK_RESERVE) > free {
            let sentence = format!("the package needs {} more bytes, but the disk has {free} left", size - have);
            return Err(Refusal::new(RefusalKind::DiskFull, sentence));
        }
        if !known {
            forget_idle(&mut begun)?;
            begun.insert(sha256, Arc::new(Begun { size, writer: Arc::default() }));
        }
        Ok(UploadOffset(have))
    }

    /// Takes the bytes of a stream, which begin where `start` says. What came is kept when the stream is cut.
    pub(crate) async fn receive<S>(self: &Arc<Self>, start: UploadStart, mut pieces: S) -> Result<Uploaded, Refusal>
    where
        S: Stream<Item = Result<Bytes, tonic::Status>> + Unpin,
    {
        let (queue, writing) = self.write(start).await?;
        loop {
            let Ok(next) = tokio::time::timeout(SILENCE_MAX, pieces.next()).await else {
                return Err(internal("receive", &"nothing came for a minute; resume the upload"));
            };
            match next {
                None => break,
                Some(Ok(piece)) if piece.len() > UPLOAD_CHUNK_MAX => {
                    return Err(bad(format!("a piece of an upload has at most {UPLOAD_CHUNK_MAX} bytes")));
                }
                Some(Ok(piece)) => {
                    if queue.send(piece).await.is_err() {
                        // The writer has given up; its answer says why.
                        break;
                    }
                }
                Some(Err(status)) => return Err(internal("receive", &status.message())),
            }
        }
        drop(queue);
        writing.await.map_err(|error| internal("write", &error))?
    }

    /// Starts the thread that writes. Waits a little for an earlier writer of the same package.
    async fn write(self: &Arc<Self>, start: UploadStart) -> Result<(mpsc::Sender<Bytes>, Writing), Refusal> {
        let UploadStart { sha256, offset } = start;
        let Some(begun) = self.begun().get(&sha256).cloned() else {
            let sentence = "this upload was not begun, or was forgotten: ask BeginUpload where it goes on";
            return Err(Refusal::new(RefusalKind::Busy, sentence));
        };
        let lock = tokio::time::timeout(WRITER_WAIT, Arc::clone(&begun.writer).lock_owned());
        let Ok(mut writer) = lock.await else {
            return Err(being_written());
        };
        let (queue, pieces) = mpsc::channel(PIECES_QUEUED);
        let uploads = Arc::clone(self);
        let writing = tokio::task::spawn_blocking(move || {
            let part = cache::part_path(&uploads.folder, sha256);
            // The file of an earlier stream may be gone meanwhile, and its bytes with it.
            let mut open = match writer.take().filter(|open| open.is_still_at(&part)) {
                Some(open) => open,
                None => Writer::open(&part).map_err(|error| uploads.disk_error("open the partial upload", &error))?,
            };
            if offset != open.offset() {
                let sentence = format!("the upload goes on at byte {}, not at {offset}", open.offset());
                *writer = Some(open);
                return Err(Refusal::new(RefusalKind::Busy, sentence));
            }
            let result = uploads.write_all(&mut open, sha256, begun.size, pieces);
            if matches!(result, Ok(Uploaded { complete: false, .. })) {
                *writer = Some(open);
            } else {
                // Finished or thrown away: the next upload begins anew.
                uploads.begun().remove(&sha256);
            }
            result
        });
        Ok((queue, writing))
    }

    /// One pass: each piece is written once and hashed once, on a thread of its own.
    fn write_all(
        &self,
        writer: &mut Writer,
        sha256: Sha256,
        size: u64,
        mut pieces: mpsc::Receiver<Bytes>,
    ) -> Result<Uploaded, Refusal> {
        let part = cache::part_path(&self.folder, sha256);
        while let Some(piece) = pieces.blocking_recv() {
            if writer.offset() + piece.len() as u64 > size {
                remove(&part)?;
                return Err(bad(format!("more bytes came than the {size} that were announced: they were thrown away")));
            }
            if let Err(error) = writer.write(&piece) {
                let refusal = self.disk_error("write the partial upload", &error);
                remove(&part)?;
                return Err(refusal);
            }
        }
        let complete = writer.offset() == size;
        if complete {
            self.finish(writer, sha256, &part)?;
        }
        Ok(Uploaded { offset: UploadOffset(writer.offset()), complete })
    }

    fn finish(&self, writer: &mut Writer, sha256: Sha256, part: &Path) -> Result<(), Refusal> {
        let found = writer.digest();
        if found != sha256 {
            remove(part)?;
            let sentence = format!("the bytes received have the SHA-256 {found}, not {sha256}: they were thrown away");
            return Err(Refusal::new(RefusalKind::DigestMismatch, sentence));
        }
        if !writer.is_still_at(part) {
            remove(part)?;
            return Err(changed());
        }
        writer.sync().map_err(|error| self.disk_error("sync the package", &error))?;
        std::fs::rename(part, self.package(sha256)).map_err(|error| self.disk_error("name the package", &error))?;
        sys::sync_folder(&self.folder).map_err(|error| self.disk_error("sync the packages", &error))?;
        self.remember_hashed(sha256);
        self.prune();
        Ok(())
    }

    fn disk_error(&self, step: &str, error: &std::io::Error) -> Refusal {
        if matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded) {
            let sentence = format!("the disk of {} is full: free some space and upload again", self.folder.display());
            return Refusal::new(RefusalKind::DiskFull, sentence);
        }
        match error.kind() {
            std::io::ErrorKind::WouldBlock => being_written(),
            std::io::ErrorKind::NotFound => changed(),
            _ => internal(step, error),
        }
    }
}

fn forget_idle(begun: &mut HashMap<Sha256, Arc<Begun>>) -> Result<(), Refusal> {
    if begun.len() < UPLOADS_MAX {
        return Ok(());
    }
    let idle = begun.iter().find(|(_, upload)| upload.writer.try_lock().is_ok()).map(|(sha256, _)| *sha256);
    match idle {
        Some(sha256) => begun.remove(&sha256),
        None => return Err(Refusal::new(RefusalKind::Busy, "too many uploads at a time: try again later")),
    };
    Ok(())
}

fn file_size(path: &Path) -> Option<u64> {
    std::fs::metadata(path).ok().map(|metadata| metadata.len())
}

fn remove(part: &Path) -> Result<(), Refusal> {
    match std::fs::remove_file(part) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(internal("delete the partial upload", &error))
        }
        _ => Ok(()),
    }
}

fn being_written() -> Refusal {
    Refusal::new(RefusalKind::Busy, "this package is being uploaded just now: try again later")
}

fn changed() -> Refusal {
    let sentence = "somebody deleted or changed what had come of this package: upload it again";
    Refusal::new(RefusalKind::Busy, sentence)
}

fn bad(sentence: impl Into<String>) -> Refusal {
    Refusal::new(RefusalKind::BadRequest, sentence)
}

fn internal(step: &str, error: &dyn std::fmt::Display) -> Refusal {
    Refusal::new(RefusalKind::Internal, format!("could not {step}: {error}"))
}

#[cfg(test)]
mod tests;
