//! The worlds that are searched, and the sabotage that must be found in them.
//!
//! `SUCTION_CUP_MODEL=large` allows one mishap more in each, and children that end within the window: hours, and much
//! memory.

use std::collections::BTreeSet;

use stateright::{Checker, HasDiscoveries};

use super::*;
use disk::Slot;

/// At once, or when it has run as long as the window.
const EARLY_OR_LATE: &[After] = &[After::Nothing, After::Window];

/// Also when a part of the window has passed, so that ends are on both sides of its edge and on it.
const EVERY_END: &[After] = &[After::Nothing, After::Part, After::Window];

/// Disks that a world begins with, as words: a letter for each version, oldest first. `p` is proven, `u` is not, and `-`
/// is not there.
fn disks(words: &[&str]) -> Vec<Disk> {
    let slot = |letter| match letter {
        'p' => Slot::proven(),
        'u' => Slot::unproven(),
        '-' => Slot::default(),
        other => panic!("{other}"),
    };
    words.iter().map(|word| Disk::of(&word.chars().map(slot).collect::<Vec<_>>())).collect()
}

fn scenario(words: &[&str], kinds: &'static [Kind], mishaps: u8) -> Scenario {
    let versions = words[0].len();
    Scenario { versions, disks: disks(words), kinds, mishaps, bundled: None, ends: EARLY_OR_LATE, sabotage: None }
}

/// Visits every state. Fails where a property does not hold, with the way there, or where fewer states were found than
/// `docs/suction-cup.md` tells of.
fn search(name: &str, mut scenario: Scenario, at_least: usize) {
    if std::env::var_os("SUCTION_CUP_MODEL").is_some_and(|value| value == "large") {
        scenario.mishaps += 1;
        scenario.ends = EVERY_END;
    }
    let checker = scenario.checker().spawn_bfs().join();
    let (states, steps, depth) = (checker.unique_state_count(), checker.state_count(), checker.max_depth());
    println!("{name}: {states} states, {steps} steps, at most {depth} in a row");
    for (property, path) in checker.discoveries() {
        println!("does not hold: {property}");
        for (world, action) in path.into_vec() {
            println!("  {:?}\n    {:?}\n    {:?}", world.machine.state(), world.disk, world.notes);
            println!("{action:?}");
        }
    }
    checker.assert_properties();
    assert!(checker.is_done() && states >= at_least, "{states} states, and {at_least} were to be visited");
}

#[test]
fn every_state_without_a_mishap() {
    let mut scenario = scenario(&["pp--", "pu--", "up--", "uu--", "u---", "p---", "----"], &[], 0);
    scenario.ends = EVERY_END;
    search("one or two versions, ends of every kind", scenario, 10_210);
}

#[test]
fn every_state_of_four_versions() {
    search("four versions", scenario(&["uuuu", "puuu", "pupu", "uuup", "pppp"], &[], 0), 51_733);
}

#[test]
fn every_state_with_a_crash_of_suction_cup_or_the_machine() {
    search("two crashes", scenario(&["pp", "pu", "up", "uu"], &[Kind::Crash], 2), 29_866);
}

#[test]
fn every_state_of_three_versions_with_a_crash() {
    search("three versions and a crash", scenario(&["puu", "uuu"], &[Kind::Crash], 1), 75_068);
}

#[test]
fn every_state_of_four_versions_with_a_crash_or_files_lost() {
    search("four versions and a crash or files lost", scenario(&["puuu"], &[Kind::Crash, Kind::Lose], 1), 1_071_050);
}

#[test]
fn every_state_of_two_versions_with_a_crash_files_lost_or_an_installation() {
    let kinds = &[Kind::Crash, Kind::Lose, Kind::Install];
    search("two versions, and a crash, files lost or an installation", scenario(&["pu--"], kinds, 1), 173_991);
}

#[test]
fn every_state_with_two_mishaps() {
    let kinds = &[Kind::Crash, Kind::Refuse];
    search("a crash and a disk that refuses", scenario(&["pu", "uu"], kinds, 2), 181_164);
}

#[test]
fn every_state_with_an_installation_at_any_moment() {
    search("an installation", scenario(&["pp", "pu", "uu", "p-", "u-", "--"], &[Kind::Install], 1), 104_990);
}

