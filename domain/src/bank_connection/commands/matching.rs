//! Which rows of a statement the ledger has already.
//!
//! The nth bank row of one amount on one day in one account always has the same entry id, so whether rows are known is found
//! by looking at those few streams, whatever the length of the history. Two equal rows in one file are two payments: they are
//! numbers 1 and 2. A row is known when
//! 1. an entry of its day and amount carries the same reference from the same kind of source, or
//! 2. such an entry is left over whose reference cannot be compared with the row's (none, or from another kind of source).
//!
//! So the same file twice adds nothing, overlapping files add what is new, and the same days as OFX and as CSV meet.
//! An entry that was reversed (by hand or by `undo-import`) no longer stands for its row: importing again books it anew.

use std::collections::BTreeMap;

use chrono::NaiveDate;

use crate::{
    Money,
    decide::{Context, Stop},
    entry::{BankReference, Entry},
    id::{AccountId, EntryId},
    statement::BankTransaction,
};

/// What is to become of a statement's rows.
pub(super) struct Matched<'a> {
    /// Rows to be booked, in the file's order, with their entry ids.
    pub new: Vec<(EntryId, &'a BankTransaction)>,
    /// How many the ledger has already.
    pub known: u32,
    /// How many are over nothing.
    pub zero: u32,
}

/// Finds the rows that are new.
pub(super) fn match_rows<'a>(
    context: &Context<'_>,
    account_id: AccountId,
    source: &str,
    rows: &'a [BankTransaction],
) -> Result<Matched<'a>, Stop> {
    let mut groups: BTreeMap<(NaiveDate, rust_decimal::Decimal), Vec<usize>> = BTreeMap::new();
    for (index, row) in rows.iter().enumerate().filter(|(_, row)| !row.amount.is_zero()) {
        groups.entry((row.booked_on, row.amount.amount())).or_default().push(index);
    }
    let mut matched = Matched { new: Vec::new(), known: 0, zero: rows.iter().filter(|row| row.amount.is_zero()).count() as u32 };
    let mut new: Vec<(usize, EntryId)> = Vec::new();
    let mut missing = Vec::new();
    for ((booked_on, _), indexes) in &groups {
        let amount = rows[indexes[0]].amount;
        match existing(context, account_id, *booked_on, &amount, indexes.len()) {
            Ok((mut standing, occurrences)) => {
                let unknown = unmatched(rows, indexes, source, &mut standing);
                matched.known += (indexes.len() - unknown.len()) as u32;
                for (occurrence, index) in (occurrences + 1..).zip(unknown) {
                    new.push((index, EntryId::of_bank_row(account_id, *booked_on, &amount, occurrence)));
                }
            }
            Err(Stop::Load(streams)) => missing.extend(streams),
            Err(refused) => return Err(refused),
        }
    }
    if !missing.is_empty() {
        return Err(Stop::Load(missing));
    }
    new.sort_unstable_by_key(|(index, _)| *index);
    matched.new = new.into_iter().map(|(index, entry_id)| (entry_id, &rows[index])).collect();
    Ok(matched)
}

/// The references of the entries that stand for rows of this day and amount, and how many numbers are used up.
fn existing(
    context: &Context<'_>,
    account_id: AccountId,
    booked_on: NaiveDate,
    amount: &Money,
    rows: usize,
) -> Result<(Vec<Option<BankReference>>, u32), Stop> {
    let mut standing = Vec::new();
    let mut occurrence = 0;
    let step = rows as u32 + 1;
    loop {
        let ids = (occurrence + 1..=occurrence + step).map(|n| EntryId::of_bank_row(account_id, booked_on, amount, n).uuid());
        for entry in context.get_all::<Entry>(ids)? {
            if !entry.exists() {
                return Ok((standing, occurrence));
            }
            occurrence += 1;
            if entry.is_in_force() {
                standing.push(entry.bank_row().and_then(|row| row.reference.clone()));
            }
        }
    }
}

/// The rows among `indexes` that no standing entry accounts for.
fn unmatched(
    rows: &[BankTransaction],
    indexes: &[usize],
    source: &str,
    standing: &mut Vec<Option<BankReference>>,
) -> Vec<usize> {
    let is_same = |entry: &Option<BankReference>, reference: &str| {
        entry.as_ref().is_some_and(|known| known.source == source && known.reference == reference)
    };
    let after_references: Vec<usize> = indexes
        .iter()
        .copied()
        .filter(|index| {
            let Some(reference) = rows[*index].reference.as_deref() else { return true };
            let found = standing.iter().position(|entry| is_same(entry, reference));
            if let Some(found) = found {
                standing.swap_remove(found);
            }
            found.is_none()
        })
        .collect();
    after_references
        .into_iter()
        .filter(|index| {
            let has_reference = rows[*index].reference.is_some();
            let cannot_compare = |entry: &Option<BankReference>| match entry {
                Some(known) => !has_reference || known.source != source,
                None => true,
            };
            let found = standing.iter().position(cannot_compare);
            if let Some(found) = found {
                standing.swap_remove(found);
            }
            found.is_none()
        })
        .collect()
}
