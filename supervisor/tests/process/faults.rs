//! Damaged folders, programs that cannot be run, logs that cannot be written: a Tentacle is started all the same.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use crate::support::{Place, STAY, is_alive, send, stays, wait_until};

#[test]
fn names_that_are_no_versions_are_skipped() {
    let place = Place::new();
    place.install("1.0.0", STAY);
    let folder = place.home.tentacles();
    let long = "9".repeat(255);
    for name in [".incoming-9.0.0-ab", "lost+found", "9.0", "9.0.0-RC", "09.0.0", ".tmp", &long] {
        fs::create_dir(folder.join(name)).unwrap();
    }
    fs::create_dir(folder.join(std::ffi::OsStr::from_bytes(b"9.0.0\xff"))).unwrap();
    File::create(folder.join("9.0.1")).unwrap();
    symlink("9.0.2", folder.join("9.0.2")).unwrap();
    symlink("1.0.0", folder.join("9.0.3")).unwrap();
    assert!(Command::new("mkfifo").arg(folder.join("9.0.4")).status().unwrap().success());
    let _cup = place.run(&[]);
    place.wait_for_starts(1);
    assert_eq!(place.started(), ["1.0.0"]);
    assert_eq!(place.log().lines().count(), 1, "{}", place.log());
}

#[test]
fn programs_that_cannot_be_run_are_rejected_when_unproven() {
    type Damage = fn(&std::path::Path);
    let damages: [(&str, Damage); 5] = [
        ("missing", |program| fs::remove_file(program).unwrap()),
        ("not executable", |program| fs::set_permissions(program, fs::Permissions::from_mode(0o644)).unwrap()),
        ("not a program", |program| fs::write(program, [0x7f, b'E', b'L', b'F', 0, 0]).unwrap()),
        ("a folder", |program| {
            fs::remove_file(program).unwrap();
            fs::create_dir(program).unwrap();
        }),
        ("a loop", |program| {
            fs::remove_file(program).unwrap();
            symlink("tentacle", program).unwrap();
        }),
    ];
    for (what, damage) in damages {
        let place = Place::new();
        place.install("1.0.0", STAY).prove("1.0.0").install("2.0.0", STAY);
        let version = "2.0.0".parse().unwrap();
        damage(&place.home.tentacle_program(&version));
        let _cup = place.run(&[]);
        place.wait_for_starts(1);
        assert_eq!(place.started(), ["1.0.0"], "{what}");
        let verdict = place.read(&place.home.rejected(&version));
        assert!(verdict.starts_with("unstartable "), "{what}: {verdict}");
    }
}

#[test]
fn a_proven_program_that_cannot_be_run_is_skipped_without_a_verdict() {
    let place = Place::new();
    place.install("1.0.0", STAY).prove("1.0.0").install("2.0.0", STAY).prove("2.0.0");
    let version = "2.0.0".parse().unwrap();
    fs::remove_file(place.home.tentacle_program(&version)).unwrap();
    let _cup = place.run(&[]);
    place.wait_for_starts(1);
    assert_eq!(place.started(), ["1.0.0"]);
    assert!(!place.home.rejected(&version).exists());
}

#[test]
fn a_program_that_is_open_for_writing_is_launched_once_it_is_closed_and_gets_no_verdict() {
    let place = Place::new();
    place.install("1.0.0", STAY).prove("1.0.0").install("2.0.0", STAY);
    let version = "2.0.0".parse().unwrap();
    let mut writing = Command::new("sh");
    writing.args(["-c", "exec 9>>\"$1\"; echo open; read line", "sh"]).arg(place.home.tentacle_program(&version));
    let mut writer = writing.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = [0; 5];
    writer.stdout.take().unwrap().read_exact(&mut said).unwrap();
    let _cup = place.run(&[]);
    let refused = || place.log().contains("2.0.0 cannot be started now (Text file busy ");
    wait_until("the refusal", || refused() || !place.starts().is_empty());
    if refused() {
        assert!(stays(Duration::from_millis(300), || place.starts().is_empty()));
    } else {
        eprintln!("passed over: this kernel runs programs that are open for writing");
    }
    drop(writer.stdin.take());
    writer.wait().unwrap();
    place.wait_for_starts(1);
    assert_eq!(place.started(), ["2.0.0"]);
    assert!(!place.home.rejected(&version).exists());
    assert_eq!(fs::metadata(place.home.launches(&version)).unwrap().len(), 1, "one launch, however many tries");
}

