//! Tests of the machine: what is launched, and when.

use super::*;
use crate::restart::STARTS_MAX;

#[test]
fn a_crashing_newest_version_falls_back_in_under_ten_seconds() {
    let mut world = World::new([proven("1.0.0"), unproven("2.0.0")]).program("2.0.0", crashes());
    world.run(100 * SECOND);
    assert_eq!(world.started(), ["2.0.0", "2.0.0", "2.0.0", "1.0.0"]);
    assert_eq!(world.start_times(), [0, 1, 5, 5], "0 s, 1 s and 4 s after the former end");
    assert!(world.on_disk(&v("2.0.0")).rejected);
}

#[test]
fn launches_that_a_power_cut_hid_are_counted() {
    let mut two = unproven("2.0.0");
    two.launches = 2;
    let mut world = World::new([unproven("1.0.0"), two]).program("2.0.0", crashes());
    world.run(100 * SECOND);
    assert_eq!(world.started(), ["2.0.0", "1.0.0"]);
    let mut three = unproven("3.0.0");
    three.launches = 3;
    let mut world = World::new([unproven("1.0.0"), three]);
    world.run(100 * SECOND);
    assert_eq!(world.started(), ["1.0.0"], "it has had its launches");
}

#[test]
fn a_version_that_is_installed_again_after_its_fall_is_launched_again() {
    let mut world = World::new([proven("1.0.0"), unproven("2.0.0")])
        .program("1.0.0", Program::Runs(100 * SECOND))
        .program("2.0.0", crashes());
    world.run(50 * SECOND);
    assert!(world.on_disk(&v("2.0.0")).rejected);
    // Installing it again clears what stands against it; its folder, found whole, stays as it is.
    *world.on_disk(&v("2.0.0")) = unproven("2.0.0");
    world.programs.remove("2.0.0");
    world.run(300 * SECOND);
    assert_eq!(world.started()[4..], ["2.0.0"], "the verdict that was cleared is forgotten in memory too");
}

#[test]
fn a_version_that_nobody_confirms_is_ended_and_its_predecessor_launched() {
    let mut world = World::new([proven("1.0.0"), unproven("2.0.0")]);
    world.run(600 * SECOND);
    assert_eq!(world.started(), ["2.0.0"]);
    world.run(601 * SECOND);
    assert_eq!(world.started(), ["2.0.0", "1.0.0"]);
    assert!(world.log.iter().any(|line| line.contains("unconfirmed")), "{:?}", world.log);
}

#[test]
fn a_version_that_became_proven_is_kept_with_no_further_wake_up() {
    let mut world = World::new([proven("1.0.0"), unproven("2.0.0")]);
    world.run(SECOND);
    world.on_disk(&v("2.0.0")).proven = true;
    world.run(1_000 * SECOND);
    assert_eq!(world.started(), ["2.0.0"]);
    assert_eq!(world.machine.ask(), Ask::Wait(None));
}

#[test]
fn a_mark_that_cannot_be_read_ends_no_tentacle() {
    let mut world = World::new([proven("1.0.0"), unproven("2.0.0")]);
    world.run(SECOND);
    world.survey.marks_fault = Some("input/output error".to_owned());
    world.run(5_000 * SECOND);
    assert_eq!(world.started(), ["2.0.0"]);
    world.survey.marks_fault = None;
    world.run(5_020 * SECOND);
    assert_eq!(world.started(), ["2.0.0", "1.0.0"]);
}

#[test]
fn launches_are_remembered_while_the_count_cannot_be_read() {
    for disk_refuses in [false, true] {
        let mut world = World::new([unproven("1.0.0"), unproven("2.0.0")]).program("2.0.0", crashes());
        world.disk_refuses = disk_refuses;
        world.run(Duration::from_millis(10));
        world.marks_hidden = true;
        world.run(100 * SECOND);
        assert_eq!(world.started(), ["2.0.0", "2.0.0", "2.0.0", "1.0.0"]);
    }
}

