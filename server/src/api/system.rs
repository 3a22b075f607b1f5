//! What there is once in the portal and is no resource of a space: its status, and maintenance.

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::bind::Body;
use crate::app::App;
use crate::auth::ApiUser;
use crate::error::ApiError;
use crate::maintenance::{is_in_maintenance, maintenance_set};

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/serverstatus", get(status))
        .route("/maintenanceconfiguration", get(maintenance).put(set_maintenance))
}

async fn status(State(app): State<App>, _user: ApiUser) -> Result<Json<Value>, ApiError> {
    let is_in_maintenance = is_in_maintenance(&mut *app.db.read().await?).await?;
    Ok(Json(json!({
        "Id": "ServerStatus",
        "Version": app.public_info.version.to_string(),
        "InstallationId": app.public_info.installation_id.to_string(),
        "IsInMaintenanceMode": is_in_maintenance,
        "MaintenanceExpires": null,
        "IsDatabaseEncrypted": false,
        "IsUpgradeAvailable": false,
        "Links": { "Self": "/api/serverstatus", "MaintenanceConfiguration": MAINTENANCE_LINK },
    })))
}

const MAINTENANCE_LINK: &str = "/api/maintenanceconfiguration";

fn maintenance_resource(is_in_maintenance: bool) -> Value {
    json!({
        "Id": "maintenance",
        "IsInMaintenanceMode": is_in_maintenance,
        "Links": { "Self": MAINTENANCE_LINK },
    })
}

async fn maintenance(State(app): State<App>, _user: ApiUser) -> Result<Json<Value>, ApiError> {
    Ok(Json(maintenance_resource(is_in_maintenance(&mut *app.db.read().await?).await?)))
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct MaintenanceBody {
    /// Whether administrators alone change anything.
    is_in_maintenance_mode: bool,
}

async fn set_maintenance(
    State(app): State<App>,
    _user: ApiUser,
    Body(body): Body<MaintenanceBody>,
) -> Result<Json<Value>, ApiError> {
    maintenance_set(&app, body.is_in_maintenance_mode).await?;
    Ok(Json(maintenance_resource(body.is_in_maintenance_mode)))
}
