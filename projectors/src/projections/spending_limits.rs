//! What teens and children may spend by themselves, and what of their spending counts for it, day by day.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::NaiveDate;
use domain::{
    Currency, Money,
    aggregate::LedgerEvent,
    spending::{SpendingEvent, SpendingLimit},
};
use rust_decimal::Decimal;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::projection::{Fact, Projection, ProjectionError, add};

/// One row per member with a limit, and one per member, currency and day that something counted on.
pub struct SpendingLimits;

#[async_trait]
impl Projection for SpendingLimits {
    fn name(&self) -> &'static str {
        "spending_limits"
    }

    fn tables(&self) -> &'static [&'static str] {
        &["spending_limit_days", "spending_limits"]
    }

    async fn project(&self, facts: &[Fact], tx: &mut PgConnection) -> Result<(), ProjectionError> {
        limits(facts, tx).await?;
        days(facts, tx).await
    }
}

/// The last that a batch says of each member's limit.
async fn limits(facts: &[Fact], tx: &mut PgConnection) -> Result<(), ProjectionError> {
    let mut last: BTreeMap<(Uuid, Uuid), Option<&SpendingLimit>> = BTreeMap::new();
    for fact in facts {
        match &fact.event {
            LedgerEvent::Spending(SpendingEvent::SpendingLimitSet(set)) => {
                last.insert((fact.family(), set.member_id.uuid()), Some(&set.limit));
            }
            LedgerEvent::Spending(SpendingEvent::SpendingLimitRemoved(removed)) => {
                last.insert((fact.family(), removed.member_id.uuid()), None);
            }
            _ => {}
        }
    }
    if last.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "delete from spending_limits l
        using unnest($1::uuid[], $2::uuid[]) as said (family_id, member_id)
        where l.family_id = said.family_id
            and l.member_id = said.member_id",
    )
    .bind(last.keys().map(|(family, _)| *family).collect::<Vec<_>>())
    .bind(last.keys().map(|(_, member)| *member).collect::<Vec<_>>())
    .execute(&mut *tx)
    .await?;
    let set: Vec<(Uuid, Uuid, &SpendingLimit)> = last
        .into_iter()
        .filter_map(|((family, member), limit)| Some((family, member, limit?)))
        .collect();
    let each = |of: fn(&SpendingLimit) -> Option<Money>| -> Vec<Option<Decimal>> {
        let said = set.iter().map(|(_, _, limit)| of(limit));
        said.map(|money| money.map(|money| money.amount())).collect()
    };
    sqlx::query(
        "insert into spending_limits (family_id, member_id, currency, per_entry, per_day, per_week, per_month)
        select *
        from unnest($1::uuid[], $2::uuid[], $3::text[], $4::numeric[], $5::numeric[], $6::numeric[], $7::numeric[])",
    )
    .bind(set.iter().map(|(family, _, _)| *family).collect::<Vec<_>>())
    .bind(set.iter().map(|(_, member, _)| *member).collect::<Vec<_>>())
    .bind(
        set.iter()
            .map(|(_, _, limit)| limit.currency.code().to_owned())
            .collect::<Vec<_>>(),
    )
    .bind(each(|limit| limit.per_entry))
    .bind(each(|limit| limit.per_day))
    .bind(each(|limit| limit.per_week))
    .bind(each(|limit| limit.per_month))
    .execute(tx)
    .await?;
    Ok(())
}

async fn days(facts: &[Fact], tx: &mut PgConnection) -> Result<(), ProjectionError> {
    let mut sums: BTreeMap<(Uuid, Uuid, Currency, NaiveDate), Decimal> = BTreeMap::new();
    for fact in facts {
        let (member_id, spent_on, money) = match &fact.event {
            LedgerEvent::Spending(SpendingEvent::SpendingCounted(counted)) => {
                (counted.member_id, counted.spent_on, counted.money)
            }
            LedgerEvent::Spending(SpendingEvent::SpendingGivenBack(back)) => {
                (back.member_id, back.spent_on, back.money.negated())
            }
            _ => continue,
        };
        let key = (fact.family(), member_id.uuid(), money.currency(), spent_on);
        add(sums.entry(key).or_default(), money.amount(), "spending")?;
    }
    if sums.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into spending_limit_days as d (family_id, member_id, currency, spent_on, amount)
        select * from unnest($1::uuid[], $2::uuid[], $3::text[], $4::date[], $5::numeric[])
        on conflict (family_id, member_id, currency, spent_on)
        do update set amount = d.amount + excluded.amount",
    )
    .bind(sums.keys().map(|(family, ..)| *family).collect::<Vec<_>>())
    .bind(sums.keys().map(|(_, member, ..)| *member).collect::<Vec<_>>())
    .bind(
        sums.keys()
            .map(|(_, _, currency, _)| currency.code().to_owned())
            .collect::<Vec<_>>(),
    )
    .bind(sums.keys().map(|(.., day)| *day).collect::<Vec<_>>())
    .bind(sums.values().copied().collect::<Vec<_>>())
    .execute(tx)
    .await?;
    Ok(())
}
