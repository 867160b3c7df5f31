//! A statement is a proof: opening + rows = closing, and one statement opens where the one before it closed.
//!
//! A proof needs both balances; a file that states one or none proves nothing and is not blamed for it. A proof that
//! fails means rows are missing, doubled or altered, and the importer refuses the statement whole. Between the two
//! stands a statement with broken rows: the difference is theirs when it equals their amounts, or when an amount of
//! theirs is unknown; then the rest may be imported, with the broken rows named and the difference told.

use std::fmt;

use domain::{Currency, Money, MoneyError, statement::Statement};
use schemars::JsonSchema;
use serde::Serialize;

use super::reading::{BrokenRow, StatementReading};

/// What the stated balances say about the rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum Proof {
    /// Opening + rows = closing.
    Proved,
    /// An opening or a closing balance is missing.
    NotStated,
    /// The difference is accounted for by the broken rows, or may be.
    BrokenRows {
        /// Closing − (opening + rows read), signed.
        difference: Money,
    },
    /// The rows are not what the balances say; nothing of the statement is to be trusted.
    Failed(ProofError),
}

/// Why a proof fails. All amounts are signed and in the statement's currency.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema, thiserror::Error)]
pub struct ProofError {
    /// Balance before the first row.
    pub opening: Money,
    /// Sum of the rows.
    pub rows: Money,
    /// Balance after the last row.
    pub closing: Money,
    /// Closing − (opening + rows).
    pub difference: Money,
    /// Where exactly it fails, in words, where that is known: a row of a running balance, a statement of a chain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
}

impl fmt::Display for ProofError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            opening,
            rows,
            closing,
            difference,
            place,
        } = self;
        if let Some(place) = place {
            write!(f, "{place}; ")?;
        }
        write!(
            f,
            "opening {opening} and rows {rows} should make closing {closing}: the difference is {difference}"
        )
    }
}

/// Proves a statement: opening + rows = closing. A statement without one of the balances passes.
///
/// # Errors
/// [`ProofError`] with the sums, when they do not meet.
pub fn prove(statement: &Statement) -> Result<(), ProofError> {
    let (Some(opening), Some(closing)) = (statement.opening, statement.closing) else {
        return Ok(());
    };
    match sums(statement, opening, closing) {
        Ok((_, difference)) if difference.is_zero() => Ok(()),
        Ok((rows, difference)) => Err(ProofError {
            opening,
            rows,
            closing,
            difference,
            place: None,
        }),
        Err(error) => {
            let zero = Money::zero(statement.currency);
            let place = Some(format!("the rows cannot be added: {error}"));
            Err(ProofError {
                opening,
                rows: zero,
                closing,
                difference: zero,
                place,
            })
        }
    }
}

/// Merges the statements of one account and currency into one, in the order they are first met: daily statements,
/// pages, intraday reports. Each must open where the one before it closed, read in the file's order or, when that
/// fails, in the opposite one; a break gives [`Proof::Failed`] with the two statements named.
pub fn join_by_account(readings: Vec<StatementReading>) -> Vec<StatementReading> {
    let mut chains: Vec<Vec<StatementReading>> = Vec::new();
    let mut places = std::collections::HashMap::<(String, Currency), usize>::new();
    for reading in readings {
        let key = (reading.statement.bank_account.clone(), reading.statement.currency);
        let place = *places.entry(key).or_insert_with(|| {
            chains.push(Vec::new());
            chains.len() - 1
        });
        chains[place].push(reading);
    }
    chains.into_iter().filter_map(join).collect()
}

impl Proof {
    /// Judges a statement in the light of its broken rows.
    pub(crate) fn of(statement: &Statement, broken: &[BrokenRow]) -> Self {
        if statement.opening.is_none() || statement.closing.is_none() {
            return Self::NotStated;
        }
        let error = match prove(statement) {
            Ok(()) => return Self::Proved,
            Err(error) => error,
        };
        let known: Option<Vec<Money>> = broken.iter().map(|row| row.amount).collect();
        let owed = known.map(|amounts| sum(&amounts, statement.currency));
        match owed {
            _ if broken.is_empty() || error.place.is_some() => Self::Failed(error),
            Some(Ok(owed)) if owed != error.difference => Self::Failed(error),
            _ => Self::BrokenRows {
                difference: error.difference,
            },
        }
    }

