//! Made-up fleets for the tests of the pages: a portal with a bundle, a logged-in browser, machines in every state.

use contract::{Rejection, Sha256, Thumbprint, Verdicts, Version};
use octopus_server::app::App;
use octopus_server::bundle::BundledPackage;
use octopus_server::clock::Timestamp;
use octopus_server::db::environments::environment_insert;
use octopus_server::db::facts::facts_put;
use octopus_server::db::machines::machine_insert;
use octopus_server::ids::{EnvironmentId, MachineId, SpaceId};
use octopus_server::model::{
    Address, Contact, Facts, InstalledVersion, Instances, NewEnvironment, NewMachine, Report, RunningWork,
};
use octopus_server::testing::TestApp;

/// The version that the portal carries.
pub fn bundled() -> Version {
    Version::release(2026, 4, 1)
}

/// A portal that carries a Tentacle package for `linux-x64`.
pub async fn portal() -> TestApp {
    App::for_tests().await.with(|inner| {
        let package =
            |version| BundledPackage { runtime: "linux-x64".into(), version, sha256: Sha256([7; 32]), size: 8 << 20 };
        inner.bundle = [package(bundled())].into_iter().collect();
    })
}

/// Adds an environment.
pub async fn environment(app: &App, name: &str) -> EnvironmentId {
    let mut tx = app.db.write().await.unwrap();
    let name = name.parse().unwrap();
    let new = NewEnvironment { name, description: String::new(), sort_order: None, is_disabled: false };
    let id = environment_insert(&mut tx, SpaceId::DEFAULT, &new).await.unwrap().id;
    tx.commit().await.unwrap();
    id
}

/// Adds a machine of which nothing is known.
pub async fn machine(app: &App, name: &str, environments: &[EnvironmentId]) -> MachineId {
    let mut tx = app.db.write().await.unwrap();
    let id = machine_insert(&mut tx, SpaceId::DEFAULT, &described(name, environments), app.now()).await.unwrap().id;
    tx.commit().await.unwrap();
    id
}

fn described(name: &str, environments: &[EnvironmentId]) -> NewMachine {
    let host: String = name.chars().filter(char::is_ascii_alphanumeric).take(40).collect();
    let mut thumbprint = [0; 32];
    for (place, byte) in (0..32).cycle().zip(name.bytes()) {
        thumbprint[place] ^= byte.wrapping_mul(31);
    }
    NewMachine {
        name: name.into(),
        address: Address::new(&format!("{host}.example.com"), 10933).unwrap(),
        thumbprint: Thumbprint(thumbprint),
        is_disabled: false,
        environments: environments.to_vec(),
        roles: vec!["web".into()],
    }
}

/// What a healthy machine says.
pub fn report(version: Version, at: Timestamp) -> Report {
    Report {
        at,
        instance_seen_at: Timestamp(at.0 - 3_600_000_000),
        instance_id: "8f14e45fceea167a5a36dedd4bea2543".into(),
        started_at: Timestamp(at.0 - 3_605_000_000),
        runtime: "linux-x64".into(),
        os: "Debian GNU/Linux 13 (trixie)".into(),
        hostname: "server".into(),
        supervisor_contract: Some(1),
        installed: vec![InstalledVersion {
            version: version.clone(),
            verdicts: Verdicts { proven: true, ..Verdicts::default() },
        }],
        last_words: None,
        free_disk_bytes: 37 << 30,
        running_work: Vec::new(),
        generation: 3,
        problems: Vec::new(),
        version,
    }
}

/// Writes down that a machine answered with `report`.
pub async fn answered(app: &App, machine: MachineId, report: Report) {
    let facts = Facts {
        tried_at: report.at,
        contact: Contact::Answered,
        contact_since: report.at,
        report: Some(report),
        instances: Instances::default(),
    };
    put_facts(app, machine, &facts).await;
}

/// Writes down what was seen of a machine.
pub async fn put_facts(app: &App, machine: MachineId, facts: &Facts) {
    let mut tx = app.db.write().await.unwrap();
    facts_put(&mut tx, machine, facts).await.unwrap();
    tx.commit().await.unwrap();
}

/// Adds `count` machines in three environments, in every state that there is.
pub async fn fleet(app: &App, count: usize) -> Vec<MachineId> {
    let mut environments = Vec::new();
    for name in ["Development", "Staging", "Production"] {
        environments.push(environment(app, name).await);
    }
    let mut machines = Vec::new();
    let mut tx = app.db.write().await.unwrap();
    for i in 0..count {
        let place = match i % 10 {
            0 => 0,
            1..=3 => 1,
            _ => 2,
        };
        let name = match place {
            0 => format!("dev-{i:04}"),
            1 => format!("stage-{i:04}"),
            _ => format!("web-{i:04}.eu-central.example.com"),
        };
        let mut new = described(&name, &environments[place..=place]);
        new.is_disabled = i % 29 == 28;
        if i % 3 == 0 {
            new.roles.push("cache".into());
        }
        let id = machine_insert(&mut tx, SpaceId::DEFAULT, &new, app.now()).await.unwrap().id;
        if let Some(facts) = state(i, app.now()) {
            facts_put(&mut tx, id, &facts).await.unwrap();
        }
        machines.push(id);
    }
    tx.commit().await.unwrap();
    machines
}

fn state(i: usize, now: Timestamp) -> Option<Facts> {
    let seen = Timestamp(now.0 - 1_000_000 * i64::try_from(i % 60 + 1).unwrap());
    let version = match i % 7 {
        0..=2 => bundled(),
        3 | 4 => Version::release(2026, 4, 0),
        5 => Version::release(2026, 3, 7),
        _ => "2026.5.0-rc.1".parse().unwrap(),
    };
    let mut report = report(version, seen);
    let mut contact = Contact::Answered;
    match i % 23 {
        20 => {
            let reason = "connection refused: nobody listens at port 10933. The machine answers, its Tentacle does not";
            contact = Contact::Silent { reason: reason.into() };
            report.at = Timestamp(now.0 - 7_200_000_000);
        }
        21 => report.problems = vec!["the disk is almost full: 120 MiB are free, 500 MiB are needed".into()],
        22 => return None,
        _ => {}
    }
    if i % 11 == 4 {
        report.last_words =
            Some("it ended with signal 11 (SIGSEGV)\n<b>thread 'main'</b> panicked at src/main.rs:7".into());
        report.installed.push(InstalledVersion {
            version: Version::release(2026, 4, 2),
            verdicts: Verdicts { rejected: Some(Rejection::Crashed), launches: 3, ..Verdicts::default() },
        });
        let since = Timestamp(now.0 - 95_000_000);
        report.running_work =
            vec![RunningWork { ticket: "t".into(), description: "Install Acme.Web 1.4.0".into(), since }];
    }
    Some(Facts {
        tried_at: seen,
        contact,
        contact_since: Timestamp(now.0 - 4_000_000_000),
        report: Some(report),
        instances: Instances::default(),
    })
}
