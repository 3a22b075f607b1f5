//! What tests start from: a portal or a database in a folder of its own, and a clock that stands still. Not for the
//! program.

use std::ops::Deref;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use contract::Version;
use package::PackRequest;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::app::{Access, App, AppInner, PublicInfo};
use crate::attention::Attention;
use crate::auth::{LoginLimiter, api_key_create};
use crate::bundle::Bundle;
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::db::Db;
use crate::db::users::{user_by_name, user_insert};
use crate::identities::Identities;
use crate::live::Live;
use crate::model::{KeyWish, Report, Role, Scope};
use crate::monitor::Metrics;
use crate::rollout::state::Deadlines;
use crate::store::PackageStore;
use crate::tentacle::fake::FakeTentacles;

/// A clock that stands still until a test moves it.
#[derive(Debug)]
pub struct TestClock(AtomicI64);

impl TestClock {
    /// Moves it forward.
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(i64::try_from(by.as_micros()).expect("a short time"), Ordering::SeqCst);
    }
}

/// The machine's clock, which a test may set forward or back by any number of microseconds.
#[derive(Debug, Default)]
pub struct SetClock(pub AtomicI64);

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        Timestamp(SystemClock.now().0 + self.0.load(Ordering::SeqCst))
    }

    fn elapsed(&self) -> Duration {
        SystemClock.elapsed()
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }

    fn elapsed(&self) -> Duration {
        Duration::from_micros(self.0.load(Ordering::SeqCst).unsigned_abs())
    }
}

/// An empty database that goes with the test.
pub struct TestDb {
    db: Db,
    _folder: TempDir,
}

impl TestDb {
    /// Makes one.
    pub async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let db = Db::open(&folder.path().join("octopus.db")).await.expect("a new database");
        Self { db, _folder: folder }
    }
}

impl Deref for TestDb {
    type Target = Db;

    fn deref(&self) -> &Db {
        &self.db
    }
}

/// What a healthy machine says that runs a version.
pub fn report(version: Version, at: Timestamp) -> Report {
    Report {
        at,
        instance_seen_at: at,
        version,
        instance_id: "i".to_owned(),
        started_at: at,
        runtime: "linux-x64".to_owned(),
        os: "Debian GNU/Linux 13".to_owned(),
        hostname: "server".to_owned(),
        supervisor_contract: Some(1),
        installed: Vec::new(),
        last_words: None,
        free_disk_bytes: 1 << 40,
        running_work: Vec::new(),
        generation: 0,
        problems: Vec::new(),
    }
}

/// The bytes of a package that holds one file of that content.
pub fn packed(id: &str, version: &str, content: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("content");
    std::fs::write(&file, content).expect("a file");
    let request = PackRequest {
        id: &id.parse().expect("a package id"),
        version: &version.parse().expect("a version"),
        description: "For tests.",
        authors: "Tests",
        files: &[(file, "content.txt".to_owned())],
    };
    let packed = package::pack(&request, folder.path()).expect("a package");
    std::fs::read(packed).expect("the package")
}

/// A portal that goes with the test: nothing is bundled, the user `admin` has no password, no loop runs.
pub struct TestApp {
    /// The portal.
    pub app: App,
    /// Its clock, which began at the machine's time.
    pub clock: Arc<TestClock>,
    folder: TempDir,
}

impl TestApp {
    /// Its data folder.
    pub fn data_dir(&self) -> &Path {
        self.folder.path()
    }

    /// The same portal after `change`, with the same data folder.
    pub fn with(self, change: impl FnOnce(&mut AppInner)) -> Self {
        let old = &self.app;
        let mut inner = AppInner {
            live: old.live.clone(),
            identities: Arc::clone(&old.identities),
            store: old.store.clone(),
            bundle: old.bundle.clone(),
            public_info: old.public_info.clone(),
            access: old.access,
            rollout: old.rollout,
            health_interval: old.health_interval,
            tentacles: Arc::clone(&old.tentacles),
            ..inner(old.db.clone(), Arc::clone(&self.clock), self.folder.path())
        };
        change(&mut inner);
        Self { app: App::new(inner), ..self }
    }

    /// A new API key of `admin`.
    pub async fn api_key(&self, scope: Scope) -> String {
        let mut tx = self.db.write().await.expect("a transaction");
        let admin = user_by_name(&mut tx, "admin").await.expect("users").expect("the user admin");
        let wish = KeyWish { purpose: "tests", scope, expires_at: None };
        let (_, key) = api_key_create(&mut tx, admin.id, &wish, self.now()).await.expect("a key");
        tx.commit().await.expect("a commit");
        key
    }
}

impl Deref for TestApp {
    type Target = App;

    fn deref(&self) -> &App {
        &self.app
    }
}

impl App {
    /// A portal for one test.
    pub async fn for_tests() -> TestApp {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let db = Db::open(&folder.path().join("octopus.db")).await.expect("a new database");
        let clock = Arc::new(TestClock(AtomicI64::new(SystemClock.now().0)));
        let mut tx = db.write().await.expect("a transaction");
        user_insert(&mut tx, "admin", &Role::Administrator, clock.now()).await.expect("a user");
        tx.commit().await.expect("a commit");
        let app = App::new(inner(db, clock.clone(), folder.path()));
        TestApp { app, clock, folder }
    }
}

fn inner(db: Db, clock: Arc<TestClock>, folder: &Path) -> AppInner {
    AppInner {
        db,
        clock,
        live: Live::default(),
        identities: Arc::new(Identities::open(folder).expect("an identity")),
        data_dir: folder.to_owned(),
        store: PackageStore::new(folder).expect("a store"),
        bundle: Bundle::default(),
        public_info: PublicInfo {
            installation_id: Uuid::nil(),
            version: crate::run::version().expect("the program's version"),
        },
        access: Access::default(),
        attention: Attention::default(),
        metrics: Metrics::default(),
        logins: LoginLimiter::default(),
        rollout: Deadlines { soak: Duration::ZERO, ..Deadlines::default() },
        health_interval: Duration::from_secs(60),
        policy: RwLock::default(),
        spaces: RwLock::default(),
        tentacles: Arc::new(FakeTentacles::default()),
        shutdown: CancellationToken::new(),
    }
}
