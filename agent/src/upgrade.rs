//! Changes this Tentacle to another version: checks the order, stages the package, drains the work, arms, ends.
//!
//! The rename that arms comes last: whatever is refused, fails or is cancelled before it leaves nothing behind.

use std::sync::Arc;
use std::time::Duration;

use contract::{Sha256, Thumbprint};
use octopus_proto::{LogLevel, Refusal, RefusalKind, UpgradeOrder, WorkState};
use package::{InstallError, Staged, Verified, stage_installed, stage_tentacle};

use crate::agent::Agent;
use crate::arm::{ArmError, arm};
use crate::config::Settings;
use crate::install::{InstallFailure, verify};
use crate::log::{Log as _, chain};
use crate::status::identity_problem;
use crate::upload::InUse;
use crate::work::{Accepted, Job, Record};

/// Longest time that running work is given to end, whatever the order says.
const DRAIN_MAX: Duration = Duration::from_secs(60 * 60);

/// Why an accepted upgrade did not come to pass.
#[derive(Debug, thiserror::Error)]
enum UpgradeFailure {
    #[error("the new version could not be unpacked")]
    Stage(#[source] InstallError),
    #[error("after {waited_ms} ms there was still running: {work}. The upgrade was put off, and the work goes on")]
    Busy { waited_ms: u128, work: String },
    #[error("it was cancelled")]
    Cancelled,
    #[error(transparent)]
    Arm(#[from] ArmError),
    #[error("Tentacle failed while upgrading")]
    Thread(#[from] tokio::task::JoinError),
}

/// What an order is carried out with.
enum Source {
    /// A package that was uploaded. It is kept from the clean-up of uploads until the end.
    Package(Box<Verified>, InUse),
    /// The version is installed already, intact.
    Installed(Staged),
}

/// Checks an order of `portal`. When it returns well the order and its generation are on the disk and it is being carried
/// out; the same order again is fine and does nothing.
pub(crate) async fn accept(agent: &Arc<Agent>, order: UpgradeOrder, portal: Thumbprint) -> Result<(), Refusal> {
    // A task of its own: a portal that hangs up in the middle must not leave an order that is written down, holds the
    // gate, and is carried out by nobody.
    let accepting = tokio::spawn(accept_to_the_end(Arc::clone(agent), order, portal));
    accepting.await.map_err(|error| internal("accept the order", &error))?
}

async fn accept_to_the_end(agent: Arc<Agent>, order: UpgradeOrder, portal: Thumbprint) -> Result<(), Refusal> {
    let agent = &agent;
    let _turn = agent.upgrading.lock().await;
    agent.works.refuse_when_ending()?;
    let record = Record::of_upgrade(&order);
    if agent.works.is_known(&order.ticket, &record)? {
        return Ok(());
    }
    agent.works.refuse_when_upgrading()?;
    if order.expected != agent.version {
        let sentence = format!("version {} is running, not {}", agent.version, order.expected);
        return Err(Refusal::new(RefusalKind::VersionChanged, sentence));
    }
    let source = check_source(agent, &order).await?;
    agent.generations.check(&portal, order.generation)?;
    check_successor(agent)?;
    let write_down = {
        let (agent, order) = (Arc::clone(agent), order.clone());
        move || write_down(&agent, &order, record, portal)
    };
    let written = tokio::task::spawn_blocking(write_down).await;
    let Some(job) = written.map_err(|error| internal("write down the order", &error))?? else { return Ok(()) };
    tracing::info!(from = %agent.version, to = %order.version, ticket = %order.ticket, by = %portal, "upgrade accepted");
    tokio::spawn(carry_out(Arc::clone(agent), order, source, job));
    Ok(())
}

async fn check_source(agent: &Agent, order: &UpgradeOrder) -> Result<Source, Refusal> {
    if order.version == agent.version {
        return Err(bad(format!("version {} is what runs already", order.version)));
    }
    match order.package {
        Some(sha256) => {
            let in_use = agent.uploads.in_use(sha256);
            Ok(Source::Package(Box::new(check_package(agent, order, sha256).await?), in_use))
        }
        None => {
            let (home, version) = (agent.home.clone(), order.version.clone());
            let staged = tokio::task::spawn_blocking(move || stage_installed(&home, &version)).await;
            let staged = staged.map_err(|error| internal("look at the installed version", &error))?;
            Ok(Source::Installed(staged.map_err(|error| bad(chain(&error)))?))
        }
    }
}

async fn check_package(agent: &Agent, order: &UpgradeOrder, sha256: Sha256) -> Result<Verified, Refusal> {
    if !agent.uploads.package(sha256).is_file() {
        return Err(bad(format!("the package {sha256} is not on this machine: upload it first")));
    }
    let package = verify(&agent.uploads, sha256).await.map_err(|error: InstallFailure| bad(chain(&error)))?;
    let runtime = package::current_runtime();
    if package.id().tentacle_runtime().is_none_or(|offered| !offered.eq_ignore_ascii_case(runtime)) {
        return Err(bad(format!("{} is not a Tentacle package for {runtime}", package.id())));
    }
    if *package.version() != order.version {
        return Err(bad(format!("the package holds version {}, not {}", package.version(), order.version)));
    }
    Ok(package)
}

fn bad(sentence: String) -> Refusal {
    Refusal::new(RefusalKind::BadPackage, sentence)
}

/// Makes sure that the next Tentacle finds what it cannot start without: this one has had it in memory since its own
/// start, and somebody may have damaged it meanwhile.
fn check_successor(agent: &Agent) -> Result<(), Refusal> {
    let settings = Settings::load(&agent.home.config()).err().map(|error| chain(&error));
    let Some(why) = settings.or_else(|| identity_problem(agent)) else { return Ok(()) };
    let sentence = format!("the next Tentacle could not start as this machine: {why}. Mend it, then upgrade again");
    Err(Refusal::new(RefusalKind::Internal, sentence))
}

/// The ticket first: after a crash between the two the portal finds it with an unknown result.
fn write_down(
    agent: &Agent,
    order: &UpgradeOrder,
    record: Record,
    portal: Thumbprint,
) -> Result<Option<Arc<Job>>, Refusal> {
    let Accepted::New(job) = agent.works.accept_upgrade(&order.ticket, record)? else { return Ok(None) };
    if let Err(error) = agent.generations.record(&portal, order.generation) {
        let refusal = internal("write down the generation of the order", &error);
        agent.works.finish(&job, WorkState::Failed { reason: refusal.sentence.clone() });
        agent.works.reopen();
        return Err(refusal);
    }
    Ok(Some(job))
}

async fn carry_out(agent: Arc<Agent>, order: UpgradeOrder, source: Source, job: Arc<Job>) {
    job.info(&format!("Upgrading Tentacle {} to {}", agent.version, order.version));
    let result = stage_drain_arm(&agent, &order, source, &job).await;
    let state = match result {
        Ok(()) => {
            job.info("The new version is armed; this Tentacle ends now");
            // Before anybody can see the end of the ticket, so that no work slips in.
            agent.works.close_for_good();
            WorkState::Succeeded
        }
        Err(UpgradeFailure::Cancelled) => {
            job.info("Cancelled; nothing was changed");
            job.state_when_cancelled()
        }
        Err(busy @ UpgradeFailure::Busy { .. }) => {
            let reason = chain(&busy);
            job.line(LogLevel::Warning, &reason);
            WorkState::Busy { reason }
        }
        Err(failure) => {
            let reason = chain(&failure);
            job.line(LogLevel::Error, &reason);
            WorkState::Failed { reason }
        }
    };
    let armed = state == WorkState::Succeeded;
    let finish = {
        let agent = Arc::clone(&agent);
        tokio::task::spawn_blocking(move || agent.works.finish(&job, state))
    };
    if let Err(error) = finish.await {
        tracing::error!(%error, "could not end the ticket of an upgrade");
    }
    if armed {
        agent.ending.cancel();
    } else {
        agent.works.reopen();
    }
}

async fn stage_drain_arm(
    agent: &Arc<Agent>,
    order: &UpgradeOrder,
    source: Source,
    job: &Arc<Job>,
) -> Result<(), UpgradeFailure> {
    let (staged, _in_use) = match source {
        Source::Package(package, in_use) => {
            let home = agent.home.clone();
            let stage = move || stage_tentacle(&home, *package).map_err(UpgradeFailure::Stage);
            let staged = tokio::task::spawn_blocking(stage).await??;
            job.info("Unpacked beside the running version");
            (staged, Some(in_use))
        }
        Source::Installed(staged) => {
            job.info("It is installed beside the running version, intact");
            (staged, None)
        }
    };
    drain(agent, order, job).await?;
    let (home, running, job) = (agent.home.clone(), agent.version.clone(), Arc::clone(job));
    let arm = move || {
        if job.cancelled().is_cancelled() {
            return Err(UpgradeFailure::Cancelled);
        }
        Ok(arm(&home, staged, &running)?)
    };
    tokio::task::spawn_blocking(arm).await?
}

async fn drain(agent: &Agent, order: &UpgradeOrder, job: &Job) -> Result<(), UpgradeFailure> {
    let limit = Duration::from_millis(order.drain_ms).min(DRAIN_MAX);
    let others = || agent.works.running().into_iter().filter(|work| work.ticket != order.ticket);
    if others().next().is_some() {
        job.info(&format!("Waiting up to {} s for the running work to end", limit.as_secs()));
    }
    let drained = tokio::select! {
        () = job.cancelled().cancelled() => return Err(UpgradeFailure::Cancelled),
        // All but the ticket of the upgrade itself.
        drained = agent.works.drained(1, limit) => drained,
    };
    if drained {
        return Ok(());
    }
    let work = others().map(|work| work.description).collect::<Vec<_>>().join("; ");
    Err(UpgradeFailure::Busy { waited_ms: limit.as_millis(), work })
}

fn internal(step: &str, error: &dyn std::fmt::Display) -> Refusal {
    Refusal::new(RefusalKind::Internal, format!("could not {step}: {error}"))
}
