//! What programs ask for beside machines, rollouts and tasks: orders, policies, defaults, maintenance, and what is not built.

use super::*;
use crate::db::tasks::task_end;
use crate::model::{AuditCategory, TaskState};

#[tokio::test]
async fn environments_are_put_into_an_order() {
    let client = Client::new().await;
    for name in ["A", "B", "C"] {
        client.create("/api/environments", json!({"Name": name})).await;
    }
    let path = "/api/Spaces-1/environments/sortorder";
    let wish = json!(["Environments-3", "Environments-1", "Environments-3"]);
    let (status, sorted) = client.call("PUT", path, Some(wish)).await;
    assert_eq!((status, ids(&sorted)), (StatusCode::OK, vec!["Environments-3", "Environments-1", "Environments-2"]));
    assert_eq!(ids(&client.get("/api/environments/all").await), ids(&sorted));
    let bad = StatusCode::BAD_REQUEST;
    client.refused("PUT", path, Some(json!(["Environments-9"])), bad, "Environments-9").await;
    client.refused("PUT", path, Some(json!({"Ids": []})), bad, "not what is wanted").await;
    assert_eq!(ids(&client.get("/api/environments/all").await), ids(&sorted), "what is refused changes nothing");
    let created = AuditCategory::Created.word();
    let events = client.get("/api/events?documentTypes=Environments").await;
    let changes = events["Items"].as_array().unwrap().iter().filter(|event| event["Category"] != created).count();
    assert_eq!(changes, 1);
}

#[tokio::test]
async fn machines_and_their_summary_are_told_in_the_second_shape_too() {
    let client = Client::new().await;
    client.with_machine().await;
    client.create("/api/machines", machine("web2", 2)).await;
    client.report(1, "1.0.0").await;
    let all = client.get("/api/machines/v2?take=1").await;
    assert_eq!(all["DeploymentTargets"]["TotalResults"], 2);
    assert_eq!(all["DeploymentTargets"]["Links"]["Page.Next"], "/api/Spaces-1/machines/v2?skip=1&take=1");
    assert_eq!(all["TargetCountPerHealthStatus"], json!({"Healthy": 1, "Unknown": 1}));
    let summary = client.get("/api/environments/summary/v2").await;
    assert!(summary.get("MachineIdsForTentacleUpgrade").is_none());
    assert_eq!(summary["EnvironmentSummaries"][0]["MachineIdsForTentacleUpgrade"], json!(["Machines-1"]));
}

#[tokio::test]
async fn the_machine_policy_is_read_and_written_and_promises_nothing_else() {
    let client = Client::new().await;
    let path = "/api/Spaces-1/machinepolicies/MachinePolicies-1";
    let policy = client.get(path).await;
    has_keys(
        &policy,
        "Id SpaceId Name Description IsDefault MachineHealthCheckPolicy MachineConnectivityPolicy MachineCleanupPolicy \
         MachineUpdatePolicy UpgradeDeadlines Links",
    );
    assert_eq!(policy["MachineHealthCheckPolicy"]["HealthCheckInterval"], "00:01:00");
    assert_eq!(client.get("/api/machinepolicies/all").await, json!([policy]));
    assert_eq!(ids(&client.get("/api/machinepolicies?partialName=other").await), Vec::<&str>::new());
    let (status, same) = client.call("PUT", path, Some(policy.clone())).await;
    assert_eq!((status, &same), (StatusCode::OK, &policy));
    assert_eq!(
        client.app.machine_policy(crate::ids::SpaceId::DEFAULT),
        crate::policy::MachinePolicy::default(),
        "nothing was set by that"
    );
    let wish = json!({"MachineHealthCheckPolicy": {"HealthCheckInterval": "1.00:00:00"}, "UpgradeDeadlines": {"Checking": "00:01:17"}});
    let (_, changed) = client.call("PUT", path, Some(wish)).await;
    assert_eq!(changed["MachineHealthCheckPolicy"]["HealthCheckInterval"], "1.00:00:00");
    assert_eq!(client.app.health_interval(crate::ids::SpaceId::DEFAULT), Duration::from_secs(86_400));
    assert_eq!(client.app.deadlines(crate::ids::SpaceId::DEFAULT).checking, Duration::from_secs(77));
    let (bad, missing) = (StatusCode::BAD_REQUEST, StatusCode::NOT_IMPLEMENTED);
    for (body, status, text) in [
        (json!({"MachineUpdatePolicy": {"TentacleUpdateBehavior": "Update"}}), missing, "AutomaticUpgrade"),
        (
            json!({"MachineCleanupPolicy": {"DeleteMachinesBehavior": "DeleteUnavailableMachines"}}),
            missing,
            "never deleted",
        ),
        (json!({"MachineHealthCheckPolicy": {"HealthCheckCron": "0 * * * *"}}), missing, "cron"),
        (json!({"MachineHealthCheckPolicy": {"HealthCheckInterval": "00:00:01"}}), bad, "between 5 and"),
        (json!({"UpgradeDeadlines": {"Checking": "soon"}}), bad, "soon"),
        (json!({"Name": "Mine"}), bad, "keeps its name"),
    ] {
        client.refused("PUT", path, Some(body), status, text).await;
    }
    assert_eq!(client.get(path).await, changed, "what is refused changes nothing");
    client
        .refused("GET", "/api/machinepolicies/MachinePolicies-2", None, StatusCode::NOT_FOUND, "MachinePolicies-2")
        .await;
    client.refused("POST", "/api/machinepolicies", Some(json!({"Name": "x"})), missing, "one holds").await;
    client.create("/api/environments", json!({"Name": "A"})).await;
    let mut wish = machine("web1", 1);
    wish["MachinePolicyId"] = json!("MachinePolicies-7");
    client.refused("POST", "/api/machines", Some(wish.clone()), bad, "MachinePolicies-7").await;
    wish["MachinePolicyId"] = policy["Id"].clone();
    client.create("/api/machines", wish).await;
}

