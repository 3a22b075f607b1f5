//! The list of rollouts, by every filter.

use super::*;

/// The ids of the rollouts that a query finds, and how many it says there are.
async fn found(client: &Client, query: &str) -> (Vec<String>, u64) {
    let page = client.get(&format!("/api/rollouts?{query}")).await;
    let ids = page["Items"].as_array().unwrap().iter().map(|item| item["Id"].as_str().unwrap().to_owned());
    (ids.collect(), page["TotalResults"].as_u64().unwrap())
}

#[tokio::test]
async fn rollouts_are_listed_by_every_filter() {
    let client = Client::new().await;
    client.with_machine().await;
    client.report(1, "1.0.0").await;
    for _ in 0..3 {
        client.create("/api/rollouts", json!({})).await;
    }
    client.call("POST", "/api/rollouts/Rollouts-2/pause", Some(json!({}))).await;
    let one = |id: &str| (vec![format!("Rollouts-{id}")], 1);
    let all = ["3", "2", "1"].map(|id| format!("Rollouts-{id}")).to_vec();
    let none = (Vec::new(), 0);
    for (query, wanted) in [
        ("", (all.clone(), 3)),
        ("take=1&skip=1", (vec!["Rollouts-2".to_owned()], 3)),
        ("ids=Rollouts-3,Rollouts-9", one("3")),
        ("states=paused", one("2")),
        ("states=Paused,Running&take=1", (vec!["Rollouts-3".to_owned()], 3)),
        ("active=true", (all.clone(), 3)),
        ("active=false", none.clone()),
        ("states=Paused&active=false", none.clone()),
        ("machine=Machines-1", (all.clone(), 3)),
        ("machine=Machines-2", none.clone()),
        ("environment=Environments-1&states=Paused", one("2")),
        ("environment=Environments-2", none.clone()),
        ("targetVersion=2.0", (all.clone(), 3)),
        ("targetVersion=2.0.1", none.clone()),
        ("undoOf=Rollouts-1", none.clone()),
    ] {
        assert_eq!(found(&client, query).await, wanted, "{query}");
    }
    for (query, words) in
        [("states=Sleeping", "Sleeping is no state"), ("machine=one", "machine"), ("targetVersion=x", "x")]
    {
        let path = format!("/api/rollouts?{query}");
        client.refused("GET", &path, None, StatusCode::BAD_REQUEST, words).await;
    }
}