#[test]
fn a_program_that_is_replaced_while_it_runs_stays_and_the_new_one_is_launched_next() {
    let place = Place::new();
    place.install("1.0.0", STAY).prove("1.0.0");
    let _cup = place.run(&[]);
    let pid = place.wait_for_starts(1)[0].pid;
    fs::rename(place.home.tentacle(&"1.0.0".parse().unwrap()), place.around().join("damaged")).unwrap();
    place.install("1.0.0", &format!(": >mended; {STAY}"));
    assert!(stays(Duration::from_millis(300), || place.starts().len() == 1 && is_alive(pid)));
    send(pid, Signal::KILL);
    place.wait_for_starts(2);
    wait_until("the new program", || place.home.path().join("mended").exists());
}

#[test]
fn a_version_that_is_installed_anew_after_it_could_not_be_run_is_launched_at_the_next_end() {
    let place = Place::new();
    place.install("1.0.0", STAY).prove("1.0.0").install("2.0.0", STAY).prove("2.0.0");
    let version = "2.0.0".parse().unwrap();
    fs::remove_file(place.home.tentacle_program(&version)).unwrap();
    let _cup = place.run(&[]);
    let pid = place.wait_for_starts(1)[0].pid;
    // The damaged folder lives on elsewhere, so that the new one is another for certain.
    fs::rename(place.home.tentacle(&version), place.around().join("damaged")).unwrap();
    place.install("2.0.0", STAY);
    send(pid, Signal::KILL);
    place.wait_for_starts(2);
    assert_eq!(place.started(), ["1.0.0", "2.0.0"]);
}

#[test]
fn a_supervisor_folder_that_is_a_file_stops_nothing() {
    let place = Place::new();
    place.install("1.0.0", STAY).install("2.0.0", "exit 1");
    fs::write(place.home.supervisor(), "").unwrap();
    let _cup = place.run(&[]);
    place.wait_for_starts(4);
    assert_eq!(place.started(), ["2.0.0", "2.0.0", "2.0.0", "1.0.0"], "memory counts where the disk cannot");
}

#[test]
fn a_count_that_the_disk_refuses_launches_the_newest_proven_version() {
    let place = Place::new();
    place.install("1.0.0", STAY).prove("1.0.0").install("2.0.0", STAY);
    fs::create_dir(place.home.launches(&"2.0.0".parse().unwrap())).unwrap();
    let _cup = place.run(&[]);
    place.wait_for_starts(1);
    assert_eq!(place.started(), ["1.0.0"]);
    assert!(place.log().contains("the launch of 2.0.0 cannot be counted"), "{}", place.log());
}

#[test]
fn pipes_in_the_place_of_files_block_nothing() {
    let place = Place::new();
    place.install("1.0.0", "exit 1").prove("1.0.0");
    let home = &place.home;
    for path in [home.stderr(), home.last_words(), home.supervisor().join(".last-words.tmp")] {
        assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    }
    let _cup = place.run(&[]);
    place.wait_for_starts(3);
}

#[test]
fn a_full_log_pipe_that_nobody_reads_blocks_nothing() {
    let place = Place::new();
    place.install("1.0.0", "exit 1");
    let (reader, writer) = std::io::pipe().unwrap();
    let mut filler =
        Command::new("timeout").args(["0.5", "cat", "/dev/zero"]).stdout(writer.try_clone().unwrap()).spawn().unwrap();
    filler.wait().unwrap();
    let mut cup = place.run_with(env!("CARGO_BIN_EXE_suction-cup").as_ref(), &[], writer.into());
    place.wait_for_starts(5);
    assert_eq!(cup.stop().code(), Some(0));
    drop(reader);
}

