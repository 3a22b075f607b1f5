//! How often somebody may try to log in. In memory: a restart forgives.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::clock::Timestamp;

/// Tries for one name from one address in a window. At the limit further ones are refused until the window ends.
const TRIES_PER_NAME: u32 = 10;

/// Tries for any name from one address in a window. At the limit further ones are refused until the window ends.
const TRIES_PER_PEER: u32 = 50;

/// How long tries are counted, from the first one.
const WINDOW: Duration = Duration::from_secs(5 * 60);

/// Most counts that are kept. At the limit those whose window ended are forgotten, and if none did, the older half.
const COUNTS_MAX: usize = 10_000;

/// Longest part of a name that is counted; no user's name is longer.
const NAME_MAX: usize = 100;

type Key = (IpAddr, Option<String>);

#[derive(Clone, Copy)]
struct Count {
    since: Timestamp,
    tries: u32,
}

/// Counts the tries to log in, by address and by name and address.
#[derive(Default)]
pub struct LoginLimiter(Mutex<HashMap<Key, Count>>);

impl LoginLimiter {
    /// Counts a try before it is looked at, so that many at once are no way around the limit. `Err` says how long to
    /// wait.
    pub fn begin(&self, peer: IpAddr, username: &str, now: Timestamp) -> Result<(), Duration> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, max) in [((network(peer), None), TRIES_PER_PEER), (key(peer, username), TRIES_PER_NAME)] {
            make_room(&mut counts, &key, now);
            let count = counts.entry(key).or_insert(Count { since: now, tries: 0 });
            if now.since(count.since) >= WINDOW {
                *count = Count { since: now, tries: 0 };
            }
            if count.tries >= max {
                return Err(WINDOW.saturating_sub(now.since(count.since)));
            }
            count.tries += 1;
        }
        Ok(())
    }

    /// Forgets the tries for a name that logged in.
    pub fn succeeded(&self, peer: IpAddr, username: &str) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.remove(&key(peer, username));
        if let Some(count) = counts.get_mut(&(network(peer), None)) {
            count.tries = count.tries.saturating_sub(1);
        }
    }
}

fn key(peer: IpAddr, username: &str) -> Key {
    (network(peer), Some(username.to_lowercase().chars().take(NAME_MAX).collect()))
}

/// Whoever has one IPv6 address has the 2^64 around it.
fn network(peer: IpAddr) -> IpAddr {
    match peer {
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => v4.into(),
            None => IpAddr::from((v6.to_bits() >> 64 << 64).to_be_bytes()),
        },
        v4 => v4,
    }
}

fn make_room(counts: &mut HashMap<Key, Count>, key: &Key, now: Timestamp) {
    if counts.len() < COUNTS_MAX || counts.contains_key(key) {
        return;
    }
    counts.retain(|_, count| now.since(count.since) < WINDOW);
    if counts.len() >= COUNTS_MAX {
        let mut begun: Vec<Timestamp> = counts.values().map(|count| count.since).collect();
        let (_, middle, _) = begun.select_nth_unstable(COUNTS_MAX / 2);
        counts.retain(|_, count| count.since > *middle);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn a_name_is_refused_after_ten_tries_until_the_window_ends() {
        let limiter = LoginLimiter::default();
        let start = Timestamp(0);
        for _ in 0..TRIES_PER_NAME {
            assert_eq!(limiter.begin(PEER, "admin", start), Ok(()));
        }
        let soon = start.after(Duration::from_secs(60));
        assert_eq!(limiter.begin(PEER, "ADMIN", soon), Err(Duration::from_secs(4 * 60)));
        assert_eq!(limiter.begin(PEER, "ada", soon), Ok(()), "another name may still try");
        assert_eq!(limiter.begin([10, 0, 0, 1].into(), "admin", soon), Ok(()), "and another address");
        assert_eq!(limiter.begin(PEER, "admin", start.after(WINDOW)), Ok(()));
    }

    #[test]
    fn logging_in_forgives() {
        let limiter = LoginLimiter::default();
        for _ in 0..TRIES_PER_PEER * 2 {
            assert_eq!(limiter.begin(PEER, "admin", Timestamp(0)), Ok(()));
            limiter.succeeded(PEER, "admin");
        }
    }

    #[test]
    fn one_address_cannot_try_all_names() {
        let limiter = LoginLimiter::default();
        let refused = (0..=TRIES_PER_PEER).filter(|n| limiter.begin(PEER, &n.to_string(), Timestamp(0)).is_err());
        assert_eq!(refused.count(), 1);
    }

    #[test]
    fn the_memory_it_takes_is_bounded() {
        let limiter = LoginLimiter::default();
        for n in 0..u32::try_from(COUNTS_MAX).unwrap() {
            let _ = limiter.begin(IpAddr::from(n.to_be_bytes()), "admin", Timestamp(i64::from(n)));
        }
        assert!((2..=COUNTS_MAX).contains(&limiter.0.lock().unwrap().len()));
    }

    #[test]
    fn an_ipv6_network_is_one_peer() {
        assert_eq!(network("2001:db8::1".parse().unwrap()), network("2001:db8::ffff".parse::<IpAddr>().unwrap()));
        assert_eq!(network("::ffff:10.0.0.1".parse().unwrap()), IpAddr::from([10, 0, 0, 1]));
    }
}
