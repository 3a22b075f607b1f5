//! Tasks from the wish to the end, against Tentacles that exist in memory only.

mod deploy;
mod wishes;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use contract::{EnvironmentName, Sha256, Thumbprint, Verdicts, Version};
use octopus_proto::{
    InstalledVersion, InstanceId, LogLevel, LogLine, Progress, Refusal, RefusalKind, Status, Ticket, TrustChange,
    UpgradeOrder, Work, WorkState,
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::db::environments::environment_insert;
use crate::db::machines::{machine_insert, machine_update};
use crate::db::packages::package_insert;
use crate::db::rollouts::{NewRollout, NewRolloutMachine, rollout_get, rollout_insert, rollout_machine_update};
use crate::db::tasks::{task_log, task_machines};
use crate::model::{Address, LogEntry, MachineTask, MachineTaskState, NewEnvironment, NewMachine, NewPackage, Task};
use crate::rollout::state::Phase;
use crate::rollout::strategy::Strategy;
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
                free_disk_bytes: 1 << 40,
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
            inside.work.entry((target.machine, ticket.to_string())).or_insert(FakeWork {
                variables,
                state: ends_as.unwrap_or(WorkState::Running),
                lines: vec!["Unpacking", "Deploy.sh", "Done"],
            });
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

    fn trust<'a>(&'a self, _: &'a Target, _: TrustChange) -> Call<'a, ()> {
        unreachable!("no task changes whom a machine trusts")
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
            description: None,
        }
    }

    async fn deploy(&self, roles: &[&str]) -> TaskId {
        task_create_deploy(&self.app, SpaceId::DEFAULT, "alice", self.request(roles)).await.unwrap()
    }

    fn run(&self) -> Portal {
        Portal(tokio::spawn(runner::run(self.app.app.clone(), CancellationToken::new())))
    }

    async fn task(&self, id: TaskId) -> Task {
        task_get(&mut self.app.db.read().await.unwrap(), SpaceId::DEFAULT, id).await.unwrap().unwrap()
    }

    async fn parts(&self, id: TaskId) -> Vec<MachineTask> {
        task_machines(&mut self.app.db.read().await.unwrap(), id).await.unwrap()
    }

    async fn log(&self, id: TaskId) -> Vec<LogEntry> {
        task_log(&mut self.app.db.read().await.unwrap(), id, 0).await.unwrap()
    }

    async fn ended(&self, id: TaskId) -> Task {
        until("the task ends", async || self.task(id).await.state.is_completed()).await;
        self.task(id).await
    }

    async fn says(&self, id: TaskId, text: &str) -> usize {
        self.log(id).await.iter().filter(|line| line.message.contains(text)).count()
    }

    /// Tickets that the machines know: each was worked on once.
    fn tickets(&self) -> usize {
        self.fake.get(|inside| inside.work.len())
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
