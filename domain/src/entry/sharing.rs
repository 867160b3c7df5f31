//! Who may do what with an entry: as much as with the accounts it moves.

use crate::{
    decide::{Context, Stop},
    entry::{Entry, EntryRefusal},
    id::EntryId,
    ledger_account::{LedgerAccount, ShareLevel, enough},
};

/// Something is said of an entry: whoever owns an account of it may have it kept.
///
/// # Errors
/// [`crate::family::FamilyRefusal::ConsentRequired`]; [`Stop::Load`] as usual.
pub fn check_consent_of_owners(context: &Context<'_>, entry: &Entry) -> Result<(), Stop> {
    let family = context.family()?;
    let accounts = context.get_all::<LedgerAccount>(entry.accounts().map(|account| account.uuid()))?;
    for owner in accounts.iter().filter_map(|account| account.owner()) {
        family.check_consent(owner)?;
    }
    Ok(())
}

/// An entry of all whose accounts the member who asks has at least this level. One they see no side of is unknown to them.
///
/// # Errors
/// [`EntryRefusal::UnknownEntry`], also for one that is hidden; a refusal that the share is too small; [`Stop::Load`] as usual.
pub fn shared_entry<'a>(context: &Context<'a>, entry_id: EntryId, needed: ShareLevel) -> Result<&'a Entry, Stop> {
    let (member, family) = (context.asking_member()?, context.family()?);
    let entry = context.get::<Entry>(entry_id.uuid())?;
    if !entry.exists() {
        return Err(EntryRefusal::UnknownEntry.into());
    }
    let accounts = context.get_all::<LedgerAccount>(entry.accounts().map(|account| account.uuid()))?;
    let levels = || accounts.iter().map(|account| account.level_for(family, member));
    if levels().all(|level| level == ShareLevel::None) {
        return Err(EntryRefusal::UnknownEntry.into());
    }
    for level in levels() {
        // Of an entry one side of which is seen, the other is there, if nothing is known of it.
        enough(level.max(ShareLevel::View), needed, EntryRefusal::UnknownEntry)?;
    }
    Ok(entry)
}
