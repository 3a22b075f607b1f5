//! Rollouts: one wish each to bring machines to one Tentacle version.

use std::collections::HashMap;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{MethodRouter, delete, get, post};
use axum::{Json, Router};
use contract::Version;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::bind::{Asked, Because, Body, Id, MayBody, Query, Space};
use super::foreseen::foreseen;
use super::page::{List, Page, Slice};
use super::tasks::description;
use crate::app::App;
use crate::auth::{ApiUser, operates};
use crate::clock::Timestamp;
use crate::db::Connection;
use crate::db::facts::facts_of;
use crate::db::machine_holds::hold_get;
use crate::db::machines::machine_get;
use crate::db::rollout_events::{Event, event_list};
use crate::db::rollout_search::{RolloutFilter, RolloutPage, rollout_search};
use crate::db::rollouts::{rollout_get, rollout_undo_of};
use crate::error::{ApiError, sentence};
use crate::ids::{EnvironmentId, MachineId, RolloutId, SpaceId};
use crate::inventory::inventory_forget_clone;
use crate::model::Facts;
use crate::rollout::create::{FailedBefore, RolloutError, RolloutRequest, Selection, rollout_create};
use crate::rollout::hands::{Hand, Who, machine_hold, machine_release, rollout_hand};
use crate::rollout::hindrance::Hold;
use crate::rollout::look::why;
use crate::rollout::preview::rollout_preview;
use crate::rollout::state::{PhaseKind, Rollout, RolloutMachine, RolloutState, RolloutWave};
use crate::rollout::strategy::{Amount, Strategy};
use crate::rollout::undo::{Undo, rollout_undo};
use crate::sequel::{may_have_sequel, sequel, tally};

pub(super) const FILTERS: [&str; 7] = ["ids", "states", "active", "machine", "environment", "targetVersion", "undoOf"];

/// The list. On a page there are at most a hundred, because each carries all its machines.
const LIST: List<'_> = List { take_max: 100, ..List::of("Rollout", "/rollouts", &FILTERS) };

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/rollouts", get(list).post(create))
        .route("/rollouts/preview", post(preview))
        .route("/rollouts/{id}", get(one))
        .route("/rollouts/{id}/undo", post(undo))
        .route("/rollouts/{id}/cancel", act(|_| Ok(Hand::Cancel)))
        .route("/machines/{id}/hold", get(hold).put(hold_put).delete(hold_delete))
        .route("/machines/{id}/clone", delete(clone_delete))
        .route("/rollouts/{id}/start", act(|_| Ok(Hand::StartNow)))
        .route("/rollouts/{id}/pause", act(|_| Ok(Hand::Pause)))
        .route("/rollouts/{id}/resume", act(|_| Ok(Hand::Resume)))
        .route("/rollouts/{id}/retry", act(|body| Ok(Hand::Retry(body.machine_ids.clone()))))
        .route("/rollouts/{id}/skip", act(|body| Ok(Hand::Skip(wanted(body.machine_id, "MachineId")?))))
        .route("/rollouts/{id}/ignore-windows", act(|_| Ok(Hand::IgnoreWindows)))
        .route("/rollouts/{id}/release-wave", act(|body| Ok(Hand::ReleaseWave(wanted(body.wave, "Wave")?))))
        .route(
            "/rollouts/{id}/release-version",
            act(|body| Ok(Hand::ReleaseVersion(wanted(body.runtime.clone(), "Runtime")?))),
        )
}

