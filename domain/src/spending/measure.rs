//! Where entries meet limits. [`crate::journal::Poster`] asks for every entry it records, so nothing goes past.
//!
//! - What counts is money that leaves an account in an entry which a teen or child with a limit enters themselves. A transfer
//!   between two accounts that are both their own moves nothing out of their hands, and does not count.
//! - What an adult enters counts for nobody's limit: not what they enter in a child's account, and not what they approve.
//! - It counts on the day it is for. Days ahead, and days further back than [`BACK_DAYS_MAX`], are for adults to enter: else the
//!   limits of days long past and still to come could be spent today.
//! - Undoing an entry gives back what it used up, whoever undoes it and whatever day that is for. Undoing one that used up nothing,
//!   as a transfer from before the limit, counts when it takes money out of hands that are not their own: it is a transfer back.

use chrono::{Days, NaiveDate};

use super::{Spending, SpendingCounted, SpendingGivenBack, SpendingRefusal};
use crate::{
    Money,
    decide::{Context, Decision, Stop},
    entry::{Entry, EntryEvent},
    id::{EntryId, MemberId},
    journal::PostingAccount,
    ledger_account::LedgerAccount,
};

/// How many days back a member with a limit enters spending by themselves. Source: ours; a week's receipts.
pub(crate) const BACK_DAYS_MAX: u64 = 7;

/// Counts an entry about to be recorded, or gives back what an undone one had used up.
///
/// # Errors
/// [`SpendingRefusal`] when it is beyond the limit of who enters it; [`Stop::Load`] as usual.
pub(crate) fn measure(
    context: &Context<'_>,
    decision: &mut Decision,
    entry_id: EntryId,
    event: &EntryEvent,
    effective_on: NaiveDate,
) -> Result<(), Stop> {
    match event {
        EntryEvent::ExpenseAdded(_) | EntryEvent::TransferMade(_) => {
            count(context, decision, entry_id, event, effective_on)
        }
        EntryEvent::EntryReversed(_) => {
            if give_back(context, decision, entry_id, effective_on)? {
                Ok(())
            } else {
                count(context, decision, entry_id, event, effective_on)
            }
        }
        _ => Ok(()),
    }
}

fn count(
    context: &Context<'_>,
    decision: &mut Decision,
    entry_id: EntryId,
    event: &EntryEvent,
    day: NaiveDate,
) -> Result<(), Stop> {
    let member = context.asking_member()?;
    if !member.role.is_young() {
        return Ok(());
    }
    let member_id = member.member_id;
    let spending = context.get::<Spending>(member_id.uuid())?;
    let (Some(limit), Some(money)) = (spending.limit(), leaving(context, member_id, event)?) else {
        return Ok(());
    };
    let today = context.today()?;
    let earliest = today.checked_sub_days(Days::new(BACK_DAYS_MAX)).unwrap_or(today);
    if !(earliest..=today).contains(&day) {
        return Err(SpendingRefusal::DayOutOfRange {
            day,
            days: BACK_DAYS_MAX,
        }
        .into());
    }
    spending.check(limit, context.family()?.calendar(), day, &money)?;
    let counted = SpendingCounted {
        member_id,
        entry_id,
        spent_on: day,
        money,
    };
    decision.record::<Spending>(member_id.uuid(), counted.into(), day);
    Ok(())
}

/// The money that leaves the hands of who enters it; none when it stays in them.
fn leaving(context: &Context<'_>, member_id: MemberId, event: &EntryEvent) -> Result<Option<Money>, Stop> {
    let accounts = event
        .postings()
        .iter()
        .filter_map(|posting| match posting.ledger_account {
            PostingAccount::Account(account_id) => Some((account_id, posting.money)),
            _ => None,
        });
    let (mut left, mut stays) = (None, !matches!(event, EntryEvent::ExpenseAdded(_)));
    for (account_id, money) in accounts {
        stays &= context.get::<LedgerAccount>(account_id.uuid())?.owner() == Some(member_id);
        if money.is_negative() {
            left = Some(money.negated());
        }
    }
    Ok(left.filter(|_| !stays))
}

/// Gives back what an entry had used up; false when it had used up nothing.
fn give_back(
    context: &Context<'_>,
    decision: &mut Decision,
    entry_id: EntryId,
    effective_on: NaiveDate,
) -> Result<bool, Stop> {
    let entry = context.get::<Entry>(entry_id.uuid())?;
    let (Some(member_id), Some(spent_on)) = (entry.entered_by(), entry.effective_on()) else {
        return Ok(false);
    };
    let Some(money) = context
        .get::<Spending>(member_id.uuid())?
        .counted_with(spent_on, entry_id)
    else {
        return Ok(false);
    };
    let back = SpendingGivenBack {
        member_id,
        entry_id,
        spent_on,
        money,
    };
    decision.record::<Spending>(member_id.uuid(), back.into(), effective_on);
    Ok(true)
}
