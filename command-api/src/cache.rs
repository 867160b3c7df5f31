//! Families a lane keeps in memory: the streams decisions looked at, and the head they were true at.
//!
//! The cache is never trusted: every append names the head and its chain hash, and the database checks both. It is bounded in families and in
//! streams per family; what is dropped is loaded again.

use std::collections::HashMap;

use domain::{decide::Streams, id::FamilyId};
use event_store::FamilyHead;

/// Streams one family may have in memory. Above, the many short-lived ones (entries, imports) are dropped, and when that is not
/// enough, all but the family's own.
const STREAMS_MAX: usize = 512;

/// One family in memory.
pub(crate) struct Cached {
    /// The `family_seq` up to which the streams are folded.
    pub head: i64,
    /// The chain hash of the last durable event among them. While a batch is decided `head` is ahead of it.
    pub chain_hash: [u8; 32],
    /// The streams.
    pub streams: Streams,
}

impl Cached {
    /// The head in the log, as long as nothing has been decided on it.
    pub fn durable_head(&self) -> FamilyHead {
        FamilyHead {
            family_seq: self.head,
            chain_hash: self.chain_hash,
        }
    }
}

/// The families of one lane.
pub(crate) struct FamilyCache {
    families: HashMap<FamilyId, (u64, Cached)>,
    families_max: usize,
    clock: u64,
}

impl FamilyCache {
    pub(crate) fn new(families_max: usize) -> Self {
        Self {
            families: HashMap::new(),
            families_max: families_max.max(1),
            clock: 0,
        }
    }

    /// All of them, with the heads they are true at; in no order.
    pub(crate) fn families(&self) -> impl Iterator<Item = (FamilyId, i64, &Streams)> {
        self.families
            .iter()
            .map(|(family_id, (_, cached))| (*family_id, cached.head, &cached.streams))
    }

    /// Takes a family out; whoever has it owns it until it is put back.
    pub(crate) fn take(&mut self, family_id: FamilyId) -> Option<Cached> {
        self.families.remove(&family_id).map(|(_, cached)| cached)
    }

    /// Puts a family back, dropping the least recently used ones when there are too many.
    pub(crate) fn put(&mut self, family_id: FamilyId, mut cached: Cached) {
        if cached.streams.len() > STREAMS_MAX {
            cached
                .streams
                .retain(|stream| !matches!(stream.kind, "entry" | "statement-import" | "chore"));
            if cached.streams.len() > STREAMS_MAX {
                cached.streams.retain(|stream| stream.kind == "family");
            }
        }
        self.clock += 1;
        self.families.insert(family_id, (self.clock, cached));
        if self.families.len() > self.families_max {
            let mut uses: Vec<u64> = self.families.values().map(|(used, _)| *used).collect();
            let oldest_tenth = (uses.len() / 10).max(1);
            let (_, cut, _) = uses.select_nth_unstable(oldest_tenth - 1);
            let cut = *cut;
            self.families.retain(|_, (used, _)| *used > cut);
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::{aggregate::AggregateState, stream::StreamId};
    use uuid::Uuid;

    use super::*;

    /// How many streams are kept of a family that has its own and so many of each of these kinds.
    fn kept(kinds: &[&'static str], each: usize) -> usize {
        let mut streams = Streams::default();
        let named = kinds
            .iter()
            .flat_map(|kind| (0..each).map(move |number| (*kind, number)));
        for (kind, number) in named.chain([("family", 0)]) {
            let id = Uuid::from_u128(number as u128);
            streams.insert(StreamId { kind, id }, AggregateState::empty(kind), 1);
        }
        let family_id = FamilyId::from_uuid(Uuid::nil());
        let mut cache = FamilyCache::new(1);
        let cached = Cached {
            head: 1,
            chain_hash: [0; 32],
            streams,
        };
        cache.put(family_id, cached);
        let cached = cache.take(family_id).expect("it was put there");
        let family = StreamId {
            kind: "family",
            id: Uuid::nil(),
        };
        assert!(cached.streams.get(&family).is_some(), "the family's own is always kept");
        cached.streams.len()
    }

    #[test]
    fn a_family_never_has_more_streams_in_memory_than_it_may() {
        assert_eq!(kept(&["entry", "category"], 255), 511, "all, while they are few enough");
        assert_eq!(
            kept(&["entry", "category"], 256),
            257,
            "one too many: without the entries"
        );
        assert_eq!(kept(&["category"], 511), 512);
        assert_eq!(kept(&["category"], 512), 1, "too many of those that last: only its own");
        assert_eq!(kept(&["entry", "category", "chore"], 600), 1);
    }

    #[test]
    fn the_cache_never_holds_more_families_than_it_may() {
        let mut cache = FamilyCache::new(10);
        for number in 0..100 {
            cache.put(
                FamilyId::from_uuid(Uuid::from_u128(number)),
                Cached {
                    head: 1,
                    chain_hash: [0; 32],
                    streams: Streams::default(),
                },
            );
            assert!(cache.families.len() <= 10);
        }
        assert!(
            cache.take(FamilyId::from_uuid(Uuid::from_u128(99))).is_some(),
            "the newest is kept"
        );
        assert!(
            cache.take(FamilyId::from_uuid(Uuid::from_u128(0))).is_none(),
            "the oldest is not"
        );
    }
}
