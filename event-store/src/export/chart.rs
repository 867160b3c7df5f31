//! The chart of accounts of an export: a name per ledger account that both hledger and beancount accept, and the days and
//! balances their directives need.
//!
//! Names are given in the order of the log, so they do not change when the ledger grows.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;
use domain::{
    Currency, Money,
    aggregate::LedgerEvent,
    book::Book,
    category::{CategoryEvent, CategoryKind},
    journal::{Equity, PostingAccount, postings_of},
    ledger_account::{AccountKind, LedgerAccountEvent},
};

use crate::{
    Record,
    replay::{AsOf, ReplayError, fold},
};

/// One ledger account of an export.
#[derive(Clone, Debug, PartialEq)]
pub struct ChartAccount {
    /// The name in the file: `Assets:Bank:Giro`.
    pub name: String,
    /// What the family calls it.
    pub family_name: String,
    /// Its one currency; none for categories and equity, which take any.
    pub currency: Option<Currency>,
    /// The day it was opened or first posted to, whichever is earlier.
    pub first_on: NaiveDate,
    /// The last day with a posting.
    pub last_posting_on: Option<NaiveDate>,
    /// The day it was closed.
    pub closed_on: Option<NaiveDate>,
}

/// Accounts, currencies and balances of a prefix of the log.
#[derive(Clone, Debug)]
pub struct Chart {
    as_of: AsOf,
    book: Book,
    accounts: BTreeMap<PostingAccount, ChartAccount>,
    taken: BTreeSet<String>,
    last_on: Option<NaiveDate>,
}

impl Chart {
    pub(super) fn new(as_of: AsOf) -> Self {
        let book = as_of.effective_on.map_or_else(Book::new, Book::effective_until);
        Self {
            as_of,
            book,
            accounts: BTreeMap::new(),
            taken: BTreeSet::new(),
            last_on: None,
        }
    }

    pub(super) fn fold(&mut self, record: &Record) -> Result<(), ReplayError> {
        let event = fold(&mut self.book, record)?;
        let day = record.effective_on;
        match &event {
            LedgerEvent::LedgerAccount(LedgerAccountEvent::AccountOpened(opened)) => {
                let root = match opened.kind {
                    AccountKind::Bank => "Assets:Bank",
                    AccountKind::Cash => "Assets:Cash",
                    AccountKind::Card => "Liabilities:Card",
                    AccountKind::Wallet => "Assets:Wallet",
                };
                let at = PostingAccount::Account(opened.account_id);
                self.open(at, root, &opened.name, Some(opened.currency), day);
            }
            LedgerEvent::LedgerAccount(LedgerAccountEvent::AccountClosed(closed)) if self.as_of.counts(day) => {
                if let Some(account) = self.accounts.get_mut(&PostingAccount::Account(closed.account_id)) {
                    account.closed_on = Some(day);
                }
            }
            LedgerEvent::Category(CategoryEvent::CategoryAdded(added)) => {
                let root = match added.kind {
                    CategoryKind::Expense => "Expenses",
                    CategoryKind::Income => "Income",
                };
                self.open(
                    PostingAccount::Category(added.category_id),
                    root,
                    &added.name,
                    None,
                    day,
                );
            }
            _ => {}
        }
        if self.as_of.counts(day) {
            for posting in postings_of(&event) {
                self.posted(posting.ledger_account, day);
            }
        }
        Ok(())
    }

    fn open(&mut self, at: PostingAccount, root: &str, name: &str, currency: Option<Currency>, day: NaiveDate) {
        if self.accounts.contains_key(&at) {
            return;
        }
        let slug = slug(name).unwrap_or_else(|| format!("Unnamed-{}", number_of(at)));
        let mut unique = format!("{root}:{slug}");
        let mut number = 2_u32;
        while !self.taken.insert(unique.clone()) {
            unique = format!("{root}:{slug}-{number}");
            number += 1;
        }
        let account = ChartAccount {
            name: unique,
            family_name: name.to_owned(),
            currency,
            first_on: day,
            last_posting_on: None,
            closed_on: None,
        };
        self.accounts.insert(at, account);
        if self.as_of.counts(day) {
            self.last_on = self.last_on.max(Some(day));
        }
    }

    fn posted(&mut self, at: PostingAccount, day: NaiveDate) {
        match at {
            PostingAccount::Equity(Equity::OpeningBalances) => self.open(at, "Equity", "Opening Balances", None, day),
            PostingAccount::Equity(Equity::TransfersInTransit) => {
                self.open(at, "Equity", "Transfers In Transit", None, day);
            }
            PostingAccount::Equity(Equity::Conversion) => self.open(at, "Equity", "Conversion", None, day),
            // The rules refuse such a posting; should one be in the log, the file still has to show it.
            _ => self.open(at, "Equity:Unknown", "", None, day),
        }
        if let Some(account) = self.accounts.get_mut(&at) {
            account.first_on = account.first_on.min(day);
            account.last_posting_on = account.last_posting_on.max(Some(day));
        }
        self.last_on = self.last_on.max(Some(day));
    }

    /// The name of a ledger account.
    pub fn name(&self, at: PostingAccount) -> &str {
        self.accounts
            .get(&at)
            .map_or("Equity:Unknown", |account| account.name.as_str())
    }

