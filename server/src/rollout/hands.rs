//! What people may do with a rollout: start it now, pause it, resume it, cancel it, retry what failed, skip a machine,
//! release a wave or a version. Used by pages and API alike.
//!
//! Every hand is one transaction: the wish, the event that says who and why, and the line in the log. A hand that finds
//! all as it wishes changes nothing and is no error, so that it may be made again; one that makes no sense any more is.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::create::{RolloutError, may_begin};
use super::hindrance::Hold;
use super::phase::{Phase, PhaseKind, SkipReason, WaitReason};
use super::plan::{awaits_proof, is_spent};
use super::settle::by_hand;
use super::state::{Rollout, RolloutState};
use super::strategy::Strategy;
use crate::app::App;
use crate::audit::{Deed, because, hold_state};
use crate::clock::Timestamp;
use crate::db::machine_holds::{hold_delete, hold_get, hold_put};
use crate::db::machines::machine_get;
use crate::db::rollout_waves::wave_release;
use crate::db::rollouts::{
    rollout_cancel_request, rollout_forgive, rollout_get, rollout_is_paused_by_hand, rollout_machine_update,
    rollout_revise, rollout_set_start, rollout_set_state, rollout_set_strategy,
};
use crate::db::tasks::{task_cancel_request, task_log_append};
use crate::db::version_failures::{version_failures_release_runtime, version_failures_retry};
use crate::db::{Connection, DbError};
use crate::ids::{MachineId, RolloutId, SpaceId};
use crate::live::Change;
use crate::model::{AuditCategory, AuditKind, LogCategory};

/// Longest reason that is kept, in characters. The rest is cut off.
pub const WHY_MAX: usize = 500;

/// What ignoring the hours is, after who lets it.
pub(super) const OUTSIDE: &str = "machines begin outside their maintenance windows and in freezes";

/// What a person does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Hand {
    /// Begin it, though its hour has not come.
    StartNow,
    /// Begin nothing new.
    Pause,
    /// Go on. Failures so far are forgiven: they no longer count against the budget.
    Resume,
    /// Begin nothing more, for good.
    Cancel,
    /// Try what failed again: these machines, or all of them where none is named.
    Retry(Vec<MachineId>),
    /// Leave a machine that waits as it is.
    Skip(MachineId),
    /// Let a wave begin as soon as the one before it is done, without soaking. From 1, as people count.
    ReleaseWave(usize),
    /// Begin machines at any hour, whatever maintenance windows and freezes say. Who does this must say why.
    IgnoreWindows,
    /// Let a version that failed on too many machines of a runtime be tried there again.
    ReleaseVersion(String),
}

impl Hand {
    /// True where machines may begin by it that would not without.
    fn lets_go_on(&self) -> bool {
        match self {
            Self::StartNow | Self::Resume | Self::Retry(_) => true,
            Self::Pause
            | Self::Cancel
            | Self::Skip(_)
            | Self::ReleaseWave(_)
            | Self::IgnoreWindows
            | Self::ReleaseVersion(_) => false,
        }
    }

    /// The word in the list of events.
    pub fn word(&self) -> &'static str {
        match self {
            Self::StartNow => "StartNow",
            Self::Pause => "Pause",
            Self::Resume => "Resume",
            Self::Cancel => "Cancel",
            Self::Retry(_) => "Retry",
            Self::Skip(_) => "Skip",
            Self::ReleaseWave(_) => "ReleaseWave",
            Self::IgnoreWindows => "IgnoreWindows",
            Self::ReleaseVersion(_) => "ReleaseVersion",
        }
    }
}

/// Who does something, and why.
#[derive(Clone, Copy, Debug)]
pub struct Who<'a> {
    /// The user.
    pub name: &'a str,
    /// What they say; may be empty.
    pub why: &'a str,
}

/// Cancels a rollout. Machines that were commanded already go on to their end; nothing is ever left half done.
pub async fn rollout_cancel(app: &App, space: SpaceId, id: RolloutId, who: Who<'_>) -> Result<Rollout, RolloutError> {
    rollout_hand(app, space, id, who, &Hand::Cancel).await
}

