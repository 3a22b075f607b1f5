//! Deployments.

use super::*;

#[tokio::test]
async fn a_deployment_reaches_the_machines_with_the_role_and_copies_their_logs() {
    let fixture = Fixture::new().await;
    let id = fixture.deploy(&["WEB"]).await;
    assert_eq!(fixture.task(id).await.task.description, "Deploy Acme.Web 1.0.0 to Production");
    let _portal = fixture.run();
    let task = fixture.ended(id).await;
    assert_eq!((task.state, task.error_message.as_str()), (TaskState::Success, ""));
    assert!(!task.has_warnings);
    let parts = fixture.parts(id).await;
    assert_eq!(parts.iter().map(|part| part.machine_name.as_str()).collect::<Vec<_>>(), ["web1", "web2"]);
    assert!(parts.iter().all(|part| part.state == MachineTaskState::Success && part.log_seq == 3));
    let of_web1 = |line: &LogEntry| (line.machine == Some(parts[0].machine)).then(|| line.message.clone());
    let lines: Vec<String> = fixture.log(id).await.iter().filter_map(of_web1).collect();
    assert_eq!(lines, ["Unpacking", "Deploy.sh", "Done", "It was installed."]);
    let variables =
        fixture.fake.get(|inside| inside.work[&(parts[0].machine, parts[0].ticket.clone())].variables.clone());
    for (name, value) in [
        ("Color", "red"),
        ("Octopus.Environment.Name", "Production"),
        ("Octopus.Machine.Name", "web1"),
        ("Octopus.Package.Id", "Acme.Web"),
        ("Octopus.Package.Version", "1.0.0"),
        ("Octopus.Task.Id", "ServerTasks-1"),
        ("Octopus.Deployment.Id", "ServerTasks-1"),
    ] {
        assert_eq!(variables.get(name).map(String::as_str), Some(value), "{name}");
    }
}

#[tokio::test]
async fn a_portal_killed_at_any_step_goes_on_and_runs_nothing_twice() {
    for call in ["upload", "start", "watch"] {
        for when in [Hang::Before, Hang::After] {
            let fixture = Fixture::new().await;
            fixture.fake.set(|inside| inside.hang = Some((call, when)));
            let id = fixture.deploy(&[]).await;
            let portal = fixture.run();
            let all_hang = async || fixture.fake.get(|inside| inside.hanging) == 3;
            until("every machine hangs", all_hang).await;
            portal.kill().await;
            assert_eq!(fixture.task(id).await.state, TaskState::Executing, "{call} {when:?}");
            fixture.fake.set(|inside| inside.hang = None);
            let _portal = fixture.run();
            assert_eq!(fixture.ended(id).await.state, TaskState::Success, "{call} {when:?}");
            assert_eq!(fixture.tickets(), 3, "{call} {when:?}: one for each machine");
            let log = fixture.log(id).await;
            let of_db1 = |line: &&LogEntry| line.machine == Some(fixture.machines[2]) && line.message == "Deploy.sh";
            assert_eq!(log.iter().filter(of_db1).count(), 1, "{call} {when:?}: no line is copied twice");
            assert_eq!(fixture.says(id, "The task was interrupted").await, 1);
        }
    }
}

#[tokio::test]
async fn a_portal_killed_in_the_middle_of_a_log_goes_on_after_the_last_line() {
    let fixture = Fixture::new().await;
    fixture.fake.set(|inside| inside.ends_as = None);
    let id = fixture.deploy(&["db"]).await;
    let portal = fixture.run();
    until("the log is copied", async || fixture.parts(id).await[0].log_seq == 3).await;
    portal.kill().await;
    let starts = fixture.fake.count("start");
    fixture.fake.set(|inside| inside.work.values_mut().for_each(|work| work.state = WorkState::Succeeded));
    let _portal = fixture.run();
    assert_eq!(fixture.ended(id).await.state, TaskState::Success);
    assert_eq!(fixture.fake.count("start"), starts, "nothing is started again");
    assert_eq!(fixture.says(id, "Unpacking").await, 1);
}

#[tokio::test]
async fn a_result_that_nobody_knows_is_never_a_success() {
    let fixture = Fixture::new().await;
    let reason = "the Tentacle died meanwhile".to_owned();
    fixture.fake.set(|inside| inside.ends_as = Some(WorkState::UnknownResult { reason }));
    let id = fixture.deploy(&["db"]).await;
    let _portal = fixture.run();
    let task = fixture.ended(id).await;
    assert_eq!(task.state, TaskState::Failed);
    assert!(task.error_message.contains("nobody knows, db1 first: the Tentacle died"), "{}", task.error_message);
    assert_eq!(fixture.parts(id).await[0].state, MachineTaskState::Unknown);
}

#[tokio::test]
async fn work_that_a_machine_forgot_is_not_started_again() {
    let fixture = Fixture::new().await;
    fixture.fake.set(|inside| inside.ends_as = None);
    let id = fixture.deploy(&["db"]).await;
    let portal = fixture.run();
    until("the log is copied", async || fixture.parts(id).await[0].log_seq == 3).await;
    portal.kill().await;
    fixture.fake.set(|inside| inside.work.clear());
    let _portal = fixture.run();
    assert_eq!(fixture.ended(id).await.state, TaskState::Failed);
    assert_eq!(fixture.parts(id).await[0].state, MachineTaskState::Unknown);
    assert_eq!(fixture.fake.count("start"), 1);
}

