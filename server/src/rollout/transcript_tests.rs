//! Golden transcripts: a script of what operators and machines do, and what the real loop makes of it, with a real
//! database, a fleet that is a value and a clock that stands still between the lines.
//!
//! Each file in `transcripts/` holds the script, a line `---`, and the transcript. To add one, write a script, name it in
//! the list at the end of this file, and bless it; after a wanted change, bless all and read the difference:
//!
//! `OCTOPUS_BLESS=1 cargo test -p octopus-server --lib transcripts`
//!
//! The statements are those of `Stage::act`. Times are such as `90s`, `10m`, `2h` or `3d`.

#[path = "transcript_deeds.rs"]
mod deeds;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Instant;

use contract::{Sha256, Thumbprint};
use octopus_proto::{Refusal, RefusalKind, RunningWork};

use super::*;
use crate::bundle::{Bundle, BundledPackage};
use crate::db::environments::environment_insert;
use crate::db::machines::{machine_get, machine_insert};
use crate::db::maintenance::windows_put;
use crate::db::policies::policy_put;
use crate::db::rollouts::rollout_list;
use crate::db::tasks::task_log;
use crate::health::machine_check;
use crate::ids::EnvironmentId;
use crate::ids::SpaceId;
use crate::inventory::inventory_forget_clone;
use crate::model::{Address, LogEntry, NewEnvironment, NewMachine};
use crate::rollout::automatic::on_start;
use crate::rollout::calendar::{FreezePeriod, FreezeScope, Window, WindowSpec};
use crate::rollout::course::{Finish, RoleLoss};
use crate::rollout::create::{RolloutRequest, Selection, rollout_create};
use crate::rollout::freezes::freeze_add;
use crate::rollout::hands::{Hand, Who, machine_hold, machine_release, rollout_hand};
use crate::rollout::late::admit;
use crate::rollout::preview::rollout_preview;
use crate::rollout::state::Deadlines;
use crate::rollout::strategy::Strategy;
use crate::rollout::undo::{Undo, rollout_undo};
use crate::tentacle::fake::{FakeMachine, FakeTentacles, Nature, Reply};
use crate::testing::TestApp;

/// When every script begins: a Friday.
const BEGIN: &str = "2100-01-01T00:00:00Z";

/// How far the clock goes at once while a machine is in flight.
const STEP_BUSY: Duration = Duration::from_secs(1);

/// The same while nothing is in flight, at least.
const STEP_IDLE: Duration = Duration::from_secs(30);

/// Steps of a statement that waits while nothing is in flight.
const STEPS_IDLE: u32 = 40;

/// How often each machine is checked besides.
const HEALTH: Duration = Duration::from_secs(60);

/// Longest time for the calls of one moment to come to their end.
const CALLS_MAX: Duration = Duration::from_secs(60);

/// Looks at one moment. More mean that the loop would spin.
const LOOKS_MAX: usize = 60;

struct Stage {
    test: TestApp,
    fleet: FakeTentacles,
    calls: Arc<Calls>,
    begin: Timestamp,
    checked_at: Timestamp,
    names: BTreeMap<String, MachineId>,
    environments: BTreeMap<String, EnvironmentId>,
    /// Lines of each task that are in the transcript.
    seen: BTreeMap<TaskId, i64>,
    transcript: String,
}

impl Stage {
    async fn new() -> Self {
        let fleet = FakeTentacles::default();
        let test = App::for_tests().await.with(|inner| {
            inner.tentacles = Arc::new(fleet.clone());
            inner.rollout = Deadlines::default();
        });
        let begin = Timestamp::from_rfc3339(BEGIN).unwrap();
        test.clock.advance(begin.since(test.now()));
        let calls = Arc::new(Calls::new(test.app.clone()));
        Self {
            test,
            fleet,
            calls,
            begin,
            checked_at: begin,
            names: BTreeMap::new(),
            environments: BTreeMap::new(),
            seen: BTreeMap::new(),
            transcript: String::new(),
        }
    }

