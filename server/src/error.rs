//! Errors at the edge: a status for machines and a sentence for people. Handlers return these; the cause is logged here,
//! once, and never sent out.

use std::error::Error;

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Serialize;

use crate::db::DbError;
use crate::feed::UploadError;
use crate::pages;
use crate::people::PeopleError;
use crate::store::StoreError;

/// Why a request was not answered as wished. The REST API sends it as `{ErrorMessage, Errors}`; pages show the message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// The HTTP status.
    pub status: StatusCode,
    /// A sentence for people.
    pub message: String,
    /// Details, a sentence each; may be empty.
    pub errors: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Body<'a> {
    error_message: &'a str,
    errors: &'a [String],
}

impl ApiError {
    /// An error with no details.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), errors: Vec::new() }
    }

    /// The request cannot be understood, or breaks a rule.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// Nobody knows who asks.
    pub fn unauthorized() -> Self {
        let how = "You must be logged in to do this. Send an API key in the header X-Octopus-ApiKey, or log in.";
        Self::new(StatusCode::UNAUTHORIZED, how)
    }

    /// Whoever asks may not.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, message)
    }

    /// `what` is not there: "The machine Machines-7".
    pub fn not_found(what: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("{what} was not found."))
    }

    /// It cannot be done as things stand.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, message)
    }

    /// The portal failed at `step` ("list the machines"). Logs the cause.
    pub fn internal(step: &str, cause: &(dyn Error + 'static)) -> Self {
        tracing::error!(step, error = chain(cause), "a request failed");
        let message = format!("The portal could not {step}: {cause}. Its log says more.");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = Body { error_message: &self.message, errors: &self.errors };
        (self.status, Json(body)).into_response()
    }
}

impl From<DbError> for ApiError {
    fn from(error: DbError) -> Self {
        match error {
            DbError::Refused(refusal) => Self::bad_request(sentence(&refusal.to_string())),
            DbError::Busy => {
                tracing::error!(%error, "a request was given up");
                Self::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    format!("{} Try again in a moment.", sentence(&error.to_string())),
                )
            }
            error => Self::internal("read or write its database", &error),
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::TooLarge { .. } => Self::new(StatusCode::PAYLOAD_TOO_LARGE, sentence(&error.to_string())),
            StoreError::CutOff { .. } => Self::bad_request(sentence(&error.to_string())),
            StoreError::Missing { .. } => Self::new(StatusCode::NOT_FOUND, sentence(&error.to_string())),
            error => Self::internal("use its package store", &error),
        }
    }
}

impl From<PeopleError> for ApiError {
    fn from(error: PeopleError) -> Self {
        match error {
            PeopleError::UnknownUser(id) => Self::not_found(format!("The user {id}")),
            PeopleError::LastAdministrator | PeopleError::TooManyKeys => Self::conflict(sentence(&error.to_string())),
            PeopleError::Db(error) => error.into(),
            error @ (PeopleError::Link(_) | PeopleError::Key(_)) => Self::internal("make it", &error),
        }
    }
}

impl From<UploadError> for ApiError {
    fn from(error: UploadError) -> Self {
        match error {
            UploadError::Exists { .. } | UploadError::Damaged { .. } => Self::conflict(sentence(&error.to_string())),
            UploadError::Package { why } => {
                Self { errors: vec![sentence(&why)], ..Self::bad_request("The file is no package that can be used.") }
            }
            UploadError::Store(error) => error.into(),
            UploadError::Db(error) => error.into(),
        }
    }
}

/// An error page or the REST API's error, by where the request went.
pub fn respond(path: &str, status: StatusCode, message: &str) -> Response {
    if is_api(path) { ApiError::new(status, message).into_response() } else { pages::error_page(status, message) }
}

/// True for the paths of the REST API and of the feed, where programs ask and not people.
pub fn is_api(path: &str) -> bool {
    ["/api", "/nuget", "/metrics", "/health"]
        .into_iter()
        .any(|api| path.strip_prefix(api).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

/// True for the paths of the feed.
pub fn is_feed(path: &str) -> bool {
    is_api(path) && path.split('/').any(|part| part == "nuget")
}

/// An error and its sources in one line.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

/// The text with a capital letter and a full stop.
pub fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first: String = chars.next().map(|c| c.to_uppercase().collect()).unwrap_or_default();
    let stop = if text.ends_with(['.', '!', '?', ')']) { "" } else { "." };
    format!("{first}{}{stop}", chars.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::Refusal;

    #[test]
    fn a_broken_rule_is_the_askers_fault_and_a_broken_database_is_not() {
        let refused = ApiError::from(DbError::from(Refusal::MachineWithoutEnvironment));
        assert_eq!(refused.status, StatusCode::BAD_REQUEST);
        assert_eq!(refused.message, "A machine must belong to at least one environment.");
        let broken = ApiError::from(DbError::damaged("machines.port", 99999));
        assert_eq!(broken.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert!(broken.message.starts_with("The portal could not read or write its database: "), "{broken}");
        let busy = ApiError::from(DbError::from(sqlx::Error::PoolTimedOut));
        assert_eq!(busy.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(busy.message, "The database was busy for 10 s. Try again in a moment.");
    }

    #[test]
    fn only_the_api_answers_in_json() {
        assert!(is_api("/api") && is_api("/api/machines") && is_api("/nuget/packages"));
        assert!(!is_api("/") && !is_api("/apiary"));
    }
}
