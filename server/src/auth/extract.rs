//! The extractors by which handlers learn who asks, and from where.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::extract::{ConnectInfo, FromRequestParts, OriginalUri};
use axum::response::{IntoResponse as _, Redirect, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::request::Parts;
use http::{HeaderMap, Method, header};
use tower_sessions::Session;

use super::{Bearer, LoginError, Principal, Via, api_key, session};
use crate::app::App;
use crate::error::ApiError;
use crate::model::Scope;
use crate::pages;

/// The header that carries an API key.
const API_KEY: &str = "x-octopus-apikey";

/// The header that carries it where NuGet's own clients push packages.
const NUGET_API_KEY: &str = "x-nuget-apikey";

/// The header in which a proxy says for whom it asks.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// Somebody who logged in, for pages. Everybody else is led to the log-in page.
#[derive(Clone, Debug)]
pub struct PageUser(pub Principal);

/// Somebody with an API key or a session, for the REST API. Everybody else gets 401; a key that may only register
/// machines gets 403 where it has no business.
#[derive(Clone, Debug)]
pub struct ApiUser(pub Principal);

/// Where the request came from, for counting tries to log in.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub IpAddr);

impl FromRequestParts<App> for PageUser {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Response> {
        match principal_of(parts, app, false).await {
            Ok(Some(principal)) => Ok(Self(principal)),
            Ok(None) => Err(to_login(parts)),
            Err(error) => Err(pages::error_page(error.status, &error.message)),
        }
    }
}

impl FromRequestParts<App> for ApiUser {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let principal = principal_of(parts, app, true).await?.ok_or_else(ApiError::unauthorized)?;
        if let Via::ApiKey { scope: Scope::Register, .. } = principal.via
            && !register_may(&parts.method, original_path(parts))
        {
            return Err(ApiError::forbidden(
                "This API key may only register machines. Use a key with the scope \"full\" for anything else.",
            ));
        }
        Ok(Self(principal))
    }
}

impl FromRequestParts<App> for Bearer {
    type Rejection = ApiError;

    /// The guard found them out. Where it did not, nobody is let in.
    async fn from_request_parts(parts: &mut Parts, _app: &App) -> Result<Self, ApiError> {
        parts.extensions.get::<Self>().cloned().ok_or_else(ApiError::unauthorized)
    }
}

impl FromRequestParts<App> for Peer {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Infallible> {
        // The proxy appends the address it sees; what stands before it is anybody's word.
        let forwarded = parts.headers.get_all(FORWARDED_FOR).iter().next_back();
        let forwarded = forwarded.and_then(|value| value.to_str().ok()?.rsplit(',').next()?.trim().parse().ok());
        let connected = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|connected| connected.0.ip());
        let peer = if app.access.behind_proxy { forwarded.or(connected) } else { connected };
        // Requests that came through no connection are those of tests.
        Ok(Self(peer.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))))
    }
}

/// Who asks: by an API key where those are taken, or else by a session. The guard found it out already for most.
pub(super) async fn principal_of(
    parts: &mut Parts,
    app: &App,
    takes_keys: bool,
) -> Result<Option<Principal>, ApiError> {
    if let Some(known) = parts.extensions.get::<Principal>() {
        return Ok(Some(known.clone()));
    }
    match key_of(&parts.headers).filter(|_| takes_keys) {
        Some(key) => api_key::principal(&mut *app.db.read().await?, &key, app.now()).await,
        None => session_principal(parts, app).await,
    }
}

async fn session_principal(parts: &mut Parts, app: &App) -> Result<Option<Principal>, ApiError> {
    let session = Session::from_request_parts(parts, app)
        .await
        .map_err(|(status, why)| ApiError::new(status, format!("The portal has no sessions here: {why}.")))?;
    session::principal(&app.db, &session).await.map_err(|error| match error {
        LoginError::Db(error) => error.into(),
        error => ApiError::internal("load the session", &error),
    })
}

/// The API key of a request: a header that is there but holds no text is a wrong key, not a missing one.
fn key_of(headers: &HeaderMap) -> Option<String> {
    for name in [API_KEY, NUGET_API_KEY] {
        if let Some(value) = headers.get(name) {
            return Some(value.to_str().unwrap_or_default().trim().to_owned());
        }
    }
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(token.trim().to_owned());
    }
    // What feeds are configured with: any user name, and the key for a password; or the key for a user name.
    let pair = scheme.eq_ignore_ascii_case("basic").then(|| STANDARD.decode(token.trim()).ok()).flatten()?;
    let pair = String::from_utf8(pair).ok()?;
    let (user, password) = pair.split_once(':')?;
    Some(if password.is_empty() { user } else { password }.trim().to_owned())
}

/// The path before routers took parts of it away.
fn original_path(parts: &Parts) -> &str {
    parts.extensions.get::<OriginalUri>().map_or(parts.uri.path(), |uri| uri.0.path())
}

