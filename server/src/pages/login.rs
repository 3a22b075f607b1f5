//! Logging in and out, and the link that lets the first user choose a password.

use askama::Template;
use askama_web::WebTemplate;
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use http::StatusCode;
use tower_sessions::Session;

use super::form::{Address, Body};
use super::{PageError, sentence};
use crate::app::App;
use crate::auth::{
    LoginError, PASSWORD_MIN, PageUser, Peer, SetupError, login, logout, safe_next, setup_link_redeem, setup_link_user,
};
use crate::db::users::user_any_password;
use crate::error::ApiError;

/// `/login`, `/logout` and `/setup`.
pub fn router() -> Router<App> {
    Router::new()
        .route("/login", get(login_page).post(login_post))
        .route("/logout", post(logout_post))
        .route("/setup", get(setup_page).post(setup_post))
}

#[derive(Template, WebTemplate)]
#[template(path = "login/login.html")]
struct LoginPage {
    username: String,
    next: String,
    problem: Option<String>,
    /// Nobody has chosen a password yet.
    is_new: bool,
    /// They were logged out everywhere just now.
    is_out: bool,
}

async fn login_page(
    user: Result<PageUser, Response>,
    State(app): State<App>,
    Address(fields): Address,
) -> Result<Response, PageError> {
    let next = safe_next(fields.get("next")).to_owned();
    if user.is_ok() {
        return Ok(Redirect::to(&next).into_response());
    }
    let is_new = !user_any_password(&mut *app.db.read().await?).await?;
    let is_out = fields.get("said") == "out";
    Ok(LoginPage { username: String::new(), next, problem: None, is_new, is_out }.into_response())
}

async fn login_post(
    State(app): State<App>,
    session: Session,
    Peer(peer): Peer,
    Body(fields): Body,
) -> Result<Response, PageError> {
    let username = fields.get("username").trim();
    let next = safe_next(fields.get("next")).to_owned();
    let (status, error) = match login(&app, &session, peer, username, fields.get("password")).await {
        Ok(_) => return Ok(Redirect::to(&next).into_response()),
        Err(error @ LoginError::Wrong) => (StatusCode::UNAUTHORIZED, error),
        Err(error @ LoginError::Restored { .. }) => (StatusCode::FORBIDDEN, error),
        Err(error @ LoginError::TooMany { .. }) => (StatusCode::TOO_MANY_REQUESTS, error),
        Err(error) => return Err(ApiError::internal("log you in", &error).into()),
    };
    let problem = Some(sentence(&error.to_string()));
    let page = LoginPage { username: username.to_owned(), next, problem, is_new: false, is_out: false };
    Ok((status, page).into_response())
}

async fn logout_post(State(app): State<App>, session: Session) -> Result<Redirect, PageError> {
    logout(&app, &session).await.map_err(|error| ApiError::internal("log you out", &error))?;
    Ok(Redirect::to("/login"))
}

#[derive(Template, WebTemplate)]
#[template(path = "login/setup.html")]
struct SetupPage {
    token: String,
    username: String,
    problem: Option<String>,
}

async fn setup_page(State(app): State<App>, Address(fields): Address) -> Result<SetupPage, PageError> {
    let token = fields.get("token").to_owned();
    match setup_link_user(&app, &token).await {
        Ok(Some(username)) => Ok(SetupPage { token, username, problem: None }),
        Ok(None) => Err(refused(&SetupError::Gone)),
        Err(error) => Err(refused(&error)),
    }
}

async fn setup_post(State(app): State<App>, session: Session, Body(fields): Body) -> Result<Response, PageError> {
    let (token, password) = (fields.get("token"), fields.get("password"));
    let username = setup_link_user(&app, token).await.map_err(|error| refused(&error))?;
    let username = username.ok_or_else(|| refused(&SetupError::Gone))?;
    let again = |problem: &str| {
        let page = SetupPage { token: token.to_owned(), username: username.clone(), problem: Some(sentence(problem)) };
        Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
    };
    if password != fields.get("again") {
        return again("the two passwords differ");
    }
    match setup_link_redeem(&app, &session, token, password).await {
        Ok(_) => Ok(Redirect::to("/environments").into_response()),
        Err(SetupError::Password(error)) => again(&error.to_string()),
        Err(error @ SetupError::Restored { .. }) => {
            let (next, problem) = (safe_next("").to_owned(), Some(sentence(&error.to_string())));
            let page = LoginPage { username, next, problem, is_new: false, is_out: false };
            Ok((StatusCode::FORBIDDEN, page).into_response())
        }
        Err(error) => Err(refused(&error)),
    }
}

fn refused(error: &SetupError) -> PageError {
    match error {
        SetupError::Gone => PageError(ApiError::forbidden(sentence(&error.to_string()))),
        SetupError::Password(_)
        | SetupError::Restored { .. }
        | SetupError::Random(_)
        | SetupError::Session(_)
        | SetupError::Db(_) => ApiError::internal("set the password", error).into(),
    }
}
