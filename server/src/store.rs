//! The package store: files named by the SHA-256 of their bytes, in `<data>/packages`. A file is there completely or not
//! at all. Which packages they are is the database's business.
//!
//! Invariant: whoever puts a file that a row will refer to in its place, and whoever removes one that no row refers to,
//! holds the one write transaction meanwhile. So no file goes away between the look and the act.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use contract::Sha256;
use futures_util::{Stream, StreamExt as _};
use sha2::Digest as _;
use tempfile::TempPath;
use tokio::io::AsyncWriteExt as _;

use crate::db::packages::package_digests;
use crate::db::{Connection, DbError};
use crate::sys;

/// Largest package. A larger one is refused as soon as its first byte too many arrives. No zip file without the 64-bit
/// extension, which packages may not use, is larger.
pub const PACKAGE_SIZE_MAX: u64 = (4 << 30) - 1;

/// The start of the names of files that are still being received.
const INCOMING_PREFIX: &str = ".incoming-";

/// The end of the names of files that are complete.
const SUFFIX: &str = ".nupkg";

/// What can go wrong with the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The upload is too large.
    #[error("the package is larger than {max} bytes, which is the most that is taken")]
    TooLarge {
        /// The limit.
        max: u64,
    },
    /// The upload ended early.
    #[error("the upload ended early; send it again")]
    CutOff {
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The disk refused.
    #[error("cannot {step} {path}")]
    Disk {
        /// What was being done: "write the file".
        step: &'static str,
        /// To what.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The file is not there.
    #[error("the package file {sha256} is not in the portal's store; upload the package again")]
    Missing {
        /// Its name.
        sha256: Sha256,
    },
    /// The file is not what was put there.
    #[error(
        "the package file {sha256} in the portal's store has {found} bytes and not {size}: it is damaged; upload the \
         same package again"
    )]
    Damaged {
        /// Its name.
        sha256: Sha256,
        /// Its size.
        found: u64,
        /// The size it had.
        size: u64,
    },
}

fn disk(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    move |source| StoreError::Disk { step, path: path.display().to_string(), source }
}

/// The files of packages.
#[derive(Clone, Debug)]
pub struct PackageStore {
    folder: Arc<Path>,
    size_max: u64,
}

/// A file that was received completely, is durable, and that nobody refers to. Dropped, it is gone.
#[derive(Debug)]
pub struct Incoming {
    path: TempPath,
    sha256: Sha256,
    size: u64,
}

impl Incoming {
    /// Where it lies for now.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The digest of its bytes.
    pub fn sha256(&self) -> Sha256 {
        self.sha256
    }

    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }
}

impl PackageStore {
    /// The store of the portal whose data is in `data_dir`.
    pub fn new(data_dir: &Path) -> Result<Self, StoreError> {
        let folder = data_dir.join("packages");
        sys::private_folder(&folder).map_err(disk("make the folder", &folder))?;
        Ok(Self { folder: folder.into(), size_max: PACKAGE_SIZE_MAX })
    }

    /// The same store with another limit, for tests.
    #[doc(hidden)]
    pub fn with_size_max(self, size_max: u64) -> Self {
        Self { size_max, ..self }
    }

    /// Where the file of that digest lies, if it is there.
    pub fn path(&self, sha256: &Sha256) -> PathBuf {
        self.folder.join(format!("{sha256}{SUFFIX}"))
    }

