//! Journal entries as a family reads them, with their postings as they stand now.
//!
//! A recategorised entry shows its new category; a reversed one keeps its lines and is marked. Within a batch, an entry that
//! is recorded and then changed is written once, in its last form.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
};

use async_trait::async_trait;
use chrono::{DateTime, NaiveDate, Utc};
use domain::{
    Money,
    aggregate::LedgerEvent,
    entry::EntryEvent,
    journal::{Posting, PostingAccount},
};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    copy::{Columns, Copies},
    projection::{Fact, Projection, ProjectionError, reached},
};

/// Entries and their lines.
pub struct Entries;

#[async_trait]
impl Projection for Entries {
    fn name(&self) -> &'static str {
        "entries"
    }

    fn tables(&self) -> &'static [&'static str] {
        &["entries", "entry_postings"]
    }

    async fn project(&self, facts: &[Fact], tx: &mut PgConnection) -> Result<(), ProjectionError> {
        let folded = Folded::of(facts)?;
        insert_entries(&folded.added, tx).await?;
        insert_postings(&folded.added, tx).await?;
        recategorise(folded.moved, tx).await?;
        reverse(folded.reversed, tx).await
    }

    fn copied(&self) -> &'static [&'static str] {
        self.tables()
    }

    async fn project_whole(
        &self,
        facts: &[Fact],
        copies: &mut Copies,
        _: &mut PgConnection,
    ) -> Result<(), ProjectionError> {
        let folded = Folded::of(facts)?;
        // In a whole history every change is about an entry recorded before.
        if !folded.reversed.is_empty() || !folded.moved.is_empty() {
            return Err(ProjectionError::Missing { what: "an entry" });
        }
        let mut rows = copies.rows_of(ENTRIES);
        for ((family, entry), row) in &folded.added {
            rows.id(*family)
                .id(*entry)
                .day(row.effective_on)
                .instant(row.recorded_at)
                .number(row.family_seq);
            rows.text(row.kind)
                .amount(row.amount.amount())
                .text(row.amount.currency().code());
            rows.text(row.payee).text(row.note).text(&row.search());
            rows.maybe_id(row.entered_by)
                .maybe_id(row.import_id)
                .maybe_id(row.chore_id);
            rows.flag(row.reversal.is_some())
                .text(row.reversal.map_or("", |(_, reason)| reason))
                .maybe_day(row.reversal.map(|(day, _)| day))
                .end();
        }
        let mut rows = copies.rows_of(POSTINGS);
        for ((family, entry), row) in &folded.added {
            for (line, posting) in (1_i16..).zip(row.postings.iter()) {
                rows.id(*family)
                    .id(*entry)
                    .small_number(line)
                    .printed(posting.ledger_account);
                rows.amount(posting.money.amount())
                    .text(posting.money.currency().code());
                rows.day(row.effective_on).number(row.family_seq).end();
            }
        }
        Ok(())
    }
}

const ENTRIES: Columns = Columns {
    table: "entries",
    names: "family_id, entry_id, effective_on, recorded_at, family_seq, kind, amount, currency, payee, note, search, \
        entered_by, import_id, chore_id, is_reversed, reversal_reason, reversed_on",
};
const POSTINGS: Columns = Columns {
    table: "entry_postings",
    names: "family_id, entry_id, line, ledger_account, amount, currency, effective_on, family_seq",
};

/// An entry of this batch, in its last form.
struct Row<'a> {
    recorded_at: DateTime<Utc>,
    family_seq: i64,
    kind: &'static str,
    effective_on: NaiveDate,
    amount: Money,
    payee: &'a str,
    note: &'a str,
    entered_by: Option<Uuid>,
    import_id: Option<Uuid>,
    chore_id: Option<Uuid>,
    reversal: Option<(NaiveDate, &'a str)>,
    postings: Cow<'a, [Posting]>,
}

type Key = (Uuid, Uuid);

#[derive(Default)]
struct Folded<'a> {
    added: BTreeMap<Key, Row<'a>>,
    /// Of entries of earlier batches: where each category's lines end up.
    moved: BTreeMap<Key, HashMap<PostingAccount, PostingAccount>>,
    /// Of entries of earlier batches: the day it counts for, and why.
    reversed: BTreeMap<Key, (NaiveDate, &'a str)>,
}

impl<'a> Folded<'a> {
    fn of(facts: &'a [Fact]) -> Result<Self, ProjectionError> {
        let mut folded = Self::default();
        for fact in facts {
            if let LedgerEvent::Entry(event) = &fact.event {
                folded.fold(fact, event)?;
            }
        }
        Ok(folded)
    }