/// Does what a person wishes with a rollout, and pokes the orchestrator.
pub async fn rollout_hand(
    app: &App,
    space: SpaceId,
    id: RolloutId,
    who: Who<'_>,
    hand: &Hand,
) -> Result<Rollout, RolloutError> {
    let mut tx = app.db.write().await?;
    let rollout = rollout_get(&mut tx, space, id).await?.ok_or(RolloutError::NoRollout { id })?;
    let why: String = who.why.trim().chars().take(WHY_MAX).collect();
    let who = Who { name: who.name, why: &why };
    let now = app.clock.now();
    if hand.lets_go_on() {
        may_begin(&mut tx).await?;
    }
    let done = act(&mut tx, &rollout, who, hand, now).await?;
    let Some(done) = done else { return Ok(rollout) };
    let because = because(&why);
    let line = format!("{} {}{because}", who.name, done.what);
    task_log_append(&mut tx, rollout.task, done.machine, now, LogCategory::Warning, &line).await?;
    let category = if *hand == Hand::Cancel { AuditCategory::Canceled } else { AuditCategory::Modified };
    let deed = Deed::new(AuditKind::Rollout, category, hand.word(), format!("{}{because}", done.did)).by(who.name);
    deed.on(id).on_all(done.machine).write(&mut tx, space, now).await?;
    rollout_revise(&mut tx, id).await?;
    let after = rollout_get(&mut tx, space, id).await?.ok_or(RolloutError::NoRollout { id })?;
    tx.commit().await.map_err(DbError::from)?;
    for machine in &after.machines {
        let before = rollout.machines.iter().find(|before| before.machine == machine.machine);
        if before.is_none_or(|before| before.revision != machine.revision) {
            app.live.tell(Change::Machine(machine.machine));
        }
    }
    app.live.tell(Change::Rollout(id));
    app.live.tell(Change::Task(rollout.task));
    app.live.poke_orchestrator();
    Ok(after)
}

/// Says that a machine is not to be upgraded: by nobody, until `until`, or until it is released. What is under way goes on.
pub async fn machine_hold(
    app: &App,
    space: SpaceId,
    id: MachineId,
    who: Who<'_>,
    until: Option<Timestamp>,
) -> Result<(), RolloutError> {
    let reason: String = who.why.trim().chars().take(WHY_MAX).collect();
    let mut tx = app.db.write().await?;
    let machine = machine_get(&mut tx, space, id).await?.ok_or(RolloutError::NoMachine { id })?;
    let now = app.clock.now();
    let before = hold_get(&mut tx, id, now).await?;
    let is_same = |hold: &Hold| hold.reason == reason && hold.by == who.name && hold.until == until;
    if before.as_ref().is_some_and(is_same) {
        return Ok(());
    }
    let before = before.as_ref().map(hold_state).unwrap_or_default();
    let hold = Hold { reason, by: who.name.to_owned(), since: now, until };
    hold_put(&mut tx, id, &hold).await?;
    let ends = until.map(|until| format!(" until {}", until.minutes())).unwrap_or_default();
    let line = format!("held machine {}{ends}{}", machine.name, because(&hold.reason));
    let deed = Deed::new(AuditKind::Machine, AuditCategory::Modified, "Hold", line).by(who.name).on(id);
    deed.changed(before, hold_state(&hold)).write(&mut tx, space, now).await?;
    tx.commit().await.map_err(DbError::from)?;
    tracing::info!(machine.id = %id, by = who.name, reason = hold.reason, "a machine is held");
    app.live.tell(Change::Machine(id));
    app.live.poke_orchestrator();
    Ok(())
}

/// Takes the hold of a machine away. Without one there is nothing to do.
pub async fn machine_release(app: &App, space: SpaceId, id: MachineId, who: Who<'_>) -> Result<(), RolloutError> {
    let mut tx = app.db.write().await?;
    let machine = machine_get(&mut tx, space, id).await?.ok_or(RolloutError::NoMachine { id })?;
    let now = app.clock.now();
    let before = hold_get(&mut tx, id, now).await?.as_ref().map(hold_state).unwrap_or_default();
    let was_held = hold_delete(&mut tx, id).await?;
    if was_held {
        let why: String = who.why.trim().chars().take(WHY_MAX).collect();
        let line = format!("released machine {}{}", machine.name, because(&why));
        let deed = Deed::new(AuditKind::Machine, AuditCategory::Modified, "Release", line).by(who.name).on(id);
        deed.changed(before, Value::Null).write(&mut tx, space, now).await?;
    }
    tx.commit().await.map_err(DbError::from)?;
    if was_held {
        tracing::info!(machine.id = %id, by = who.name, "a machine is no longer held");
        app.live.tell(Change::Machine(id));
        app.live.poke_orchestrator();
    }
    Ok(())
}

/// What a hand came to.
struct Done {
    /// As the log tells it.
    what: String,
    /// As the trail tells it.
    did: String,
    machine: Option<MachineId>,
}

