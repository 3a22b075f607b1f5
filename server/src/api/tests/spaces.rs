//! Spaces: made, changed, stopped and deleted by scripts, and what a new one comes with.

use axum::http::header;

use super::*;
use crate::auth::api_key_create;
use crate::db::users::user_insert;
use crate::model::{KeyWish, Role};

#[tokio::test]
async fn a_space_is_made_changed_stopped_and_deleted_as_the_official_client_does() {
    let client = Client::new().await;
    // What that client sends along, and what it adds to every body.
    let wish = json!({
        "Name": "Blue team", "SpaceManagersTeams": [], "SpaceManagersTeamMembers": ["Users-1"], "IsDefault": false,
        "spaceId": "Spaces-1", "spaceName": "Default",
    });
    let made = client.create("/api/spaces", wish).await;
    has_keys(
        &made,
        "Id Name Slug Description IsDefault TaskQueueStopped SpaceManagersTeams SpaceManagersTeamMembers Links",
    );
    assert_eq!(
        (&made["Id"], &made["Slug"], &made["TaskQueueStopped"]),
        (&json!("Spaces-2"), &json!("blue-team"), &json!(false))
    );
    assert_eq!(made["Links"]["SpaceHome"], "/api/Spaces-2");
    let found = client.get("/api/spaces?partialName=blue&skip=0&take=2147483647").await;
    assert_eq!((found["TotalResults"].as_u64(), ids(&found)), (Some(1), vec!["Spaces-2"]));
    assert_eq!(ids(&client.get("/api/spaces/all").await), ["Spaces-1", "Spaces-2"]);
    assert_eq!(ids(&client.get("/api/spaces?ids=Spaces-2,Spaces-9").await), ["Spaces-2"]);

    let mut whole = made.clone();
    whole["Description"] = json!("Everything blue");
    let (status, changed) = client.call("PUT", "/api/spaces/Spaces-2", Some(whole)).await;
    assert_eq!((status, &changed["Description"]), (StatusCode::OK, &json!("Everything blue")), "{changed}");
    client.refused("DELETE", "/api/spaces/Spaces-2", None, StatusCode::CONFLICT, "stop it first").await;
    let mut stopped = changed.clone();
    stopped["TaskQueueStopped"] = json!(true);
    let (status, stopped) = client.call("PUT", "/api/spaces/Spaces-2", Some(stopped)).await;
    assert_eq!((status, &stopped["TaskQueueStopped"]), (StatusCode::OK, &json!(true)), "{stopped}");
    let (status, _) = client.call("DELETE", "/api/spaces/blue-team", None).await;
    assert_eq!(status, StatusCode::OK);
    client.refused("GET", "/api/spaces/Spaces-2", None, StatusCode::NOT_FOUND, "no space Spaces-2").await;
    client.refused("GET", "/api/Spaces-2/machines", None, StatusCode::NOT_FOUND, "no space Spaces-2").await;
    assert_eq!(
        client.create("/api/spaces", json!({"Name": "Blue team"})).await["Id"],
        "Spaces-3",
        "no id is given twice"
    );
}

