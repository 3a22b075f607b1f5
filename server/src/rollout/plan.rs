//! The planner: what to do next for a rollout, from what was written down and what was last seen. Pure.
//!
//! It is called again after every change and at every tick, with everything loaded anew, so it never remembers
//! anything. An action is the next step of one machine; whatever it leads to is seen at the next call.

use std::collections::HashMap;
use std::time::Duration;

use contract::Rejection;

use super::gate::{restored, starts, state_after};
use super::state::{
    Command, Deadlines, IllegalStep, Phase, PhaseKind, Rollout, RolloutMachine, RolloutState, SkipReason, WaitReason,
};
use crate::clock::Timestamp;
use crate::ids::{MachineId, RolloutId};
use crate::model::{Contact, Facts, Report, TaskState};

/// How often a machine is begun before an interruption counts as a failure.
pub const ATTEMPTS_MAX: u32 = 3;

/// How often a machine is asked for its status while a new process is awaited.
const OBSERVE_RESTARTING: Duration = Duration::from_millis(500);

/// Into how many parts the proving time is cut by questions for the status while a machine proves itself.
const OBSERVATIONS_PROVING: u32 = 10;

/// How often a lost machine is asked for its status.
const OBSERVE_LOST: Duration = Duration::from_secs(10);

/// How long a lost machine is asked often: longer than Suction Cup waits before it falls back. Later, the health check
/// of every minute is what finds it.
const LOST_WATCHED: Duration = Duration::from_secs(15 * 60);

/// How long after a broken call the same call is made again.
const RETRY_CALL: Duration = Duration::from_secs(1);

/// A longer break between two attempts to reach a machine means that the portal was away.
const AWAY_AFTER: Duration = Duration::from_secs(30);

/// Longest text of a machine that is repeated in a reason, in characters.
const LAST_WORDS_SHOWN_MAX: usize = 4000;

/// What is known of one machine of a rollout when it is planned.
#[derive(Clone, Debug, Default)]
pub struct Observation {
    /// True if the machine was disabled or deleted, or all of its environments were disabled.
    pub withdrawn: bool,
    /// What the inventory knows of it.
    pub facts: Option<Facts>,
    /// Another rollout that has it.
    pub elsewhere: Option<Elsewhere>,
    /// True while a call to it is under way for this rollout.
    pub call_under_way: bool,
}

/// How another rollout has a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Elsewhere {
    /// A newer rollout wants it too: this one leaves it alone, if it has not begun.
    Newer(RolloutId),
    /// An older rollout is at it: this one waits until that is over.
    Older(RolloutId),
}

/// What bounds a rollout from outside.
#[derive(Clone, Debug)]
pub struct Limits {
    /// How long each phase may take.
    pub deadlines: Deadlines,
    /// The highest generation this portal ever issued.
    pub issued_generation: u64,
    /// The runtimes that the rollout has packages for.
    pub runtimes: Vec<String>,
}

/// One step. A machine gets at most one in a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Write down that the machine stands in another phase.
    Move {
        /// The machine.
        machine: MachineId,
        /// Where it stands now.
        to: Phase,
    },
    /// Ask the machine for its status.
    Observe {
        /// The machine.
        machine: MachineId,
    },
    /// Send it the package; when that is done, write the command down.
    Upload {
        /// The machine.
        machine: MachineId,
    },
    /// Send it the command that was written down, and follow it to its end.
    Install {
        /// The machine.
        machine: MachineId,
    },
    /// Tell it that this very process was seen well.
    Confirm {
        /// The machine.
        machine: MachineId,
        /// That process.
        instance: String,
    },
    /// Write down that the rollout stands elsewhere.
    SetState {
        /// Where.
        state: RolloutState,
        /// Why, in a sentence; may be empty.
        reason: String,
    },
}

/// The next steps of `rollout` at the moment `now`. `observations` need not hold every machine: one that is missing was
/// deleted.
pub fn plan(
    rollout: &Rollout,
    observations: &HashMap<MachineId, Observation>,
    limits: &Limits,
    now: Timestamp,
) -> Vec<Action> {
    let missing = Observation { withdrawn: true, ..Observation::default() };
    let mut next = rollout.clone();
    let mut actions = Vec::new();
    if let Some(reason) = restored(rollout, observations, limits) {
        actions.extend(stand_still(&mut next));
        actions.push(Action::SetState { state: RolloutState::Paused, reason });
        return actions;
    }
    for machine in &mut next.machines {
        let seen = observations.get(&machine.machine);
        let observation = seen.unwrap_or(&missing);
        let context = Context { rollout, observation, is_deleted: seen.is_none(), limits, now };
        let action = context.advance(machine);
        if let Some(Action::Move { to, .. }) = &action {
            machine.phase = to.clone();
        }
        actions.extend(action);
    }
    actions.extend(starts(&mut next, observations, now));
    actions.extend(state_after(&next, now));
    actions
}

