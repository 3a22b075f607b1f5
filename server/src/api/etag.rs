//! ETags of resources. What a person or script wishes of a thing has a tag, and who sends it back as `If-Match` changes the
//! thing only if nobody else did meanwhile: else the answer is 412 and nothing changes. Without `If-Match` nothing is asked.
//!
//! A tag is of the wish alone: what machines say of themselves changes all the time, and takes nobody's change away.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody as _, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::sync::Mutex;
use tower::ServiceExt as _;

use super::idempotency::hex;
use crate::auth::Principal;
use crate::error::{self, ApiError};

/// Longest answer that gets a tag, in bytes. Longer ones are lists, or as long as such.
const TAGGED_MAX: usize = 256 << 10;

/// Fields that say how a thing is, and not what it is wished to be.
const FACTS: [&str; 10] = [
    "Status",
    "HealthStatus",
    "StatusSummary",
    "Cloned",
    "UpgradeState",
    "IsInProcess",
    "OperatingSystem",
    "Architecture",
    "HasLatestCalamari",
    "SetupLink",
];

/// The facts among what is told of a machine's version: all but this.
const VERSION: (&str, &str) = ("TentacleVersionDetails", "UpgradeLocked");

/// What the layer needs: the routes, to look how a thing is, and a turn for each of those that ask.
#[derive(Clone)]
pub struct Conditions {
    reader: Router,
    /// Held while a condition is looked at and its change is made, so that of two with one tag the second fails.
    turn: Arc<Mutex<()>>,
}

impl Conditions {
    /// By the routes of the portal, without any guard: who asks was let in before.
    pub fn new(reader: Router) -> Self {
        Self { reader, turn: Arc::default() }
    }
}

/// Gives resources their tags, and refuses changes of what is not as the client thinks it is.
pub async fn conditional(State(conditions): State<Conditions>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if !error::is_api(path) || error::is_feed(path) {
        return next.run(request).await;
    }
    let is_change = [Method::PUT, Method::PATCH, Method::DELETE].contains(request.method());
    if !is_change || !request.headers().contains_key(header::IF_MATCH) {
        return tagged(next.run(request).await).await;
    }
    let _turn = conditions.turn.lock().await;
    let who = request.extensions().get::<Principal>().cloned();
    let current = current_tag(&conditions.reader, request.uri(), who).await;
    match matches(request.headers(), current.as_deref()) {
        Ok(()) => tagged(next.run(request).await).await,
        Err(error) => error.into_response(),
    }
}

/// The tag of what stands at an address; `None` where there is nothing, or nothing that has one.
async fn current_tag(reader: &Router, uri: &Uri, who: Option<Principal>) -> Option<String> {
    let mut look = Request::new(Body::empty());
    *look.uri_mut() = uri.clone();
    look.extensions_mut().insert(who?);
    let Ok(response) = reader.clone().oneshot(look).await;
    let response = tagged(response).await;
    let tag = response.headers().get(header::ETAG)?;
    tag.to_str().ok().map(str::to_owned)
}

fn matches(headers: &HeaderMap, current: Option<&str>) -> Result<(), ApiError> {
    let wanted = headers.get_all(header::IF_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut tags = wanted.flat_map(|value| value.split(',')).map(str::trim);
    if current.is_some_and(|current| tags.any(|tag| tag == "*" || tag == current)) {
        return Ok(());
    }
    let message =
        "It is not as you think: somebody changed it meanwhile, or it is gone. Read it again, and then change it.";
    Err(ApiError::new(StatusCode::PRECONDITION_FAILED, message))
}

/// The response with a tag, if it is a resource.
async fn tagged(response: Response) -> Response {
    let is_json = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/json");
    let is_short = response.body().size_hint().upper().is_some_and(|size| size <= TAGGED_MAX as u64);
    if !response.status().is_success() || !is_json || !is_short {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let bytes = match to_bytes(body, TAGGED_MAX).await {
        Ok(bytes) => bytes,
        Err(error) => return ApiError::internal("read its answer", &error).into_response(),
    };
    if let Some(tag) = tag_of(&bytes) {
        parts.headers.insert(header::ETAG, tag);
    }
    Response::from_parts(parts, Body::from(bytes))
}

fn tag_of(bytes: &Bytes) -> Option<HeaderValue> {
    let mut value: Value = serde_json::from_slice(bytes).ok()?;
    let object = value.as_object()?;
    if !object.contains_key("Id") || !object.contains_key("Links") {
        return None;
    }
    without_facts(&mut value);
    let tag = hex(&Sha256::digest(value.to_string().as_bytes())[..16]);
    HeaderValue::from_str(&format!("\"{tag}\"")).ok()
}

fn without_facts(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| !FACTS.contains(&name.as_str()));
            if let Some(Value::Object(details)) = fields.get_mut(VERSION.0) {
                details.retain(|name, _| name == VERSION.1);
            }
            fields.values_mut().for_each(without_facts);
        }
        Value::Array(items) => items.iter_mut().for_each(without_facts),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
