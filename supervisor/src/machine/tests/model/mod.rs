//! The model check: every state that the machine can get into in a small world, within a number of mishaps.
//!
//! The machine is the real one, with `select` and `restart` in it. The world around it is in `world.rs`, what must never
//! happen in `breach.rs`, what must come about in `futures.rs`. Time is seen from now (`relative.rs`), so the states are
//! finitely many and all of them are visited.

mod breach;
mod disk;
mod futures;
mod relative;
mod sabotage;
mod scenarios;
mod walks;
mod world;

use std::hash::{Hash, Hasher};

use stateright::{Model, Property};

use super::*;
use breach::Breach;
use disk::{Disk, Mark, Place};
use sabotage::Sabotage;
use world::{Action, After, Shortage, World};

/// Failures in a row that an outage lasts for in the model at the most, unless programs are open for writing.
const OUTAGE_MAX: u32 = 6;

/// What the world begins with and what may happen to it.
#[derive(Clone, Debug)]
struct Scenario {
    /// How many versions can exist.
    versions: usize,
    disks: Vec<Disk>,
    /// What may happen beside what always may.
    kinds: &'static [Kind],
    /// How often.
    mishaps: u8,
    bundled: Option<Place>,
    /// When a child may end.
    ends: &'static [After],
    sabotage: Option<Sabotage>,
}

/// A kind of mishap, or of change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Crash,
    Install,
    Reinstall,
    Delete,
    Lose,
    Downgrade,
    Refuse,
    Hide,
    Lack,
    Break,
}

impl Scenario {
    fn mishaps(&self, world: &World, actions: &mut Vec<Action>) {
        let places = || 0..self.versions;
        for kind in self.kinds {
            match kind {
                Kind::Crash => actions.extend([Action::Crash, Action::CrashCounted]),
                Kind::Install if world.installing.is_none() => actions.extend(places().map(Action::Install)),
                Kind::Reinstall if world.child.is_some() => actions.push(Action::Reinstall(self.versions - 1)),
                Kind::Install | Kind::Reinstall => {}
                Kind::Delete => actions.extend(world.disk.complete().map(Action::Delete)),
                Kind::Lose => {
                    for place in places() {
                        let there = Mark::ALL.into_iter().filter(|mark| world.disk.slots[place].has(*mark));
                        actions.extend(there.map(|mark| Action::Lose(place, mark)));
                    }
                    actions.push(Action::LoseAll);
                }
                Kind::Downgrade => actions.extend(world.disk.complete().map(Action::Downgrade)),
                Kind::Refuse => actions.push(Action::Refuse),
                Kind::Hide => actions.extend([Action::HideMarks, Action::HideVersions]),
                Kind::Lack => actions.extend([Shortage::Machine, Shortage::Busy].map(Action::Lack)),
                Kind::Break => actions.extend(world.disk.complete().map(Action::Break)),
            }
        }
    }

    /// An outage ends some time: what it is like for longer is told by walks, which are long.
    fn goes_on(&self, world: &World) -> bool {
        let failures = match world.machine.state() {
            State::Choosing { attempt, .. } | State::Launching { attempt, .. } => attempt.failures,
            _ => 0,
        };
        let lasting = world.disk.versions_hidden || world.lack == Some(Shortage::Machine);
        failures < OUTAGE_MAX || !lasting
    }
}

impl Model for Scenario {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        self.disks.iter().map(|disk| World::new(*disk, self.mishaps, self.bundled)).collect()
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        if world.breach.is_some() {
            return;
        }
        if self.goes_on(world) {
            actions.push(Action::Answer);
        }
        match world.machine.state() {
            State::Bundling => actions.push(Action::BundleStarted),
            State::Installing { .. } | State::Abandoning { .. } => {
                actions.extend([true, false].map(|well| Action::InstallerEnds { well }));
            }
            _ => {}
        }
        if world.child.is_some() {
            actions.extend(self.ends.iter().copied().map(Action::ChildEnds));
            actions.push(Action::Confirm);
        }
        actions.extend([Action::Arrive, Action::Mend]);
        if world.left > 0 {
            self.mishaps(world, actions);
        }
    }

    fn next_state(&self, last: &World, action: Action) -> Option<World> {
        let mut world = last.clone();
        if is_mishap(action) {
            world.left -= 1;
        }
        world.act(action, self.sabotage).then_some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::<Self>::always("never two Tentacles", |_, world| world.breach != Some(Breach::TwoTentacles)),
            Property::<Self>::always("never launches an incomplete version", |_, world| {
                world.breach != Some(Breach::IncompleteLaunched)
            }),
            Property::<Self>::always("never a final state", |_, world| world.breach != Some(Breach::Final)),
            Property::<Self>::always("a start always comes within the longest wait", |scenario, world| {
                let waits = matches!(
                    world.machine.state(),
                    State::Bundling
                        | State::Installing { .. }
                        | State::Abandoning { .. }
                        | State::Choosing { .. }
                        | State::Waiting { .. }
                );
                world.breach.is_some() || !waits || futures::starts_in_time(world, scenario.sabotage)
            }),
            Property::<Self>::always("an unproven version is left after three launches", |_, world| {
                world.breach != Some(Breach::FourthLaunch)
            }),
            Property::<Self>::always("a proven version is never rejected", |_, world| {
                world.breach != Some(Breach::ProvenRejected)
            }),
            Property::<Self>::always("an upgrade is never counted as a crash", |_, world| {
                world.breach != Some(Breach::UpgradeCounted)
            }),
            Property::<Self>::always("at most five starts in 30 s without a change of version", |_, world| {
                world.breach != Some(Breach::SixStarts)
            }),
            Property::<Self>::always("at most twenty starts in 30 s", |_, world| {
                world.breach != Some(Breach::TwentyOneStarts)
            }),
            // Every other state comes to one of these, or to the version that works, by answers and ends alone.
            Property::<Self>::always("one version that works ends up running", |scenario, world| {
                world.breach.is_some()
                    || !matches!(world.machine.state(), State::Choosing { before: Before::Ended { .. }, .. })
                    || futures::finds_the_one_that_works(world, scenario.sabotage)
            }),
        ]
    }
}

fn is_mishap(action: Action) -> bool {
    !matches!(
        action,
        Action::Answer
            | Action::BundleStarted
            | Action::InstallerEnds { .. }
            | Action::ChildEnds(_)
            | Action::Confirm
            | Action::Arrive
            | Action::Mend
    )
}

impl World {
    /// Everything that tells two worlds apart; the settings are the same in all.
    fn parts(&self) -> impl Hash + PartialEq + '_ {
        let Machine { settings: _, state, chosen, announced, history, starts, memory, looks, versions } = &self.machine;
        let machine = (state, chosen, announced, history, starts, memory, looks, versions);
        let Self { machine: _, disk, child, installing, lack, notes, breach, left, bundled, twin: _ } = self;
        (machine, disk, child, installing, lack, notes, breach, left, bundled)
    }
}

impl Hash for World {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parts().hash(state);
    }
}

impl PartialEq for World {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}
