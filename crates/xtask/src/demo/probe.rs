//! How long a port is closed: somebody connects to it all the time and keeps the time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// Between two connections while something happens to the machine. The error of a measurement is at most twice this.
const BUSY_EVERY: Duration = Duration::from_millis(2);

/// Between two connections else.
const CALM_EVERY: Duration = Duration::from_millis(50);

/// How long one connection is waited for. On loopback the answer is instant; a full queue is no closed port.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);

/// The time that a port was closed: from each first refused connection to the next accepted one. Pure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct ClosedTime {
    closed_since: Option<Duration>,
    total: Duration,
}

impl ClosedTime {
    /// Takes in that the port was seen open or closed at `now`, a time since any beginning.
    fn see(&mut self, open: bool, now: Duration) {
        match (open, self.closed_since) {
            (false, None) => self.closed_since = Some(now),
            (true, Some(since)) => {
                self.total += now.saturating_sub(since);
                self.closed_since = None;
            }
            (true, None) | (false, Some(_)) => {}
        }
    }

    /// The whole closed time until `now`.
    fn until(&self, now: Duration) -> Duration {
        self.total + self.closed_since.map_or(Duration::ZERO, |since| now.saturating_sub(since))
    }
}

/// Connects to a port until it is asked for the result.
pub(super) struct Probe {
    shared: Arc<Shared>,
    task: JoinHandle<Duration>,
}

#[derive(Default)]
struct Shared {
    busy: AtomicBool,
    stop: AtomicBool,
}

impl Probe {
    /// Begins.
    pub(super) fn start(address: SocketAddr) -> Self {
        let shared = Arc::new(Shared::default());
        let task = tokio::spawn(probe(address, Arc::clone(&shared)));
        Self { shared, task }
    }

    /// Says whether something happens to the machine, so that it is worth looking closely.
    pub(super) fn set_busy(&self, busy: bool) {
        self.shared.busy.store(busy, Ordering::Relaxed);
    }

    /// Ends, and returns how long the port was closed.
    pub(super) async fn closed_time(self) -> anyhow::Result<Duration> {
        self.shared.stop.store(true, Ordering::Relaxed);
        Ok(self.task.await?)
    }
}

async fn probe(address: SocketAddr, shared: Arc<Shared>) -> Duration {
    let begin = Instant::now();
    let mut time = ClosedTime::default();
    while !shared.stop.load(Ordering::Relaxed) {
        let connected = tokio::time::timeout(CONNECT_LIMIT, TcpStream::connect(address)).await;
        let open = !matches!(connected, Ok(Err(_)));
        if let Ok(Ok(stream)) = connected {
            // Closed by a reset: thousands of ports that linger would leave none to connect from.
            let _ = stream.set_zero_linger();
        }
        time.see(open, begin.elapsed());
        let busy = shared.busy.load(Ordering::Relaxed) || !open;
        tokio::time::sleep(if busy { BUSY_EVERY } else { CALM_EVERY }).await;
    }
    time.until(begin.elapsed())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closed(seen: &[(u64, bool)], end: u64) -> u64 {
        let mut time = ClosedTime::default();
        for (at, open) in seen {
            time.see(*open, Duration::from_millis(*at));
        }
        u64::try_from(time.until(Duration::from_millis(end)).as_millis()).unwrap()
    }

    #[test]
    fn a_port_is_closed_from_the_first_refused_to_the_next_accepted_connection() {
        assert_eq!(closed(&[(0, true), (10, false), (12, false), (15, true), (20, true)], 30), 5);
    }

    #[test]
    fn every_time_it_is_closed_counts() {
        assert_eq!(closed(&[(0, true), (10, false), (15, true), (20, false), (30, true)], 40), 15);
    }

    #[test]
    fn a_port_that_stays_closed_is_closed_until_the_end() {
        assert_eq!(closed(&[(0, true), (10, false), (12, false)], 100), 90);
        assert_eq!(closed(&[], 100), 0);
    }
}
