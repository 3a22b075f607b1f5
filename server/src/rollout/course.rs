//! What a rollout would do if it were started now: the real planner, run forward over a clock that is only counted. Pure.
//!
//! Each machine is taken to need as long as those before it did, and to do well. Whoever adds a reason to wait adds it to
//! [`Hindrance`], and to [`Hindrance::ends_at`] where it ends by itself: this file then honours it too.

use std::collections::HashMap;
use std::time::Duration;

use super::advance::Context;
use super::calendar::{Calendar, Closed};
use super::gate::is_held;
use super::hindrance::Hindrance;
use super::phase::{Command, Mark, Phase, PhaseKind, SkipReason, WaitReason};
use super::plan::{Action, Limits, Observation, hindrances, plan};
use super::settle::enter;
use super::state::{Rollout, RolloutState};
use super::strategy::{Approval, Candidate, role_sizes};
use crate::clock::Timestamp;
use crate::ids::{EnvironmentId, MachineId};
use crate::model::{Contact, Facts};

/// Machines that the planner may look at in one preview, all its steps together: about two seconds. A rollout that needs
/// more is told as far as it was followed.
const LOOKS_MAX: usize = 4_000_000;

/// Looks of the planner at one moment, until it has nothing more to say. More would mean that it goes in circles.
const LOOKS_AT_ONCE: usize = 50;

/// What is taken where nothing was measured. Only the order of things depends on it, and no time is told.
const PACE_UNKNOWN: Pace = Pace { sending: Duration::from_secs(5), installing: Duration::from_secs(30), machines: 0 };

/// How long an upgrade takes here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// From the first look at a machine until it has the package.
    pub sending: Duration,
    /// From the command until the new version is proven.
    pub installing: Duration,
    /// On how many machines that was measured.
    pub machines: usize,
}

impl Pace {
    /// The median of what was measured; `None` where nothing was.
    pub fn of(measured: &[(Duration, Duration)]) -> Option<Self> {
        let median = |mut spans: Vec<Duration>| {
            spans.sort();
            spans.get(spans.len() / 2).copied()
        };
        Some(Self {
            sending: median(measured.iter().map(|(sending, _)| *sending).collect())?,
            installing: median(measured.iter().map(|(_, installing)| *installing).collect())?,
            machines: measured.len(),
        })
    }
}

/// When it would be over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finish {
    /// Nothing was measured yet.
    Unknown,
    /// Then, if all goes well and every person who is waited for agrees at once.
    At(Timestamp),
    /// Later than this; it was not followed further.
    After(Timestamp),
    /// It stops before, and this is why.
    Stops(String),
}

/// A machine that would not be upgraded, or not for now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stays {
    /// The machine.
    pub machine: MachineId,
    /// Its name.
    pub name: String,
    /// Its wave, from 0; `None` where it is in none.
    pub wave: Option<usize>,
    /// The word on the wire for why.
    pub code: &'static str,
    /// Why, in a sentence.
    pub why: String,
}

/// When a wave would begin and be done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// When its first machine begins; `None` for not at all.
    pub begins: Option<Timestamp>,
    /// When its last machine is proven; `None` for not at all.
    pub ends: Option<Timestamp>,
}

/// The most machines of a role in an environment that would be in progress at once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RoleLoss {
    /// The environment.
    pub environment: EnvironmentId,
    /// The role, in lower case.
    pub role: String,
    /// So many at once.
    pub most: usize,
    /// Of so many.
    pub all: usize,
}

/// What would happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Course {
    /// When each wave begins and ends.
    pub waves: Vec<Span>,
    /// When it is over.
    pub finish: Finish,
    /// How many machines are upgraded.
    pub upgraded: usize,
    /// Those that are not, or not for now.
    pub stays: Vec<Stays>,
    /// How many machines of each role are in progress at once.
    pub roles: Vec<RoleLoss>,
}

/// What is known of the machines of a rollout before it begins.
#[derive(Clone, Debug)]
pub struct Known {
    /// Of each machine.
    pub observations: HashMap<MachineId, Observation>,
    /// What bounds the rollout from outside.
    pub limits: Limits,
    /// The environments and roles of each machine.
    pub candidates: HashMap<MachineId, Candidate>,
    /// How many machines have each role in each environment.
    pub role_sizes: HashMap<(EnvironmentId, String), usize>,
    /// When machines may begin.
    pub calendar: Calendar,
}

/// Follows `rollout` from `now` to its end.
pub fn course(rollout: Rollout, known: Known, pace: Option<Pace>, now: Timestamp) -> Course {
    course_within(LOOKS_MAX, rollout, known, pace, now)
}

