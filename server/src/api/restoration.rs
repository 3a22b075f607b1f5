//! That this portal was restored from a backup, and the confirmation of an administrator who has looked.

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::app::App;
use crate::auth::ApiUser;
use crate::error::ApiError;
use crate::restored::How;
use crate::restored::confirm::{Resting, confirm, restored_look};

pub(super) fn routes() -> Router<App> {
    Router::new().route("/restoration", get(show)).route("/restoration/confirm", post(confirm_it))
}

fn resource(resting: Option<&Resting>) -> Value {
    let restored = resting.map(|resting| &resting.restored);
    let (how, made_at, version) = match restored.map(|restored| &restored.how) {
        None => ("Never", None, None),
        Some(How::Backup { made_at, version }) => ("Backup", Some(made_at.rfc3339()), Some(version)),
        Some(How::Noticed { .. }) => ("Noticed", None, None),
    };
    let confirmed = restored.and_then(|restored| restored.confirmed.as_ref());
    json!({
        "Id": "restoration",
        "AwaitsConfirmation": restored.is_some_and(|restored| restored.confirmed.is_none()),
        "How": how,
        "Reason": restored.map(|restored| restored.reason()),
        "BackupMadeAt": made_at,
        "BackupVersion": version,
        "RestoredAt": restored.map(|restored| restored.at.rfc3339()),
        "ConfirmedAt": confirmed.map(|(_, at)| at.rfc3339()),
        "ConfirmedBy": confirmed.map(|(who, _)| who),
        "SuspendedApiKeys": resting.map_or(0, |resting| resting.api_keys.len()),
        "SuspendedRegistrationKeys": resting.map_or(0, |resting| resting.registration_keys.len()),
        "Links": { "Self": "/api/restoration", "Confirm": "/api/restoration/confirm" },
    })
}

async fn show(State(app): State<App>, _user: ApiUser) -> Result<Json<Value>, ApiError> {
    let resting = restored_look(&mut *app.db.read().await?, app.now()).await?;
    Ok(Json(resource(resting.as_ref())))
}

/// Confirming what nobody waits for changes nothing.
async fn confirm_it(State(app): State<App>, ApiUser(user): ApiUser) -> Result<Json<Value>, ApiError> {
    confirm(&app, &user.username).await?;
    let resting = restored_look(&mut *app.db.read().await?, app.now()).await?;
    Ok(Json(resource(resting.as_ref())))
}
