//! The family's own accounts with what is booked in them, future days included.

use std::collections::BTreeMap;

use async_trait::async_trait;
use domain::{
    aggregate::LedgerEvent,
    journal::{PostingAccount, postings_of},
    ledger_account::LedgerAccountEvent,
};
use rust_decimal::Decimal;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::projection::{Fact, Projection, ProjectionError, add, reached};

/// Accounts and their booked balances; money in is positive.
pub struct Accounts;

#[async_trait]
impl Projection for Accounts {
    fn name(&self) -> &'static str {
        "accounts"
    }

    fn tables(&self) -> &'static [&'static str] {
        &["accounts"]
    }

    async fn project(&self, facts: &[Fact], tx: &mut PgConnection) -> Result<(), ProjectionError> {
        open(facts, tx).await?;
        move_balances(facts, tx).await?;
        close(facts, tx).await
    }
}

async fn open(facts: &[Fact], tx: &mut PgConnection) -> Result<(), ProjectionError> {
    let (mut families, mut ids, mut names, mut kinds) = (vec![], vec![], vec![], vec![]);
    let (mut currencies, mut owners, mut days) = (vec![], vec![], vec![]);
    for fact in facts {
        if let LedgerEvent::LedgerAccount(LedgerAccountEvent::AccountOpened(opened)) = &fact.event {
            families.push(fact.family());
            ids.push(opened.account_id.uuid());
            names.push(opened.name.as_str());
            kinds.push(opened.kind.as_str());
            currencies.push(opened.currency.code());
            owners.push(opened.owner.map(|owner| owner.uuid()));
            days.push(fact.record.effective_on);
        }
    }
    if families.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into accounts
            (family_id, account_id, name, kind, currency, owner_id, opened_on, is_closed, balance)
        select *, false, 0
        from unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::uuid[], $7::date[])",
    )
    .bind(families)
    .bind(ids)
    .bind(names)
    .bind(kinds)
    .bind(currencies)
    .bind(owners)
    .bind(days)
    .execute(tx)
    .await?;
    Ok(())
}

async fn move_balances(facts: &[Fact], tx: &mut PgConnection) -> Result<(), ProjectionError> {
    let mut changes: BTreeMap<(Uuid, Uuid), Decimal> = BTreeMap::new();
    for fact in facts {
        for posting in postings_of(&fact.event) {
            if let PostingAccount::Account(account_id) = posting.ledger_account {
                let sum = changes
                    .entry((fact.family(), account_id.uuid()))
                    .or_insert(Decimal::ZERO);
                add(sum, posting.money.amount(), "a balance")?;
            }
        }
    }
    if changes.is_empty() {
        return Ok(());
    }
    let (mut families, mut ids, mut amounts) = (vec![], vec![], vec![]);
    for ((family, id), amount) in changes {
        families.push(family);
        ids.push(id);
        amounts.push(amount);
    }
    let wanted = ids.len();
    let done = sqlx::query(
        "update accounts a
        set balance = a.balance + c.change
        from unnest($1::uuid[], $2::uuid[], $3::numeric[]) as c (family_id, account_id, change)
        where a.family_id = c.family_id
            and a.account_id = c.account_id",
    )
    .bind(families)
    .bind(ids)
    .bind(amounts)
    .execute(tx)
    .await?;
    reached(&done, wanted, "an account")
}

async fn close(facts: &[Fact], tx: &mut PgConnection) -> Result<(), ProjectionError> {
    let (mut families, mut ids) = (vec![], vec![]);
    for fact in facts {
        if let LedgerEvent::LedgerAccount(LedgerAccountEvent::AccountClosed(closed)) = &fact.event {
            families.push(fact.family());
            ids.push(closed.account_id.uuid());
        }
    }
    if families.is_empty() {
        return Ok(());
    }
    let wanted = ids.len();
    let done = sqlx::query(
        "update accounts a
        set is_closed = true
        from unnest($1::uuid[], $2::uuid[]) as c (family_id, account_id)
        where a.family_id = c.family_id
            and a.account_id = c.account_id",
    )
    .bind(families)
    .bind(ids)
    .execute(tx)
    .await?;
    reached(&done, wanted, "an account")
}
