//! Tasks and rollouts.

use super::*;

#[tokio::test]
async fn a_task_is_made_listed_read_and_cancelled() {
    let client = Client::new().await;
    client.with_machine().await;
    let made =
        client.create("/api/tasks", json!({"name": "health", "arguments": {"machineIds": ["Machines-1"]}})).await;
    has_keys(
        &made,
        "Id SpaceId Name Description Arguments State Completed QueueTime QueueTimeExpiry StartTime LastUpdatedTime \
         CompletedTime ServerNode Duration ErrorMessage HasBeenPickedUpByProcessor IsCompleted FinishedSuccessfully \
         HasPendingInterruptions HasWarningsOrErrors CanRerun EstimatedRemainingQueueDurationSeconds ProjectId Links",
    );
    assert_eq!((&made["Id"], &made["State"]), (&json!("ServerTasks-1"), &json!("Queued")));
    assert_eq!(made["Description"], "Check the health of web1");
    let whole = json!({"EnvironmentId": "Environments-1"});
    client.create("/api/tasks", json!({"Name": "Health", "Description": "The 5% now", "Arguments": whole})).await;
    let cancelled = client.call("POST", "/api/tasks/ServerTasks-1/cancel", None).await;
    assert_eq!((cancelled.0, &cancelled.1["State"]), (StatusCode::OK, &json!("Cancelling")));
    for (query, found) in [
        ("", vec!["ServerTasks-2", "ServerTasks-1"]),
        ("ids=ServerTasks-1,ServerTasks-9&skip=0&take=300", vec!["ServerTasks-1"]),
        ("states=Queued", vec!["ServerTasks-2"]),
        ("active=true&running=true", vec!["ServerTasks-1"]),
        ("active=false", vec![]),
        ("name=Upgrade", vec![]),
        ("environment=Environments-1", vec!["ServerTasks-2"]),
        ("project=Projects-1", vec![]),
        ("description=HEALTH%20of%20web", vec!["ServerTasks-1"]),
        ("description=5%25", vec!["ServerTasks-2"]),
        ("description=T%25w", vec![]),
        ("hasWarningsOrErrors=true", vec!["ServerTasks-1"]),
        ("hasWarningsOrErrors=false", vec!["ServerTasks-2"]),
        ("fromQueueDate=2001-01-01&toQueueDate=2126-01-01T00:00:00%2B01:00", vec!["ServerTasks-2", "ServerTasks-1"]),
        ("fromQueueDate=2126-01-01T00:00:00+01:00", vec![]),
        ("fromCompletedDate=2001-01-01T00:00:00Z", vec![]),
        ("take=1", vec!["ServerTasks-2"]),
    ] {
        assert_eq!(ids(&client.get(&format!("/api/tasks?{query}")).await), found, "{query}");
    }
    client.refused("GET", "/api/tasks?toStartDate=soon", None, StatusCode::BAD_REQUEST, "no moment").await;
    client.refused("GET", "/api/tasks?states=Dancing", None, StatusCode::BAD_REQUEST, "Dancing").await;
    for (body, text) in [
        (json!({}), "Name"),
        (json!({"Name": "Backup"}), "no task called Backup"),
        (json!({"Name": "Health", "Arguments": {"MachineIds": []}}), "names no machine"),
        (json!({"Name": "Health", "Arguments": {"MachineIds": ["Machines-9"]}}), "Machines-9"),
        (json!({"Name": "Upgrade", "Arguments": {"EnvironmentId": "Environments-9"}}), "Environments-9"),
        (json!({"Name": "Deploy", "Arguments": {"PackageId": "No", "EnvironmentId": "Environments-1"}}), "package No"),
        (json!({"Name": "Deploy", "Arguments": {"EnvironmentId": "Environments-1"}}), "PackageId"),
    ] {
        client.refused("POST", "/api/tasks", Some(body), StatusCode::BAD_REQUEST, text).await;
    }
}

