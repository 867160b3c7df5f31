//! The reckoning: when all is calm, everything that was written is compared with everything it should be.

use std::collections::BTreeMap;

use domain::id::FamilyId;
use event_store::{
    Record,
    chain::{GENESIS, follows, leaf_of},
};
use uuid::Uuid;

use crate::{
    Outcome,
    chance::mix,
    oracle::check_cache,
    views::{Rows, UNFOLDABLE},
    world::World,
};

impl World {
    pub(crate) fn outcome(&self) -> Outcome {
        Outcome {
            steps: self.step,
            trace: self.digest(),
            acknowledged: self.oracle.acknowledged(),
            refused: self.oracle.refused(),
            events: self.log.events().len(),
            crashes: self.crashes,
            parked: self.views.parked().len(),
            forks: self.relays.iter().filter(|relay| relay.has_halted()).count(),
        }
    }

    /// Everything that happened, and everything it left in the log.
    fn digest(&self) -> u64 {
        let hashes = self.log.events().iter().map(|record| record.chain_hash);
        hashes.fold(self.trace, |digest, hash| {
            let first: [u8; 8] = std::array::from_fn(|index| hash[index]);
            mix(digest ^ u64::from_be_bytes(first))
        })
    }

    /// What keeps the run from coming to rest.
    pub(crate) fn unsettled(&self) -> String {
        let relays: Vec<_> = self
            .relays
            .iter()
            .map(|relay| (relay.position(), relay.is_owner()))
            .collect();
        format!(
            "the log is at {}, relays at {relays:?}, rows at {}, {} clients wait, forks: {}",
            self.log.head(),
            self.views.checkpoint(),
            self.clients.iter().filter(|client| client.is_busy()).count(),
            self.lost.is_some(),
        )
    }

    /// All of it.
    pub(crate) fn reckon(&self) -> Result<(), String> {
        self.numbers_and_hashes()?;
        self.oracle.replay(&self.log, &self.orders, self.at())?;
        for worker in &self.workers {
            for (family, head, streams) in worker.machine.cached() {
                check_cache(&self.log, family, head, streams)?;
            }
        }
        if self.lost.is_some() {
            return Ok(());
        }
        self.topic()?;
        self.rows()
    }

    /// Positions and places without holes, hashes that follow, every command's events together.
    fn numbers_and_hashes(&self) -> Result<(), String> {
        let mut heads: BTreeMap<FamilyId, (i64, [u8; 32])> = BTreeMap::new();
        for (position, record) in (1..).zip(self.log.events()) {
            let (seq, chain) = heads.entry(record.family_id).or_insert((0, GENESIS));
            let is_next = record.position == position && record.family_seq == *seq + 1;
            if !is_next || leaf_of(record) != record.leaf_hash || !follows(chain, record) {
                return Err(format!("record {position} does not follow from those before it"));
            }
            (*seq, *chain) = (record.family_seq, record.chain_hash);
        }
        let mut counts: BTreeMap<_, i64> = BTreeMap::new();
        for record in self.log.events() {
            *counts.entry((record.family_id, record.command_id)).or_default() += 1;
        }
        for (key, stored) in self.log.commands() {
            let count = counts.get(key).copied().unwrap_or(0);
            if count != stored.events() {
                return Err(format!(
                    "{} has {count} events and {} were promised",
                    key.1,
                    stored.events()
                ));
            }
        }
        Ok(())
    }

    /// Whoever reads the topic and drops repeats has the log.
    fn topic(&self) -> Result<(), String> {
        let mut last = None;
        for record in self.kafka.visible() {
            let reached = last.unwrap_or(record.position - 1);
            if record.position > reached + 1 {
                return Err(format!("the topic has a hole before {}", record.position));
            }
            last = Some(reached.max(record.position));
        }
        if last.is_some_and(|last| last != self.log.head()) {
            return Err(format!("the topic ends at {last:?} and the log at {}", self.log.head()));
        }
        let first = self.kafka.visible().next().map(|record| record.position);
        if !self.scenario.topic_faults && first.is_some_and(|first| first != 1) {
            return Err(format!("the topic begins with {first:?}"));
        }
        Ok(())
    }

    /// Rows are what a fold from nothing gives, and a family is parked exactly where its first poison is.
    fn rows(&self) -> Result<(), String> {
        let mut parked: BTreeMap<Uuid, i64> = BTreeMap::new();
        for family in self.log.families() {
            let is_poison = |record: &&Record| record.decode().is_err() || record.payload.contains(UNFOLDABLE);
            let records = || self.log.of_family(family).map(|record| &**record);
            let poison = records().find(is_poison).map(|record| record.family_seq);
            if let Some(poison) = poison {
                parked.insert(family.uuid(), poison);
            }
            let wanted =
                Rows::of(records().take_while(|record| poison.is_none_or(|poison| record.family_seq < poison)));
            let rows = self.views.rows().get(&family.uuid()).cloned().unwrap_or_default();
            if rows != wanted {
                return Err(format!(
                    "rows of {family} hold {} events and a fold from nothing {}",
                    rows.events.len(),
                    wanted.events.len()
                ));
            }
        }
        if *self.views.parked() == parked {
            Ok(())
        } else {
            Err(format!("parked are {:?} and should be {parked:?}", self.views.parked()))
        }
    }
}
