//! The gate of a rollout: which waiting machines begin, what hinders the others, when a wave opens, when it all stops, and
//! where the rollout itself stands. Pure.
//!
//! What hinders a machine is one function, used to start machines and to say why they were not: the two cannot differ.

use std::collections::HashMap;
use std::time::Duration;

use super::ahead::{Ahead, Proof};
use super::calendar::Closed;
use super::hindrance::{Hindrance, Hold, room_lacks};
use super::phase::{Phase, PhaseKind, WaitReason};
use super::plan::{Action, Elsewhere, Limits, Observation};
use super::state::{Rollout, RolloutMachine, RolloutState};
use super::strategy::Approval;
use crate::clock::Timestamp;
use crate::ids::{EnvironmentId, MachineId};
use crate::model::Contact;

/// How long a machine that was interrupted waits before it is begun again.
const RETRY_INTERRUPTED: Duration = Duration::from_secs(5);

/// How long a machine that is busy or unwell waits before it is looked at again.
const RETRY_BUSY: Duration = Duration::from_secs(30);

/// Machines of one runtime on which a version must have failed to be held for that runtime.
pub const FAILED_MACHINES_MAX: usize = 3;

/// Everything that decides which machines begin.
pub(super) struct Gate<'a> {
    pub observations: &'a HashMap<MachineId, Observation>,
    pub limits: &'a Limits,
    /// Machines in flight of each role in each environment; empty where that is not limited.
    of_role: HashMap<(EnvironmentId, String), usize>,
    /// Failures of the target on machines of each runtime that this very plan writes down.
    failing_on: HashMap<&'a str, usize>,
}

impl<'a> Gate<'a> {
    pub fn new(ahead: &Ahead, observations: &'a HashMap<MachineId, Observation>, limits: &'a Limits) -> Self {
        let mut gate = Self { observations, limits, of_role: HashMap::new(), failing_on: HashMap::new() };
        for at in ahead.changed_at() {
            let machine = &ahead.rollout.machines[at];
            // What failed before it was commanded says nothing of the version.
            let counts = matches!(ahead.phase(at).kind(), PhaseKind::FellBack | PhaseKind::Failed)
                && machine.phase.command().is_some()
                && machine.back.is_none();
            // One that was tried again is among those on which it failed already.
            let is_new = gate.observations.get(&machine.machine).is_some_and(|seen| !seen.tried_again);
            if let Some(runtime) = gate.runtime(machine.machine).filter(|_| counts && is_new) {
                *gate.failing_on.entry(runtime).or_default() += 1;
            }
        }
        if ahead.rollout.strategy.max_percent_of_role.is_some() {
            for at in 0..ahead.rollout.machines.len() {
                if ahead.phase(at).kind().is_in_flight() {
                    gate.count(ahead.rollout.machines[at].machine);
                }
            }
        }
        gate
    }