#[test]
fn the_first_version_ever_installed_is_never_given_up_on() {
    let mut world = World::new([unproven("1.0.0")]).program("1.0.0", crashes());
    world.run(1_000 * SECOND);
    assert_eq!(world.start_times(), [0, 0, 0, 0, 0, 30, 90, 210, 450, 750]);
    assert!(!world.on_disk(&v("1.0.0")).rejected);
    assert_eq!(world.on_disk(&v("1.0.0")).launches, 0);
}

#[test]
fn the_version_is_decided_anew_after_each_end_and_an_upgrade_is_not_counted() {
    let mut world = World::new([proven("1.0.0")]).program("1.0.0", crashes());
    world.run(Duration::from_millis(3));
    assert_eq!(world.starts.len(), 4);
    world.disk.push(proven("2.0.0"));
    world.run(SECOND);
    assert_eq!(world.started()[4..], ["2.0.0"], "the fourth end is an upgrade");
    assert_eq!(world.machine.history, History::default());
}

#[test]
fn a_newer_version_that_appears_does_not_disturb_the_running_one() {
    let mut world = World::new([proven("1.0.0")]);
    world.run(SECOND);
    world.disk.push(unproven("2.0.0"));
    world.run(5_000 * SECOND);
    assert_eq!(world.started(), ["1.0.0"]);
}

#[test]
fn deleting_the_newest_version_while_it_runs_rolls_back_at_its_end() {
    let mut world = World::new([proven("1.0.0"), proven("2.0.0")]).program("2.0.0", Program::Runs(10 * SECOND));
    world.run(SECOND);
    world.disk.pop();
    world.run(20 * SECOND);
    assert_eq!(world.started(), ["2.0.0", "1.0.0"]);
}

#[test]
fn a_version_that_was_deleted_while_it_runs_is_not_ended() {
    for is_proven in [false, true] {
        let mut world = World::new([proven("1.0.0"), unproven("2.0.0")]);
        world.run(SECOND);
        world.on_disk(&v("2.0.0")).proven = is_proven;
        world.disk.pop();
        world.run(5_000 * SECOND);
        assert_eq!(world.started(), ["2.0.0"], "its mark cannot be seen any more, so nothing is known against it");
        assert!(!world.log.iter().any(|line| line.contains("rejected")), "{:?}", world.log);
    }
}

#[test]
fn twenty_upgrades_in_the_window_do_not_wait_and_the_next_start_does() {
    let mut world = World::new([proven("1.0.0")]);
    for patch in 0..25 {
        let version = Version::release(1, 0, patch);
        world.programs.insert(version.to_string(), crashes());
        world.disk.retain(|one| one.version != version);
        world.disk.push(Installed { proven: true, ..Installed::new(version) });
        let starts = world.starts.len();
        if starts == STARTS_MAX {
            break;
        }
        while world.starts.len() == starts {
            assert!(world.turn(FOREVER));
        }
    }
    assert!(world.now < SECOND, "twenty starts without a wait");
    world.run(29 * SECOND);
    assert_eq!(world.starts.len(), STARTS_MAX);
    world.run(31 * SECOND);
    assert_eq!(world.started()[STARTS_MAX], "1.0.20", "the newest version runs when the wait is over");
}

#[test]
fn after_five_probes_the_proven_versions_are_tried_and_the_one_that_lives_stays() {
    let mut world = World::new([proven("1.0.0"), proven("2.0.0"), proven("3.0.0")])
        .program("2.0.0", crashes())
        .program("3.0.0", crashes());
    world.run(10_000 * SECOND);
    let mut expected = vec!["3.0.0"; 10];
    expected.extend(["3.0.0", "2.0.0", "1.0.0"]);
    assert_eq!(world.started(), expected);
    assert_eq!(world.machine.ask(), Ask::Wait(None), "it stays until it ends");
}

