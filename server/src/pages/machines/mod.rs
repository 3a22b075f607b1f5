//! Machines: one with everything that is known of it. The forms are in `edit`, adding one is in `add`.

mod add;
mod edit;
mod form;
mod past;
pub mod selected;
mod trust;
pub mod view;

use askama::Template;
use askama_web::WebTemplate;
use axum::Router;
use axum::extract::State;
use axum::response::Redirect;
use axum::routing::{get, post};

use self::view::{Around, MachineView, machine_view};
use super::PageError;
use super::environments::bundled;
use super::environments::view::Truth;
use super::form::{Body, Id, moment};
use super::live::{LiveView as _, cursor};
use super::shell::{Section, Shell};
use super::tasks::refused;
use super::upgrade::refused as refused_rollout;
use super::view::{self as words, Status};
use crate::app::App;
use crate::auth::PageUser;
use crate::clock::Timestamp;
use crate::db::environments::environment_list;
use crate::db::facts::facts_get;
use crate::db::health_changes::health_change_list;
use crate::db::machine_events::machine_event_list;
use crate::db::machine_holds::hold_get;
use crate::db::machine_past::{Deed, PastKind, machine_past};
use crate::db::machines::machine_get;
use crate::db::places::place_of;
use crate::db::rollouts::rollout_paused;
use crate::error::ApiError;
use crate::ids::{MachineId, SpaceId};
use crate::inventory::inventory_forget_clone;
use crate::model::Contact;
use crate::rollout::create::Selection;
use crate::rollout::hands::{Who, machine_hold, machine_release};
use crate::rollout::look::why_of;
use crate::tasks::{task_create_connect, task_create_health};

/// Upgrades and deployments that a machine's own page shows. All of them are on the page of its history.
const PAST_SHOWN: u32 = 8;

/// Changes of its health that a machine's page shows. Older ones are kept for a while, and not shown.
const HEALTH_SHOWN: u32 = 20;

/// `/machines` and what is under it, but for the upgrade.
pub fn router() -> Router<App> {
    Router::new()
        .route("/machines/{id}", get(show))
        .route("/machines/{id}/check", post(check))
        .route("/machines/{id}/alone", post(alone))
        .route("/machines/{id}/hold", post(hold))
        .route("/machines/{id}/release", post(release))
        .merge(add::router())
        .merge(edit::router())
        .route("/machines/{id}/connect", post(connect))
        .merge(past::router())
        .merge(selected::router())
        .merge(trust::router())
}

#[derive(Template, WebTemplate)]
#[template(path = "machines/show.html")]
struct ShowPage {
    shell: Shell,
    view: MachineView,
    now: Timestamp,
}

async fn show(user: PageUser, State(app): State<App>, Id(id): Id<MachineId>) -> Result<ShowPage, PageError> {
    let view = load(&app, user.0.space, id).await?;
    let scope = format!("machine={id}&seen={}", cursor(&view.parts()));
    let shell = Shell::new(&app, &user, Section::Environments, view.row.name.clone()).live(&scope);
    Ok(ShowPage { now: shell.now, shell, view })
}

/// One machine with everything that is known of it. Reads nothing of any other machine, but for what a rollout that it
/// waits in does with them.
pub async fn load(app: &App, space: SpaceId, id: MachineId) -> Result<MachineView, ApiError> {
    let mut conn = app.db.read().await?;
    let machine = machine_get(&mut conn, space, id).await?;
    let machine = machine.ok_or_else(|| ApiError::not_found(format!("The machine {id}")))?;
    let facts = facts_get(&mut conn, id).await?;
    let why = why_of(app, &mut conn, &machine, facts.as_ref()).await?;
    let hold = hold_get(&mut conn, id, app.now()).await?;
    let truth = Truth {
        environments: environment_list(&mut conn, space).await?,
        facts: facts.clone().into_iter().map(|facts| (id, facts)).collect(),
        places: place_of(&mut conn, space, id).await?.into_iter().map(|place| (id, place)).collect(),
        paused: rollout_paused(&mut conn, space).await?,
        bundled: bundled(app),
        holds: hold.into_iter().map(|hold| (id, hold)).collect(),
        ..Truth::default()
    };
    let (past, past_total) = machine_past(&mut conn, space, id, PastKind::Changes, (0, PAST_SHOWN)).await?;
    let is_refused = facts.as_ref().is_some_and(|facts| matches!(facts.contact, Contact::Refused { .. }));
    let around = Around {
        events: machine_event_list(&mut conn, id).await?,
        health: health_change_list(&mut conn, id, HEALTH_SHOWN).await?,
        past,
        past_total,
        is_refused,
    };
    Ok(machine_view(&truth, &machine, facts.as_ref(), &why.to_string(), around))
}

async fn hold(
    user: PageUser,
    State(app): State<App>,
    Id(id): Id<MachineId>,
    Body(fields): Body,
) -> Result<Redirect, PageError> {
    let reason = fields.get("reason").trim();
    if reason.is_empty() {
        return Err(ApiError::bad_request("Say why: whoever finds the machine held wants to know.").into());
    }
    let until = moment(fields.get("until"))?;
    if until.is_some_and(|until| until <= app.now()) {
        return Err(ApiError::bad_request("The end of the hold has passed already.").into());
    }
    let who = Who { name: &user.0.username, why: reason };
    machine_hold(&app, user.0.space, id, who, until).await.map_err(refused_rollout)?;
    Ok(Redirect::to(&format!("/machines/{id}")))
}

async fn release(
    user: PageUser,
    State(app): State<App>,
    Id(id): Id<MachineId>,
    Body(fields): Body,
) -> Result<Redirect, PageError> {
    let who = Who { name: &user.0.username, why: fields.get("reason") };
    machine_release(&app, user.0.space, id, who).await.map_err(refused_rollout)?;
    Ok(Redirect::to(&format!("/machines/{id}")))
}

/// A person says that this machine alone has its identity now.
async fn alone(
    user: PageUser,
    State(app): State<App>,
    Id(id): Id<MachineId>,
    Body(fields): Body,
) -> Result<Redirect, PageError> {
    inventory_forget_clone(&app, id, &user.0.username, fields.get("reason")).await?;
    Ok(Redirect::to(&format!("/machines/{id}")))
}

async fn check(user: PageUser, State(app): State<App>, Id(id): Id<MachineId>) -> Result<Redirect, PageError> {
    let machines = Selection::Machines(vec![id]);
    let task = task_create_health(&app, user.0.space, &user.0.username, &machines, None).await.map_err(refused)?;
    Ok(Redirect::to(&format!("/tasks/{task}")))
}

/// Walks the way to the machine step by step, as a task whose log tells them.
async fn connect(user: PageUser, State(app): State<App>, Id(id): Id<MachineId>) -> Result<Redirect, PageError> {
    let task = task_create_connect(&app, user.0.space, &user.0.username, id).await.map_err(refused)?;
    Ok(Redirect::to(&format!("/tasks/{task}")))
}
