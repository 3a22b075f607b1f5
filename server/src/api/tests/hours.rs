//! When upgrades may begin, and whether they begin by themselves.

use super::*;

#[tokio::test]
async fn an_environment_has_maintenance_windows_and_an_automatic_policy() {
    let client = Client::new().await;
    let windows = json!([{"Cron": "0 22 * * 1-5", "DurationMinutes": 120, "TimeZone": "Europe/Berlin"}]);
    let policy = json!({"OnNewBundle": {"MaxInFlight": "5%"}});
    let body = json!({"Name": "Live", "MaintenanceWindows": windows, "AutomaticUpgrade": policy});
    let made = client.create("/api/environments", body).await;
    assert_eq!(made["MaintenanceWindows"], windows);
    assert_eq!(made["AutomaticUpgrade"]["OnNewBundle"]["MaxInFlight"], "5%");
    let path = "/api/environments/Environments-1";
    let (_, renamed) = client.call("PUT", path, Some(json!({"Name": "Production"}))).await;
    assert_eq!(renamed["MaintenanceWindows"], windows, "what is left out stays");
    assert_eq!(client.get("/api/environments").await["Items"][0]["MaintenanceWindows"], windows);
    let (_, without) =
        client.call("PUT", path, Some(json!({"MaintenanceWindows": [], "AutomaticUpgrade": "Never"}))).await;
    assert_eq!((&without["MaintenanceWindows"], &without["AutomaticUpgrade"]), (&json!([]), &json!("Never")));
    for (body, words) in [
        (
            json!({"MaintenanceWindows": [{"Cron": "0 25 * * *", "DurationMinutes": 60}]}),
            "is no hour, which is 0 to 23",
        ),
        (json!({"MaintenanceWindows": [{"Cron": "0 2 * * *", "DurationMinutes": 0}]}), "must last 1 to"),
        (json!({"AutomaticUpgrade": {"OnNewBundle": {"MaxInFlight": 0}}}), "in flight must be between"),
    ] {
        client.refused("PUT", path, Some(body), StatusCode::BAD_REQUEST, words).await;
    }
    assert_eq!(client.get(path).await["Name"], "Production", "what was refused changed nothing");
}

#[tokio::test]
async fn a_freeze_keeps_machines_from_beginning_and_says_why_until_it_is_taken_back() {
    let client = Client::new().await;
    client.with_machine().await;
    client.report(1, "1.0.0").await;
    let freeze = json!({"Until": "2126-01-02T00:00:00Z", "Reason": "Month end", "EnvironmentIds": ["Environments-1"]});
    let made = client.create("/api/freezes", freeze).await;
    has_keys(&made, "Id From Until Reason EnvironmentIds CreatedBy Created Links");
    assert_eq!((&made["Id"], &made["CreatedBy"]), (&json!("Freezes-1"), &json!("admin")));
    client.create("/api/rollouts", json!({})).await;
    let why = "Upgrades are frozen until 2126-01-02 00:00 UTC: Month end.";
    assert_eq!(client.get("/api/rollouts/Rollouts-1").await["Machines"][0]["Why"], why);
    let path = "/api/rollouts/Rollouts-1/ignore-windows";
    client.refused("POST", path, Some(json!({})), StatusCode::BAD_REQUEST, "must say why").await;
    let (status, after) = client.call("POST", path, Some(json!({"Reason": "a hole"}))).await;
    assert_eq!((status, &after["Machines"][0]["Why"]), (StatusCode::OK, &Value::Null), "{after}");
    assert_eq!(after["Events"][0]["Action"], "IgnoreWindows");
    assert_eq!(ids(&client.get("/api/freezes").await), ["Freezes-1"]);
    assert_eq!(client.call("DELETE", "/api/freezes/Freezes-1", None).await.0, StatusCode::OK);
    client.refused("GET", "/api/freezes/Freezes-1", None, StatusCode::NOT_FOUND, "Freezes-1").await;
    for (body, words) in [
        (json!({"Until": "2026-01-02T00:00:00Z", "From": "2026-01-03T00:00:00Z", "Reason": "x"}), "must end after"),
        (json!({"Until": "2126-01-02T00:00:00Z"}), "needs a reason"),
        (json!({"Until": "tomorrow", "Reason": "x"}), "is no moment"),
        (json!({"Until": "2126-01-02T00:00:00Z", "Reason": "x", "EnvironmentIds": []}), "at least one"),
        (
            json!({"Until": "2126-01-02T00:00:00Z", "Reason": "x", "EnvironmentIds": ["Environments-9"]}),
            "no environment",
        ),
    ] {
        client.refused("POST", "/api/freezes", Some(body), StatusCode::BAD_REQUEST, words).await;
    }
}
