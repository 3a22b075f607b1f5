//! The router: pages at `/`, the REST API at `/api`, and the layers that every request goes through.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;
use futures_util::FutureExt as _;
use http::{HeaderName, HeaderValue, StatusCode, Uri, header};
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{DefaultPredicate, NotForContentType, Predicate};
use tower_http::csrf::{CsrfLayer, ProtectionError};
use tower_http::normalize_path::NormalizePath;
use tower_http::timeout::TimeoutBody;
use tower_http::trace::TraceLayer;

use crate::app::{Access, App};
use crate::auth::{guard, session_layer};
use crate::{api, error, monitor, pages};

/// Largest body that handlers read into memory; a larger one is refused with 413. Routes that take packages lift it
/// and leave the limit to the package store.
const BODY_MAX: usize = 1 << 20;

/// Longest pause while a body is being sent; then the request fails. There is no limit on the whole: slow links push
/// packages too.
const BODY_PAUSE_MAX: Duration = Duration::from_secs(60);

/// Scripts, styles and connections from this portal alone; no inline code; in no other site's frame.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self' data:; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// How a client of the feed that asked without a key is told to ask.
const FEED_CHALLENGE: HeaderValue =
    HeaderValue::from_static("Basic realm=\"Octopus: any user name, an API key as password\"");

/// Two years of HTTPS only, for browsers that have been here.
const STRICT_TRANSPORT_SECURITY: &str = "max-age=63072000";

/// The whole portal.
pub fn router(app: App) -> Router {
    let conditions = api::Conditions::new(unguarded().with_state(app.clone()));
    let routes = unguarded()
        .layer(middleware::from_fn_with_state(app.clone(), api::idempotent))
        .layer(middleware::from_fn_with_state(conditions, api::conditional))
        .layer(middleware::from_fn_with_state(app.clone(), guard));
    #[cfg(test)]
    let routes = routes.layer(middleware::from_fn(api::schema::check::noted));
    layered(app, routes)
}

/// All routes, before it is asked who may have them.
fn unguarded() -> Router<App> {
    Router::new()
        .nest("/api", api::router())
        .nest("/nuget", api::nuget::router())
        .merge(pages::router())
        .merge(monitor::router())
}

/// `routes` behind the layers of the portal. Innermost first.
pub fn layered(app: App, routes: Router<App>) -> Router {
    // Packages are compressed already.
    let compressible = DefaultPredicate::new()
        .and(NotForContentType::const_new("application/octet-stream"))
        .and(NotForContentType::const_new("application/zip"));
    let inner = routes
        .fallback(not_found)
        .layer(middleware::from_fn(api::unbuilt))
        .layer(middleware::from_fn_with_state(app.clone(), monitor::counted))
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .layer(session_layer(&app.db, app.access))
        .layer(middleware::map_request(bounded_body))
        .layer(CsrfLayer::new())
        .layer(middleware::from_fn(explained))
        .layer(CompressionLayer::new().compress_when(compressible))
        .layer(middleware::map_response_with_state(app.access, secured))
        .layer(TraceLayer::new_for_http().make_span_with(span))
        .with_state(app);
    // A slash at the end of a path means nothing, and some clients send one.
    let whole = Router::new().fallback_service(NormalizePath::trim_trailing_slash(inner));
    #[cfg(test)]
    let whole = whole.layer(middleware::from_fn(api::schema::check::checked));
    whole
}

async fn not_found(uri: Uri) -> Response {
    let message = format!("There is nothing at {}.", uri.path());
    error::respond(uri.path(), StatusCode::NOT_FOUND, &message)
}

/// Turns panics, and refusals that carry no words, into answers.
async fn explained(uri: Uri, request: Request, next: Next) -> Response {
    let Ok(mut response) = AssertUnwindSafe(next.run(request)).catch_unwind().await else {
        tracing::error!(path = uri.path(), "a handler panicked");
        let message = "The portal made a mistake and could not answer this. Its log says more.";
        return error::respond(uri.path(), StatusCode::INTERNAL_SERVER_ERROR, message);
    };
    if response.extensions().get::<ProtectionError>().is_some() {
        let message = "This request came from another site and was refused. Open the portal itself and try again. If a \
                       proxy stands in front of the portal, it must pass on the headers Host and Origin.";
        return error::respond(uri.path(), StatusCode::FORBIDDEN, message);
    }
    if response.status() == StatusCode::UNAUTHORIZED && error::is_feed(uri.path()) {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, FEED_CHALLENGE);
    }
    if response.headers().contains_key(header::CONTENT_TYPE) {
        return response;
    }
    let status = response.status();
    let message = match status {
        StatusCode::METHOD_NOT_ALLOWED => format!("This cannot be done at {}.", uri.path()),
        _ if status.is_server_error() => "The portal could not answer this. Its log says more.".to_owned(),
        _ => return response,
    };
    let mut explained = error::respond(uri.path(), status, &message);
    if let Some(allow) = response.headers().get(header::ALLOW) {
        explained.headers_mut().insert(header::ALLOW, allow.clone());
    }
    explained
}

async fn bounded_body(request: Request) -> Request {
    request.map(|body| Body::new(TimeoutBody::new(BODY_PAUSE_MAX, body)))
}

async fn secured(State(access): State<Access>, mut response: Response) -> Response {
    let always = [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ];
    let headers = response.headers_mut();
    for (name, value) in always {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if access.is_secure() {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static(STRICT_TRANSPORT_SECURITY));
    }
    // What a page shows is for whoever is logged in now. Assets say for themselves how long they live.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Without the query, which may carry the token of a setup link.
fn span(request: &Request) -> tracing::Span {
    tracing::debug_span!("request", method = %request.method(), path = request.uri().path())
}

#[cfg(test)]
#[path = "routes_button_tests.rs"]
mod button_tests;
#[cfg(test)]
#[path = "routes_space_tests.rs"]
mod space_tests;
#[cfg(test)]
#[path = "routes_tests.rs"]
mod tests;
#[cfg(test)]
#[path = "routes_trail_tests.rs"]
mod trail_tests;
