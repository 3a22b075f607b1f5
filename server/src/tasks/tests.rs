//! Tasks from the wish to the end, against Tentacles that exist in memory only.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use contract::{EnvironmentName, Sha256, Thumbprint, Verdicts, Version};
use octopus_proto::{
    InstalledVersion, InstanceId, LogLevel, LogLine, Progress, Refusal, RefusalKind, Status, Ticket, UpgradeOrder,
    Work, WorkState,
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::db::environments::environment_insert;
use crate::db::machines::{machine_insert, machine_update};
use crate::db::packages::package_insert;
use crate::db::rollouts::{NewRollout, rollout_get, rollout_insert, rollout_machine_update};
use crate::db::tasks::{task_log, task_machines};
use crate::model::{Address, LogEntry, MachineTask, MachineTaskState, NewEnvironment, NewMachine, NewPackage, Task};
use crate::rollout::state::Phase;
use crate::tentacle::{Call, CallError, Target, Tentacles};
use crate::testing::TestApp;

/// How long a test waits for anything.
const PATIENCE: Duration = Duration::from_secs(20);

/// When a call stops answering: before or after it had its effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hang {
    Before,
    After,
}

#[derive(Debug)]
struct FakeWork {
    runs: u32,
    variables: BTreeMap<String, String>,
    state: WorkState,
    lines: Vec<&'static str>,
}

