//! Long ways through the world at random: more mishaps, longer outages and more versions than can be searched.

use super::*;

/// Walks, and steps of each. `SUCTION_CUP_WALKS` sets another number of walks.
const WALKS: u64 = 400;
const STEPS: u32 = 400;

/// How many ordinary steps there are to a mishap.
const RARITY: u64 = 6;

const EVERY_KIND: &[Kind] = &[
    Kind::Crash,
    Kind::Install,
    Kind::Delete,
    Kind::Lose,
    Kind::Downgrade,
    Kind::Refuse,
    Kind::Hide,
    Kind::Lack,
    Kind::Break,
];

/// A small generator, so that a walk that fails can be walked again.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit
    }
}

fn scenario() -> Scenario {
    let ends = &[After::Nothing, After::Part, After::Window];
    let (versions, disks) = (disk::VERSIONS_MAX, vec![Disk::default()]);
    Scenario { versions, disks, kinds: EVERY_KIND, mishaps: 0, bundled: Some(2), ends, sabotage: None }
}

/// Walks, and shows `look` the world after each step.
fn walk(seed: u64, start: World, mut look: impl FnMut(&World, Action)) {
    let scenario = scenario();
    let mut random = Random(seed);
    let mut world = start;
    for _ in 0..STEPS {
        let mut actions = Vec::new();
        scenario.actions(&world, &mut actions);
        if random.below(RARITY as usize) == 0 {
            scenario.mishaps(&world, &mut actions);
        }
        if world.machine.state().name() != "Waiting" && random.below(3) > 0 {
            // What may happen at any time would else hardly ever let anything else happen.
            actions.retain(|action| !matches!(action, Action::Mend | Action::Arrive));
        }
        actions.push(Action::Answer);
        let action = actions[random.below(actions.len())];
        world.act(action, None);
        look(&world, action);
    }
}

fn walks() -> u64 {
    let number = std::env::var_os("SUCTION_CUP_WALKS").and_then(|value| value.to_str()?.parse().ok());
    number.unwrap_or(WALKS)
}

#[test]
fn no_walk_comes_upon_what_must_never_happen() {
    let (mut steps, mut starts) = (0, 0);
    for seed in 0..walks() {
        let mut way = Vec::new();
        walk(seed, World::new(Disk::default(), 0, Some(2)), |world, action| {
            way.push((action, world.machine.state().clone()));
            assert_eq!(world.breach, None, "seed {seed}\n{:#?}\n{way:#?}", world.notes);
            (steps, starts) = (steps + 1, starts + usize::from(world.child.is_some_and(|child| child.age.is_zero())));
            if way.len() % 20 == 0 {
                assert!(futures::starts_in_time(world, None), "seed {seed}\n{way:#?}");
                assert!(futures::finds_the_one_that_works(world, None), "seed {seed}\n{way:#?}");
            }
        });
    }
    println!("{steps} steps, a child that was just started in {starts} of them");
    assert!(starts > steps / 50, "the walks come to nothing: {starts} of {steps}");
}

#[test]
fn what_the_model_forgets_makes_no_difference_and_neither_does_the_time_of_day() {
    const YEAR: Duration = Duration::from_hours(24 * 365);
    for seed in 0..walks() / 4 {
        let mut start = World::new(Disk::default(), 0, Some(2));
        start.twin = Some(Box::new((start.machine.clone(), YEAR)));
        walk(seed, start, |_, _| {});
    }
}
