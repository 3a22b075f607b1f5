//! Environments and machines.

use super::*;
use crate::db::machine_events::machine_event_list;

#[tokio::test]
async fn environments_are_made_changed_listed_and_deleted() {
    let client = Client::new().await;
    let made = client.create("/api/Spaces-1/environments", json!({"name": "Staging", "SPACEID": "Spaces-1"})).await;
    has_keys(
        &made,
        "Id SpaceId Name Slug Description SortOrder UseGuidedFailure AllowDynamicInfrastructure EnvironmentTags Links",
    );
    assert_eq!((&made["Id"], &made["Slug"]), (&json!("Environments-1"), &json!("staging")));
    assert_eq!(made["Links"]["Self"], "/api/Spaces-1/environments/Environments-1");
    client.create("/api/environments", json!({"Name": "Production", "Description": "live"})).await;
    let path = "/api/environments/Environments-2";
    let (status, changed) = client.call("PUT", path, Some(json!({"Name": "Live", "Links": {}}))).await;
    assert_eq!((status, &changed["Name"], &changed["Description"]), (StatusCode::OK, &json!("Live"), &json!("live")));
    assert_eq!(ids(&client.get("/api/environments?ids=Environments-2,Environments-7").await), ["Environments-2"]);
    assert_eq!(ids(&client.get("/api/environments?partialName=STAG").await), ["Environments-1"]);
    assert_eq!(ids(&client.get("/api/environments?name=stag").await), Vec::<&str>::new());
    assert_eq!(client.get("/api/environments").await["ItemsPerPage"], 10);
    let taken = Some(json!({"Name": "LIVE"}));
    client.refused("POST", "/api/environments", taken, StatusCode::BAD_REQUEST, "LIVE").await;
    let unfit = Some(json!({"Name": "a/b"}));
    client.refused("POST", "/api/environments", unfit, StatusCode::BAD_REQUEST, "a/b").await;
    client.refused("POST", "/api/environments", Some(json!({})), StatusCode::BAD_REQUEST, "name").await;
    client.refused("POST", "/api/environments", Some(json!([1])), StatusCode::BAD_REQUEST, "not what is wanted").await;
    client.refused("POST", "/api/environments", None, StatusCode::BAD_REQUEST, "not JSON").await;
    client.refused("GET", "/api/environments?take=x", None, StatusCode::BAD_REQUEST, "take").await;
    client.create("/api/machines", machine("web1", 1)).await;
    client.refused("DELETE", "/api/environments/Environments-1", None, StatusCode::BAD_REQUEST, "machine").await;
    assert_eq!(client.call("DELETE", path, None).await.0, StatusCode::OK);
    assert_eq!(ids(&client.get("/api/environments/all").await), ["Environments-1"]);
}

#[tokio::test]
async fn a_machine_tells_its_version_beside_the_bundled_one() {
    let client = Client::new().await;
    let made = client.with_machine().await;
    has_keys(
        &made,
        "Id SpaceId Name Slug Thumbprint Uri IsDisabled EnvironmentIds Roles MachinePolicyId Status HealthStatus \
         HasLatestCalamari StatusSummary IsInProcess Endpoint OperatingSystem Architecture Links TenantIds TenantTags \
         TenantedDeploymentParticipation",
    );
    has_keys(&made["Endpoint"], "CommunicationStyle Uri Thumbprint ProxyId TentacleVersionDetails");
    assert_eq!((&made["Status"], &made["HealthStatus"]), (&json!("Unknown"), &json!("Unknown")));
    assert_eq!(made["Roles"], json!(["app", "web"]));
    client.report(1, "1.0.0").await;
    client.app.clock.advance(Duration::from_secs(12));
    let seen = client.get("/api/machines/Machines-1").await;
    assert_eq!((&seen["Status"], &seen["HealthStatus"]), (&json!("NeedsUpgrade"), &json!("Healthy")));
    assert_eq!(seen["StatusSummary"], "It answered 12 s ago, runs 1.0.0 and is healthy.");
    assert_eq!((&seen["OperatingSystem"], &seen["Architecture"]), (&json!("Debian GNU/Linux 12"), &json!("x64")));
    let details = json!({
        "UpgradeLocked": false, "Version": "1.0.0",
        "UpgradeSuggested": true, "UpgradeRequired": false, "UpgradeAvailable": true,
    });
    assert_eq!(seen["Endpoint"]["TentacleVersionDetails"], details);
    let connection = client.get("/api/machines/Machines-1/connection").await;
    has_keys(&connection, "Id MachineId CurrentTentacleVersion LastChecked Status Logs Links");
    has_keys(&connection["Logs"][0], "Category Detail MessageText Number OccurredAt");
    assert_eq!(connection["CurrentTentacleVersion"], "1.0.0");
    client.report(1, "2.0.0").await;
    assert_eq!(client.get("/api/machines/Machines-1").await["Status"], "Online");
}

