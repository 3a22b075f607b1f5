//! Wishes: what is refused, what is cancelled, and health checks.

use super::*;

#[tokio::test]
async fn a_cancelled_deployment_is_cancelled_at_the_machines() {
    let fixture = Fixture::new().await;
    fixture.fake.set(|inside| inside.ends_as = None);
    let id = fixture.deploy(&["web"]).await;
    let _portal = fixture.run();
    until("both work", async || fixture.parts(id).await.iter().all(|part| part.log_seq == 3)).await;
    task_cancel(&fixture.app, SpaceId::DEFAULT, id, Who { name: "alice", why: "" }).await.unwrap();
    let task = fixture.ended(id).await;
    assert_eq!(task.state, TaskState::Canceled);
    assert_eq!(fixture.fake.count("cancel"), 2);
    let error = task_cancel(&fixture.app, SpaceId::DEFAULT, id, Who { name: "alice", why: "" }).await.unwrap_err();
    assert_eq!(error.to_string(), "ServerTasks-1 cannot be cancelled: it is over, its state is Canceled");
}

#[tokio::test]
async fn a_wish_to_cancel_survives_the_portal_and_reaches_running_work() {
    let fixture = Fixture::new().await;
    fixture.fake.set(|inside| inside.ends_as = None);
    let id = fixture.deploy(&["db"]).await;
    let portal = fixture.run();
    until("it works", async || fixture.parts(id).await[0].log_seq == 3).await;
    portal.kill().await;
    task_cancel(&fixture.app, SpaceId::DEFAULT, id, Who { name: "alice", why: "" }).await.unwrap();
    assert_eq!(fixture.task(id).await.state, TaskState::Cancelling);
    let _portal = fixture.run();
    assert_eq!(fixture.ended(id).await.state, TaskState::Canceled);
}

#[tokio::test]
async fn a_queued_task_that_is_cancelled_calls_nobody() {
    let fixture = Fixture::new().await;
    let id = fixture.deploy(&[]).await;
    task_cancel(&fixture.app, SpaceId::DEFAULT, id, Who { name: "alice", why: "" }).await.unwrap();
    let _portal = fixture.run();
    assert_eq!(fixture.ended(id).await.state, TaskState::Canceled);
    assert_eq!(fixture.fake.get(|inside| inside.calls.len()), 0);
}

#[tokio::test]
async fn a_health_task_asks_every_enabled_machine() {
    let fixture = Fixture::new().await;
    let mut tx = fixture.app.db.write().await.unwrap();
    let disabled = NewMachine { is_disabled: true, ..machine("db1", "db", 3, fixture.environment) };
    machine_update(&mut tx, SpaceId::DEFAULT, fixture.machines[2], &disabled).await.unwrap();
    tx.commit().await.unwrap();
    fixture.fake.set(|inside| inside.unreachable.extend([fixture.machines[1]]));
    let selection = Selection::Environments(vec![fixture.environment]);
    let id = task_create_health(&fixture.app, SpaceId::DEFAULT, "alice", &selection, None).await.unwrap();
    let _portal = fixture.run();
    assert_eq!(fixture.ended(id).await.state, TaskState::Failed);
    let parts = fixture.parts(id).await;
    let states: Vec<_> = parts.iter().map(|part| (part.machine_name.as_str(), part.state)).collect();
    assert_eq!(states, [("web1", MachineTaskState::Success), ("web2", MachineTaskState::Failed)]);
    assert!(parts[1].reason.contains("no route"), "{}", parts[1].reason);
    let one = Selection::Machines(vec![fixture.machines[0]]);
    let id = task_create_health(&fixture.app, SpaceId::DEFAULT, "alice", &one, None).await.unwrap();
    assert_eq!(fixture.ended(id).await.state, TaskState::Success);
}

#[tokio::test]
async fn what_cannot_be_done_is_refused_before_a_task_is_made() {
    let fixture = Fixture::new().await;
    let deploy = async |request| {
        let error = task_create_deploy(&fixture.app, SpaceId::DEFAULT, "alice", request).await.unwrap_err();
        error.to_string()
    };
    let request = fixture.request(&[]);
    let refused = deploy(fixture.request(&["mail", "dns"])).await;
    assert_eq!(refused, "no machine was selected: Production has no enabled machine with any of the roles mail, dns");
    let refused = deploy(DeployRequest { environment: EnvironmentId(9), ..request.clone() }).await;
    assert_eq!(refused, "there is no environment Environments-9");
    let refused = deploy(DeployRequest { version: Some(Version::release(9, 0, 0)), ..request.clone() }).await;
    assert_eq!(refused, "the portal has no package acme.web 9.0.0; push it first");
    let variables = (0..=VARIABLES_MAX).map(|n| (n.to_string(), String::new())).collect();
    assert!(deploy(DeployRequest { variables, ..request.clone() }).await.contains("at most 1000 variables"));
    for (name, value, why) in [
        ("", "x", "its name is empty"),
        (" ", "x", "its name is empty"),
        ("A=B", "x", "its name holds =, which ends a name"),
        ("A\0B", "x", "its name holds a NUL character"),
        ("A", "x\0y", "its value holds a NUL character, at which it would end"),
    ] {
        let variables = BTreeMap::from([("Fine".to_owned(), "=".to_owned()), (name.to_owned(), value.to_owned())]);
        let refused = deploy(DeployRequest { variables, ..request.clone() }).await;
        assert_eq!(refused, format!("the variable \"{name}\" cannot be passed to the package's scripts: {why}"));
    }
    let unknown = Selection::Machines(vec![MachineId(99)]);
    let error = task_create_health(&fixture.app, SpaceId::DEFAULT, "alice", &unknown, None).await.unwrap_err();
    assert_eq!(error.to_string(), "there is no machine Machines-99");
    let mut conn = fixture.app.db.read().await.unwrap();
    assert!(crate::db::tasks::task_list_open(&mut conn).await.unwrap().is_empty());
}