    fn fold(&mut self, fact: &'a Fact, event: &'a EntryEvent) -> Result<(), ProjectionError> {
        let key = (fact.family(), event.entry_id().uuid());
        match event {
            EntryEvent::EntryReversed(reversed) => {
                let reversal = (fact.record.effective_on, reversed.reason.as_str());
                match self.added.get_mut(&key) {
                    Some(row) => row.reversal = Some(reversal),
                    None => {
                        self.reversed.insert(key, reversal);
                    }
                }
            }
            EntryEvent::EntryRecategorised(moved) => {
                let (from, to) = (moved.from, moved.to);
                match self.added.get_mut(&key) {
                    Some(row) => {
                        row.postings
                            .to_mut()
                            .iter_mut()
                            .filter(|p| p.ledger_account == from)
                            .for_each(|p| p.ledger_account = to);
                    }
                    None => {
                        let places = self.moved.entry(key).or_default();
                        places
                            .values_mut()
                            .filter(|place| **place == from)
                            .for_each(|place| *place = to);
                        places.entry(from).or_insert(to);
                    }
                }
            }
            _ => {
                let row = Row::recorded(fact, event).ok_or(ProjectionError::Missing { what: "an account" })?;
                self.added.insert(key, row);
            }
        }
        Ok(())
    }
}

impl<'a> Row<'a> {
    /// The row of an event that records an entry; none when it names no account of the family's own.
    fn recorded(fact: &'a Fact, event: &'a EntryEvent) -> Option<Self> {
        let own = || {
            let is_own = |p: &&Posting| matches!(p.ledger_account, PostingAccount::Account(_));
            event.postings().iter().find(is_own).map(|posting| posting.money)
        };
        let mut row = Row {
            recorded_at: fact.record.recorded_at,
            family_seq: fact.record.family_seq,
            kind: "",
            effective_on: fact.record.effective_on,
            amount: own()?,
            payee: "",
            note: "",
            entered_by: None,
            import_id: None,
            chore_id: None,
            reversal: None,
            postings: Cow::Borrowed(event.postings()),
        };
        match event {
            EntryEvent::ExpenseAdded(added) => {
                row.kind = "expense";
                (row.payee, row.note) = (&added.payee, &added.note);
                row.entered_by = added.entered_by.map(|member| member.uuid());
            }
            EntryEvent::IncomeAdded(added) => {
                row.kind = "income";
                (row.payee, row.note) = (&added.payee, &added.note);
                row.entered_by = added.entered_by.map(|member| member.uuid());
            }
            EntryEvent::TransferMade(made) => {
                row.kind = "transfer";
                row.note = &made.note;
                row.entered_by = made.entered_by.map(|member| member.uuid());
                row.chore_id = made.chore_id.map(|chore| chore.uuid());
                // What left the source: a transfer is neither earned nor spent, so its amount has no sign to show.
                row.amount = if row.amount.is_negative() {
                    row.amount.negated()
                } else {
                    row.amount
                };
            }
            EntryEvent::OpeningBalanceRecorded(_) => row.kind = "opening",
            EntryEvent::BankTransactionBooked(booked) => {
                row.kind = "bank";
                (row.payee, row.note) = (&booked.counterparty, &booked.remittance);
                row.amount = booked.amount;
                row.import_id = Some(booked.import_id.uuid());
            }
            EntryEvent::EntryReversed(_) | EntryEvent::EntryRecategorised(_) => return None,
        }
        Some(row)
    }
}

impl Row<'_> {
    /// What the text filter looks through.
    fn search(&self) -> String {
        format!("{} {}", self.payee, self.note).to_lowercase()
    }
}

