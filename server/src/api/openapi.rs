//! What the REST API has, told by the table of its rules: as OpenAPI 3.1 for programs, and as a page for people. A test keeps
//! the table equal to the router, so neither can tell of a route that is not there, or leave one out. Which addresses and
//! methods there are, who may ask and how an error looks is told; the fields of resources are in the manual.

use std::collections::BTreeMap;

use askama::Template;
use askama_web::WebTemplate;
use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Map, Value, json};

use crate::app::App;
use crate::auth::rules::{Concern, Need, operations};

pub(super) fn routes() -> Router<App> {
    Router::new().route("/openapi.json", get(document)).route("/docs", get(page))
}

/// The names between braces in an address.
fn parameters(path: &str) -> impl Iterator<Item = &str> {
    path.split('{').skip(1).filter_map(|rest| rest.split('}').next())
}

/// What the operations of an address are about: its first part.
fn tag(path: &str) -> &str {
    path.split('/').find(|part| !part.is_empty() && !part.starts_with('{')).unwrap_or("portal")
}

/// Who may ask, in a sentence.
fn need_words(need: Need) -> &'static str {
    match need {
        Need::Nobody => "Anybody may ask.",
        Need::User => "Every user may ask.",
        Need::Operator(Concern::Everything) => "For operators of every environment.",
        Need::Operator(_) => "For operators of the environments that it concerns.",
        Need::Administrator => "For administrators.",
        Need::RegistrationKey => "For whoever has a registration key, and nobody else.",
    }
}

/// The names of the ways to say who asks.
fn security(need: Need) -> Value {
    match need {
        Need::Nobody => json!([]),
        Need::RegistrationKey => json!([{ "RegistrationKey": [] }]),
        Need::User | Need::Operator(_) | Need::Administrator => json!([{ "ApiKey": [] }, { "Bearer": [] }]),
    }
}

/// A name that no other operation has: `get_machines_id_tasks`.
fn operation_id(method: &str, path: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
    let words: String = path.chars().map(plain).collect();
    let words = words.split('_').filter(|word| !word.is_empty()).collect::<Vec<_>>().join("_");
    format!("{}_{}", method.to_lowercase(), if words.is_empty() { "root" } else { &words })
}

fn operation(method: &str, path: &str, need: Need) -> Value {
    let parameters: Vec<Value> = parameters(path)
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
        .collect();
    json!({
        "operationId": operation_id(method, path),
        "tags": [tag(path)],
        "description": need_words(need),
        "security": security(need),
        "parameters": parameters,
        "responses": {
            "2XX": { "description": "It was done, or is told." },
            "4XX": { "$ref": "#/components/responses/Error" },
            "5XX": { "$ref": "#/components/responses/Error" },
        },
    })
}

/// The whole document.
fn openapi(version: &str) -> Value {
    let mut paths: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for (method, path, need) in operations() {
        let operations = paths.entry(format!("/api{path}")).or_default();
        operations.insert(method.to_lowercase(), operation(method, path, need));
    }
    let error = json!({
        "type": "object",
        "required": ["ErrorMessage", "Errors"],
        "properties": {
            "ErrorMessage": { "type": "string", "description": "A sentence for people." },
            "Errors": { "type": "array", "items": { "type": "string" } },
        },
    });
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Octopus",
            "version": version,
            "description": "Resources of a space answer below /api, below /api/{space id} and below /api/spaces/{id or name} \
                            alike; told are the addresses below /api. Names in bodies and queries are read in any case, and \
                            unknown ones are ignored.",
        },
        "servers": [{ "url": "/" }],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "ApiKey": { "type": "apiKey", "in": "header", "name": "X-Octopus-ApiKey" },
                "Bearer": { "type": "http", "scheme": "bearer" },
                "RegistrationKey": { "type": "apiKey", "in": "header", "name": "X-Octopus-RegistrationKey" },
            },
            "schemas": { "Error": error },
            "responses": {
                "Error": {
                    "description": "It was not done, and why.",
                    "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Error" } } },
                },
            },
        },
    })
}

async fn document(State(app): State<App>) -> Json<Value> {
    Json(openapi(&app.public_info.version.to_string()))
}

/// One operation, as the page shows it.
struct Row {
    method: &'static str,
    path: String,
    who: &'static str,
}

#[derive(Template, WebTemplate)]
#[template(path = "api/docs.html")]
struct DocsPage {
    version: String,
    /// What they are about, and the operations of each.
    groups: Vec<(String, Vec<Row>)>,
}

async fn page(State(app): State<App>) -> DocsPage {
    let mut groups: BTreeMap<String, Vec<Row>> = BTreeMap::new();
    for (method, path, need) in operations() {
        let row = Row { method, path: format!("/api{path}"), who: need_words(need) };
        groups.entry(tag(path).to_owned()).or_default().push(row);
    }
    DocsPage { version: app.public_info.version.to_string(), groups: groups.into_iter().collect() }
}
