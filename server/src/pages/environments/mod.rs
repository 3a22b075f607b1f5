//! Environments: the heart of the portal. The list of all machines by environment; the forms are in `edit`.

mod bar;
mod edit;
pub mod filter;
mod freezes;
mod judged;
mod live;
mod offer;
pub mod view;

use askama::Template;
use askama_web::WebTemplate;
use axum::Router;
use axum::extract::State;
use axum::routing::get;

use self::filter::{FITS, Filter, Sort, Standing};
use self::view::{Bundled, EnvironmentsView, Truth, environments_view};
use super::PageError;
use super::form::Address;
use super::live::{LiveView as _, cursor};
use super::machines::selected::Deed;
use super::shell::{Section, Shell};
use super::view as words;
use crate::app::App;
use crate::auth::PageUser;
use crate::clock::Timestamp;
use crate::db::DbError;
use crate::db::briefs::brief_list;
use crate::db::environments::environment_list;
use crate::db::facts::facts_of;
use crate::db::machine_holds::hold_list;
use crate::db::places::place_list;
use crate::db::rollouts::rollout_paused;
use crate::ids::SpaceId;
use crate::model::VersionState;
use crate::sequel::may_be_judged;

/// `/environments` and what is under it, but for the upgrades.
pub fn router() -> Router<App> {
    Router::new().route("/environments", get(list)).merge(edit::router()).merge(freezes::router())
}

#[derive(Template, WebTemplate)]
#[template(path = "environments/list.html")]
struct ListPage {
    shell: Shell,
    view: EnvironmentsView,
    now: Timestamp,
}

async fn list(user: PageUser, State(app): State<App>, Address(fields): Address) -> Result<ListPage, PageError> {
    let view = environments_view(&load(&app, user.0.space).await?, &Filter::read(&fields));
    let scope = format!("page=environments&seen={}&{}", cursor(&view.parts()), view.filter.query());
    let shell = Shell::new(&app, &user, Section::Environments, "Environments").live(&scope);
    Ok(ListPage { now: shell.now, shell, view })
}

/// What the page is made from.
pub async fn load(app: &App, space: SpaceId) -> Result<Truth, DbError> {
    let mut conn = app.db.read().await?;
    let environments = environment_list(&mut conn, space).await?;
    let machines = brief_list(&mut conn, space).await?;
    let places = place_list(&mut conn, space).await?;
    let paused = rollout_paused(&mut conn, space).await?;
    let ended = places.iter().filter(|(_, place)| may_be_judged(&place.machine)).map(|(id, _)| *id).collect::<Vec<_>>();
    let facts = facts_of(&mut conn, &ended).await?;
    let holds = hold_list(&mut conn, space, app.now()).await?;
    Ok(Truth { environments, machines, facts, places, paused, bundled: bundled(app), holds })
}

/// What this portal could offer to a machine.
pub fn bundled(app: &App) -> Bundled {
    Bundled {
        version: app.bundle.version().cloned(),
        runtimes: app.bundle.packages().iter().map(|package| package.runtime.clone()).collect(),
    }
}
