//! Making rollouts: the wish is written down, and the orchestrator is poked. Used by pages and API alike.

use std::collections::HashSet;

use contract::{PackageId, Version};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::hands::{Hand, OUTSIDE};
use super::phase::{PhaseKind, SkipReason};
use super::state::Rollout;
use super::strategy::{Amount, Candidate, CutWave, MAX_IN_FLIGHT_MAX, Members, Strategy, StrategyError};
use crate::app::App;
use crate::audit::{Deed, rollout_state};
use crate::clock::Timestamp;
use crate::counts::count;
use crate::db::environments::environment_list;
use crate::db::facts::facts_list;
use crate::db::machines::machine_list;
use crate::db::packages::package_list;
use crate::db::policies::{Scope, scope_insert};
use crate::db::rollouts::{NewRollout, NewRolloutMachine, RolloutPackage, rollout_get, rollout_insert};
use crate::db::tasks::{task_insert, task_log_append};
use crate::db::version_failures::version_failures_retry;
use crate::db::{Connection, DbError};
use crate::ids::{EnvironmentId, MachineId, RolloutId, SpaceId};
use crate::live::Change;
use crate::model::{AuditCategory, AuditKind, Contact, LogCategory, Machine, NewTask, VersionState};
use crate::restored::restored_open;

/// Which machines a rollout is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Selection {
    /// Every enabled machine in an enabled environment that is not up to date.
    All,
    /// The same, of these environments.
    Environments(Vec<EnvironmentId>),
    /// These machines.
    Machines(Vec<MachineId>),
}

/// What somebody wishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolloutRequest {
    /// For which machines.
    pub selection: Selection,
    /// To which version; `None` for the bundled one.
    pub target: Option<Version>,
    /// Of those only the ones with one of these roles; empty for all.
    pub roles: Vec<String>,
    /// How to go about it; `None` for the default.
    pub strategy: Option<Strategy>,
    /// Instead of the strategy's own.
    pub max_in_flight: Option<Amount>,
    /// Instead of the strategy's own.
    pub failure_budget: Option<Amount>,
    /// When to begin; `None` for at once.
    pub start_at: Option<Timestamp>,
    /// What the task is called; `None` for a sentence made of the selection.
    pub description: Option<String>,
    /// Whether machines that are named are tried though the version failed on them before.
    pub failed_before: FailedBefore,
}

/// See [`RolloutRequest::failed_before`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FailedBefore {
    /// Who names a machine wants it tried, whatever happened there before.
    #[default]
    TriedAgain,
    /// They were not named one by one, but found by what they have in common.
    LeftAlone,
}

impl RolloutRequest {
    /// The wish for the bundled version, gone about as by default.
    pub fn of(selection: Selection) -> Self {
        Self {
            selection,
            target: None,
            roles: Vec::new(),
            strategy: None,
            max_in_flight: None,
            failure_budget: None,
            start_at: None,
            description: None,
            failed_before: FailedBefore::default(),
        }
    }

    /// The machines that are to be tried though the version failed on them before.
    pub(super) fn tried_again(&self) -> HashSet<MachineId> {
        match (&self.selection, self.failed_before) {
            (Selection::Machines(ids), FailedBefore::TriedAgain) => ids.iter().copied().collect(),
            _ => HashSet::new(),
        }
    }

    /// How to go about it, checked.
    pub fn strategy(&self) -> Result<Strategy, StrategyError> {
        let mut strategy = self.strategy.clone().unwrap_or_default();
        strategy.max_in_flight = self.max_in_flight.unwrap_or(strategy.max_in_flight);
        strategy.failure_budget = self.failure_budget.unwrap_or(strategy.failure_budget);
        strategy.check()?;
        Ok(strategy)
    }
}

