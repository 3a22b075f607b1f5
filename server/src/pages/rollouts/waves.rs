//! The waves of a rollout, and by what rules it goes about its machines, as its page shows them. Pure.

use crate::clock::Timestamp;
use crate::ids::MachineId;
use crate::pages::sentence;
use crate::pages::view::{self as words, Mark, Status};
use crate::rollout::absent::{LateArrivals, Offline};
use crate::rollout::create::Selection;
use crate::rollout::state::{PhaseKind, Rollout, RolloutMachine, RolloutWave};
use crate::rollout::strategy::Approval;

/// A wave of a rollout.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WaveRow {
    /// From 1.
    pub number: usize,
    /// What it is called.
    pub title: String,
    /// Its machines.
    pub total: usize,
    /// Those that are proven.
    pub upgraded: usize,
    /// Those in flight.
    pub in_flight: usize,
    /// Those that failed.
    pub failed: usize,
    /// Failures that count, and how many of them stop the rollout; `None` where only those of the whole rollout do.
    pub budget: Option<(usize, u32)>,
    /// Where it stands.
    pub state: WaveState,
    /// How long the next one waits after it, in words; empty for not at all.
    pub soak: String,
    /// Until when it soaks, while it does.
    pub soaks_until: Option<Timestamp>,
    /// A person must release it, and nobody has.
    pub needs_person: bool,
    /// It is the only one, and has no name of its own.
    pub is_only: bool,
    /// Its machines, in their order.
    pub cells: Vec<Cell>,
    /// Machines that have no cell, because there are too many.
    pub undrawn: usize,
}

impl WaveRow {
    /// The id of the element that holds what is told of it, without its cells.
    pub fn element(&self) -> String {
        format!("wave-{}", self.number)
    }

    /// True where its cells are drawn small.
    pub fn has_many(&self) -> bool {
        self.cells.len() > CELLS_LARGE
    }

    /// All that is told of it but its cells.
    pub fn told(&self) -> impl std::hash::Hash + '_ {
        let counts = (self.total, self.upgraded, self.in_flight, self.failed, self.budget);
        (&self.title, counts, self.state, &self.soak, self.soaks_until, self.needs_person)
    }
}

/// One machine in the picture of a wave.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cell {
    /// The machine.
    pub machine: MachineId,
    /// Its name, its phase in a word, and why it stands so.
    pub words: String,
    /// Shape and colour.
    pub mark: Mark,
    /// Since when it stands so.
    pub since: Timestamp,
    /// When its phase must be over.
    pub deadline: Option<Timestamp>,
}

impl Cell {
    fn of(machine: &RolloutMachine) -> Self {
        let status = Status::from(machine.phase.kind());
        let why: String = sentence(&machine.phase.reason()).chars().take(WHY_MAX).collect();
        let words = format!("{}: {}. {why}", machine.name, status.word).trim_end().to_owned();
        Self { machine: machine.machine, words, mark: status.mark, since: machine.since, deadline: machine.deadline }
    }

    /// The id of its element.
    pub fn element(&self) -> String {
        format!("cell-{}", self.machine.0)
    }
}

/// Machines of a rollout that are drawn as cells; the others are counted.
const CELLS_MAX: usize = 5_000;

/// Machines of a wave up to which its cells are drawn large.
const CELLS_LARGE: usize = 100;

/// Longest reason in a cell, in characters. The whole stands in the table and on the machine's page.
const WHY_MAX: usize = 160;

/// Where a wave stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WaveState {
    /// The one before it is not done.
    Closed,
    /// Its machines begin.
    Open,
    /// Nothing is left to be done in it.
    Done,
}

/// Failures that count against the budget of a wave, or of the whole rollout: those that no person forgave.
pub(super) fn counted(rollout: &Rollout, wave: Option<usize>) -> usize {
    let counts = |machine: &&RolloutMachine| {
        machine.phase.kind().is_failure()
            && machine.forgiven_at.is_none()
            && wave.is_none_or(|wave| machine.wave == wave)
    };
    rollout.machines.iter().filter(counts).count()
}

