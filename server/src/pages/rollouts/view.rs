//! What the pages of rollouts show. Built by pure functions; used by the pages and by their live streams.

use std::collections::HashMap;

use super::eta::Eta;
use super::waves::{WaveRow, counted, rules, waves};
use crate::clock::Timestamp;
use crate::db::rollout_events::Event;
use crate::ids::{MachineId, RolloutId, TaskId};
use crate::model::Facts;
use crate::pages::sentence;
use crate::pages::view::{Mark, Status};
use crate::rollout::create::Selection;
use crate::rollout::state::{PhaseKind, Rollout, RolloutMachine, RolloutState};
use crate::rollout::undo::UndoPlan;
use crate::sequel::{may_have_sequel, sequel, tally};

/// Machines that a rollout's page shows at once; what failed and what is in flight comes first.
pub const ROWS_MAX: usize = 200;

/// A reason longer than this is shown as what a program wrote, in characters.
const SENTENCE_MAX: usize = 240;

/// What the page of a rollout is made of.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The rollout.
    pub rollout: Rollout,
    /// What is known of the machines that [`may_have_sequel`].
    pub facts: HashMap<MachineId, Facts>,
    /// Why those that wait do so.
    pub why: HashMap<MachineId, String>,
    /// The runtimes for which its version is held.
    pub held_for: Vec<String>,
    /// What people did, newest first.
    pub events: Vec<Event>,
    /// The undo that is there already.
    pub undone_by: Option<RolloutId>,
    /// Machines wait for their hour.
    pub waits_for_hour: bool,
    /// The wave that soaks, from 0, and until when.
    pub soaks: Option<(usize, Timestamp)>,
    /// The open wave took the place of a canary, and awaits the first of its machines.
    pub awaits_proof: bool,
    /// Which machines it was made for.
    pub selection: Option<Selection>,
    /// When it is about to be over.
    pub eta: Option<Eta>,
}

/// What stands above the machines of a rollout.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Head {
    /// The rollout.
    pub id: RolloutId,
    /// The task with its log.
    pub task: TaskId,
    /// The version wished for.
    pub target: String,
    /// The rollout that it undoes.
    pub undo_of: Option<RolloutId>,
    /// The rollout that undoes it.
    pub undone_by: Option<RolloutId>,
    /// The reader may lay hands on it.
    pub may_act: bool,
    /// Where it stands.
    pub state: RolloutState,
    /// The whole truth in one sentence.
    pub sentence: String,
    /// Why it stands so; may be empty.
    pub reason: String,
    /// Who wished it.
    pub created_by: String,
    /// When.
    pub created_at: Timestamp,
    /// When it was over.
    pub completed_at: Option<Timestamp>,
    /// Somebody asked to cancel it.
    pub is_cancelling: bool,
    /// Nothing is left to be cancelled.
    pub is_over: bool,
    /// Failures so far that count: those that no person forgave.
    pub failures: usize,
    /// Failures so far that a person forgave.
    pub forgiven: usize,
    /// Failures that stop it.
    pub failure_budget: u32,
    /// Machines in flight.
    pub in_flight: usize,
    /// Machines that may be in flight at once.
    pub max_in_flight: u32,
    /// All its machines.
    pub total: usize,
    /// How many of them are shown.
    pub shown: usize,
    /// When it begins, while that has not come.
    pub start_at: Option<Timestamp>,
    /// By what rules it goes about its machines; told on its own page alone.
    pub rules: Vec<String>,
    /// When it is about to be over; told on its own page alone.
    pub eta: Option<Eta>,
}

/// What people can do with it now.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HandsView {
    /// The rollout.
    pub id: RolloutId,
    /// It can be begun before its hour.
    pub can_start: bool,
    /// It can be paused.
    pub can_pause: bool,
    /// It can go on.
    pub can_resume: bool,
    /// Machines that can be tried again.
    pub failed: usize,
    /// The wave that can be released, from 1, and its name.
    pub release: Option<(usize, String)>,
    /// The runtimes for which the version is held.
    pub held_for: Vec<String>,
    /// Machines that can be brought back, each to what it ran before.
    pub undo: usize,
    /// Machines wait for their hour.
    pub waits_for_hour: bool,
}

impl RolloutView {
    /// The same for a reader who may lay no hands on it.
    pub fn only_look(&mut self) {
        self.head.may_act = false;
        self.hands = HandsView {
            id: self.head.id,
            can_start: false,
            can_pause: false,
            can_resume: false,
            failed: 0,
            release: None,
            held_for: Vec::new(),
            undo: 0,
            waits_for_hour: false,
        };
        self.rows.iter_mut().for_each(|row| row.hand = None);
    }
}

