//! The next step of one machine, from what was written down and what was last seen of it. Pure.
//!
//! A part of the planner, called by `plan` alone.

use std::time::Duration;

use contract::{Rejection, Version};

use super::absent::Offline;
use super::hindrance::{no_room, room_lacks};
use super::phase::{Command, Mark, Phase, PhaseKind, SkipReason, WaitReason};
use super::plan::{Action, Elsewhere, Limits, Observation};
use super::settle::{interrupted, is_long_untried, is_watched};
use super::state::{Return, Rollout, RolloutMachine};
use crate::clock::Timestamp;
use crate::model::{Contact, Facts, Report};

/// How often a machine is asked for its status while a new process is awaited.
const OBSERVE_RESTARTING: Duration = Duration::from_millis(500);

/// Into how many parts the proving time is cut by questions for the status while a machine proves itself.
const OBSERVATIONS_PROVING: u32 = 10;

/// How often a lost machine is asked for its status.
const OBSERVE_LOST: Duration = Duration::from_secs(10);

/// How long after a broken call the same call is made again.
const RETRY_CALL: Duration = Duration::from_secs(1);

/// Longest text of a machine that is repeated in a reason, in characters.
const LAST_WORDS_SHOWN_MAX: usize = 4000;

/// Everything that decides about one machine.
pub(super) struct Context<'a> {
    pub rollout: &'a Rollout,
    pub observation: &'a Observation,
    pub is_deleted: bool,
    pub limits: &'a Limits,
    pub now: Timestamp,
}

