//! A grown-up closes an account; its history stays, and nothing is posted to it any more.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    decide::{Context, Decide, Decision, Stop},
    id::AccountId,
    ledger_account::{AccountClosed, AccountKind, LedgerAccount, LedgerAccountRefusal, ShareLevel, shared_account},
};

/// A grown-up closes an account.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CloseAccount {
    /// The account; a wallet must be empty.
    pub account_id: AccountId,
}

impl Decide for CloseAccount {
    const NAME: &'static str = "close-account";
    const SUMMARY: &'static str = "Close an account; its history stays";

    fn decide(&self, context: &Context<'_>) -> Result<Decision, Stop> {
        let account = shared_account(context, self.account_id, ShareLevel::Full)?;
        if let Some(owner) = account.owner() {
            context.family()?.check_consent(owner)?;
        }
        let currency = account.open_currency(self.account_id)?;
        let balance = account.wallet_balance(currency);
        if account.kind() == Some(AccountKind::Wallet) && !balance.is_zero() {
            return Err(LedgerAccountRefusal::WalletNotEmpty { balance }.into());
        }
        let mut decision = Decision::default();
        let closed = AccountClosed {
            account_id: self.account_id,
        };
        decision.record::<LedgerAccount>(self.account_id.uuid(), closed.into(), context.today()?);
        Ok(decision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Scenario, account};

    #[test]
    fn an_account_is_closed_once() {
        let command = CloseAccount { account_id: account(1) };
        let scenario = Scenario::family()
            .with_account(account(1), AccountKind::Bank, "EUR")
            .after(&command);
        scenario.when(&command).refused("account-closed");
    }

    #[test]
    fn an_account_of_nobodys_is_unknown() {
        Scenario::family()
            .when(&CloseAccount { account_id: account(1) })
            .refused("unknown-account");
    }
}
