//! What handlers of the REST API take out of a request: bodies, query strings, ids and the space.
//!
//! Clients differ in how they write names, so bodies and queries are read without regard to case, and what nobody asked
//! for is ignored. Whatever cannot be read is answered with 400 and a sentence that names it.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, OriginalUri, RawPathParams, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{DeserializeOwned, Deserializer, IntoDeserializer, Visitor};
use serde_json::Value;

use super::bad;
use crate::app::App;
use crate::auth::ApiUser;
use crate::clock::Timestamp;
use crate::db::spaces::space_named;
use crate::error::ApiError;
use crate::ids::{ApiKeyId, SpaceId};

/// Longest part of a name that is repeated in an error, in characters.
const NAME_SHOWN: usize = 50;

/// A request's JSON body as a `T`, names in any case, unknown names ignored.
pub(super) struct Body<T>(pub T);

impl<T: DeserializeOwned> FromRequest<App> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        let bytes = whole_body(request, app).await?;
        bind(json_of(&bytes)?).map(Self)
    }
}

/// A request's JSON body as a `T` in the same way; one that is empty says nothing.
pub(super) struct MayBody<T>(pub T);

impl<T: DeserializeOwned + Default> FromRequest<App> for MayBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        let bytes = whole_body(request, app).await?;
        if bytes.is_empty() { Ok(Self(T::default())) } else { bind(json_of(&bytes)?).map(Self) }
    }
}

/// The router's limit on bodies holds here.
async fn whole_body(request: Request, app: &App) -> Result<Bytes, ApiError> {
    let bytes = Bytes::from_request(request, app).await;
    bytes.map_err(|error| ApiError::new(error.status(), "The request's body could not be read, or is too large."))
}

fn json_of(bytes: &Bytes) -> Result<Value, ApiError> {
    serde_json::from_slice(bytes).map_err(|error| bad(format!("The request's body is not JSON: {error}")))
}

/// Reads a JSON value as a `T`, names in any case, unknown names ignored.
pub(super) fn bind<T: DeserializeOwned>(value: Value) -> Result<T, ApiError> {
    T::deserialize(AnyCase(value))
        .map_err(|error| bad(format!("The request's body is not what is wanted here: {error}")))
}

/// A JSON value whose objects are matched to a struct's fields without regard to case. The keys of maps are data and stay.
struct AnyCase(Value);

impl IntoDeserializer<'_, serde_json::Error> for AnyCase {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for AnyCase {
    type Error = serde_json::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        self.0.deserialize_any(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        // Serde would read a list as the fields in their order, and speak of the struct's name.
        let Value::Object(object) = self.0 else {
            return Err(serde::de::Error::custom(format!("an object with names is expected, not {}", kind(&self.0))));
        };
        // A client may write one name in two cases; then one of the two counts.
        let mut found: HashMap<&'static str, Self> = HashMap::new();
        for (key, value) in object {
            if let Some(field) = fields.iter().find(|field| field.eq_ignore_ascii_case(&key)) {
                found.insert(field, Self(value));
            }
        }
        visitor.visit_map(MapDeserializer::new(found.into_iter()))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        match self.0 {
            Value::Array(items) => visitor.visit_seq(SeqDeserializer::new(items.into_iter().map(Self))),
            other => other.deserialize_seq(visitor),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        self.0.deserialize_enum(name, variants, visitor)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct tuple
        tuple_struct map identifier ignored_any
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// Why somebody does something: the query's `reason`, or the `Reason` of a body. Empty where neither says anything.
pub(super) struct Because(pub String);

/// A body that may say why.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Reasoned {
    /// Why. In the query, `reason` does the same.
    reason: Option<String>,
}

impl FromRequest<App> for Because {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        let (mut parts, body) = request.into_parts();
        let query = Query::from_request_parts(&mut parts, app).await?;
        if let Some(reason) = query.text("reason") {
            return Ok(Self(reason.to_owned()));
        }
        let bytes = whole_body(Request::from_parts(parts, body), app).await?;
        // Official clients send what they like along with a wish that needs no body.
        let value: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let said: Reasoned = if value.is_object() { bind(value)? } else { Reasoned::default() };
        Ok(Self(said.reason.unwrap_or_default()))
    }
}

