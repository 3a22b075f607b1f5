//! Nobody is shown a button that they may not press: every page, as every role meets it, and every form and link on it asked
//! of the guard.

use std::collections::BTreeSet;

use axum::routing::any;
use http_body_util::BodyExt as _;
use scraper::{Html, Selector};
use tower::ServiceExt as _;

use super::tests::{Person, furnished, person, routes};
use super::*;
use crate::model::{Reach, Role};

const PAGES: [&str; 17] = [
    "/",
    "/environments",
    "/environments?environment=Environments-2",
    "/machines/Machines-1",
    "/rollouts",
    "/rollouts/Rollouts-1",
    "/tasks",
    "/tasks/ServerTasks-1",
    "/tasks/ServerTasks-2",
    "/packages",
    "/freezes",
    "/audit",
    "/account",
    "/settings/restore",
    "/settings/identity",
    "/settings/maintenance",
    "/audit?document=Machines-1",
];

/// What everybody may do: leave, and look after their own account.
const OWN: [&str; 6] =
    ["/logout", "/account", "/account/password", "/account/sessions/end", "/account/keys", "/account/keys/"];

async fn ask(router: &Router, method: &str, path: &str, who: &Person) -> (StatusCode, String) {
    let request = Request::builder().method(method).uri(path).header(header::COOKIE, &who.cookie);
    let answer = router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let status = answer.status();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8_lossy(&body).into_owned())
}

/// Method and address of every form and link of a page.
fn offers(html: &str) -> BTreeSet<(&'static str, String)> {
    let document = Html::parse_document(html);
    let mut found = BTreeSet::new();
    let attribute = |selector: &str, name: &str| -> Vec<String> {
        let selector = Selector::parse(selector).unwrap();
        document.select(&selector).filter_map(|element| element.attr(name).map(str::to_owned)).collect()
    };
    for action in attribute("form[method=post][action]", "action") {
        found.insert(("POST", action));
    }
    for action in attribute("form[method=post] button[formaction]:not([formmethod])", "formaction") {
        found.insert(("POST", action));
    }
    let asked = ["form[method=get] button[formaction]", "button[formmethod=get]"];
    let asked = asked.into_iter().flat_map(|selector| attribute(selector, "formaction"));
    let forms = attribute("form[method=get][action]", "action");
    for action in asked.chain(forms).chain(attribute("a[href^='/']", "href")) {
        found.insert(("GET", action));
    }
    found
}

#[tokio::test]
async fn nobody_is_shown_a_button_that_they_may_not_press() {
    let (app, ids) = furnished().await;
    let only = |id| Role::Operator(Reach::Only([id].into()));
    let people = [
        ("viewer", person(&app, "viewer", Role::Viewer).await),
        ("operator of A", person(&app, "a", only(ids[0])).await),
        ("operator of B", person(&app, "b", only(ids[1])).await),
        ("operator", person(&app, "everywhere", Role::Operator(Reach::Everywhere)).await),
        ("administrator", person(&app, "boss", Role::Administrator).await),
    ];
    let real = router(app.app.clone());
    let paths: BTreeSet<String> = routes(&app).await.into_iter().map(|(path, _)| path).collect();
    let stubs = paths
        .into_iter()
        .fold(Router::new(), |router, path| router.route(&path, any(async || StatusCode::IM_A_TEAPOT)));
    let stubs = layered(app.app.clone(), stubs.layer(middleware::from_fn_with_state(app.app.clone(), guard)));
    let mut posts: Vec<(&str, BTreeSet<String>)> = Vec::new();
    for (name, who) in &people {
        let mut own = BTreeSet::new();
        for page in PAGES {
            let (status, html) = ask(&real, "GET", page, who).await;
            assert_eq!(status, StatusCode::OK, "{name}: {page}");
            for (method, address) in offers(&html) {
                let (status, _) = ask(&stubs, method, &address, who).await;
                assert_ne!(status, StatusCode::FORBIDDEN, "{name} is shown {method} {address} on {page}");
                if method == "POST" && !OWN.iter().any(|own| address.starts_with(own)) {
                    own.insert(address);
                }
            }
        }
        posts.push((name, own));
    }
    let of = |name: &str| &posts.iter().find(|(who, _)| *who == name).unwrap().1;
    assert_eq!(*of("viewer"), BTreeSet::new(), "a viewer changes nothing");
    let elsewhere: Vec<_> = of("operator of B").iter().filter(|address| address.contains("-1")).collect();
    assert_eq!(elsewhere, Vec::<&String>::new(), "nothing in A is B's");
    for name in ["operator of A", "operator", "administrator"] {
        for address in ["/machines/Machines-1/check", "/machines/Machines-1/hold", "/freezes/Freezes-1/end"] {
            assert!(of(name).contains(address), "{name} misses {address}: {:?}", of(name));
        }
    }
    let everything: BTreeSet<&String> = of("administrator").iter().collect();
    assert!(everything.is_superset(&of("operator").iter().collect()), "an administrator misses something");
}
