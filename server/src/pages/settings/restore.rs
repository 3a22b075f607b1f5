//! The page of a restored portal: what happened, which keys rest, and the one button that lets everything go on.

use askama::Template;
use askama_web::WebTemplate;
use axum::Router;
use axum::extract::State;
use axum::response::Redirect;
use axum::routing::{get, post};

use super::nav::SettingsPage;
use crate::app::App;
use crate::auth::PageUser;
use crate::clock::Timestamp;
use crate::db::api_keys::api_key_list_through;
use crate::db::users::user_get;
use crate::ids::ApiKeyId;
use crate::model::Scope;
use crate::pages::form::Id;
use crate::pages::shell::{Section, Shell};
use crate::pages::view as words;
use crate::pages::{PageError, sentence};
use crate::people::api_key_end;
use crate::restored::confirm::{Resting, confirm, restored_look};

pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/settings/restore", get(show).post(confirm_it))
        .route("/settings/restore/keys/{id}/revoke", post(revoke))
}

#[derive(Template, WebTemplate)]
#[template(path = "settings/restore.html")]
struct RestorePage {
    shell: Shell,
    here: SettingsPage,
    /// What happened, in a sentence; empty where nothing did.
    reason: String,
    resting: Option<Resting>,
    now: Timestamp,
}

async fn show(user: PageUser, State(app): State<App>) -> Result<RestorePage, PageError> {
    let resting = restored_look(&mut *app.db.read().await?, app.now()).await?;
    let reason = resting.as_ref().map_or(String::new(), |resting| sentence(&resting.restored.reason()));
    let shell = Shell::new(&app, &user, Section::Settings, "Restore");
    Ok(RestorePage { here: SettingsPage::Restore, reason, resting, now: shell.now, shell })
}

async fn confirm_it(user: PageUser, State(app): State<App>) -> Result<Redirect, PageError> {
    confirm(&app, &user.0.username).await?;
    Ok(Redirect::to("/settings/restore"))
}

/// Revokes a key of anybody that rests. One that works no more changes nothing.
async fn revoke(_user: PageUser, State(app): State<App>, Id(id): Id<ApiKeyId>) -> Result<Redirect, PageError> {
    let mut conn = app.db.read().await?;
    let known = api_key_list_through(&mut conn, id.0).await?.into_iter().find(|(key, _)| key.id == id);
    if let Some((key, _)) = known
        && let Some(owner) = user_get(&mut conn, key.user).await?
    {
        drop(conn);
        api_key_end(&app, &owner, id).await?;
    }
    Ok(Redirect::to("/settings/restore"))
}
