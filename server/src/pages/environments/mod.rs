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

use self::filter::Filter;
use self::view::{Bundled, EnvironmentsView, Truth, environments_view};
use super::PageError;
use super::form::Address;
use super::live::{LiveView as _, cursor};
use super::shell::{Section, Shell};
use super::view as words;
use crate::app::App;
use crate::auth::PageUser;
use crate::clock::Timestamp;
use crate::db::DbError;
use crate::db::environments::environment_list;
use crate::db::facts::facts_list;
use crate::db::machine_holds::hold_list;
use crate::db::machines::machine_list;
use crate::db::rollouts::{rollout_machines_live, rollout_machines_lost, rollout_paused};
use crate::ids::SpaceId;
use crate::model::{Observed, VersionState};

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
    let view = environments_view(&load(&app).await?, &Filter::read(&fields));
    let scope = format!("page=environments&seen={}&{}", cursor(&view.parts()), view.filter.query());
    let shell = Shell::new(&app, &user, Section::Environments, "Environments").live(&scope);
    Ok(ListPage { now: shell.now, shell, view })
}

/// What the page is made from.
pub async fn load(app: &App) -> Result<Truth, DbError> {
    let mut conn = app.db.read().await?;
    let environments = environment_list(&mut conn, SpaceId::DEFAULT).await?;
    let machines = machine_list(&mut conn, SpaceId::DEFAULT).await?;
    let mut facts = facts_list(&mut conn, SpaceId::DEFAULT).await?;
    let mut places = rollout_machines_lost(&mut conn, SpaceId::DEFAULT).await?;
    places.extend(rollout_machines_live(&mut conn, SpaceId::DEFAULT).await?);
    let paused = rollout_paused(&mut conn, SpaceId::DEFAULT).await?;
    let observed = machines.into_iter().map(|machine| Observed { facts: facts.remove(&machine.id), machine });
    let holds = hold_list(&mut conn, SpaceId::DEFAULT, app.now()).await?;
    Ok(Truth { environments, observed: observed.collect(), places, paused, bundled: bundled(app), holds })
}

/// What this portal could offer to a machine.
pub fn bundled(app: &App) -> Bundled {
    Bundled {
        version: app.bundle.version().cloned(),
        runtimes: app.bundle.packages().iter().map(|package| package.runtime.clone()).collect(),
    }
}