impl Done {
    fn of(what: impl Into<String>, did: impl Into<String>) -> Self {
        Self { what: what.into(), did: did.into(), machine: None }
    }
}

async fn act(
    tx: &mut Connection,
    rollout: &Rollout,
    who: Who<'_>,
    hand: &Hand,
    now: Timestamp,
) -> Result<Option<Done>, RolloutError> {
    let id = rollout.id;
    let is_open = !rollout.is_over() && rollout.cancel_requested_at.is_none();
    match hand {
        Hand::Cancel if rollout.cancel_requested_at.is_some() || rollout.state == RolloutState::Cancelled => Ok(None),
        Hand::Cancel if rollout.is_over() => Err(RolloutError::Over { id }),
        Hand::Cancel => {
            rollout_cancel_request(tx, id, now).await?;
            // The task shows that it is being cancelled, unless it is over.
            task_cancel_request(tx, rollout.space, rollout.task, now).await?;
            Ok(Some(Done::of("cancels the rollout", format!("cancelled {id}"))))
        }
        Hand::StartNow if !is_open => Err(RolloutError::Over { id }),
        Hand::StartNow if rollout.state == RolloutState::Paused && rollout.start_at.is_some_and(|at| now < at) => {
            Err(RolloutError::Paused { id })
        }
        Hand::StartNow if rollout.state != RolloutState::Scheduled => Ok(None),
        Hand::StartNow => {
            rollout_set_start(tx, id, now).await?;
            rollout_set_state(tx, id, RolloutState::Running, "", now).await?;
            Ok(Some(Done::of("begins the rollout now", format!("began {id} before its hour"))))
        }
        Hand::Pause if rollout.state == RolloutState::Paused => Ok(None),
        Hand::Pause if !is_open => Err(RolloutError::Over { id }),
        Hand::Pause => {
            let why = if who.why.is_empty() { String::new() } else { format!(": {}", who.why) };
            let reason = format!("{} paused it{why}", who.name);
            rollout_set_state(tx, id, RolloutState::Paused, &reason, now).await?;
            Ok(Some(Done::of("pauses the rollout", format!("paused {id}"))))
        }
        Hand::Resume if !is_open => Err(RolloutError::Over { id }),
        Hand::Resume if rollout.state != RolloutState::Paused => Ok(None),
        Hand::Resume => resume(tx, rollout, now).await.map(Some),
        Hand::Retry(machines) => retry(tx, rollout, machines, now).await,
        Hand::Skip(machine) => skip(tx, rollout, who, *machine, now).await,
        Hand::ReleaseWave(number) => {
            let at = number.checked_sub(1).filter(|at| *at < rollout.waves.len());
            let at = at.ok_or(RolloutError::NoWave { number: *number, waves: rollout.waves.len() })?;
            // One that is open is released where its first machine must soak.
            let is_closed = at > rollout.open_wave || (at == rollout.open_wave && awaits_proof(rollout, now));
            if !is_closed || rollout.waves[at].released_at.is_some() {
                return Ok(None);
            }
            if !is_open {
                return Err(RolloutError::Over { id });
            }
            wave_release(tx, id, at, who.name, now).await?;
            let wave = format!("wave {number} ({})", rollout.waves[at].title);
            Ok(Some(Done::of(format!("releases {wave}"), format!("released {wave} of {id}"))))
        }
        Hand::IgnoreWindows if rollout.strategy.ignore_windows.is_some() => Ok(None),
        Hand::IgnoreWindows if !is_open => Err(RolloutError::Over { id }),
        Hand::IgnoreWindows => {
            let strategy = Strategy { ignore_windows: Some(who.why.to_owned()), ..rollout.strategy.clone() };
            strategy.check()?;
            rollout_set_strategy(tx, id, &strategy).await?;
            Ok(Some(Done::of(format!("lets {OUTSIDE}"), format!("let {OUTSIDE}, in {id}"))))
        }
        Hand::ReleaseVersion(runtime) => {
            let released = version_failures_release_runtime(tx, rollout.space, &rollout.target, runtime, now).await?;
            let version = format!("{} for {runtime}", rollout.target);
            Ok((released > 0).then(|| Done::of(format!("releases {version}"), format!("released {version}, in {id}"))))
        }
    }
}

