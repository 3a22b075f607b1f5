//! Tests of the machine: the very moment at which a time is over, and what is known only in part.

use super::*;

/// A machine in this state, which has read that this is installed.
fn machine_in(state: State, versions: Vec<Installed>) -> Machine {
    Machine { state, versions, ..Machine::new(Settings::default()) }
}

fn run(version: &str) -> Run {
    Run { version: v(version), since: SECOND, prove_by: Some(100 * SECOND) }
}

fn read(versions: Vec<Installed>) -> Survey {
    Survey { versions, ..Survey::default() }
}

fn rejections(effects: &[Effect]) -> usize {
    effects.iter().filter(|effect| matches!(effect, Effect::Reject { .. })).count()
}

#[test]
fn in_every_state_the_deadline_itself_belongs_to_the_time_before() {
    let until = 100 * SECOND;
    let waiting = |before| State::Waiting { until, before, attempt: Attempt::default() };
    let states = [
        (State::Installing { version: v("1.0.0"), until }, "Abandoning"),
        (State::Abandoning { until, then: Then::Choose }, "Choosing"),
        (State::Abandoning { until, then: Then::Exit }, "Stopped"),
        (State::Running(run("1.0.0")), "Checking"),
        (waiting(Before::Nothing), "Choosing"),
        (waiting(Before::NoVersion), "Bundling"),
        (State::Ending { run: run("1.0.0"), until, then: Then::Choose }, "Ending"),
    ];
    for (state, next) in states {
        for now in [until - NANO, until, until + NANO] {
            let mut machine = machine_in(state.clone(), Vec::new());
            let effects = machine.step(Event::Tick, now);
            if now > until {
                assert_eq!(machine.state().name(), next, "{state:?}");
                assert_ne!(machine.state, state, "what was to be done is done, and the next time is set");
            } else {
                assert_eq!((&machine.state, effects), (&state, Vec::new()), "{now:?}");
            }
        }
    }
}

#[test]
fn when_the_time_to_become_proven_is_over_only_what_is_known_counts() {
    let both = || vec![proven("1.0.0"), unproven("2.0.0")];
    let fault = || Some("input/output error".to_owned());
    let again = Some(110 * SECOND);
    let cases = [
        ("it is proven", read(vec![proven("1.0.0"), proven("2.0.0")]), Ask::Wait(None)),
        ("no other is there", read(vec![unproven("2.0.0")]), Ask::Wait(None)),
        ("versions are not known", Survey { versions_fault: fault(), ..read(both()) }, Ask::Wait(again)),
        ("marks are not known", Survey { marks_fault: fault(), ..read(both()) }, Ask::Wait(again)),
        ("nothing is known", Survey { versions_fault: fault(), ..Survey::default() }, Ask::Wait(again)),
    ];
    for (what, survey, ask) in cases {
        let mut machine = machine_in(State::Checking(run("2.0.0")), both());
        let effects = machine.step(Event::Surveyed(survey), 100 * SECOND);
        assert_eq!((machine.state().name(), machine.ask(), effects), ("Running", ask, Vec::new()), "{what}");
    }
    let mut machine = machine_in(State::Checking(run("2.0.0")), both());
    let effects = machine.step(Event::Surveyed(read(both())), 100 * SECOND);
    assert_eq!((machine.ask(), rejections(&effects)), (Ask::Wait(Some(130 * SECOND)), 1), "it is ended");
    assert!(effects.contains(&Effect::Terminate));
}

#[test]
fn what_was_read_in_part_is_decided_on_after_five_failures_and_nothing_read_never() {
    let fault = || Some("input/output error".to_owned());
    for failures in 0..8 {
        let after = |survey: Survey| {
            let attempt = Attempt { failures, ..Attempt::default() };
            let mut machine = machine_in(State::Choosing { before: Before::Nothing, attempt }, Vec::new());
            machine.step(Event::Surveyed(survey), SECOND);
            (matches!(machine.ask(), Ask::Launch(_)), machine.looks)
        };
        let decides = failures >= 5;
        let part = Survey { versions_fault: fault(), ..read(vec![proven("1.0.0")]) };
        assert_eq!(after(part), (decides, 0), "{failures} failures");
        let unmarked = Survey { marks_fault: fault(), ..read(vec![proven("1.0.0")]) };
        assert_eq!(after(unmarked), (decides, 0), "{failures} failures");
        let none = Survey { marks_fault: fault(), ..Survey::default() };
        assert_eq!(after(none), (false, u32::from(decides)), "{failures} failures: nothing is installed");
        let nothing = Survey { versions_fault: fault(), ..Survey::default() };
        assert_eq!(after(nothing), (false, 0), "{failures} failures: what is installed is not known");
    }
}

