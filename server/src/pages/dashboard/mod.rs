//! The dashboard: what needs a person now, what the fleet runs, and what happened last. What it counts is aggregated by the
//! database, so it is as quick with thousands of machines as with one.

pub mod view;

use std::time::Duration;

use askama::Template;
use askama_web::WebTemplate;
use axum::Router;
use axum::extract::State;
use axum::routing::get;

use self::view::{CHART_HEIGHT, DAY_WIDTH, DashboardView, First, Loaded, dashboard_view};
use super::PageError;
use super::environments::bundled;
use super::live::{LiveView as _, cursor};
use super::shell::{Section, Shell};
use super::tasks::view::head_in_list;
use super::view::{self as words, Status};
use crate::app::App;
use crate::auth::PageUser;
use crate::clock::Timestamp;
use crate::db::DbError;
use crate::db::environments::environment_list;
use crate::db::overview::{
    overview_asking, overview_cloned, overview_failed, overview_groups, overview_paused, overview_rollouts,
};
use crate::db::samples::sample_list;
use crate::db::tasks::{TaskFilter, task_list};
use crate::ids::SpaceId;
use crate::model::VersionState;
use crate::restored::restored_open;

/// Rollouts and tasks that are listed. The others are on their own pages.
const RECENT: u32 = 6;

/// How far the chart goes back.
const CHART_SPAN: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// `/`.
pub fn router() -> Router<App> {
    Router::new().route("/", get(show))
}

#[derive(Template, WebTemplate)]
#[template(path = "dashboard/show.html")]
struct ShowPage {
    shell: Shell,
    view: DashboardView,
    now: Timestamp,
}

async fn show(user: PageUser, State(app): State<App>) -> Result<ShowPage, PageError> {
    let view = load(&app, user.0.space).await?;
    let scope = format!("page=dashboard&seen={}", cursor(&view.parts()));
    let shell = Shell::new(&app, &user, Section::Dashboard, "Dashboard").live(&scope);
    Ok(ShowPage { now: shell.now, shell, view })
}

/// What the page shows.
pub async fn load(app: &App, space: SpaceId) -> Result<DashboardView, DbError> {
    let mut conn = app.db.read().await?;

    let newest = TaskFilter { take: RECENT, ..TaskFilter::default() };
    let loaded = Loaded {
        environments: environment_list(&mut conn, space).await?.len(),
        groups: overview_groups(&mut conn, space).await?,
        cloned: overview_cloned(&mut conn, space).await?,
        restored: restored_open(&mut conn).await?.map(|restored| restored.reason()),
        paused: overview_paused(&mut conn, space).await?,
        asking: overview_asking(&mut conn, space).await?,
        failed: overview_failed(&mut conn, space).await?,
        samples: sample_list(&mut conn, space, app.now().before(CHART_SPAN)).await?,
        rollouts: overview_rollouts(&mut conn, space, RECENT).await?,
        tasks: task_list(&mut conn, space, &newest).await?.tasks.iter().map(head_in_list).collect(),
        bundled: bundled(app),
    };
    Ok(dashboard_view(loaded))
}
