//! A member's rewards beside money: badges, each held once.

pub mod commands;
mod events;
mod refusals;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

pub use events::*;
pub use refusals::RewardsRefusal;

/// The badges of one member; the stream's id is the member's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rewards {
    badges: BTreeSet<String>,
}

impl Rewards {
    pub(crate) fn fold(&mut self, event: RewardsEvent) {
        match event {
            RewardsEvent::BadgeAwarded(awarded) => {
                self.badges.insert(awarded.badge.to_lowercase());
            }
        }
    }

    /// Does the member hold it already? Letter case does not matter.
    pub fn holds(&self, badge: &str) -> bool {
        self.badges.contains(&badge.to_lowercase())
    }
}
