//! What a seed begins with: the troubles of the machines, and the rollout as it stands when it is made.

use std::collections::BTreeMap;
use std::time::Duration;

use contract::Version;
use octopus_server::clock::Timestamp;
use octopus_server::ids::{MachineId, RolloutId, SpaceId, TaskId};
use octopus_server::rollout::state::{Phase, Return, Rollout, RolloutMachine, RolloutState, RolloutWave, WaitReason};
use octopus_server::rollout::strategy::{Candidate, CutWave, Strategy};
use octopus_server::rollout::undo::UndoDraft;
use rand::RngExt as _;
use rand::rngs::SmallRng;

use super::machine::{Machine, Nature};

/// Some trouble.
fn some_nature(rng: &mut SmallRng) -> Nature {
    match rng.random_range(0..19) {
        0 => Nature::Crashes,
        1 => Nature::Mute,
        2 => Nature::Dies,
        3 => Nature::Vanishes(rng.random_range(10..3000)),
        4 | 5 => Nature::OfflineUntil(rng.random_range(1..6000)),
        6 => Nature::DiskFull,
        7 => Nature::BusyUntil(rng.random_range(1..3000)),
        8 => Nature::UnwellUntil(rng.random_range(1..3000)),
        9 => Nature::Current,
        10 => Nature::Ahead,
        11 => Nature::NoSupervisor,
        12 => Nature::Reboots(rng.random_range(30..900)),
        13 => Nature::Lies,
        14 => Nature::Spoilt,
        15 => Nature::ClonedAt(rng.random_range(1..3000)),
        16 => Nature::KilledDraining,
        17 => Nature::CrashesThenKilled,
        _ => Nature::KilledOnce,
    }
}

/// Some trouble on the way back.
fn some_trouble_back(rng: &mut SmallRng) -> Nature {
    match rng.random_range(0..10) {
        0 => Nature::Crashes,
        1 => Nature::Mute,
        2 => Nature::Dies,
        3 => Nature::Vanishes(rng.random_range(10..3000)),
        4 => Nature::Lies,
        5 => Nature::Spoilt,
        6 => Nature::Swept,
        7 => Nature::KilledDraining,
        8 => Nature::CrashesThenKilled,
        _ => Nature::KilledOnce,
    }
}

/// So many machines, a share of them with some trouble: most run one version, and some another.
pub(super) fn some_machines(rng: &mut SmallRng, count: i64, target: &Version) -> BTreeMap<MachineId, Machine> {
    let olds = [Version::release(1, 0, 0), Version::release(1, 1, 0)];
    let bad = rng.random_range(0..40_u32);
    let mut machines = BTreeMap::new();
    for id in 1..=count {
        let has_trouble = rng.random_range(0..100) < bad;
        let nature = if has_trouble { some_nature(rng) } else { Nature::Good };
        let old = &olds[usize::from(rng.random_bool(0.2))];
        let mut machine = Machine::new(format!("m{id}"), nature, old, target);
        if rng.random_range(0..100) < bad / 2 {
            machine.back = some_trouble_back(rng);
        }
        machines.insert(MachineId(id), machine);
    }
    machines
}

/// A rollout of all machines by `strategy`, as it stands when it is made.
pub(crate) fn new_rollout(
    machines: &BTreeMap<MachineId, Machine>,
    strategy: Strategy,
    target: &Version,
    soak: Duration,
) -> Rollout {
    let candidates = vec![Candidate::default(); machines.len()];
    new_rollout_of(machines.iter(), &candidates, strategy, target, soak)
}

/// The same of some machines, of which the strategy looks at their environments and roles.
pub(super) fn new_rollout_of<'m>(
    machines: impl Iterator<Item = (&'m MachineId, &'m Machine)>,
    candidates: &[Candidate],
    strategy: Strategy,
    target: &Version,
    soak: Duration,
) -> Rollout {
    let cut = strategy.cut(candidates, soak);
    let row = |((position, (id, machine)), wave): ((i64, (&MachineId, &Machine)), &usize)| {
        new_row(*id, &machine.name, position, *wave, None)
    };
    let rows = (0..).zip(machines).zip(&cut.wave_of).map(row).collect();
    Rollout {
        id: RolloutId(1),
        space: SpaceId::DEFAULT,
        task: TaskId(1),
        target: target.clone(),
        undo_of: None,
        waves: cut.waves.iter().map(new_wave).collect(),
        open_wave: 0,
        start_at: None,
        max_in_flight: strategy.max_in_flight.of(candidates.len()),
        failure_budget: strategy.failure_budget.of(candidates.len()),
        strategy,
        created_by: "alice".to_owned(),
        created_at: Timestamp(0),
        state: RolloutState::Running,
        state_reason: String::new(),
        cancel_requested_at: None,
        completed_at: None,
        revision: 0,
        machines: rows,
    }
}

/// The undo of `rollout`, as it stands when it is made.
pub(super) fn undo_of(rollout: &Rollout, draft: UndoDraft, id: RolloutId, now: Timestamp) -> Rollout {
    let machines = (0..).zip(draft.machines).map(|(position, new)| {
        let row = new_row(new.machine, &new.name, position, new.wave, new.back);
        let phase = new.skipped.map_or(Phase::Waiting(WaitReason::Turn), Phase::Skipped);
        RolloutMachine { phase, since: now, ..row }
    });
    Rollout {
        id,
        task: TaskId(id.0),
        target: draft.target,
        undo_of: Some(rollout.id),
        waves: draft.waves.iter().map(new_wave).collect(),
        open_wave: 0,
        max_in_flight: draft.max_in_flight,
        failure_budget: draft.failure_budget,
        strategy: draft.strategy,
        created_at: now,
        start_at: None,
        state: RolloutState::Running,
        state_reason: String::new(),
        cancel_requested_at: None,
        revision: 0,
        machines: machines.collect(),
        ..rollout.clone()
    }
}

pub(super) fn new_row(
    machine: MachineId,
    name: &str,
    position: i64,
    wave: usize,
    back: Option<Return>,
) -> RolloutMachine {
    RolloutMachine {
        machine,
        name: name.to_owned(),
        position,
        phase: Phase::Waiting(WaitReason::Turn),
        since: Timestamp(0),
        deadline: None,
        attempt: 0,
        from: None,
        previous: None,
        back,
        tried_at: None,
        was_away: false,
        wave,
        forgiven_at: None,
        revision: 0,
    }
}

fn new_wave(cut: &CutWave) -> RolloutWave {
    RolloutWave {
        title: cut.title.clone(),
        soak: cut.soak,
        approval: cut.approval,
        failure_budget: cut.failure_budget,
        ..RolloutWave::only()
    }
}
