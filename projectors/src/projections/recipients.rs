//! Who may be told something, as of an event: roles, and whether a parent has consented to what is kept about a teen or child.
//!
//! The fold keeps them in tables of its own, which no view reads: those of members and consents may be ahead of an event in the
//! middle of a batch.

use std::collections::{BTreeMap, BTreeSet};

use domain::{
    actor::Role,
    aggregate::LedgerEvent,
    family::{
        FamilyEvent, NOTICE_FIRST,
        consent::{AgeBand, Consent, ConsentRecord, ConsentRules},
    },
    id::MemberId,
};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::projection::{Fact, ProjectionError};

/// In the place of a role: whoever has left is told nothing more.
const GONE: &str = "gone";

/// A member of a family.
type Key = (Uuid, Uuid);

/// What is known of a member: the youngest they can be, the notice consented to, and whether that was taken back.
type Known = (Uuid, Uuid, Option<i16>, Option<i64>, bool);

/// Everybody of the families at hand.
pub(super) struct Recipients {
    roles: BTreeMap<Key, String>,
    consents: BTreeMap<Key, ConsentRecord>,
    rules: BTreeMap<Uuid, ConsentRules>,
    roles_changed: BTreeSet<Key>,
    consents_changed: BTreeSet<Key>,
    rules_changed: BTreeSet<Uuid>,
}

impl Recipients {
    pub(super) async fn load(families: BTreeSet<Uuid>, tx: &mut PgConnection) -> Result<Self, ProjectionError> {
        let families: Vec<Uuid> = families.into_iter().collect();
        let roles: Vec<(Uuid, Uuid, String)> = sqlx::query_as(
            "select family_id, member_id, role
            from notification_recipients
            where family_id = any($1)",
        )
        .bind(&families)
        .fetch_all(&mut *tx)
        .await?;
        let consents: Vec<Known> = sqlx::query_as(
            "select family_id, member_id, youngest, notice_version, is_revoked
            from notification_consents
            where family_id = any($1)",
        )
        .bind(&families)
        .fetch_all(&mut *tx)
        .await?;
        let rules: Vec<(Uuid, i16, i64)> = sqlx::query_as(
            "select family_id, age, notice_version
            from notification_rules
            where family_id = any($1)",
        )
        .bind(&families)
        .fetch_all(tx)
        .await?;
        let record = |youngest: Option<i16>, notice_version: Option<i64>, is_revoked| ConsentRecord {
            band: youngest.and_then(|years| {
                AgeBand::ALL
                    .into_iter()
                    .find(|band| i16::from(band.youngest()) == years)
            }),
            notice_version: notice_version.and_then(|version| u32::try_from(version).ok()),
            is_revoked,
        };
        Ok(Self {
            roles: roles
                .into_iter()
                .map(|(family, member, role)| ((family, member), role))
                .collect(),
            consents: consents
                .into_iter()
                .map(|(family, member, youngest, notice, is_revoked)| {
                    ((family, member), record(youngest, notice, is_revoked))
                })
                .collect(),
            rules: rules
                .into_iter()
                .map(|(family, age, notice)| {
                    let rules = ConsentRules {
                        age: u8::try_from(age).unwrap_or(ConsentRules::UNSAID.age),
                        notice_version: u32::try_from(notice).unwrap_or(NOTICE_FIRST),
                    };
                    (family, rules)
                })
                .collect(),
            roles_changed: BTreeSet::new(),
            consents_changed: BTreeSet::new(),
            rules_changed: BTreeSet::new(),
        })
    }

    pub(super) fn fold(&mut self, fact: &Fact) {
        let LedgerEvent::Family(event) = &fact.event else {
            return;
        };
        let family = fact.family();
        match event {
            FamilyEvent::MemberAdded(added) => self.is_now(family, added.member_id, added.role.as_str()),
            FamilyEvent::MemberRoleChanged(changed) => self.is_now(family, changed.member_id, changed.to.as_str()),
            FamilyEvent::MemberLeft(left) => self.is_now(family, left.member_id, GONE),
            FamilyEvent::MemberRemoved(removed) => self.is_now(family, removed.member_id, GONE),
            FamilyEvent::MemberErased(erased) => self.is_now(family, erased.member_id, GONE),
            FamilyEvent::CountrySet(set) => {
                let rules = self.rules.entry(family).or_insert(ConsentRules {
                    age: set.consent_age,
                    notice_version: NOTICE_FIRST,
                });
                rules.age = set.consent_age;
                self.rules_changed.insert(family);
            }
            FamilyEvent::NoticeChanged(changed) => {
                if let Some(rules) = self.rules.get_mut(&family) {
                    rules.notice_version = changed.notice_version;
                    self.rules_changed.insert(family);
                }
            }
            FamilyEvent::AgeBandSet(set) => self.record(family, set.member_id).band = Some(set.band),
            FamilyEvent::ConsentGiven(given) => {
                let record = self.record(family, given.member_id);
                (record.notice_version, record.is_revoked) = (Some(given.notice_version), false);
            }
            FamilyEvent::ConsentRevoked(revoked) => self.record(family, revoked.member_id).is_revoked = true,
            _ => {}
        }
    }

