//! Events: the trail, as scripts read it.

use serde_json::Value;

use super::operation::{Operation, get};
use super::shapes::{any, flag, id, links, list, moment, null, number, object, or_null, said, shape, text, word};
use crate::api::events::FILTERS;
use crate::model::AuditCategory;

pub(super) fn operations() -> Vec<Operation> {
    let group = object(&[("Id", text()), ("Name", text()), ("EventCategories", list(text()))]);
    let choices = || list(shape("Choice"));
    vec![
        get("/events", "What happened, newest first. Nobody changes an event.")
            .asks(&FILTERS)
            .asks(&["asCsv"])
            .tells_page("Event")
            .may(&[501]),
        get("/events/agents", "The ways in which something is asked for.").tells(choices()),
        get("/events/categories", "The categories of events.").tells(choices()),
        get("/events/documenttypes", "The kinds of things that events are about.").tells(choices()),
        get("/events/groups", "Categories that are asked for together.").tells(list(group)),
        get("/events/{id}", "One event.").tells(shape("Event")),
    ]
}

pub(super) fn shapes() -> Vec<(&'static str, Value)> {
    let difference = object(&[("Path", text()), ("Old", any()), ("New", any())]);
    let changed = object(&[("DocumentContext", null()), ("Differences", list(difference))]);
    let event = object(&[
        ("Id", id("Events")),
        ("AutoId", said(number(), "Only grows.")),
        ("SpaceId", id("Spaces")),
        ("Category", word(AuditCategory::ALL.iter().map(|category| category.word()))),
        ("DocumentType", text()),
        ("RelatedDocumentIds", list(text())),
        ("UserId", or_null(id("Users"))),
        ("Username", text()),
        ("IsService", flag()),
        ("UserAgent", text()),
        ("IdentityEstablishedWith", text()),
        ("IpAddress", text()),
        ("Occurred", moment()),
        ("Message", text()),
        ("Comments", null()),
        ("ChangeDetails", or_null(changed)),
        ("Links", links()),
    ]);
    vec![("Event", event)]
}