    fn say(&mut self, line: &str) {
        let seconds = self.test.now().since(self.begin).as_secs();
        let (day, hour, minute, second) = (seconds / 86400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
        let day = if day > 0 { format!("day {day} ") } else { String::new() };
        writeln!(self.transcript, "{day}{hour:02}:{minute:02}:{second:02}  {line}").unwrap();
    }

    /// Carries out one line of a script.
    async fn act(&mut self, line: &str) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let (first, more) = rest.split_once(' ').unwrap_or((rest, ""));
        if !["wait", "why", "state"].contains(&word) {
            let said = format!("> {line}");
            self.say(&said);
        }
        match word {
            // environment Production
            "environment" => self.environment(rest).await,
            // machines Production 1.0.0 web-1 web-2
            "machines" => {
                let (version, names) = more.split_once(' ').unwrap();
                for name in names.split(' ') {
                    self.machine(first, version.parse().unwrap(), name).await;
                }
            }
            // role web web-1 web-2
            "role" => self.role(first, more).await,
            // rollout alice Production {"MaxInFlight": 3}, or "all", or machines with commas between
            "rollout" => self.roll_out(first, more).await,
            // schedule 2h alice Production: as "rollout", and it begins later
            "schedule" => {
                let start_at = Some(self.test.now().after(duration(first)));
                let (who, rest) = more.split_once(' ').unwrap();
                self.wish(who, RolloutRequest { start_at, ..self.request(rest) }).await;
            }
            // state web-1: the machine's own sentence
            "state" => self.state(first).await,
            // preview alice: as "rollout", and nothing is written
            "preview" => self.preview(more).await,
            "nature" | "offline" | "online" | "busy" | "idle" | "unwell" | "well" | "generation" | "copy" | "gone"
            | "overtake" | "full" | "platform" | "lose" => {
                self.change(word, first, more).await;
            }
            // alone web-1 alice: one machine alone has the identity
            "alone" => {
                self.fleet.machines().get_mut(&self.names[first]).unwrap().copy = None;
                inventory_forget_clone(&self.test.app, self.names[first], more, "").await.unwrap();
                self.look().await;
            }
            // confirm alice: that the portal was restored
            "confirm" => {
                crate::restored::confirm::confirm(&self.test.app, first).await.unwrap();
                self.look().await;
            }
            // undo alice why: the last rollout
            "undo" => self.undo(first, more).await,
            // hold web-1 alice why
            "hold" | "release" => self.hold(word, first, more).await,
            "hold-for" => {
                let (name, why) = more.split_once(' ').unwrap();
                self.hold(first, name, why).await;
            }
            // window Production 60 0 22 * * *
            "window" => self.window(first, more).await,
            // freeze 4h why
            "freeze" => {
                let until = self.test.now().after(duration(first));
                let (from, reason) = (self.test.now(), more.to_owned());
                let period = FreezePeriod { scope: FreezeScope::All, from, until, reason };
                freeze_add(&self.test.app, SpaceId::DEFAULT, "alice", period).await.unwrap();
            }
            // policy Production
            "policy" => {
                let mut tx = self.test.db.write().await.unwrap();
                policy_put(&mut tx, self.environments[first], Some(&Strategy::default())).await.unwrap();
                tx.commit().await.unwrap();
            }
            // bundle 2.0.0: the portal is started with it
            "bundle" => self.bundle(first.parse().unwrap()).await,
            "restart" => self.restart(),
            // lock web-1: by the REST API
            "lock" | "unlock" => self.lock(first, word == "lock").await,
            // replay web-1 1: its first command comes once more
            "replay" => self.send_again(first, more.parse().unwrap(), None).await,
            // forge web-1 1: the same under another ticket
            "forge" => {
                let ticket = uuid::Uuid::now_v7().to_string().parse().unwrap();
                self.send_again(first, more.parse().unwrap(), Some(ticket)).await;
            }
            // pace 1000 30000000: bytes in a second, and bytes of the package
            "pace" => self.pace(first.parse().unwrap(), more.parse().unwrap()).await,
            "wait" => self.wait(duration(rest)).await,
            "why" => self.why(first).await,
            hand => self.hand(hand, rest).await,
        }
    }

