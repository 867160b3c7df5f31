//! What happens to a member's inbox.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{event::events, id::MemberId};

events! {
    /// Facts of an `inbox` stream.
    InboxEvent of "inbox" {
        NotificationsRead = "1",
    }
}

/// A member read their notifications. Recorded by `mark-notifications-read`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NotificationsRead {
    /// Whose inbox.
    pub member_id: MemberId,
    /// Every notification caused by an event up to this one is read.
    pub up_to_family_seq: u64,
}
