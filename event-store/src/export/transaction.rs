//! An entry event as a journal's transaction, before it is written in anybody's syntax.

use domain::{
    aggregate::LedgerEvent,
    entry::EntryEvent,
    id::EntryId,
    journal::{Posting, PostingAccount},
};

/// One transaction. Reversals and recategorisations are transactions of their own, as they are in our log.
pub(super) struct Transaction<'a> {
    /// The entry it belongs to.
    pub(super) entry_id: EntryId,
    /// The event's name.
    pub(super) event_type: &'static str,
    /// Who was paid or who paid; empty when nobody was named.
    pub(super) payee: &'a str,
    /// What it was for.
    pub(super) narration: String,
    /// Balanced, debit positive; one line per account and sign is not forced.
    pub(super) postings: &'a [Posting],
}

impl<'a> Transaction<'a> {
    /// None for events that move no money.
    pub(super) fn of(event: &'a LedgerEvent) -> Option<Self> {
        let LedgerEvent::Entry(event) = event else { return None };
        let (payee, narration) = match event {
            EntryEvent::ExpenseAdded(added) => (added.payee.as_str(), added.note.clone()),
            EntryEvent::IncomeAdded(added) => (added.payee.as_str(), added.note.clone()),
            EntryEvent::TransferMade(made) => (
                "",
                or(&made.note, transfer_words(&made.postings, made.chore_id.is_some())),
            ),
            EntryEvent::OpeningBalanceRecorded(_) => ("", "Opening balance".to_owned()),
            EntryEvent::BankTransactionBooked(booked) => (booked.counterparty.as_str(), booked.remittance.clone()),
            EntryEvent::EntryReversed(reversed) => ("", with_reason("Reversal", &reversed.reason)),
            EntryEvent::EntryRecategorised(_) => ("", "Recategorisation".to_owned()),
        };
        Some(Self {
            entry_id: event.entry_id(),
            event_type: event.kind().0,
            payee,
            narration,
            postings: event.postings(),
        })
    }
}

fn transfer_words(postings: &[Posting], is_reward: bool) -> &'static str {
    let exchanges = |posting: &Posting| matches!(posting.ledger_account, PostingAccount::Equity(_));
    match (is_reward, postings.iter().any(exchanges)) {
        (true, _) => "Reward",
        (false, true) => "Exchange",
        (false, false) => "Transfer",
    }
}

fn or(text: &str, otherwise: &str) -> String {
    if text.trim().is_empty() {
        otherwise.to_owned()
    } else {
        text.to_owned()
    }
}

fn with_reason(words: &str, reason: &str) -> String {
    if reason.trim().is_empty() {
        words.to_owned()
    } else {
        format!("{words}: {reason}")
    }
}