#[tokio::test]
async fn an_upgrade_lock_is_a_hold_without_an_end_and_every_machine_says_why_it_is_not_upgraded() {
    let client = Client::new().await;
    client.with_machine().await;
    let path = "/api/machines/Machines-1";
    let state = |machine: &Value| machine["UpgradeState"]["Code"].as_str().unwrap().to_owned();
    assert_eq!(state(&client.get(path).await), "NeverAsked");
    client.report(1, "1.0.0").await;
    assert_eq!(state(&client.get(path).await), "Available");
    let lock = |locked: bool| json!({"Endpoint": {"TentacleVersionDetails": {"UpgradeLocked": locked}}});
    let (status, locked) = client.call("PUT", path, Some(lock(true))).await;
    let details = &locked["Endpoint"]["TentacleVersionDetails"];
    assert_eq!((status, &details["UpgradeLocked"]), (StatusCode::OK, &json!(true)));
    assert_eq!((&details["UpgradeSuggested"], &details["UpgradeAvailable"]), (&json!(false), &json!(true)));
    assert_eq!(state(&locked), "Hindered");
    let message = locked["UpgradeState"]["Message"].as_str().unwrap();
    assert!(message.contains("but admin holds it: locked through the REST API"), "{message}");
    let hold = client.get("/api/machines/Machines-1/hold").await;
    assert_eq!((&hold["HeldBy"], &hold["Until"]), (&json!("admin"), &Value::Null));

    client.call("PUT", "/api/machines/Machines-1/hold", Some(json!({"Reason": "month end"}))).await;
    client.call("PUT", path, Some(lock(true))).await;
    let hold = client.get("/api/machines/Machines-1/hold").await;
    assert_eq!(hold["Reason"], "month end", "a hold that is there stays");
    client.call("PUT", path, Some(json!({"Roles": ["web"]}))).await;
    assert_eq!(state(&client.get(path).await), "Hindered", "who says nothing of the lock leaves it as it is");
    client.call("PUT", path, Some(lock(false))).await;
    let listed = client.get("/api/machines/all").await;
    assert_eq!(state(&listed[0]), "Available");
    assert_eq!(listed[0]["Endpoint"]["TentacleVersionDetails"]["UpgradeSuggested"], true);
    let events = machine_event_list(&mut client.app.db.read().await.unwrap(), MachineId(1)).await.unwrap();
    let lines: Vec<_> = events.iter().map(|event| event.line.as_str()).collect();
    assert_eq!(
        lines,
        [
            "admin released machine web1",
            "admin changed machine web1",
            "admin held machine web1: month end",
            "admin held machine web1: locked through the REST API",
            "admin added machine web1"
        ]
    );
}

