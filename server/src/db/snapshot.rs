//! Copies of the whole database: made while others write, looked at, and readied to be put in a portal's place. The one
//! file here that speaks to SQLite as such: another database has tools of its own for this.

use std::path::Path;

use contract::Sha256;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};

use super::settings::{INSTALLATION_ID, setting_get, setting_set};
use super::{BUSY_TIMEOUT, DbError, MIGRATIONS};

/// What a copy holds.
#[derive(Clone, Debug)]
pub struct SnapshotFacts {
    /// The number of its schema: of the last migration.
    pub schema: i64,
    /// The id of its portal.
    pub installation_id: String,
    /// The package files that it names.
    pub files: Vec<SnapshotFile>,
}

/// A package file that a database names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotFile {
    /// Its name in the store.
    pub sha256: Sha256,
    /// Its size in bytes.
    pub size: u64,
    /// The id of its package in lower case; `None` where a rollout alone has it.
    pub package: Option<String>,
}

/// The number of this program's schema.
pub fn schema_known() -> i64 {
    MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0)
}

/// Opens a database that is there, as it is: its schema is not brought up to date.
async fn open(path: &Path) -> Result<SqliteConnection, DbError> {
    let options = SqliteConnectOptions::new().filename(path).foreign_keys(true).busy_timeout(BUSY_TIMEOUT);
    let opened = options.connect().await;
    opened.map_err(|source| DbError::Open { path: path.display().to_string(), source })
}

/// Writes a copy of the database at `from`, as it is at one moment, to `to`, where nothing may be. Others may write
/// meanwhile.
pub async fn snapshot_write(from: &Path, to: &Path) -> Result<(), DbError> {
    let mut conn = open(from).await?;
    sqlx::query("VACUUM INTO $1").bind(to.display().to_string()).execute(&mut conn).await?;
    Ok(conn.close().await?)
}

/// What a copy holds.
pub async fn snapshot_facts(at: &Path) -> Result<SnapshotFacts, DbError> {
    let mut conn = open(at).await?;
    let schema: Option<i64> = sqlx::query_scalar("SELECT MAX(version) FROM _sqlx_migrations WHERE success = TRUE")
        .fetch_one(&mut conn)
        .await?;
    let installation_id = setting_get(&mut conn, INSTALLATION_ID).await?.unwrap_or_default();
    let sql = "SELECT package_key, sha256, size FROM packages
               UNION SELECT NULL, sha256, size FROM rollout_packages ORDER BY 2, 1";
    let rows: Vec<(Option<String>, String, i64)> = sqlx::query_as(sql).fetch_all(&mut conn).await?;
    conn.close().await?;
    let read = |(package, sha256, size): (Option<String>, String, i64)| {
        let size = u64::try_from(size).map_err(|_| DbError::damaged("packages.size", size))?;
        let sha256 = sha256.parse().map_err(|_| DbError::damaged("packages.sha256", &sha256))?;
        Ok(SnapshotFile { sha256, size, package })
    };
    let files = rows.into_iter().map(read).collect::<Result<_, DbError>>()?;
    Ok(SnapshotFacts { schema: schema.unwrap_or(0), installation_id, files })
}

/// The highest numbers of API keys and registration keys that a copy has ever given, where it has such.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeysIssued {
    /// Of API keys.
    pub api_keys: i64,
    /// Of registration keys.
    pub registration_keys: i64,
}

/// Readies a copy for the place of a portal: ends every session, takes away every link that lets somebody choose a
/// password, and writes the setting `name` that `note` makes of the keys that were issued. The schema may be an old one.
/// Says first whether the file is a sound database.
pub async fn snapshot_ready(at: &Path, name: &str, note: impl FnOnce(KeysIssued) -> String) -> Result<(), DbError> {
    let mut conn = open(at).await?;
    let sound: String = sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(&mut conn).await?;
    if sound != "ok" {
        return Err(DbError::Damaged(sound));
    }
    let mut tx = conn.begin().await?;
    sqlx::query("DELETE FROM sessions").execute(&mut *tx).await?;
    sqlx::query("DELETE FROM setup_links").execute(&mut *tx).await?;
    let api_keys = sqlx::query_scalar("SELECT COALESCE(MAX(id), 0) FROM api_keys").fetch_one(&mut *tx).await?;
    let has_registration_keys: i64 =
        sqlx::query_scalar("SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = 'registration_keys'")
            .fetch_one(&mut *tx)
            .await?;
    let registration_keys = match has_registration_keys {
        0 => 0,
        _ => sqlx::query_scalar("SELECT COALESCE(MAX(id), 0) FROM registration_keys").fetch_one(&mut *tx).await?,
    };
    setting_set(&mut tx, name, &note(KeysIssued { api_keys, registration_keys })).await?;
    tx.commit().await?;
    Ok(conn.close().await?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::Db;

    #[tokio::test]
    async fn a_copy_is_of_one_moment_although_others_write() {
        let folder = tempfile::tempdir().unwrap();
        let (path, copy) = (folder.path().join("octopus.db"), folder.path().join("copy.db"));
        let db = Db::open(&path).await.unwrap();
        let (stop, writer) = (tokio_util::sync::CancellationToken::new(), db.clone());
        let told = stop.clone();
        let writing = tokio::spawn(async move {
            let mut written = 0_u32;
            while !told.is_cancelled() {
                written += 1;
                let mut tx = writer.write().await.unwrap();
                for name in ["left", "right"] {
                    setting_set(&mut tx, name, &written.to_string()).await.unwrap();
                }
                tx.commit().await.unwrap();
            }
        });
        for _ in 0..10 {
            snapshot_write(&path, &copy).await.unwrap();
            let mut conn = open(&copy).await.unwrap();
            let pair = (setting_get(&mut conn, "left").await.unwrap(), setting_get(&mut conn, "right").await.unwrap());
            assert_eq!(pair.0, pair.1);
            conn.close().await.unwrap();
            assert_eq!(snapshot_facts(&copy).await.unwrap().schema, schema_known());
            std::fs::remove_file(&copy).unwrap();
        }
        stop.cancel();
        writing.await.unwrap();
        db.close().await;
    }
}
