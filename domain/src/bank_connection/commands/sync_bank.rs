//! A statement's rows come into the ledger, all together or not at all.

use chrono::Days;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    continuity::{continue_with, prove, sum},
    matching::match_rows,
};
use crate::{
    Money,
    bank_connection::{BankConnection, BankConnectionRefusal, BankLedger, BankSynced},
    calendar::FIRST_DAY,
    category::{Category, CategoryAdded, CategoryKind},
    decide::{Context, Decide, Decision, Stop},
    entry::{BankReference, BankTransactionBooked, Entry, EntryRecategorised, OpeningBalanceRecorded, commands::moved},
    id::{AccountId, CategoryId, ConnectionId, EntryId, ImportId, MemberId},
    journal::{Equity, Poster, Posting, PostingAccount, reversed},
    ledger_account::{LedgerAccount, ShareLevel, enough},
    statement::{BankTransaction, Statement},
    statement_import::{ListedEntry, StatementEntriesListed, StatementImport, StatementImported},
    text,
};

/// Most rows of one import. Source: ours; eleven years of a busy card are some 2,000.
pub const ROWS_MAX: usize = 25_000;

/// The category of money out that nobody has named yet.
pub(super) const UNCATEGORISED: &str = "Uncategorised";
/// The category of money in that nobody has named yet.
pub(super) const UNCATEGORISED_INCOME: &str = "Uncategorised income";

/// Entries named in one event.
const ENTRIES_PER_EVENT: usize = 500;

/// A statement's rows come into the ledger.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SyncBank {
    /// The connection the statement came through.
    pub connection_id: ConnectionId,
    /// What the bank said.
    pub statement: Statement,
    /// The kind of source: `ofx`, `camt`, `mt940`, `csv`; references are compared within one kind only.
    #[serde(default)]
    #[schemars(length(max = 40))]
    pub source: String,
    /// SHA-256 of the file, hex; empty when there was none.
    #[serde(default)]
    #[schemars(length(max = 64))]
    pub file_sha256: String,
}

impl Decide for SyncBank {
    const NAME: &'static str = "sync-bank";
    const SUMMARY: &'static str = "Book a statement's new rows, all together or not at all";

    fn decide(&self, context: &Context<'_>) -> Result<Decision, Stop> {
        let connection = context.get::<BankConnection>(self.connection_id.uuid())?;
        let account_id = connection.connected()?.account_id;
        let account = context.get::<LedgerAccount>(account_id.uuid())?;
        let level = account.level_for(context.family()?, context.asking_member()?);
        enough(level, ShareLevel::Full, BankConnectionRefusal::UnknownConnection)?;
        // A statement without a row says something of its account's owner too.
        if let Some(owner) = account.owner() {
            context.family()?.check_consent(owner)?;
        }
        let currency = account.open_currency(account_id)?;
        self.check(context, currency)?;
        prove(&self.statement)?;
        let source = text::cleaned(&self.source, 40);
        let matched = match_rows(context, account_id, &source, &self.statement.rows)?;
        let booked = sum(matched.new.iter().map(|(_, row)| row.amount), Money::zero(currency));
        let account_opening = account.opening_balance(currency);
        let continued = continue_with(
            connection.ledger(),
            &self.statement,
            booked,
            matched.new.len(),
            account_opening,
        )?;

        let import = Import {
            context,
            account_id,
            owner: account.owner(),
            import_id: ImportId::from_uuid(context.new_id(0)),
            source,
        };
        let mut decision = Decision::default();
        let mut poster = Poster::default();
        let mut entries = Vec::new();
        let mut ledger_after = connection.ledger().cloned();
        if let Some(continued) = continued {
            let mut ledger = continued.ledger;
            if continued.opening_changes {
                let standing = connection.ledger().and_then(|before| before.opening_entry);
                ledger.opening_entry =
                    import.replace_opening(&mut decision, &mut poster, standing, &ledger, account_opening)?;
                entries.extend(ledger.opening_entry.map(|entry_id| ListedEntry::Booked { entry_id }));
            }
            ledger_after = Some(ledger);
        }
        let rows: Vec<&BankTransaction> = matched
            .new
            .iter()
            .map(|(_, row)| *row)
            .chain(matched.named.iter().map(|(_, row, _)| *row))
            .collect();
        let mut places = import.categories(&mut decision, &rows)?.into_iter();
        for ((entry_id, row), place) in matched.new.iter().zip(places.by_ref()) {
            import.book(&mut decision, &mut poster, *entry_id, row, place)?;
            entries.push(ListedEntry::Booked { entry_id: *entry_id });
        }
        for ((entry_id, _, from), to) in matched.named.iter().zip(places) {
            let (entry_id, from) = (*entry_id, *from);
            if import.recategorise(&mut decision, &mut poster, entry_id, from, to)? {
                entries.push(ListedEntry::Categorised { entry_id, from, to });
            }
        }
        let started = StatementImported {
            import_id: import.import_id,
            connection_id: self.connection_id,
            source: import.source.clone(),
            file_sha256: self
                .file_sha256
                .chars()
                .filter(char::is_ascii_hexdigit)
                .take(64)
                .collect(),
            ledger_before: connection.ledger().cloned(),
            ledger_after: ledger_after.clone(),
        };
        let today = context.today()?;
        let stream = import.import_id.uuid();
        decision.record::<StatementImport>(stream, started.into(), today);
        for some in entries.chunks(ENTRIES_PER_EVENT) {
            let listed = StatementEntriesListed {
                import_id: import.import_id,
                entries: some.to_vec(),
            };
            decision.record::<StatementImport>(stream, listed.into(), today);
        }
        let synced = BankSynced {
            connection_id: self.connection_id,
            account_id,
            import_id: import.import_id,
            rows: self.statement.rows.len() as u32,
            rows_booked: matched.new.len() as u32,
            rows_known: matched.known,
            rows_categorised: matched.named.len() as u32,
            rows_zero: matched.zero,
            booked,
            ledger: ledger_after,
        };
        decision.record::<BankConnection>(self.connection_id.uuid(), synced.into(), today);
        Ok(decision)
    }
}

