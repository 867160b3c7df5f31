//! Streams: one aggregate's events in order, named by kind and id.

use std::fmt;

use uuid::Uuid;

use crate::id::{AccountId, BudgetId, CategoryId, ChoreId, ConnectionId, EntryId, FamilyId, ImportId, MemberId};

/// The name of one stream: what postgres-es calls `aggregate_type` and `aggregate_id`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId {
    /// The kind of aggregate.
    pub kind: &'static str,
    /// Which one.
    pub id: Uuid,
}

impl StreamId {
    /// The id as clients see it, with the prefix of what the stream is about: `acc_…` for a ledger account.
    pub fn public_id(&self) -> String {
        let prefix = match self.kind {
            "bank-connection" => ConnectionId::PREFIX,
            "budget" => BudgetId::PREFIX,
            "category" => CategoryId::PREFIX,
            "chore" => ChoreId::PREFIX,
            "entry" => EntryId::PREFIX,
            "family" => FamilyId::PREFIX,
            // A member's inbox, rewards and spending are about the member.
            "inbox" | "rewards" | "spending" => MemberId::PREFIX,
            "ledger-account" => AccountId::PREFIX,
            "statement-import" => ImportId::PREFIX,
            other => other,
        };
        format!("{prefix}_{}", self.id)
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.id)
    }
}

impl fmt::Debug for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
