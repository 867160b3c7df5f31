//! A member moves money between two of the family's accounts.

use chrono::NaiveDate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Money,
    decide::{Context, Decide, Decision, Stop},
    entry::{EntryRefusal, TransferMade},
    id::{AccountId, EntryId},
    journal::{Equity, Posting, post, usable_account},
    ledger_account::LedgerAccountRefusal,
    text,
};

/// A member moves money between two of the family's accounts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Transfer {
    /// The account it leaves: one that is shared with the asking member in full.
    pub from: AccountId,
    /// The account it reaches: likewise.
    pub to: AccountId,
    /// What leaves, positive, in the source's currency.
    pub money: Money,
    /// What arrives, in the destination's currency; only when the two differ.
    #[serde(default)]
    pub received: Option<Money>,
    /// The day it counts for; today in the family's zone when absent.
    #[serde(default)]
    pub effective_on: Option<NaiveDate>,
    /// A free note.
    #[serde(default)]
    #[schemars(length(max = 500))]
    pub note: String,
}

impl Decide for Transfer {
    const NAME: &'static str = "transfer";
    const SUMMARY: &'static str = "Move money between two of the family's accounts";

    fn decide(&self, context: &Context<'_>) -> Result<Decision, Stop> {
        if self.from == self.to {
            return Err(EntryRefusal::SameAccount.into());
        }
        let day = context.effective_on(self.effective_on)?;
        let (_, from_currency) = usable_account(context, self.from)?;
        let (_, to_currency) = usable_account(context, self.to)?;
        if self.money.currency() != from_currency {
            return Err(LedgerAccountRefusal::OtherCurrency {
                account: from_currency,
                given: self.money.currency(),
            }
            .into());
        }
        let received = match self.received {
            None if from_currency == to_currency => self.money,
            None => return Err(EntryRefusal::ReceivedMissing.into()),
            Some(_) if from_currency == to_currency => return Err(EntryRefusal::ReceivedNotNeeded.into()),
            Some(received) if received.currency() != to_currency => {
                return Err(LedgerAccountRefusal::OtherCurrency {
                    account: to_currency,
                    given: received.currency(),
                }
                .into());
            }
            // What arrives is the asking person's word; a pocket must not be filled by it.
            Some(_) if context.asking_member()?.role.is_young() => return Err(EntryRefusal::ExchangeByYoung.into()),
            Some(received) => received,
        };
        if !self.money.is_positive() || !received.is_positive() {
            return Err(EntryRefusal::NotPositive.into());
        }
        let mut postings = vec![Posting::account(self.from, self.money.negated())];
        if from_currency != to_currency {
            postings.push(Posting::equity(Equity::Conversion, self.money));
            postings.push(Posting::equity(Equity::Conversion, received.negated()));
        }
        postings.push(Posting::account(self.to, received));
        let entry_id = EntryId::from_uuid(context.new_id(0));
        let made = TransferMade {
            entry_id,
            effective_on: day,
            postings,
            note: text::note("note", &self.note)?,
            entered_by: Some(context.asking_member()?.member_id),
            chore_id: None,
            earned_by: None,
        };
        let mut decision = Decision::default();
        post(context, &mut decision, entry_id, made, day)?;
        Ok(decision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actor::Role;
    use crate::{
        journal::{is_balanced, postings_of},
        ledger_account::{AccountKind, ShareLevel, commands::ShareAccount},
        testing::{Scenario, account, currency, eur, member_id},
    };

    fn scenario() -> Scenario {
        Scenario::family()
            .with_member(Role::Child)
            .with_account(account(1), AccountKind::Bank, "EUR")
            .with_account(account(3), AccountKind::Cash, "JPY")
            .with_wallet(account(2), Role::Child)
    }

    fn command() -> Transfer {
        let (from, to) = (account(1), account(2));
        Transfer {
            from,
            to,
            money: eur("5"),
            received: None,
            effective_on: None,
            note: String::new(),
        }
    }

    #[test]
    fn a_transfer_to_a_wallet_touches_both_streams() {
        let events = scenario().when(&command()).accepted();
        assert_eq!(
            events.iter().map(|e| e.kind().0).collect::<Vec<_>>(),
            ["TransferMade", "WalletBalanceChanged"]
        );
    }

    #[test]
    fn an_exchange_balances_in_each_currency() {
        let yen = Money::parse("800", currency("JPY")).expect("money");
        let exchange = Transfer {
            to: account(3),
            received: Some(yen),
            ..command()
        };
        let events = scenario().when(&exchange).accepted();
        assert!(is_balanced(postings_of(&events[0].event)));
        scenario()
            .when(&Transfer {
                to: account(3),
                ..command()
            })
            .refused("received-missing");
        scenario()
            .when(&Transfer {
                received: Some(eur("5")),
                ..command()
            })
            .refused("received-not-needed");
        scenario()
            .when(&Transfer {
                to: account(3),
                received: Some(eur("5")),
                ..command()
            })
            .refused("other-currency");
    }

    #[test]
    fn the_young_do_not_say_what_an_exchange_brings() {
        let share = ShareAccount {
            account_id: account(3),
            member_id: member_id(Role::Child),
            level: ShareLevel::Full,
        };
        let exchange = Transfer {
            from: account(2),
            to: account(3),
            received: Some(Money::parse("100000", currency("JPY")).expect("money")),
            ..command()
        };
        let scenario = scenario().after(&command()).after(&share);
        assert_eq!(scenario.when(&exchange).accepted().len(), 2);
        scenario
            .asked_by(Role::Child)
            .when(&exchange)
            .refused("exchange-by-young");
    }

    #[test]
    fn to_itself_is_refused() {
        scenario()
            .when(&Transfer {
                to: account(1),
                ..command()
            })
            .refused("same-account");
    }

    #[test]
    fn a_wallet_never_goes_below_zero() {
        let back = Transfer {
            from: account(2),
            to: account(1),
            ..command()
        };
        scenario().when(&back).refused("wallet-too-low");
    }

    #[test]
    fn a_child_does_not_take_from_the_bank() {
        scenario()
            .asked_by(Role::Child)
            .when(&command())
            .refused("unknown-account");
    }
}
