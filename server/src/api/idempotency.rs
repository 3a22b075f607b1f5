//! `Idempotency-Key`: a POST that bears one is done once, however often it is sent. Who sends the same key and the same
//! request again gets the answer of the first time; with another request it is refused. What failed is forgotten, because it
//! changed nothing.

use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use sha2::{Digest as _, Sha256};

use super::bad;
use crate::app::App;
use crate::auth::Principal;
use crate::db::DbError;
use crate::db::idempotency::{KnownKey, idempotency_begin, idempotency_end, idempotency_forget, idempotency_get};
use crate::error::{self, ApiError};

const KEY: &str = "idempotency-key";

/// Says of an answer that it is one of before.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// Longest key, in characters. A longer one is refused.
const KEY_MAX: usize = 255;

/// How long a key is remembered. Later the same request is done anew.
const REMEMBERED: Duration = Duration::from_secs(24 * 60 * 60);

/// Longest request that may bear a key, in bytes: as long as any that is read into memory. A longer one is refused.
const REQUEST_MAX: usize = 1 << 20;

/// Longest answer that is kept, in bytes. Of a longer one it is only known that it was given.
const ANSWER_MAX: usize = 1 << 20;

/// Ends of addresses whose answers hold a secret that is shown once, so that they are never kept.
const SECRET: [&str; 2] = ["/apikeys", "/users"];

/// Sees to it that a POST with a key is done once.
pub async fn idempotent(State(app): State<App>, request: Request, next: Next) -> Response {
    let is_meant = *request.method() == Method::POST
        && request.headers().contains_key(KEY)
        && error::is_api(request.uri().path())
        && !error::is_feed(request.uri().path());
    let who = request.extensions().get::<Principal>().cloned();
    match who.filter(|_| is_meant) {
        Some(who) => once(&app, &who, request, next).await.unwrap_or_else(ApiError::into_response),
        None => next.run(request).await,
    }
}

async fn once(app: &App, who: &Principal, request: Request, next: Next) -> Result<Response, ApiError> {
    let key = key_of(request.headers())?;
    let (parts, body) = request.into_parts();
    let kind = parts.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if kind.starts_with("multipart/") {
        let how = "An Idempotency-Key is not taken with an upload. Say overwriteMode=IgnoreIfExists: then it may be repeated.";
        return Err(ApiError::bad_request(how));
    }
    let body = to_bytes(body, REQUEST_MAX).await;
    let body = body.map_err(|_| {
        let message = format!("The request's body could not be read, or has more than {REQUEST_MAX} bytes.");
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, message)
    })?;
    let key_hash = hash([who.user.to_string().as_bytes(), key.as_bytes()]);
    let address = parts.uri.path_and_query().map_or("", |address| address.as_str());
    let fingerprint = hash([address.as_bytes(), &body]);
    if let Some(known) = begin(app, &key_hash, &fingerprint).await? {
        return answer_again(known, &fingerprint);
    }
    let is_secret = SECRET.iter().any(|end| parts.uri.path().trim_end_matches('/').ends_with(end));
    let response = next.run(Request::from_parts(parts, Body::from(body))).await;
    keep(app, &key_hash, response, is_secret).await
}

fn key_of(headers: &HeaderMap) -> Result<String, ApiError> {
    let mut keys = headers.get_all(KEY).iter();
    let key = keys.next().and_then(|key| key.to_str().ok()).map(str::trim).unwrap_or_default();
    if key.is_empty() || key.len() > KEY_MAX || keys.next().is_some() {
        return Err(bad(format!("an Idempotency-Key is one text of 1 to {KEY_MAX} ASCII characters")));
    }
    Ok(key.to_owned())
}

fn hash<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        // The length before each part: no two lists of parts are one text.
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }
    hex(&hash.finalize())
}

/// As hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What is known of the key already; where nothing is, it is written down.
async fn begin(app: &App, key_hash: &str, fingerprint: &str) -> Result<Option<KnownKey>, DbError> {
    let (now, since) = (app.now(), app.now().before(REMEMBERED));
    let mut tx = app.db.write().await?;
    let known = idempotency_get(&mut tx, key_hash, since).await?;
    if known.is_none() {
        idempotency_begin(&mut tx, key_hash, fingerprint, now, since).await?;
        tx.commit().await?;
    }
    Ok(known)
}

fn answer_again(known: KnownKey, fingerprint: &str) -> Result<Response, ApiError> {
    if known.fingerprint != fingerprint {
        let message =
            "This Idempotency-Key came with another request before. Take a new key for each thing that you wish.";
        return Err(ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, message));
    }
    let status = known.status.and_then(|status| StatusCode::from_u16(u16::try_from(status).ok()?).ok());
    let Some(status) = status else {
        let message = "The first request with this Idempotency-Key is being answered, or the portal ended meanwhile. Look \
                       whether it was done, and wait or take another key.";
        return Err(ApiError::conflict(message));
    };
    let Some(body) = known.body else {
        let message = "This was done by the first request with this Idempotency-Key. Its answer was not kept: it held a \
                       secret that is shown once, or was too long.";
        return Err(ApiError::conflict(message));
    };
    let headers = [(header::CONTENT_TYPE, "application/json")];
    let mut response = (status, headers, body).into_response();
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    Ok(response)
}

/// Writes the answer down, and hands it on.
async fn keep(app: &App, key_hash: &str, response: Response, is_secret: bool) -> Result<Response, ApiError> {
    let (parts, body) = response.into_parts();
    let body: Bytes =
        to_bytes(body, usize::MAX).await.map_err(|error| ApiError::internal("read its answer", &error))?;
    let mut tx = app.db.write().await?;
    if parts.status.is_success() {
        let text = std::str::from_utf8(&body).ok().filter(|text| !is_secret && text.len() <= ANSWER_MAX);
        idempotency_end(&mut tx, key_hash, parts.status.as_u16(), text).await?;
    } else {
        idempotency_forget(&mut tx, key_hash).await?;
    }
    tx.commit().await.map_err(DbError::from)?;
    Ok(Response::from_parts(parts, Body::from(body)))
}
