//! What a monitor asks: whether the portal lives, whether it can serve, and numbers in Prometheus' form. Numbers of what the
//! database knows are counted when they are asked for; those of what passes are counted as it passes.

use std::time::Duration;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::{StatusCode, header};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::prometheus_text::{CONTENT_TYPE, encode};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use serde_json::json;
use tokio::time::{Instant, timeout};

use crate::app::App;
use crate::clock::Timestamp;
use crate::db::overview::{overview_groups, overview_rollout_states, overview_task_states};
use crate::db::spaces::space_ids;
use crate::db::{Connection, DbError};
use crate::error::ApiError;
use crate::pages::view::Status;
use crate::rollout::state::RolloutMachine;

/// How long the database may take to show that it can be read and written. Longer means that it cannot.
const DATABASE_MAX: Duration = Duration::from_secs(3);

/// What stands before every name.
const PREFIX: &str = "octopus";

/// `/health/live`, `/health/ready` and `/metrics`.
pub fn router() -> Router<App> {
    Router::new().route("/health/live", get(live)).route("/health/ready", get(ready)).route("/metrics", get(metrics))
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Asked {
    method: String,
    route: String,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Of {
    route: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Phase {
    phase: &'static str,
    next: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MachinesOf {
    health: &'static str,
    version: String,
    space: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InState {
    state: String,
    space: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Build {
    version: String,
}

/// What is counted as it passes.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<Asked, Counter>,
    answers: Family<Of, Histogram>,
    phases: Family<Phase, Histogram>,
}

impl Default for Metrics {
    fn default() -> Self {
        // From 1 ms to 16 s, and from half a second to 17 minutes.
        let answers: Family<Of, Histogram> =
            Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.001, 4.0, 8)));
        let phases: Family<Phase, Histogram> =
            Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.5, 2.0, 12)));
        let (mut registry, requests) = (Registry::with_prefix(PREFIX), Family::<Asked, Counter>::default());
        registry.register("http_requests", "Requests that were answered", requests.clone());
        registry.register("http_request_duration_seconds", "How long answers took to begin", answers.clone());
        registry.register("rollout_phase_duration_seconds", "How long machines were in a phase", phases.clone());
        Self { registry, requests, answers, phases }
    }
}

impl Metrics {
    /// A machine of a rollout left its phase.
    pub fn phase_left(&self, before: &RolloutMachine, after: &RolloutMachine, now: Timestamp) {
        let of = Phase { phase: before.phase.kind().word(), next: after.phase.kind().word() };
        self.phases.get_or_create(&of).observe(now.since(before.since).as_secs_f64());
    }
}

/// Counts a request, by the route that it took: a path of its own for each machine would be numbers without end.
pub async fn counted(State(app): State<App>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let (method, begun) = (request.method().to_string(), Instant::now());
    let response = next.run(request).await;
    app.metrics.answers.get_or_create(&Of { route: route.clone() }).observe(begun.elapsed().as_secs_f64());
    app.metrics.requests.get_or_create(&Asked { method, route, status: response.status().as_u16() }).inc();
    response
}

/// The process answers. Whoever restarts a portal that fails this asks nothing else.
async fn live() -> Response {
    Json(json!({ "Status": "Live" })).into_response()
}

/// It can serve: the database can be read and written, and it is not ending.
async fn ready(State(app): State<App>) -> Response {
    let mut problems = Vec::new();
    if app.shutdown.is_cancelled() {
        problems.push("The portal is ending.".to_owned());
    }
    match timeout(DATABASE_MAX, database(&app)).await {
        Ok(Ok(())) => {}
        // What is wrong in detail stands in the log: this is told to anybody.
        Ok(Err(error)) => {
            tracing::warn!(error = crate::error::chain(&error), "the portal is not ready");
            problems.push("The database cannot be read and written.".to_owned());
        }
        Err(_) => problems.push(format!("The database did not answer within {} s.", DATABASE_MAX.as_secs())),
    }
    let (status, word) = match problems.is_empty() {
        true => (StatusCode::OK, "Ready"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "NotReady"),
    };
    (status, Json(json!({ "Status": word, "Problems": problems }))).into_response()
}

async fn database(app: &App) -> Result<(), DbError> {
    app.db.read().await?;
    // Takes the place of the one who writes, and leaves it as it was.
    Ok(app.db.write().await?.rollback().await?)
}

async fn metrics(State(app): State<App>) -> Result<Response, ApiError> {
    let mut text = String::new();
    let counted = count(&mut *app.db.read().await?, &app.public_info.version.to_string()).await?;
    for registry in [&counted, &app.metrics.registry] {
        encode(&mut text, registry).map_err(|error| ApiError::internal("write its numbers", &error))?;
    }
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response())
}

