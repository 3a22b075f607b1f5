//! The trail: what changed, newest first. Everybody may look. What is shown is in the address, so that it can be shared.

pub mod filter;
pub mod view;

use askama::Template;
use askama_web::WebTemplate;
use axum::Router;
use axum::extract::State;
use axum::routing::get;

use self::filter::Filter;
use self::view::{Row, row};
use super::PageError;
use super::form::Address;
use super::shell::{Section, Shell};
use super::view as words;
use crate::app::App;
use crate::audit::{CONSOLE, PORTAL};
use crate::auth::PageUser;
use crate::clock::Timestamp;
use crate::db::audit::{AuditFilter, audit_list};
use crate::db::users::user_list;
use crate::model::AuditKind;
use crate::rollout::automatic;

/// Rows on one page. Older ones are on the next.
const PAGE_SIZE: u32 = 50;

/// `/audit`.
pub fn router() -> Router<App> {
    Router::new().route("/audit", get(list))
}

#[derive(Template, WebTemplate)]
#[template(path = "audit/list.html")]
struct ListPage {
    shell: Shell,
    filter: Filter,
    /// Whose rows can be chosen.
    people: Vec<String>,
    rows: Vec<Row>,
    /// The address of the rows that come after these; `None` where these are the last.
    older: Option<String>,
    now: Timestamp,
}

async fn list(user: PageUser, State(app): State<App>, Address(fields): Address) -> Result<ListPage, PageError> {
    let filter = Filter::read(&fields);
    let mut conn = app.db.read().await?;
    let wanted = AuditFilter { take: PAGE_SIZE + 1, ..filter.wanted() };
    let mut found = audit_list(&mut conn, user.0.space, &wanted).await?;
    let has_more = found.len() > PAGE_SIZE as usize;
    found.truncate(PAGE_SIZE as usize);
    let last = found.last().filter(|_| has_more).map(|audit| audit.id);
    let older = last.map(|before| Filter { before: Some(before), ..filter.clone() }.path());
    let users = user_list(&mut conn).await?.into_iter().map(|user| user.username);
    let people = users.chain([PORTAL, automatic::WHO, CONSOLE].map(str::to_owned)).collect();
    let shell = Shell::new(&app, &user, Section::Audit, "Audit");
    let rows = found.into_iter().map(|audit| row(audit, &shell.role)).collect();
    Ok(ListPage { now: shell.now, shell, filter, people, rows, older })
}
