//! `fleet pages`: how soon the portal's pages begin to come, and how many bytes they are, with many machines. The portal's
//! own router answers in this process, from a real database, with the compression that browsers ask for.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use axum::Router;
use axum::body::Body;
use clap::Args;
use contract::{Sha256, Thumbprint, Verdicts, Version};
use futures_util::StreamExt as _;
use http::{Request, StatusCode, header};
use octopus_server::app::App;
use octopus_server::auth::password_set;
use octopus_server::bundle::BundledPackage;
use octopus_server::clock::Timestamp;
use octopus_server::db::environments::environment_insert;
use octopus_server::db::facts::facts_put;
use octopus_server::db::machines::machine_insert;
use octopus_server::db::users::user_by_name;
use octopus_server::ids::{EnvironmentId, MachineId, RolloutId, SpaceId};
use octopus_server::live::Change;
use octopus_server::model::{
    Address, Contact, Facts, InstalledVersion, Instances, NewEnvironment, NewMachine, Report as MachineReport,
};
use octopus_server::rollout::create::{RolloutRequest, Selection, rollout_create};
use octopus_server::routes;
use octopus_server::testing::TestApp;
use serde::Serialize;
use tower::ServiceExt as _;

/// The password of the one user.
const PASSWORD: &str = "correct horse battery";

/// Longest wait for the message that one changed machine sends. After it the measurement failed.
const MESSAGE_LIMIT: Duration = Duration::from_secs(30);

/// How large, and how often.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Machines of the portal
    #[arg(long, value_name = "N", default_value_t = 3000, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pub machines: u32,
    /// How often each page is asked for
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub rounds: u32,
    /// The outdated machines wait in a rollout
    #[arg(long)]
    pub rollout: bool,
}

/// The line that is printed.
#[derive(Debug, Serialize)]
struct Report {
    machines: u32,
    rollout: bool,
    pages: BTreeMap<String, PageReport>,
    /// What one changed machine sends to an open page.
    message: MessageReport,
}

/// One page. Bytes are those that are sent, compressed.
#[derive(Debug, Serialize)]
struct PageReport {
    first_byte_ms_p50: f64,
    first_byte_ms_max: f64,
    bytes: usize,
}

#[derive(Debug, Serialize)]
struct MessageReport {
    /// Elements that it changes.
    fragments: usize,
    bytes: usize,
}

/// Makes the portal and asks it. Returns the line to print.
pub fn run(options: &Options) -> anyhow::Result<String> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no runtime")?;
    runtime.block_on(measure(options))
}

async fn measure(options: &Options) -> anyhow::Result<String> {
    let portal = portal().await;
    let machines = fleet(&portal, options.machines).await?;
    let asked = *machines.get(machines.len() / 2).context("no machine")?;
    let rollout = if options.rollout { Some(begin(&portal).await?) } else { None };
    let browser = Browser::logged_in(&portal).await?;
    let mut paths = vec![
        "/environments".to_owned(),
        "/environments?q=web-00".to_owned(),
        "/environments?environment=Environments-3&state=unhealthy".to_owned(),
        format!("/machines/{asked}"),
        "/rollouts".to_owned(),
        "/api/environments/summary".to_owned(),
    ];
    paths.extend(rollout.map(|rollout| format!("/rollouts/{rollout}")));
    let mut pages = BTreeMap::new();
    for path in paths {
        let page = browser.measure(&path, options.rounds).await.with_context(|| path.clone())?;
        pages.insert(path, page);
    }
    let first = machines.first().copied().context("no machine")?;
    let message = browser.message(&portal, first).await?;
    let report = Report { machines: options.machines, rollout: options.rollout, pages, message };
    Ok(serde_json::to_string(&report)?)
}

fn bundled() -> Version {
    Version::release(2026, 4, 1)
}

async fn portal() -> TestApp {
    App::for_tests().await.with(|inner| {
        let (runtime, version) = ("linux-x64".to_owned(), bundled());
        inner.bundle =
            [BundledPackage { runtime, version, sha256: Sha256([7; 32]), size: 8 << 20 }].into_iter().collect();
    })
}

async fn fleet(app: &App, count: u32) -> anyhow::Result<Vec<MachineId>> {
    let mut tx = app.db.write().await?;
    let mut environments = Vec::new();
    for name in ["Development", "Staging", "Production"] {
        let new =
            NewEnvironment { name: name.parse()?, description: String::new(), sort_order: None, is_disabled: false };
        environments.push(environment_insert(&mut tx, SpaceId::DEFAULT, &new).await?.id);
    }
    let mut machines = Vec::new();
    for i in 0..count {
        // A tenth in the first, a fifth in the second, the rest in the last.
        let place = [0, 1, 1, 2, 2, 2, 2, 2, 2, 2][i as usize % 10];
        let new = described(i, environments[place])?;
        let id = machine_insert(&mut tx, SpaceId::DEFAULT, &new, app.now()).await?.id;
        facts_put(&mut tx, id, &facts(i, app.now())).await?;
        machines.push(id);
    }
    tx.commit().await?;
    Ok(machines)
}