#[test]
fn a_log_that_is_closed_or_full_kills_nothing() {
    let place = Place::new();
    place.install("1.0.0", "exit 1");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut cup = place.run_with(env!("CARGO_BIN_EXE_suction-cup").as_ref(), &[], writer.into());
    place.wait_for_starts(5);
    assert!(stays(Duration::from_millis(100), || cup.is_running()));
    assert_eq!(cup.stop().code(), Some(0));

    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut cup = place.run_with(env!("CARGO_BIN_EXE_suction-cup").as_ref(), &[], full.into());
    place.wait_for_starts(10);
    assert_eq!(cup.stop().code(), Some(0));
}

#[test]
fn without_stdin_stdout_and_stderr_it_runs_as_well() {
    let place = Place::new();
    place.install("1.0.0", STAY);
    let shell =
        format!("exec {} --home {} <&- >&- 2>&-", env!("CARGO_BIN_EXE_suction-cup"), place.home.path().display());
    let program = place.around().join("closed");
    crate::support::write_program(&program, &format!("#!/bin/sh\n{shell}\n"));
    let mut cup = place.run_with(&program, &[], Stdio::null());
    place.wait_for_starts(1);
    assert_eq!(cup.stop().code(), Some(0));
}

#[test]
fn bad_settings_are_told_and_the_defaults_used() {
    let place = Place::new();
    place.install("1.0.0", STAY);
    let _cup = place.run(&[("SUCTION_CUP_CRASH_LIMIT", "many"), ("SUCTION_CUP_GRACE_MS", "0")]);
    place.wait_for_starts(1);
    assert!(place.log().contains("SUCTION_CUP_CRASH_LIMIT=\"many\" is not a number"), "{}", place.log());
    assert!(place.log().contains("using 30000"), "{}", place.log());
}

#[test]
fn a_wrong_command_line_is_told() {
    let output = Command::new(env!("CARGO_BIN_EXE_suction-cup")).arg("--hme").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--hme is not understood"));
    let output = Command::new(env!("CARGO_BIN_EXE_suction-cup")).arg("--version").output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stdout.starts_with(b"suction-cup "));
}

#[test]
fn a_log_file_that_cannot_grow_stops_nothing() {
    let place = Place::new();
    // Its own start cannot be noted either, so nobody could end it.
    place.install("1.0.0", "exec sleep 1");
    let program = place.around().join("limited");
    let shell =
        format!("ulimit -f 0; exec {} --home {}", env!("CARGO_BIN_EXE_suction-cup"), place.home.path().display());
    crate::support::write_program(&program, &format!("#!/bin/sh\n{shell}\n"));
    let mut log = File::create(place.around().join("limited-log")).unwrap();
    log.write_all(b"x").unwrap();
    let mut cup = place.run_with(&program, &[], log.into());
    assert!(stays(Duration::from_millis(500), || cup.is_running()), "XFSZ is no reason to die");
}

#[test]
fn a_limit_of_open_files_that_is_used_up_holds_up_no_restart() {
    let place = Place::new();
    place.install("1.0.0", STAY).prove("1.0.0");
    let mut cup = place.run(&[]);
    let pid = place.wait_for_starts(1)[0].pid;
    let id = cup.child.id();
    let in_use = || fs::read_dir(format!("/proc/{id}/fd")).unwrap().count();
    wait_until("the wait", || in_use() >= 11);
    let limit = format!("--nofile={}", in_use());
    assert!(Command::new("prlimit").args(["--pid", &id.to_string(), &limit]).status().unwrap().success());
    send(pid, Signal::KILL);
    let pid = place.wait_for_starts(2)[1].pid;
    send(pid, Signal::KILL);
    place.wait_for_starts(3);
    assert_eq!(fs::read_link(format!("/proc/{}/fd/2", place.starts()[2].pid)).unwrap(), place.home.stderr());
    assert_eq!(cup.stop().code(), Some(0));
}
