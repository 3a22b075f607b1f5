//! The page of the portal's identity: what machines pin, how it is changed, and a backup to take away.

pub mod view;

use std::io;

use askama::Template;
use askama_web::WebTemplate;
use axum::Router;
use axum::body::Body as ResponseBody;
use axum::extract::State;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};
use http::{HeaderValue, StatusCode, header};
use tokio_util::io::ReaderStream;

use self::view::{IdentityView, WORD, load};
use super::nav::SettingsPage;
use crate::app::App;
use crate::auth::PageUser;
use crate::backup::download::{DownloadError, backup_download};
use crate::backup::make::PackageChoice;
use crate::clock::Timestamp;
use crate::error::ApiError;
use crate::pages::form::{Body, Fields};
use crate::pages::live::{LiveView as _, cursor};
use crate::pages::shell::{Section, Shell};
use crate::pages::view as words;
use crate::pages::{PageError, sentence};
use crate::rotation::{RotationError, Stage, Wish, rotate};

pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/settings/identity", get(show))
        .route("/settings/identity/ready", post(ready))
        .route("/settings/identity/abandon", post(abandon))
        .route("/settings/identity/use", post(switch))
        .route("/settings/identity/forget", post(forget))
        .route("/settings/identity/backup", post(backup))
}

#[derive(Template, WebTemplate)]
#[template(path = "settings/identity.html")]
struct IdentityPage {
    shell: Shell,
    here: SettingsPage,
    view: IdentityView,
    problem: Option<String>,
    now: Timestamp,
}

async fn page(app: &App, user: &PageUser, problem: Option<String>) -> Result<IdentityPage, PageError> {
    let view = load(app, user.0.space, &user.0.role).await?;
    let scope = format!("page=identity&seen={}", cursor(&view.parts()));
    let shell = Shell::new(app, user, Section::Settings, "Portal identity").live(&scope);
    Ok(IdentityPage { here: SettingsPage::Identity, view, problem, now: shell.now, shell })
}

async fn show(user: PageUser, State(app): State<App>) -> Result<IdentityPage, PageError> {
    page(&app, &user, None).await
}

async fn refused(app: &App, user: &PageUser, problem: &str) -> Result<Response, PageError> {
    let page = page(app, user, Some(sentence(problem))).await?;
    Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
}

async fn act(app: &App, user: &PageUser, wish: Wish) -> Result<Response, PageError> {
    match rotate(app, wish).await {
        Ok(()) => Ok(Redirect::to("/settings/identity").into_response()),
        Err(RotationError::Db(error)) => Err(error.into()),
        Err(error) => refused(app, user, &error.to_string()).await,
    }
}

async fn ready(user: PageUser, State(app): State<App>, Body(fields): Body) -> Result<Response, PageError> {
    if fields.get("word").trim().to_lowercase() != WORD {
        return refused(&app, &user, &format!("type \"{WORD}\" to say that you mean it")).await;
    }
    act(&app, &user, Wish::Ready).await
}

async fn abandon(user: PageUser, State(app): State<App>) -> Result<Response, PageError> {
    act(&app, &user, Wish::Abandon).await
}

/// The number that was typed; none is 0.
fn cut_off(fields: &Fields) -> usize {
    fields.get("machines").trim().parse().unwrap_or(0)
}

async fn switch(user: PageUser, State(app): State<App>, Body(fields): Body) -> Result<Response, PageError> {
    act(&app, &user, Wish::Switch { cut_off: cut_off(&fields) }).await
}

async fn forget(user: PageUser, State(app): State<App>, Body(fields): Body) -> Result<Response, PageError> {
    act(&app, &user, Wish::Forget { cut_off: cut_off(&fields) }).await
}

/// Makes a backup and sends it as it lies on the disk, a piece at a time.
async fn backup(_user: PageUser, State(app): State<App>, Body(fields): Body) -> Result<Response, PageError> {
    let packages = if fields.get("packages") == "all" { PackageChoice::All } else { PackageChoice::None };
    let made = backup_download(&app, &packages).await.map_err(|error| match error {
        DownloadError::Busy => ApiError::new(StatusCode::SERVICE_UNAVAILABLE, sentence(&error.to_string())),
        error => ApiError::internal("make a backup", &error),
    })?;
    let name = HeaderValue::from_str(&format!("attachment; filename=\"{}\"", made.name));
    let name = name.map_err(|error| ApiError::internal("name the backup", &io::Error::other(error)))?;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/zip")),
        (header::CONTENT_DISPOSITION, name),
        (header::CONTENT_LENGTH, HeaderValue::from(made.size)),
    ];
    Ok((headers, ResponseBody::from_stream(ReaderStream::new(made.file))).into_response())
}
