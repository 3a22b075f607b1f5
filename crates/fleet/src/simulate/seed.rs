//! What a seed begins with: the troubles of the machines, and the rollout as it stands when it is made.

use std::collections::BTreeMap;
use std::time::Duration;

use contract::Version;
use octopus_server::clock::Timestamp;
use octopus_server::ids::{MachineId, RolloutId, SpaceId, TaskId};
use octopus_server::rollout::state::{Phase, Rollout, RolloutMachine, RolloutState, RolloutWave, WaitReason};
use octopus_server::rollout::strategy::{Candidate, Strategy};
use rand::RngExt as _;
use rand::rngs::SmallRng;

use super::machine::{Machine, Nature};

/// Some trouble.
pub(super) fn some_nature(rng: &mut SmallRng) -> Nature {
    match rng.random_range(0..17) {
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
        _ => Nature::KilledOnce,
    }
}

/// A rollout of all machines by `strategy`, as it stands when it is made.
pub(crate) fn new_rollout(
    machines: &BTreeMap<MachineId, Machine>,
    strategy: Strategy,
    target: &Version,
    soak: Duration,
) -> Rollout {
    let cut = strategy.cut(&vec![Candidate::default(); machines.len()], soak);
    let row = |((position, (id, machine)), wave): ((i64, (&MachineId, &Machine)), &usize)| RolloutMachine {
        machine: *id,
        name: machine.name.clone(),
        position,
        phase: Phase::Waiting(WaitReason::Turn),
        since: Timestamp(0),
        deadline: None,
        attempt: 0,
        from: None,
        previous: None,
        back: None,
        tried_at: None,
        was_away: false,
        wave: *wave,
        forgiven_at: None,
        revision: 0,
    };
    let rows = (0..).zip(machines).zip(&cut.wave_of).map(row).collect();
    let wave = |cut: &octopus_server::rollout::strategy::CutWave| RolloutWave {
        title: cut.title.clone(),
        soak: cut.soak,
        approval: cut.approval,
        failure_budget: cut.failure_budget,
        ..RolloutWave::only()
    };
    Rollout {
        id: RolloutId(1),
        space: SpaceId::DEFAULT,
        task: TaskId(1),
        target: target.clone(),
        undo_of: None,
        waves: cut.waves.iter().map(wave).collect(),
        open_wave: 0,
        start_at: None,
        max_in_flight: strategy.max_in_flight.of(machines.len()),
        failure_budget: strategy.failure_budget.of(machines.len()),
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
