//! In-app notifications: who is told what.
//!
//! | event | who is told |
//! |---|---|
//! | member added | everybody else who may post commands |
//! | member joined | the other adults |
//! | role changed | the member |
//! | member left or removed | the adults who stay |
//! | duties offered, or the offer withdrawn | the partner they are offered to |
//! | chore offered | the member it is for, else every teen and child |
//! | chore completed | the adults, except who did it |
//! | chore approved or rejected, badge awarded | the member |
//! | expense by a teen or child | the adults |
//! | spending limit set or removed | the member |
//! | spending asked for | the adults |
//! | spending approved or declined | who asked |
//! | bank statement imported, import undone | the adults |
//!
//! Nobody is told who waits for a parent's consent after the event. Who is an adult, and who waits, is decided as of the event
//! ([`super::recipients`]). Names and titles are looked up when a notification is read.

use std::collections::BTreeSet;

use async_trait::async_trait;
use domain::{
    Money,
    actor::Role,
    aggregate::LedgerEvent,
    bank_connection::BankConnectionEvent,
    chore::ChoreEvent,
    entry::{EntryEvent, ExpenseAdded},
    family::FamilyEvent,
    journal::PostingAccount,
    rewards::RewardsEvent,
    spending::SpendingEvent,
};
use sqlx::PgConnection;
use uuid::Uuid;

use super::recipients::Recipients;
use crate::{
    copy::{Columns, Copies},
    projection::{Fact, Projection, ProjectionError},
};

/// One row per event and person told.
pub struct Notifications;

#[async_trait]
impl Projection for Notifications {
    fn name(&self) -> &'static str {
        "notifications"
    }

    fn tables(&self) -> &'static [&'static str] {
        &[
            "notification_consents",
            "notification_recipients",
            "notification_rules",
            "notifications",
        ]
    }

    async fn project(&self, facts: &[Fact], tx: &mut PgConnection) -> Result<(), ProjectionError> {
        let told = notices(facts, tx).await?;
        tell(&told, tx).await
    }

    fn copied(&self) -> &'static [&'static str] {
        &["notifications"]
    }

    async fn project_whole(
        &self,
        facts: &[Fact],
        copies: &mut Copies,
        tx: &mut PgConnection,
    ) -> Result<(), ProjectionError> {
        let told = notices(facts, tx).await?;
        let mut rows = copies.rows_of(COLUMNS);
        for (fact, notice, to) in each_told(&told) {
            rows.id(fact.family())
                .id(to)
                .number(fact.record.family_seq)
                .text(notice.kind);
            rows.maybe_id(notice.about)
                .maybe_id(notice.chore_id)
                .maybe_id(notice.entry_id)
                .maybe_id(notice.import_id);
            rows.text(&notice.subject).text(&notice.reason);
            rows.maybe_amount(notice.amount.map(|money| money.amount()));
            rows.maybe_text(notice.amount.map(|money| money.currency().code().to_owned()).as_deref());
            rows.maybe_number(notice.count).instant(fact.record.recorded_at).end();
        }
        Ok(())
    }
}

const COLUMNS: Columns = Columns {
    table: "notifications",
    names: "family_id, member_id, family_seq, kind, about_member_id, chore_id, entry_id, import_id, subject, reason, \
        amount, currency, count, recorded_at",
};

type Told<'a> = Vec<(&'a Fact, Notice)>;

/// What is said about each event, with the roles as they were then; roles are kept on the way.
async fn notices<'a>(facts: &'a [Fact], tx: &mut PgConnection) -> Result<Told<'a>, ProjectionError> {
    let mut told = Vec::new();
    let concerned: BTreeSet<Uuid> = facts
        .iter()
        .filter(|fact| concerns(&fact.event))
        .map(Fact::family)
        .collect();
    if concerned.is_empty() {
        return Ok(told);
    }
    let mut roles = Recipients::load(concerned, tx).await?;
    for fact in facts {
        let notice = notice(&fact.event, &roles, fact.family());
        roles.fold(fact);
        if let Some(mut notice) = notice {
            notice.to.retain(|to| roles.may_be_told(fact.family(), *to));
            told.push((fact, notice));
        }
    }
    roles.keep(tx).await?;
    Ok(told)
}

