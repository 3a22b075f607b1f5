//! The layers that every request goes through, and logging in, driven in process through routes made for the purpose.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

use axum::extract::{DefaultBodyLimit, Query, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Form, Router};
use http::{Method, StatusCode, header};
use http_body_util::BodyExt as _;
use octopus_server::app::{Access, App};
use octopus_server::auth::{self, ApiUser, LoginError, PageUser, Peer, SetupError};
use octopus_server::error::ApiError;
use octopus_server::feed::{OverwriteMode, package_upload};
use octopus_server::ids::SpaceId;
use octopus_server::model::Scope;
use octopus_server::routes::layered;
use octopus_server::testing::{TestApp, packed};
use serde::Deserialize;
use tower::ServiceExt as _;
use tower_sessions::Session;

const PASSWORD: &str = "correct horse battery";

#[derive(Deserialize)]
struct Login {
    username: String,
    password: String,
}

#[derive(Deserialize)]
struct Setup {
    token: String,
    password: String,
}

async fn login(State(app): State<App>, session: Session, Peer(peer): Peer, Form(form): Form<Login>) -> Response {
    match auth::login(&app, &session, peer, &form.username, &form.password).await {
        Ok(principal) => principal.username.into_response(),
        Err(error @ LoginError::TooMany { .. }) => (StatusCode::TOO_MANY_REQUESTS, error.to_string()).into_response(),
        Err(error) => (StatusCode::FORBIDDEN, error.to_string()).into_response(),
    }
}

async fn setup(State(app): State<App>, session: Session, Form(form): Form<Setup>) -> Response {
    match auth::setup_link_redeem(&app, &session, &form.token, &form.password).await {
        Ok(principal) => principal.username.into_response(),
        Err(error @ SetupError::Gone) => (StatusCode::GONE, error.to_string()).into_response(),
        Err(error) => (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    }
}

async fn echo(body: String) -> String {
    body
}

async fn push(State(app): State<App>, request: Request) -> Result<String, ApiError> {
    let incoming = app.store.receive(request.into_body().into_data_stream()).await?;
    let (package, _) = package_upload(&app, SpaceId::DEFAULT, incoming, OverwriteMode::FailIfExists).await?;
    Ok(package.wire_id())
}

async fn panics(Query(query): Query<Vec<(String, String)>>) -> String {
    assert!(!query.is_empty(), "a mistake in a handler");
    String::new()
}

fn routes() -> Router<App> {
    let api = Router::new()
        .route("/", get(async || "root"))
        .route("/users/me", get(async |ApiUser(user): ApiUser| user.username))
        .route("/machines", get(async |_: ApiUser| "machines").post(async |_: ApiUser| "added"))
        .route("/tasks", post(async |_: ApiUser| "queued"))
        .route("/packages/raw", post(push).layer(DefaultBodyLimit::disable()))
        .route("/panics", get(panics));
    Router::new()
        .route("/", get(async |PageUser(user): PageUser| user.username).post(echo))
        .route("/login", post(login))
        .route("/setup", post(setup))
        .route(
            "/logout",
            post(async |State(app): State<App>, session: Session| auth::logout(&app, &session).await.unwrap()),
        )
        .route("/peer", get(async |Peer(peer): Peer| peer.to_string()))
        .route("/panics", get(panics))
        .nest("/api", api)
}

fn router(app: &TestApp) -> Router {
    layered(app.app.clone(), routes())
}

fn request(method: Method, path: &str) -> http::request::Builder {
    Request::builder().method(method).uri(path).header(header::HOST, "octopus.example")
}

fn form(path: &str, fields: &str) -> Request {
    let form = "application/x-www-form-urlencoded";
    request(Method::POST, path).header(header::CONTENT_TYPE, form).body(fields.to_owned().into()).unwrap()
}

fn with_cookie(method: Method, path: &str, cookie: &str) -> Request {
    request(method, path).header(header::COOKIE, cookie).body(String::new().into()).unwrap()
}

fn with_key(method: Method, path: &str, key: &str) -> Request {
    request(method, path).header("X-Octopus-ApiKey", key).body(String::new().into()).unwrap()
}

/// Status, the session cookie that was set, and the body.
async fn ask(app: &TestApp, request: Request) -> (StatusCode, Option<String>, String) {
    let response = router(app).oneshot(request).await.unwrap();
    let status = response.status();
    let cookie = response.headers().get(header::SET_COOKIE);
    let cookie = cookie.map(|cookie| cookie.to_str().unwrap().split(';').next().unwrap().to_owned());
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, cookie, String::from_utf8(body.to_vec()).unwrap())
}

async fn with_password() -> TestApp {
    let app = App::for_tests().await;
    let token = setup_token(&app).await;
    let (status, ..) = ask(&app, form("/setup", &format!("token={token}&password={PASSWORD}"))).await;
    assert_eq!(status, StatusCode::OK);
    app
}

