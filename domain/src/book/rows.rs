//! The book as rows: what a statement as of some moment prints. Every list is ordered by id, so that the same history gives
//! the same bytes.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use serde::Serialize;

use crate::{
    Currency, Money, MoneyError,
    actor::Role,
    bank_connection::{BankConnection, BankLedger},
    budget::BudgetSet,
    calendar::{Period, WeekStart},
    category::{CategoryAdded, CategoryKind},
    chore::{Chore, ChoreStatus},
    family::Member,
    id::{AccountId, BudgetId, CategoryId, ChoreId, ConnectionId, ImportId, MemberId},
    journal::{Equity, PostingAccount},
    ledger_account::AccountKind,
};

use super::{Account, Book, Import};

/// Everything a book says, as rows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BookRows {
    /// The family's settings; none before it was created.
    pub family: Option<FamilyRow>,
    /// Balances of the family's accounts (all of them), of categories and equity (those ever posted to).
    pub balances: Vec<BalanceRow>,
    /// The sum of all balances per currency: nothing, in each.
    pub trial_balance: Vec<Money>,
    /// How many entries there are.
    pub entries: EntryCounts,
    /// Accounts.
    pub accounts: Vec<AccountRow>,
    /// Categories.
    pub categories: Vec<CategoryRow>,
    /// Members, with what they have earned.
    pub members: Vec<MemberRow>,
    /// Budgets; one of zero has been ended.
    pub budgets: Vec<BudgetRow>,
    /// Chores.
    pub chores: Vec<ChoreRow>,
    /// Bank connections.
    pub bank_connections: Vec<ConnectionRow>,
    /// Statement imports.
    pub imports: Vec<ImportRow>,
}

/// The family's settings.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FamilyRow {
    /// What it calls itself.
    pub name: String,
    /// The currency of its reports.
    pub currency: Currency,
    /// IANA zone.
    pub zone: String,
    /// Where its weeks begin.
    pub week_start: WeekStart,
}

/// One balance.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BalanceRow {
    /// `acc_…`, `cat_…` or an equity account.
    pub ledger_account: PostingAccount,
    /// What the family calls it.
    pub name: String,
    /// `bank`, `cash`, `card`, `wallet`, `expense`, `income` or `equity`; `unknown` for what was never opened.
    pub kind: &'static str,
    /// Debit positive: money in an account, money spent in an expense category; income and equity are negative.
    pub balance: Money,
}

/// How many entry events counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct EntryCounts {
    /// Entries recorded.
    pub recorded: u64,
    /// Of these, reversed.
    pub reversed: u64,
    /// Moves between categories.
    pub recategorised: u64,
}

/// One account.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AccountRow {
    /// Which.
    pub account_id: AccountId,
    /// What the family calls it.
    pub name: String,
    /// What sort.
    pub kind: AccountKind,
    /// Its currency.
    pub currency: Currency,
    /// The member whose own it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<MemberId>,
    /// The day it was closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub closed_on: Option<NaiveDate>,
}

/// One category.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CategoryRow {
    /// Which.
    pub category_id: CategoryId,
    /// What the family calls it.
    pub name: String,
    /// Income or expense.
    pub kind: CategoryKind,
}

/// One member.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MemberRow {
    /// Which.
    pub member_id: MemberId,
    /// The name shown in the family.
    pub display_name: String,
    /// What the member may do.
    pub role: Role,
    /// Shown on the leaderboard?
    pub on_leaderboard: bool,
    /// Has somebody taken the place?
    pub has_joined: bool,
    /// Wallets by currency.
    pub wallets: BTreeMap<Currency, AccountId>,
    /// Points from chores and badges.
    pub points: u64,
    /// Badges in the order they were awarded.
    pub badges: Vec<String>,
}

/// One budget.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BudgetRow {
    /// Which.
    pub budget_id: BudgetId,
    /// Its category.
    pub category_id: CategoryId,
    /// Week or month.
    pub period: Period,
    /// The amount per period.
    pub amount: Money,
    /// It holds from the period of this day on.
    pub since: NaiveDate,
}

/// One chore.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ChoreRow {
    /// Which.
    pub chore_id: ChoreId,
    /// What is to be done.
    pub title: String,
    /// `offered`, `claimed`, `completed` or `approved`.
    pub status: &'static str,
    /// Points it earns.
    pub points: u32,
    /// Money it earns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reward: Option<Money>,
    /// Who is at it, or did it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claimed_by: Option<MemberId>,
    /// The day it should be done by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due_on: Option<NaiveDate>,
}

/// One bank connection.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ConnectionRow {
    /// Which.
    pub connection_id: ConnectionId,
    /// The account it feeds.
    pub account_id: AccountId,
    /// The provider.
    pub provider: String,
    /// The bank's name.
    pub institution: String,
    /// What the statements add up to.
    pub ledger: Option<BankLedger>,
}

/// One statement import.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ImportRow {
    /// Which.
    pub import_id: ImportId,
    /// The connection it came through.
    pub connection_id: Option<ConnectionId>,
    /// The kind of source.
    pub source: String,
    /// SHA-256 of the file, hex; empty when there was none.
    pub file_sha256: String,
    /// Entries it brought.
    pub entries: usize,
    /// Taken back?
    pub is_undone: bool,
}