#[tokio::test]
async fn machines_are_filtered_paged_changed_and_deleted() {
    let client = Client::new().await;
    client.with_machine().await;
    for n in 2..=5 {
        client.create("/api/machines", machine(&format!("db{n}"), n)).await;
    }
    let mut walked = Vec::new();
    let mut next = Some("/api/machines?take=2&roles=web".to_owned());
    while let Some(path) = next {
        let page = client.get(&path).await;
        has_keys(&page, "ItemType TotalResults ItemsPerPage NumberOfPages LastPageNumber Items Links");
        assert_eq!((&page["TotalResults"], &page["NumberOfPages"]), (&json!(5), &json!(3)));
        walked.extend(ids(&page).iter().map(|id| (*id).to_owned()));
        next = page["Links"]["Page.Next"].as_str().map(str::to_owned);
    }
    assert_eq!(walked, ["Machines-2", "Machines-3", "Machines-4", "Machines-5", "Machines-1"]);
    for (query, found) in [
        ("name=WEB1", vec!["Machines-1"]),
        ("partialName=db&skip=3", vec!["Machines-5"]),
        ("ids=Machines-1,Machines-3", vec!["Machines-3", "Machines-1"]),
        ("roles=mail", vec![]),
        ("isDisabled=true", vec![]),
        ("healthStatuses=Healthy,Unhealthy", vec![]),
        ("environmentIds=Environments-7", vec![]),
        ("tenantIds=Tenants-1", vec![]),
        ("tenantTags=Region%2FEast", vec![]),
        ("deploymentId=Deployments-1", vec![]),
        (&format!("thumbprint={}", Thumbprint([4; 32])), vec!["Machines-4"]),
    ] {
        assert_eq!(ids(&client.get(&format!("/api/machines?{query}")).await), found, "{query}");
    }
    let mut whole = client.get("/api/machines/Machines-1").await;
    whole["IsDisabled"] = json!(true);
    whole["Roles"] = json!(["mail"]);
    let (status, changed) = client.call("PUT", "/api/machines/Machines-1", Some(whole)).await;
    assert_eq!((status, &changed["Status"], &changed["Roles"]), (StatusCode::OK, &json!("Disabled"), &json!(["mail"])));
    assert_eq!(client.get("/api/machineroles/all").await, json!(["app", "mail", "web"]));
    assert_eq!(client.get("/api/tasks").await["TotalResults"], 0, "nothing to check: it is where it was");
    let moved = json!({"Endpoint": {"Uri": "https://10.0.0.99:10933/"}});
    let (_, changed) = client.call("PUT", "/api/machines/Machines-2", Some(moved)).await;
    assert_eq!((&changed["Uri"], &changed["Name"]), (&json!("https://10.0.0.99:10933/"), &json!("db2")));
    assert_eq!(ids(&client.get("/api/machines/Machines-2/tasks").await), ["ServerTasks-1"], "it is checked there");
    assert_eq!(client.call("DELETE", "/api/machines/Machines-1", None).await.0, StatusCode::OK);
    assert_eq!(client.get("/api/machines/all").await.as_array().unwrap().len(), 4);
}

#[tokio::test]
async fn a_machine_that_cannot_be_is_refused_with_a_sentence() {
    let client = Client::new().await;
    client.with_machine().await;
    let without = |pointer: &str, key: &str| {
        let mut body = machine("web2", 2);
        body.pointer_mut(pointer).unwrap().as_object_mut().unwrap().remove(key);
        Some(body)
    };
    let with = |pointer: &str, value: Value| {
        let mut body = machine("web2", 2);
        *body.pointer_mut(pointer).unwrap() = value;
        Some(body)
    };
    for (body, text) in [
        (without("", "Name"), "Name"),
        (without("", "EnvironmentIds"), "environment"),
        (without("/Endpoint", "Uri"), "Endpoint.Uri"),
        (without("/Endpoint", "Thumbprint"), "Endpoint.Thumbprint"),
        (with("/Endpoint/Uri", json!("http://a")), "https"),
        (with("/Endpoint/Thumbprint", json!("AB")), "64 hexadecimal digits"),
        (with("/Endpoint/CommunicationStyle", json!("Ssh")), "TentaclePassive"),
        (with("/EnvironmentIds", json!(["Environments-9"])), "Environments-9"),
        (with("/EnvironmentIds", json!(["Machines-1"])), "Environments-1"),
        (with("/Name", json!("WEB1")), "WEB1"),
    ] {
        client.refused("POST", "/api/machines", body, StatusCode::BAD_REQUEST, text).await;
    }
}

