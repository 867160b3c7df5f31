//! Who belongs to a family, in which role. The views check membership against these rows.

use std::collections::BTreeMap;

use async_trait::async_trait;
use domain::{aggregate::LedgerEvent, family::FamilyEvent};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::projection::{Fact, Projection, ProjectionError, reached};

/// One row per place in a family.
pub struct Members;

#[async_trait]
impl Projection for Members {
    fn name(&self) -> &'static str {
        "members"
    }

    fn tables(&self) -> &'static [&'static str] {
        &["members"]
    }

    async fn project(&self, facts: &[Fact], tx: &mut PgConnection) -> Result<(), ProjectionError> {
        add(facts, tx).await?;
        change(facts, tx).await
    }
}

async fn add(facts: &[Fact], tx: &mut PgConnection) -> Result<(), ProjectionError> {
    let (mut families, mut ids, mut names) = (vec![], vec![], vec![]);
    let (mut roles, mut shown, mut at) = (vec![], vec![], vec![]);
    for fact in facts {
        let LedgerEvent::Family(FamilyEvent::MemberAdded(added)) = &fact.event else {
            continue;
        };
        families.push(fact.family());
        ids.push(added.member_id.uuid());
        names.push(added.display_name.as_str());
        roles.push(added.role.as_str());
        shown.push(added.on_leaderboard);
        at.push(fact.record.recorded_at);
    }
    if families.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into members (family_id, member_id, display_name, role, on_leaderboard, added_at)
        select * from unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::boolean[], $6::timestamptz[])",
    )
    .bind(families)
    .bind(ids)
    .bind(names)
    .bind(roles)
    .bind(shown)
    .bind(at)
    .execute(tx)
    .await?;
    Ok(())
}

/// What the batch last says of a member; nothing said leaves a column as it is.
#[derive(Default)]
struct Change {
    display_name: Option<String>,
    role: Option<&'static str>,
    user_id: Option<Uuid>,
    on_leaderboard: Option<bool>,
    has_left: bool,
}

/// Who has left sits in no place any more, and is shown nowhere.
const GONE: Change = Change {
    display_name: None,
    role: None,
    user_id: None,
    on_leaderboard: Some(false),
    has_left: true,
};

impl Change {
    /// What is said later counts.
    fn then(&mut self, later: Change) {
        self.display_name = later.display_name.or(self.display_name.take());
        self.role = later.role.or(self.role);
        self.user_id = later.user_id.or(self.user_id);
        self.on_leaderboard = later.on_leaderboard.or(self.on_leaderboard);
        self.has_left |= later.has_left;
    }
}

async fn change(facts: &[Fact], tx: &mut PgConnection) -> Result<(), ProjectionError> {
    let mut changes: BTreeMap<(Uuid, Uuid), Change> = BTreeMap::new();
    for fact in facts {
        let LedgerEvent::Family(event) = &fact.event else {
            continue;
        };
        let (member_id, change) = match event {
            FamilyEvent::MemberRenamed(renamed) => (
                renamed.member_id,
                Change {
                    display_name: Some(renamed.display_name.clone()),
                    ..Change::default()
                },
            ),
            FamilyEvent::MemberJoined(joined) => (
                joined.member_id,
                Change {
                    user_id: Some(joined.user_id.uuid()),
                    ..Change::default()
                },
            ),
            FamilyEvent::MemberRoleChanged(changed) => (
                changed.member_id,
                Change {
                    role: Some(changed.to.as_str()),
                    ..Change::default()
                },
            ),
            FamilyEvent::LeaderboardChoiceMade(choice) => (
                choice.member_id,
                Change {
                    on_leaderboard: Some(choice.on_leaderboard),
                    ..Change::default()
                },
            ),
            FamilyEvent::MemberLeft(left) => (left.member_id, GONE),
            FamilyEvent::MemberRemoved(removed) => (removed.member_id, GONE),
            FamilyEvent::MemberErased(erased) => (erased.member_id, GONE),
            FamilyEvent::FamilyCreated(_)
            | FamilyEvent::MemberAdded(_)
            | FamilyEvent::AuditTermSet(_)
            | FamilyEvent::HandoverOffered(_)
            | FamilyEvent::FamilyHandedOver(_)
            | FamilyEvent::HandoverWithdrawn(_)
            | FamilyEvent::WalletAssigned(_)
            | FamilyEvent::CountrySet(_)
            | FamilyEvent::NoticeChanged(_)
            | FamilyEvent::AgeBandSet(_)
            | FamilyEvent::ConsentGiven(_)
            | FamilyEvent::ConsentRevoked(_)
            | FamilyEvent::FamilyDeleted(_) => continue,
        };
        changes
            .entry((fact.family(), member_id.uuid()))
            .or_default()
            .then(change);
    }
    if changes.is_empty() {
        return Ok(());
    }
    let wanted = changes.len();
    let done = sqlx::query(
        "update members m
        set display_name = coalesce(c.display_name, m.display_name),
            role = coalesce(c.role, m.role),
            user_id = case when c.has_left then null else coalesce(c.user_id, m.user_id) end,
            on_leaderboard = coalesce(c.on_leaderboard, m.on_leaderboard)
        from unnest($1::uuid[], $2::uuid[], $3::text[], $4::uuid[], $5::boolean[], $6::boolean[], $7::text[])
            as c (family_id, member_id, role, user_id, on_leaderboard, has_left, display_name)
        where m.family_id = c.family_id
            and m.member_id = c.member_id",
    )
    .bind(changes.keys().map(|(family, _)| *family).collect::<Vec<_>>())
    .bind(changes.keys().map(|(_, member)| *member).collect::<Vec<_>>())
    .bind(changes.values().map(|change| change.role).collect::<Vec<_>>())
    .bind(changes.values().map(|change| change.user_id).collect::<Vec<_>>())
    .bind(changes.values().map(|change| change.on_leaderboard).collect::<Vec<_>>())
    .bind(changes.values().map(|change| change.has_left).collect::<Vec<_>>())
    .bind(
        changes
            .values()
            .map(|change| change.display_name.as_deref())
            .collect::<Vec<_>>(),
    )
    .execute(tx)
    .await?;
    reached(&done, wanted, "a member")
}