#[test]
fn a_program_that_could_not_be_run_is_tried_again_when_every_probe_ended_early() {
    for fault in [Fault::Version, Fault::Busy] {
        let mut world = World::new([proven("1.0.0"), proven("2.0.0")])
            .program("1.0.0", crashes())
            .program("2.0.0", Program::Refuses(fault));
        world.run(100 * SECOND);
        world.programs.remove("2.0.0");
        world.run(10_000 * SECOND);
        let mut expected = vec!["1.0.0"; 10];
        expected.push("2.0.0");
        assert_eq!(world.started(), expected, "{fault:?}");
        let told = world.log.iter().filter(|line| line.contains("launching 2.0.0 in 300.0 s")).count();
        assert_eq!(told, 1, "{:?}", world.log);
        assert_eq!(world.machine.ask(), Ask::Wait(None));
    }
}

#[test]
fn what_can_never_be_run_leaves_the_probes_as_rare_as_they_are() {
    let mut world = World::new([proven("1.0.0"), proven("2.0.0")])
        .program("1.0.0", crashes())
        .program("2.0.0", Program::Refuses(Fault::Version));
    world.run(100_000 * SECOND);
    let starts = world.starts.len();
    assert!((100..1_500).contains(&starts), "{starts} starts in 28 hours");
}

#[test]
fn an_early_end_of_a_stand_in_is_not_taken_for_an_upgrade() {
    let mut world =
        World::new([proven("1.0.0"), proven("2.0.0")]).program("1.0.0", crashes()).program("2.0.0", crashes());
    world.run(100_000 * SECOND);
    let last = &world.starts[world.starts.len() - 4..];
    for two in last.windows(2) {
        let gap = two[1].0 - two[0].0;
        assert!(gap >= 300 * SECOND && gap < 301 * SECOND, "{gap:?}");
        assert_ne!(two[0].1, two[1].1, "round and round");
    }
}

#[test]
fn where_the_disk_refuses_to_count_the_newest_proven_version_is_launched() {
    let mut world = World::new([proven("1.0.0"), unproven("2.0.0")]).program("1.0.0", crashes());
    world.disk_refuses = true;
    world.run(29 * SECOND);
    assert_eq!(world.started(), ["1.0.0"; 5], "and its crashes are counted");
    world.disk_refuses = false;
    world.run(1_000 * SECOND);
    assert_eq!(world.started()[5], "2.0.0", "it is tried again as soon as the disk takes the count");
}

#[test]
fn where_the_disk_refuses_and_nothing_is_proven_memory_counts() {
    let mut world = World::new([unproven("1.0.0"), unproven("2.0.0")]).program("2.0.0", crashes());
    world.disk_refuses = true;
    world.run(100 * SECOND);
    assert_eq!(world.started(), ["2.0.0", "2.0.0", "2.0.0", "1.0.0"]);
}

#[test]
fn a_launch_that_the_disk_does_not_count_and_the_machine_refuses_is_counted_once() {
    let mut world =
        World::new([unproven("1.0.0"), unproven("2.0.0")]).program("2.0.0", Program::Refuses(Fault::Machine));
    world.disk_refuses = true;
    world.run(10 * SECOND);
    world.programs.clear();
    world.run(12 * SECOND);
    assert_eq!(world.started(), ["2.0.0"]);
}

#[test]
fn where_more_launches_are_granted_the_last_pause_holds_for_the_further_ones() {
    let mut world = World::new([proven("1.0.0"), unproven("2.0.0")]).program("2.0.0", crashes());
    world.machine = Machine::new(Settings { probation_launches: 6, ..Settings::default() });
    world.run(100 * SECOND);
    assert_eq!(world.start_times(), [0, 1, 5, 9, 13, 43, 43], "the fifth end trips the crash limit as well");
    assert_eq!(world.started()[5..], ["2.0.0", "1.0.0"]);
}

