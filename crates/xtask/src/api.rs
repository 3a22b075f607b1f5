//! A small client of the portal's REST API, for demos and tests. It knows what they ask for and nothing else.

use std::time::Duration;

use anyhow::{Context as _, bail};
use contract::Version;
use reqwest::{Client, Method};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::wait::wait_for;

/// How long one request may take. After it the request is an error.
const REQUEST_LIMIT: Duration = Duration::from_secs(30);

/// Resources asked for at once: more than any demo or test makes.
const TAKE: u32 = 1_000;

/// The API of one portal, used with one key.
#[derive(Clone, Debug)]
pub struct Api {
    client: Client,
    url: String,
    key: String,
}

/// A rollout, as the API tells it.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the names are those of the API")]
pub struct Rollout {
    pub id: String,
    pub task_id: String,
    pub target_version: String,
    pub max_in_flight: u32,
    pub failure_budget: u32,
    pub state: String,
    #[serde(default)]
    pub state_reason: String,
    #[serde(default)]
    pub summary: String,
    pub is_completed: bool,
    pub machines: Vec<RolloutMachine>,
}

/// A machine of a rollout, as the API tells it.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the names are those of the API")]
pub struct RolloutMachine {
    pub machine_id: String,
    pub name: String,
    pub phase: String,
    #[serde(default)]
    pub reason: String,
    pub from_version: Option<String>,
    pub to_version: String,
    pub attempt: u32,
}

impl Rollout {
    /// The machine of that name.
    pub fn machine(&self, name: &str) -> anyhow::Result<&RolloutMachine> {
        let found = self.machines.iter().find(|machine| machine.name == name);
        found.with_context(|| format!("the rollout {} has no machine {name}", self.id))
    }

    /// The machines in this phase.
    pub fn in_phase<'a>(&'a self, phase: &'a str) -> impl Iterator<Item = &'a RolloutMachine> {
        self.machines.iter().filter(move |machine| machine.phase == phase)
    }
}

impl Api {
    /// The API of the portal at `url` (`http://127.0.0.1:8080`), used with `key`; an empty key means none.
    pub fn new(url: &str, key: &str) -> anyhow::Result<Self> {
        let client = Client::builder().timeout(REQUEST_LIMIT).build().context("cannot make an HTTP client")?;
        Ok(Self { client, url: url.trim_end_matches('/').to_owned(), key: key.to_owned() })
    }

    /// Sends a request and returns the status and the body; a body that is not JSON becomes a JSON string.
    pub async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<(u16, Value)> {
        let mut request = self.client.request(method.clone(), format!("{}{path}", self.url));
        if !self.key.is_empty() {
            request = request.header("X-Octopus-ApiKey", &self.key);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let unanswered = || format!("{method} {path} was not answered");
        let answer = request.send().await.with_context(unanswered)?;
        let status = answer.status().as_u16();
        let text = answer.text().await.with_context(unanswered)?;
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
    }

    /// Like [`Api::send`]; any status but 2xx is an error that shows what was answered.
    pub async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let (status, answer) = self.send(method.clone(), path, body).await?;
        if !(200..300).contains(&status) {
            bail!("{method} {path} was answered with {status}: {answer}");
        }
        Ok(answer)
    }

    /// GET
    pub async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.call(Method::GET, path, None).await
    }

    /// POST
    pub async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.call(Method::POST, path, Some(body)).await
    }

    /// PUT
    pub async fn put(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.call(Method::PUT, path, Some(body)).await
    }

    /// DELETE
    pub async fn delete(&self, path: &str) -> anyhow::Result<Value> {
        self.call(Method::DELETE, path, None).await
    }

    /// Makes an environment and returns its id.
    pub async fn environment_create(&self, name: &str) -> anyhow::Result<String> {
        text(&self.post("/api/environments", &json!({ "Name": name })).await?, "/Id")
    }

    /// All machines, as resources.
    pub async fn machine_list(&self) -> anyhow::Result<Vec<Value>> {
        let page = self.get(&format!("/api/machines?take={TAKE}")).await?;
        Ok(page["Items"].as_array().context("the list of machines has no Items")?.clone())
    }

    /// The machine of that name, as a resource.
    pub async fn machine_by_name(&self, name: &str) -> anyhow::Result<Value> {
        let found = self.machine_list().await?.into_iter().find(|machine| machine["Name"] == name);
        found.with_context(|| format!("the portal has no machine {name}"))
    }

    /// The version that the portal last saw on the machine of that name; `None` where it never saw one.
    pub async fn machine_version(&self, name: &str) -> anyhow::Result<Option<Version>> {
        let machine = self.machine_by_name(name).await?;
        let version = machine.pointer("/Endpoint/TentacleVersionDetails/Version").and_then(Value::as_str);
        Ok(version.map(str::parse).transpose()?)
    }

    /// The thumbprint that Tentacles pin for this portal.
    pub async fn portal_thumbprint(&self) -> anyhow::Result<String> {
        text(&self.get("/api/configuration/certificates/certificate-global").await?, "/Thumbprint")
    }

    /// Makes a rollout. An empty `wish` means all machines, to the bundled version; else it holds any of
    /// `MachineIds`, `EnvironmentIds`, `TargetVersion`, `MaxInFlight`, `FailureBudget` and `Description`.
    pub async fn rollout_create(&self, wish: &Value) -> anyhow::Result<Rollout> {
        Ok(serde_json::from_value(self.post("/api/rollouts", wish).await?)?)
    }

    /// A rollout as it stands.
    pub async fn rollout_get(&self, id: &str) -> anyhow::Result<Rollout> {
        Ok(serde_json::from_value(self.get(&format!("/api/rollouts/{id}")).await?)?)
    }

    /// Asks for the end of a rollout.
    pub async fn rollout_cancel(&self, id: &str) -> anyhow::Result<Rollout> {
        Ok(serde_json::from_value(self.post(&format!("/api/rollouts/{id}/cancel"), &json!({})).await?)?)
    }

    /// Waits until `wanted` is true of a rollout. The error says how the rollout stood at the limit.
    pub async fn rollout_wait(
        &self,
        id: &str,
        limit: Duration,
        mut wanted: impl FnMut(&Rollout) -> bool,
    ) -> anyhow::Result<Rollout> {
        let mut last = None;
        let waited = wait_for("the rollout", limit, async || {
            let rollout = self.rollout_get(id).await?;
            let done = wanted(&rollout);
            let rollout = last.insert(rollout);
            Ok(done.then(|| rollout.clone()))
        });
        let waited = waited.await;
        waited.with_context(|| last.map_or_else(String::new, |rollout| format!("the rollout stood at {rollout:#?}")))
    }

    /// A task, as a resource.
    pub async fn task_get(&self, id: &str) -> anyhow::Result<Value> {
        self.get(&format!("/api/tasks/{id}")).await
    }

    /// The log of a task.
    pub async fn task_raw(&self, id: &str) -> anyhow::Result<String> {
        let answer = self.get(&format!("/api/tasks/{id}/raw")).await?;
        Ok(answer.as_str().map_or_else(|| answer.to_string(), str::to_owned))
    }
}

/// The text at `pointer`.
fn text(value: &Value, pointer: &str) -> anyhow::Result<String> {
    let text = value.pointer(pointer).and_then(Value::as_str);
    text.map(str::to_owned).with_context(|| format!("the answer has no text at {pointer}: {value}"))
}
