//! A budget: how much a category may take in each week or month.

pub mod commands;
mod events;
mod refusals;

use serde::{Deserialize, Serialize};

pub use events::*;
pub use refusals::BudgetRefusal;

/// A budget's state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Budget {
    set: Option<BudgetSet>,
}

impl Budget {
    pub(crate) fn fold(&mut self, event: BudgetEvent) {
        match event {
            BudgetEvent::BudgetSet(set) => self.set = Some(set),
        }
    }

    /// What was last set.
    pub fn current(&self) -> Option<&BudgetSet> {
        self.set.as_ref()
    }
}