    /// Opens the file of that digest, which has that many bytes.
    pub async fn open(&self, sha256: &Sha256, size: u64) -> Result<tokio::fs::File, StoreError> {
        let path = self.path(sha256);
        let file = match tokio::fs::File::open(&path).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(StoreError::Missing { sha256: *sha256 }),
            other => other.map_err(disk("open", &path)),
        }?;
        let found = file.metadata().await.map_err(disk("look at", &path))?.len();
        if found == size { Ok(file) } else { Err(StoreError::Damaged { sha256: *sha256, found, size }) }
    }

    /// True if the file of that digest is there, can be read, and holds those bytes. Reads all of it.
    pub async fn is_intact(&self, sha256: &Sha256) -> bool {
        let (path, sha256) = (self.path(sha256), *sha256);
        let read = tokio::task::spawn_blocking(move || package::sha256_file(&path));
        matches!(read.await, Ok(Ok((found, _))) if found == sha256)
    }

    /// Receives an upload to the disk, hashing as it comes: memory holds one piece of it at a time.
    pub async fn receive<S, E>(&self, body: S) -> Result<Incoming, StoreError>
    where
        S: Stream<Item = Result<Bytes, E>>,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (file, path) = self.incoming_file()?;
        let mut file = tokio::fs::File::from_std(file);
        let (mut hasher, mut size) = (sha2::Sha256::new(), 0_u64);
        let mut body = std::pin::pin!(body);
        while let Some(piece) = body.next().await {
            let piece = piece.map_err(|error| StoreError::CutOff { source: error.into() })?;
            size = size.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
            if size > self.size_max {
                return Err(StoreError::TooLarge { max: self.size_max });
            }
            hasher.update(&piece);
            file.write_all(&piece).await.map_err(disk("write the file", &path))?;
        }
        file.flush().await.map_err(disk("write the file", &path))?;
        file.sync_all().await.map_err(disk("write the file", &path))?;
        Ok(Incoming { path, sha256: Sha256(hasher.finalize().into()), size })
    }

    /// Copies a file that lies elsewhere on this machine, and puts it in its place. It must have the digest.
    pub(crate) fn import(&self, from: &Path, sha256: Sha256) -> Result<(), StoreError> {
        let place = self.path(&sha256);
        if package::sha256_file(&place).is_ok_and(|(found, _)| found == sha256) {
            return Ok(());
        }
        let (mut file, path) = self.incoming_file()?;
        let mut source = File::open(from).map_err(disk("open", from))?;
        io::copy(&mut source, &mut file).map_err(disk("copy", from))?;
        file.sync_all().map_err(disk("write the file", &path))?;
        let (copied, _) = package::sha256_file(&path).map_err(disk("read", &path))?;
        if copied != sha256 {
            return Err(disk("copy", from)(io::Error::other("it was changed meanwhile")));
        }
        self.put(path, &place)
    }

    /// Puts a received file in its place; a file that is there already has the same bytes. Hold the write transaction
    /// that makes a row refer to it.
    pub async fn keep(&self, incoming: Incoming) -> Result<Sha256, StoreError> {
        let (store, sha256) = (self.clone(), incoming.sha256);
        let kept = tokio::task::spawn_blocking(move || store.put(incoming.path, &store.path(&sha256)));
        kept.await.map_err(|error| disk("keep", &self.path(&sha256))(io::Error::other(error)))??;
        Ok(sha256)
    }

    /// Removes the file of that digest unless a row, or one of `bundled`, refers to it. Call it in a write transaction.
    pub async fn remove_unreferenced(
        &self,
        tx: &mut Connection,
        sha256: &Sha256,
        bundled: &HashSet<Sha256>,
    ) -> Result<bool, RemoveError> {
        if bundled.contains(sha256) || package_digests(tx).await?.contains(sha256) {
            return Ok(false);
        }
        let path = self.path(sha256);
        match tokio::fs::remove_file(&path).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            other => Ok(other.map(|()| true).map_err(disk("remove", &path))?),
        }
    }

    /// Removes what was never completely received, and complete files that are not `referenced`. Only for the start of
    /// the portal, before anybody uploads. Returns how many files went.
    pub fn sweep(&self, referenced: &HashSet<Sha256>) -> Result<usize, StoreError> {
        let mut removed = 0;
        for entry in fs::read_dir(&self.folder).map_err(disk("list", &self.folder))? {
            let entry = entry.map_err(disk("list", &self.folder))?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            let digest: Option<Sha256> = name.strip_suffix(SUFFIX).and_then(|digest| digest.parse().ok());
            let is_orphan = digest.is_some_and(|digest| !referenced.contains(&digest));
            if is_orphan || name.starts_with(INCOMING_PREFIX) {
                fs::remove_file(entry.path()).map_err(disk("remove", &entry.path()))?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    fn incoming_file(&self) -> Result<(File, TempPath), StoreError> {
        let file = tempfile::Builder::new().prefix(INCOMING_PREFIX).tempfile_in(&self.folder);
        Ok(file.map_err(disk("make a file in", &self.folder))?.into_parts())
    }

    fn put(&self, from: TempPath, place: &Path) -> Result<(), StoreError> {
        from.persist(place).map_err(|error| disk("rename to", place)(error.error))?;
        sys::sync_folder(&self.folder).map_err(disk("sync the folder", &self.folder))
    }
}

/// Why a file was not removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// The disk refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The database did.
    #[error(transparent)]
    Db(#[from] DbError),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::App;
    use crate::feed::{OverwriteMode, package_upload};
    use crate::ids::SpaceId;
    use crate::testing::packed;

    fn body(pieces: &[&[u8]]) -> impl Stream<Item = io::Result<Bytes>> {
        let pieces: Vec<_> = pieces.iter().map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        futures_util::stream::iter(pieces)
    }

    fn files(store: &PackageStore) -> usize {
        fs::read_dir(&store.folder).unwrap().count()
    }

    #[tokio::test]
    async fn an_upload_is_hashed_as_it_comes_and_kept_under_its_digest() {
        let app = App::for_tests().await;
        let incoming = app.store.receive(body(&[b"hello ", b"world"])).await.unwrap();
        assert_eq!((incoming.size(), incoming.sha256()), (11, package::sha256_bytes(b"hello world")));
        let sha256 = app.store.keep(incoming).await.unwrap();
        assert_eq!(fs::read(app.store.path(&sha256)).unwrap(), b"hello world");
        let again = app.store.receive(body(&[b"hello world"])).await.unwrap();
        app.store.keep(again).await.unwrap();
        assert_eq!(files(&app.store), 1);
        let missing = app.store.open(&Sha256([0; 32]), 1).await.unwrap_err();
        assert!(missing.to_string().contains("is not in the portal's store"), "{missing}");
    }

    #[tokio::test]
    async fn an_upload_that_is_too_large_or_cut_off_leaves_nothing() {
        let app = App::for_tests().await;
        let store = app.store.clone().with_size_max(4);
        assert!(matches!(store.receive(body(&[b"123", b"45"])).await, Err(StoreError::TooLarge { max: 4 })));
        let cut = futures_util::stream::iter([Ok(Bytes::from_static(b"1")), Err(io::Error::other("gone"))]);
        assert!(matches!(store.receive(cut).await, Err(StoreError::CutOff { .. })));
        assert_eq!(store.receive(body(&[b"1234"])).await.unwrap().size(), 4);
        assert_eq!(files(&store), 0, "what was received and not kept is gone too");
    }

    #[tokio::test]
    async fn a_file_that_something_refers_to_stays() {
        let app = App::for_tests().await;
        let incoming = app.store.receive(body(&[&packed("a", "1.0.0", "x")])).await.unwrap();
        let (package, _) = package_upload(&app, SpaceId::DEFAULT, incoming, OverwriteMode::FailIfExists).await.unwrap();
        let sha256 = package.package.sha256;
        let mut tx = app.db.write().await.unwrap();
        assert!(!app.store.remove_unreferenced(&mut tx, &sha256, &HashSet::new()).await.unwrap());
        sqlx::query("DELETE FROM packages").execute(&mut *tx).await.unwrap();
        assert!(!app.store.remove_unreferenced(&mut tx, &sha256, &HashSet::from([sha256])).await.unwrap());
        assert!(app.store.remove_unreferenced(&mut tx, &sha256, &HashSet::new()).await.unwrap());
        assert_eq!(files(&app.store), 0);
    }

    #[tokio::test]
    async fn the_sweep_removes_orphans_and_nothing_else() {
        let app = App::for_tests().await;
        let kept = app.store.keep(app.store.receive(body(&[b"a"])).await.unwrap()).await.unwrap();
        app.store.keep(app.store.receive(body(&[b"b"])).await.unwrap()).await.unwrap();
        fs::write(app.store.folder.join(".incoming-dead"), "half").unwrap();
        fs::write(app.store.folder.join("README"), "a person's").unwrap();
        assert_eq!(app.store.sweep(&HashSet::from([kept])).unwrap(), 2);
        assert_eq!(files(&app.store), 2);
        app.store.open(&kept, 1).await.unwrap();
    }
}
