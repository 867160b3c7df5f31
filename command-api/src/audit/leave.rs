//! Leave to have a history delivered: asked for again while it is on its way, and given to a few at a time.
//!
//! A delivery takes as long as its reader does. Who is removed meanwhile, from whom an account is hidden, or whose session or key
//! ended, gets no more of it; and who reads slowly keeps a place among the deliveries only, never one of those who have something
//! replayed.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use domain::{
    access::Row,
    id::{FamilyId, UserId},
};
use service_kit::{auth::SignedIn, problem::Problem};
use tokio::{
    sync::{Mutex as AsyncMutex, OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

use super::AuditState;
use crate::identity::{IdentityError, sign_ins::SignIns};

/// Leave is asked for again so often.
const ASK_EVERY: Duration = Duration::from_secs(2);

/// The deliveries of one process.
pub(crate) struct Deliveries {
    all: Arc<Semaphore>,
    per_person: usize,
    by_person: Mutex<HashMap<UserId, usize>>,
}

/// A place among them, until it is dropped.
pub(crate) struct Delivering {
    deliveries: Arc<Deliveries>,
    person: UserId,
    _place: OwnedSemaphorePermit,
}

impl Deliveries {
    pub(crate) fn new(all: usize, per_person: usize) -> Arc<Self> {
        Arc::new(Self {
            all: Arc::new(Semaphore::new(all)),
            per_person,
            by_person: Mutex::default(),
        })
    }

    /// A place for one more.
    ///
    /// # Errors
    /// 429 when this person has theirs, or when all are taken.
    pub(crate) fn begin(self: &Arc<Self>, person: UserId) -> Result<Delivering, Problem> {
        let busy = || Problem::too_fast(5, "several exports are on their way just now; try again shortly");
        let place = Arc::clone(&self.all).try_acquire_owned().map_err(|_| busy())?;
        let mut by_person = self.by_person.lock().unwrap_or_else(PoisonError::into_inner);
        let count = by_person.entry(person).or_default();
        if *count >= self.per_person {
            return Err(busy());
        }
        *count += 1;
        drop(by_person);
        Ok(Delivering {
            deliveries: Arc::clone(self),
            person,
            _place: place,
        })
    }
}

impl Drop for Delivering {
    fn drop(&mut self) {
        let mut by_person = self.deliveries.by_person.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = by_person.get_mut(&self.person) {
            *count -= 1;
            if *count == 0 {
                by_person.remove(&self.person);
            }
        }
    }
}

/// What leave was given for.
#[async_trait]
pub(crate) trait Grounds: Send + Sync {
    /// Are they still there?
    ///
    /// # Errors
    /// Why that cannot be told, or the problem to answer if it were asked for now.
    async fn are_there(&self) -> Result<bool, Problem>;
}

/// Leave for one delivery.
pub(crate) struct Leave {
    asked_by: SignedIn,
    sign_ins: SignIns,
    grounds: Box<dyn Grounds>,
    asked_at: AsyncMutex<Instant>,
}

impl Leave {
    /// Leave that was just given to who is signed in.
    pub(crate) fn given(asked_by: SignedIn, sign_ins: SignIns, grounds: impl Grounds + 'static) -> Self {
        Self {
            asked_by,
            sign_ins,
            grounds: Box::new(grounds),
            asked_at: AsyncMutex::new(Instant::now()),
        }
    }

    /// Is it there still? A database that does not answer takes nobody's leave.
    pub(crate) async fn is_there(&self) -> bool {
        let mut asked_at = self.asked_at.lock().await;
        if asked_at.elapsed() < ASK_EVERY {
            return true;
        }
        let are_there = match self.sign_ins.have_ended(&self.asked_by).await {
            Ok(true) => Ok(false),
            Ok(false) => self.grounds.are_there().await,
            Err(error) => Err(IdentityError::Database(error).into()),
        };
        *asked_at = Instant::now();
        are_there.unwrap_or_else(|problem| problem.status().is_server_error())
    }
}

/// A place from which the whole of a family's history may be read.
pub(super) struct WholeHistory {
    pub state: AuditState,
    pub row: &'static Row,
    pub family: FamilyId,
    pub person: UserId,
}

#[async_trait]
impl Grounds for WholeHistory {
    async fn are_there(&self) -> Result<bool, Problem> {
        let opened = self.state.admitted(self.row, self.family, self.person).await?;
        Ok(opened.is_whole)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn nobody_takes_the_places_of_all() {
        let person = |number| UserId::from_uuid(Uuid::from_u128(number));
        let deliveries = Deliveries::new(3, 2);
        let first = deliveries.begin(person(1)).ok();
        let second = deliveries.begin(person(1));
        assert!(second.is_ok(), "two for each");
        assert!(deliveries.begin(person(1)).is_err(), "and no third");
        let other = deliveries.begin(person(2));
        assert!(other.is_ok(), "the refused one took no place");
        assert!(deliveries.begin(person(2)).is_err(), "all are taken");
        drop(first);
        assert!(deliveries.begin(person(1)).is_ok(), "whoever is done makes room");
        drop((second, other));
        assert!(deliveries.by_person.lock().expect("counts").is_empty());
    }
}
