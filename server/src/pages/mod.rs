//! The pages people see. Called by `routes`; never calls a machine.
//!
//! A handler extracts, makes one call, and answers with a page or, after a POST, with a redirect. Every page works
//! without scripts; with them, `events` keeps it up to date.

pub mod audit;
pub mod dashboard;
pub mod environments;
pub mod events;
pub mod form;
pub mod live;
pub mod login;
pub mod machines;
pub mod packages;
pub mod registration;
pub mod rollouts;
pub mod search;
pub mod settings;
pub mod shell;
pub mod spaces;
pub mod tasks;
pub mod upgrade;
pub mod view;

use askama::Template;
use axum::Router;
use axum::response::{Html, IntoResponse, Response};
use http::StatusCode;

use crate::app::App;
use crate::error::ApiError;
use shell::{Section, Shell};

/// The pages, from `/`.
pub fn router() -> Router<App> {
    Router::new()
        .merge(dashboard::router())
        .merge(login::router())
        .merge(environments::router())
        .merge(machines::router())
        .merge(registration::router())
        .merge(upgrade::router())
        .merge(rollouts::router())
        .merge(packages::router())
        .merge(tasks::router())
        .merge(audit::router())
        .merge(search::router())
        .merge(settings::router())
        .merge(spaces::router())
        .merge(events::router())
        .merge(crate::assets::router())
}

/// Why a page is not shown. Answers with a page that says what happened and what to do.
#[derive(Debug)]
pub struct PageError(pub ApiError);

impl<E: Into<ApiError>> From<E> for PageError {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        error_page(self.0.status, &self.0.message)
    }
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    title: &'a str,
    message: &'a str,
    advice: &'a str,
}

/// The page that says what went wrong, for errors that no page's own handler answers: `message` is a sentence.
pub fn error_page(status: StatusCode, message: &str) -> Response {
    let (title, advice) = match status {
        StatusCode::NOT_FOUND => {
            ("Not found", "It may have been deleted, or belong to another space, or the address has a typing error.")
        }
        StatusCode::FORBIDDEN => ("Refused", "Nothing was changed."),
        StatusCode::CONFLICT => ("Not possible now", "Nothing was changed."),
        status if status.is_client_error() => ("Refused", "Nothing was changed. Go back and correct it."),
        StatusCode::SERVICE_UNAVAILABLE => ("Too busy", "Try again in a moment."),
        _ => ("The portal failed", "Try again; if it goes on, look into the portal's log."),
    };
    let page = ErrorPage { title, message, advice };
    // A template of plain texts always renders.
    (status, Html(page.render().unwrap_or_default())).into_response()
}

/// A question before something is done: shown as a page, or over the page that asks where scripts run.
#[derive(Template, askama_web::WebTemplate)]
#[template(path = "confirm.html")]
struct ConfirmPage {
    shell: Shell,
    /// What will happen, and to how many.
    consequence: String,
    action: String,
    /// What is sent with it.
    fields: Vec<(&'static str, String)>,
    button: String,
    weight: Weight,
    back: String,
    reason: Reason,
}

/// How a question's button looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weight {
    /// It ends something, or takes it away.
    Grave,
    /// It does not.
    Plain,
}

/// Whether a question asks why, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    /// It does not.
    NotAsked,
    /// It does, and takes none for an answer.
    Asked,
    /// It does, and takes no empty answer.
    Demanded,
}

/// The text as a sentence: with a capital letter and a full stop. Empty stays empty.
fn sentence(text: &str) -> String {
    let mut chars = text.trim().chars();
    let Some(first) = chars.next() else { return String::new() };
    let stop = if text.trim_end().ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{}{}{stop}", first.to_uppercase(), chars.as_str())
}
