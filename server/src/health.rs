//! The light check of every machine, which keeps the facts fresh, and the confirmation of processes that nobody rolled
//! out (a Tentacle installed by hand, or one whose rollout is over).

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::clock::{Began, Timestamp};
use crate::db::facts::facts_due;
use crate::db::machines::machine_some;
use crate::db::rollouts::rollout_open;
use crate::db::spaces::space_ids;
use crate::db::{Connection, DbError};
use crate::ids::MachineId;
use crate::inventory::inventory_record;
use crate::model::{Contact, Facts, Machine, Report};
use crate::tentacle::Target;

/// Machines that are checked at once. The others wait; with 3,000 machines and 1 ms each, all are checked in seconds.
const CHECKS_AT_ONCE: usize = 32;

/// Machines that are loaded at once. The rest is loaded when these are done.
const BATCH: u32 = 256;

/// How often the loop looks for machines whose check is due, and how late a check may therefore be.
const TICK: Duration = Duration::from_secs(1);

/// Checks machines until `stop`: each one every [`App::health_interval`], new ones when poked.
pub async fn run(app: App, stop: CancellationToken) {
    let mut well = HashMap::new();
    while !stop.is_cancelled() {
        let more = tokio::select! {
            () = stop.cancelled() => break,
            checked = check_due(&app, &mut well) => checked,
        };
        match more {
            Ok(true) => continue,
            Ok(false) => {}
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(error, "the machines could not be checked");
            }
        }
        tokio::select! {
            () = stop.cancelled() => break,
            () = app.live.health_poked() => {}
            () = tokio::time::sleep(TICK) => {}
        }
    }
}

/// Asks a machine for its status and writes the answer down.
pub async fn machine_check(app: &App, machine: &Machine) -> Result<Facts, DbError> {
    let began = Began::now(&*app.clock);
    let outcome = app.tentacles.status(&Target::from(machine)).await;
    inventory_record(app, machine.id, began.at(&*app.clock), outcome).await
}

/// A process that is not proven yet, and since when it has been well in every check.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Well {
    instance: String,
    since: Timestamp,
}

/// The machines of all spaces whose check is due, each by the interval of its own, and whether there may be more.
async fn due(app: &App, conn: &mut Connection) -> Result<(Vec<MachineId>, bool), DbError> {
    let now = app.clock.now();
    let (mut due, mut more) = (Vec::new(), false);
    for space in space_ids(conn).await? {
        let interval = i64::try_from(app.health_interval(space).as_micros()).unwrap_or(i64::MAX);
        let found = facts_due(conn, space, Timestamp(now.0 - interval), now, BATCH).await?;
        more |= found.len() == BATCH as usize;
        due.extend(found);
    }
    Ok((due, more))
}