#[tokio::test]
async fn a_space_has_its_feed_lifecycle_and_project_group() {
    let client = Client::new().await;
    client.create("/api/environments", json!({"Name": "A"})).await;
    for (root, id, kind) in [
        ("feeds", "feeds-builtin", "Feed"),
        ("lifecycles", "Lifecycles-1", "Lifecycle"),
        ("projectgroups", "ProjectGroups-1", "ProjectGroup"),
    ] {
        let page = client.get(&format!("/api/Spaces-1/{root}?take=1")).await;
        assert_eq!((&page["ItemType"], ids(&page)), (&json!(kind), vec![id]));
        assert_eq!(client.get(page["Items"][0]["Links"]["Self"].as_str().unwrap()).await, page["Items"][0]);
        assert_eq!(ids(&client.get(&format!("/api/{root}/all?ids={id}")).await), [id]);
        assert_eq!(ids(&client.get(&format!("/api/{root}?partialName=nothing")).await), Vec::<&str>::new());
        client.refused("GET", &format!("/api/{root}/x-9"), None, StatusCode::NOT_FOUND, "x-9").await;
        let missing = StatusCode::NOT_IMPLEMENTED;
        client.refused("POST", &format!("/api/{root}"), Some(json!({"Name": "x"})), missing, "not built").await;
    }
    let lifecycle = client.get("/api/lifecycles/Lifecycles-1").await;
    assert_eq!(lifecycle["Phases"][0]["OptionalDeploymentTargets"], json!(["Environments-1"]));
    assert_eq!(client.get("/api/feeds/all").await[0]["FeedType"], "BuiltIn");
}

#[tokio::test]
async fn what_is_not_built_says_so_and_what_is_nothing_is_not_found() {
    let client = Client::new().await;
    for (method, path) in [
        ("GET", "/api/projects"),
        ("POST", "/api/Spaces-1/projects"),
        ("GET", "/api/spaces/default/projects/Projects-1"),
        ("POST", "/api/Spaces-1/releases/create/v1"),
        ("GET", "/api/deployments?ids=Deployments-1"),
        ("GET", "/api/tenants/all"),
        ("POST", "/api/tasks/ServerTasks-1/prioritize"),
        ("DELETE", "/api/users/Users-1"),
        ("GET", "/api/packages/Acme/1.0.0/delta-signature"),
    ] {
        let body = (method != "GET").then(|| json!({"Name": "x"}));
        let (status, answer) = client.call(method, path, body).await;
        assert_eq!(status, StatusCode::NOT_IMPLEMENTED, "{method} {path}: {answer}");
        is_error(&answer);
    }
    for path in ["/api/bananas", "/api/Spaces-1/bananas/1", "/api/machines/Machines-1/projects"] {
        let (status, answer) = client.call("GET", path, None).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}: {answer}");
        is_error(&answer);
    }
}

#[tokio::test]
async fn in_maintenance_administrators_alone_change_anything() {
    let client = Client::new().await;
    client.create("/api/users", json!({"Username": "olga", "Role": "operator"})).await;
    let key = super::users::key_of(&client, "olga").await;
    client.with_machine().await;
    let task = json!({"Name": "Health"});
    let (_, configuration) =
        client.call("PUT", "/api/maintenanceconfiguration", Some(json!({"IsInMaintenanceMode": true}))).await;
    assert_eq!(configuration["IsInMaintenanceMode"], true);
    assert_eq!(client.get("/api/serverstatus").await["IsInMaintenanceMode"], true);
    let call = async |method, path, body| client.call_with(Some(&key), method, path, body).await;
    let (status, answer) = call("POST", "/api/tasks", Some(task.clone())).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    is_error(&answer);
    assert_eq!(call("GET", "/api/machines", None).await.0, StatusCode::OK);
    client.create("/api/tasks", task.clone()).await;
    client.call("PUT", "/api/maintenanceconfiguration", Some(json!({"IsInMaintenanceMode": false}))).await;
    assert_eq!(call("POST", "/api/tasks", Some(task)).await.0, StatusCode::CREATED);
    let refused = call("PUT", "/api/maintenanceconfiguration", Some(json!({"IsInMaintenanceMode": true}))).await.0;
    assert_eq!(refused, StatusCode::FORBIDDEN);
    client
        .refused(
            "PUT",
            "/api/maintenanceconfiguration",
            Some(json!({})),
            StatusCode::BAD_REQUEST,
            "IsInMaintenanceMode",
        )
        .await;
}

