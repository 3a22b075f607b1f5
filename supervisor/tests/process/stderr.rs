//! A child that writes without end to its stderr: told, and kept from filling the disk.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use rustix::process::Signal;

use crate::support::{PROVE, Place, STAY, send, wait_until};

/// Disk space that the file uses now.
fn space(place: &Place) -> u64 {
    fs::metadata(place.home.stderr()).map_or(0, |file| file.len().min(file.blocks() * 512))
}

#[test]
fn a_child_that_writes_without_end_to_its_stderr_cannot_fill_the_disk_unnoticed() {
    let place = Place::new();
    let flood = "for i in 1 2 3; do head -c 40000000 /dev/zero >&2; sleep 2.5; done; echo the end >&2";
    place.install("1.0.0", &format!("{PROVE}; [ -e once ] && {STAY}\n: >once; {flood}; : >done; {STAY}"));
    let _cup = place.run(&[]);
    let pid = place.wait_for_starts(1)[0].pid;
    let mut most = 0;
    wait_until("the flood", || {
        most = most.max(space(&place));
        place.home.path().join("done").exists()
    });
    assert!(most < 100_000_000, "{most}: what was written in a second at the most, and never all of it");
    wait_until("the last cut", || space(&place) < 1_000_000);
    assert!(place.log().contains(" MiB to its stderr; only the end is kept"), "{}", place.log());
    send(pid, Signal::KILL);
    wait_until("last words", || place.read(&place.home.last_words()).ends_with("the end\n"));
}
