//! Tests of the machine: clocks that stand still, leap, or are asked too often.

use super::*;

/// A world in which the only version has just ended for the fifth time.
fn tripped() -> World {
    let mut world = World::new([proven("1.0.0")]).program("1.0.0", Program::Runs(Duration::ZERO));
    world.run(SECOND);
    assert_eq!(world.machine.state().name(), "Waiting");
    world
}

#[test]
fn a_clock_that_stands_still_lets_the_limit_trip_all_the_same() {
    assert_eq!(tripped().start_times(), [0; 5]);
}

#[test]
fn after_a_wait_there_is_exactly_one_start_however_often_it_is_woken() {
    let mut world = tripped();
    for now in [SECOND, 29 * SECOND, 30 * SECOND, 30 * SECOND] {
        world.now = now;
        world.step(Event::Tick);
        assert_eq!(world.machine.state().name(), "Waiting", "{now:?}: the wait's last moment belongs to it");
    }
    world.programs.clear();
    world.run(40 * SECOND);
    world.step(Event::Tick);
    world.run(50 * SECOND);
    assert_eq!(world.start_times(), [0, 0, 0, 0, 0, 30]);
}

#[test]
fn a_machine_that_slept_through_a_wait_starts_at_once_when_it_wakes() {
    let mut world = tripped();
    world.programs.clear();
    world.now = Duration::from_hours(24 * 365);
    world.step(Event::Tick);
    world.run(world.now);
    assert_eq!(world.starts.len(), 6);
}

#[test]
fn a_wait_whose_clock_stood_still_goes_on_for_no_longer_than_the_longest() {
    let mut world = World::new([proven("1.0.0")]).program("1.0.0", Program::Runs(Duration::ZERO));
    for _ in 0..50 {
        world.turn(FOREVER);
        if let Ask::Wait(Some(until)) = world.machine.ask() {
            assert!(until.saturating_sub(world.now) <= 300 * SECOND, "{until:?}");
        }
    }
}

#[test]
fn an_exit_code_of_0_without_a_newer_version_counts_like_any_other_end() {
    let mut machine = Machine::new(Settings::default());
    machine.step(Event::NoBundle(None), SECOND);
    for end in 1..=5 {
        let versions = vec![proven("1.0.0")];
        machine.step(Event::Surveyed(Survey { versions, ..Survey::default() }), SECOND);
        machine.step(Event::Launched, SECOND);
        machine.step(Event::Ended(End::Code(0)), SECOND);
        assert_eq!(machine.state().name(), "Choosing", "end {end}");
    }
    machine.step(Event::Surveyed(Survey { versions: vec![proven("1.0.0")], ..Survey::default() }), SECOND);
    assert_eq!(machine.ask(), Ask::Wait(Some(31 * SECOND)));
}

#[test]
fn nothing_that_decides_reads_the_time_of_day() {
    let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut folders, mut readers) = (vec![source.clone()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let name = path.strip_prefix(&source).unwrap().display().to_string();
            if !name.contains("tests") && ["SystemTime", "Realtime"].iter().any(|word| text.contains(word)) {
                readers.push(name);
            }
        }
    }
    readers.sort_unstable();
    assert_eq!(readers, ["status/mod.rs", "sys/children.rs"], "for people, and to make each launch's id different");
}
