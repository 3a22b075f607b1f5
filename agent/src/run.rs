//! `tentacle run`: how a Tentacle starts, serves and ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use contract::{Home, TentacleExit, Version};
use octopus_proto::tls::{self, Identity};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::agent::Agent;
use crate::config::{self, Environment, Settings};
use crate::service::Service;
use crate::{confirm, exit, sys, watch};

/// How long the home's lock and then the port are waited for; at the limit Tentacle ends as busy, and Suction Cup starts
/// it again.
const BUSY_MAX: Duration = Duration::from_secs(120);

/// How often the lock and the port are tried meanwhile.
const BUSY_PAUSE: Duration = Duration::from_millis(50);

/// Age at which a folder that a dead installer left is deleted.
const INCOMING_AGE_MAX: Duration = Duration::from_secs(60 * 60);

/// Threads that wait for the disk at a time; further waits queue.
const BLOCKING_THREADS: usize = 64;

/// How long an idle thread is kept: a Tentacle that does nothing needs none.
const THREAD_KEEP_ALIVE: Duration = Duration::from_secs(2);

/// How long running work may take to end when Tentacle is told to end. Then it is cancelled, and gets the same once more.
const STOP_DRAIN: Duration = Duration::from_secs(8);

/// How long a portal that watches an upgrade has to hear that it is armed. Then it will ask the successor.
const TELL_MAX: Duration = Duration::from_millis(500);

/// How long open calls may take to answer at the end; then their connections are closed all the same.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// How long connections may take to close at the end. The port is closed meanwhile, so it is short.
const CLOSE_MAX: Duration = Duration::from_millis(500);

/// To be called first thing in `main`: under Suction Cup, Tentacle must not outlive it, and is less precious. False when
/// it has outlived it already.
pub fn follow_supervisor() -> bool {
    if Environment::read().supervisor_contract.is_none() {
        return true;
    }
    let followed = sys::die_with_parent();
    sys::give_up_oom_protection();
    followed
}

/// Runs until it is told to end, or has armed another version.
pub fn run(options: &config::Run) -> anyhow::Result<TentacleExit> {
    let environment = Environment::read();
    let home = options.home.home().context("the home folder has no absolute path")?;
    let prepared = package::prepare_home(&home);
    let logging = tracing_subscriber::fmt().with_max_level(environment.log_level).with_ansi(false);
    // Tests may have set up logging before.
    let _ = logging.log_internal_errors(false).try_init();
    // Whoever can be reached can be mended: what cannot be done without fails by itself below, and the status tells the rest.
    if let Err(error) = prepared {
        tracing::error!(error = &error as &dyn std::error::Error, "the home folder could not be prepared");
    }
    if environment.supervisor_contract.is_some() {
        exit::keep_stderr_for_last_words();
    }
    let version = own_version(environment.supervisor_version.as_deref());
    if let Some(chosen) = environment.supervisor_version.as_ref().filter(|chosen| **chosen != version.folder_name()) {
        tracing::error!(%version, chosen, "Suction Cup chose another version than this program says it is");
    }
    let started = Instant::now();
    let Some(_lock) = lock(&home.lock(), started)? else { return Ok(TentacleExit::Busy) };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_keep_alive(THREAD_KEEP_ALIVE)
        .build()
        .context("cannot start the runtime")?;
    let result = runtime.block_on(serve(options, home, environment, version, started));
    // Threads that still wait for the disk must not hold up the end.
    runtime.shutdown_background();
    result
}

/// That of the package it was installed from; of its own build when it was not installed.
fn own_version(chosen: Option<&str>) -> Version {
    let folder = std::env::current_exe().ok().and_then(|program| program.parent().map(Path::to_owned));
    let manifest = folder.and_then(|folder| package::Manifest::read(&folder).ok());
    version_of(manifest.map(|manifest| manifest.version), chosen)
}

/// What the folder says, else what Suction Cup chose, which is that folder's name, else what this program was built as.
fn version_of(installed: Option<Version>, chosen: Option<&str>) -> Version {
    installed.or_else(|| chosen.and_then(Version::from_folder_name)).unwrap_or_else(|| {
        env!("CARGO_PKG_VERSION").parse().expect("a package of this workspace has a version that can be read")
    })
}

