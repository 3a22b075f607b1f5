//! Compares what tests see of the REST API with what is told of it. Not for the program.
//!
//! A shape of an answer is taken at its word: a field that is not told is as wrong as one that is missing. A piece of JSON
//! Schema that is not known here fails, so that nothing in the document goes unchecked.

use axum::body::{Body, to_bytes};
use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::Response;
use http::{Method, StatusCode, header};
use serde_json::{Map, Value};

use super::{Answer, Content, NAMED, Operation, SHAPES, operation, shapes};
use crate::auth::rules::operations;
use crate::clock::Timestamp;

/// Which route answered.
#[derive(Clone, Debug)]
struct Route {
    method: Method,
    path: String,
}

/// Longest answer that a test may see.
const ANSWER_MAX: usize = 256 << 20;

/// Writes down with an answer which route gave it.
pub async fn noted(request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let route = path.map(|path| Route { method: request.method().clone(), path });
    let mut response = next.run(request).await;
    response.extensions_mut().extend(
        route
            .map(|route| {
                let mut one = http::Extensions::new();
                one.insert(route);
                one
            })
            .unwrap_or_default(),
    );
    response
}

/// Fails the test that saw an answer which is not told.
pub async fn checked(request: Request, next: Next) -> Response {
    let is_head = request.method() == Method::HEAD;
    let response = next.run(request).await;
    let Some(route) = response.extensions().get::<Route>().cloned() else { return response };
    let Some((below, of_a_space)) = below(&route.path) else { return response };
    let found = found(&route.method, below);
    let status = response.status();
    let Some(operation) = found else {
        let is_refused = [StatusCode::METHOD_NOT_ALLOWED, StatusCode::NOT_FOUND].contains(&status);
        assert!(is_refused, "{} {} is not told and answered {status}", route.method, route.path);
        return response;
    };
    if is_head {
        return response;
    }
    let asked = format!("{} {}: {status}", route.method, route.path);
    let refused = refusals(operation).contains(&status.as_u16()) || (of_a_space && status == StatusCode::NOT_FOUND);
    let answer = operation.answers.iter().find(|answer| answer.status == status.as_u16());
    assert!(answer.is_some() || refused, "{asked} is not told");
    compared(response, answer, &asked).await
}

async fn compared(response: Response, answer: Option<&Answer>, asked: &str) -> Response {
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).map(str::to_owned);
    let error = Content::Json(shapes::shape("Error"));
    let shape = match answer.map_or(&error, |answer| &answer.content) {
        Content::Json(shape) => shape,
        Content::Of(wanted) => {
            assert_eq!(kind.as_deref(), Some(*wanted), "{asked}");
            return response;
        }
        Content::OneOf(wanted) => {
            assert!(kind.as_deref().is_some_and(|kind| wanted.contains(&kind)), "{asked}: {kind:?}");
            return response;
        }
        Content::Nothing => {
            assert_eq!(kind, None, "{asked}");
            return response;
        }
    };
    assert_eq!(kind.as_deref(), Some("application/json"), "{asked}");
    if response.headers().contains_key(header::CONTENT_ENCODING) {
        return response;
    }
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, ANSWER_MAX).await.expect("the answer's body");
    let value: Value = serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{asked}: {error}"));
    compare(&value, shape, "").unwrap_or_else(|why| panic!("{asked} is not what is told: {why}\n{value}"));
    Response::from_parts(parts, Body::from(bytes))
}

/// The address below `/api` without its space, and whether it had one; `None` outside the API.
fn below(route: &str) -> Option<(&str, bool)> {
    let route = if route.len() > 1 { route.trim_end_matches('/') } else { route };
    if route == "/nuget" || route.starts_with("/nuget/") {
        return Some((route, false));
    }
    let below = route.strip_prefix("/api").filter(|rest| rest.is_empty() || rest.starts_with('/'))?;
    let is_told = |path: &str| operations().any(|(_, told, _)| told == path);
    if is_told(below) {
        return Some((below, below.starts_with("/{space}") || below == "/spaces/{space}"));
    }
    let bare = below.strip_prefix("/spaces/{space}").or_else(|| below.strip_prefix("/{space}"));
    Some((bare.unwrap_or(below), bare.is_some()))
}