    /// The accounts there are within the bounds, by name.
    pub fn accounts(&self) -> Vec<&ChartAccount> {
        let within = |account: &&ChartAccount| self.as_of.counts(account.first_on);
        let mut accounts: Vec<&ChartAccount> = self.accounts.values().filter(within).collect();
        accounts.sort_by(|a, b| a.name.cmp(&b.name));
        accounts
    }

    /// Every currency in use, by code.
    pub fn currencies(&self) -> BTreeSet<Currency> {
        let posted = self.book.balances().iter().map(|(_, sum)| sum.currency());
        let opened = self.accounts().into_iter().filter_map(|account| account.currency);
        posted.chain(opened).chain(self.book.currency()).collect()
    }

    /// The earliest day anything was open.
    pub fn first_on(&self) -> Option<NaiveDate> {
        self.accounts().into_iter().map(|account| account.first_on).min()
    }

    /// The day after the last that counts: all balances are of the beginning of this day.
    pub fn balanced_on(&self) -> Option<NaiveDate> {
        self.last_on.map(day_after)
    }

    /// Every balance within the bounds, by name and currency; our own numbers.
    pub fn balances(&self) -> Vec<(&ChartAccount, Money)> {
        let rows = self.book.balance_rows().into_iter();
        let mut balances: Vec<(&ChartAccount, Money)> = rows
            .filter_map(|row| {
                self.accounts
                    .get(&row.ledger_account)
                    .map(|account| (account, row.balance))
            })
            .filter(|(account, _)| self.as_of.counts(account.first_on))
            .collect();
        balances.sort_by(|(a, x), (b, y)| (&a.name, x.currency()).cmp(&(&b.name, y.currency())));
        balances
    }

    /// The book behind it.
    pub fn book(&self) -> &Book {
        &self.book
    }
}

/// The next day; the same at the end of time.
pub(super) fn day_after(day: NaiveDate) -> NaiveDate {
    day.succ_opt().unwrap_or(day)
}

fn number_of(at: PostingAccount) -> String {
    let text = at.to_string();
    text.chars()
        .filter(char::is_ascii_hexdigit)
        .rev()
        .take(12)
        .collect::<Vec<_>>()
        .into_iter()
        .rev()
        .collect()
}

/// One component of a beancount account name: a capital letter or digit, then letters, digits and dashes. What is neither
/// becomes a dash. None when nothing is left. Source: beancount's `ACC_COMP_NAME_RE`, `[\p{Lu}\p{Nd}][\p{L}\p{Nd}\-]*`.
fn slug(name: &str) -> Option<String> {
    let mut slug = String::new();
    for character in name.chars() {
        if is_name_character(character) {
            slug.push(character);
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    let slug = slug.trim_end_matches('-');
    let first = slug.chars().next()?;
    if first.is_uppercase() || first.is_ascii_digit() {
        return Some(slug.to_owned());
    }
    let mut capitals = first.to_uppercase();
    match (capitals.next(), capitals.next()) {
        (Some(capital), None) if capital.is_uppercase() && is_name_character(capital) => {
            Some(format!("{capital}{}", &slug[first.len_utf8()..]))
        }
        // Scripts without capitals, and letters whose capital is two.
        _ => Some(format!("A-{slug}")),
    }
}

/// Letters and digits that every Unicode version of the last decade knows as such; blocks that hold other signs too are
/// left out rather than tabulated.
fn is_name_character(character: char) -> bool {
    matches!(character,
        '0'..='9' | 'A'..='Z' | 'a'..='z'
        | '\u{C0}'..='\u{D6}' | '\u{D8}'..='\u{F6}' | '\u{F8}'..='\u{24F}'
        | '\u{391}'..='\u{3A1}' | '\u{3A3}'..='\u{3CE}' | '\u{386}' | '\u{388}'..='\u{38A}' | '\u{38C}' | '\u{38E}'..='\u{390}'
        | '\u{400}'..='\u{481}' | '\u{48A}'..='\u{52F}'
        | '\u{531}'..='\u{556}' | '\u{561}'..='\u{587}'
        | '\u{5D0}'..='\u{5EA}' | '\u{620}'..='\u{64A}'
        | '\u{E01}'..='\u{E30}' | '\u{10D0}'..='\u{10FA}'
        | '\u{3041}'..='\u{3096}' | '\u{30A1}'..='\u{30FA}' | '\u{30FC}'
        | '\u{4E00}'..='\u{9FA5}' | '\u{AC00}'..='\u{D7A3}')
}

#[cfg(test)]
mod tests {
    use super::slug;

    #[test]
    fn a_name_keeps_its_letters_and_digits() {
        assert_eq!(slug("Giro 2").as_deref(), Some("Giro-2"));
        assert_eq!(slug("  \"käse\"; & Öl: ").as_deref(), Some("Käse-Öl"));
        assert_eq!(slug("öl").as_deref(), Some("Öl"));
        assert_eq!(slug("2nd home").as_deref(), Some("2nd-home"));
        assert_eq!(slug("ёлка").as_deref(), Some("Ёлка"));
    }

    #[test]
    fn a_name_without_a_capital_gets_one_in_front() {
        assert_eq!(slug("日本の口座").as_deref(), Some("A-日本の口座"));
        assert_eq!(slug("ßtraße").as_deref(), Some("A-ßtraße"));
    }

    #[test]
    fn a_name_of_signs_alone_is_none() {
        assert_eq!(slug("🍕🍕"), None);
        assert_eq!(slug(" -- "), None);
    }
}
