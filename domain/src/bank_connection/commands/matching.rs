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

use super::sync_bank::{UNCATEGORISED, UNCATEGORISED_INCOME};
use crate::{
    Money,
    category::CategoryKind,
    decide::{Context, Stop},
    entry::{BankReference, Entry},
    id::{AccountId, CategoryId, EntryId},
    journal::PostingAccount,
    statement::BankTransaction,
};

/// What is to become of a statement's rows.
pub(super) struct Matched<'a> {
    /// Rows to be booked, in the file's order, with their entry ids.
    pub new: Vec<(EntryId, &'a BankTransaction)>,
    /// How many the ledger has already.
    pub known: u32,
    /// Known rows of which the file names a category and the ledger none: entry, row, and where the entry is now.
    pub named: Vec<(EntryId, &'a BankTransaction, PostingAccount)>,
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
        groups
            .entry((row.booked_on, row.amount.amount()))
            .or_default()
            .push(index);
    }
    let uncategorised = uncategorised(context);
    let mut matched = Matched {
        new: Vec::new(),
        named: Vec::new(),
        known: 0,
        zero: rows.iter().filter(|row| row.amount.is_zero()).count() as u32,
    };
    let mut new: Vec<(usize, EntryId)> = Vec::new();
    let mut missing = Vec::new();
    for ((booked_on, _), indexes) in &groups {
        let amount = rows[indexes[0]].amount;
        match existing(context, account_id, *booked_on, &amount, indexes.len()) {
            Ok((mut standing, occurrences)) => {
                let (known, unknown) = pair(rows, indexes, source, &mut standing);
                matched.known += known.len() as u32;
                for (index, entry) in known {
                    let place = entry.places.into_iter().find(|place| uncategorised.contains(place));
                    let is_named = rows[index]
                        .category
                        .as_deref()
                        .is_some_and(|name| !name.trim().is_empty());
                    if let (Some(place), true) = (place, is_named) {
                        matched.named.push((entry.entry_id, &rows[index], place));
                    }
                }
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
    matched.new = new
        .into_iter()
        .map(|(index, entry_id)| (entry_id, &rows[index]))
        .collect();
    Ok(matched)
}

/// The categories of rows that nobody has named yet.
fn uncategorised(context: &Context<'_>) -> [PostingAccount; 2] {
    [
        (CategoryKind::Expense, UNCATEGORISED),
        (CategoryKind::Income, UNCATEGORISED_INCOME),
    ]
    .map(|(kind, name)| PostingAccount::Category(CategoryId::of_name(context.meta().family_id, kind, name)))
}

/// An entry that stands for a row of one day and amount.
struct Standing {
    entry_id: EntryId,
    reference: Option<BankReference>,
    places: Vec<PostingAccount>,
}

/// The entries that stand for rows of this day and amount, and how many numbers are used up.
fn existing(
    context: &Context<'_>,
    account_id: AccountId,
    booked_on: NaiveDate,
    amount: &Money,
    rows: usize,
) -> Result<(Vec<Standing>, u32), Stop> {
    let mut standing = Vec::new();
    let mut occurrence = 0;
    let step = rows as u32 + 1;
    loop {
        let ids: Vec<EntryId> = (occurrence + 1..=occurrence + step)
            .map(|n| EntryId::of_bank_row(account_id, booked_on, amount, n))
            .collect();
        let entries = context.get_all::<Entry>(ids.iter().map(|id| id.uuid()))?;
        for (entry_id, entry) in ids.into_iter().zip(entries) {
            if !entry.exists() {
                return Ok((standing, occurrence));
            }
            occurrence += 1;
            if entry.is_in_force() {
                let reference = entry.bank_row().and_then(|row| row.reference.clone());
                let places = entry.postings().iter().map(|posting| posting.ledger_account).collect();
                standing.push(Standing {
                    entry_id,
                    reference,
                    places,
                });
            }
        }
    }
}

/// Pairs rows with the entries that stand for them; gives the pairs, and the rows that no entry accounts for.
fn pair(
    rows: &[BankTransaction],
    indexes: &[usize],
    source: &str,
    standing: &mut Vec<Standing>,
) -> (Vec<(usize, Standing)>, Vec<usize>) {
    let mut known = Vec::new();
    let mut left = Vec::new();
    for index in indexes {
        let is_same = |entry: &Standing| match (&entry.reference, rows[*index].reference.as_deref()) {
            (Some(known), Some(reference)) => known.source == source && known.reference == reference,
            _ => false,
        };
        match standing.iter().position(is_same) {
            Some(found) => known.push((*index, standing.swap_remove(found))),
            None => left.push(*index),
        }
    }
    let mut unknown = Vec::new();
    for index in left {
        let has_reference = rows[index].reference.is_some();
        let cannot_compare = |entry: &Standing| match &entry.reference {
            Some(known) => !has_reference || known.source != source,
            None => true,
        };
        match standing.iter().position(cannot_compare) {
            Some(found) => known.push((index, standing.swap_remove(found))),
            None => unknown.push(index),
        }
    }
    (known, unknown)
}
