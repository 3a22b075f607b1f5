//! Users and the API keys of their scripts. There is one list of users for all spaces. An administrator sees and changes
//! everybody; whoever else, themselves. A key acts in its user's name, so nobody makes one for somebody else.

use std::collections::BTreeSet;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::bind::{Body, Id, KeyId, Query};
use super::page::{List, Page};
use super::rollouts::moment;
use crate::app::App;
use crate::auth::{ApiUser, Principal, Via};
use crate::db::api_keys::api_key_list;
use crate::db::environments::environment_ids_everywhere;
use crate::db::users::{user_get, user_list};
use crate::error::ApiError;
use crate::ids::{ApiKeyId, EnvironmentId, UserId};
use crate::model::{ApiKey, KeyWish, Reach, Role, Scope, User};
use crate::people::{api_key_add, api_key_end, user_add, user_change};

/// Longest purpose of a key, in characters. A longer one is refused.
const PURPOSE_MAX: usize = 200;

pub(super) const LIST: List<'_> = List { has_all: true, ..List::of("User", "/users", &["ids", "filter"]) };

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/users", get(list).post(create))
        .route("/users/all", get(all))
        .route("/users/me", get(me))
        .route("/users/{id}", get(one).put(update))
        .route("/users/{id}/apikeys", get(keys).post(create_key))
        .route("/users/{id}/apikeys/{key}", get(key).delete(revoke))
}

fn resource(user: &User) -> Value {
    let environments = match &user.role {
        Role::Operator(Reach::Only(own)) => json!(own),
        Role::Operator(Reach::Everywhere) | Role::Viewer | Role::Administrator => Value::Null,
    };
    let link = format!("/api/users/{}", user.id);
    json!({
        "Id": user.id,
        "Username": user.username,
        "DisplayName": user.username,
        "EmailAddress": null,
        "IsActive": !user.is_disabled,
        "IsService": false,
        "CanPasswordBeEdited": true,
        "Role": user.role.word(),
        "EnvironmentIds": environments,
        "Links": { "Self": link, "ApiKeys": format!("{link}/apikeys{{/id}}{{?skip,take}}") },
    })
}

async fn found(app: &App, query: &Query) -> Result<Vec<Value>, ApiError> {
    let ids: Vec<UserId> = query.list("ids")?;
    let part = query.text("filter").map(str::to_lowercase);
    let users = user_list(&mut *app.db.read().await?).await?;
    let passes = |user: &&User| {
        (ids.is_empty() || ids.contains(&user.id))
            && part.as_ref().is_none_or(|part| user.username.to_lowercase().contains(part))
    };
    Ok(users.iter().filter(passes).map(resource).collect())
}

async fn list(State(app): State<App>, _user: ApiUser, query: Query) -> Result<Json<Page<Value>>, ApiError> {
    Ok(Json(LIST.cut("/api", found(&app, &query).await?, &query)?))
}

async fn all(State(app): State<App>, _user: ApiUser, query: Query) -> Result<Json<Vec<Value>>, ApiError> {
    Ok(Json(found(&app, &query).await?))
}

async fn me(State(app): State<App>, ApiUser(user): ApiUser) -> Result<Json<Value>, ApiError> {
    Ok(Json(resource(&find(&app, user.user).await?)))
}

async fn find(app: &App, id: UserId) -> Result<User, ApiError> {
    let found = user_get(&mut *app.db.read().await?, id).await?;
    found.ok_or_else(|| ApiError::not_found(format!("The user {id}")))
}

/// The user of that id, for themselves and for administrators.
async fn shown_to(app: &App, who: &Principal, id: UserId) -> Result<User, ApiError> {
    if who.user != id && who.role != Role::Administrator {
        return Err(ApiError::forbidden("Only an administrator may look at other users."));
    }
    find(app, id).await
}

async fn one(State(app): State<App>, ApiUser(who): ApiUser, Id(id): Id<UserId>) -> Result<Json<Value>, ApiError> {
    Ok(Json(resource(&shown_to(&app, &who, id).await?)))
}