fn described(i: u32, environment: EnvironmentId) -> anyhow::Result<NewMachine> {
    let mut thumbprint = [7; 32];
    thumbprint[..4].copy_from_slice(&i.to_be_bytes());
    let mut roles = vec!["web".to_owned()];
    if i.is_multiple_of(3) {
        roles.push("cache".to_owned());
    }
    Ok(NewMachine {
        name: format!("web-{i:04}.eu-central.example.com"),
        address: Address::new(&format!("web-{i:04}.eu-central.example.com"), 10933)?,
        thumbprint: Thumbprint(thumbprint),
        is_disabled: i % 29 == 28,
        environments: vec![environment],
        roles,
    })
}

/// Most are well and outdated; some have problems, and some are silent.
fn facts(i: u32, now: Timestamp) -> Facts {
    let at = Timestamp(now.0 - 1_000_000 * i64::from(i % 60 + 1));
    let version = if i.is_multiple_of(3) { bundled() } else { Version::release(2026, 4, 0) };
    let installed = [Version::release(2026, 3, 7), version.clone()]
        .map(|version| InstalledVersion { version, verdicts: Verdicts { proven: true, ..Verdicts::default() } });
    let contact = match i % 23 {
        20 => Contact::Silent { reason: "connection refused: nobody listens at port 10933".to_owned() },
        _ => Contact::Answered,
    };
    let report = MachineReport {
        at,
        instance_seen_at: Timestamp(at.0 - 3_600_000_000),
        version,
        instance_id: format!("{i:032x}"),
        started_at: Timestamp(at.0 - 3_605_000_000),
        runtime: "linux-x64".to_owned(),
        os: "Debian GNU/Linux 13 (trixie)".to_owned(),
        hostname: format!("web-{i:04}"),
        supervisor_contract: Some(1),
        installed: installed.into(),
        last_words: (i % 11 == 4).then(|| "it ended with signal 11 (SIGSEGV)\n".repeat(100)),
        free_disk_bytes: 37 << 30,
        running_work: Vec::new(),
        generation: 3,
        problems: if i % 23 == 21 { vec!["the disk is almost full".to_owned()] } else { Vec::new() },
    };
    let contact_since = Timestamp(now.0 - 4_000_000_000);
    Facts { tried_at: at, contact, contact_since, report: Some(report), instances: Instances::default() }
}

async fn begin(app: &App) -> anyhow::Result<RolloutId> {
    Ok(rollout_create(app, SpaceId::DEFAULT, "admin", RolloutRequest::of(Selection::All)).await?.id)
}

/// Somebody who logged in.
struct Browser {
    router: Router,
    cookie: String,
}

impl Browser {
    async fn logged_in(portal: &TestApp) -> anyhow::Result<Self> {
        let admin = user_by_name(&mut *portal.db.read().await?, "admin").await?.context("there is no admin")?;
        password_set(&portal.db, admin.id, PASSWORD).await?;
        let router = routes::router(portal.app.clone());
        let form = format!("username=admin&password={}", PASSWORD.replace(' ', "+"));
        let request = Request::post("/login").header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        let answer = router.clone().oneshot(request.body(Body::from(form))?).await?;
        let cookie = answer.headers().get(header::SET_COOKIE).context("the portal let nobody in")?.to_str()?;
        Ok(Self { router, cookie: cookie.split(';').next().unwrap_or_default().to_owned() })
    }

    fn request(&self, path: &str) -> http::Result<Request<Body>> {
        let request = Request::get(path).header(header::COOKIE, &self.cookie);
        request.header(header::ACCEPT_ENCODING, "gzip, deflate, br, zstd").body(Body::empty())
    }

    async fn measure(&self, path: &str, rounds: u32) -> anyhow::Result<PageReport> {
        let mut times = Vec::new();
        let mut bytes = 0;
        for _ in 0..rounds {
            let begun = Instant::now();
            let answer = self.router.clone().oneshot(self.request(path)?).await?;
            ensure!(answer.status() == StatusCode::OK, "the portal answered {}", answer.status());
            let mut body = answer.into_body().into_data_stream();
            let first = body.next().await.context("an empty page")??;
            times.push(begun.elapsed());
            bytes = first.len();
            while let Some(piece) = body.next().await {
                bytes += piece?.len();
            }
        }
        times.sort();
        let ms = |time: Option<&Duration>| time.map_or(0.0, |time| time.as_secs_f64() * 1000.0);
        let (p50, max) = (ms(times.get(times.len() / 2)), ms(times.last()));
        Ok(PageReport { first_byte_ms_p50: p50, first_byte_ms_max: max, bytes })
    }

    /// What an open page of environments gets when `machine` is heard of.
    async fn message(&self, portal: &TestApp, machine: MachineId) -> anyhow::Result<MessageReport> {
        let request = self.request("/events?page=environments")?;
        let answer = self.router.clone().oneshot(request).await?;
        let mut stream = answer.into_body().into_data_stream();
        let mut next = async || -> anyhow::Result<String> {
            let piece = tokio::time::timeout(MESSAGE_LIMIT, stream.next()).await.context("no message came")?;
            Ok(String::from_utf8(piece.context("the stream ended")??.to_vec())?)
        };
        next().await?;
        let mut tx = portal.db.write().await?;
        let now = Timestamp(portal.now().0 + 1_000_000);
        facts_put(&mut tx, machine, &facts(0, now)).await?;
        tx.commit().await?;
        portal.live.tell(Change::Machine(machine));
        let message = next().await?;
        Ok(MessageReport { fragments: message.matches("<hx-partial").count(), bytes: message.len() })
    }
}
