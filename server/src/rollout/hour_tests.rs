//! Tests of maintenance windows, freezes and machines that stay away, with the simulated fleet of the planner's tests.

use super::super::super::absent::Offline;
use super::super::super::calendar::{FreezePeriod, FreezeScope, Window, WindowSpec};
use super::super::super::strategy::{Amount, Members, Strategy, Wave};
use super::*;

const HOUR: i64 = 3600;

/// A window that opens once a day.
fn daily(hour: i64, minutes: u32) -> Window {
    let cron = format!("0 {hour} * * *");
    Window::read(&WindowSpec { cron, duration_minutes: minutes, time_zone: "UTC".to_owned() }).unwrap()
}

impl Fleet {
    /// Machine `id` may begin in this window only. Environments are numbered as the machines are.
    fn open(&mut self, id: i64, window: Window) {
        let entry = self.calendar.windows.entry(EnvironmentId(id));
        entry.or_insert_with(|| (format!("Environment {id}"), vec![])).1.push(window);
    }

    fn said(&self, id: i64) -> String {
        let found = hindrances(&self.rollout, &self.seen(), &self.limits, Timestamp(self.now));
        found.get(&MachineId(id)).map(ToString::to_string).unwrap_or_default()
    }
}

#[test]
fn a_machine_begins_when_its_window_opens_and_says_so_before() {
    let mut fleet = Fleet::new(&[Nature::Good; 2]);
    (1..=2).for_each(|id| fleet.open(id, daily(2, 60)));
    fleet.run(HOUR);
    assert_eq!((fleet.touched(), fleet.rollout.state), (0, RolloutState::Running), "it is not over");
    let said = "it is outside the maintenance windows of Environment 1; it may begin at 1970-01-01 02:00 UTC";
    assert_eq!(fleet.said(1), said);
    fleet.run(HOUR + 120);
    assert_eq!(fleet.rollout.state, RolloutState::Completed);
}

#[test]
fn what_is_under_way_when_the_window_closes_goes_on_and_what_waits_waits_for_the_next_one() {
    let mut fleet = Fleet::new(&[Nature::Good; 3]);
    (1..=3).for_each(|id| fleet.open(id, daily(0, 1)));
    fleet.rollout.max_in_flight = 1;
    // Each takes a little more than twenty seconds: the third begins within the minute, and ends after it.
    fleet.run(59);
    assert!(fleet.rollout.machines[2].phase.kind().is_in_flight(), "{:?}", fleet.rollout.machines[2]);
    fleet.run(60);
    assert_eq!(fleet.rollout.count(|kind| kind == PhaseKind::Upgraded), 3);

    let mut fleet = Fleet::new(&[Nature::Good; 4]);
    (1..=4).for_each(|id| fleet.open(id, daily(0, 1)));
    fleet.rollout.max_in_flight = 1;
    fleet.run(HOUR);
    assert_eq!((fleet.touched(), fleet.phase(4), fleet.rollout.state), (3, PhaseKind::Waiting, RolloutState::Running));
    fleet.now = 24 * HOUR * SECOND;
    fleet.run(60);
    assert_eq!(fleet.rollout.count(|kind| kind == PhaseKind::Upgraded), 4, "in the next window");
}

#[test]
fn a_wave_waits_for_its_own_machines_whose_window_will_open() {
    let waves = vec![Wave { soak_seconds: Some(0), ..Wave::of(Members::Next(Amount::Number(1))) }];
    let mut fleet = Fleet::by(Strategy { waves, ..Strategy::default() }, &[Nature::Good; 3]);
    fleet.open(1, daily(5, 60));
    fleet.run(2 * HOUR);
    assert_eq!(fleet.touched(), 0, "waves never overtake");
    assert!(fleet.said(2).contains("wave 1 is not done"), "{}", fleet.said(2));
    fleet.run(4 * HOUR);
    assert_eq!(fleet.rollout.state, RolloutState::Completed);
}

