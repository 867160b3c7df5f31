//! A grown-up brings an account into the ledger: a bank account, cash, a card, or a member's wallet.

use chrono::NaiveDate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Currency, Money,
    decide::{Context, Decide, Decision, Stop},
    entry::{EntryRefusal, OpeningBalanceRecorded},
    family::{Family, WalletAssigned},
    id::{AccountId, EntryId, MemberId},
    journal::{Equity, Posting, is_balanced},
    ledger_account::{AccountKind, AccountOpened, LedgerAccount, LedgerAccountRefusal, WalletBalanceChanged},
    text,
};

/// A grown-up brings an account into the ledger.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OpenAccount {
    /// What the family calls it.
    #[schemars(length(min = 1, max = 120))]
    pub name: String,
    /// What sort it is.
    pub kind: AccountKind,
    /// The one currency it holds; the family's when absent.
    #[serde(default)]
    pub currency: Option<Currency>,
    /// The member whose own it is; needed for a wallet.
    #[serde(default)]
    pub owner: Option<MemberId>,
    /// What it holds already, signed: a card's debt is negative. An account that a bank's statements will feed needs none.
    #[serde(default)]
    pub opening_balance: Option<Money>,
    /// The day it is opened and the opening balance counts for; today when absent.
    #[serde(default)]
    pub effective_on: Option<NaiveDate>,
}

impl Decide for OpenAccount {
    const NAME: &'static str = "open-account";
    const SUMMARY: &'static str = "Open a bank, cash or card account, or a member's wallet";

    fn decide(&self, context: &Context<'_>) -> Result<Decision, Stop> {
        let family = context.family()?;
        let day = context.effective_on(self.effective_on)?;
        let currency = self
            .currency
            .or(family.currency())
            .ok_or(LedgerAccountRefusal::UnknownAccount)?;
        let account_id = AccountId::from_uuid(context.new_id(0));
        let name = text::name("name", &self.name)?;
        let mut decision = Decision::default();
        // Names are told apart among those that one person opened: they know all of these, and a name that only somebody else
        // knows, of an account hidden from them, is not told by a refusal.
        let claimed = format!("{}/{}", context.asking_member()?.member_id, name.to_lowercase());
        decision.claim("account-name", claimed, LedgerAccountRefusal::NameTaken);
        let opening_balance = self.opening_balance.filter(|money| !money.is_zero());
        let opened = AccountOpened {
            account_id,
            name,
            kind: self.kind,
            currency,
            owner: self.owner,
            opening_balance,
        };
        decision.record::<LedgerAccount>(account_id.uuid(), opened.into(), day);
        if let Some(owner) = self.owner {
            let member = family.consented(owner)?;
            if self.kind == AccountKind::Wallet {
                if member.wallets.contains_key(&currency) {
                    return Err(LedgerAccountRefusal::WalletAlreadyAssigned { currency }.into());
                }
                let assigned = WalletAssigned {
                    member_id: owner,
                    account_id,
                    currency,
                };
                decision.record::<Family>(context.meta().family_id.uuid(), assigned.into(), day);
            }
        } else if self.kind == AccountKind::Wallet {
            return Err(LedgerAccountRefusal::WalletNeedsOwner.into());
        }
        if let Some(opening) = opening_balance {
            self.record_opening(context, &mut decision, account_id, currency, opening, day)?;
        }
        Ok(decision)
    }
}

