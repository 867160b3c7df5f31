//! A grown-up puts a chore on offer.

use chrono::NaiveDate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    chore::{Chore, ChoreOffered, ChoreRefusal, Reward},
    decide::{Context, Decide, Decision, Stop},
    entry::EntryRefusal,
    id::{ChoreId, MemberId},
    journal::usable_account,
    ledger_account::LedgerAccountRefusal,
    text,
};

/// Most points one chore or badge brings. Source: ours.
pub const POINTS_MAX: u32 = 10_000;

/// A grown-up puts a chore on offer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OfferChore {
    /// What is to be done.
    #[schemars(length(min = 1, max = 120))]
    pub title: String,
    /// Points it earns on the leaderboard.
    #[serde(default)]
    #[schemars(range(max = 10_000))]
    pub points: u32,
    /// Money it earns, paid into the member's wallet on approval.
    #[serde(default)]
    pub reward: Option<Reward>,
    /// The one member it is for; anybody when absent.
    #[serde(default)]
    pub offered_to: Option<MemberId>,
    /// The day it should be done by.
    #[serde(default)]
    pub due_on: Option<NaiveDate>,
}

impl Decide for OfferChore {
    const NAME: &'static str = "offer-chore";
    const SUMMARY: &'static str = "Put a chore on offer";

    fn decide(&self, context: &Context<'_>) -> Result<Decision, Stop> {
        if self.points > POINTS_MAX {
            return Err(ChoreRefusal::PointsMax { max: POINTS_MAX }.into());
        }
        if let Some(member_id) = self.offered_to {
            context.family()?.consented(member_id)?;
        }
        if let Some(reward) = &self.reward {
            let (_, currency) = usable_account(context, reward.pay_from)?;
            if reward.money.currency() != currency {
                return Err(LedgerAccountRefusal::OtherCurrency {
                    account: currency,
                    given: reward.money.currency(),
                }
                .into());
            }
            if !reward.money.is_positive() {
                return Err(EntryRefusal::NotPositive.into());
            }
        }
        let due_on = self.due_on.map(|day| context.effective_on(Some(day))).transpose()?;
        let chore_id = ChoreId::from_uuid(context.new_id(0));
        let offered = ChoreOffered {
            chore_id,
            title: text::name("title", &self.title)?,
            points: self.points,
            reward: self.reward.clone(),
            offered_to: self.offered_to,
            due_on,
        };
        let mut decision = Decision::default();
        decision.record::<Chore>(chore_id.uuid(), offered.into(), context.today()?);
        Ok(decision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ledger_account::AccountKind,
        testing::{Scenario, account, eur},
    };

    fn command() -> OfferChore {
        OfferChore {
            title: "Dishes".to_owned(),
            points: 10,
            reward: None,
            offered_to: None,
            due_on: None,
        }
    }

    #[test]
    fn a_chore_may_earn_points_alone() {
        assert_eq!(Scenario::family().when(&command()).accepted().len(), 1);
    }

    #[test]
    fn a_reward_comes_from_an_account_in_its_currency() {
        let reward = |money| {
            Some(Reward {
                money,
                pay_from: account(1),
            })
        };
        let scenario = Scenario::family().with_account(account(1), AccountKind::Bank, "EUR");
        assert_eq!(
            scenario
                .when(&OfferChore {
                    reward: reward(eur("2")),
                    ..command()
                })
                .accepted()
                .len(),
            1
        );
        scenario
            .when(&OfferChore {
                reward: reward(eur("0")),
                ..command()
            })
            .refused("amount-not-positive");
        Scenario::family()
            .when(&OfferChore {
                reward: reward(eur("2")),
                ..command()
            })
            .refused("unknown-account");
    }

    #[test]
    fn points_have_an_end() {
        Scenario::family()
            .when(&OfferChore {
                points: POINTS_MAX + 1,
                ..command()
            })
            .refused("points-max");
    }
}