/// Why a rollout was not made, or a hand not done. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum RolloutError {
    /// There is nothing to bring machines to.
    #[error(
        "this portal carries no Tentacle package: put Octopus.Tentacle.<runtime>.<version>.nupkg files into its bundle \
         folder and start it again, or upload one and name its version"
    )]
    NothingBundled,
    /// The version is not in the store.
    #[error(
        "there is no Tentacle package of version {version}: upload Octopus.Tentacle.<runtime>.{version}.nupkg first"
    )]
    NoPackage {
        /// The version asked for.
        version: Version,
    },
    /// A machine that was named is not there.
    #[error("there is no machine {id}")]
    NoMachine {
        /// Its id.
        id: MachineId,
    },
    /// An environment that was named is not there.
    #[error("there is no environment {id}")]
    NoEnvironment {
        /// Its id.
        id: EnvironmentId,
    },
    /// Nothing is left to do.
    #[error("there is nothing to upgrade: {why}")]
    NothingToDo {
        /// Why no machine was chosen.
        why: String,
    },
    /// The strategy makes no sense.
    #[error(transparent)]
    Strategy(#[from] StrategyError),
    /// There is no such wave.
    #[error("there is no wave {number}: this rollout has {waves}")]
    NoWave {
        /// The number asked for, from 1.
        number: usize,
        /// How many there are.
        waves: usize,
    },
    /// Only what waits can be left out.
    #[error("{name} cannot be left out any more: it is {phase}")]
    NotWaiting {
        /// The machine.
        name: String,
        /// Where it stands.
        phase: PhaseKind,
    },
    /// There is no such rollout.
    #[error("there is no rollout {id}")]
    NoRollout {
        /// Its id.
        id: RolloutId,
    },
    /// It is over already.
    #[error("{id} is over already")]
    Over {
        /// Its id.
        id: RolloutId,
    },
    /// It is paused, and only who resumes it can have it begin.
    #[error("{id} is paused: resume it first")]
    Paused {
        /// Its id.
        id: RolloutId,
    },
    /// The portal was restored, and nobody has confirmed that.
    #[error("no rollout can begin or go on now, because {reason}. {}", crate::restored::WHAT_TO_DO)]
    Restored {
        /// What happened.
        reason: String,
    },
    /// No machine can be brought back.
    #[error("there is nothing to undo: {id} changed no machine that could be brought back{left}")]
    NothingToUndo {
        /// The rollout.
        id: RolloutId,
        /// The machines that it changed and that stay as they are.
        left: String,
    },
    /// The database failed.
    #[error("the rollout could not be written down")]
    Db(#[from] DbError),
}

/// Writes down the wish to bring machines to a version, and pokes the orchestrator.
pub async fn rollout_create(
    app: &App,
    space: SpaceId,
    who: &str,
    request: RolloutRequest,
) -> Result<Rollout, RolloutError> {
    let mut tx = app.db.write().await?;
    let rollout = rollout_write(app, &mut tx, space, who, request).await?;
    tx.commit().await.map_err(DbError::from)?;
    rollout_tell(app, &rollout);
    Ok(rollout)
}

/// Refuses while the portal is restored and nobody has confirmed that.
pub(super) async fn may_begin(conn: &mut Connection) -> Result<(), RolloutError> {
    match restored_open(conn).await? {
        Some(restored) => Err(RolloutError::Restored { reason: restored.reason() }),
        None => Ok(()),
    }
}

/// Tells that a new rollout was committed.
pub(super) fn rollout_tell(app: &App, rollout: &Rollout) {
    rollout.machines.iter().for_each(|row| app.live.tell(Change::Machine(row.machine)));
    app.live.tell(Change::Rollout(rollout.id));
    app.live.tell(Change::Task(rollout.task));
    app.live.poke_orchestrator();
}

/// Writes down a wish in a transaction that the caller commits, and tells of afterwards.
pub(super) async fn rollout_write(
    app: &App,
    tx: &mut Connection,
    space: SpaceId,
    who: &str,
    request: RolloutRequest,
) -> Result<Rollout, RolloutError> {
    may_begin(tx).await?;
    let now = app.clock.now();
    let draft = draw_up(app, tx, space, &request).await?;
    let left = draft.up_to_date();
    let Draft { target, strategy, waves, max_in_flight, failure_budget, machines, packages, .. } = draft;
    let machines: Vec<NewRolloutMachine> = machines.into_iter().map(|(machine, _)| machine).collect();
    let again = request.tried_again();
    for machine in machines.iter().filter(|machine| again.contains(&machine.machine)) {
        version_failures_retry(tx, &target, machine.machine, now).await?;
    }
    let description = match request.description {
        Some(description) if !description.trim().is_empty() => description,
        _ => format!("Upgrade {} to {target}", count(machines.len(), "machine")),
    };
    let selection = serde_json::to_value(&request.selection).unwrap_or_default();
    let task = NewTask {
        space,
        name: "Upgrade".to_owned(),
        description,
        arguments: serde_json::json!({ "Selection": selection, "Roles": request.roles, "TargetVersion": target.to_string() }),
        created_by: who.to_owned(),
    };
    let task = task_insert(tx, &task, now).await?;
    let line = format!(
        "{who} wishes {} at {target}: {}; at most {max_in_flight} at once; it stops at {}",
        count(machines.len(), "machine"),
        in_words(&waves),
        count(usize::try_from(failure_budget).unwrap_or(usize::MAX), "failure")
    );
    task_log_append(tx, task, None, now, LogCategory::Info, &line).await?;
    let emergency = strategy.ignore_windows.clone();
    let new = NewRollout {
        space,
        task,
        target,
        undo_of: None,
        selection: selection.to_string(),
        strategy,
        waves,
        start_at: request.start_at.filter(|at| *at > now),
        max_in_flight,
        failure_budget,
        created_by: who.to_owned(),
        created_at: now,
        machines,
        packages,
    };
    let id = rollout_insert(tx, &new).await?;
    let line = format!("wished {} at {} ({id})", count(new.machines.len(), "machine"), new.target);
    let deed = Deed::new(AuditKind::Rollout, AuditCategory::Created, "Create", line).by(who).on(id).on(task);
    match &request.selection {
        Selection::All => deed,
        Selection::Environments(ids) => deed.on_all(ids),
        Selection::Machines(ids) => deed.on_all(ids),
    }
    .changed(Value::Null, rollout_state(&new))
    .write(tx, space, now)
    .await?;
    if let Some(why) = emergency {
        let line = format!("{who} lets {OUTSIDE}: {why}");
        task_log_append(tx, task, None, now, LogCategory::Warning, &line).await?;
        let line = format!("let {OUTSIDE}, in {id}: {why}");
        let what = Hand::IgnoreWindows.word();
        Deed::new(AuditKind::Rollout, AuditCategory::Modified, what, line).by(who).on(id).write(tx, space, now).await?;
    }
    let scope = Scope { selection: request.selection, roles: request.roles };
    scope_insert(tx, id, &scope, &left).await?;
    rollout_get(tx, space, id).await?.ok_or(RolloutError::NoRollout { id })
}

/// A rollout as it would be made at this moment.
pub(super) struct Draft {
    pub target: Version,
    pub strategy: Strategy,
    pub waves: Vec<CutWave>,
    pub max_in_flight: u32,
    pub failure_budget: u32,
    /// In their order, each with what the strategy looked at.
    pub machines: Vec<(NewRolloutMachine, Candidate)>,
    pub packages: Vec<RolloutPackage>,
    /// Machines that were meant and are not in it.
    pub left_out: Vec<LeftOut>,
}

impl Draft {
    /// Those that were looked at and run the target or a newer version.
    fn up_to_date(&self) -> Vec<MachineId> {
        let is_up_to_date = |left: &&LeftOut| matches!(left.why, SkipReason::UpToDate | SkipReason::Newer { .. });
        self.left_out.iter().filter(is_up_to_date).map(|left| left.machine).collect()
    }
}

/// A machine that was meant and is not in a rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// The machine.
    pub machine: MachineId,
    /// Its name.
    pub name: String,
    /// Why.
    pub why: SkipReason,
}

