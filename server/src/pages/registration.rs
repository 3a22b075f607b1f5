//! Registration keys: making one, the command that goes with it, and who used which. The key is shown once, in the answer
//! to the form.

use std::time::Duration;

use askama::Template;
use askama_web::WebTemplate;
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};
use http::{HeaderMap, StatusCode, Uri, header};

use super::form::{Body, Fields, Id};
use super::shell::{Section, Shell};
use super::view::{self as words, Mark, Status};
use super::{PageError, sentence};
use crate::app::App;
use crate::audit::Deed;
use crate::auth::{Grant, KEY_MACHINES_MAX, PageUser, registration_key_create};
use crate::clock::Timestamp;
use crate::db::DbError;
use crate::db::environments::environment_list;
use crate::db::registration_keys::{
    registration_key_get, registration_key_list, registration_key_revoke, registration_use_latest,
    registration_use_list,
};
use crate::error::ApiError;
use crate::ids::RegistrationKeyId;
use crate::model::{AuditCategory, AuditKind, Environment, KeyState, KeyUse, RegistrationKey, UseOutcome};

/// How long a key works, as the form offers it: minutes and words.
const LIVES: [(u64, &str); 5] =
    [(15, "15 minutes"), (60, "1 hour"), (8 * 60, "8 hours"), (24 * 60, "1 day"), (7 * 24 * 60, "7 days")];

/// What the form offers first.
const LIFE_USUAL: u64 = 60;

/// Longest address of the portal that is put into a command, in bytes. A longer one is refused.
const SERVER_MAX: usize = 300;

/// `/registration-keys`.
pub fn router() -> Router<App> {
    Router::new()
        .route("/registration-keys", get(list).post(make))
        .route("/registration-keys/{id}", get(show))
        .route("/registration-keys/{id}/revoke", post(revoke))
}

/// A key of the list.
struct Row {
    key: RegistrationKey,
    /// The names of its environments.
    places: String,
    used_at: Option<Timestamp>,
    state: KeyState,
}

impl Row {
    fn status(&self) -> Status {
        match self.state {
            KeyState::Works => Status { mark: Mark::Healthy, word: "works" },
            KeyState::UsedUp => Status { mark: Mark::Quiet, word: "used up" },
            KeyState::Expired => Status { mark: Mark::Quiet, word: "expired" },
            KeyState::Revoked => Status { mark: Mark::Quiet, word: "revoked" },
        }
    }
}

fn row(key: RegistrationKey, environments: &[Environment], used_at: Option<Timestamp>, now: Timestamp) -> Row {
    let names: Vec<String> =
        environments.iter().filter(|e| key.environments.contains(&e.id)).map(|e| e.name.to_string()).collect();
    Row { places: names.join(", "), used_at, state: key.state(now), key }
}

/// The form as it was filled in.
struct Draft {
    server: String,
    environments: Vec<crate::ids::EnvironmentId>,
    roles: String,
    machines: String,
    life: u64,
}

impl Draft {
    fn of(fields: &Fields, server: String) -> Self {
        let or = |name: &str, usual: &str| match fields.get(name).trim() {
            "" => usual.to_owned(),
            text => text.to_owned(),
        };
        Self {
            server: or("server", &server),
            environments: fields.parsed("environment").collect(),
            roles: fields.words("roles").join(", "),
            machines: or("machines", "1"),
            life: fields.get("life").parse().unwrap_or(LIFE_USUAL),
        }
    }

    fn grant(&self) -> Result<Grant, String> {
        if !is_address(&self.server) {
            return Err("the portal's address must be like https://octopus.example.com:8443".to_owned());
        }
        let machines = self.machines.parse().map_err(|_| format!("say a number between 1 and {KEY_MACHINES_MAX}"))?;
        let roles = self.roles.split(',').map(str::trim).filter(|role| !role.is_empty()).map(str::to_owned).collect();
        let life = Duration::from_secs(self.life.saturating_mul(60));
        Ok(Grant { environments: self.environments.clone(), roles, machines, life })
    }

    /// True for an address that only this machine has, which no other can use.
    fn is_own(&self) -> bool {
        let host = self.server.split_once("://").map_or("", |(_, rest)| rest);
        ["localhost", "127.", "[::1]"].iter().any(|own| host.starts_with(own))
    }
}

/// True for an address that can stand in a command without a shell taking part of it for something else.
fn is_address(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let is_plain = |rest: &str| rest.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:/[]~".contains(&b));
    text.len() <= SERVER_MAX && rest.is_some_and(|rest| !rest.is_empty() && is_plain(rest))
}

/// The address under which whoever asks has reached the portal.
fn own_address(app: &App, uri: &Uri, headers: &HeaderMap) -> String {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.or_else(|| uri.authority().map(|authority| authority.as_str())).unwrap_or("localhost");
    format!("{}://{host}", if app.access.is_secure() { "https" } else { "http" })
}

/// A key that was just made, with the command that uses it.
struct Made {
    id: RegistrationKeyId,
    /// All after the program's name.
    command: String,
}

