//! Tokens verified lately: a signature costs some fifty microseconds, a look here less than one.
//!
//! Keyed by the SHA-256 of the token, so that no token lies in memory in clear for longer than its request. A hit says only
//! that the signature and the claims were right; expiry and ended sessions are checked again every time.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::SignedIn;

/// Tokens kept at most, over all shards.
const ENTRIES_MAX: usize = 10_000;
/// Locks the entries are spread over, so that cores rarely meet.
const SHARDS: usize = 16;

/// What was found in a token whose signature was right.
#[derive(Clone, Copy, Debug)]
pub(super) struct Verified {
    pub signed_in: SignedIn,
    pub issued_at: i64,
    pub expires_at: i64,
}

type Shard = HashMap<[u8; 32], Verified>;

pub(super) struct TokenCache {
    shards: [Mutex<Shard>; SHARDS],
}

impl TokenCache {
    pub fn new() -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
        }
    }

    pub fn get(&self, key: &[u8; 32]) -> Option<Verified> {
        self.shard(key).get(key).copied()
    }

    pub fn insert(&self, key: [u8; 32], verified: Verified, now: i64) {
        let mut shard = self.shard(&key);
        if shard.len() >= ENTRIES_MAX / SHARDS {
            shard.retain(|_, kept| kept.expires_at > now);
        }
        if shard.len() >= ENTRIES_MAX / SHARDS {
            // Still full of living tokens: half of them, whichever, pay for one more verification.
            let mut keep = false;
            shard.retain(|_, _| {
                keep = !keep;
                keep
            });
        }
        shard.insert(key, verified);
    }

    pub fn remove(&self, key: &[u8; 32]) {
        self.shard(key).remove(key);
    }

    pub fn clear(&self) {
        for shard in &self.shards {
            shard.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
    }

    fn shard(&self, key: &[u8; 32]) -> MutexGuard<'_, Shard> {
        self.shards[usize::from(key[0]) % SHARDS]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use domain::id::UserId;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn it_never_holds_more_than_its_bound() {
        let cache = TokenCache::new();
        let signed_in = SignedIn {
            user_id: UserId::from_uuid(Uuid::nil()),
            session_id: Uuid::nil(),
            proven_at: 0,
            is_paired: false,
        };
        for number in 0..(3 * ENTRIES_MAX as u64) {
            let mut key = [0; 32];
            key[0] = (number % 256) as u8;
            key[1..9].copy_from_slice(&number.to_be_bytes());
            cache.insert(
                key,
                Verified {
                    signed_in,
                    issued_at: 0,
                    expires_at: 100,
                },
                50,
            );
            assert!(cache.get(&key).is_some());
        }
        let held: usize = cache.shards.iter().map(|shard| shard.lock().unwrap().len()).sum();
        assert!(held <= ENTRIES_MAX, "{held}");
    }
}
