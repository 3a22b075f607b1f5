//! The bundled package: a copy of the program with a folder `bundle/` and a script for an installer beside it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::{Place, STAY, is_alive, script, send, strace, wait_until, write_program};

/// Installs, as version 2.0.0, the program that lies around.
const INSTALL: &str = "t=Applications/.Tentacle; mkdir $t/.incoming-2.0.0-x && \
                       cp ../bundled $t/.incoming-2.0.0-x/tentacle && mv $t/.incoming-2.0.0-x $t/2.0.0";

/// Makes the folder that an installation has; returns the program in it.
fn installation(place: &Place, package: &str, installer: &str) -> PathBuf {
    let folder = place.around().join("opt");
    fs::create_dir_all(folder.join("bundle")).unwrap();
    File::create(folder.join("bundle").join(package)).unwrap();
    write_program(&folder.join("install-package"), &format!("#!/bin/sh\necho \"$@\" >installer-args\n{installer}\n"));
    let program = folder.join("suction-cup");
    fs::hard_link(env!("CARGO_BIN_EXE_suction-cup"), &program)
        .or_else(|_| fs::copy(env!("CARGO_BIN_EXE_suction-cup"), &program).map(drop))
        .unwrap();
    program
}

fn package(version: &str) -> String {
    let runtime = if cfg!(target_arch = "aarch64") { "linux-arm64" } else { "linux-x64" };
    format!("Octopus.Tentacle.{runtime}.{version}.nupkg")
}

fn log_of(place: &Place) -> Stdio {
    File::create(place.around().join("log")).unwrap().into()
}

#[test]
fn the_bundled_package_is_installed_and_launched() {
    let place = Place::new();
    place.install("1.0.0", STAY).prove("1.0.0");
    write_program(&place.around().join("bundled"), &script(STAY));
    let program = installation(&place, &package("2.0.0"), INSTALL);
    let _cup = place.run_with(&program, &[], log_of(&place));
    place.wait_for_starts(1);
    assert_eq!(place.started(), ["2.0.0"]);
    let arguments = place.read(&place.home.path().join("installer-args"));
    let bundle = place.around().join("opt/bundle").join(package("2.0.0"));
    let expected = format!("--bundled {} --home {}\n", bundle.display(), place.home.path().display());
    assert_eq!(arguments, expected);
}

#[test]
fn a_bundle_that_is_not_newer_is_not_installed() {
    let place = Place::new();
    place.install("2.0.0", STAY);
    let program = installation(&place, &package("2.0.0"), "exit 0");
    let _cup = place.run_with(&program, &[], log_of(&place));
    place.wait_for_starts(1);
    assert!(!place.home.path().join("installer-args").exists());
}

#[test]
fn an_installer_that_fails_is_told_and_launching_goes_on() {
    let place = Place::new();
    place.install("1.0.0", STAY);
    let program = installation(&place, &package("2.0.0"), "echo no room >&2; exit 4");
    let _cup = place.run_with(&program, &[], log_of(&place));
    place.wait_for_starts(1);
    assert_eq!(place.started(), ["1.0.0"]);
    assert!(place.log().contains("install-package ended with exit code 4"), "{}", place.log());
    wait_until("last words", || place.read(&place.home.last_words()).ends_with("exit code 4\nno room\n"));
}

#[test]
fn where_nothing_is_installed_an_installation_that_failed_is_tried_again() {
    let place = Place::new();
    write_program(&place.around().join("bundled"), &script(STAY));
    let install = format!("test -e tried || {{ : >tried; exit 4; }}; {INSTALL}");
    let program = installation(&place, &package("2.0.0"), &install);
    let _cup = place.run_with(&program, &[], log_of(&place));
    place.wait_for_starts(1);
    assert_eq!(place.started(), ["2.0.0"]);
    assert!(place.log().contains("install-package ended with exit code 4"), "{}", place.log());
}

