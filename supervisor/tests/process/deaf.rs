//! What tells Suction Cup of an end or of a stop is missing, or lies: it finds out all the same.

use std::time::Duration;

use rustix::process::Signal;

use crate::support::{Place, STAY, can, is_alive, send, stays, strace, wait_until};

/// Long enough for several looks of a Suction Cup that nothing wakes: it looks once a second.
const SEVERAL_LOOKS: Duration = Duration::from_millis(2_500);

#[test]
fn an_end_that_nothing_tells_of_is_seen_by_looking() {
    // No handle of the child can be had, and the signal of its end is blocked by whoever started Suction Cup.
    let Some(words) = strace(&["pidfd_open:error=ENOSYS"]) else { return };
    if !can("blocking a signal", "env", &["--block-signal=CHLD", "true"]) {
        return;
    }
    let place = Place::new();
    place.install("1.0.0", STAY);
    let mut cup = place.run_through(&format!("{words} env --block-signal=CHLD"), &[]);
    let pid = place.wait_for_starts(1)[0].pid;
    assert!(stays(SEVERAL_LOOKS, || place.starts().len() == 1));
    send(pid, Signal::KILL);
    place.wait_for_starts(2);
    assert_eq!(cup.stop().code(), Some(0));
}

#[test]
fn a_child_that_the_system_denies_is_believed_gone_only_when_it_is() {
    // The question for ended children says each time that there are none.
    let Some(words) = strace(&["wait4,waitid:error=ECHILD"]) else { return };
    let place = Place::new();
    place.install("1.0.0", STAY);
    let mut cup = place.run_through(&words, &[]);
    let pid = place.wait_for_starts(1)[0].pid;
    for _ in 0..3 {
        cup.signal(Signal::CHILD);
        assert!(stays(Duration::from_millis(200), || place.starts().len() == 1 && is_alive(pid)), "two Tentacles");
    }
    send(pid, Signal::KILL);
    place.wait_for_starts(2);
    assert!(place.log().contains("1.0.0 is gone, in a way that nobody saw after "), "{}", place.log());
    assert_eq!(cup.stop().code(), Some(0));
}

#[test]
fn a_child_without_a_handle_that_the_system_denies_is_looked_for_by_its_number() {
    // So it is for the first looks; then the system tells the truth again.
    let Some(words) = strace(&["pidfd_open:error=ENOSYS", "wait4,waitid:error=ECHILD:when=1..6"]) else { return };
    let place = Place::new();
    place.install("1.0.0", STAY);
    let mut cup = place.run_through(&words, &[]);
    let pid = place.wait_for_starts(1)[0].pid;
    for _ in 0..5 {
        cup.signal(Signal::CHILD);
        assert!(stays(Duration::from_millis(200), || place.starts().len() == 1 && is_alive(pid)), "two Tentacles");
    }
    send(pid, Signal::KILL);
    place.wait_for_starts(2);
    assert_eq!(cup.stop().code(), Some(0));
}

#[test]
fn a_stop_that_comes_just_before_the_wait_is_not_slept_over() {
    // Nothing but the flag tells of the stop, for there is no socket; and it comes while the last look at the children,
    // after which Suction Cup sleeps, takes long.
    let Some(words) = strace(&["socketpair:error=EMFILE", "wait4,waitid:delay_enter=1500000:when=1"]) else { return };
    let place = Place::new();
    place.install("1.0.0", STAY);
    let calls = place.around().join("calls");
    let words = words.replace("/dev/null", &calls.display().to_string());
    let mut cup = place.run_through(&words, &[]);
    place.wait_for_starts(1);
    wait_until("the note that comes before the wait", || place.home.status().exists());
    cup.signal(Signal::TERM);
    assert_eq!(cup.wait().code(), Some(0));
    let calls = place.read(&calls);
    let after_stop = calls.split_once("--- SIGTERM").map_or("", |(_, after)| after);
    let before_kill = after_stop.split_once("pidfd_send_signal(").map_or("", |(before, _)| before);
    assert!(!before_kill.is_empty(), "{calls}");
    assert!(!before_kill.contains("POLLIN"), "it slept: {before_kill}");
}
