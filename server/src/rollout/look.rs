//! What the planner asks of the database. Read once for all open rollouts of a turn: only what they need, in a number of
//! statements that does not grow with the number of rollouts that share their machines.

use std::collections::{BTreeSet, HashMap, HashSet};

use contract::Version;

use super::calendar::{Calendar, Closed};
use super::hindrance::{Hindrance, Hold};
use super::phase::PhaseKind;
use super::plan::{Elsewhere, Limits, Observation, hindrances};
use super::state::{Deadlines, Rollout};
use super::strategy::{Candidate, role_sizes};
use super::why::{Known, Why};
use crate::app::App;
use crate::clock::Timestamp;
use crate::db::environments::environment_list;
use crate::db::facts::facts_of;
use crate::db::machine_holds::hold_list;
use crate::db::machines::{machine_role_sizes, machine_some};
use crate::db::maintenance::calendar_load;
use crate::db::places::{place_last, place_of, place_rollouts};
use crate::db::rollouts::{
    Place, generation_issued, places_live, rollout_get, rollout_machines_last, rollout_open, rollout_packages,
};
use crate::db::spaces::space_list_stopped;
use crate::db::version_failures::{version_failures, version_failures_by_runtime, version_retries};
use crate::db::{Connection, DbError};
use crate::ids::{EnvironmentId, MachineId, RolloutId, SpaceId};
use crate::model::{Facts, Machine, TaskQueue};
use crate::restored::restored_open;

/// What is known of the machines of some rollouts, at one moment.
#[derive(Debug)]
pub struct Snapshot {
    machines: HashMap<MachineId, Machine>,
    facts: HashMap<MachineId, Facts>,
    holds: HashMap<MachineId, Hold>,
    disabled: HashSet<EnvironmentId>,
    failures: HashMap<(SpaceId, Version), Failures>,
    packages: HashMap<RolloutId, HashMap<String, u64>>,
    role_sizes: HashMap<(EnvironmentId, String), usize>,
    held: Option<String>,
    issued_generation: u64,
    deadlines: HashMap<SpaceId, Deadlines>,
    stopped: HashSet<SpaceId>,
    calendars: HashMap<SpaceId, Calendar>,
    now: Timestamp,
}

/// Where a version failed and was not released since.
#[derive(Debug)]
struct Failures {
    /// How, on each machine.
    on: HashMap<MachineId, String>,
    /// Those that a person named to be tried again.
    again: HashSet<MachineId>,
    /// On how many machines of each runtime.
    by_runtime: HashMap<String, usize>,
}

impl Snapshot {
    /// Reads what is known of the machines of `rollouts`.
    pub async fn read(app: &App, conn: &mut Connection, rollouts: &[Rollout]) -> Result<Self, DbError> {
        let ids: BTreeSet<MachineId> =
            rollouts.iter().flat_map(|rollout| &rollout.machines).map(|m| m.machine).collect();
        let ids: Vec<MachineId> = ids.into_iter().collect();
        let spaces: BTreeSet<SpaceId> = rollouts.iter().map(|rollout| rollout.space).collect();
        let mut known = Self {
            machines: machine_some(conn, &ids).await?.into_iter().map(|machine| (machine.id, machine)).collect(),
            facts: facts_of(conn, &ids).await?,
            holds: HashMap::new(),
            disabled: HashSet::new(),
            failures: HashMap::new(),
            packages: HashMap::new(),
            role_sizes: HashMap::new(),
            held: restored_open(conn).await?.map(|restored| restored.reason()),
            issued_generation: generation_issued(conn).await?,
            deadlines: spaces.iter().map(|space| (*space, app.deadlines(*space))).collect(),
            stopped: space_list_stopped(conn).await?,
            calendars: HashMap::new(),
            now: app.clock.now(),
        };
        for space in spaces {
            let environments = environment_list(conn, space).await?;
            known.disabled.extend(environments.into_iter().filter(|e| e.is_disabled).map(|e| e.id));
            known.holds.extend(hold_list(conn, space, known.now).await?);
            known.calendars.insert(space, calendar_load(conn, space, known.now).await?);
            if rollouts.iter().any(|rollout| rollout.space == space && limits_roles(rollout)) {
                known.role_sizes.extend(machine_role_sizes(conn, space).await?);
            }
        }
        for rollout in rollouts {
            let packages = rollout_packages(conn, rollout.id).await?;
            known.packages.insert(rollout.id, packages.into_iter().map(|p| (p.runtime, p.size)).collect());
            let of = (rollout.space, rollout.target.clone());
            if known.failures.contains_key(&of) {
                continue;
            }
            let on = version_failures(conn, &rollout.target).await?;
            let again = version_retries(conn, &rollout.target).await?;
            let by_runtime = version_failures_by_runtime(conn, rollout.space, &rollout.target).await?;
            known.failures.insert(of, Failures { on, again, by_runtime });
        }
        Ok(known)
    }

