//! What was posted to each ledger account per day it counts for: own accounts, categories and equity alike.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::NaiveDate;
use domain::{
    Currency,
    journal::{PostingAccount, postings_of},
};
use rust_decimal::Decimal;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    copy::{Columns, Copies},
    projection::{Fact, Projection, ProjectionError, add},
};

/// Day buckets of every ledger account. A back-dated event touches its own day only.
pub struct AccountDays;

#[async_trait]
impl Projection for AccountDays {
    fn name(&self) -> &'static str {
        "account_days"
    }

    fn tables(&self) -> &'static [&'static str] {
        &["account_days"]
    }

    async fn project(&self, facts: &[Fact], tx: &mut PgConnection) -> Result<(), ProjectionError> {
        let days = sums(facts)?;
        if days.is_empty() {
            return Ok(());
        }
        let (mut families, mut accounts, mut currencies, mut on, mut amounts) =
            (vec![], vec![], vec![], vec![], vec![]);
        for ((family, account, currency, day), amount) in days {
            families.push(family);
            accounts.push(account.to_string());
            currencies.push(currency.code().to_owned());
            on.push(day);
            amounts.push(amount);
        }
        sqlx::query(
            "insert into account_days as d (family_id, ledger_account, currency, effective_on, amount)
            select * from unnest($1::uuid[], $2::text[], $3::text[], $4::date[], $5::numeric[])
            on conflict (family_id, ledger_account, currency, effective_on)
            do update set amount = d.amount + excluded.amount",
        )
        .bind(families)
        .bind(accounts)
        .bind(currencies)
        .bind(on)
        .bind(amounts)
        .execute(tx)
        .await?;
        Ok(())
    }

    fn copied(&self) -> &'static [&'static str] {
        &["account_days"]
    }

    async fn project_whole(
        &self,
        facts: &[Fact],
        copies: &mut Copies,
        _: &mut PgConnection,
    ) -> Result<(), ProjectionError> {
        let mut rows = copies.rows_of(COLUMNS);
        for ((family, account, currency, day), amount) in sums(facts)? {
            rows.id(family)
                .printed(account)
                .text(currency.code())
                .day(day)
                .amount(amount)
                .end();
        }
        Ok(())
    }
}

const COLUMNS: Columns = Columns {
    table: "account_days",
    names: "family_id, ledger_account, currency, effective_on, amount",
};

type Days = BTreeMap<(Uuid, PostingAccount, Currency, NaiveDate), Decimal>;

fn sums(facts: &[Fact]) -> Result<Days, ProjectionError> {
    let mut days = Days::new();
    for fact in facts {
        for posting in postings_of(&fact.event) {
            let currency = posting.money.currency();
            let key = (
                fact.family(),
                posting.ledger_account,
                currency,
                fact.record.effective_on,
            );
            add(
                days.entry(key).or_insert(Decimal::ZERO),
                posting.money.amount(),
                "a day",
            )?;
        }
    }
    Ok(days)
}
