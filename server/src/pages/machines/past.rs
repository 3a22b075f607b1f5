//! The history of one machine: every upgrade, deployment and check that it had, in pages.

use askama::Template;
use askama_web::WebTemplate;
use axum::Router;
use axum::extract::State;
use axum::routing::get;

use crate::app::App;
use crate::auth::PageUser;
use crate::clock::Timestamp;
use crate::db::machine_past::{Deed, Past, PastKind, machine_past};
use crate::db::machines::machine_get;
use crate::error::ApiError;
use crate::ids::MachineId;
use crate::model::Machine;
use crate::pages::PageError;
use crate::pages::form::{Address, Id};
use crate::pages::shell::{Section, Shell};
use crate::pages::view::{self as words, Status};

/// What one page shows. Older ones are on the next.
const PAGE_SIZE: u32 = 50;

pub(super) fn router() -> Router<App> {
    Router::new().route("/machines/{id}/past", get(show))
}

#[derive(Template, WebTemplate)]
#[template(path = "machines/past.html")]
struct PastPage {
    shell: Shell,
    machine: Machine,
    kind: PastKind,
    past: Vec<Past>,
    total: u64,
    page: u32,
    has_more: bool,
    now: Timestamp,
}

impl PastKind {
    fn label(self) -> &'static str {
        match self {
            Self::Changes => "Upgrades and deployments",
            Self::Upgrades => "Upgrades",
            Self::Deployments => "Deployments",
            Self::Everything => "Checks too",
        }
    }
}

async fn show(
    user: PageUser,
    State(app): State<App>,
    Id(id): Id<MachineId>,
    Address(fields): Address,
) -> Result<PastPage, PageError> {
    let kind = PastKind::from_word(fields.get("kind")).unwrap_or(PastKind::Changes);
    let page = fields.get("page").parse().unwrap_or(0_u32);
    let mut conn = app.db.read().await?;
    let machine = machine_get(&mut conn, user.0.space, id).await?;
    let machine = machine.ok_or_else(|| ApiError::not_found(format!("The machine {id}")))?;
    let skip = page.saturating_mul(PAGE_SIZE);
    let (past, total) = machine_past(&mut conn, user.0.space, id, kind, (skip, PAGE_SIZE)).await?;
    let has_more = total > u64::from(skip) + u64::from(PAGE_SIZE);
    let shell = Shell::new(&app, &user, Section::Environments, format!("History of {}", machine.name));
    Ok(PastPage { now: shell.now, shell, machine, kind, past, total, page, has_more })
}
