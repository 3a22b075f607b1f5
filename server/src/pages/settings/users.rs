//! The people who may log in: adding one, what each may do, and links by which they choose a password.

use std::collections::BTreeSet;

use askama::Template;
use askama_web::WebTemplate;
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};
use http::StatusCode;

use super::nav::SettingsPage;
use crate::app::App;
use crate::auth::{PageUser, setup_link_create};
use crate::db::environments::{EnvironmentPlace, environment_places};
use crate::db::users::{user_get, user_list};
use crate::db::{Connection, DbError};
use crate::error::ApiError;
use crate::ids::{EnvironmentId, UserId};
use crate::model::{Reach, Role, User};
use crate::pages::form::{Body, Fields, Id};
use crate::pages::shell::{Section, Shell};
use crate::pages::view::{Mark, Status};
use crate::pages::{PageError, sentence};
use crate::people::{PeopleError, user_add, user_change};

pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/settings/users", get(list).post(add))
        .route("/settings/users/new", get(new))
        .route("/settings/users/{id}", get(edit).post(save))
        .route("/settings/users/{id}/link", post(link))
}

/// A user of the list.
struct Row {
    id: UserId,
    name: String,
    role: &'static str,
    /// Where they work, in words; empty where that goes without saying.
    places: String,
    status: Status,
}

fn row(user: &User, environments: &[EnvironmentPlace]) -> Row {
    let name = |id: &EnvironmentId| environments.iter().find(|e| e.id == *id).map(|e| e.label.clone());
    let places = match &user.role {
        Role::Operator(Reach::Everywhere) => "every environment".to_owned(),
        Role::Operator(Reach::Only(own)) if own.is_empty() => "no environment".to_owned(),
        Role::Operator(Reach::Only(own)) => own.iter().filter_map(name).collect::<Vec<_>>().join(", "),
        Role::Viewer | Role::Administrator => String::new(),
    };
    let status = match (user.is_disabled, user.has_password) {
        (true, _) => Status { mark: Mark::Quiet, word: "disabled" },
        (false, false) => Status { mark: Mark::Waiting, word: "no password yet" },
        (false, true) => Status { mark: Mark::Healthy, word: "may log in" },
    };
    Row { id: user.id, name: user.username.clone(), role: user.role.word(), places, status }
}

#[derive(Template, WebTemplate)]
#[template(path = "settings/users.html")]
struct UsersPage {
    shell: Shell,
    here: SettingsPage,
    rows: Vec<Row>,
}

async fn list(user: PageUser, State(app): State<App>) -> Result<UsersPage, PageError> {
    let mut conn = app.db.read().await?;
    let environments = environment_places(&mut conn).await?;
    let rows = user_list(&mut conn).await?.iter().map(|user| row(user, &environments)).collect();
    Ok(UsersPage { here: SettingsPage::Users, shell: Shell::new(&app, &user, Section::Settings, "Users"), rows })
}

/// What stands in the form, as it was chosen.
#[derive(Clone, Debug)]
struct Draft {
    name: String,
    role: Role,
    is_disabled: bool,
}

impl Draft {
    fn is_everywhere(&self) -> bool {
        !matches!(self.role, Role::Operator(Reach::Only(_)))
    }

    fn works_in(&self, id: &EnvironmentId) -> bool {
        matches!(&self.role, Role::Operator(Reach::Only(own)) if own.contains(id))
    }
}

impl From<&Fields> for Draft {
    fn from(fields: &Fields) -> Self {
        let own: BTreeSet<EnvironmentId> = fields.parsed("environment").collect();
        let role = match fields.get("role") {
            "administrator" => Role::Administrator,
            "operator" if fields.get("reach") == "everywhere" => Role::Operator(Reach::Everywhere),
            "operator" => Role::Operator(Reach::Only(own)),
            _ => Role::Viewer,
        };
        Self { name: fields.get("name").trim().to_owned(), role, is_disabled: fields.is_on("disabled") }
    }
}