/// Checks the machines whose check is due. True if there may be more.
async fn check_due(app: &App, well: &mut HashMap<MachineId, Well>) -> Result<bool, DbError> {
    let mut conn = app.db.read().await?;
    let (due, more) = due(app, &mut conn).await?;
    if due.is_empty() {
        return Ok(false);
    }
    let machines = machine_some(&mut conn, &due).await?;
    let open = rollout_open(&mut conn).await?;
    drop(conn);
    let rows = open.iter().flat_map(|rollout| &rollout.machines);
    let in_flight: HashSet<MachineId> =
        rows.filter(|row| row.phase.kind().is_in_flight()).map(|row| row.machine).collect();
    let more = more && !machines.is_empty();
    let checks: Vec<_> = machines
        .into_iter()
        .map(|machine| {
            let before = well.remove(&machine.id);
            let in_flight = in_flight.contains(&machine.id);
            async move { (machine.id, check_and_confirm(app, &machine, before, in_flight).await) }
        })
        .collect();
    let mut checks = futures_util::stream::iter(checks).buffer_unordered(CHECKS_AT_ONCE);
    let mut failed = None;
    // Nothing else may be awaited in this loop: meanwhile the checks stand still, and one of them may have its turn with
    // the database's only writer.
    while let Some((id, checked)) = checks.next().await {
        match checked {
            Ok(Some(now)) => drop(well.insert(id, now)),
            Ok(None) => {}
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    // An offline machine of a rollout may have reappeared.
    app.live.poke_orchestrator();
    failed.map_or(Ok(more), Err)
}

/// Checks one machine, and confirms its process where that has been well for long enough. Returns what is to be
/// remembered for the next check. Of a machine that a rollout has in flight, the rollout takes care.
async fn check_and_confirm(
    app: &App,
    machine: &Machine,
    before: Option<Well>,
    in_flight: bool,
) -> Result<Option<Well>, DbError> {
    let facts = machine_check(app, machine).await?;
    if in_flight {
        return Ok(None);
    }
    match judge(before, &facts, app.deadlines(machine.space).proving_time) {
        Judgement::Nothing => Ok(None),
        Judgement::Watch(now) => Ok(Some(now)),
        Judgement::Confirm => confirm(app, machine, &facts).await.map(|()| None),
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Judgement {
    Nothing,
    Watch(Well),
    Confirm,
}

/// What a check means for a process that is not proven yet: seen well twice, a proving time apart, it is confirmed.
fn judge(before: Option<Well>, facts: &Facts, proving_time: Duration) -> Judgement {
    let report = match (&facts.contact, &facts.report) {
        (Contact::Answered, Some(report)) if is_unproven(report) && facts.problems().is_empty() => report,
        _ => return Judgement::Nothing,
    };
    match before.filter(|well| well.instance == report.instance_id) {
        Some(well) if report.at >= well.since.after(proving_time) => Judgement::Confirm,
        Some(well) => Judgement::Watch(well),
        None => Judgement::Watch(Well { instance: report.instance_id.clone(), since: report.at }),
    }
}

fn is_unproven(report: &Report) -> bool {
    report.supervisor_contract.is_some() && report.verdicts(&report.version).is_some_and(|verdicts| !verdicts.proven)
}

async fn confirm(app: &App, machine: &Machine, facts: &Facts) -> Result<(), DbError> {
    let Some(report) = &facts.report else { return Ok(()) };
    let Ok(instance) = report.instance_id.parse() else { return Ok(()) };
    match app.tentacles.confirm(&Target::from(machine), &instance, &report.version).await {
        Ok(()) => {
            tracing::info!(machine.id = %machine.id, machine.name = machine.name, version = %report.version, "confirmed");
            machine_check(app, machine).await.map(|_| ())
        }
        Err(error) => {
            tracing::warn!(machine.id = %machine.id, machine.name = machine.name, %error, "could not be confirmed");
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use contract::{Verdicts, Version};

    use super::*;
    use crate::db::environments::environment_insert;
    use crate::db::machines::machine_insert;
    use crate::ids::SpaceId;
    use crate::model::{InstalledVersion, Instances, NewEnvironment, NewMachine};
    use crate::tentacle::fake::{FakeMachine, FakeTentacles};

    fn facts(at: i64, instance: &str, proven: bool, problems: &[&str]) -> Facts {
        let version = Version::release(1, 0, 0);
        let verdicts = Verdicts { proven, ..Verdicts::default() };
        let report = Report {
            at: Timestamp(at),
            instance_seen_at: Timestamp(0),
            version: version.clone(),
            instance_id: instance.to_owned(),
            started_at: Timestamp(0),
            runtime: "linux-x64".to_owned(),
            os: String::new(),
            hostname: String::new(),
            supervisor_contract: Some(1),
            installed: vec![InstalledVersion { version, verdicts }],
            last_words: None,
            free_disk_bytes: 0,
            running_work: Vec::new(),
            generation: 0,
            problems: problems.iter().map(|p| (*p).to_owned()).collect(),
        };
        let tried_at = Timestamp(at);
        Facts {
            tried_at,
            contact: Contact::Answered,
            contact_since: tried_at,
            report: Some(report),
            instances: Instances::default(),
        }
    }

    const PROVING: Duration = Duration::from_micros(20);

    fn after(steps: &[Facts]) -> Judgement {
        steps.iter().fold(Judgement::Nothing, |before, facts| {
            let well = match before {
                Judgement::Watch(well) => Some(well),
                Judgement::Nothing | Judgement::Confirm => None,
            };
            judge(well, facts, PROVING)
        })
    }

    #[tokio::test]
    async fn many_machines_are_confirmed_in_one_round_and_hold_up_nobody() {
        const MACHINES: u8 = 40;
        let tentacles = FakeTentacles::default();
        let test = App::for_tests().await.with(|app| app.tentacles = std::sync::Arc::new(tentacles.clone()));
        let mut tx = test.db.write().await.unwrap();
        let name = "Production".parse().unwrap();
        let new = NewEnvironment { name, description: String::new(), sort_order: None, is_disabled: false };
        let environment = environment_insert(&mut tx, SpaceId::DEFAULT, &new).await.unwrap().id;
        for number in 0..MACHINES {
            let new = NewMachine {
                name: format!("web{number}"),
                address: "https://127.0.0.1:10933/".parse().unwrap(),
                thumbprint: contract::Thumbprint([number; 32]),
                is_disabled: false,
                environments: vec![environment],
                roles: Vec::new(),
            };
            let id = machine_insert(&mut tx, SpaceId::DEFAULT, &new, test.now()).await.unwrap().id;
            let mut fake = FakeMachine::running(Version::release(1, 0, 0));
            fake.status.installed[0].verdicts.proven = false;
            tentacles.machines().insert(id, fake);
        }
        tx.commit().await.unwrap();
        let mut well = HashMap::new();
        check_due(&test.app, &mut well).await.unwrap();
        assert_eq!(well.len(), usize::from(MACHINES));
        test.clock.advance(test.health_interval + test.rollout.proving_time);
        check_due(&test.app, &mut well).await.expect("no check waits for another that stands still");
        assert!(tentacles.machines().values().all(|fake| fake.confirmed.len() == 1));
        assert!(well.is_empty());
    }

    #[test]
    fn a_process_seen_well_twice_a_proving_time_apart_is_confirmed() {
        assert_eq!(after(&[facts(100, "a", false, &[]), facts(120, "a", false, &[])]), Judgement::Confirm);
    }

    #[test]
    fn a_process_seen_well_too_soon_again_is_watched_on() {
        let early = after(&[facts(100, "a", false, &[]), facts(119, "a", false, &[])]);
        assert_eq!(early, Judgement::Watch(Well { instance: "a".to_owned(), since: Timestamp(100) }));
    }

    #[test]
    fn a_problem_or_a_new_process_starts_the_proving_time_anew() {
        let well = |at| facts(at, "a", false, &[]);
        assert_ne!(after(&[well(100), facts(110, "a", false, &["disk full"]), well(120)]), Judgement::Confirm);
        assert_ne!(after(&[well(100), facts(120, "b", false, &[])]), Judgement::Confirm);
    }

    #[test]
    fn a_proven_process_needs_nothing() {
        assert_eq!(after(&[facts(100, "a", true, &[]), facts(120, "a", true, &[])]), Judgement::Nothing);
    }
}
