//! Tests of maintenance windows and freezes, on real clocks of real places.

use super::*;

const BERLIN: &str = "Europe/Berlin";

fn at(text: &str) -> Timestamp {
    Timestamp::from_rfc3339(text).unwrap()
}

fn spec(cron: &str, duration_minutes: u32, zone: &str) -> WindowSpec {
    WindowSpec { cron: cron.to_owned(), duration_minutes, time_zone: zone.to_owned() }
}

fn calendar(specs: &[(i64, WindowSpec)]) -> Calendar {
    let mut calendar = Calendar::default();
    for (id, spec) in specs {
        let entry = calendar.windows.entry(EnvironmentId(*id)).or_insert_with(|| (format!("Environment {id}"), vec![]));
        entry.1.push(Window::read(spec).unwrap());
    }
    calendar
}

fn one(cron: &str, minutes: u32, zone: &str) -> Calendar {
    calendar(&[(1, spec(cron, minutes, zone))])
}

const HERE: [EnvironmentId; 1] = [EnvironmentId(1)];

/// Whether it is open, and when that changes.
fn seen(calendar: &Calendar, moment: &str) -> (bool, Option<String>) {
    let now = at(moment);
    match calendar.closed(&HERE, now) {
        None => (true, calendar.closes(&HERE, now).map(Timestamp::minutes)),
        Some(closed) => (false, closed.opens().map(Timestamp::minutes)),
    }
}