#[derive(Debug, Default)]
struct Inside {
    /// Every call that was made: its name and its machine.
    calls: Vec<(&'static str, MachineId)>,
    work: HashMap<(MachineId, String), FakeWork>,
    packages: HashSet<(MachineId, Sha256)>,
    /// How work ends as soon as it is started; `None` for never.
    ends_as: Option<WorkState>,
    hang: Option<(&'static str, Hang)>,
    /// Calls that hang now.
    hanging: usize,
    unreachable: HashSet<MachineId>,
    refusals: Vec<(&'static str, RefusalKind)>,
}

/// Tentacles in memory.
#[derive(Debug, Default)]
struct Fake(Mutex<Inside>);

impl Fake {
    fn set(&self, change: impl FnOnce(&mut Inside)) {
        change(&mut self.0.lock().unwrap());
    }

    fn get<T>(&self, read: impl FnOnce(&Inside) -> T) -> T {
        read(&self.0.lock().unwrap())
    }

    fn count(&self, name: &str) -> usize {
        self.get(|inside| inside.calls.iter().filter(|(call, _)| *call == name).count())
    }

    async fn call<T>(
        &self,
        name: &'static str,
        machine: MachineId,
        effect: impl FnOnce(&mut Inside) -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        let hang = {
            let mut inside = self.0.lock().unwrap();
            inside.calls.push((name, machine));
            if inside.unreachable.contains(&machine) {
                return Err(CallError::Unreachable { sentence: "no route to the machine".to_owned() });
            }
            if let Some(at) = inside.refusals.iter().position(|(call, _)| *call == name) {
                let (_, kind) = inside.refusals.remove(at);
                return Err(CallError::Refused(Refusal::new(kind, "not now")));
            }
            inside.hang.filter(|(call, _)| *call == name).map(|(_, when)| when)
        };
        if hang == Some(Hang::Before) {
            self.hang().await;
        }
        let done = effect(&mut self.0.lock().unwrap());
        if hang == Some(Hang::After) {
            self.hang().await;
        }
        done
    }

    async fn hang(&self) {
        self.set(|inside| inside.hanging += 1);
        std::future::pending().await
    }
}

impl Tentacles for Fake {
    fn status<'a>(&'a self, target: &'a Target) -> Call<'a, Status> {
        let status = |_: &mut Inside| {
            let version = Version::release(1, 0, 0);
            Ok(Status {
                nonce: "n".to_owned(),
                version: version.clone(),
                instance_id: "i".parse().unwrap(),
                started_at: 0,
                runtime: "linux-x64".to_owned(),
                os: "Debian GNU/Linux 12".to_owned(),
                hostname: "web".to_owned(),
                supervisor_contract: Some(1),
                installed: vec![InstalledVersion { version, verdicts: Verdicts::default() }],
                last_words: None,
                free_disk_bytes: 1,
                running_work: Vec::new(),
                generation: 0,
                problems: Vec::new(),
            })
        };
        Box::pin(self.call("status", target.machine, status))
    }

    fn upload<'a>(&'a self, target: &'a Target, file: &'a Path, sha256: Sha256, size: u64) -> Call<'a, ()> {
        assert_eq!(std::fs::metadata(file).unwrap().len(), size);
        Box::pin(self.call("upload", target.machine, move |inside| {
            inside.packages.insert((target.machine, sha256));
            Ok(())
        }))
    }

    fn start<'a>(&'a self, target: &'a Target, ticket: &'a Ticket, _: &'a str, work: Work) -> Call<'a, ()> {
        Box::pin(self.call("start", target.machine, move |inside| {
            let Work::Install { package, variables, .. } = work;
            assert!(inside.packages.contains(&(target.machine, package)), "the package is there before the start");
            let ends_as = inside.ends_as.clone();
            let work = inside.work.entry((target.machine, ticket.to_string())).or_insert(FakeWork {
                runs: 0,
                variables,
                state: ends_as.unwrap_or(WorkState::Running),
                lines: vec!["Unpacking", "Deploy.sh", "Done"],
            });
            work.runs += u32::from(work.runs == 0);
            Ok(())
        }))
    }

    fn watch<'a>(&'a self, target: &'a Target, ticket: &'a Ticket, after: u64, _: Duration) -> Call<'a, Progress> {
        Box::pin(async move {
            let progress = self.call("watch", target.machine, move |inside| {
                let work = inside.work.get(&(target.machine, ticket.to_string()));
                let work = work.ok_or_else(|| refused(RefusalKind::UnknownTicket))?;
                // One line at a time, so that there is something to be interrupted.
                let line = |(at, text): (usize, &&str)| LogLine {
                    seq: at as u64 + 1,
                    at: 0,
                    level: LogLevel::Info,
                    text: (*text).to_owned(),
                };
                let all: Vec<LogLine> = work.lines.iter().enumerate().map(line).collect();
                let lines: Vec<LogLine> = all.iter().filter(|line| line.seq == after + 1).cloned().collect();
                let last = after + lines.len() as u64;
                let state = if last < all.len() as u64 { WorkState::Running } else { work.state.clone() };
                Ok(Progress { lines, state, last })
            });
            let progress = progress.await?;
            if progress.lines.is_empty() && !progress.state.is_final() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Ok(progress)
        })
    }

    fn cancel<'a>(&'a self, target: &'a Target, ticket: &'a Ticket) -> Call<'a, ()> {
        Box::pin(self.call("cancel", target.machine, move |inside| {
            let work = inside.work.get_mut(&(target.machine, ticket.to_string()));
            let work = work.ok_or_else(|| refused(RefusalKind::UnknownTicket))?;
            if !work.state.is_final() {
                work.state = WorkState::Cancelled;
            }
            Ok(())
        }))
    }

    fn upgrade<'a>(&'a self, _: &'a Target, _: UpgradeOrder) -> Call<'a, ()> {
        unreachable!("no task upgrades")
    }

    fn confirm<'a>(&'a self, _: &'a Target, _: &'a InstanceId, _: &'a Version) -> Call<'a, ()> {
        unreachable!("no task confirms")
    }

    fn discover<'a>(&'a self, _: &'a Address) -> Call<'a, Thumbprint> {
        unreachable!("no task discovers")
    }
}

fn refused(kind: RefusalKind) -> CallError {
    CallError::Refused(Refusal::new(kind, "no"))
}

/// A portal with one environment, machines `web1`, `web2` (role web), `db1` (role db), and the package Acme.Web 1.0.0.
struct Fixture {
    app: TestApp,
    fake: Arc<Fake>,
    environment: EnvironmentId,
    machines: Vec<MachineId>,
}

