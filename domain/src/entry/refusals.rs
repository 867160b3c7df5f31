//! Why an entry declines.

use crate::{MoneyError, refusal::refusals};

refusals! {
    /// Refusals of entry commands.
    EntryRefusal {
        UnknownEntry = Unknown, "unknown-entry", "there is no such entry in this family";
        AlreadyReversed = Rule, "already-reversed", "the entry is reversed already";
        BeforeEntry { day: chrono::NaiveDate } = Rule, "reversal-before-entry", "the entry counts from {day}: it cannot be undone before";
        Settled { day: chrono::NaiveDate } = Forbidden, "entry-settled", "the entry counts for {day}: a teen undoes what is of today or yesterday, and asks an adult to undo what is older";
        NotPositive = Rule, "amount-not-positive", "the amount must be more than nothing";
        SameAccount = Rule, "same-account", "source and destination are the same account";
        SplitsMissing = Rule, "splits-missing", "name a category, or splits that sum to the amount, not both";
        SplitsDoNotSum = Rule, "splits-do-not-sum", "the splits do not sum to the amount";
        SplitsMax { max: usize } = Rule, "splits-max", "an entry has at most {max} splits";
        ReceivedMissing = Rule, "received-missing", "the accounts are in two currencies: say what arrives in 'received'";
        ReceivedNotNeeded = Rule, "received-not-needed", "the accounts are in one currency: leave 'received' out";
        ExchangeByYoung = Rule, "exchange-by-young", "a teen or child moves money in one currency only: a grown-up says what an exchange brings";
        SameCategory = Rule, "same-category", "the entry is in this category already";
        Money { problem: MoneyError } = Rule, "bad-amount", "{problem}";
    }
}
