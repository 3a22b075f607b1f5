//! Undo: a rollout that brings exactly the machines that another one changed back, each to its own previous version. That is
//! still on the machine's disk, so no bytes move. Used by pages and API alike.
//!
//! The rollout that is undone is cancelled for good in the same transaction. Machines that it commanded and that are not
//! settled yet are in the undo too, and follow as soon as it is known what became of them.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use contract::Version;

use super::create::{RolloutError, Selection, may_begin};
use super::hands::{WHY_MAX, Who};
use super::phase::{PhaseKind, SkipReason};
use super::state::{Return, Rollout, RolloutMachine};
use super::strategy::{Candidate, CutWave, MAX_IN_FLIGHT_MAX, Strategy};
use crate::app::App;
use crate::audit::{Deed, because};
use crate::clock::Timestamp;
use crate::counts::count;
use crate::db::facts::facts_list;
use crate::db::machines::machine_list;
use crate::db::rollouts::{
    NewRollout, NewRolloutMachine, rollout_cancel_request, rollout_get, rollout_insert, rollout_undo_of,
};
use crate::db::tasks::{task_cancel_request, task_insert, task_log_append};
use crate::db::{Connection, DbError};
use crate::ids::{MachineId, RolloutId, SpaceId, TaskId};
use crate::live::Change;
use crate::model::{AuditCategory, AuditKind, Facts, LogCategory, NewTask};

/// What an undo does with one machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WayBack {
    /// It is brought back.
    Goes(Return),
    /// It was changed, and is left as it is all the same.
    Stays(SkipReason),
}

/// What an undo of a rollout would do. Machines that are not in it were not changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UndoPlan {
    /// The machines in their order.
    pub machines: Vec<(MachineId, String, WayBack)>,
}

impl UndoPlan {
    /// What is done with each machine of `rollout` that is still there.
    pub fn of(rollout: &Rollout, facts: &HashMap<MachineId, Facts>, is_there: impl Fn(MachineId) -> bool) -> Self {
        let there = rollout.machines.iter().filter(|machine| is_there(machine.machine));
        let way = |machine: &RolloutMachine| {
            let way = way_back(machine, &rollout.target, facts.get(&machine.machine))?;
            Some((machine.machine, machine.name.clone(), way))
        };
        Self { machines: there.filter_map(way).collect() }
    }

    /// How many are brought back.
    pub fn goes(&self) -> usize {
        self.machines.iter().filter(|(.., way)| matches!(way, WayBack::Goes(_))).count()
    }

    /// The whole of it in sentences.
    pub fn sentence(&self) -> String {
        let mut versions: BTreeMap<&Version, usize> = BTreeMap::new();
        let mut stays = Vec::new();
        for (_, name, way) in &self.machines {
            match way {
                WayBack::Goes(back) => *versions.entry(&back.to).or_default() += 1,
                WayBack::Stays(reason) => stays.push(format!("{name} ({})", reason.sentence())),
            }
        }
        let parts: Vec<String> = versions
            .iter()
            .rev()
            .map(|(version, machines)| format!("{} to {version}", count(*machines, "machine")))
            .collect();
        let more = stays.len().saturating_sub(NAMES_MAX);
        stays.truncate(NAMES_MAX);
        if more > 0 {
            stays.push(format!("and {more} more"));
        }
        let left = if stays.is_empty() { String::new() } else { format!(". Left as they are: {}", stays.join(", ")) };
        format!("{}{left}", parts.join(", "))
    }
}

/// Names of machines that are left out which a sentence lists. The page of the undo lists them all.
const NAMES_MAX: usize = 5;

