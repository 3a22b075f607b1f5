//! Adding a machine by host and port: the portal shows the thumbprint that it found, and a person confirms it.

use askama::Template;
use askama_web::WebTemplate;
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use contract::Thumbprint;
use http::StatusCode;

use super::form::Draft;
use crate::app::App;
use crate::auth::PageUser;
use crate::db::DbError;
use crate::db::environments::environment_list;
use crate::db::machines::{machine_by_name, machine_by_thumbprint};
use crate::discovery::discover;
use crate::ids::{MachineId, SpaceId};
use crate::model::{Environment, Machine, NewMachine};
use crate::pages::form::{Address, Body};
use crate::pages::shell::{Section, Shell};
use crate::pages::view as words;
use crate::pages::{PageError, sentence};
use crate::roster::machine_add;

pub(super) fn router() -> Router<App> {
    Router::new().route("/machines/new", get(new)).route("/machines/discover", post(look)).route("/machines", post(add))
}

#[derive(Template, WebTemplate)]
#[template(path = "machines/new.html")]
struct NewPage {
    shell: Shell,
    environments: Vec<Environment>,
    draft: Draft,
    problem: Option<String>,
}

async fn new(user: PageUser, State(app): State<App>, Address(fields): Address) -> Result<NewPage, PageError> {
    page(&app, &user, Draft::from(&fields), None).await
}

async fn page(app: &App, user: &PageUser, draft: Draft, problem: Option<String>) -> Result<NewPage, PageError> {
    let environments = environment_list(&mut *app.db.read().await?, user.0.space).await?;
    Ok(NewPage { shell: Shell::new(app, user, Section::Environments, "Add machine"), environments, draft, problem })
}

async fn again(app: &App, user: &PageUser, draft: Draft, problem: &str) -> Result<Response, PageError> {
    let page = page(app, user, draft, Some(sentence(problem))).await?;
    Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
}

#[derive(Template, WebTemplate)]
#[template(path = "machines/confirm.html")]
struct FoundPage {
    shell: Shell,
    draft: Draft,
    thumbprint: Thumbprint,
    twins: Vec<Machine>,
}

async fn look(user: PageUser, State(app): State<App>, Body(fields): Body) -> Result<Response, PageError> {
    let draft = Draft::from(&fields);
    match find(&app, user.0.space, &draft).await? {
        Ok(thumbprint) => {
            let twins = machine_by_thumbprint(&mut *app.db.read().await?, user.0.space, thumbprint).await?;
            let shell = Shell::new(&app, &user, Section::Environments, "Add machine");
            Ok(FoundPage { shell, draft, thumbprint, twins }.into_response())
        }
        Err(problem) => again(&app, &user, draft, &problem).await,
    }
}

/// The thumbprint at the draft's address, or why a person has to change the form first.
async fn find(app: &App, space: SpaceId, draft: &Draft) -> Result<Result<Thumbprint, String>, DbError> {
    if draft.name.is_empty() {
        return Ok(Err("the machine must have a name".to_owned()));
    }
    if draft.environments.is_empty() {
        return Ok(Err("a machine must belong to at least one environment".to_owned()));
    }
    if machine_by_name(&mut *app.db.read().await?, space, &draft.name).await?.is_some() {
        return Ok(Err(format!("there is already a machine with the name \"{}\"; choose another name", draft.name)));
    }
    let address = match draft.address() {
        Ok(address) => address,
        Err(problem) => return Ok(Err(problem)),
    };
    let found = discover(app, &address).await;
    Ok(found.map_err(|error| format!("no certificate was found at {address}: {error}")))
}

async fn add(user: PageUser, State(app): State<App>, Body(fields): Body) -> Result<Response, PageError> {
    let draft = Draft::from(&fields);
    let problem = match draft.read() {
        Ok(new) => match insert(&app, &user, &new).await {
            Ok(id) => return Ok(Redirect::to(&format!("/machines/{id}")).into_response()),
            Err(PageError(error)) if error.status == StatusCode::BAD_REQUEST => error.message,
            Err(error) => return Err(error),
        },
        Err(problem) => problem,
    };
    again(&app, &user, draft, &problem).await
}

async fn insert(app: &App, user: &PageUser, new: &NewMachine) -> Result<MachineId, PageError> {
    user.0.operates(&new.environments)?;
    Ok(machine_add(app, user.0.space, new).await?.id)
}
