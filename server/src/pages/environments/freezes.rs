//! Freezes: the list of times in which nothing is begun, and the form that adds one.

use askama::Template;
use askama_web::WebTemplate;
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use http::StatusCode;

use crate::app::App;
use crate::auth::{PageUser, may, operates};
use crate::clock::Timestamp;
use crate::db::environments::environment_list;
use crate::db::maintenance::{Freeze, freeze_list};
use crate::ids::{EnvironmentId, FreezeId};
use crate::model::Environment;
use crate::pages::form::{Body, Fields, Id};
use crate::pages::shell::{Section, Shell};
use crate::pages::view::{Mark, Status};
use crate::pages::{PageError, sentence};
use crate::rollout::calendar::{FreezePeriod, FreezeScope};
use crate::rollout::freezes::{FreezeError, freeze_add, freeze_end};

pub(super) fn router() -> Router<App> {
    Router::new().route("/freezes", get(list).post(add)).route("/freezes/{id}/end", post(end))
}

/// A freeze of the list.
struct Row {
    id: FreezeId,
    status: Status,
    from: String,
    until: String,
    places: String,
    reason: String,
    by: String,
    /// The reader may take it back.
    may_end: bool,
}

/// What stands in the form, as it was typed.
#[derive(Clone, Debug, Default)]
struct Draft {
    from: String,
    until: String,
    reason: String,
    is_for_all: bool,
    environments: Vec<EnvironmentId>,
}

#[derive(Template, WebTemplate)]
#[template(path = "environments/freezes.html")]
struct FreezesPage {
    shell: Shell,
    rows: Vec<Row>,
    environments: Vec<Environment>,
    draft: Draft,
    problem: Option<String>,
}

async fn page(app: &App, user: &PageUser, draft: Draft, problem: Option<String>) -> Result<FreezesPage, PageError> {
    let mut conn = app.db.read().await?;
    let environments = environment_list(&mut conn, user.0.space).await?;
    let freezes = freeze_list(&mut conn, user.0.space).await?;
    let rows = freezes.into_iter().map(|freeze| row(freeze, &environments, app.now())).collect();
    let shell = Shell::new(app, user, Section::Environments, "Freezes");
    Ok(FreezesPage { shell, rows, environments, draft, problem })
}

fn row(freeze: Freeze, environments: &[Environment], now: Timestamp) -> Row {
    let all: Vec<EnvironmentId> = environments.iter().map(|environment| environment.id).collect();
    let may_end = match &freeze.period.scope {
        FreezeScope::All => may::post_in("/freezes/{id}/end", &all),
        FreezeScope::Environments(ids) => may::post_in("/freezes/{id}/end", ids),
    };
    let period = freeze.period;
    let (mark, word) = match () {
        () if now < period.from => (Mark::Waiting, "to come"),
        () if now < period.until => (Mark::Attention, "in force"),
        () => (Mark::Quiet, "over"),
    };
    let places = match period.scope {
        FreezeScope::All => "all environments".to_owned(),
        FreezeScope::Environments(ids) => {
            let name = |id: &EnvironmentId| environments.iter().find(|e| e.id == *id).map(|e| e.name.to_string());
            let names: Vec<String> = ids.iter().filter_map(name).collect();
            if names.is_empty() { "an environment that is gone".to_owned() } else { names.join(", ") }
        }
    };
    Row {
        id: freeze.id,
        status: Status { mark, word },
        from: period.from.minutes(),
        until: period.until.minutes(),
        places,
        reason: sentence(&period.reason),
        by: freeze.created_by,
        may_end: may_end && now < period.until,
    }
}

async fn list(user: PageUser, State(app): State<App>) -> Result<FreezesPage, PageError> {
    let from = app.now().field();
    page(&app, &user, Draft { from, is_for_all: true, ..Draft::default() }, None).await
}

impl From<&Fields> for Draft {
    fn from(fields: &Fields) -> Self {
        Self {
            from: fields.get("from").trim().to_owned(),
            until: fields.get("until").trim().to_owned(),
            reason: fields.get("reason").trim().to_owned(),
            is_for_all: fields.is_on("all"),
            environments: fields.parsed("environment").collect(),
        }
    }
}

impl Draft {
    fn read(&self) -> Result<FreezePeriod, String> {
        let moment = |text: &str| {
            Timestamp::from_field(text)
                .ok_or_else(|| format!("\"{text}\" is no moment: write one like 2026-12-20T18:00, in UTC"))
        };
        let scope = match self.is_for_all {
            true => FreezeScope::All,
            false => FreezeScope::Environments(self.environments.clone()),
        };
        let (from, until) = (moment(&self.from)?, moment(&self.until)?);
        Ok(FreezePeriod { scope, from, until, reason: self.reason.clone() })
    }
}

async fn add(user: PageUser, State(app): State<App>, Body(fields): Body) -> Result<Response, PageError> {
    let draft = Draft::from(&fields);
    let read = draft.read();
    if let Ok(period) = &read {
        operates(&app, &user.0, user.0.space, &period.scope.selection()).await?;
    }
    let problem = match read {
        Ok(period) => match freeze_add(&app, user.0.space, &user.0.username, period).await {
            Ok(_) => return Ok(Redirect::to("/freezes").into_response()),
            Err(FreezeError::Db(error)) => return Err(error.into()),
            Err(refused) => refused.to_string(),
        },
        Err(problem) => problem,
    };
    let page = page(&app, &user, draft, Some(sentence(&problem))).await?;
    Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
}

/// Taking back a freeze that is gone already changes nothing.
async fn end(user: PageUser, State(app): State<App>, Id(id): Id<FreezeId>) -> Result<Redirect, PageError> {
    freeze_end(&app, user.0.space, &user.0.username, id).await?;
    Ok(Redirect::to("/freezes"))
}
