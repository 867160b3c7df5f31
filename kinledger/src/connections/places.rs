//! Who has which place, and who gives one up.
//!
//! - One network address has at most its share of the places; proxies of ours speak for many and have no share.
//! - When all places are taken, a connection that is between two requests gives its place to the next client. The address with
//!   most connections gives first, and of its connections the one that has been idle longest.
//! - A connection with a request in hand keeps its place.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use service_kit::address::{Network, is_trusted, one_household};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// The places of a server.
pub(super) struct Places {
    free: Arc<Semaphore>,
    share: u32,
    unshared: Vec<Network>,
    taken: Mutex<Taken>,
    has_idle: Notify,
}

#[derive(Default)]
struct Taken {
    open: HashMap<u64, Open>,
    /// Connections that have not been told to close, by address.
    by_address: HashMap<IpAddr, u32>,
    next_id: u64,
}

struct Open {
    address: IpAddr,
    idle_since: Option<Instant>,
    is_to_close: bool,
    close: Arc<Notify>,
}

/// A place, until it is dropped.
pub(super) struct Place {
    id: u64,
    places: Arc<Places>,
    close: Arc<Notify>,
    _permit: OwnedSemaphorePermit,
}

/// A request in hand, until it is dropped.
pub(super) struct InHand(Arc<Place>);

impl Places {
    /// So many places, and so many for one address.
    pub fn new(count: u32, share: u32, unshared: Vec<Network>) -> Arc<Self> {
        Arc::new(Self {
            free: Arc::new(Semaphore::new(count as usize)),
            share,
            unshared,
            taken: Mutex::default(),
            has_idle: Notify::new(),
        })
    }

    /// Are all taken?
    pub fn are_full(&self) -> bool {
        self.free.available_permits() == 0
    }

    /// Waits until all are free.
    pub async fn all_free(&self, count: u32) {
        drop(self.free.acquire_many(count).await);
    }

    /// A place for a client from this address, once there is one; none when the address has its share and uses all of it.
    pub async fn take(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let counted = one_household(address);
        if !is_trusted(address, &self.unshared) && !self.make_room_in_share(counted) {
            return None;
        }
        loop {
            // Registered before the look, so that who becomes idle in between is not missed.
            let has_idle = self.has_idle.notified();
            if let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() {
                return Some(self.enter(counted, permit));
            }
            self.close_one(|_| true);
            tokio::select! {
                permit = Arc::clone(&self.free).acquire_owned() => return Some(self.enter(counted, permit.ok()?)),
                () = has_idle => {}
            }
        }
    }

    fn make_room_in_share(&self, address: IpAddr) -> bool {
        let has = self.lock().by_address.get(&address).copied().unwrap_or_default();
        has < self.share || self.close_one(|open| open.address == address)
    }

    fn enter(self: &Arc<Self>, address: IpAddr, permit: OwnedSemaphorePermit) -> Place {
        let close = Arc::new(Notify::new());
        let mut taken = self.lock();
        let id = taken.next_id;
        taken.next_id += 1;
        *taken.by_address.entry(address).or_default() += 1;
        let open = Open {
            address,
            idle_since: Some(Instant::now()),
            is_to_close: false,
            close: Arc::clone(&close),
        };
        taken.open.insert(id, open);
        drop(taken);
        Place {
            id,
            places: Arc::clone(self),
            close,
            _permit: permit,
        }
    }

    /// Tells an idle connection to close; says whether there was one.
    fn close_one(&self, may_be: impl Fn(&Open) -> bool) -> bool {
        let mut taken = self.lock();
        let Taken { open, by_address, .. } = &mut *taken;
        let idle = open.values_mut().filter(|open| !open.is_to_close && may_be(open));
        let longest = idle
            .filter_map(|open| open.idle_since.map(|since| (since, open)))
            .max_by_key(|(since, open)| (by_address.get(&open.address).copied(), std::cmp::Reverse(*since)));
        let Some((_, open)) = longest else { return false };
        open.is_to_close = true;
        open.close.notify_one();
        leave(by_address, open.address);
        true
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Once the place is wanted by somebody else.
    pub async fn is_wanted(&self) {
        self.close.notified().await;
    }

    /// Is the connection between two requests?
    pub fn is_idle(&self) -> bool {
        let taken = self.places.lock();
        taken.open.get(&self.id).is_some_and(|open| open.idle_since.is_some())
    }

    /// A request has come.
    pub fn begin(self: &Arc<Self>) -> InHand {
        self.note(None);
        InHand(Arc::clone(self))
    }

    fn note(&self, idle_since: Option<Instant>) {
        if let Some(open) = self.places.lock().open.get_mut(&self.id) {
            open.idle_since = idle_since;
        }
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        self.0.note(Some(Instant::now()));
        self.0.places.has_idle.notify_waiters();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        if let Some(open) = taken.open.remove(&self.id)
            && !open.is_to_close
        {
            leave(&mut taken.by_address, open.address);
        }
    }
}

fn leave(by_address: &mut HashMap<IpAddr, u32>, address: IpAddr) {
    if let Some(count) = by_address.get_mut(&address) {
        *count -= 1;
        if *count == 0 {
            by_address.remove(&address);
        }
    }
}
