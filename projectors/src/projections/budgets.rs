//! Every amount a budget was given; the view picks the one that holds for a period.

use async_trait::async_trait;
use domain::{aggregate::LedgerEvent, budget::BudgetEvent};
use sqlx::PgConnection;

use crate::projection::{Fact, Projection, ProjectionError};

/// The history of budget amounts.
pub struct Budgets;

#[async_trait]
impl Projection for Budgets {
    fn name(&self) -> &'static str {
        "budgets"
    }

    fn tables(&self) -> &'static [&'static str] {
        &["budgets"]
    }

    async fn project(&self, facts: &[Fact], tx: &mut PgConnection) -> Result<(), ProjectionError> {
        let (mut families, mut budgets, mut seqs, mut categories) = (vec![], vec![], vec![], vec![]);
        let (mut periods, mut days, mut amounts, mut currencies) = (vec![], vec![], vec![], vec![]);
        for fact in facts {
            let LedgerEvent::Budget(BudgetEvent::BudgetSet(set)) = &fact.event else {
                continue;
            };
            families.push(fact.family());
            budgets.push(set.budget_id.uuid());
            seqs.push(fact.record.family_seq);
            categories.push(set.category_id.uuid());
            periods.push(set.period.as_str());
            days.push(fact.record.effective_on);
            amounts.push(set.amount.amount());
            currencies.push(set.amount.currency().code().to_owned());
        }
        if families.is_empty() {
            return Ok(());
        }
        sqlx::query(
            "insert into budgets
                (family_id, budget_id, family_seq, category_id, period, effective_on, amount, currency)
            select *
            from unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::uuid[], $5::text[], $6::date[], $7::numeric[],
                $8::text[])",
        )
        .bind(families)
        .bind(budgets)
        .bind(seqs)
        .bind(categories)
        .bind(periods)
        .bind(days)
        .bind(amounts)
        .bind(currencies)
        .execute(tx)
        .await?;
        Ok(())
    }
}
