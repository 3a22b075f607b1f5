//! Tests of the machine: stops, and children that do not end.

use super::*;

#[test]
fn a_stop_ends_the_child_and_then_the_machine() {
    let mut world = World::new([proven("1.0.0")]);
    world.run(SECOND);
    world.step(Event::Stop);
    assert_eq!(world.machine.state().name(), "Ending");
    world.run(2 * SECOND);
    assert_eq!(world.machine.ask(), Ask::Exit);
    assert_eq!(world.words.len(), 1);
}

#[test]
fn a_child_that_ignores_the_stop_is_killed_after_the_grace_and_a_second_stop_shortens_nothing() {
    let mut world = World::new([proven("1.0.0")]);
    world.heeds_terminate = false;
    world.run(SECOND);
    world.step(Event::Stop);
    world.run(10 * SECOND);
    world.step(Event::Stop);
    world.run(31 * SECOND);
    assert_eq!(world.machine.state().name(), "Ending");
    world.run(31 * SECOND + 2 * NANO);
    assert_eq!(world.machine.ask(), Ask::Exit);
}

#[test]
fn a_stop_while_an_unconfirmed_version_is_ended_launches_nothing_more() {
    let mut world = World::new([proven("1.0.0"), unproven("2.0.0")]);
    world.heeds_terminate = false;
    world.run(601 * SECOND);
    assert_eq!(world.machine.state().name(), "Ending");
    world.step(Event::Stop);
    world.step(Event::Stop);
    let told = world.log.iter().filter(|line| line.contains("told to end; 2.0.0 is ending already")).count();
    assert_eq!(told, 1, "{:?}", world.log);
    world.run(1_000 * SECOND);
    assert_eq!(world.machine.ask(), Ask::Exit);
    assert_eq!(world.started(), ["2.0.0"]);
}

#[test]
fn an_installer_that_hangs_is_killed_and_launching_goes_on() {
    let mut world = World::new([proven("1.0.0")]);
    world.step(Event::BundleStarted(v("2.0.0")));
    world.child = Some(FOREVER);
    world.run(300 * SECOND);
    assert_eq!(world.starts.len(), 0);
    world.run(301 * SECOND);
    assert_eq!(world.started(), ["1.0.0"]);
}

#[test]
fn an_installer_that_cannot_even_be_killed_is_left_behind() {
    let mut machine = Machine::new(Settings::default());
    machine.step(Event::BundleStarted(v("2.0.0")), Duration::ZERO);
    assert!(machine.step(Event::Tick, 301 * SECOND).contains(&Effect::Kill));
    assert_eq!(machine.step(Event::Tick, 307 * SECOND), [Effect::Abandon]);
    assert_eq!(machine.ask(), Ask::Survey);
}

#[test]
fn a_stop_while_an_installer_is_killed_is_told_and_ends_the_machine() {
    let mut machine = Machine::new(Settings::default());
    machine.step(Event::BundleStarted(v("2.0.0")), Duration::ZERO);
    machine.step(Event::Tick, 301 * SECOND);
    let told = [Effect::Log("told to end; the installer is ending already".to_owned())];
    assert_eq!(machine.step(Event::Stop, 302 * SECOND), told);
    assert_eq!(machine.step(Event::Stop, 303 * SECOND), []);
    machine.step(Event::Tick, 307 * SECOND);
    assert_eq!(machine.ask(), Ask::Exit);
}
