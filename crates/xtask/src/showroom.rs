//! A portal that has something to show on every page: real machines, a rollout that its brake stopped, an older version that
//! came back, work and its log, a package, a hold and a freeze. For whoever looks at all pages, people and tests.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context as _;
use contract::{PackageId, Version};
use package::PackRequest;
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};

use crate::api::Api;
use crate::demo::fleet::Fleet;
use crate::demo::{Break, Options};
use crate::portal::Portal;
use crate::programs::Programs;
use crate::wait::wait_for;

/// One in each environment.
const MACHINES: u16 = 3;

/// How long each thing that is shown may take to come about.
const LIMIT: Duration = Duration::from_secs(120);

/// The name of each page and its address, with `{machine}` and so on for an id. The end-to-end tests see to it that none is
/// left out.
const PAGES: &[(&str, &str)] = &[
    ("environments", "/environments"),
    ("environments-nothing-found", "/environments?q=nothing-has-this-name"),
    ("environment-new", "/environments/new"),
    ("environment-edit", "/environments/{environment}/edit"),
    ("environment-delete", "/environments/{environment}/delete"),
    ("freezes", "/freezes"),
    ("machine", "/machines/{machine}"),
    ("machine-held", "/machines/{held}"),
    ("machine-new", "/machines/new"),
    ("machine-edit", "/machines/{machine}/edit"),
    ("machine-delete", "/machines/{machine}/delete"),
    ("machine-past", "/machines/{machine}/past?kind=everything"),
    ("machine-trust", "/machines/{machine}/trust"),
    ("registration-keys", "/registration-keys"),
    ("packages", "/packages"),
    ("package-delete", "/packages/{package}/{version}/delete"),
    ("deploy", "/deploy?package=Acme.Shop&version=1.0.0"),
    ("rollouts", "/rollouts"),
    ("rollout-new", "/rollouts/new"),
    ("rollout", "/rollouts/{rollout}"),
    ("rollout-cancel", "/rollouts/{rollout}/cancel"),
    ("rollout-resume", "/rollouts/{rollout}/{hand}"),
    ("rollout-undo", "/rollouts/{rollout}/undo"),
    ("tasks", "/tasks"),
    ("task", "/tasks/{task}"),
    ("task-cancel", "/tasks/{running}/cancel"),
    ("audit", "/audit"),
    ("search", "/search?q=a"),
    ("search-nothing-found", "/search?q=nothing-has-this-name"),
    ("dashboard", "/"),
    ("account", "/account"),
    ("identity", "/settings/identity"),
    ("restore", "/settings/restore"),
    ("machine-policy", "/settings/machines"),
    ("windows", "/settings/windows"),
    ("retention", "/settings/retention"),
    ("maintenance", "/settings/maintenance"),
    ("maintenance-begin", "/settings/maintenance/begin"),
    ("maintenance-end", "/settings/maintenance/end"),
    ("users", "/settings/users"),
    ("user-new", "/settings/users/new"),
    ("user", "/settings/users/{user}"),
    ("spaces", "/spaces"),
    ("spaces-managed", "/settings/spaces"),
    ("space-new", "/settings/spaces/new"),
    ("space", "/settings/spaces/{space}"),
    ("space-delete", "/settings/spaces/{space}/delete"),
    ("setup", "/setup?token={token}"),
    ("api", "/api/docs"),
    ("not-found", "/machines/Machines-999999"),
];

/// See the head of this file. It ends when this is dropped.
pub struct Showroom {
    fleet: Fleet,
    pages: Vec<(String, String)>,
}

impl std::fmt::Debug for Showroom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Showroom").field("pages", &self.pages).finish_non_exhaustive()
    }
}

impl Showroom {
    /// Starts the portal and the machines, and waits until all that is shown has happened.
    pub async fn start(programs: &Programs) -> anyhow::Result<Self> {
        let options = Options {
            machines: MACHINES,
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            upgrade: false,
            r#break: Some(Break::Crash),
            release: false,
            programs: None,
        };
        let fleet = Fleet::start(programs, &options).await?;
        let ids = furnish(&fleet.portal).await?;
        let pages = PAGES.iter().map(|(name, path)| {
            let path = ids.iter().fold((*path).to_owned(), |path, (word, id)| path.replace(&format!("{{{word}}}"), id));
            ((*name).to_owned(), path)
        });
        Ok(Self { pages: pages.collect(), fleet })
    }

