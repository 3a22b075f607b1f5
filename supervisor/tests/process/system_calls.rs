//! System calls that fail, one kind at a time, by `strace`. The whole matrix, every call and every error, is a command of
//! its own; here stand those that have a line in the checklist.

use std::time::Duration;

use rustix::process::Signal;

use crate::support::{Place, STAY, UNLIMITED, send, stays, strace, wait_until};

/// Starts Suction Cup with these failures, kills its Tentacle again and again, and wants it back each time.
fn survives(injections: &[&str]) -> bool {
    let Some(words) = strace(injections) else { return false };
    let place = Place::new();
    place.install("1.0.0", STAY).prove("1.0.0");
    let mut cup = place.run_through(&words, &UNLIMITED);
    for count in 1..=3 {
        let starts = place.wait_for_starts(count);
        send(starts[count - 1].pid, Signal::KILL);
    }
    place.wait_for_starts(4);
    assert!(stays(Duration::from_millis(50), || cup.is_running()), "{injections:?}");
    assert_eq!(cup.stop().code(), Some(0), "{injections:?}");
    assert_eq!(place.starts().len(), 4, "{injections:?}");
    true
}

#[test]
fn a_write_that_fails_in_any_way_stops_no_restart() {
    for error in ["ENOSPC", "EROFS", "EDQUOT", "EIO"] {
        if !survives(&[&format!("write:error={error}")]) {
            return;
        }
        survives(&[&format!("fsync,ftruncate,rename,renameat,renameat2,mkdir,mkdirat:error={error}")]);
    }
}

#[test]
fn a_disk_that_takes_no_mark_keeps_nobody_from_a_version_that_works() {
    for error in ["ENOSPC", "EROFS", "EDQUOT", "EIO"] {
        let Some(words) = strace(&[&format!("write,fsync,rename,renameat,renameat2:error={error}")]) else { return };
        let place = Place::new();
        place.install("1.0.0", STAY).prove("1.0.0").install("2.0.0", "exit 1");
        let mut cup = place.run_through(&words, &UNLIMITED);
        wait_until("the version that works", || place.started().last().is_some_and(|version| version == "1.0.0"));
        assert_eq!(cup.stop().code(), Some(0), "{error}");
    }
}

#[test]
fn interrupted_calls_and_spurious_wake_ups_change_nothing() {
    if !survives(&["poll,ppoll,wait4,waitid:error=EINTR:when=1+2"]) {
        return;
    }
    survives(&["poll,ppoll:error=EAGAIN:when=2+3"]);
    survives(&["poll,ppoll:retval=0:when=1+2"]);
    survives(&["read,recvfrom:error=EINTR:when=4+2"]);
}

#[test]
fn a_fork_that_the_machine_refuses_is_tried_again_and_never_counted() {
    for error in ["EAGAIN", "ENOMEM"] {
        let Some(words) = strace(&[&format!("clone,clone3,vfork,fork:error={error}:when=2..9")]) else { return };
        let place = Place::new();
        place.install("1.0.0", STAY).prove("1.0.0");
        let mut cup = place.run_through(&words, &[("SUCTION_CUP_CRASH_LIMIT", "2")]);
        let first = place.wait_for_starts(1)[0].pid;
        send(first, Signal::KILL);
        place.wait_for_starts(2);
        let log = place.log();
        assert!(log.contains("1.0.0 cannot be started now ("), "{log}");
        assert!(!log.contains("launching 1.0.0 in "), "{error} was counted as a crash: {log}");
        assert_eq!(cup.stop().code(), Some(0));
    }
}

#[test]
fn what_an_old_kernel_lacks_is_done_without() {
    // Linux 3.2 with what came later missing, as far as this program or its libraries would ask for it.
    survives(&["pidfd_open,pidfd_send_signal,clone3,statx,openat2,getrandom,close_range,faccessat2:error=ENOSYS"]);
}

#[test]
fn a_stop_between_launch_and_record_ends_the_child_too() {
    // The handle of the child is asked for between its start and the first wait. The stop comes while that takes long.
    let Some(words) = strace(&["pidfd_open:delay_enter=700000"]) else { return };
    let place = Place::new();
    place.install("1.0.0", STAY);
    let mut cup = place.run_through(&words, &[]);
    let pid = place.wait_for_starts(1)[0].pid;
    cup.signal(Signal::TERM);
    assert_eq!(cup.wait().code(), Some(0));
    assert!(!crate::support::is_alive(pid));
    assert_eq!(place.starts().len(), 1);
}

#[test]
fn a_traced_child_is_left_alone_and_its_death_is_seen() {
    if strace(&[]).is_none() {
        return;
    }
    let place = Place::new();
    place.install("1.0.0", STAY);
    let _cup = place.run(&[]);
    let pid = place.wait_for_starts(1)[0].pid;
    let log = place.around().join("trace");
    let mut command = std::process::Command::new("strace");
    let mut tracer = command.args(["-qq", "-p", &pid.to_string(), "-o"]).arg(&log).spawn().unwrap();
    let traced = || {
        let status = place.read(format!("/proc/{pid}/status").as_ref());
        !status.contains("TracerPid:\t0")
    };
    wait_until("the tracer", traced);
    send(pid, Signal::STOP);
    send(pid, Signal::CONT);
    assert!(stays(Duration::from_millis(200), || place.starts().len() == 1));
    send(pid, Signal::KILL);
    place.wait_for_starts(2);
    tracer.wait().unwrap();
}

#[test]
fn a_new_count_of_launches_is_synced_with_its_folders_and_a_longer_one_alone() {
    if strace(&[]).is_none() {
        return;
    }
    let place = Place::new();
    place.install("1.0.0", STAY).prove("1.0.0").install("2.0.0", "exit 1");
    let calls = place.around().join("calls");
    let words = format!("exec strace -D -qq -y -e trace=fsync,fdatasync -o {}", calls.display());
    let _cup = place.run_through(&words, &[]);
    let synced = || -> Vec<String> {
        let text = place.read(&calls);
        let paths = text.lines().filter_map(|line| Some(line.split_once('<')?.1.split_once('>')?.0.to_owned()));
        paths.collect()
    };
    wait_until("two counts", || synced().len() >= 4);
    let (home, version) = (&place.home, "2.0.0".parse().unwrap());
    let expected = [home.launches(&version), home.supervisor(), home.path().to_owned(), home.launches(&version)];
    assert_eq!(synced()[..4], expected.map(|path| path.display().to_string()));
}
