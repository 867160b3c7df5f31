//! Points: earned per day, and in all. Effort only; money has no place here.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::NaiveDate;
use domain::{aggregate::LedgerEvent, chore::ChoreEvent, rewards::RewardsEvent};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::projection::{Fact, Projection, ProjectionError};

/// Point buckets of every member, on the leaderboard or not; the view shows those who may be shown.
pub struct Leaderboard;

#[async_trait]
impl Projection for Leaderboard {
    fn name(&self) -> &'static str {
        "leaderboard"
    }

    fn tables(&self) -> &'static [&'static str] {
        &["point_days", "point_totals"]
    }

    async fn project(&self, facts: &[Fact], tx: &mut PgConnection) -> Result<(), ProjectionError> {
        let mut days: BTreeMap<(Uuid, NaiveDate, Uuid, &str), i64> = BTreeMap::new();
        let mut totals: BTreeMap<(Uuid, Uuid), i64> = BTreeMap::new();
        for fact in facts {
            let (member_id, source, points) = match &fact.event {
                LedgerEvent::Chore(ChoreEvent::ChoreApproved(approved)) => {
                    (approved.member_id, "chore", approved.points)
                }
                LedgerEvent::Rewards(RewardsEvent::BadgeAwarded(awarded)) => {
                    (awarded.member_id, "badge", awarded.points)
                }
                _ => continue,
            };
            let (member, points) = (member_id.uuid(), i64::from(points));
            for sum in [
                days.entry((fact.family(), fact.record.effective_on, member, source))
                    .or_default(),
                totals.entry((fact.family(), member)).or_default(),
            ] {
                *sum = sum
                    .checked_add(points)
                    .ok_or(ProjectionError::TooLarge { what: "points" })?;
            }
        }
        add_days(&days, tx).await?;
        add_totals(&totals, tx).await
    }
}

async fn add_days(
    days: &BTreeMap<(Uuid, NaiveDate, Uuid, &str), i64>,
    tx: &mut PgConnection,
) -> Result<(), ProjectionError> {
    if days.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into point_days as d (family_id, earned_on, member_id, source, points)
        select * from unnest($1::uuid[], $2::date[], $3::uuid[], $4::text[], $5::bigint[])
        on conflict (family_id, earned_on, member_id, source) do update
        set points = d.points + excluded.points",
    )
    .bind(days.keys().map(|key| key.0).collect::<Vec<_>>())
    .bind(days.keys().map(|key| key.1).collect::<Vec<_>>())
    .bind(days.keys().map(|key| key.2).collect::<Vec<_>>())
    .bind(days.keys().map(|key| key.3).collect::<Vec<_>>())
    .bind(days.values().copied().collect::<Vec<_>>())
    .execute(tx)
    .await?;
    Ok(())
}

async fn add_totals(totals: &BTreeMap<(Uuid, Uuid), i64>, tx: &mut PgConnection) -> Result<(), ProjectionError> {
    if totals.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into point_totals as t (family_id, member_id, points)
        select * from unnest($1::uuid[], $2::uuid[], $3::bigint[])
        on conflict (family_id, member_id) do update
        set points = t.points + excluded.points",
    )
    .bind(totals.keys().map(|key| key.0).collect::<Vec<_>>())
    .bind(totals.keys().map(|key| key.1).collect::<Vec<_>>())
    .bind(totals.values().copied().collect::<Vec<_>>())
    .execute(tx)
    .await?;
    Ok(())
}