    /// Everything that the planner asks of one of the rollouts that this was read for. `open` are all that are open.
    pub fn look(&self, open: &[Rollout], rollout: &Rollout) -> (HashMap<MachineId, Observation>, Limits) {
        let failures = self.failures.get(&(rollout.space, rollout.target.clone()));
        let limits = Limits {
            deadlines: self.deadlines.get(&rollout.space).copied().unwrap_or_default(),
            queue: TaskQueue::of(self.stopped.contains(&rollout.space)),
            held: self.held.clone(),
            issued_generation: self.issued_generation,
            packages: self.packages.get(&rollout.id).cloned().unwrap_or_default(),
            failed_on: failures.map(|failures| failures.by_runtime.clone()).unwrap_or_default(),
            role_sizes: if limits_roles(rollout) { self.role_sizes.clone() } else { HashMap::new() },
        };
        let elsewhere = elsewhere(open, rollout);
        let calendar = self.calendars.get(&rollout.space);
        // Most machines share their environments with many others.
        let mut closed: HashMap<Vec<EnvironmentId>, Option<Closed>> = HashMap::new();
        let mut observe = |id: MachineId| {
            let machine = self.machines.get(&id).filter(|machine| machine.space == rollout.space)?;
            let observation = Observation {
                withdrawn: machine.is_disabled || machine.environments.iter().all(|e| self.disabled.contains(e)),
                facts: self.facts.get(&id).cloned(),
                elsewhere: elsewhere.get(&id).copied(),
                call_under_way: false,
                closed: closed
                    .entry(machine.environments.clone())
                    .or_insert_with_key(|ids| calendar.and_then(|calendar| calendar.closed(ids, self.now)))
                    .clone(),
                hold: self.holds.get(&id).cloned(),
                failed_before: failures.and_then(|failures| failures.on.get(&id).cloned()),
                tried_again: failures.is_some_and(|failures| failures.again.contains(&id)),
                groups: if limits_roles(rollout) { groups(machine) } else { Vec::new() },
            };
            Some((id, observation))
        };
        (rollout.machines.iter().filter_map(|machine| observe(machine.machine)).collect(), limits)
    }
}

/// Why each machine of a rollout that waits does so, in words: what the planner itself would say now.
pub async fn why(app: &App, conn: &mut Connection, rollout: &Rollout) -> Result<HashMap<MachineId, String>, DbError> {
    let found = hindered(app, conn, rollout).await?;
    Ok(found.into_iter().map(|(machine, hindrance)| (machine, hindrance.to_string())).collect())
}

/// What keeps each machine of a rollout that waits: what the planner itself would say now.
pub async fn hindered(
    app: &App,
    conn: &mut Connection,
    rollout: &Rollout,
) -> Result<HashMap<MachineId, Hindrance>, DbError> {
    let open = rollout_open(conn).await?;
    let known = Snapshot::read(app, conn, std::slice::from_ref(rollout)).await?;
    let (seen, limits) = known.look(&open, rollout);
    Ok(hindrances(rollout, &seen, &limits, app.clock.now()))
}

/// Why each of some machines of a space is not upgraded.
pub async fn whys(
    app: &App,
    conn: &mut Connection,
    space: SpaceId,
    machines: &[(&Machine, Option<&Facts>)],
) -> Result<HashMap<MachineId, Why>, DbError> {
    let open = rollout_open(conn).await?;
    let mut places = rollout_machines_last(conn, space).await?;
    places.extend(places_live(&open, space));
    whys_among(app, conn, space, machines, &open, &places).await
}

