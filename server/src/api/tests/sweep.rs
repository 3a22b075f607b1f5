//! Bad input of every kind at every operation: it is refused with a sentence, nothing changes, and the portal makes no
//! mistake over it. What can be sent is taken from what is told of each operation.

use std::collections::BTreeMap;

use axum::body::Bytes;
use sqlx::pool::PoolConnection;
use sqlx::{Row as _, Sqlite};

use super::*;
use crate::api::schema::{Kind, Operation, QUERY, Sent, example, named, of_body, of_path, operation};
use crate::auth::rules::{Need, operations};

/// The largest body that is read into memory, as the router has it.
const BODY_MAX: usize = 1 << 20;

/// Operations that take whatever stands in a body, because clients send what they like along with such a wish.
const TAKES_ANYTHING: [&str; 3] = ["/machines/{id}/hold", "/machines/{id}/clone", "/tasks/{id}/cancel"];

/// Names of a query that are told to change nothing.
const CHANGES_NOTHING: [&str; 3] = ["includeNotes", "includeSystem", "internal"];

/// A portal that has one of everything, and what stands in its tables.
struct Sweep {
    client: Client,
    before: BTreeMap<String, Vec<String>>,
    /// Sees whether any other connection wrote anything, and what it saw last.
    watch: tokio::sync::Mutex<(PoolConnection<Sqlite>, i64)>,
}

impl Sweep {
    async fn new() -> Self {
        let client = Client::new().await;
        client.with_machine().await;
        client.report(1, "1.0.0").await;
        let (status, pushed) = client.push("", "fileToUpload", &package("Acme.Web", "1.0.0", "a")).await;
        assert_eq!(status, StatusCode::CREATED, "{pushed}");
        client.create("/api/rollouts", json!({})).await;
        client.create("/api/freezes", json!({"Until": "2099-01-01T00:00:00Z", "Reason": "a feast"})).await;
        Self::of(client).await
    }

    /// What stands in the tables now is what shall stand there.
    async fn of(client: Client) -> Self {
        let mut watch = client.app.db.read().await.unwrap();
        let seen = version(&mut watch).await;
        let before = tables(&client.app).await;
        Self { client, before, watch: tokio::sync::Mutex::new((watch, seen)) }
    }

    /// Nothing in any table is other than before.
    async fn is_unchanged(&self, asked: &str) {
        let mut watch = self.watch.lock().await;
        let seen = version(&mut watch.0).await;
        if std::mem::replace(&mut watch.1, seen) == seen {
            return;
        }
        let after = tables(&self.client.app).await;
        for (table, rows) in &self.before {
            assert_eq!(after.get(table), Some(rows), "{asked} changed {table}");
        }
    }

