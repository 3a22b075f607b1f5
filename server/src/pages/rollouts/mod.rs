//! Rollouts: the list, one with its machines, and the wish to cancel it.

mod ask;
mod draft;
mod eta;
mod live;
mod new;
pub mod view;
mod waves;

use askama::Template;
use askama_web::WebTemplate;
use axum::Router;
use axum::extract::{Path, State};
use axum::response::Redirect;
use axum::routing::get;

use self::view::{Loaded, RolloutView, RolloutsView, RowHand, rollout_view, rollouts_view};
use self::waves::WaveState;
use super::form::{Address, Body, Fields, Id};
use super::live::{LiveView as _, cursor};
use super::shell::{Section, Shell};
use super::upgrade::refused;
use super::view::{self as words, Status};
use super::{ConfirmPage, PageError, Reason, Weight, sentence};
use crate::app::App;
use crate::auth::{PageUser, may};
use crate::clock::Timestamp;
use crate::db::facts::facts_of;
use crate::db::policies::scope_get;
use crate::db::reach::environments_of_rollout;
use crate::db::rollout_events::event_list;
use crate::db::rollouts::{rollout_get, rollout_list, rollout_undo_of};
use crate::db::version_failures::version_failures_by_runtime;
use crate::db::{Connection, DbError};
use crate::error::ApiError;
use crate::ids::{RolloutId, SpaceId};
use crate::rollout::care::waits_for_hour;
use crate::rollout::gate::FAILED_MACHINES_MAX;
use crate::rollout::hands::{Hand, Who, rollout_cancel, rollout_hand};
use crate::rollout::hindrance::Hindrance;
use crate::rollout::look::hindered;
use crate::rollout::plan::awaits_proof;
use crate::rollout::preview::pace;
use crate::rollout::state::{PhaseKind, Rollout, RolloutMachine};
use crate::rollout::undo::{Undo, rollout_undo, rollout_undo_ask};
use crate::sequel::may_have_sequel;

/// Rollouts on one page of the list. Older ones are on the next.
const PAGE_SIZE: u32 = 50;

/// `/rollouts` and what is under it.
pub fn router() -> Router<App> {
    Router::new()
        .route("/rollouts", get(list))
        .merge(new::router())
        .route("/rollouts/{id}", get(show))
        .route("/rollouts/{id}/cancel", get(ask_cancel).post(cancel))
        .route("/rollouts/{id}/undo", get(ask_undo).post(undo))
        .route("/rollouts/{id}/{hand}", get(ask::ask).post(hand))
}

#[derive(Template, WebTemplate)]
#[template(path = "rollouts/list.html")]
struct ListPage {
    shell: Shell,
    view: RolloutsView,
    now: Timestamp,
}

async fn list(user: PageUser, State(app): State<App>, Address(fields): Address) -> Result<ListPage, PageError> {
    let page = fields.get("page").parse().unwrap_or(0);
    let view = load_list(&app, user.0.space, page).await?;
    let scope = format!("page=rollouts&number={page}&seen={}", cursor(&view.parts()));
    let shell = Shell::new(&app, &user, Section::Rollouts, "Rollouts").live(&scope);
    Ok(ListPage { now: shell.now, shell, view })
}

/// One page of the list.
pub async fn load_list(app: &App, space: SpaceId, page: u32) -> Result<RolloutsView, DbError> {
    let mut conn = app.db.read().await?;
    let skip = page.saturating_mul(PAGE_SIZE);
    let mut rollouts = rollout_list(&mut conn, space, skip, PAGE_SIZE + 1).await?;
    let has_more = rollouts.len() > PAGE_SIZE as usize;
    rollouts.truncate(PAGE_SIZE as usize);
    let facts = facts_of(&mut conn, &may_have_sequel(&rollouts)).await?;
    Ok(rollouts_view(&rollouts, &facts, page, has_more))
}

#[derive(Template, WebTemplate)]
#[template(path = "rollouts/show.html")]
struct ShowPage {
    shell: Shell,
    view: RolloutView,
    now: Timestamp,
}

