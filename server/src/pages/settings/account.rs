//! One's own account: another password, the end of all sessions, and the API keys of one's scripts.

use std::time::Duration;

use askama::Template;
use askama_web::WebTemplate;
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};
use http::StatusCode;
use tower_sessions::Session;

use super::nav::SettingsPage;
use crate::app::App;
use crate::auth::{LoginError, PASSWORD_MIN, PageUser, PasswordError, Peer, password_change, sessions_end_all};
use crate::clock::Timestamp;
use crate::db::api_keys::api_key_list;
use crate::db::environments::environment_places;
use crate::db::users::user_get;
use crate::error::ApiError;
use crate::ids::ApiKeyId;
use crate::model::{ApiKey, KeyWish, Reach, Role, Scope};
use crate::pages::form::{Address, Body, Id};
use crate::pages::shell::{Section, Shell};
use crate::pages::view as words;
use crate::pages::{PageError, sentence};
use crate::people::{PeopleError, api_key_add, api_key_end};

/// Longest purpose of a key that is kept, in characters. The rest is cut off.
const PURPOSE_MAX: usize = 200;

/// Longest life of a key that can be chosen, in days. What is no such number is no end.
const DAYS_MAX: u32 = 3650;

pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/account", get(show))
        .route("/account/password", post(change_password))
        .route("/account/sessions/end", post(end_sessions))
        .route("/account/keys", post(add_key))
        .route("/account/keys/{id}/revoke", post(revoke_key))
}

#[derive(Template, WebTemplate)]
#[template(path = "settings/account.html")]
struct AccountPage {
    shell: Shell,
    here: SettingsPage,
    /// What they may do, in a sentence.
    may: String,
    keys: Vec<ApiKey>,
    /// A key that was just made: the only time that anybody sees it.
    made: Option<String>,
    /// Why a form was not taken.
    problem: Option<String>,
    /// Their password was changed just now.
    is_changed: bool,
    now: Timestamp,
}

async fn page(
    app: &App,
    user: &PageUser,
    made: Option<String>,
    problem: Option<String>,
) -> Result<AccountPage, PageError> {
    let mut conn = app.db.read().await?;
    let keys = api_key_list(&mut conn, user.0.user).await?;
    let may = match &user.0.role {
        Role::Viewer => "You may look at everything.".to_owned(),
        Role::Operator(Reach::Everywhere) => "You operate the machines of every environment.".to_owned(),
        Role::Operator(Reach::Only(own)) => {
            let all = environment_places(&mut conn).await?;
            let names: Vec<String> =
                all.into_iter().filter(|e| own.contains(&e.id)).map(|environment| environment.label).collect();
            match names.as_slice() {
                [] => "You operate no environment, and may look at everything.".to_owned(),
                names => format!("You operate the machines of {}, and may look at everything.", names.join(", ")),
            }
        }
        Role::Administrator => "You may do everything.".to_owned(),
    };
    let shell = Shell::new(app, user, Section::Settings, "Your account");
    Ok(AccountPage { here: SettingsPage::Account, now: shell.now, shell, may, keys, made, problem, is_changed: false })
}

async fn show(user: PageUser, State(app): State<App>, Address(fields): Address) -> Result<AccountPage, PageError> {
    let is_changed = fields.get("said") == "password";
    Ok(AccountPage { is_changed, ..page(&app, &user, None, None).await? })
}

async fn change_password(
    user: PageUser,
    State(app): State<App>,
    session: Session,
    Peer(peer): Peer,
    Body(fields): Body,
) -> Result<Response, PageError> {
    let new = fields.get("password");
    let problem = if new == fields.get("again") {
        match password_change(&app, &session, peer, &user.0, fields.get("old"), new).await {
            Ok(()) => return Ok(Redirect::to("/account?said=password").into_response()),
            Err(LoginError::Wrong) => "the present password is another one".to_owned(),
            Err(error @ LoginError::TooMany { .. }) => error.to_string(),
            Err(LoginError::Password(error @ (PasswordError::TooShort | PasswordError::TooLong))) => error.to_string(),
            Err(error) => return Err(ApiError::internal("change the password", &error).into()),
        }
    } else {
        "the two new passwords differ".to_owned()
    };
    let page = page(&app, &user, None, Some(sentence(&problem))).await?;
    Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
}

/// Ends every session of this user, and this one with them.
async fn end_sessions(user: PageUser, State(app): State<App>) -> Result<Redirect, PageError> {
    sessions_end_all(&app, user.0.user).await?;
    Ok(Redirect::to("/login?said=out"))
}

async fn add_key(user: PageUser, State(app): State<App>, Body(fields): Body) -> Result<Response, PageError> {
    let purpose: String = fields.get("purpose").trim().chars().take(PURPOSE_MAX).collect();
    if purpose.is_empty() {
        let problem = "Say what the key is for: whoever finds it in this list wants to know.";
        let page = page(&app, &user, None, Some(problem.to_owned())).await?;
        return Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response());
    }
    let scope = Scope::from_word(fields.get("scope")).unwrap_or(Scope::Register);
    let days = fields.get("days").trim().parse::<u32>().ok().filter(|days| (1..=DAYS_MAX).contains(days));
    let life = days.map(|days| Duration::from_secs(u64::from(days) * 24 * 60 * 60));
    let expires_at = life.map(|life| app.now().after(life));
    match api_key_add(&app, user.0.user, &KeyWish { purpose: &purpose, scope, expires_at }).await {
        Ok((_, key)) => Ok(page(&app, &user, Some(key), None).await?.into_response()),
        Err(error @ PeopleError::TooManyKeys) => {
            let page = page(&app, &user, None, Some(sentence(&error.to_string()))).await?;
            Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
        }
        Err(error) => Err(ApiError::from(error).into()),
    }
}

/// Revoking one that works no more changes nothing.
async fn revoke_key(user: PageUser, State(app): State<App>, Id(id): Id<ApiKeyId>) -> Result<Redirect, PageError> {
    let owner = user_get(&mut *app.db.read().await?, user.0.user).await?;
    if let Some(owner) = owner {
        api_key_end(&app, &owner, id).await?;
    }
    Ok(Redirect::to("/account"))
}
