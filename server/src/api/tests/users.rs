//! Users and the API keys of their scripts.

use super::*;
use crate::auth::api_key_create;
use crate::db::users::user_by_name;
use crate::model::KeyWish;

/// A key of a user who is there.
pub(super) async fn key_of(client: &Client, name: &str) -> String {
    let mut tx = client.app.db.write().await.unwrap();
    let user = user_by_name(&mut tx, name).await.unwrap().unwrap();
    let wish = KeyWish { purpose: "tests", scope: Scope::Full, expires_at: None };
    let (_, key) = api_key_create(&mut tx, user.id, &wish, client.app.now()).await.unwrap();
    tx.commit().await.unwrap();
    key
}

#[tokio::test]
async fn users_are_added_changed_and_kept_from_changing_themselves() {
    let client = Client::new().await;
    client.create("/api/environments", json!({"Name": "Production"})).await;
    let ann = client
        .create("/api/users", json!({"Username": "ann", "Role": "Operator", "EnvironmentIds": ["Environments-1"]}))
        .await;
    has_keys(&ann, "Id Username DisplayName IsActive IsService EmailAddress Role EnvironmentIds SetupLink Links");
    assert_eq!((&ann["Role"], &ann["EnvironmentIds"]), (&json!("operator"), &json!(["Environments-1"])));
    let path = ann["Links"]["Self"].as_str().unwrap();
    let again = client.get(path).await;
    assert!(again.get("SetupLink").is_none() && again["Username"] == "ann", "{again}");
    assert_eq!(ids(&client.get("/api/users?filter=AN").await), [ann["Id"].as_str().unwrap()]);
    assert_eq!(client.get("/api/users/all").await.as_array().unwrap().len(), 2);
    let (_, changed) = client.call("PUT", path, Some(json!({"IsActive": false}))).await;
    assert_eq!((&changed["IsActive"], &changed["EnvironmentIds"]), (&json!(false), &json!(["Environments-1"])));
    let (_, changed) = client.call("PUT", path, Some(json!({"Role": "viewer", "IsActive": true}))).await;
    assert_eq!((&changed["Role"], &changed["EnvironmentIds"]), (&json!("viewer"), &Value::Null));

    let key = key_of(&client, "ann").await;
    let call = async |method, path: &str, body| client.call_with(Some(&key), method, path, body).await;
    assert_eq!(call("GET", "/api/users/me", None).await.1["Id"], ann["Id"]);
    assert_eq!(call("GET", path, None).await.0, StatusCode::OK);
    for (method, other) in [
        ("GET", "/api/users"),
        ("GET", "/api/users/all"),
        ("GET", "/api/users/Users-1"),
        ("GET", "/api/users/Users-1/apikeys"),
        ("POST", "/api/users/Users-1/apikeys"),
        ("POST", "/api/users"),
        ("PUT", path),
    ] {
        let (status, answer) =
            call(method, other, Some(json!({"Username": "bob", "Role": "administrator", "Purpose": "x"}))).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{method} {other}: {answer}");
    }
    let bad = StatusCode::BAD_REQUEST;
    for (body, text) in [
        (json!({"Username": "ANN"}), "ANN"),
        (json!({}), "name"),
        (json!({"Username": "bob", "Role": "king"}), "Role"),
        (json!({"Username": "bob", "Password": "correct horse"}), "SetupLink"),
        (json!({"Username": "bob", "Role": "operator", "EnvironmentIds": ["Environments-9"]}), "Environments-9"),
        (json!({"Username": "bob", "IsActive": false}), "IsActive"),
    ] {
        client.refused("POST", "/api/users", Some(body), bad, text).await;
    }
    client.refused("PUT", path, Some(json!({"Username": "eve"})), bad, "keeps").await;
    let last = Some(json!({"Role": "viewer"}));
    client.refused("PUT", "/api/users/Users-1", last, StatusCode::CONFLICT, "last administrator").await;
    client.refused("PUT", "/api/users/Users-9", Some(json!({})), StatusCode::NOT_FOUND, "Users-9").await;
    assert_eq!(client.get("/api/users").await["TotalResults"], 2, "nothing that was refused is there");
}

