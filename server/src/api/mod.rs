//! The REST API: resources in the shapes of Octopus's own public API, and rollouts in the same style.
//!
//! Mounted by `routes` at `/api`. Handlers read the database and write wishes; they never call a machine (discovery, for
//! which a person waits, goes through [`crate::discovery`]). Every resource of a space answers below `/api`, below
//! `/api/{Spaces-1}` and below `/api/spaces/{id or slug}`; links always name the second.

mod bind;
mod environments;
mod fleet;
mod machine_resource;
mod machines;
mod packages;
mod page;
mod rollouts;
mod spaces;
mod task_details;
mod tasks;

use axum::Router;
use axum::http::{Method, StatusCode, Uri};

use crate::app::App;
use crate::error::ApiError;
use crate::ids::SpaceId;

/// The API, to be nested at `/api`.
pub fn router() -> Router<App> {
    Router::new()
        .merge(spaces::routes())
        .merge(of_a_space())
        .nest("/{space}", of_a_space())
        .nest("/spaces/{space}", of_a_space())
        .fallback(unknown)
        .method_not_allowed_fallback(not_allowed)
}

fn of_a_space() -> Router<App> {
    Router::new()
        .merge(environments::routes())
        .merge(machines::routes())
        .merge(tasks::routes())
        .merge(packages::routes())
        .merge(rollouts::routes())
}

/// Where the resources of a space live.
fn base(space: SpaceId) -> String {
    format!("/api/{space}")
}

async fn unknown(uri: Uri) -> ApiError {
    nothing_here(uri.path())
}

fn nothing_here(path: &str) -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, format!("This portal has nothing at {path}. GET /api lists what there is."))
}

async fn not_allowed(method: Method, uri: Uri) -> ApiError {
    let sentence = format!("This portal does not know {method} for {}.", uri.path());
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, sentence)
}