    /// A proof that fails at a known place, whatever the sums are.
    pub(crate) fn failed_at(statement: &Statement, place: String) -> Self {
        let zero = Money::zero(statement.currency);
        let (opening, closing) = (statement.opening.unwrap_or(zero), statement.closing.unwrap_or(zero));
        let (rows, difference) = sums(statement, opening, closing).unwrap_or((zero, zero));
        Self::Failed(ProofError {
            opening,
            rows,
            closing,
            difference,
            place: Some(place),
        })
    }

    /// Must the statement be refused whole?
    pub fn is_failed(&self) -> bool {
        matches!(self, Self::Failed(_))
    }
}

/// The sum of the rows, and what is left to the closing balance.
fn sums(statement: &Statement, opening: Money, closing: Money) -> Result<(Money, Money), MoneyError> {
    let amounts: Vec<Money> = statement.rows.iter().map(|row| row.amount).collect();
    let rows = sum(&amounts, statement.currency)?;
    let difference = closing.checked_add(&opening.checked_add(&rows)?.negated())?;
    Ok((rows, difference))
}

fn sum(amounts: &[Money], currency: Currency) -> Result<Money, MoneyError> {
    amounts
        .iter()
        .try_fold(Money::zero(currency), |sum, amount| sum.checked_add(amount))
}

/// One statement of a chain of them; none of none.
fn join(mut parts: Vec<StatementReading>) -> Option<StatementReading> {
    if parts.len() < 2 {
        return parts.pop();
    }
    let mut gap = first_gap(&parts);
    if gap.is_some() {
        parts.reverse();
        match first_gap(&parts) {
            None => gap = None,
            Some(_) => parts.reverse(),
        }
    }
    let failed = parts.iter().find_map(|part| match &part.proof {
        Proof::Failed(error) => Some(error.clone()),
        _ => None,
    });
    let mut parts = parts.into_iter();
    let mut whole = parts.next()?;
    parts.for_each(|part| append(&mut whole, part));
    whole.proof = match failed.or(gap) {
        Some(error) => Proof::Failed(error),
        None => Proof::of(&whole.statement, &whole.broken),
    };
    Some(whole)
}

/// The first statement that does not open where the one before it closed.
fn first_gap(parts: &[StatementReading]) -> Option<ProofError> {
    parts.windows(2).find_map(|pair| {
        let (before, after) = (&pair[0], &pair[1]);
        let (closed, opens) = (before.statement.closing?, after.statement.opening?);
        let difference = opens.checked_add(&closed.negated()).ok()?;
        let place = format!(
            "the statement at line {} opens at {opens}, but the one before it, at line {}, closes at {closed}",
            after.line, before.line
        );
        let rows = Money::zero(after.statement.currency);
        (!difference.is_zero()).then_some(ProofError {
            opening: closed,
            rows,
            closing: opens,
            difference,
            place: Some(place),
        })
    })
}

fn append(whole: &mut StatementReading, part: StatementReading) {
    whole.statement.rows.extend(part.statement.rows);
    whole.statement.closing = part.statement.closing;
    whole.statement.closing_on = part.statement.closing_on;
    whole.rows_read += part.rows_read;
    whole.pending += part.pending;
    whole.broken.extend(part.broken);
    whole.remarks.extend(part.remarks);
    whole.first_on = whole.first_on.into_iter().chain(part.first_on).min();
    whole.last_on = whole.last_on.into_iter().chain(part.last_on).max();
}

#[cfg(test)]
mod tests {
    use chrono::NaiveDate;
    use domain::statement::BankTransaction;

    use super::*;
    use crate::banks::reading::Findings;

    fn euro(amount: &str) -> Money {
        Money::parse(amount, "EUR".parse().expect("known")).expect("money")
    }

