//! What a process has used so far, as the system counts it in `/proc`.

use std::fs;
use std::time::Duration;

use anyhow::Context as _;

/// The fields of `/proc/PID/stat` after the name that hold CPU time: user and system, of the process itself.
const OWN_TIME: std::ops::Range<usize> = 11..13;

/// The same of its children that ended and were waited for.
const CHILDREN_TIME: std::ops::Range<usize> = 13..15;

/// In which `/proc` counts CPU time. Linux has kept this number for its users on every kind of computer that we run on.
const TICKS_PER_SECOND: u32 = 100;

/// CPU time of all threads of a process so far, user and system, ended threads included. The system rounds each of
/// the two down to 10 ms; over many processes that evens out in a difference.
pub(crate) fn cpu_time(pid: u32) -> anyhow::Result<Duration> {
    time(pid, OWN_TIME)
}

/// CPU time of the children of a process that ended and were waited for.
pub(crate) fn cpu_time_of_children(pid: u32) -> anyhow::Result<Duration> {
    time(pid, CHILDREN_TIME)
}

fn time(pid: u32, fields: std::ops::Range<usize>) -> anyhow::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
    let stat = stat.with_context(|| format!("process {pid} cannot be looked at: has it ended?"))?;
    let ticks = read_ticks(&stat, fields).with_context(|| format!("/proc/{pid}/stat has no times"))?;
    Ok(Duration::from_secs(1) * ticks / TICKS_PER_SECOND)
}

fn read_ticks(stat: &str, fields: std::ops::Range<usize>) -> Option<u32> {
    // The name stands in parentheses and may hold any character.
    let all: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    all.get(fields)?.iter().map(|field| field.parse::<u32>().ok()).sum()
}

/// A number of `/proc/PID/status`: `VmHWM` and `VmRSS` in KiB, `voluntary_ctxt_switches` as a count.
pub(crate) fn status_number(pid: u32, name: &str) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"));
    let status = status.with_context(|| format!("process {pid} cannot be looked at: has it ended?"))?;
    read_status(&status, name).with_context(|| format!("/proc/{pid}/status has no {name}"))
}

fn read_status(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// Makes the present memory of this process its peak.
pub(crate) fn forget_own_peak() -> anyhow::Result<()> {
    fs::write("/proc/self/clear_refs", "5").context("cannot reset the peak memory")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_any_name() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 100 0 0 0 31 12 5 6 20 0 1 0";
        assert_eq!(read_ticks(stat, OWN_TIME), Some(43));
        assert_eq!(read_ticks(stat, CHILDREN_TIME), Some(11));
        assert_eq!(read_ticks("7 (a) S 1", OWN_TIME), None);
    }

    #[test]
    fn a_status_is_read_by_the_whole_name() {
        let status = "VmHWMx:\t1 kB\nVmHWM:\t  5120 kB\nnonvoluntary_ctxt_switches:\t3\nvoluntary_ctxt_switches:\t9\n";
        assert_eq!(read_status(status, "VmHWM"), Some(5120));
        assert_eq!(read_status(status, "voluntary_ctxt_switches"), Some(9));
        assert_eq!(read_status(status, "VmRSS"), None);
    }

    #[test]
    fn this_process_has_used_something() {
        assert!(status_number(std::process::id(), "VmRSS").unwrap() > 0);
        cpu_time(std::process::id()).unwrap();
    }
}