#[test]
fn marks_that_cannot_be_read_are_as_they_were_for_the_same_folders() {
    let known =
        Installed { proven: true, rejected: true, withdrawn: true, launches: 2, folder: 7, ..unproven("1.0.0") };
    let bare = Installed { folder: 7, ..unproven("1.0.0") };
    let other = unproven("2.0.0");
    let anew = Installed { folder: 8, ..bare.clone() };
    for (seen, expected) in [(bare, known.clone()), (anew.clone(), anew)] {
        let mut machine = machine_in(State::choosing(), vec![known.clone()]);
        machine.remember(Survey { marks_fault: Some(String::new()), ..read(vec![seen, other.clone()]) });
        assert_eq!(machine.versions, [expected, other.clone()]);
    }
    let mut machine = machine_in(State::choosing(), vec![known]);
    machine.remember(read(vec![other.clone()]));
    assert_eq!(machine.versions, [other], "what was read is believed");
}

#[test]
fn a_version_that_cannot_be_run_gets_one_verdict_and_a_proven_one_none() {
    let cases = [(proven("2.0.0"), 0), (unproven("2.0.0"), 1), (Installed { rejected: true, ..unproven("2.0.0") }, 0)];
    for (newest, verdicts) in cases {
        let before = Before::Unstartable { version: v("2.0.0"), why: "refused".to_owned() };
        let versions = vec![proven("1.0.0"), newest];
        let mut machine = machine_in(State::Choosing { before, attempt: Attempt::default() }, versions.clone());
        let effects = machine.step(Event::Surveyed(read(versions)), SECOND);
        assert_eq!(rejections(&effects), verdicts);
        assert_eq!(machine.ask(), Ask::Launch(v("1.0.0")));
    }
}

#[test]
fn the_verdict_on_one_version_is_no_verdict_on_another() {
    let versions = vec![unproven("1.0.0"), unproven("2.0.0"), unproven("3.0.0")];
    let mut machine = machine_in(State::Checking(run("2.0.0")), versions.clone());
    machine.step(Event::Surveyed(read(versions.clone())), 100 * SECOND);
    let rejected = |machine: &Machine| machine.versions.iter().map(|one| one.rejected).collect::<Vec<_>>();
    assert_eq!(rejected(&machine), [false, true, false]);
    machine.rejection_written(&v("2.0.0"));
    machine.remember(read(versions));
    assert_eq!(rejected(&machine), [false; 3], "it was written, and is gone: somebody cleared it");
}

#[test]
fn a_version_that_was_launched_before_it_had_to_prove_itself_is_launched_again_at_once() {
    let before = Before::Ended { version: v("2.0.0"), ran: SECOND, at: 2 * SECOND, end: End::Code(1) };
    let state = State::Choosing { before, attempt: Attempt::default() };
    let mut machine = machine_in(state, vec![unproven("2.0.0")]);
    machine.chosen = Some(v("2.0.0"));
    machine.step(Event::Surveyed(read(vec![unproven("1.0.0"), unproven("2.0.0")])), 2 * SECOND);
    assert_eq!(machine.ask(), Ask::Count(v("2.0.0")), "nothing is to be waited for, not even a moment");
}

#[test]
fn the_end_of_the_installer_is_kept_only_where_it_failed() {
    for (end, kept) in [(End::Code(0), 0), (End::Code(1), 1), (End::Signal { number: 9, core: false }, 1)] {
        let state = State::Installing { version: v("2.0.0"), until: SECOND };
        let effects = machine_in(state, Vec::new()).step(Event::Ended(end), SECOND);
        let words = effects.iter().filter(|effect| matches!(effect, Effect::KeepLastWords(_))).count();
        assert_eq!((words, effects.len()), (kept, kept + 1), "{end:?}");
    }
}

#[test]
fn a_kill_by_a_stranger_is_told_as_what_it_may_be() {
    for (number, hinted) in [(9, true), (15, false)] {
        let state = State::Running(run("1.0.0"));
        let end = Event::Ended(End::Signal { number, core: false });
        let effects = machine_in(state, Vec::new()).step(end, 3 * SECOND);
        let [Effect::KeepLastWords(words)] = &effects[..] else { panic!("{effects:?}") };
        assert_eq!(words.contains(", perhaps for want of memory, after 2.0 s"), hinted, "{words}");
        assert!(words.starts_with("1.0.0 was killed by signal") && words.ends_with("after 2.0 s"), "{words}");
    }
}
