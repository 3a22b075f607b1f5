//! The database: SQLite behind one seam. SQL lives in the files of this folder, one for each noun, and nowhere else.
//!
//! Functions are called `noun_verb`, take the connection (or a transaction) first and return domain types. The SQL keeps
//! to what SQLite and PostgreSQL share: `$1` placeholders, `ON CONFLICT … DO UPDATE`, times as BIGINT.

pub mod api_keys;
pub mod audit;
pub mod briefs;
pub mod build_information;
pub mod environments;
pub mod facts;
pub mod health_changes;
pub mod idempotency;
pub mod machine_events;
pub mod machine_holds;
pub mod machine_past;
pub mod machines;
pub mod maintenance;
pub mod overview;
pub mod packages;
pub mod places;
pub mod policies;
pub mod reach;
pub mod registration_keys;
pub mod retention;
pub mod rollout_events;
pub mod rollout_search;
pub mod rollout_waves;
pub mod rollouts;
pub mod samples;
pub mod sessions;
pub mod settings;
pub mod setup_links;
mod slug;
pub mod snapshot;
pub mod space_settings;
pub mod spaces;
pub mod tasks;
pub mod trust;
pub mod users;
pub mod version_failures;

use std::path::Path;
use std::str::FromStr as _;
use std::time::Duration;

use contract::{PackageId, Version};
use sqlx::migrate::Migrator;
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Sqlite, SqlitePool, Transaction};

use crate::ids::EnvironmentId;

/// The schema, with a tested way down.
pub static MIGRATIONS: Migrator = sqlx::migrate!("../migrations");

/// Readers at once. More requests than this wait for a connection.
const READERS_MAX: u32 = 8;

/// How long a request waits for a connection, and a statement for a lock. Then it fails with an error that says so.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// What can go wrong with the database.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// It could not be opened.
    #[error("cannot open the database {path}")]
    Open {
        /// The file.
        path: String,
        /// Why.
        source: sqlx::Error,
    },
    /// The schema could not be brought up to date.
    #[error("cannot bring the database's schema up to date")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// It had no time for this.
    #[error("the database was busy for {} s", BUSY_TIMEOUT.as_secs())]
    Busy,
    /// A statement failed.
    #[error("the database refused a statement")]
    Statement(#[source] sqlx::Error),
    /// A row holds what no version of this program writes.
    #[error("the database holds a value that cannot be read: {0}")]
    Damaged(String),
    /// What a person asked for would break a rule.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// A wish that cannot be written down, in a sentence for the person who made it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The name belongs to another one.
    #[error("there is already {what} with the name \"{name}\"; choose another name")]
    NameTaken {
        /// "a machine", "an environment" or "a user".
        what: &'static str,
        /// The name.
        name: String,
    },
    /// The name is empty or too long.
    #[error("{what} must have a name of 1 to {max} characters, without control characters")]
    NameUnfit {
        /// "a machine", "a role" or "a user".
        what: &'static str,
        /// Longest name, in characters.
        max: usize,
    },
    /// The slug belongs to another one.
    #[error("there is already a space with the slug \"{slug}\"; choose another one")]
    SlugTaken {
        /// The slug.
        slug: String,
    },
    /// The slug cannot stand in an address, or means something else there.
    #[error("a slug is made of small letters, digits and single hyphens, and is no id: \"{slug}\" is not")]
    SlugUnfit {
        /// What was chosen.
        slug: String,
    },
    /// The environment cannot go while machines belong to it.
    #[error("the environment \"{name}\" still has {machines} machine(s); move or delete them first")]
    EnvironmentHasMachines {
        /// The environment.
        name: String,
        /// How many.
        machines: i64,
    },
    /// A machine must belong somewhere.
    #[error("a machine must belong to at least one environment")]
    MachineWithoutEnvironment,
    /// There is no such environment.
    #[error("there is no environment {0}")]
    UnknownEnvironment(EnvironmentId),
    /// More than a machine may have.
    #[error("a machine may have at most {max} {what}")]
    TooMany {
        /// "roles" or "environments".
        what: &'static str,
        /// The limit.
        max: usize,
    },
    /// The package's bytes may not change silently.
    #[error("A package with the same name and version already exists: {id} {version}")]
    PackageExists {
        /// The package's id.
        id: PackageId,
        /// Its version.
        version: Version,
    },
}

