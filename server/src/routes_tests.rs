//! Who may have which route: a table of every route that the router has, and every role.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::routing::any;
use contract::{Sha256, Version};
use http::Method;
use tower::ServiceExt as _;
use tower_sessions::Session;

use super::*;
use crate::auth::rules::{Concern, Need, every, need};
use crate::auth::{Grant, Principal, Sessions, Via, api_key_create, login, password_set, registration_key_create};
use crate::bundle::BundledPackage;
use crate::clock::Timestamp;
use crate::db::environments::environment_insert;
use crate::db::facts::facts_put;
use crate::db::machines::machine_insert;
use crate::db::users::user_insert;
use crate::ids::{EnvironmentId, SpaceId, UserId};
use crate::model::{Contact, Facts, Instances, KeyWish, NewEnvironment, NewMachine, Reach, Role, Scope};
use crate::rollout::calendar::{FreezePeriod, FreezeScope};
use crate::rollout::create::{RolloutRequest, Selection, rollout_create};
use crate::rollout::freezes::freeze_add;
use crate::tasks::task_create_health;
use crate::testing::{TestApp, report};

const PASSWORD: &str = "correct horse battery";

/// Every route of the router with every method that it takes.
pub(super) async fn routes(app: &App) -> BTreeSet<(String, Method)> {
    let shown = format!("{:?}", unguarded());
    let paths: BTreeSet<String> = shown
        .split("RouteId(")
        .filter_map(|rest| rest.split_once("): \"")?.1.split_once('"').map(|(path, _)| path.to_owned()))
        .filter(|path| !path.contains("__private"))
        .collect();
    assert!(paths.len() > 100, "the router shows its routes otherwise: {shown}");
    let router = unguarded().with_state(app.clone());
    let mut found = BTreeSet::new();
    for path in paths {
        let address = path.replace(['{', '}', '*'], "");
        let request = Request::builder().method("BREW").uri(address).body(Body::empty()).unwrap();
        let answer = router.clone().oneshot(request).await.unwrap();
        let allowed = answer.headers().get(header::ALLOW).unwrap_or_else(|| panic!("no methods at {path}"));
        for method in allowed.to_str().unwrap().split(',') {
            found.insert((path.clone(), method.parse().unwrap()));
        }
    }
    found
}

#[tokio::test]
async fn every_route_has_a_rule_and_every_rule_a_route() {
    let app = App::for_tests().await;
    let routes = routes(&app).await;
    let without: Vec<_> = routes.iter().filter(|(path, method)| need(method, path).is_none()).collect();
    assert!(without.is_empty(), "routes without a rule, which nobody may have: {without:?}");
    for (method, path) in every() {
        let is_there = routes.iter().any(|(route, verb)| verb.as_str() == method && *route == path);
        assert!(is_there, "a rule without a route: {method} {path}");
    }
}

/// A portal with something of every kind in the environment A, and nothing in B.
pub(super) async fn furnished() -> (TestApp, Vec<EnvironmentId>) {
    let app = App::for_tests().await.with(|inner| {
        let (runtime, version) = ("linux-x64".to_owned(), Version::release(2, 0, 0));
        let package = BundledPackage { runtime, version, sha256: Sha256([7; 32]), size: 1 };
        inner.bundle = [package].into_iter().collect();
    });
    let mut tx = app.db.write().await.unwrap();
    let mut ids = Vec::new();
    for name in ["A", "B"] {
        let (name, description) = (name.parse().unwrap(), String::new());
        let new = NewEnvironment { name, description, sort_order: None, is_disabled: false };
        ids.push(environment_insert(&mut tx, SpaceId::DEFAULT, &new).await.unwrap().id);
    }
    let new = NewMachine {
        name: "m".into(),
        address: "server1:10933".parse().unwrap(),
        thumbprint: contract::Thumbprint([7; 32]),
        is_disabled: false,
        environments: vec![ids[0]],
        roles: Vec::new(),
    };
    let machine = machine_insert(&mut tx, SpaceId::DEFAULT, &new, app.now()).await.unwrap().id;
    let facts = Facts {
        tried_at: app.now(),
        contact: Contact::Answered,
        contact_since: app.now(),
        report: Some(report(Version::release(1, 0, 0), app.now())),
        instances: Instances::default(),
    };
    facts_put(&mut tx, machine, &facts).await.unwrap();
    tx.commit().await.unwrap();
    let request = RolloutRequest::of(Selection::Machines(vec![machine]));
    rollout_create(&app, SpaceId::DEFAULT, "x", request).await.unwrap();
    let until = Timestamp(app.now().0 + 1_000_000);
    let scope = FreezeScope::Environments(vec![ids[0]]);
    let period = FreezePeriod { scope, from: app.now(), until, reason: "x".into() };
    freeze_add(&app, SpaceId::DEFAULT, "x", period).await.unwrap();
    task_create_health(&app, SpaceId::DEFAULT, "x", &Selection::Machines(vec![machine]), None).await.unwrap();
    let (user, username) = (UserId(1), "admin".to_owned());
    let (via, space) = (Via::Session, SpaceId::DEFAULT);
    let admin = Principal { user, username, role: Role::Administrator, via, space };
    let life = Duration::from_secs(60);
    let grant = Grant { environments: vec![ids[0]], roles: Vec::new(), machines: 1, life };
    registration_key_create(&app, SpaceId::DEFAULT, &admin, &grant).await.unwrap();
    (app, ids)
}

