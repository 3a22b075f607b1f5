//! Ending, and not ending, by signals.

use std::fs;
use std::time::{Duration, Instant};

use crate::support::{Place, STAY, is_alive, send, stays, wait_until};
use rustix::process::Signal;

#[test]
fn a_stop_ends_the_tentacle_and_then_suction_cup() {
    for signal in [Signal::TERM, Signal::INT] {
        let place = Place::new();
        place.install("1.0.0", STAY);
        let mut cup = place.run(&[]);
        let pid = place.wait_for_starts(1)[0].pid;
        cup.signal(signal);
        assert_eq!(cup.wait().code(), Some(0));
        assert!(!is_alive(pid));
        assert_eq!(place.starts().len(), 1);
        assert!(place.read(&place.home.last_words()).contains("SIGTERM"));
    }
}

#[test]
fn a_tentacle_that_ignores_the_stop_is_killed_and_a_second_stop_shortens_nothing() {
    let place = Place::new();
    place.install("1.0.0", &format!("trap '' TERM; : >deaf; {STAY}"));
    let mut cup = place.run(&[("SUCTION_CUP_GRACE_MS", "1000")]);
    let pid = place.wait_for_starts(1)[0].pid;
    wait_until("deaf ears", || place.home.path().join("deaf").exists());
    let begun = Instant::now();
    cup.signal(Signal::TERM);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(cup.stop().code(), Some(0));
    assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
    assert!(!is_alive(pid));
}

#[test]
fn a_stop_during_a_wait_ends_at_once() {
    let place = Place::new();
    place.install("1.0.0", "exit 1");
    let mut cup = place.run(&[]);
    wait_until("the wait", || place.log().contains("launching 1.0.0 in 30.0 s"));
    let begun = Instant::now();
    assert_eq!(cup.stop().code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(10), "the wait is 30 s");
    assert_eq!(place.starts().len(), 5);
}

#[test]
fn signals_from_strangers_change_nothing() {
    let place = Place::new();
    place.install("1.0.0", STAY);
    let mut cup = place.run(&[]);
    place.wait_for_starts(1);
    for signal in [
        Signal::HUP,
        Signal::PIPE,
        Signal::USR1,
        Signal::USR2,
        Signal::ALARM,
        Signal::CHILD,
        Signal::QUIT,
        Signal::VTALARM,
        Signal::PROF,
        Signal::IO,
        Signal::XCPU,
        Signal::XFSZ,
    ] {
        for _ in 0..20 {
            cup.signal(signal);
        }
        assert!(stays(Duration::from_millis(30), || cup.is_running()), "{signal:?}");
    }
    assert_eq!(place.starts().len(), 1);
    assert_eq!(cup.stop().code(), Some(0));
}

#[test]
fn a_stopped_and_continued_tentacle_is_left_alone() {
    let place = Place::new();
    place.install("1.0.0", STAY);
    let _cup = place.run(&[]);
    let pid = place.wait_for_starts(1)[0].pid;
    let is_stopped = || fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") T "));
    for _ in 0..10 {
        send(pid, Signal::STOP);
        wait_until("the stop", is_stopped);
        send(pid, Signal::CONT);
        wait_until("the end of the stop", || !is_stopped());
    }
    assert!(stays(Duration::from_millis(300), || place.starts().len() == 1 && is_alive(pid)));
}

#[test]
fn a_suction_cup_that_slept_through_a_wait_starts_at_once_when_it_wakes() {
    let place = Place::new();
    place.install("1.0.0", "[ $(wc -l <starts) -gt 2 ] && exec sleep 60\nexit 1");
    let wait = Duration::from_secs(5);
    let settings = [("SUCTION_CUP_CRASH_LIMIT", "2"), ("SUCTION_CUP_WAIT_MIN_MS", "5000")];
    let mut cup = place.run(&settings);
    wait_until("the wait", || place.log().contains("launching 1.0.0 in "));
    // It says so a moment before it sleeps.
    let status = format!("/proc/{}/status", cup.child.id());
    let sleeps = || std::fs::read_to_string(&status).is_ok_and(|status| status.contains("State:\tS"));
    wait_until("its sleep", || stays(Duration::from_millis(60), sleeps));
    cup.signal(Signal::STOP);
    // As if the machine slept: the time goes by, and nobody is there to see it.
    assert!(stays(wait + Duration::from_millis(500), || place.starts().len() == 2));
    let woken = Instant::now();
    cup.signal(Signal::CONT);
    place.wait_for_starts(3);
    assert!(woken.elapsed() < wait, "{:?}: it did not begin the wait anew", woken.elapsed());
    assert_eq!(cup.stop().code(), Some(0));
}
