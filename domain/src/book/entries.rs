//! The entries in force: what a balance is made of, reversals taken out and recategorisations put in.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use serde::Serialize;

use crate::{entry::EntryEvent, id::EntryId, journal::Posting};

/// An entry that counts: recorded, and not reversed within the bounds of the book.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EntryInForce {
    /// The entry.
    pub entry_id: EntryId,
    /// The day it counts for.
    pub effective_on: NaiveDate,
    /// The number of the event that recorded it.
    pub family_seq: i64,
    /// Its postings as they now are; debit positive.
    pub postings: Vec<Posting>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct EntriesInForce {
    entries: BTreeMap<EntryId, EntryInForce>,
}

impl EntriesInForce {
    pub(super) fn fold(&mut self, event: &EntryEvent, effective_on: NaiveDate, family_seq: i64) {
        let entry_id = event.entry_id();
        match event {
            EntryEvent::EntryReversed(_) => {
                self.entries.remove(&entry_id);
            }
            EntryEvent::EntryRecategorised(moved) => {
                for posting in self
                    .entries
                    .get_mut(&entry_id)
                    .into_iter()
                    .flat_map(|entry| &mut entry.postings)
                {
                    if posting.ledger_account == moved.from {
                        posting.ledger_account = moved.to;
                    }
                }
            }
            _ => {
                let postings = event.postings().to_vec();
                self.entries.insert(
                    entry_id,
                    EntryInForce {
                        entry_id,
                        effective_on,
                        family_seq,
                        postings,
                    },
                );
            }
        }
    }

    pub(super) fn in_order(&self) -> Vec<&EntryInForce> {
        let mut entries: Vec<&EntryInForce> = self.entries.values().collect();
        entries.sort_by_key(|entry| (entry.effective_on, entry.family_seq));
        entries
    }
}
