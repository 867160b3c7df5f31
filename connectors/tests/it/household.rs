//! Eleven years of one household: OFX and CSV of two accounts, against what beancount computed from the same books.

use std::collections::BTreeMap;

use connectors::banks::statement_file::{Proof, StatementReading, read};
use domain::Money;

use crate::samples::{options, sample};

fn only(name: &str) -> Option<StatementReading> {
    let mut reading = read(&sample(name)?, &options("USD")).expect(name);
    assert_eq!((reading.statements.len(), reading.refused.len()), (1, 0), "{name}");
    reading.statements.pop()
}

#[test]
fn both_formats_of_both_accounts_hold_the_expected_rows() {
    for account in ["checking", "card"] {
        let (Some(expected), Some(ofx)) = (
            sample("household/expected.json"),
            only(&format!("household/{account}.ofx")),
        ) else {
            return;
        };
        let csv = only(&format!("household/{account}.csv")).expect("samples");
        let expected: serde_json::Value = serde_json::from_slice(&expected).expect("json");
        let expected = &expected["accounts"][account];
        for reading in [&ofx, &csv] {
            assert_eq!(reading.rows_read as u64, expected["rows"].as_u64().expect("a count"));
            assert!(reading.broken.is_empty() && reading.remarks.is_empty() && reading.pending == 0);
            let ends = [reading.first_on, reading.last_on].map(|day| day.map(|day| day.to_string()));
            assert_eq!(
                ends,
                [expected["first"].as_str(), expected["last"].as_str()].map(|day| day.map(str::to_owned))
            );
            let closing = reading.statement.closing.map(|money| money.amount().to_string());
            assert_eq!(closing.as_deref(), expected["closing_balance"].as_str());
        }
        // Only the CSV has a running balance, so only it can be proved.
        assert_eq!((&ofx.proof, &csv.proof), (&Proof::NotStated, &Proof::Proved));
        assert!(csv.statement.opening.is_some_and(|opening| opening.is_zero()));
        let rows = |reading: &StatementReading| -> Vec<_> {
            let row = |row: &domain::statement::BankTransaction| {
                (
                    row.booked_on,
                    row.amount,
                    row.counterparty.clone(),
                    row.remittance.clone(),
                )
            };
            reading.statement.rows.iter().map(row).collect()
        };
        assert_eq!(rows(&ofx), rows(&csv));
    }
}

#[test]
fn the_rows_of_ofx_sum_to_its_closing_balance() {
    for account in ["checking", "card"] {
        let Some(reading) = only(&format!("household/{account}.ofx")) else {
            return;
        };
        let statement = reading.statement;
        let zero = Money::zero(statement.currency);
        let sum = statement
            .rows
            .iter()
            .try_fold(zero, |sum, row| sum.checked_add(&row.amount))
            .expect("sums");
        assert_eq!(Some(sum), statement.closing);
    }
}

#[test]
fn spending_by_category_and_month_is_what_beancount_says() {
    let Some(expected) = sample("household/expected.json") else {
        return;
    };
    let expected: serde_json::Value = serde_json::from_slice(&expected).expect("json");
    let (mut by_category, mut by_month) = (BTreeMap::<String, Money>::new(), BTreeMap::<String, Money>::new());
    for account in ["checking", "card"] {
        for row in only(&format!("household/{account}.csv"))
            .expect("samples")
            .statement
            .rows
        {
            let category = row.category.expect("every row has one");
            if category.starts_with("Expenses:") {
                let spent = row.amount.negated();
                let months = by_month
                    .entry(row.booked_on.format("%Y-%m").to_string())
                    .or_insert(Money::zero(spent.currency()));
                *months = months.checked_add(&spent).expect("sums");
                let categories = by_category.entry(category).or_insert(Money::zero(spent.currency()));
                *categories = categories.checked_add(&spent).expect("sums");
            }
        }
    }
    let told = |sums: BTreeMap<String, Money>| {
        sums.into_iter()
            .map(|(key, sum)| (key, sum.amount().to_string().into()))
            .collect()
    };
    let by_category: serde_json::Map<String, serde_json::Value> = told(by_category);
    let by_month: serde_json::Map<String, serde_json::Value> = told(by_month);
    assert_eq!(Some(&by_category), expected["spending_by_category"].as_object());
    assert_eq!(Some(&by_month), expected["spending_by_month"].as_object());
}
