//! One call to one machine for a rollout: the intent was written down before, the result is written down here.
//!
//! Started by the orchestrator alone. A call that is dropped in the middle is made again; every one may be.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use contract::Version;
use octopus_proto::{RefusalKind, Ticket, UpgradeOrder, WorkState};
use tokio::task::AbortHandle;

use super::orchestrator::note_step;
use super::plan::is_halted;
use super::settle::{Outcome, enter, settle};
use super::state::{Command, Mark, Phase, Rollout, RolloutMachine};
use crate::app::App;
use crate::db::facts::facts_get;
use crate::db::machines::machine_get;
use crate::db::rollouts::{
    RolloutPackage, generation_issued, generation_put, rollout_get, rollout_machine_get, rollout_machine_update,
    rollout_packages, rollout_revision,
};
use crate::db::spaces::space_queue;
use crate::db::{Connection, DbError};
use crate::health::machine_check;
use crate::ids::{MachineId, RolloutId, SpaceId, TaskId};
use crate::live::Change;
use crate::model::Report;
use crate::tentacle::{CallError, Target};

/// How long one question for news of an upgrade waits for an answer.
const WATCH_WAIT: Duration = Duration::from_secs(10);

/// What a call is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Job {
    /// To see how the machine is.
    Observe,
    /// To send it the package.
    Upload,
    /// To write its command down, where nothing has to be sent before.
    Command,
    /// To send it the command, and to follow it to its end.
    Install,
    /// To ask what became of the command.
    Ask,
    /// To tell a process that it was seen well.
    Confirm {
        /// That process.
        instance: String,
    },
}

/// The calls under way, at most one for each machine.
pub(super) struct Calls {
    app: App,
    under_way: Mutex<HashMap<MachineId, AbortHandle>>,
}

impl Calls {
    pub(super) fn new(app: App) -> Self {
        Self { app, under_way: Mutex::default() }
    }

    pub(super) fn is_under_way(&self, machine: MachineId) -> bool {
        self.lock().contains_key(&machine)
    }

    /// Starts a call, unless one to the same machine is under way.
    pub(super) fn start(self: &Arc<Self>, rollout: &Rollout, machine: MachineId, job: Job) {
        let mut under_way = self.lock();
        if under_way.contains_key(&machine) {
            return;
        }
        let ended = Ended { calls: Arc::clone(self), machine };
        let one = One {
            app: self.app.clone(),
            rollout: rollout.id,
            space: rollout.space,
            task: rollout.task,
            target: rollout.target.clone(),
            revision: rollout.revision,
            machine,
        };
        let call = tokio::spawn(async move {
            if let Err(error) = one.make(job).await {
                let error = &error as &dyn std::error::Error;
                tracing::error!(machine.id = %machine, error, "the result of a call could not be written down");
            }
            drop(ended);
        });
        under_way.insert(machine, call.abort_handle());
    }