/// Chooses the machines and cuts them into waves. Writes nothing.
pub(super) async fn draw_up(
    app: &App,
    conn: &mut Connection,
    space: SpaceId,
    request: &RolloutRequest,
) -> Result<Draft, RolloutError> {
    let strategy = request.strategy()?;
    let (target, packages) = packages(app, conn, space, request.target.as_ref()).await?;
    let (selected, left_out) = select(conn, space, request, &target).await?;
    let (max_in_flight, failure_budget) =
        (strategy.max_in_flight.of(selected.len()).min(MAX_IN_FLIGHT_MAX), strategy.failure_budget.of(selected.len()));
    let candidates: Vec<Candidate> = selected.iter().map(|(_, candidate)| candidate.clone()).collect();
    let cut = named(conn, space, &strategy).await?.cut(&candidates, app.deadlines(space).soak);
    let mut machines = selected;
    for ((machine, _), wave) in machines.iter_mut().zip(&cut.wave_of) {
        machine.wave = *wave;
    }
    machines.sort_by_key(|(machine, _)| machine.wave);
    Ok(Draft { target, strategy, waves: cut.waves, max_in_flight, failure_budget, machines, packages, left_out })
}

/// The strategy, with a wave that takes an environment called as that is.
async fn named(conn: &mut Connection, space: SpaceId, strategy: &Strategy) -> Result<Strategy, DbError> {
    let mut named = strategy.clone();
    let environments = environment_list(conn, space).await?;
    for wave in named.waves.iter_mut().filter(|wave| wave.name.trim().is_empty()) {
        let Members::Environment(id) = &wave.members else { continue };
        let found = environments.iter().find(|environment| environment.id == *id);
        // One that was deleted since the strategy was written down takes nobody, and has no name.
        wave.name = found.map(|environment| environment.name.to_string()).unwrap_or_default();
    }
    Ok(named)
}

