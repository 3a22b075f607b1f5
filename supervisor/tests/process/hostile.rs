//! A hostile folder of versions: whatever lies there, and however much of it, a start comes and nothing incomplete is
//! launched.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::support::{Place, STAY, another_user, own_by, wait_until};

/// Entries beside the one complete version.
const ENTRIES: usize = 10_000;

/// Kinds of entries.
const KINDS: usize = 10;

/// Makes an entry that would be a newer version if it were taken for one. `whole` is a complete version's folder.
fn make(folder: &Path, number: usize, whole: &Path) {
    let name = format!("9.{number}.0");
    let path = folder.join(&name);
    let with_program = |path: &Path| {
        fs::create_dir(path).unwrap();
        fs::copy(whole.join("tentacle"), path.join("tentacle")).unwrap();
    };
    match number % KINDS {
        0 => mknodat(CWD, &path, FileType::Fifo, Mode::RUSR.union(Mode::WUSR), 0).unwrap(),
        1 => drop(UnixListener::bind(&path).unwrap()),
        2 => symlink("nowhere", &path).unwrap(),
        3 => symlink(&name, &path).unwrap(),
        4 => symlink(whole, &path).unwrap(),
        5 => fs::write(&path, "").unwrap(),
        6 => with_program(&folder.join(format!(".incoming-{name}-ab"))),
        7 => with_program(&folder.join(format!("9.{number}"))),
        8 => with_program(&folder.join(format!("{name}-RC"))),
        _ => with_program(&folder.join(OsString::from_vec([name.as_bytes(), b"\xff"].concat()))),
    }
}

#[test]
fn of_ten_thousand_hostile_entries_the_one_complete_version_is_launched_and_nothing_else() {
    let place = Place::new();
    place.install("1.0.0", STAY);
    let folder = place.home.tentacles();
    for number in 0..ENTRIES {
        make(&folder, number, &folder.join("1.0.0"));
    }
    // A version by its name, of which nothing can be had.
    let locked = folder.join("8.0.0");
    fs::create_dir(&locked).unwrap();
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o0)).unwrap();
    let mut cup = place.run(&[]);
    place.wait_for_starts(1);
    assert_eq!(place.started(), ["1.0.0"]);
    let log = place.log();
    assert!(log.contains("rejected 8.0.0 as unstartable: ") && !log.contains(" 9."), "{log}");
    assert_eq!(cup.stop().code(), Some(0));
    // So that it can be deleted by whoever runs the test.
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn a_folder_of_versions_without_permission_is_waited_for_and_then_read() {
    let Some((user, become_user)) = another_user() else { return };
    let place = Place::new();
    place.install("1.0.0", STAY).prove("1.0.0");
    own_by(&place, user);
    let folder = place.home.tentacles();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o0)).unwrap();
    let mut cup = place.run_through(&format!("exec {become_user}"), &[]);
    wait_until("the line in the log", || place.log().contains("cannot read what is installed"));
    assert!(cup.is_running() && place.starts().is_empty());
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
    place.wait_for_starts(1);
    assert_eq!(cup.stop().code(), Some(0));
}