    fn runtime(&self, machine: MachineId) -> Option<&'a str> {
        Some(&self.observations.get(&machine)?.facts.as_ref()?.report.as_ref()?.runtime)
    }

    /// Takes back what was begun and not commanded yet where the version is held for the machine's runtime since.
    pub fn recall(&self, ahead: &mut Ahead) {
        for at in 0..ahead.rollout.machines.len() {
            let machine = &ahead.rollout.machines[at];
            let held = |seen: &Observation| {
                matches!(self.outside(ahead.rollout, machine, seen), Some(Hindrance::VersionHeld { .. }))
            };
            if ahead.is_only_begun(at) && self.observations.get(&machine.machine).is_some_and(held) {
                ahead.set(at, Phase::Waiting(WaitReason::Turn));
            }
        }
    }

    fn count(&mut self, machine: MachineId) {
        let groups = self.observations.get(&machine).map_or(&[][..], |seen| &seen.groups);
        for group in groups {
            *self.of_role.entry(group.clone()).or_default() += 1;
        }
    }

    /// What keeps a waiting machine from beginning now; `None` where nothing does, or where it does not wait.
    /// `blocked` is what [`Gate::blocked`] says: the same for all.
    pub fn hindrance(&self, ahead: &Ahead, at: usize, blocked: Option<&Blocked>) -> Option<Hindrance> {
        if !matches!(ahead.phase(at), Phase::Waiting(_)) {
            return None;
        }
        let own = self.own(ahead, at);
        own.or_else(|| Self::of_rollout(ahead))
            .or_else(|| self.limits.queue.is_stopped().then_some(Hindrance::QueueStopped))
            .or_else(|| Self::of_wave(ahead, at, blocked))
            .or_else(|| self.full(ahead, at))
    }

    /// What lies in the machine itself, whatever the rollout does.
    fn own(&self, ahead: &Ahead, at: usize) -> Option<Hindrance> {
        let machine = &ahead.rollout.machines[at];
        let Some(seen) = self.observations.get(&machine.machine).filter(|seen| !seen.withdrawn) else {
            return Some(Hindrance::Withdrawn);
        };
        if let Some(hindrance) = self.outside(ahead.rollout, machine, seen) {
            return Some(hindrance);
        }
        match seen.elsewhere {
            Some(Elsewhere::Older(other) | Elsewhere::Newer(other)) => return Some(Hindrance::Elsewhere { other }),
            None => {}
        }
        let why = match ahead.phase(at) {
            Phase::Waiting(why) if !ahead.is_changed(at) => why,
            // It begins no two steps at once.
            _ => return Some(Hindrance::CallUnderWay),
        };
        if let WaitReason::Offline { reason } = why {
            let back = seen.facts.as_ref().filter(|facts| facts.contact == Contact::Answered);
            if back.is_none_or(|facts| facts.tried_at <= machine.since) {
                return Some(Hindrance::Offline { reason: reason.clone() });
            }
        }
        let rest = match why {
            WaitReason::Interrupted { .. } => RETRY_INTERRUPTED,
            WaitReason::Busy { .. } | WaitReason::Unwell { .. } => RETRY_BUSY,
            WaitReason::Turn | WaitReason::PortalWasAway | WaitReason::Offline { .. } => Duration::ZERO,
        };
        let until = machine.since.after(rest);
        if ahead.now < until {
            let why = Phase::Waiting(why.clone()).reason();
            return Some(Hindrance::Resting { why, until });
        }
        if let Some(closed) = Self::closed(ahead, seen) {
            return Some(Hindrance::Closed(closed.clone()));
        }
        seen.call_under_way.then_some(Hindrance::CallUnderWay)
    }

    /// Why the machine may not begin at this hour, unless the rollout begins at any.
    fn closed<'s>(ahead: &Ahead, seen: &'s Observation) -> Option<&'s Closed> {
        seen.closed.as_ref().filter(|_| ahead.rollout.strategy.ignore_windows.is_none())
    }

    /// What a person has to take away, or the machine's own people.
    fn outside(&self, rollout: &Rollout, machine: &RolloutMachine, seen: &Observation) -> Option<Hindrance> {
        if let Some(how) = seen.facts.as_ref().and_then(|facts| facts.instances.clone_sentence()) {
            return Some(Hindrance::Cloned { how });
        }
        if let Some(hold) = &seen.hold {
            return Some(Hindrance::Held(hold.clone()));
        }
        if machine.back.is_some() {
            // What ran there before may be gone back to, whatever became of it elsewhere.
            return None;
        }
        if let Some(reason) = &seen.failed_before {
            return Some(Hindrance::FailedBefore { reason: reason.clone() });
        }
        let runtime = self.runtime(machine.machine)?;
        let before = self.limits.failed_on.get(runtime).copied().unwrap_or(0);
        let machines = before + self.failing_on.get(runtime).copied().unwrap_or(0);
        if machines >= FAILED_MACHINES_MAX && !seen.tried_again {
            return Some(Hindrance::VersionHeld { runtime: runtime.to_owned(), machines });
        }
        let report = seen.facts.as_ref()?.report.as_ref()?;
        let lacks = room_lacks(report, &rollout.target, &self.limits.packages);
        lacks.map(|(free, needed)| Hindrance::NoRoom { free, needed })
    }

    fn of_rollout(ahead: &Ahead) -> Option<Hindrance> {
        let rollout = ahead.rollout;
        match (rollout.state, rollout.start_at) {
            _ if rollout.cancel_requested_at.is_some() => Some(Hindrance::Cancelled),
            (RolloutState::Cancelled, _) => Some(Hindrance::Cancelled),
            (RolloutState::Scheduled, Some(at)) => Some(Hindrance::Scheduled { at }),
            (RolloutState::Paused, _) => Some(Hindrance::Stopped { reason: rollout.state_reason.clone() }),
            _ if ahead.is_halted() => Some(Hindrance::Stopped { reason: stop_reason(ahead) }),
            _ => None,
        }
    }

    fn of_wave(ahead: &Ahead, at: usize, blocked: Option<&Blocked>) -> Option<Hindrance> {
        let wave = ahead.rollout.machines[at].wave;
        if wave <= ahead.open_wave {
            return None;
        }
        Some(match blocked.filter(|_| wave == ahead.open_wave + 1) {
            Some(Blocked::Soaking { until }) => Hindrance::Soaking { wave, until: *until },
            Some(Blocked::Person) => Hindrance::AwaitsPerson { wave },
            Some(Blocked::Unsettled) | None => Hindrance::WaveClosed { wave, open: ahead.open_wave },
        })
    }

    fn full(&self, ahead: &Ahead, at: usize) -> Option<Hindrance> {
        let rollout = ahead.rollout;
        let in_flight = ahead.all.in_flight;
        match ahead.proof() {
            Proof::Missing if in_flight >= 1 => return Some(Hindrance::OneFirst),
            Proof::Soaking { until } => return Some(Hindrance::FirstSoaks { until }),
            Proof::Missing | Proof::Given => {}
        }
        if in_flight >= rollout.max_in_flight as usize {
            return Some(Hindrance::CapFull { cap: rollout.max_in_flight });
        }
        let most = [rollout.strategy.max_transfers, self.limits.deadlines.transfers].into_iter().flatten().min();
        if let Some(most) = most.filter(|most| ahead.all.transfers >= *most as usize) {
            return Some(Hindrance::TransfersFull { most });
        }
        let percent = rollout.strategy.max_percent_of_role?;
        let groups = &self.observations.get(&rollout.machines[at].machine)?.groups;
        groups.iter().find_map(|group| {
            let all = self.limits.role_sizes.get(group).copied().unwrap_or(1);
            let most = super::strategy::Amount::Percent(percent).of_at_most(all);
            let full = self.of_role.get(group).copied().unwrap_or(0) >= most;
            full.then(|| Hindrance::RoleFull { role: group.1.clone(), most, all })
        })
    }

    /// What keeps the wave after the open one closed; `None` where it may open.
    pub fn blocked(&self, ahead: &Ahead) -> Option<Blocked> {
        let next = ahead.rollout.waves.get(ahead.open_wave + 1)?;
        let done = &ahead.waves[ahead.open_wave];
        if done.in_flight > 0 || done.watched > 0 || self.will_start_in(ahead, ahead.open_wave) {
            return Some(Blocked::Unsettled);
        }
        if next.released_at.is_some() {
            return None;
        }
        let soak = ahead.rollout.waves[ahead.open_wave].soak;
        match done.settled_at.map(|at| at.after(soak)) {
            Some(until) if ahead.now < until => Some(Blocked::Soaking { until }),
            _ if next.approval == Approval::Person => Some(Blocked::Person),
            _ => None,
        }
    }

    fn will_start_in(&self, ahead: &Ahead, wave: usize) -> bool {
        let machines = &ahead.rollout.machines;
        (0..machines.len()).any(|at| machines[at].wave == wave && self.will_start(ahead, at))
    }

    /// True where a machine waits for its turn, and not for somebody outside. One that waits for its hour will start: its
    /// wave waits with it. Where no such hour was found it waits for a person to change the windows.
    pub fn will_start(&self, ahead: &Ahead, at: usize) -> bool {
        let machine = &ahead.rollout.machines[at];
        match ahead.phase(at) {
            Phase::Waiting(WaitReason::Offline { .. }) => false,
            Phase::Waiting(_) => {
                let seen = self.observations.get(&machine.machine);
                let never = |seen: &Observation| Self::closed(ahead, seen).is_some_and(|c| c.opens().is_none());
                seen.is_none_or(|seen| self.outside(ahead.rollout, machine, seen).is_none() && !never(seen))
            }
            _ => false,
        }
    }

    /// Opens what may be opened.
    pub fn open_waves(&self, ahead: &mut Ahead) -> Option<Action> {
        let before = ahead.open_wave;
        let may_open = !ahead.is_halted() && !self.limits.queue.is_stopped();
        while may_open && ahead.open_wave + 1 < ahead.rollout.waves.len() && self.blocked(ahead).is_none() {
            ahead.open_wave += 1;
        }
        (ahead.open_wave > before).then_some(Action::OpenWave { wave: ahead.open_wave })
    }

    /// Which waiting machines begin now.
    pub fn starts(&mut self, ahead: &mut Ahead) -> Vec<Action> {
        let cap = match ahead.proof() {
            Proof::Missing => 1,
            Proof::Soaking { .. } => 0,
            Proof::Given => ahead.rollout.max_in_flight as usize,
        };
        if ahead.is_halted() || self.limits.queue.is_stopped() || ahead.all.in_flight >= cap {
            return Vec::new();
        }
        let mut actions = Vec::new();
        for at in self.in_turn(ahead) {
            if ahead.all.in_flight >= cap {
                break;
            }
            // Asked one after the other, and no further than the cap: in a large rollout most wait for nothing else.
            if self.own(ahead, at).is_none() && self.full(ahead, at).is_none() {
                let machine = ahead.rollout.machines[at].machine;
                ahead.set(at, Phase::Checking);
                self.count(machine);
                actions.push(Action::Move { machine, to: Phase::Checking });
            }
        }
        actions
    }

    /// The waiting machines whose wave is open, in the order in which they begin: late ones come last; of the others those
    /// that were reachable a moment ago come first, for a silent one would only hold up the first place.
    fn in_turn(&self, ahead: &Ahead) -> Vec<usize> {
        let machines = &ahead.rollout.machines;
        let waits = |at: &usize| matches!(ahead.phase(*at), Phase::Waiting(_)) && machines[*at].wave <= ahead.open_wave;
        let mut turns: Vec<(bool, bool, i64, usize)> = (0..machines.len())
            .filter(waits)
            .map(|at| {
                let machine = &machines[at];
                let is_silent = !is_reachable(self.observations.get(&machine.machine));
                (machine.wave < ahead.open_wave, is_silent, machine.position, at)
            })
            .collect();
        turns.sort_unstable();
        turns.into_iter().map(|(.., at)| at).collect()
    }

    /// Where the rollout itself stands after the machines' steps.
    pub fn state_after(&self, ahead: &Ahead) -> Option<Action> {
        let rollout = ahead.rollout;
        let set = |state, reason| (state != rollout.state).then_some(Action::SetState { state, reason });
        let is_idle = ahead.all.in_flight == 0;
        let waits = || (0..rollout.machines.len()).any(|at| ahead.phase(at).kind() == PhaseKind::Waiting);
        if rollout.cancel_requested_at.is_some() && !rollout.state.is_completed() {
            // What was begun and not commanded waits again first, and is cancelled with the next look: the last that there is.
            return if is_idle && !waits() { set(RolloutState::Cancelled, String::new()) } else { None };
        }
        let failed = (0..rollout.machines.len()).any(|at| ahead.phase(at).kind().is_failure());
        // A lost machine may turn up; until it is given up, the rollout does not say how it ended.
        let is_done =
            || is_idle && ahead.all.watched == 0 && !(0..rollout.machines.len()).any(|at| self.will_start(ahead, at));
        match rollout.state {
            RolloutState::Cancelled => None,
            RolloutState::Scheduled => {
                let due = rollout.start_at.is_none_or(|at| ahead.now >= at);
                if due { set(RolloutState::Running, String::new()) } else { None }
            }
            // What waits, though it be offline, is not begun before a person says so.
            RolloutState::Running | RolloutState::Completed | RolloutState::CompletedWithFailures
                if ahead.is_spent() && waits() =>
            {
                set(RolloutState::Paused, stop_reason(ahead))
            }
            RolloutState::Paused if waits() => None,
            // What was lost turned up well.
            RolloutState::CompletedWithFailures if !failed && is_done() => set(RolloutState::Completed, String::new()),
            RolloutState::CompletedWithFailures => None,
            RolloutState::Running | RolloutState::Paused | RolloutState::Completed if is_done() => {
                let state = if failed { RolloutState::CompletedWithFailures } else { RolloutState::Completed };
                set(state, String::new())
            }
            RolloutState::Completed | RolloutState::Paused => None,
            RolloutState::Running if ahead.is_spent() => set(RolloutState::Paused, stop_reason(ahead)),
            RolloutState::Running => None,
        }
    }
}