/// The target and its packages: what is bundled, or what was uploaded.
async fn packages(
    app: &App,
    conn: &mut Connection,
    space: SpaceId,
    target: Option<&Version>,
) -> Result<(Version, Vec<RolloutPackage>), RolloutError> {
    let bundled = app.bundle.version();
    let Some(target) = target.or(bundled).cloned() else { return Err(RolloutError::NothingBundled) };
    let mut packages: Vec<RolloutPackage> = Vec::new();
    if bundled == Some(&target) {
        packages.extend(app.bundle.packages().iter().map(|package| RolloutPackage {
            runtime: package.runtime.clone(),
            sha256: package.sha256,
            size: package.size,
        }));
    }
    for uploaded in package_list(conn, space).await?.into_iter().filter(|p| p.package.version == target) {
        let runtime = PackageId::tentacle_runtime(&uploaded.package.package_id).map(str::to_owned);
        if let Some(runtime) = runtime.filter(|runtime| packages.iter().all(|package| package.runtime != *runtime)) {
            packages.push(RolloutPackage { runtime, sha256: uploaded.package.sha256, size: uploaded.package.size });
        }
    }
    if packages.is_empty() { Err(RolloutError::NoPackage { version: target }) } else { Ok((target, packages)) }
}

/// The waves in words: `1 machine first (Canary), then 3 (10 %)`.
fn in_words(waves: &[CutWave]) -> String {
    let parts = waves.iter().map(|wave| format!("{} ({})", wave.size, wave.title));
    parts.collect::<Vec<_>>().join(", then ")
}

/// Why a machine that runs `version` needs no upgrade to `target`; `None` where it does.
fn needs_none(version: &Version, target: &Version) -> Option<SkipReason> {
    match VersionState::of(Some(version), Some(target)) {
        VersionState::UpToDate => Some(SkipReason::UpToDate),
        VersionState::NewerThanBundled => Some(SkipReason::Newer { version: version.to_string() }),
        VersionState::UpgradeAvailable | VersionState::Unknown => None,
    }
}

/// The machines of a selection that are not known to be up to date, in the order of their environments; in each those
/// that answered last come first, by name.
async fn select(
    conn: &mut Connection,
    space: SpaceId,
    request: &RolloutRequest,
    target: &Version,
) -> Result<(Vec<(NewRolloutMachine, Candidate)>, Vec<LeftOut>), RolloutError> {
    let environments = environment_list(conn, space).await?;
    let mut machines = machine_list(conn, space).await?;
    let facts = facts_list(conn, space).await?;
    let place = |machine: &Machine| environments.iter().position(|e| machine.environments.contains(&e.id));
    let answers = |machine: &Machine| facts.get(&machine.id).is_some_and(|facts| facts.contact == Contact::Answered);
    machines.sort_by_key(|machine| (place(machine), !answers(machine), machine.name.to_lowercase()));
    match &request.selection {
        Selection::All => {}
        Selection::Environments(ids) => {
            if let Some(id) = ids.iter().find(|id| environments.iter().all(|e| e.id != **id)) {
                return Err(RolloutError::NoEnvironment { id: *id });
            }
            machines.retain(|machine| machine.environments.iter().any(|id| ids.contains(id)));
        }
        Selection::Machines(ids) => {
            if let Some(id) = ids.iter().find(|id| machines.iter().all(|machine| machine.id != **id)) {
                return Err(RolloutError::NoMachine { id: *id });
            }
            machines.retain(|machine| ids.contains(&machine.id));
        }
    }
    let fits = |role: &String| request.roles.iter().any(|wanted| wanted.trim().eq_ignore_ascii_case(role));
    machines.retain(|machine| request.roles.is_empty() || machine.roles.iter().any(fits));
    if machines.is_empty() {
        return Err(RolloutError::NothingToDo { why: "no machine was chosen".to_owned() });
    }
    let enabled = |id: &EnvironmentId| environments.iter().any(|e| e.id == *id && !e.is_disabled);
    let mut left_out = Vec::new();
    let mut keep = |machine: &Machine, why: Option<SkipReason>| match why {
        Some(why) => {
            left_out.push(LeftOut { machine: machine.id, name: machine.name.clone(), why });
            false
        }
        None => true,
    };
    machines.retain(|machine| {
        let may = !machine.is_disabled && machine.environments.iter().any(enabled);
        keep(machine, (!may).then_some(SkipReason::Withdrawn))
    });
    if machines.is_empty() {
        return Err(RolloutError::NothingToDo { why: "every machine chosen is disabled".to_owned() });
    }
    let chosen = machines.len();
    let reported = |machine: &Machine| facts.get(&machine.id)?.report.as_ref().map(|report| report.version.clone());
    machines.retain(|machine| {
        let version = reported(machine);
        let needs_none = version.and_then(|version| needs_none(&version, target));
        keep(machine, needs_none)
    });
    if machines.is_empty() {
        let why = format!("all of {chosen} chosen run {target} or a newer version; a downgrade is not offered");
        return Err(RolloutError::NothingToDo { why });
    }
    let new = |machine: Machine| {
        let from = reported(&machine);
        let candidate = Candidate { environments: machine.environments, roles: machine.roles };
        (
            NewRolloutMachine { machine: machine.id, name: machine.name, from, wave: 0, back: None, skipped: None },
            candidate,
        )
    };
    Ok((machines.into_iter().map(new).collect(), left_out))
}