/// Takes back what was begun and not commanded yet.
fn stand_still(next: &mut Rollout) -> Vec<Action> {
    let begun = |machine: &&mut RolloutMachine| matches!(machine.phase, Phase::Checking | Phase::Uploading);
    let back = |machine: &mut RolloutMachine| {
        machine.phase = Phase::Waiting(WaitReason::Turn);
        Action::Move { machine: machine.machine, to: machine.phase.clone() }
    };
    next.machines.iter_mut().filter(begun).map(back).collect()
}

/// The machine as it stands after a step to `to`: its clock starts anew, unless only the data of its phase changed.
pub fn enter(
    machine: &RolloutMachine,
    to: Phase,
    deadlines: &Deadlines,
    now: Timestamp,
) -> Result<RolloutMachine, IllegalStep> {
    let mut next = machine.clone();
    next.phase = machine.phase.step(to)?;
    let kind = next.phase.kind();
    if kind == machine.phase.kind() {
        return Ok(next);
    }
    next.since = now;
    next.deadline = deadlines.of(kind).map(|allowed| now.after(allowed));
    next.tried_at = None;
    if kind == PhaseKind::Checking {
        next.attempt = machine.attempt.saturating_add(1);
        next.was_away = false;
    }
    Ok(next)
}

/// The machine when a call to it is about to be made. Where the portal had been away, its deadline starts anew.
pub fn intend(machine: &RolloutMachine, deadlines: &Deadlines, now: Timestamp) -> RolloutMachine {
    let mut next = machine.clone();
    if is_long_untried(machine, now) {
        next.was_away = true;
        next.deadline = deadlines.of(machine.phase.kind()).map(|allowed| now.after(allowed));
    }
    next.tried_at = Some(now);
    next
}

fn is_long_untried(machine: &RolloutMachine, now: Timestamp) -> bool {
    now.since(machine.tried_at.unwrap_or(machine.since).max(machine.since)) > AWAY_AFTER
}

/// True while a lost machine is asked often.
pub(super) fn is_watched(machine: &RolloutMachine, now: Timestamp) -> bool {
    machine.phase.kind() == PhaseKind::Lost && now.since(machine.since) < LOST_WATCHED
}

/// What a call to a machine came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The machine has the package. The command is what it shall be told next.
    Uploaded(Command),
    /// It installed the package, and is ending itself.
    Armed,
    /// It confirmed.
    Confirmed,
    /// It is doing work that must not be killed.
    Busy(String),
    /// It was interrupted before anything was armed, or stood differently than expected.
    Interrupted(String),
    /// It refused, and would refuse again.
    Refused(String),
    /// The call broke off, and nobody knows what came of it.
    Broken(String),
}

/// Where `machine` stands after a call; `None` if the call changed nothing and is made again.
pub fn settle(machine: &RolloutMachine, outcome: &Outcome) -> Option<Phase> {
    match (&machine.phase, outcome) {
        (Phase::Uploading, Outcome::Uploaded(command)) => Some(Phase::Installing(command.clone())),
        (Phase::Installing(command), Outcome::Armed) => Some(Phase::Restarting(command.clone())),
        (Phase::Proving { .. }, Outcome::Confirmed) => Some(Phase::Upgraded),
        (Phase::Uploading | Phase::Installing(_), Outcome::Busy(reason)) => {
            Some(Phase::Waiting(WaitReason::Busy { reason: reason.clone() }))
        }
        (Phase::Uploading | Phase::Installing(_), Outcome::Interrupted(reason)) => Some(interrupted(machine, reason)),
        (Phase::Uploading | Phase::Installing(_), Outcome::Refused(reason)) => {
            Some(Phase::Failed { reason: reason.clone() })
        }
        _ => None,
    }
}