    async fn environment(&mut self, name: &str) {
        let mut tx = self.test.db.write().await.unwrap();
        let new = NewEnvironment {
            name: name.parse().unwrap(),
            description: String::new(),
            sort_order: None,
            is_disabled: false,
        };
        let id = environment_insert(&mut tx, SpaceId::DEFAULT, &new).await.unwrap().id;
        tx.commit().await.unwrap();
        self.environments.insert(name.to_owned(), id);
    }

    async fn machine(&mut self, environment: &str, version: Version, name: &str) {
        let mut tx = self.test.db.write().await.unwrap();
        let new = NewMachine {
            name: name.to_owned(),
            address: Address::new("127.0.0.1", 10933).unwrap(),
            thumbprint: Thumbprint([7; 32]),
            is_disabled: false,
            environments: vec![self.environments[environment]],
            roles: Vec::new(),
        };
        let machine = machine_insert(&mut tx, SpaceId::DEFAULT, &new, self.test.now()).await.unwrap();
        tx.commit().await.unwrap();
        self.names.insert(name.to_owned(), machine.id);
        self.fleet.machines().insert(machine.id, FakeMachine::running(version));
        machine_check(&self.test.app, &machine).await.unwrap();
        // What was seen at the very moment at which something begins counts as seen since.
        self.test.clock.advance(STEP_BUSY);
    }

    async fn role(&self, role: &str, names: &str) {
        let mut tx = self.test.db.write().await.unwrap();
        for name in names.split(' ') {
            let machine = machine_get(&mut tx, SpaceId::DEFAULT, self.names[name]).await.unwrap().unwrap();
            let new = NewMachine {
                name: machine.name,
                address: machine.address,
                thumbprint: machine.thumbprint,
                is_disabled: false,
                environments: machine.environments,
                roles: vec![role.to_owned()],
            };
            let id = self.names[name];
            crate::db::machines::machine_update(&mut tx, SpaceId::DEFAULT, id, &new).await.unwrap();
        }
        tx.commit().await.unwrap();
    }

    fn request(&self, rest: &str) -> RolloutRequest {
        let (place, strategy) = rest.split_once(' ').unwrap_or((rest, "{}"));
        let selection = match self.environments.get(place) {
            _ if place == "all" => Selection::All,
            Some(id) => Selection::Environments(vec![*id]),
            None => Selection::Machines(place.split(',').map(|name| self.names[name]).collect()),
        };
        let strategy = serde_json::from_str(strategy).unwrap();
        RolloutRequest { strategy: Some(strategy), ..RolloutRequest::of(selection) }
    }

    async fn roll_out(&mut self, who: &str, rest: &str) {
        self.wish(who, self.request(rest)).await;
    }

    async fn wish(&mut self, who: &str, request: RolloutRequest) {
        if let Err(refused) = rollout_create(&self.test.app, SpaceId::DEFAULT, who, request).await {
            self.say(&format!("refused: {refused}"));
        }
        self.look().await;
    }

    async fn bundle(&mut self, version: Version) {
        let digest = u8::try_from(version.to_string().bytes().map(u32::from).sum::<u32>() % 250).unwrap();
        let sha256 = Sha256([digest; 32]);
        std::fs::write(self.test.store.path(&sha256), b"package").unwrap();
        let package = BundledPackage { runtime: "linux-x64".to_owned(), version, sha256, size: 7 };
        let bundle: Bundle = [package].into_iter().collect();
        let old = std::mem::replace(&mut self.test, App::for_tests().await);
        self.test = old.with(|inner| inner.bundle = bundle);
        self.restart();
        on_start(&self.test.app, SpaceId::DEFAULT).await.unwrap();
        self.look().await;
    }

    /// What the portal remembered is gone; what it wrote down is not.
    fn restart(&mut self) {
        self.calls.abort();
        self.calls = Arc::new(Calls::new(self.test.app.clone()));
    }