    async fn ask(&self, request: Request<Body>) -> (StatusCode, Value) {
        let response = self.client.send(request).await;
        let status = response.status();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    fn request(&self, method: &str, path: &str, body: impl Into<Body>) -> Request<Body> {
        let request = Request::builder().method(method).uri(path).header("X-Octopus-ApiKey", &self.client.key);
        request.header("Host", "portal").header("Content-Type", "application/json").body(body.into()).unwrap()
    }

    /// It must be refused with a sentence, as the asker's fault, and change nothing.
    async fn is_refused(&self, method: &str, path: &str, body: impl Into<Body>, what: &str) {
        let (status, answer) = self.ask(self.request(method, path, body)).await;
        let short: String = path.chars().take(120).collect();
        let asked = format!("{method} {short} with {what}");
        assert!(status.is_client_error(), "{asked} was answered {status}: {answer}");
        is_error(&answer);
        self.is_unchanged(&asked).await;
    }
}

/// Grows with whatever another connection writes.
async fn version(conn: &mut PoolConnection<Sqlite>) -> i64 {
    sqlx::query_scalar("PRAGMA data_version").fetch_one(&mut **conn).await.unwrap()
}

/// Every row of every table as a text.
async fn tables(app: &App) -> BTreeMap<String, Vec<String>> {
    let mut conn = app.db.read().await.unwrap();
    let names: Vec<String> = sqlx::query_scalar("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
        .fetch_all(&mut *conn)
        .await
        .unwrap();
    let mut tables = BTreeMap::new();
    for name in names {
        let columns: Vec<String> =
            sqlx::query(sqlx::AssertSqlSafe(format!("SELECT name FROM pragma_table_info('{name}')")))
                .fetch_all(&mut *conn)
                .await
                .unwrap()
                .iter()
                .map(|row| format!("quote(\"{}\")", row.get::<String, _>(0)))
                .collect();
        let rows = format!("SELECT {} FROM \"{name}\"", columns.join(" || ',' || "));
        let mut rows: Vec<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(rows)).fetch_all(&mut *conn).await.unwrap();
        rows.sort();
        tables.insert(name, rows);
    }
    tables
}

/// Every operation with its need.
fn all() -> impl Iterator<Item = (&'static Operation, Need)> {
    operations().map(|(method, path, need)| (operation(method, path).unwrap(), need))
}

/// Those that an API key opens.
fn of_a_key() -> impl Iterator<Item = &'static Operation> {
    all().filter(|(_, need)| *need != Need::RegistrationKey).map(|(operation, _)| operation)
}

/// Where it stands, with each name of its address filled in.
fn filled(operation: &Operation, fill: impl Fn(&str) -> String) -> String {
    of_path(operation.path)
        .fold(format!("/api{}", operation.path), |path, name| path.replace(&format!("{{{name}}}"), &fill(name)))
}

/// Where it stands, about something that is there.
fn about_something(operation: &Operation) -> String {
    filled(operation, |name| match (operation.path, name) {
        (_, "version") => "1.0.0".to_owned(),
        (path, "id") if path.starts_with("/nuget") => "Acme.Web".to_owned(),
        (_, "file") => "acme.web.nuspec".to_owned(),
        (_, "leaf") => "1.0.0.json".to_owned(),
        (path, name) => example(path, name).unwrap_or("x").to_owned(),
    })
}

/// Bodies that are read: where it stands, and their shape.
fn bodies() -> impl Iterator<Item = (&'static Operation, Value)> {
    of_a_key().filter(|operation| !TAKES_ANYTHING.contains(&operation.path) || operation.method == "PUT").filter_map(
        |operation| match operation.takes {
            Some(Sent::Json { shape, .. }) => Some((operation, whole(&of_body(shape)))),
            _ => None,
        },
    )
}

/// The shape with its name followed.
fn whole(shape: &Value) -> Value {
    match shape["$ref"].as_str() {
        Some(to) => whole(&named()[to.rsplit('/').next().unwrap()]),
        None => shape.clone(),
    }
}

/// A value of another kind than the shape wants; `None` where any will do.
fn unfit(shape: &Value) -> Option<Value> {
    let shape = &whole(shape);
    let kinds = match &shape["type"] {
        Value::String(kind) => vec![kind.clone()],
        Value::Array(kinds) => kinds.iter().filter_map(|kind| kind.as_str().map(str::to_owned)).collect(),
        // Of several: an object without any name is none of them.
        _ if shape.get("oneOf").is_some() => return Some(json!({})),
        _ if shape.get("anyOf").is_some() => {
            return shape["anyOf"]
                .as_array()
                .unwrap()
                .iter()
                .map(unfit)
                .collect::<Option<Vec<_>>>()
                .map(|_| json!([[]]));
        }
        _ => return None,
    };
    Some(match kinds.first().map(String::as_str) {
        Some("string") => json!(7),
        Some("boolean") => json!("perhaps"),
        Some("array" | "object") => json!("one"),
        _ => json!("many"),
    })
}