    /// Drops all calls.
    pub(super) fn abort(&self) {
        for call in self.lock().values() {
            call.abort();
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<MachineId, AbortHandle>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes a call off the list when it ends, however it ends.
struct Ended {
    calls: Arc<Calls>,
    machine: MachineId,
}

impl Drop for Ended {
    fn drop(&mut self) {
        self.calls.lock().remove(&self.machine);
        self.calls.app.live.poke_orchestrator();
    }
}

/// One call to one machine.
struct One {
    app: App,
    rollout: RolloutId,
    space: SpaceId,
    task: TaskId,
    target: Version,
    /// The rollout's when the call was planned.
    revision: i64,
    machine: MachineId,
}

impl One {
    async fn make(&self, job: Job) -> Result<(), DbError> {
        let mut conn = self.app.db.read().await?;
        let row = rollout_machine_get(&mut conn, self.rollout, self.machine).await?;
        let machine = machine_get(&mut conn, self.space, self.machine).await?;
        let report = facts_get(&mut conn, self.machine).await?.and_then(|facts| facts.report);
        let packages = rollout_packages(&mut conn, self.rollout).await?;
        drop(conn);
        let (Some(row), Some(machine)) = (row, machine) else { return Ok(()) };
        let target = Target::from(&machine);
        let package = report.as_ref().and_then(|report| packages.into_iter().find(|p| p.runtime == report.runtime));
        let outcome = match (job, report, package) {
            (Job::Observe, ..) => return machine_check(&self.app, &machine).await.map(|_| ()),
            (Job::Upload, Some(report), Some(package)) => return self.upload(&target, &report, &row, &package).await,
            (Job::Command, Some(report), _) => match &row.back {
                // The planner judged this very version. Where another one was seen meanwhile, it looks again.
                Some(back) if back.from == report.version => return self.command(&report, &row).await,
                Some(_) | None => return Ok(()),
            },
            (Job::Install, _, package) if package.is_some() || row.back.is_some() => match &row.phase {
                Phase::Installing(command) => self.install(&target, command, &row, package.as_ref()).await,
                _ => return Ok(()),
            },
            (Job::Ask, ..) => match &row.phase {
                Phase::Restarting(command) => self.ask(&target, command).await,
                _ => return Ok(()),
            },
            (Job::Confirm { instance }, ..) => self.confirm(&target, &instance, row.target(&self.target)).await,
            (Job::Upload | Job::Command | Job::Install, ..) => {
                Outcome::Refused("its runtime is not known any more, so no package fits it".to_owned())
            }
        };
        if let Outcome::Broken(_) = outcome {
            machine_check(&self.app, &machine).await?;
        }
        self.write_down(outcome).await
    }

    async fn upload(
        &self,
        target: &Target,
        report: &Report,
        row: &RolloutMachine,
        package: &RolloutPackage,
    ) -> Result<(), DbError> {
        let file = self.app.store.path(&package.sha256);
        let sent = self.app.tentacles.upload(target, &file, package.sha256, package.size).await;
        match sent {
            Ok(()) => {}
            Err(CallError::Refused(refusal)) => return self.write_down(refused(&refusal)).await,
            Err(CallError::Protocol { sentence }) => return self.write_down(Outcome::Interrupted(sentence)).await,
            // The next attempt goes on where this one broke off.
            Err(error) => {
                tracing::info!(machine.id = %self.machine, %error, "an upload broke off");
                return self.write_down(Outcome::Broken(error.to_string())).await;
            }
        }
        self.command(report, row).await
    }

    /// Writes the command down that the machine shall be told next.
    async fn command(&self, report: &Report, row: &RolloutMachine) -> Result<(), DbError> {
        // The generation is committed together with the command, and both before the command is sent.
        let mut tx = self.app.db.write().await?;
        if !self.may_command(&mut tx).await? {
            return Ok(());
        }
        let generation = generation_issued(&mut tx).await?.max(report.generation) + 1;
        generation_put(&mut tx, generation).await?;
        let command = Command {
            ticket: uuid::Uuid::now_v7().to_string(),
            generation,
            expected: report.version.to_string(),
            instance: report.instance_id.clone(),
            mark: Mark::after(report.verdicts(row.target(&self.target))),
        };
        self.write_in(tx, Outcome::Ready(command)).await
    }

    /// True where nobody stopped the rollout or the tasks of its space while the package was on its way, and one machine alone
    /// answers.
    async fn may_command(&self, conn: &mut Connection) -> Result<bool, DbError> {
        if facts_get(conn, self.machine).await?.is_some_and(|facts| facts.instances.is_cloned()) {
            return Ok(false);
        }
        if space_queue(conn, self.space).await?.is_stopped() {
            return Ok(false);
        }
        if rollout_revision(conn, self.rollout).await? == Some(self.revision) {
            return Ok(true);
        }
        let rollout = rollout_get(conn, self.space, self.rollout).await?;
        Ok(rollout.is_some_and(|rollout| !is_halted(&rollout, self.app.clock.now())))
    }

    /// Sends the command and follows it. The same ticket again starts nothing, so this may be done any number of times.
    async fn install(
        &self,
        target: &Target,
        command: &Command,
        row: &RolloutMachine,
        package: Option<&RolloutPackage>,
    ) -> Outcome {
        let Some(order) = self.order(command, row, package) else {
            return Outcome::Refused("the command that was written down cannot be read".to_owned());
        };
        let ticket = order.ticket.clone();
        match self.app.tentacles.upgrade(target, order).await {
            Ok(()) => {}
            Err(error) => return not_accepted(&error),
        }
        self.follow(target, &ticket).await
    }

    /// Asks what became of a command, and sends it to nobody.
    async fn ask(&self, target: &Target, command: &Command) -> Outcome {
        match command.ticket.parse() {
            Ok(ticket) => self.follow(target, &ticket).await,
            Err(_) => Outcome::Refused("the command that was written down cannot be read".to_owned()),
        }
    }

    /// Follows a command to its end.
    async fn follow(&self, target: &Target, ticket: &Ticket) -> Outcome {
        let mut after = 0;
        loop {
            let progress = match self.app.tentacles.watch(target, ticket, after, WATCH_WAIT).await {
                Ok(progress) => progress,
                Err(error) => return not_told(&error),
            };
            after = progress.last;
            match progress.state {
                WorkState::Running => {}
                WorkState::Succeeded => return Outcome::Armed,
                WorkState::Failed { reason } => return Outcome::Refused(reason),
                WorkState::Busy { reason } => return Outcome::Busy(reason),
                WorkState::Cancelled => return Outcome::Refused("it was cancelled on the machine".to_owned()),
                WorkState::UnknownResult { reason } => return Outcome::Interrupted(reason),
            }
        }
    }

    fn order(&self, command: &Command, row: &RolloutMachine, package: Option<&RolloutPackage>) -> Option<UpgradeOrder> {
        // What a machine goes back to is on its disk.
        let package = package.filter(|_| row.back.is_none());
        Some(UpgradeOrder {
            ticket: command.ticket.parse::<Ticket>().ok()?,
            package: package.map(|package| package.sha256),
            version: row.target(&self.target).clone(),
            generation: command.generation,
            expected: command.expected.parse().ok()?,
            drain_ms: u64::try_from(self.app.deadlines(self.space).drain.as_millis()).unwrap_or(u64::MAX),
        })
    }

    async fn confirm(&self, target: &Target, instance: &str, version: &Version) -> Outcome {
        let Ok(instance) = instance.parse() else {
            return Outcome::Broken("the instance that was written down cannot be read".to_owned());
        };
        match self.app.tentacles.confirm(target, &instance, version).await {
            Ok(()) => Outcome::Confirmed,
            // Another process may have taken its place; the next status tells.
            Err(error) => Outcome::Broken(error.to_string()),
        }
    }

    async fn write_down(&self, outcome: Outcome) -> Result<(), DbError> {
        let tx = self.app.db.write().await?;
        self.write_in(tx, outcome).await
    }

    async fn write_in(
        &self,
        mut tx: sqlx::Transaction<'static, sqlx::Sqlite>,
        outcome: Outcome,
    ) -> Result<(), DbError> {
        let Some(row) = rollout_machine_get(&mut tx, self.rollout, self.machine).await? else { return Ok(()) };
        let now = self.app.clock.now();
        let Some(phase) = settle(&row, &outcome) else {
            // The portal tried until now: a long call that broke off must not look as if it had been away.
            let tried = RolloutMachine { tried_at: Some(now), ..row };
            rollout_machine_update(&mut tx, self.rollout, &tried).await?;
            return tx.commit().await.map_err(DbError::from);
        };
        let next = match enter(&row, phase, &self.app.deadlines(self.space), now) {
            // It was never given the command that was written down for it.
            Ok(next) if matches!(outcome, Outcome::Declined(_)) => RolloutMachine { previous: None, ..next },
            Ok(next) => next,
            Err(error) => {
                tracing::error!(machine.id = %self.machine, rollout.id = %self.rollout, %error, "a step was not taken");
                return Ok(());
            }
        };
        if rollout_machine_update(&mut tx, self.rollout, &next).await? {
            let of = (self.rollout, self.task, &self.target);
            note_step(&mut tx, of, &row, &next, now).await?;
            tx.commit().await.map_err(DbError::from)?;
            self.app.metrics.phase_left(&row, &next, now);
            let told = [Change::Machine(self.machine), Change::Rollout(self.rollout), Change::Task(self.task)];
            told.into_iter().for_each(|change| self.app.live.tell(change));
        }
        Ok(())
    }
}

/// What it means that a machine did not say that it accepts the command.
fn not_accepted(error: &CallError) -> Outcome {
    match (error, not_told(error)) {
        // It may have accepted it already, and ask its successor.
        (_, open @ (Outcome::Broken(_) | Outcome::Gone(_))) => open,
        (CallError::Refused(_), meaning) => Outcome::Declined(Box::new(meaning)),
        (_, meaning) => meaning,
    }
}

/// What it means that a machine did not tell what became of the command.
fn not_told(error: &CallError) -> Outcome {
    match error {
        CallError::Refused(refusal) => refused(refusal),
        CallError::Closed { sentence } => Outcome::Gone(sentence.clone()),
        CallError::Unreachable { .. }
        | CallError::Untrusted { .. }
        | CallError::TimedOut { .. }
        | CallError::Protocol { .. } => Outcome::Broken(error.to_string()),
    }
}

/// What a refusal means for an upgrade.
fn refused(refusal: &octopus_proto::Refusal) -> Outcome {
    let sentence = refusal.sentence.clone();
    match refusal.kind {
        RefusalKind::Busy => Outcome::Busy(sentence),
        // What became of the command is known to the process that comes next.
        RefusalKind::Ending => Outcome::Broken(sentence),
        RefusalKind::StaleGeneration
        | RefusalKind::VersionChanged
        | RefusalKind::UnknownTicket
        | RefusalKind::DigestMismatch => Outcome::Interrupted(sentence),
        RefusalKind::TicketReused
        | RefusalKind::BadPackage
        | RefusalKind::OtherInstance
        | RefusalKind::LastTrust
        | RefusalKind::DiskFull
        | RefusalKind::BadRequest
        | RefusalKind::Internal => Outcome::Refused(sentence),
    }
}
