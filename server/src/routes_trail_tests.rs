//! Whoever changes something is in the trail: a table of every route that changes anything, each called so that it succeeds.
//! A route without a call here, and without a reason to have none, fails.

use contract::Version;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::tests::{Person, furnished, person};
use super::*;
use crate::auth::rules::every;
use crate::auth::{Grant, Principal, registration_key_create, setup_link_create};
use crate::build_information::build_information_add;
use crate::db::api_keys::api_key_list;
use crate::db::audit::{AuditFilter, audit_list};
use crate::db::facts::{facts_get, facts_put};
use crate::db::machines::machine_insert;
use crate::db::rollouts::{rollout_get, rollout_machine_update, rollout_set_state};
use crate::db::tasks::task_end;
use crate::db::users::user_by_name;
use crate::db::version_failures::version_failure_insert;
use crate::feed::{OverwriteMode, package_upload};
use crate::ids::{MachineId, RolloutId, SpaceId, TaskId};
use crate::model::{Answer, Audit, AuditVia, Build, Instances, NewMachine, NewSpace, Role, TaskQueue, TaskState};
use crate::restored::restored_notice;
use crate::rollout::create::{RolloutRequest, Selection, rollout_create};
use crate::rollout::hands::{Hand, Who, machine_hold, rollout_hand};
use crate::rollout::phase::Phase;
use crate::rollout::state::{RolloutMachine, RolloutState};
use crate::spaces::space_add;
use crate::testing::{TestApp, packed};

/// What changes nothing that lasts, and why.
const EXCEPT: &[(&str, &str, &str)] = &[
    ("POST", "/machines/discover", "only looks who answers at an address"),
    ("POST", "/spaces/{id}/choose", "only says what its reader looks at"),
    ("POST", "/machines/selected", "only asks whether it is meant"),
    ("POST", "/api/rollouts/preview", "only says what would be"),
    ("POST", "/api/packages/raw/validate", "only says what is wrong with a package"),
];

/// What has to be so before a call can succeed, beside what every portal here has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Given {
    Nothing,
    /// The machine is held.
    Hold,
    /// Two machines answer with one identity.
    Clone,
    /// A package is in the feed.
    Package,
    /// It is written down how a version was built.
    Built,
    /// The rollout has upgraded its machine.
    Upgraded,
    /// The rollout is paused.
    Paused,
    /// The rollout's hour has not come.
    Scheduled,
    /// The version failed on the machine.
    VersionFailed,
    /// Another rollout with two waves.
    Waves,
    /// A link by which `boss` may choose a password.
    Link,
    /// A preview of a new rollout was looked at.
    Preview,
    /// A registration key of `boss`.
    Key,
    /// The task of the health check is over.
    Over,
    /// Another space, whose queue is stopped.
    SecondSpace,
    /// A machine has seen later commands than this portal gave.
    Restored,
    /// The portal is in maintenance.
    Maintained,
    /// Another identity is readied.
    Readied,
    /// Another identity is in use, and the former one is kept.
    Switched,
}

use Given::{
    Built, Clone as Cloned, Hold, Key, Link, Maintained, Nothing, Over, Package, Paused, Preview, Readied, Restored,
    Scheduled, SecondSpace, Switched, Upgraded, VersionFailed, Waves,
};

