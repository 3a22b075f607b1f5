//! What must come about, whatever has happened: the world is played on from a state, and nothing more happens to it.

use super::super::*;
use super::disk::Place;
use super::relative::NOW;
use super::sabotage::Sabotage;
use super::world::{Action, After, World};

/// Answers after which a future is given up: many times more than any takes.
const ANSWERS_MAX: u32 = 1_000;

/// What a start may come later than the longest wait: where a program cannot be run or the marks cannot be read, that
/// is found out only then.
const EXCUSE: Duration = Duration::from_secs(3);

/// The longest until one version that works runs among others that do not: twice the doubling waits of five probes, where
/// another was tried first that could not be run before, and a wait for each of the four that the probes go round.
const FOUND_BY: Duration = Duration::from_hours(1);

/// A start comes within the longest wait, counted while no child runs, if there is a program that can be run and the
/// machine has what it takes to start it.
pub fn starts_in_time(world: &World, sabotage: Option<Sabotage>) -> bool {
    let mut world = world.clone();
    (world.lack, world.disk.versions_hidden) = (None, false);
    if world.disk.complete().all(|place| world.disk.slots[place].broken) {
        return true;
    }
    let hindered = world.disk.marks_hidden || world.disk.complete().any(|place| world.disk.slots[place].broken);
    let most = world.machine.settings.wait_max + if hindered { EXCUSE } else { NANO };
    let mut waited = Duration::ZERO;
    for _ in 0..ANSWERS_MAX {
        match world.machine.state() {
            State::Running(_) | State::Checking(_) => return true,
            State::Ending { .. } if world.child.is_some() => {
                world.act(Action::ChildEnds(After::Nothing), sabotage);
                continue;
            }
            State::Installing { .. } | State::Abandoning { .. } => {}
            _ => waited += world.pause(),
        }
        if waited > most || !world.act(Action::Answer, sabotage) {
            return false;
        }
    }
    false
}

/// Where one version works and every other ends as soon as it is launched, the one is running in the end and stays, if it
/// is the only one or was proven and not withdrawn.
pub fn finds_the_one_that_works(world: &World, sabotage: Option<Sabotage>) -> bool {
    let only = world.disk.complete().count() == 1;
    let fits = |place: &Place| only || (world.disk.slots[*place].proven && !world.disk.slots[*place].withdrawn);
    world.disk.complete().filter(fits).all(|place| comes_to_run(world, place, sabotage))
}

fn comes_to_run(world: &World, works: Place, sabotage: Option<Sabotage>) -> bool {
    let mut world = world.clone();
    world.act(Action::Mend, sabotage);
    let mut waited = Duration::ZERO;
    for _ in 0..ANSWERS_MAX {
        match (world.machine.state(), world.child) {
            (State::Running(run), Some(child)) if child.place == works => {
                return run.prove_by.is_none() || world.stays();
            }
            (State::Running(_) | State::Ending { .. }, Some(_)) => {
                world.act(Action::ChildEnds(After::Nothing), sabotage);
                continue;
            }
            (State::Installing { .. } | State::Abandoning { .. }, _) => {}
            _ => waited += world.pause(),
        }
        if waited > FOUND_BY || !world.act(Action::Answer, sabotage) {
            return false;
        }
    }
    false
}

impl World {
    /// How long the machine waits before it goes on.
    fn pause(&self) -> Duration {
        match self.machine.ask() {
            Ask::Wait(Some(until)) => until.saturating_sub(NOW) + NANO,
            _ => Duration::ZERO,
        }
    }

    /// A version runs that was on probation when it was launched: it is not ended when the time is over.
    fn stays(&self) -> bool {
        let mut world = self.clone();
        world.act(Action::Answer, None);
        world.act(Action::Answer, None);
        matches!(world.machine.state(), State::Running(Run { prove_by: None, .. }))
    }
}