impl Context<'_> {
    /// The next step of `machine`; `None` where there is nothing to do now.
    pub fn advance(&self, machine: &RolloutMachine) -> Option<Action> {
        // A portal that was away, or was ended before any answer came, asks first: what it knows is older than the deadline.
        let is_late = machine.deadline.is_some_and(|deadline| self.now >= deadline);
        let overdue = is_late && !self.was_away(machine) && !self.has_asked_nothing(machine);
        let stopping = self.rollout.cancel_requested_at.is_some();
        let id = machine.machine;
        let to = |to| Some(Action::Move { machine: id, to });
        match &machine.phase {
            Phase::Waiting(_) if stopping => to(Phase::Cancelled),
            Phase::Waiting(_) if self.observation.withdrawn => to(Phase::Skipped(SkipReason::Withdrawn)),
            Phase::Waiting(why) => match self.observation.elsewhere {
                Some(Elsewhere::Newer(by)) => to(Phase::Skipped(SkipReason::Superseded { by })),
                Some(Elsewhere::Older(_)) | None => self.given_up(machine, why).and_then(to),
            },
            Phase::Checking | Phase::Uploading if stopping => to(Phase::Cancelled),
            Phase::Checking | Phase::Uploading if self.observation.withdrawn => {
                to(Phase::Skipped(SkipReason::Withdrawn))
            }
            // Which of the two would be upgraded? The gate says why it waits.
            Phase::Checking | Phase::Uploading if self.is_cloned() => to(Phase::Waiting(WaitReason::Turn)),
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

    /// Where the machine is to be brought.
    fn target<'m>(&'m self, machine: &'m RolloutMachine) -> &'m Version {
        machine.target(&self.rollout.target)
    }

    /// Where a machine stands that is not waited for any longer.
    fn given_up(&self, machine: &RolloutMachine, why: &WaitReason) -> Option<Phase> {
        let WaitReason::Offline { reason } = why else { return None };
        let reason = reason.clone();
        match self.rollout.strategy.offline {
            Offline::Leave => Some(Phase::Skipped(SkipReason::Offline { reason })),
            Offline::WaitHours(hours) => {
                let until = machine.since.after(Duration::from_secs(u64::from(hours) * 3600));
                // A portal that was away so long asks once more before it gives a machine up.
                let is_silent =
                    |facts: &&Facts| (until..=self.now).contains(&facts.tried_at) && facts.contact != Contact::Answered;
                let silent = self.observation.facts.as_ref().filter(is_silent);
                silent.map(|_| Phase::Skipped(SkipReason::OfflineTooLong { hours, reason }))
            }
        }
    }

    fn checking(&self, machine: &RolloutMachine, overdue: bool) -> Option<Action> {
        let to = |to| Some(Action::Move { machine: machine.machine, to });
        let offline = |reason| to(Phase::Waiting(WaitReason::Offline { reason }));
        match self.seen(machine) {
            Seen::Report(report) => match machine.back.as_ref().map(|back| self.begin_back(machine, back, report)) {
                None => to(self.begin(machine, report)),
                Some(Some(phase)) => to(phase),
                Some(None) => self.again(machine, RETRY_CALL, Action::Command { machine: machine.machine }),
            },
            Seen::Silent(reason) => offline(reason.to_owned()),
            Seen::Nothing if overdue => offline("it did not answer in time".to_owned()),
            Seen::Nothing => self.observe(machine, OBSERVE_RESTARTING),
        }
    }

    /// What to do with a machine that answered when its turn came.
    pub fn begin(&self, machine: &RolloutMachine, report: &Report) -> Phase {
        let target = self.target(machine);
        if report.version == *target {
            return arrived(machine, report);
        }
        if report.version > *target {
            return Phase::Skipped(SkipReason::Newer { version: report.version.to_string() });
        }
        if !self.limits.packages.contains_key(&report.runtime) {
            return Phase::Skipped(SkipReason::NoPackage { runtime: report.runtime.clone() });
        }
        match (unsupervised(report), report.problems.first()) {
            (Some(failed), _) => failed,
            (None, Some(problem)) => Phase::Waiting(WaitReason::Unwell { reason: problem.clone() }),
            (None, None) => match room_lacks(report, target, &self.limits.packages) {
                Some((free, needed)) => Phase::Waiting(WaitReason::Unwell { reason: no_room(free, needed) }),
                None => Phase::Uploading,
            },
        }
    }

    /// What to do with a machine of an undo when its turn came; `None` where it is to be commanded. One that has problems
    /// is brought back all the same: they may be why.
    fn begin_back(&self, machine: &RolloutMachine, back: &Return, report: &Report) -> Option<Phase> {
        if report.version == back.to {
            return Some(arrived(machine, report));
        }
        if report.version != back.from {
            let (version, brought) = (report.version.to_string(), back.from.to_string());
            return Some(Phase::Skipped(SkipReason::Changed { version, brought }));
        }
        let gone = || Phase::Failed {
            reason: format!(
                "{} is not on its disk any more, so it cannot be brought back without an upload; it runs {}",
                back.to, back.from
            ),
        };
        unsupervised(report).or_else(|| report.verdicts(&back.to).is_none().then(gone))
    }

    fn installing(&self, machine: &RolloutMachine, command: &Command, overdue: bool) -> Option<Action> {
        let to = |to| Some(Action::Move { machine: machine.machine, to });
        let install = Action::Install { machine: machine.machine };
        match self.seen(machine) {
            Seen::Report(report)
                if report.instance_id != command.instance && report.version == *self.target(machine) =>
            {
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
        let target = self.target(machine);
        let settled = match self.seen(machine) {
            Seen::Report(report) if is_in_doubt(target, command, report) => {
                if !overdue {
                    return self.again(machine, RETRY_CALL, Action::Ask { machine: machine.machine });
                }
                None
            }
            Seen::Report(report) if report.instance_id != command.instance => {
                self.came_up(machine, Some(command), report).or_else(|| not_armed(machine, target, command, report))
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
        let target = self.target(machine);
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
            _ if is_overtaken(machine, target, report) => {
                Some(Phase::Skipped(SkipReason::Overtaken { version: report.version.to_string() }))
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

    /// A lost machine may turn up again, however late, and then what it runs is the truth.
    fn lost(&self, machine: &RolloutMachine, command: Option<&Command>) -> Option<Action> {
        let is_watched = is_watched(machine, self.now);
        let settled = match self.seen(machine) {
            Seen::Report(report) => self.turned_up(machine, command, report, is_watched),
            Seen::Silent(_) | Seen::Nothing => None,
        };
        match settled {
            Some(to) => Some(Action::Move { machine: machine.machine, to }),
            None if is_watched => self.observe(machine, OBSERVE_LOST),
            None => None,
        }
    }

    /// What a lost machine's answer means; `None` while it may still come to something else.
    fn turned_up(
        &self,
        machine: &RolloutMachine,
        command: Option<&Command>,
        report: &Report,
        may_change: bool,
    ) -> Option<Phase> {
        let target = self.target(machine);
        let is_new = command.is_some_and(|command| report.instance_id != command.instance);
        let verdicts = report.verdicts(target);
        let is_told = command.is_none_or(|command| command.mark == Mark::New);
        let rejected = verdicts.filter(|verdicts| is_told && !verdicts.proven).and_then(|verdicts| verdicts.rejected);
        if report.version == *target {
            return verdicts.is_some_and(|verdicts| verdicts.proven).then_some(Phase::Upgraded);
        }
        match rejected {
            Some(Rejection::Unconfirmed) if machine.was_away => return Some(Phase::Waiting(WaitReason::PortalWasAway)),
            Some(kind) if is_new => return Some(Phase::FellBack { reason: fell_back(report, target, kind) }),
            Some(_) | None => {}
        }
        let is_over = !may_change || (is_new && verdicts.is_none());
        let reason = || {
            let process = if is_new { "a new process of it" } else { "it" };
            format!("it went silent after the command; now {process} answers, and runs {}", report.version)
        };
        is_over.then(|| Phase::Failed { reason: reason() })
    }

    /// What became of a machine whose phase took too long.
    fn overdue(&self, machine: &RolloutMachine) -> Phase {
        let phase = machine.phase.kind();
        let allowed = self.limits.deadlines.of(phase).map_or(0, |d| d.as_secs());
        let problems = self.observation.facts.as_ref().map(Facts::problems).unwrap_or_default();
        match self.seen(machine) {
            Seen::Report(report) => Phase::Failed {
                reason: format!(
                    "{phase} took longer than {allowed} s; the machine answers and runs {}{}",
                    report.version,
                    problems.first().map(|p| format!(", but {p}")).unwrap_or_default()
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
        // A fact from the future was written before the clock was set back: nobody knows how old it is.
        let known = |facts: &&Facts| facts.tried_at >= machine.since && facts.tried_at <= self.now;
        let Some(facts) = self.observation.facts.as_ref().filter(known) else { return Seen::Nothing };
        match (&facts.contact, &facts.report) {
            (Contact::Answered, Some(report)) if report.at >= machine.since => Seen::Report(report),
            (Contact::Answered, _) => Seen::Nothing,
            (Contact::Silent { reason } | Contact::Refused { reason }, _) => Seen::Silent(reason),
        }
    }

    fn is_cloned(&self) -> bool {
        self.observation.facts.as_ref().is_some_and(|facts| facts.instances.is_cloned())
    }

    fn observe(&self, machine: &RolloutMachine, interval: Duration) -> Option<Action> {
        self.again(machine, interval, Action::Observe { machine: machine.machine })
    }

    /// True where a machine was commanded and no attempt to reach it since has come to its end.
    fn has_asked_nothing(&self, machine: &RolloutMachine) -> bool {
        let commanded = matches!(machine.phase, Phase::Installing(_) | Phase::Restarting(_) | Phase::Proving { .. });
        commanded && !self.observation.call_under_way && matches!(self.seen(machine), Seen::Nothing)
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

/// What it means that a machine runs its target when its turn comes: a command that was given up as interrupted may have
/// done it.
fn arrived(machine: &RolloutMachine, report: &Report) -> Phase {
    let by_this_rollout = machine.previous.is_some();
    if by_this_rollout { proving(None, report) } else { Phase::Skipped(SkipReason::UpToDate) }
}

/// What becomes of a machine whose Tentacle nothing would start again.
fn unsupervised(report: &Report) -> Option<Phase> {
    let reason = "its Tentacle was not started by Suction Cup, so nothing would start the new version; start \
                  Suction Cup on that machine and try again";
    report.supervisor_contract.is_none().then(|| Phase::Failed { reason: reason.to_owned() })
}

/// True where a new process runs a version that neither the command nor Suction Cup's going back explains.
fn is_overtaken(machine: &RolloutMachine, target: &Version, report: &Report) -> bool {
    let was_taken_back = report.verdicts(target).is_some_and(|verdicts| verdicts.withdrawn);
    machine.previous.as_ref() != Some(&report.version) && (report.version > *target || was_taken_back)
}

/// What it means that a new process runs the version from before though nothing was said against the target: had that been
/// armed, it would run. `None` while that process carries the command out itself.
fn not_armed(machine: &RolloutMachine, target: &Version, command: &Command, report: &Report) -> Option<Phase> {
    let is_open = report.running_work.iter().any(|work| work.ticket == command.ticket);
    let runs = &report.version;
    (machine.previous.as_ref() == Some(runs) && !is_open)
        .then(|| interrupted(machine, &format!("it restarted before {target} was armed, and runs {runs} as before")))
}

/// True where the target is marked as rejected by a process that came after the command, and nobody knows whether that mark
/// is older than the command.
fn is_in_doubt(target: &Version, command: &Command, report: &Report) -> bool {
    let is_new = report.instance_id != command.instance && report.version != *target;
    is_new && command.mark == Mark::Old && Mark::after(report.verdicts(target)) == Mark::Old
}

fn proving(command: Option<&Command>, report: &Report) -> Phase {
    let well_since = report.problems.is_empty().then_some(report.at);
    // It runs, so it was armed.
    let command = command.map(|command| Command { mark: Mark::New, ..command.clone() });
    Phase::Proving { command, instance: report.instance_id.clone(), well_since }
}

fn fell_back(report: &Report, target: &Version, kind: Rejection) -> String {
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
