//! Hands with rollouts and machines that really change something, and what is written down of them.

use super::*;
use crate::db::machine_events::machine_event_list;
use crate::db::policies::version_called_off;
use crate::db::rollouts::{rollout_get, rollout_machine_update};
use crate::db::version_failures::version_failure_insert;
use crate::ids::{RolloutId, SpaceId};
use crate::rollout::state::Phase;

/// A portal with so many machines that run 1.0.0, and a rollout of all of them in two waves.
async fn with_rollout(machines: i64) -> Client {
    let client = Client::new().await;
    client.create("/api/environments", json!({"Name": "Production"})).await;
    for id in 1..=machines {
        client.create("/api/machines", machine(&format!("web{id}"), u8::try_from(id).unwrap())).await;
        client.report(id, "1.0.0").await;
    }
    let waves = json!([{"Members": {"Next": 1}, "Approval": "Person"}, {"Members": "Rest", "Approval": "Person"}]);
    client.create("/api/rollouts", json!({"Strategy": {"Waves": waves}, "FailureBudget": 9})).await;
    client
}

/// Writes down that the new version failed on a machine of the rollout.
async fn fails(client: &Client, id: i64) {
    let mut tx = client.app.db.write().await.unwrap();
    let rollout = rollout_get(&mut tx, SpaceId::DEFAULT, RolloutId(1)).await.unwrap().unwrap();
    let row = rollout.machines.iter().find(|row| row.machine == MachineId(id)).unwrap().clone();
    let failed = crate::rollout::state::RolloutMachine { phase: Phase::FellBack { reason: "it broke".into() }, ..row };
    assert!(rollout_machine_update(&mut tx, RolloutId(1), &failed).await.unwrap());
    let (target, now) = (&rollout.target, client.app.now());
    version_failure_insert(&mut tx, RolloutId(1), MachineId(id), target, "linux-x64", "it broke", now).await.unwrap();
    tx.commit().await.unwrap();
}

async fn hand(client: &Client, word: &str, body: Value) -> Value {
    let (status, after) = client.call("POST", &format!("/api/rollouts/Rollouts-1/{word}"), Some(body)).await;
    assert_eq!(status, StatusCode::OK, "{word}: {after}");
    after
}

fn why(rollout: &Value, at: usize) -> String {
    rollout["Machines"][at]["Why"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_version_is_released_for_a_platform_and_a_retry_releases_it_for_one_machine_alone() {
    let client = with_rollout(5).await;
    for id in [1, 2, 3] {
        fails(&client, id).await;
    }
    let rollout = client.get("/api/rollouts/Rollouts-1").await;
    assert!(why(&rollout, 3).contains("failed on 3 machines of linux-x64"), "{rollout}");

    let after = hand(&client, "retry", json!({"MachineIds": ["Machines-1"], "Reason": "a new disk"})).await;
    assert_eq!(
        (&after["Machines"][0]["Phase"], why(&after, 0)),
        (&json!("Waiting"), String::new()),
        "it begins at once"
    );
    assert_eq!(after["Machines"][1]["Phase"], "FellBack");
    assert!(why(&after, 3).contains("failed on 3 machines"), "it is held for the others: {after}");

    let after = hand(&client, "release-version", json!({"Runtime": "linux-x64", "Reason": "it was the network"})).await;
    assert!(why(&after, 3).contains("t is in wave 2"), "{after}");
    hand(&client, "release-version", json!({"Runtime": "linux-x64"})).await;
    let said: Vec<&str> =
        after["Events"].as_array().unwrap().iter().map(|event| event["Message"].as_str().unwrap()).collect();
    assert_eq!(
        said,
        [
            "admin released 2.0.0 for linux-x64, in Rollouts-1: it was the network",
            "admin retried web1 in Rollouts-1: a new disk"
        ]
    );
    let events = client.get("/api/rollouts/Rollouts-1").await["Events"].as_array().unwrap().len();
    assert_eq!(events, 2, "once more changes nothing");
}

#[tokio::test]
async fn a_wave_is_released_once() {
    let client = with_rollout(2).await;
    for _ in 0..2 {
        let after = hand(&client, "release-wave", json!({"Wave": 2, "Reason": "it looks well"})).await;
        let wave = &after["Waves"][1];
        assert!(wave["Released"].is_string(), "{after}");
        assert_eq!((&wave["ReleasedBy"], after["Events"].as_array().unwrap().len()), (&json!("admin"), 1));
    }
}

#[tokio::test]
async fn what_is_as_wished_is_answered_and_what_makes_no_sense_is_refused() {
    let client = with_rollout(2).await;
    for word in ["cancel", "cancel"] {
        let after = hand(&client, word, json!({"Reason": "not today"})).await;
        assert_eq!(after["Events"].as_array().unwrap().len(), 1);
    }
    for (word, body) in [
        ("pause", json!({})),
        ("resume", json!({})),
        ("start", json!({})),
        ("retry", json!({})),
        ("ignore-windows", json!({"Reason": "a hole"})),
        ("release-wave", json!({"Wave": 2})),
    ] {
        let path = format!("/api/rollouts/Rollouts-1/{word}");
        client.refused("POST", &path, Some(body), StatusCode::CONFLICT, "is over already").await;
    }
}

#[tokio::test]
async fn to_cancel_the_task_of_a_rollout_is_to_cancel_that_with_who_and_why() {
    for (query, body) in [("?reason=it%20is%20late", None), ("", Some(json!({"reason": "it is late"})))] {
        let client = with_rollout(2).await;
        let task = client.get("/api/rollouts/Rollouts-1").await["TaskId"].as_str().unwrap().to_owned();
        let (status, answer) = client.call("POST", &format!("/api/tasks/{task}/cancel{query}"), body).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        let events = client.get("/api/rollouts/Rollouts-1").await["Events"].clone();
        assert_eq!(events[0]["Message"], "admin cancelled Rollouts-1: it is late", "{events}");
        let mut conn = client.app.db.read().await.unwrap();
        let said = version_called_off(&mut conn, SpaceId::DEFAULT, &Version::release(2, 0, 0)).await.unwrap();
        assert!(said.is_some(), "the automatic policy sees it");
    }
}

#[tokio::test]
async fn who_takes_a_hold_away_may_say_why() {
    let client = with_rollout(1).await;
    let path = "/api/machines/Machines-1/hold";
    for _ in 0..2 {
        client.call("PUT", path, Some(json!({"Reason": "month end"}))).await;
    }
    let (status, _) = client.call("DELETE", &format!("{path}?Reason=it%20is%20over"), None).await;
    assert_eq!(status, StatusCode::OK);
    client.call("PUT", path, Some(json!({"Reason": "a demo"}))).await;
    client.call("DELETE", path, Some(json!({"Reason": "the demo is over"}))).await;
    let mut conn = client.app.db.read().await.unwrap();
    let events = machine_event_list(&mut conn, MachineId(1)).await.unwrap();
    let of_holds = events.iter().filter(|event| ["Hold", "Release"].contains(&event.what.as_str()));
    let said: Vec<&str> = of_holds.map(|event| event.line.as_str()).collect();
    let wanted = [
        "admin released machine web1: the demo is over",
        "admin held machine web1: a demo",
        "admin released machine web1: it is over",
        "admin held machine web1: month end",
    ];
    assert_eq!(said, wanted, "the same hold once more changes nothing");
}
