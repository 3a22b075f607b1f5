//! What each operation of the REST API does, takes and answers: one entry for each rule of the table of rights, which a
//! test compares. The document for programs and the page for people are made of it and of nothing else.
//!
//! Bodies are told by the very types that are read. Queries and answers are told here in words of their own, and every
//! request and answer of every test is compared with them: a field that is not told, or not there, fails the test that saw
//! it, and so does a name of a query that is read and not told, or a status.

#[cfg(test)]
pub mod check;
mod events;
mod fleet;
mod operation;
mod packages;
mod parameters;
mod people;
mod rollouts;
pub(super) mod shapes;
mod spaces;
mod tasks;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

pub(super) use self::operation::{Answer, Content, Operation, Sent};
#[cfg(test)]
pub(super) use self::parameters::Kind;
pub(super) use self::parameters::{PATH, QUERY, example, of_path};
use self::shapes::{links, list, number, object, shape, text};

/// Where shapes with a name stand in the document.
pub(super) const SHAPES: &str = "/components/schemas";

/// Everything that is told, found by method and address below `/api`.
static OPERATIONS: LazyLock<BTreeMap<(&'static str, &'static str), Operation>> = LazyLock::new(|| {
    let all = [
        spaces::operations(),
        people::operations(),
        fleet::operations(),
        rollouts::operations(),
        tasks::operations(),
        packages::operations(),
        events::operations(),
    ];
    all.into_iter().flatten().map(|operation| ((operation.method, operation.path), operation)).collect()
});

/// Shapes with a name: those of answers, and those of bodies.
static NAMED: LazyLock<Map<String, Value>> = LazyLock::new(|| {
    let mut generator = generator();
    let own = [
        spaces::shapes(),
        people::shapes(),
        fleet::shapes(&mut generator),
        rollouts::shapes(&mut generator),
        tasks::shapes(),
        packages::shapes(),
        events::shapes(),
    ];
    let mut named: Map<String, Value> =
        own.into_iter().flatten().map(|(name, shape)| (name.to_owned(), shape)).collect();
    for operation in OPERATIONS.values() {
        if let Some(Sent::Json { shape, .. }) = &operation.takes {
            shape(&mut generator);
        }
        for answer in &operation.answers {
            named.extend(answer.page_of().map(|item| (format!("{item}Page"), page_of(item))));
        }
    }
    named.extend(generator.take_definitions(true));
    named.insert("Error".to_owned(), error());
    named
});

/// What makes shapes of types.
fn generator() -> SchemaGenerator {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = SHAPES.into();
        settings.meta_schema = None;
    });
    settings.into_generator()
}

/// The operation of a method at an address below `/api`.
pub(super) fn operation(method: &str, path: &str) -> Option<&'static Operation> {
    OPERATIONS.iter().find(|((verb, at), _)| *verb == method && *at == path).map(|(_, operation)| operation)
}

/// All shapes that have a name.
pub(super) fn named() -> &'static Map<String, Value> {
    &NAMED
}

/// The shape of a body.
pub(super) fn of_body(shape: operation::Shape) -> Value {
    shape(&mut generator()).to_value()
}

fn page_of(item: &str) -> Value {
    object(&[
        ("ItemType", text()),
        ("TotalResults", number()),
        ("ItemsPerPage", number()),
        ("NumberOfPages", number()),
        ("LastPageNumber", number()),
        ("Items", list(shape(item))),
        ("Links", links()),
    ])
}

fn error() -> Value {
    let mut error = object(&[("ErrorMessage", text()), ("Errors", list(text()))]);
    error["properties"]["ErrorMessage"]["description"] = "A sentence for people.".into();
    error["properties"]["Errors"]["description"] = "Details, a sentence each.".into();
    error
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::auth::rules::operations;

    #[test]
    fn every_rule_of_the_api_is_told_and_nothing_else() {
        let rules: BTreeSet<_> = operations().map(|(method, path, _)| (method, path)).collect();
        let told: BTreeSet<_> = OPERATIONS.keys().copied().collect();
        assert_eq!(rules.difference(&told).collect::<Vec<_>>(), Vec::<&(&str, &str)>::new(), "are not told");
        assert_eq!(told.difference(&rules).collect::<Vec<_>>(), Vec::<&(&str, &str)>::new(), "are told and not there");
    }

    #[test]
    fn every_name_that_is_used_is_told() {
        for operation in OPERATIONS.values() {
            for name in &operation.query {
                assert!(QUERY.iter().any(|known| known.name == *name), "{}: {name}", operation.path);
            }
            for name in parameters::of_path(operation.path) {
                assert!(PATH.iter().any(|(known, _)| *known == name), "{}: {name}", operation.path);
            }
        }
        fn references(value: &Value, found: &mut BTreeSet<String>) {
            match value {
                Value::Object(fields) => {
                    if let Some(Value::String(to)) = fields.get("$ref") {
                        found.insert(to.clone());
                    }
                    fields.values().for_each(|value| references(value, found));
                }
                Value::Array(items) => items.iter().for_each(|value| references(value, found)),
                _ => {}
            }
        }
        let mut found = BTreeSet::new();
        let document = super::super::openapi::openapi("1.0.0");
        references(&document, &mut found);
        for to in found {
            let pointer = to.trim_start_matches('#');
            assert!(document.pointer(pointer).is_some(), "{to}");
        }
    }
}
