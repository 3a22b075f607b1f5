//! The words in which shapes of answers are told. Each makes a piece of JSON Schema.

use serde_json::{Map, Value, json};

/// A text.
pub(super) fn text() -> Value {
    json!({ "type": "string" })
}

/// A whole number.
pub(super) fn number() -> Value {
    json!({ "type": "integer" })
}

/// A number that need not be whole.
pub(super) fn real() -> Value {
    json!({ "type": "number" })
}

/// True or false.
pub(super) fn flag() -> Value {
    json!({ "type": "boolean" })
}

/// A moment as RFC 3339 writes it.
pub(super) fn moment() -> Value {
    json!({ "type": "string", "format": "date-time" })
}

/// An id: `Machines-1`.
pub(super) fn id(prefix: &str) -> Value {
    json!({ "type": "string", "pattern": format!("^{prefix}-[0-9]+$") })
}

/// One of these words.
pub(super) fn word<'a>(words: impl IntoIterator<Item = &'a str>) -> Value {
    json!({ "type": "string", "enum": words.into_iter().collect::<Vec<_>>() })
}

/// A list of such.
pub(super) fn list(of: Value) -> Value {
    json!({ "type": "array", "items": of })
}

/// Names that are data, each with such a value.
pub(super) fn map(of: Value) -> Value {
    json!({ "type": "object", "additionalProperties": of })
}

/// Addresses by their names.
pub(super) fn links() -> Value {
    map(text())
}

/// Nothing at all.
pub(super) fn null() -> Value {
    json!({ "type": "null" })
}

/// Whatever it is.
pub(super) fn any() -> Value {
    json!({})
}

/// The shape of that name.
pub(super) fn shape(name: &str) -> Value {
    json!({ "$ref": format!("#{}/{name}", super::SHAPES) })
}

/// One of these shapes.
pub(super) fn either(shapes: &[Value]) -> Value {
    json!({ "anyOf": shapes })
}

/// Such, or `null`.
pub(super) fn or_null(mut of: Value) -> Value {
    match of["type"].as_str().map(str::to_owned) {
        Some(kind) if of.get("enum").is_none() => {
            of["type"] = json!([kind, "null"]);
            of
        }
        _ => either(&[of, null()]),
    }
}

/// The same with a sentence for whoever reads it.
pub(super) fn said(mut of: Value, sentence: &str) -> Value {
    of["description"] = sentence.into();
    of
}

/// An object with these fields. One whose name ends with `?` need not be there.
pub(super) fn object(fields: &[(&str, Value)]) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for (name, of) in fields {
        let plain = name.trim_end_matches('?');
        if plain == *name {
            required.push(plain);
        }
        properties.insert(plain.to_owned(), of.clone());
    }
    json!({ "type": "object", "required": required, "properties": properties })
}

/// One of a few with an id and a name.
pub(super) fn choice() -> Value {
    object(&[("Id", text()), ("Name", text())])
}
