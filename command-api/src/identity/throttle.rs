//! Guessing is slow, and slowing it locks nobody out.
//!
//! After a wrong guess the next one waits: 1 s after the first failures, then 3, 5 and at most 10 s. What comes while it waits
//! is answered 429 without being looked at and does not count, so the wait never grows by asking. Three counts run side by side:
//!
//! - *account from here*: one e-mail address from one network address. Right after a right password it starts again from nothing.
//! - *account from anywhere*: one e-mail address from all network addresses. Where its owner was before makes no difference: who
//!   shares that network could read from it that there is an account.
//! - *here*: all e-mail addresses from one network address, with more patience, since a household or a school shares one.
//!
//! Who has signed in has a count of their session's own, which nobody else's guesses reach, in the same house or elsewhere. A second
//! step is counted for its account, and not with those who guess from the same address. What nobody guesses, such as a passkey's
//! signature, is not counted at all.
//!
//! Registrations are counted by network address beside that, the successful ones too: each costs a hash and leaves an account.
//!
//! A guess counts before its password is hashed: while one is under way, no second is admitted in an account that has
//! failures, and one whose outcome is never told counts as wrong. A device that the owner signed in on before has a count of its
//! own and waits for nobody else. Everything here is in memory: it is bounded, and a restart forgives; what no restart forgives is
//! the count of a day, in `guesses`.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use service_kit::problem::Problem;
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Counts kept at most.
const ENTRIES_MAX: usize = 50_000;
/// A count without a further failure is forgotten after so long.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(60 * 60);

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Scope {
    AccountFromHere,
    AccountFromAnywhere,
    Here,
    RegisteredHere,
}

impl Scope {
    /// The wait after so many failures, in seconds (Kanidm's soft lock, without its lock for the day).
    const fn wait_s(self, failures: u32) -> u64 {
        match (self, failures) {
            (Self::Here, 0..20) => 0,
            (Self::Here, 20..100) => 1,
            (Self::Here, _) => 3,
            (Self::RegisteredHere, 0..100) => 0,
            (Self::RegisteredHere, 100..500) => 1,
            (Self::RegisteredHere, _) => 10,
            (_, 0) => 0,
            (_, 1..3) => 1,
            (_, 3..9) => 3,
            (_, 9..25) => 5,
            (_, _) => 10,
        }
    }

    /// Guesses looked at at once.
    const fn at_once(self, failures: u32) -> u32 {
        match (self, failures) {
            (Self::Here, _) => 64,
            (Self::RegisteredHere, _) => 4,
            (_, 0) => 4,
            (_, _) => 1,
        }
    }
}

type Key = (Scope, [u8; 16]);

#[derive(Clone, Copy, Debug)]
struct Count {
    failures: u32,
    under_way: u32,
    waits_until: Instant,
    touched_at: Instant,
}

/// The counts of a process.
#[derive(Clone, Default)]
pub(super) struct Throttle {
    counts: Arc<Mutex<HashMap<Key, Count>>>,
}

/// One admitted guess. Dropped without a verdict, it counts as wrong.
pub(super) struct Attempt {
    throttle: Throttle,
    keys: Vec<Key>,
    is_told: bool,
}

impl Throttle {
    /// Admits a stranger's guess at what `subject` protects.
    ///
    /// # Errors
    /// 429 while an earlier wrong guess keeps this one waiting.
    pub fn admit(&self, subject: &str, address: Option<IpAddr>) -> Result<Attempt, Problem> {
        let address_text = address.map(|address| address.to_string());
        let here = address_text.as_deref().unwrap_or_default();
        let mut keys = vec![
            key(Scope::AccountFromHere, &[subject, here]),
            key(Scope::AccountFromAnywhere, &[subject]),
        ];
        if address.is_some() {
            keys.push(key(Scope::Here, &[here]));
        }
        self.admit_at(keys, Instant::now()).map_err(too_fast)
    }

