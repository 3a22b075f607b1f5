//! What a Tentacle started and left behind: never waited for, never killed, always reaped.

use std::time::Duration;

use rustix::process::Signal;

use crate::support::{Place, STAY, UNLIMITED, can, children, is_alive, send, stays, wait_until};

#[test]
fn a_left_behind_grandchild_does_not_hold_up_the_restart_and_lives_on() {
    let place = Place::new();
    // It keeps stdout and stderr open.
    let leave = "sleep 20 & echo $! >left.tmp; mv left.tmp left; exit 1";
    place.install("1.0.0", &format!("[ $(wc -l <starts) -gt 1 ] && {STAY}\n{leave}"));
    let _cup = place.run(&[]);
    let starts = place.wait_for_starts(2);
    assert!(starts[1].at - starts[0].at < 10_000_000_000, "{starts:?}");
    let left = place.read(&place.home.path().join("left")).trim().parse().unwrap();
    assert!(stays(Duration::from_millis(200), || is_alive(left)));
    send(left, Signal::KILL);
}

#[test]
fn a_stop_does_not_wait_for_a_grandchild() {
    let place = Place::new();
    place.install("1.0.0", &format!("sleep 20 & echo $! >left.tmp; mv left.tmp left; {STAY}"));
    let mut cup = place.run(&[]);
    let left = place.home.path().join("left");
    wait_until("the grandchild", || left.exists());
    assert_eq!(cup.stop().code(), Some(0));
    let left = place.read(&left).trim().parse().unwrap();
    assert!(is_alive(left));
    send(left, Signal::KILL);
}

#[test]
fn a_thousand_orphans_that_die_with_the_child_are_reaped_and_it_is_restarted_once() {
    if !can("a process namespace", "unshare", &["--pid", "--fork", "--kill-child", "--mount-proc", "true"]) {
        return;
    }
    let place = Place::new();
    // All processes of its group die at once, and Suction Cup is the first process, which inherits them.
    let crowd = "i=0; while [ $i -lt 1000 ]; do sleep 25 & i=$((i + 1)); done; kill -9 0";
    place.install("1.0.0", &format!("[ $(wc -l <starts) -gt 1 ] && {STAY}\n{crowd}"));
    let cup = place.run_through("exec unshare --pid --fork --kill-child --mount-proc", &UNLIMITED);
    wait_until("the first process", || !children(cup.child.id()).is_empty());
    let first = children(cup.child.id())[0].unsigned_abs();
    place.wait_for_starts(2);
    wait_until("all to be reaped", || children(first).len() == 1);
    assert!(stays(Duration::from_millis(300), || place.starts().len() == 2));
}
