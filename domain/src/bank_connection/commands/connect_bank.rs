//! A grown-up lets a provider feed an account.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    bank_connection::{BankConnected, BankConnection, BankConnectionRefusal},
    decide::{Context, Decide, Decision, Stop},
    id::{AccountId, ConnectionId},
    journal::usable_account,
    ledger_account::AccountKind,
    text,
};

/// The providers a connection may name. The last word is `connectors`' list; a name outside it is refused here already.
const PROVIDERS: &[&str] = &["statement-file"];

/// A grown-up lets a provider feed an account.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConnectBank {
    /// The account to be fed: a bank account, a card or cash.
    pub account_id: AccountId,
    /// The provider; `statement-file` for files a person downloads.
    #[serde(default = "statement_file")]
    #[schemars(length(max = 40))]
    pub provider: String,
    /// The bank's name, as the family says it.
    #[serde(default)]
    #[schemars(length(max = 500))]
    pub institution: String,
}

fn statement_file() -> String {
    "statement-file".to_owned()
}

impl Decide for ConnectBank {
    const NAME: &'static str = "connect-bank";
    const SUMMARY: &'static str = "Let a provider, or statement files, feed an account";

    fn decide(&self, context: &Context<'_>) -> Result<Decision, Stop> {
        let (account, _) = usable_account(context, self.account_id)?;
        if account.kind() == Some(AccountKind::Wallet) {
            return Err(BankConnectionRefusal::WalletNotConnectable.into());
        }
        if let Some(owner) = account.owner() {
            context.family()?.check_consent(owner)?;
        }
        if !PROVIDERS.contains(&self.provider.as_str()) {
            return Err(BankConnectionRefusal::UnknownProvider.into());
        }
        let connection_id = ConnectionId::of_account(self.account_id);
        if context
            .get::<BankConnection>(connection_id.uuid())?
            .account_id()
            .is_some()
        {
            return Err(BankConnectionRefusal::AlreadyConnected.into());
        }
        let connected = BankConnected {
            connection_id,
            account_id: self.account_id,
            provider: self.provider.clone(),
            institution: text::note("institution", &self.institution)?,
        };
        let mut decision = Decision::default();
        decision.record::<BankConnection>(connection_id.uuid(), connected.into(), context.today()?);
        Ok(decision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actor::Role;
    use crate::testing::{Scenario, account};

    fn command() -> ConnectBank {
        ConnectBank {
            account_id: account(1),
            provider: statement_file(),
            institution: "Sparkasse".to_owned(),
        }
    }

    #[test]
    fn an_account_is_connected_once() {
        let scenario = Scenario::family()
            .with_account(account(1), AccountKind::Bank, "EUR")
            .after(&command());
        scenario.when(&command()).refused("already-connected");
    }

    #[test]
    fn a_wallet_is_not_connected() {
        let scenario = Scenario::family()
            .with_member(Role::Child)
            .with_wallet(account(1), Role::Child);
        scenario.when(&command()).refused("wallet-not-connectable");
    }

    #[test]
    fn a_provider_nobody_knows_is_refused() {
        let scenario = Scenario::family().with_account(account(1), AccountKind::Bank, "EUR");
        scenario
            .when(&ConnectBank {
                provider: "mattress".to_owned(),
                ..command()
            })
            .refused("unknown-provider");
    }
}