/// A request's query string: names in any case, an empty value is none, and a name that is there twice is a list.
#[derive(Clone, Debug, Default)]
pub(super) struct Query {
    values: HashMap<String, String>,
    /// The operation that asks, whose names are compared with what is told of it.
    #[cfg(test)]
    operation: Option<(axum::http::Method, axum::extract::MatchedPath)>,
}

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let pairs = axum::extract::Query::<Vec<(String, String)>>::from_request_parts(parts, state).await;
        let pairs = pairs.map_err(|error| bad(format!("The query cannot be read: {error}")))?;
        let query = Self::of(pairs.0);
        #[cfg(test)]
        let query =
            Self { operation: parts.extensions.get().cloned().map(|path| (parts.method.clone(), path)), ..query };
        Ok(query)
    }
}

impl Query {
    pub(super) fn of(pairs: Vec<(String, String)>) -> Self {
        let mut query: HashMap<String, String> = HashMap::new();
        for (name, value) in pairs.into_iter().filter(|(_, value)| !value.is_empty()) {
            let joined = query.entry(name.to_lowercase()).or_default();
            if !joined.is_empty() {
                joined.push(',');
            }
            joined.push_str(&value);
        }
        Self {
            values: query,
            #[cfg(test)]
            operation: None,
        }
    }

    /// The value as it stands.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        #[cfg(test)]
        if let Some((method, route)) = &self.operation {
            super::schema::check::query_name(method, route.as_str(), name);
        }
        self.values.get(&name.to_lowercase()).map(String::as_str)
    }

    /// The value as a `T`.
    pub(super) fn one<T: FromStr<Err: fmt::Display>>(&self, name: &str) -> Result<Option<T>, ApiError> {
        let read = |text: &str| text.trim().parse().map_err(|error| wrong(name, error));
        self.text(name).map(read).transpose()
    }

    /// The value as a whole number; numbers have no better words for what is wrong with a text.
    pub(super) fn number<T: FromStr>(&self, name: &str) -> Result<Option<T>, ApiError> {
        let read =
            |text: &str| text.trim().parse().map_err(|_| wrong(name, format!("{text} is no whole number in range")));
        self.text(name).map(read).transpose()
    }

    /// The value as a moment: RFC 3339, or a date, which begins at midnight UTC. A plus sign that was sent as it is came
    /// as a space.
    pub(super) fn moment(&self, name: &str) -> Result<Option<Timestamp>, ApiError> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let whole = text.trim().replace(' ', "+");
        let moment = Timestamp::from_rfc3339(&whole).or_else(|| Timestamp::from_rfc3339(&format!("{whole}T00:00:00Z")));
        let wrong = || wrong(name, format!("{text} is no moment; write it like 2026-11-26T22:00:00Z"));
        moment.map(Some).ok_or_else(wrong)
    }

    /// The value as a list joined by commas; empty where there is none.
    pub(super) fn list<T: FromStr<Err: fmt::Display>>(&self, name: &str) -> Result<Vec<T>, ApiError> {
        let items = self.text(name).unwrap_or_default().split(',').map(str::trim).filter(|item| !item.is_empty());
        items.map(|item| item.parse().map_err(|error| wrong(name, error))).collect()
    }

    /// The value as `true` or `false`, in any case.
    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>, ApiError> {
        match self.text(name).map(str::to_lowercase).as_deref() {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(_) => Err(wrong(name, "it must be true or false")),
        }
    }
}

fn wrong(name: &str, error: impl fmt::Display) -> ApiError {
    bad(format!("The query's {name} cannot be read: {error}"))
}

/// The `{id}` of the path as a `T`. What is no id of that kind names nothing, so the answer is 404.
pub(super) struct Id<T>(pub T);

impl<T: FromStr<Err: fmt::Display>, S: Send + Sync> FromRequestParts<S> for Id<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let text = path_parameter(parts, state, "id").await.unwrap_or_default();
        text.parse().map(Self).map_err(|error| ApiError { status: StatusCode::NOT_FOUND, ..bad(error) })
    }
}

/// The `{key}` of the path as an API key's id, in the same way.
pub(super) struct KeyId(pub ApiKeyId);

impl<S: Send + Sync> FromRequestParts<S> for KeyId {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let text = path_parameter(parts, state, "key").await.unwrap_or_default();
        text.parse().map(Self).map_err(|error| ApiError { status: StatusCode::NOT_FOUND, ..bad(error) })
    }
}

/// A parameter of the path; `None` where the route has none of that name. One that is no UTF-8 is empty, which names nothing.
async fn path_parameter<S: Send + Sync>(parts: &mut Parts, state: &S, name: &str) -> Option<String> {
    match RawPathParams::from_request_parts(parts, state).await {
        Ok(parameters) => parameters.iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_owned()),
        Err(_) => Some(String::new()),
    }
}

