//! The feed: packages that people upload, choose and delete. Each is a row in the database and a file in the [`store`].
//!
//! [`store`]: crate::store

use std::path::Path;

use contract::{PackageId, Sha256, Version};
use package::{Limits, PackageError, PackageFile};
use serde_json::Value;

use crate::app::App;
use crate::audit::{Deed, package_state};
use crate::db::DbError;
use crate::db::packages::{package_delete, package_get, package_insert, package_replace};
use crate::ids::SpaceId;
use crate::live::Change;
use crate::model::{AuditCategory, AuditKind, NewPackage, Package};
use crate::store::{Incoming, RemoveError, StoreError};

/// What to do with an upload whose id and version exist already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OverwriteMode {
    /// Refuse it.
    #[default]
    FailIfExists,
    /// Put it in the place of the old one.
    OverwriteExisting,
    /// Keep the old one, and say so.
    IgnoreIfExists,
}

impl OverwriteMode {
    /// Reads the word of the REST API, without regard to case.
    pub fn from_word(word: &str) -> Option<Self> {
        let words = [
            ("FailIfExists", Self::FailIfExists),
            ("OverwriteExisting", Self::OverwriteExisting),
            ("IgnoreIfExists", Self::IgnoreIfExists),
        ];
        words.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(word)).map(|(_, mode)| mode)
    }
}

/// What became of an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uploaded {
    /// It is in the feed now.
    Created,
    /// Its id and version were there, and the old one was kept.
    Existing,
    /// The very same package was there, but its file was missing or damaged; it is whole again.
    Repaired,
}

/// Why an upload is not in the feed.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// Its id and version are there.
    #[error(
        "A package with the same name and version already exists: {id} {version}. Give the new one another version, or \
         ask to overwrite the old one"
    )]
    Exists {
        /// The package's id.
        id: PackageId,
        /// Its version.
        version: Version,
    },
    /// Its id and version are there, damaged, and it has other bytes than they had.
    #[error(
        "{id} {version} is there already, and its file in the portal's store is missing or damaged. Upload the very \
         same file again, whose SHA-256 is {sha256}, to repair it; or ask to overwrite it"
    )]
    Damaged {
        /// The package's id.
        id: PackageId,
        /// Its version.
        version: Version,
        /// What it was.
        sha256: Sha256,
    },
    /// It is no package, or one that must not be unpacked.
    #[error("the file is no package that can be used: {why}")]
    Package {
        /// What is wrong with it.
        why: String,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
}

impl From<RemoveError> for UploadError {
    fn from(error: RemoveError) -> Self {
        match error {
            RemoveError::Store(error) => error.into(),
            RemoveError::Db(error) => error.into(),
        }
    }
}

/// Puts a received package into the feed of a space: reads what it says of itself, and writes that down. One that is
/// there with a damaged file is repaired by the same bytes, and by no others.
pub async fn package_upload(
    app: &App,
    space: SpaceId,
    incoming: Incoming,
    mode: OverwriteMode,
) -> Result<(Package, Uploaded), UploadError> {
    let (new, incoming) = read(space, incoming).await?;
    // To read a large file takes long: not in the transaction.
    let damaged = if mode == OverwriteMode::OverwriteExisting { None } else { damaged(app, &new).await? };
    let mut tx = app.db.write().await?;
    let old = package_get(&mut tx, space, &new.package_id, &new.version).await?;
    let (verb, category, what) = match &old {
        None => ("uploaded", AuditCategory::Created, "Create"),
        Some(_) if mode == OverwriteMode::OverwriteExisting => ("replaced", AuditCategory::Modified, "Replace"),
        Some(_) => ("repaired", AuditCategory::Modified, "Repair"),
    };
    let before = old.as_ref().map(package_state).unwrap_or_default();
    let deed = Deed::new(AuditKind::Package, category, what, format!("{verb} {} {}", new.package_id, new.version));
    let package = match (&old, mode) {
        (Some(old), OverwriteMode::FailIfExists | OverwriteMode::IgnoreIfExists)
            if damaged == Some(old.package.sha256) =>
        {
            if new.sha256 != old.package.sha256 {
                let sha256 = old.package.sha256;
                return Err(UploadError::Damaged { id: new.package_id, version: new.version, sha256 });
            }
            app.store.keep(incoming).await?;
            deed.on(old.wire_id()).write(&mut tx, space, app.now()).await?;
            tx.commit().await.map_err(DbError::from)?;
            tracing::info!(package.id = %new.package_id, package.version = %new.version, "a damaged package is whole again");
            return Ok((old.clone(), Uploaded::Repaired));
        }
        (Some(old), OverwriteMode::IgnoreIfExists) => return Ok((old.clone(), Uploaded::Existing)),
        (Some(_), OverwriteMode::FailIfExists) => {
            return Err(UploadError::Exists { id: new.package_id, version: new.version });
        }
        (Some(_), OverwriteMode::OverwriteExisting) => {
            app.store.keep(incoming).await?;
            package_replace(&mut tx, &new, app.now()).await?
        }
        (None, _) => {
            app.store.keep(incoming).await?;
            package_insert(&mut tx, &new, app.now()).await?
        }
    };
    let deed = deed.on(package.wire_id()).changed(before, package_state(&package));
    deed.write(&mut tx, space, app.now()).await?;
    tx.commit().await.map_err(DbError::from)?;
    if let Some(old) = old {
        remove_quietly(app, &old.package.sha256).await;
    }
    app.live.tell(Change::Packages);
    Ok((package, Uploaded::Created))
}

