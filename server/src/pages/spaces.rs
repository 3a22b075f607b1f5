//! Which space somebody looks at: all of them, and the choice. What they are called and whether they are there is a matter of
//! the settings.

use askama::Template;
use askama_web::WebTemplate;
use axum::Router;
use axum::extract::State;
use axum::response::Redirect;
use axum::routing::{get, post};
use tower_sessions::Session;

use super::PageError;
use super::form::Id;
use super::shell::{Section, Shell};
use crate::app::App;
use crate::auth::{PageUser, space_choose};
use crate::db::spaces::{space_get, space_list};
use crate::error::ApiError;
use crate::ids::SpaceId;
use crate::model::Space;

/// `/spaces`.
pub fn router() -> Router<App> {
    Router::new().route("/spaces", get(list)).route("/spaces/{id}/choose", post(choose))
}

#[derive(Template, WebTemplate)]
#[template(path = "spaces/list.html")]
struct ListPage {
    shell: Shell,
    spaces: Vec<Space>,
    /// The one that is looked at.
    here: SpaceId,
}

async fn list(user: PageUser, State(app): State<App>) -> Result<ListPage, PageError> {
    let spaces = space_list(&mut *app.db.read().await?).await?;
    let shell = Shell::new(&app, &user, Section::Dashboard, "Spaces");
    Ok(ListPage { shell, spaces, here: user.0.space })
}

/// Nothing of the page before need be in the other space, so what comes is its dashboard.
async fn choose(
    _: PageUser,
    State(app): State<App>,
    session: Session,
    Id(id): Id<SpaceId>,
) -> Result<Redirect, PageError> {
    let space = space_get(&mut *app.db.read().await?, id).await?;
    let space = space.ok_or_else(|| ApiError::not_found(format!("The space {id}")))?;
    let chosen = space_choose(&session, space.id).await;
    chosen.map_err(|error| ApiError::internal("keep the choice", &error))?;
    Ok(Redirect::to("/"))
}
