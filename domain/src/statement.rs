//! What a bank said: one statement of one bank account, in the one shape every provider ends at.
//!
//! Amounts are signed from the account's side: money in is positive, money out negative, whatever the file's own habit.

use chrono::NaiveDate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Currency, Money};

/// One statement of one bank account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// The account as the bank names it (IBAN or number); empty when the file does not say.
    #[serde(default)]
    pub bank_account: String,
    /// The currency of the account.
    pub currency: Currency,
    /// Booked balance before the first row, where the file states one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opening: Option<Money>,
    /// Booked balance after the last row, where the file states one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closing: Option<Money>,
    /// The date the closing balance is of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closing_on: Option<NaiveDate>,
    /// Booked bank transactions, in the file's order.
    pub rows: Vec<BankTransaction>,
}

/// One line that a bank reports as booked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BankTransaction {
    /// When the bank recorded it.
    pub booked_on: NaiveDate,
    /// When it counts for interest, where stated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_on: Option<NaiveDate>,
    /// Signed amount: money into the account is positive.
    pub amount: Money,
    /// The entry reference the bank gave this row (OFX `FITID`, CAMT `AcctSvcrRef`, a CSV reference column); none when it gave none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 255))]
    pub reference: Option<String>,
    /// Creditor or debtor.
    #[serde(default)]
    #[schemars(length(max = 200))]
    pub counterparty: String,
    /// Remittance information.
    #[serde(default)]
    #[schemars(length(max = 500))]
    pub remittance: String,
    /// The file's own category, where it has such a column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 120))]
    pub category: Option<String>,
}