    /// Admits a guess of somebody who is signed in: nobody else's guesses slow it.
    ///
    /// # Errors
    /// 429 while an earlier wrong guess in this session keeps this one waiting.
    pub fn admit_session(&self, subject: &str, session_id: Uuid) -> Result<Attempt, Problem> {
        let session = session_id.to_string();
        let keys = vec![key(Scope::AccountFromHere, &[subject, "session", &session])];
        self.admit_at(keys, Instant::now()).map_err(too_fast)
    }

    /// Admits a second step at what `subject` protects: whoever takes it had the first one right.
    ///
    /// # Errors
    /// 429 while an earlier wrong guess keeps this one waiting.
    pub fn admit_second_step(
        &self,
        subject: &str,
        address: Option<IpAddr>,
        is_known_here: bool,
    ) -> Result<Attempt, Problem> {
        let here = address.map(|address| address.to_string()).unwrap_or_default();
        let mut keys = vec![key(Scope::AccountFromHere, &[subject, &here])];
        if !is_known_here {
            keys.push(key(Scope::AccountFromAnywhere, &[subject]));
        }
        self.admit_at(keys, Instant::now()).map_err(too_fast)
    }

    /// Admits a guess from a device that signed in to what `subject` protects before: nobody else's guesses slow it.
    ///
    /// # Errors
    /// 429 while an earlier wrong guess from there keeps this one waiting.
    pub fn admit_device(&self, subject: &str, device_id: Uuid) -> Result<Attempt, Problem> {
        let keys = vec![key(
            Scope::AccountFromHere,
            &[subject, "device", &device_id.to_string()],
        )];
        self.admit_at(keys, Instant::now()).map_err(too_fast)
    }

    /// Admits a registration: counted as a guess at whether there is an account, and against its address however it ends.
    ///
    /// # Errors
    /// 429 while earlier ones keep this one waiting.
    pub fn admit_registration(&self, subject: &str, address: Option<IpAddr>) -> Result<Attempt, Problem> {
        let here = address.map(|address| address.to_string());
        let mut keys = vec![
            key(Scope::AccountFromHere, &[subject, here.as_deref().unwrap_or_default()]),
            key(Scope::AccountFromAnywhere, &[subject]),
        ];
        if let Some(here) = &here {
            keys.push(key(Scope::Here, &[here]));
            keys.push(key(Scope::RegisteredHere, &[here]));
        }
        self.admit_at(keys, Instant::now()).map_err(too_fast)
    }

    /// Admits an attempt at what one address alone is slowed in, such as a pairing's code: there is no account yet.
    ///
    /// # Errors
    /// 429 while earlier failures from there keep this one waiting.
    pub fn admit_here(&self, subject: &str, address: Option<IpAddr>) -> Result<Attempt, Problem> {
        let here = address.map(|address| address.to_string()).unwrap_or_default();
        let keys = vec![
            key(Scope::AccountFromHere, &[subject, &here]),
            key(Scope::Here, &[&here]),
        ];
        self.admit_at(keys, Instant::now()).map_err(too_fast)
    }

    /// What `subject` protects is protected anew: guesses from anywhere and from this address wait for the old ones no longer.
    pub fn forgive(&self, subject: &str, address: Option<IpAddr>) {
        let here = address.map(|address| address.to_string()).unwrap_or_default();
        let mut counts = self.lock();
        for key in [
            key(Scope::AccountFromAnywhere, &[subject]),
            key(Scope::AccountFromHere, &[subject, &here]),
        ] {
            if let Some(count) = counts.get_mut(&key) {
                count.failures = 0;
                count.waits_until = count.touched_at;
            }
        }
    }