impl HandsView {
    /// True where there is nothing to be done.
    pub fn is_empty(&self) -> bool {
        let nothing = self.release.is_none() && self.held_for.is_empty() && self.failed == 0 && self.undo == 0;
        let nothing = nothing && !self.waits_for_hour;
        nothing && !self.can_start && !self.can_pause && !self.can_resume
    }
}

impl Head {
    /// What it is, in a few words.
    pub fn title(&self) -> String {
        match self.undo_of {
            Some(of) => format!("Undo of {of}"),
            None => format!("Upgrade to {}", self.target),
        }
    }

    /// The mark of its state.
    pub fn status(&self) -> Status {
        if self.is_cancelling { Status { mark: Mark::Upgrading, word: "cancelling" } } else { self.state.into() }
    }

    /// True where the wish to cancel would have an effect.
    pub fn can_cancel(&self) -> bool {
        self.may_act && !self.is_over && !self.is_cancelling
    }
}

/// One machine of a rollout.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Row {
    /// The machine.
    pub machine: MachineId,
    /// Its name when the rollout was made.
    pub name: String,
    /// What it ran at first.
    pub from: Option<String>,
    /// What it is brought to.
    pub to: String,
    /// Where it stands.
    pub kind: PhaseKind,
    /// Since when.
    pub since: Timestamp,
    /// When the phase must be over.
    pub deadline: Option<Timestamp>,
    /// How often it was begun.
    pub attempt: u32,
    /// Why it stands so; may be empty.
    pub reason: String,
    /// What was heard of it since it was lost.
    pub later: Option<Later>,
    /// Its wave, from 1; 0 where there is but one.
    pub wave: usize,
    /// What can be done with it.
    pub hand: Option<RowHand>,
}

/// What was heard of a machine since it was lost.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Later {
    /// Shape, colour and word.
    pub status: Status,
    /// The whole of it.
    pub sentence: String,
    /// When it last answered.
    pub heard_at: Option<Timestamp>,
}

/// What can be done with one machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RowHand {
    /// It can be left out.
    Skip,
    /// It can be tried again.
    Retry,
}

impl Row {
    /// The id of its element.
    pub fn element(&self) -> String {
        format!("machine-{}", self.machine.0)
    }

    /// True where the reason holds what a program wrote, and not just a sentence.
    pub fn is_long(&self) -> bool {
        self.reason.len() > SENTENCE_MAX || self.reason.contains('\n')
    }
}

/// The page of one rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolloutView {
    /// What stands above the machines.
    pub head: Head,
    /// What people can do now.
    pub hands: HandsView,
    /// Its waves, each with a cell for every machine.
    pub waves: Vec<WaveRow>,
    /// What people did, newest first.
    pub events: Vec<Event>,
    /// The machines: what failed and what is in flight first.
    pub rows: Vec<Row>,
    /// Those of which more may be heard though the rollout does nothing with them any more.
    pub followed: Vec<MachineId>,
}

/// A rollout among others.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RolloutsView {
    /// Newest first.
    pub rollouts: Vec<Head>,
    /// The page of the list, from 0.
    pub page: u32,
    /// True if there are older ones.
    pub has_more: bool,
    /// Machines of which more may be heard though their rollouts do nothing with them any more.
    pub followed: Vec<MachineId>,
}

fn head(rollout: &Rollout, facts: &HashMap<MachineId, Facts>, shown: usize) -> Head {
    Head {
        id: rollout.id,
        task: rollout.task,
        target: rollout.target.to_string(),
        undo_of: rollout.undo_of,
        undone_by: None,
        may_act: true,
        state: rollout.state,
        sentence: truth(rollout, facts),
        reason: sentence(&rollout.state_reason),
        created_by: rollout.created_by.clone(),
        created_at: rollout.created_at,
        completed_at: rollout.completed_at.filter(|_| rollout.state.is_completed()),
        is_cancelling: rollout.cancel_requested_at.is_some() && !rollout.state.is_completed(),
        is_over: rollout.is_over(),
        failures: counted(rollout, None),
        forgiven: rollout.count(PhaseKind::is_failure) - counted(rollout, None),
        failure_budget: rollout.failure_budget,
        in_flight: rollout.count(PhaseKind::is_in_flight),
        max_in_flight: rollout.max_in_flight,
        total: rollout.machines.len(),
        shown,
        start_at: rollout.start_at.filter(|_| rollout.state == RolloutState::Scheduled),
        rules: Vec::new(),
        eta: None,
    }
}

