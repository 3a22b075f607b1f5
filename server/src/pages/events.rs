//! `GET /events`: the live stream of an open page, as server-sent events.
//!
//! News says where to look, never what is there: each time, the truth is loaded from the database, compared with what
//! the page shows, and only what differs is sent, rendered by the page's own templates. Nothing is kept for a page that
//! went away; one that comes back says what it saw last, and gets the difference or the whole.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Extension, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use futures_util::{Stream, StreamExt as _};
use http::{HeaderMap, StatusCode};
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, broadcast};
use tokio::time::Instant;
use tower_sessions::Session;

use super::environments::filter::Filter;
use super::environments::view::{Truth, environments_view};
use super::form::{Address, Fields};
use super::live::{LiveView, Part, cursor, difference};
use super::settings::identity::view as identity;
use super::tasks::Window;
use super::tasks::filter::Filter as TaskList;
use super::{dashboard, environments, machines, packages, rollouts, tasks};
use crate::app::App;
use crate::auth::may::reading;
use crate::auth::{PageUser, session_ended};
use crate::db::DbError;
use crate::error::ApiError;
use crate::ids::{MachineId, RolloutId, SpaceId, TaskId};
use crate::live::Change;
use crate::model::Role;

/// Streams open at once. One more is refused with 503, and its page tries again.
const STREAMS_MAX: usize = 256;

/// Shortest time between two messages to one page: what changes more often is sent together.
const PAUSE: Duration = Duration::from_millis(250);

/// A page whose content takes long to make gets it more rarely: it rests this many times as long.
const REST_FACTOR: u32 = 5;

/// How often a stream that has nothing to say shows that it lives.
const BEAT: Duration = Duration::from_secs(15);

/// How long a stream lives at most. Then it ends and the page opens a new one. It ends earlier with its session.
const STREAM_LIFE: Duration = Duration::from_secs(60 * 60);

/// How long to wait after the database failed before looking again.
const RETRY: Duration = Duration::from_secs(2);

/// `/events`.
pub fn router() -> Router<App> {
    Router::new().route("/events", get(events)).layer(Extension(Streams::default()))
}

/// What was loaded, and when that began.
type Kept = (Instant, Arc<Truth>);

/// What all streams share.
#[derive(Clone)]
struct Streams {
    places: Arc<Semaphore>,
    /// What the environments page of each space is made from, and when its loading began. Many open pages load it once.
    truth: Arc<Mutex<HashMap<SpaceId, Kept>>>,
}

impl Default for Streams {
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(STREAMS_MAX)), truth: Arc::default() }
    }
}

impl Streams {
    /// What was true in a space at `after` or later.
    async fn truth(&self, app: &App, space: SpaceId, after: Instant) -> Result<Arc<Truth>, DbError> {
        let mut kept = self.truth.lock().await;
        if let Some((loaded, truth)) = kept.get(&space)
            && *loaded >= after
        {
            return Ok(truth.clone());
        }
        let began = Instant::now();
        let truth = Arc::new(environments::load(app, space).await?);
        kept.insert(space, (began, truth.clone()));
        Ok(truth)
    }
}

/// What a page shows.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Scope {
    Dashboard,
    Environments(Filter),
    Machine(MachineId),
    Rollouts(u32),
    Rollout(RolloutId, bool),
    Packages,
    Tasks(TaskList),
    Task(TaskId, Window),
    Identity,
}

impl Scope {
    /// Reads it from the address of the stream.
    fn read(fields: &Fields) -> Option<Self> {
        let number = || fields.get("number").parse().unwrap_or(0);
        if let Ok(id) = fields.get("rollout").parse() {
            return Some(Self::Rollout(id, fields.get("all") == "true"));
        }
        if let Ok(id) = fields.get("task").parse() {
            return Some(Self::Task(id, Window::read(fields)));
        }
        if let Ok(id) = fields.get("machine").parse() {
            return Some(Self::Machine(id));
        }
        match fields.get("page") {
            "dashboard" => Some(Self::Dashboard),
            "environments" => Some(Self::Environments(Filter::read(fields))),
            "rollouts" => Some(Self::Rollouts(number())),
            "packages" => Some(Self::Packages),
            "tasks" => Some(Self::Tasks(TaskList::read(fields))),
            "identity" => Some(Self::Identity),
            _ => None,
        }
    }

