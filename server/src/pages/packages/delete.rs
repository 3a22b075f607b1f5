//! Deleting one version of a package, after a question that says what that means.

use axum::Router;
use axum::extract::{Path, State};
use axum::response::Redirect;
use axum::routing::get;
use contract::{PackageId, Version};

use crate::app::App;
use crate::auth::PageUser;
use crate::db::packages::package_get;
use crate::error::ApiError;
use crate::feed::package_remove;
use crate::pages::shell::{Section, Shell};
use crate::pages::{ConfirmPage, PageError, Reason, Weight};

pub(super) fn router() -> Router<App> {
    Router::new().route("/packages/{name}/{version}/delete", get(ask).post(delete))
}

fn named(id: &str, version: &str) -> Result<(PackageId, Version), ApiError> {
    let missing = || ApiError::not_found(format!("The package {id} {version}"));
    Ok((id.parse().map_err(|_| missing())?, version.parse().map_err(|_| missing())?))
}

async fn ask(
    user: PageUser,
    State(app): State<App>,
    Path((id, version)): Path<(String, String)>,
) -> Result<ConfirmPage, PageError> {
    let (id, version) = named(&id, &version)?;
    let found = package_get(&mut *app.db.read().await?, user.0.space, &id, &version).await?;
    let found = found.ok_or_else(|| ApiError::not_found(format!("The package {id} {version}")))?.package;
    let name = format!("{} {}", found.package_id, found.version);
    Ok(ConfirmPage {
        shell: Shell::new(&app, &user, Section::Packages, format!("Delete {name}?")),
        consequence:
            "It can be deployed and downloaded from here no more. Machines that have it keep it, rollouts that \
                      are under way have their own copy, and it can be uploaded again."
                .to_owned(),
        action: format!("/packages/{}/{}/delete", found.package_id, found.version),
        fields: Vec::new(),
        weight: Weight::Grave,
        button: format!("Delete {name}"),
        back: "/packages".to_owned(),
        reason: Reason::NotAsked,
    })
}

async fn delete(
    user: PageUser,
    State(app): State<App>,
    Path((id, version)): Path<(String, String)>,
) -> Result<Redirect, PageError> {
    let (id, version) = named(&id, &version)?;
    let removed = package_remove(&app, user.0.space, &id, &version).await?;
    removed.ok_or_else(|| ApiError::not_found(format!("The package {id} {version}")))?;
    Ok(Redirect::to("/packages"))
}
