//! Tests of what the page of a rollout shows.

use super::*;
use crate::ids::SpaceId;
use crate::rollout::state::RolloutWave;
use crate::rollout::state::{Phase, WaitReason};
use crate::rollout::strategy::Strategy;

fn machine(number: i64, phase: Phase) -> RolloutMachine {
    RolloutMachine {
        machine: MachineId(number),
        name: format!("web-{number}"),
        position: number,
        phase,
        since: Timestamp(0),
        deadline: None,
        attempt: 1,
        from: Some(contract::Version::release(2026, 4, 0)),
        previous: None,
        back: None,
        tried_at: None,
        was_away: false,
        wave: 0,
        forgiven_at: None,
        revision: 0,
    }
}

pub(in crate::pages::rollouts) fn rollout(state: RolloutState, phases: Vec<Phase>) -> Loaded {
    let rollout = Rollout {
        id: RolloutId(1),
        space: SpaceId::DEFAULT,
        task: TaskId(1),
        target: contract::Version::release(2026, 4, 1),
        undo_of: None,
        strategy: Strategy::plain(10, 2),
        waves: vec![RolloutWave::only()],
        open_wave: 0,
        start_at: None,
        max_in_flight: 10,
        failure_budget: 2,
        created_by: "admin".into(),
        created_at: Timestamp(0),
        state,
        state_reason: "1 of 2 failures allowed".into(),
        cancel_requested_at: None,
        completed_at: None,
        revision: 0,
        machines: phases.into_iter().zip(1..).map(|(phase, number)| machine(number, phase)).collect(),
    };
    Loaded {
        rollout,
        facts: HashMap::new(),
        why: HashMap::new(),
        held_for: Vec::new(),
        events: Vec::new(),
        undone_by: None,
        waits_for_hour: false,
        soaks: None,
        awaits_proof: false,
        selection: Some(Selection::All),
        eta: None,
    }
}

pub(in crate::pages::rollouts) fn waiting() -> Phase {
    Phase::Waiting(WaitReason::Turn)
}

#[test]
fn failures_come_first_and_what_is_in_flight_second() {
    let phases = vec![
        Phase::Upgraded,
        Phase::Waiting(WaitReason::Turn),
        Phase::Checking,
        Phase::FellBack { reason: "it crashed\nat line 1".into() },
        Phase::Cancelled,
    ];
    let view = rollout_view(&rollout(RolloutState::Running, phases), false);
    let order: Vec<PhaseKind> = view.rows.iter().map(|row| row.kind).collect();
    use PhaseKind as K;
    assert_eq!(order, [K::FellBack, K::Checking, K::Waiting, K::Upgraded, K::Cancelled]);
    assert!(view.rows[0].is_long() && !view.rows[2].is_long());
    assert_eq!((view.head.failures, view.head.in_flight), (1, 1));
    let sentence = "1 of 5 upgraded, 1 in progress, 1 waiting, 1 fell back, 1 cancelled.";
    assert_eq!(view.head.sentence, sentence);
    assert_eq!(view.head.reason, "1 of 2 failures allowed.");
}

#[test]
fn a_rollout_that_leaves_machines_waiting_does_not_just_say_completed() {
    let offline = Phase::Waiting(WaitReason::Offline { reason: "no route".into() });
    let rollout = rollout(RolloutState::Completed, vec![Phase::Upgraded, offline]);
    let view = rollout_view(&rollout, false);
    assert!(
        view.head.sentence.starts_with("1 of 2 upgraded, 1 waiting. Those that wait cannot begin now; each says why")
    );
}

#[test]
fn failures_that_a_person_forgave_do_not_count() {
    let failed = || Phase::Failed { reason: "disk full".into() };
    let mut loaded = rollout(RolloutState::Running, vec![failed(), failed(), Phase::Upgraded]);
    loaded.rollout.waves = vec![RolloutWave { failure_budget: Some(2), ..RolloutWave::only() }, RolloutWave::only()];
    loaded.rollout.machines[0].forgiven_at = Some(Timestamp(1));
    loaded.soaks = Some((0, Timestamp(9)));
    let view = rollout_view(&loaded, false);
    assert_eq!((view.head.failures, view.head.forgiven), (1, 1));
    assert_eq!((view.waves[0].failed, view.waves[0].budget), (2, Some((1, 2))));
    assert_eq!((view.waves[0].soaks_until, view.waves[1].soaks_until), (Some(Timestamp(9)), None));
}

#[test]
fn a_page_tells_the_rules_that_no_number_tells() {
    let mut loaded = rollout(RolloutState::Running, vec![Phase::Upgraded]);
    loaded.rollout.strategy.max_percent_of_role = Some(20);
    loaded.rollout.strategy.max_transfers = Some(1);
    loaded.rollout.strategy.ignore_windows = Some("a hole in the old version".into());
    let rules = rollout_view(&loaded, false).head.rules;
    assert_eq!(
        rules,
        [
            "Maintenance windows and freezes are ignored: a hole in the old version",
            "At most 20 % of a role in an environment at once",
            "At most 1 machine sent the package at once",
            "Offline machines are waited for 7 days",
            "Machines that come late join the last wave",
        ]
    );
}

#[test]
fn a_large_rollout_shows_what_is_urgent_and_counts_the_rest() {
    let mut phases = vec![Phase::Upgraded; 2_999];
    phases.push(Phase::Failed { reason: "disk full".into() });
    let rollout = rollout(RolloutState::Paused, phases);
    let view = rollout_view(&rollout, false);
    assert_eq!((view.rows.len(), view.head.total, view.head.shown), (ROWS_MAX, 3_000, ROWS_MAX));
    assert_eq!(view.rows[0].kind, PhaseKind::Failed);
    assert_eq!(rollout_view(&rollout, true).rows.len(), 3_000);
}

#[test]
fn every_machine_has_a_cell_that_says_its_name_its_phase_and_why() {
    let phases = vec![Phase::Upgraded, Phase::FellBack { reason: "it crashed".into() }, waiting()];
    let view = rollout_view(&rollout(RolloutState::Running, phases), false);
    let cells: Vec<(&str, Mark)> = view.waves[0].cells.iter().map(|cell| (cell.words.as_str(), cell.mark)).collect();
    assert_eq!(cells[0], ("web-1: upgraded.", Mark::Healthy));
    assert_eq!(cells[1], ("web-2: fell back. It crashed.", Mark::Failed));
    assert_eq!((cells[2].1, view.waves[0].is_only, view.waves[0].undrawn), (Mark::Waiting, true, 0));
}

#[test]
fn more_machines_than_can_be_drawn_are_counted() {
    let view = rollout_view(&rollout(RolloutState::Running, vec![Phase::Upgraded; 5_007]), false);
    assert_eq!((view.waves[0].cells.len(), view.waves[0].undrawn), (5_000, 7));
}

#[test]
fn many_machines_are_counted_with_their_thousands_set_apart() {
    let phases = [vec![Phase::Upgraded; 2_400], vec![waiting(); 600]].concat();
    assert_eq!(rollout(RolloutState::Running, phases).rollout.summary(), "2,400 of 3,000 upgraded, 600 waiting");
}
