//! Users, the API keys of their scripts, and what the bearer of a registration key may ask.

use serde_json::Value;

use super::operation::{Content, Operation, delete, get, post, put};
use super::shapes::{either, flag, id, links, list, moment, null, number, object, or_null, said, shape, text, word};
use crate::api::registration::ApplicantBody;
use crate::api::users::{KeyBody, LIST, UserBody};
use crate::model::Scope;

pub(super) fn operations() -> Vec<Operation> {
    vec![
        get("/users", "The users.").asks(LIST.filters).tells_page("User"),
        get("/users/all", "The users, as a bare list.").asks(LIST.filters).tells(list(shape("User"))),
        get("/users/me", "Whoever asks.").tells(shape("User")).may(&[404]),
        get("/users/{id}", "One user: oneself, or anybody for an administrator.").tells(shape("User")),
        post("/users", "Adds a user. The answer's SetupLink, by which they choose their password, is not told again.")
            .takes::<UserBody>()
            .makes(shape("User"))
            .may(&[501]),
        put("/users/{id}", "Changes what a user may do, or whether they come in. What is left out stays.")
            .takes::<UserBody>()
            .tells(shape("User"))
            .may(&[409, 501]),
        get("/users/{id}/apikeys", "The API keys of a user, without the keys themselves.").tells_page("ApiKey"),
        post("/users/{id}/apikeys", "Makes an API key for oneself. The answer's ApiKey is told this once.")
            .takes::<KeyBody>()
            .makes(shape("ApiKey")),
        get("/users/{id}/apikeys/{key}", "One API key, without the key itself.").tells(shape("ApiKey")),
        delete("/users/{id}/apikeys/{key}", "Revokes an API key. It stays in the list.").deletes(),
        get("/registration", "What the registration key allows.").tells(shape("Registration")),
        post("/registration", "Adds the machine that asks. Again with the same thumbprint it changes nothing.")
            .takes::<ApplicantBody>()
            .makes(shape("Registered"))
            .or(
                200,
                "A machine with that thumbprint is in the key's environments already.",
                Content::Json(shape("Registered")),
            ),
    ]
}

pub(super) fn shapes() -> Vec<(&'static str, Value)> {
    let secret = object(&[("HasValue", flag()), ("NewValue", null()), ("Hint", null())]);
    let everywhere = "Of an operator: where they may act; null for everywhere.";
    vec![
        (
            "User",
            object(&[
                ("Id", id("Users")),
                ("Username", text()),
                ("DisplayName", text()),
                ("EmailAddress", null()),
                ("IsActive", flag()),
                ("IsService", flag()),
                ("CanPasswordBeEdited", flag()),
                ("Role", word(["viewer", "operator", "administrator"])),
                ("EnvironmentIds", said(or_null(list(id("Environments"))), everywhere)),
                ("SetupLink?", said(text(), "Where they choose their password. Told once, when they are added.")),
                ("Links", links()),
            ]),
        ),
        (
            "ApiKey",
            object(&[
                ("Id", id("ApiKeys")),
                ("UserId", id("Users")),
                ("Purpose", text()),
                ("Scope", word(Scope::ALL.map(Scope::word))),
                ("Created", moment()),
                ("Expires", or_null(moment())),
                ("Revoked", or_null(moment())),
                ("IsActive", flag()),
                ("ApiKey", said(either(&[text(), secret]), "The key itself when it is made, and never again.")),
                ("Links", links()),
            ]),
        ),
        (
            "Registration",
            object(&[
                ("PortalThumbprint", text()),
                ("Environments", list(text())),
                ("Roles", list(text())),
                ("MachinesLeft", number()),
                ("ExpiresAt", moment()),
                ("Links", links()),
            ]),
        ),
        ("Registered", object(&[("Id", id("Machines")), ("Name", text()), ("IsNew", flag())])),
    ]
}