/// See [`course`]; the planner looks at so many machines at most.
fn course_within(looks_max: usize, rollout: Rollout, known: Known, pace: Option<Pace>, now: Timestamp) -> Course {
    let places = rollout.machines.iter().enumerate().map(|(at, machine)| (machine.machine, at)).collect();
    let groups_of = |candidate: &Candidate| role_sizes([candidate].into_iter()).into_keys().collect();
    let mut run = Run {
        spans: vec![Span::default(); rollout.waves.len()],
        rollout,
        pace: pace.unwrap_or(PACE_UNKNOWN),
        places,
        groups: known.candidates.iter().map(|(id, candidate)| (*id, groups_of(candidate))).collect(),
        known,
        under_way: Vec::new(),
        unwell: HashMap::new(),
        most: HashMap::new(),
        now,
    };
    let is_followed = run.follow(looks_max);
    run.told(is_followed, pace.is_some())
}

struct Run {
    rollout: Rollout,
    known: Known,
    pace: Pace,
    places: HashMap<MachineId, usize>,
    groups: HashMap<MachineId, Vec<(EnvironmentId, String)>>,
    /// Machines in flight, each with the moment of its next step.
    under_way: Vec<(Timestamp, usize)>,
    /// What is wrong with machines that would wait for that.
    unwell: HashMap<usize, String>,
    most: HashMap<(EnvironmentId, String), usize>,
    spans: Vec<Span>,
    now: Timestamp,
}

impl Run {
    /// True if it was followed to its end.
    fn follow(&mut self, looks_max: usize) -> bool {
        let mut looks = 0;
        loop {
            self.arrive();
            self.look_at_the_hour();
            for _ in 0..LOOKS_AT_ONCE {
                looks += 1;
                let actions = plan(&self.rollout, &self.known.observations, &self.known.limits, self.now);
                let mut more = false;
                for action in actions {
                    more |= self.act(action);
                }
                if !more {
                    break;
                }
            }
            self.count_roles();
            let state = self.rollout.state;
            if self.under_way.is_empty() && (state.is_completed() || state == RolloutState::Paused) {
                return true;
            }
            if looks * self.rollout.machines.len() > looks_max {
                return false;
            }
            match self.next_moment() {
                Some(next) => self.now = next,
                None if self.release_wave() => {}
                None => return true,
            }
        }
    }

    /// What the hour alone changes: windows open and close, and holds end.
    fn look_at_the_hour(&mut self) {
        let now = self.now;
        let Known { observations, candidates, calendar, .. } = &mut self.known;
        // Most machines share their environments with many others.
        let mut closed: HashMap<&[EnvironmentId], Option<Closed>> = HashMap::new();
        for (id, seen) in observations {
            seen.hold = seen.hold.take().filter(|hold| is_held(hold, now));
            let environments = candidates.get(id).map_or(&[][..], |candidate| &candidate.environments);
            seen.closed = closed.entry(environments).or_insert_with_key(|ids| calendar.closed(ids, now)).clone();
        }
    }

    /// Takes the steps whose moment has come.
    fn arrive(&mut self) {
        let (due, later) = self.under_way.drain(..).partition(|(at, _)| *at <= self.now);
        self.under_way = later;
        let due: Vec<(Timestamp, usize)> = due;
        for (_, at) in due {
            let machine = &mut self.rollout.machines[at];
            machine.since = self.now;
            if machine.phase.kind() == PhaseKind::Uploading {
                let nothing = String::new;
                machine.phase = Phase::Installing(Command {
                    ticket: nothing(),
                    generation: 0,
                    expected: nothing(),
                    instance: nothing(),
                    mark: Mark::New,
                });
                machine.tried_at = Some(self.now);
                self.under_way.push((self.now.after(self.pace.installing), at));
            } else {
                machine.phase = Phase::Upgraded;
                let wave = machine.wave;
                if let Some(span) = self.spans.get_mut(wave) {
                    span.ends = Some(self.now);
                }
            }
        }
    }

    /// Does what the planner says. True where it may have more to say at once.
    fn act(&mut self, action: Action) -> bool {
        match action {
            Action::Move { machine, to } => {
                let Some(at) = self.places.get(&machine).copied() else { return false };
                self.step(at, to);
                if self.rollout.machines[at].phase != Phase::Checking {
                    return true;
                }
                let to = self.answer(at);
                self.step(at, to);
                self.rollout.machines[at].phase != Phase::Uploading
            }
            Action::OpenWave { wave } => {
                self.rollout.open_wave = wave;
                true
            }
            Action::SetState { state, reason } => {
                self.rollout.state = state;
                self.rollout.state_reason = reason;
                true
            }
            // What is under way is taken to go well, in the time that it took before.
            Action::Observe { .. }
            | Action::Upload { .. }
            | Action::Command { .. }
            | Action::Install { .. }
            | Action::Ask { .. }
            | Action::Confirm { .. } => false,
        }
    }

    fn step(&mut self, at: usize, to: Phase) {
        let machine = &mut self.rollout.machines[at];
        let Ok(next) = enter(machine, to, &self.known.limits.deadlines, self.now) else { return };
        *machine = next;
        machine.deadline = None;
        if machine.phase == Phase::Uploading {
            let wave = machine.wave;
            self.under_way.push((self.now.after(self.pace.sending), at));
            if let Some(span) = self.spans.get_mut(wave) {
                span.begins = span.begins.or(Some(self.now));
            }
        }
    }

