//! Real disks of their own, full or read-only: a Tentacle is started all the same.

use std::fs;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::{Place, Running, STAY, can, send, stays, wait_until};

/// Runs Suction Cup where its home is a small disk of its own, with two versions, the newer one unproven. `then` is done
/// with the disk before Suction Cup starts. A Tentacle notes its start in the folder around.
fn run_on_small_disk<'a>(place: &'a Place, then: &str) -> Option<Running<'a>> {
    if !can("a disk of its own", "unshare", &["--mount", "mount", "-t", "tmpfs", "none", "/mnt"]) {
        return None;
    }
    let note = |body: &str| format!("#!/bin/sh\necho \"$SUCTION_CUP_VERSION $$ 0\" >>../starts\n{body}\n");
    for (version, body) in [("1.0.0", STAY), ("2.0.0", "exit 1")] {
        place.install(version, "");
        fs::write(place.home.tentacles().join(version).join("tentacle"), note(body)).unwrap();
    }
    let (home, around) = (place.home.path().display(), place.around().display());
    let lines = format!(
        "set -e\nmv {home} {around}/laid; mkdir {home}\nmount -t tmpfs -o size=128k none {home}\n\
         cp -a {around}/laid/. {home}\n{then}\nexec"
    );
    let program = place.around().join("mounts");
    crate::support::write_program(&program, &format!("#!/bin/sh\n{lines} \"$@\"\n"));
    Some(place.run_through(&format!("exec unshare --mount {}", program.display()), &[]))
}

fn noted(place: &Place) -> Vec<String> {
    let text = place.read(&place.around().join("starts"));
    text.lines().map(|line| line.split(' ').next().unwrap().to_owned()).collect()
}

/// Kills the Tentacle that noted its start last.
fn kill_last(place: &Place) {
    let text = place.read(&place.around().join("starts"));
    let pid = text.lines().last().unwrap().split(' ').nth(1).unwrap();
    send(pid.parse().unwrap(), Signal::KILL);
}

#[test]
fn a_full_disk_stops_no_start_and_memory_counts() {
    let place = Place::new();
    let fill = format!("cat /dev/zero >{}/filler 2>/dev/null || :", place.home.path().display());
    let Some(mut cup) = run_on_small_disk(&place, &fill) else { return };
    wait_until("the fallback", || noted(&place).len() >= 2 && noted(&place).last().unwrap() == "1.0.0");
    assert!(noted(&place).len() <= 4, "{:?}", noted(&place));
    kill_last(&place);
    let before = noted(&place).len();
    wait_until("another start", || noted(&place).len() > before);
    assert!(stays(Duration::from_millis(200), || cup.is_running()));
    assert_eq!(noted(&place).last().unwrap(), "1.0.0");
    assert_eq!(cup.stop().code(), Some(0));
}

#[test]
fn a_read_only_disk_stops_no_start_and_memory_counts() {
    let place = Place::new();
    let freeze = format!("mount -o remount,ro {}", place.home.path().display());
    let Some(mut cup) = run_on_small_disk(&place, &freeze) else { return };
    wait_until("the fallback", || noted(&place).len() >= 4);
    assert_eq!(noted(&place), ["2.0.0", "2.0.0", "2.0.0", "1.0.0"]);
    kill_last(&place);
    wait_until("another start", || noted(&place).len() >= 5);
    assert_eq!(noted(&place)[4], "1.0.0");
    assert_eq!(cup.stop().code(), Some(0));
}