#[tokio::test]
async fn a_preview_tells_what_a_rollout_would_do_and_writes_nothing() {
    let client = Client::new().await;
    client.with_machine().await;
    client.create("/api/machines", machine("web2", 2)).await;
    client.report(1, "1.0.0").await;
    client.report(2, "1.0.0").await;
    client.call("PUT", "/api/machines/Machines-2/hold", Some(json!({"Reason": "month end"}))).await;
    let body = json!({"EnvironmentIds": ["Environments-1"], "MaxInFlight": "50%"});
    let (status, preview) = client.call("POST", "/api/rollouts/preview", Some(body)).await;
    assert_eq!(status, StatusCode::OK, "{preview}");
    has_keys(
        &preview,
        "TargetVersion Strategy MaxInFlight FailureBudget Total Upgraded Waves NotUpgraded Busy Roles Finish \
         ExpectedFinish StopsBecause Measured",
    );
    assert_eq!((&preview["Total"], &preview["Upgraded"], &preview["MaxInFlight"]), (&json!(2), &json!(1), &json!(1)));
    assert_eq!((&preview["Finish"], &preview["ExpectedFinish"]), (&json!("Unknown"), &Value::Null));
    assert_eq!(preview["Waves"][0]["MachineIds"], json!(["Machines-1"]));
    let held = &preview["NotUpgraded"][0];
    assert_eq!((&held["MachineId"], &held["Code"]), (&json!("Machines-2"), &json!("Held")));
    assert_eq!(held["Reason"], "Admin holds it: month end.");
    assert_eq!(preview["Roles"], json!([]), "one of two is not more than half");
    assert_eq!(client.get("/api/rollouts").await["TotalResults"], 0);
    let none = Some(json!({"MachineIds": ["Machines-9"]}));
    client.refused("POST", "/api/rollouts/preview", none, StatusCode::BAD_REQUEST, "Machines-9").await;
}

#[tokio::test]
async fn every_task_is_called_what_its_asker_called_it() {
    let client = Client::new().await;
    client.with_machine().await;
    client.report(1, "1.0.0").await;
    client.push("", "fileToUpload", &package("Acme.Web", "1.0", "a")).await;
    let deploy = json!({"PackageId": "Acme.Web", "EnvironmentId": "Environments-1"});
    for (name, arguments) in [("Health", json!({})), ("Deploy", deploy), ("Upgrade", json!({}))] {
        let task = |description: &str| json!({"Name": name, "Description": description, "Arguments": arguments});
        let made = client.create("/api/tasks", task(" Nightly <run> ")).await;
        assert_eq!(made["Description"], "Nightly <run>", "{name}");
        let kept = client.get(made["Links"]["Self"].as_str().unwrap()).await;
        assert_eq!(kept["Description"], "Nightly <run>", "{name}");
        let long = "x".repeat(1001);
        client.refused("POST", "/api/tasks", Some(task(&long)), StatusCode::BAD_REQUEST, "at most 1000").await;
    }
    let unnamed = client.create("/api/tasks", json!({"Name": "Health", "Description": " "})).await;
    assert_eq!(unnamed["Description"], "Check the health of web1");
}

