//! Which rows of the trail a reader wants to see, as it stands in the address. Pure.

use std::fmt::Write as _;

use crate::clock::Timestamp;
use crate::db::audit::AuditFilter;
use crate::model::AuditKind;
use crate::pages::form::{Fields, moment};

/// Longest text that is looked for, in characters. The rest is cut off.
const TEXT_MAX: usize = 100;

/// See the head of this file. What cannot be read filters nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// By whom; empty for everybody.
    pub who: String,
    /// About what.
    pub kind: Option<AuditKind>,
    /// About the thing of this id; empty for any.
    pub document: String,
    /// Holding this; empty for any.
    pub text: String,
    /// Not earlier.
    pub from: Option<Timestamp>,
    /// Not later.
    pub until: Option<Timestamp>,
    /// Older than the row of this number.
    pub before: Option<i64>,
}

impl Filter {
    /// Reads it from the address.
    pub fn read(fields: &Fields) -> Self {
        let text = |name: &str| fields.get(name).trim().chars().take(TEXT_MAX).collect::<String>();
        let moment = |name: &str| moment(fields.get(name)).ok().flatten();
        Self {
            who: text("who"),
            kind: AuditKind::from_word(fields.get("kind")),
            document: text("document"),
            text: text("q"),
            from: moment("from"),
            until: moment("until"),
            before: fields.get("before").parse().ok(),
        }
    }

    /// True where every row is shown.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What the database is asked for.
    pub fn wanted(&self) -> AuditFilter {
        let some = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        AuditFilter {
            who: some(&self.who),
            kind: self.kind,
            document: some(&self.document),
            text: some(&self.text),
            from: self.from,
            until: self.until,
            before: self.before,
            ..AuditFilter::default()
        }
    }

    /// A moment as the form's field has it.
    pub fn field(&self, moment: &Option<Timestamp>) -> String {
        moment.map(Timestamp::field).unwrap_or_default()
    }

    /// The address of what it shows.
    pub fn path(&self) -> String {
        let mut path = "/audit".to_owned();
        let mut add = |name: &str, value: &str| {
            if value.is_empty() {
                return;
            }
            let joint = if path.contains('?') { '&' } else { '?' };
            let Ok(value) = askama::filters::urlencode_strict(value);
            // Writing to a string never fails.
            let _ = write!(path, "{joint}{name}={value}");
        };
        add("who", &self.who);
        add("kind", self.kind.map_or("", AuditKind::word));
        add("document", &self.document);
        add("q", &self.text);
        add("from", &self.field(&self.from));
        add("until", &self.field(&self.until));
        add("before", &self.before.map(|before| before.to_string()).unwrap_or_default());
        path
    }

    /// The newest rows of the same filter.
    pub fn newest(&self) -> String {
        Self { before: None, ..self.clone() }.path()
    }

    /// The same without a certain thing.
    pub fn anything(&self) -> String {
        Self { document: String::new(), before: None, ..self.clone() }.path()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_stands_in_the_address_and_is_read_again() {
        let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let fields = Fields::from(vec![
            field("who", "ann & co"),
            field("kind", "Machine"),
            field("document", "Machines-7"),
            field("q", " web "),
            field("from", "2026-11-23T10:00"),
            field("until", "nonsense"),
            field("before", "12"),
        ]);
        let filter = Filter::read(&fields);
        let path = "/audit?who=ann%20%26%20co&kind=Machine&document=Machines-7&q=web&from=2026-11-23T10%3A00&before=12";
        assert_eq!(filter.path(), path);
        assert!(!filter.newest().contains("before") && !filter.anything().contains("document"));
        assert_eq!(Filter::read(&Fields::default()).path(), "/audit");
    }
}
