//! The places in which password hashes wait, so that nobody takes all of them.
//!
//! A hash is dear, so few may wait at once and the rest are turned away. One network address could ask for all there is, so it has a
//! share of four places at a time, running ones included, and four more for whoever has shown there that they were let in before: by
//! a session, a device that signed in to this account, or a paired device's signature. They are told apart, for a stranger of one's own
//! household or school must not use up one's share; and they are bounded too, for anybody can make accounts and sign in to them. When
//! every place is taken from many addresses at once, some are left that only those who were let in before may take.
//!
//! Without the address of a request, as in a process that was not told who connects, nobody has a share.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use service_kit::problem::Problem;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Places of one network address at a time.
const SHARE: usize = 4;
/// Places that only those take who were let in before, at most: never more than may wait at all.
const RESERVED_MAX: usize = 8;

/// Who has something hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Visitor {
    address: Option<IpAddr>,
    was_let_in: bool,
}

impl Visitor {
    /// Where nobody's address is known.
    #[cfg(test)]
    pub const NOWHERE: Self = Self {
        address: None,
        was_let_in: false,
    };

    /// Anybody at this address; of IPv6, what a household has.
    pub fn anybody(address: Option<IpAddr>) -> Self {
        Self {
            address,
            was_let_in: false,
        }
    }

    /// Somebody at this address who has shown a session or a device that was let in before.
    pub fn let_in_before(address: Option<IpAddr>) -> Self {
        Self {
            address,
            was_let_in: true,
        }
    }
}

/// The places. Cheap to clone.
#[derive(Clone)]
pub(super) struct Queue {
    all: Arc<Semaphore>,
    reserved: Arc<Semaphore>,
    taken: Arc<Mutex<HashMap<Visitor, usize>>>,
}

/// A place; dropped, it is free.
pub(super) struct Place {
    queue: Queue,
    visitor: Visitor,
    _permit: OwnedSemaphorePermit,
}

impl Queue {
    /// Places for everybody: so many where a hash is computed, and so many where one waits.
    pub fn new(at_once: usize, waiting: usize) -> Self {
        Self {
            all: Arc::new(Semaphore::new(at_once + waiting)),
            reserved: Arc::new(Semaphore::new(waiting.min(RESERVED_MAX))),
            taken: Arc::default(),
        }
    }

    /// Takes a place, without waiting for one.
    ///
    /// # Errors
    /// 429 when the address has its share, or every place is taken.
    pub fn enter(&self, visitor: Visitor) -> Result<Place, Problem> {
        // Held until the place is counted: a share is never passed by asking at once.
        let mut taken = self.lock();
        let here = taken.get(&visitor).copied().unwrap_or_default();
        if visitor.address.is_some() && here >= SHARE {
            return Err(Problem::too_fast(
                1,
                "too many are signing in from your network at this moment; try again",
            ));
        }
        let permit = Arc::clone(&self.all)
            .try_acquire_owned()
            .or_else(|full| match visitor.was_let_in {
                true => Arc::clone(&self.reserved).try_acquire_owned(),
                false => Err(full),
            })
            .map_err(|_| Problem::too_fast(2, "too many people are signing in at this moment; try again"))?;
        *taken.entry(visitor).or_default() += 1;
        drop(taken);
        Ok(Place {
            queue: self.clone(),
            visitor,
            _permit: permit,
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Visitor, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.queue.lock();
        // Who has no place left is forgotten, so there are never more of them than places.
        match taken.get_mut(&self.visitor) {
            Some(places) if *places > 1 => *places -= 1,
            _ => {
                taken.remove(&self.visitor);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(number: u8) -> Option<IpAddr> {
        Some(IpAddr::from([192, 0, 2, number]))
    }

    /// As many places as there are for them, up to twenty.
    fn places(queue: &Queue, visitor: Visitor) -> Vec<Place> {
        (0..20).map_while(|_| queue.enter(visitor).ok()).collect()
    }

    #[test]
    fn an_address_has_four_places_at_a_time_and_others_have_theirs() {
        let queue = Queue::new(2, 32);
        let greedy = places(&queue, Visitor::anybody(at(1)));
        assert_eq!(greedy.len(), 4);
        assert_eq!(places(&queue, Visitor::anybody(at(2))).len(), 4);
        assert_eq!(places(&queue, Visitor::let_in_before(at(1))).len(), 4);
        drop(greedy);
        assert_eq!(places(&queue, Visitor::anybody(at(1))).len(), 4);
        assert!(queue.lock().is_empty(), "nobody is remembered who has no place");
    }

    #[test]
    fn when_every_place_is_taken_eight_are_left_for_those_who_were_let_in_before() {
        let queue = Queue::new(1, 9);
        let many: Vec<Place> = (1..=3)
            .flat_map(|number| places(&queue, Visitor::anybody(at(number))))
            .collect();
        assert_eq!(many.len(), 10);
        assert!(queue.enter(Visitor::anybody(at(9))).is_err());
        let known: Vec<Place> = (1..=3)
            .flat_map(|number| places(&queue, Visitor::let_in_before(at(number))))
            .collect();
        assert_eq!(known.len(), 8);
        drop(many);
        assert_eq!(places(&queue, Visitor::anybody(at(9))).len(), 4);
    }

    #[test]
    fn without_an_address_nobody_has_a_share() {
        let queue = Queue::new(1, 9);
        assert_eq!(places(&queue, Visitor::anybody(None)).len(), 10);
    }
}
