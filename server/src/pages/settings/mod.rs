//! Settings: one's own account, and the people who may log in.

mod account;
mod users;

use axum::Router;

use crate::app::App;

/// `/account` and `/settings`.
pub fn router() -> Router<App> {
    Router::new().merge(account::router()).merge(users::router())
}
