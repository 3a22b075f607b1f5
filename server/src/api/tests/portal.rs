//! What there is once in the portal: the root, spaces, prefixes, errors and keys.

use super::*;

#[tokio::test]
async fn the_root_is_for_anybody_and_the_rest_is_not() {
    let client = Client::new().await;
    for path in ["/api", "/api/"] {
        let (status, root) = client.call_with(None, "GET", path, None).await;
        assert_eq!(status, StatusCode::OK);
        has_keys(&root, "Application Version ApiVersion InstallationId IsEarlyAccessProgram HasLongTermSupport Links");
        assert_eq!(root["ApiVersion"], "3.0.0");
        assert_eq!(root["Links"]["SpaceHome"], "/api/{spaceId}");
        let environments = "/api/Spaces-1/environments{/id}{?name,skip,ids,take,partialName}";
        assert_eq!(root["Links"]["Environments"], environments);
        has_keys(
            &root["Links"],
            "Machines DiscoverMachine MachineRoles Tasks Packages PackageUpload Spaces CurrentUser",
        );
    }
    for path in ["/api/Spaces-1", "/api/machines", "/api/spaces", "/api/users/me", "/api/tasks", "/api/rollouts"] {
        let (status, answer) = client.call_with(None, "GET", path, None).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{path}");
        is_error(&answer);
        let (status, _) = client.call_with(Some("API-WRONG"), "GET", path, None).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{path}");
    }
}

#[tokio::test]
async fn a_space_has_no_version_and_the_portal_one_space() {
    let client = Client::new().await;
    let space = client.get("/api/Spaces-1").await;
    has_keys(&space, "Id Links");
    assert!(space.get("Version").is_none() && space.get("ApiVersion").is_none());
    let spaces = client.get("/api/spaces?partialName=DEF&skip=0&take=2147483647").await;
    assert_eq!((spaces["TotalResults"].as_u64(), ids(&spaces)), (Some(1), vec!["Spaces-1"]));
    assert_eq!(spaces["Items"][0]["IsDefault"], true);
    assert_eq!(ids(&client.get("/api/spaces?name=other").await), Vec::<&str>::new());
    assert_eq!(ids(&client.get("/api/spaces/all").await), ["Spaces-1"]);
    assert_eq!(client.get("/api/spaces/default").await["Id"], "Spaces-1");
    client.refused("GET", "/api/Spaces-2", None, StatusCode::NOT_FOUND, "/api/Spaces-2").await;
    client.refused("GET", "/api/spaces/other/machines", None, StatusCode::NOT_FOUND, "nothing at").await;
    let me = client.get("/api/users/me").await;
    has_keys(&me, "Id Username DisplayName IsActive IsService Links");
    assert_eq!(me["Username"], "admin");
    let certificate = client.get("/api/configuration/certificates/certificate-global").await;
    has_keys(&certificate, "Id Name Thumbprint SignatureAlgorithm");
    assert_eq!(certificate["Thumbprint"], client.app.identities.thumbprint().to_string());
}

#[tokio::test]
async fn every_resource_of_a_space_answers_alike_below_each_prefix() {
    let client = Client::new().await;
    client.with_machine().await;
    client.tentacles.machines().insert(MachineId(1), FakeMachine::running(Version::release(1, 0, 0)));
    client.create("/api/tasks", json!({"Name": "Health"})).await;
    client.report(1, "1.0.0").await;
    client.create("/api/rollouts", json!({})).await;
    assert_eq!(client.push("", "fileToUpload", &package("Acme.Web", "1.0", "a")).await.0, StatusCode::CREATED);
    for path in [
        "/environments",
        "/environments/all",
        "/environments/v2?skip=0&take=100&partialName=prod",
        "/environments/summary",
        "/environments/Environments-1",
        "/environments/Environments-1/machines",
        "/machines",
        "/machines/all",
        "/machines/Machines-1",
        "/machines/Machines-1/connection",
        "/machines/Machines-1/tasks",
        "/machines/discover?host=web9",
        "/machineroles/all",
        "/tasks",
        "/tasks/ServerTasks-1",
        "/tasks/ServerTasks-1/details",
        "/packages",
        "/packages/packages-Acme.Web.1.0.0",
        "/rollouts",
        "/rollouts/Rollouts-1",
    ] {
        let expected = client.get(&format!("/api{path}")).await;
        for prefix in PREFIXES {
            assert_eq!(client.get(&format!("{prefix}{path}")).await, expected, "{prefix}{path}");
        }
    }
}

#[tokio::test]
async fn what_is_not_there_is_a_sentence_in_json() {
    let client = Client::new().await;
    for path in [
        "/api/nothing",
        "/api/Spaces-1/nothing",
        "/api/spaces/default/bananas",
        "/api/machines/Machines-9",
        "/api/machines/Environments-1",
        "/api/environments/Environments-9",
        "/api/environments/Environments-9/machines",
        "/api/tasks/ServerTasks-9",
        "/api/tasks/ServerTasks-9/details",
        "/api/tasks/ServerTasks-9/raw",
        "/api/packages/packages-No.1.0.0",
        "/api/packages/packages-No.1.0.0/raw",
        "/api/rollouts/Rollouts-9",
        "/api/rollouts/x",
        "/api/%ff/machines",
        "/api/spaces/%ff/machines",
        "/api/machines/%ff",
        "/api/Spaces-2/tasks/taskTypes",
    ] {
        let (status, answer) = client.call("GET", path, None).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}: {answer}");
        is_error(&answer);
    }
    for (method, path) in [
        ("DELETE", "/api/machines/Machines-9"),
        ("DELETE", "/api/environments/Environments-9"),
        ("DELETE", "/api/packages/packages-No.1.0.0"),
        ("POST", "/api/tasks/ServerTasks-9/cancel"),
        ("POST", "/api/rollouts/Rollouts-9/cancel"),
    ] {
        let (status, answer) = client.call(method, path, None).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}: {answer}");
        is_error(&answer);
    }
    client.refused("DELETE", "/api/machines", None, StatusCode::METHOD_NOT_ALLOWED, "/api/machines").await;
}

#[tokio::test]
async fn a_key_for_registering_registers_and_does_nothing_else() {
    let client = Client::new().await;
    client.create("/api/environments", json!({"Name": "Production"})).await;
    let key = client.app.api_key(Scope::Register).await;
    let call = async |method, path, body| client.call_with(Some(&key), method, path, body).await;
    for path in [
        "/api",
        "/api/users/me",
        "/api/environments/all",
        "/api/Spaces-1/machines",
        "/api/configuration/certificates/certificate-global",
    ] {
        assert_eq!(call("GET", path, None).await.0, StatusCode::OK, "{path}");
    }
    assert_eq!(call("POST", "/api/Spaces-1/machines", Some(machine("web1", 1))).await.0, StatusCode::CREATED);
    for (method, path) in [
        ("GET", "/api/tasks"),
        ("POST", "/api/tasks"),
        ("POST", "/api/environments"),
        ("DELETE", "/api/machines/Machines-1"),
        ("PUT", "/api/machines/Machines-1"),
        ("POST", "/api/rollouts"),
        ("POST", "/api/packages/raw"),
    ] {
        let (status, answer) = call(method, path, Some(json!({"Name": "x"}))).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{method} {path}: {answer}");
        is_error(&answer);
    }
}