/// The space of the path, by its id or its slug; the default one where the path names none.
pub(super) struct Space(pub SpaceId);

impl FromRequestParts<App> for Space {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let Some(text) = path_parameter(parts, app, "space").await else { return Ok(Self(SpaceId::DEFAULT)) };
        match space_named(&mut *app.db.read().await?, &text).await? {
            Some(space) => Ok(Self(space)),
            None => Err(no_space(parts, &text)),
        }
    }
}

/// What is said where a path names no space that there is.
fn no_space(parts: &Parts, text: &str) -> ApiError {
    let path = parts.extensions.get::<OriginalUri>().map_or(parts.uri.path(), |uri| uri.0.path());
    let means_a_space = path.starts_with("/api/spaces/") || text.parse::<SpaceId>().is_ok();
    let message = if means_a_space {
        let text: String = text.chars().take(NAME_SHOWN).collect();
        format!("There is no space {text}, and so nothing at {path}. GET /api/spaces lists those that there are.")
    } else {
        // A path that is no resource looks like a space of that name: the answer fits both.
        format!("There is nothing at {path}. GET /api lists what there is.")
    };
    ApiError::new(StatusCode::NOT_FOUND, message)
}

/// What every request for a list of a space has: somebody who may ask, the space, and what is asked for.
pub(super) struct Asked {
    pub app: App,
    pub space: SpaceId,
    pub query: Query,
}

impl FromRequestParts<App> for Asked {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        ApiUser::from_request_parts(parts, app).await?;
        let Space(space) = Space::from_request_parts(parts, app).await?;
        let query = Query::from_request_parts(parts, app).await?;
        Ok(Self { app: app.clone(), space, query })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::EnvironmentId;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Inner {
        communication_style: String,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Outer {
        name: String,
        sort_order: Option<i64>,
        environment_ids: Vec<EnvironmentId>,
        endpoint: Option<Inner>,
        #[serde(default)]
        variables: HashMap<String, String>,
    }

    #[test]
    fn names_in_any_case_are_one_name_and_unknown_ones_are_ignored() {
        let body = serde_json::json!({
            "name": "a", "SORTORDER": 3, "environmentIds": ["Environments-1"], "spaceId": "Spaces-1", "SpaceId": 1,
            "Endpoint": {"communicationStyle": "TentaclePassive", "Extra": {}},
            "variables": {"Color": "red", "color": "blue"},
        });
        let outer: Outer = bind(body).ok().unwrap();
        assert_eq!((outer.name.as_str(), outer.sort_order), ("a", Some(3)));
        assert_eq!(outer.environment_ids, [EnvironmentId(1)]);
        assert_eq!(outer.endpoint.unwrap().communication_style, "TentaclePassive");
        assert_eq!(outer.variables["Color"], "red", "the keys of a map are data");
        assert_eq!(outer.variables["color"], "blue");
    }

    #[test]
    fn what_is_missing_or_of_another_kind_is_refused() {
        for body in [
            serde_json::json!({}),
            serde_json::json!([]),
            serde_json::json!(null),
            serde_json::json!({"Name": 1, "EnvironmentIds": []}),
            serde_json::json!({"Name": "a", "EnvironmentIds": ["Machines-1"]}),
            serde_json::json!({"Name": "a", "EnvironmentIds": [], "Endpoint": "x"}),
        ] {
            let refused = bind::<Outer>(body.clone()).err().unwrap();
            assert!(!refused.message.contains("struct"), "{body}: {refused}");
        }
        let nulls = serde_json::json!({"Name": "a", "EnvironmentIds": [], "SortOrder": null, "Endpoint": null});
        assert!(bind::<Outer>(nulls).is_ok());
    }

    #[test]
    fn a_query_is_read_without_regard_to_case() {
        let pairs = [("IDs", "Environments-1, Environments-2"), ("isDisabled", "True"), ("take", "5"), ("name", "")];
        let query = Query::of(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec());
        assert_eq!(query.list("ids").ok(), Some(vec![EnvironmentId(1), EnvironmentId(2)]));
        assert_eq!(query.flag("isdisabled").ok(), Some(Some(true)));
        assert_eq!(query.number("Take").ok(), Some(Some(5)));
        let refused = query.number::<u32>("isDisabled").unwrap_err();
        assert_eq!(refused.message, "The query's isDisabled cannot be read: True is no whole number in range.");
        assert_eq!(query.text("name"), None);
        assert!(query.flag("take").is_err());
        assert!(query.list::<EnvironmentId>("take").is_err());
    }
}
