//! Whatever becomes of the files of `supervisor/`, a start happens.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rustix::process::Signal;

use crate::support::{Place, STAY, send, wait_until};

type Damage = fn(&Path);

const DAMAGES: [(&str, Damage); 7] = [
    ("empty", |path| drop(File::create(path).unwrap())),
    ("a byte", |path| fs::write(path, [0]).unwrap()),
    ("noise", |path| fs::write(path, (0..=255).cycle().take(70_000).collect::<Vec<u8>>()).unwrap()),
    ("a gigabyte", |path| File::create(path).unwrap().set_len(1 << 30).unwrap()),
    ("a folder", |path| fs::create_dir(path).unwrap()),
    ("a link to nowhere", |path| symlink("nowhere", path).unwrap()),
    ("a link to a device", |path| symlink("/dev/zero", path).unwrap()),
];

/// Every file that Suction Cup reads or writes, of the version `2.0.0` where it is a version's.
fn files(place: &Place) -> Vec<PathBuf> {
    let (home, version) = (&place.home, "2.0.0".parse().unwrap());
    let temporary = [".rejected.tmp", ".last-words.tmp", ".status.tmp"].map(|name| home.supervisor().join(name));
    let of_version =
        [home.proven(&version), home.rejected(&version), home.withdrawn(&version), home.launches(&version)];
    [home.stderr(), home.last_words(), home.status()].into_iter().chain(of_version).chain(temporary).collect()
}

#[test]
fn a_damaged_file_of_any_kind_stops_no_start() {
    // All at once, and each alone: where the marks are whole the damaged version may be the one that is launched.
    let each = files(&Place::new()).len();
    for (what, damage) in DAMAGES {
        for alone in (0..each).map(Some).chain([None]) {
            let place = Place::new();
            place.install("1.0.0", STAY).prove("1.0.0").install("2.0.0", STAY);
            let files = files(&place);
            let damaged = alone.map_or(&files[..], |place| &files[place..=place]);
            damaged.iter().for_each(|path| damage(path));
            let mut cup = place.run(&[]);
            let first = place.wait_for_starts(1)[0].pid;
            send(first, Signal::KILL);
            place.wait_for_starts(2);
            assert_eq!(cup.stop().code(), Some(0), "{what}: {damaged:?}");
        }
    }
}

#[test]
fn a_verdict_stands_however_its_file_was_damaged() {
    for (what, damage) in DAMAGES {
        let place = Place::new();
        place.install("1.0.0", STAY).prove("1.0.0").install("2.0.0", STAY);
        damage(&place.home.rejected(&"2.0.0".parse().unwrap()));
        let _cup = place.run(&[]);
        place.wait_for_starts(1);
        assert_eq!(place.started(), ["1.0.0"], "{what}: its existence is the verdict");
    }
}

#[test]
fn files_that_vanish_while_a_tentacle_runs_stop_no_restart() {
    let place = Place::new();
    place.install("1.0.0", STAY);
    let mut cup = place.run(&[]);
    let first = place.wait_for_starts(1)[0].pid;
    fs::remove_dir_all(place.home.supervisor()).unwrap();
    send(first, Signal::KILL);
    place.wait_for_starts(2);
    wait_until("last words", || place.home.last_words().exists());
    assert_eq!(cup.stop().code(), Some(0));
}

#[test]
fn the_working_folder_is_there_when_the_versions_own_is_gone() {
    let place = Place::new();
    place.install("1.0.0", STAY).prove("1.0.0").install("2.0.0", STAY).prove("2.0.0");
    let _cup = place.run(&[]);
    let first = place.wait_for_starts(1)[0].pid;
    fs::remove_dir_all(place.home.tentacle(&"2.0.0".parse().unwrap())).unwrap();
    send(first, Signal::KILL);
    let second = place.wait_for_starts(2)[1].clone();
    assert_eq!(second.version, "1.0.0");
    assert_eq!(fs::read_link(format!("/proc/{}/cwd", second.pid)).unwrap(), place.home.path());
}

#[test]
fn the_environment_does_not_grow() {
    let place = Place::new();
    place.install("1.0.0", &format!("env | wc -lc >>sizes; [ $(wc -l <starts) -gt 8 ] && {STAY}\nexit 1"));
    let _cup = place.run(&crate::support::UNLIMITED);
    place.wait_for_starts(9);
    let sizes = place.read(&place.home.path().join("sizes"));
    let lines: Vec<_> = sizes.lines().collect();
    assert!(lines.len() >= 8 && lines.iter().all(|line| *line == lines[0]), "{sizes}");
}
