//! Registration keys: what their bearers may, and what not.

use super::*;
use crate::auth::{Grant, Principal, Via, registration_key_create};
use crate::db::registration_keys::{registration_key_get, registration_key_revoke, registration_use_list};
use crate::db::users::{user_by_name, user_set_disabled};
use crate::ids::{EnvironmentId, RegistrationKeyId, SpaceId};
use crate::model::{Reach, Role, UseOutcome};

const HOUR: Duration = Duration::from_secs(3600);

impl Client {
    async fn who(&self, role: Role) -> Principal {
        let admin = user_by_name(&mut self.app.db.read().await.unwrap(), "admin").await.unwrap().unwrap();
        Principal { user: admin.id, username: admin.username, role, via: Via::Session, space: SpaceId::DEFAULT }
    }

    async fn registration_key(&self, machines: u32) -> (RegistrationKeyId, String) {
        let grant = Grant { environments: vec![EnvironmentId(1)], roles: vec!["web".into()], machines, life: HOUR };
        let who = self.who(Role::Administrator).await;
        registration_key_create(&self.app, SpaceId::DEFAULT, &who, &grant).await.unwrap()
    }

    async fn bears(&self, key: &str, method: &str, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let request = Request::builder().method(method).uri(path).header("X-Octopus-RegistrationKey", key);
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        json_of(self.send(request.body(body).unwrap()).await).await
    }

    async fn outcomes(&self, key: RegistrationKeyId) -> Vec<UseOutcome> {
        let uses = registration_use_list(&mut self.app.db.read().await.unwrap(), key).await.unwrap();
        uses.into_iter().map(|used| used.outcome).collect()
    }
}

fn applicant(name: &str, n: u8) -> Option<Value> {
    let uri = format!("https://10.0.0.{n}:10933/");
    Some(json!({ "Name": name, "Uri": uri, "Thumbprint": Thumbprint([n; 32]).to_string() }))
}

#[tokio::test]
async fn its_bearer_adds_a_machine_into_the_keys_environments_and_no_more_than_it_allows() {
    let client = Client::new().await;
    client.with_machine().await;
    let (id, key) = client.registration_key(2).await;
    let (status, allowed) = client.bears(&key, "GET", "/api/registration", None).await;
    assert_eq!(status, StatusCode::OK, "{allowed}");
    assert_eq!(allowed["PortalThumbprint"], client.app.identities.thumbprint().to_string());
    assert_eq!((&allowed["Environments"], &allowed["MachinesLeft"]), (&json!(["Production"]), &json!(2)));

    let (status, added) = client.bears(&key, "POST", "/api/registration", applicant("new", 5)).await;
    assert_eq!((status, &added["Name"], &added["IsNew"]), (StatusCode::CREATED, &json!("new"), &json!(true)));
    let machine = client.get(&format!("/api/machines/{}", added["Id"].as_str().unwrap())).await;
    assert_eq!((&machine["EnvironmentIds"], &machine["Roles"]), (&json!(["Environments-1"]), &json!(["web"])));

    // The answer was lost, and it asks again.
    let (status, again) = client.bears(&key, "POST", "/api/registration", applicant("new", 5)).await;
    assert_eq!((status, &again["Id"], &again["IsNew"]), (StatusCode::OK, &added["Id"], &json!(false)));
    // A name that is taken uses nothing up.
    let (status, taken) = client.bears(&key, "POST", "/api/registration", applicant("web1", 6)).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{taken}");
    let (status, _) = client.bears(&key, "POST", "/api/registration", applicant("newer", 6)).await;
    assert_eq!(status, StatusCode::CREATED);
    let (status, over) = client.bears(&key, "POST", "/api/registration", applicant("newest", 7)).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED, "{over}");
    assert!(over["ErrorMessage"].as_str().unwrap().contains("all 2 machines"), "{over}");
    use UseOutcome::{Known, Refused, Registered};
    assert_eq!(client.outcomes(id).await, [Refused, Registered, Refused, Known, Registered]);
}

#[tokio::test]
async fn two_that_come_at_once_do_not_share_its_last_machine() {
    let client = Client::new().await;
    client.with_machine().await;
    let (_, key) = client.registration_key(1).await;
    let ask = |n: u8| {
        let (client, key) = (&client, &key);
        async move {
            let name = format!("m{n}");
            client.bears(key, "POST", "/api/registration", applicant(&name, n)).await.0
        }
    };
    let (a, b, c) = tokio::join!(ask(10), ask(11), ask(12));
    assert_eq!([a, b, c].iter().filter(|status| **status == StatusCode::CREATED).count(), 1, "{a} {b} {c}");
    assert_eq!(client.get("/api/machines").await["TotalResults"], 2);
}