fn when(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[test]
fn a_window_is_open_from_its_moment_for_its_duration_and_not_a_second_longer() {
    let working_days = one("0 22 * * 1-5", 120, "UTC");
    for (moment, is_open, changes) in [
        ("2026-11-26T21:59:59Z", false, "2026-11-26 22:00 UTC"),
        ("2026-11-26T22:00:00Z", true, "2026-11-27 00:00 UTC"),
        ("2026-11-26T23:59:59.999Z", true, "2026-11-27 00:00 UTC"),
        ("2026-11-27T00:00:00Z", false, "2026-11-27 22:00 UTC"),
        ("2026-11-28T00:00:00Z", false, "2026-11-30 22:00 UTC"),
    ] {
        assert_eq!(seen(&working_days, moment), (is_open, when(changes)), "{moment}");
    }
}

#[test]
fn an_environment_without_windows_is_always_open() {
    assert_eq!(seen(&Calendar::default(), "2026-11-26T21:59:59Z"), (true, None));
}

#[test]
fn a_window_keeps_to_the_clocks_on_the_wall_when_they_are_set() {
    let night = one("0 22 * * *", 60, BERLIN);
    assert_eq!(seen(&night, "2026-03-28T20:00:00Z"), (false, when("2026-03-28 21:00 UTC")), "winter");
    assert_eq!(seen(&night, "2026-03-29T19:00:00Z"), (false, when("2026-03-29 20:00 UTC")), "summer");
    assert_eq!(seen(&night, "2026-10-25T20:30:00Z"), (false, when("2026-10-25 21:00 UTC")), "winter again");
}

#[test]
fn a_moment_that_the_clocks_leave_out_comes_when_they_go_on() {
    // On 29 March 2026 the clocks of Berlin go from 2:00 to 3:00, which is 1:00 UTC.
    let early = one("30 2 * * *", 60, BERLIN);
    let (is_open, opens) = seen(&early, "2026-03-29T00:30:00Z");
    assert!(!is_open);
    let opens = opens.unwrap();
    assert!(opens == "2026-03-29 01:00 UTC" || opens == "2026-03-29 01:30 UTC", "{opens}");
    assert!(seen(&early, "2026-03-29T01:45:00Z").0);
}

#[test]
fn a_moment_that_comes_twice_opens_the_window_once() {
    // On 25 October 2026 the clocks of Berlin go from 3:00 back to 2:00: 2:30 is 0:30 UTC and 1:30 UTC.
    let early = one("30 2 * * *", 30, BERLIN);
    assert_eq!(seen(&early, "2026-10-25T00:00:00Z"), (false, when("2026-10-25 00:30 UTC")));
    assert_eq!(seen(&early, "2026-10-25T00:45:00Z"), (true, when("2026-10-25 01:00 UTC")));
    assert_eq!(seen(&early, "2026-10-25T01:45:00Z"), (false, when("2026-10-26 01:30 UTC")));
}

#[test]
fn a_window_of_hours_lasts_so_many_hours_over_a_change_of_the_clocks() {
    let long = one("0 0 * * 0", 240, BERLIN);
    assert_eq!(seen(&long, "2026-03-28T23:30:00Z"), (true, when("2026-03-29 03:00 UTC")));
}

#[test]
fn a_leap_day_comes_in_leap_years_only_and_not_in_2100() {
    let leap = one("0 12 29 2 *", 60, "UTC");
    assert_eq!(seen(&leap, "2026-01-01T00:00:00Z").1, when("2028-02-29 12:00 UTC"));
    assert_eq!(seen(&leap, "2096-03-01T00:00:00Z").1, when("2104-02-29 12:00 UTC"));
}

#[test]
fn windows_that_overlap_are_one() {
    let two = calendar(&[(1, spec("0 22 * * *", 120, "UTC")), (1, spec("30 23 * * *", 120, "UTC"))]);
    assert_eq!(seen(&two, "2026-11-26T22:30:00Z"), (true, when("2026-11-27 01:30 UTC")));
    let touching = calendar(&[(1, spec("0 22 * * *", 60, "UTC")), (1, spec("0 23 * * *", 60, "UTC"))]);
    assert_eq!(seen(&touching, "2026-11-26T22:30:00Z"), (true, when("2026-11-27 00:00 UTC")));
}

#[test]
fn a_window_that_lasts_longer_than_its_period_never_closes() {
    for (cron, minutes) in [("0 * * * *", 90), ("*/5 * * * *", 5), ("* * * * *", 7 * 24 * 60), ("0 0 * * *", 1440)] {
        assert_eq!(seen(&one(cron, minutes, "UTC"), "2026-11-26T22:30:00Z"), (true, None), "{cron}");
    }
    // In autumn a day of Berlin has an hour more than 24.
    let days = one("0 0 * * *", 1440, BERLIN);
    assert_eq!(seen(&days, "2026-10-20T22:30:00Z"), (true, when("2026-10-25 22:00 UTC")));
}

#[test]
fn a_machine_of_several_environments_begins_when_all_are_open() {
    let two = calendar(&[(1, spec("0 20 * * *", 240, "UTC")), (2, spec("0 23 * * 6", 240, "UTC"))]);
    let both = [EnvironmentId(1), EnvironmentId(2), EnvironmentId(3)];
    let closed = two.closed(&both, at("2026-11-26T21:00:00Z")).unwrap();
    let Closed::Outside { environment, opens } = &closed else { panic!("{closed:?}") };
    assert_eq!((environment.as_str(), opens.map(Timestamp::minutes)), ("Environment 2", when("2026-11-28 23:00 UTC")));
    assert_eq!(two.closed(&both, at("2026-11-28T23:30:00Z")), None);
    assert_eq!(two.closes(&both, at("2026-11-28T23:30:00Z")).map(Timestamp::minutes), when("2026-11-29 00:00 UTC"));
    let apart = calendar(&[(1, spec("0 20 * * *", 60, "UTC")), (2, spec("0 22 * * *", 60, "UTC"))]);
    let closed = apart.closed(&both, at("2026-11-26T20:30:00Z")).unwrap();
    assert_eq!(closed.opens(), None, "they never meet");
    assert!(closed.to_string().contains("no moment was found"), "{closed}");
}

#[test]
fn a_freeze_closes_what_it_is_for_and_says_why_and_what_comes_after() {
    let mut frozen = one("0 22 * * *", 60, "UTC");
    let period = |scope, from, until, reason: &str| FreezePeriod {
        scope,
        from: at(from),
        until: at(until),
        reason: reason.to_owned(),
    };
    let here = FreezeScope::Environments(vec![EnvironmentId(1)]);
    frozen.freezes.push(period(here, "2026-12-20T00:00:00Z", "2027-01-02T00:00:00Z", "Christmas"));
    assert_eq!(seen(&frozen, "2026-12-19T22:10:00Z"), (true, when("2026-12-19 23:00 UTC")));
    let closed = frozen.closed(&HERE, at("2026-12-24T22:10:00Z")).unwrap().to_string();
    let said = "upgrades are frozen until 2027-01-02 00:00 UTC: Christmas; after that its window opens at 2027-01-02 \
                22:00 UTC";
    assert_eq!(closed, said);
    assert_eq!(frozen.closed(&[EnvironmentId(2)], at("2026-12-24T22:10:00Z")), None);
    frozen.freezes.push(period(FreezeScope::All, "2026-12-31T00:00:00Z", "2027-01-01T00:00:00Z", "New year"));
    assert!(frozen.closed(&[EnvironmentId(2)], at("2026-12-31T22:10:00Z")).is_some());
    assert_eq!(frozen.closes(&[EnvironmentId(2)], at("2026-12-24T22:10:00Z")), Some(at("2026-12-31T00:00:00Z")));
    assert_eq!(frozen.closed(&[EnvironmentId(2)], at("2027-01-01T00:00:00Z")), None, "over at its end");
}

#[test]
fn what_is_no_window_is_refused_in_words_with_an_example() {
    for (spec, words) in [
        (spec("0 22 * *", 60, "UTC"), "has 4 fields and needs 5"),
        (spec("0 0 22 * * 1", 60, "UTC"), "has 6 fields and needs 5"),
        (spec("", 60, "UTC"), "\"0 22 * * 1-5\" is ten in the evening"),
        (spec("0 25 * * *", 60, "UTC"), "\"25\" is no hour, which is 0 to 23"),
        (spec("0 22 * * FUNDAY", 60, "UTC"), "\"FUNDAY\" is no day of the week"),
        (spec("0 22 0 * *", 60, "UTC"), "\"0\" is no day of the month"),
        (spec("0 22 30 2 *", 60, "UTC"), "never comes"),
        (spec("0 22 * * *", 0, "UTC"), "must last 1 to 10080 minutes"),
        (spec("0 22 * * *", 10_081, "UTC"), "must last 1 to 10080 minutes"),
        (spec("0 22 * * *", 60, "Europe/Nowhere"), "there is no time zone \"Europe/Nowhere\""),
        (spec("0 22 * * *", 60, ""), "such as Europe/Berlin"),
        (spec(&"9".repeat(1000), 60, "UTC"), "is no cron expression"),
    ] {
        let error = Window::read(&spec).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
        assert!(error.chars().count() < 400, "{error}");
    }
    let many = vec![spec("0 22 * * *", 60, "UTC"); WINDOWS_MAX + 1];
    assert_eq!(read_windows(&many).unwrap_err(), WindowError::TooMany);
}

#[test]
fn a_window_is_written_down_as_it_is_read() {
    let window = Window::read(&spec("  0   22 * *  mon-fri ", 60, "europe/berlin")).unwrap();
    assert_eq!(window.spec(), &spec("0 22 * * mon-fri", 60, BERLIN));
}

#[test]
fn the_zones_are_known_on_a_host_that_has_none() {
    for zone in ["UTC", BERLIN, "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Etc/GMT+12"] {
        assert!(Window::read(&spec("0 22 * * *", 60, zone)).is_ok(), "{zone}");
    }
}

/// The long way, over a change of the clocks: a window is open exactly when one of its moments lies so far back.
#[test]
fn it_agrees_with_counting_minute_by_minute() {
    for (cron, minutes, zone) in [("*/7 3,4 1-29 * *", 30_i64, BERLIN), ("15 2 * 3,10 0", 45, BERLIN)] {
        let calendar = one(cron, u32::try_from(minutes).unwrap(), zone);
        let window = &calendar.windows[&EnvironmentId(1)].1[0];
        let (begin, end) = (at("2026-03-28T00:00:00Z"), at("2026-04-02T00:00:00Z"));
        let mut starts = vec![];
        let mut moment = Timestamp(begin.0 - 1);
        while let Some(next) = window.next(moment).filter(|next| *next < end) {
            starts.push(next);
            moment = next;
        }
        for minute in (begin.0..end.0).step_by(60_000_000 * 61) {
            let open = starts.iter().any(|start| (start.0..start.0 + minutes * 60_000_000).contains(&minute));
            let is_open = calendar.closed(&HERE, Timestamp(minute)).is_none();
            assert_eq!(is_open, open, "{cron} at {}", Timestamp(minute));
        }
    }
}
