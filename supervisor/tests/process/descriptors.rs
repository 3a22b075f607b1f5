//! Open files and memory: flat, however many restarts there were.

use std::fs::{self, File};
use std::io::Read as _;

use crate::support::{Place, UNLIMITED, rounds, wait_until, write_program};

/// The restarts of a default run; `OCTOPUS_TEST_RESTARTS=100000` is a long one.
const RESTARTS: usize = 600;

/// What anonymous memory may differ by, in KiB: the kernel counts it in batches for each core.
const MEMORY_NOISE: u64 = 128;

/// Files that a launch opens or closes for its own length. One that is lost in each would be hundreds.
const LAUNCH_FILES: usize = 6;

#[test]
fn open_files_and_memory_stay_flat_over_many_restarts() {
    let place = Place::new();
    place.install("1.0.0", "").prove("1.0.0");
    // A program that ends at once, and costs next to nothing.
    write_program(&place.home.tentacle_program(&"1.0.0".parse().unwrap()), "#!/bin/false\n");
    let cup = place.run(&UNLIMITED);
    let id = cup.child.id();
    let mut log = File::open(place.around().join("log")).unwrap();
    // Read on from where it was read to, for it gets long.
    let mut seen = 0;
    let mut starts = || {
        let mut new = Vec::new();
        log.read_to_end(&mut new).unwrap();
        seen += new.iter().filter(|byte| **byte == b'\n').count();
        seen
    };
    let files = || fs::read_dir(format!("/proc/{id}/fd")).unwrap().count();
    let all = rounds("OCTOPUS_TEST_RESTARTS", RESTARTS);
    let (mut memory, mut open) = ([u64::MAX; 2], [usize::MAX; 2]);
    for step in 1..=10 {
        while starts() < all * step / 10 {
            let before = starts();
            wait_until("more restarts", || starts() > before);
        }
        // The least of each half: what is in use for the length of a launch is no growth.
        let half = usize::from(step > 5);
        for _ in 0..20 {
            memory[half] = memory[half].min(cup.status("RssAnon"));
            open[half] = open[half].min(files());
        }
    }
    assert!(memory[1] <= memory[0] + MEMORY_NOISE, "{memory:?} KiB");
    assert!(open[1] <= open[0] + LAUNCH_FILES, "{open:?} files");
    assert!(cup.status("Threads") == 1);
}