/// What a client says of a user. In an update, what is left out stays as it is.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct UserBody {
    /// The name to log in with. It stays.
    username: Option<String>,
    /// `viewer`, `operator` or `administrator`.
    role: Option<String>,
    /// Where an operator may act; everywhere where nothing is said.
    environment_ids: Option<Vec<EnvironmentId>>,
    /// Whether they come in.
    is_active: Option<bool>,
    /// Service accounts are not built.
    is_service: Option<bool>,
    /// Refused: they choose it themselves, at the `SetupLink`.
    password: Option<String>,
}

impl UserBody {
    /// What they may do: as it was where nothing is said of it, and to look where there was nothing.
    fn role(&self, old: Option<&Role>) -> Result<Role, ApiError> {
        let own = |ids: &[EnvironmentId]| Role::Operator(Reach::Only(ids.iter().copied().collect::<BTreeSet<_>>()));
        let word = self.role.as_deref().map(str::to_lowercase);
        match (word.as_deref(), self.environment_ids.as_deref(), old) {
            (None | Some("operator"), Some(ids), Some(Role::Operator(_))) => Ok(own(ids)),
            (None, _, Some(old)) => Ok(old.clone()),
            (None | Some("viewer"), ..) => Ok(Role::Viewer),
            (Some("operator"), Some(ids), _) => Ok(own(ids)),
            (Some("operator"), None, Some(old @ Role::Operator(_))) => Ok(old.clone()),
            (Some("operator"), None, _) => Ok(Role::Operator(Reach::Everywhere)),
            (Some("administrator"), ..) => Ok(Role::Administrator),
            (Some(_), ..) => Err(ApiError::bad_request("A Role is viewer, operator or administrator.")),
        }
    }

    async fn check(&self, app: &App) -> Result<(), ApiError> {
        if self.password.is_some() {
            let how = "Nobody chooses a password for somebody else: the answer's SetupLink is where they choose it.";
            return Err(ApiError::bad_request(how));
        }
        if self.is_service == Some(true) {
            return Err(super::not_built("Service accounts are not built. Make a user and an API key of theirs."));
        }
        let known = environment_ids_everywhere(&mut *app.db.read().await?).await?;
        let mut named = self.environment_ids.iter().flatten();
        match named.find(|id| !known.contains(id)) {
            Some(unknown) => Err(ApiError::bad_request(format!("There is no environment {unknown}."))),
            None => Ok(()),
        }
    }
}

async fn create(
    State(app): State<App>,
    _user: ApiUser,
    Body(body): Body<UserBody>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    body.check(&app).await?;
    if body.is_active == Some(false) {
        return Err(ApiError::bad_request("A new user is active. Add them, and then write IsActive."));
    }
    let name = body.username.as_deref().unwrap_or_default();
    let (user, token) = user_add(&app, name, &body.role(None)?).await?;
    let mut made = resource(&user);
    made["SetupLink"] = json!(format!("/setup?token={token}"));
    Ok((StatusCode::CREATED, Json(made)))
}

async fn update(
    State(app): State<App>,
    _user: ApiUser,
    Id(id): Id<UserId>,
    Body(body): Body<UserBody>,
) -> Result<Json<Value>, ApiError> {
    body.check(&app).await?;
    let old = find(&app, id).await?;
    if body.username.as_ref().is_some_and(|name| *name != old.username) {
        return Err(ApiError::bad_request("A user keeps their name: the events tell it."));
    }
    let role = body.role(Some(&old.role))?;
    let changed = user_change(&app, id, |old| (role, body.is_active.map_or(old.is_disabled, |is_active| !is_active)));
    Ok(Json(resource(&changed.await?)))
}

fn key_resource(key: &ApiKey, now: crate::clock::Timestamp) -> Value {
    let link = format!("/api/users/{}/apikeys/{}", key.user, key.id);
    json!({
        "Id": key.id,
        "UserId": key.user,
        "Purpose": key.purpose,
        "Scope": key.scope.word(),
        "Created": key.created_at.rfc3339(),
        "Expires": key.expires_at.map(|end| end.rfc3339()),
        "Revoked": key.revoked_at.map(|at| at.rfc3339()),
        "IsActive": key.works(now),
        // The key itself was shown once.
        "ApiKey": { "HasValue": true, "NewValue": null, "Hint": null },
        "Links": { "Self": link },
    })
}

