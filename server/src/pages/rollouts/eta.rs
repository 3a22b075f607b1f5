//! How much longer a rollout takes, as its page tells it. Pure.
//!
//! Told from how long upgrades took here: a round of as many machines as may be in progress at once, one after the other,
//! and the soaks between waves. Machines that wait for something of their own are left out; so are failures.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::rollout::course::Pace;
use crate::rollout::state::{PhaseKind, Rollout, RolloutMachine, RolloutState};
use crate::rollout::strategy::Approval;

/// When a rollout is about to be over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Eta {
    /// About then. It differs only where the rollout stands elsewhere, so that a page need not be sent again.
    pub at: Timestamp,
    /// The wave, from 1, that waits for a person, and until which this is told; `None` where it is told of the whole.
    pub until_wave: Option<usize>,
}

/// `None` where nothing is under way, or nothing was measured.
pub(super) fn eta(
    rollout: &Rollout,
    waits_for_turn: impl Fn(&RolloutMachine) -> bool,
    pace: Option<Pace>,
) -> Option<Eta> {
    let pace = pace.filter(|_| rollout.state == RolloutState::Running && rollout.cancel_requested_at.is_none())?;
    let each = pace.sending + pace.installing;
    let is_left = |machine: &&RolloutMachine| machine.phase.kind().is_in_flight() || waits_for_turn(machine);
    let waves: Vec<usize> = (0..rollout.waves.len().max(1))
        .map(|wave| rollout.machines.iter().filter(|machine| machine.wave == wave).filter(is_left).count())
        .collect();
    let last = waves.iter().rposition(|left| *left > 0)?;
    let cap = rollout.max_in_flight.max(1) as usize;
    // One goes alone until one is proven.
    let mut is_proven = rollout.count(|kind| kind == PhaseKind::Upgraded) > 0;
    let mut time = Duration::ZERO;
    let mut until_wave = None;
    for (at, left) in waves.iter().enumerate().take(last + 1).filter(|(_, left)| **left > 0) {
        let wave = rollout.waves.get(at);
        let asks = wave.is_some_and(|wave| wave.approval == Approval::Person && wave.released_at.is_none());
        if asks && at > rollout.open_wave {
            until_wave = Some(at + 1);
            break;
        }
        let rounds = if is_proven { left.div_ceil(cap) } else { 1 + (left - 1).div_ceil(cap) };
        is_proven = true;
        time += each * u32::try_from(rounds).unwrap_or(u32::MAX);
        if at < last {
            time += wave.map_or(Duration::ZERO, |wave| wave.soak);
        }
    }
    let moved = rollout.machines.iter().filter(|machine| machine.phase.kind() != PhaseKind::Waiting);
    let since = moved.map(|machine| machine.since).max().unwrap_or(rollout.created_at);
    Some(Eta { at: since.after(time), until_wave }).filter(|_| !time.is_zero())
}

#[cfg(test)]
mod tests {
    use super::super::view::tests::{rollout, waiting};
    use super::*;
    use crate::rollout::state::{Phase, RolloutWave};

    const SECOND: i64 = 1_000_000;

    /// Ten seconds for each machine.
    fn pace() -> Option<Pace> {
        Some(Pace { sending: Duration::from_secs(4), installing: Duration::from_secs(6), machines: 1 })
    }

    fn running(phases: Vec<Phase>, cap: u32) -> Rollout {
        let mut rollout = rollout(RolloutState::Running, phases).rollout;
        rollout.max_in_flight = cap;
        rollout
    }

    fn seconds(rollout: &Rollout) -> Option<i64> {
        eta(rollout, |machine| machine.phase.kind() == PhaseKind::Waiting, pace()).map(|eta| eta.at.0 / SECOND)
    }

    #[test]
    fn machines_go_in_rounds_and_the_first_goes_alone() {
        assert_eq!(seconds(&running(vec![waiting()], 10)), Some(10));
        assert_eq!(seconds(&running(vec![waiting(); 12], 10)), Some(30), "one, ten, and one more");
        let mut phases = vec![waiting(); 11];
        phases.push(Phase::Upgraded);
        assert_eq!(seconds(&running(phases, 10)), Some(20));
    }

    #[test]
    fn it_counts_from_the_last_step_so_that_it_stays_while_nothing_happens() {
        let mut rollout = running(vec![Phase::Upgraded, waiting()], 10);
        rollout.machines[0].since = Timestamp(100 * SECOND);
        assert_eq!(seconds(&rollout), Some(110));
    }

    #[test]
    fn waves_soak_and_one_that_waits_for_a_person_is_where_it_ends() {
        let mut rollout = running(vec![Phase::Upgraded, waiting(), waiting()], 10);
        let soak = Duration::from_secs(60);
        rollout.waves = vec![RolloutWave { soak, ..RolloutWave::only() }; 2];
        rollout.machines[2].wave = 1;
        assert_eq!(seconds(&rollout), Some(80));
        rollout.waves[1].approval = Approval::Person;
        let told = eta(&rollout, |machine| machine.phase.kind() == PhaseKind::Waiting, pace());
        assert_eq!(told, Some(Eta { at: Timestamp(70 * SECOND), until_wave: Some(2) }));
    }

    #[test]
    fn nothing_is_told_where_nothing_goes_on_or_was_measured() {
        let rollout = running(vec![waiting()], 10);
        assert_eq!(eta(&rollout, |_| true, None), None);
        assert_eq!(eta(&rollout, |_| false, pace()), None, "what waits for its own reasons is left out");
        assert_eq!(seconds(&Rollout { state: RolloutState::Paused, ..rollout }), None);
        assert_eq!(seconds(&running(vec![Phase::Upgraded], 10)), None);
    }
}