fn each_told<'a>(told: &'a Told<'a>) -> impl Iterator<Item = (&'a Fact, &'a Notice, Uuid)> {
    told.iter()
        .flat_map(|(fact, notice)| notice.to.iter().map(move |to| (*fact, notice, *to)))
}

/// Does an event tell somebody something, or change who is told?
fn concerns(event: &LedgerEvent) -> bool {
    match event {
        LedgerEvent::Family(event) => matches!(
            event,
            FamilyEvent::MemberAdded(_)
                | FamilyEvent::MemberJoined(_)
                | FamilyEvent::MemberRoleChanged(_)
                | FamilyEvent::MemberLeft(_)
                | FamilyEvent::MemberRemoved(_)
                | FamilyEvent::MemberErased(_)
                | FamilyEvent::HandoverOffered(_)
                | FamilyEvent::HandoverWithdrawn(_)
                | FamilyEvent::CountrySet(_)
                | FamilyEvent::NoticeChanged(_)
                | FamilyEvent::AgeBandSet(_)
                | FamilyEvent::ConsentGiven(_)
                | FamilyEvent::ConsentRevoked(_)
        ),
        LedgerEvent::Chore(event) => !matches!(event, ChoreEvent::ChoreClaimed(_)),
        LedgerEvent::Entry(event) => matches!(event, EntryEvent::ExpenseAdded(_)),
        LedgerEvent::Rewards(_) => true,
        LedgerEvent::Spending(event) => !matches!(
            event,
            SpendingEvent::SpendingCounted(_)
                | SpendingEvent::SpendingGivenBack(_)
                | SpendingEvent::SpendingRequestCancelled(_)
                | SpendingEvent::SpendingRequestEnded(_)
        ),
        LedgerEvent::BankConnection(event) => !matches!(event, BankConnectionEvent::BankConnected(_)),
        _ => false,
    }
}

/// What is said, and to whom.
#[derive(Default)]
struct Notice {
    to: Vec<Uuid>,
    kind: &'static str,
    about: Option<Uuid>,
    chore_id: Option<Uuid>,
    entry_id: Option<Uuid>,
    import_id: Option<Uuid>,
    subject: String,
    reason: String,
    amount: Option<Money>,
    count: Option<i64>,
}

fn notice(event: &LedgerEvent, roles: &Recipients, family: Uuid) -> Option<Notice> {
    let adults = || roles.with(family, Role::ADULTS);
    Some(match event {
        LedgerEvent::Family(FamilyEvent::MemberAdded(added)) => Notice {
            // The new member is not among the recipients yet: roles are folded after the notice.
            to: roles.with(family, Role::MEMBERS),
            kind: "member-added",
            about: Some(added.member_id.uuid()),
            subject: added.role.as_str().to_owned(),
            ..Notice::default()
        },
        LedgerEvent::Family(FamilyEvent::MemberRoleChanged(changed)) => Notice {
            to: vec![changed.member_id.uuid()],
            kind: "role-changed",
            about: Some(changed.member_id.uuid()),
            subject: changed.to.as_str().to_owned(),
            ..Notice::default()
        },
        LedgerEvent::Family(FamilyEvent::MemberJoined(joined)) => {
            about(joined.member_id.uuid(), "member-joined", &adults())
        }
        LedgerEvent::Family(FamilyEvent::MemberLeft(left)) => about(left.member_id.uuid(), "member-left", &adults()),
        LedgerEvent::Family(FamilyEvent::MemberRemoved(removed)) => {
            about(removed.member_id.uuid(), "member-removed", &adults())
        }
        LedgerEvent::Family(FamilyEvent::MemberErased(erased)) => {
            about(erased.member_id.uuid(), "member-erased", &adults())
        }
        LedgerEvent::Family(FamilyEvent::HandoverOffered(offered)) => Notice {
            to: vec![offered.to.uuid()],
            kind: "handover-offered",
            about: Some(offered.from.uuid()),
            ..Notice::default()
        },
        LedgerEvent::Family(FamilyEvent::HandoverWithdrawn(withdrawn)) => Notice {
            to: vec![withdrawn.to.uuid()],
            kind: "handover-withdrawn",
            about: Some(withdrawn.from.uuid()),
            ..Notice::default()
        },
        LedgerEvent::Chore(event) => chore_notice(event, roles, family)?,
        LedgerEvent::Rewards(RewardsEvent::BadgeAwarded(awarded)) => Notice {
            to: vec![awarded.member_id.uuid()],
            kind: "badge-awarded",
            about: Some(awarded.member_id.uuid()),
            subject: awarded.badge.clone(),
            reason: awarded.reason.clone(),
            count: Some(i64::from(awarded.points)),
            ..Notice::default()
        },
        LedgerEvent::Entry(EntryEvent::ExpenseAdded(added)) => expense_notice(added, roles, family)?,
        LedgerEvent::Spending(event) => spending_notice(event, &adults())?,
        LedgerEvent::BankConnection(BankConnectionEvent::BankSynced(synced)) => Notice {
            to: adults(),
            kind: "bank-synced",
            import_id: Some(synced.import_id.uuid()),
            amount: Some(synced.booked),
            count: Some(i64::from(synced.rows_booked)),
            ..Notice::default()
        },
        LedgerEvent::BankConnection(BankConnectionEvent::BankSyncUndone(undone)) => Notice {
            to: adults(),
            kind: "import-undone",
            import_id: Some(undone.import_id.uuid()),
            count: Some(i64::from(undone.entries_reversed)),
            ..Notice::default()
        },
        _ => return None,
    })
}