impl From<sqlx::Error> for DbError {
    fn from(error: sqlx::Error) -> Self {
        if matches!(error, sqlx::Error::PoolTimedOut) { Self::Busy } else { Self::Statement(error) }
    }
}

impl DbError {
    /// A row that cannot be read: `what` names the column, `value` is what stands there.
    pub fn damaged(what: &str, value: impl std::fmt::Display) -> Self {
        Self::Damaged(format!("{what} = \"{value}\""))
    }

    /// True where a unique index refused the row.
    pub fn is_duplicate(&self) -> bool {
        match self {
            Self::Statement(sqlx::Error::Database(error)) => error.is_unique_violation(),
            Self::Refused(refusal) => {
                matches!(refusal, Refusal::NameTaken { .. } | Refusal::SlugTaken { .. } | Refusal::PackageExists { .. })
            }
            _ => false,
        }
    }

    /// The same error, or `refusal` where a unique index refused the row.
    fn or_taken(error: sqlx::Error, refusal: impl FnOnce() -> Refusal) -> Self {
        let error = Self::from(error);
        if error.is_duplicate() { refusal().into() } else { error }
    }
}

/// Rows that one statement names by their ids at most; more are asked for in several.
const NAMED_MAX: usize = 500;

/// So many placeholders for values: `$1, $2, $3`.
fn places(count: usize) -> String {
    (1..=count).map(|place| format!("${place}")).collect::<Vec<_>>().join(", ")
}

/// What functions that only read take: any connection will do.
pub type Connection = sqlx::SqliteConnection;

/// The database: one writer, several readers.
#[derive(Clone, Debug)]
pub struct Db {
    writer: SqlitePool,
    readers: SqlitePool,
}

impl Db {
    /// Opens the database at `path`, makes it if it is not there, and brings its schema up to date.
    pub async fn open(path: &Path) -> Result<Self, DbError> {
        let failed = |source| DbError::Open { path: path.display().to_string(), source };
        let options = SqliteConnectOptions::from_str("sqlite:").map_err(failed)?.filename(path);
        let options = options.create_if_missing(true).foreign_keys(true).busy_timeout(BUSY_TIMEOUT);
        // FULL, not NORMAL: a wish that was acknowledged survives a power cut.
        let options = options.journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Full);
        let pool = |size| SqlitePoolOptions::new().max_connections(size).acquire_timeout(BUSY_TIMEOUT);
        let writer = pool(1).connect_with(options.clone()).await.map_err(failed)?;
        MIGRATIONS.run(&writer).await?;
        let readers = pool(READERS_MAX).connect_with(options.read_only(true)).await.map_err(failed)?;
        Ok(Self { writer, readers })
    }

    /// A connection that may only read. It sees everything that was committed before.
    pub async fn read(&self) -> Result<PoolConnection<Sqlite>, DbError> {
        Ok(self.readers.acquire().await?)
    }

    /// A transaction that may write. There is one at a time; dropped without `commit`, it leaves nothing behind.
    pub async fn write(&self) -> Result<Transaction<'static, Sqlite>, DbError> {
        Ok(self.writer.begin_with("BEGIN IMMEDIATE").await?)
    }

    /// Ends all connections.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_schema_goes_up_down_and_up_again() {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open(&folder.path().join("octopus.db")).await.unwrap();
        MIGRATIONS.undo(&db.writer, 0).await.unwrap();
        let left: Vec<String> = sqlx::query_scalar(
            "SELECT name FROM sqlite_master WHERE name NOT LIKE '\\_sqlx%' ESCAPE '\\' AND name NOT LIKE 'sqlite%'",
        )
        .fetch_all(&db.writer)
        .await
        .unwrap();
        assert_eq!(left, Vec::<String>::new(), "the way down leaves nothing");
        MIGRATIONS.run(&db.writer).await.unwrap();
        db.close().await;
    }

    #[tokio::test]
    async fn a_transaction_that_is_dropped_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open(&folder.path().join("octopus.db")).await.unwrap();
        let mut tx = db.write().await.unwrap();
        sqlx::query("INSERT INTO settings (name, value) VALUES ('a', 'b')").execute(&mut *tx).await.unwrap();
        drop(tx);
        let mut tx = db.write().await.unwrap();
        let rows: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM settings").fetch_one(&mut *tx).await.unwrap();
        assert_eq!(rows, 0);
    }
}
