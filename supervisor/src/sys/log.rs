//! The log: one line on stderr for each decision, or nothing. Never blocks, never fails.

use std::io::Write as _;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Longest line in bytes; the rest is cut. A pipe that has room at all takes so much in one piece.
const LINE_MAX: usize = 2048;

/// Writes one line if stderr has room for it. A full pipe that nobody reads loses the line: logging must never keep
/// Suction Cup from its work. `O_NONBLOCK` is no way out, because it would be set for everybody who shares the pipe.
pub fn log(text: &str) {
    let mut line = format!("suction-cup: {}", text.replace(['\n', '\r'], " "));
    line.truncate(line.floor_char_boundary(LINE_MAX));
    line.push('\n');
    let stderr = rustix::stdio::stderr();
    let mut ready = [PollFd::from_borrowed_fd(stderr, PollFlags::OUT)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    // Where the question fails there is no answer, and so no room.
    let _ = poll(&mut ready, Some(&at_once));
    if ready[0].revents().contains(PollFlags::OUT) {
        // A full disk or a reader that is gone: the line is lost.
        let _ = std::io::stderr().write(line.as_bytes());
    }
}