fn hands(loaded: &Loaded) -> HandsView {
    let rollout = &loaded.rollout;
    let is_open = !rollout.is_over() && rollout.cancel_requested_at.is_none();
    // The open wave is released where its first machine must soak, and else the next one.
    let at = if loaded.awaits_proof { rollout.open_wave } else { rollout.open_wave + 1 };
    let next = rollout.waves.get(at).filter(|wave| is_open && wave.released_at.is_none());
    HandsView {
        id: rollout.id,
        can_start: is_open && rollout.state == RolloutState::Scheduled,
        can_pause: is_open && rollout.state != RolloutState::Paused,
        can_resume: is_open && rollout.state == RolloutState::Paused,
        failed: if rollout.cancel_requested_at.is_none() { rollout.count(PhaseKind::is_failure) } else { 0 },
        release: next.map(|wave| (at + 1, wave.title.clone())),
        held_for: if is_open { loaded.held_for.clone() } else { Vec::new() },
        undo: match loaded.undone_by {
            Some(_) => 0,
            // What they run by now is looked at before a person agrees.
            None => UndoPlan::of(rollout, &HashMap::new(), |_| true).goes(),
        },
        waits_for_hour: is_open && loaded.waits_for_hour,
    }
}

/// Counts, and what they do not tell: the word for its state stands beside it.
fn truth(rollout: &Rollout, facts: &HashMap<MachineId, Facts>) -> String {
    let summary = [sentence(&rollout.summary()), tally(rollout, facts)].join(" ").trim_end().to_owned();
    let waiting = rollout.count(|kind| kind == PhaseKind::Waiting);
    match rollout.state {
        RolloutState::Completed if waiting > 0 => {
            format!("{summary} Those that wait cannot begin now; each says why, and follows when that has passed.")
        }
        RolloutState::Scheduled
        | RolloutState::Running
        | RolloutState::Paused
        | RolloutState::Completed
        | RolloutState::CompletedWithFailures
        | RolloutState::Cancelled => summary,
    }
}

/// The page of one rollout; `all` shows every machine, however many there are.
pub fn rollout_view(loaded: &Loaded, all: bool) -> RolloutView {
    let rollout = &loaded.rollout;
    let shown = if all { rollout.machines.len() } else { rollout.machines.len().min(ROWS_MAX) };
    let mut machines: Vec<&RolloutMachine> = rollout.machines.iter().collect();
    machines.sort_by_key(|machine| (urgency(machine.phase.kind()), machine.position));
    let row = |machine: &&RolloutMachine| Row {
        machine: machine.machine,
        name: machine.name.clone(),
        from: machine.from.as_ref().map(ToString::to_string),
        to: machine.target(&rollout.target).to_string(),
        kind: machine.phase.kind(),
        since: machine.since,
        deadline: machine.deadline,
        attempt: machine.attempt,
        reason: sentence(loaded.why.get(&machine.machine).map_or(&machine.phase.reason(), |why| why)),
        later: sequel(machine, machine.target(&rollout.target), loaded.facts.get(&machine.machine)).map(|sequel| {
            Later {
                status: (&sequel).into(),
                sentence: sequel.sentence(machine.target(&rollout.target)),
                heard_at: sequel.heard_at(),
            }
        }),
        wave: if rollout.waves.len() < 2 { 0 } else { machine.wave + 1 },
        hand: match machine.phase.kind() {
            _ if rollout.cancel_requested_at.is_some() => None,
            PhaseKind::Waiting => Some(RowHand::Skip),
            kind if kind.is_failure() => Some(RowHand::Retry),
            _ => None,
        },
    };
    RolloutView {
        head: Head {
            undone_by: loaded.undone_by,
            rules: rules(rollout, loaded.selection.as_ref()),
            eta: loaded.eta,
            ..head(rollout, &loaded.facts, shown)
        },
        hands: hands(loaded),
        waves: waves(rollout, loaded.soaks),
        events: loaded.events.clone(),
        rows: machines.iter().take(shown).map(row).collect(),
        followed: may_have_sequel(std::slice::from_ref(rollout)),
    }
}

/// What a person should see first has the lowest number.
fn urgency(kind: PhaseKind) -> u8 {
    match Status::from(kind).mark {
        Mark::Failed | Mark::Attention => 0,
        Mark::Upgrading => 1,
        Mark::Unknown | Mark::Unreachable => 2,
        Mark::Waiting => 3,
        Mark::Healthy => 4,
        Mark::Quiet => 5,
    }
}

/// The list of rollouts. `facts` are those of the machines that [`may_have_sequel`].
pub fn rollouts_view(
    rollouts: &[Rollout],
    facts: &HashMap<MachineId, Facts>,
    page: u32,
    has_more: bool,
) -> RolloutsView {
    let followed = may_have_sequel(rollouts);
    let rollouts = rollouts.iter().map(|rollout| head(rollout, facts, 0)).collect();
    RolloutsView { rollouts, page, has_more, followed }
}

#[cfg(test)]
#[path = "view_tests.rs"]
pub(super) mod tests;
