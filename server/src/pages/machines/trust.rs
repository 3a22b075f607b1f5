//! A machine that shows another certificate than the one that is pinned: both are shown, and a person says which is right.

use askama::Template;
use askama_web::WebTemplate;
use axum::Router;
use axum::extract::State;
use axum::response::Redirect;
use axum::routing::get;
use contract::Thumbprint;

use crate::app::App;
use crate::auth::PageUser;
use crate::db::machines::{machine_by_thumbprint, machine_get};
use crate::discovery::discover;
use crate::error::ApiError;
use crate::ids::MachineId;
use crate::model::{Machine, NewMachine};
use crate::pages::form::{Body, Id};
use crate::pages::shell::{Section, Shell};
use crate::pages::tasks::refused;
use crate::pages::view as words;
use crate::pages::{PageError, sentence};
use crate::rollout::create::Selection;
use crate::roster::machine_change;
use crate::tasks::task_create_health;

pub(super) fn router() -> Router<App> {
    Router::new().route("/machines/{id}/trust", get(ask).post(trust))
}

/// What is shown at the address of a machine now.
enum Found {
    /// The one that is pinned.
    Same,
    /// Another one, and the other machines that are pinned to it.
    Other(Thumbprint, Vec<Machine>),
    /// None, and why.
    Nothing(String),
}

#[derive(Template, WebTemplate)]
#[template(path = "machines/trust.html")]
struct TrustPage {
    shell: Shell,
    machine: Machine,
    found: Found,
}

async fn ask(user: PageUser, State(app): State<App>, Id(id): Id<MachineId>) -> Result<TrustPage, PageError> {
    let machine = machine_get(&mut *app.db.read().await?, user.0.space, id).await?.ok_or_else(|| missing(id))?;
    let found = match discover(&app, &machine.address).await {
        Ok(found) if found == machine.thumbprint => Found::Same,
        Ok(found) => {
            let twins = machine_by_thumbprint(&mut *app.db.read().await?, user.0.space, found).await?;
            Found::Other(found, twins)
        }
        Err(error) => Found::Nothing(sentence(&error.to_string())),
    };
    let shell = Shell::new(&app, &user, Section::Environments, format!("Trust {} again", machine.name));
    Ok(TrustPage { shell, machine, found })
}

/// Pins the thumbprint that a person has seen and confirmed. Both are in the form, so that nothing is pinned that was not
/// shown, and nothing is replaced that somebody else replaced meanwhile.
async fn trust(
    user: PageUser,
    State(app): State<App>,
    Id(id): Id<MachineId>,
    Body(fields): Body,
) -> Result<Redirect, PageError> {
    let read = |name: &str| {
        let thumbprint = fields.get(name).parse::<Thumbprint>();
        thumbprint.map_err(|error| ApiError::bad_request(format!("That is no thumbprint: {error}.")))
    };
    let (before, found) = (read("before")?, read("found")?);
    let wish = |old: &Machine| {
        if old.thumbprint != before {
            let message = "Somebody pinned another thumbprint meanwhile. Look at the machine's page before you go on.";
            return Err(ApiError::conflict(message));
        }
        Ok(NewMachine {
            name: old.name.clone(),
            address: old.address.clone(),
            thumbprint: found,
            is_disabled: old.is_disabled,
            environments: old.environments.clone(),
            roles: old.roles.clone(),
        })
    };
    let (_, new) = machine_change(&app, user.0.space, id, wish).await?.ok_or_else(|| missing(id))?;
    if !new.is_disabled {
        let machines = Selection::Machines(vec![id]);
        task_create_health(&app, user.0.space, &user.0.username, &machines, None).await.map_err(refused)?;
    }
    Ok(Redirect::to(&format!("/machines/{id}")))
}

fn missing(id: MachineId) -> ApiError {
    ApiError::not_found(format!("The machine {id}"))
}