#[derive(Template, WebTemplate)]
#[template(path = "registration/list.html")]
struct ListPage {
    shell: Shell,
    environments: Vec<Environment>,
    rows: Vec<Row>,
    draft: Draft,
    made: Option<Made>,
    problem: Option<String>,
    now: Timestamp,
}

async fn page(
    app: &App,
    user: &PageUser,
    draft: Draft,
    made: Option<Made>,
    problem: Option<String>,
) -> Result<ListPage, PageError> {
    let mut conn = app.db.read().await?;
    let all = environment_list(&mut conn, user.0.space).await?;
    let used = registration_use_latest(&mut conn, user.0.space).await?;
    let keys = registration_key_list(&mut conn, user.0.space).await?;
    let now = app.now();
    let rows = keys.into_iter().map(|key| {
        let used_at = used.get(&key.id).copied();
        row(key, &all, used_at, now)
    });
    let rows = rows.collect();
    let environments = all.into_iter().filter(|e| user.0.operates(&[e.id]).is_ok()).collect();
    let shell = Shell::new(app, user, Section::Environments, "Add machines by a command");
    Ok(ListPage { now: shell.now, shell, environments, rows, draft, made, problem: problem.as_deref().map(sentence) })
}

async fn list(
    user: PageUser,
    State(app): State<App>,
    uri: Uri,
    headers: HeaderMap,
    super::form::Address(fields): super::form::Address,
) -> Result<ListPage, PageError> {
    page(&app, &user, Draft::of(&fields, own_address(&app, &uri, &headers)), None, None).await
}

async fn make(
    user: PageUser,
    State(app): State<App>,
    uri: Uri,
    headers: HeaderMap,
    Body(fields): Body,
) -> Result<Response, PageError> {
    let draft = Draft::of(&fields, own_address(&app, &uri, &headers));
    let again = |problem: String| (StatusCode::UNPROCESSABLE_ENTITY, problem);
    let made = match draft.grant() {
        Ok(grant) => match registration_key_create(&app, user.0.space, &user.0, &grant).await {
            Ok(made) => Ok(made),
            Err(error) if error.status == StatusCode::BAD_REQUEST => Err(again(error.message)),
            Err(error) => return Err(error.into()),
        },
        Err(problem) => Err(again(problem)),
    };
    match made {
        Ok((id, key)) => {
            let (server, print) = (draft.server.trim_end_matches('/'), app.identities.thumbprint());
            let command = format!("register --server {server} --server-thumbprint {print} --registration-key {key}");
            Ok(page(&app, &user, draft, Some(Made { id, command }), None).await?.into_response())
        }
        Err((status, problem)) => Ok((status, page(&app, &user, draft, None, Some(problem)).await?).into_response()),
    }
}

#[derive(Template, WebTemplate)]
#[template(path = "registration/show.html")]
struct ShowPage {
    shell: Shell,
    row: Row,
    uses: Vec<KeyUse>,
    now: Timestamp,
}

impl ShowPage {
    /// What became of a use, in the portal's marks.
    fn outcome(&self, outcome: &UseOutcome) -> Status {
        match outcome {
            UseOutcome::Registered => Status { mark: Mark::Healthy, word: "added" },
            UseOutcome::Known => Status { mark: Mark::Quiet, word: "known already" },
            UseOutcome::Refused => Status { mark: Mark::Failed, word: "refused" },
        }
    }

    fn is_over(&self) -> bool {
        self.row.key.expires_at <= self.now
    }
}

async fn show(user: PageUser, State(app): State<App>, Id(id): Id<RegistrationKeyId>) -> Result<ShowPage, PageError> {
    let mut conn = app.db.read().await?;
    let key = registration_key_get(&mut conn, user.0.space, id).await?;
    let key = key.ok_or_else(|| ApiError::not_found(format!("The registration key {id}")))?;
    let all = environment_list(&mut conn, user.0.space).await?;
    let uses = registration_use_list(&mut conn, id).await?;
    let shell = Shell::new(&app, &user, Section::Environments, format!("Registration key {}", id.0));
    Ok(ShowPage { row: row(key, &all, None, shell.now), uses, now: shell.now, shell })
}

/// Revoking one that works no more changes nothing.
async fn revoke(user: PageUser, State(app): State<App>, Id(id): Id<RegistrationKeyId>) -> Result<Redirect, PageError> {
    let mut tx = app.db.write().await?;
    if registration_key_revoke(&mut tx, user.0.space, id, &user.0.username, app.now()).await? {
        let (kind, category) = (AuditKind::RegistrationKey, AuditCategory::Deleted);
        let deed = Deed::new(kind, category, "Revoke", format!("revoked {id}")).by(&user.0.username).on(id);
        deed.write(&mut tx, user.0.space, app.now()).await?;
    }
    tx.commit().await.map_err(DbError::from)?;
    Ok(Redirect::to("/registration-keys"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_in_a_command_holds_nothing_that_a_shell_reads() {
        for text in ["https://octopus.example.com:8443", "http://127.0.0.1:5000/", "https://[::1]:1/portal"] {
            assert!(is_address(text), "{text}");
        }
        for text in ["", "https://", "octopus", "https://a b", "https://a;rm", "https://$(x)", "https://a'b", "ftp://a"]
        {
            assert!(!is_address(text), "{text}");
        }
    }
}