/// Why the wave after the open one is closed.
pub(super) enum Blocked {
    /// Machines of the open wave are under way or will be.
    Unsettled,
    /// The open wave must soak.
    Soaking { until: Timestamp },
    /// A person must release it.
    Person,
}

fn is_reachable(observation: Option<&Observation>) -> bool {
    observation.and_then(|seen| seen.facts.as_ref()).is_some_and(|facts| facts.contact == Contact::Answered)
}

/// The reason to pause where the portal was restored: it knows so, or a machine saw a higher generation than it ever issued.
/// A rollout that is complete and has machines to wait for is paused, too.
pub(super) fn restored(
    rollout: &Rollout,
    observations: &HashMap<MachineId, Observation>,
    limits: &Limits,
) -> Option<String> {
    if rollout.cancel_requested_at.is_some() {
        return None;
    }
    let goes_on = match rollout.state {
        RolloutState::Running => true,
        RolloutState::Completed | RolloutState::CompletedWithFailures => {
            rollout.count(|kind| kind == PhaseKind::Waiting) > 0
        }
        RolloutState::Scheduled | RolloutState::Paused | RolloutState::Cancelled => false,
    };
    if let Some(reason) = limits.held.as_ref().filter(|_| goes_on) {
        return Some(reason.clone());
    }
    if rollout.state != RolloutState::Running {
        return None;
    }
    let is_ahead = |seen: &Observation| {
        let report = seen.facts.as_ref().and_then(|facts| facts.report.as_ref());
        report.is_some_and(|report| report.generation > limits.issued_generation)
    };
    // Hardly ever is there one; only then it is asked which.
    if !observations.values().any(is_ahead) {
        return None;
    }
    let ahead = rollout.machines.iter().find(|machine| observations.get(&machine.machine).is_some_and(is_ahead))?;
    Some(format!(
        "{} was commanded by a later state of this portal than the one that runs now: this portal was restored from an \
         old backup. Check what the machines run before you start another rollout",
        ahead.name
    ))
}