async fn insert_entries(added: &BTreeMap<Key, Row<'_>>, tx: &mut PgConnection) -> Result<(), ProjectionError> {
    if added.is_empty() {
        return Ok(());
    }
    let rows = || added.values();
    sqlx::query(
        "insert into entries
            (family_id, entry_id, effective_on, recorded_at, family_seq, kind, amount, currency, payee, note, search,
            entered_by, import_id, chore_id, is_reversed, reversal_reason, reversed_on)
        select *
        from unnest($1::uuid[], $2::uuid[], $3::date[], $4::timestamptz[], $5::bigint[], $6::text[], $7::numeric[],
            $8::text[], $9::text[], $10::text[], $11::text[], $12::uuid[], $13::uuid[], $14::uuid[], $15::boolean[],
            $16::text[], $17::date[])",
    )
    .bind(added.keys().map(|(family, _)| *family).collect::<Vec<_>>())
    .bind(added.keys().map(|(_, entry)| *entry).collect::<Vec<_>>())
    .bind(rows().map(|row| row.effective_on).collect::<Vec<_>>())
    .bind(rows().map(|row| row.recorded_at).collect::<Vec<_>>())
    .bind(rows().map(|row| row.family_seq).collect::<Vec<_>>())
    .bind(rows().map(|row| row.kind).collect::<Vec<_>>())
    .bind(rows().map(|row| row.amount.amount()).collect::<Vec<_>>())
    .bind(
        rows()
            .map(|row| row.amount.currency().code().to_owned())
            .collect::<Vec<_>>(),
    )
    .bind(rows().map(|row| row.payee).collect::<Vec<_>>())
    .bind(rows().map(|row| row.note).collect::<Vec<_>>())
    .bind(rows().map(Row::search).collect::<Vec<_>>())
    .bind(rows().map(|row| row.entered_by).collect::<Vec<_>>())
    .bind(rows().map(|row| row.import_id).collect::<Vec<_>>())
    .bind(rows().map(|row| row.chore_id).collect::<Vec<_>>())
    .bind(rows().map(|row| row.reversal.is_some()).collect::<Vec<_>>())
    .bind(
        rows()
            .map(|row| row.reversal.map_or("", |(_, reason)| reason))
            .collect::<Vec<_>>(),
    )
    .bind(rows().map(|row| row.reversal.map(|(day, _)| day)).collect::<Vec<_>>())
    .execute(tx)
    .await?;
    Ok(())
}

async fn insert_postings(added: &BTreeMap<Key, Row<'_>>, tx: &mut PgConnection) -> Result<(), ProjectionError> {
    let (mut families, mut entries, mut numbers, mut accounts) = (vec![], vec![], vec![], vec![]);
    let (mut amounts, mut currencies, mut days, mut seqs) = (vec![], vec![], vec![], vec![]);
    for ((family, entry), row) in added {
        for (number, posting) in (1_i16..).zip(row.postings.iter()) {
            families.push(*family);
            entries.push(*entry);
            numbers.push(number);
            accounts.push(posting.ledger_account.to_string());
            amounts.push(posting.money.amount());
            currencies.push(posting.money.currency().code().to_owned());
            days.push(row.effective_on);
            seqs.push(row.family_seq);
        }
    }
    if families.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into entry_postings
            (family_id, entry_id, line, ledger_account, amount, currency, effective_on, family_seq)
        select *
        from unnest($1::uuid[], $2::uuid[], $3::smallint[], $4::text[], $5::numeric[], $6::text[], $7::date[],
            $8::bigint[])",
    )
    .bind(families)
    .bind(entries)
    .bind(numbers)
    .bind(accounts)
    .bind(amounts)
    .bind(currencies)
    .bind(days)
    .bind(seqs)
    .execute(tx)
    .await?;
    Ok(())
}

async fn recategorise(
    moved: BTreeMap<Key, HashMap<PostingAccount, PostingAccount>>,
    tx: &mut PgConnection,
) -> Result<(), ProjectionError> {
    let (mut families, mut entries, mut from, mut to) = (vec![], vec![], vec![], vec![]);
    for ((family, entry), places) in moved {
        for (place, now) in places {
            families.push(family);
            entries.push(entry);
            from.push(place.to_string());
            to.push(now.to_string());
        }
    }
    if families.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "update entry_postings p
        set ledger_account = m.now
        from unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[]) as m (family_id, entry_id, place, now)
        where p.family_id = m.family_id
            and p.entry_id = m.entry_id
            and p.ledger_account = m.place",
    )
    .bind(families)
    .bind(entries)
    .bind(from)
    .bind(to)
    .execute(tx)
    .await?;
    Ok(())
}

async fn reverse(reversed: BTreeMap<Key, (NaiveDate, &str)>, tx: &mut PgConnection) -> Result<(), ProjectionError> {
    if reversed.is_empty() {
        return Ok(());
    }
    let wanted = reversed.len();
    let done = sqlx::query(
        "update entries e
        set is_reversed = true,
            reversal_reason = r.reason,
            reversed_on = r.reversed_on
        from unnest($1::uuid[], $2::uuid[], $3::text[], $4::date[]) as r (family_id, entry_id, reason, reversed_on)
        where e.family_id = r.family_id
            and e.entry_id = r.entry_id",
    )
    .bind(reversed.keys().map(|(family, _)| *family).collect::<Vec<_>>())
    .bind(reversed.keys().map(|(_, entry)| *entry).collect::<Vec<_>>())
    .bind(reversed.values().map(|(_, reason)| *reason).collect::<Vec<_>>())
    .bind(reversed.values().map(|(day, _)| *day).collect::<Vec<_>>())
    .execute(tx)
    .await?;
    reached(&done, wanted, "an entry")
}