impl Fixture {
    async fn new() -> Self {
        let fake = Arc::new(Fake::default());
        fake.set(|inside| inside.ends_as = Some(WorkState::Succeeded));
        let app = App::for_tests().await.with(|inner| inner.tentacles = fake.clone());
        let content = futures_util::stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"package"))]);
        let incoming = app.store.receive(content).await.unwrap();
        let mut tx = app.db.write().await.unwrap();
        let sha256 = app.store.keep(incoming).await.unwrap();
        let package = NewPackage {
            space: SpaceId::DEFAULT,
            package_id: "Acme.Web".parse().unwrap(),
            version: Version::release(1, 0, 0),
            sha256,
            size: 7,
            title: String::new(),
            summary: String::new(),
            description: String::new(),
            release_notes: String::new(),
        };
        package_insert(&mut tx, &package, app.now()).await.unwrap();
        let name: EnvironmentName = "Production".parse().unwrap();
        let new = NewEnvironment { name, description: String::new(), sort_order: None, is_disabled: false };
        let environment = environment_insert(&mut tx, SpaceId::DEFAULT, &new).await.unwrap().id;
        let mut machines = Vec::new();
        for (n, (name, role)) in (1..).zip([("web1", "web"), ("web2", "web"), ("db1", "db")]) {
            let new = machine(name, role, n, environment);
            machines.push(machine_insert(&mut tx, SpaceId::DEFAULT, &new, app.now()).await.unwrap().id);
        }
        tx.commit().await.unwrap();
        Self { app, fake, environment, machines }
    }

    fn request(&self, roles: &[&str]) -> DeployRequest {
        DeployRequest {
            package_id: "acme.web".parse().unwrap(),
            version: None,
            environment: self.environment,
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
            variables: BTreeMap::from([("Color".to_owned(), "red".to_owned())]),
        }
    }

    async fn deploy(&self, roles: &[&str]) -> TaskId {
        task_create_deploy(&self.app, SpaceId::DEFAULT, "alice", self.request(roles)).await.unwrap()
    }

    fn run(&self) -> Portal {
        Portal(tokio::spawn(runner::run(self.app.app.clone(), CancellationToken::new())))
    }

    async fn task(&self, id: TaskId) -> Task {
        task_get(&mut *self.app.db.read().await.unwrap(), SpaceId::DEFAULT, id).await.unwrap().unwrap()
    }

    async fn parts(&self, id: TaskId) -> Vec<MachineTask> {
        task_machines(&mut *self.app.db.read().await.unwrap(), id).await.unwrap()
    }

    async fn log(&self, id: TaskId) -> Vec<LogEntry> {
        task_log(&mut *self.app.db.read().await.unwrap(), id, 0).await.unwrap()
    }

    async fn ended(&self, id: TaskId) -> Task {
        until("the task ends", async || self.task(id).await.state.is_completed()).await;
        self.task(id).await
    }

    async fn says(&self, id: TaskId, text: &str) -> usize {
        self.log(id).await.iter().filter(|line| line.message.contains(text)).count()
    }

    /// How often work was run at each machine.
    fn runs(&self) -> Vec<u32> {
        self.fake.get(|inside| inside.work.values().map(|work| work.runs).collect())
    }
}

fn machine(name: &str, role: &str, n: u8, environment: EnvironmentId) -> NewMachine {
    NewMachine {
        name: name.to_owned(),
        address: Address::new("127.0.0.1", 1000 + u16::from(n)).unwrap(),
        thumbprint: Thumbprint([n; 32]),
        is_disabled: false,
        environments: vec![environment],
        roles: vec![role.to_owned()],
    }
}

/// A running portal; dropped, it is killed.
struct Portal(JoinHandle<()>);

impl Portal {
    async fn kill(mut self) {
        self.0.abort();
        let _ = (&mut self.0).await;
    }
}

