//! Connections that wait for their peer, and which of them goes when there are too many. Both the channel and the portal's
//! own listener bound their connections by it.
//!
//! Anybody can open connections and say nothing. Whoever has the most of them loses the oldest first, so that a crowd of
//! strangers never keeps out somebody who comes alone.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// The part of an IPv6 address that tells one network from another; within it, everybody has all addresses.
const NETWORK_MASK: u128 = !0 << 64;

/// Connections at a door.
#[derive(Debug)]
pub struct Crowd {
    most: usize,
    places: Mutex<Places>,
}

#[derive(Debug, Default)]
struct Places {
    next: u64,
    /// By number, which is the order in which they came.
    taken: BTreeMap<u64, Taken>,
}

#[derive(Debug)]
struct Taken {
    origin: IpAddr,
    /// What is being done for its peer now. While that is anything, it is not sent away.
    busy: usize,
    sent_away: Arc<Notify>,
}

/// A place at the door, until it is dropped.
#[derive(Debug)]
pub struct Place {
    crowd: Arc<Crowd>,
    number: u64,
    sent_away: Arc<Notify>,
}

/// Something that is being done for the peer of a place, until this is dropped.
#[derive(Debug)]
pub struct Busy {
    crowd: Arc<Crowd>,
    number: u64,
}

impl Crowd {
    /// Room for so many connections, one at least.
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most: most.max(1), places: Mutex::default() })
    }

    /// Takes a place for a connection from `address`. Where all are taken, somebody is sent away for it; `None` where
    /// everybody is busy.
    pub fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let mut places = self.places();
        if places.taken.len() >= self.most {
            let number = places.least_welcome()?;
            places.taken.remove(&number)?.sent_away.notify_one();
        }
        let number = places.next;
        places.next += 1;
        let sent_away = Arc::new(Notify::new());
        places.taken.insert(number, Taken { origin: origin(address), busy: 0, sent_away: Arc::clone(&sent_away) });
        Some(Place { crowd: Arc::clone(self), number, sent_away })
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Places {
    /// The oldest idle connection of the origin that has the most idle ones; of several such origins, the one that came
    /// first.
    fn least_welcome(&self) -> Option<u64> {
        let mut origins: HashMap<IpAddr, (usize, u64)> = HashMap::new();
        for (number, place) in self.taken.iter().filter(|(_, place)| place.busy == 0) {
            origins.entry(place.origin).or_insert((0, *number)).0 += 1;
        }
        let worst = origins.into_values().max_by_key(|(count, oldest)| (*count, std::cmp::Reverse(*oldest)));
        worst.map(|(_, oldest)| oldest)
    }
}

impl Place {
    /// Waits until another connection gets this place.
    pub async fn sent_away(&self) {
        self.sent_away.notified().await;
    }

    /// Something is done for its peer from now on.
    pub fn busy(&self) -> Busy {
        if let Some(place) = self.crowd.places().taken.get_mut(&self.number) {
            place.busy += 1;
        }
        Busy { crowd: Arc::clone(&self.crowd), number: self.number }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        if let Some(place) = self.crowd.places().taken.get_mut(&self.number) {
            place.busy -= 1;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.crowd.places().taken.remove(&self.number);
    }
}

fn origin(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & NETWORK_MASK).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future as _;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    fn enter(crowd: &Arc<Crowd>, address: &str) -> Place {
        crowd.enter(address.parse().unwrap()).unwrap()
    }

    fn is_sent_away(place: &Place) -> bool {
        pin!(place.sent_away()).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn whoever_has_the_most_loses_the_oldest() {
        let crowd = Crowd::new(4);
        let alone = enter(&crowd, "10.0.0.1");
        let many: Vec<_> = (0..6).map(|_| enter(&crowd, "10.0.0.2")).collect();
        assert_eq!(many.iter().map(is_sent_away).collect::<Vec<_>>(), [true, true, true, false, false, false]);
        assert!(!is_sent_away(&alone), "although it came first");
        let newcomer = enter(&crowd, "10.0.0.3");
        assert!(is_sent_away(&many[3]) && !is_sent_away(&newcomer) && !is_sent_away(&alone));
    }

    #[test]
    fn a_place_that_is_left_is_free_again() {
        let crowd = Crowd::new(2);
        let first = enter(&crowd, "10.0.0.1");
        drop(enter(&crowd, "10.0.0.2"));
        let third = enter(&crowd, "10.0.0.3");
        assert!(!is_sent_away(&first) && !is_sent_away(&third));
        let fourth = enter(&crowd, "10.0.0.4");
        assert!(is_sent_away(&first) && !is_sent_away(&third), "where all have one, the oldest goes");
        drop((first, third, fourth));
        assert!(crowd.places().taken.is_empty());
    }

    #[test]
    fn nobody_is_sent_away_while_something_is_done_for_it() {
        let crowd = Crowd::new(2);
        let (first, second) = (enter(&crowd, "10.0.0.1"), enter(&crowd, "10.0.0.1"));
        let (one, other) = (first.busy(), first.busy());
        drop(one);
        let third = enter(&crowd, "10.0.0.2");
        assert!(is_sent_away(&second) && !is_sent_away(&first));
        let busy = third.busy();
        assert!(crowd.enter("10.0.0.3".parse().unwrap()).is_none(), "everybody is busy");
        drop(other);
        let _fourth = enter(&crowd, "10.0.0.3");
        assert!(is_sent_away(&first) && !is_sent_away(&third));
        drop(busy);
    }

    #[test]
    fn one_network_is_one_origin() {
        let crowd = Crowd::new(3);
        let alone = enter(&crowd, "2001:db8:0:1::1");
        let many: Vec<_> = (1..=3).map(|n| enter(&crowd, &format!("2001:db8::{n}:0:0:1"))).collect();
        assert!(is_sent_away(&many[0]) && !is_sent_away(&alone));
        assert_eq!(origin("::ffff:10.0.0.1".parse().unwrap()), "10.0.0.1".parse::<IpAddr>().unwrap());
    }
}
