//! Chores and where each stands.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::{aggregate::LedgerEvent, chore::ChoreEvent};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::projection::{Fact, Projection, ProjectionError, reached};

/// One row per chore; its status is the last that was said of it.
pub struct Chores;

#[async_trait]
impl Projection for Chores {
    fn name(&self) -> &'static str {
        "chores"
    }

    fn tables(&self) -> &'static [&'static str] {
        &["chores"]
    }

    async fn project(&self, facts: &[Fact], tx: &mut PgConnection) -> Result<(), ProjectionError> {
        offer(facts, tx).await?;
        move_on(facts, tx).await
    }
}

async fn offer(facts: &[Fact], tx: &mut PgConnection) -> Result<(), ProjectionError> {
    let (mut families, mut ids, mut seqs, mut titles, mut points) = (vec![], vec![], vec![], vec![], vec![]);
    let (mut rewards, mut currencies, mut offered_to, mut due, mut at) = (vec![], vec![], vec![], vec![], vec![]);
    for fact in facts {
        let LedgerEvent::Chore(ChoreEvent::ChoreOffered(offered)) = &fact.event else {
            continue;
        };
        let reward = offered.reward.as_ref().map(|reward| reward.money);
        families.push(fact.family());
        ids.push(offered.chore_id.uuid());
        seqs.push(fact.record.family_seq);
        titles.push(offered.title.as_str());
        points.push(i64::from(offered.points));
        rewards.push(reward.map(|money| money.amount()));
        currencies.push(reward.map(|money| money.currency().code().to_owned()));
        offered_to.push(offered.offered_to.map(|member| member.uuid()));
        due.push(offered.due_on);
        at.push(fact.record.recorded_at);
    }
    if families.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into chores
            (family_id, chore_id, family_seq, title, points, reward, reward_currency, offered_to, due_on, offered_at,
            changed_at, status, rejection_reason)
        select o.*, o.offered_at, 'offered', ''
        from unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::text[], $5::bigint[], $6::numeric[], $7::text[],
                $8::uuid[], $9::date[], $10::timestamptz[])
            as o (family_id, chore_id, family_seq, title, points, reward, reward_currency, offered_to, due_on,
                offered_at)",
    )
    .bind(families)
    .bind(ids)
    .bind(seqs)
    .bind(titles)
    .bind(points)
    .bind(rewards)
    .bind(currencies)
    .bind(offered_to)
    .bind(due)
    .bind(at)
    .execute(tx)
    .await?;
    Ok(())
}

/// The last that the batch says of a chore.
struct Moved<'a> {
    status: &'static str,
    member_id: Uuid,
    reason: &'a str,
    entry_id: Option<Uuid>,
    changed_at: DateTime<Utc>,
}

fn moved(fact: &Fact) -> Option<(Uuid, Moved<'_>)> {
    let LedgerEvent::Chore(event) = &fact.event else {
        return None;
    };
    let (chore_id, status, member_id, reason, entry_id) = match event {
        ChoreEvent::ChoreOffered(_) => return None,
        ChoreEvent::ChoreClaimed(claimed) => (claimed.chore_id, "claimed", claimed.member_id, "", None),
        ChoreEvent::ChoreCompleted(completed) => (completed.chore_id, "completed", completed.member_id, "", None),
        ChoreEvent::ChoreApproved(approved) => {
            (approved.chore_id, "approved", approved.member_id, "", approved.entry_id)
        }
        ChoreEvent::ChoreRejected(rejected) => (
            rejected.chore_id,
            "claimed",
            rejected.member_id,
            rejected.reason.as_str(),
            None,
        ),
    };
    let entry_id = entry_id.map(|entry| entry.uuid());
    let changed_at = fact.record.recorded_at;
    Some((
        chore_id.uuid(),
        Moved {
            status,
            member_id: member_id.uuid(),
            reason,
            entry_id,
            changed_at,
        },
    ))
}

async fn move_on(facts: &[Fact], tx: &mut PgConnection) -> Result<(), ProjectionError> {
    let mut last: BTreeMap<(Uuid, Uuid), Moved<'_>> = BTreeMap::new();
    for fact in facts {
        if let Some((chore_id, moved)) = moved(fact) {
            last.insert((fact.family(), chore_id), moved);
        }
    }
    if last.is_empty() {
        return Ok(());
    }
    let (mut families, mut ids, mut statuses, mut members) = (vec![], vec![], vec![], vec![]);
    let (mut reasons, mut entries, mut at) = (vec![], vec![], vec![]);
    for ((family, id), moved) in last {
        families.push(family);
        ids.push(id);
        statuses.push(moved.status);
        members.push(moved.member_id);
        reasons.push(moved.reason);
        entries.push(moved.entry_id);
        at.push(moved.changed_at);
    }
    let wanted = ids.len();
    let done = sqlx::query(
        "update chores c
        set status = m.status,
            claimed_by = m.member_id,
            rejection_reason = m.reason,
            entry_id = m.entry_id,
            changed_at = m.changed_at
        from unnest($1::uuid[], $2::uuid[], $3::text[], $4::uuid[], $5::text[], $6::uuid[], $7::timestamptz[])
            as m (family_id, chore_id, status, member_id, reason, entry_id, changed_at)
        where c.family_id = m.family_id
            and c.chore_id = m.chore_id",
    )
    .bind(families)
    .bind(ids)
    .bind(statuses)
    .bind(members)
    .bind(reasons)
    .bind(entries)
    .bind(at)
    .execute(tx)
    .await?;
    reached(&done, wanted, "a chore")
}
