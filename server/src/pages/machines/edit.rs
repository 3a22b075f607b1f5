//! The forms that change and delete machines.

use askama::Template;
use askama_web::WebTemplate;
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use http::StatusCode;

use super::form::Draft;
use crate::app::App;
use crate::auth::PageUser;
use crate::db::Connection;
use crate::db::environments::environment_list;
use crate::db::machines::machine_get;
use crate::error::ApiError;
use crate::ids::{MachineId, SpaceId};
use crate::model::{Environment, Machine, NewMachine};
use crate::pages::form::{Body, Id};
use crate::pages::shell::{Section, Shell};
use crate::pages::tasks::refused;
use crate::pages::{ConfirmPage, PageError, Reason, Weight, sentence};
use crate::rollout::create::Selection;
use crate::roster::{machine_change, machine_remove};
use crate::tasks::task_create_health;

pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/machines/{id}/edit", get(edit).post(save))
        .route("/machines/{id}/delete", get(ask_delete).post(delete))
}

#[derive(Template, WebTemplate)]
#[template(path = "machines/edit.html")]
struct EditPage {
    shell: Shell,
    id: MachineId,
    name: String,
    environments: Vec<Environment>,
    draft: Draft,
    problem: Option<String>,
}

async fn edit(user: PageUser, State(app): State<App>, Id(id): Id<MachineId>) -> Result<EditPage, PageError> {
    let machine = get_one(&mut *app.db.read().await?, user.0.space, id).await?;
    page(&app, &user, id, machine.name.clone(), machine.into(), None).await
}

async fn page(
    app: &App,
    user: &PageUser,
    id: MachineId,
    name: String,
    draft: Draft,
    problem: Option<String>,
) -> Result<EditPage, PageError> {
    let environments = environment_list(&mut *app.db.read().await?, user.0.space).await?;
    let shell = Shell::new(app, user, Section::Environments, format!("Edit {name}"));
    Ok(EditPage { shell, id, name, environments, draft, problem })
}

async fn save(
    user: PageUser,
    State(app): State<App>,
    Id(id): Id<MachineId>,
    Body(fields): Body,
) -> Result<Response, PageError> {
    let draft = Draft::from(&fields);
    let problem = match draft.read() {
        Ok(new) => match update(&app, &user, id, &new).await {
            Ok(()) => return Ok(Redirect::to(&format!("/machines/{id}")).into_response()),
            Err(PageError(error)) if error.status == StatusCode::BAD_REQUEST => error.message,
            Err(error) => return Err(error),
        },
        Err(problem) => problem,
    };
    let name = get_one(&mut *app.db.read().await?, user.0.space, id).await?.name;
    let page = page(&app, &user, id, name, draft, Some(sentence(&problem))).await?;
    Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
}

async fn update(app: &App, user: &PageUser, id: MachineId, new: &NewMachine) -> Result<(), PageError> {
    user.0.operates(&new.environments)?;
    let wish = |_: &Machine| Ok::<_, ApiError>(new.clone());
    let (old, new) = machine_change(app, user.0.space, id, wish).await?.ok_or_else(|| missing(id))?;
    if (old.address, old.thumbprint) != (new.address, new.thumbprint) && !new.is_disabled {
        // What is known of it was seen at the old address.
        let machines = Selection::Machines(vec![id]);
        task_create_health(app, user.0.space, &user.0.username, &machines, None).await.map_err(refused)?;
    }
    Ok(())
}

async fn ask_delete(user: PageUser, State(app): State<App>, Id(id): Id<MachineId>) -> Result<ConfirmPage, PageError> {
    let machine = get_one(&mut *app.db.read().await?, user.0.space, id).await?;
    Ok(ConfirmPage {
        shell: Shell::new(&app, &user, Section::Environments, format!("Delete {}?", machine.name)),
        consequence:
            "The portal forgets the machine and speaks to it no more. Nothing is changed on the machine itself: \
                      its Tentacle goes on running, and it can be added again."
                .to_owned(),
        action: format!("/machines/{id}/delete"),
        fields: Vec::new(),
        weight: Weight::Grave,
        button: format!("Delete {}", machine.name),
        back: format!("/machines/{id}"),
        reason: Reason::NotAsked,
    })
}

async fn delete(user: PageUser, State(app): State<App>, Id(id): Id<MachineId>) -> Result<Redirect, PageError> {
    if !machine_remove(&app, user.0.space, id).await? {
        return Err(missing(id));
    }
    Ok(Redirect::to("/environments"))
}

async fn get_one(conn: &mut Connection, space: SpaceId, id: MachineId) -> Result<Machine, PageError> {
    machine_get(conn, space, id).await?.ok_or_else(|| missing(id))
}

fn missing(id: MachineId) -> PageError {
    ApiError::not_found(format!("The machine {id}")).into()
}
