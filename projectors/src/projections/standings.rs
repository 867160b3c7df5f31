//! How a member stands in the family, where that is not as usual: gone, or an auditor with a last day.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::{DateTime, NaiveDate, Utc};
use domain::{aggregate::LedgerEvent, family::FamilyEvent};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::projection::{Fact, Projection, ProjectionError};

/// One row per member of whom something is said.
pub struct Standings;

/// What a batch last says of a member; nothing said leaves a column as it is.
#[derive(Default)]
struct Standing {
    has_left: bool,
    term: Option<(NaiveDate, DateTime<Utc>)>,
}

const GONE: Standing = Standing {
    has_left: true,
    term: None,
};

#[async_trait]
impl Projection for Standings {
    fn name(&self) -> &'static str {
        "standings"
    }

    fn tables(&self) -> &'static [&'static str] {
        &["standings"]
    }

    async fn project(&self, facts: &[Fact], tx: &mut PgConnection) -> Result<(), ProjectionError> {
        let mut standings: BTreeMap<(Uuid, Uuid), Standing> = BTreeMap::new();
        for fact in facts {
            let LedgerEvent::Family(event) = &fact.event else {
                continue;
            };
            let (member_id, said) = match event {
                FamilyEvent::MemberLeft(left) => (left.member_id, GONE),
                FamilyEvent::MemberRemoved(removed) => (removed.member_id, GONE),
                FamilyEvent::MemberErased(erased) => (erased.member_id, GONE),
                FamilyEvent::AuditTermSet(term) => (
                    term.member_id,
                    Standing {
                        has_left: false,
                        term: Some((term.until_on, term.ends_at)),
                    },
                ),
                _ => continue,
            };
            let standing = standings.entry((fact.family(), member_id.uuid())).or_default();
            standing.has_left |= said.has_left;
            standing.term = said.term.or(standing.term);
        }
        if standings.is_empty() {
            return Ok(());
        }
        sqlx::query(
            "insert into standings as s (family_id, member_id, has_left, until_on, ends_at)
            select * from unnest($1::uuid[], $2::uuid[], $3::boolean[], $4::date[], $5::timestamptz[])
            on conflict (family_id, member_id) do update
            set has_left = s.has_left or excluded.has_left,
                until_on = coalesce(excluded.until_on, s.until_on),
                ends_at = coalesce(excluded.ends_at, s.ends_at)",
        )
        .bind(standings.keys().map(|(family, _)| *family).collect::<Vec<_>>())
        .bind(standings.keys().map(|(_, member)| *member).collect::<Vec<_>>())
        .bind(standings.values().map(|standing| standing.has_left).collect::<Vec<_>>())
        .bind(
            standings
                .values()
                .map(|standing| standing.term.map(|term| term.0))
                .collect::<Vec<_>>(),
        )
        .bind(
            standings
                .values()
                .map(|standing| standing.term.map(|term| term.1))
                .collect::<Vec<_>>(),
        )
        .execute(tx)
        .await?;
        Ok(())
    }
}
