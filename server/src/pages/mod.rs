//! The pages people see. Called by `routes`; never calls a machine.

use axum::Router;
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;

use crate::app::App;

/// The pages, from `/`.
pub fn router() -> Router<App> {
    Router::new()
}

/// The page that says what went wrong, for errors that no page's own handler answers: `message` is a sentence.
pub fn error_page(status: StatusCode, message: &str) -> Response {
    (status, message.to_owned()).into_response()
}
