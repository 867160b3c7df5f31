//! Whose the accounts of a family are and how they are shared, as the log has it now.

use std::collections::BTreeMap;

use domain::{
    aggregate::LedgerEvent,
    family::{Family, FamilyEvent, Member},
    id::{AccountId, FamilyId, MemberId, UserId},
    ledger_account::{AccountShared, LedgerAccount, LedgerAccountEvent, ShareLevel, hidden_from},
};
use sqlx::PgConnection;

use super::{Last, family_now, prefix::family_events};
use crate::{Lane, Log, LogError, Record, load::read_sharing_in};

/// A family's accounts as one member meets them.
#[derive(Clone, Debug, Default)]
pub struct Sight {
    /// Those they see.
    pub shown: Vec<AccountId>,
    /// Those they do not: none of them exist as far as they are told.
    pub hidden: Vec<AccountId>,
}

/// The accounts a member sees now, and those they do not; whoever is no member sees none.
///
/// # Errors
/// [`LogError`].
pub async fn sight_now(
    log: &Log,
    connection: &mut PgConnection,
    lane: Lane,
    family_id: FamilyId,
    member_id: MemberId,
) -> Result<Sight, LogError> {
    let family = family_now(log, &mut *connection, lane, family_id).await?;
    let accounts = accounts_of(&told(connection, lane, family_id).await?);
    let all = accounts.iter().map(|(account_id, account)| (*account_id, account));
    let hidden = match family.member(member_id) {
        Ok(member) => hidden_from(&family, member, all),
        Err(_) => accounts.keys().copied().collect(),
    };
    let is_shown = |account: &AccountId| !hidden.contains(account);
    Ok(Sight {
        shown: accounts.keys().copied().filter(is_shown).collect(),
        hidden,
    })
}

/// The accounts a member cannot see now.
///
/// # Errors
/// [`LogError`].
pub async fn hidden_now(
    log: &Log,
    connection: &mut PgConnection,
    lane: Lane,
    family_id: FamilyId,
    member_id: MemberId,
) -> Result<Vec<AccountId>, LogError> {
    Ok(sight_now(log, connection, lane, family_id, member_id).await?.hidden)
}

/// A place that somebody had in a family, as it was when it ended.
#[derive(Clone, Debug)]
pub struct PastPlace {
    /// What they were last.
    pub member: Member,
    /// What the family was called then.
    pub family_name: String,
    /// The event that ended it.
    pub ended: Last,
    /// The accounts that they could not see then.
    pub hidden: Vec<AccountId>,
}

/// The places that somebody has left or was removed from; none of a family that was deleted, and none that was erased.
///
/// # Errors
/// [`LogError`].
pub async fn past_places(
    log: &Log,
    connection: &mut PgConnection,
    lane: Lane,
    family_id: FamilyId,
    user_id: UserId,
) -> Result<Vec<PastPlace>, LogError> {
    let mut family = Family::default();
    let mut ended = Vec::new();
    for (record, event) in family_events(log, connection, lane, family_id).await? {
        let over = match &event {
            FamilyEvent::MemberLeft(left) => Some(left.member_id),
            FamilyEvent::MemberRemoved(removed) => Some(removed.member_id),
            _ => None,
        };
        let place = family.place_of_user(user_id);
        if let Some(member) = place.filter(|member| over == Some(member.member_id)) {
            ended.push((member.clone(), family.clone(), Last::of(&record)));
        }
        cqrs_es::Aggregate::apply(&mut family, event);
    }
    if !family.exists() {
        return Ok(Vec::new());
    }
    ended.retain(|(member, ..)| family.not_erased(member.member_id).is_ok());
    if ended.is_empty() {
        return Ok(Vec::new());
    }
    let mut told = told(connection, lane, family_id).await?;
    // The latest first, so that what was told after an earlier one can go.
    let mut places: Vec<PastPlace> = Vec::with_capacity(ended.len());
    for (member, then, last) in ended.into_iter().rev() {
        told.retain(|(record, _)| record.family_seq < last.family_seq);
        let accounts = accounts_of(&told);
        let all = accounts.iter().map(|(account_id, account)| (*account_id, account));
        places.push(PastPlace {
            hidden: hidden_from(&then, &member, all),
            family_name: then.name().unwrap_or_default().to_owned(),
            member,
            ended: last,
        });
    }
    places.reverse();
    Ok(places)
}

