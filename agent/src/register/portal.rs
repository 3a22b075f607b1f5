//! The few resources of the portal's REST API that registering needs.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context as _, bail};
use contract::{EnvironmentName, Thumbprint};
use octopus_proto::tls;
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Client, ClientBuilder, RequestBuilder, Url};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize, Serializer};

/// Longest request, answer and all; then registering fails.
const REQUEST_MAX: Duration = Duration::from_secs(30);

/// Most bytes of an answer; a larger one is not from a portal.
const ANSWER_MAX: usize = 4 << 20;

/// Most environments that are named when the one that is wanted does not exist.
const ENVIRONMENTS_NAMED: usize = 100;

/// What to do about a thumbprint that is not the expected one.
pub(super) const COMPARE: &str = "Compare it with the thumbprint that octopus-server prints at its start. If it is the \
     one shown, give that one; if it is not, somebody else answers at this address: do not register";

/// A portal that was reached, over a connection that is safe to send a key through.
pub(super) struct Portal {
    client: Client,
    base: Url,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Page<T> {
    items: Vec<T>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Environment {
    id: String,
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Certificate {
    thumbprint: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Failure {
    error_message: String,
    errors: Vec<String>,
}

/// What is shown to the portal.
pub(super) enum Key {
    /// It stands for a user.
    Api(String),
    /// It stands for nobody, and adds machines to its own environments.
    Registration(String),
}

/// What a registration key allows.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Allowed {
    portal_thumbprint: String,
}

/// A machine as it makes itself known by a registration key.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Applicant {
    pub(super) name: String,
    pub(super) uri: String,
    #[serde(serialize_with = "write_thumbprint")]
    pub(super) thumbprint: Thumbprint,
}

/// What became of it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Registered {
    #[serde(flatten)]
    pub(super) machine: Machine,
    pub(super) is_new: bool,
}

/// A machine of the portal.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Machine {
    pub(super) id: String,
    pub(super) name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListedMachine {
    #[serde(flatten)]
    machine: Machine,
    #[serde(default)]
    endpoint: Endpoint,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Endpoint {
    thumbprint: String,
}

/// A machine to be added.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct NewMachine {
    pub(super) name: String,
    pub(super) environment_ids: Vec<String>,
    pub(super) roles: Vec<String>,
    pub(super) endpoint: NewEndpoint,
}

/// How the portal reaches it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct NewEndpoint {
    pub(super) communication_style: &'static str,
    pub(super) uri: String,
    #[serde(serialize_with = "write_thumbprint")]
    pub(super) thumbprint: Thumbprint,
}

fn write_thumbprint<S: Serializer>(thumbprint: &Thumbprint, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(thumbprint)
}

/// True for an address on this machine itself.
pub(super) fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let ip = host.trim_matches(['[', ']']).parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost") || ip.is_ok_and(|ip| ip.is_loopback())
}

impl Portal {
    /// Reaches the portal over a connection that is pinned, publicly valid, or does not leave this machine.
    pub(super) async fn open(server: &Url, pinned: Option<Thumbprint>, key: &Key) -> anyhow::Result<Self> {
        let mut base = server.clone();
        base.set_path(&format!("{}/", server.path().trim_end_matches('/')));
        let mut headers = HeaderMap::new();
        let (header, text) = match key {
            Key::Api(text) => ("X-Octopus-ApiKey", text),
            Key::Registration(text) => ("X-Octopus-RegistrationKey", text),
        };
        let mut value = HeaderValue::try_from(text).context("the key holds characters that no key has")?;
        value.set_sensitive(true);
        headers.insert(header, value);
        let builder = || Client::builder().timeout(REQUEST_MAX).default_headers(headers.clone());
        let loopback = is_loopback(server);
        if server.scheme() == "http" && !loopback {
            bail!("{server} is not encrypted, and the key would be seen by others: use https");
        }
        let (safe, shown) = match (pinned, loopback) {
            (None, false) => (builder(), None),
            (Some(_), _) | (None, true) => {
                let (config, shown) = tls::https_config(pinned);
                (builder().tls_backend_preconfigured(config), Some(shown))
            }
        };
        let error = match Self::reach(safe, &base).await {
            Ok(portal) => return Ok(portal),
            Err(error) => error,
        };
        // The portal's identity may be behind a certificate of its own for the web.
        if pinned.is_some()
            && !loopback
            && let Ok(portal) = Self::reach(builder(), &base).await
        {
            return Ok(portal);
        }
        match (pinned, shown.and_then(|shown| shown.thumbprint())) {
            (Some(expected), Some(found)) if found != expected => bail!(
                "{server} shows the certificate {found}, but --server-thumbprint says {expected}: nothing was sent. \
                 {COMPARE}"
            ),
            (None, _) if !loopback => Err(error).context(
                "where the portal's certificate is not publicly valid its thumbprint must be given with \
                 --server-thumbprint; octopus-server prints it at its start",
            ),
            _ => Err(error),
        }
    }

