//! Badges, each once awarded.

use async_trait::async_trait;
use domain::{aggregate::LedgerEvent, rewards::RewardsEvent};
use sqlx::PgConnection;

use crate::projection::{Fact, Projection, ProjectionError};

/// Who holds which badge, and what for.
pub struct Badges;

#[async_trait]
impl Projection for Badges {
    fn name(&self) -> &'static str {
        "badges"
    }

    fn tables(&self) -> &'static [&'static str] {
        &["badges"]
    }

    async fn project(&self, facts: &[Fact], tx: &mut PgConnection) -> Result<(), ProjectionError> {
        let (mut families, mut awards, mut seqs, mut members) = (vec![], vec![], vec![], vec![]);
        let (mut badges, mut reasons, mut points, mut at) = (vec![], vec![], vec![], vec![]);
        for fact in facts {
            if let LedgerEvent::Rewards(RewardsEvent::BadgeAwarded(awarded)) = &fact.event {
                families.push(fact.family());
                awards.push(awarded.award_id.uuid());
                seqs.push(fact.record.family_seq);
                members.push(awarded.member_id.uuid());
                badges.push(awarded.badge.as_str());
                reasons.push(awarded.reason.as_str());
                points.push(i64::from(awarded.points));
                at.push(fact.record.recorded_at);
            }
        }
        if families.is_empty() {
            return Ok(());
        }
        sqlx::query(
            "insert into badges
                (family_id, award_id, family_seq, member_id, badge, reason, points, awarded_at)
            select *
            from unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::uuid[], $5::text[], $6::text[], $7::bigint[],
                $8::timestamptz[])",
        )
        .bind(families)
        .bind(awards)
        .bind(seqs)
        .bind(members)
        .bind(badges)
        .bind(reasons)
        .bind(points)
        .bind(at)
        .execute(tx)
        .await?;
        Ok(())
    }
}
