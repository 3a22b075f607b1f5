//! A sample of the matrix, small enough for every change. `cargo run --package matrix` runs all of it.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

use std::path::Path;

use matrix::case::{Mode, Scenario as _};
use matrix::faults::Fault;
use matrix::installer::Installing;
use matrix::power::{Recorded, Syncs};
use matrix::strace::Injection;
use matrix::supervisor::Supervised;
use matrix::tentacle::Real;
use matrix::{Choice, Kit, Programs, Report, case, scenarios, strace};

/// Cases of each scenario and mode.
const AT_MOST: usize = 5;

/// Cases of the real Tentacle, which take longer.
const REAL_AT_MOST: usize = 2;

/// Power cuts of each recording.
const CUTS_AT_MOST: usize = 12;

/// Cases at a time.
const JOBS: usize = 3;

/// Without strace the test is passed over, unless `OCTOPUS_MATRIX` says that it must not be.
fn is_passed_over() -> bool {
    let required = std::env::var_os("OCTOPUS_MATRIX").is_some_and(|value| value == "required");
    assert!(strace::is_there() || !required, "strace is not installed, and OCTOPUS_MATRIX is `required`");
    if !strace::is_there() {
        eprintln!("passed over: strace is not installed");
    }
    !strace::is_there()
}

/// The programs come from cargo, or from the folder `OCTOPUS_MATRIX_PROGRAMS`.
async fn kit() -> Kit {
    let stand_in = Path::new(env!("CARGO_BIN_EXE_matrix")).to_owned();
    let programs = match std::env::var_os("OCTOPUS_MATRIX_PROGRAMS") {
        Some(folder) => Programs::in_folder(Path::new(&folder), stand_in),
        None => Programs::of(xtask::Programs::for_tests().await.unwrap(), stand_in),
    };
    Kit::make(&programs).unwrap()
}

/// Runs a sample of a program's cases; every failure is told.
async fn nothing_fails_in(program: &'static str, at_most: usize, modes: &'static [Mode]) {
    if is_passed_over() {
        return;
    }
    let kit = kit().await;
    let report = tokio::task::spawn_blocking(move || {
        let choice = Choice { at_most: Some(at_most), only: None, jobs: JOBS };
        let mut report = Report::default();
        for scenario in scenarios().iter().filter(|scenario| scenario.program() == program) {
            report.extend(case::run(&kit, &**scenario, &choice, modes).unwrap());
        }
        for recorded in Recorded::ALL.into_iter().filter(|recorded| recorded.names().0 == program) {
            report.extend([recorded.run(&kit, Syncs::Heeded, Some(CUTS_AT_MOST), JOBS).unwrap()]);
        }
        report
    });
    let report = report.await.unwrap();
    println!("{}", report.table());
    assert!(report.cases >= at_most && report.failures == 0, "{}", report.table());
}

#[tokio::test]
async fn suction_cup_is_killed_and_failed_anywhere_and_one_whole_tentacle_runs() {
    nothing_fails_in("suction-cup", AT_MOST, &Mode::ALL).await;
}

#[tokio::test]
async fn install_package_is_killed_and_failed_anywhere_and_no_version_is_torn() {
    nothing_fails_in("install-package", AT_MOST, &Mode::ALL).await;
}

#[tokio::test]
async fn tentacle_is_killed_and_failed_anywhere_and_the_right_version_runs() {
    nothing_fails_in("tentacle", REAL_AT_MOST, &Mode::ALL).await;
}

#[tokio::test]
async fn an_upgrade_is_killed_where_it_puts_the_newer_version_in_its_place() {
    if is_passed_over() {
        return;
    }
    let kit = kit().await;
    let part = tokio::task::spawn_blocking(move || {
        let renamed = Injection { call: "renameat2".to_owned(), nth: 1, fault: Fault::Kill };
        let calls = Real::Upgrade.record(&kit).unwrap();
        assert!(calls.lines["renameat2"][0].contains(".incoming-"), "{:?}", calls.lines["renameat2"]);
        let choice = Choice { at_most: None, only: Some(renamed), jobs: 1 };
        case::run(&kit, &Real::Upgrade, &choice, &[Mode::Kill]).unwrap().remove(0)
    });
    let part = part.await.unwrap();
    assert!(part.failures.is_empty(), "{:?}", part.failures);
    assert_eq!((part.cases, part.not_reached), (1, 0));
}

/// All power cuts of this one: the few that tell a folder whose name was not made safe are easily missed by a sample.
#[tokio::test]
async fn the_first_launch_ever_is_counted_wherever_the_power_is_cut() {
    if is_passed_over() {
        return;
    }
    let part = Recorded::JudgingAnew.run(&kit().await, Syncs::Heeded, None, JOBS).unwrap();
    assert!(part.cases > 100 && part.failures.is_empty(), "{:?}", part.failures);
}

#[tokio::test]
async fn a_program_that_does_not_sync_is_found_out() {
    if is_passed_over() {
        return;
    }
    let kit = kit().await;
    for recorded in [Recorded::Installing(Installing::Upgrade), Recorded::Judging(Supervised::FallBack)] {
        let part = recorded.run(&kit, Syncs::Ignored, Some(CUTS_AT_MOST), JOBS).unwrap();
        let why: Vec<_> = part.failures.iter().map(|failure| failure.why.as_str()).collect();
        assert!(why.iter().any(|why| why.contains("torn") || why.contains("was not counted")), "{why:?}");
    }
}
