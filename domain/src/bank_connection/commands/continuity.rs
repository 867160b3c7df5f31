//! A file is a proof: opening + rows = closing; and one file continues another.
//!
//! A statement that states both balances is checked on its own. One that states only its closing balance (as OFX does) gets
//! its opening from the first import on; from then on what the ledger has must lead to what the bank says. What does not add
//! up is refused whole: a statement between is missing, or the file belongs to another account.

use chrono::NaiveDate;

use crate::{
    Money,
    bank_connection::{BankConnectionRefusal, BankLedger},
    statement::Statement,
};

/// What the statements add up to once the new rows are in.
pub(super) struct Continued {
    /// The ledger of the bank's side after the import.
    pub ledger: BankLedger,
    /// The opening balance that has to stand in the books, when it is not the one that stands there now.
    pub opening_changes: bool,
}

/// Checks a statement on its own.
pub(super) fn prove(statement: &Statement) -> Result<(), BankConnectionRefusal> {
    let (Some(opening), Some(closing)) = (statement.opening, statement.closing) else {
        return Ok(());
    };
    let rows = sum(
        statement.rows.iter().map(|row| row.amount),
        Money::zero(statement.currency),
    );
    let is_proved = opening.checked_add(&rows).is_ok_and(|total| total == closing);
    if is_proved {
        Ok(())
    } else {
        Err(BankConnectionRefusal::NotProved { opening, rows, closing })
    }
}

/// Continues the ledger with a statement of which `new_rows` is the sum of what is new; the first one founds it on `account_opening`
/// when the file states no balance. None when there is nothing to continue with.
pub(super) fn continue_with(
    before: Option<&BankLedger>,
    statement: &Statement,
    new_rows: Money,
    new_count: usize,
    account_opening: Money,
) -> Result<Option<Continued>, BankConnectionRefusal> {
    let days = || {
        statement
            .rows
            .iter()
            .filter(|row| !row.amount.is_zero())
            .map(|row| row.booked_on)
    };
    let (Some(first_on), Some(last_on)) = (days().min(), days().max()) else {
        return Ok(None);
    };
    let Some(before) = before else {
        return Ok(Some(found(statement, first_on, last_on, account_opening)));
    };
    if new_count == 0 {
        return Ok(None);
    }
    let mut ledger = before.clone();
    ledger.first_on = ledger.first_on.min(first_on);
    ledger.last_on = ledger.last_on.max(last_on);
    let states_balance = statement.opening.is_some() || statement.closing.is_some();
    let is_backfill = last_on < before.first_on && (states_balance || before.is_proved);
    if is_backfill {
        if let Some(closing) = statement.closing.filter(|closing| *closing != before.opening) {
            return Err(BankConnectionRefusal::Discontinuous {
                ledger: before.opening,
                bank: closing,
                day: last_on,
            });
        }
        ledger.opening = plus(before.opening, new_rows.negated());
        return Ok(Some(Continued {
            opening_changes: ledger.opening != before.opening,
            ledger,
        }));
    }
    ledger.balance = plus(before.balance, new_rows);
    let discontinuous = |bank| BankConnectionRefusal::Discontinuous {
        ledger: ledger.balance,
        bank,
        day: last_on,
    };
    if last_on >= before.last_on {
        if let Some(closing) = statement.closing.filter(|closing| *closing != ledger.balance) {
            return Err(discontinuous(closing));
        }
        ledger.is_proved = statement.closing.is_some();
    } else if before.is_proved && !new_rows.is_zero() {
        return Err(discontinuous(before.balance));
    }
    Ok(Some(Continued {
        ledger,
        opening_changes: false,
    }))
}

fn found(statement: &Statement, first_on: NaiveDate, last_on: NaiveDate, account_opening: Money) -> Continued {
    let rows = sum(
        statement.rows.iter().map(|row| row.amount),
        Money::zero(statement.currency),
    );
    let opening = match (statement.opening, statement.closing) {
        (Some(opening), _) => opening,
        (None, Some(closing)) => plus(closing, rows.negated()),
        (None, None) => account_opening,
    };
    let ledger = BankLedger {
        opening,
        opening_entry: None,
        first_on,
        last_on,
        balance: plus(opening, rows),
        is_proved: statement.closing.is_some(),
    };
    Continued {
        opening_changes: opening != account_opening,
        ledger,
    }
}

/// Sums money of one currency; a statement's rows and balances are checked to be before this is asked.
pub(super) fn sum(amounts: impl Iterator<Item = Money>, zero: Money) -> Money {
    amounts.fold(zero, plus)
}

fn plus(a: Money, b: Money) -> Money {
    // Both are bounded far below what a decimal holds, and of one currency.
    a.checked_add(&b).unwrap_or(a)
}