fn found(method: &Method, below: &str) -> Option<&'static Operation> {
    let method = if *method == Method::HEAD { &Method::GET } else { method };
    operation(method.as_str(), below)
}

fn refusals(operation: &Operation) -> Vec<u16> {
    let need = operations().find(|(method, path, _)| *method == operation.method && *path == operation.path);
    need.map(|(.., need)| operation.refusals(need)).unwrap_or_default()
}

/// Fails the test whose request read a name of the query that is not told.
pub fn query_name(method: &Method, route: &str, name: &str) {
    let Some(operation) = below(route).and_then(|(below, _)| found(method, below)) else { return };
    let is_told = operation.query.iter().any(|told| told.eq_ignore_ascii_case(name));
    assert!(is_told, "{method} {route} reads {name} of the query, and that is not told");
}

/// What is wrong with a value, if it is not of the shape.
fn compare(value: &Value, shape: &Value, at: &str) -> Result<(), String> {
    let shape = shape.as_object().ok_or_else(|| format!("{at}: {shape} is no shape"))?;
    if let Some(to) = shape.get("$ref").and_then(Value::as_str) {
        let name = to.strip_prefix(&format!("#{SHAPES}/")).ok_or_else(|| format!("{at}: {to}"))?;
        let named = NAMED.get(name).ok_or_else(|| format!("{at}: there is no shape {name}"))?;
        return compare(value, named, &format!("{at}<{name}>"));
    }
    for (word, of) in shape {
        match word.as_str() {
            "type" => kind(value, of).then_some(()).ok_or_else(|| format!("{at} is no {of}: {value}"))?,
            "enum" => {
                let is_one = of.as_array().is_some_and(|words| words.contains(value));
                is_one.then_some(()).ok_or_else(|| format!("{at} is none of {of}: {value}"))?;
            }
            "const" => (value == of).then_some(()).ok_or_else(|| format!("{at} is not {of}: {value}"))?,
            "anyOf" | "oneOf" => {
                let shapes = of.as_array().map(Vec::as_slice).unwrap_or_default();
                let tried: Vec<String> = shapes.iter().filter_map(|of| compare(value, of, at).err()).collect();
                (tried.len() < shapes.len()).then_some(()).ok_or_else(|| tried.join(", and "))?;
            }
            "items" => {
                for (number, item) in value.as_array().into_iter().flatten().enumerate() {
                    compare(item, of, &format!("{at}[{number}]"))?;
                }
            }
            "pattern" => is_id(value, of).then_some(()).ok_or_else(|| format!("{at} is not like {of}: {value}"))?,
            "format" => {
                let is_moment =
                    of != "date-time" || value.as_str().is_none_or(|at| Timestamp::from_rfc3339(at).is_some());
                is_moment.then_some(()).ok_or_else(|| format!("{at} is no moment: {value}"))?;
            }
            "minimum" => {
                let is_enough = value.as_i64().is_none_or(|number| of.as_i64().is_some_and(|least| number >= least));
                is_enough.then_some(()).ok_or_else(|| format!("{at} is too small: {value}"))?;
            }
            "properties" | "required" | "additionalProperties" | "description" | "title" | "default" | "maximum" => {}
            _ => return Err(format!("{at}: the word {word} of a shape is not known")),
        }
    }
    value.as_object().map_or(Ok(()), |object| fields(object, shape, at))
}

fn fields(object: &Map<String, Value>, shape: &Map<String, Value>, at: &str) -> Result<(), String> {
    let required = shape.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    for name in required {
        object.contains_key(name).then_some(()).ok_or_else(|| format!("{at}.{name} is missing"))?;
    }
    let told = shape.get("properties").and_then(Value::as_object);
    let others = shape.get("additionalProperties").filter(|others| others.is_object());
    for (name, value) in object {
        let at = format!("{at}.{name}");
        match (told.and_then(|told| told.get(name)), others) {
            (Some(of), _) | (None, Some(of)) => compare(value, of, &at)?,
            (None, None) if told.is_some() => return Err(format!("{at} is not told")),
            (None, None) => {}
        }
    }
    Ok(())
}