/// Reads a received package, and says whether its id and version are in the feed of a space. Nothing of it is kept.
pub async fn package_exists(app: &App, space: SpaceId, incoming: Incoming) -> Result<bool, UploadError> {
    let (new, _) = read(space, incoming).await?;
    Ok(package_get(&mut *app.db.read().await?, space, &new.package_id, &new.version).await?.is_some())
}

/// The digest of the package that has the id and version of `new`, if its file is missing or damaged.
async fn damaged(app: &App, new: &NewPackage) -> Result<Option<Sha256>, DbError> {
    let old = package_get(&mut *app.db.read().await?, new.space, &new.package_id, &new.version).await?;
    let Some(sha256) = old.map(|old| old.package.sha256) else { return Ok(None) };
    Ok((!app.store.is_intact(&sha256).await).then_some(sha256))
}

/// Deletes a package from the feed of a space, and its file if nothing else refers to it. `None` if it is not there.
pub async fn package_remove(
    app: &App,
    space: SpaceId,
    id: &PackageId,
    version: &Version,
) -> Result<Option<Package>, DbError> {
    let mut tx = app.db.write().await?;
    let package = package_delete(&mut tx, space, id, version).await?;
    if let Some(package) = &package {
        let line = format!("deleted {} {}", package.package.package_id, package.package.version);
        let deed = Deed::new(AuditKind::Package, AuditCategory::Deleted, "Delete", line).on(package.wire_id());
        deed.changed(package_state(package), Value::Null).write(&mut tx, space, app.now()).await?;
    }
    tx.commit().await?;
    if let Some(package) = &package {
        remove_quietly(app, &package.package.sha256).await;
        app.live.tell(Change::Packages);
    }
    Ok(package)
}

/// Removes a file that lost a row. What fails here is swept at the next start.
pub(crate) async fn remove_quietly(app: &App, sha256: &Sha256) {
    let removed = async {
        let mut tx = app.db.write().await?;
        app.store.remove_unreferenced(&mut tx, sha256, &app.bundle.digests()).await
    };
    if let Err(error) = removed.await {
        tracing::warn!(package.sha256 = %sha256, error = crate::error::chain(&error), "a package file was left behind");
    }
}

/// Why a received file is no package, for whoever sent it: where it lies for a moment says nothing to them.
fn unfit(error: &PackageError, path: &Path) -> String {
    let (why, path) = (crate::error::chain(error), path.display().to_string());
    why.replace(&format!("the package {path}"), "the file").replace(&path, "the file")
}