async fn show(
    user: PageUser,
    State(app): State<App>,
    Id(id): Id<RolloutId>,
    Address(fields): Address,
) -> Result<ShowPage, PageError> {
    let all = fields.get("all") == "true";
    let view = load_view(&app, user.0.space, id, all).await?;
    let scope = format!("rollout={id}&all={all}&seen={}", cursor(&view.parts()));
    let shell = Shell::new(&app, &user, Section::Rollouts, title(&view)).live(&scope);
    Ok(ShowPage { now: shell.now, shell, view })
}

/// What a tab says: failures first, because nobody looks at a tab for long.
fn title(view: &RolloutView) -> String {
    match view.head.failures {
        0 => view.head.title(),
        failures => format!("{failures} failed – {}", view.head.title()),
    }
}

/// The page of one rollout; `all` shows every machine.
pub async fn load_view(app: &App, space: SpaceId, id: RolloutId, all: bool) -> Result<RolloutView, ApiError> {
    let mut conn = app.db.read().await?;
    let rollout = find(&mut conn, space, id).await?;
    let facts = facts_of(&mut conn, &may_have_sequel(std::slice::from_ref(&rollout))).await?;
    let hindered = hindered(app, &mut conn, &rollout).await?;
    let soaks = hindered.values().find_map(|hindrance| match hindrance {
        Hindrance::Soaking { wave, until } => Some((wave.saturating_sub(1), *until)),
        Hindrance::FirstSoaks { until } => Some((rollout.open_wave, *until)),
        _ => None,
    });
    let has_turn = |machine: &RolloutMachine| hindered.get(&machine.machine).is_some_and(Hindrance::is_turn);
    let waits = |machine: &RolloutMachine| machine.phase.kind() == PhaseKind::Waiting && has_turn(machine);
    let eta = eta::eta(&rollout, waits, pace(&mut conn, rollout.space).await?);
    let why = hindered.into_iter().map(|(machine, hindrance)| (machine, hindrance.to_string())).collect();
    let selection = scope_get(&mut conn, id).await?.map(|scope| scope.selection);
    let awaits_proof = awaits_proof(&rollout, app.now());
    let failed = version_failures_by_runtime(&mut conn, rollout.space, &rollout.target).await?;
    let held = failed.into_iter().filter(|(_, machines)| *machines >= FAILED_MACHINES_MAX);
    let mut held_for: Vec<String> = held.map(|(runtime, _)| runtime).collect();
    held_for.sort();
    let events = event_list(&mut conn, id).await?;
    let undone_by = rollout_undo_of(&mut conn, id).await?;
    let waits_for_hour = waits_for_hour(&mut conn, &rollout, app.now()).await?;
    let places = environments_of_rollout(&mut conn, rollout.space, id).await?;
    let loaded = Loaded {
        rollout,
        facts,
        why,
        held_for,
        events,
        undone_by,
        waits_for_hour,
        soaks,
        awaits_proof,
        selection,
        eta,
    };
    let mut view = rollout_view(&loaded, all);
    if !may::post_in("/rollouts/{id}/{hand}", &places) {
        view.only_look();
    }
    Ok(view)
}

async fn find(conn: &mut Connection, space: SpaceId, id: RolloutId) -> Result<Rollout, ApiError> {
    let rollout = rollout_get(conn, space, id).await?;
    rollout.ok_or_else(|| ApiError::not_found(format!("The rollout {id}")))
}

/// Which rollout, and what is to be done with it.
fn read_hand(id: &str, word: &str, fields: &Fields) -> Result<(RolloutId, Hand), ApiError> {
    let nothing = || ApiError::not_found("What this button does".to_owned());
    let id: RolloutId = id.parse().map_err(|_| nothing())?;
    let hand = match word {
        "start" => Hand::StartNow,
        "pause" => Hand::Pause,
        "resume" => Hand::Resume,
        "ignore-windows" => Hand::IgnoreWindows,
        "retry" => Hand::Retry(fields.parsed("machine").collect()),
        "skip" => Hand::Skip(fields.parsed("machine").next().ok_or_else(nothing)?),
        "release-wave" => Hand::ReleaseWave(fields.parsed("wave").next().ok_or_else(nothing)?),
        "release-version" => Hand::ReleaseVersion(fields.get("runtime").to_owned()),
        _ => return Err(nothing()),
    };
    Ok((id, hand))
}