/// What the task of a rollout shows: its state, and why it failed.
pub fn task_state(rollout: &Rollout) -> (TaskState, String) {
    let idle = rollout.count(PhaseKind::is_in_flight) == 0;
    match rollout.state {
        RolloutState::Running => (TaskState::Executing, String::new()),
        // A script that waits for the task must not wait for a person.
        RolloutState::Paused if idle => (TaskState::Failed, rollout.state_reason.clone()),
        RolloutState::Paused => (TaskState::Executing, String::new()),
        RolloutState::Completed => (TaskState::Success, String::new()),
        RolloutState::CompletedWithFailures => (TaskState::Failed, rollout.summary()),
        RolloutState::Cancelled => (TaskState::Canceled, String::new()),
    }
}

fn interrupted(machine: &RolloutMachine, reason: &str) -> Phase {
    if machine.attempt >= ATTEMPTS_MAX {
        return Phase::Failed { reason: format!("{reason}; it was tried {ATTEMPTS_MAX} times") };
    }
    Phase::Waiting(WaitReason::Interrupted { reason: reason.to_owned() })
}

/// Everything that decides about one machine.
struct Context<'a> {
    rollout: &'a Rollout,
    observation: &'a Observation,
    is_deleted: bool,
    limits: &'a Limits,
    now: Timestamp,
}