#[test]
fn an_unstartable_version_is_rejected_when_unproven_and_skipped_when_proven() {
    for (newest, rejected) in [(unproven("2.0.0"), true), (proven("2.0.0"), false)] {
        let mut world = World::new([proven("1.0.0"), newest]).program("2.0.0", Program::Refuses(Fault::Version));
        world.run(SECOND);
        assert_eq!(world.started(), ["1.0.0"]);
        assert_eq!(world.now, SECOND);
        assert_eq!(world.on_disk(&v("2.0.0")).rejected, rejected);
    }
}

#[test]
fn a_version_that_was_deleted_before_it_started_gets_no_verdict() {
    let mut world = World::new([proven("1.0.0"), unproven("2.0.0")]).program("2.0.0", Program::Refuses(Fault::Version));
    while !matches!(world.machine.ask(), Ask::Launch(_)) {
        world.turn(FOREVER);
    }
    world.turn(FOREVER);
    world.disk.pop();
    world.run(SECOND);
    assert_eq!(world.started(), ["1.0.0"]);
    assert!(!world.log.iter().any(|line| line.contains("rejected")), "{:?}", world.log);
}

#[test]
fn a_version_that_was_installed_anew_after_it_could_not_be_run_gets_its_own_try() {
    let mut world = World::new([proven("1.0.0"), unproven("2.0.0")]).program("2.0.0", Program::Refuses(Fault::Version));
    while !matches!(world.machine.ask(), Ask::Launch(_)) {
        world.turn(FOREVER);
    }
    world.turn(FOREVER);
    world.on_disk(&v("2.0.0")).folder = 1;
    world.programs.clear();
    world.run(SECOND);
    assert_eq!(world.started(), ["2.0.0"]);
    assert_eq!(world.on_disk(&v("2.0.0")).launches, 2, "and that is counted");
    assert!(!world.log.iter().any(|line| line.contains("rejected")), "{:?}", world.log);
}

#[test]
fn when_nothing_can_be_run_everything_is_tried_again_and_again() {
    let mut world = World::new([proven("1.0.0"), unproven("2.0.0")])
        .program("1.0.0", Program::Refuses(Fault::Version))
        .program("2.0.0", Program::Refuses(Fault::Version));
    world.run(1_000 * SECOND);
    assert_eq!(world.started(), Vec::<&str>::new());
    assert!(world.log.len() < 60, "{:?}", world.log);
    world.programs.insert("1.0.0".to_owned(), Program::Runs(FOREVER));
    world.run(1_003 * SECOND);
    assert_eq!(world.started(), ["1.0.0"]);
}

#[test]
fn the_machines_own_failures_are_never_counted_and_end_in_a_start_within_a_second() {
    for fault in [Fault::Machine, Fault::Busy] {
        let mut world = World::new([proven("1.0.0"), unproven("2.0.0")]).program("2.0.0", Program::Refuses(fault));
        if fault == Fault::Busy {
            world.run(3 * SECOND);
        } else {
            world.run(60 * SECOND);
        }
        assert_eq!(world.starts.len(), 0, "{fault:?}");
        assert_eq!(world.on_disk(&v("2.0.0")).launches, 1, "the coming launch is written down once");
        world.programs.clear();
        world.run(world.now + SECOND);
        assert_eq!(world.started(), ["2.0.0"]);
        assert!(world.log.len() < 12, "{:?}", world.log);
    }
}

#[test]
fn a_program_that_stays_open_for_writing_gives_way_to_the_next_version() {
    let mut world = World::new([proven("1.0.0"), unproven("2.0.0")]).program("2.0.0", Program::Refuses(Fault::Busy));
    world.run(60 * SECOND);
    assert_eq!(world.started(), ["1.0.0"]);
    assert!(!world.on_disk(&v("2.0.0")).rejected, "it is nobody's fault");
}

#[test]
fn with_no_version_the_first_that_appears_is_launched() {
    let mut world = World::new([]);
    world.run(3_600 * SECOND);
    assert!(world.steps <= 2 * 3_600, "less than one wake-up in a second");
    let told = world.log.iter().filter(|line| line.contains("no version that can be run")).count();
    assert_eq!(told, 11, "at the first look, the second, the fourth and so on: {:?}", world.log);
    assert_eq!(world.log.len(), told, "{:?}", world.log);
    world.disk.push(unproven("1.0.0"));
    world.run(3_603 * SECOND);
    assert_eq!(world.started(), ["1.0.0"]);
}