async fn setup_token(app: &TestApp) -> String {
    let mut tx = app.db.write().await.unwrap();
    let admin = octopus_server::db::users::user_by_name(&mut tx, "admin").await.unwrap().unwrap();
    let token = auth::setup_link_create(&mut tx, admin.id, app.now()).await.unwrap();
    tx.commit().await.unwrap();
    token
}

async fn logged_in(app: &TestApp) -> String {
    let (status, cookie, _) = ask(app, form("/login", &format!("username=admin&password={PASSWORD}"))).await;
    assert_eq!(status, StatusCode::OK);
    cookie.unwrap()
}

#[tokio::test]
async fn a_setup_link_works_once() {
    let app = App::for_tests().await;
    let token = setup_token(&app).await;
    let (status, _, why) = ask(&app, form("/setup", &format!("token={token}&password=short"))).await;
    assert_eq!((status, why.contains("at least 12 characters")), (StatusCode::BAD_REQUEST, true), "{why}");
    assert!(auth::setup_link_user(&app, &token).await.unwrap().is_some(), "a bad password does not use it up");
    let (status, cookie, _) = ask(&app, form("/setup", &format!("token={token}&password={PASSWORD}"))).await;
    assert_eq!(status, StatusCode::OK);
    let (_, _, name) = ask(&app, with_cookie(Method::GET, "/", &cookie.unwrap())).await;
    assert_eq!(name, "admin", "whoever used it is logged in");
    let (status, ..) = ask(&app, form("/setup", &format!("token={token}&password=another+password"))).await;
    assert_eq!(status, StatusCode::GONE);
    logged_in(&app).await;
}

