//! Tests of the machine: a small world with a virtual clock plays the shell, the disk and the children.

use std::collections::HashMap;

use super::*;
use crate::restart::STARTS_MAX;

const SECOND: Duration = Duration::from_secs(1);
const NANO: Duration = Duration::from_nanos(1);
const FOREVER: Duration = Duration::MAX;

/// What a version's program does when it is launched.
#[derive(Clone)]
enum Program {
    /// Runs for so long, then ends with exit code 1.
    Runs(Duration),
    /// Cannot be started.
    Refuses(Fault),
}

/// The shell, the disk and the children, on a virtual clock.
struct World {
    machine: Machine,
    now: Duration,
    disk: Vec<Installed>,
    programs: HashMap<String, Program>,
    disk_refuses: bool,
    survey: Survey,
    child: Option<Duration>,
    heeds_terminate: bool,
    starts: Vec<(Duration, String)>,
    log: Vec<String>,
    words: Vec<String>,
    steps: u32,
}

fn v(text: &str) -> Version {
    text.parse().unwrap()
}

fn proven(text: &str) -> Installed {
    Installed { proven: true, ..Installed::new(v(text)) }
}

fn unproven(text: &str) -> Installed {
    Installed::new(v(text))
}

impl World {
    fn new(disk: impl IntoIterator<Item = Installed>) -> Self {
        Self {
            machine: Machine::new(Settings::default()),
            now: Duration::ZERO,
            disk: disk.into_iter().collect(),
            programs: HashMap::new(),
            disk_refuses: false,
            survey: Survey::default(),
            child: None,
            heeds_terminate: true,
            starts: Vec::new(),
            log: Vec::new(),
            words: Vec::new(),
            steps: 0,
        }
    }

    fn program(mut self, version: &str, program: Program) -> Self {
        self.programs.insert(version.to_owned(), program);
        self
    }

    fn on_disk(&mut self, version: &Version) -> &mut Installed {
        self.disk.iter_mut().find(|one| one.version == *version).unwrap()
    }

    /// Answers questions until the clock would pass `until`.
    fn run(&mut self, until: Duration) {
        while self.turn(until) {
            self.steps += 1;
            assert!(self.steps < 100_000, "a busy loop: {:?}", self.log);
        }
    }

    fn turn(&mut self, until: Duration) -> bool {
        let event = match self.machine.ask() {
            Ask::Bundle => Event::NoBundle(None),
            Ask::Survey => {
                let versions = if self.survey.versions_fault.is_some() { Vec::new() } else { self.disk.clone() };
                Event::Surveyed(Survey { versions, ..self.survey.clone() })
            }
            Ask::Count(_) if self.disk_refuses => Event::CountRefused("no space".to_owned()),
            Ask::Count(version) => {
                self.on_disk(&version).launches += 1;
                Event::Counted
            }
            Ask::Launch(version) => self.launch(&version),
            Ask::Wait(deadline) => {
                let tick = deadline.map_or(FOREVER, |deadline| deadline.saturating_add(NANO)).max(self.now);
                let end = self.child.unwrap_or(FOREVER);
                let next = tick.min(end);
                if next > until {
                    self.now = until;
                    return false;
                }
                self.now = next;
                if end <= tick {
                    self.child = None;
                    Event::Ended(End::Code(1))
                } else {
                    Event::Tick
                }
            }
            Ask::Exit => return false,
        };
        self.step(event);
        true
    }

    fn launch(&mut self, version: &Version) -> Event {
        assert_eq!(self.child, None, "two Tentacles");
        match self.programs.get(&version.to_string()).cloned().unwrap_or(Program::Runs(FOREVER)) {
            Program::Runs(time) => {
                self.child = Some(self.now.saturating_add(time));
                self.starts.push((self.now, version.to_string()));
                Event::Launched
            }
            Program::Refuses(fault) => Event::LaunchRefused { fault, why: "refused".to_owned() },
        }
    }

    fn step(&mut self, event: Event) {
        for effect in self.machine.step(event, self.now) {
            match effect {
                Effect::Log(line) => self.log.push(line),
                Effect::Reject { version, .. } if !self.disk_refuses => {
                    if let Some(one) = self.disk.iter_mut().find(|one| one.version == version) {
                        one.rejected = true;
                    }
                }
                Effect::Reject { .. } => {}
                Effect::KeepLastWords(words) => self.words.push(words),
                Effect::Terminate if !self.heeds_terminate => {}
                Effect::Terminate | Effect::Kill => self.child = self.child.map(|_| self.now),
                Effect::Abandon => self.child = None,
            }
        }
    }