#[test]
fn looks_that_found_nothing_use_up_no_patience_with_a_program_that_is_open_for_writing() {
    let mut world = World::new([]).program("2.0.0", Program::Refuses(Fault::Busy));
    world.run(3_570 * SECOND);
    world.disk = vec![proven("1.0.0"), unproven("2.0.0")];
    world.run(3_573 * SECOND);
    assert_eq!(world.started(), Vec::<&str>::new());
    world.programs.clear();
    world.run(3_575 * SECOND);
    assert_eq!(world.started(), ["2.0.0"]);
}

#[test]
fn with_no_version_the_bundled_package_is_looked_at_again_and_again_within_the_longest_wait() {
    let mut world = World::new([]);
    world.run(3_600 * SECOND);
    assert_eq!(world.bundles[..5], [0, 2, 4, 8, 16]);
    assert!(world.bundles.windows(2).all(|pair| pair[1] - pair[0] <= 300), "{:?}", world.bundles);
    assert!(world.bundles.len() <= 32, "{:?}", world.bundles);
    let mut world = World::new([proven("1.0.0")]).program("1.0.0", crashes());
    world.run(3_600 * SECOND);
    assert_eq!(world.bundles, [0], "with a version it is looked at at the start alone");
}

#[test]
fn a_folder_that_cannot_be_read_is_read_again_and_the_end_still_judged() {
    let mut world = World::new([proven("1.0.0")]).program("1.0.0", crashes());
    world.run(Duration::from_millis(3));
    assert_eq!(world.starts.len(), 4);
    world.survey.versions_fault = Some("input/output error".to_owned());
    world.run(10 * SECOND);
    assert_eq!(world.starts.len(), 4);
    world.survey.versions_fault = None;
    world.run(11 * SECOND);
    assert_eq!(world.starts.len(), 5);
    world.run(29 * SECOND);
    assert_eq!(world.starts.len(), 5, "the fifth end trips the limit");
}

#[test]
fn a_crash_loop_writes_no_more_lines_than_it_makes_starts() {
    let mut world = World::new([unproven("1.0.0")]).program("1.0.0", crashes());
    world.run(100_000 * SECOND);
    assert!(world.log.len() <= world.starts.len() + 1, "{} lines, {} starts", world.log.len(), world.starts.len());
}

#[test]
fn whatever_fails_there_is_a_start_within_the_longest_wait_once_it_works_again() {
    let mut seed = 1_u64;
    let mut below = |limit: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % limit
    };
    for _ in 0..300 {
        let mut world = World::new([]);
        for _ in 0..30 {
            let version = Version::release(1, 0, u32::try_from(below(4)).unwrap());
            match below(9) {
                0 => world.disk.retain(|one| one.version != version),
                1 | 2 => {
                    world.disk.retain(|one| one.version != version);
                    world.disk.push(Installed { proven: below(2) == 0, folder: below(3), ..Installed::new(version) });
                }
                3 => world.disk_refuses = below(2) == 0,
                4 => world.survey.marks_fault = (below(2) == 0).then(String::new),
                5 => world.survey.versions_fault = (below(2) == 0).then(String::new),
                6 => drop(world.programs.insert(version.to_string(), Program::Refuses(Fault::Version))),
                7 => drop(world.programs.insert(version.to_string(), Program::Refuses(Fault::Machine))),
                _ => drop(world.programs.insert(version.to_string(), Program::Runs(SECOND))),
            }
            world.run(world.now + Duration::from_secs(below(100)));
        }
        world.survey = Survey::default();
        world.programs.clear();
        world.disk.push(proven("0.0.1"));
        let until = world.now + 301 * SECOND;
        world.run(until);
        assert!(world.child.is_some(), "{:?} {:?}", world.machine, world.log);
    }
}
