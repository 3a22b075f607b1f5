//! The REST API as a page for people: the same as the document for programs, by the same table. No script is needed.

use std::collections::BTreeMap;

use askama::Template;
use askama_web::WebTemplate;
use axum::Router;
use axum::extract::State;
use axum::routing::get;
use serde_json::{Map, Value};

use super::openapi::{REFUSALS, need_words, operation_id, tag};
use super::schema::{self, Content, Operation, PATH, QUERY, SHAPES, Sent};
use crate::app::App;
use crate::auth::rules::{Need, operations};

pub(super) fn routes() -> Router<App> {
    Router::new().route("/docs", get(page))
}

/// A piece of a line that tells of what kind something is: words, or the name of a shape.
#[derive(Debug, PartialEq, Eq)]
struct Piece {
    words: String,
    is_shape: bool,
}

/// A line about one value.
#[derive(Debug)]
struct Line {
    name: String,
    kind: Vec<Piece>,
    said: String,
    is_needed: bool,
}

/// Something that is sent or answered.
#[derive(Debug)]
struct Shown {
    kind: Vec<Piece>,
    lines: Vec<Line>,
}

/// One answer.
#[derive(Debug)]
struct Answered {
    status: u16,
    said: &'static str,
    shown: Shown,
}

/// One operation.
#[derive(Debug)]
struct Card {
    id: String,
    method: &'static str,
    path: String,
    does: &'static str,
    who: &'static str,
    parameters: Vec<Line>,
    body: Option<Shown>,
    answers: Vec<Answered>,
    refusals: Vec<(u16, &'static str)>,
}

#[derive(Template, WebTemplate)]
#[template(path = "api/docs.html")]
struct DocsPage {
    version: String,
    /// What they are about, and the operations of each.
    groups: Vec<(&'static str, Vec<Card>)>,
    /// What has a name of its own.
    shapes: Vec<(&'static str, &'static str, Shown)>,
}

async fn page(State(app): State<App>) -> DocsPage {
    let mut groups: BTreeMap<&'static str, Vec<Card>> = BTreeMap::new();
    for (method, path, need) in operations() {
        if let Some(told) = schema::operation(method, path) {
            groups.entry(tag(path)).or_default().push(card(told, need));
        }
    }
    let shape = |(name, of): (&'static String, &'static Value)| {
        (name.as_str(), of["description"].as_str().unwrap_or_default(), shown(of))
    };
    DocsPage {
        version: app.public_info.version.to_string(),
        groups: groups.into_iter().collect(),
        shapes: schema::named().iter().map(shape).collect(),
    }
}

fn card(told: &'static Operation, need: Need) -> Card {
    let of_path = schema::of_path(told.path).map(|name| {
        let said = PATH.iter().find(|(known, _)| *known == name).map_or("", |(_, said)| said);
        let example =
            schema::example(told.path, name).map(|example| format!(" Such as {example}.")).unwrap_or_default();
        Line {
            name: name.to_owned(),
            kind: vec![words("in the address")],
            said: format!("{said}{example}"),
            is_needed: true,
        }
    });
    let of_query = told.query.iter().filter_map(|name| QUERY.iter().find(|known| known.name == *name));
    let of_query = of_query.map(|known| Line {
        name: known.name.to_owned(),
        kind: pieces(&known.kind.shape()),
        said: known.said.to_owned(),
        is_needed: false,
    });
    let answers = told.answers.iter().map(|answer| Answered {
        status: answer.status,
        said: answer.said,
        shown: match &answer.content {
            Content::Json(shape) => shown(shape),
            Content::Of(kind) => Shown { kind: vec![words(*kind)], lines: Vec::new() },
            Content::OneOf(kinds) => Shown { kind: vec![words(kinds.join(" or "))], lines: Vec::new() },
            Content::Nothing => Shown { kind: vec![words("nothing")], lines: Vec::new() },
        },
    });
    let refusals = told.refusals(need).into_iter();
    let refusals = refusals.filter_map(|status| REFUSALS.iter().find(|(known, ..)| *known == status));
    Card {
        id: operation_id(told.method, told.path),
        method: told.method,
        path: format!("/api{}", told.path),
        does: told.does,
        who: need_words(need),
        parameters: of_path.chain(of_query).collect(),
        body: told.takes.map(|sent| match sent {
            Sent::Json { shape, .. } => shown(&schema::of_body(shape)),
            Sent::File => Shown {
                kind: vec![words("a form (multipart/form-data) with the file in fileToUpload")],
                lines: Vec::new(),
            },
        }),
        answers: answers.collect(),
        refusals: refusals.map(|(status, _, said)| (*status, *said)).collect(),
    }
}

fn words(words: impl Into<String>) -> Piece {
    Piece { words: words.into(), is_shape: false }
}

/// Of what kind something is, in words.
fn pieces(shape: &Value) -> Vec<Piece> {
    if let Some(to) = shape["$ref"].as_str() {
        let name = to.rsplit('/').next().unwrap_or(to);
        debug_assert!(to.contains(SHAPES));
        return vec![Piece { words: name.to_owned(), is_shape: true }];
    }
    if let Some(shapes) = shape["anyOf"].as_array().or(shape["oneOf"].as_array()) {
        return joined(shapes.iter().map(pieces), " or ");
    }
    if let Some(all) = shape["enum"].as_array() {
        let all: Vec<_> = all.iter().map(Value::to_string).collect();
        return vec![words(all.join(", "))];
    }
    if let Some(one) = shape.get("const") {
        return vec![words(one.to_string())];
    }
    match &shape["type"] {
        Value::Array(kinds) => joined(kinds.iter().filter_map(Value::as_str).map(|kind| of_kind(kind, shape)), " or "),
        kind => of_kind(kind.as_str().unwrap_or_default(), shape),
    }
}

fn of_kind(kind: &str, shape: &Value) -> Vec<Piece> {
    match kind {
        "string" if shape["format"] == "date-time" => vec![words("moment")],
        "string" => match shape["pattern"].as_str() {
            Some(pattern) => vec![words(pattern.trim_start_matches('^').replace("[0-9]+$", "1"))],
            None => vec![words("text")],
        },
        "integer" => vec![words("whole number")],
        "number" => vec![words("number")],
        "boolean" => vec![words("true or false")],
        "null" => vec![words("null")],
        "array" => [words("list of ")].into_iter().chain(pieces(&shape["items"])).collect(),
        "object" => match (shape["properties"].as_object(), &shape["additionalProperties"]) {
            (Some(fields), _) if fields.len() == 1 && shape["additionalProperties"] == false => {
                let one =
                    |(name, of)| [words(format!("{{ {name}: "))].into_iter().chain(pieces(of)).chain([words(" }")]);
                fields.iter().flat_map(one).collect()
            }
            (None, of @ Value::Object(_)) => [words("names, each with ")].into_iter().chain(pieces(of)).collect(),
            _ => vec![words("object")],
        },
        _ => vec![words("anything")],
    }
}

fn joined(all: impl Iterator<Item = Vec<Piece>>, between: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for some in all {
        if !pieces.is_empty() {
            pieces.push(words(between));
        }
        pieces.extend(some);
    }
    pieces
}

fn shown(shape: &Value) -> Shown {
    let mut lines = Vec::new();
    fields(shape, "", &mut lines);
    Shown { kind: pieces(shape), lines }
}

/// A line for each field; those of objects within stand below with their names joined by dots.
fn fields(shape: &Value, before: &str, lines: &mut Vec<Line>) {
    let none = Map::new();
    let required = shape["required"].as_array().map(Vec::as_slice).unwrap_or_default();
    for (name, of) in shape["properties"].as_object().unwrap_or(&none) {
        let full = format!("{before}{name}");
        lines.push(Line {
            kind: pieces(of),
            said: of["description"].as_str().unwrap_or_default().to_owned(),
            is_needed: required.iter().any(|needed| needed == name),
            name: full.clone(),
        });
        fields(of, &format!("{full}."), lines);
        fields(&of["items"], &format!("{full}[]."), lines);
    }
}
