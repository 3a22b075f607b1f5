//! One operation: what it does, takes and answers, and how it can refuse.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::Value;

use super::parameters::of_path;
use super::shapes::shape;
use crate::auth::rules::Need;

/// Makes the shape of a body's type.
pub(in crate::api) type Shape = fn(&mut SchemaGenerator) -> Schema;

/// What an operation takes beside its address.
#[derive(Clone, Copy, Debug)]
pub(in crate::api) enum Sent {
    /// JSON of that shape.
    Json {
        /// Its shape.
        shape: Shape,
        /// Whether it must be there.
        is_needed: bool,
    },
    /// A form with one file.
    File,
}

/// What is in an answer.
#[derive(Clone, Debug)]
pub(in crate::api) enum Content {
    /// JSON of that shape.
    Json(Value),
    /// Something of that media type.
    Of(&'static str),
    /// Something of any of these media types.
    OneOf(&'static [&'static str]),
    /// Nothing.
    Nothing,
}

/// What is answered where it was done.
#[derive(Clone, Debug)]
pub(in crate::api) struct Answer {
    /// The status.
    pub status: u16,
    /// What that says.
    pub said: &'static str,
    /// What is in it.
    pub content: Content,
    page_of: Option<&'static str>,
}

impl Answer {
    /// The kind of things that it is a page of.
    pub(in crate::api) fn page_of(&self) -> Option<&'static str> {
        self.page_of
    }
}

/// One operation.
#[derive(Clone, Debug)]
pub(in crate::api) struct Operation {
    /// The method, in capitals.
    pub method: &'static str,
    /// The address below `/api`.
    pub path: &'static str,
    /// What it does, in a sentence.
    pub does: &'static str,
    /// The names of its query.
    pub query: Vec<&'static str>,
    /// What it takes.
    pub takes: Option<Sent>,
    /// What it answers where it does not refuse.
    pub answers: Vec<Answer>,
    /// Statuses of refusals that do not follow from the rest.
    more: &'static [u16],
}

pub(super) fn get(path: &'static str, does: &'static str) -> Operation {
    operation("GET", path, does)
}

pub(super) fn post(path: &'static str, does: &'static str) -> Operation {
    operation("POST", path, does)
}

pub(super) fn put(path: &'static str, does: &'static str) -> Operation {
    operation("PUT", path, does)
}

pub(super) fn delete(path: &'static str, does: &'static str) -> Operation {
    operation("DELETE", path, does)
}

fn operation(method: &'static str, path: &'static str, does: &'static str) -> Operation {
    Operation { method, path, does, query: Vec::new(), takes: None, answers: Vec::new(), more: &[] }
}

impl Operation {
    /// It reads these names of the query.
    pub(super) fn asks(mut self, names: &[&'static str]) -> Self {
        self.query.extend(names);
        self
    }

    /// It takes a body of that type.
    pub(super) fn takes<T: JsonSchema>(self) -> Self {
        Self { takes: Some(Sent::Json { shape: SchemaGenerator::subschema_for::<T>, is_needed: true }), ..self }
    }

    /// It takes a body of that type where there is something to say.
    pub(super) fn may_take<T: JsonSchema>(self) -> Self {
        Self { takes: Some(Sent::Json { shape: SchemaGenerator::subschema_for::<T>, is_needed: false }), ..self }
    }

    /// It takes a file.
    pub(super) fn takes_file(self) -> Self {
        Self { takes: Some(Sent::File), ..self }
    }

    /// It answers 200 with such.
    pub(super) fn tells(self, of: Value) -> Self {
        self.or(200, "It is told, or done.", Content::Json(of))
    }

    /// It answers 200 with a page of these things.
    pub(super) fn tells_page(mut self, item: &'static str) -> Self {
        self.query.extend(["skip", "take"]);
        self.answers.push(Answer {
            status: 200,
            said: "A page of the list.",
            content: Content::Json(shape(&format!("{item}Page"))),
            page_of: Some(item),
        });
        self
    }

    /// It answers 201 with such.
    pub(super) fn makes(self, of: Value) -> Self {
        self.or(201, "It was made.", Content::Json(of))
    }

    /// It answers 200 with an empty object.
    pub(super) fn deletes(self) -> Self {
        let nothing = super::shapes::object(&[]);
        self.or(200, "It is gone.", Content::Json(nothing))
    }

    /// It may answer that, too.
    pub(super) fn or(mut self, status: u16, said: &'static str, content: Content) -> Self {
        self.answers.push(Answer { status, said, content, page_of: None });
        self
    }

    /// It may refuse with these as well.
    pub(super) fn may(self, more: &'static [u16]) -> Self {
        Self { more, ..self }
    }

    /// Every status with which it can refuse, in order.
    pub(in crate::api) fn refusals(&self, need: Need) -> Vec<u16> {
        let mut all = self.more.to_vec();
        let is_feed = self.path.starts_with("/nuget");
        if need != Need::Nobody {
            // Somebody else's database may be busy at any time.
            all.extend([401, 403, 500, 503]);
        }
        if !self.query.is_empty() {
            all.push(400);
        }
        if of_path(self.path).next().is_some() {
            all.extend([400, 404]);
        }
        if self.takes.is_some() {
            all.extend([400, 413]);
        }
        if !is_feed && matches!(self.method, "PUT" | "DELETE") {
            all.push(412);
        }
        if !is_feed && self.method == "POST" {
            // The key that sees to it that it is done once may be wrong, used or at work.
            all.extend([400, 409, 413, 422]);
        }
        all.sort_unstable();
        all.dedup();
        all
    }
}
