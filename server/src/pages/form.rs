//! What the handlers of the pages take out of a request: the id in the path, and the fields of forms and queries, some of
//! which come several times. What cannot be read is answered with a page.

use std::str::FromStr;

use axum::extract::{Form, FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse as _, Response};
use serde::de::DeserializeOwned;

use super::error_page;
use crate::clock::Timestamp;
use crate::error::ApiError;

/// The fields of a form or of an address, in the order they came.
#[derive(Clone, Debug, Default)]
pub struct Fields(Vec<(String, String)>);

impl Fields {
    /// The first field of a name; empty where there is none.
    pub fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    /// All fields of a name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// True where a box was ticked.
    pub fn is_on(&self, name: &str) -> bool {
        self.all(name).next().is_some()
    }

    /// All fields of a name that can be read; the others are left out.
    pub fn parsed<'a, T: FromStr + 'a>(&'a self, name: &'a str) -> impl Iterator<Item = T> + 'a {
        self.all(name).filter_map(|text| text.parse().ok())
    }

    /// The words of a field, separated by commas or line ends; each once.
    pub fn words(&self, name: &str) -> Vec<String> {
        let mut words: Vec<String> = Vec::new();
        for word in self.get(name).split([',', '\n']).map(str::trim).filter(|word| !word.is_empty()) {
            if !words.iter().any(|other| other.eq_ignore_ascii_case(word)) {
                words.push(word.to_owned());
            }
        }
        words
    }
}

impl From<Vec<(String, String)>> for Fields {
    fn from(fields: Vec<(String, String)>) -> Self {
        Self(fields)
    }
}

/// A moment as a browser's field for date and time sends it, in UTC; `None` where it is empty.
pub fn moment(text: &str) -> Result<Option<Timestamp>, ApiError> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    // Seconds are left out where they are zero.
    let seconds = if text.len() <= "2026-11-23T22:00".len() { ":00" } else { "" };
    let moment = Timestamp::from_rfc3339(&format!("{text}{seconds}Z"));
    let wrong = || ApiError::bad_request(format!("\"{text}\" is no moment: write one like 2026-11-23T22:00, in UTC."));
    moment.map(Some).ok_or_else(wrong)
}

/// The fields of the body.
#[derive(Debug)]
pub struct Body(pub Fields);

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let fields = Form::<Vec<(String, String)>>::from_request(request, state).await;
        fields.map(|Form(fields)| Self(Fields(fields))).map_err(|refusal| {
            let message = "The form that was sent cannot be read.";
            error_page(refusal.into_response().status(), message)
        })
    }
}

/// The fields of the address.
#[derive(Debug)]
pub struct Address(pub Fields);

impl<S: Send + Sync> FromRequestParts<S> for Address {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let fields = Query::<Vec<(String, String)>>::from_request_parts(parts, state).await;
        fields.map(|Query(fields)| Self(Fields(fields))).map_err(|_| nothing_there(parts))
    }
}

/// The id in the path. What is no id of that kind names nothing.
#[derive(Debug)]
pub struct Id<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Id<T> {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let id = Path::<T>::from_request_parts(parts, state).await;
        id.map(|Path(id)| Self(id)).map_err(|_| nothing_there(parts))
    }
}

fn nothing_there(parts: &Parts) -> Response {
    error_page(StatusCode::NOT_FOUND, &format!("There is nothing at {}.", parts.uri.path()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::EnvironmentId;

    #[test]
    fn a_moment_is_read_with_and_without_seconds() {
        let at = Timestamp::from_rfc3339("2026-11-23T22:00:00Z");
        assert_eq!(moment("2026-11-23T22:00").unwrap(), at);
        assert_eq!(moment(" 2026-11-23T22:00:00 ").unwrap(), at);
        assert_eq!(moment("").unwrap(), None);
        assert!(moment("tomorrow").unwrap_err().message.contains("no moment"));
    }

    #[test]
    fn fields_may_come_several_times() {
        let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let fields = Fields(vec![
            field("environment", "Environments-1"),
            field("environment", "nonsense"),
            field("environment", "Environments-3"),
            field("roles", "web, db\r\nWEB,,"),
            field("disabled", ""),
        ]);
        let ids: Vec<EnvironmentId> = fields.parsed("environment").collect();
        assert_eq!(ids, [EnvironmentId(1), EnvironmentId(3)]);
        assert_eq!(fields.words("roles"), ["web", "db"]);
        assert_eq!(fields.get("none"), "");
        assert!(fields.is_on("disabled") && !fields.is_on("none"));
    }
}
