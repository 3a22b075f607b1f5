//! Installs one package: ordinary ones by the conventions, with their scripts; Tentacle itself beside the running one.
//!
//! Called by work from the portal, and by `tentacle install`, which needs no running Tentacle.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use contract::{EnvironmentName, Home, Sha256};
use octopus_proto::LogLevel;
use package::{
    Authority, InstallError, Installed, Limits, Outcome, PackageError, Stage, Verified, install_application,
    stage_tentacle,
};
use tokio_util::sync::CancellationToken;

use crate::config;
use crate::log::{Log, Terminal, chain};
use crate::scripts::{self, ScriptError, Scripts};
use crate::upload::Uploads;
use crate::variables::{InEnvironment, VARIABLES_FILE, Variables};

/// What is installed where. The package itself comes apart from it, verified.
pub(crate) struct Order {
    /// The home.
    pub(crate) home: Home,
    /// The environment.
    pub(crate) environment: EnvironmentName,
    /// For the scripts.
    pub(crate) variables: Variables,
    /// Where the file with the variables is written while scripts run.
    pub(crate) variables_file: PathBuf,
}

/// Why an installation failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InstallFailure {
    /// The package is not one.
    #[error("the package cannot be used")]
    Package(#[from] PackageError),
    /// It could not be put on the disk.
    #[error("the package could not be unpacked")]
    Install(#[from] InstallError),
    /// A script failed.
    #[error(transparent)]
    Script(#[from] ScriptError),
    /// It was ended before its time.
    #[error("it was cancelled")]
    Cancelled,
    /// A thread of this process failed.
    #[error("Tentacle failed while installing")]
    Thread(#[from] tokio::task::JoinError),
}

/// Opens and checks an uploaded package on a thread that may block.
pub(crate) async fn verify(uploads: &Arc<Uploads>, sha256: Sha256) -> Result<Verified, InstallFailure> {
    let uploads = Arc::clone(uploads);
    Ok(tokio::task::spawn_blocking(move || uploads.verified(sha256)).await??)
}

/// Installs an ordinary package: unpacks it and runs `PreDeploy`, `Deploy` and `PostDeploy`; when one of them fails,
/// `DeployFailed`.
pub(crate) async fn install(
    order: Order,
    package: Verified,
    log: &dyn Log,
    cancelled: &CancellationToken,
) -> Result<Installed, InstallFailure> {
    let (id, version) = (package.id().clone(), package.version().clone());
    log.info(&format!("Installing {id} {version} for {}", order.environment));
    let Order { home, environment, variables, variables_file } = order;
    let name = OsString::from(environment.as_str());
    let unpack = move || install_application(&home, &environment, package);
    let installed = tokio::task::spawn_blocking(unpack).await??;
    log.info(&format!("Unpacked to {}", installed.folder.display()));
    if cancelled.is_cancelled() {
        return Err(InstallFailure::Cancelled);
    }
    let scripts = Scripts::find(&installed.folder)?;
    if scripts.is_empty() {
        log.info("The package has no scripts");
        return Ok(installed);
    }
    let file = scripts::write_variables(&variables, &variables_file)?;
    let built_in = [
        ("OCTOPUS_ENVIRONMENT", name.clone()),
        ("OCTOPUS_ENVIRONMENT_NAME", name),
        ("OCTOPUS_PACKAGE_ID", id.as_str().into()),
        ("OCTOPUS_PACKAGE_VERSION", version.to_string().into()),
        ("OCTOPUS_PACKAGE_FOLDER", installed.folder.clone().into()),
        (VARIABLES_FILE, file.path().into()),
    ];
    let InEnvironment { variables, left_out, .. } = variables.environment(&built_in);
    left_out.iter().for_each(|left_out| log.line(LogLevel::Warning, &left_out.to_string()));
    let run = scripts::Run { folder: &installed.folder, variables: &variables, built_in: &built_in, log };
    for stage in [Stage::PreDeploy, Stage::Deploy, Stage::PostDeploy] {
        let Some(script) = scripts.of(stage) else { continue };
        let Err(error) = run.script(script, cancelled).await else { continue };
        if cancelled.is_cancelled() {
            return Err(InstallFailure::Cancelled);
        }
        log.line(LogLevel::Error, &chain(&error));
        if let Some(clean_up) = scripts.of(Stage::DeployFailed)
            && let Err(error) = run.script(clean_up, cancelled).await
        {
            log.line(LogLevel::Error, &chain(&error));
        }
        return Err(error.into());
    }
    log.info(&format!("Installed {id} {version}"));
    Ok(installed)
}

/// `tentacle install`: the same by hand.
pub fn by_hand(options: config::Install) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(by_hand_async(options))
}

async fn by_hand_async(options: config::Install) -> anyhow::Result<ExitCode> {
    let home = options.home.home()?;
    let path = options.package.clone();
    let package = tokio::task::spawn_blocking(move || package::verify(&path, None, &Limits::default())).await??;
    if package.id().tentacle_runtime().is_some() {
        return tokio::task::spawn_blocking(move || install_tentacle(&home, package)).await?;
    }
    let environment = options.environment.context("say for which environment: --environment NAME")?;
    let plain = options.variables.into_iter().collect();
    let variables = Variables { plain, sensitive: std::collections::BTreeMap::new() };
    let private = tempfile::tempdir().context("cannot make a temporary folder")?;
    let order = Order { home, environment, variables, variables_file: private.path().join("variables") };
    let cancelled = CancellationToken::new();
    let on_interrupt = cancelled.clone();
    let signal = async move {
        // Without signals the scripts just run to their end.
        if tokio::signal::ctrl_c().await.is_ok() {
            on_interrupt.cancel();
        }
        std::future::pending::<()>().await;
    };
    let result = tokio::select! {
        result = install(order, package, &Terminal, &cancelled) => result,
        () = signal => Err(InstallFailure::Cancelled),
    };
    result?;
    Ok(ExitCode::SUCCESS)
}

/// A person's word counts as the portal's.
fn install_tentacle(home: &Home, package: Verified) -> anyhow::Result<ExitCode> {
    let installed = stage_tentacle(home, package)?.arm(Authority::Commanded)?;
    let (version, folder) = (&installed.version, installed.folder.display());
    let newest = home.installed_tentacles()?.into_iter().next();
    Terminal.info(&match installed.outcome {
        Outcome::New => format!("Installed Tentacle {version} in {folder}"),
        Outcome::AlreadyThere => format!("Tentacle {version} is in {folder} already, intact"),
        Outcome::Repaired => format!("Replaced the damaged Tentacle {version} in {folder}"),
    });
    if newest.is_none_or(|newest| newest == *version) {
        Terminal.info("Suction Cup will launch it at the next start of Tentacle");
    } else {
        Terminal.info("A newer version is installed: Suction Cup launches this one only where no newer one is good");
    }
    Ok(ExitCode::SUCCESS)
}