#[tokio::test]
async fn discovery_tells_the_thumbprint_or_why_not() {
    let client = Client::new().await;
    let running = FakeMachine::running(Version::release(1, 0, 0));
    let thumbprint = running.thumbprint.to_string();
    client.tentacles.machines().insert(MachineId(1), running);
    let found = client.get("/api/machines/discover?host=web9&port=10933&type=TentaclePassive").await;
    has_keys(&found, "Name Uri Thumbprint Endpoint Status HealthStatus");
    assert!(found.get("Id").is_none());
    assert_eq!(found["Endpoint"]["Thumbprint"], thumbprint);
    assert_eq!(found["Endpoint"]["Uri"], "https://web9:10933/");
    client.tentacles.machines().clear();
    for (query, text) in [
        ("host=web9&port=1", "nobody answers at web9:1."),
        ("", "host"),
        ("host=a%20b", "a b"),
        ("host=web9&port=x", "port"),
        ("host=web9&type=TentacleActive", "TentaclePassive"),
    ] {
        let path = format!("/api/machines/discover?{query}");
        client.refused("GET", &path, None, StatusCode::BAD_REQUEST, text).await;
    }
}

#[tokio::test]
async fn the_summary_counts_who_needs_an_upgrade() {
    let client = Client::new().await;
    client.with_machine().await;
    client.create("/api/environments", json!({"Name": "Empty"})).await;
    client.create("/api/machines", machine("web2", 2)).await;
    client.report(1, "1.0.0").await;
    client.report(2, "2.0.0").await;
    let summary = client.get("/api/environments/summary").await;
    let keys = "TotalMachines TotalDisabledMachines MachineHealthStatusSummaries MachineEndpointSummaries \
                DeploymentTargetSummaries MachineTenantSummaries MachineTenantTagSummaries TentacleUpgradesRequired \
                MachineIdsForTentacleUpgrade MachineIdsForCalamariUpgrade";
    has_keys(&summary, keys);
    assert_eq!((&summary["TotalMachines"], &summary["TentacleUpgradesRequired"]), (&json!(2), &json!(true)));
    assert_eq!(summary["MachineIdsForTentacleUpgrade"], json!(["Machines-1"]));
    assert_eq!(summary["MachineHealthStatusSummaries"]["Healthy"], 2);
    let environments = summary["EnvironmentSummaries"].as_array().unwrap();
    assert_eq!(environments.len(), 2);
    has_keys(&environments[0], keys);
    assert_eq!(environments[0]["Environment"]["Name"], "Production");
    assert_eq!(environments[1]["TentacleUpgradesRequired"], false);
    for (query, machines, environments) in [
        ("machinePartialName=WEB2", 1, 2),
        ("roles=nobody", 0, 2),
        ("hideEmptyEnvironments=true", 2, 1),
        ("hideEmptyEnvironments=true&isDisabled=true", 0, 0),
        ("partialName=empty", 0, 1),
    ] {
        let summary = client.get(&format!("/api/environments/summary?{query}")).await;
        let shown = summary["EnvironmentSummaries"].as_array().unwrap().len();
        assert_eq!((&summary["TotalMachines"], shown), (&json!(machines), environments), "{query}");
    }
    client.call("PUT", "/api/machines/Machines-1", Some(json!({"IsDisabled": true}))).await;
    let summary = client.get("/api/environments/summary").await;
    assert_eq!((&summary["TotalDisabledMachines"], &summary["TentacleUpgradesRequired"]), (&json!(1), &json!(false)));
}
