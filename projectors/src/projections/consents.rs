//! A parent's consent: under which rules a family is, and what is known of each member's.

use std::collections::BTreeMap;

use async_trait::async_trait;
use domain::{aggregate::LedgerEvent, family::FamilyEvent, id::MemberId};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::projection::{Fact, Projection, ProjectionError};

/// One row per family that has said its country, and one per member of whom something is known.
pub struct Consents;

/// What a batch last says of a family's rules; nothing said leaves a column as it is.
#[derive(Default)]
struct Rules {
    country: Option<(String, i16)>,
    notice_version: Option<i64>,
}

/// What a batch last says of a member.
#[derive(Default)]
struct Known {
    youngest: Option<i16>,
    notice_version: Option<i64>,
    is_revoked: Option<bool>,
}

#[async_trait]
impl Projection for Consents {
    fn name(&self) -> &'static str {
        "consents"
    }

    fn tables(&self) -> &'static [&'static str] {
        &["consent_rules", "consents"]
    }

    async fn project(&self, facts: &[Fact], tx: &mut PgConnection) -> Result<(), ProjectionError> {
        let mut rules: BTreeMap<Uuid, Rules> = BTreeMap::new();
        let mut known: BTreeMap<(Uuid, Uuid), Known> = BTreeMap::new();
        for fact in facts {
            let LedgerEvent::Family(event) = &fact.event else {
                continue;
            };
            let key = |member_id: MemberId| (fact.family(), member_id.uuid());
            match event {
                FamilyEvent::CountrySet(set) => {
                    rules.entry(fact.family()).or_default().country =
                        Some((set.country.clone(), set.consent_age.into()));
                }
                FamilyEvent::NoticeChanged(changed) => {
                    rules.entry(fact.family()).or_default().notice_version = Some(changed.notice_version.into());
                }
                FamilyEvent::AgeBandSet(set) => {
                    known.entry(key(set.member_id)).or_default().youngest = Some(set.band.youngest().into());
                }
                FamilyEvent::ConsentGiven(given) => {
                    let known = known.entry(key(given.member_id)).or_default();
                    (known.notice_version, known.is_revoked) = (Some(given.notice_version.into()), Some(false));
                }
                FamilyEvent::ConsentRevoked(revoked) => {
                    known.entry(key(revoked.member_id)).or_default().is_revoked = Some(true);
                }
                _ => {}
            }
        }
        say_rules(&rules, tx).await?;
        say_known(&known, tx).await
    }
}

async fn say_rules(rules: &BTreeMap<Uuid, Rules>, tx: &mut PgConnection) -> Result<(), ProjectionError> {
    for (family, said) in rules {
        if let Some((country, age)) = &said.country {
            // A family begins with the first notice.
            sqlx::query(
                "insert into consent_rules (family_id, country, age, notice_version)
                values ($1, $2, $3, 1)
                on conflict (family_id) do update
                set country = excluded.country, age = excluded.age",
            )
            .bind(family)
            .bind(country)
            .bind(age)
            .execute(&mut *tx)
            .await?;
        }
        if let Some(notice_version) = said.notice_version {
            sqlx::query("update consent_rules set notice_version = $2 where family_id = $1")
                .bind(family)
                .bind(notice_version)
                .execute(&mut *tx)
                .await?;
        }
    }
    Ok(())
}

async fn say_known(known: &BTreeMap<(Uuid, Uuid), Known>, tx: &mut PgConnection) -> Result<(), ProjectionError> {
    if known.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into consents as c (family_id, member_id, youngest, notice_version, is_revoked)
        select family_id, member_id, youngest, notice_version, coalesce(is_revoked, false)
        from unnest($1::uuid[], $2::uuid[], $3::smallint[], $4::bigint[], $5::boolean[])
            as said (family_id, member_id, youngest, notice_version, is_revoked)
        on conflict (family_id, member_id) do update
        set youngest = coalesce(excluded.youngest, c.youngest),
            notice_version = coalesce(excluded.notice_version, c.notice_version),
            is_revoked = excluded.is_revoked or (c.is_revoked and excluded.notice_version is null)",
    )
    .bind(known.keys().map(|(family, _)| *family).collect::<Vec<_>>())
    .bind(known.keys().map(|(_, member)| *member).collect::<Vec<_>>())
    .bind(known.values().map(|known| known.youngest).collect::<Vec<_>>())
    .bind(known.values().map(|known| known.notice_version).collect::<Vec<_>>())
    .bind(known.values().map(|known| known.is_revoked).collect::<Vec<_>>())
    .execute(tx)
    .await?;
    Ok(())
}