    /// `pause alice why`, `skip alice web-1 why`, `release-wave alice 2`; the last rollout is meant.
    async fn hand(&mut self, word: &str, rest: &str) {
        let (who, more) = rest.split_once(' ').unwrap_or((rest, ""));
        let (first, then) = more.split_once(' ').unwrap_or((more, ""));
        let machines = || first.split(',').filter(|name| !name.is_empty()).map(|name| self.names[name]).collect();
        let (hand, why) = match word {
            "start" => (Hand::StartNow, more),
            "pause" => (Hand::Pause, more),
            "resume" => (Hand::Resume, more),
            "cancel" => (Hand::Cancel, more),
            "retry" => (Hand::Retry(machines()), then),
            "skip" => (Hand::Skip(self.names[first]), then),
            "release-wave" => (Hand::ReleaseWave(first.parse().unwrap()), then),
            "release-version" => (Hand::ReleaseVersion(first.to_owned()), then),
            "ignore-windows" => (Hand::IgnoreWindows, more),
            _ => panic!("no statement: {word}"),
        };
        let id = self.rollouts().await.last().unwrap().id;
        let who = Who { name: who, why };
        if let Err(refused) = rollout_hand(&self.test.app, SpaceId::DEFAULT, id, who, &hand).await {
            self.say(&format!("refused: {refused}"));
        }
        self.look().await;
    }

    async fn why(&mut self, name: &str) {
        let id = self.names[name];
        let rollouts = self.rollouts().await;
        let mut conn = self.test.db.read().await.unwrap();
        let mut said = Vec::new();
        for rollout in rollouts.iter().filter(|rollout| rollout.machines.iter().any(|row| row.machine == id)) {
            let reason = crate::rollout::look::why(&self.test.app, &mut conn, rollout).await.unwrap().remove(&id);
            let row = rollout.machines.iter().find(|row| row.machine == id).unwrap();
            let reason = reason.unwrap_or_else(|| format!("{} {}", row.phase.kind(), row.phase.reason()));
            said.push(format!("? {name} in {}: {}", rollout.id, reason.trim().replace('\n', " / ")));
        }
        drop(conn);
        said.iter().for_each(|line| self.say(line));
    }

    async fn state(&mut self, name: &str) {
        let mut conn = self.test.db.read().await.unwrap();
        let machine = machine_get(&mut conn, SpaceId::DEFAULT, self.names[name]).await.unwrap().unwrap();
        let facts = facts_get(&mut conn, machine.id).await.unwrap();
        let machines = [(&machine, facts.as_ref())];
        let why = crate::rollout::look::whys(&self.test.app, &mut conn, SpaceId::DEFAULT, &machines).await.unwrap();
        drop(conn);
        let said = why[&machine.id].to_string().replace('\n', " / ");
        self.say(&format!("? {name}: {said}"));
    }

    async fn rollouts(&self) -> Vec<Rollout> {
        let mut conn = self.test.db.read().await.unwrap();
        let mut rollouts = rollout_list(&mut conn, SpaceId::DEFAULT, 0, 100).await.unwrap();
        rollouts.reverse();
        rollouts
    }

    /// Lets time pass: a second at a time while a machine is in flight, and in leaps otherwise.
    async fn wait(&mut self, time: Duration) {
        let end = self.test.now().after(time);
        let leap = STEP_IDLE.max(time / STEPS_IDLE);
        while self.test.now() < end {
            let busy = self.rollouts().await.iter().any(|rollout| rollout.count(PhaseKind::is_in_flight) > 0);
            let step = if busy { STEP_BUSY } else { leap };
            self.test.clock.advance(step.min(end.since(self.test.now())));
            if self.test.now().since(self.checked_at) >= HEALTH {
                self.check().await;
            }
            admit(&self.test.app).await.unwrap();
            self.look().await;
        }
    }

    async fn check(&mut self) {
        self.checked_at = self.test.now();
        for id in self.names.values() {
            let machine = machine_get(&mut self.test.db.read().await.unwrap(), SpaceId::DEFAULT, *id).await.unwrap();
            machine_check(&self.test.app, &machine.unwrap()).await.unwrap();
        }
    }

