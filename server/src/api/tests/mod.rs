//! The REST API through the whole router: shapes, prefixes, paging, errors and what each call leaves behind.

mod build_information;
mod events;
mod hands;
mod hours;
mod machines;
mod nuget;
mod packages;
mod portal;
mod registration;
mod resources;
mod rollouts;
mod spaces;
mod sweep;
mod tasks;
mod users;
mod wire;

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use contract::{PackageId, Sha256, Thumbprint, Verdicts, Version};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::app::App;
use crate::bundle::BundledPackage;
use crate::db::facts::facts_put;
use crate::db::tasks::{task_begin, task_log_append};
use crate::ids::{MachineId, TaskId};
use crate::model::{Contact, Facts, InstalledVersion, Instances, LogCategory, Report, Scope};
use crate::routes;
use crate::tentacle::fake::{FakeMachine, FakeTentacles};
use crate::testing::TestApp;

/// Prefixes below which the resources of the default space answer alike.
const PREFIXES: [&str; 4] = ["/api", "/api/Spaces-1", "/api/spaces/default", "/api/spaces/Spaces-1"];

/// The portal and a key to it.
struct Client {
    app: TestApp,
    tentacles: FakeTentacles,
    key: String,
    /// Made once: some tests ask thousands of times.
    router: axum::Router,
}

impl Client {
    /// A portal that bundles Tentacle 2.0.0 for linux-x64.
    async fn new() -> Self {
        let bundled = BundledPackage {
            runtime: "linux-x64".to_owned(),
            version: Version::release(2, 0, 0),
            sha256: Sha256([2; 32]),
            size: 5,
        };
        let tentacles = FakeTentacles::default();
        let app = App::for_tests().await.with(|inner| {
            inner.tentacles = Arc::new(tentacles.clone());
            inner.bundle = [bundled].into_iter().collect();
        });
        let key = app.api_key(Scope::Full).await;
        let router = routes::router(app.app.clone());
        Self { app, tentacles, key, router }
    }

    async fn send(&self, request: Request<Body>) -> Response<Body> {
        self.router.clone().oneshot(request).await.unwrap()
    }

    async fn call_with(&self, key: Option<&str>, method: &str, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(key) = key {
            request = request.header("X-Octopus-ApiKey", key);
        }
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        json_of(self.send(request.body(body).unwrap()).await).await
    }

    async fn call(&self, method: &str, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        self.call_with(Some(&self.key), method, path, body).await
    }

    /// GET, which must be answered with 200.
    async fn get(&self, path: &str) -> Value {
        let (status, body) = self.call("GET", path, None).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        body
    }

    /// POST, which must be answered with 201.
    async fn create(&self, path: &str, body: Value) -> Value {
        let (status, body) = self.call("POST", path, Some(body)).await;
        assert_eq!(status, StatusCode::CREATED, "{path}: {body}");
        body
    }

    /// The call must be refused with `status` and a sentence that holds `text`.
    async fn refused(&self, method: &str, path: &str, body: Option<Value>, status: StatusCode, text: &str) {
        let (found, answer) = self.call(method, path, body).await;
        assert_eq!(found, status, "{method} {path}: {answer}");
        is_error(&answer);
        assert!(answer["ErrorMessage"].as_str().unwrap().contains(text), "{method} {path}: {answer}");
    }

    /// An environment `Production` with one machine `web1`.
    async fn with_machine(&self) -> Value {
        self.create("/api/environments", json!({"Name": "Production"})).await;
        self.create("/api/machines", machine("web1", 1)).await
    }

    /// Writes down that a machine reported a version.
    async fn report(&self, id: i64, version: &str) {
        let now = self.app.now();
        let version: Version = version.parse().unwrap();
        let report = Report {
            at: now,
            instance_seen_at: now,
            version: version.clone(),
            instance_id: "i".to_owned(),
            started_at: now,
            runtime: "linux-x64".to_owned(),
            os: "Debian GNU/Linux 12".to_owned(),
            hostname: "web1".to_owned(),
            supervisor_contract: Some(1),
            installed: vec![InstalledVersion { version, verdicts: Verdicts::default() }],
            last_words: None,
            free_disk_bytes: 1 << 40,
            running_work: Vec::new(),
            generation: 0,
            problems: Vec::new(),
        };
        let facts = Facts {
            tried_at: now,
            contact: Contact::Answered,
            contact_since: now,
            report: Some(report),
            instances: Instances::default(),
        };
        let mut tx = self.app.db.write().await.unwrap();
        facts_put(&mut tx, MachineId(id), &facts).await.unwrap();
        tx.commit().await.unwrap();
    }

    async fn push(&self, query: &str, field: &str, bytes: &[u8]) -> (StatusCode, Value) {
        let mut body = Vec::new();
        write!(body, "--B\r\nContent-Disposition: form-data; name=\"{field}\"; filename=\"a.nupkg\"\r\n\r\n").unwrap();
        body.extend_from_slice(bytes);
        body.extend_from_slice(b"\r\n--B--\r\n");
        let request = Request::post(format!("/api/Spaces-1/packages/raw{query}"))
            .header("X-Octopus-ApiKey", &self.key)
            .header("Content-Type", "multipart/form-data; boundary=B");
        json_of(self.send(request.body(Body::from(body)).unwrap()).await).await
    }
}

async fn json_of(response: Response<Body>) -> (StatusCode, Value) {
    let status = response.status();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    let text = String::from_utf8_lossy(&bytes);
    (status, serde_json::from_slice(&bytes).unwrap_or_else(|_| panic!("{status}, not JSON: {text}")))
}

fn is_error(answer: &Value) {
    let message = answer["ErrorMessage"].as_str().expect("an ErrorMessage");
    assert!(message.ends_with(['.', ')']) && !message.starts_with(char::is_lowercase), "{message}");
    assert!(answer["Errors"].is_array());
}

fn machine(name: &str, n: u8) -> Value {
    json!({
        "Name": name,
        "EnvironmentIds": ["Environments-1"],
        "Roles": ["web", "app"],
        "Endpoint": {
            "CommunicationStyle": "TentaclePassive",
            "Uri": format!("https://10.0.0.{n}:10933/"),
            "Thumbprint": Thumbprint([n; 32]).to_string(),
        },
    })
}

/// A real package, packed for the test.
fn package(id: &str, version: &str, content: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("content.txt");
    std::fs::write(&file, content).unwrap();
    let id: PackageId = id.parse().unwrap();
    let files = [(file, "content.txt".to_owned())];
    let version = version.parse().unwrap();
    let request =
        package::PackRequest { id: &id, version: &version, description: "A test.", authors: "Tests", files: &files };
    std::fs::read(package::pack(&request, folder.path()).unwrap()).unwrap()
}

#[track_caller]
fn has_keys(value: &Value, keys: &str) {
    let object = value.as_object().unwrap_or_else(|| panic!("no object: {value}"));
    let missing: Vec<&str> = keys.split_whitespace().filter(|key| !object.contains_key(*key)).collect();
    assert!(missing.is_empty(), "{missing:?} are missing in {value}");
}

fn ids(page: &Value) -> Vec<&str> {
    let items = page.get("Items").unwrap_or(page).as_array().unwrap();
    items.iter().map(|item| item["Id"].as_str().unwrap()).collect()
}