    /// What a machine would answer when its turn came, by what is known of it.
    fn answer(&mut self, at: usize) -> Phase {
        let machine = &self.rollout.machines[at];
        let offline = |reason: &str| Phase::Waiting(WaitReason::Offline { reason: reason.to_owned() });
        let Some(observation) = self.known.observations.get(&machine.machine) else {
            return Phase::Skipped(SkipReason::Withdrawn);
        };
        let report = match &observation.facts {
            Some(Facts { contact: Contact::Silent { reason } | Contact::Refused { reason }, .. }) => {
                return offline(reason);
            }
            Some(Facts { report: Some(report), .. }) => report,
            Some(_) | None => return offline("it has not been heard of yet"),
        };
        let context = Context {
            rollout: &self.rollout,
            observation,
            is_deleted: false,
            limits: &self.known.limits,
            now: self.now,
        };
        match context.begin(machine, report) {
            Phase::Waiting(WaitReason::Unwell { reason }) => {
                // It would be looked at again and again; nobody knows when it will be well.
                self.unwell.insert(at, reason.clone());
                offline(&reason)
            }
            to => to,
        }
    }

    /// The next moment at which something happens by itself.
    fn next_moment(&self) -> Option<Timestamp> {
        let arrives = self.under_way.iter().map(|(at, _)| *at).min();
        if arrives.is_some() && self.known.calendar.is_empty() {
            return arrives;
        }
        let found = hindrances(&self.rollout, &self.known.observations, &self.known.limits, self.now);
        let ends = found.values().filter_map(Hindrance::ends_at).filter(|at| *at > self.now);
        ends.chain(arrives).min()
    }

    /// Takes the person who is waited for to agree at once. False where nobody is.
    fn release_wave(&mut self) -> bool {
        let now = self.now;
        let next = self.rollout.open_wave + 1;
        let waits =
            |wave: &&mut super::state::RolloutWave| wave.approval == Approval::Person && wave.released_at.is_none();
        match self.rollout.waves.get_mut(next).filter(waits) {
            Some(wave) => {
                wave.released_at = Some(now);
                true
            }
            None => false,
        }
    }

    fn count_roles(&mut self) {
        let mut now: HashMap<&(EnvironmentId, String), usize> = HashMap::new();
        for (_, at) in &self.under_way {
            for group in self.groups.get(&self.rollout.machines[*at].machine).into_iter().flatten() {
                *now.entry(group).or_default() += 1;
            }
        }
        for (group, number) in now {
            let most = self.most.entry(group.clone()).or_default();
            *most = (*most).max(number);
        }
    }

    fn told(self, is_followed: bool, is_measured: bool) -> Course {
        let found = hindrances(&self.rollout, &self.known.observations, &self.known.limits, self.now);
        let machines = || self.rollout.machines.iter().enumerate();
        let stays = |(at, machine): (usize, &super::state::RolloutMachine)| {
            let (code, why) = match (&machine.phase, found.get(&machine.machine)) {
                (Phase::Upgraded | Phase::Uploading | Phase::Installing(_), _) => return None,
                (Phase::Skipped(why), _) => (why.code(), why.sentence()),
                (Phase::Waiting(_), _) if self.unwell.contains_key(&at) => {
                    ("Unwell", format!("it has problems: {}", self.unwell[&at]))
                }
                // It was not followed so far; nothing else keeps it.
                (Phase::Waiting(_), _) if !is_followed => return None,
                (Phase::Waiting(_), Some(hindrance)) => (hindrance.code(), hindrance.to_string()),
                (phase, _) => (phase.kind().word(), phase.reason()),
            };
            Some(Stays { machine: machine.machine, name: machine.name.clone(), wave: Some(machine.wave), code, why })
        };
        let size = |group: &(EnvironmentId, String)| self.known.role_sizes.get(group).copied().unwrap_or(1);
        let mut roles: Vec<RoleLoss> = self
            .most
            .iter()
            .map(|(group, most)| RoleLoss {
                environment: group.0,
                role: group.1.clone(),
                most: *most,
                all: size(group).max(*most),
            })
            .collect();
        roles.sort_by(|a, b| (a.environment, &a.role).cmp(&(b.environment, &b.role)));
        let stops = self.rollout.state == RolloutState::Paused;
        let last = self.spans.iter().filter_map(|span| span.ends).max();
        let finish = match last {
            _ if stops => Finish::Stops(self.rollout.state_reason.clone()),
            _ if !is_measured => Finish::Unknown,
            Some(at) if is_followed => Finish::At(at),
            _ if is_followed => Finish::At(self.now),
            _ => Finish::After(self.now),
        };
        let blank = Span::default();
        Course {
            waves: self.spans.iter().map(|span| if is_measured { *span } else { blank }).collect(),
            finish,
            upgraded: self.rollout.count(|kind| kind == PhaseKind::Upgraded),
            stays: machines().filter_map(stays).collect(),
            roles,
        }
    }
}

#[cfg(test)]
#[path = "course_tests.rs"]
mod tests;