/// About a member's place, to the other adults.
fn about(member: Uuid, kind: &'static str, adults: &[Uuid]) -> Notice {
    Notice {
        to: adults.iter().copied().filter(|adult| *adult != member).collect(),
        kind,
        about: Some(member),
        ..Notice::default()
    }
}

fn chore_notice(event: &ChoreEvent, roles: &Recipients, family: Uuid) -> Option<Notice> {
    Some(match event {
        ChoreEvent::ChoreOffered(offered) => Notice {
            to: match offered.offered_to {
                Some(member) => vec![member.uuid()],
                None => roles.with(family, &[Role::Teen, Role::Child]),
            },
            kind: "chore-offered",
            chore_id: Some(offered.chore_id.uuid()),
            subject: offered.title.clone(),
            amount: offered.reward.as_ref().map(|reward| reward.money),
            count: Some(i64::from(offered.points)),
            ..Notice::default()
        },
        ChoreEvent::ChoreClaimed(_) => return None,
        ChoreEvent::ChoreCompleted(completed) => Notice {
            to: roles
                .with(family, Role::ADULTS)
                .into_iter()
                .filter(|to| *to != completed.member_id.uuid())
                .collect(),
            kind: "chore-completed",
            about: Some(completed.member_id.uuid()),
            chore_id: Some(completed.chore_id.uuid()),
            ..Notice::default()
        },
        ChoreEvent::ChoreApproved(approved) => Notice {
            to: vec![approved.member_id.uuid()],
            kind: "chore-approved",
            about: Some(approved.member_id.uuid()),
            chore_id: Some(approved.chore_id.uuid()),
            entry_id: approved.entry_id.map(|entry| entry.uuid()),
            subject: approved.title.clone(),
            amount: approved.reward,
            count: Some(i64::from(approved.points)),
            ..Notice::default()
        },
        ChoreEvent::ChoreRejected(rejected) => Notice {
            to: vec![rejected.member_id.uuid()],
            kind: "chore-rejected",
            about: Some(rejected.member_id.uuid()),
            chore_id: Some(rejected.chore_id.uuid()),
            reason: rejected.reason.clone(),
            ..Notice::default()
        },
    })
}

fn expense_notice(added: &ExpenseAdded, roles: &Recipients, family: Uuid) -> Option<Notice> {
    let spender = added.entered_by?.uuid();
    if !roles.is_young(family, spender) {
        return None;
    }
    let is_own = |account| matches!(account, PostingAccount::Account(_));
    Some(Notice {
        to: roles.with(family, Role::ADULTS),
        kind: "expense-added",
        about: Some(spender),
        entry_id: Some(added.entry_id.uuid()),
        subject: added.payee.clone(),
        amount: added
            .postings
            .iter()
            .find(|p| is_own(p.ledger_account))
            .map(|p| p.money.negated()),
        ..Notice::default()
    })
}

