//! A grown-up takes an import back: every entry it brought is reversed, every category it named for an earlier row is taken
//! back, and the same file may be imported again.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    bank_connection::{BankConnection, BankConnectionRefusal, BankLedger, BankSyncUndone, commands::record_opening},
    decide::{Context, Decide, Decision, Stop},
    entry::{Entry, EntryRecategorised, EntryReversed, commands::moved},
    id::ImportId,
    journal::{Poster, reversed},
    ledger_account::{LedgerAccount, ShareLevel, enough},
    statement_import::{ListedEntry, StatementImport, StatementImportUndone},
};

/// A grown-up takes an import back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UndoImport {
    /// The import; the latest of its connection first.
    pub import_id: ImportId,
}

impl Decide for UndoImport {
    const NAME: &'static str = "undo-import";
    const SUMMARY: &'static str = "Take an import back: the entries it brought and the categories it named";

    fn decide(&self, context: &Context<'_>) -> Result<Decision, Stop> {
        let import = context.get::<StatementImport>(self.import_id.uuid())?;
        let connection_id = import.connection_id().ok_or(BankConnectionRefusal::UnknownImport)?;
        let connection = context.get::<BankConnection>(connection_id.uuid())?;
        let account_id = connection.connected()?.account_id;
        let account = context.get::<LedgerAccount>(account_id.uuid())?;
        let level = account.level_for(context.family()?, context.asking_member()?);
        enough(level, ShareLevel::Full, BankConnectionRefusal::UnknownImport)?;
        if import.is_undone() {
            return Err(BankConnectionRefusal::AlreadyUndone.into());
        }
        let is_latest = is_same(connection.ledger(), import.ledger_after());
        let changed_nothing = import.booked().next().is_none();
        if !is_latest && !changed_nothing {
            return Err(BankConnectionRefusal::NotTheLatest.into());
        }
        let mut decision = Decision::default();
        let mut poster = Poster::default();
        let mut entries_reversed = 0;
        let listed = import.entries();
        let states = context.get_all::<Entry>(listed.iter().map(|listed| listed.entry_id().uuid()))?;
        for (listed, entry) in listed.iter().zip(states) {
            let (true, Some(day)) = (entry.is_in_force(), entry.effective_on()) else {
                continue;
            };
            match *listed {
                ListedEntry::Booked { entry_id } => {
                    let reversal = EntryReversed {
                        entry_id,
                        postings: reversed(entry.postings()),
                        reason: "import undone".to_owned(),
                    };
                    poster.post(context, &mut decision, entry_id, reversal, day)?;
                    entries_reversed += 1;
                }
                // What somebody has moved on since stays where they put it.
                ListedEntry::Categorised { entry_id, from, to } if entry.is_in(to) => {
                    let taken_back = EntryRecategorised {
                        entry_id,
                        from: to,
                        to: from,
                        postings: moved(entry.postings(), to, from)?,
                    };
                    poster.post(context, &mut decision, entry_id, taken_back, day)?;
                }
                ListedEntry::Categorised { .. } => {}
            }
        }
        let mut ledger = if changed_nothing {
            connection.ledger().cloned()
        } else {
            import.ledger_before().cloned()
        };
        if let Some(before) = ledger.as_mut().filter(|_| !changed_nothing) {
            self.restore_opening(context, &mut decision, &mut poster, account_id, before)?;
        }
        let today = context.today()?;
        let undone = StatementImportUndone {
            import_id: self.import_id,
        };
        decision.record::<StatementImport>(self.import_id.uuid(), undone.into(), today);
        let undone = BankSyncUndone {
            connection_id,
            import_id: self.import_id,
            entries_reversed,
            ledger,
        };
        decision.record::<BankConnection>(connection_id.uuid(), undone.into(), today);
        Ok(decision)
    }
}

impl UndoImport {
    /// An import of an earlier statement had replaced the opening entry: put the one of before in force again.
    fn restore_opening(
        &self,
        context: &Context<'_>,
        decision: &mut Decision,
        poster: &mut Poster,
        account_id: crate::id::AccountId,
        before: &mut BankLedger,
    ) -> Result<(), Stop> {
        let Some(opening_entry) = before.opening_entry else {
            return Ok(());
        };
        if context.get::<Entry>(opening_entry.uuid())?.is_in_force() {
            return Ok(());
        }
        let account = context.get::<LedgerAccount>(account_id.uuid())?;
        let currency = account.open_currency(account_id)?;
        let account_opening = account.opening_balance(currency);
        before.opening_entry = record_opening(context, decision, poster, account_id, before, account_opening)?;
        Ok(())
    }
}

/// The same sums and days, whichever entry records the opening balance.
fn is_same(a: Option<&BankLedger>, b: Option<&BankLedger>) -> bool {
    let without_entry = |ledger: Option<&BankLedger>| {
        ledger.map(|ledger| BankLedger {
            opening_entry: None,
            ..ledger.clone()
        })
    };
    without_entry(a) == without_entry(b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Scenario;

    #[test]
    fn an_import_of_nobodys_is_unknown() {
        let command = UndoImport {
            import_id: ImportId::from_uuid(uuid::Uuid::nil()),
        };
        Scenario::family().when(&command).refused("unknown-import");
    }
}