/// A rollout as it stands on the wire. `facts` are those of the machines that [`may_have_sequel`].
fn resource(rollout: &Rollout, facts: &HashMap<MachineId, Facts>) -> Value {
    let space = super::base(rollout.space);
    let link = format!("{space}/rollouts/{}", rollout.id);
    let counts: serde_json::Map<String, Value> = PhaseKind::ALL
        .iter()
        .map(|kind| (kind.word().to_owned(), json!(rollout.count(|of| of == *kind))))
        .chain([("Total".to_owned(), json!(rollout.machines.len()))])
        .collect();
    json!({
        "Id": rollout.id,
        "SpaceId": rollout.space,
        "TaskId": rollout.task,
        "TargetVersion": rollout.target.to_string(),
        "UndoOf": rollout.undo_of,
        "Strategy": rollout.strategy,
        "Waves": rollout.waves.iter().enumerate().map(|(at, row)| wave(at, row, rollout)).collect::<Vec<_>>(),
        "OpenWave": rollout.open_wave + 1,
        "StartAt": rollout.start_at.map(|at| at.rfc3339()),
        "MaxInFlight": rollout.max_in_flight,
        "FailureBudget": rollout.failure_budget,
        "State": rollout.state.word(),
        "StateReason": rollout.state_reason,
        "Summary": match tally(rollout, facts) {
            tally if tally.is_empty() => rollout.summary(),
            tally => format!("{}. {tally}", rollout.summary()),
        },
        "IsCompleted": rollout.state.is_completed(),
        "CancelRequested": rollout.cancel_requested_at.map(|at| at.rfc3339()),
        "CreatedBy": rollout.created_by,
        "Created": rollout.created_at.rfc3339(),
        "Completed": rollout.completed_at.map(|at| at.rfc3339()),
        "Counts": counts,
        "Machines": rollout.machines.iter().map(|row| machine(row, rollout, facts)).collect::<Vec<_>>(),
        "Links": {
            "Self": link,
            "Web": format!("/rollouts/{}", rollout.id),
            "Cancel": format!("{link}/cancel"),
            "Pause": format!("{link}/pause"),
            "Resume": format!("{link}/resume"),
            "Retry": format!("{link}/retry"),
            "Undo": format!("{link}/undo"),
            "Task": format!("{space}/tasks/{}", rollout.task),
        },
    })
}

fn wave(at: usize, row: &RolloutWave, rollout: &Rollout) -> Value {
    let machines = || rollout.machines.iter().filter(|machine| machine.wave == at);
    let of = |wanted: fn(PhaseKind) -> bool| machines().filter(|machine| wanted(machine.phase.kind())).count();
    json!({
        "Number": at + 1,
        "Name": row.title,
        "IsOpen": at <= rollout.open_wave,
        "SoakSeconds": row.soak.as_secs_f64(),
        "Approval": row.approval.word(),
        "FailureBudget": row.failure_budget,
        "Released": row.released_at.map(|at| at.rfc3339()),
        "ReleasedBy": row.released_by,
        "Total": machines().count(),
        "Upgraded": of(|kind| kind == PhaseKind::Upgraded),
        "InFlight": of(PhaseKind::is_in_flight),
        "Failed": of(PhaseKind::is_failure),
    })
}

/// The resource with what only the planner knows, and what people did.
async fn whole(app: &App, space: SpaceId, id: RolloutId) -> Result<Value, ApiError> {
    let mut conn = app.db.read().await?;
    let rollout = rollout_get(&mut conn, space, id).await?;
    let rollout = rollout.ok_or_else(|| ApiError::not_found(format!("The rollout {id}")))?;
    let facts = facts_of(&mut conn, &may_have_sequel(std::slice::from_ref(&rollout))).await?;
    let mut value = resource(&rollout, &facts);
    let why = why(app, &mut conn, &rollout).await?;
    if let Some(machines) = value["Machines"].as_array_mut() {
        for (row, value) in rollout.machines.iter().zip(machines) {
            value["Why"] = json!(why.get(&row.machine).map(|why| sentence(why)));
        }
    }
    value["UndoneBy"] = json!(rollout_undo_of(&mut conn, rollout.id).await?);
    let events = event_list(&mut conn, rollout.id).await?;
    let event = |event: Event| {
        json!({
            "Occurred": event.at.rfc3339(),
            "Username": event.who,
            "Action": event.what,
            "MachineId": event.machine,
            "Message": event.line,
        })
    };
    value["Events"] = events.into_iter().map(event).collect();
    Ok(value)
}