/// A hand of a person, once they said yes to the question.
async fn hand(
    user: PageUser,
    State(app): State<App>,
    Path((id, word)): Path<(String, String)>,
    Body(fields): Body,
) -> Result<Redirect, PageError> {
    let (id, hand) = read_hand(&id, &word, &fields)?;
    let who = Who { name: &user.0.username, why: fields.get("why") };
    rollout_hand(&app, user.0.space, id, who, &hand).await.map_err(refused)?;
    Ok(Redirect::to(&format!("/rollouts/{id}")))
}

async fn ask_cancel(user: PageUser, State(app): State<App>, Id(id): Id<RolloutId>) -> Result<ConfirmPage, PageError> {
    let rollout = find(&mut *app.db.read().await?, user.0.space, id).await?;
    Ok(ConfirmPage {
        shell: Shell::new(
            &app,
            &user,
            Section::Rollouts,
            match rollout.undo_of {
                Some(of) => format!("Cancel the undo of {of}?"),
                None => format!("Cancel the upgrade to {}?", rollout.target),
            },
        ),
        consequence: format!(
            "No further machine is begun. Machines that were told to install go on to their end; nothing is left half \
             done, and what was upgraded stays upgraded. Now: {}.",
            rollout.summary()
        ),
        action: format!("/rollouts/{id}/cancel"),
        fields: Vec::new(),
        weight: Weight::Grave,
        button: "Cancel rollout".to_owned(),
        back: format!("/rollouts/{id}"),
        reason: Reason::Asked,
    })
}

async fn cancel(
    user: PageUser,
    State(app): State<App>,
    Id(id): Id<RolloutId>,
    Body(fields): Body,
) -> Result<Redirect, PageError> {
    let who = Who { name: &user.0.username, why: fields.get("why") };
    rollout_cancel(&app, user.0.space, id, who).await.map_err(refused)?;
    Ok(Redirect::to(&format!("/rollouts/{id}")))
}

async fn ask_undo(
    user: PageUser,
    State(app): State<App>,
    Id(id): Id<RolloutId>,
    Address(fields): Address,
) -> Result<UndoPage, PageError> {
    let asked = rollout_undo_ask(&mut *app.db.read().await?, user.0.space, id).await;
    let (rollout, plan, known) = asked.map_err(refused)?;
    let title = match (plan.goes(), &known) {
        (_, Some(_)) => format!("{id} is undone"),
        (0, None) => format!("Nothing to undo in {id}"),
        (machines, None) => format!("Undo {id} on {}?", words::count(machines, "machine")),
    };
    Ok(UndoPage {
        shell: Shell::new(&app, &user, Section::Rollouts, title),
        id,
        what: sentence(&plan.sentence()),
        machines: plan.goes(),
        goes_on: !rollout.is_over() && rollout.cancel_requested_at.is_none(),
        known: known.map(|known| known.id),
        why: fields.get("why").to_owned(),
    })
}

/// What an undo would do, before it is done.
#[derive(Template, WebTemplate)]
#[template(path = "rollouts/undo.html")]
struct UndoPage {
    shell: Shell,
    id: RolloutId,
    what: String,
    machines: usize,
    goes_on: bool,
    known: Option<RolloutId>,
    why: String,
}

async fn undo(
    user: PageUser,
    State(app): State<App>,
    Id(id): Id<RolloutId>,
    Body(fields): Body,
) -> Result<Redirect, PageError> {
    let who = Who { name: &user.0.username, why: fields.get("why") };
    let (Undo::Made(undo) | Undo::Known(undo)) = rollout_undo(&app, user.0.space, id, who).await.map_err(refused)?;
    Ok(Redirect::to(&format!("/rollouts/{}", undo.id)))
}