async fn retry(
    tx: &mut Connection,
    rollout: &Rollout,
    machines: &[MachineId],
    now: Timestamp,
) -> Result<Option<Done>, RolloutError> {
    if rollout.cancel_requested_at.is_some() {
        return Err(RolloutError::Over { id: rollout.id });
    }
    if let Some(id) = machines.iter().find(|id| rollout.machines.iter().all(|machine| machine.machine != **id)) {
        return Err(RolloutError::NoMachine { id: *id });
    }
    let is_named = |id: MachineId| machines.contains(&id);
    let mut names = Vec::new();
    for machine in rollout.machines.iter().filter(|machine| machines.is_empty() || is_named(machine.machine)) {
        let again = by_hand(machine, Phase::Waiting(WaitReason::Turn), now);
        if let Some(next) = &again {
            rollout_machine_update(tx, rollout.id, next).await?;
        }
        // A machine that waits because the version failed on it in another rollout is meant where it is named.
        let waits = machine.phase.kind() == PhaseKind::Waiting && is_named(machine.machine);
        let released =
            (waits || again.is_some()) && version_failures_retry(tx, &rollout.target, machine.machine, now).await? > 0;
        if again.is_some() || released {
            names.push(machine.name.clone());
        }
    }
    if names.is_empty() {
        return Ok(None);
    }
    let (names, goes_on) = (names.join(", "), go_on(tx, rollout, now).await?);
    let did = format!("retried {names} in {}{goes_on}", rollout.id);
    Ok(Some(Done::of(format!("retries {names}{goes_on}"), did)))
}

/// Has a rollout that the brake stopped, or that was complete, go on after a retry, and says what that took. What a
/// person paused, or a backup that was restored, stays paused.
async fn go_on(tx: &mut Connection, rollout: &Rollout, now: Timestamp) -> Result<String, RolloutError> {
    let is_braked = is_spent(rollout, now) && !rollout_is_paused_by_hand(tx, rollout.id).await?;
    match rollout.state {
        RolloutState::Paused if is_braked => {}
        RolloutState::Paused => return Ok("; the rollout stays paused".to_owned()),
        RolloutState::Completed | RolloutState::CompletedWithFailures => {}
        RolloutState::Scheduled | RolloutState::Running | RolloutState::Cancelled => return Ok(String::new()),
    }
    let after = rollout_get(tx, rollout.space, rollout.id).await?.ok_or(RolloutError::NoRollout { id: rollout.id })?;
    let forgiven = if is_spent(&after, now) { rollout_forgive(tx, rollout.id, now).await? } else { 0 };
    rollout_set_state(tx, rollout.id, RolloutState::Running, "", now).await?;
    let forgiven = match forgiven {
        0 => String::new(),
        1 => ", and 1 other failure no longer counts".to_owned(),
        number => format!(", and {number} other failures no longer count"),
    };
    Ok(format!("; the rollout goes on{forgiven}"))
}

/// Goes on, or waits for its hour where that has not come.
async fn resume(tx: &mut Connection, rollout: &Rollout, now: Timestamp) -> Result<Done, RolloutError> {
    if let Some(at) = rollout.start_at.filter(|at| now < *at) {
        rollout_set_state(tx, rollout.id, RolloutState::Scheduled, "", now).await?;
        let begins = format!("it begins at {}", at.minutes());
        return Ok(Done::of(format!("resumes the rollout; {begins}"), format!("resumed {}; {begins}", rollout.id)));
    }
    let forgiven = match rollout_forgive(tx, rollout.id, now).await? {
        0 => "",
        1 => "; the failure so far no longer counts",
        _ => "; the failures so far no longer count",
    };
    rollout_set_state(tx, rollout.id, RolloutState::Running, "", now).await?;
    Ok(Done::of(format!("resumes the rollout{forgiven}"), format!("resumed {}{forgiven}", rollout.id)))
}

async fn skip(
    tx: &mut Connection,
    rollout: &Rollout,
    who: Who<'_>,
    id: MachineId,
    now: Timestamp,
) -> Result<Option<Done>, RolloutError> {
    let machine =
        rollout.machines.iter().find(|machine| machine.machine == id).ok_or(RolloutError::NoMachine { id })?;
    let reason = SkipReason::ByPerson { who: who.name.to_owned(), why: who.why.to_owned() };
    match machine.phase.kind() {
        PhaseKind::Waiting => {}
        PhaseKind::Skipped => return Ok(None),
        phase => return Err(RolloutError::NotWaiting { name: machine.name.clone(), phase }),
    }
    let Some(next) = by_hand(machine, Phase::Skipped(reason), now) else { return Ok(None) };
    rollout_machine_update(tx, rollout.id, &next).await?;
    let (name, rollout) = (&machine.name, rollout.id);
    let did = format!("left {name} as it is, in {rollout}");
    Ok(Some(Done { what: format!("leaves {name} as it is"), did, machine: Some(id) }))
}