fn machine(row: &RolloutMachine, rollout: &Rollout, facts: &HashMap<MachineId, Facts>) -> Value {
    let target = row.target(&rollout.target);
    let later = sequel(row, target, facts.get(&row.machine));
    json!({
        "Wave": row.wave + 1,
        "MachineId": row.machine,
        "Name": row.name,
        "Phase": row.phase.kind().word(),
        "PhaseSince": row.since.rfc3339(),
        "DeadlineAt": row.deadline.map(|at| at.rfc3339()),
        "Reason": row.phase.reason(),
        "Later": later.map(|sequel| sequel.sentence(target)),
        "FromVersion": row.from.as_ref().map(ToString::to_string),
        "ToVersion": target.to_string(),
        "PreviousVersion": row.previous.as_ref().map(ToString::to_string),
        "Attempt": row.attempt,
    })
}

async fn list(Asked { app, space, query }: Asked) -> Result<Json<Page<Value>>, ApiError> {
    let slice = LIST.slice(&query)?;
    let mut conn = app.db.read().await?;
    let found = match filter(&query, slice)? {
        Some(filter) => rollout_search(&mut conn, space, &filter).await?,
        None => RolloutPage { rollouts: Vec::new(), total: 0 },
    };
    let facts = facts_of(&mut conn, &may_have_sequel(&found.rollouts)).await?;
    let items = found.rollouts.iter().map(|rollout| resource(rollout, &facts)).collect();
    Ok(Json(LIST.page(&super::base(space), items, found.total, slice, &query)))
}

/// What the query asks for; `None` where no rollout can be what it asks for.
fn filter(query: &Query, slice: Slice) -> Result<Option<RolloutFilter>, ApiError> {
    let mut states = RolloutState::ALL.to_vec();
    let words = query.list::<String>("states")?;
    if !words.is_empty() {
        let state = |word: &String| {
            let unknown = || ApiError::bad_request(format!("The query's states cannot be read: {word} is no state."));
            RolloutState::ALL.into_iter().find(|state| state.word().eq_ignore_ascii_case(word)).ok_or_else(unknown)
        };
        states = words.iter().map(state).collect::<Result<_, _>>()?;
    }
    if let Some(active) = query.flag("active")? {
        states.retain(|state| state.is_completed() != active);
    }
    if states.is_empty() {
        return Ok(None);
    }
    Ok(Some(RolloutFilter {
        ids: query.list("ids")?,
        states: if states.len() == RolloutState::ALL.len() { Vec::new() } else { states },
        machine: query.one("machine")?,
        environment: query.one("environment")?,
        target: query.one("targetVersion")?,
        undo_of: query.one("undoOf")?,
        skip: slice.skip,
        take: slice.take,
    }))
}