/// Why one machine is not upgraded. Reads no rollout but those that it waits in, because what keeps it there may lie in
/// their other machines.
pub async fn why_of(
    app: &App,
    conn: &mut Connection,
    machine: &Machine,
    facts: Option<&Facts>,
) -> Result<Why, DbError> {
    let place = match place_of(conn, machine.space, machine.id).await? {
        Some(place) => Some(place),
        None => place_last(conn, machine.id).await?,
    };
    let mut open = Vec::new();
    if place.as_ref().is_some_and(|place| place.machine.phase.kind() == PhaseKind::Waiting) {
        for id in place_rollouts(conn, machine.id).await? {
            open.extend(rollout_get(conn, machine.space, id).await?);
        }
    }
    let places = place.into_iter().map(|place| (machine.id, place)).collect();
    let mut found = whys_among(app, conn, machine.space, &[(machine, facts)], &open, &places).await?;
    Ok(found.remove(&machine.id).unwrap_or(Why::NeverAsked))
}

/// `open` are the rollouts that may keep one of the machines waiting, `places` where the machines stand.
async fn whys_among(
    app: &App,
    conn: &mut Connection,
    space: SpaceId,
    machines: &[(&Machine, Option<&Facts>)],
    open: &[Rollout],
    places: &HashMap<MachineId, Place>,
) -> Result<HashMap<MachineId, Why>, DbError> {
    let now = app.clock.now();
    let known = Snapshot::read(app, conn, open).await?;
    let mut found = HashMap::new();
    for rollout in open.iter().filter(|rollout| rollout.space == space) {
        let (seen, limits) = known.look(open, rollout);
        found.insert(rollout.id, hindrances(rollout, &seen, &limits, now));
    }
    let environments = environment_list(conn, space).await?;
    let disabled: HashSet<EnvironmentId> = environments.iter().filter(|e| e.is_disabled).map(|e| e.id).collect();
    let holds = hold_list(conn, space, now).await?;
    let bundled = app.bundle.version();
    let (failed, again, failed_on) = match bundled {
        Some(version) => (
            version_failures(conn, version).await?,
            version_retries(conn, version).await?,
            version_failures_by_runtime(conn, space, version).await?,
        ),
        None => (HashMap::new(), HashSet::new(), HashMap::new()),
    };
    let nowhere = HashMap::new();
    let packages = app.bundle.packages().iter().map(|package| (package.runtime.clone(), package.size)).collect();
    let why_one = |(machine, facts): &(&Machine, Option<&Facts>)| {
        let place = places.get(&machine.id);
        let known = Known {
            is_disabled: machine.is_disabled,
            environments_are_disabled: machine.environments.iter().all(|e| disabled.contains(e)),
            facts: *facts,
            bundled,
            packages: &packages,
            hold: holds.get(&machine.id),
            failed_before: failed.get(&machine.id).map(String::as_str),
            failed_on: if again.contains(&machine.id) { &nowhere } else { &failed_on },
            place,
            hindrance: place.and_then(|place| found.get(&place.rollout)?.get(&machine.id)),
        };
        (machine.id, super::why::why(&known))
    };
    Ok(machines.iter().map(why_one).collect())
}

fn limits_roles(rollout: &Rollout) -> bool {
    rollout.strategy.max_percent_of_role.is_some()
}

/// Each role of a machine in each of its environments.
fn groups(machine: &Machine) -> Vec<(EnvironmentId, String)> {
    let candidate = Candidate { environments: machine.environments.clone(), roles: machine.roles.clone() };
    role_sizes([&candidate].into_iter()).into_keys().collect()
}

/// How other rollouts have the machines of `rollout`. Pure.
pub fn elsewhere(open: &[Rollout], rollout: &Rollout) -> HashMap<MachineId, Elsewhere> {
    let mut found = HashMap::new();
    for other in open.iter().filter(|other| other.id < rollout.id) {
        for machine in other.machines.iter().filter(|machine| machine.phase.kind().is_in_flight()) {
            found.insert(machine.machine, Elsewhere::Older(other.id));
        }
    }
    // The newest has the last word.
    for other in open.iter().filter(|other| other.id > rollout.id && other.cancel_requested_at.is_none()) {
        for machine in other.machines.iter().filter(|machine| !machine.phase.kind().is_final()) {
            found.insert(machine.machine, Elsewhere::Newer(other.id));
        }
    }
    found
}

#[cfg(test)]
#[path = "look_tests.rs"]
mod tests;
