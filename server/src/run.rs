//! Running the portal: the order in which things start, the loops that run beside the listener, and the end.

use std::fs::File;
use std::io::{self, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use anyhow::Context as _;
use contract::Version;
use rustls::ServerConfig;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tower_sessions::ExpiredDeletion as _;
use uuid::Uuid;

use crate::app::{Access, App, AppInner, PublicInfo};
use crate::attention::{self, Attention};
use crate::audit::{Deed, user_state};
use crate::auth::{self, LoginLimiter, Sessions};
use crate::backup::{self, DATABASE};
use crate::bundle::Bundle;
use crate::clock::SystemClock;
use crate::config::RunArgs;
use crate::db::Db;
use crate::db::packages::package_digests;
use crate::db::settings::{INSTALLATION_ID, setting_get, setting_set};
use crate::db::users::{user_by_name, user_insert};
use crate::error::chain;
use crate::identities::Identities;
use crate::ids::SpaceId;
use crate::listen;
use crate::live::Live;
use crate::model::{AuditCategory, AuditKind, Role, User};
use crate::monitor::Metrics;
use crate::restored;
use crate::rotation;
use crate::routes;
use crate::store::PackageStore;
use crate::sys;
use crate::tentacle::grpc::GrpcTentacles;
use crate::{health, policy, retention, rollout, spaces, tasks};

/// The user that every portal has.
const ADMIN: &str = "admin";

/// How long the loops may take to end, all together; then they are cut off. They lose nothing by it.
const LOOPS_END_MAX: Duration = Duration::from_secs(10);

/// How often expired sessions are deleted. Until then they take room, but nobody is let in by one.
const SESSIONS_SWEEP_EVERY: Duration = Duration::from_secs(60 * 60);

/// Runs the portal until it is told to end.
pub async fn run(args: RunArgs) -> anyhow::Result<()> {
    let data_dir = &args.data_dir;
    sys::private_folder(data_dir).with_context(|| format!("cannot use the data folder {}", data_dir.display()))?;
    let _lock = lock(data_dir)?;
    let app = open(&args).await?;
    policy::machine_policy_load(&app).await?;
    spaces::spaces_load(&app).await?;
    let listener = TcpListener::bind(args.listen).await.with_context(|| format!("cannot listen on {}", args.listen))?;
    let tls = tls(&args, &app)?;
    let address = listener.local_addr().context("cannot find out the address that is listened on")?;
    announce(&app, address, &args).await?;

    restored::settle::settle(&app).await?;
    rollout::automatic::on_start_everywhere(&app).await?;
    let loops = loops(&app);
    let ender = tokio::spawn(end_when_told(app.shutdown.clone()));
    listen::serve(listener, tls, routes::router(app.clone()), &app.shutdown).await;
    let broken = join(loops).await;
    ender.abort();
    app.db.close().await;
    match broken {
        Some(name) => anyhow::bail!("the portal ended because its {name} broke; its log says why"),
        None => Ok(()),
    }
}

/// One portal for each data folder. What was restored while nobody had it open, or for this start, is put in its place.
fn lock(data_dir: &Path) -> anyhow::Result<File> {
    let Some(lock) = backup::lock(data_dir)? else {
        anyhow::bail!("another portal is running on the data folder {}: end it first", data_dir.display())
    };
    backup::sweep(data_dir)?;
    if let Some(placed) = backup::place::place(data_dir)? {
        let before = placed.before.as_deref().unwrap_or(Path::new("")).display().to_string();
        tracing::warn!(backup = placed.made_at, before, "this portal was restored from a backup");
    }
    Ok(lock)
}

/// Opens everything that is on the disk, and makes what is not there yet.
async fn open(args: &RunArgs) -> anyhow::Result<App> {
    let (data_dir, clock) = (&args.data_dir, SystemClock);
    let identities = Arc::new(Identities::open(data_dir)?);
    let db = Db::open(&data_dir.join(DATABASE)).await?;
    let installation_id = installation_id(&db).await?;
    let store = PackageStore::new(data_dir)?;
    let (bundle, store) = {
        let folder = args.bundle_folder()?;
        tokio::task::spawn_blocking(move || Bundle::load(&folder, &store).map(|bundle| (bundle, store))).await??
    };
    match bundle.version() {
        Some(version) => tracing::info!(%version, packages = bundle.packages().len(), "Tentacle packages are bundled"),
        None => tracing::warn!("no Tentacle package is bundled, so this portal has no upgrade to offer"),
    }
    let mut referenced = package_digests(&mut *db.read().await?).await?;
    referenced.extend(bundle.digests());
    match store.sweep(&referenced)? {
        0 => {}
        removed => tracing::info!(files = removed, "package files that nothing refers to were removed"),
    }
    let package_size = bundle.packages().iter().map(|package| package.size).max().unwrap_or(0);
    Ok(App::new(AppInner {
        db,
        clock: Arc::new(clock),
        live: Live::default(),
        store,
        bundle,
        public_info: PublicInfo { installation_id, version: version()? },
        access: args.access(),
        attention: Attention::default(),
        metrics: Metrics::default(),
        logins: LoginLimiter::default(),
        rollout: args.deadlines().paced(args.transfer_bytes_per_second, package_size),
        health_interval: args.health_interval_ms,
        policy: RwLock::default(),
        spaces: RwLock::default(),
        tentacles: Arc::new(GrpcTentacles::of(Arc::clone(&identities)).at_most(args.transfer_bytes_per_second)),
        identities,
        data_dir: data_dir.clone(),
        shutdown: CancellationToken::new(),
    }))
}

/// The version of this program.
pub fn version() -> anyhow::Result<Version> {
    Ok(env!("CARGO_PKG_VERSION").parse()?)
}

async fn installation_id(db: &Db) -> anyhow::Result<Uuid> {
    let mut tx = db.write().await?;
    if let Some(id) = setting_get(&mut tx, INSTALLATION_ID).await? {
        return Uuid::parse_str(&id).context("the installation id in the database cannot be read");
    }
    let id = Uuid::new_v4();
    setting_set(&mut tx, INSTALLATION_ID, &id.to_string()).await?;
    tx.commit().await?;
    Ok(id)
}

fn tls(args: &RunArgs, app: &App) -> anyhow::Result<Option<Arc<ServerConfig>>> {
    Ok(match (&args.tls_certificate, &args.tls_key) {
        (Some(certificate), Some(key)) => Some(listen::tls_of_files(certificate, key)?),
        _ if app.access.tls => Some(listen::tls_of_identities(&app.identities)?),
        _ => None,
    })
}

/// Says on stdout where the portal is, what to pin, and how to log in for the first time.
async fn announce(app: &App, address: SocketAddr, args: &RunArgs) -> anyhow::Result<()> {
    let url = url(app.access, address);
    let link = match admin(app, args.admin_password()?).await? {
        None => None,
        Some(admin) => {
            let mut tx = app.db.write().await?;
            let token = auth::setup_link_create(&mut tx, admin.id, app.now()).await?;
            tx.commit().await?;
            Some(format!("{url}setup?token={token}"))
        }
    };
    say(format_args!("The portal's thumbprint is {}", app.identities.thumbprint()));
    if let Some(link) = link {
        let place = if app.access.behind_proxy { " (at the proxy's address)" } else { "" };
        say(format_args!("Choose the password of \"{ADMIN}\" with this link{place}. It works once, for 24 hours:"));
        say(format_args!("{link}"));
    }
    // Whoever started this program reads up to this line.
    say(format_args!("Octopus {} listens on {url}", app.public_info.version));
    Ok(())
}

/// Writes a line to stdout. Nobody may be reading it, which is no reason to end.
fn say(line: std::fmt::Arguments<'_>) {
    let _ = writeln!(io::stdout(), "{line}");
}

fn url(access: Access, address: SocketAddr) -> String {
    let scheme = if access.tls { "https" } else { "http" };
    let port = address.port();
    match address.ip() {
        ip if ip.is_unspecified() => format!("{scheme}://localhost:{port}/"),
        IpAddr::V6(ip) => format!("{scheme}://[{ip}]:{port}/"),
        IpAddr::V4(ip) => format!("{scheme}://{ip}:{port}/"),
    }
}

/// Makes the user `admin` if it is not there, and sets its password if one is given. Returns it while it has none.
async fn admin(app: &App, password: Option<String>) -> anyhow::Result<Option<User>> {
    let mut tx = app.db.write().await?;
    let user = match user_by_name(&mut tx, ADMIN).await? {
        Some(user) => user,
        None => {
            let made = user_insert(&mut tx, ADMIN, &Role::Administrator, app.now()).await?;
            let deed = Deed::new(AuditKind::User, AuditCategory::Created, "Create", format!("added user {ADMIN}"));
            let deed = deed.on(made.id).changed(Value::Null, user_state(&made));
            deed.write(&mut tx, SpaceId::DEFAULT, app.now()).await?;
            made
        }
    };
    tx.commit().await?;
    let Some(password) = password else { return Ok((!user.has_password).then_some(user)) };
    if auth::password_is(&app.db, user.id, &password).await? {
        return Ok(None);
    }
    auth::password_set(&app.db, user.id, &password)
        .await
        .with_context(|| format!("cannot set the password of {ADMIN} that was given"))?;
    tracing::info!("the password of {ADMIN} was set to the one that was given");
    Ok(None)
}

async fn end_when_told(shutdown: CancellationToken) {
    match sys::ended().await {
        Ok(()) => tracing::info!("told to end"),
        Err(error) => tracing::error!(%error, "signals cannot be received, so the portal ends"),
    }
    shutdown.cancel();
}

/// A loop that runs beside the listener until the shutdown.
struct Loop {
    name: &'static str,
    /// True if it went on until the shutdown.
    task: JoinHandle<bool>,
}

/// Starts the loops. Each ends soon after `app.shutdown` is cancelled.
fn loops(app: &App) -> Vec<Loop> {
    vec![
        start(app, "health check", health::run(app.clone(), app.shutdown.clone())),
        start(app, "rollout orchestrator", rollout::orchestrator::run(app.clone(), app.shutdown.clone())),
        start(app, "look for late machines", rollout::late::run(app.clone(), app.shutdown.clone())),
        start(app, "clean-up", retention::run(app.clone(), app.shutdown.clone())),
        start(app, "word of the identity", rotation::tell::run(app.clone(), app.shutdown.clone())),
        start(app, "task runner", tasks::runner::run(app.clone(), app.shutdown.clone())),
        start(app, "count of what needs a person", attention::run(app.clone(), app.shutdown.clone())),
        start(app, "sweep of sessions", sweep_sessions(app.clone())),
    ]
}

/// Starts one loop. If it ends before the shutdown, or panics, the whole portal ends: half a portal would go unnoticed,
/// and the service manager starts a whole one.
fn start(app: &App, name: &'static str, work: impl Future<Output = ()> + Send + 'static) -> Loop {
    let guard = app.shutdown.clone().drop_guard();
    let task = tokio::spawn(async move {
        work.await;
        let shutdown = guard.disarm();
        let was_told = shutdown.is_cancelled();
        shutdown.cancel();
        was_told
    });
    Loop { name, task }
}

/// Waits for the loops to end, and names one that ended by itself.
async fn join(loops: Vec<Loop>) -> Option<&'static str> {
    let deadline = tokio::time::Instant::now() + LOOPS_END_MAX;
    let mut broken = None;
    for Loop { name, mut task } in loops {
        match tokio::time::timeout_at(deadline, &mut task).await {
            Ok(Ok(true)) => {}
            Ok(Ok(false)) => {
                tracing::error!(name, "a loop ended although nobody told it to");
                broken = Some(name);
            }
            Ok(Err(error)) => {
                tracing::error!(name, error = chain(&error), "a loop broke");
                broken = Some(name);
            }
            Err(_) => {
                tracing::warn!(name, "a loop took too long to end and is cut off");
                task.abort();
            }
        }
    }
    broken
}

