//! Freezes: times in which nothing is begun.

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::bind::{Asked, Body, Id, Space};
use super::page::{List, Page};
use super::rollouts::moment;
use crate::app::App;
use crate::auth::{ApiUser, operates};
use crate::db::maintenance::{Freeze, freeze_list};
use crate::error::ApiError;
use crate::ids::{EnvironmentId, FreezeId, SpaceId};
use crate::rollout::calendar::{FreezePeriod, FreezeScope};
use crate::rollout::freezes::{freeze_add, freeze_end};

const LIST: List<'_> = List::of("Freeze", "/freezes", &[]);

pub(super) fn routes() -> Router<App> {
    Router::new().route("/freezes", get(list).post(create)).route("/freezes/{id}", get(one).delete(remove))
}

fn resource(space: SpaceId, freeze: &Freeze) -> Value {
    let environments = match &freeze.period.scope {
        FreezeScope::All => None,
        FreezeScope::Environments(ids) => Some(ids),
    };
    json!({
        "Id": freeze.id,
        "SpaceId": space,
        "From": freeze.period.from.rfc3339(),
        "Until": freeze.period.until.rfc3339(),
        "Reason": freeze.period.reason,
        "EnvironmentIds": environments,
        "CreatedBy": freeze.created_by,
        "Created": freeze.created_at.rfc3339(),
        "Links": { "Self": format!("{}/freezes/{}", super::base(space), freeze.id) },
    })
}

async fn list(Asked { app, space, query }: Asked) -> Result<Json<Page<Value>>, ApiError> {
    let freezes = freeze_list(&mut *app.db.read().await?, space).await?;
    let items = freezes.iter().map(|freeze| resource(space, freeze)).collect();
    Ok(Json(LIST.cut(&super::base(space), items, &query)?))
}

async fn find(app: &App, space: SpaceId, id: FreezeId) -> Result<Value, ApiError> {
    let freezes = freeze_list(&mut *app.db.read().await?, space).await?;
    let found = freezes.iter().find(|freeze| freeze.id == id).map(|freeze| resource(space, freeze));
    found.ok_or_else(|| not_found(id))
}

fn not_found(id: FreezeId) -> ApiError {
    ApiError::not_found(format!("The freeze {id}"))
}

async fn one(
    State(app): State<App>,
    _user: ApiUser,
    Space(space): Space,
    Id(id): Id<FreezeId>,
) -> Result<Json<Value>, ApiError> {
    find(&app, space, id).await.map(Json)
}

/// What a client says of a freeze. Without environments it is for all; without a beginning it begins now.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct FreezeBody {
    /// When it begins, as RFC 3339; now where nothing is said.
    from: Option<String>,
    /// When it ends, as RFC 3339.
    until: String,
    /// Why.
    #[serde(default)]
    reason: String,
    /// For which environments; for all where nothing is said.
    environment_ids: Option<Vec<EnvironmentId>>,
}

async fn create(
    State(app): State<App>,
    ApiUser(user): ApiUser,
    Space(space): Space,
    Body(body): Body<FreezeBody>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let scope = body.environment_ids.map_or(FreezeScope::All, FreezeScope::Environments);
    let from = body.from.as_deref().map(moment).transpose()?.unwrap_or_else(|| app.now());
    let period = FreezePeriod { scope, from, until: moment(&body.until)?, reason: body.reason };
    operates(&app, &user, space, &period.scope.selection()).await?;
    let id = freeze_add(&app, space, &user.username, period).await?;
    Ok((StatusCode::CREATED, Json(find(&app, space, id).await?)))
}

async fn remove(
    State(app): State<App>,
    ApiUser(user): ApiUser,
    Space(space): Space,
    Id(id): Id<FreezeId>,
) -> Result<Json<Value>, ApiError> {
    if !freeze_end(&app, space, &user.username, id).await? {
        return Err(not_found(id));
    }
    Ok(Json(json!({})))
}
