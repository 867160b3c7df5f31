//! What a family is called, and its calendar and currency.

use async_trait::async_trait;
use domain::{aggregate::LedgerEvent, calendar::WeekStart, family::FamilyEvent};
use sqlx::PgConnection;

use crate::projection::{Fact, Projection, ProjectionError};

/// Family settings.
pub struct Families;

#[async_trait]
impl Projection for Families {
    fn name(&self) -> &'static str {
        "families"
    }

    fn tables(&self) -> &'static [&'static str] {
        &["families"]
    }

    async fn project(&self, facts: &[Fact], tx: &mut PgConnection) -> Result<(), ProjectionError> {
        let (mut families, mut names, mut currencies) = (vec![], vec![], vec![]);
        let (mut zones, mut week_starts, mut at) = (vec![], vec![], vec![]);
        for fact in facts {
            let LedgerEvent::Family(FamilyEvent::FamilyCreated(created)) = &fact.event else {
                continue;
            };
            families.push(fact.family());
            names.push(created.name.as_str());
            currencies.push(created.currency.code());
            zones.push(created.zone.as_str());
            week_starts.push(match created.week_start {
                WeekStart::Monday => "monday",
                WeekStart::Saturday => "saturday",
                WeekStart::Sunday => "sunday",
            });
            at.push(fact.record.recorded_at);
        }
        if families.is_empty() {
            return Ok(());
        }
        sqlx::query(
            "insert into families (family_id, name, currency, zone, week_start, created_at)
            select * from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[])",
        )
        .bind(families)
        .bind(names)
        .bind(currencies)
        .bind(zones)
        .bind(week_starts)
        .bind(at)
        .execute(tx)
        .await?;
        Ok(())
    }
}
