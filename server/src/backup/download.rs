//! A backup for somebody who is logged in: made on the disk, under no name, and sent from there.

use std::io::{self, Seek as _, SeekFrom};

use tokio::sync::Semaphore;

use super::BackupError;
use super::make::{PackageChoice, backup_write};
use crate::app::App;
use crate::audit::Deed;
use crate::db::DbError;
use crate::ids::SpaceId;
use crate::model::{AuditCategory, AuditKind};

/// Backups that are made at once. Whoever asks for one more is told to wait: each takes as much disk as the portal.
static ONE_AT_A_TIME: Semaphore = Semaphore::const_new(1);

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// Somebody else is at it.
    #[error("another backup is being made; try again in a moment")]
    Busy,
    /// It could not be made.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
    /// The file cannot be used.
    #[error("the file of the backup cannot be used")]
    File(#[from] io::Error),
}

/// A backup that is ready to be sent.
#[derive(Debug)]
pub struct Download {
    /// Its bytes. The file has no name: it goes with this.
    pub file: tokio::fs::File,
    /// Its size in bytes.
    pub size: u64,
    /// What to call it.
    pub name: String,
}

/// Makes a backup of the running portal, and writes down who took it.
pub async fn backup_download(app: &App, packages: &PackageChoice) -> Result<Download, DownloadError> {
    let _turn = ONE_AT_A_TIME.try_acquire().map_err(|_| DownloadError::Busy)?;
    let mut file = tempfile::tempfile_in(&app.data_dir)?;
    let manifest = backup_write(&app.data_dir, packages, file.try_clone()?, app.now()).await?;
    let size = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(0))?;
    let files = manifest.package_files().count();
    let line = format!("took a backup of this portal away, with its private key and {files} package files");
    let deed = Deed::new(AuditKind::Setting, AuditCategory::Created, "Backup", line);
    let mut tx = app.db.write().await?;
    deed.write(&mut tx, SpaceId::DEFAULT, app.now()).await?;
    tx.commit().await.map_err(DbError::from)?;
    let stamp: String = manifest.made_at.chars().take(16).filter(|c| c.is_ascii_digit() || *c == 'T').collect();
    Ok(Download { file: file.into(), size, name: format!("octopus-{stamp}.zip") })
}
