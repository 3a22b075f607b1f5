//! A row of the trail as people read it. Pure; used by the page of the trail, and by the pages that show a part of it.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::clock::Timestamp;
use crate::ids::{EnvironmentId, MachineId, RolloutId, TaskId, UserId};
use crate::model::{Audit, AuditKind, AuditVia, Role, Whence};

/// Things that a row leads to at most. All of them are found by their own ids.
const LINKS_MAX: usize = 4;

/// A field that differs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Change {
    /// Its name, in words.
    pub field: String,
    /// What it was; `None` for nothing.
    pub before: Option<String>,
    /// What it is; `None` for nothing.
    pub after: Option<String>,
}

/// See the head of this file.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Row {
    /// Its number.
    pub id: i64,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub who: String,
    /// The rest of the sentence.
    pub line: String,
    /// About what.
    pub kind: AuditKind,
    /// From where, in words.
    pub whence: String,
    /// What it is about, and where that is shown.
    pub links: Vec<(String, String)>,
    /// How many further things it is about.
    pub more: usize,
    /// Before and after.
    pub changes: Vec<Change>,
}

/// A row for a reader of that role.
pub fn row(audit: Audit, role: &Role) -> Row {
    let entry = audit.entry;
    let links: Vec<(String, String)> =
        entry.documents.iter().filter_map(|id| Some((id.clone(), place(id, role)?))).collect();
    Row {
        id: audit.id,
        at: entry.at,
        who: entry.who,
        line: entry.line,
        kind: entry.kind,
        whence: whence(&entry.whence),
        more: links.len().saturating_sub(LINKS_MAX),
        links: links.into_iter().take(LINKS_MAX).collect(),
        changes: changes(&entry.changes.before, &entry.changes.after),
    }
}

/// Where a thing is shown; `None` where the reader may not go, or there is no such page.
fn place(id: &str, role: &Role) -> Option<String> {
    if id.parse::<MachineId>().is_ok() {
        return Some(format!("/machines/{id}"));
    }
    if id.parse::<RolloutId>().is_ok() {
        return Some(format!("/rollouts/{id}"));
    }
    if id.parse::<TaskId>().is_ok() {
        return Some(format!("/tasks/{id}"));
    }
    if id.parse::<EnvironmentId>().is_ok() {
        return Some(format!("/environments?environment={id}"));
    }
    (id.parse::<UserId>().is_ok() && *role == Role::Administrator).then(|| format!("/settings/users/{id}"))
}

fn whence(whence: &Whence) -> String {
    let from = if whence.peer.is_empty() { String::new() } else { format!(", from {}", whence.peer) };
    match whence.via {
        AuditVia::Page => format!("on a page{from}"),
        AuditVia::Key if whence.api_key.is_empty() => format!("with an API key{from}"),
        AuditVia::Key => format!("with the API key “{}”{from}", whence.api_key),
        AuditVia::Console => "on the portal’s own machine".to_owned(),
        AuditVia::Portal => "by itself".to_owned(),
        AuditVia::Unknown => "from where is not known".to_owned(),
    }
}

fn changes(before: &Map<String, Value>, after: &Map<String, Value>) -> Vec<Change> {
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let change = |name: &String| Change {
        field: spaced(name),
        before: before.get(name).and_then(told),
        after: after.get(name).and_then(told),
    };
    names.into_iter().map(change).filter(|change| change.before != change.after).collect()
}

/// `MaintenanceWindows` as words: `Maintenance windows`.
fn spaced(name: &str) -> String {
    let mut words = String::with_capacity(name.len() + 4);
    for (place, letter) in name.chars().enumerate() {
        if place > 0 && letter.is_uppercase() {
            words.push(' ');
            words.extend(letter.to_lowercase());
        } else {
            words.push(letter);
        }
    }
    words
}

fn told(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::Bool(true) => Some("yes".to_owned()),
        Value::Bool(false) => Some("no".to_owned()),
        Value::String(text) if text.is_empty() => None,
        Value::String(text) => Some(text.clone()),
        Value::Array(values) if values.is_empty() => None,
        Value::Array(values) => Some(values.iter().filter_map(told).collect::<Vec<_>>().join(", ")),
        Value::Number(_) | Value::Object(_) => Some(value.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::{AuditCategory, AuditEntry, Changes};

    fn audit(via: AuditVia, documents: &[&str]) -> Audit {
        let entry = AuditEntry {
            at: Timestamp(0),
            who: "anna".into(),
            whence: Whence { via, peer: "10.0.0.9".into(), api_key: "nightly".into() },
            kind: AuditKind::Machine,
            category: AuditCategory::Modified,
            what: "Edit".into(),
            line: "disabled machine web-7".into(),
            documents: documents.iter().map(|id| (*id).to_owned()).collect(),
            changes: Changes::between(
                json!({"IsDisabled": false, "Roles": [], "Name": "a"}),
                json!({"IsDisabled": true, "Roles": ["web", "db"], "Name": "a", "StartAt": null}),
            ),
        };
        Audit { id: 1, entry }
    }

    #[test]
    fn a_row_tells_what_differs_in_words() {
        let row = row(audit(AuditVia::Key, &["Machines-7"]), &Role::Viewer);
        assert_eq!(row.whence, "with the API key “nightly”, from 10.0.0.9");
        let told: Vec<_> =
            row.changes.iter().map(|c| (c.field.as_str(), c.before.as_deref(), c.after.as_deref())).collect();
        assert_eq!(told, [("Is disabled", Some("no"), Some("yes")), ("Roles", None, Some("web, db"))]);
    }

    #[test]
    fn a_row_leads_to_what_it_is_about_where_the_reader_may_go() {
        let documents =
            ["Environments-1", "Machines-7", "Rollouts-2", "ServerTasks-3", "Users-1", "ApiKeys-1", "Machines-8"];
        let viewer = row(audit(AuditVia::Page, &documents), &Role::Viewer);
        let places: Vec<&str> = viewer.links.iter().map(|(_, place)| place.as_str()).collect();
        let expected = ["/environments?environment=Environments-1", "/machines/Machines-7", "/rollouts/Rollouts-2"];
        assert_eq!((&places[..3], places[3], viewer.more), (&expected[..], "/tasks/ServerTasks-3", 1));
        let boss = row(audit(AuditVia::Page, &["Users-1"]), &Role::Administrator);
        assert_eq!(boss.links, [("Users-1".to_owned(), "/settings/users/Users-1".to_owned())]);
    }
}