    fn started(&self) -> Vec<&str> {
        self.starts.iter().map(|(_, version)| version.as_str()).collect()
    }

    fn start_times(&self) -> Vec<u64> {
        self.starts.iter().map(|(time, _)| time.as_secs()).collect()
    }
}

fn crashes() -> Program {
    Program::Runs(Duration::from_millis(1))
}

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
    assert!(world.log.len() <= 12, "{:?}", world.log);
    world.disk.push(unproven("1.0.0"));
    world.run(3_603 * SECOND);
    assert_eq!(world.started(), ["1.0.0"]);
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

/// One state of each kind.
fn states() -> Vec<State> {
    let run = || Run { version: v("1.0.0"), since: Duration::ZERO, prove_by: Some(SECOND) };
    let (version, attempt, until) = (v("1.0.0"), Attempt::default(), SECOND);
    vec![
        State::Bundling,
        State::Installing { version: version.clone(), until },
        State::Abandoning { until, then: Then::Choose },
        State::choosing(),
        State::Counting { version: version.clone(), heading: None, attempt: attempt.clone() },
        State::Launching { version, attempt: attempt.clone() },
        State::Running(run()),
        State::Checking(run()),
        State::Waiting { until, before: Before::Nothing, attempt },
        State::Ending { run: run(), until, then: Then::Choose },
        State::Stopped,
    ]
}

fn events() -> Vec<Event> {
    let survey = Survey { versions: vec![proven("1.0.0")], ..Survey::default() };
    let why = || "refused".to_owned();
    vec![
        Event::Stop,
        Event::Tick,
        Event::BundleStarted(v("2.0.0")),
        Event::NoBundle(None),
        Event::Surveyed(survey),
        Event::Counted,
        Event::CountRefused(why()),
        Event::Launched,
        Event::LaunchRefused { fault: Fault::Version, why: why() },
        Event::Ended(End::Code(0)),
    ]
}

#[test]
fn every_pair_of_state_and_event_leads_where_the_drawing_says() {
    let table = [
        ("Bundling", "BundleStarted", "Installing"),
        ("Bundling", "NoBundle", "Choosing"),
        ("Installing", "Ended", "Choosing"),
        ("Installing", "Tick", "Abandoning"),
        ("Installing", "Stop", "Abandoning"),
        ("Abandoning", "Ended", "Choosing"),
        ("Abandoning", "Tick", "Choosing"),
        ("Abandoning", "Stop", "Abandoning"),
        ("Choosing", "Surveyed", "Launching"),
        ("Counting", "Counted", "Launching"),
        ("Counting", "CountRefused", "Launching"),
        ("Launching", "Launched", "Running"),
        ("Launching", "LaunchRefused", "Choosing"),
        ("Running", "Tick", "Checking"),
        ("Running", "Ended", "Choosing"),
        ("Running", "Stop", "Ending"),
        ("Checking", "Surveyed", "Running"),
        ("Checking", "Ended", "Choosing"),
        ("Checking", "Stop", "Ending"),
        ("Waiting", "Tick", "Choosing"),
        ("Ending", "Tick", "Ending"),
        ("Ending", "Ended", "Choosing"),
        ("Ending", "Stop", "Ending"),
    ];
    for state in states() {
        for event in events() {
            let mut machine = Machine::new(Settings::default());
            machine.state = state.clone();
            let (from, what) = (state.name(), event.name());
            let effects = machine.step(event, 2 * SECOND);
            let to = machine.state.name();
            match table.iter().find(|row| (row.0, row.1) == (from, what)) {
                Some(row) => assert_eq!(to, row.2, "{from} + {what}"),
                None if what == "Stop" => assert_eq!(to, "Stopped", "{from} + {what}"),
                None if what == "Tick" => assert_eq!((to, effects), (from, Vec::new()), "{from} + {what}"),
                None => {
                    assert_eq!(machine.state, state, "{from} + {what}");
                    let line = Effect::Log(format!("{what} came while {from}; going on"));
                    assert_eq!(effects, [line], "an event out of place is told");
                }
            }
        }
    }
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