async fn keys(
    State(app): State<App>,
    ApiUser(who): ApiUser,
    Id(id): Id<UserId>,
    query: Query,
) -> Result<Json<Page<Value>>, ApiError> {
    shown_to(&app, &who, id).await?;
    let keys = api_key_list(&mut *app.db.read().await?, id).await?;
    let path = format!("/users/{id}/apikeys");
    let list = List { path: &path, ..List::of("ApiKey", "", &[]) };
    let items = keys.iter().map(|key| key_resource(key, app.now())).collect();
    Ok(Json(list.cut("/api", items, &query)?))
}

async fn find_key(app: &App, user: UserId, id: ApiKeyId) -> Result<ApiKey, ApiError> {
    let keys = api_key_list(&mut *app.db.read().await?, user).await?;
    let found = keys.into_iter().find(|key| key.id == id);
    found.ok_or_else(|| ApiError::not_found(format!("The API key {id} of {user}")))
}

async fn key(
    State(app): State<App>,
    ApiUser(who): ApiUser,
    Id(id): Id<UserId>,
    KeyId(key): KeyId,
) -> Result<Json<Value>, ApiError> {
    shown_to(&app, &who, id).await?;
    Ok(Json(key_resource(&find_key(&app, id, key).await?, app.now())))
}

/// What a client says of a new key.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct KeyBody {
    /// What the key is for.
    purpose: Option<String>,
    /// `full` or `register`.
    scope: Option<String>,
    /// When it works no more, as RFC 3339; never where nothing is said.
    expires: Option<String>,
}

async fn create_key(
    State(app): State<App>,
    ApiUser(who): ApiUser,
    Id(id): Id<UserId>,
    Body(body): Body<KeyBody>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    shown_to(&app, &who, id).await?;
    if who.user != id {
        return Err(ApiError::forbidden("A key acts in its user's name, so they alone can make one."));
    }
    let purpose = body.purpose.as_deref().unwrap_or_default().trim();
    if !(1..=PURPOSE_MAX).contains(&purpose.chars().count()) {
        let how = format!("Say in Purpose what the key is for, in 1 to {PURPOSE_MAX} characters.");
        return Err(ApiError::bad_request(how));
    }
    let scope = body.scope.as_deref().map_or(Some(Scope::Full), |word| Scope::from_word(&word.to_lowercase()));
    let scope = scope.ok_or_else(|| ApiError::bad_request("A Scope is full or register."))?;
    let mut expires_at = body.expires.as_deref().map(moment).transpose()?;
    if expires_at.is_some_and(|end| end <= app.now()) {
        return Err(ApiError::bad_request("Expires is over already."));
    }
    if let Via::ApiKey { id: asking, .. } = who.via {
        // Whoever holds a key for a while gets no other one for longer.
        let limit = find_key(&app, id, asking).await?.expires_at;
        expires_at = match (expires_at, limit) {
            (Some(wish), Some(limit)) => Some(wish.min(limit)),
            (wish, limit) => wish.or(limit),
        };
    }
    let (made, text) = api_key_add(&app, id, &KeyWish { purpose, scope, expires_at }).await?;
    let mut made = key_resource(&made, app.now());
    made["ApiKey"] = json!(text);
    Ok((StatusCode::CREATED, Json(made)))
}

/// Revoking one that works no more changes nothing.
async fn revoke(
    State(app): State<App>,
    ApiUser(who): ApiUser,
    Id(id): Id<UserId>,
    KeyId(key): KeyId,
) -> Result<Json<Value>, ApiError> {
    let owner = shown_to(&app, &who, id).await?;
    find_key(&app, id, key).await?;
    api_key_end(&app, &owner, key).await?;
    Ok(Json(json!({})))
}