#[tokio::test]
async fn a_machine_that_cannot_be_reached_fails_after_a_while_and_the_others_go_on() {
    let fixture = Fixture::new().await;
    fixture.fake.set(|inside| inside.unreachable.extend([fixture.machines[0]]));
    let id = fixture.deploy(&["web"]).await;
    let _portal = fixture.run();
    until("it is said", async || fixture.says(id, "It is tried again: no route").await == 1).await;
    let state = async |at: usize| fixture.parts(id).await[at].state;
    until("the other one is done", async || state(1).await == MachineTaskState::Success).await;
    assert_eq!(state(0).await, MachineTaskState::Running, "not yet given up");
    fixture.app.clock.advance(step::UNREACHED_MAX + Duration::from_secs(1));
    let task = fixture.ended(id).await;
    assert_eq!(task.state, TaskState::Failed);
    assert!(task.error_message.starts_with("1 of 2 machines failed, web1 first: "), "{}", task.error_message);
    assert!(task.error_message.contains("no route to the machine"));
}

#[tokio::test]
async fn a_machine_that_is_busy_or_ending_is_asked_again_and_the_log_says_so() {
    for (call, kind) in [("upload", RefusalKind::Ending), ("start", RefusalKind::Busy), ("watch", RefusalKind::Ending)]
    {
        let fixture = Fixture::new().await;
        fixture.fake.set(|inside| inside.refusals.push((call, kind)));
        let id = fixture.deploy(&["db"]).await;
        let _portal = fixture.run();
        assert_eq!(fixture.ended(id).await.state, TaskState::Success, "{call}");
        assert_eq!(fixture.says(id, "It is tried again: not now").await, 1, "{call}");
        assert_eq!(fixture.tickets(), 1, "{call}");
    }
}

#[tokio::test]
async fn a_package_that_a_machine_refuses_fails_at_once() {
    let fixture = Fixture::new().await;
    fixture.fake.set(|inside| inside.refusals.push(("start", RefusalKind::BadPackage)));
    let id = fixture.deploy(&["db"]).await;
    let _portal = fixture.run();
    assert_eq!(fixture.ended(id).await.state, TaskState::Failed);
    assert_eq!(fixture.parts(id).await[0].reason, "not now");
}

#[tokio::test]
async fn a_machine_in_a_rollout_is_deployed_to_after_it() {
    let fixture = Fixture::new().await;
    let (app, machine) = (&fixture.app, fixture.machines[2]);
    let mut tx = app.db.write().await.unwrap();
    let task = NewTask {
        space: SpaceId::DEFAULT,
        name: UPGRADE.to_owned(),
        description: "Upgrade".to_owned(),
        arguments: serde_json::json!({}),
        created_by: "alice".to_owned(),
    };
    let task = task_insert(&mut tx, &task, app.now()).await.unwrap();
    let new = NewRollout {
        space: SpaceId::DEFAULT,
        task,
        target: Version::release(2, 0, 0),
        undo_of: None,
        selection: "{}".to_owned(),
        strategy: Strategy::plain(1, 1),
        waves: Vec::new(),
        start_at: None,
        max_in_flight: 1,
        failure_budget: 1,
        created_by: "alice".to_owned(),
        created_at: app.now(),
        machines: vec![NewRolloutMachine {
            machine,
            name: "db1".to_owned(),
            from: None,
            wave: 0,
            back: None,
            skipped: None,
        }],
        packages: Vec::new(),
    };
    let rollout = rollout_insert(&mut tx, &new).await.unwrap();
    let mut row = rollout_get(&mut tx, SpaceId::DEFAULT, rollout).await.unwrap().unwrap().machines.remove(0);
    row.phase = Phase::Uploading;
    assert!(rollout_machine_update(&mut tx, rollout, &row).await.unwrap());
    tx.commit().await.unwrap();

    let id = fixture.deploy(&["db"]).await;
    let _portal = fixture.run();
    until("it is said", async || fixture.says(id, "is being upgraded by Rollouts-1").await == 1).await;
    assert_eq!(fixture.fake.get(|inside| inside.calls.len()), 0);
    let mut tx = app.db.write().await.unwrap();
    row.phase = Phase::Upgraded;
    row.revision += 1;
    assert!(rollout_machine_update(&mut tx, rollout, &row).await.unwrap());
    tx.commit().await.unwrap();
    assert_eq!(fixture.ended(id).await.state, TaskState::Success);
}

#[tokio::test]
async fn a_package_that_left_the_store_fails_with_a_sentence() {
    let fixture = Fixture::new().await;
    let id = fixture.deploy(&["db"]).await;
    let files = std::fs::read_dir(fixture.app.data_dir().join("packages")).unwrap();
    files.for_each(|file| drop(std::fs::remove_file(file.unwrap().path())));
    let _portal = fixture.run();
    assert_eq!(fixture.ended(id).await.state, TaskState::Failed);
    assert!(fixture.parts(id).await[0].reason.starts_with("The package is no longer in the portal's store"));
}