/// What an undo does with a machine of a rollout to `target`; `None` where the rollout did not change it.
fn way_back(machine: &RolloutMachine, target: &Version, facts: Option<&Facts>) -> Option<WayBack> {
    let kind = machine.phase.kind();
    let from = machine.target(target);
    let Some(to) = machine.previous.clone() else {
        return (kind == PhaseKind::Upgraded).then_some(WayBack::Stays(SkipReason::NoRecord));
    };
    let goes = || Some(WayBack::Goes(Return { from: from.clone(), to: to.clone() }));
    let runs = facts.and_then(|facts| facts.report.as_ref()).map(|report| &report.version);
    let is_cloned = facts.is_some_and(|facts| facts.instances.is_cloned());
    // What became of the command is not known yet. It is looked at when that rollout has done with it.
    let is_open = kind.is_in_flight() || kind == PhaseKind::Lost;
    match runs {
        _ if is_open => goes(),
        // Suction Cup brought it back already.
        _ if kind == PhaseKind::FellBack => None,
        Some(version) if version == from && is_cloned && kind != PhaseKind::Upgraded => {
            Some(WayBack::Stays(SkipReason::Cloned))
        }
        Some(version) if version == from => goes(),
        Some(version) if kind == PhaseKind::Upgraded => {
            let (version, brought) = (version.to_string(), from.to_string());
            Some(WayBack::Stays(SkipReason::Changed { version, brought }))
        }
        None if kind == PhaseKind::Upgraded => goes(),
        // It was commanded, and it is known that this changed nothing.
        Some(_) | None => None,
    }
}

/// The rollout that undoes another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Undo {
    /// It was made just now.
    Made(Rollout),
    /// It was there already.
    Known(Rollout),
}

/// What an undo would do, for a person to agree to; and the one that is there already.
pub async fn rollout_undo_ask(
    conn: &mut Connection,
    space: SpaceId,
    id: RolloutId,
) -> Result<(Rollout, UndoPlan, Option<Rollout>), RolloutError> {
    let rollout = rollout_get(conn, space, id).await?.ok_or(RolloutError::NoRollout { id })?;
    let plan = undo_plan(conn, &rollout).await?;
    let known = known_undo(conn, space, id).await?;
    Ok((rollout, plan, known))
}

/// Writes down the wish to undo a rollout, and pokes the orchestrator. The same wish again is the same undo, unless that
/// was cancelled.
pub async fn rollout_undo(app: &App, space: SpaceId, id: RolloutId, who: Who<'_>) -> Result<Undo, RolloutError> {
    let now = app.clock.now();
    let why: String = who.why.trim().chars().take(WHY_MAX).collect();
    let mut tx = app.db.write().await?;
    let (rollout, plan, known) = rollout_undo_ask(&mut tx, space, id).await?;
    if let Some(known) = known {
        return Ok(Undo::Known(known));
    }
    if plan.goes() == 0 {
        return Err(RolloutError::NothingToUndo { id, left: plan.sentence() });
    }
    may_begin(&mut tx).await?;
    // Nobody wants it to go on, nor to be retried later.
    rollout_cancel_request(&mut tx, id, now).await?;
    if !rollout.is_over() {
        task_cancel_request(&mut tx, space, rollout.task, now).await?;
    }
    let told = Told { who: who.name, because: &because(&why), now, space };
    let (undo, task) = write_undo(&mut tx, &rollout, &plan, told).await?;
    let on = format!("on {}, by {undo}", count(plan.goes(), "machine"));
    told.tell(&mut tx, (id, rollout.task), &format!("undoes the rollout {on}"), &format!("undid {id} {on}")).await?;
    let undo = rollout_get(&mut tx, space, undo).await?.ok_or(RolloutError::NoRollout { id: undo })?;
    tx.commit().await.map_err(DbError::from)?;
    undo.machines.iter().for_each(|machine| app.live.tell(Change::Machine(machine.machine)));
    for change in [Change::Rollout(id), Change::Rollout(undo.id), Change::Task(rollout.task), Change::Task(task)] {
        app.live.tell(change);
    }
    app.live.poke_orchestrator();
    Ok(Undo::Made(undo))
}

async fn undo_plan(conn: &mut Connection, rollout: &Rollout) -> Result<UndoPlan, DbError> {
    let facts = facts_list(conn, rollout.space).await?;
    let there: Vec<MachineId> =
        machine_list(conn, rollout.space).await?.into_iter().map(|machine| machine.id).collect();
    Ok(UndoPlan::of(rollout, &facts, |machine| there.contains(&machine)))
}

/// The undo that stands.
async fn known_undo(conn: &mut Connection, space: SpaceId, id: RolloutId) -> Result<Option<Rollout>, DbError> {
    let Some(undo) = rollout_undo_of(conn, id).await? else { return Ok(None) };
    rollout_get(conn, space, undo).await
}

/// Who wishes an undo, why and when.
#[derive(Clone, Copy)]
struct Told<'a> {
    who: &'a str,
    because: &'a str,
    now: Timestamp,
    space: SpaceId,
}

