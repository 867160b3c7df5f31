//! Requests to spend beyond a limit: from asking to the one decision, or to an end without one.
//!
//! A request is never changed. Approving it books exactly what was asked for in the append that records the approval, so there
//! is no approved thing that could be altered, used twice or used late. It is another's to decide: an adult, of an account whose
//! money they may move themselves. Whatever makes it pointless ends it in the append that does so: the member goes, becomes an
//! adult, consent is taken back, the limit is gone or leaves room now. After its last day it is over by itself.

use crate::{
    decide::{Context, Decision, Stop},
    id::{MemberId, SpendingRequestId},
    ledger_account::{LedgerAccount, ShareLevel, enough},
    spending::{EndedBecause, Spending, SpendingRefusal, SpendingRequestEnded, SpendingRequested},
};

/// Most requests of one member that wait. Source: ours.
pub(crate) const STANDING_MAX: usize = 20;
/// How many days after today a request may stand at most, and does when nothing is said. Source: ours.
pub(crate) const UNTIL_DAYS_MAX: u64 = 7;

/// A request that waits, for the adult who asks to decide it.
///
/// # Errors
/// [`SpendingRefusal::UnknownRequest`], also for one about an account that is hidden from them; a refusal that the share is too
/// small; [`SpendingRefusal::OwnRequest`], [`SpendingRefusal::RequestDone`], [`SpendingRefusal::RequestOver`].
pub(crate) fn decidable<'a>(
    context: &Context<'a>,
    member_id: MemberId,
    request_id: SpendingRequestId,
) -> Result<&'a SpendingRequested, Stop> {
    let asking = context.asking_member()?;
    let spending = context.get::<Spending>(member_id.uuid())?;
    let account_id = spending
        .account_of_request(request_id)
        .ok_or(SpendingRefusal::UnknownRequest)?;
    let account = context.get::<LedgerAccount>(account_id.uuid())?;
    let level = account.level_for(context.family()?, asking);
    enough(level, ShareLevel::Full, SpendingRefusal::UnknownRequest)?;
    if asking.member_id == member_id {
        return Err(SpendingRefusal::OwnRequest.into());
    }
    let request = spending
        .standing_request(request_id)
        .ok_or(SpendingRefusal::RequestDone)?;
    if is_over(context, request)? {
        return Err(SpendingRefusal::RequestOver.into());
    }
    Ok(request)
}

/// Is its last day over?
pub(crate) fn is_over(context: &Context<'_>, request: &SpendingRequested) -> Result<bool, Stop> {
    Ok(context.today()? > request.until_on)
}

/// Ends every request of a member that waits.
///
/// # Errors
/// [`Stop::Load`] as usual.
pub(crate) fn end_all(
    context: &Context<'_>,
    decision: &mut Decision,
    member_id: MemberId,
    because: EndedBecause,
) -> Result<(), Stop> {
    end_some(context, decision, member_id, because, |_| Ok(true))
}

/// Ends those requests of a member that wait and are pointless.
///
/// # Errors
/// As [`end_all`], and what `is_pointless` stops with.
pub(crate) fn end_some(
    context: &Context<'_>,
    decision: &mut Decision,
    member_id: MemberId,
    because: EndedBecause,
    is_pointless: impl Fn(&SpendingRequested) -> Result<bool, Stop>,
) -> Result<(), Stop> {
    let today = context.today()?;
    for request in context.get::<Spending>(member_id.uuid())?.standing() {
        if is_pointless(request)? {
            let ended = SpendingRequestEnded {
                request_id: request.request_id,
                member_id,
                because,
            };
            decision.record::<Spending>(member_id.uuid(), ended.into(), today);
        }
    }
    Ok(())
}