#[test]
fn every_state_with_files_lost() {
    search("files lost", scenario(&["pp", "pu", "up", "uu"], &[Kind::Lose], 1), 54_500);
}

#[test]
fn every_state_with_a_version_deleted_or_withdrawn() {
    search(
        "a deletion or a downgrade",
        scenario(&["pp", "pu", "up", "uu"], &[Kind::Delete, Kind::Downgrade], 1),
        105_599,
    );
}

#[test]
fn every_state_with_a_disk_that_takes_nothing() {
    search("a disk that refuses", scenario(&["pp", "pu", "up", "uu"], &[Kind::Refuse], 1), 46_971);
}

#[test]
fn every_state_with_a_disk_that_cannot_be_read() {
    search("a disk that cannot be read", scenario(&["pu"], &[Kind::Hide], 1), 83_440);
}

#[test]
fn every_state_with_programs_that_cannot_be_started() {
    search("nothing can be started", scenario(&["pu"], &[Kind::Lack], 1), 304_929);
}

#[test]
fn every_state_with_a_program_that_cannot_be_run() {
    search("a program that cannot be run", scenario(&["pu"], &[Kind::Break], 1), 76_583);
}

#[test]
fn every_state_with_a_bundled_package() {
    let mut scenario = scenario(&["p-", "u-", "--"], &[Kind::Crash, Kind::Lose], 1);
    scenario.bundled = Some(1);
    search("a bundled package, and a crash or files lost", scenario, 62_699);
}

/// Searches with one broken decision and finds that the property fails which it is to break.
fn caught(sabotage: Sabotage, property: &'static str, mut scenario: Scenario) {
    scenario.sabotage = Some(sabotage);
    let first = HasDiscoveries::AnyOf(BTreeSet::from([property]));
    let checker = scenario.checker().finish_when(first).spawn_bfs().join();
    println!("{sabotage:?}: found after {} states", checker.unique_state_count());
    checker.assert_any_discovery(property);
}

#[test]
fn a_second_tentacle_would_be_found() {
    caught(Sabotage::LaunchesBesideAChild, "never two Tentacles", scenario(&["pu"], &[], 0));
}

#[test]
fn the_launch_of_an_incomplete_version_would_be_found() {
    let scenario = scenario(&["p-"], &[Kind::Install], 1);
    caught(Sabotage::SeesTheIncomplete, "never launches an incomplete version", scenario);
}

#[test]
fn a_final_state_would_be_found() {
    caught(Sabotage::GivesUp, "never a final state", scenario(&["u"], &[], 0));
}

#[test]
fn a_start_that_comes_too_late_would_be_found() {
    caught(Sabotage::WaitsTooLong, "a start always comes within the longest wait", scenario(&["u"], &[], 0));
}

#[test]
fn a_fourth_launch_would_be_found() {
    caught(Sabotage::NeverCounts, "an unproven version is left after three launches", scenario(&["pu"], &[], 0));
}

#[test]
fn a_verdict_on_a_proven_version_would_be_found() {
    caught(Sabotage::OverlooksProven, "a proven version is never rejected", scenario(&["pp"], &[], 0));
}

#[test]
fn an_upgrade_that_counts_would_be_found() {
    caught(Sabotage::CountsUpgrades, "an upgrade is never counted as a crash", scenario(&["p-"], &[Kind::Install], 1));
}

#[test]
fn a_sixth_start_would_be_found() {
    caught(Sabotage::AllowsSix, "at most five starts in 30 s without a change of version", scenario(&["u"], &[], 0));
}

#[test]
fn a_twenty_first_start_would_be_found() {
    let mut scenario = scenario(&["pu"], &[Kind::Reinstall], 3);
    scenario.ends = &[After::Nothing];
    caught(Sabotage::ForgetsStarts, "at most twenty starts in 30 s", scenario);
}

#[test]
fn probes_that_never_go_round_would_be_found() {
    caught(Sabotage::NeverGoesRound, "one version that works ends up running", scenario(&["pp"], &[], 0));
}

#[test]
fn every_state_with_a_version_installed_again_and_again() {
    let mut scenario = scenario(&["pu"], &[Kind::Reinstall], 3);
    scenario.ends = &[After::Nothing];
    search("the newest version installed again, three times", scenario, 84_568);
}