/// Somebody with a session and an API key.
pub(super) struct Person {
    pub(super) cookie: String,
    pub(super) key: String,
}

pub(super) async fn person(app: &TestApp, name: &str, role: Role) -> Person {
    let mut tx = app.db.write().await.unwrap();
    let user = user_insert(&mut tx, name, &role, app.now()).await.unwrap();
    let wish = KeyWish { purpose: "tests", scope: Scope::Full, expires_at: None };
    let (_, key) = api_key_create(&mut tx, user.id, &wish, app.now()).await.unwrap();
    tx.commit().await.unwrap();
    password_set(&app.db, user.id, PASSWORD).await.unwrap();
    let session = Session::new(None, Arc::new(Sessions(app.db.clone())), None);
    login(app, &session, [127, 0, 0, 1].into(), name, PASSWORD).await.unwrap();
    session.save().await.unwrap();
    Person { cookie: format!("octopus-session={}", session.id().unwrap()), key }
}

/// What the guard makes of a request: its handler is asked, or not.
async fn is_let_in(router: &Router, path: &str, method: &Method, person: Option<&Person>) -> Result<(), StatusCode> {
    let before = path.split("/{id}").next().unwrap_or_default();
    let kind = before.trim_end_matches("/rerun").rsplit('/').next().unwrap_or_default();
    let id = match kind {
        "machines" => "Machines-1",
        "environments" => "Environments-1",
        "rollouts" => "Rollouts-1",
        "freezes" => "Freezes-1",
        "tasks" => "ServerTasks-2",
        "registration-keys" => "RegistrationKeys-1",
        _ => "Users-1",
    };
    let address = path.replace("{id}", id).replace("{space}", "Spaces-1").replace("{*path}", "x");
    let address = address.replace(['{', '}'], "");
    let mut request = Request::builder().method(method).uri(address);
    if let Some(person) = person {
        request = match error::is_api(path) {
            true => request.header("x-octopus-apikey", &person.key),
            false => request.header(header::COOKIE, &person.cookie),
        };
    }
    let answer = router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    if answer.status() == StatusCode::IM_A_TEAPOT { Ok(()) } else { Err(answer.status()) }
}

#[tokio::test]
async fn every_role_is_let_into_its_routes_and_into_no_others() {
    let (app, ids) = furnished().await;
    let only = |id| Role::Operator(Reach::Only([id].into()));
    let people = [
        ("viewer", person(&app, "viewer", Role::Viewer).await),
        ("operator of A", person(&app, "a", only(ids[0])).await),
        ("operator of B", person(&app, "b", only(ids[1])).await),
        ("operator", person(&app, "everywhere", Role::Operator(Reach::Everywhere)).await),
        ("administrator", person(&app, "boss", Role::Administrator).await),
    ];
    let routes = routes(&app).await;
    // The router's own routes with handlers that do nothing, so that one request leaves the next as it was.
    let paths: BTreeSet<&String> = routes.iter().map(|(path, _)| path).collect();
    let stubs =
        paths.into_iter().fold(Router::new(), |router, path| router.route(path, any(async || StatusCode::IM_A_TEAPOT)));
    let stubs = stubs.layer(middleware::from_fn_with_state(app.app.clone(), guard));
    let router = layered(app.app.clone(), stubs);
    for (path, method) in &routes {
        let need = need(method, path).unwrap();
        let stranger = is_let_in(&router, path, method, None).await;
        let expected = match need {
            Need::Nobody => Ok(()),
            Need::RegistrationKey => Err(StatusCode::UNAUTHORIZED),
            // The stream says it itself.
            _ if path == "/events" => Ok(()),
            _ if error::is_api(path) => Err(StatusCode::UNAUTHORIZED),
            _ => Err(StatusCode::SEE_OTHER),
        };
        assert_eq!(stranger, expected, "a stranger: {method} {path}");
        if need == Need::RegistrationKey {
            // Not even an administrator: the test of registration keys lets their bearers in.
            for (who, person) in &people {
                let answer = is_let_in(&router, path, method, Some(person)).await;
                assert_eq!(answer, Err(StatusCode::UNAUTHORIZED), "{who}: {method} {path}");
            }
            continue;
        }
        for (who, person) in &people {
            let may = match (need, *who) {
                (Need::Nobody | Need::User, _) | (_, "administrator") => true,
                (Need::Administrator | Need::RegistrationKey, _) | (_, "viewer") => false,
                (Need::Operator(_), "operator") => true,
                (Need::Operator(concern), "operator of A") => concern != Concern::Everything,
                (Need::Operator(concern), _) => concern == Concern::Content,
            };
            let expected = if may { Ok(()) } else { Err(StatusCode::FORBIDDEN) };
            assert_eq!(is_let_in(&router, path, method, Some(person)).await, expected, "{who}: {method} {path}");
        }
    }
}

#[tokio::test]
async fn what_no_rule_knows_is_closed_even_to_administrators() {
    let app = App::for_tests().await;
    let boss = person(&app, "boss", Role::Administrator).await;
    let routes = Router::new().route("/forgotten", any(async || StatusCode::IM_A_TEAPOT));
    let router = layered(app.app.clone(), routes.layer(middleware::from_fn_with_state(app.app.clone(), guard)));
    let closed = is_let_in(&router, "/forgotten", &Method::GET, Some(&boss)).await;
    assert_eq!(closed, Err(StatusCode::METHOD_NOT_ALLOWED));
}
