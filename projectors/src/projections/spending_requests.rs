//! Requests to spend beyond a limit, and what came of each.

use async_trait::async_trait;
use domain::{aggregate::LedgerEvent, spending::SpendingEvent};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::projection::{Fact, Projection, ProjectionError, reached};

/// One row per request. Whether the time of one that waits is over is for who reads it to say: no event does.
pub struct SpendingRequests;

#[async_trait]
impl Projection for SpendingRequests {
    fn name(&self) -> &'static str {
        "spending_requests"
    }

    fn tables(&self) -> &'static [&'static str] {
        &["spending_requests"]
    }

    async fn project(&self, facts: &[Fact], tx: &mut PgConnection) -> Result<(), ProjectionError> {
        ask(facts, tx).await?;
        decide(facts, tx).await
    }
}

async fn ask(facts: &[Fact], tx: &mut PgConnection) -> Result<(), ProjectionError> {
    let (mut families, mut ids, mut members, mut seqs, mut accounts) = (vec![], vec![], vec![], vec![], vec![]);
    let (mut amounts, mut currencies, mut categories, mut payees) = (vec![], vec![], vec![], vec![]);
    let (mut notes, mut until, mut at) = (vec![], vec![], vec![]);
    for fact in facts {
        let LedgerEvent::Spending(SpendingEvent::SpendingRequested(requested)) = &fact.event else {
            continue;
        };
        families.push(fact.family());
        ids.push(requested.request_id.uuid());
        members.push(requested.member_id.uuid());
        seqs.push(fact.record.family_seq);
        accounts.push(requested.account_id.uuid());
        amounts.push(requested.money.amount());
        currencies.push(requested.money.currency().code().to_owned());
        categories.push(requested.category_id.uuid());
        payees.push(requested.payee.as_str());
        notes.push(requested.note.as_str());
        until.push(requested.until_on);
        at.push(fact.record.recorded_at);
    }
    if families.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into spending_requests
            (family_id, request_id, member_id, family_seq, account_id, amount, currency, category_id, payee, note,
            until_on, asked_at, status, reason)
        select r.*, 'waiting', ''
        from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::bigint[], $5::uuid[], $6::numeric[], $7::text[],
            $8::uuid[], $9::text[], $10::text[], $11::date[], $12::timestamptz[]) as r",
    )
    .bind(families)
    .bind(ids)
    .bind(members)
    .bind(seqs)
    .bind(accounts)
    .bind(amounts)
    .bind(currencies)
    .bind(categories)
    .bind(payees)
    .bind(notes)
    .bind(until)
    .bind(at)
    .execute(tx)
    .await?;
    Ok(())
}

/// What an event says came of a request.
struct Came<'a> {
    request_id: Uuid,
    status: &'static str,
    by: Option<Uuid>,
    reason: &'a str,
    entry_id: Option<Uuid>,
}

fn came(event: &LedgerEvent) -> Option<Came<'_>> {
    let LedgerEvent::Spending(event) = event else {
        return None;
    };
    let (request_id, status, by, reason, entry_id) = match event {
        SpendingEvent::SpendingApproved(approved) => (
            approved.request_id,
            "approved",
            Some(approved.approved_by),
            "",
            Some(approved.entry_id),
        ),
        SpendingEvent::SpendingDeclined(declined) => (
            declined.request_id,
            "declined",
            Some(declined.declined_by),
            declined.reason.as_str(),
            None,
        ),
        SpendingEvent::SpendingRequestCancelled(cancelled) => (cancelled.request_id, "cancelled", None, "", None),
        SpendingEvent::SpendingRequestEnded(ended) => (ended.request_id, "ended", None, ended.because.as_str(), None),
        SpendingEvent::SpendingLimitSet(_)
        | SpendingEvent::SpendingLimitRemoved(_)
        | SpendingEvent::SpendingCounted(_)
        | SpendingEvent::SpendingGivenBack(_)
        | SpendingEvent::SpendingRequested(_) => return None,
    };
    Some(Came {
        request_id: request_id.uuid(),
        status,
        by: by.map(|member| member.uuid()),
        reason,
        entry_id: entry_id.map(|entry| entry.uuid()),
    })
}

async fn decide(facts: &[Fact], tx: &mut PgConnection) -> Result<(), ProjectionError> {
    let decided: Vec<(&Fact, Came<'_>)> = facts
        .iter()
        .filter_map(|fact| Some((fact, came(&fact.event)?)))
        .collect();
    if decided.is_empty() {
        return Ok(());
    }
    let each = || decided.iter();
    let done = sqlx::query(
        "update spending_requests r
        set status = d.status,
            decided_seq = d.family_seq,
            decided_at = d.decided_at,
            decided_by = d.decided_by,
            reason = d.reason,
            entry_id = d.entry_id
        from unnest($1::uuid[], $2::uuid[], $3::text[], $4::bigint[], $5::timestamptz[], $6::uuid[], $7::text[],
                $8::uuid[])
            as d (family_id, request_id, status, family_seq, decided_at, decided_by, reason, entry_id)
        where r.family_id = d.family_id
            and r.request_id = d.request_id",
    )
    .bind(each().map(|(fact, _)| fact.family()).collect::<Vec<_>>())
    .bind(each().map(|(_, came)| came.request_id).collect::<Vec<_>>())
    .bind(each().map(|(_, came)| came.status).collect::<Vec<_>>())
    .bind(each().map(|(fact, _)| fact.record.family_seq).collect::<Vec<_>>())
    .bind(each().map(|(fact, _)| fact.record.recorded_at).collect::<Vec<_>>())
    .bind(each().map(|(_, came)| came.by).collect::<Vec<_>>())
    .bind(each().map(|(_, came)| came.reason).collect::<Vec<_>>())
    .bind(each().map(|(_, came)| came.entry_id).collect::<Vec<_>>())
    .execute(tx)
    .await?;
    reached(&done, decided.len(), "a request")
}