    /// True where the page may look different after the change.
    fn concerns(&self, change: Change) -> bool {
        match (self, change) {
            (Self::Dashboard, Change::Environment(_) | Change::Machine(_) | Change::Rollout(_) | Change::Task(_)) => {
                true
            }
            (Self::Environments(_), Change::Environment(_) | Change::Machine(_) | Change::Rollout(_)) => true,
            (Self::Machine(own), Change::Machine(id)) => *own == id,
            (Self::Machine(_), Change::Environment(_) | Change::Rollout(_)) => true,
            (Self::Rollouts(_), Change::Rollout(_)) => true,
            (Self::Rollout(own, _), Change::Rollout(id)) => *own == id,
            (Self::Packages, Change::Packages) => true,
            (Self::Tasks(_), Change::Task(_)) => true,
            (Self::Task(own, _), Change::Task(id)) => *own == id,
            // How machines were reached stands on it, and those that are behind may be deleted.
            (Self::Identity, Change::Portal | Change::Machine(_)) => true,
            (
                Self::Dashboard
                | Self::Environments(_)
                | Self::Machine(_)
                | Self::Rollouts(_)
                | Self::Rollout(..)
                | Self::Packages
                | Self::Tasks(_)
                | Self::Task(..)
                | Self::Identity,
                _,
            ) => false,
        }
    }

    async fn load(
        &self,
        app: &App,
        space: SpaceId,
        role: &Role,
        streams: &Streams,
        after: Instant,
    ) -> Result<Box<dyn LiveView>, ApiError> {
        Ok(match self {
            Self::Dashboard => Box::new(dashboard::load(app, space).await?),
            Self::Environments(filter) => {
                Box::new(environments_view(&*streams.truth(app, space, after).await?, filter))
            }
            Self::Machine(id) => Box::new(machines::load(app, space, *id).await?),
            Self::Rollouts(page) => Box::new(rollouts::load_list(app, space, *page).await?),
            Self::Rollout(id, all) => Box::new(rollouts::load_view(app, space, *id, *all).await?),
            Self::Packages => Box::new(packages::load(app, space).await?),
            Self::Tasks(filter) => Box::new(tasks::load_list(app, space, filter).await?),
            Self::Identity => Box::new(identity::load(app, space, role).await?),
            Self::Task(id, window) => Box::new(tasks::load(app, space, *id, Some(*window)).await?),
        })
    }
}

async fn events(
    user: Result<PageUser, Response>,
    State(app): State<App>,
    Extension(streams): Extension<Streams>,
    session: Session,
    Address(fields): Address,
    headers: HeaderMap,
) -> Response {
    // A redirect to the log-in page would be followed by the script, and taken for a stream.
    let Ok(user) = user else {
        return (StatusCode::UNAUTHORIZED, "Log in again to see live changes.").into_response();
    };
    let Some(scope) = Scope::read(&fields) else {
        return (StatusCode::BAD_REQUEST, "There is no live page of this name.").into_response();
    };
    let Ok(place) = streams.places.clone().try_acquire_owned() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "Too many pages are open; this one tries again.").into_response();
    };
    let seen = headers.get("last-event-id").and_then(|id| id.to_str().ok()).unwrap_or(fields.get("seen")).to_owned();
    let changes = app.live.listen();
    let end = end_of_stream(app.clone(), session);
    let follower = Follower {
        app,
        role: user.0.role,
        streams,
        // The space that the page was made in, whatever its reader looks at by now.
        space: fields.get("space").parse().unwrap_or(SpaceId::DEFAULT),
        scope,
        changes,
        seen: Some(seen),
        shown: Vec::new(),
        follows: Vec::new(),
        rest: Duration::ZERO,
        place,
    };
    let beat = KeepAlive::new().interval(BEAT).event(Event::default().comment("still here").event("beat").data(""));
    Sse::new(follower.into_stream().take_until(end)).keep_alive(beat).into_response()
}

