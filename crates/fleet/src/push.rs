//! `fleet push`: the portal's own client code sends one package to many real Tentacle services, and each installs it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use contract::Home;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use octopus_proto::tls::Identity;
use octopus_proto::{Ticket, Work, WorkState};
use octopus_server::tentacle::{Tentacles as _, grpc::GrpcTentacles};
use package::Manifest;
use serde::Serialize;

use crate::baseline;
use crate::parcel::{ID, Parcel, VERSION};
use crate::service::{Service, start_all};
use crate::usage::{cpu_time, forget_own_peak, status_number};

/// How long one question for news waits, as the portal's does.
const WATCH_WAIT: Duration = Duration::from_secs(10);

/// How long one machine may take for everything. After it the measurement failed.
const MACHINE_LIMIT: Duration = Duration::from_secs(120);

/// Machines for which the least cost is measured: enough for a good mean.
const BASELINE_MACHINES: u32 = 20;

/// The environment that the package is installed in.
const ENVIRONMENT: &str = "Production";

/// What is sent to how many.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// How many Tentacle services
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub machines: u32,
    /// The size of the package
    #[arg(long, value_name = "MIB", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub package_mib: u32,
    /// Files in the package
    #[arg(long, value_name = "N", default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub files: u32,
    /// Machines that are served at a time; the default is that of a rollout
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub at_once: u32,
}

/// The line that is printed. CPU seconds are user and system time per machine, without the start of the services.
#[derive(Debug, Serialize)]
struct Report {
    machines: u32,
    package_mib: u32,
    files: u32,
    at_once: u32,
    wall_seconds: f64,
    cpu_seconds_per_machine: f64,
    cpu_seconds_per_machine_portal: f64,
    cpu_seconds_per_machine_tentacle: f64,
    cpu_seconds_per_machine_copy_and_unpack: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_seconds_per_machine_cp_and_unzip: Option<f64>,
    ratio_to_copy_and_unpack: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    ratio_to_cp_and_unzip: Option<f64>,
    peak_mib_portal_before: f64,
    peak_mib_portal: f64,
    peak_mib_tentacle_before: f64,
    peak_mib_tentacle: f64,
}

/// Measures. Returns the line to print.
pub fn run(options: &Options) -> anyhow::Result<String> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let report = runtime.block_on(measure(options))?;
    Ok(serde_json::to_string(&report)?)
}

async fn measure(options: &Options) -> anyhow::Result<Report> {
    let folder = tempfile::Builder::new().prefix("octopus-fleet-").tempdir()?;
    let parcel = Parcel::pack(folder.path(), options.package_mib, options.files)?;
    let machines = options.machines.min(BASELINE_MACHINES);
    let copied = baseline::copy_and_unpack(&parcel.path, folder.path(), machines)?;
    let unzipped = baseline::cp_and_unzip(&parcel.path, folder.path(), machines)?;

    let identity = Arc::new(Identity::generate("fleet")?);
    let services = start_all(folder.path(), options.machines, &identity).await?;
    let tentacles = GrpcTentacles::new(identity);
    // A portal has long known its machines. The first handshake of a process also gathers its randomness.
    for service in &services {
        tentacles.status(&service.target).await.context("the first question")?;
    }
    let before = Usage::read(&services)?;
    forget_own_peak()?;
    let memory_before = Peaks::read(&services)?;
    let begin = Instant::now();
    stream::iter(&services)
        .map(|service| serve(&tentacles, service, &parcel))
        .buffer_unordered(options.at_once as usize)
        .try_collect::<()>()
        .await?;
    let wall = begin.elapsed();
    let after = Usage::read(&services)?;
    let memory = Peaks::read(&services)?;
    for service in &services {
        check(&service.home, &parcel)?;
    }

    let each = |duration: Duration| seconds(duration / options.machines);
    let portal = each(after.portal.saturating_sub(before.portal));
    let tentacle = each(after.tentacles.saturating_sub(before.tentacles));
    let total = round(portal + tentacle);
    Ok(Report {
        machines: options.machines,
        package_mib: options.package_mib,
        files: options.files,
        at_once: options.at_once,
        wall_seconds: seconds(wall),
        cpu_seconds_per_machine: total,
        cpu_seconds_per_machine_portal: portal,
        cpu_seconds_per_machine_tentacle: tentacle,
        cpu_seconds_per_machine_copy_and_unpack: seconds(copied),
        cpu_seconds_per_machine_cp_and_unzip: unzipped.map(seconds),
        ratio_to_copy_and_unpack: round(total / copied.as_secs_f64()),
        ratio_to_cp_and_unzip: unzipped.map(|unzipped| round(total / unzipped.as_secs_f64())),
        peak_mib_portal_before: mib(memory_before.portal),
        peak_mib_portal: mib(memory.portal),
        peak_mib_tentacle_before: mib(memory_before.tentacle),
        peak_mib_tentacle: mib(memory.tentacle),
    })
}

