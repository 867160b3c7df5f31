//! What each category took or brought, per day and month, kept apart by the account it went through: so a child's own
//! spending is a sum of buckets just as the family's is.
//!
//! Every posting to a category counts, so reversals and refunds net out by themselves. A recategorisation names no account;
//! it goes to the account of the entry it moves, found in this batch or among the postings of earlier ones.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use async_trait::async_trait;
use chrono::{Datelike, NaiveDate};
use domain::{
    Currency,
    aggregate::LedgerEvent,
    journal::{Posting, PostingAccount},
};
use rust_decimal::Decimal;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    copy::{Columns, Copies},
    projection::{Fact, Projection, ProjectionError, add},
};

/// Day and month buckets per category and account.
pub struct Spending;

#[async_trait]
impl Projection for Spending {
    fn name(&self) -> &'static str {
        "spending"
    }

    fn tables(&self) -> &'static [&'static str] {
        &["spending_days", "spending_months"]
    }

    fn reads(&self) -> &'static [&'static str] {
        &["entries"]
    }

    async fn project(&self, facts: &[Fact], tx: &mut PgConnection) -> Result<(), ProjectionError> {
        let (days, months) = buckets(facts, tx).await?;
        add_to("spending_days", "effective_on", days, tx).await?;
        add_to("spending_months", "month_on", months, tx).await
    }

    fn copied(&self) -> &'static [&'static str] {
        self.tables()
    }

    async fn project_whole(
        &self,
        facts: &[Fact],
        copies: &mut Copies,
        tx: &mut PgConnection,
    ) -> Result<(), ProjectionError> {
        let (days, months) = buckets(facts, tx).await?;
        for (columns, buckets) in [(DAYS, days), (MONTHS, months)] {
            let mut rows = copies.rows_of(columns);
            for ((family, on, category, account, currency), amount) in buckets {
                rows.id(family)
                    .day(on)
                    .id(category)
                    .id(account)
                    .text(currency.code())
                    .amount(amount)
                    .end();
            }
        }
        Ok(())
    }
}

const DAYS: Columns = Columns {
    table: "spending_days",
    names: "family_id, effective_on, category_id, account_id, currency, amount",
};
const MONTHS: Columns = Columns {
    table: "spending_months",
    names: "family_id, month_on, category_id, account_id, currency, amount",
};

/// Sums per day and per month.
async fn buckets(facts: &[Fact], tx: &mut PgConnection) -> Result<(Buckets, Buckets), ProjectionError> {
    let accounts = accounts_of_entries(facts, tx).await?;
    let mut days: Buckets = BTreeMap::new();
    let mut months: Buckets = BTreeMap::new();
    for fact in facts {
        let LedgerEvent::Entry(event) = &fact.event else {
            continue;
        };
        for posting in event.postings() {
            let PostingAccount::Category(category) = posting.ledger_account else {
                continue;
            };
            let entry = (fact.family(), event.entry_id().uuid());
            let account = accounts
                .get(&entry)
                .ok_or(ProjectionError::Missing { what: "an entry" })?;
            let day = fact.record.effective_on;
            let month = day.with_day(1).unwrap_or(day);
            for (buckets, on) in [(&mut days, day), (&mut months, month)] {
                let key = (fact.family(), on, category.uuid(), *account, posting.money.currency());
                add(
                    buckets.entry(key).or_insert(Decimal::ZERO),
                    posting.money.amount(),
                    "a category",
                )?;
            }
        }
    }
    Ok((days, months))
}

type Buckets = BTreeMap<(Uuid, NaiveDate, Uuid, Uuid, Currency), Decimal>;

fn own_account(postings: &[Posting]) -> Option<Uuid> {
    postings.iter().find_map(|posting| match posting.ledger_account {
        PostingAccount::Account(account) => Some(account.uuid()),
        _ => None,
    })
}

/// The family's own account of every entry in the batch.
async fn accounts_of_entries(
    facts: &[Fact],
    tx: &mut PgConnection,
) -> Result<HashMap<(Uuid, Uuid), Uuid>, ProjectionError> {
    let mut accounts = HashMap::new();
    let mut without = BTreeSet::new();
    for fact in facts {
        let LedgerEvent::Entry(event) = &fact.event else {
            continue;
        };
        let entry = (fact.family(), event.entry_id().uuid());
        match own_account(event.postings()) {
            Some(account) => {
                accounts.insert(entry, account);
            }
            None => {
                without.insert(entry);
            }
        }
    }
    let wanted: Vec<_> = without
        .into_iter()
        .filter(|entry| !accounts.contains_key(entry))
        .collect();
    if wanted.is_empty() {
        return Ok(accounts);
    }
    let rows: Vec<(Uuid, Uuid, String)> = sqlx::query_as(
        "select distinct on (p.family_id, p.entry_id) p.family_id, p.entry_id, p.ledger_account
        from unnest($1::uuid[], $2::uuid[]) as w (family_id, entry_id)
        join entry_postings p on p.family_id = w.family_id and p.entry_id = w.entry_id
        where p.ledger_account like 'acc\\_%'
        order by p.family_id, p.entry_id, p.line",
    )
    .bind(wanted.iter().map(|(family, _)| *family).collect::<Vec<_>>())
    .bind(wanted.iter().map(|(_, entry)| *entry).collect::<Vec<_>>())
    .fetch_all(tx)
    .await?;
    for (family, entry, account) in rows {
        if let Ok(PostingAccount::Account(account)) = account.parse() {
            accounts.insert((family, entry), account.uuid());
        }
    }
    Ok(accounts)
}

async fn add_to(
    table: &'static str,
    date: &'static str,
    buckets: Buckets,
    tx: &mut PgConnection,
) -> Result<(), ProjectionError> {
    if buckets.is_empty() {
        return Ok(());
    }
    // Table and column are ours, from the two calls above; nothing of a request gets here.
    let statement = format!(
        "insert into {table} as s (family_id, {date}, category_id, account_id, currency, amount)
        select * from unnest($1::uuid[], $2::date[], $3::uuid[], $4::uuid[], $5::text[], $6::numeric[])
        on conflict (family_id, {date}, category_id, account_id, currency) do update
        set amount = s.amount + excluded.amount"
    );
    sqlx::query(&statement)
        .bind(buckets.keys().map(|key| key.0).collect::<Vec<_>>())
        .bind(buckets.keys().map(|key| key.1).collect::<Vec<_>>())
        .bind(buckets.keys().map(|key| key.2).collect::<Vec<_>>())
        .bind(buckets.keys().map(|key| key.3).collect::<Vec<_>>())
        .bind(buckets.keys().map(|key| key.4.code().to_owned()).collect::<Vec<_>>())
        .bind(buckets.values().copied().collect::<Vec<_>>())
        .execute(tx)
        .await?;
    Ok(())
}