fn kind(value: &Value, kinds: &Value) -> bool {
    let is = |kind: &Value| match kind.as_str() {
        Some("null") => value.is_null(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        Some("string") => value.is_string(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        _ => false,
    };
    kinds.as_array().map_or_else(|| is(kinds), |kinds| kinds.iter().any(is))
}

/// Patterns are those of ids alone: `^Machines-[0-9]+$`.
fn is_id(value: &Value, pattern: &Value) -> bool {
    let Some(text) = value.as_str() else { return true };
    let prefix = pattern.as_str().and_then(|pattern| pattern.strip_prefix('^')?.strip_suffix("[0-9]+$"));
    let number = prefix.and_then(|prefix| text.strip_prefix(prefix));
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_missing_more_or_of_another_kind_is_seen() {
        let shape = shapes::object(&[
            ("Id", shapes::id("Machines")),
            ("Name?", shapes::text()),
            ("At", shapes::or_null(shapes::moment())),
            ("Is", shapes::word(["a", "b"])),
        ]);
        let right = json!({"Id": "Machines-1", "At": null, "Is": "a"});
        assert_eq!(compare(&right, &shape, ""), Ok(()));
        for (name, value) in [
            ("Id", json!("Machines-")),
            ("Id", json!(1)),
            ("Name", json!(null)),
            ("At", json!("yesterday")),
            ("Is", json!("c")),
            ("More", json!(1)),
        ] {
            let mut wrong = right.clone();
            wrong[name] = value;
            assert!(compare(&wrong, &shape, "").is_err(), "{wrong}");
        }
        assert!(compare(&json!({"Id": "Machines-1", "At": null}), &shape, "").is_err());
        assert!(compare(&json!(1), &json!({"multipleOf": 2}), "").is_err(), "a word that is not known");
    }

    /// Asks for all machines where they are answered with `answer`.
    async fn seen(status: u16, answer: &'static str) {
        let app = crate::app::App::for_tests().await;
        let answer = move || {
            let response = Response::builder().status(status).header("Content-Type", "application/json");
            std::future::ready(response.body(Body::from(answer)).unwrap())
        };
        let routes = axum::Router::new().route("/api/{space}/machines/all", axum::routing::get(answer));
        let whole = crate::routes::layered(app.app.clone(), routes.layer(axum::middleware::from_fn(noted)));
        let request = Request::get("/api/Spaces-1/machines/all").body(Body::empty()).unwrap();
        tower::ServiceExt::oneshot(whole, request).await.unwrap();
    }

    #[tokio::test]
    async fn an_answer_that_is_told_passes() {
        seen(200, "[]").await;
        seen(404, r#"{"ErrorMessage": "It is not there.", "Errors": []}"#).await;
    }

    #[tokio::test]
    #[should_panic(expected = "is not what is told")]
    async fn an_answer_of_another_shape_fails_its_test() {
        seen(200, r#"[{"Id": "Machines-1"}]"#).await;
    }

    #[tokio::test]
    #[should_panic(expected = "is not told")]
    async fn a_status_that_is_not_told_fails_its_test() {
        seen(418, "{}").await;
    }

    #[test]
    #[should_panic(expected = "reads colour of the query")]
    fn a_name_of_the_query_that_is_not_told_fails_its_test() {
        query_name(&Method::GET, "/api/machines", "IDS");
        query_name(&Method::GET, "/api/machines", "colour");
    }

    #[test]
    fn addresses_lose_their_space() {
        assert_eq!(below("/api/"), Some(("", false)));
        assert_eq!(below("/api/{space}/machines/{id}"), Some(("/machines/{id}", true)));
        assert_eq!(below("/api/spaces/{space}/machines"), Some(("/machines", true)));
        assert_eq!(below("/api/{space}"), Some(("/{space}", true)));
        assert_eq!(below("/nuget/packages"), Some(("/nuget/packages", false)));
        assert_eq!(below("/machines"), None);
    }
}
