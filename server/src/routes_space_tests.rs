//! Spaces know nothing of each other: a table of every route of the REST API, each asked in one space for things of another.
//! What is asked for there must be as unknown as what is not there at all, and nothing may change. A route that this table
//! does not know how to ask fails.

use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, SqliteConnection};
use tower::ServiceExt as _;

use super::tests::person;
use super::*;
use crate::auth::rules::operations;
use crate::bundle::BundledPackage;
use crate::db::facts::facts_put;
use crate::ids::EnvironmentId;
use crate::model::{Contact, Facts, Instances, Reach, Role};
use crate::testing::{TestApp, packed, report};

/// What is there once in the portal, and why it may be asked for by whatever address.
const OF_THE_PORTAL: &[(&str, &str)] = &[
    ("", "the root"),
    ("/spaces", "spaces themselves"),
    ("/spaces/all", "spaces themselves"),
    ("/spaces/{space}", "spaces themselves"),
    ("/{space}", "a space itself"),
    ("/users", "users have no space"),
    ("/users/all", "users have no space"),
    ("/users/me", "users have no space"),
    ("/users/{id}", "users have no space"),
    ("/users/{id}/apikeys", "nor have their keys"),
    ("/users/{id}/apikeys/{key}", "nor have their keys"),
    ("/capabilities", "the portal's"),
    ("/configuration/certificates/certificate-global", "the portal's"),
    ("/identity", "the portal's"),
    ("/identity/ready", "the portal's"),
    ("/identity/abandon", "the portal's"),
    ("/identity/use", "the portal's"),
    ("/identity/forget", "the portal's"),
    ("/restoration", "the portal's"),
    ("/restoration/confirm", "the portal's"),
    ("/openapi.json", "the portal's"),
    ("/docs", "the portal's"),
    ("/serverstatus", "the portal's"),
    ("/maintenanceconfiguration", "the portal's"),
    ("/registration", "a registration key says which space"),
];

/// What names nothing that another space could have, and why.
const NAMES_NOTHING: &[(&str, &str, &str)] = &[
    ("POST", "/environments", "a new environment names no other thing"),
    ("GET", "/machines/discover", "looks who answers at an address"),
    ("POST", "/packages/raw", "a package names no other thing"),
    ("POST", "/packages/raw/validate", "a package names no other thing"),
    ("POST", "/build-information", "names a package that need not be there"),
    ("PUT", "/nuget", "a package names no other thing"),
    ("POST", "/nuget", "a package names no other thing"),
    ("PUT", "/nuget/packages", "a package names no other thing"),
    ("POST", "/nuget/packages", "a package names no other thing"),
    ("GET", "/feeds/{id}", "every space has its own feed of this id"),
];

/// The things of a space. All of them are called by one word.
#[derive(Clone, Debug)]
struct Things {
    word: &'static str,
    environment: String,
    machine: String,
    rollout: String,
    task: String,
    freeze: String,
    event: String,
    package: String,
    nupkg: String,
    policy: String,
    lifecycle: String,
    group: String,
    build: String,
}

impl Things {
    /// What is nowhere.
    fn unknown() -> Self {
        let id = |kind: &str| format!("{kind}-987654");
        Self {
            word: "nowhere",
            environment: id("Environments"),
            machine: id("Machines"),
            rollout: id("Rollouts"),
            task: id("ServerTasks"),
            freeze: id("Freezes"),
            event: id("Events"),
            package: "packages-nowhere.pack.1.0.0".to_owned(),
            nupkg: "nowhere.pack".to_owned(),
            policy: id("MachinePolicies"),
            lifecycle: id("Lifecycles"),
            group: id("ProjectGroups"),
            build: id("BuildInformation"),
        }
    }

    /// The one that an address names in the place of its id; empty where it names none.
    fn of_path(&self, path: &str) -> Option<&str> {
        Some(match path.split('/').nth(1).unwrap_or_default() {
            "environments" => &self.environment,
            "machines" => &self.machine,
            "rollouts" => &self.rollout,
            "tasks" => &self.task,
            "freezes" => &self.freeze,
            "events" => &self.event,
            "packages" => &self.package,
            "machinepolicies" => &self.policy,
            "lifecycles" => &self.lifecycle,
            "projectgroups" => &self.group,
            "build-information" => &self.build,
            "nuget" => &self.nupkg,
            "feeds" | "machineroles" => "",
            _ => return None,
        })
    }

