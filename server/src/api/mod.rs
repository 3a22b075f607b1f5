//! The REST API: resources in the shapes of Octopus's own public API, and rollouts in the same style.
//!
//! Mounted by `routes` at `/api`. Handlers read the database and write wishes; they never call a machine (discovery, for
//! which a person waits, goes through [`crate::discovery`]). Every resource of a space answers below `/api`, below
//! `/api/{Spaces-1}` and below `/api/spaces/{id or slug}`; links always name the second.

mod bind;
mod build_information;
mod defaults;
mod docs;
mod environments;
mod etag;
mod events;
mod fleet;
mod foreseen;
mod freezes;
mod idempotency;
mod identity;
mod machine_policies;
mod machine_resource;
mod machines;
pub mod nuget;
mod openapi;
mod packages;
mod page;
mod registration;
mod restoration;
mod rollouts;
pub(crate) mod schema;
mod spaces;
mod system;
mod task_details;
mod task_rerun;
mod tasks;
#[cfg(test)]
mod tests;
mod unbuilt;
mod users;

use axum::Router;

pub use self::etag::{Conditions, conditional};
pub use self::idempotency::idempotent;
pub use self::unbuilt::unbuilt;

use crate::app::App;
use crate::error::{ApiError, sentence};
use crate::ids::SpaceId;

/// The API, to be nested at `/api`.
pub fn router() -> Router<App> {
    Router::new()
        .merge(spaces::routes())
        .merge(registration::routes())
        .merge(users::routes())
        .merge(system::routes())
        .merge(restoration::routes())
        .merge(identity::routes())
        .merge(openapi::routes())
        .merge(docs::routes())
        .merge(of_a_space())
        .nest("/{space}", of_a_space())
        .nest("/spaces/{space}", of_a_space())
}

fn of_a_space() -> Router<App> {
    Router::new()
        .merge(environments::routes())
        .merge(machines::routes())
        .merge(machine_policies::routes())
        .merge(defaults::routes())
        .merge(tasks::routes())
        .merge(packages::routes())
        .merge(build_information::routes())
        .merge(rollouts::routes())
        .merge(freezes::routes())
        .merge(events::routes())
        .nest("/nuget", nuget::router())
}

/// Where the resources of a space live.
fn base(space: SpaceId) -> String {
    format!("/api/{space}")
}

/// What the client sent cannot be used, and why.
fn bad(error: impl std::fmt::Display) -> ApiError {
    ApiError::bad_request(sentence(&error.to_string()))
}

/// What was asked for is in the reference and not in this portal: 501 with a sentence that says what is missing.
fn not_built(message: impl Into<String>) -> ApiError {
    ApiError::new(axum::http::StatusCode::NOT_IMPLEMENTED, message)
}
