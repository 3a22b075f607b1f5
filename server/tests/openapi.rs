//! What the portal tells of its REST API, as a program and as a person read it.

use std::collections::HashSet;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use octopus_server::app::App;
use octopus_server::auth::rules::operations;
use octopus_server::routes;
use serde_json::{Value, json};
use tower::ServiceExt as _;

async fn get(path: &str) -> (StatusCode, String, String) {
    let portal = App::for_tests().await;
    let request = Request::get(path).body(Body::empty()).expect("a request");
    let answer = routes::router(portal.clone()).oneshot(request).await.expect("an answer");
    let policy = answer.headers()["content-security-policy"].to_str().expect("a text").to_owned();
    let status = answer.status();
    let bytes = answer.into_body().collect().await.expect("a body").to_bytes();
    (status, policy, String::from_utf8(bytes.to_vec()).expect("a text"))
}

#[tokio::test]
async fn every_operation_is_told_once_with_its_parameters() {
    let (status, _, text) = get("/api/openapi.json").await;
    assert_eq!(status, StatusCode::OK, "{text}");
    let document: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    let paths = document["paths"].as_object().unwrap();
    for (method, path, _) in operations() {
        assert!(paths[&format!("/api{path}")].get(method.to_lowercase()).is_some(), "{method} {path}");
    }
    let told: Vec<&Value> = paths.values().flat_map(|operations| operations.as_object().unwrap().values()).collect();
    assert_eq!(told.len(), operations().count());
    let names: HashSet<&str> = told.iter().map(|operation| operation["operationId"].as_str().unwrap()).collect();
    assert_eq!(names.len(), told.len(), "each has a name of its own");
    let key = &paths["/api/users/{id}/apikeys/{key}"]["delete"];
    assert_eq!((&key["parameters"][0]["name"], &key["parameters"][1]["name"]), (&json!("id"), &json!("key")));
    assert_eq!(key["operationId"], "delete_users_id_apikeys_key");
    assert_eq!(paths["/api"]["get"]["security"], json!([]));
    assert_eq!(paths["/api/environments"]["post"]["description"], "For administrators.");
}

#[tokio::test]
async fn a_person_reads_them_on_a_page_without_scripts() {
    let (status, policy, page) = get("/api/docs").await;
    assert_eq!(status, StatusCode::OK);
    assert!(policy.contains("default-src 'none'"), "{policy}");
    for (_, path, _) in operations() {
        assert!(page.contains(&format!("<code class=\"break\">/api{path}</code>")), "{path}");
    }
    assert!(!page.contains("<script") && !page.contains("style="), "{page}");
}
