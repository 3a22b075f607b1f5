//! Events: the trail, as scripts read it. Nothing here can be changed or deleted by anybody.

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Map, Value, json};

use super::bind::{Asked, Id, Query, Space};
use super::page::{List, Page, Slice};
use crate::app::App;
use crate::auth::ApiUser;
use crate::db::Connection;
use crate::db::audit::{AUDIT_PAGE_MAX, AuditFilter, audit_get, audit_list, audit_total};
use crate::db::users::user_list;
use crate::error::ApiError;
use crate::ids::{EventId, SpaceId, UserId};
use crate::model::{Audit, AuditCategory, AuditKind, AuditVia, User};

/// Ids or words that one filter names at most. More are refused.
const NAMED_MAX: usize = 300;

/// Filters of which this portal can only say that no event passes.
const OF_NOTHING_HERE: [&str; 4] = ["projects", "projectGroups", "tenants", "tags"];

pub(super) const FILTERS: [&str; 24] = [
    "ids",
    "user",
    "users",
    "eventCategories",
    "eventGroups",
    "eventAgents",
    "documentTypes",
    "regarding",
    "regardingAny",
    "environments",
    "from",
    "to",
    "fromAutoId",
    "toAutoId",
    "name",
    "partialName",
    "spaces",
    "includeSystem",
    "internal",
    "excludeDifference",
    OF_NOTHING_HERE[0],
    OF_NOTHING_HERE[1],
    OF_NOTHING_HERE[2],
    OF_NOTHING_HERE[3],
];

const LIST: List<'_> = List { take_max: AUDIT_PAGE_MAX, ..List::of("Event", "/events", &FILTERS) };

/// Categories that are asked for together: the group, its name, and what is in it.
const GROUPS: [(&str, &str, &[AuditCategory]); 3] = [
    (
        "Document",
        "What was made, changed and deleted",
        &[AuditCategory::Created, AuditCategory::Modified, AuditCategory::Deleted],
    ),
    ("Task", "What was asked for and given up", &[AuditCategory::Queued, AuditCategory::Canceled]),
    (
        "Login",
        "Who came and went",
        &[AuditCategory::LoginSucceeded, AuditCategory::LoginFailed, AuditCategory::LoggedOut],
    ),
];

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/events", get(list))
        .route("/events/agents", get(agents))
        .route("/events/categories", get(categories))
        .route("/events/documenttypes", get(document_types))
        .route("/events/groups", get(groups))
        .route("/events/{id}", get(one))
}

/// The word of a kind as it begins the ids of its things.
fn document_type(kind: AuditKind) -> &'static str {
    match kind {
        AuditKind::Environment => "Environments",
        AuditKind::Machine => "Machines",
        AuditKind::Rollout => "Rollouts",
        AuditKind::Task => "ServerTasks",
        AuditKind::Package => "Packages",
        AuditKind::Freeze => "Freezes",
        AuditKind::User => "Users",
        AuditKind::ApiKey => "ApiKeys",
        AuditKind::RegistrationKey => "RegistrationKeys",
        AuditKind::Space => "Spaces",
        AuditKind::Setting => "Settings",
        AuditKind::Session => "Sessions",
    }
}

/// How somebody asked, as a client is told.
fn agent_name(via: AuditVia) -> &'static str {
    match via {
        AuditVia::Page => "A page of the portal",
        AuditVia::Key => "A script with a key",
        AuditVia::Console => "The program on the portal's own machine",
        AuditVia::Portal => "The portal itself",
        AuditVia::Unknown => "Not known",
    }
}

fn established_with(audit: &Audit) -> String {
    let whence = &audit.entry.whence;
    match whence.via {
        AuditVia::Page => "Session".to_owned(),
        AuditVia::Key => format!("Key ({})", whence.api_key),
        AuditVia::Console | AuditVia::Portal | AuditVia::Unknown => String::new(),
    }
}

/// The fields that differ, each with what it was and what it is.
fn differences(audit: &Audit) -> Vec<Value> {
    let changes = &audit.entry.changes;
    let mut names: Vec<&String> = changes.before.keys().chain(changes.after.keys()).collect();
    names.sort();
    names.dedup();
    let of = |fields: &Map<String, Value>, name: &str| fields.get(name).cloned().unwrap_or(Value::Null);
    let difference =
        |name: &String| json!({ "Path": name, "Old": of(&changes.before, name), "New": of(&changes.after, name) });
    names.into_iter().map(difference).collect()
}