#[tokio::test]
async fn what_is_no_json_or_of_the_wrong_kind_is_refused_everywhere() {
    let sweep = Sweep::new().await;
    let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
    for (operation, shape) in bodies() {
        let path = about_something(operation);
        for body in
            ["{", "nonsense", "{\"Name\": 1e999}", "\u{0}", "{\"a\":\"\\ud800\"}", "7", "\"text\"", deep.as_str()]
        {
            sweep.is_refused(operation.method, &path, body.to_owned(), &body[..body.len().min(20)]).await;
        }
        let wrong = if shape["type"] == "array" { json!({}) } else { json!([]) };
        sweep.is_refused(operation.method, &path, wrong.to_string(), "a list for an object").await;
        for (name, of) in shape["properties"].as_object().into_iter().flatten() {
            let Some(value) = unfit(of) else { continue };
            let body = json!({ name.as_str(): value });
            sweep.is_refused(operation.method, &path, body.to_string(), &body.to_string()).await;
        }
        let large = format!("\"{}\"", "a".repeat(BODY_MAX));
        let (status, answer) = sweep.ask(sweep.request(operation.method, &path, large)).await;
        assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE, "{} {path}: {answer}", operation.method);
        is_error(&answer);
    }
    sweep.is_unchanged("what is too large").await;
}

/// Texts that are written as they should be and are long or hold what no name should: refused or not, the portal makes no
/// mistake over them, and what it refuses changes nothing.
#[tokio::test]
async fn strange_texts_and_numbers_are_no_mistake_of_the_portal() {
    let texts = ["a".repeat(100_000), "\u{0}".to_owned(), "\u{7}\u{1b}[31m".to_owned(), "\u{202e}\u{fffd}".to_owned()];
    let texts = texts.map(Value::String);
    let others =
        [json!(i64::MIN), json!(u64::MAX), json!(-1), json!(0), json!(1e300), json!(""), json!([""]), json!(["\u{0}"])];
    for (operation, shape) in bodies() {
        let mut sweep = Sweep::new().await;
        let path = about_something(operation);
        for (name, value) in shape["properties"]
            .as_object()
            .into_iter()
            .flatten()
            .flat_map(|(name, _)| texts.iter().chain(&others).map(move |value| (name, value)))
        {
            let body = json!({ name.as_str(): value });
            let (status, answer) = sweep.ask(sweep.request(operation.method, &path, body.to_string())).await;
            let asked: String = format!("{} {path} with {body}", operation.method).chars().take(200).collect();
            let is_mistake = status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED;
            assert!(!is_mistake, "{asked} was answered {status}: {answer}");
            if status.is_success() {
                sweep = Sweep::of(sweep.client).await;
            } else {
                is_error(&answer);
                sweep.is_unchanged(&asked).await;
            }
        }
    }
}

#[tokio::test]
async fn addresses_that_name_nothing_are_refused_everywhere() {
    let sweep = Sweep::new().await;
    let long = "a".repeat(8000);
    for operation in of_a_key().filter(|operation| of_path(operation.path).next().is_some()) {
        let like = of_path(operation.path).next().and_then(|name| example(operation.path, name)).unwrap_or("x-1");
        let kind = like.rsplit_once('-').map_or(like, |(kind, _)| kind);
        let ids = [
            "..%2f..%2fetc%2fpasswd".to_owned(),
            "%2e%2e%5c%2e%2e".to_owned(),
            "%00".to_owned(),
            "%ff%fe".to_owned(),
            "%0d%0aX-Header:1".to_owned(),
            "'%20OR%201=1--".to_owned(),
            long.clone(),
            format!("{kind}-0"),
            format!("{kind}-999999"),
            format!("{kind}--1"),
            format!("{kind}-1%20"),
            format!("{kind}-99999999999999999999999999"),
        ];
        for id in ids {
            let path = filled(operation, |_| id.clone());
            sweep.is_refused(operation.method, &path, "{}", "an id of nothing").await;
        }
        if !operation.path.contains("{space}") && !operation.path.starts_with("/users") {
            let path = about_something(operation);
            let path = path.replacen("/api", "/api/Spaces-99", 1);
            if !path.starts_with("/api/Spaces-99/openapi") {
                sweep.is_refused(operation.method, &path, "{}", "another space").await;
            }
        }
    }
}

