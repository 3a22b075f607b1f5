//! Tests of the machine: every pair of state and event.

use super::*;

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

/// Where a wait leads when it is over.
fn after_tick(before: Before) -> &'static str {
    let mut machine = Machine::new(Settings::default());
    machine.state = State::Waiting { until: SECOND, before, attempt: Attempt::default() };
    machine.step(Event::Tick, 2 * SECOND);
    machine.state.name()
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
    assert_eq!(after_tick(Before::NoVersion), "Bundling");
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