fn resource(space: SpaceId, audit: &Audit, users: &[User], with_differences: bool) -> Value {
    let entry = &audit.entry;
    let user = users.iter().find(|user| user.username == entry.who).map(|user| user.id);
    let message = format!("{} {}", entry.who, entry.line);
    let changed = with_differences.then(|| json!({ "DocumentContext": null, "Differences": differences(audit) }));
    json!({
        "Id": EventId(audit.id),
        "AutoId": audit.id,
        "SpaceId": space,
        "Category": entry.category.word(),
        "DocumentType": document_type(entry.kind),
        "RelatedDocumentIds": entry.documents,
        "UserId": user,
        "Username": entry.who,
        "IsService": entry.whence.via == AuditVia::Portal,
        "UserAgent": agent_name(entry.whence.via),
        "IdentityEstablishedWith": established_with(audit),
        "IpAddress": entry.whence.peer,
        "Occurred": entry.at.rfc3339(),
        "Message": message,
        "Comments": null,
        "ChangeDetails": changed,
        "Links": { "Self": format!("{}/events/{}", super::base(space), EventId(audit.id)) },
    })
}

async fn list(Asked { app, space, query }: Asked) -> Result<Json<Page<Value>>, ApiError> {
    if query.flag("asCsv")? == Some(true) {
        return Err(super::not_built("Events as CSV are not built. Ask for them as JSON."));
    }
    let slice = LIST.slice(&query)?;
    let mut conn = app.db.read().await?;
    let users = user_list(&mut conn).await?;
    let with_differences = query.flag("excludeDifference")? != Some(true);
    let (found, total) = match filter(&query, space, slice, &users)? {
        Some(filter) => find(&mut conn, space, &query, filter).await?,
        None => (Vec::new(), 0),
    };
    let items = found.iter().map(|audit| resource(space, audit, &users, with_differences)).collect();
    Ok(Json(LIST.page(&super::base(space), items, total, slice, &query)))
}

async fn find(
    conn: &mut Connection,
    space: SpaceId,
    query: &Query,
    filter: AuditFilter,
) -> Result<(Vec<Audit>, u64), ApiError> {
    let ids: Vec<EventId> = named(query, "ids")?;
    if ids.is_empty() {
        return Ok((audit_list(conn, space, &filter).await?, audit_total(conn, space, &filter).await?));
    }
    let mut found = Vec::new();
    for id in ids {
        found.extend(audit_get(conn, space, id.0).await?);
    }
    found.sort_by_key(|audit| std::cmp::Reverse(audit.id));
    found.dedup_by_key(|audit| audit.id);
    let total = found.len() as u64;
    Ok((found.into_iter().skip(filter.skip as usize).take(filter.take as usize).collect(), total))
}

/// The list of the query, of at most [`NAMED_MAX`] items.
fn named<T: std::str::FromStr<Err: std::fmt::Display>>(query: &Query, name: &str) -> Result<Vec<T>, ApiError> {
    let items = query.list(name)?;
    if items.len() > NAMED_MAX {
        return Err(super::bad(format!("the query's {name} may name {NAMED_MAX} at most, not {}", items.len())));
    }
    Ok(items)
}

/// What each word of the query's list means; `None` where there is no such list.
fn meant<T>(query: &Query, name: &str, read: impl Fn(&str) -> Vec<T>) -> Result<Option<Vec<T>>, ApiError> {
    let words: Vec<String> = named(query, name)?;
    let mut all = Vec::new();
    for word in &words {
        let of_it = read(word);
        if of_it.is_empty() {
            return Err(super::bad(format!("the query's {name} cannot be read: {word} is not known here")));
        }
        all.extend(of_it);
    }
    Ok((!words.is_empty()).then_some(all))
}

fn words<T: Copy>(all: &[T], word: impl Fn(T) -> &'static str, wanted: &str) -> Vec<T> {
    all.iter().copied().filter(|known| word(*known).eq_ignore_ascii_case(wanted)).collect()
}