    /// A text with these in the place of what they are.
    fn said_of(&self, text: &str) -> String {
        let all = [
            (&self.environment, "{environment}"),
            (&self.machine, "{machine}"),
            (&self.rollout, "{rollout}"),
            (&self.task, "{task}"),
            (&self.freeze, "{freeze}"),
            (&self.event, "{event}"),
            (&self.package, "{package}"),
            (&self.nupkg, "{nupkg}"),
            (&self.policy, "{policy}"),
            (&self.lifecycle, "{lifecycle}"),
            (&self.group, "{group}"),
            (&self.build, "{build}"),
        ];
        // The longer ones first: one may begin another.
        let mut all = all.to_vec();
        all.sort_by_key(|(id, _)| std::cmp::Reverse(id.len()));
        all.into_iter().fold(text.to_lowercase(), |text, (id, name)| text.replace(&id.to_lowercase(), name))
    }
}

/// What is sent to a thing of the first to give it something of the second: method, address below the space, body.
type Way = fn(&Things, &Things) -> (&'static str, String, Value);

/// How a route is asked for the things of another space.
enum Ask {
    /// They are in the path, so the answer is 404; with a body.
    Path(String, Value),
    /// They are in the body: each of these is refused.
    Bodies(Vec<Value>),
    /// They are in the query of a list, which must tell nothing: each of these queries is asked, and none.
    Queries(Vec<String>),
}

/// The table. `own` are things of the space that is asked.
fn ask(method: &str, path: &str, other: &Things, own: &Things) -> Option<Ask> {
    let id = other.of_path(path)?;
    if path.contains('{') && path != "/nuget/{resource}" {
        let address = path
            .replace("{id}", id)
            .replace("{version}", "1.0.0")
            .replace("{file}", &format!("{}.1.0.0.nupkg", other.nupkg))
            .replace("{leaf}", "1.0.0.json");
        let body = json!({
            "Reason": "x", "Roles": ["x"], "Description": "x", "MachineId": other.machine, "MachineIds": [], "Wave": 1,
            "Runtime": "linux-x64", "UpgradeDeadlines": { "Checking": "00:00:45" },
        });
        return (!address.contains('{')).then_some(Ask::Path(address, body));
    }
    if (method, path) == ("DELETE", "/build-information/bulk") {
        return Some(Ask::Path(format!("{path}?ids={id}"), Value::Null));
    }
    if method != "GET" {
        return bodies(method, path, other, own).map(Ask::Bodies);
    }
    let queries = match path {
        "/machines" | "/machines/all" | "/machines/v2" => {
            format!("ids={},environmentIds={}", other.machine, other.environment)
        }
        "/environments"
        | "/environments/v2"
        | "/environments/all"
        | "/environments/summary"
        | "/environments/summary/v2" => format!("ids={}", other.environment),
        "/tasks" => format!("ids={},environment={}", other.task, other.environment),
        "/rollouts" => format!(
            "ids={},machine={},environment={},undoOf={}",
            other.rollout, other.machine, other.environment, other.rollout
        ),
        "/events" => format!("ids={},regarding={},regardingAny={}", other.event, other.machine, other.environment),
        "/packages" => format!("nuGetPackageId={},filter={}", other.nupkg, other.word),
        "/build-information" => format!("packageId={},filter={}", other.nupkg, other.word),
        "/machinepolicies" | "/machinepolicies/all" => format!("ids={}", other.policy),
        "/lifecycles" | "/lifecycles/all" => format!("ids={}", other.lifecycle),
        "/projectgroups" | "/projectgroups/all" => format!("ids={}", other.group),
        "/nuget/{resource}" => return Some(Ask::Queries(vec![String::new()])),
        "/freezes"
        | "/feeds"
        | "/feeds/all"
        | "/machineroles/all"
        | "/tasks/taskTypes"
        | "/events/agents"
        | "/events/categories"
        | "/events/documenttypes"
        | "/events/groups"
        | "/nuget"
        | "/nuget/packages"
        | "/nuget/v3/index.json"
        | "/nuget/v3/search"
        | "/nuget/v3/autocomplete" => String::new(),
        _ => return None,
    };
    let queries = queries.split(',').map(|query| if query.is_empty() { String::new() } else { format!("?{query}") });
    Some(Ask::Queries(std::iter::once(String::new()).chain(queries).collect()))
}

fn bodies(method: &str, path: &str, other: &Things, own: &Things) -> Option<Vec<Value>> {
    let machines = json!([other.machine]);
    let environments = json!([other.environment]);
    let endpoint = json!({ "Uri": "https://h:1/", "Thumbprint": contract::Thumbprint([0x55; 32]).to_string() });
    Some(match (method, path) {
        ("PUT", "/environments/sortorder") => vec![environments],
        ("POST", "/freezes") => {
            vec![json!({ "Until": "2099-01-01T00:00:00Z", "Reason": "x", "EnvironmentIds": environments })]
        }
        ("POST", "/machines") => vec![
            json!({ "Name": "n", "EnvironmentIds": environments, "Endpoint": endpoint }),
            json!({
                "Name": "n", "EnvironmentIds": [own.environment], "Endpoint": endpoint, "MachinePolicyId": other.policy,
            }),
        ],
        ("POST", "/tasks") => vec![
            json!({ "Name": "Health", "Arguments": { "MachineIds": machines } }),
            json!({ "Name": "Health", "Arguments": { "EnvironmentId": other.environment } }),
            json!({ "Name": "Upgrade", "Arguments": { "MachineIds": machines } }),
            json!({ "Name": "Upgrade", "Arguments": { "EnvironmentId": other.environment } }),
            json!({ "Name": "Deploy", "Arguments": { "PackageId": own.nupkg, "EnvironmentId": other.environment } }),
            json!({ "Name": "Deploy", "Arguments": { "PackageId": other.nupkg, "EnvironmentId": own.environment } }),
        ],
        ("POST", "/rollouts" | "/rollouts/preview") => {
            vec![json!({ "MachineIds": machines }), json!({ "EnvironmentIds": environments })]
        }
        ("DELETE", "/packages/bulk") => vec![json!({ "Ids": [other.package] })],
        _ => return None,
    })
}

/// A portal with somebody who may do everything, and two spaces with the same kinds of things.
struct Portal {
    app: TestApp,
    /// Made once: there are thousands of requests.
    router: Router,
    key: String,
}

impl Portal {
    async fn new() -> (Self, Things, Things) {
        let app = App::for_tests().await.with(|inner| {
            let (runtime, version) = ("linux-x64".to_owned(), contract::Version::release(2, 0, 0));
            let package = BundledPackage { runtime, version, sha256: contract::Sha256([7; 32]), size: 1 };
            inner.bundle = [package].into_iter().collect();
        });
        let key = person(&app, "boss", Role::Administrator).await.key;
        let portal = Self { router: router(app.app.clone()), app, key };
        // Not the word: that there is a space is told in the default one.
        let made = portal.call("POST", "/api/spaces", json!({ "Name": "Second" })).await;
        assert_eq!((made.0, made.1["Id"].as_str()), (StatusCode::CREATED, Some("Spaces-2")), "{}", made.1);
        let first = portal.furnish("/api/Spaces-1", "crimson", 1).await;
        let second = portal.furnish("/api/Spaces-2", "indigo", 2).await;
        (portal, first, second)
    }

    async fn text(&self, key: &str, method: &str, address: &str, body: Body, kind: &str) -> (StatusCode, String) {
        let request = Request::builder().method(method).uri(address).header(header::HOST, "portal");
        let request = request.header("x-octopus-apikey", key).header(header::CONTENT_TYPE, kind).body(body).unwrap();
        let answer = self.router.clone().oneshot(request).await.unwrap();
        let status = answer.status();
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8_lossy(&bytes).into_owned())
    }

    async fn said(&self, method: &str, address: &str, body: &Value) -> (StatusCode, String) {
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        self.text(&self.key, method, address, body, "application/json").await
    }

    async fn call(&self, method: &str, address: &str, body: Value) -> (StatusCode, Value) {
        let (status, text) = self.said(method, address, &body).await;
        (status, serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    async fn made(&self, address: &str, body: Value) -> Value {
        let (status, made) = self.call("POST", address, body).await;
        assert_eq!(status, StatusCode::CREATED, "{address}: {made}");
        made
    }

    /// Something of every kind in a space, all of it called by `word`.
    async fn furnish(&self, base: &str, word: &'static str, n: u8) -> Things {
        let id = |value: &Value| value["Id"].as_str().unwrap().to_owned();
        let environment =
            id(&self.made(&format!("{base}/environments"), json!({ "Name": format!("{word}-environment") })).await);
        let body = json!({
            "Name": format!("{word}-machine"),
            "EnvironmentIds": [environment],
            "Roles": [format!("{word}-role")],
            "Endpoint": {
                "Uri": format!("https://{word}.example:10933/"),
                "Thumbprint": contract::Thumbprint([n; 32]).to_string(),
            },
        });
        let machine = id(&self.made(&format!("{base}/machines"), body).await);
        let now = self.app.now();
        let facts = Facts {
            tried_at: now,
            contact: Contact::Answered,
            contact_since: now,
            report: Some(report(contract::Version::release(1, 0, 0), now)),
            instances: Instances::default(),
        };
        let mut tx = self.app.db.write().await.unwrap();
        facts_put(&mut tx, machine.parse().unwrap(), &facts).await.unwrap();
        tx.commit().await.unwrap();
        let head = "--B\r\nContent-Disposition: form-data; name=\"fileToUpload\"; filename=\"a.nupkg\"\r\n\r\n";
        let nupkg = format!("{word}.pack");
        let bytes = [head.as_bytes(), &packed(&nupkg, "1.0.0", word), b"\r\n--B--\r\n"].concat();
        let address = format!("{base}/packages/raw");
        let pushed = self.text(&self.key, "POST", &address, Body::from(bytes), "multipart/form-data; boundary=B").await;
        assert_eq!(pushed.0, StatusCode::CREATED, "{}", pushed.1);
        let build = json!({ "PackageId": nupkg, "Version": "1.0.0", "OctopusBuildInformation": { "Branch": word } });
        let build = id(&self.made(&format!("{base}/build-information"), build).await);
        let rollout = self.made(&format!("{base}/rollouts"), json!({ "Name": word, "MachineIds": [machine] })).await;
        let wish = json!({ "Name": "Health", "Description": word, "Arguments": { "MachineIds": [machine] } });
        let task = id(&self.made(&format!("{base}/tasks"), wish).await);
        let wish = json!({ "Until": "2099-01-01T00:00:00Z", "Reason": word, "EnvironmentIds": [environment] });
        let freeze = id(&self.made(&format!("{base}/freezes"), wish).await);
        let events = self.call("GET", &format!("{base}/events?take=1"), Value::Null).await.1;
        Things {
            word,
            environment,
            machine,
            rollout: id(&rollout),
            task,
            freeze,
            event: id(&events["Items"][0]),
            package: format!("packages-{nupkg}.1.0.0"),
            nupkg,
            policy: format!("MachinePolicies-{n}"),
            lifecycle: format!("Lifecycles-{n}"),
            group: format!("ProjectGroups-{n}"),
            build,
        }
    }

    /// Everything that is in the database, as text.
    async fn dump(&self) -> String {
        let mut conn = self.app.db.read().await.unwrap();
        let conn: &mut SqliteConnection = &mut conn;
        let tables = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY name";
        let tables: Vec<String> = sqlx::query_scalar(tables).fetch_all(&mut *conn).await.unwrap();
        let mut all = String::new();
        for table in tables {
            let columns = format!("SELECT name FROM pragma_table_info('{table}')");
            let columns: Vec<String> = sqlx::query_scalar(AssertSqlSafe(columns)).fetch_all(&mut *conn).await.unwrap();
            let row: Vec<String> = columns.iter().map(|column| format!("quote({column})")).collect();
            let rows = format!("SELECT COALESCE(group_concat({}, ';'), '') FROM {table}", row.join(" || ',' || "));
            let rows: String = sqlx::query_scalar(AssertSqlSafe(rows)).fetch_one(&mut *conn).await.unwrap();
            all.push_str(&format!("{table}: {rows}\n"));
        }
        all
    }

    /// Asks every route below `prefix` for `other`'s things. The space that is meant has `own`.
    async fn walk(&self, prefix: &str, other: &Things, own: &Things) {
        let unknown = Things::unknown();
        let before = self.dump().await;
        let (mut asked, mut wrong) = (0, Vec::new());
        for (method, path, _) in operations() {
            if OF_THE_PORTAL.iter().any(|(known, _)| *known == path)
                || NAMES_NOTHING.iter().any(|(verb, known, _)| (*verb, *known) == (method, path))
            {
                continue;
            }
            let (Some(asks), Some(nowhere)) = (ask(method, path, other, own), ask(method, path, &unknown, own)) else {
                wrong.push(format!("{method} {path}: tell this table how to ask for things of another space"));
                continue;
            };
            let found = self.asked(method, &format!("{prefix}{path}"), prefix, other, (asks, nowhere)).await;
            wrong.extend(found.into_iter().map(|what| format!("{method} {prefix}{path}: {what}")));
            if method != "GET" && self.dump().await != before {
                panic!("{method} {prefix}{path} changed something");
            }
            asked += 1;
        }
        assert_eq!(self.dump().await, before, "to look changed something");
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert!(asked > 80, "only {asked} routes were asked");
    }

    /// Asks one route, and returns what is wrong with its answers.
    async fn asked(
        &self,
        method: &str,
        path: &str,
        prefix: &str,
        other: &Things,
        (asks, nowhere): (Ask, Ask),
    ) -> Vec<String> {
        let unknown = Things::unknown();
        let mut wrong = Vec::new();
        match (asks, nowhere) {
            (Ask::Path(address, body), Ask::Path(nowhere, _)) => {
                let (status, said) = self.said(method, &format!("{prefix}{address}"), &body).await;
                let (_, expected) = self.said(method, &format!("{prefix}{nowhere}"), &body).await;
                if status != StatusCode::NOT_FOUND || other.said_of(&said) != unknown.said_of(&expected) {
                    wrong.push(format!("{status} {said}, and of what is nowhere {expected}"));
                }
            }
            (Ask::Bodies(bodies), Ask::Bodies(nowhere)) => {
                for (body, nowhere) in bodies.iter().zip(&nowhere) {
                    let (status, said) = self.said(method, path, body).await;
                    let (expected, words) = self.said(method, path, nowhere).await;
                    let is_same = (status, other.said_of(&said)) == (expected, unknown.said_of(&words));
                    if !status.is_client_error() || !is_same {
                        wrong.push(format!("{body}: {status} {said}, and of what is nowhere {words}"));
                    }
                }
            }
            (Ask::Queries(queries), Ask::Queries(_)) => {
                for query in queries {
                    let address = format!("{}{query}", path.replace("{resource}", "Packages()"));
                    let (status, said) = self.said(method, &address, &Value::Null).await;
                    let told = without_links(&said);
                    if !status.is_success() || told.contains(other.word) {
                        wrong.push(format!("{query}: {status} {told}"));
                    }
                }
            }
            _ => unreachable!("a route is asked in one way"),
        }
        wrong
    }
}

/// An answer without its links, which repeat what was asked for.
fn without_links(text: &str) -> String {
    fn drop_links(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                fields.remove("Links");
                fields.values_mut().for_each(drop_links);
            }
            Value::Array(items) => items.iter_mut().for_each(drop_links),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    match serde_json::from_str::<Value>(text) {
        Ok(mut value) => {
            drop_links(&mut value);
            value.to_string()
        }
        Err(_) => text.to_owned(),
    }
}

#[tokio::test]
async fn nothing_of_one_space_is_read_or_changed_through_another() {
    let (portal, first, second) = Portal::new().await;
    for prefix in ["/api/Spaces-2", "/api/spaces/Spaces-2", "/api/spaces/second"] {
        portal.walk(prefix, &first, &second).await;
    }
    for prefix in ["/api", "/api/Spaces-1", "/api/spaces/default"] {
        portal.walk(prefix, &second, &first).await;
    }
}

#[tokio::test]
async fn what_a_thing_of_ones_own_space_is_given_of_another_is_refused() {
    let (portal, first, second) = Portal::new().await;
    let unknown = Things::unknown();
    let before = portal.dump().await;
    let ways: [Way; 4] = [
        |own, other| ("PUT", format!("/machines/{}", own.machine), json!({ "EnvironmentIds": [other.environment] })),
        |own, other| ("PUT", format!("/machines/{}", own.machine), json!({ "MachinePolicyId": other.policy })),
        |own, other| ("POST", format!("/rollouts/{}/retry", own.rollout), json!({ "MachineIds": [other.machine] })),
        |own, other| ("POST", format!("/rollouts/{}/skip", own.rollout), json!({ "MachineId": other.machine })),
    ];
    for way in ways {
        let (method, address, body) = way(&second, &first);
        let (status, said) = portal.said(method, &format!("/api/Spaces-2{address}"), &body).await;
        let nowhere = portal.said(method, &format!("/api/Spaces-2{address}"), &way(&second, &unknown).2).await;
        assert!(status.is_client_error(), "{method} {address} {body}: {status} {said}");
        assert_eq!((status, first.said_of(&said)), (nowhere.0, unknown.said_of(&nowhere.1)), "{method} {address}");
    }
    assert_eq!(portal.dump().await, before);
}

#[tokio::test]
async fn what_may_be_the_same_in_two_spaces_is_two_things() {
    let (portal, first, second) = Portal::new().await;
    // The same names, thumbprints and packages as in the first.
    let again = portal.furnish("/api/Spaces-2", "crimson", 1).await;
    assert_ne!((&again.environment, &again.machine), (&first.environment, &first.machine));
    let gone = portal.call("DELETE", &format!("/api/Spaces-2/packages/{}", again.package), Value::Null).await;
    assert_eq!(gone.0, StatusCode::OK);
    let kept = portal.said("GET", &format!("/api/packages/{}/raw", first.package), &Value::Null).await;
    assert_eq!(kept.0, StatusCode::OK, "its file is still the other one's");
    let links = portal.call("GET", &format!("/api/spaces/second/machines/{}", second.machine), Value::Null).await.1;
    assert_eq!(links["Links"]["Self"], format!("/api/Spaces-2/machines/{}", second.machine));
    assert_eq!((&links["SpaceId"], &links["MachinePolicyId"]), (&json!("Spaces-2"), &json!("MachinePolicies-2")));
}

#[tokio::test]
async fn whoever_operates_in_one_space_alone_finds_nothing_of_another_and_is_told_nothing_of_it() {
    let (portal, first, second) = Portal::new().await;
    let own: EnvironmentId = second.environment.parse().unwrap();
    let key = person(&portal.app, "ann", Role::Operator(Reach::Only([own].into()))).await.key;
    let unknown = Things::unknown();
    for (method, path) in [
        ("DELETE", "/machines/{machine}"),
        ("POST", "/rollouts/{rollout}/pause"),
        ("POST", "/tasks/{task}/cancel"),
        ("DELETE", "/freezes/{freeze}"),
    ] {
        let address = |things: &Things| {
            let path = path.replace("{machine}", &things.machine).replace("{rollout}", &things.rollout);
            path.replace("{task}", &things.task).replace("{freeze}", &things.freeze)
        };
        let body = || Body::from("{}");
        let ask = async |things: &Things| {
            let address = format!("/api/Spaces-2{}", address(things));
            portal.text(&key, method, &address, body(), "application/json").await
        };
        let (found, nowhere) = (ask(&first).await, ask(&unknown).await);
        assert_eq!(found.0, StatusCode::NOT_FOUND, "{method} {path}: {}", found.1);
        assert_eq!(first.said_of(&found.1), unknown.said_of(&nowhere.1), "{method} {path}");
        let elsewhere = format!("/api{}", address(&second));
        let elsewhere = portal.text(&key, method, &elsewhere, body(), "application/json").await;
        assert_eq!(elsewhere.0, StatusCode::NOT_FOUND, "{method} {path}: it is theirs, and not in the default space");
        assert!(ask(&second).await.0.is_success(), "{method} {path}: it is theirs");
    }
}