#[derive(Template, WebTemplate)]
#[template(path = "settings/user.html")]
struct UserPage {
    shell: Shell,
    /// `None` while they are being added.
    id: Option<UserId>,
    draft: Draft,
    /// Of every space: users have none.
    environments: Vec<EnvironmentPlace>,
    /// A link to choose a password by, shown once.
    link: Option<String>,
    problem: Option<String>,
}

async fn page(
    app: &App,
    user: &PageUser,
    id: Option<UserId>,
    draft: Draft,
    problem: Option<String>,
) -> Result<UserPage, PageError> {
    let environments = environment_places(&mut *app.db.read().await?).await?;
    let title = if id.is_some() { draft.name.clone() } else { "Add user".to_owned() };
    let shell = Shell::new(app, user, Section::Settings, title);
    Ok(UserPage { shell, id, draft, environments, link: None, problem })
}

async fn new(user: PageUser, State(app): State<App>) -> Result<UserPage, PageError> {
    let draft = Draft { name: String::new(), role: Role::Viewer, is_disabled: false };
    page(&app, &user, None, draft, None).await
}

/// Adds a user, and shows the link by which they choose a password.
async fn add(user: PageUser, State(app): State<App>, Body(fields): Body) -> Result<Response, PageError> {
    let draft = Draft::from(&fields);
    let (added, token) = match user_add(&app, &draft.name, &draft.role).await {
        Ok(added) => added,
        Err(PeopleError::Db(DbError::Refused(refusal))) => {
            let page = page(&app, &user, None, draft, Some(sentence(&refusal.to_string()))).await?;
            return Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response());
        }
        Err(error) => return Err(ApiError::from(error).into()),
    };
    let page = page(&app, &user, Some(added.id), draft, None).await?;
    Ok(UserPage { link: Some(address(&token)), ..page }.into_response())
}

async fn edit(user: PageUser, State(app): State<App>, Id(id): Id<UserId>) -> Result<UserPage, PageError> {
    let shown = get_one(&mut *app.db.read().await?, id).await?;
    page(&app, &user, Some(id), draft_of(shown), None).await
}

fn draft_of(user: User) -> Draft {
    Draft { name: user.username, role: user.role, is_disabled: user.is_disabled }
}

async fn save(
    user: PageUser,
    State(app): State<App>,
    Id(id): Id<UserId>,
    Body(fields): Body,
) -> Result<Response, PageError> {
    let mut draft = Draft::from(&fields);
    let changed = user_change(&app, id, |old| {
        draft.name.clone_from(&old.username);
        (draft.role.clone(), draft.is_disabled)
    });
    match changed.await {
        Ok(_) => Ok(Redirect::to("/settings/users").into_response()),
        Err(error @ PeopleError::LastAdministrator) => {
            let page = page(&app, &user, Some(id), draft, Some(sentence(&error.to_string()))).await?;
            Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
        }
        Err(error) => Err(ApiError::from(error).into()),
    }
}

/// A new link for somebody who forgot their password. The password they have works until it is used.
async fn link(user: PageUser, State(app): State<App>, Id(id): Id<UserId>) -> Result<UserPage, PageError> {
    let mut tx = app.db.write().await?;
    let shown = get_one(&mut tx, id).await?;
    let link = new_link(&mut tx, &app, id).await?;
    tx.commit().await.map_err(DbError::from)?;
    let page = page(&app, &user, Some(id), draft_of(shown), None).await?;
    Ok(UserPage { link: Some(link), ..page })
}

async fn new_link(conn: &mut Connection, app: &App, id: UserId) -> Result<String, PageError> {
    let token = setup_link_create(conn, id, app.now()).await;
    let token = token.map_err(|error| ApiError::internal("make the link", &error))?;
    Ok(address(&token))
}

fn address(token: &str) -> String {
    format!("/setup?token={token}")
}

async fn get_one(conn: &mut Connection, id: UserId) -> Result<User, PageError> {
    let found = user_get(conn, id).await?;
    Ok(found.ok_or_else(|| ApiError::not_found(format!("The user {id}")))?)
}