async fn read(space: SpaceId, incoming: Incoming) -> Result<(NewPackage, Incoming), UploadError> {
    let opened = tokio::task::spawn_blocking(move || match PackageFile::open(incoming.path(), &Limits::default()) {
        Ok(package) => Ok((package.nuspec().clone(), incoming)),
        Err(error) => Err(UploadError::Package { why: unfit(&error, incoming.path()) }),
    });
    let (nuspec, incoming) = opened.await.map_err(|error| StoreError::CutOff { source: Box::new(error) })??;
    let new = NewPackage {
        space,
        package_id: nuspec.id,
        version: nuspec.version,
        sha256: incoming.sha256(),
        size: incoming.size(),
        title: nuspec.title.unwrap_or_default(),
        summary: nuspec.summary.unwrap_or_default(),
        description: nuspec.description.unwrap_or_default(),
        release_notes: nuspec.release_notes.unwrap_or_default(),
    };
    Ok((new, incoming))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::testing::{TestApp, packed};

    fn files(app: &TestApp) -> usize {
        std::fs::read_dir(app.data_dir().join("packages")).unwrap().count()
    }

    async fn upload_bytes(
        app: &TestApp,
        bytes: Vec<u8>,
        mode: OverwriteMode,
    ) -> Result<(Package, Uploaded), UploadError> {
        let body = futures_util::stream::iter([Ok::<_, std::io::Error>(Bytes::from(bytes))]);
        let incoming = app.store.receive(body).await.unwrap();
        package_upload(app, SpaceId::DEFAULT, incoming, mode).await
    }

    async fn upload(
        app: &TestApp,
        id: &str,
        version: &str,
        content: &str,
        mode: OverwriteMode,
    ) -> Result<(Package, Uploaded), UploadError> {
        upload_bytes(app, packed(id, version, content), mode).await
    }

    #[tokio::test]
    async fn an_upload_is_read_and_listed() {
        let app = App::for_tests().await;
        let mut news = app.live.listen();
        let (package, uploaded) = upload(&app, "Acme.Web", "1.0", "a", OverwriteMode::FailIfExists).await.unwrap();
        assert_eq!((package.wire_id().as_str(), uploaded), ("packages-Acme.Web.1.0.0", Uploaded::Created));
        assert_eq!(news.try_recv(), Ok(Change::Packages));
        app.store.open(&package.package.sha256, package.package.size).await.unwrap();
    }

    #[tokio::test]
    async fn the_same_version_is_refused_kept_or_replaced_as_asked() {
        let app = App::for_tests().await;
        let (first, _) = upload(&app, "Acme.Web", "1.0.0", "a", OverwriteMode::FailIfExists).await.unwrap();
        let refused = upload(&app, "acme.web", "1.0", "b", OverwriteMode::FailIfExists).await.unwrap_err();
        assert!(refused.to_string().starts_with("A package with the same name and version already exists"));
        let kept = upload(&app, "acme.web", "1.0", "b", OverwriteMode::IgnoreIfExists).await.unwrap();
        assert_eq!(kept, (first.clone(), Uploaded::Existing));
        let replaced = upload(&app, "acme.web", "1.0", "b", OverwriteMode::OverwriteExisting).await.unwrap();
        assert_ne!(replaced.0.package.sha256, first.package.sha256);
        assert_eq!(files(&app), 1, "the old bytes are gone");
        let (id, version) = (first.package.package_id, first.package.version);
        assert!(package_remove(&app, SpaceId::DEFAULT, &id, &version).await.unwrap().is_some());
        assert!(package_remove(&app, SpaceId::DEFAULT, &id, &version).await.unwrap().is_none());
        assert_eq!(files(&app), 0);
    }

    #[tokio::test]
    async fn a_damaged_package_is_repaired_by_its_own_bytes_and_by_no_others() {
        let app = App::for_tests().await;
        let bytes = packed("Acme.Web", "1.0.0", "a");
        let (first, _) = upload_bytes(&app, bytes.clone(), OverwriteMode::FailIfExists).await.unwrap();
        let file = app.store.path(&first.package.sha256);
        for mode in [OverwriteMode::FailIfExists, OverwriteMode::IgnoreIfExists] {
            for damage in [Some(&b"damaged"[..]), Some(&vec![0; bytes.len()]), None] {
                match damage {
                    Some(content) => std::fs::write(&file, content).unwrap(),
                    None => std::fs::remove_file(&file).unwrap(),
                }
                let refused = upload(&app, "acme.web", "1.0", "b", mode).await.unwrap_err();
                assert!(refused.to_string().contains(&first.package.sha256.to_string()), "{refused}");
                let repaired = upload_bytes(&app, bytes.clone(), mode).await.unwrap();
                assert_eq!(repaired, (first.clone(), Uploaded::Repaired), "{mode:?}");
                assert_eq!(std::fs::read(&file).unwrap(), bytes);
            }
        }
        let refused = upload_bytes(&app, bytes, OverwriteMode::FailIfExists).await;
        assert!(matches!(refused, Err(UploadError::Exists { .. })), "it is whole: {refused:?}");
        std::fs::write(&file, "damaged").unwrap();
        let (replaced, _) = upload(&app, "acme.web", "1.0", "b", OverwriteMode::OverwriteExisting).await.unwrap();
        assert_ne!(replaced.package.sha256, first.package.sha256, "whoever asks to overwrite it may");
        assert_eq!(files(&app), 1);
    }

    #[tokio::test]
    async fn what_is_no_package_is_refused_and_leaves_nothing() {
        let app = App::for_tests().await;
        let refused = upload_bytes(&app, b"PK but not really".to_vec(), OverwriteMode::FailIfExists).await;
        assert!(matches!(refused, Err(UploadError::Package { .. })), "{refused:?}");
        assert_eq!(files(&app), 0);
    }
}
