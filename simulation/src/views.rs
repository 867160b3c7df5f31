//! The views' database, in memory: rows, heads, parked families and a checkpoint that move in one transaction.

use std::collections::{BTreeMap, BTreeSet};

use domain::journal::postings_of;
use event_store::Record;
use projectors::{apply::Head, parking::Poison, projection::Fact};
use rust_decimal::Decimal;
use uuid::Uuid;

use crate::{
    log::{SimLog, event_of},
    sabotage::Sabotage,
};

/// An expense to this payee is one that a projection cannot fold.
pub(crate) const UNFOLDABLE: &str = "nobody can fold this";

/// What is folded of one family: which events, and a read model of them, the sum of every account.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Rows {
    pub(crate) events: Vec<[u8; 32]>,
    pub(crate) balances: BTreeMap<String, Decimal>,
}

impl Rows {
    fn fold(&mut self, fact: &Fact) {
        self.events.push(fact.record.chain_hash);
        for posting in postings_of(&fact.event) {
            let sum = self.balances.entry(posting.ledger_account.to_string()).or_default();
            *sum += posting.money.amount();
        }
    }

    /// What rows have to be: a fold of these records from nothing.
    pub(crate) fn of<'a>(records: impl Iterator<Item = &'a Record>) -> Self {
        let mut rows = Self::default();
        for record in records {
            if let Some(event) = event_of(record) {
                rows.fold(&Fact {
                    record: record.clone(),
                    event,
                });
            }
        }
        rows
    }
}

/// A transaction that is open.
#[derive(Clone)]
struct Transaction {
    to: i64,
    chain_hash: Option<[u8; 32]>,
    folded: Vec<Fact>,
}

/// The database.
#[derive(Clone, Default)]
pub(crate) struct SimViews {
    checkpoint: i64,
    checkpoint_hash: Option<[u8; 32]>,
    rows: BTreeMap<Uuid, Rows>,
    heads: BTreeMap<Uuid, Head>,
    parked: BTreeMap<Uuid, i64>,
    open: BTreeMap<u64, Transaction>,
    /// Who holds the checkpoint's row.
    holder: Option<u64>,
    next_transaction: u64,
    sabotage: Option<Sabotage>,
}

/// What became of an attempt to move the checkpoint.
pub(crate) enum Moved {
    /// Another transaction holds the row.
    Waits,
    /// It was, or it was not.
    Answer(bool),
}

impl SimViews {
    pub(crate) fn new(sabotage: Option<Sabotage>) -> Self {
        Self {
            sabotage,
            ..Self::default()
        }
    }

    pub(crate) fn checkpoint(&self) -> i64 {
        self.checkpoint
    }

    pub(crate) fn rows(&self) -> &BTreeMap<Uuid, Rows> {
        &self.rows
    }

    pub(crate) fn parked(&self) -> &BTreeMap<Uuid, i64> {
        &self.parked
    }

    /// The checkpoint's position, when the log does not hold the record there.
    pub(crate) fn differing(&self, log: &SimLog) -> Option<i64> {
        let ours = log.at(self.checkpoint).map(|record| record.chain_hash);
        let differs = self.checkpoint > 0 && self.checkpoint_hash.is_some() && ours != self.checkpoint_hash;
        differs.then_some(self.checkpoint)
    }

    /// Is a transaction open?
    pub(crate) fn is_busy(&self) -> bool {
        !self.open.is_empty()
    }

    pub(crate) fn begin(&mut self) -> u64 {
        self.next_transaction += 1;
        self.next_transaction
    }

    pub(crate) fn is_open(&self, transaction: u64) -> bool {
        self.open.contains_key(&transaction)
    }

    pub(crate) fn move_checkpoint(
        &mut self,
        transaction: u64,
        (from, to): (i64, i64),
        chain_hash: Option<[u8; 32]>,
        log: &SimLog,
    ) -> Moved {
        let is_dropped = self.sabotage == Some(Sabotage::DropCompareAndSet);
        if self.holder.is_some_and(|holder| holder != transaction) && !is_dropped {
            return Moved::Waits;
        }
        let ignores_log = self.sabotage == Some(Sabotage::DropLogCheck);
        let log_holds = ignores_log || chain_hash.is_none() || log.at(to).map(|record| record.chain_hash) == chain_hash;
        let is_moved = is_dropped || (self.checkpoint == from && log_holds);
        if is_moved {
            self.holder = Some(transaction);
            let folded = Vec::new();
            self.open.insert(transaction, Transaction { to, chain_hash, folded });
            if self.sabotage == Some(Sabotage::CheckpointBeforeRows) {
                self.checkpoint = to;
                self.checkpoint_hash = chain_hash;
            }
        }
        Moved::Answer(is_moved)
    }

    pub(crate) fn families(&self, families: &[Uuid]) -> (BTreeMap<Uuid, Head>, BTreeSet<Uuid>) {
        let heads = families.iter().filter_map(|f| Some((*f, self.heads.get(f)?.clone())));
        let parked = families.iter().copied().filter(|f| self.parked.contains_key(f));
        (heads.collect(), parked.collect())
    }

    /// Writes rows; what is wrong with the events when it cannot.
    pub(crate) fn fold(&mut self, transaction: u64, facts: &[Fact]) -> Result<(), String> {
        let passes_over = self.sabotage == Some(Sabotage::PassOverPoison);
        let is_poison = |fact: &Fact| fact.record.payload.contains(UNFOLDABLE);
        if facts.iter().any(is_poison) && !passes_over {
            return Err("an event is about an account that is not there".to_owned());
        }
        if let Some(open) = self.open.get_mut(&transaction) {
            open.folded
                .extend(facts.iter().filter(|fact| !is_poison(fact)).cloned());
        }
        Ok(())
    }

    /// Commits, and returns the records whose rows are there now.
    pub(crate) fn commit(&mut self, transaction: u64, facts: &[Fact], poisons: &[Poison]) -> Option<Vec<Record>> {
        let done = self.open.remove(&transaction)?;
        self.release(transaction);
        for fact in &done.folded {
            self.rows.entry(fact.family()).or_default().fold(fact);
        }
        for fact in facts {
            let head = Head {
                family_seq: fact.record.family_seq,
                chain_hash: fact.record.chain_hash,
            };
            self.heads.insert(fact.family(), head);
        }
        for poison in poisons {
            self.parked.entry(poison.family_id).or_insert(poison.family_seq);
        }
        self.checkpoint = done.to;
        self.checkpoint_hash = done.chain_hash;
        Some(done.folded.into_iter().map(|fact| fact.record).collect())
    }

    pub(crate) fn roll_back(&mut self, transaction: u64) {
        self.open.remove(&transaction);
        self.release(transaction);
    }

    fn release(&mut self, transaction: u64) {
        if self.holder == Some(transaction) {
            self.holder = None;
        }
    }

    /// Another state of the database takes this one's place. Transactions have names of their own.
    pub(crate) fn restore(&mut self, other: Self) {
        let next_transaction = self.next_transaction;
        *self = Self {
            next_transaction,
            ..other
        };
    }

    /// All connections are gone.
    pub(crate) fn roll_back_all(&mut self) {
        self.open.clear();
        self.holder = None;
    }
}
