//! The pace of transfers: how many bytes all of them together may send in a second. Pure maths, and a lock around it.
//!
//! Nothing is queued: a sender reserves its bytes and is told how long to wait before it sends them. Reservations are in
//! the order they were made, so every transfer gets its share.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What may be sent at once after a pause, as time at full pace.
const BURST: Duration = Duration::from_secs(1);

/// A bucket that fills with so many bytes a second, and holds a second's worth. It may be in debt: what was reserved is
/// waited for.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    bytes_per_second: u64,
    /// When all that was reserved will have been sent, since the bucket was made.
    paid_until: Duration,
}

impl Bucket {
    fn new(bytes_per_second: u64) -> Self {
        Self { bytes_per_second: bytes_per_second.max(1), paid_until: Duration::ZERO }
    }

    /// How long to wait at `now` before `bytes` may be sent.
    fn take(&mut self, bytes: u64, now: Duration) -> Duration {
        let nanos = u128::from(bytes).saturating_mul(1_000_000_000) / u128::from(self.bytes_per_second);
        let takes = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        // What was not used longer ago than a burst is lost.
        let begins = self.paid_until.max(now.saturating_sub(BURST));
        self.paid_until = begins.saturating_add(takes);
        self.paid_until.saturating_sub(now)
    }
}

/// The pace that all transfers of a portal keep together.
#[derive(Debug)]
pub struct Pace {
    begun: Instant,
    bucket: Mutex<Bucket>,
}

impl Pace {
    /// So many bytes in a second, at least 1.
    pub fn new(bytes_per_second: u64) -> Self {
        Self { begun: Instant::now(), bucket: Mutex::new(Bucket::new(bytes_per_second)) }
    }

    /// How long to wait before `bytes` are sent. They are reserved, whether they are sent or not.
    pub fn take(&self, bytes: usize) -> Duration {
        let now = self.begun.elapsed();
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        bucket.take(u64::try_from(bytes).unwrap_or(u64::MAX), now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    fn ms(duration: Duration) -> u128 {
        duration.as_millis()
    }

    #[test]
    fn transfers_together_send_no_more_than_they_may() {
        let mut bucket = Bucket::new(MIB);
        let mut now = Duration::ZERO;
        let mut sent = 0;
        // Ten transfers take turns, each waiting as long as it is told.
        while now < Duration::from_secs(60) {
            now += bucket.take(MIB / 4, now);
            sent += MIB / 4;
        }
        let fair = 60 * MIB;
        assert!((fair..=fair + MIB + MIB / 4).contains(&sent), "{sent}");
    }

    #[test]
    fn after_a_pause_a_second_is_caught_up_and_no_more() {
        let mut bucket = Bucket::new(1000);
        let later = Duration::from_secs(3600);
        assert_eq!(ms(bucket.take(1000, later)), 0);
        assert_eq!(ms(bucket.take(500, later)), 500);
        assert_eq!(ms(bucket.take(500, later)), 1000, "in the order of the reservations");
        assert_eq!(ms(bucket.take(0, later + Duration::from_secs(1))), 0);
    }

    #[test]
    fn no_number_is_too_large_or_too_small() {
        let mut bucket = Bucket::new(0);
        assert_eq!(bucket.take(5, Duration::ZERO).as_secs(), 5, "at least a byte a second");
        assert!(bucket.take(u64::MAX, Duration::ZERO) > Duration::from_secs(1 << 30));
        assert!(bucket.take(u64::MAX, Duration::MAX) >= Duration::ZERO);
        assert_eq!(ms(Bucket::new(u64::MAX).take(MIB, Duration::ZERO)), 0);
    }

    #[test]
    fn a_pace_is_kept_by_several_threads_together() {
        let pace = Pace::new(10 * MIB);
        let waits: Vec<Duration> = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..4).map(|_| scope.spawn(|| (0..5).map(|_| pace.take(1024 * 1024)).max())).collect();
            threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect()
        });
        // Twenty MiB were reserved: whoever came last waits for two seconds, less the time that these threads took.
        let last = waits.into_iter().max().unwrap();
        assert!(last <= Duration::from_secs(2), "{last:?}");
        assert!(pace.take(0) <= last);
    }
}
