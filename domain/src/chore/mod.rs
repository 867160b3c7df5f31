//! A chore: offered, claimed, completed, then approved and rewarded, or rejected and done again.

pub mod commands;
mod events;
mod refusals;

use serde::{Deserialize, Serialize};

use crate::id::MemberId;

pub use events::*;
pub use refusals::ChoreRefusal;

/// Where a chore stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChoreStatus {
    /// Not offered.
    #[default]
    Unknown,
    /// Free to be claimed.
    Offered,
    /// Someone is at it.
    Claimed,
    /// Done, says who did it.
    Completed,
    /// Done, says a grown-up.
    Approved,
}

/// A chore's state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Chore {
    offered: Option<ChoreOffered>,
    status: ChoreStatus,
    claimed_by: Option<MemberId>,
}

impl Chore {
    pub(crate) fn fold(&mut self, event: ChoreEvent) {
        match event {
            ChoreEvent::ChoreOffered(offered) => {
                self.offered = Some(offered);
                self.status = ChoreStatus::Offered;
            }
            ChoreEvent::ChoreClaimed(claimed) => {
                self.claimed_by = Some(claimed.member_id);
                self.status = ChoreStatus::Claimed;
            }
            ChoreEvent::ChoreCompleted(_) => self.status = ChoreStatus::Completed,
            ChoreEvent::ChoreApproved(_) => self.status = ChoreStatus::Approved,
            ChoreEvent::ChoreRejected(_) => self.status = ChoreStatus::Claimed,
        }
    }

    /// The offer, or the refusal that says there is none.
    ///
    /// # Errors
    /// [`ChoreRefusal::UnknownChore`].
    pub fn offer(&self) -> Result<&ChoreOffered, ChoreRefusal> {
        self.offered.as_ref().ok_or(ChoreRefusal::UnknownChore)
    }

    /// Where it stands.
    pub fn status(&self) -> ChoreStatus {
        self.status
    }

    /// Who is at it.
    pub fn claimed_by(&self) -> Option<MemberId> {
        self.claimed_by
    }
}
