//! A grown-up agrees that a chore is done; points count, and its reward reaches the wallet in the same append.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    chore::{Chore, ChoreApproved, ChoreRefusal, ChoreStatus},
    decide::{Context, Decide, Decision, Stop},
    entry::TransferMade,
    id::{ChoreId, EntryId},
    journal::{Posting, post, usable_account},
    ledger_account::{ShareLevel, shared_account},
};

/// A grown-up agrees that a chore is done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApproveChore {
    /// The chore.
    pub chore_id: ChoreId,
}

impl Decide for ApproveChore {
    const NAME: &'static str = "approve-chore";
    const SUMMARY: &'static str = "Agree that a chore is done, and pay its reward";

    fn decide(&self, context: &Context<'_>) -> Result<Decision, Stop> {
        let approver = context.asking_member()?.member_id;
        let chore = context.get::<Chore>(self.chore_id.uuid())?;
        let offer = chore.offer()?;
        let member_id = match (chore.status(), chore.claimed_by()) {
            (ChoreStatus::Completed, Some(member_id)) => member_id,
            _ => return Err(ChoreRefusal::NotCompleted.into()),
        };
        if member_id == approver {
            return Err(ChoreRefusal::OwnChore.into());
        }
        context.family()?.consented(member_id)?;
        let day = context.today()?;
        let entry_id = offer.reward.as_ref().map(|_| EntryId::from_uuid(context.new_id(0)));
        let mut decision = Decision::default();
        let approved = ChoreApproved {
            chore_id: self.chore_id,
            title: offer.title.clone(),
            member_id,
            points: offer.points,
            reward: offer.reward.as_ref().map(|reward| reward.money),
            entry_id,
        };
        decision.record::<Chore>(self.chore_id.uuid(), approved.into(), day);
        if let (Some(reward), Some(entry_id)) = (&offer.reward, entry_id) {
            let currency = reward.money.currency();
            let member = context.family()?.member(member_id)?;
            let wallet = member
                .wallets
                .get(&currency)
                .ok_or(ChoreRefusal::NoWallet { currency })?;
            // The receipt says what is in the wallet then, so it is for somebody who may see that.
            usable_account(context, reward.pay_from)?;
            shared_account(context, *wallet, ShareLevel::View)?;
            let paid = TransferMade {
                entry_id,
                effective_on: day,
                postings: vec![
                    Posting::account(reward.pay_from, reward.money.negated()),
                    Posting::account(*wallet, reward.money),
                ],
                note: offer.title.clone(),
                entered_by: Some(approver),
                chore_id: Some(self.chore_id),
                earned_by: Some(member_id),
            };
            post(context, &mut decision, entry_id, paid, day)?;
        }
        Ok(decision)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ClaimChore, CompleteChore, OfferChore};
    use super::*;
    use crate::actor::Role;
    use crate::{
        chore::Reward,
        ledger_account::{AccountKind, commands::CloseAccount},
        testing::{Scenario, account, eur},
    };

    fn completed_by(role: Role, with_wallet: bool) -> (Scenario, ChoreId) {
        let mut scenario = Scenario::family()
            .with_member(Role::Child)
            .with_member(Role::Partner)
            .with_account(account(1), AccountKind::Bank, "EUR");
        if with_wallet {
            scenario = scenario.with_wallet(account(2), Role::Child);
        }
        let reward = Some(Reward {
            money: eur("2.50"),
            pay_from: account(1),
        });
        let offer = OfferChore {
            title: "Dishes".to_owned(),
            points: 10,
            reward,
            offered_to: None,
            due_on: None,
        };
        let events = scenario.when(&offer).accepted();
        let chore_id = ChoreId::from_uuid(events[0].stream.id);
        let scenario = scenario
            .given(events)
            .asked_by(role)
            .after(&ClaimChore { chore_id })
            .after(&CompleteChore { chore_id });
        (scenario.asked_by(Role::Parent), chore_id)
    }

    #[test]
    fn approval_and_reward_are_one_append() {
        let (scenario, chore_id) = completed_by(Role::Child, true);
        let events = scenario.when(&ApproveChore { chore_id }).accepted();
        let names: Vec<_> = events.iter().map(|event| event.kind().0).collect();
        assert_eq!(names, ["ChoreApproved", "TransferMade", "WalletBalanceChanged"]);
        scenario
            .given(events)
            .when(&ApproveChore { chore_id })
            .refused("chore-not-completed");
    }

    #[test]
    fn a_child_without_a_wallet_is_told_of() {
        let (scenario, chore_id) = completed_by(Role::Child, false);
        scenario.when(&ApproveChore { chore_id }).refused("no-wallet");
    }

    #[test]
    fn nobody_approves_their_own() {
        let (scenario, chore_id) = completed_by(Role::Partner, true);
        scenario
            .asked_by(Role::Partner)
            .when(&ApproveChore { chore_id })
            .refused("own-chore");
    }

    #[test]
    fn a_child_approves_nothing() {
        let (scenario, chore_id) = completed_by(Role::Child, true);
        scenario
            .asked_by(Role::Child)
            .when(&ApproveChore { chore_id })
            .refused("role-not-allowed");
    }

    #[test]
    fn a_closed_purse_pays_nothing() {
        let (scenario, chore_id) = completed_by(Role::Child, true);
        let scenario = scenario.after(&CloseAccount { account_id: account(1) });
        scenario.when(&ApproveChore { chore_id }).refused("account-closed");
    }
}