/// What the query asks for; `None` where no event can be what it asks for.
fn filter(query: &Query, space: SpaceId, slice: Slice, users: &[User]) -> Result<Option<AuditFilter>, ApiError> {
    let spaces: Vec<SpaceId> = named(query, "spaces")?;
    let is_elsewhere = !spaces.is_empty() && !spaces.contains(&space);
    if is_elsewhere || OF_NOTHING_HERE.iter().any(|name| query.text(name).is_some()) {
        return Ok(None);
    }
    let mut wanted: Vec<UserId> = named(query, "users")?;
    wanted.extend(named::<UserId>(query, "user")?);
    let is_wanted = |user: &&User| wanted.contains(&user.id);
    let people = users.iter().filter(is_wanted).map(|user| user.username.clone()).collect();
    let mut categories = meant(query, "eventCategories", |word| words(AuditCategory::ALL, AuditCategory::word, word))?;
    if let Some(of_groups) = meant(query, "eventGroups", group)? {
        categories = Some(match categories {
            None => of_groups,
            Some(named) => named.into_iter().filter(|category| of_groups.contains(category)).collect(),
        });
    }
    let mut about: Vec<Vec<String>> = named::<String>(query, "regarding")?.into_iter().map(|id| vec![id]).collect();
    about.extend(
        ["regardingAny", "environments"].map(|name| named(query, name)).into_iter().collect::<Result<Vec<_>, _>>()?,
    );
    about.retain(|ids| !ids.is_empty());
    let auto_id =
        |name: &str| Ok::<_, ApiError>(query.number::<u64>(name)?.map(|id| i64::try_from(id).unwrap_or(i64::MAX)));
    let until = auto_id("toAutoId")?;
    Ok(Some(AuditFilter {
        people: (!wanted.is_empty()).then_some(people),
        kinds: meant(query, "documentTypes", |word| words(AuditKind::ALL, document_type, word))?,
        categories,
        ways: meant(query, "eventAgents", |word| words(AuditVia::ALL, AuditVia::word, word))?,
        about,
        text: query.text("partialName").or_else(|| query.text("name")).map(str::to_owned),
        from: query.moment("from")?,
        until: query.moment("to")?,
        from_id: auto_id("fromAutoId")?,
        before: until.map(|until| until.saturating_add(1)),
        skip: slice.skip,
        take: slice.take,
        ..AuditFilter::default()
    }))
}

fn group(word: &str) -> Vec<AuditCategory> {
    let found = GROUPS.iter().find(|(id, ..)| id.eq_ignore_ascii_case(word));
    found.map(|(.., categories)| categories.to_vec()).unwrap_or_default()
}

async fn one(
    State(app): State<App>,
    _user: ApiUser,
    Space(space): Space,
    Id(id): Id<EventId>,
) -> Result<Json<Value>, ApiError> {
    let mut conn = app.db.read().await?;
    let found = audit_get(&mut conn, space, id.0).await?;
    let audit = found.ok_or_else(|| ApiError::not_found(format!("The event {id}")))?;
    Ok(Json(resource(space, &audit, &user_list(&mut conn).await?, true)))
}

fn choices(choices: impl IntoIterator<Item = (&'static str, &'static str)>) -> Json<Value> {
    Json(choices.into_iter().map(|(id, name)| json!({ "Id": id, "Name": name })).collect::<Vec<_>>().into())
}

async fn agents(_user: ApiUser, _space: Space) -> Json<Value> {
    choices(AuditVia::ALL.iter().map(|via| (via.word(), agent_name(*via))))
}

async fn categories(_user: ApiUser, _space: Space) -> Json<Value> {
    choices(AuditCategory::ALL.iter().map(|category| (category.word(), category.word())))
}

async fn document_types(_user: ApiUser, _space: Space) -> Json<Value> {
    choices(AuditKind::ALL.iter().map(|kind| (document_type(*kind), kind.noun())))
}

async fn groups(_user: ApiUser, _space: Space) -> Json<Value> {
    let group = |(id, name, categories): &(&str, &str, &[AuditCategory])| {
        let categories: Vec<_> = categories.iter().map(|category| category.word()).collect();
        json!({ "Id": id, "Name": name, "EventCategories": categories })
    };
    Json(GROUPS.iter().map(group).collect::<Vec<_>>().into())
}