#[tokio::test]
async fn a_new_space_comes_with_its_feed_lifecycle_project_group_and_policy() {
    let client = Client::new().await;
    client.create("/api/spaces", json!({"Name": "Blue"})).await;
    client.create("/api/spaces/blue/environments", json!({"Name": "Staging"})).await;
    for (path, id) in [
        ("projectgroups?take=1", "ProjectGroups-2"),
        ("lifecycles?take=1", "Lifecycles-2"),
        ("feeds?take=1", "feeds-builtin"),
        ("machinepolicies?take=1", "MachinePolicies-2"),
    ] {
        let page = client.get(&format!("/api/Spaces-2/{path}")).await;
        assert_eq!(ids(&page), [id], "{path}");
        let item = &page["Items"][0];
        assert_eq!(item["SpaceId"], "Spaces-2", "{path}");
        let own = item["Links"]["Self"].as_str().unwrap();
        assert!(own.starts_with("/api/Spaces-2/"), "{own}");
        assert_eq!(client.get(own).await["Id"], id);
    }
    let phases = &client.get("/api/Spaces-2/lifecycles/Lifecycles-2").await["Phases"];
    assert_eq!((phases.as_array().unwrap().len(), &phases[0]["Name"]), (1, &json!("Staging")));
    let home = client.get("/api/blue").await;
    assert_eq!((&home["Id"], home.get("Version")), (&json!("Spaces-2"), None));
    assert!(home["Links"]["Machines"].as_str().unwrap().starts_with("/api/Spaces-2/machines"), "{home}");
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_with_a_sentence() {
    let client = Client::new().await;
    client.create("/api/spaces", json!({"Name": "Blue", "Slug": "navy"})).await;
    for (body, text) in [
        (json!({}), "must have a name"),
        (json!({"Name": "x".repeat(101)}), "must have a name"),
        (json!({"Name": "BLUE"}), "already a space with the name"),
        (json!({"Name": "Green", "Slug": "navy"}), "already a space with the slug"),
        (json!({"Name": "Green", "Slug": "Spaces-7"}), "is no id"),
        (json!({"Name": "Green", "IsDefault": true}), "stays so"),
        (json!({"Name": "Green", "Description": "x".repeat(1001)}), "at most 1000"),
    ] {
        client.refused("POST", "/api/spaces", Some(body), StatusCode::BAD_REQUEST, text).await;
    }
    client
        .refused("PUT", "/api/spaces/navy", Some(json!({"IsDefault": true})), StatusCode::BAD_REQUEST, "stays so")
        .await;
    client.refused("DELETE", "/api/spaces/Spaces-1", None, StatusCode::CONFLICT, "default space").await;
    client.refused("PUT", "/api/spaces/Spaces-9", Some(json!({})), StatusCode::NOT_FOUND, "no space Spaces-9").await;
    assert_eq!(client.get("/api/spaces").await["TotalResults"], 2);
}

#[tokio::test]
async fn of_two_who_change_a_space_with_one_tag_the_second_is_told() {
    let client = Client::new().await;
    client.create("/api/spaces", json!({"Name": "Blue"})).await;
    let ask = |method: &str, tag: &str, body: Value| {
        let request =
            Request::builder().method(method).uri("/api/spaces/Spaces-2").header("X-Octopus-ApiKey", &client.key);
        client.send(request.header(header::IF_MATCH, tag).body(Body::from(body.to_string())).unwrap())
    };
    let looked = client.send(
        Request::get("/api/spaces/Spaces-2").header("X-Octopus-ApiKey", &client.key).body(Body::empty()).unwrap(),
    );
    let tag = looked.await.headers()[header::ETAG].to_str().unwrap().to_owned();
    assert_eq!(ask("PUT", &tag, json!({"TaskQueueStopped": true})).await.status(), StatusCode::OK);
    assert_eq!(ask("PUT", &tag, json!({"Name": "Navy"})).await.status(), StatusCode::PRECONDITION_FAILED);
    assert_eq!(ask("DELETE", &tag, json!({})).await.status(), StatusCode::PRECONDITION_FAILED);
    assert_eq!(client.get("/api/spaces/Spaces-2").await["Name"], "Blue");
}

#[tokio::test]
async fn administrators_alone_change_spaces_and_an_operator_may_be_of_any() {
    let client = Client::new().await;
    client.create("/api/spaces", json!({"Name": "Blue"})).await;
    let environment = client.create("/api/Spaces-2/environments", json!({"Name": "Staging"})).await;
    let body = json!({"Username": "ann", "Role": "operator", "EnvironmentIds": [environment["Id"]]});
    assert_eq!(client.create("/api/users", body).await["EnvironmentIds"], json!(["Environments-1"]));
    let mut tx = client.app.db.write().await.unwrap();
    let user =
        user_insert(&mut tx, "bob", &Role::Operator(crate::model::Reach::Everywhere), client.app.now()).await.unwrap();
    let wish = KeyWish { purpose: "tests", scope: Scope::Full, expires_at: None };
    let (_, key) = api_key_create(&mut tx, user.id, &wish, client.app.now()).await.unwrap();
    tx.commit().await.unwrap();
    for (method, path) in [("POST", "/api/spaces"), ("PUT", "/api/spaces/Spaces-2"), ("DELETE", "/api/spaces/Spaces-2")]
    {
        let (status, said) = client.call_with(Some(&key), method, path, Some(json!({"Name": "x"}))).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{method} {path}: {said}");
    }
    let (status, _) = client.call_with(Some(&key), "GET", "/api/spaces", None).await;
    assert_eq!(status, StatusCode::OK);
}

#[tokio::test]
async fn a_version_that_failed_in_one_space_is_not_held_in_another() {
    let client = Client::new().await;
    client.create("/api/spaces", json!({"Name": "Blue"})).await;
    for (space, first) in [("Spaces-1", 1), ("Spaces-2", 11)] {
        let name = json!({"Name": "Production"});
        let environment = client.create(&format!("/api/{space}/environments"), name).await["Id"].clone();
        for n in first..first + 4 {
            let mut body = machine(&format!("web{n}"), n);
            body["EnvironmentIds"] = json!([environment]);
            client.create(&format!("/api/{space}/machines"), body).await;
        }
    }
    for id in 1..=8 {
        client.report(id, "1.0.0").await;
    }
    let first = client.create("/api/Spaces-1/rollouts", json!({"MachineIds": ["Machines-1"]})).await;
    let rollout = first["Id"].as_str().unwrap().parse().unwrap();
    let mut tx = client.app.db.write().await.unwrap();
    for id in 1..=3 {
        let (version, now) = (Version::release(2, 0, 0), client.app.now());
        let failed = crate::db::version_failures::version_failure_insert(
            &mut tx,
            rollout,
            MachineId(id),
            &version,
            "linux-x64",
            "x",
            now,
        );
        failed.await.unwrap();
    }
    tx.commit().await.unwrap();
    let code = async |space: &str, id: i64| {
        let machine = client.get(&format!("/api/{space}/machines/Machines-{id}")).await;
        machine["UpgradeState"]["Code"].as_str().unwrap().to_owned()
    };
    assert_eq!(code("Spaces-1", 4).await, "Hindered");
    assert_eq!(code("Spaces-2", 5).await, "Available");
    let second = client.create("/api/Spaces-2/rollouts", json!({"MachineIds": ["Machines-5"]})).await;
    let release = format!("/api/Spaces-2/rollouts/{}/release-version", second["Id"].as_str().unwrap());
    client.call("POST", &release, Some(json!({"Runtime": "linux-x64"}))).await;
    assert_eq!(code("Spaces-1", 4).await, "Hindered", "it is released in its own space alone");
}