#[tokio::test]
async fn queries_that_cannot_be_read_are_refused_everywhere() {
    let sweep = Sweep::new().await;
    for operation in of_a_key() {
        let path = about_something(operation);
        for name in operation.query.iter().filter(|name| !CHANGES_NOTHING.contains(name)) {
            let known = QUERY.iter().find(|known| known.name == *name).unwrap();
            let values: &[&str] = match known.kind {
                Kind::Count => &["-1", "x", "1.5", "99999999999999999999", "%00", "0x10"],
                Kind::Flag => &["perhaps", "1", "%00"],
                Kind::Moment => &["yesterday", "1", "2026-13-45", "%00"],
                Kind::Text | Kind::List => continue,
            };
            for value in values {
                sweep.is_refused(operation.method, &format!("{path}?{name}={value}"), Body::empty(), "a query").await;
            }
        }
        if operation.method != "GET" {
            continue;
        }
        let (status, answer) = sweep.ask(sweep.request("GET", &format!("{path}?a=%ff&%ff=b"), "[")).await;
        assert!(!status.is_server_error(), "{} {path}: {answer}", operation.method);
    }
}

#[tokio::test]
async fn a_key_that_works_no_more_opens_nothing() {
    let sweep = Sweep::new().await;
    let client = &sweep.client;
    let made = async |body: Value| client.create("/api/users/Users-1/apikeys", body).await;
    let soon = client.app.now().after(Duration::from_secs(60)).rfc3339();
    let expired = made(json!({"Purpose": "to expire", "Expires": soon})).await;
    let revoked = made(json!({"Purpose": "to be revoked"})).await;
    let path = revoked["Links"]["Self"].as_str().unwrap();
    assert_eq!(client.call("DELETE", path, None).await.0, StatusCode::OK);
    let ann = client.create("/api/users", json!({"Username": "ann", "Role": "administrator"})).await;
    let suspended = users::key_of(client, "ann").await;
    let path = ann["Links"]["Self"].as_str().unwrap();
    assert_eq!(client.call("PUT", path, Some(json!({"IsActive": false}))).await.0, StatusCode::OK);
    client.app.clock.advance(Duration::from_secs(61));
    let sweep = Sweep::of(sweep.client).await;
    let text = |key: &Value| key["ApiKey"].as_str().unwrap().to_owned();
    let keys = [text(&expired), text(&revoked), suspended, "API-NOBODYS".to_owned(), String::new()];
    for (operation, _) in all().filter(|(_, need)| *need != Need::Nobody) {
        let path = about_something(operation);
        for key in &keys {
            let request = Request::builder().method(operation.method).uri(&path).header("X-Octopus-ApiKey", key);
            let request = request.header("X-Octopus-RegistrationKey", key).body(Body::from("{}")).unwrap();
            let (status, answer) = sweep.ask(request).await;
            assert_eq!(status, StatusCode::UNAUTHORIZED, "{} {path}: {answer}", operation.method);
            is_error(&answer);
        }
    }
    sweep.is_unchanged("a key that works no more").await;
}

/// The clock is stopped as soon as the body is waited for, and so the wait takes no time.
#[tokio::test]
async fn a_body_that_does_not_come_is_given_up_and_changes_nothing() {
    let sweep = Sweep::new().await;
    for (operation, _) in bodies() {
        let path = about_something(operation);
        let body = futures_util::stream::once(async {
            tokio::time::pause();
            std::future::pending::<Result<Bytes, std::io::Error>>().await
        });
        let (status, answer) = sweep.ask(sweep.request(operation.method, &path, Body::from_stream(body))).await;
        tokio::time::resume();
        assert!(status.is_client_error(), "{} {path} was answered {status}: {answer}", operation.method);
        is_error(&answer);
        sweep.is_unchanged(&path).await;
    }
}