impl OpenAccount {
    /// The account is not in any state yet, so its opening entry is recorded here and not through `journal::post`.
    fn record_opening(
        &self,
        context: &Context<'_>,
        decision: &mut Decision,
        account_id: AccountId,
        currency: Currency,
        opening: Money,
        day: NaiveDate,
    ) -> Result<(), Stop> {
        if opening.currency() != currency {
            return Err(LedgerAccountRefusal::OtherCurrency {
                account: currency,
                given: opening.currency(),
            }
            .into());
        }
        let is_wallet = self.kind == AccountKind::Wallet;
        if is_wallet && opening.is_negative() {
            return Err(LedgerAccountRefusal::NegativeWallet.into());
        }
        let entry_id = EntryId::from_uuid(context.new_id(1));
        let postings = vec![
            Posting::account(account_id, opening),
            Posting::equity(Equity::OpeningBalances, opening.negated()),
        ];
        if !is_balanced(&postings) {
            return Err(EntryRefusal::SplitsDoNotSum.into());
        }
        let recorded = OpeningBalanceRecorded {
            entry_id,
            effective_on: day,
            postings,
        };
        decision.record::<crate::entry::Entry>(entry_id.uuid(), recorded.into(), day);
        if is_wallet {
            let changed = WalletBalanceChanged {
                account_id,
                entry_id,
                change: opening,
                balance: opening,
            };
            decision.record::<LedgerAccount>(account_id.uuid(), changed.into(), day);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actor::Role;
    use crate::testing::{Scenario, currency, eur, member_id};

    fn command(kind: AccountKind) -> OpenAccount {
        OpenAccount {
            name: "Giro".to_owned(),
            kind,
            currency: None,
            owner: None,
            opening_balance: None,
            effective_on: None,
        }
    }

    #[test]
    fn an_account_is_opened_in_the_familys_currency() {
        assert_eq!(Scenario::family().when(&command(AccountKind::Bank)).accepted().len(), 1);
    }

    #[test]
    fn an_opening_balance_is_an_entry_against_equity() {
        let events = Scenario::family()
            .when(&OpenAccount {
                opening_balance: Some(eur("-12.30")),
                ..command(AccountKind::Card)
            })
            .accepted();
        assert_eq!(events[1].kind().0, "OpeningBalanceRecorded");
    }

    #[test]
    fn an_opening_balance_in_another_currency_is_refused() {
        let command = OpenAccount {
            currency: Some(currency("USD")),
            opening_balance: Some(eur("1")),
            ..command(AccountKind::Bank)
        };
        Scenario::family().when(&command).refused("other-currency");
    }

    #[test]
    fn a_wallet_belongs_to_somebody() {
        Scenario::family()
            .when(&command(AccountKind::Wallet))
            .refused("wallet-needs-owner");
    }

    #[test]
    fn a_member_has_one_wallet_per_currency() {
        let scenario = Scenario::family().with_member(Role::Child);
        let wallet = OpenAccount {
            owner: Some(member_id(Role::Child)),
            ..command(AccountKind::Wallet)
        };
        let scenario = scenario.after(&wallet);
        scenario
            .when(&OpenAccount {
                name: "Other".to_owned(),
                ..wallet.clone()
            })
            .refused("wallet-already-assigned");
        let dollars = OpenAccount {
            name: "Other".to_owned(),
            currency: Some(currency("USD")),
            ..wallet
        };
        assert_eq!(scenario.when(&dollars).accepted().len(), 2);
    }

    #[test]
    fn a_wallet_does_not_start_below_zero() {
        let wallet = OpenAccount {
            owner: Some(member_id(Role::Child)),
            opening_balance: Some(eur("-0.01")),
            ..command(AccountKind::Wallet)
        };
        Scenario::family()
            .with_member(Role::Child)
            .when(&wallet)
            .refused("wallet-too-low");
    }

    #[test]
    fn a_child_opens_no_account() {
        let scenario = Scenario::family().with_member(Role::Child).asked_by(Role::Child);
        scenario.when(&command(AccountKind::Bank)).refused("role-not-allowed");
    }

    #[test]
    fn a_day_far_ahead_is_refused() {
        let day = crate::testing::today() + chrono::Days::new(367);
        Scenario::family()
            .when(&OpenAccount {
                effective_on: Some(day),
                ..command(AccountKind::Bank)
            })
            .refused("date-out-of-range");
    }
}