impl SyncBank {
    /// Bounds, one currency, days a ledger keeps.
    fn check(&self, context: &Context<'_>, currency: crate::Currency) -> Result<(), Stop> {
        let statement = &self.statement;
        if statement.rows.len() > ROWS_MAX {
            return Err(BankConnectionRefusal::RowsMax { max: ROWS_MAX }.into());
        }
        let balances = [statement.opening, statement.closing].into_iter().flatten();
        let mut all = statement
            .rows
            .iter()
            .map(|row| row.amount)
            .chain(balances)
            .map(|money| money.currency());
        if let Some(other) = std::iter::once(statement.currency)
            .chain(&mut all)
            .find(|other| *other != currency)
        {
            return Err(BankConnectionRefusal::OtherCurrency {
                account: currency,
                statement: other,
            }
            .into());
        }
        let last_day = context.today()? + Days::new(366);
        for (row, day) in (1..).zip(statement.rows.iter().map(|row| row.booked_on)) {
            if day < FIRST_DAY || day > last_day {
                return Err(BankConnectionRefusal::RowOutOfRange { row, day }.into());
            }
        }
        Ok(())
    }
}

/// One import in the making.
struct Import<'c, 'a> {
    context: &'c Context<'a>,
    account_id: AccountId,
    owner: Option<MemberId>,
    import_id: ImportId,
    source: String,
}

impl Import<'_, '_> {
    /// Takes the standing opening entry back and records what the opening balance now is, beyond what the account was opened with.
    fn replace_opening(
        &self,
        decision: &mut Decision,
        poster: &mut Poster,
        standing: Option<EntryId>,
        ledger: &BankLedger,
        account_opening: Money,
    ) -> Result<Option<EntryId>, Stop> {
        if let Some(entry_id) = standing {
            let entry = self.context.get::<Entry>(entry_id.uuid())?;
            if let (true, Some(day)) = (entry.is_in_force(), entry.effective_on()) {
                let reason = "an earlier statement arrived".to_owned();
                let reversal = crate::entry::EntryReversed {
                    entry_id,
                    postings: reversed(entry.postings()),
                    reason,
                };
                poster.post(self.context, decision, entry_id, reversal, day)?;
            }
        }
        record_opening(self.context, decision, poster, self.account_id, ledger, account_opening)
    }

    /// Where the other side of each row goes: the category the file names, or the uncategorised one of its direction.
    fn categories(&self, decision: &mut Decision, rows: &[&BankTransaction]) -> Result<Vec<PostingAccount>, Stop> {
        let family = self.context.meta().family_id;
        let today = self.context.today()?;
        let wanted: Vec<CounterAccount> = rows.iter().map(|row| CounterAccount::of(row)).collect();
        let both = |name: &str| {
            [CategoryKind::Expense, CategoryKind::Income].map(|kind| CategoryId::of_name(family, kind, name))
        };
        let ids = wanted
            .iter()
            .filter_map(CounterAccount::name)
            .flat_map(both)
            .map(CategoryId::uuid);
        let ids: std::collections::BTreeSet<_> = ids.collect();
        self.context.get_all::<Category>(ids)?;
        let mut added = std::collections::BTreeSet::new();
        let mut places = Vec::with_capacity(rows.len());
        for counter in wanted {
            let (name, kind, may_be_other) = match counter {
                CounterAccount::Equity(equity) => {
                    places.push(PostingAccount::Equity(equity));
                    continue;
                }
                CounterAccount::Category {
                    name,
                    kind,
                    may_be_other,
                } => (name, kind, may_be_other),
            };
            let id = CategoryId::of_name(family, kind, &name);
            let other_kind = if kind == CategoryKind::Expense {
                CategoryKind::Income
            } else {
                CategoryKind::Expense
            };
            let other = CategoryId::of_name(family, other_kind, &name);
            let exists = |id: CategoryId| -> Result<bool, Stop> {
                Ok(added.contains(&id) || self.context.get::<Category>(id.uuid())?.exists())
            };
            let place = if exists(id)? {
                id
            } else if may_be_other && exists(other)? {
                other
            } else {
                let event = CategoryAdded {
                    category_id: id,
                    name,
                    kind,
                };
                decision.record::<Category>(id.uuid(), event.into(), today);
                added.insert(id);
                id
            };
            places.push(PostingAccount::Category(place));
        }
        Ok(places)
    }

