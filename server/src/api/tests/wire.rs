//! Conditions and keys of requests: what is changed only if nobody else did, and what is done once.

use super::*;

impl Client {
    async fn with_header(
        &self,
        header: (&str, &str),
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> (Response<Body>, StatusCode) {
        let request = Request::builder().method(method).uri(path).header("X-Octopus-ApiKey", &self.key);
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        let answer = self.send(request.header(header.0, header.1).body(body).unwrap()).await;
        let status = answer.status();
        (answer, status)
    }

    async fn tag(&self, path: &str) -> String {
        let (answer, _) = self.with_header(("accept", "*/*"), "GET", path, None).await;
        answer.headers().get("etag").unwrap_or_else(|| panic!("{path} has no tag")).to_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn a_stale_tag_is_refused_and_an_absent_one_is_not_asked_for() {
    let client = Client::new().await;
    client.with_machine().await;
    let path = "/api/machines/Machines-1";
    let tag = client.tag(path).await;
    client.report(1, "1.0.0").await;
    client.app.clock.advance(Duration::from_secs(30));
    assert_eq!(client.tag(path).await, tag, "what a machine says of itself is nobody's change");
    assert_eq!(client.tag("/api/Spaces-1/machines/Machines-1").await, tag, "it is one thing");
    let put = async |tag: &str, role: &str| {
        client.with_header(("if-match", tag), "PUT", path, Some(json!({"Roles": [role]}))).await
    };
    let (answer, status) = put(&tag, "a").await;
    assert_eq!(status, StatusCode::OK);
    let second = answer.headers()["etag"].to_str().unwrap().to_owned();
    assert!(second != tag && client.tag(path).await == second);
    let (answer, status) = put(&tag, "b").await;
    assert_eq!(status, StatusCode::PRECONDITION_FAILED);
    is_error(&json_of(answer).await.1);
    assert_eq!(client.get(path).await["Roles"], json!(["a"]), "nothing changed");
    assert_eq!(put("\"nonsense\", *", "c").await.1, StatusCode::OK);
    assert_eq!(put(&format!("\"x\", {}", client.tag(path).await), "d").await.1, StatusCode::OK);
    assert_eq!(client.call("PUT", path, Some(json!({"Roles": ["e"]}))).await.0, StatusCode::OK);
    assert_eq!(client.with_header(("if-match", &tag), "DELETE", path, None).await.1, StatusCode::PRECONDITION_FAILED);
    let fresh = client.tag(path).await;
    assert_eq!(client.with_header(("if-match", &fresh), "DELETE", path, None).await.1, StatusCode::OK);
    assert_eq!(client.with_header(("if-match", "*"), "DELETE", path, None).await.1, StatusCode::PRECONDITION_FAILED);
    for path in ["/api/environments/Environments-1", "/api/users/Users-1", "/api/machinepolicies/MachinePolicies-1"] {
        assert_eq!(client.tag(path).await, client.tag(path).await, "{path}");
    }
    let (list, _) = client.with_header(("accept", "*/*"), "GET", "/api/machines", None).await;
    assert!(list.headers().get("etag").is_none(), "a list has none");
}

#[tokio::test]
async fn of_two_who_send_the_same_tag_one_changes_it() {
    let client = Client::new().await;
    client.create("/api/environments", json!({"Name": "A"})).await;
    let path = "/api/environments/Environments-1";
    let tag = client.tag(path).await;
    // One router, as the portal has it.
    let router = client.router.clone();
    let put = async |text: &str| {
        let request = Request::put(path).header("X-Octopus-ApiKey", &client.key).header("if-match", &tag);
        let request = request.body(Body::from(json!({"Description": text}).to_string())).unwrap();
        router.clone().oneshot(request).await.unwrap().status()
    };
    let (one, other) = tokio::join!(put("one"), put("other"));
    let mut both = [one, other];
    both.sort();
    assert_eq!(both, [StatusCode::OK, StatusCode::PRECONDITION_FAILED]);
}

#[tokio::test]
async fn a_request_with_a_key_is_done_once() {
    let client = Client::new().await;
    let post = async |key: &str, path: &str, body: Value| {
        client.with_header(("idempotency-key", key), "POST", path, Some(body)).await
    };
    let (first, status) = post("k1", "/api/environments", json!({"Name": "A"})).await;
    assert_eq!(status, StatusCode::CREATED);
    assert!(first.headers().get("idempotency-replayed").is_none());
    let first = json_of(first).await.1;
    let (again, status) = post("k1", "/api/environments", json!({"Name": "A"})).await;
    assert_eq!((status, &again.headers()["idempotency-replayed"]), (StatusCode::CREATED, &"true".parse().unwrap()));
    assert_eq!(json_of(again).await.1, first);
    for (path, body) in
        [("/api/environments", json!({"Name": "B"})), ("/api/Spaces-1/environments", json!({"Name": "A"}))]
    {
        let (other, status) = post("k1", path, body).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{path}");
        is_error(&json_of(other).await.1);
    }
    assert_eq!(client.get("/api/environments").await["TotalResults"], 1, "it was done once");
    // Another person's keys are other keys.
    client.create("/api/users", json!({"Username": "ann", "Role": "administrator"})).await;
    let key = super::users::key_of(&client, "ann").await;
    let hers = Client { key, ..client };
    let request = ("idempotency-key", "k1");
    let (_, status) = hers.with_header(request, "POST", "/api/environments", Some(json!({"Name": "B"}))).await;
    assert_eq!(status, StatusCode::CREATED);
    // After a day it is a new request.
    hers.app.clock.advance(Duration::from_secs(24 * 60 * 60 + 1));
    let (_, status) = hers.with_header(request, "POST", "/api/environments", Some(json!({"Name": "C"}))).await;
    assert_eq!(status, StatusCode::CREATED);
}

#[tokio::test]
async fn what_failed_may_be_sent_again_and_secrets_are_not_kept() {
    let client = Client::new().await;
    let post = async |key: &str, path: &str, body: Value| {
        client.with_header(("idempotency-key", key), "POST", path, Some(body)).await
    };
    assert_eq!(post("k", "/api/environments", json!({"Name": "a/b"})).await.1, StatusCode::BAD_REQUEST);
    assert_eq!(post("k", "/api/environments", json!({"Name": "A"})).await.1, StatusCode::CREATED);
    let path = "/api/users/Users-1/apikeys";
    let (made, status) = post("s", path, json!({"Purpose": "x"})).await;
    assert_eq!(status, StatusCode::CREATED);
    let text = json_of(made).await.1["ApiKey"].as_str().unwrap().to_owned();
    let (again, status) = post("s", path, json!({"Purpose": "x"})).await;
    assert_eq!(status, StatusCode::CONFLICT);
    let again = json_of(again).await.1;
    assert!(!again.to_string().contains(&text));
    is_error(&again);
    assert_eq!(client.get(path).await["TotalResults"], 2, "the key of this test, and one more");
    for key in ["", " ", &"x".repeat(256)] {
        let (answer, status) = post(key, "/api/environments", json!({"Name": "B"})).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{key}");
        is_error(&json_of(answer).await.1);
    }
    let upload = Request::post("/api/packages/raw").header("X-Octopus-ApiKey", &client.key);
    let upload = upload.header("idempotency-key", "u").header("content-type", "multipart/form-data; boundary=B");
    let (status, answer) = json_of(client.send(upload.body(Body::from("--B--\r\n")).unwrap()).await).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(answer["ErrorMessage"].as_str().unwrap().contains("overwriteMode"), "{answer}");
    assert_eq!(client.get("/api/environments").await["TotalResults"], 1);
}
