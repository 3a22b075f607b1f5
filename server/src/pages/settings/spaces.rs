//! Settings of spaces: all of them, and one added, changed, stopped and deleted. For administrators.

use askama::Template;
use askama_web::WebTemplate;
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::get;
use http::StatusCode;

use super::nav::SettingsPage;
use crate::app::App;
use crate::auth::PageUser;
use crate::db::DbError;
use crate::db::spaces::{NAME_MAX, space_contents, space_get, space_list};
use crate::error::ApiError;
use crate::ids::SpaceId;
use crate::model::{NewSpace, Space, SpaceContents, TaskQueue};
use crate::pages::form::{Body, Fields, Id};
use crate::pages::shell::{Section, Shell};
use crate::pages::view::count;
use crate::pages::{ConfirmPage, PageError, Reason, Weight, sentence};
use crate::spaces::{DESCRIPTION_MAX, SpaceError, space_add, space_change, space_remove};

pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/settings/spaces", get(list).post(add))
        .route("/settings/spaces/new", get(new))
        .route("/settings/spaces/{id}", get(edit).post(save))
        .route("/settings/spaces/{id}/delete", get(ask_delete).post(delete))
}

/// How much there is in a space, in words: `2 environments, 14 machines`.
fn in_words(contents: SpaceContents) -> String {
    let all = [
        (contents.environments, "environment"),
        (contents.machines, "machine"),
        (contents.packages, "package"),
        (contents.rollouts, "rollout"),
        (contents.tasks, "task"),
    ];
    let words = all.into_iter().filter(|(number, _)| *number > 0);
    let words: Vec<String> = words.map(|(number, noun)| count(usize::try_from(number).unwrap_or(0), noun)).collect();
    if words.is_empty() { "nothing".to_owned() } else { words.join(", ") }
}

/// A space of the list.
struct Row {
    space: Space,
    contents: String,
}

#[derive(Template, WebTemplate)]
#[template(path = "settings/spaces.html")]
struct SpacesPage {
    shell: Shell,
    here: SettingsPage,
    rows: Vec<Row>,
}

async fn list(user: PageUser, State(app): State<App>) -> Result<SpacesPage, PageError> {
    let mut conn = app.db.read().await?;
    let mut rows = Vec::new();
    for space in space_list(&mut conn).await? {
        let contents = in_words(space_contents(&mut conn, space.id).await?);
        rows.push(Row { space, contents });
    }
    Ok(SpacesPage { here: SettingsPage::Spaces, shell: Shell::new(&app, &user, Section::Settings, "Spaces"), rows })
}

/// What stands in the form.
#[derive(Clone, Debug, Default)]
struct Draft {
    name: String,
    slug: String,
    description: String,
    queue: TaskQueue,
}

impl From<&Fields> for Draft {
    fn from(fields: &Fields) -> Self {
        let text = |name: &str| fields.get(name).trim().to_owned();
        let queue = TaskQueue::of(fields.is_on("stopped"));
        Self { name: text("name"), slug: text("slug"), description: text("description"), queue }
    }
}

impl From<Space> for Draft {
    fn from(space: Space) -> Self {
        Self { name: space.name, slug: space.slug, description: space.description, queue: space.queue }
    }
}

impl Draft {
    fn wish(&self) -> NewSpace {
        NewSpace {
            name: self.name.clone(),
            slug: Some(self.slug.clone()).filter(|slug| !slug.is_empty()),
            description: self.description.clone(),
            queue: self.queue,
        }
    }
}

#[derive(Template, WebTemplate)]
#[template(path = "settings/space.html")]
struct SpacePage {
    shell: Shell,
    /// `None` while it is being added.
    id: Option<SpaceId>,
    draft: Draft,
    problem: Option<String>,
}

fn page(app: &App, user: &PageUser, id: Option<SpaceId>, draft: Draft, problem: Option<&SpaceError>) -> SpacePage {
    let title = if id.is_some() { draft.name.clone() } else { "Add space".to_owned() };
    let shell = Shell::new(app, user, Section::Settings, title);
    SpacePage { shell, id, draft, problem: problem.map(|problem| sentence(&problem.to_string())) }
}

async fn new(user: PageUser, State(app): State<App>) -> SpacePage {
    page(&app, &user, None, Draft::default(), None)
}

async fn add(user: PageUser, State(app): State<App>, Body(fields): Body) -> Result<Response, PageError> {
    let draft = Draft::from(&fields);
    answer(space_add(&app, &draft.wish()).await, |problem| page(&app, &user, None, draft, Some(problem)))
}

async fn edit(user: PageUser, State(app): State<App>, Id(id): Id<SpaceId>) -> Result<SpacePage, PageError> {
    let space = get_one(&app, id).await?;
    Ok(page(&app, &user, Some(id), space.into(), None))
}

async fn save(
    user: PageUser,
    State(app): State<App>,
    Id(id): Id<SpaceId>,
    Body(fields): Body,
) -> Result<Response, PageError> {
    let draft = Draft::from(&fields);
    let changed = space_change(&app, id, |_| Ok::<_, SpaceError>(draft.wish())).await;
    answer(changed, |problem| page(&app, &user, Some(id), draft, Some(problem)))
}

/// The list where it was done, and the form again where what was typed is why it was not.
fn answer(done: Result<Space, SpaceError>, form: impl FnOnce(&SpaceError) -> SpacePage) -> Result<Response, PageError> {
    match done {
        Ok(_) => Ok(Redirect::to("/settings/spaces").into_response()),
        Err(
            problem @ (SpaceError::TooMany | SpaceError::DescriptionTooLong(_) | SpaceError::Db(DbError::Refused(_))),
        ) => Ok((StatusCode::UNPROCESSABLE_ENTITY, form(&problem)).into_response()),
        Err(error) => Err(error.into()),
    }
}

async fn ask_delete(user: PageUser, State(app): State<App>, Id(id): Id<SpaceId>) -> Result<ConfirmPage, PageError> {
    let space = get_one(&app, id).await?;
    let contents = in_words(space_contents(&mut *app.db.read().await?, id).await?);
    Ok(ConfirmPage {
        shell: Shell::new(&app, &user, Section::Settings, format!("Delete {}?", space.name)),
        consequence: format!(
            "It goes with everything in it: {contents}. The machines themselves are not touched, and what was done stays in \
             the trail. Its task queue must be stopped before, and nothing may go on in it."
        ),
        action: format!("/settings/spaces/{id}/delete"),
        fields: Vec::new(),
        weight: Weight::Grave,
        button: format!("Delete {}", space.name),
        back: format!("/settings/spaces/{id}"),
        reason: Reason::NotAsked,
    })
}

async fn delete(_: PageUser, State(app): State<App>, Id(id): Id<SpaceId>) -> Result<Redirect, PageError> {
    if !space_remove(&app, id).await? {
        return Err(ApiError::not_found(format!("The space {id}")).into());
    }
    Ok(Redirect::to("/settings/spaces"))
}

async fn get_one(app: &App, id: SpaceId) -> Result<Space, PageError> {
    let space = space_get(&mut *app.db.read().await?, id).await?;
    Ok(space.ok_or_else(|| ApiError::not_found(format!("The space {id}")))?)
}