/// What is sent.
#[derive(Clone, Copy)]
enum Sent {
    Form(&'static str),
    Json(&'static str),
    /// A package, in a form.
    File,
}

use Sent::{File, Form, Json};

/// Each byte of what the machine is pinned to.
const PINNED: &str = "07";

const THUMBPRINT: &str = "0808080808080808080808080808080808080808080808080808080808080808";

/// Rule, address, what is given, and what is sent.
const CALLS: &[(&str, &str, &str, Given, Sent)] = &[
    ("POST", "/login", "/login", Nothing, Form("username=boss&password=correct horse battery")),
    ("POST", "/logout", "/logout", Nothing, Form("")),
    ("POST", "/setup", "/setup", Link, Form("token={token}&password=correct horse staple&again=correct horse staple")),
    ("POST", "/environments", "/environments", Nothing, Form("name=C&automatic=never")),
    ("POST", "/environments/{id}/edit", "/environments/Environments-2/edit", Nothing, Form("name=D&automatic=never")),
    ("POST", "/environments/{id}/delete", "/environments/Environments-2/delete", Nothing, Form("")),
    ("POST", "/environments/upgrade", "/environments/upgrade", Nothing, Form("")),
    ("POST", "/environments/{id}/upgrade", "/environments/Environments-1/upgrade", Nothing, Form("")),
    ("POST", "/freezes", "/freezes", Nothing, Form("all=on&from=2026-01-01T10:00&until=2099-01-01T10:00&reason=calm")),
    ("POST", "/freezes/{id}/end", "/freezes/Freezes-1/end", Nothing, Form("")),
    (
        "POST",
        "/machines",
        "/machines",
        Nothing,
        Form("name=n&host=h&port=1&thumbprint={thumbprint}&environment=Environments-1"),
    ),
    ("POST", "/machines/selected/do", "/machines/selected/do", Nothing, Form("deed=disable&machines=Machines-1")),
    (
        "POST",
        "/machines/{id}/edit",
        "/machines/Machines-1/edit",
        Nothing,
        Form("name=n&host=h&port=1&thumbprint={thumbprint}&environment=Environments-1"),
    ),
    ("POST", "/machines/{id}/delete", "/machines/Machines-1/delete", Nothing, Form("")),
    ("POST", "/machines/{id}/upgrade", "/machines/Machines-1/upgrade", Nothing, Form("")),
    ("POST", "/machines/{id}/check", "/machines/Machines-1/check", Nothing, Form("")),
    ("POST", "/machines/{id}/alone", "/machines/Machines-1/alone", Cloned, Form("")),
    ("POST", "/machines/{id}/hold", "/machines/Machines-1/hold", Nothing, Form("reason=demo")),
    ("POST", "/machines/{id}/release", "/machines/Machines-1/release", Hold, Form("")),
    ("POST", "/machines/{id}/connect", "/machines/Machines-1/connect", Nothing, Form("")),
    ("POST", "/machines/{id}/trust", "/machines/Machines-1/trust", Nothing, Form("before={pinned}&found={thumbprint}")),
    (
        "POST",
        "/registration-keys",
        "/registration-keys",
        Nothing,
        Form("environment=Environments-1&machines=2&life=60&roles=web"),
    ),
    ("POST", "/registration-keys/{id}/revoke", "/registration-keys/RegistrationKeys-1/revoke", Nothing, Form("")),
    ("POST", "/packages", "/packages", Nothing, File),
    ("POST", "/packages/{name}/{version}/delete", "/packages/Acme/1.0.0/delete", Package, Form("")),
    ("POST", "/settings/identity/ready", "/settings/identity/ready", Nothing, Form("word=change identity")),
    ("POST", "/settings/identity/abandon", "/settings/identity/abandon", Readied, Form("")),
    ("POST", "/settings/identity/use", "/settings/identity/use", Readied, Form("machines=1")),
    ("POST", "/settings/identity/forget", "/settings/identity/forget", Switched, Form("machines=1")),
    ("POST", "/settings/identity/backup", "/settings/identity/backup", Nothing, Form("packages=all")),
    ("POST", "/api/identity/ready", "/api/identity/ready", Nothing, Json("")),
    ("POST", "/api/identity/abandon", "/api/identity/abandon", Readied, Json("")),
    ("POST", "/api/identity/use", "/api/identity/use", Readied, Json(r#"{"MachinesCutOff": 1}"#)),
    ("POST", "/api/identity/forget", "/api/identity/forget", Switched, Json(r#"{"MachinesCutOff": 1}"#)),
    ("POST", "/settings/restore", "/settings/restore", Restored, Form("")),
    ("POST", "/settings/restore/keys/{id}/revoke", "/settings/restore/keys/{key}/revoke", Nothing, Form("")),
    ("POST", "/api/restoration/confirm", "/api/restoration/confirm", Restored, Json("")),
    ("POST", "/settings/machines", "/settings/machines", Nothing, Form("checking_s=45")),
    ("POST", "/settings/retention", "/settings/retention", Nothing, Form("days=7&tasks=")),
    ("POST", "/settings/maintenance/begin", "/settings/maintenance/begin", Nothing, Form("")),
    ("POST", "/settings/maintenance/end", "/settings/maintenance/end", Maintained, Form("")),
    ("POST", "/deploy", "/deploy", Package, Form("choice=Acme 1.0.0&environment=Environments-1&variables=Secret=hush")),
    ("POST", "/rollouts/new", "/rollouts/new", Preview, Form("{choice}")),
    ("POST", "/rollouts/{id}/cancel", "/rollouts/Rollouts-1/cancel", Nothing, Form("")),
    ("POST", "/rollouts/{id}/undo", "/rollouts/Rollouts-1/undo", Upgraded, Form("why=it leaks")),
    ("POST", "/rollouts/{id}/{hand}", "/rollouts/Rollouts-1/pause", Nothing, Form("why=lunch")),
    ("POST", "/tasks/{id}/cancel", "/tasks/ServerTasks-2/cancel", Nothing, Form("")),
    (
        "POST",
        "/account/password",
        "/account/password",
        Nothing,
        Form("old=correct horse battery&password=correct horse staple&again=correct horse staple"),
    ),
    ("POST", "/account/sessions/end", "/account/sessions/end", Nothing, Form("")),
    ("POST", "/account/keys", "/account/keys", Nothing, Form("purpose=nightly&scope=full")),
    ("POST", "/account/keys/{id}/revoke", "/account/keys/{key}/revoke", Nothing, Form("")),
    ("POST", "/settings/users", "/settings/users", Nothing, Form("name=ann&role=viewer")),
    ("POST", "/settings/users/{id}", "/settings/users/Users-1", Nothing, Form("role=viewer")),
    ("POST", "/settings/users/{id}/link", "/settings/users/Users-1/link", Nothing, Form("")),
    ("PUT", "/api/environments/sortorder", "/api/environments/sortorder", Nothing, Json(r#"["Environments-2"]"#)),
    (
        "PUT",
        "/api/machinepolicies/{id}",
        "/api/machinepolicies/MachinePolicies-1",
        Nothing,
        Json(r#"{"UpgradeDeadlines": {"Checking": "00:00:45"}}"#),
    ),
    (
        "PUT",
        "/api/maintenanceconfiguration",
        "/api/maintenanceconfiguration",
        Nothing,
        Json(r#"{"IsInMaintenanceMode": true}"#),
    ),
    ("POST", "/api/tasks/rerun/{id}", "/api/tasks/rerun/ServerTasks-2", Over, Json("")),
    ("DELETE", "/api/packages/bulk", "/api/packages/bulk", Package, Json(r#"{"Ids": ["packages-Acme.1.0.0"]}"#)),
    ("POST", "/api/users", "/api/users", Nothing, Json(r#"{"Username": "ann", "Role": "viewer"}"#)),
    ("PUT", "/api/users/{id}", "/api/users/Users-1", Nothing, Json(r#"{"Role": "viewer"}"#)),
    (
        "POST",
        "/api/users/{id}/apikeys",
        "/api/users/{boss}/apikeys",
        Nothing,
        Json(r#"{"Purpose": "nightly", "Expires": "2099-01-01T00:00:00Z"}"#),
    ),
    ("DELETE", "/api/users/{id}/apikeys/{key}", "/api/users/{boss}/apikeys/{key}", Nothing, Json("")),
    ("POST", "/settings/spaces", "/settings/spaces", Nothing, Form("name=Blue")),
    ("POST", "/settings/spaces/{id}", "/settings/spaces/Spaces-1", Nothing, Form("name=Default&stopped=true")),
    ("POST", "/settings/spaces/{id}/delete", "/settings/spaces/Spaces-2/delete", SecondSpace, Form("")),
    ("POST", "/api/spaces", "/api/spaces", Nothing, Json(r#"{"Name": "Blue", "IsDefault": false}"#)),
    ("PUT", "/api/spaces/{space}", "/api/spaces/default", Nothing, Json(r#"{"TaskQueueStopped": true}"#)),
    ("DELETE", "/api/spaces/{space}", "/api/spaces/Spaces-2", SecondSpace, Json("")),
    ("POST", "/api/environments", "/api/environments", Nothing, Json(r#"{"Name": "C"}"#)),
    ("PUT", "/api/environments/{id}", "/api/environments/Environments-2", Nothing, Json(r#"{"Description": "d"}"#)),
    ("DELETE", "/api/environments/{id}", "/api/environments/Environments-2", Nothing, Json("")),
    (
        "POST",
        "/api/freezes",
        "/api/freezes",
        Nothing,
        Json(r#"{"Until": "2099-01-01T00:00:00Z", "Reason": "calm", "EnvironmentIds": ["Environments-1"]}"#),
    ),
    ("DELETE", "/api/freezes/{id}", "/api/freezes/Freezes-1", Nothing, Json("")),
    (
        "POST",
        "/api/machines",
        "/api/machines",
        Nothing,
        Json(
            r#"{"Name": "n", "EnvironmentIds": ["Environments-1"], "Roles": ["web"],
                "Endpoint": {"Uri": "https://h:1/", "Thumbprint": "{thumbprint}"}}"#,
        ),
    ),
    ("PUT", "/api/machines/{id}", "/api/machines/Machines-1", Nothing, Json(r#"{"Roles": ["web"]}"#)),
    ("DELETE", "/api/machines/{id}", "/api/machines/Machines-1", Nothing, Json("")),
    ("PUT", "/api/machines/{id}/hold", "/api/machines/Machines-1/hold", Nothing, Json(r#"{"Reason": "demo"}"#)),
    ("DELETE", "/api/machines/{id}/hold", "/api/machines/Machines-1/hold", Hold, Json("")),
    ("DELETE", "/api/machines/{id}/clone", "/api/machines/Machines-1/clone", Cloned, Json("")),
    (
        "POST",
        "/api/tasks",
        "/api/tasks",
        Package,
        Json(
            r#"{"Name": "Deploy", "Arguments": {"PackageId": "Acme", "EnvironmentId": "Environments-1",
                "Variables": {"Secret": "hush"}}}"#,
        ),
    ),
    (
        "POST",
        "/api/registration",
        "/api/registration",
        Key,
        Json(r#"{"Name": "n", "Uri": "https://h:1/", "Thumbprint": "{thumbprint}"}"#),
    ),
    ("POST", "/api/tasks/{id}/cancel", "/api/tasks/ServerTasks-2/cancel", Nothing, Json("")),
    ("POST", "/api/packages/raw", "/api/packages/raw", Nothing, File),
    (
        "POST",
        "/api/build-information",
        "/api/build-information",
        Nothing,
        Json(r#"{"PackageId": "Acme", "Version": "1.0"}"#),
    ),
    ("DELETE", "/api/build-information/{id}", "/api/build-information/BuildInformation-1", Built, Json("")),
    ("DELETE", "/api/build-information/bulk", "/api/build-information/bulk?ids=BuildInformation-1", Built, Json("")),
    ("DELETE", "/api/packages/{id}", "/api/packages/packages-Acme.1.0.0", Package, Json("")),
    ("PUT", "/api/nuget", "/api/nuget", Nothing, File),
    ("POST", "/api/nuget", "/api/nuget", Nothing, File),
    ("PUT", "/api/nuget/packages", "/api/nuget/packages", Nothing, File),
    ("POST", "/api/nuget/packages", "/api/nuget/packages", Nothing, File),
    ("DELETE", "/api/nuget/packages/{id}/{version}", "/api/nuget/packages/Acme/1.0.0", Package, Json("")),
    ("DELETE", "/api/nuget/{id}/{version}", "/api/nuget/Acme/1.0.0", Package, Json("")),
    ("POST", "/api/rollouts", "/api/rollouts", Nothing, Json(r#"{"MachineIds": ["Machines-1"]}"#)),
    ("POST", "/api/rollouts/{id}/undo", "/api/rollouts/Rollouts-1/undo", Upgraded, Json("{}")),
    ("POST", "/api/rollouts/{id}/cancel", "/api/rollouts/Rollouts-1/cancel", Nothing, Json("{}")),
    ("POST", "/api/rollouts/{id}/start", "/api/rollouts/Rollouts-1/start", Scheduled, Json("{}")),
    ("POST", "/api/rollouts/{id}/pause", "/api/rollouts/Rollouts-1/pause", Nothing, Json("{}")),
    ("POST", "/api/rollouts/{id}/resume", "/api/rollouts/Rollouts-1/resume", Paused, Json("{}")),
    (
        "POST",
        "/api/rollouts/{id}/retry",
        "/api/rollouts/Rollouts-1/retry",
        VersionFailed,
        Json(r#"{"MachineIds":["Machines-1"]}"#),
    ),
    (
        "POST",
        "/api/rollouts/{id}/skip",
        "/api/rollouts/Rollouts-1/skip",
        Nothing,
        Json(r#"{"MachineId": "Machines-1"}"#),
    ),
    (
        "POST",
        "/api/rollouts/{id}/ignore-windows",
        "/api/rollouts/Rollouts-1/ignore-windows",
        Nothing,
        Json(r#"{"Reason": "a hole"}"#),
    ),
    ("POST", "/api/rollouts/{id}/release-wave", "/api/rollouts/Rollouts-2/release-wave", Waves, Json(r#"{"Wave": 2}"#)),
    (
        "POST",
        "/api/rollouts/{id}/release-version",
        "/api/rollouts/Rollouts-1/release-version",
        VersionFailed,
        Json(r#"{"Runtime": "linux-x64"}"#),
    ),
];

/// Makes it so, and returns what the request needs to say of it.
async fn give(app: &TestApp, given: Given) -> String {
    let (machine, rollout, now) = (MachineId(1), RolloutId(1), app.now());
    let who = Who { name: "x", why: "x" };
    match given {
        Nothing | Preview => {}
        SecondSpace => {
            let (name, queue) = ("Blue".to_owned(), TaskQueue::Stopped);
            let new = NewSpace { name, slug: None, description: String::new(), queue };
            assert_eq!(space_add(app, &new).await.unwrap().id, SpaceId(2));
        }
        Hold => machine_hold(app, SpaceId::DEFAULT, machine, who, None).await.unwrap(),
        Paused => drop(rollout_hand(app, SpaceId::DEFAULT, rollout, who, &Hand::Pause).await.unwrap()),
        Built => {
            let (package, version) = ("Acme".parse().unwrap(), "1.0".parse().unwrap());
            let (build, mode) = (Build::default(), OverwriteMode::FailIfExists);
            build_information_add(app, SpaceId::DEFAULT, &package, &version, &build, mode).await.unwrap();
        }
        Package => {
            let bytes = bytes::Bytes::from(packed("Acme", "1.0.0", "x"));
            let chunks = futures_util::stream::iter([Ok::<_, std::io::Error>(bytes)]);
            let incoming = app.store.receive(chunks).await.unwrap();
            package_upload(app, SpaceId::DEFAULT, incoming, OverwriteMode::default()).await.unwrap();
        }
        Waves => {
            let mut tx = app.db.write().await.unwrap();
            let facts = facts_get(&mut tx, machine).await.unwrap().unwrap();
            for n in 2..=9_u8 {
                let new = NewMachine {
                    name: format!("m{n}"),
                    address: format!("server{n}:10933").parse().unwrap(),
                    thumbprint: contract::Thumbprint([n + 100; 32]),
                    is_disabled: false,
                    environments: vec![crate::ids::EnvironmentId(1)],
                    roles: Vec::new(),
                };
                let id = machine_insert(&mut tx, SpaceId::DEFAULT, &new, now).await.unwrap().id;
                facts_put(&mut tx, id, &facts).await.unwrap();
            }
            tx.commit().await.unwrap();
            let made = rollout_create(app, SpaceId::DEFAULT, "x", RolloutRequest::of(Selection::All)).await.unwrap();
            assert!(made.id == RolloutId(2) && made.waves.len() > 1, "{made:?}");
        }
        Key => {
            let mut conn = app.db.read().await.unwrap();
            let boss = user_by_name(&mut conn, "boss").await.unwrap().unwrap();
            let boss = Principal::logged_in(boss, SpaceId::DEFAULT);
            let life = std::time::Duration::from_secs(60);
            let environments = vec![crate::ids::EnvironmentId(1)];
            let grant = Grant { environments, roles: Vec::new(), machines: 2, life };
            return registration_key_create(app, SpaceId::DEFAULT, &boss, &grant).await.unwrap().1;
        }
        Maintained => crate::maintenance::maintenance_set(app, true).await.unwrap(),
        Readied => drop(app.identities.ready().unwrap()),
        Switched => {
            app.identities.ready().unwrap();
            app.identities.switch().unwrap();
        }
        Cloned | Upgraded | Scheduled | VersionFailed | Link | Over | Restored => return write(app, given).await,
    }
    String::new()
}

/// The same, for what is written into the database as it is.
async fn write(app: &TestApp, given: Given) -> String {
    let (machine, rollout, now) = (MachineId(1), RolloutId(1), app.now());
    let target = Version::release(2, 0, 0);
    let mut tx = app.db.write().await.unwrap();
    let mut facts = facts_get(&mut tx, machine).await.unwrap().unwrap();
    let mut token = String::new();
    match given {
        Cloned => {
            let mut instances = Instances::default();
            for (before, instance) in [("a", "b"), ("b", "a"), ("a", "b"), ("b", "a")] {
                let answer = Answer { instance, hostname: instance, asked_at: now };
                instances = instances.after(Some((before, before)), answer, now);
            }
            assert!(instances.is_cloned(), "{instances:?}");
            facts.instances = instances;
        }
        Upgraded => {
            let row = rollout_get(&mut tx, SpaceId::DEFAULT, rollout).await.unwrap().unwrap().machines.remove(0);
            let row = RolloutMachine { phase: Phase::Upgraded, previous: Some(Version::release(1, 0, 0)), ..row };
            assert!(rollout_machine_update(&mut tx, rollout, &row).await.unwrap());
            facts.report.as_mut().unwrap().version = target;
        }
        Scheduled => {
            rollout_set_state(&mut tx, rollout, RolloutState::Scheduled, "", now).await.unwrap();
        }
        Over => task_end(&mut tx, TaskId(2), TaskState::Success, "", now).await.unwrap(),
        Restored => drop(restored_notice(&mut tx, SpaceId::DEFAULT, "m", now).await.unwrap()),
        Link => {
            let boss = user_by_name(&mut tx, "boss").await.unwrap().unwrap();
            token = setup_link_create(&mut tx, boss.id, now).await.unwrap();
        }
        _ => {
            let failed = version_failure_insert(&mut tx, rollout, machine, &target, "linux-x64", "x", now);
            failed.await.unwrap();
        }
    }
    facts_put(&mut tx, machine, &facts).await.unwrap();
    tx.commit().await.unwrap();
    token
}

async fn trail(app: &TestApp) -> Vec<Audit> {
    let filter = AuditFilter { take: 200, ..AuditFilter::default() };
    audit_list(&mut app.db.read().await.unwrap(), SpaceId::DEFAULT, &filter).await.unwrap()
}

fn request(method: &str, address: &str, sent: Sent, boss: &Person, fill: impl Fn(&str) -> String) -> Request {
    let request = Request::builder().method(method).uri(fill(address));
    let request = match error::is_api(address) {
        true => request.header("x-octopus-apikey", &boss.key),
        false => request.header(header::COOKIE, &boss.cookie),
    };
    let request = request.header(header::HOST, "portal");
    let (kind, body) = match sent {
        Form(fields) => ("application/x-www-form-urlencoded", fill(fields).replace(' ', "+").into_bytes()),
        Json(text) => ("application/json", fill(text).into_bytes()),
        File => {
            let head = "--B\r\nContent-Disposition: form-data; name=\"fileToUpload\"; filename=\"a.nupkg\"\r\n\r\n";
            let body = [head.as_bytes(), &packed("Acme", "2.0.0", "x"), b"\r\n--B--\r\n"].concat();
            ("multipart/form-data; boundary=B", body)
        }
    };
    request.header(header::CONTENT_TYPE, kind).body(Body::from(body)).unwrap()
}

/// The fields of a form that starts what it shows a preview of.
async fn previewed(app: &TestApp, boss: &Person) -> String {
    let fields = "scope=all&do=preview";
    let asked = request("POST", "/rollouts/new", Form(fields), boss, str::to_owned);
    let answer = router(app.app.clone()).oneshot(asked).await.unwrap().into_body().collect().await.unwrap().to_bytes();
    let page = String::from_utf8(answer.to_vec()).unwrap();
    let choice = page.split_once("name=\"choice\" value=\"").expect("a preview").1.split('"').next().unwrap();
    format!("scope=all&do=start&choice={choice}")
}

#[tokio::test]
async fn every_route_that_changes_something_writes_who_did_it_and_from_where() {
    for (method, rule, address, given, sent) in CALLS {
        let (app, _) = furnished().await;
        let boss = person(&app, "boss", Role::Administrator).await;
        let token = give(&app, *given).await;
        let (key, its_user) = {
            let mut conn = app.db.read().await.unwrap();
            let boss = user_by_name(&mut conn, "boss").await.unwrap().unwrap();
            (api_key_list(&mut conn, boss.id).await.unwrap().remove(0).id.to_string(), boss.id.to_string())
        };
        let choice = if *given == Preview { previewed(&app, &boss).await } else { String::new() };
        let fill = |text: &str| {
            let text = text
                .replace("{token}", &token)
                .replace("{thumbprint}", THUMBPRINT)
                .replace("{pinned}", &PINNED.repeat(32));
            text.replace("{key}", &key).replace("{boss}", &its_user).replace("{choice}", &choice)
        };
        let before = trail(&app).await.len();
        let mut asked = request(method, address, *sent, &boss, fill);
        let mut purpose = "tests";
        if *given == Key {
            let headers = asked.headers_mut();
            headers.remove("x-octopus-apikey");
            headers.insert("x-octopus-registrationkey", token.parse().unwrap());
            purpose = "RegistrationKeys-2";
        }
        let answer = router(app.app.clone()).oneshot(asked).await.unwrap();
        let status = answer.status();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let said = String::from_utf8_lossy(&body);
        assert!(status.is_success() || status == StatusCode::SEE_OTHER, "{method} {rule}: {status} {said}");
        let rows = trail(&app).await;
        let new = &rows[..rows.len() - before];
        assert!(!new.is_empty(), "{method} {rule} changed something, and nothing is in the trail");
        let via = if error::is_api(address) { AuditVia::Key } else { AuditVia::Page };
        for Audit { entry, .. } in new {
            let whence = (entry.whence.via, entry.whence.peer.as_str(), entry.whence.api_key.as_str());
            let purpose = if via == AuditVia::Key { purpose } else { "" };
            assert_eq!(
                (entry.who.as_str(), whence),
                ("boss", (via, "127.0.0.1", purpose)),
                "{method} {rule}: {entry:?}"
            );
            let told = format!("{entry:?}");
            for secret in ["correct horse", "argon2", "API-", "hush", &boss.key].into_iter().chain([token.as_str()]) {
                assert!(secret.is_empty() || !told.contains(secret), "{method} {rule}: {secret} is in {told}");
            }
            assert!(
                !entry.line.is_empty()
                    && !entry.line.contains("boss ")
                    && !entry.documents.iter().any(String::is_empty)
            );
        }
    }
}

#[test]
fn no_route_that_changes_something_is_forgotten() {
    for (method, route) in every().filter(|(method, _)| *method != "GET") {
        let is_called = CALLS.iter().any(|(verb, rule, ..)| (*verb, *rule) == (method, route.as_str()));
        let is_excepted = EXCEPT.iter().any(|(verb, rule, _)| (*verb, *rule) == (method, route.as_str()));
        assert!(
            is_called != is_excepted,
            "{method} {route}: call it in this table, so that it is shown to be in the trail, or say why it need not be"
        );
    }
    for (method, rule, ..) in CALLS {
        assert!(every().any(|(verb, route)| (verb, route.as_str()) == (*method, *rule)), "{method} {rule} is no rule");
    }
}

#[tokio::test]
async fn what_differs_is_told_before_and_after() {
    let (app, _) = furnished().await;
    let boss = person(&app, "boss", Role::Administrator).await;
    let sent = Json(r#"{"Roles": ["web"], "IsDisabled": true}"#);
    let asked = request("PUT", "/api/machines/Machines-1", sent, &boss, str::to_owned);
    assert_eq!(router(app.app.clone()).oneshot(asked).await.unwrap().status(), StatusCode::OK);
    let entry = trail(&app).await.remove(0).entry;
    assert_eq!((entry.line.as_str(), entry.documents), ("disabled machine m", vec!["Machines-1".to_owned()]));
    assert_eq!(Value::from(entry.changes.before), json!({"IsDisabled": false, "Roles": []}));
    assert_eq!(Value::from(entry.changes.after), json!({"IsDisabled": true, "Roles": ["web"]}));
    let before = trail(&app).await.len();
    let asked = request("PUT", "/api/machines/Machines-1", Json("{}"), &boss, str::to_owned);
    assert_eq!(router(app.app.clone()).oneshot(asked).await.unwrap().status(), StatusCode::OK);
    assert_eq!(trail(&app).await.len(), before, "nothing changed");
}
