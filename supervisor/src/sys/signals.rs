//! Signals, turned into a flag and a readable end of a socket.
//!
//! Handlers are used, not a blocked mask: a handler becomes the default action in a child by itself, so a Tentacle
//! starts with nothing ignored and nothing blocked, and without a line of code between fork and exec.

use std::io::Read as _;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::Signal;
use signal_hook::{flag, low_level::pipe};

/// These ask for the end.
const STOP: [Signal; 2] = [Signal::TERM, Signal::INT];

/// These end a process that does not handle them, and mean nothing to this one. PIPE is among them, though the standard
/// library ignores it, because an ignored signal would be inherited. XFSZ makes a write beyond a limit fail instead.
const MEANINGLESS: [Signal; 11] = [
    Signal::HUP,
    Signal::QUIT,
    Signal::PIPE,
    Signal::USR1,
    Signal::USR2,
    Signal::ALARM,
    Signal::VTALARM,
    Signal::PROF,
    Signal::IO,
    Signal::XCPU,
    Signal::XFSZ,
];

/// Most bytes that are taken from the socket at once. What is left wakes again.
const DRAIN_MAX: usize = 256;

/// What the handlers write to.
#[derive(Debug)]
pub struct Signals {
    stop: Arc<AtomicBool>,
    /// Readable when a signal came. `None` where it could not be made: then waits must be short.
    wake: Option<UnixStream>,
}

impl Signals {
    /// Sets the handlers. A handler that cannot be set leaves the default action.
    pub fn listen() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        for signal in MEANINGLESS {
            let _ = flag::register(signal.as_raw(), Arc::new(AtomicBool::new(false)));
        }
        // The flag comes before the socket, because what wakes must find it set; and no socket without the flag, because a
        // stop that wakes and is not seen would be worse than one that kills.
        let flagged = STOP.into_iter().filter(|signal| flag::register(signal.as_raw(), Arc::clone(&stop)).is_ok());
        let heard: Vec<_> = flagged.chain([Signal::CHILD]).collect();
        let wake = UnixStream::pair().ok().and_then(|(wake, write)| {
            wake.set_nonblocking(true).ok()?;
            for signal in heard {
                pipe::register(signal.as_raw(), write.try_clone().ok()?).ok()?;
            }
            Some(wake)
        });
        Self { stop, wake }
    }

    /// True once after one or more of TERM and INT.
    pub fn take_stop(&self) -> bool {
        self.stop.swap(false, Ordering::SeqCst)
    }

    /// True if a stop is waiting to be taken.
    pub fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    /// What to poll for reading.
    pub fn wake(&self) -> Option<BorrowedFd<'_>> {
        self.wake.as_ref().map(AsFd::as_fd)
    }

    /// Empties the socket after a wake-up. Must come before the flag and the children are looked at.
    pub fn drain(&mut self) {
        if let Some(wake) = &mut self.wake {
            let mut bytes = [0; DRAIN_MAX];
            // It does not block; when there is nothing to take, nothing is lost.
            let _ = wake.read(&mut bytes);
        }
    }
}