    /// The file names what an entry of an earlier file was for. Is that anything new?
    fn recategorise(
        &self,
        decision: &mut Decision,
        poster: &mut Poster,
        entry_id: EntryId,
        from: PostingAccount,
        to: PostingAccount,
    ) -> Result<bool, Stop> {
        let entry = self.context.get::<Entry>(entry_id.uuid())?;
        let Some(day) = entry.effective_on().filter(|_| from != to) else {
            return Ok(false);
        };
        let recategorised = EntryRecategorised {
            entry_id,
            from,
            to,
            postings: moved(entry.postings(), from, to)?,
        };
        poster.post(self.context, decision, entry_id, recategorised, day)?;
        Ok(true)
    }

    fn book(
        &self,
        decision: &mut Decision,
        poster: &mut Poster,
        entry_id: EntryId,
        row: &BankTransaction,
        counter: PostingAccount,
    ) -> Result<(), Stop> {
        let booked = BankTransactionBooked {
            entry_id,
            account_id: self.account_id,
            owner: self.owner,
            import_id: self.import_id,
            booked_on: row.booked_on,
            value_on: row.value_on,
            amount: row.amount,
            postings: vec![
                Posting::account(self.account_id, row.amount),
                Posting {
                    ledger_account: counter,
                    money: row.amount.negated(),
                },
            ],
            counterparty: text::cleaned(&row.counterparty, 200),
            remittance: text::cleaned(&row.remittance, text::NOTE_CHARS_MAX),
            reference: row.reference.as_deref().map(|reference| BankReference {
                source: self.source.clone(),
                reference: reference.chars().take(255).collect(),
            }),
        };
        poster.post(self.context, decision, entry_id, booked, row.booked_on)
    }
}

/// Records what the bank's opening balance has beyond what the account was opened with; no entry when that is nothing.
pub(crate) fn record_opening(
    context: &Context<'_>,
    decision: &mut Decision,
    poster: &mut Poster,
    account_id: AccountId,
    ledger: &BankLedger,
    account_opening: Money,
) -> Result<Option<EntryId>, Stop> {
    let missing = ledger
        .opening
        .checked_add(&account_opening.negated())
        .unwrap_or(ledger.opening);
    if missing.is_zero() {
        return Ok(None);
    }
    let entry_id = EntryId::from_uuid(context.new_id(1));
    let postings = vec![
        Posting::account(account_id, missing),
        Posting::equity(Equity::OpeningBalances, missing.negated()),
    ];
    let recorded = OpeningBalanceRecorded {
        entry_id,
        effective_on: ledger.first_on,
        postings,
    };
    poster.post(context, decision, entry_id, recorded, ledger.first_on)?;
    Ok(Some(entry_id))
}

/// Where the other side of a bank row belongs.
enum CounterAccount {
    Equity(Equity),
    Category {
        name: String,
        kind: CategoryKind,
        may_be_other: bool,
    },
}

impl CounterAccount {
    /// By the file's category. Plain-text accounting names say what they are (`Expenses:…`, `Income:…`, `Assets:…`); of any other
    /// name the row's direction decides, unless the family has a category of that name already.
    fn of(row: &BankTransaction) -> Self {
        let by_direction = if row.amount.is_negative() {
            CategoryKind::Expense
        } else {
            CategoryKind::Income
        };
        let named = row
            .category
            .as_deref()
            .map(|name| text::cleaned(name, text::NAME_CHARS_MAX))
            .filter(|name| !name.is_empty());
        let Some(name) = named else {
            let name = match by_direction {
                CategoryKind::Expense => UNCATEGORISED,
                CategoryKind::Income => UNCATEGORISED_INCOME,
            };
            return Self::Category {
                name: name.to_owned(),
                kind: by_direction,
                may_be_other: false,
            };
        };
        let root = name.split(':').next().unwrap_or_default().to_lowercase();
        let is_path = name.contains(':');
        match root.as_str() {
            "expenses" | "expense" if is_path => Self::Category {
                name,
                kind: CategoryKind::Expense,
                may_be_other: false,
            },
            "income" | "revenues" if is_path => Self::Category {
                name,
                kind: CategoryKind::Income,
                may_be_other: false,
            },
            "assets" | "liabilities" if is_path => Self::Equity(Equity::TransfersInTransit),
            "equity" if is_path => Self::Equity(Equity::OpeningBalances),
            _ => Self::Category {
                name,
                kind: by_direction,
                may_be_other: true,
            },
        }
    }

    fn name(&self) -> Option<&str> {
        match self {
            Self::Equity(_) => None,
            Self::Category { name, .. } => Some(name),
        }
    }
}

#[cfg(test)]
#[path = "sync_bank_tests.rs"]
mod tests;