impl Book {
    /// The whole book as rows.
    ///
    /// # Errors
    /// [`MoneyError`] when the trial balance cannot be held.
    pub fn rows(&self) -> Result<BookRows, MoneyError> {
        Ok(BookRows {
            family: self.created.as_ref().map(|created| FamilyRow {
                name: created.name.clone(),
                currency: created.currency,
                zone: created.zone.clone(),
                week_start: created.week_start,
            }),
            balances: self.balance_rows(),
            trial_balance: self.balances.trial()?,
            entries: self.counts,
            accounts: self.account_rows(),
            categories: self.category_rows(),
            members: self.member_rows(),
            budgets: self.budget_rows(),
            chores: self
                .chores
                .iter()
                .filter_map(|(id, chore)| chore_row(*id, chore))
                .collect(),
            bank_connections: self.connection_rows(),
            imports: self.import_rows(),
        })
    }

    /// Balances as rows. An open account is there before its first posting.
    pub fn balance_rows(&self) -> Vec<BalanceRow> {
        let mut balances: BTreeMap<(PostingAccount, Currency), Money> = BTreeMap::new();
        for (id, account) in &self.accounts {
            let currency = account.opened.currency;
            balances.insert((PostingAccount::Account(*id), currency), Money::zero(currency));
        }
        balances.extend(self.balances.iter().map(|(at, sum)| ((at, sum.currency()), sum)));
        let row = |((ledger_account, _), balance)| {
            let (name, kind) = self.name_and_kind(ledger_account);
            BalanceRow {
                ledger_account,
                name,
                kind,
                balance,
            }
        };
        balances.into_iter().map(row).collect()
    }

    fn name_and_kind(&self, ledger_account: PostingAccount) -> (String, &'static str) {
        let found = match ledger_account {
            PostingAccount::Account(id) => self
                .accounts
                .get(&id)
                .map(|account| (account.opened.name.clone(), account.opened.kind.as_str())),
            PostingAccount::Category(id) => self
                .categories
                .get(&id)
                .map(|category| (category.name.clone(), category.kind.as_str())),
            PostingAccount::Equity(equity) => Some((equity_name(equity).to_owned(), "equity")),
        };
        found.unwrap_or_else(|| (String::new(), "unknown"))
    }

    fn account_rows(&self) -> Vec<AccountRow> {
        let row = |(account_id, account): (&AccountId, &Account)| AccountRow {
            account_id: *account_id,
            name: account.opened.name.clone(),
            kind: account.opened.kind,
            currency: account.opened.currency,
            owner: account.opened.owner,
            closed_on: account.closed_on,
        };
        self.accounts.iter().map(row).collect()
    }

    fn category_rows(&self) -> Vec<CategoryRow> {
        let row = |(id, category): (&CategoryId, &CategoryAdded)| CategoryRow {
            category_id: *id,
            name: category.name.clone(),
            kind: category.kind,
        };
        self.categories.iter().map(row).collect()
    }

    fn member_rows(&self) -> Vec<MemberRow> {
        let row = |member: &Member| {
            let earned = self.earned.get(&member.member_id).cloned().unwrap_or_default();
            MemberRow {
                member_id: member.member_id,
                display_name: member.display_name.clone(),
                role: member.role,
                on_leaderboard: member.on_leaderboard,
                has_joined: member.user_id.is_some(),
                wallets: member.wallets.clone(),
                points: earned.points,
                badges: earned.badges,
            }
        };
        self.family.members().map(row).collect()
    }

    fn budget_rows(&self) -> Vec<BudgetRow> {
        let row = |(since, set): &(NaiveDate, BudgetSet)| BudgetRow {
            budget_id: set.budget_id,
            category_id: set.category_id,
            period: set.period,
            amount: set.amount,
            since: *since,
        };
        self.budgets.values().map(row).collect()
    }

    fn connection_rows(&self) -> Vec<ConnectionRow> {
        let row = |(id, connection): (&ConnectionId, &BankConnection)| {
            let connected = connection.connected().ok()?;
            Some(ConnectionRow {
                connection_id: *id,
                account_id: connected.account_id,
                provider: connected.provider.clone(),
                institution: connected.institution.clone(),
                ledger: connection.ledger().cloned(),
            })
        };
        self.connections.iter().filter_map(row).collect()
    }

    fn import_rows(&self) -> Vec<ImportRow> {
        let row = |(id, import): (&ImportId, &Import)| ImportRow {
            import_id: *id,
            connection_id: import.connection_id,
            source: import.source.clone(),
            file_sha256: import.file_sha256.clone(),
            entries: import.entries,
            is_undone: import.is_undone,
        };
        self.imports.iter().map(row).collect()
    }
}

fn equity_name(equity: Equity) -> &'static str {
    match equity {
        Equity::OpeningBalances => "Opening Balances",
        Equity::TransfersInTransit => "Transfers In Transit",
        Equity::Conversion => "Conversion",
    }
}

fn chore_row(chore_id: ChoreId, chore: &Chore) -> Option<ChoreRow> {
    let offer = chore.offer().ok()?;
    let status = match chore.status() {
        ChoreStatus::Unknown => return None,
        ChoreStatus::Offered => "offered",
        ChoreStatus::Claimed => "claimed",
        ChoreStatus::Completed => "completed",
        ChoreStatus::Approved => "approved",
    };
    Some(ChoreRow {
        chore_id,
        title: offer.title.clone(),
        status,
        points: offer.points,
        reward: offer.reward.as_ref().map(|reward| reward.money),
        claimed_by: chore.claimed_by(),
        due_on: offer.due_on,
    })
}
