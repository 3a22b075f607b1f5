//! Settings: one's own account, the people who may log in, and what holds for the whole portal.

mod account;
pub mod identity;
mod maintenance;
mod nav;
mod portal;
mod restore;
mod spaces;
mod users;

use axum::Router;

use crate::app::App;

/// `/account` and `/settings`.
pub fn router() -> Router<App> {
    Router::new()
        .merge(account::router())
        .merge(portal::router())
        .merge(restore::router())
        .merge(spaces::router())
        .merge(identity::router())
        .merge(maintenance::router())
        .merge(users::router())
}