#[tokio::test]
async fn a_key_is_shown_once_works_until_its_end_and_no_longer_than_who_made_it() {
    let client = Client::new().await;
    let path = "/api/users/Users-1/apikeys";
    let end = client.app.now().after(Duration::from_secs(60)).rfc3339();
    let made = client.create(path, json!({"Purpose": "nightly", "Expires": end, "UserId": "Users-1"})).await;
    let text = made["ApiKey"].as_str().unwrap().to_owned();
    has_keys(&made, "Id UserId Purpose ApiKey Created Expires Links");
    let listed = client.get(path).await;
    assert!(!listed.to_string().contains(&text), "it is shown once");
    assert_eq!((&listed["Items"][0]["Purpose"], &listed["Items"][0]["IsActive"]), (&json!("nightly"), &json!(true)));
    let with = async |key: &str, method, path: &str, body| client.call_with(Some(key), method, path, body).await;
    let (_, other) =
        with(&text, "POST", path, Some(json!({"Purpose": "for longer", "Expires": "2999-01-01T00:00:00Z"}))).await;
    assert_eq!(other["Expires"], made["Expires"], "a key makes none that lasts longer than itself");
    let (_, other) = with(&text, "POST", path, Some(json!({"Purpose": "for ever", "Scope": "register"}))).await;
    assert_eq!((&other["Expires"], &other["Scope"]), (&made["Expires"], &json!("register")));
    assert_eq!(with(&text, "GET", "/api/users/me", None).await.0, StatusCode::OK);
    client.app.clock.advance(Duration::from_secs(61));
    let (status, answer) = with(&text, "GET", "/api/users/me", None).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    is_error(&answer);

    let made = client.create(path, json!({"Purpose": "by hand"})).await;
    let (text, its) = (made["ApiKey"].as_str().unwrap(), made["Links"]["Self"].as_str().unwrap());
    assert_eq!(with(text, "GET", "/api/users/me", None).await.0, StatusCode::OK);
    for _ in 0..2 {
        assert_eq!(client.call("DELETE", its, None).await.0, StatusCode::OK);
    }
    assert_eq!(with(text, "GET", "/api/users/me", None).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(client.get(its).await["IsActive"], false);
    client.refused("DELETE", &format!("{path}/ApiKeys-99"), None, StatusCode::NOT_FOUND, "ApiKeys-99").await;
    client.refused("DELETE", &format!("{path}/x"), None, StatusCode::NOT_FOUND, "ApiKeys-1").await;
    let long = "x".repeat(201);
    for (body, text) in [
        (json!({}), "Purpose"),
        (json!({"Purpose": long}), "Purpose"),
        (json!({"Purpose": "x", "Scope": "some"}), "Scope"),
        (json!({"Purpose": "x", "Expires": "2001-01-01T00:00:00Z"}), "over already"),
        (json!({"Purpose": "x", "Expires": "soon"}), "soon"),
    ] {
        client.refused("POST", path, Some(body), StatusCode::BAD_REQUEST, text).await;
    }
}

#[tokio::test]
async fn an_administrator_revokes_what_others_made_and_makes_nothing_in_their_name() {
    let client = Client::new().await;
    client.create("/api/users", json!({"Username": "ann"})).await;
    let key = key_of(&client, "ann").await;
    let refused = StatusCode::FORBIDDEN;
    client
        .refused("POST", "/api/users/Users-2/apikeys", Some(json!({"Purpose": "x"})), refused, "in its user's name")
        .await;
    let listed = client.get("/api/users/Users-2/apikeys").await;
    let its = listed["Items"][0]["Links"]["Self"].as_str().unwrap();
    // Not by another user's address.
    let other = its.replace("Users-2", "Users-1");
    client.refused("DELETE", &other, None, StatusCode::NOT_FOUND, "ApiKeys-").await;
    assert_eq!(client.call_with(Some(&key), "GET", "/api/users/me", None).await.0, StatusCode::OK);
    assert_eq!(client.call("DELETE", its, None).await.0, StatusCode::OK);
    assert_eq!(client.call_with(Some(&key), "GET", "/api/users/me", None).await.0, StatusCode::UNAUTHORIZED);
}