impl Told<'_> {
    async fn tell(
        self,
        conn: &mut Connection,
        (rollout, task): (RolloutId, TaskId),
        does: &str,
        did: &str,
    ) -> Result<(), DbError> {
        let Self { who, because, now, space } = self;
        let line = format!("{who} {does}{because}");
        task_log_append(conn, task, None, now, LogCategory::Warning, &line).await?;
        let deed = Deed::new(AuditKind::Rollout, AuditCategory::Modified, "Undo", format!("{did}{because}"));
        deed.by(who).on(rollout).on(task).write(conn, space, now).await
    }
}

async fn write_undo(
    conn: &mut Connection,
    rollout: &Rollout,
    plan: &UndoPlan,
    told: Told<'_>,
) -> Result<(RolloutId, TaskId), DbError> {
    let goes = plan.goes();
    let UndoDraft { target, strategy, waves, max_in_flight, failure_budget, machines } = UndoDraft::of(rollout, plan);
    let ids = machines.iter().filter(|machine| machine.skipped.is_none()).map(|machine| machine.machine).collect();
    let selection = serde_json::to_value(Selection::Machines(ids)).unwrap_or_default();
    let task = NewTask {
        space: rollout.space,
        name: "Upgrade".to_owned(),
        description: format!("Undo {} on {}", rollout.id, count(goes, "machine")),
        arguments: serde_json::json!({ "Selection": selection, "UndoOf": rollout.id }),
        created_by: told.who.to_owned(),
    };
    let task = task_insert(conn, &task, told.now).await?;
    let new = NewRollout {
        space: rollout.space,
        task,
        target,
        undo_of: Some(rollout.id),
        selection: selection.to_string(),
        strategy,
        waves,
        start_at: None,
        max_in_flight,
        failure_budget,
        created_by: told.who.to_owned(),
        created_at: told.now,
        machines,
        packages: Vec::new(),
    };
    let id = rollout_insert(conn, &new).await?;
    let back = format!("back what {} changed: {}", rollout.id, plan.sentence());
    told.tell(conn, (id, task), &format!("brings {back}"), &format!("brought {back}")).await?;
    Ok((id, task))
}

/// The rollout that an undo is. Pure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UndoDraft {
    /// The newest of the versions that machines go back to.
    pub target: Version,
    /// That of the rollout that is undone, without waves: each machine goes to what ran there before.
    pub strategy: Strategy,
    /// The one wave.
    pub waves: Vec<CutWave>,
    /// One machine goes first, and then as many as in the rollout that is undone.
    pub max_in_flight: u32,
    /// Failures that stop it.
    pub failure_budget: u32,
    /// Those that go back first, in the order of the rollout that is undone, then those that stay.
    pub machines: Vec<NewRolloutMachine>,
}

impl UndoDraft {
    /// What undoes `rollout` by `plan`.
    pub fn of(rollout: &Rollout, plan: &UndoPlan) -> Self {
        let goes = plan.goes();
        let machines = machines(rollout, plan);
        let strategy = Strategy { waves: Vec::new(), ..rollout.strategy.clone() };
        let versions = machines.iter().filter_map(|machine| machine.back.as_ref()).map(|back| &back.to);
        Self {
            target: versions.max().unwrap_or(&rollout.target).clone(),
            waves: strategy.cut(&vec![Candidate::default(); machines.len()], Duration::ZERO).waves,
            max_in_flight: strategy.max_in_flight.of(goes).min(MAX_IN_FLIGHT_MAX),
            failure_budget: strategy.failure_budget.of(goes),
            strategy,
            machines,
        }
    }
}

fn machines(rollout: &Rollout, plan: &UndoPlan) -> Vec<NewRolloutMachine> {
    let new = |(machine, name, way): &(MachineId, String, WayBack)| {
        let (back, skipped) = match way {
            WayBack::Goes(back) => (Some(back.clone()), None),
            WayBack::Stays(reason) => (None, Some(reason.clone())),
        };
        let row = rollout.machines.iter().find(|row| row.machine == *machine);
        let from = row.map(|row| row.target(&rollout.target).clone());
        NewRolloutMachine { machine: *machine, name: name.clone(), from, wave: 0, back, skipped }
    };
    let mut machines: Vec<NewRolloutMachine> = plan.machines.iter().map(new).collect();
    machines.sort_by_key(|machine| machine.skipped.is_some());
    machines
}