#[test]
fn an_installer_that_is_missing_is_told_and_launching_goes_on() {
    let place = Place::new();
    place.install("1.0.0", STAY);
    let program = installation(&place, &package("2.0.0"), "");
    fs::remove_file(place.around().join("opt/install-package")).unwrap();
    let _cup = place.run_with(&program, &[], log_of(&place));
    place.wait_for_starts(1);
    assert!(place.log().contains("cannot install the bundled version 2.0.0"), "{}", place.log());
}

#[test]
fn an_installer_that_hangs_is_killed_and_launching_goes_on() {
    let place = Place::new();
    place.install("1.0.0", STAY);
    let program = installation(&place, &package("2.0.0"), "exec sleep 25");
    let _cup = place.run_with(&program, &[("SUCTION_CUP_BUNDLE_MS", "400")], log_of(&place));
    place.wait_for_starts(1);
    assert_eq!(place.started(), ["1.0.0"]);
    assert!(place.log().contains("took too long"), "{}", place.log());
}

#[test]
fn a_stop_while_the_installer_runs_ends_both_at_once() {
    let place = Place::new();
    place.install("1.0.0", STAY);
    let program =
        installation(&place, &package("2.0.0"), "echo $$ >pid.tmp; mv pid.tmp pid; trap '' TERM; exec sleep 25");
    let mut cup = place.run_with(&program, &[], log_of(&place));
    let pid = place.home.path().join("pid");
    wait_until("the installer", || pid.exists());
    let begun = Instant::now();
    assert_eq!(cup.stop().code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(3));
    assert!(!is_alive(place.read(&pid).trim().parse().unwrap()));
    assert_eq!(place.starts().len(), 0);
}

#[test]
fn an_installer_that_cannot_be_killed_is_left_behind_and_its_end_is_nobodys() {
    let Some(words) = strace(&["pidfd_send_signal,kill,tgkill:error=EPERM"]) else { return };
    let place = Place::new();
    let wait = "i=0; until [ -e enough ] || [ $i -gt 1500 ]; do i=$((i + 1)); sleep 0.02; done; : >over";
    let program = installation(&place, &package("2.0.0"), wait);
    let through = place.around().join("traced");
    write_program(&through, &format!("#!/bin/sh\n{words} {} \"$@\"\n", program.display()));
    let _cup = place.run_with(&through, &[("SUCTION_CUP_BUNDLE_MS", "200")], log_of(&place));
    wait_until("the choice", || place.log().contains("no version"));
    assert!(place.log().contains("cannot send signal 9 to the child: "), "{}", place.log());
    let over = place.home.path().join("over");
    // It ends before the bundled package is looked at again.
    fs::write(place.home.path().join("enough"), "").unwrap();
    wait_until("the installer's end", || over.exists());
    place.install("1.0.0", STAY);
    let pid = place.wait_for_starts(1)[0].pid;
    assert!(!place.log().contains(" came while "), "{}", place.log());
    // The signal of this test comes from another process.
    send(pid, Signal::KILL);
    place.wait_for_starts(2);
}

#[test]
fn a_suction_cup_whose_own_program_is_replaced_goes_on_and_finds_its_bundle() {
    let place = Place::new();
    write_program(&place.around().join("bundled"), &script(STAY));
    let program = installation(&place, &package("2.0.0"), "exit 4");
    let mut cup = place.run_with(&program, &[], log_of(&place));
    wait_until("the choice", || place.log().contains("no version"));
    // As a package manager does it: the new files are renamed over the old ones.
    let replace = |path: &Path, text: &str| {
        let new = place.around().join("opt/new");
        write_program(&new, text);
        fs::rename(new, path).unwrap();
    };
    replace(&program, "#!/bin/sh\nexit 9\n");
    replace(&place.around().join("opt/install-package"), &format!("#!/bin/sh\n{INSTALL}\n"));
    let pid = place.wait_for_starts(1)[0].pid;
    send(pid, Signal::KILL);
    place.wait_for_starts(2);
    assert_eq!(place.started(), ["2.0.0"; 2]);
    assert_eq!(cup.stop().code(), Some(0));
}