/// What a key with the scope `register` may ask: the root, itself, environments, machines and the portal's certificate,
/// with or without a space in front; and add machines.
fn register_may(method: &Method, path: &str) -> bool {
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    if parts.next() != Some("api") {
        return false;
    }
    let mut rest: Vec<&str> = parts.collect();
    match rest.first() {
        Some(&"spaces") if rest.len() > 2 => drop(rest.drain(..2)),
        Some(first) if first.starts_with("Spaces-") => drop(rest.drain(..1)),
        _ => {}
    }
    let is_read = *method == Method::GET || *method == Method::HEAD;
    match rest.as_slice() {
        // What ran on a machine is told with its arguments, and those hold the variables of deployments.
        ["machines", _, "tasks"] => false,
        [] | ["users", "me"] | ["environments" | "machines", ..] if is_read => true,
        ["configuration", "certificates", "certificate-global"] if is_read => true,
        ["machines"] => *method == Method::POST,
        _ => false,
    }
}

pub(super) fn to_login(parts: &Parts) -> Response {
    // A form that was sent is lost: after logging in, its page is not there to go on with.
    if parts.method != Method::GET {
        return Redirect::to("/login").into_response();
    }
    let uri = parts.extensions.get::<OriginalUri>().map_or(&parts.uri, |uri| &uri.0);
    let wanted = uri.path_and_query().map_or("/", |wanted| wanted.as_str());
    Redirect::to(&format!("/login?next={}", percent_encoded(wanted))).into_response()
}

fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// Where to go after logging in: `next` if it is a path of this portal, else the start page. Nobody is sent elsewhere.
pub fn safe_next(next: &str) -> &str {
    let is_path = next.starts_with('/') && !next.starts_with("//") && !next.contains('\\');
    if is_path && !next.chars().any(char::is_control) { next } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registering_key_reaches_what_registering_takes() {
        for (method, path) in [
            (Method::GET, "/api"),
            (Method::GET, "/api/"),
            (Method::GET, "/api/Spaces-1"),
            (Method::GET, "/api/users/me"),
            (Method::GET, "/api/environments"),
            (Method::GET, "/api/Spaces-1/environments/all"),
            (Method::GET, "/api/spaces/default/machines"),
            (Method::GET, "/api/machines/Machines-1"),
            (Method::POST, "/api/machines"),
            (Method::POST, "/api/Spaces-1/machines"),
            (Method::GET, "/api/configuration/certificates/certificate-global"),
        ] {
            assert!(register_may(&method, path), "{method} {path}");
        }
        for (method, path) in [
            (Method::DELETE, "/api/machines/Machines-1"),
            (Method::PUT, "/api/machines/Machines-1"),
            (Method::POST, "/api/environments"),
            (Method::POST, "/api/machines/Machines-1"),
            (Method::GET, "/api/tasks"),
            (Method::GET, "/api/machines/Machines-1/tasks"),
            (Method::GET, "/api/Spaces-1/machines/Machines-1/tasks"),
            (Method::POST, "/api/packages/raw"),
            (Method::POST, "/api/rollouts"),
            (Method::GET, "/api/users"),
            (Method::GET, "/api/users/Users-1/apikeys"),
            (Method::POST, "/api/users/Users-1/apikeys"),
            (Method::GET, "/"),
        ] {
            assert!(!register_may(&method, path), "{method} {path}");
        }
    }

    #[test]
    fn a_key_is_found_in_each_of_its_headers() {
        let headers = |name: &'static str, value: &'static str| {
            HeaderMap::from_iter([(name.parse().unwrap(), http::HeaderValue::from_static(value))])
        };
        for (name, value) in [
            ("x-octopus-apikey", "API-A"),
            ("x-nuget-apikey", "API-A"),
            ("authorization", "bearer API-A"),
            ("authorization", "Basic YW55Ym9keTpBUEktQQ=="),
            ("authorization", "basic QVBJLUE6"),
        ] {
            assert_eq!(key_of(&headers(name, value)).as_deref(), Some("API-A"), "{name}: {value}");
        }
        assert_eq!(key_of(&headers("authorization", "Basic QQ==")), None);
        assert_eq!(key_of(&headers("authorization", "Digest QQ==")), None);
        assert_eq!(key_of(&HeaderMap::new()), None);
    }

    #[test]
    fn nobody_is_sent_elsewhere_after_logging_in() {
        for next in ["/", "/machines?x=1&y=%20", "/a//b"] {
            assert_eq!(safe_next(next), next);
        }
        for next in ["", "//evil.example", "https://evil.example", "/\\evil.example", "evil", "/a\nb"] {
            assert_eq!(safe_next(next), "/", "{next}");
        }
        assert_eq!(percent_encoded("/a b?c=d&e=é"), "/a%20b%3Fc%3Dd%26e%3D%C3%A9");
    }
}