#[tokio::test]
async fn the_details_of_a_task_hold_one_child_for_each_machine() {
    let client = Client::new().await;
    client.with_machine().await;
    client.create("/api/machines", machine("web2", 2)).await;
    client.create("/api/tasks", json!({"Name": "Health"})).await;
    let id = TaskId(1);
    let mut tx = client.app.db.write().await.unwrap();
    let now = client.app.now();
    task_begin(&mut tx, id, now).await.unwrap();
    task_log_append(&mut tx, id, None, now, LogCategory::Info, "begun").await.unwrap();
    for text in ["one", "two", "<three>"] {
        task_log_append(&mut tx, id, Some(MachineId(2)), now, LogCategory::Warning, text).await.unwrap();
    }
    tx.commit().await.unwrap();
    let details = client.get("/api/tasks/ServerTasks-1/details?verbose=true&tail=2").await;
    has_keys(&details, "Task ActivityLogs Progress PhysicalLogSize Links");
    has_keys(&details["Progress"], "ProgressPercentage EstimatedTimeRemaining");
    let root = &details["ActivityLogs"][0];
    has_keys(
        root,
        "Id Name Status Started Ended Children ShowAtSummaryLevel LogElements ProgressPercentage ProgressMessage",
    );
    assert_eq!((&root["Status"], &root["LogElements"][0]["MessageText"]), (&json!("Running"), &json!("begun")));
    let children = root["Children"].as_array().unwrap();
    assert_eq!(children.iter().map(|child| child["Name"].as_str().unwrap()).collect::<Vec<_>>(), ["web1", "web2"]);
    let elements = children[1]["LogElements"].as_array().unwrap();
    has_keys(&elements[0], "Category OccurredAt MessageText Detail");
    assert_eq!(elements.iter().map(|e| e["MessageText"].as_str().unwrap()).collect::<Vec<_>>(), ["two", "<three>"]);
    let request = Request::get("/api/tasks/ServerTasks-1/raw").header("X-Octopus-ApiKey", &client.key);
    let raw = client.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(raw.headers()["content-type"], "text/plain; charset=utf-8");
    let text = String::from_utf8(raw.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap();
    assert!(text.contains("Info    | begun\n") && text.contains("Warning | web2 | <three>\n"), "{text}");
}

#[tokio::test]
async fn an_upgrade_is_a_rollout_with_a_task() {
    let client = Client::new().await;
    client.with_machine().await;
    client.report(1, "1.0.0").await;
    let arguments = json!({"EnvironmentId": "Environments-1", "RestrictedTo": "DeploymentTargets"});
    let body = json!({"Name": "Upgrade", "Description": "Upgrade Tentacles in Production", "Arguments": arguments});
    let task = client.create("/api/Spaces-1/tasks", body).await;
    assert_eq!((&task["Name"], &task["Description"]), (&json!("Upgrade"), &json!("Upgrade Tentacles in Production")));
    assert_eq!(task["Links"]["Rollout"], "/api/Spaces-1/rollouts/Rollouts-1");
    let rollout = client.get("/api/rollouts/Rollouts-1").await;
    has_keys(&rollout, "Id TaskId TargetVersion MaxInFlight FailureBudget State StateReason Counts Machines Links");
    has_keys(
        &rollout["Machines"][0],
        "MachineId Name Phase PhaseSince DeadlineAt Reason FromVersion ToVersion Attempt",
    );
    assert_eq!((&rollout["TargetVersion"], &rollout["State"]), (&json!("2.0.0"), &json!("Running")));
    assert_eq!((&rollout["Counts"]["Waiting"], &rollout["Counts"]["Total"]), (&json!(1), &json!(1)));
    let details = client.get("/api/tasks/ServerTasks-1/details").await;
    assert_eq!(details["ActivityLogs"][0]["Children"][0]["Name"], "web1");
    assert_eq!(ids(&client.get("/api/machines/Machines-1/tasks").await), ["ServerTasks-1"]);
    let (status, cancelled) = client.call("POST", "/api/rollouts/Rollouts-1/cancel", None).await;
    assert_eq!(status, StatusCode::OK);
    assert!(cancelled["CancelRequested"].is_string());
    assert_eq!(client.get("/api/tasks/ServerTasks-1").await["State"], "Cancelling");

    let body = json!({"machineIds": ["Machines-1"], "maxInFlight": 3, "failureBudget": 2, "name": "Again"});
    let second = client.create("/api/rollouts", body).await;
    assert_eq!((&second["MaxInFlight"], &second["FailureBudget"]), (&json!(3), &json!(2)));
    assert_eq!(client.get("/api/tasks/ServerTasks-2").await["Description"], "Again");
    assert_eq!(ids(&client.get("/api/rollouts?take=1").await), ["Rollouts-2"]);
    for (body, status, text) in [
        (json!({"MachineIds": []}), StatusCode::BAD_REQUEST, "names nothing"),
        (json!({"TargetVersion": "x"}), StatusCode::BAD_REQUEST, "is not a version"),
        (json!({"TargetVersion": "9.0.0"}), StatusCode::BAD_REQUEST, "9.0.0"),
        (json!({"MaxInFlight": 0}), StatusCode::BAD_REQUEST, "between 1 and"),
        (json!({"MachineIds": ["Machines-9"]}), StatusCode::BAD_REQUEST, "Machines-9"),
        (json!({"Roles": ["mail"]}), StatusCode::BAD_REQUEST, "no machine was chosen"),
        (json!({"MaxInFlight": "120%"}), StatusCode::BAD_REQUEST, "between 1 and 100"),
        (
            json!({"Strategy": {"Waves": [{"Members": "Rest"}, {"Members": "Rest"}]}}),
            StatusCode::BAD_REQUEST,
            "Wave 2 comes",
        ),
        (json!({"StartAt": "tomorrow"}), StatusCode::BAD_REQUEST, "is no moment"),
    ] {
        client.refused("POST", "/api/rollouts", Some(body), status, text).await;
    }
}

#[tokio::test]
async fn a_deployment_is_asked_for_as_a_task() {
    let client = Client::new().await;
    client.with_machine().await;
    client.push("", "fileToUpload", &package("Acme.Web", "1.0", "a")).await;
    let arguments = json!({
        "packageId": "acme.web", "environmentId": "Environments-1", "roles": ["web"], "variables": {"Color": "red"},
    });
    let task = client.create("/api/tasks", json!({"Name": "Deploy", "Arguments": arguments})).await;
    assert_eq!(task["Description"], "Deploy Acme.Web 1.0.0 to Production");
    assert_eq!((&task["Arguments"]["PackageId"], &task["Arguments"]["Version"]), (&json!("Acme.Web"), &json!("1.0.0")));
    assert_eq!(task["Arguments"]["Variables"]["Color"], "red");
    let nobody = json!({"PackageId": "Acme.Web", "EnvironmentId": "Environments-1", "Roles": ["mail"]});
    let body = Some(json!({"Name": "Deploy", "Arguments": nobody}));
    client.refused("POST", "/api/tasks", body, StatusCode::BAD_REQUEST, "no enabled machine with the role mail").await;
}

#[tokio::test]
async fn a_rollout_has_waves_and_takes_hands_that_are_written_down() {
    let client = Client::new().await;
    client.with_machine().await;
    client.report(1, "1.0.0").await;
    let waves = json!([{"Name": "First", "Members": {"Next": "10%"}, "SoakSeconds": 60}, {"Members": "Rest"}]);
    let strategy = json!({"waves": waves, "maxInFlight": "25%", "failureBudget": 2});
    let body = json!({"Strategy": strategy, "Roles": ["WEB"], "StartAt": "2126-11-26T22:00:00+02:00"});
    let rollout = client.create("/api/rollouts", body).await;
    assert_eq!(
        (&rollout["State"], &rollout["StartAt"]),
        (&json!("Scheduled"), &json!("2126-11-26T20:00:00.000+00:00"))
    );
    assert_eq!(rollout["Strategy"]["MaxInFlight"], "25%");
    let wave = &rollout["Waves"][0];
    assert_eq!((&wave["Name"], &wave["Total"], &wave["SoakSeconds"]), (&json!("First"), &json!(1), &json!(60.0)));
    let one = client.get("/api/rollouts/Rollouts-1").await;
    assert_eq!(one["Machines"][0]["Why"], "The rollout begins at 2126-11-26 20:00 UTC.");

    for (hand, body, state) in [
        ("start", json!({}), "Running"),
        ("pause", json!({"Reason": "lunch"}), "Paused"),
        ("pause", json!({"Reason": "lunch"}), "Paused"),
        ("resume", json!({}), "Running"),
        ("skip", json!({"MachineId": "Machines-1", "Reason": "its owner asked"}), "Running"),
        ("retry", json!({}), "Running"),
    ] {
        let (status, after) = client.call("POST", &format!("/api/rollouts/Rollouts-1/{hand}"), Some(body)).await;
        assert_eq!((status, &after["State"]), (StatusCode::OK, &json!(state)), "{hand}: {after}");
    }
    let one = client.get("/api/rollouts/Rollouts-1").await;
    let said: Vec<_> =
        one["Events"].as_array().unwrap().iter().map(|event| event["Action"].as_str().unwrap()).collect();
    assert_eq!(said, ["Skip", "Resume", "Pause", "StartNow"], "what changed nothing is not written down");
    assert_eq!(one["Machines"][0]["Reason"], "admin left it out: its owner asked");
    let path = "/api/rollouts/Rollouts-1/release-wave";
    client.refused("POST", path, Some(json!({"Wave": 7})), StatusCode::BAD_REQUEST, "There is no wave 7").await;
    client.refused("POST", path, Some(json!({})), StatusCode::BAD_REQUEST, "Wave is missing").await;
}

#[tokio::test]
async fn a_machine_is_held_with_a_reason_and_let_go() {
    let client = Client::new().await;
    client.with_machine().await;
    let path = "/api/Spaces-1/machines/Machines-1/hold";
    client.refused("PUT", path, Some(json!({})), StatusCode::BAD_REQUEST, "Reason is missing").await;
    let body = json!({"Reason": "month end", "Until": "2126-01-01T00:00:00Z"});
    let (status, hold) = client.call("PUT", path, Some(body)).await;
    assert_eq!((status, &hold["Reason"], &hold["HeldBy"]), (StatusCode::OK, &json!("month end"), &json!("admin")));
    assert_eq!(client.get(path).await["Until"], "2126-01-01T00:00:00.000+00:00");
    for _ in 0..2 {
        assert_eq!(client.call("DELETE", path, None).await.0, StatusCode::OK);
    }
    client.refused("GET", path, None, StatusCode::NOT_FOUND, "hold").await;
}