    fn is_now(&mut self, family: Uuid, member_id: MemberId, role: &str) {
        let key = (family, member_id.uuid());
        self.roles.insert(key, role.to_owned());
        self.roles_changed.insert(key);
    }

    fn record(&mut self, family: Uuid, member_id: MemberId) -> &mut ConsentRecord {
        let key = (family, member_id.uuid());
        self.consents_changed.insert(key);
        self.consents.entry(key).or_default()
    }

    /// Members in one of these roles.
    pub(super) fn with(&self, family: Uuid, roles: &[Role]) -> Vec<Uuid> {
        let of_family = self.roles.range((family, Uuid::nil())..=(family, Uuid::max()));
        of_family
            .filter(|(_, held)| roles.iter().any(|role| role.as_str() == *held))
            .map(|((_, m), _)| *m)
            .collect()
    }

    pub(super) fn is_young(&self, family: Uuid, member: Uuid) -> bool {
        self.roles
            .get(&(family, member))
            .is_some_and(|role| role == Role::Teen.as_str() || role == Role::Child.as_str())
    }

    /// May anything be written for the member?
    pub(super) fn may_be_told(&self, family: Uuid, member: Uuid) -> bool {
        let record = self.consents.get(&(family, member)).copied().unwrap_or_default();
        let rules = self.rules.get(&family).copied();
        Consent::of(rules, self.is_young(family, member), &record).is_enough()
    }

    pub(super) async fn keep(&self, tx: &mut PgConnection) -> Result<(), ProjectionError> {
        self.keep_roles(&mut *tx).await?;
        self.keep_consents(&mut *tx).await?;
        self.keep_rules(tx).await
    }

    async fn keep_roles(&self, tx: &mut PgConnection) -> Result<(), ProjectionError> {
        if self.roles_changed.is_empty() {
            return Ok(());
        }
        let roles: Vec<String> = self
            .roles_changed
            .iter()
            .filter_map(|key| self.roles.get(key).cloned())
            .collect();
        sqlx::query(
            "insert into notification_recipients (family_id, member_id, role)
            select * from unnest($1::uuid[], $2::uuid[], $3::text[])
            on conflict (family_id, member_id) do update
            set role = excluded.role",
        )
        .bind(families_of(&self.roles_changed))
        .bind(members_of(&self.roles_changed))
        .bind(roles)
        .execute(tx)
        .await?;
        Ok(())
    }

    async fn keep_consents(&self, tx: &mut PgConnection) -> Result<(), ProjectionError> {
        if self.consents_changed.is_empty() {
            return Ok(());
        }
        let records: Vec<ConsentRecord> = self
            .consents_changed
            .iter()
            .filter_map(|key| self.consents.get(key).copied())
            .collect();
        let youngest = |record: &ConsentRecord| record.band.map(|band| i16::from(band.youngest()));
        sqlx::query(
            "insert into notification_consents (family_id, member_id, youngest, notice_version, is_revoked)
            select * from unnest($1::uuid[], $2::uuid[], $3::smallint[], $4::bigint[], $5::boolean[])
            on conflict (family_id, member_id) do update
            set youngest = excluded.youngest, notice_version = excluded.notice_version, is_revoked = excluded.is_revoked",
        )
        .bind(families_of(&self.consents_changed))
        .bind(members_of(&self.consents_changed))
        .bind(records.iter().map(youngest).collect::<Vec<_>>())
        .bind(
            records
                .iter()
                .map(|record| record.notice_version.map(i64::from))
                .collect::<Vec<_>>(),
        )
        .bind(records.iter().map(|record| record.is_revoked).collect::<Vec<_>>())
        .execute(tx)
        .await?;
        Ok(())
    }

    async fn keep_rules(&self, tx: &mut PgConnection) -> Result<(), ProjectionError> {
        if self.rules_changed.is_empty() {
            return Ok(());
        }
        let rules: Vec<ConsentRules> = self
            .rules_changed
            .iter()
            .filter_map(|family| self.rules.get(family).copied())
            .collect();
        sqlx::query(
            "insert into notification_rules (family_id, age, notice_version)
            select * from unnest($1::uuid[], $2::smallint[], $3::bigint[])
            on conflict (family_id) do update
            set age = excluded.age, notice_version = excluded.notice_version",
        )
        .bind(self.rules_changed.iter().copied().collect::<Vec<_>>())
        .bind(rules.iter().map(|rules| i16::from(rules.age)).collect::<Vec<_>>())
        .bind(
            rules
                .iter()
                .map(|rules| i64::from(rules.notice_version))
                .collect::<Vec<_>>(),
        )
        .execute(tx)
        .await?;
        Ok(())
    }
}

fn families_of(keys: &BTreeSet<Key>) -> Vec<Uuid> {
    keys.iter().map(|(family, _)| *family).collect()
}

fn members_of(keys: &BTreeSet<Key>) -> Vec<Uuid> {
    keys.iter().map(|(_, member)| *member).collect()
}