    async fn reach(builder: ClientBuilder, base: &Url) -> anyhow::Result<Self> {
        let client = builder.build().context("cannot set up the connection")?;
        let portal = Self { client, base: base.clone() };
        // The root needs no key, and whatever answers it with JSON is a portal.
        portal.get::<serde_json::Value>("api", &[]).await?;
        Ok(portal)
    }

    /// The identity that the portal shows to Tentacles.
    pub(super) async fn thumbprint(&self) -> anyhow::Result<Thumbprint> {
        let path = "api/configuration/certificates/certificate-global";
        let certificate: Certificate = self.get(path, &[]).await?;
        certificate.thumbprint.parse().context("the portal's thumbprint cannot be read")
    }

    /// The id of an environment.
    pub(super) async fn environment_id(&self, name: &EnvironmentName) -> anyhow::Result<String> {
        let found: Page<Environment> = self.get("api/environments", &[("name", name.as_str())]).await?;
        let wanted = name.as_str().to_lowercase();
        if let Some(environment) = found.items.into_iter().find(|found| found.name.to_lowercase() == wanted) {
            return Ok(environment.id);
        }
        let take = ENVIRONMENTS_NAMED.to_string();
        let all: Page<Environment> = self.get("api/environments", &[("skip", "0"), ("take", &take)]).await?;
        let names = all.items.into_iter().map(|environment| environment.name).collect::<Vec<_>>();
        if names.is_empty() {
            bail!("the portal has no environment \"{name}\", nor any other: add it there first");
        }
        bail!("the portal has no environment \"{name}\"; it has: {}", names.join(", "))
    }

    /// The machine that has this thumbprint.
    pub(super) async fn machine_with(&self, thumbprint: &Thumbprint) -> anyhow::Result<Option<Machine>> {
        let text = thumbprint.to_string();
        let found: Page<ListedMachine> = self.get("api/machines", &[("thumbprint", &text)]).await?;
        // A portal that does not know the filter lists all.
        let same = |listed: &ListedMachine| listed.endpoint.thumbprint.parse() == Ok(*thumbprint);
        Ok(found.items.into_iter().find(same).map(|listed| listed.machine))
    }

    /// Adds a machine.
    pub(super) async fn add_machine(&self, machine: &NewMachine) -> anyhow::Result<Machine> {
        let url = self.base.join("api/machines")?;
        self.send(self.client.post(url.clone()).json(machine), &url).await
    }

    /// The identity that the portal shows to Tentacles, as the bearer of a registration key may ask for it.
    pub(super) async fn thumbprint_for_applicants(&self) -> anyhow::Result<Thumbprint> {
        let allowed: Allowed = self.get("api/registration", &[]).await?;
        allowed.portal_thumbprint.parse().context("the portal's thumbprint cannot be read")
    }

    /// Adds this machine by a registration key.
    pub(super) async fn apply(&self, applicant: &Applicant) -> anyhow::Result<Registered> {
        let url = self.base.join("api/registration")?;
        self.send(self.client.post(url.clone()).json(applicant), &url).await
    }

    async fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, &str)]) -> anyhow::Result<T> {
        let mut url = self.base.join(path)?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.send(self.client.get(url.clone()), &url).await
    }

    async fn send<T: DeserializeOwned>(&self, request: RequestBuilder, url: &Url) -> anyhow::Result<T> {
        let mut answer = request.send().await.with_context(|| format!("cannot reach {url}"))?;
        let status = answer.status();
        let mut body = Vec::new();
        while let Some(piece) = answer.chunk().await.with_context(|| format!("the answer of {url} was cut"))? {
            body.extend_from_slice(&piece);
            anyhow::ensure!(body.len() <= ANSWER_MAX, "the answer of {url} is too long: it is not a portal");
        }
        if !status.is_success() {
            let failure: Failure = serde_json::from_slice(&body).unwrap_or_default();
            let words = [vec![failure.error_message], failure.errors].concat();
            let words: Vec<_> = words.into_iter().filter(|text| !text.is_empty()).collect();
            let words = if words.is_empty() { "it does not say why".to_owned() } else { words.join(" ") };
            bail!("the portal refuses {url} with {status}: {words}");
        }
        serde_json::from_slice(&body).with_context(|| format!("the answer of {url} is not that of a portal"))
    }
}