#[test]
fn a_machine_for_which_no_window_ever_opens_holds_up_nobody() {
    let waves = vec![Wave { soak_seconds: Some(0), ..Wave::of(Members::Next(Amount::Number(1))) }];
    let mut fleet = Fleet::by(Strategy { waves, ..Strategy::default() }, &[Nature::Good; 3]);
    fleet.calendar.windows.insert(EnvironmentId(9), ("Nights".to_owned(), vec![daily(22, 60)]));
    fleet.open(1, daily(5, 60));
    fleet.environments.insert(MachineId(1), vec![EnvironmentId(1), EnvironmentId(9)]);
    fleet.run(300);
    assert_eq!((fleet.touched(), fleet.rollout.state), (2, RolloutState::Completed));
    assert!(fleet.said(1).contains("no moment was found"), "{}", fleet.said(1));
}

#[test]
fn a_freeze_holds_its_machines_with_its_reason_until_it_ends() {
    let mut fleet = Fleet::new(&[Nature::Good; 2]);
    let until = Timestamp(3 * HOUR * SECOND);
    let reason = "Month end".to_owned();
    fleet.calendar.freezes.push(FreezePeriod { scope: FreezeScope::All, from: Timestamp(0), until, reason });
    fleet.run(2 * HOUR);
    assert_eq!(fleet.touched(), 0);
    assert_eq!(fleet.said(2), "upgrades are frozen until 1970-01-01 03:00 UTC: Month end");
    fleet.run(HOUR + 120);
    assert_eq!(fleet.rollout.state, RolloutState::Completed);
}

#[test]
fn in_an_emergency_a_rollout_begins_at_any_hour() {
    let strategy = Strategy { ignore_windows: Some("a hole".to_owned()), ..Strategy::plain(3, 1) };
    let mut fleet = Fleet::by(strategy, &[Nature::Good; 2]);
    fleet.open(1, daily(5, 60));
    let reason = "Month end".to_owned();
    let until = Timestamp(i64::MAX);
    fleet.calendar.freezes.push(FreezePeriod { scope: FreezeScope::All, from: Timestamp(0), until, reason });
    fleet.run(120);
    assert_eq!(fleet.rollout.state, RolloutState::Completed);
}

#[test]
fn a_machine_that_stays_away_is_given_up_after_its_time_and_never_counts() {
    let strategy = Strategy { offline: Offline::WaitHours(2), ..Strategy::plain(3, 1) };
    let mut fleet = Fleet::by(strategy, &[Nature::Good, Nature::Offline]);
    fleet.run(2 * HOUR - 60);
    assert_eq!((fleet.phase(2), fleet.rollout.state), (PhaseKind::Waiting, RolloutState::Completed));
    fleet.run(120);
    assert_eq!(fleet.phase(2), PhaseKind::Waiting, "it was not asked since: a portal that was away asks once more");
    fleet.observe(MachineId(2));
    fleet.run(1);
    assert_eq!((fleet.phase(2), fleet.rollout.state), (PhaseKind::Skipped, RolloutState::Completed));
    let reason = fleet.rollout.machines[1].phase.reason();
    assert_eq!(reason, "it could not be reached for 2 hours, and this rollout waits no longer: no route");
}

#[test]
fn a_machine_that_reappears_in_time_is_upgraded() {
    let strategy = Strategy { offline: Offline::WaitHours(2), ..Strategy::plain(3, 1) };
    let mut fleet = Fleet::by(strategy, &[Nature::Good, Nature::Offline]);
    fleet.run(2 * HOUR - 60);
    fleet.sims.get_mut(&MachineId(2)).unwrap().nature = Nature::Good;
    fleet.observe(MachineId(2));
    fleet.run(300);
    assert_eq!(fleet.phase(2), PhaseKind::Upgraded);
}

#[test]
fn a_machine_that_is_offline_is_left_at_once_where_the_strategy_says_so() {
    let strategy = Strategy { offline: Offline::Leave, ..Strategy::plain(3, 1) };
    let mut fleet = Fleet::by(strategy, &[Nature::Offline, Nature::Good]);
    fleet.run(60);
    assert_eq!((fleet.phase(1), fleet.phase(2)), (PhaseKind::Skipped, PhaseKind::Upgraded));
    assert_eq!(fleet.rollout.state, RolloutState::Completed);
    assert!(fleet.rollout.machines[0].phase.reason().contains("does not wait"));
}