async fn one(
    State(app): State<App>,
    _user: ApiUser,
    Space(space): Space,
    Id(id): Id<RolloutId>,
) -> Result<Json<Value>, ApiError> {
    Ok(Json(whole(&app, space, id).await?))
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct RolloutBody {
    /// Another word for `Description`.
    name: Option<String>,
    /// What its task is called.
    description: Option<String>,
    /// The version to bring them to; the bundled one where nothing is said.
    target_version: Option<String>,
    /// The machines of these environments. Not with `MachineIds`.
    environment_ids: Option<Vec<EnvironmentId>>,
    /// These machines.
    machine_ids: Option<Vec<MachineId>>,
    /// Of them, only those with one of these roles.
    roles: Option<Vec<String>>,
    /// Machines in flight at once, as soon as one is proven.
    max_in_flight: Option<Amount>,
    /// Failures that stop it.
    failure_budget: Option<Amount>,
    /// How it goes about its machines.
    strategy: Option<Strategy>,
    /// When it begins, as RFC 3339; now where nothing is said.
    start_at: Option<String>,
}

impl RolloutBody {
    fn read(self) -> Result<RolloutRequest, ApiError> {
        let selection = match (self.machine_ids, self.environment_ids) {
            (None, None) => Selection::All,
            (Some(ids), None) if !ids.is_empty() => Selection::Machines(ids),
            (None, Some(ids)) if !ids.is_empty() => Selection::Environments(ids),
            (Some(_), Some(_)) => {
                return Err(ApiError::bad_request("Name either EnvironmentIds or MachineIds, not both."));
            }
            // An empty list was meant as "none", never as "all".
            _ => return Err(ApiError::bad_request("EnvironmentIds or MachineIds is there and names nothing.")),
        };
        let target = self.target_version.filter(|text| !text.is_empty()).map(|text| text.parse::<Version>());
        Ok(RolloutRequest {
            selection,
            roles: self.roles.unwrap_or_default(),
            strategy: self.strategy,
            start_at: self.start_at.as_deref().map(moment).transpose()?,
            target: target.transpose().map_err(super::bad)?,
            max_in_flight: self.max_in_flight,
            failure_budget: self.failure_budget,
            description: description(self.description.or(self.name))?,
            failed_before: FailedBefore::default(),
        })
    }
}

/// A moment as clients write it: RFC 3339.
pub(super) fn moment(text: &str) -> Result<Timestamp, ApiError> {
    Timestamp::from_rfc3339(text)
        .ok_or_else(|| ApiError::bad_request(format!("\"{text}\" is no moment: write one like 2026-11-23T22:00:00Z.")))
}

async fn create(
    State(app): State<App>,
    ApiUser(user): ApiUser,
    Space(space): Space,
    Body(body): Body<RolloutBody>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let request = body.read()?;
    operates(&app, &user, space, &request.selection).await?;
    let rollout = rollout_create(&app, space, &user.username, request).await?;
    Ok((StatusCode::CREATED, Json(resource(&rollout, &HashMap::new()))))
}

async fn preview(
    State(app): State<App>,
    _user: ApiUser,
    Space(space): Space,
    Body(body): Body<RolloutBody>,
) -> Result<Json<Value>, ApiError> {
    let preview = rollout_preview(&app, space, &body.read()?).await?;
    Ok(Json(foreseen(&preview)))
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct HandBody {
    /// Why.
    reason: String,
    /// The machine to leave out.
    machine_id: Option<MachineId>,
    /// The machines to try again; all that failed where nothing is said.
    machine_ids: Vec<MachineId>,
    /// The wave to let begin, counted from 1.
    wave: Option<usize>,
    /// The platform for which the version may go on: `linux-x64`.
    runtime: Option<String>,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct HoldBody {
    /// Why. It is needed.
    reason: String,
    /// When it ends, as RFC 3339; never where nothing is said.
    until: Option<String>,
}

/// 404 where a space has no such machine.
async fn has_machine(conn: &mut Connection, space: SpaceId, id: MachineId) -> Result<(), ApiError> {
    let machine = machine_get(conn, space, id).await?;
    machine.map(|_| ()).ok_or_else(|| ApiError::not_found(format!("The machine {id}")))
}

async fn hold(
    State(app): State<App>,
    _user: ApiUser,
    Space(space): Space,
    Id(id): Id<MachineId>,
) -> Result<Json<Value>, ApiError> {
    let mut conn = app.db.read().await?;
    has_machine(&mut conn, space, id).await?;
    let hold = hold_get(&mut conn, id, app.now()).await?;
    let whole = |hold: Hold| {
        json!({
            "MachineId": id,
            "Reason": hold.reason,
            "HeldBy": hold.by,
            "HeldSince": hold.since.rfc3339(),
            "Until": hold.until.map(|until| until.rfc3339()),
        })
    };
    hold.map(whole).map(Json).ok_or_else(|| ApiError::not_found(format!("A hold of {id}")))
}

async fn hold_put(
    State(app): State<App>,
    user: ApiUser,
    Space(space): Space,
    Id(id): Id<MachineId>,
    Body(body): Body<HoldBody>,
) -> Result<Json<Value>, ApiError> {
    if body.reason.trim().is_empty() {
        return Err(ApiError::bad_request("Reason is missing: whoever finds the machine held wants to know why."));
    }
    let until = body.until.as_deref().map(moment).transpose()?;
    has_machine(&mut *app.db.read().await?, space, id).await?;
    let who = Who { name: &user.0.username, why: &body.reason };
    machine_hold(&app, space, id, who, until).await?;
    hold(State(app), user, Space(space), Id(id)).await
}

async fn hold_delete(
    State(app): State<App>,
    ApiUser(user): ApiUser,
    Space(space): Space,
    Id(id): Id<MachineId>,
    Because(reason): Because,
) -> Result<Json<Value>, ApiError> {
    has_machine(&mut *app.db.read().await?, space, id).await?;
    machine_release(&app, space, id, Who { name: &user.username, why: &reason }).await?;
    Ok(Json(json!({ "MachineId": id })))
}

/// A person says that one machine alone has the identity now.
async fn clone_delete(
    State(app): State<App>,
    ApiUser(user): ApiUser,
    Space(space): Space,
    Id(id): Id<MachineId>,
    Because(reason): Because,
) -> Result<Json<Value>, ApiError> {
    has_machine(&mut *app.db.read().await?, space, id).await?;
    inventory_forget_clone(&app, id, &user.username, &reason).await?;
    Ok(Json(json!({ "MachineId": id })))
}

/// A hand with a rollout, and the rollout afterwards.
async fn hand(
    app: App,
    user: ApiUser,
    (Space(space), Id(id)): (Space, Id<RolloutId>),
    body: HandBody,
    hand: impl FnOnce(&HandBody) -> Result<Hand, ApiError>,
) -> Result<Json<Value>, ApiError> {
    let hand = hand(&body)?;
    let who = Who { name: &user.0.username, why: &body.reason };
    rollout_hand(&app, space, id, who, &hand).await?;
    Ok(Json(whole(&app, space, id).await?))
}

/// Brings back what a rollout changed. The answer is the rollout that does it: 201 where it was made just now, 200 where
/// it was there already.
async fn undo(
    State(app): State<App>,
    ApiUser(user): ApiUser,
    Space(space): Space,
    Id(id): Id<RolloutId>,
    MayBody(body): MayBody<HandBody>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let who = Who { name: &user.username, why: &body.reason };
    let (status, undo) = match rollout_undo(&app, space, id, who).await? {
        Undo::Made(undo) => (StatusCode::CREATED, undo),
        Undo::Known(undo) => (StatusCode::OK, undo),
    };
    Ok((status, Json(whole(&app, space, undo.id).await?)))
}

/// The handler of `POST /rollouts/{id}/<word>`. A body is not needed where nothing has to be said.
fn act(make: impl Fn(&HandBody) -> Result<Hand, ApiError> + Clone + Send + Sync + 'static) -> MethodRouter<App> {
    post(
        async move |State(app): State<App>, user: ApiUser, space: Space, id: Id<RolloutId>, body: MayBody<HandBody>| {
            hand(app, user, (space, id), body.0, make).await
        },
    )
}

fn wanted<T>(value: Option<T>, name: &str) -> Result<T, ApiError> {
    value.ok_or_else(|| ApiError::bad_request(format!("{name} is missing.")))
}

impl From<RolloutError> for ApiError {
    fn from(error: RolloutError) -> Self {
        let sentence = sentence(&error.to_string());
        match error {
            RolloutError::NoRollout { id } => Self::not_found(format!("The rollout {id}")),
            RolloutError::Over { .. }
            | RolloutError::Paused { .. }
            | RolloutError::Restored { .. }
            | RolloutError::NotWaiting { .. }
            | RolloutError::NothingToUndo { .. } => Self::conflict(sentence),
            RolloutError::Db(error) => error.into(),
            RolloutError::NothingBundled
            | RolloutError::NoPackage { .. }
            | RolloutError::NoMachine { .. }
            | RolloutError::NoEnvironment { .. }
            | RolloutError::NothingToDo { .. }
            | RolloutError::NoWave { .. }
            | RolloutError::Strategy(_) => Self::bad_request(sentence),
        }
    }
}
