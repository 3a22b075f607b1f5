//! The buttons that upgrade Tentacles: each writes down a rollout and shows it. Nothing here calls a machine.

use axum::Router;
use axum::extract::State;
use axum::response::Redirect;
use axum::routing::post;

use super::form::Id;
use super::{PageError, sentence};
use crate::app::App;
use crate::auth::PageUser;
use crate::error::ApiError;
use crate::ids::{EnvironmentId, MachineId};
use crate::rollout::create::{RolloutError, RolloutRequest, Selection, rollout_create};

/// The buttons: for all machines, for those of an environment, for one.
pub fn router() -> Router<App> {
    Router::new()
        .route("/environments/upgrade", post(all))
        .route("/environments/{id}/upgrade", post(environment))
        .route("/machines/{id}/upgrade", post(machine))
}

async fn all(user: PageUser, State(app): State<App>) -> Result<Redirect, PageError> {
    upgrade(&app, &user, Selection::All).await
}

async fn environment(user: PageUser, State(app): State<App>, Id(id): Id<EnvironmentId>) -> Result<Redirect, PageError> {
    upgrade(&app, &user, Selection::Environments(vec![id])).await
}

async fn machine(user: PageUser, State(app): State<App>, Id(id): Id<MachineId>) -> Result<Redirect, PageError> {
    upgrade(&app, &user, Selection::Machines(vec![id])).await
}

async fn upgrade(app: &App, user: &PageUser, selection: Selection) -> Result<Redirect, PageError> {
    let request = RolloutRequest::of(selection);
    let rollout = rollout_create(app, user.0.space, &user.0.username, request).await.map_err(refused)?;
    Ok(Redirect::to(&format!("/rollouts/{}", rollout.id)))
}

/// What a page says of a rollout that was not made or not cancelled.
pub(super) fn refused(error: RolloutError) -> ApiError {
    let message = sentence(&error.to_string());
    match error {
        RolloutError::NothingBundled
        | RolloutError::NoPackage { .. }
        | RolloutError::NothingToDo { .. }
        | RolloutError::NothingToUndo { .. }
        | RolloutError::NotWaiting { .. }
        | RolloutError::Paused { .. }
        | RolloutError::Restored { .. }
        | RolloutError::Over { .. } => ApiError::conflict(message),
        RolloutError::Strategy(_) | RolloutError::NoWave { .. } => ApiError::bad_request(message),
        RolloutError::NoMachine { .. } | RolloutError::NoEnvironment { .. } | RolloutError::NoRollout { .. } => {
            ApiError::new(http::StatusCode::NOT_FOUND, message)
        }
        RolloutError::Db(error) => error.into(),
    }
}
