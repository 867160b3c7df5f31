//! Who asks, and what they are in the family now: read from the log itself, before any replay is begun for them.

use chrono::{DateTime, Utc};
use domain::{
    family::Member,
    id::{AccountId, FamilyId, MemberId, UserId},
};
use event_store::{
    Lane, Log,
    replay::{family_now, hidden_now},
};
use sqlx::{Executor, PgConnection};

use crate::past::PastError;

/// Confines a transaction to one family's part of the log. Its first statement: isolation cannot change after one.
pub(crate) async fn confine(tx: &mut PgConnection, family: FamilyId) -> Result<Option<Lane>, sqlx::Error> {
    // A UUID's text is hexadecimal digits and dashes.
    let confine = format!(
        "set transaction isolation level repeatable read, read only; set local kinledger.family_id = '{}'",
        family.uuid()
    );
    tx.execute(sqlx::raw_sql(&confine)).await?;
    let lane: Option<i16> = sqlx::query_scalar("select lane from log.families where family_id = $1")
        .bind(family.uuid())
        .fetch_optional(tx)
        .await?;
    Ok(lane.map(Lane))
}

/// Who asks, and which accounts are hidden from them now.
pub(crate) struct Place {
    pub(crate) member: Member,
    /// A parent's consent, where it is needed, is there.
    pub(crate) may_be_shown: bool,
    pub(crate) hidden_now: Vec<AccountId>,
    /// The young who are on no leaderboard now.
    pub(crate) not_ranked_now: Vec<MemberId>,
}

/// The person's place in the family at this moment of the clock; none for a stranger and for a family that does not exist.
pub(crate) async fn place(
    log: &Log,
    family: FamilyId,
    user: UserId,
    at: DateTime<Utc>,
) -> Result<Option<Place>, PastError> {
    let mut tx = log.pool().begin().await?;
    let Some(lane) = confine(&mut tx, family).await? else {
        return Ok(None);
    };
    let state = family_now(log, &mut tx, lane, family).await?;
    let Some(member) = state.member_of_user(user, at).cloned() else {
        return Ok(None);
    };
    let hidden_now = hidden_now(log, &mut tx, lane, family, member.member_id).await?;
    let may_be_shown = state.check_consent(member.member_id).is_ok();
    let is_ranked = |member: &Member| member.on_leaderboard && state.consent_of(member).is_enough();
    let young = state.present().filter(|member| member.role.is_young());
    let not_ranked_now = young.filter(|member| !is_ranked(member)).map(|member| member.member_id);
    Ok(Some(Place {
        not_ranked_now: not_ranked_now.collect(),
        member,
        may_be_shown,
        hidden_now,
    }))
}
