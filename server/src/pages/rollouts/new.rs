//! The page that draws up a new rollout, shows what it would do, and starts it.

use std::collections::BTreeMap;

use askama::Template;
use askama_web::WebTemplate;
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use http::StatusCode;

use super::draft::{Absent, Draft, Scope, Takes, WaveDraft};
use super::waves::span as exact;
use crate::app::App;
use crate::auth::{PageUser, operates};
use crate::clock::Timestamp;
use crate::db::environments::environment_list;
use crate::db::machines::machine_list;
use crate::ids::{EnvironmentId, MachineId, SpaceId};
use crate::model::{Environment, Machine};
use crate::pages::form::{Address, Body};
use crate::pages::shell::{Section, Shell};
use crate::pages::view as words;
use crate::pages::{PageError, sentence};
use crate::rollout::absent::LateArrivals;
use crate::rollout::course::{Finish, Stays};
use crate::rollout::create::{RolloutError, RolloutRequest, rollout_create};
use crate::rollout::preview::{Preview, rollout_choice, rollout_preview};
use crate::rollout::strategy::{Approval, Strategy, WAVES_MAX};

/// Names of machines that a wave of the preview lists; the others are counted.
const NAMES_MAX: usize = 100;

/// Machines that are not upgraded and that the preview lists; the others are counted.
const STAYS_MAX: usize = 200;

pub(super) fn router() -> Router<App> {
    Router::new().route("/rollouts/new", get(blank).post(act))
}

#[derive(Template, WebTemplate)]
#[template(path = "rollouts/new.html")]
struct NewPage {
    shell: Shell,
    draft: Draft,
    environments: Vec<Environment>,
    bundled: Option<String>,
    soak: String,
    preview: Option<PreviewView>,
    problem: Option<String>,
}

/// A wave of the preview.
struct WaveView {
    title: String,
    total: usize,
    names: Vec<String>,
    when: String,
    soak: String,
    needs_person: bool,
}