    /// The portal.
    pub fn portal(&self) -> &Portal {
        &self.fleet.portal
    }

    /// The name and the path of every page.
    pub fn pages(&self) -> &[(String, String)] {
        &self.pages
    }

    /// The paths as they are written down, each with words in braces for its ids.
    pub fn routes() -> impl Iterator<Item = &'static str> {
        PAGES.iter().map(|(_, path)| path.split('?').next().unwrap_or_default())
    }
}

/// Makes all that is shown, and returns what stands for which id.
async fn furnish(portal: &Portal) -> anyhow::Result<Vec<(&'static str, String)>> {
    let api = portal.api()?;
    let environments = api.get("/api/environments/all").await?;
    let environment = id(&environments[0])?;
    push(portal).await?;
    let arguments = json!({ "PackageId": "Acme.Shop", "EnvironmentId": environment, "Roles": [] });
    let deploy = json!({ "Name": "Deploy", "Description": "Deploy Acme.Shop", "Arguments": arguments });
    let task = id(&api.post("/api/tasks", &deploy).await?)?;
    ended(&api, &task).await?;
    let rollout = api.rollout_create(&json!({})).await?;
    let rollout = api.rollout_wait(&rollout.id, LIMIT, |rollout| rollout.state == "Paused").await?;
    let fell = rollout.in_phase("FellBack").next().context("no machine fell back")?.machine_id.clone();
    let waits = rollout.in_phase("Waiting").next().context("no machine waits")?.machine_id.clone();
    let hold = json!({ "Reason": "Month end: the books are being closed" });
    api.put(&format!("/api/machines/{waits}/hold"), &hold).await?;
    let freeze = json!({ "From": "2999-12-20T18:00:00Z", "Until": "2999-12-27T06:00:00Z", "Reason": "Holidays" });
    api.post("/api/freezes", &freeze).await?;
    let user = id(&api.get("/api/users/me").await?)?;
    let running = json!({ "StartAt": "2999-01-01T00:00:00Z", "MachineIds": [waits] });
    let running = api.rollout_create(&running).await?.task_id;
    let space = json!({ "Name": "Laboratory", "Description": "What is tried out before anybody relies on it" });
    let space = id(&api.post("/api/spaces", &space).await?)?;
    let newcomer = api.post("/api/users", &json!({ "Username": "newcomer", "Role": "viewer" })).await?;
    let token = newcomer["SetupLink"].as_str().and_then(|link| link.strip_prefix("/setup?token="));
    let token = token.with_context(|| format!("there is no link: {newcomer}"))?.to_owned();
    Ok(vec![
        ("token", token),
        ("space", space),
        ("environment", environment),
        ("machine", fell),
        ("held", waits),
        ("rollout", rollout.id),
        ("hand", "resume".to_owned()),
        ("task", task),
        ("running", running),
        ("package", "Acme.Shop".to_owned()),
        ("version", "1.0.0".to_owned()),
        ("user", user),
    ])
}

async fn ended(api: &Api, task: &str) -> anyhow::Result<()> {
    let ended = wait_for("the end of a task", LIMIT, async || {
        Ok(Some(api.task_get(task).await?).filter(|task| task["IsCompleted"] == true))
    });
    ended.await.map(drop)
}

/// Uploads a package whose script says something.
async fn push(portal: &Portal) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let script = folder.path().join("Deploy.sh");
    std::fs::write(&script, "echo \"the shop opens\"; echo \"the old till is gone\" >&2\n")?;
    let (id, version): (PackageId, _) = ("Acme.Shop".parse()?, Version::release(1, 0, 0));
    let files = [(script, "Deploy.sh".to_owned())];
    let request = PackRequest { id: &id, version: &version, description: "A shop", authors: "Acme", files: &files };
    let package = package::pack(&request, folder.path())?;
    let part = Part::bytes(std::fs::read(package)?).file_name("Acme.Shop.1.0.0.nupkg");
    let request = reqwest::Client::new().post(format!("{}/api/packages/raw", portal.url()));
    let request = request.header("X-Octopus-ApiKey", portal.api_key()).timeout(LIMIT);
    let response = request.multipart(Form::new().part("fileToUpload", part)).send().await?;
    response.error_for_status().map(drop).context("the package was not taken")
}

fn id(resource: &Value) -> anyhow::Result<String> {
    Ok(resource["Id"].as_str().with_context(|| format!("there is no id: {resource}"))?.to_owned())
}