impl Context<'_> {
    fn advance(&self, machine: &RolloutMachine) -> Option<Action> {
        // A portal that was away asks first: what it knows is older than the deadline.
        let overdue = machine.deadline.is_some_and(|deadline| self.now >= deadline) && !self.was_away(machine);
        let stopping = self.rollout.cancel_requested_at.is_some();
        let id = machine.machine;
        let to = |to| Some(Action::Move { machine: id, to });
        match &machine.phase {
            Phase::Waiting(_) if stopping => to(Phase::Cancelled),
            Phase::Waiting(_) if self.observation.withdrawn => to(Phase::Skipped(SkipReason::Withdrawn)),
            Phase::Waiting(_) => match self.observation.elsewhere {
                Some(Elsewhere::Newer(by)) => to(Phase::Skipped(SkipReason::Superseded { by })),
                Some(Elsewhere::Older(_)) | None => None,
            },
            Phase::Checking | Phase::Uploading if stopping => to(Phase::Cancelled),
            Phase::Checking | Phase::Uploading if self.observation.withdrawn => {
                to(Phase::Skipped(SkipReason::Withdrawn))
            }
            // Waiting for the deadline of a machine that nobody wants any more would only hold up the others.
            Phase::Installing(_) | Phase::Restarting(_) | Phase::Proving { .. } if self.is_deleted => {
                to(Phase::Skipped(SkipReason::Deleted))
            }
            Phase::Checking => self.checking(machine, overdue),
            Phase::Uploading if overdue => to(self.overdue(machine)),
            Phase::Uploading => self.again(machine, RETRY_CALL, Action::Upload { machine: id }),
            Phase::Installing(command) => self.installing(machine, command, overdue),
            Phase::Restarting(command) => self.restarting(machine, command, overdue),
            Phase::Proving { command, instance, well_since } => {
                self.proving(machine, command.as_ref(), instance, *well_since, overdue)
            }
            Phase::Lost { command, .. } => self.lost(machine, command.as_ref()),
            Phase::Upgraded | Phase::FellBack { .. } | Phase::Failed { .. } | Phase::Skipped(_) | Phase::Cancelled => {
                None
            }
        }
    }

    fn checking(&self, machine: &RolloutMachine, overdue: bool) -> Option<Action> {
        let to = |to| Some(Action::Move { machine: machine.machine, to });
        let offline = |reason| to(Phase::Waiting(WaitReason::Offline { reason }));
        match self.seen(machine) {
            Seen::Report(report) => to(self.begin(machine, report)),
            Seen::Silent(reason) => offline(reason.to_owned()),
            Seen::Nothing if overdue => offline("it did not answer in time".to_owned()),
            Seen::Nothing => self.observe(machine, OBSERVE_RESTARTING),
        }
    }

    /// What to do with a machine that answered when its turn came.
    fn begin(&self, machine: &RolloutMachine, report: &Report) -> Phase {
        let target = &self.rollout.target;
        if report.version == *target {
            // An earlier attempt may have done it, though it was given up as interrupted.
            let by_this_rollout = machine.attempt > 1 && machine.from.as_ref() != Some(target);
            return if by_this_rollout { proving(None, report) } else { Phase::Skipped(SkipReason::UpToDate) };
        }
        if report.version > *target {
            return Phase::Skipped(SkipReason::Newer { version: report.version.to_string() });
        }
        if !self.limits.runtimes.contains(&report.runtime) {
            return Phase::Skipped(SkipReason::NoPackage { runtime: report.runtime.clone() });
        }
        if report.supervisor_contract.is_none() {
            let reason = "its Tentacle was not started by Suction Cup, so nothing would start the new version; start \
                          Suction Cup on that machine and try again";
            return Phase::Failed { reason: reason.to_owned() };
        }
        match report.problems.first() {
            Some(problem) => Phase::Waiting(WaitReason::Unwell { reason: problem.clone() }),
            None => Phase::Uploading,
        }
    }

    fn installing(&self, machine: &RolloutMachine, command: &Command, overdue: bool) -> Option<Action> {
        let to = |to| Some(Action::Move { machine: machine.machine, to });
        let install = Action::Install { machine: machine.machine };
        match self.seen(machine) {
            Seen::Report(report) if report.instance_id != command.instance && report.version == self.rollout.target => {
                to(proving(Some(command), report))
            }
            _ if overdue => to(self.overdue(machine)),
            // The machine knows what became of the command, whichever process answers.
            Seen::Report(_) => self.again(machine, RETRY_CALL, install),
            Seen::Nothing => self.again(machine, Duration::ZERO, install),
            Seen::Silent(_) => self.observe(machine, OBSERVE_RESTARTING),
        }
    }

    fn restarting(&self, machine: &RolloutMachine, command: &Command, overdue: bool) -> Option<Action> {
        let to = |to| Some(Action::Move { machine: machine.machine, to });
        let settled = match self.seen(machine) {
            Seen::Report(report) if report.instance_id != command.instance => {
                self.came_up(machine, Some(command), report)
            }
            Seen::Report(_) | Seen::Silent(_) | Seen::Nothing => None,
        };
        match settled {
            Some(phase) => to(phase),
            None if overdue => to(self.overdue(machine)),
            None => self.observe(machine, OBSERVE_RESTARTING),
        }
    }

    /// What a new process means for an armed machine; `None` while it means nothing yet.
    fn came_up(&self, machine: &RolloutMachine, command: Option<&Command>, report: &Report) -> Option<Phase> {
        let target = &self.rollout.target;
        if report.version == *target {
            return Some(proving(command, report));
        }
        let verdicts = report.verdicts(target).unwrap_or_default();
        match verdicts.rejected {
            Some(Rejection::Unconfirmed) if machine.was_away => Some(Phase::Waiting(WaitReason::PortalWasAway)),
            Some(kind) if !verdicts.proven => Some(Phase::FellBack { reason: fell_back(report, target, kind) }),
            _ if report.verdicts(target).is_none() => {
                Some(interrupted(machine, &format!("{target} was gone from the machine when it restarted")))
            }
            _ => None,
        }
    }

    fn proving(
        &self,
        machine: &RolloutMachine,
        command: Option<&Command>,
        instance: &str,
        well_since: Option<Timestamp>,
        overdue: bool,
    ) -> Option<Action> {
        let to = |to| Some(Action::Move { machine: machine.machine, to });
        let step = match self.seen(machine) {
            Seen::Report(report) if report.instance_id != instance => {
                self.came_up(machine, command, report).map(Step::To)
            }
            Seen::Report(report) => match (well_since, report.problems.is_empty()) {
                (None, false) => None,
                (None, true) | (Some(_), false) => Some(Step::To(proving(command, report))),
                (Some(since), true) => {
                    let proven = report.at >= since.after(self.limits.deadlines.proving_time);
                    proven.then_some(Step::Confirm)
                }
            },
            Seen::Silent(_) | Seen::Nothing => None,
        };
        let confirm = Action::Confirm { machine: machine.machine, instance: instance.to_owned() };
        match step {
            Some(Step::To(phase)) => to(phase),
            _ if overdue => to(self.overdue(machine)),
            Some(Step::Confirm) => self.again(machine, RETRY_CALL, confirm),
            None => self.observe(machine, self.limits.deadlines.proving_time / OBSERVATIONS_PROVING),
        }
    }

    /// A lost machine may turn up again, at the target or fallen back.
    fn lost(&self, machine: &RolloutMachine, command: Option<&Command>) -> Option<Action> {
        let to = |to| Some(Action::Move { machine: machine.machine, to });
        let target = &self.rollout.target;
        if let Seen::Report(report) = self.seen(machine) {
            let verdicts = report.verdicts(target).unwrap_or_default();
            if report.version == *target && verdicts.proven {
                return to(Phase::Upgraded);
            }
            if verdicts.rejected == Some(Rejection::Unconfirmed) && machine.was_away && !verdicts.proven {
                return to(Phase::Waiting(WaitReason::PortalWasAway));
            }
            if let Some(kind) = verdicts.rejected.filter(|_| !verdicts.proven)
                && command.is_some_and(|command| report.instance_id != command.instance)
                && report.version != *target
            {
                return to(Phase::FellBack { reason: fell_back(report, target, kind) });
            }
        }
        if is_watched(machine, self.now) { self.observe(machine, OBSERVE_LOST) } else { None }
    }

    /// What became of a machine whose phase took too long.
    fn overdue(&self, machine: &RolloutMachine) -> Phase {
        let phase = machine.phase.kind();
        let allowed = self.limits.deadlines.of(phase).map_or(0, |d| d.as_secs());
        match self.seen(machine) {
            Seen::Report(report) => Phase::Failed {
                reason: format!(
                    "{phase} took longer than {allowed} s; the machine answers and runs {}{}",
                    report.version,
                    report.problems.first().map(|p| format!(", but {p}")).unwrap_or_default()
                ),
            },
            Seen::Silent(reason) if phase == PhaseKind::Uploading => {
                Phase::Waiting(WaitReason::Offline { reason: reason.to_owned() })
            }
            Seen::Nothing if phase == PhaseKind::Uploading => {
                Phase::Waiting(WaitReason::Offline { reason: format!("it took no package within {allowed} s") })
            }
            Seen::Silent(reason) => Phase::Lost {
                command: machine.phase.command().cloned(),
                reason: format!("it has been silent in {phase} for longer than {allowed} s: {reason}"),
            },
            Seen::Nothing => Phase::Lost {
                command: machine.phase.command().cloned(),
                reason: format!("nothing was heard of it in {phase} within {allowed} s"),
            },
        }
    }

    /// What was seen of the machine since it entered its phase.
    fn seen(&self, machine: &RolloutMachine) -> Seen<'_> {
        let Some(facts) = self.observation.facts.as_ref().filter(|facts| facts.tried_at >= machine.since) else {
            return Seen::Nothing;
        };
        match (&facts.contact, &facts.report) {
            (Contact::Answered, Some(report)) if report.at >= machine.since => Seen::Report(report),
            (Contact::Answered, _) => Seen::Nothing,
            (Contact::Silent { reason } | Contact::Refused { reason }, _) => Seen::Silent(reason),
        }
    }

    fn observe(&self, machine: &RolloutMachine, interval: Duration) -> Option<Action> {
        self.again(machine, interval, Action::Observe { machine: machine.machine })
    }

    fn was_away(&self, machine: &RolloutMachine) -> bool {
        !self.observation.call_under_way && is_long_untried(machine, self.now)
    }

    /// The action, unless a call is under way or the last one was less than `interval` ago.
    fn again(&self, machine: &RolloutMachine, interval: Duration, action: Action) -> Option<Action> {
        let last = machine.tried_at.filter(|tried| *tried >= machine.since);
        let due = last.is_none_or(|tried| self.now >= tried.after(interval));
        (due && !self.observation.call_under_way).then_some(action)
    }
}

enum Step {
    To(Phase),
    Confirm,
}

enum Seen<'a> {
    Report(&'a Report),
    Silent(&'a str),
    Nothing,
}

fn proving(command: Option<&Command>, report: &Report) -> Phase {
    let well_since = report.problems.is_empty().then_some(report.at);
    Phase::Proving { command: command.cloned(), instance: report.instance_id.clone(), well_since }
}

fn fell_back(report: &Report, target: &contract::Version, kind: Rejection) -> String {
    let why = match kind {
        Rejection::Crashed => "it ended at every launch that it was given",
        Rejection::Unstartable => "its program is missing or cannot be run",
        Rejection::Unconfirmed => "it ran, but the portal could not reach and confirm it in time",
    };
    let words: String =
        report.last_words.as_deref().unwrap_or_default().trim().chars().take(LAST_WORDS_SHOWN_MAX).collect();
    let words = if words.is_empty() { String::new() } else { format!(". Its last words:\n{words}") };
    format!("Suction Cup rejected {target} and launched {} again: {why}{words}", report.version)
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