async fn sweep_sessions(app: App) {
    let sessions = Sessions(app.db.clone());
    loop {
        if let Err(error) = sessions.delete_expired().await {
            tracing::warn!(error = chain(&error), "expired sessions were not deleted; the next sweep tries again");
        }
        tokio::select! {
            () = app.shutdown.cancelled() => return,
            () = tokio::time::sleep(SESSIONS_SWEEP_EVERY) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_loop_that_breaks_ends_the_portal_and_is_named() {
        for breaks_by_panic in [true, false] {
            let app = App::for_tests().await;
            let sound = start(&app, "sound", {
                let shutdown = app.shutdown.clone();
                async move { shutdown.cancelled().await }
            });
            let unsound = start(&app, "unsound", async move { assert!(!breaks_by_panic, "a mistake in a loop") });
            app.shutdown.cancelled().await;
            assert_eq!(join(vec![sound, unsound]).await, Some("unsound"));
        }
    }

    #[tokio::test]
    async fn loops_that_end_when_told_are_well() {
        let app = App::for_tests().await;
        let loops = loops(&app);
        app.shutdown.cancel();
        assert_eq!(join(loops).await, None);
    }

    #[tokio::test]
    async fn the_installation_id_is_made_once() {
        let app = App::for_tests().await;
        assert_eq!(installation_id(&app.db).await.unwrap(), installation_id(&app.db).await.unwrap());
    }

    #[test]
    fn addresses_are_written_for_a_browser() {
        let tls = Access { tls: true, behind_proxy: false };
        for (address, access, expected) in [
            ("127.0.0.1:80", Access::default(), "http://127.0.0.1:80/"),
            ("0.0.0.0:8443", tls, "https://localhost:8443/"),
            ("[::]:8443", tls, "https://localhost:8443/"),
            ("[2001:db8::1]:8443", tls, "https://[2001:db8::1]:8443/"),
        ] {
            assert_eq!(url(access, address.parse().unwrap()), expected);
        }
    }
}