    /// Lets the loop look until nothing more happens at this moment.
    async fn look(&mut self) {
        self.tell().await;
        for _ in 0..LOOKS_MAX {
            turn(&self.test.app, &self.calls).await.unwrap();
            let (mut called, begun) = (false, Instant::now());
            while self.names.values().any(|id| self.calls.is_under_way(*id)) {
                assert!(begun.elapsed() < CALLS_MAX, "a call does not end:\n{}", self.transcript);
                called = true;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            if !self.tell().await && !called {
                return;
            }
        }
        panic!("the loop spins:\n{}", self.transcript);
    }

    /// Takes what was logged since into the transcript: waves first, then machine by machine, because calls at one moment
    /// end in any order. True if there was anything.
    async fn tell(&mut self) -> bool {
        let mut said = false;
        for rollout in self.rollouts().await {
            let mut conn = self.test.db.read().await.unwrap();
            let after = self.seen.get(&rollout.task).copied().unwrap_or(0);
            let mut lines = task_log(&mut conn, rollout.task, after).await.unwrap();
            drop(conn);
            let Some(last) = lines.iter().map(|line| line.number).max() else { continue };
            said = true;
            self.seen.insert(rollout.task, last);
            let place = |line: &LogEntry| match line.machine {
                Some(machine) => (1, machine.0, line.number),
                None if line.message.starts_with("Wave ") => (0, 0, line.number),
                None => (2, 0, line.number),
            };
            lines.sort_by_key(place);
            for line in lines {
                let text = line.message.replace('\n', " / ");
                self.say(&format!("{}  {text}", rollout.id));
            }
        }
        said
    }
}

fn duration(text: &str) -> Duration {
    let (number, unit) = text.split_at(text.len() - 1);
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86400,
        _ => panic!("no time: {text}"),
    };
    Duration::from_secs(number.parse::<u64>().unwrap() * seconds)
}

async fn perform(script: &str) -> String {
    let mut stage = Stage::new().await;
    for line in script.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        stage.act(line).await;
    }
    for rollout in stage.rollouts().await {
        stage.say(&format!("{} is {}: {}", rollout.id, rollout.state.word(), rollout.summary()));
    }
    stage.transcript
}

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src/rollout/transcripts"))
}

async fn compare(name: &str) {
    let path = folder().join(format!("{name}.txt"));
    let text = std::fs::read_to_string(&path).unwrap();
    let (script, wanted) = text.split_once("---\n").unwrap_or((&text, ""));
    let found = perform(script).await;
    if std::env::var_os("OCTOPUS_BLESS").is_some() {
        std::fs::write(&path, format!("{}\n---\n{found}", script.trim_end())).unwrap();
        return;
    }
    let first = wanted.lines().zip(found.lines()).position(|(wanted, found)| wanted != found);
    assert!(
        wanted == found,
        "the transcript of {name} differs{}. Where that is wanted, bless it: OCTOPUS_BLESS=1 cargo test -p \
         octopus-server --lib transcripts\n--- found\n{found}",
        first.map_or_else(String::new, |line| format!(" from its line {}", line + 1))
    );
}

macro_rules! transcripts {
    ($($name:ident)*) => {
        /// Every file of the folder.
        const NAMES: &[&str] = &[$(stringify!($name)),*];
        $(#[tokio::test] async fn $name() { compare(stringify!($name)).await })*
    };
}

#[test]
fn every_script_is_performed() {
    let files = std::fs::read_dir(folder()).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut files: Vec<String> = files.collect();
    files.sort();
    let named: Vec<String> = NAMES.iter().map(|name| format!("{name}.txt")).collect();
    assert_eq!(files, named, "name it in the list at the end of transcript_tests.rs, in alphabetic order");
}

transcripts! {
    approval
    automatic_policy
    budget_and_offline
    budget_and_resume
    budgets
    busy
    byte_rate
    cancel
    cloned
    failed_canary
    failure_memory
    freeze
    hold
    hold_runs_out
    late_arrivals
    late_arrivals_left
    lost_and_turned_up
    max_in_flight
    no_room
    offline
    offline_expiry
    old_mark
    pause
    paused_and_offline
    platform_hold
    platform_hold_retry
    portal_restart
    preview
    replayed
    reply_lost
    restored_backup
    retry
    retry_one
    role_share
    said_again
    schedule
    schedule_and_pause
    selection
    skip
    soak
    supersede
    time_zone
    transfers
    two_portals
    undo
    upgrade_lock
    waves
    waves_by_environment
    why_not_upgraded
    windows
    windows_ignored
    wrong_platform
}
