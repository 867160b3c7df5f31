//! A category: an income or expense account of the chart, as families speak of it.

pub mod commands;
mod events;
mod refusals;

use serde::{Deserialize, Serialize};

pub use events::*;
pub use refusals::CategoryRefusal;

/// A category's state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Category {
    added: Option<CategoryAdded>,
}

impl Category {
    pub(crate) fn fold(&mut self, event: CategoryEvent) {
        match event {
            CategoryEvent::CategoryAdded(added) => self.added = Some(added),
        }
    }

    /// Income or expense, once added.
    ///
    /// # Errors
    /// [`CategoryRefusal::UnknownCategory`].
    pub fn kind(&self) -> Result<CategoryKind, CategoryRefusal> {
        self.added
            .as_ref()
            .map(|added| added.kind)
            .ok_or(CategoryRefusal::UnknownCategory)
    }

    /// Has it been added?
    pub fn exists(&self) -> bool {
        self.added.is_some()
    }
}
