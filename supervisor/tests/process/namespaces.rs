//! Unusual places to run in: as the first process, as nobody in particular, where process numbers come round soon.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::{
    Place, STAY, UNLIMITED, another_user, can, children, is_alive, own_by, send, stays, wait_until, write_program,
};

/// The words that make a program the first process of a namespace, which dies with the first words' process.
const FIRST: &str = "exec unshare --pid --fork --kill-child --mount-proc";

fn can_be_first() -> bool {
    can("a process namespace", "unshare", &["--pid", "--fork", "--kill-child", "--mount-proc", "true"])
}

/// The process that was made the first.
fn first(outer: u32) -> i32 {
    wait_until("the first process", || !children(outer).is_empty());
    children(outer)[0]
}

#[test]
fn as_the_first_process_it_restarts_reaps_and_stops() {
    if !can_be_first() {
        return;
    }
    let place = Place::new();
    // A child of a child loses its parent and is left to the first process.
    place.install("1.0.0", &format!("[ $(wc -l <starts) -gt 2 ] && {STAY}\n(sleep 0.1 &)\nexit 3"));
    let mut cup = place.run_through(FIRST, &[]);
    let own = first(cup.child.id());
    place.wait_for_starts(3);
    wait_until("the orphans to be reaped", || children(own.unsigned_abs()).len() == 1);
    // From outside: a first process is deaf to what it does not handle from inside.
    send(own, Signal::TERM);
    assert_eq!(cup.wait().code(), Some(0));
}

#[test]
fn a_process_number_that_comes_round_is_no_confusion() {
    // Before this kernel the number of process numbers was that of the whole machine.
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    if (numbers.next(), numbers.next()) < (Some(6), Some(14)) || !can_be_first() {
        eprintln!("passed over: process numbers cannot be made few for a namespace alone");
        return;
    }
    let place = Place::new();
    // Each start uses up some numbers. When they have come round once, the first 300 are given out no more.
    place.install("1.0.0", &format!("[ $(wc -l <starts) -gt 200 ] && {STAY}\nexit 1"));
    let few = place.around().join("few");
    let strangers = "i=0; while [ $i -lt 50 ]; do sleep 60 & i=$((i + 1)); done";
    write_program(&few, &format!("#!/bin/sh\necho 400 >/proc/sys/kernel/pid_max; {strangers}; exec \"$@\"\n"));
    let cup = place.run_through(&format!("{FIRST} {}", few.display()), &UNLIMITED);
    let own = first(cup.child.id()).unsigned_abs();
    let starts = place.wait_for_starts(201);
    let mut seen: Vec<_> = starts.iter().map(|start| start.pid).collect();
    seen.sort_unstable();
    seen.dedup();
    assert!(seen.len() < 201, "no number came twice");
    assert_eq!(children(own).len(), 51, "nobody but its own children was touched or reaped");
    assert!(stays(Duration::from_millis(200), || place.starts().len() == 201));
}

#[test]
fn as_an_ordinary_user_it_runs_and_a_full_process_table_is_waited_for() {
    // A user of its own, so that the processes of others do not count.
    let Some((user, become_user)) = another_user() else { return };
    let place = Place::new();
    place.install("1.0.0", STAY).prove("1.0.0");
    own_by(&place, user);
    let mut cup = place.run_through(&format!("exec {become_user}"), &[("SUCTION_CUP_CRASH_LIMIT", "2")]);
    let pid = place.wait_for_starts(1)[0].pid;
    let id = cup.child.id().to_string();
    let limit = |number: &str| {
        // By the same user, because not even root may be allowed to do it to others.
        let words = format!("{become_user} prlimit --pid {id} --nproc={number}");
        assert!(can("setting a limit", "sh", &["-c", &words]));
    };
    limit("0:1000");
    send(pid, Signal::KILL);
    wait_until("the refusal", || place.log().contains("1.0.0 cannot be started now ("));
    assert!(stays(Duration::from_secs(2), || place.starts().len() == 1 && cup.is_running()));
    assert!(!is_alive(pid));
    limit("1000:1000");
    let lifted = Instant::now();
    place.wait_for_starts(2);
    // It comes within a second, and a little longer on a computer that is busy.
    assert!(lifted.elapsed() < Duration::from_millis(2_500), "{:?}", lifted.elapsed());
    assert!(!place.log().contains("launching 1.0.0 in "), "it was counted as a crash: {}", place.log());
    assert_eq!(cup.stop().code(), Some(0));
}