fn spending_notice(event: &SpendingEvent, adults: &[Uuid]) -> Option<Notice> {
    Some(match event {
        SpendingEvent::SpendingLimitSet(set) => Notice {
            to: vec![set.member_id.uuid()],
            kind: "spending-limit-set",
            about: Some(set.member_id.uuid()),
            ..Notice::default()
        },
        SpendingEvent::SpendingLimitRemoved(removed) => Notice {
            to: vec![removed.member_id.uuid()],
            kind: "spending-limit-removed",
            about: Some(removed.member_id.uuid()),
            ..Notice::default()
        },
        SpendingEvent::SpendingRequested(requested) => Notice {
            to: adults.to_vec(),
            kind: "spending-requested",
            about: Some(requested.member_id.uuid()),
            subject: requested.payee.clone(),
            amount: Some(requested.money),
            ..Notice::default()
        },
        SpendingEvent::SpendingApproved(approved) => Notice {
            to: vec![approved.member_id.uuid()],
            kind: "spending-approved",
            about: Some(approved.approved_by.uuid()),
            entry_id: Some(approved.entry_id.uuid()),
            amount: Some(approved.money),
            ..Notice::default()
        },
        SpendingEvent::SpendingDeclined(declined) => Notice {
            to: vec![declined.member_id.uuid()],
            kind: "spending-declined",
            about: Some(declined.declined_by.uuid()),
            reason: declined.reason.clone(),
            amount: Some(declined.money),
            ..Notice::default()
        },
        SpendingEvent::SpendingCounted(_)
        | SpendingEvent::SpendingGivenBack(_)
        | SpendingEvent::SpendingRequestCancelled(_)
        | SpendingEvent::SpendingRequestEnded(_) => return None,
    })
}

async fn tell(told: &Told<'_>, tx: &mut PgConnection) -> Result<(), ProjectionError> {
    let rows: Vec<(&Fact, &Notice, Uuid)> = each_told(told).collect();
    if rows.is_empty() {
        return Ok(());
    }
    let each = || rows.iter();
    sqlx::query(
        "insert into notifications
            (family_id, member_id, family_seq, kind, about_member_id, chore_id, entry_id, import_id, subject, reason,
            amount, currency, count, recorded_at)
        select *
        from unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::text[], $5::uuid[], $6::uuid[], $7::uuid[], $8::uuid[],
            $9::text[], $10::text[], $11::numeric[], $12::text[], $13::bigint[], $14::timestamptz[])",
    )
    .bind(each().map(|(fact, _, _)| fact.family()).collect::<Vec<_>>())
    .bind(each().map(|(_, _, to)| *to).collect::<Vec<_>>())
    .bind(each().map(|(fact, _, _)| fact.record.family_seq).collect::<Vec<_>>())
    .bind(each().map(|(_, notice, _)| notice.kind).collect::<Vec<_>>())
    .bind(each().map(|(_, notice, _)| notice.about).collect::<Vec<_>>())
    .bind(each().map(|(_, notice, _)| notice.chore_id).collect::<Vec<_>>())
    .bind(each().map(|(_, notice, _)| notice.entry_id).collect::<Vec<_>>())
    .bind(each().map(|(_, notice, _)| notice.import_id).collect::<Vec<_>>())
    .bind(each().map(|(_, notice, _)| notice.subject.as_str()).collect::<Vec<_>>())
    .bind(each().map(|(_, notice, _)| notice.reason.as_str()).collect::<Vec<_>>())
    .bind(
        each()
            .map(|(_, notice, _)| notice.amount.map(|money| money.amount()))
            .collect::<Vec<_>>(),
    )
    .bind(
        each()
            .map(|(_, notice, _)| notice.amount.map(|m| m.currency().code().to_owned()))
            .collect::<Vec<_>>(),
    )
    .bind(each().map(|(_, notice, _)| notice.count).collect::<Vec<_>>())
    .bind(each().map(|(fact, _, _)| fact.record.recorded_at).collect::<Vec<_>>())
    .execute(tx)
    .await?;
    Ok(())
}