/// What the database knows.
async fn count(conn: &mut Connection, version: &str) -> Result<Registry, DbError> {
    let mut registry = Registry::with_prefix(PREFIX);
    let build: Family<Build, Gauge> = Family::default();
    build.get_or_create(&Build { version: version.to_owned() }).set(1);
    registry.register("build_info", "The portal's version", build);
    let machines: Family<MachinesOf, Gauge> = Family::default();
    for space in space_ids(conn).await? {
        for group in overview_groups(conn, space).await? {
            let health = if group.is_disabled { "disabled" } else { Status::from(group.health).word };
            let of = MachinesOf { health, version: group.version.unwrap_or_default(), space: space.to_string() };
            // Those for different runtimes are counted together.
            machines.get_or_create(&of).inc_by(i64::try_from(group.number).unwrap_or(i64::MAX));
        }
    }
    registry.register("machines", "Machines by health and by the version that they run", machines);
    for (name, help, states) in [
        ("rollouts", "Rollouts by state", overview_rollout_states(conn).await?),
        ("tasks", "Tasks that are not over, by state", overview_task_states(conn).await?),
    ] {
        let family: Family<InState, Gauge> = Family::default();
        for (space, state, number) in states {
            family.get_or_create(&InState { state, space: space.to_string() }).set(number);
        }
        registry.register(name, help, family);
    }
    Ok(registry)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;

    use super::*;
    use crate::auth::api_key_create;
    use crate::db::environments::environment_insert;
    use crate::db::machines::machine_insert;
    use crate::ids::{SpaceId, UserId};
    use crate::model::{KeyWish, NewEnvironment, NewMachine, Scope};
    use crate::routes;
    use crate::testing::TestApp;

    async fn get(app: &TestApp, path: &str, key: Option<&str>) -> (StatusCode, String) {
        let mut request = Request::builder().uri(path);
        if let Some(key) = key {
            request = request.header(header::AUTHORIZATION, format!("Bearer {key}"));
        }
        let request = request.body(Body::empty()).unwrap();
        let answer = routes::router((**app).clone()).oneshot(request).await.unwrap();
        let status = answer.status();
        (status, String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap())
    }

    async fn key(app: &TestApp) -> String {
        let mut tx = app.db.write().await.unwrap();
        let wish = KeyWish { purpose: "prometheus", scope: Scope::Full, expires_at: None };
        let (_, key) = api_key_create(&mut tx, UserId(1), &wish, app.now()).await.unwrap();
        tx.commit().await.unwrap();
        key
    }

    /// The number of a line, by its name and labels as they are written.
    fn number(text: &str, what: &str) -> Option<f64> {
        text.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(' ')?.parse().ok())
    }

    #[tokio::test]
    async fn anybody_may_ask_whether_it_lives_and_is_ready_and_it_is_not_when_it_ends_or_cannot_write() {
        let app = App::for_tests().await;
        assert_eq!(get(&app, "/health/live", None).await.0, StatusCode::OK);
        let (status, text) = get(&app, "/health/ready", None).await;
        assert_eq!((status, text.contains("\"Ready\"")), (StatusCode::OK, true), "{text}");
        app.shutdown.cancel();
        let (status, text) = get(&app, "/health/ready", None).await;
        assert_eq!((status, text.contains("ending")), (StatusCode::SERVICE_UNAVAILABLE, true), "{text}");
        app.db.close().await;
        let (status, text) = get(&app, "/health/ready", None).await;
        assert_eq!((status, text.contains("cannot be read")), (StatusCode::SERVICE_UNAVAILABLE, true), "{text}");
        assert_eq!(get(&app, "/health/live", None).await.0, StatusCode::OK);
    }

    #[tokio::test]
    async fn numbers_are_told_in_the_form_of_prometheus_to_whoever_has_a_key() {
        let app = App::for_tests().await;
        let (status, text) = get(&app, "/metrics", None).await;
        assert_eq!((status, text.contains("ErrorMessage")), (StatusCode::UNAUTHORIZED, true), "{text}");
        let mut tx = app.db.write().await.unwrap();
        let (name, description) = ("Production".parse().unwrap(), String::new());
        let new = NewEnvironment { name, description, sort_order: None, is_disabled: false };
        let environment = environment_insert(&mut tx, SpaceId::DEFAULT, &new).await.unwrap().id;
        for at in 1..=3 {
            let new = NewMachine {
                name: format!("m{at}"),
                address: format!("server{at}:10933").parse().unwrap(),
                thumbprint: contract::Thumbprint([at; 32]),
                is_disabled: at == 3,
                environments: vec![environment],
                roles: Vec::new(),
            };
            machine_insert(&mut tx, SpaceId::DEFAULT, &new, app.now()).await.unwrap();
        }
        tx.commit().await.unwrap();
        let key = key(&app).await;
        get(&app, "/api/machines/Machines-1", Some(&key)).await;
        let (status, text) = get(&app, "/metrics", Some(&key)).await;
        assert_eq!(status, StatusCode::OK, "{text}");
        assert_eq!(
            number(&text, "octopus_machines{health=\"unknown\",version=\"\",space=\"Spaces-1\"}"),
            Some(2.0),
            "{text}"
        );
        assert_eq!(
            number(&text, "octopus_machines{health=\"disabled\",version=\"\",space=\"Spaces-1\"}"),
            Some(1.0),
            "{text}"
        );
        let asked = "octopus_http_requests_total{method=\"GET\",route=\"/api/machines/{id}\",status=\"200\"}";
        assert_eq!(number(&text, asked), Some(1.0), "{text}");
        let took = "octopus_http_request_duration_seconds_count{route=\"/api/machines/{id}\"}";
        assert_eq!(number(&text, took), Some(1.0), "{text}");
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(name.starts_with(PREFIX) && value.parse::<f64>().is_ok(), "not a line of the form: {line}");
        }
    }
}
