//! The portal's identity and the change of it, for scripts.

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::bind::MayBody;
use crate::app::App;
use crate::auth::ApiUser;
use crate::error::{ApiError, sentence};
use crate::model::Role;
use crate::rotation::{RotationError, Stage, Wish, progress, rotate};

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/identity", get(show))
        .route("/identity/ready", post(async |app: State<App>, user: ApiUser| act(app, user, Wish::Ready).await))
        .route("/identity/abandon", post(async |app: State<App>, user: ApiUser| act(app, user, Wish::Abandon).await))
        .route("/identity/use", post(switch))
        .route("/identity/forget", post(forget))
}

async fn resource(app: &App, role: &Role) -> Result<Value, ApiError> {
    let progress = progress(app, &mut *app.db.read().await?).await?;
    let set = app.identities.set();
    let behind = progress.named_for(role).iter().map(|machine| {
        let tried = machine.tried.as_ref();
        json!({
            "MachineId": machine.target.machine,
            "Name": machine.name,
            "TriedAt": tried.map(|(at, _)| at.rfc3339()),
            "Reason": tried.map(|(_, reason)| reason),
        })
    });
    Ok(json!({
        "Id": "identity",
        "Stage": match progress.stage {
            Stage::Settled => "Settled",
            Stage::Readied => "Readied",
            Stage::Kept => "Kept",
        },
        "Thumbprint": set.current.thumbprint().to_string(),
        "NextThumbprint": set.next.as_ref().map(|identity| identity.thumbprint().to_string()),
        "FormerThumbprint": set.former.as_ref().map(|identity| identity.thumbprint().to_string()),
        "Machines": progress.machines,
        "MachinesBehindCount": progress.behind.len(),
        "MachinesBehind": behind.collect::<Vec<_>>(),
        "Links": { "Self": "/api/identity" },
    }))
}

async fn show(State(app): State<App>, user: ApiUser) -> Result<Json<Value>, ApiError> {
    Ok(Json(resource(&app, &user.0.role).await?))
}

async fn act(State(app): State<App>, user: ApiUser, wish: Wish) -> Result<Json<Value>, ApiError> {
    rotate(&app, wish).await?;
    Ok(Json(resource(&app, &user.0.role).await?))
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct CutOff {
    /// How many machines at most do not follow, and are cut off.
    machines_cut_off: usize,
}

async fn switch(app: State<App>, user: ApiUser, MayBody(body): MayBody<CutOff>) -> Result<Json<Value>, ApiError> {
    act(app, user, Wish::Switch { cut_off: body.machines_cut_off }).await
}

async fn forget(app: State<App>, user: ApiUser, MayBody(body): MayBody<CutOff>) -> Result<Json<Value>, ApiError> {
    act(app, user, Wish::Forget { cut_off: body.machines_cut_off }).await
}

impl From<RotationError> for ApiError {
    fn from(error: RotationError) -> Self {
        match error {
            RotationError::Db(error) => error.into(),
            error => Self::conflict(sentence(&error.to_string())),
        }
    }
}