/// What the preview shows.
struct PreviewView {
    choice: String,
    total: usize,
    sentence: String,
    finish: String,
    class: &'static str,
    measured: String,
    waves: Vec<WaveView>,
    roles: Vec<String>,
    kinds: Vec<(&'static str, usize)>,
    stays: Vec<Stays>,
    stays_all: usize,
    busy: Vec<Stays>,
}

impl NewPage {
    /// The environments that are ticked.
    fn is_ticked(&self, id: &EnvironmentId) -> bool {
        self.draft.environments.contains(id)
    }
}

async fn blank(user: PageUser, State(app): State<App>, Address(fields): Address) -> Result<NewPage, PageError> {
    let environments: Vec<EnvironmentId> = fields.parsed("environment").collect();
    let scope = if environments.is_empty() { Scope::All } else { Scope::Environments };
    let draft = Draft { scope, environments, ..Draft::from(&Strategy::default()) };
    page(&app, &user, draft, None, None).await
}

async fn page(
    app: &App,
    user: &PageUser,
    draft: Draft,
    preview: Option<&Preview>,
    problem: Option<String>,
) -> Result<NewPage, PageError> {
    let environments = environment_list(&mut *app.db.read().await?, user.0.space).await?;
    let shell = Shell::new(app, user, Section::Rollouts, "New rollout");
    let now = shell.now;
    Ok(NewPage {
        draft,
        preview: preview.map(|preview| PreviewView::of(preview, &environments, now)),
        environments,
        bundled: app.bundle.version().map(ToString::to_string),
        soak: exact(app.deadlines(user.0.space).soak),
        problem,
        shell,
    })
}

async fn act(user: PageUser, State(app): State<App>, Body(fields): Body) -> Result<Response, PageError> {
    let mut draft = Draft::from(&fields);
    if fields.get("do") == "add" {
        if draft.waves.len() < WAVES_MAX {
            draft.waves.push(WaveDraft::default());
        }
        return Ok(page(&app, &user, draft, None, None).await?.into_response());
    }
    let (environments, machines) = known(&app, user.0.space).await?;
    let request = match draft.read(&environments, &machines) {
        Ok(request) => request,
        Err(problem) => return refuse(&app, &user, draft, StatusCode::UNPROCESSABLE_ENTITY, &problem).await,
    };
    operates(&app, &user.0, user.0.space, &request.selection).await?;
    let is_start = fields.get("do") == "start";
    match if is_start { start(&app, &user, &request, fields.get("choice")).await } else { Ok(None) } {
        Ok(Some(redirect)) => return Ok(redirect.into_response()),
        Ok(None) => {}
        Err(RolloutError::Db(error)) => return Err(error.into()),
        Err(error) => return refuse(&app, &user, draft, StatusCode::CONFLICT, &error.to_string()).await,
    }
    match rollout_preview(&app, user.0.space, &request).await {
        Ok(preview) => {
            let changed = "nothing was started: since you looked at the preview, the machines that this chooses or how it \
                           goes about them have changed; look at it once more";
            let problem = is_start.then(|| sentence(changed));
            let status = if is_start { StatusCode::CONFLICT } else { StatusCode::OK };
            let page = page(&app, &user, draft, Some(&preview), problem).await?;
            Ok((status, page).into_response())
        }
        Err(RolloutError::Db(error)) => Err(error.into()),
        Err(error) => refuse(&app, &user, draft, StatusCode::CONFLICT, &error.to_string()).await,
    }
}

/// Starts the rollout if it is still the one that was looked at; `None` where it is another one by now.
async fn start(
    app: &App,
    user: &PageUser,
    request: &RolloutRequest,
    seen: &str,
) -> Result<Option<Redirect>, RolloutError> {
    if rollout_choice(app, user.0.space, request).await? != seen {
        return Ok(None);
    }
    let rollout = rollout_create(app, user.0.space, &user.0.username, request.clone()).await?;
    Ok(Some(Redirect::to(&format!("/rollouts/{}", rollout.id))))
}

async fn known(app: &App, space: SpaceId) -> Result<(Vec<Environment>, Vec<Machine>), PageError> {
    let mut conn = app.db.read().await?;
    let environments = environment_list(&mut conn, space).await?;
    Ok((environments, machine_list(&mut conn, space).await?))
}

async fn refuse(
    app: &App,
    user: &PageUser,
    draft: Draft,
    status: StatusCode,
    problem: &str,
) -> Result<Response, PageError> {
    let page = page(app, user, draft, None, Some(sentence(problem))).await?;
    Ok((status, page).into_response())
}

impl PreviewView {
    fn of(preview: &Preview, environments: &[Environment], now: Timestamp) -> Self {
        let course = &preview.course;
        let (class, finish) = match &course.finish {
            Finish::Unknown => {
                ("waiting", "When it would be over is unknown yet: no upgrade was measured so far.".to_owned())
            }
            Finish::At(at) if course.upgraded == 0 => {
                ("attention", format!("Nothing would be done by {}.", at.minutes()))
            }
            Finish::At(at) => {
                let length = words::span(at.since(now));
                ("healthy", format!("It would be over at {}, in {length}, if all goes well.", at.minutes()))
            }
            Finish::After(at) => ("waiting", format!("It would go on beyond {}.", at.minutes())),
            Finish::Stops(why) => ("failed", format!("It would not come to its end: {}", sentence(why))),
        };
        let mut kinds: BTreeMap<&'static str, usize> = BTreeMap::new();
        for stays in &course.stays {
            *kinds.entry(kind(stays.code)).or_default() += 1;
        }
        Self {
            choice: preview.choice.clone(),
            total: preview.machines.len(),
            sentence: format!(
                "{} of {} chosen would be upgraded to {}, at most {} at once; {} would stop it.",
                words::thousands(course.upgraded),
                words::count(preview.machines.len(), "machine"),
                preview.target,
                preview.max_in_flight,
                words::count(preview.failure_budget as usize, "failure"),
            ),
            finish,
            class,
            measured: measured(preview),
            waves: waves(preview),
            roles: roles(preview, environments),
            kinds: kinds.into_iter().collect(),
            stays: course.stays.iter().take(STAYS_MAX).map(told).collect(),
            stays_all: course.stays.len(),
            busy: preview.busy.iter().take(STAYS_MAX).map(told).collect(),
        }
    }
}

/// What the times stand on.
fn measured(preview: &Preview) -> String {
    let Some(pace) = preview.pace else { return String::new() };
    format!(
        "By the last {}: {} to send the package and {} from the command to the proof, each the median. A person who is \
         asked is taken to agree at once.",
        words::count(pace.machines, "upgrade"),
        words::span(pace.sending),
        words::span(pace.installing),
    )
}

fn waves(preview: &Preview) -> Vec<WaveView> {
    let last = preview.waves.len();
    let wave = |(at, (wave, span)): (usize, (&crate::rollout::state::RolloutWave, &crate::rollout::course::Span))| {
        let members: Vec<&(usize, MachineId, String)> =
            preview.machines.iter().filter(|machine| machine.0 == at).collect();
        WaveView {
            title: wave.title.clone(),
            total: members.len(),
            names: members.iter().take(NAMES_MAX).map(|member| member.2.clone()).collect(),
            when: match (span.begins, span.ends) {
                (Some(begins), Some(ends)) => format!("{} to {}", begins.minutes(), ends.minutes()),
                (Some(begins), None) => format!("from {}", begins.minutes()),
                (None, _) => String::new(),
            },
            soak: if wave.soak.is_zero() || at + 1 == last { String::new() } else { exact(wave.soak) },
            needs_person: wave.approval == Approval::Person && at > 0,
        }
    };
    preview.waves.iter().zip(&preview.course.waves).enumerate().map(wave).collect()
}

fn roles(preview: &Preview, environments: &[Environment]) -> Vec<String> {
    let name = |id: EnvironmentId| {
        let found = environments.iter().find(|environment| environment.id == id);
        found.map_or_else(|| id.to_string(), |environment| environment.name.to_string())
    };
    let role = |role: &crate::rollout::course::RoleLoss| {
        let (most, all, place) = (role.most, role.all, name(role.environment));
        match all {
            1 => format!("the only machine with the role {} in {place}", role.role),
            all => format!("{most} of the {all} machines with the role {} in {place}", role.role),
        }
    };
    preview.roles.iter().map(role).collect()
}

fn told(stays: &Stays) -> Stays {
    Stays { why: sentence(&stays.why), ..stays.clone() }
}

/// The word for people of why a machine stays.
fn kind(code: &str) -> &'static str {
    match code {
        "UpToDate" => "up to date",
        "Newer" => "newer",
        "Disabled" => "disabled",
        "NoPackage" => "no package for its runtime",
        "Held" => "held",
        "Cloned" => "two answer with its identity",
        "FailedBefore" => "failed before",
        "VersionHeld" => "version held for the platform",
        "NoRoom" => "not enough disk",
        "InAnotherRollout" => "in another rollout",
        "Closed" => "outside its hours",
        "Offline" => "cannot be reached",
        "Unwell" => "has problems",
        "Failed" => "would fail",
        "Stopped" => "not begun: it would stop before",
        _ => "other",
    }
}
