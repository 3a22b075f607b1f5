//! The REST API as OpenAPI 3.1 for programs: made of the table of rights and of [`super::schema`], and of nothing else.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Map, Value, json};

use super::schema::{self, Answer, Content, Operation, PATH, QUERY, Sent};
use crate::app::App;
use crate::auth::rules::{Concern, Need, operations};

/// Why something is refused: status, name in the document, and a sentence.
pub(super) const REFUSALS: [(u16, &str, &str); 12] = [
    (400, "BadRequest", "What was asked cannot be understood, or breaks a rule."),
    (401, "Unauthorized", "Nobody knows who asks: there is no key, or it works no more."),
    (403, "Forbidden", "Whoever asks may not."),
    (404, "NotFound", "What is named is not there."),
    (409, "Conflict", "It cannot be done as things stand."),
    (412, "Changed", "It is not as If-Match says: somebody changed it meanwhile."),
    (413, "TooLarge", "The body is too large."),
    (422, "KeyUsed", "The Idempotency-Key came with another request before."),
    (429, "TooMany", "This was tried too often. Wait a while."),
    (500, "Mistake", "The portal could not do it. Its log says why."),
    (501, "NotBuilt", "This is in the reference and not in this portal."),
    (503, "Busy", "The portal is in maintenance, or its database is busy."),
];

pub(super) fn routes() -> Router<App> {
    Router::new().route("/openapi.json", get(document))
}

/// What the operations of an address are about: its first part.
pub(super) fn tag(path: &str) -> &str {
    path.split('/').find(|part| !part.is_empty() && !part.starts_with('{')).unwrap_or("portal")
}

/// Who may ask, in a sentence.
pub(super) fn need_words(need: Need) -> &'static str {
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
pub(super) fn operation_id(method: &str, path: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
    let words: String = path.chars().map(plain).collect();
    let words = words.split('_').filter(|word| !word.is_empty()).collect::<Vec<_>>().join("_");
    format!("{}_{}", method.to_lowercase(), if words.is_empty() { "root" } else { &words })
}

/// What stands in the address, the query and the header.
fn parameters(told: &Operation) -> Vec<Value> {
    let of_path = schema::of_path(told.path).map(|name| {
        let said = PATH.iter().find(|(known, _)| *known == name).map_or("", |(_, said)| said);
        let mut parameter =
            json!({ "name": name, "in": "path", "required": true, "description": said, "schema": { "type": "string" } });
        if let Some(example) = schema::example(told.path, name) {
            parameter["example"] = example.into();
        }
        parameter
    });
    let of_query = told.query.iter().filter_map(|name| QUERY.iter().find(|known| known.name == *name));
    let header = |name: &str| json!({ "$ref": format!("#/components/parameters/{name}") });
    let of_header = match told.method {
        _ if told.path.starts_with("/nuget") => None,
        "PUT" | "DELETE" => Some(header("IfMatch")),
        "POST" if !matches!(told.takes, Some(Sent::File)) => Some(header("IdempotencyKey")),
        _ => None,
    };
    of_path.chain(of_query.map(|known| known.told())).chain(of_header).collect()
}

fn body(sent: Sent) -> Value {
    match sent {
        Sent::Json { shape, is_needed } => {
            json!({ "required": is_needed, "content": { "application/json": { "schema": schema::of_body(shape) } } })
        }
        Sent::File => {
            let file = json!({ "type": "string", "format": "binary" });
            let form =
                json!({ "type": "object", "required": ["fileToUpload"], "properties": { "fileToUpload": file } });
            json!({ "required": true, "content": { "multipart/form-data": { "schema": form } } })
        }
    }
}

fn response(answer: &Answer) -> Value {
    // What comes after a semicolon is how the text is written, and no other kind.
    let bare = |kind: &str| kind.split(';').next().unwrap_or(kind).to_owned();
    let content: Map<String, Value> = match &answer.content {
        Content::Json(shape) => Map::from_iter([("application/json".to_owned(), json!({ "schema": shape }))]),
        Content::Of(kind) => Map::from_iter([(bare(kind), json!({}))]),
        Content::OneOf(kinds) => kinds.iter().map(|kind| (bare(kind), json!({}))).collect(),
        Content::Nothing => return json!({ "description": answer.said }),
    };
    json!({ "description": answer.said, "content": content })
}

fn operation(told: &Operation, need: Need) -> Value {
    let refused = told.refusals(need).into_iter().filter_map(|status| {
        let (_, name, _) = REFUSALS.iter().find(|(known, ..)| *known == status)?;
        Some((status.to_string(), json!({ "$ref": format!("#/components/responses/{name}") })))
    });
    let answered = told.answers.iter().map(|answer| (answer.status.to_string(), response(answer)));
    let responses: Map<String, Value> = answered.chain(refused).collect();
    let mut operation = json!({
        "operationId": operation_id(told.method, told.path),
        "tags": [tag(told.path)],
        "summary": told.does,
        "description": need_words(need),
        "security": security(need),
        "parameters": parameters(told),
        "responses": responses,
    });
    if let Some(sent) = told.takes {
        operation["requestBody"] = body(sent);
    }
    operation
}

/// The whole document.
pub(super) fn openapi(version: &str) -> Value {
    let mut paths: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for (method, path, need) in operations() {
        if let Some(told) = schema::operation(method, path) {
            let operations = paths.entry(format!("/api{path}")).or_default();
            operations.insert(method.to_lowercase(), operation(told, need));
        }
    }
    let refusals: Map<String, Value> = REFUSALS
        .iter()
        .map(|(_, name, said)| {
            let content = json!({ "application/json": { "schema": { "$ref": "#/components/schemas/Error" } } });
            ((*name).to_owned(), json!({ "description": said, "content": content }))
        })
        .collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Octopus",
            "version": version,
            "description": "Resources of a space answer below /api, below /api/{space id} and below /api/spaces/{id or name} \
                            alike; told are the addresses below /api. Names in bodies and queries are read in any case, and \
                            unknown ones are ignored. An answer may get further fields in later versions.",
        },
        "servers": [{ "url": "/" }],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "ApiKey": { "type": "apiKey", "in": "header", "name": "X-Octopus-ApiKey" },
                "Bearer": { "type": "http", "scheme": "bearer" },
                "RegistrationKey": { "type": "apiKey", "in": "header", "name": "X-Octopus-RegistrationKey" },
            },
            "parameters": {
                "IfMatch": {
                    "name": "If-Match",
                    "in": "header",
                    "description": "The ETag of the resource as one thinks it is. Where it is not so any more, the answer is 412.",
                    "schema": { "type": "string" },
                },
                "IdempotencyKey": {
                    "name": "Idempotency-Key",
                    "in": "header",
                    "description": "A key for this one wish: sent again with the same request, it is done once.",
                    "schema": { "type": "string", "minLength": 1, "maxLength": 255 },
                },
            },
            "schemas": schema::named(),
            "responses": refusals,
        },
    })
}

async fn document(State(app): State<App>) -> Json<Value> {
    Json(openapi(&app.public_info.version.to_string()))
}