/// Waits until a stream has to end, whatever its page shows.
async fn end_of_stream(app: App, session: Session) {
    tokio::select! {
        () = app.shutdown.cancelled() => {}
        () = session_ended(&app, &session) => {}
        () = tokio::time::sleep(STREAM_LIFE) => {}
    }
}

/// One open page.
struct Follower {
    app: App,
    /// What its reader may do, who is shown their own buttons.
    role: Role,
    streams: Streams,
    space: SpaceId,
    scope: Scope,
    changes: broadcast::Receiver<Change>,
    /// The cursor of what the page saw before the stream began; taken when its first content was made.
    seen: Option<String>,
    /// What the page shows.
    shown: Vec<Part>,
    /// The machines whose news concern the page, besides what it is about.
    follows: Vec<MachineId>,
    /// How long to rest before the next message.
    rest: Duration,
    #[expect(dead_code, reason = "holds the stream's place until it ends")]
    place: OwnedSemaphorePermit,
}

impl Follower {
    fn into_stream(self) -> impl Stream<Item = Result<Event, Infallible>> + Send {
        futures_util::stream::unfold(self, |mut follower| async move {
            let event = follower.next().await?;
            Some((Ok(event), follower))
        })
    }

    /// The next message, once there is something to say; `None` ends the stream.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if self.seen.is_none() {
                self.wait().await?;
            }
            let began = Instant::now();
            let role = self.role.clone();
            match reading(role, self.look(began)).await {
                Ok(html) => {
                    self.rest = PAUSE.max(began.elapsed() * REST_FACTOR);
                    if !html.is_empty() {
                        return Some(Event::default().id(cursor(&self.shown)).data(html));
                    }
                }
                // What the page shows was deleted: there is nothing more to say of it.
                Err(error) if error.status == StatusCode::NOT_FOUND => return None,
                Err(_) => {
                    tokio::time::sleep(RETRY).await;
                    self.changes = self.changes.resubscribe();
                    self.seen.get_or_insert_default();
                }
            }
        }
    }

    /// Waits until something happened that concerns the page, and collects what else happens while it rests.
    async fn wait(&mut self) -> Option<()> {
        loop {
            match self.changes.recv().await {
                Ok(change) if self.scope.concerns(change) => break,
                Ok(Change::Machine(machine)) if self.follows.contains(&machine) => break,
                Ok(_) => {}
                // It fell behind: anything may have changed.
                Err(RecvError::Lagged(_)) => break,
                Err(RecvError::Closed) => return None,
            }
        }
        tokio::time::sleep(self.rest).await;
        // What is told from here on is seen by the next look.
        while !matches!(self.changes.try_recv(), Err(TryRecvError::Empty | TryRecvError::Closed)) {}
        Some(())
    }

    /// What brings the page up to date; empty where it is.
    async fn look(&mut self, after: Instant) -> Result<String, ApiError> {
        let view = self.scope.load(&self.app, self.space, &self.role, &self.streams, after).await?;
        let (now, parts) = (self.app.now(), view.parts());
        let html = match &self.seen {
            Some(seen) if *seen == cursor(&parts) => Ok(String::new()),
            Some(_) => difference(None, view.as_ref(), now),
            None => difference(Some(&self.shown), view.as_ref(), now),
        };
        let html = html.map_err(|error| ApiError::internal("render a live page", &error))?;
        self.shown = parts;
        self.follows = view.follows().to_vec();
        self.seen = None;
        Ok(html)
    }
}