/// The rules of a rollout that no number beside it tells, one sentence each.
pub(super) fn rules(rollout: &Rollout, selection: Option<&Selection>) -> Vec<String> {
    let strategy = &rollout.strategy;
    let mut rules = Vec::new();
    if let Some(why) = &strategy.ignore_windows {
        let because = if why.trim().is_empty() { String::new() } else { format!(": {}", why.trim()) };
        rules.push(format!("Maintenance windows and freezes are ignored{because}"));
    }
    if let Some(percent) = strategy.max_percent_of_role {
        rules.push(format!("At most {percent} % of a role in an environment at once"));
    }
    if let Some(most) = strategy.max_transfers {
        rules.push(format!("At most {} sent the package at once", words::count(most as usize, "machine")));
    }
    rules.push(match strategy.offline {
        Offline::Leave => "Offline machines are left".to_owned(),
        Offline::WaitHours(hours) if hours % 24 == 0 && hours > 24 => {
            format!("Offline machines are waited for {} days", hours / 24)
        }
        Offline::WaitHours(hours) => format!("Offline machines are waited for {hours} h"),
    });
    match (selection, strategy.late_arrivals) {
        (None | Some(Selection::Machines(_)), _) => {}
        (Some(_), LateArrivals::Join) => rules.push("Machines that come late join the last wave".to_owned()),
        (Some(_), LateArrivals::Leave) => rules.push("Machines that come late are left".to_owned()),
    }
    rules
}

/// The waves of a rollout. `soaks` is the one that soaks, from 0, and until when.
pub(super) fn waves(rollout: &Rollout, soaks: Option<(usize, Timestamp)>) -> Vec<WaveRow> {
    let row = |(at, wave): (usize, &RolloutWave)| {
        let of = |wanted: &dyn Fn(PhaseKind) -> bool| {
            rollout.machines.iter().filter(|machine| machine.wave == at && wanted(machine.phase.kind())).count()
        };
        let left = of(&|kind| !kind.is_final());
        let state = match at.cmp(&rollout.open_wave) {
            _ if left == 0 => WaveState::Done,
            std::cmp::Ordering::Greater => WaveState::Closed,
            std::cmp::Ordering::Equal | std::cmp::Ordering::Less => WaveState::Open,
        };
        WaveRow {
            number: at + 1,
            title: wave.title.clone(),
            total: of(&|_| true),
            upgraded: of(&|kind| kind == PhaseKind::Upgraded),
            in_flight: of(&PhaseKind::is_in_flight),
            failed: of(&PhaseKind::is_failure),
            budget: wave.failure_budget.map(|budget| (counted(rollout, Some(at)), budget)),
            state,
            soaks_until: soaks.filter(|(of, _)| *of == at).map(|(_, until)| until),
            soak: if wave.soak.is_zero() || at + 1 == rollout.waves.len() { String::new() } else { span(wave.soak) },
            needs_person: wave.approval == Approval::Person && wave.released_at.is_none() && state == WaveState::Closed,
            is_only: rollout.waves.len() < 2,
            cells: Vec::new(),
            undrawn: 0,
        }
    };
    let mut waves: Vec<WaveRow> = rollout.waves.iter().enumerate().map(row).collect();
    for (drawn, machine) in rollout.machines.iter().enumerate() {
        let Some(wave) = waves.get_mut(machine.wave) else { continue };
        if drawn < CELLS_MAX {
            wave.cells.push(Cell::of(machine));
        } else {
            wave.undrawn += 1;
        }
    }
    waves
}

/// A length of time in its largest whole unit.
pub(super) fn span(time: std::time::Duration) -> String {
    match time.as_secs() {
        seconds if seconds >= 7200 && seconds % 3600 == 0 => format!("{} h", seconds / 3600),
        seconds if seconds >= 120 && seconds % 60 == 0 => format!("{} min", seconds / 60),
        0 => format!("{} ms", time.as_millis()),
        seconds => format!("{seconds} s"),
    }
}