#[tokio::test]
async fn a_key_opens_nothing_else() {
    let client = Client::new().await;
    client.with_machine().await;
    let (id, key) = client.registration_key(1).await;
    for (method, path) in [
        ("GET", "/api/machines"),
        ("GET", "/api/environments"),
        ("GET", "/api/users/me"),
        ("GET", "/api/configuration/certificates/certificate-global"),
        ("POST", "/api/machines"),
        ("POST", "/api/rollouts"),
        ("DELETE", "/api/machines/Machines-1"),
    ] {
        assert_eq!(client.bears(&key, method, path, None).await.0, StatusCode::UNAUTHORIZED, "{method} {path}");
        let as_api_key = client.call_with(Some(&key), method, path, None).await.0;
        assert_eq!(as_api_key, StatusCode::UNAUTHORIZED, "{method} {path}");
    }
    // And an API key, even one that may do everything, is no registration key.
    client.refused("GET", "/api/registration", None, StatusCode::UNAUTHORIZED, "registration key").await;
    for wrong in ["", "REG-", "REG-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", &client.key] {
        assert_eq!(client.bears(wrong, "GET", "/api/registration", None).await.0, StatusCode::UNAUTHORIZED, "{wrong}");
    }
    let stored = registration_key_get(&mut client.app.db.read().await.unwrap(), SpaceId::DEFAULT, id).await;
    assert!(!format!("{stored:?}").contains(&key));
}

#[tokio::test]
async fn a_key_ends_by_its_time_by_revoking_and_with_its_makers_rights() {
    let client = Client::new().await;
    client.with_machine().await;
    let (expiring, first) = client.registration_key(5).await;
    let (revoked, second) = client.registration_key(5).await;
    let why = async |key: &str| {
        let (status, answer) = client.bears(key, "POST", "/api/registration", applicant("new", 5)).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{answer}");
        answer["ErrorMessage"].as_str().unwrap().to_owned()
    };
    let mut tx = client.app.db.write().await.unwrap();
    assert!(registration_key_revoke(&mut tx, SpaceId::DEFAULT, revoked, "boss", client.app.now()).await.unwrap());
    tx.commit().await.unwrap();
    assert!(why(&second).await.starts_with("The key was revoked."));

    let admin = client.who(Role::Administrator).await.user;
    let disable = async |is: bool| {
        let mut tx = client.app.db.write().await.unwrap();
        user_set_disabled(&mut tx, admin, is).await.unwrap();
        tx.commit().await.unwrap();
    };
    disable(true).await;
    assert!(why(&first).await.contains("may add no machines there any more"));
    disable(false).await;
    assert_eq!(client.bears(&first, "GET", "/api/registration", None).await.0, StatusCode::OK);

    client.app.clock.advance(HOUR);
    assert!(why(&first).await.starts_with("The key's time is over."));
    assert_eq!(client.outcomes(expiring).await, [UseOutcome::Refused; 2], "every try is visible");
}

#[tokio::test]
async fn of_machines_elsewhere_the_bearer_learns_nothing() {
    let client = Client::new().await;
    client.with_machine().await;
    client.create("/api/environments", json!({"Name": "Secret"})).await;
    let mut elsewhere = machine("hidden", 9);
    elsewhere["EnvironmentIds"] = json!(["Environments-2"]);
    client.create("/api/machines", elsewhere).await;
    let (_, key) = client.registration_key(1).await;
    let (status, answer) = client.bears(&key, "POST", "/api/registration", applicant("new", 9)).await;
    assert_eq!(status, StatusCode::CONFLICT, "{answer}");
    assert!(!answer.to_string().contains("hidden") && !answer.to_string().contains("Secret"), "{answer}");
}

#[tokio::test]
async fn who_does_not_operate_an_environment_makes_no_key_for_it() {
    let client = Client::new().await;
    client.with_machine().await;
    let grant =
        |environments: Vec<EnvironmentId>, machines, life| Grant { environments, roles: vec![], machines, life };
    let own = vec![EnvironmentId(1)];
    for role in [Role::Viewer, Role::Operator(Reach::Only([EnvironmentId(7)].into()))] {
        let who = client.who(role).await;
        let made = registration_key_create(&client.app, SpaceId::DEFAULT, &who, &grant(own.clone(), 1, HOUR)).await;
        assert_eq!(made.unwrap_err().status, StatusCode::FORBIDDEN);
    }
    let who = client.who(Role::Administrator).await;
    for wrong in [
        grant(vec![], 1, HOUR),
        grant(own.clone(), 0, HOUR),
        grant(own.clone(), 1001, HOUR),
        grant(own.clone(), 1, Duration::ZERO),
        grant(own, 1, HOUR * 24 * 8),
    ] {
        let made = registration_key_create(&client.app, SpaceId::DEFAULT, &who, &wrong).await;
        assert_eq!(made.unwrap_err().status, StatusCode::BAD_REQUEST, "{wrong:?}");
    }
}

#[tokio::test]
async fn in_maintenance_it_looks_and_adds_nothing() {
    let client = Client::new().await;
    client.with_machine().await;
    let (id, key) = client.registration_key(2).await;
    let maintain = async |is_on: bool| {
        let wish = Some(json!({ "IsInMaintenanceMode": is_on }));
        assert_eq!(client.call("PUT", "/api/maintenanceconfiguration", wish).await.0, StatusCode::OK);
    };
    maintain(true).await;
    assert_eq!(client.bears(&key, "GET", "/api/registration", None).await.0, StatusCode::OK);
    let (status, answer) = client.bears(&key, "POST", "/api/registration", applicant("new", 5)).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{answer}");
    is_error(&answer);
    assert_eq!(client.outcomes(id).await, []);
    maintain(false).await;
    let added = client.bears(&key, "POST", "/api/registration", applicant("new", 5)).await;
    assert_eq!(added.0, StatusCode::CREATED, "{}", added.1);
}