    fn statement(opening: Option<&str>, rows: &[&str], closing: Option<&str>) -> Statement {
        let row = |amount: &&str| BankTransaction {
            booked_on: NaiveDate::from_ymd_opt(2024, 1, 31).expect("a day"),
            value_on: None,
            amount: euro(amount),
            reference: None,
            counterparty: String::new(),
            remittance: String::new(),
            category: None,
        };
        Statement {
            bank_account: "1".into(),
            currency: "EUR".parse().expect("known"),
            opening: opening.map(euro),
            closing: closing.map(euro),
            closing_on: None,
            rows: rows.iter().map(row).collect(),
        }
    }

    fn reading(line: usize, opening: &str, rows: &[&str], closing: &str) -> StatementReading {
        StatementReading::of(
            statement(Some(opening), rows, Some(closing)),
            Findings {
                line,
                ..Findings::default()
            },
        )
    }

    fn broken(amount: Option<&str>) -> BrokenRow {
        BrokenRow {
            line: 1,
            field: "date".into(),
            problem: "bad".into(),
            amount: amount.map(euro),
        }
    }

    #[test]
    fn opening_and_rows_make_closing() {
        assert_eq!(
            prove(&statement(Some("1.00"), &["2.00", "-0.50"], Some("2.50"))),
            Ok(())
        );
        assert_eq!(prove(&statement(None, &["2.00"], Some("2.50"))), Ok(()));
        let error = prove(&statement(Some("1.00"), &["2.00"], Some("2.50"))).expect_err("a cent is a cent");
        assert_eq!((error.rows, error.difference), (euro("2.00"), euro("-0.50")));
        assert_eq!(
            error.to_string(),
            "opening 1.00 EUR and rows 2.00 EUR should make closing 2.50 EUR: the difference is -0.50 EUR"
        );
    }

    #[test]
    fn broken_rows_may_owe_the_difference_but_no_more() {
        let short = statement(Some("0.00"), &["1.00"], Some("3.00"));
        assert_eq!(
            Proof::of(&short, &[broken(None)]),
            Proof::BrokenRows {
                difference: euro("2.00")
            }
        );
        assert_eq!(
            Proof::of(&short, &[broken(Some("2.00"))]),
            Proof::BrokenRows {
                difference: euro("2.00")
            }
        );
        assert!(Proof::of(&short, &[broken(Some("1.50"))]).is_failed());
        assert!(Proof::of(&short, &[]).is_failed());
    }

    #[test]
    fn a_chain_of_statements_becomes_one() {
        let joined = join_by_account(vec![
            reading(1, "0.00", &["1.00"], "1.00"),
            reading(9, "1.00", &["-3.00"], "-2.00"),
        ]);
        assert_eq!(joined.len(), 1);
        assert_eq!((joined[0].rows_read, &joined[0].proof), (2, &Proof::Proved));
        assert_eq!(
            (joined[0].statement.opening, joined[0].statement.closing),
            (Some(euro("0.00")), Some(euro("-2.00")))
        );
    }

    #[test]
    fn a_chain_told_newest_first_is_turned_round() {
        let joined = join_by_account(vec![
            reading(1, "1.00", &["-3.00"], "-2.00"),
            reading(9, "0.00", &["1.00"], "1.00"),
        ]);
        assert_eq!((joined.len(), &joined[0].proof), (1, &Proof::Proved));
        assert_eq!(joined[0].statement.closing, Some(euro("-2.00")));
    }

    #[test]
    fn a_gap_in_a_chain_is_named() {
        let joined = join_by_account(vec![
            reading(1, "0.00", &["1.00"], "1.00"),
            reading(9, "5.00", &[], "5.00"),
        ]);
        let Proof::Failed(error) = &joined[0].proof else {
            panic!("the gap must fail the proof")
        };
        assert_eq!(error.difference, euro("4.00"));
        assert!(
            error
                .to_string()
                .starts_with("the statement at line 9 opens at 5.00 EUR, but the one before it, at line 1")
        );
    }

    #[test]
    fn two_accounts_stay_two() {
        let mut other = reading(5, "7.00", &[], "7.00");
        other.statement.bank_account = "2".into();
        assert_eq!(join_by_account(vec![reading(1, "0.00", &[], "0.00"), other]).len(), 2);
    }
}
