//! What the bearer of a registration key may ask: what the key allows, and to be added as a machine. `tentacle register`
//! uses it. The key says which space and which environments.

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use contract::Thumbprint;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::bad;
use super::bind::Body;
use crate::app::App;
use crate::auth::Bearer;
use crate::db::environments::environment_list;
use crate::error::ApiError;
use crate::model::Address;
use crate::registration::{Applicant, Registered, machine_register};

pub(super) fn routes() -> Router<App> {
    Router::new().route("/registration", get(allowed).post(register))
}

async fn allowed(State(app): State<App>, Bearer { key, .. }: Bearer) -> Result<Json<Value>, ApiError> {
    let all = environment_list(&mut *app.db.read().await?, key.space).await?;
    let names: Vec<String> =
        all.into_iter().filter(|e| key.environments.contains(&e.id)).map(|e| e.name.to_string()).collect();
    Ok(Json(json!({
        "PortalThumbprint": app.identities.thumbprint().to_string(),
        "Environments": names,
        "Roles": key.roles,
        "MachinesLeft": key.machines_max.saturating_sub(key.machines_used),
        "ExpiresAt": key.expires_at.rfc3339(),
        "Links": { "Self": "/api/registration" },
    })))
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ApplicantBody {
    /// What the machine is called.
    name: String,
    /// Where its Tentacle listens.
    uri: String,
    /// The SHA-256 thumbprint of its Tentacle's certificate.
    thumbprint: String,
}

async fn register(
    State(app): State<App>,
    bearer: Bearer,
    Body(body): Body<ApplicantBody>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let applicant = Applicant {
        name: body.name,
        address: body.uri.parse::<Address>().map_err(bad)?,
        thumbprint: body
            .thumbprint
            .parse::<Thumbprint>()
            .map_err(|error| bad(format!("Thumbprint is no thumbprint: {error}")))?,
    };
    let (status, machine, is_new) = match machine_register(&app, &bearer, applicant).await? {
        Registered::Added(machine) => (StatusCode::CREATED, machine, true),
        Registered::Known(machine) => (StatusCode::OK, machine, false),
    };
    let answer = json!({ "Id": machine.id, "Name": machine.name, "IsNew": is_new });
    Ok((status, Json(answer)))
}
