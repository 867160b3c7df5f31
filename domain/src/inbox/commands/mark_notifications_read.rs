//! A member has read their notifications up to a point.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    decide::{Context, Decide, Decision, Stop},
    inbox::{Inbox, InboxRefusal, NotificationsRead},
};

/// A member has read their notifications up to a point.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MarkNotificationsRead {
    /// The `family_seq` of the newest notification read; not beyond the ledger's last event, or what is still to come would be
    /// read before anybody could.
    pub up_to_family_seq: u64,
}

impl Decide for MarkNotificationsRead {
    const NAME: &'static str = "mark-notifications-read";
    const SUMMARY: &'static str = "Mark your own notifications as read up to a point";

    fn decide(&self, context: &Context<'_>) -> Result<Decision, Stop> {
        let member_id = context.asking_member()?.member_id;
        let up_to_family_seq = self.up_to_family_seq;
        if up_to_family_seq > context.family_seq() {
            return Err(InboxRefusal::BeyondHead.into());
        }
        if up_to_family_seq <= context.get::<Inbox>(member_id.uuid())?.read_up_to() {
            return Err(InboxRefusal::NothingNew.into());
        }
        let mut decision = Decision::default();
        let read = NotificationsRead {
            member_id,
            up_to_family_seq,
        };
        decision.record::<Inbox>(member_id.uuid(), read.into(), context.today()?);
        Ok(decision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Scenario;

    #[test]
    fn reading_goes_forward_only() {
        let read = |up_to_family_seq| MarkNotificationsRead { up_to_family_seq };
        // Created, a parent added and joined, a country said: four events, and the reading is the fifth.
        let scenario = Scenario::family().after(&read(4));
        scenario.when(&read(4)).refused("nothing-new");
        assert_eq!(scenario.when(&read(5)).accepted().len(), 1);
    }

    #[test]
    fn what_is_still_to_come_cannot_be_read() {
        let read = |up_to_family_seq| MarkNotificationsRead { up_to_family_seq };
        let scenario = Scenario::family();
        scenario.when(&read(5)).refused("beyond-head");
        scenario.when(&read(u64::MAX)).refused("beyond-head");
        assert_eq!(scenario.when(&read(4)).accepted().len(), 1);
    }
}