#[tokio::test]
async fn a_setup_link_expires_and_a_newer_one_replaces_it() {
    let app = App::for_tests().await;
    let (first, second) = (setup_token(&app).await, setup_token(&app).await);
    assert!(auth::setup_link_user(&app, &first).await.unwrap().is_none());
    assert!(auth::setup_link_user(&app, &second).await.unwrap().is_some());
    app.clock.advance(auth::SETUP_LINK_LIFE + std::time::Duration::from_secs(1));
    assert!(auth::setup_link_user(&app, &second).await.unwrap().is_none());
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_name_get_the_same_answer() {
    let app = with_password().await;
    let wrong = ask(&app, form("/login", "username=admin&password=not+the+password")).await;
    let unknown = ask(&app, form("/login", "username=nobody&password=not+the+password")).await;
    assert_eq!(wrong.0, StatusCode::FORBIDDEN);
    assert_eq!(wrong, unknown);
}

#[tokio::test]
async fn guessing_is_slowed_down() {
    let app = with_password().await;
    let guess = || form("/login", "username=admin&password=x");
    let mut last = StatusCode::OK;
    for _ in 0..11 {
        last = ask(&app, guess()).await.0;
    }
    assert_eq!(last, StatusCode::TOO_MANY_REQUESTS);
    let right = || form("/login", &format!("username=admin&password={PASSWORD}"));
    assert_eq!(ask(&app, right()).await.0, StatusCode::TOO_MANY_REQUESTS, "the right one has to wait too");
    app.clock.advance(std::time::Duration::from_secs(5 * 60));
    assert_eq!(ask(&app, right()).await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_session_gets_a_new_id_at_log_in_survives_a_restart_and_ends_at_log_out() {
    let app = with_password().await;
    let first = logged_in(&app).await;
    let again = request(Method::POST, "/login")
        .header(header::COOKIE, &first)
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(format!("username=admin&password={PASSWORD}").into())
        .unwrap();
    let cookie = ask(&app, again).await.1.unwrap();
    assert_ne!(first, cookie);
    assert_eq!(ask(&app, with_cookie(Method::GET, "/", &first)).await.0, StatusCode::SEE_OTHER);

    app.db.close().await;
    let db = octopus_server::db::Db::open(&app.data_dir().join("octopus.db")).await.unwrap();
    let app = app.with(|inner| inner.db = db);
    assert_eq!(ask(&app, with_cookie(Method::GET, "/", &cookie)).await.2, "admin");

    ask(&app, with_cookie(Method::POST, "/logout", &cookie)).await;
    assert_eq!(ask(&app, with_cookie(Method::GET, "/", &cookie)).await.0, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn a_session_that_is_used_lasts() {
    let app = with_password().await;
    let cookie = logged_in(&app).await;
    assert_eq!(ask(&app, with_cookie(Method::GET, "/", &cookie)).await.1, None, "reading does not write each time");
    let mut tx = app.db.write().await.unwrap();
    let set = "UPDATE sessions SET data = json_set(data, '$.login.noted_at', 0), expires_at = expires_at - 3600000000";
    sqlx::query(set).execute(&mut *tx).await.unwrap();
    let expires_at = "SELECT MAX(expires_at) FROM sessions";
    let before: i64 = sqlx::query_scalar(expires_at).fetch_one(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(ask(&app, with_cookie(Method::GET, "/", &cookie)).await.1, Some(cookie.clone()));
    let after: i64 = sqlx::query_scalar(expires_at).fetch_one(&mut *app.db.read().await.unwrap()).await.unwrap();
    assert!(after >= before + 3_600_000_000, "{before} {after}");

    let mut tx = app.db.write().await.unwrap();
    sqlx::query("UPDATE sessions SET expires_at = 0").execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(ask(&app, with_cookie(Method::GET, "/", &cookie)).await.0, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn a_new_password_ends_every_session() {
    let app = with_password().await;
    let cookie = logged_in(&app).await;
    let admin = octopus_server::db::users::user_by_name(&mut app.db.read().await.unwrap(), "admin").await.unwrap();
    auth::password_set(&app.db, admin.unwrap().id, "another good password").await.unwrap();
    assert_eq!(ask(&app, with_cookie(Method::GET, "/", &cookie)).await.0, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn the_cookie_is_out_of_reach_of_scripts_and_other_sites() {
    for (access, expected) in [
        (Access::default(), "octopus-session="),
        (Access { tls: true, behind_proxy: false }, "__Host-octopus-session="),
        (Access { tls: false, behind_proxy: true }, "__Host-octopus-session="),
    ] {
        let app = with_password().await.with(|inner| inner.access = access);
        let login = form("/login", &format!("username=admin&password={PASSWORD}"));
        let response = router(&app).oneshot(login).await.unwrap();
        let cookie = response.headers()[header::SET_COOKIE].to_str().unwrap();
        assert!(cookie.starts_with(expected), "{cookie}");
        for attribute in ["HttpOnly", "SameSite=Lax", "Path=/", "Max-Age="] {
            assert!(cookie.contains(attribute), "{cookie}");
        }
        assert_eq!(cookie.contains("Secure"), access.is_secure(), "{cookie}");
        assert_eq!(response.headers().contains_key(header::STRICT_TRANSPORT_SECURITY), access.is_secure());
    }
}

#[tokio::test]
async fn who_is_not_logged_in_is_led_to_the_log_in_page_and_back() {
    let app = App::for_tests().await;
    let response = router(&app).oneshot(with_cookie(Method::GET, "/?a=b&c=d", "x=y")).await.unwrap();
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    assert_eq!(response.headers()[header::LOCATION], "/login?next=/%3Fa%3Db%26c%3Dd");
}

#[tokio::test]
async fn api_keys_open_the_api_and_other_texts_do_not() {
    let app = App::for_tests().await;
    let key = app.api_key(Scope::Full).await;
    assert_eq!(ask(&app, with_key(Method::GET, "/api/users/me", &key)).await.2, "admin");
    let bearer = request(Method::GET, "/api/users/me").header(header::AUTHORIZATION, format!("Bearer {key}"));
    assert_eq!(ask(&app, bearer.body(String::new().into()).unwrap()).await.2, "admin");
    assert_eq!(ask(&app, with_key(Method::POST, "/api/tasks", &key)).await.2, "queued");
    let wrong = format!("API-{}", "A".repeat(32));
    let (status, _, body) = ask(&app, with_key(Method::GET, "/api/users/me", &wrong)).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert!(body.starts_with("{\"ErrorMessage\":\"You must be logged in"), "{body}");
    assert_eq!(ask(&app, with_key(Method::GET, "/", &key)).await.0, StatusCode::SEE_OTHER, "pages are for people");
}

#[tokio::test]
async fn a_registering_key_registers_and_nothing_else() {
    let app = App::for_tests().await;
    let key = app.api_key(Scope::Register).await;
    assert_eq!(ask(&app, with_key(Method::POST, "/api/machines", &key)).await.2, "added");
    assert_eq!(ask(&app, with_key(Method::GET, "/api/users/me/", &key)).await.2, "admin");
    let (status, _, body) = ask(&app, with_key(Method::POST, "/api/tasks", &key)).await;
    assert_eq!((status, body.contains("may only register machines")), (StatusCode::FORBIDDEN, true), "{body}");
}

#[tokio::test]
async fn a_session_opens_the_api_too() {
    let app = with_password().await;
    let cookie = logged_in(&app).await;
    assert_eq!(ask(&app, with_cookie(Method::GET, "/api/users/me", &cookie)).await.2, "admin");
}

#[tokio::test]
async fn requests_from_other_sites_change_nothing() {
    let app = App::for_tests().await;
    for (headers, allowed) in [
        (&[] as &[(&str, &str)], true),
        (&[("sec-fetch-site", "same-origin")], true),
        (&[("sec-fetch-site", "cross-site")], false),
        (&[("sec-fetch-site", "same-site")], false),
        (&[("origin", "https://octopus.example")], true),
        (&[("origin", "https://evil.example")], false),
        (&[("origin", "null")], false),
    ] {
        let mut post = request(Method::POST, "/");
        for (name, value) in headers {
            post = post.header(*name, *value);
        }
        let (status, _, body) = ask(&app, post.body("hello".into()).unwrap()).await;
        let expected = if allowed { StatusCode::OK } else { StatusCode::FORBIDDEN };
        assert_eq!(status, expected, "{headers:?}: {body}");
    }
}

#[tokio::test]
async fn every_answer_carries_the_security_headers() {
    let app = App::for_tests().await;
    let cross_site = request(Method::POST, "/").header("sec-fetch-site", "cross-site").body("".into()).unwrap();
    for request in [
        with_cookie(Method::GET, "/", ""),
        with_cookie(Method::GET, "/nothing", ""),
        with_cookie(Method::GET, "/panics", ""),
        with_cookie(Method::GET, "/api/nothing", ""),
        cross_site,
    ] {
        let response = router(&app).oneshot(request).await.unwrap();
        let headers = response.headers();
        let policy = headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{policy}");
        assert!(policy.ends_with("frame-ancestors 'none'; base-uri 'none'"), "{policy}");
        assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        assert_eq!(headers[header::REFERRER_POLICY], "same-origin");
        assert_eq!(headers[header::CACHE_CONTROL], "no-store");
        assert!(!headers.contains_key(header::STRICT_TRANSPORT_SECURITY), "plain HTTP cannot promise HTTPS");
    }
}

#[tokio::test]
async fn every_failure_is_a_sentence_in_json_for_the_api() {
    let app = App::for_tests().await;
    for (method, path, status, words) in [
        (Method::GET, "/api/nothing", StatusCode::NOT_FOUND, "There is nothing at /api/nothing."),
        (Method::DELETE, "/api/machines", StatusCode::METHOD_NOT_ALLOWED, "This cannot be done at /api/machines."),
        (Method::GET, "/api/panics", StatusCode::INTERNAL_SERVER_ERROR, "The portal made a mistake"),
    ] {
        let (found, _, body) = ask(&app, with_cookie(method, path, "")).await;
        assert_eq!(found, status, "{body}");
        assert!(body.starts_with(&format!("{{\"ErrorMessage\":\"{words}")), "{body}");
    }
    let (status, _, body) = ask(&app, with_cookie(Method::GET, "/nothing", "")).await;
    assert_eq!((status, body.contains("ErrorMessage")), (StatusCode::NOT_FOUND, false));
}

#[tokio::test]
async fn large_bodies_are_refused() {
    let app = App::for_tests().await;
    let post = |size: usize| request(Method::POST, "/").body("x".repeat(size).into()).unwrap();
    assert_eq!(ask(&app, post(1 << 20)).await.0, StatusCode::OK);
    assert_eq!(ask(&app, post((1 << 20) + 1)).await.0, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn a_package_is_pushed_whatever_the_limit_of_other_bodies_is() {
    let app = App::for_tests().await;
    // Content that does not shrink.
    let content: String =
        (0..200_000_u64).map(|n| format!("{:016x}\n", n.wrapping_mul(0x9E37_79B9_7F4A_7C15))).collect();
    let bytes = packed("Acme.Web", "1.0.0", &content);
    assert!(bytes.len() > 1 << 20, "{}", bytes.len());
    let push = || request(Method::POST, "/api/packages/raw").body(bytes.clone().into()).unwrap();
    assert_eq!(ask(&app, push()).await.2, "packages-Acme.Web.1.0.0");
    let (status, _, body) = ask(&app, push()).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(body.contains("A package with the same name and version already exists"), "{body}");
    let broken = request(Method::POST, "/api/packages/raw").body("no package".into()).unwrap();
    let (status, _, body) = ask(&app, broken).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(body.contains("\"Errors\":[\""), "{body}");
}

#[tokio::test]
async fn a_slash_at_the_end_means_nothing() {
    let app = App::for_tests().await;
    for path in ["/api", "/api/"] {
        assert_eq!(ask(&app, with_cookie(Method::GET, path, "")).await.2, "root", "{path}");
    }
}

#[tokio::test]
async fn only_a_known_proxy_may_say_for_whom_it_asks() {
    let app = App::for_tests().await;
    let asked = || {
        let spoofed = request(Method::GET, "/peer").header("x-forwarded-for", "10.9.9.9, 192.0.2.7");
        spoofed.body(String::new().into()).unwrap()
    };
    assert_eq!(ask(&app, asked()).await.2, "127.0.0.1");
    let app = app.with(|inner| inner.access.behind_proxy = true);
    assert_eq!(ask(&app, asked()).await.2, "192.0.2.7");
}