impl Drop for Portal {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("waited too long until {what}"));
}

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
            assert_eq!(fixture.runs(), [1, 1, 1], "{call} {when:?}: one ticket each, run once");
            let log = fixture.log(id).await;
            let of_db1 = |line: &&LogEntry| line.machine == Some(fixture.machines[2]) && line.message == "Deploy.sh";
            assert_eq!(log.iter().filter(of_db1).count(), 1, "{call} {when:?}: no line is copied twice");
            assert_eq!(fixture.says(id, "The portal was restarted").await, 1);
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
    fixture.fake.set(|inside| drop(inside.unreachable.insert(fixture.machines[0])));
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
        assert_eq!(fixture.runs(), [1], "{call}");
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
async fn a_cancelled_deployment_is_cancelled_at_the_machines() {
    let fixture = Fixture::new().await;
    fixture.fake.set(|inside| inside.ends_as = None);
    let id = fixture.deploy(&["web"]).await;
    let _portal = fixture.run();
    until("both work", async || fixture.parts(id).await.iter().all(|part| part.log_seq == 3)).await;
    task_cancel(&fixture.app, SpaceId::DEFAULT, id, "alice").await.unwrap();
    let task = fixture.ended(id).await;
    assert_eq!(task.state, TaskState::Canceled);
    assert_eq!(fixture.fake.count("cancel"), 2);
    let error = task_cancel(&fixture.app, SpaceId::DEFAULT, id, "alice").await.unwrap_err();
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
    task_cancel(&fixture.app, SpaceId::DEFAULT, id, "alice").await.unwrap();
    assert_eq!(fixture.task(id).await.state, TaskState::Cancelling);
    let _portal = fixture.run();
    assert_eq!(fixture.ended(id).await.state, TaskState::Canceled);
}

#[tokio::test]
async fn a_queued_task_that_is_cancelled_calls_nobody() {
    let fixture = Fixture::new().await;
    let id = fixture.deploy(&[]).await;
    task_cancel(&fixture.app, SpaceId::DEFAULT, id, "alice").await.unwrap();
    let _portal = fixture.run();
    assert_eq!(fixture.ended(id).await.state, TaskState::Canceled);
    assert_eq!(fixture.fake.get(|inside| inside.calls.len()), 0);
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
        selection: "{}".to_owned(),
        max_in_flight: 1,
        failure_budget: 1,
        created_by: "alice".to_owned(),
        created_at: app.now(),
        machines: vec![(machine, "db1".to_owned())],
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

#[tokio::test]
async fn a_health_task_asks_every_enabled_machine() {
    let fixture = Fixture::new().await;
    let mut tx = fixture.app.db.write().await.unwrap();
    let disabled = NewMachine { is_disabled: true, ..machine("db1", "db", 3, fixture.environment) };
    machine_update(&mut tx, SpaceId::DEFAULT, fixture.machines[2], &disabled).await.unwrap();
    tx.commit().await.unwrap();
    fixture.fake.set(|inside| drop(inside.unreachable.insert(fixture.machines[1])));
    let selection = Selection::Environments(vec![fixture.environment]);
    let id = task_create_health(&fixture.app, SpaceId::DEFAULT, "alice", &selection).await.unwrap();
    let _portal = fixture.run();
    assert_eq!(fixture.ended(id).await.state, TaskState::Failed);
    let parts = fixture.parts(id).await;
    let states: Vec<_> = parts.iter().map(|part| (part.machine_name.as_str(), part.state)).collect();
    assert_eq!(states, [("web1", MachineTaskState::Success), ("web2", MachineTaskState::Failed)]);
    assert!(parts[1].reason.contains("no route"), "{}", parts[1].reason);
    let one = Selection::Machines(vec![fixture.machines[0]]);
    let id = task_create_health(&fixture.app, SpaceId::DEFAULT, "alice", &one).await.unwrap();
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
    assert!(deploy(DeployRequest { variables, ..request }).await.contains("at most 1000 variables"));
    let unknown = Selection::Machines(vec![MachineId(99)]);
    let error = task_create_health(&fixture.app, SpaceId::DEFAULT, "alice", &unknown).await.unwrap_err();
    assert_eq!(error.to_string(), "there is no machine Machines-99");
    let mut conn = fixture.app.db.read().await.unwrap();
    assert!(crate::db::tasks::task_list_open(&mut conn).await.unwrap().is_empty());
}

#[test]
fn the_names_of_tasks_are_different() {
    assert_eq!(BTreeSet::from([HEALTH, DEPLOY, UPGRADE]).len(), 3);
}