/// Is an account of this owner's hidden from a member, as things are now? Everything is from who is no member.
///
/// # Errors
/// [`LogError`].
pub async fn hides_from(
    log: &Log,
    connection: &mut PgConnection,
    lane: Lane,
    family_id: FamilyId,
    owner: MemberId,
    from: MemberId,
) -> Result<bool, LogError> {
    let family = family_now(log, &mut *connection, lane, family_id).await?;
    let Ok(member) = family.member(from) else {
        return Ok(true);
    };
    let accounts = accounts_of(&told(connection, lane, family_id).await?);
    let theirs = accounts.iter().filter(|(_, account)| account.owner() == Some(owner));
    Ok(!hidden_from(
        &family,
        member,
        theirs.map(|(account_id, account)| (*account_id, account)),
    )
    .is_empty())
}

/// What was said about the sharing of accounts that a member looks after (their own, those of the young, as a parent the
/// family's) or that the member may see because of it; each with the record that says so. Nothing of an account that is hidden
/// from them.
///
/// # Errors
/// [`LogError`].
pub async fn shares_told(
    log: &Log,
    connection: &mut PgConnection,
    lane: Lane,
    family_id: FamilyId,
    member_id: MemberId,
) -> Result<Vec<(Record, AccountShared)>, LogError> {
    let family = family_now(log, &mut *connection, lane, family_id).await?;
    let Ok(member) = family.member(member_id) else {
        return Ok(Vec::new());
    };
    let told = told(connection, lane, family_id).await?;
    let accounts = accounts_of(&told);
    let shares = told.into_iter().filter_map(|(record, event)| match event {
        LedgerAccountEvent::AccountShared(shared) => Some((record, shared)),
        _ => None,
    });
    let is_theirs_to_know = |shared: &AccountShared| {
        accounts
            .get(&shared.account_id)
            .is_some_and(|account| may_know(&family, member, account, shared.member_id))
    };
    Ok(shares.filter(|(_, shared)| is_theirs_to_know(shared)).collect())
}

fn may_know(family: &Family, member: &Member, account: &LedgerAccount, said_of: MemberId) -> bool {
    let held = account.held(family, member.member_id);
    let is_looked_after = held.owner.is_none() || held.owner == Some(member.member_id) || held.is_of_the_young();
    let is_hidden = account.level_for(family, member) == ShareLevel::None;
    !is_hidden && (is_looked_after || said_of == member.member_id)
}

/// What the log tells of the family's accounts: that they were opened, and how they were shared. Their names are not opened.
async fn told(
    connection: &mut PgConnection,
    lane: Lane,
    family: FamilyId,
) -> Result<Vec<(Record, LedgerAccountEvent)>, LogError> {
    let mut told = Vec::new();
    for record in read_sharing_in(connection, lane, family).await? {
        let event = record.decode_stored().map_err(|cause| LogError::Decode {
            family_id: family,
            family_seq: record.family_seq,
            cause,
        })?;
        if let LedgerEvent::LedgerAccount(event) = event {
            told.push((record, event));
        }
    }
    Ok(told)
}

/// The family's accounts as the log has them now, with whose they are and how they are shared, but without balances.
fn accounts_of(told: &[(Record, LedgerAccountEvent)]) -> BTreeMap<AccountId, LedgerAccount> {
    let mut accounts: BTreeMap<AccountId, LedgerAccount> = BTreeMap::new();
    for (_, event) in told {
        let account_id = match event {
            LedgerAccountEvent::AccountOpened(opened) => opened.account_id,
            LedgerAccountEvent::AccountShared(shared) => shared.account_id,
            _ => continue,
        };
        cqrs_es::Aggregate::apply(accounts.entry(account_id).or_default(), event.clone());
    }
    accounts
}