#[tokio::test]
async fn a_task_that_is_over_is_made_again_and_a_queued_one_tells_what_is_before_it() {
    let client = Client::new().await;
    client.with_machine().await;
    client.report(1, "1.0.0").await;
    assert_eq!(client.push("", "fileToUpload", &package("Acme.Web", "1.0", "a")).await.0, StatusCode::CREATED);
    let deploy = json!({"PackageId": "Acme.Web", "EnvironmentId": "Environments-1", "Variables": {"Color": "red"}});
    for body in [
        json!({"Name": "Health", "Arguments": {"EnvironmentId": "Environments-1"}}),
        json!({"Name": "Upgrade", "Description": "All", "Arguments": {"MachineIds": ["Machines-1"]}}),
        json!({"Name": "Deploy", "Arguments": deploy}),
        json!({"Name": "Health"}),
    ] {
        client.create("/api/tasks", body).await;
    }
    let before = client.get("/api/tasks/ServerTasks-4/queued-behind").await;
    assert_eq!((before["TotalResults"].as_u64(), ids(&before)), (Some(1), vec!["ServerTasks-1"]));
    assert_eq!(client.get("/api/tasks/ServerTasks-3/queued-behind").await["TotalResults"], 0);
    let counts = client.get("/api/tasks?name=Health").await["TotalCounts"].clone();
    assert_eq!((&counts["Queued"], &counts["Success"]), (&json!(2), &json!(0)));
    for id in 1..=3 {
        let path = format!("/api/tasks/rerun/ServerTasks-{id}");
        client.refused("POST", &path, None, StatusCode::CONFLICT, "not over").await;
        let mut tx = client.app.db.write().await.unwrap();
        task_end(&mut tx, TaskId(id), TaskState::Failed, "x", client.app.now()).await.unwrap();
        tx.commit().await.unwrap();
    }
    let rollout = client.get("/api/tasks/ServerTasks-2").await["Links"]["Rollout"].as_str().unwrap().to_owned();
    client.call("POST", &format!("{rollout}/cancel"), Some(json!({}))).await;
    for id in [1, 2, 3] {
        let old = client.get(&format!("/api/tasks/ServerTasks-{id}")).await;
        assert_eq!(old["CanRerun"], true);
        let again = client.create(old["Links"]["Rerun"].as_str().unwrap(), json!({})).await;
        assert_eq!((&again["Name"], &again["Description"]), (&old["Name"], &old["Description"]));
        assert_eq!(again["Arguments"], old["Arguments"]);
    }
    client.refused("POST", "/api/tasks/rerun/ServerTasks-99", None, StatusCode::NOT_FOUND, "ServerTasks-99").await;
}

#[tokio::test]
async fn packages_are_validated_without_being_kept_and_deleted_together() {
    let client = Client::new().await;
    for version in ["1.0.0", "2.0.0", "3.0.0"] {
        assert_eq!(client.push("", "fileToUpload", &package("Acme.Web", version, "a")).await.0, StatusCode::CREATED);
    }
    let validate = async |bytes: &[u8]| client.push("/validate", "fileToUpload", bytes).await;
    assert_eq!(validate(&package("Acme.Web", "4.0.0", "a")).await, (StatusCode::OK, Value::Null));
    assert_eq!(validate(&package("Acme.Web", "1.0", "b")).await.1["Issue"], "PackageAlreadyExists");
    assert_eq!(validate(b"").await.1["Issue"], "EmptyFile");
    assert_eq!(validate(b"no zip").await.1["Issue"], "CorruptedNugetPackage");
    assert_eq!(client.get("/api/packages").await["TotalResults"], 3);
    assert_eq!(ids(&client.get("/api/packages?latest=true").await), ["packages-Acme.Web.3.0.0"]);

    let some = Some(json!({"Ids": ["packages-Acme.Web.1.0.0", "packages-Acme.Web.9.0.0"]}));
    client.refused("DELETE", "/api/packages/bulk", some, StatusCode::NOT_FOUND, "9.0.0").await;
    client.refused("DELETE", "/api/packages/bulk", Some(json!({"Ids": []})), StatusCode::BAD_REQUEST, "Ids").await;
    assert_eq!(client.get("/api/packages").await["TotalResults"], 3, "one that is not there keeps all");
    let some = Some(json!({"Ids": ["packages-Acme.Web.1.0.0", "packages-Acme.Web.2.0.0"]}));
    assert_eq!(client.call("DELETE", "/api/packages/bulk", some).await.0, StatusCode::OK);
    let path = "/api/packages/bulk?ids=packages-Acme.Web.3.0.0";
    assert_eq!(client.call("DELETE", path, None).await.0, StatusCode::OK);
    assert_eq!(client.get("/api/packages").await["TotalResults"], 0);
}