/// The lock of the home, held by the running Tentacle; `None` when another one holds it for too long.
fn lock(path: &Path, started: Instant) -> anyhow::Result<Option<File>> {
    let file = OpenOptions::new().create(true).append(true).open(path);
    let file = file.with_context(|| format!("cannot open the lock {}", path.display()))?;
    let mut told = false;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            Err(TryLockError::WouldBlock) if started.elapsed() < BUSY_MAX => {
                if !std::mem::replace(&mut told, true) {
                    tracing::info!(path = %path.display(), "another Tentacle has this home; waiting for it to end");
                }
                std::thread::sleep(BUSY_PAUSE);
            }
            Err(TryLockError::WouldBlock) => {
                exit::last_words(&format!("another Tentacle still holds {}", path.display()));
                return Ok(None);
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", path.display()));
            }
        }
    }
}

async fn bind(listen: SocketAddr, started: Instant) -> anyhow::Result<Option<TcpListener>> {
    let mut told = false;
    loop {
        match TcpListener::bind(listen).await {
            Ok(listener) => return Ok(Some(listener)),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                if started.elapsed() >= BUSY_MAX {
                    exit::last_words(&format!("another program still listens on {listen}"));
                    return Ok(None);
                }
                if !std::mem::replace(&mut told, true) {
                    tracing::info!(%listen, "another program listens on this port; waiting for it to end");
                }
                tokio::time::sleep(BUSY_PAUSE).await;
            }
            Err(error) => return Err(error).with_context(|| format!("cannot listen on {listen}")),
        }
    }
}

async fn serve(
    options: &config::Run,
    home: Home,
    environment: Environment,
    version: Version,
    started: Instant,
) -> anyhow::Result<TentacleExit> {
    let settings = Settings::load(&home.config())?;
    let identity = Identity::load_or_create(&home.identity(), &sys::hostname())?;
    let watch_interval = environment.watch;
    let agent = Agent::open(home.clone(), environment, version, &identity)?;
    let Some(listener) = bind(options.listen.unwrap_or(settings.listen), started).await? else {
        return Ok(TentacleExit::Busy);
    };
    let listen = listener.local_addr().context("cannot read the own address")?;
    let connections = tls::incoming(listener, tls::server_config(&identity, agent.trust.clone()));
    let stop = CancellationToken::new();
    let server = tls::server().serve_with_incoming_shutdown(
        Service::serve(Arc::clone(&agent)),
        connections,
        stop.clone().cancelled_owned(),
    );
    let mut server = tokio::spawn(server);
    let (version, thumbprint, instance_id) = (&agent.version, identity.thumbprint(), &agent.instance_id);
    tracing::info!(%version, %listen, %thumbprint, instance.id = %instance_id, "Tentacle is running");
    tokio::task::spawn_blocking(move || package::sweep_incoming(&home, INCOMING_AGE_MAX));
    tokio::spawn(confirm::prove_self(Arc::clone(&agent)));
    watch::start(listen, identity, watch_interval).context("cannot start the thread of the self-watch")?;

    tokio::select! {
        ended = &mut server => anyhow::bail!("the service ended by itself: {ended:?}"),
        () = agent.ending.cancelled() => {
            tracing::info!("another version is armed; ending");
            let _ = tokio::time::timeout(TELL_MAX, agent.works.end_told()).await;
        }
        told = sys::told_to_end() => {
            tracing::info!(signal = told?, "told to end");
            stop_work(&agent).await;
            agent.ending.cancel();
        }
    }
    exit::at_the_latest_soon(TentacleExit::Done);
    // The port stays open until every call is answered: the time without it is what an upgrade costs.
    let _ = tokio::time::timeout(ANSWER_MAX, agent.calls.none_open()).await;
    stop.cancel();
    let _ = tokio::time::timeout(CLOSE_MAX, server).await;
    Ok(TentacleExit::Done)
}

async fn stop_work(agent: &Agent) {
    agent.works.close_for_good();
    if !agent.works.drained(0, STOP_DRAIN).await {
        agent.works.cancel_all();
        agent.works.drained(0, STOP_DRAIN).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_that_cannot_be_read_makes_no_other_version() {
        let (one, two) = (Version::release(1, 0, 0), Version::release(2, 0, 0));
        assert_eq!(version_of(Some(one.clone()), Some("2.0.0")), one);
        assert_eq!(version_of(None, Some("2.0.0")), two);
        let built: Version = env!("CARGO_PKG_VERSION").parse().unwrap();
        assert_eq!(version_of(None, Some("02.0")), built, "not the name of a version's folder");
        assert_eq!(version_of(None, None), built);
    }
}
