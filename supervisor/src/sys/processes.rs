//! Facts about processes, as `/proc` shows them, and the clocks that they are told in. For `suction-cup status`, and for
//! the note that it reads. Nothing here touches a process.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use contract::Home;
use rustix::fs::{major, minor};
use rustix::time::{ClockId, clock_gettime};

use crate::status::note::Process;
use crate::status::report::Holder;

/// Most bytes of `/proc/locks` that are read; a machine with more locks than that may hide ours.
const LOCKS_MAX: u64 = 4 << 20;

/// In which `/proc` counts the starts of processes. Linux has kept this number for its users everywhere.
const TICKS_PER_SECOND: u64 = 100;

/// The process with this number, if it runs.
pub fn process(pid: u32) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(Process { pid, started: start_in(&stat)? })
}

/// Field 22, if field 3 is the state of a process that has not ended. The name before it may hold anything.
fn start_in(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X" | "x") { None } else { fields.nth(18)?.parse().ok() }
}

/// For how long a process has been running; `None` where it is gone.
pub fn age_of(wanted: Process) -> Option<Duration> {
    let found = process(wanted.pid).filter(|found| *found == wanted)?;
    let started = Duration::from_millis(found.started.saturating_mul(1_000 / TICKS_PER_SECOND));
    Some(clock(ClockId::Boottime).saturating_sub(started))
}

/// The system's monotonic clock, which is the same for every process.
pub fn monotonic() -> Duration {
    clock(ClockId::Monotonic)
}

fn clock(id: ClockId) -> Duration {
    Duration::try_from(clock_gettime(id)).unwrap_or_default()
}

/// Who holds the lock on the home folder. The lock itself is not tried, because a Suction Cup that starts meanwhile would
/// find it taken and end.
pub fn holder_of_lock(home: &Home) -> Holder {
    let Ok(folder) = fs::metadata(home.path()) else { return Holder::Nobody };
    let mut locks = String::new();
    let read = File::open("/proc/locks").and_then(|file| file.take(LOCKS_MAX).read_to_string(&mut locks));
    if read.is_err() {
        return Holder::Unknown;
    }
    let file = format!("{:02x}:{:02x}:{}", major(folder.dev()), minor(folder.dev()), folder.ino());
    holder_in(&locks, &file).map_or(Holder::Nobody, Holder::Process)
}

/// Reads lines such as `3: FLOCK  ADVISORY  WRITE 1234 fe:00:5678 0 EOF`. One with an arrow only waits for its lock.
fn holder_in(locks: &str, file: &str) -> Option<u32> {
    locks.lines().find_map(|line| {
        let fields: Vec<_> = line.split_ascii_whitespace().collect();
        let [_, "FLOCK", _, "WRITE", pid, on, ..] = fields[..] else { return None };
        if on == file { pid.parse().ok() } else { None }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_is_found_behind_any_name_and_a_dead_process_has_none() {
        let rest = "1 10 10 0 -1 4194560 100 0 0 0 31 12 5 6 20 0 1 0 4711 1000 20";
        assert_eq!(start_in(&format!("10 (a) R) S {rest}")), Some(4711));
        assert_eq!(start_in(&format!("10 (a) Z {rest}")), None);
        for bad in ["", "10 (a) S", "10 a S 1"] {
            assert_eq!(start_in(bad), None, "{bad}");
        }
    }

    fn boot_time() -> Duration {
        Duration::try_from(clock_gettime(ClockId::Boottime)).unwrap()
    }

    #[test]
    fn the_monotonic_clock_is_the_systems() {
        let now = || Duration::try_from(clock_gettime(ClockId::Monotonic)).unwrap();
        let [before, told, after] = [now(), monotonic(), now()];
        assert!(before <= told && told <= after, "{before:?} {told:?} {after:?}");
    }

    #[test]
    fn this_process_is_found_and_another_with_its_number_is_not() {
        let own = process(std::process::id()).unwrap();
        let began = Duration::from_millis(10 * own.started);
        let [before, age, after] = [boot_time(), age_of(own).unwrap(), boot_time()];
        assert!(before - began <= age && age <= after - began, "{before:?} {age:?} {after:?}");
        assert_eq!(age_of(Process { started: own.started + 1, ..own }), None);
    }

    #[test]
    fn the_holder_of_a_lock_is_found_and_who_waits_for_it_is_not() {
        let locks = "1: POSIX  ADVISORY  WRITE 7 fe:00:5 0 EOF\n2: FLOCK  ADVISORY  WRITE 8 fe:00:55 0 EOF\n\
                     2: -> FLOCK  ADVISORY  WRITE 6 fe:00:5 0 EOF\n3: FLOCK  ADVISORY  WRITE 9 fe:00:5 0 EOF\n";
        assert_eq!(holder_in(locks, "fe:00:5"), Some(9));
        assert_eq!(holder_in(locks, "fe:00:4"), None);
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(folder.path());
        assert_eq!(holder_of_lock(&home), Holder::Nobody);
        let file = File::open(folder.path()).unwrap();
        file.lock().unwrap();
        assert_eq!(holder_of_lock(&home), Holder::Process(std::process::id()));
    }
}