    fn admit_at(&self, keys: Vec<Key>, now: Instant) -> Result<Attempt, Duration> {
        let mut counts = self.lock();
        for key in &keys {
            let Some(count) = counts.get(key).filter(|count| !is_forgotten(count, now)) else {
                continue;
            };
            if count.waits_until > now {
                return Err(count.waits_until - now);
            }
            if count.under_way >= key.0.at_once(count.failures) {
                return Err(Duration::from_secs(1));
            }
        }
        make_room(&mut counts, keys.len(), now);
        for key in &keys {
            let fresh = Count {
                failures: 0,
                under_way: 0,
                waits_until: now,
                touched_at: now,
            };
            let count = counts.entry(*key).or_insert(fresh);
            if is_forgotten(count, now) {
                *count = fresh;
            }
            count.under_way += 1;
            count.touched_at = now;
        }
        drop(counts);
        Ok(Attempt {
            throttle: self.clone(),
            keys,
            is_told: false,
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Count>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attempt {
    /// The guess was right.
    pub fn succeeded(mut self) {
        self.is_told = true;
        let now = Instant::now();
        let mut counts = self.throttle.lock();
        for key in &self.keys {
            match key.0 {
                Scope::AccountFromHere => {
                    counts.remove(key);
                }
                Scope::RegisteredHere => count_one(&mut counts, key, now),
                Scope::AccountFromAnywhere | Scope::Here => finish(&mut counts, key),
            }
        }
    }

    /// The guess was wrong.
    pub fn failed(mut self) {
        self.failed_at(Instant::now());
    }

    /// The guess was never looked at: we were busy, or failed.
    pub fn forgiven(mut self) {
        self.is_told = true;
        let mut counts = self.throttle.lock();
        for key in &self.keys {
            finish(&mut counts, key);
        }
    }

    fn failed_at(&mut self, now: Instant) {
        self.is_told = true;
        let mut counts = self.throttle.lock();
        for key in &self.keys {
            count_one(&mut counts, key, now);
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.is_told {
            self.failed_at(Instant::now());
        }
    }
}

fn too_fast(wait: Duration) -> Problem {
    let seconds = u32::try_from(wait.as_millis().div_ceil(1_000)).unwrap_or(10).max(1);
    Problem::too_fast(seconds, format!("too many attempts; try again in {seconds} s"))
}

fn finish(counts: &mut HashMap<Key, Count>, key: &Key) {
    if let Some(count) = counts.get_mut(key) {
        count.under_way = count.under_way.saturating_sub(1);
    }
}

fn count_one(counts: &mut HashMap<Key, Count>, key: &Key, now: Instant) {
    finish(counts, key);
    if let Some(count) = counts.get_mut(key) {
        count.failures = count.failures.saturating_add(1);
        count.waits_until = now + Duration::from_secs(key.0.wait_s(count.failures));
        count.touched_at = now;
    }
}

fn is_forgotten(count: &Count, now: Instant) -> bool {
    now.saturating_duration_since(count.touched_at) > FORGOTTEN_AFTER
}

/// Keeps the map within its bound. When it is full of fresh counts, the lightest go first: flooding us with invented
/// addresses must not wash away the count of an account under attack.
fn make_room(counts: &mut HashMap<Key, Count>, needed: usize, now: Instant) {
    if counts.len() + needed <= ENTRIES_MAX {
        return;
    }
    counts.retain(|_, count| !is_forgotten(count, now));
    for failures_kept in [1, 2, 9, 100, u32::MAX] {
        if counts.len() + needed <= ENTRIES_MAX / 8 * 7 {
            return;
        }
        counts.retain(|_, count| count.failures > failures_kept);
    }
}

fn key(scope: Scope, parts: &[&str]) -> Key {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let mut short = [0; 16];
    short.copy_from_slice(&hash.finalize()[..16]);
    (scope, short)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guess(throttle: &Throttle, now: Instant) -> Result<Attempt, Duration> {
        throttle.admit_at(vec![key(Scope::AccountFromHere, &["ada"])], now)
    }

    #[test]
    fn the_wait_grows_to_ten_seconds_and_no_further() {
        let throttle = Throttle::default();
        let mut now = Instant::now();
        let mut waits = Vec::new();
        for _ in 0..1_000 {
            guess(&throttle, now).ok().unwrap().failed_at(now);
            let wait = guess(&throttle, now).err().unwrap();
            waits.push(wait.as_secs());
            now += wait;
        }
        assert_eq!(waits[..10], [1, 1, 3, 3, 3, 3, 3, 3, 5, 5]);
        assert_eq!(waits[999], 10);
    }

    #[test]
    fn asking_while_waiting_does_not_prolong_the_wait() {
        let throttle = Throttle::default();
        let now = Instant::now();
        guess(&throttle, now).ok().unwrap().failed_at(now);
        for _ in 0..1_000 {
            assert!(guess(&throttle, now).is_err());
        }
        assert!(guess(&throttle, now + Duration::from_secs(1)).is_ok());
    }

    #[test]
    fn a_right_password_starts_again_from_nothing() {
        let throttle = Throttle::default();
        let mut now = Instant::now();
        for _ in 0..5 {
            guess(&throttle, now).ok().unwrap().failed_at(now);
            now += Duration::from_secs(20);
        }
        guess(&throttle, now).ok().unwrap().succeeded();
        assert!(guess(&throttle, now).is_ok());
    }

    #[test]
    fn one_guess_at_a_time_once_there_was_a_failure() {
        let throttle = Throttle::default();
        let now = Instant::now();
        guess(&throttle, now).ok().unwrap().failed_at(now);
        let later = now + Duration::from_secs(2);
        let first = guess(&throttle, later).ok().unwrap();
        assert!(guess(&throttle, later).is_err());
        first.forgiven();
        assert!(guess(&throttle, later).is_ok());
    }

    #[test]
    fn an_attempt_without_a_verdict_counts_as_wrong() {
        let throttle = Throttle::default();
        let now = Instant::now();
        drop(guess(&throttle, now));
        assert!(guess(&throttle, now).is_err());
    }

    #[test]
    fn a_stranger_slows_nobody_who_is_signed_in_not_even_in_the_same_house() {
        let throttle = Throttle::default();
        let (here, elsewhere) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        // So many that the whole address waits.
        for number in 0..100 {
            let keys = vec![key(Scope::Here, &[&here.to_string()])];
            let then = Instant::now() - Duration::from_secs(5 * (99 - number));
            throttle.admit_at(keys, then).ok().unwrap().failed_at(then);
        }
        throttle.admit("ada", Some(elsewhere)).ok().unwrap().failed();
        assert!(throttle.admit("ada", Some(here)).is_err());
        assert!(throttle.admit("bea", Some(here)).is_err());
        let session_id = Uuid::new_v4();
        throttle.admit_session("ada", session_id).ok().unwrap().failed();
        assert!(
            throttle.admit_session("ada", session_id).is_err(),
            "its own wrong guess"
        );
        assert!(throttle.admit_session("ada", Uuid::new_v4()).is_ok());
        assert!(throttle.admit_second_step("bea", Some(here), false).is_ok());
    }

    #[test]
    fn an_address_registers_a_hundred_people_and_then_one_a_second() {
        let throttle = Throttle::default();
        let register = |number: u32, last: u8| {
            let address = IpAddr::from([192, 0, 2, last]);
            throttle.admit_registration(&format!("register {number}"), Some(address))
        };
        for number in 0..100 {
            register(number, 1).ok().unwrap().succeeded();
        }
        assert!(register(100, 1).is_err());
        assert!(register(100, 2).is_ok());
    }

    #[test]
    fn the_counts_are_bounded_and_the_heaviest_stay() {
        let throttle = Throttle::default();
        let mut now = Instant::now();
        for _ in 0..5 {
            guess(&throttle, now).ok().unwrap().failed_at(now);
            now += Duration::from_secs(20);
        }
        guess(&throttle, now).ok().unwrap().failed_at(now);
        for number in 0..(2 * ENTRIES_MAX) {
            let invented = vec![key(Scope::AccountFromHere, &[&number.to_string()])];
            throttle.admit_at(invented, now).ok().unwrap().failed_at(now);
        }
        assert!(throttle.lock().len() <= ENTRIES_MAX);
        assert!(guess(&throttle, now).is_err());
    }
}