/// Does with one machine what a deployment does: send, start, follow to the end.
async fn serve(tentacles: &GrpcTentacles, service: &Service, parcel: &Parcel) -> anyhow::Result<()> {
    let name = || format!("machine {}, its log:\n{}", service.target.machine, service.tail());
    let work = tokio::time::timeout(MACHINE_LIMIT, install(tentacles, service, parcel)).await;
    work.context("it took too long").and_then(|done| done).with_context(name)
}

async fn install(tentacles: &GrpcTentacles, service: &Service, parcel: &Parcel) -> anyhow::Result<()> {
    let target = &service.target;
    tentacles.upload(target, &parcel.path, parcel.sha256, parcel.size).await.context("the upload")?;
    let ticket: Ticket = "fleet-push".parse()?;
    let work = Work::Install {
        package: parcel.sha256,
        environment: ENVIRONMENT.parse()?,
        variables: Default::default(),
        sensitive: Default::default(),
    };
    tentacles.start(target, &ticket, "measure", work).await.context("the start")?;
    let mut after = 0;
    loop {
        let progress = tentacles.watch(target, &ticket, after, WATCH_WAIT).await.context("the watch")?;
        after = progress.last;
        match progress.state {
            WorkState::Running => {}
            WorkState::Succeeded => return Ok(()),
            other => bail!("the package was not installed: {other:?}"),
        }
    }
}

/// The package is where it belongs, byte for byte.
fn check(home: &Home, parcel: &Parcel) -> anyhow::Result<()> {
    let folder = home.package(&ENVIRONMENT.parse()?, &ID.parse()?).join(VERSION);
    let manifest = Manifest::read(&folder)?;
    ensure!(manifest.sha256 == parcel.sha256, "another package lies in {}", folder.display());
    Ok(manifest.verify(&folder)?)
}

/// CPU time so far.
struct Usage {
    portal: Duration,
    /// Of all together.
    tentacles: Duration,
}

impl Usage {
    fn read(services: &[Service]) -> anyhow::Result<Self> {
        let tentacles = services.iter().map(|service| cpu_time(service.pid())).sum::<anyhow::Result<Duration>>()?;
        Ok(Self { portal: cpu_time(std::process::id())?, tentacles })
    }
}

/// Peak memory so far, in KiB.
struct Peaks {
    portal: u64,
    /// Of the largest.
    tentacle: u64,
}

impl Peaks {
    fn read(services: &[Service]) -> anyhow::Result<Self> {
        let mut tentacle = 0;
        for service in services {
            tentacle = tentacle.max(status_number(service.pid(), "VmHWM")?);
        }
        Ok(Self { portal: status_number(std::process::id(), "VmHWM")?, tentacle })
    }
}

fn seconds(duration: Duration) -> f64 {
    round(duration.as_secs_f64())
}

/// To four places.
fn round(number: f64) -> f64 {
    (number * 10_000.0).round() / 10_000.0
}

#[expect(clippy::cast_precision_loss, reason = "memory in KiB has far fewer digits than an f64 holds")]
fn mib(kib: u64) -> f64 {
    (kib as f64 / 1024.0 * 10.0).round() / 10.0
}
