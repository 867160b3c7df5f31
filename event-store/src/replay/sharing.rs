//! Whose the accounts of a family are and how they are shared, as the log has it now.

use std::collections::BTreeMap;

use domain::{
    aggregate::LedgerEvent,
    id::{AccountId, FamilyId, MemberId},
    ledger_account::{LedgerAccount, LedgerAccountEvent, hidden_from},
};
use sqlx::{PgConnection, PgExecutor};

use super::family_now;
use crate::{Lane, Log, LogError, load::read_sharing_in};

/// The accounts a member cannot see now: none of them exist as far as they are told.
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
    let family = family_now(log, &mut *connection, lane, family_id).await?;
    let accounts = accounts_now(connection, lane, family_id).await?;
    let all = accounts.iter().map(|(account_id, account)| (*account_id, account));
    Ok(match family.member(member_id) {
        Ok(member) => hidden_from(&family, member, all),
        Err(_) => accounts.keys().copied().collect(),
    })
}

/// The family's accounts as the log has them now, with whose they are and how they are shared, but without balances.
///
/// # Errors
/// [`LogError`].
async fn accounts_now(
    connection: impl PgExecutor<'_>,
    lane: Lane,
    family: FamilyId,
) -> Result<BTreeMap<AccountId, LedgerAccount>, LogError> {
    let mut accounts: BTreeMap<AccountId, LedgerAccount> = BTreeMap::new();
    for record in read_sharing_in(connection, lane, family).await? {
        // Whose they are and who sees them is in clear; their names are not asked for.
        let event = record.decode_stored().map_err(|cause| LogError::Decode {
            family_id: family,
            family_seq: record.family_seq,
            cause,
        })?;
        if let LedgerEvent::LedgerAccount(event) = event {
            let account_id = match &event {
                LedgerAccountEvent::AccountOpened(opened) => opened.account_id,
                LedgerAccountEvent::AccountShared(shared) => shared.account_id,
                _ => continue,
            };
            cqrs_es::Aggregate::apply(accounts.entry(account_id).or_default(), event);
        }
    }
    Ok(accounts)
}