/// Names that a reason to stop lists at most. The page lists them all.
const NAMES_MAX: usize = 5;

/// Why the budget is spent, in words.
fn stop_reason(ahead: &Ahead) -> String {
    let rollout = ahead.rollout;
    let wave = if ahead.all.failures >= rollout.failure_budget as usize { None } else { ahead.spent_wave() };
    let counts = |at: &usize| {
        let machine: &RolloutMachine = &rollout.machines[*at];
        ahead.phase(*at).kind().is_failure()
            && (ahead.is_changed(*at) || machine.forgiven_at.is_none())
            && wave.is_none_or(|wave| machine.wave == wave)
    };
    let failed: Vec<usize> = (0..rollout.machines.len()).filter(counts).collect();
    let name = |at: &usize| {
        let what = match ahead.phase(*at).kind() {
            PhaseKind::FellBack => "fell back",
            PhaseKind::Lost => "went silent",
            _ => "failed",
        };
        format!("{} {what}", rollout.machines[*at].name)
    };
    let mut names: Vec<String> = failed.iter().take(NAMES_MAX).map(name).collect();
    if failed.len() > NAMES_MAX {
        names.push(format!("and {} more", failed.len() - NAMES_MAX));
    }
    let (budget, place) = match wave {
        Some(wave) => {
            let budget = rollout.waves[wave].failure_budget.unwrap_or(0);
            (budget, format!(" in wave {} ({})", wave + 1, rollout.waves[wave].title))
        }
        None => (rollout.failure_budget, String::new()),
    };
    format!(
        "stopped: {} of {budget} allowed failures{place}: {}. Nothing new is started",
        failed.len(),
        names.join(", ")
    )
}

/// See [`Hold`]: true while it lasts.
pub fn is_held(hold: &Hold, now: Timestamp) -> bool {
    hold.until.is_none_or(|until| now < until)
}
