//! The REST API. Called by `routes`; never calls a machine.

use axum::Router;

use crate::app::App;

/// The API, nested at `/api`.
pub fn router() -> Router<App> {
    Router::new()
}
