//! A member's inbox: how far they have read their notifications.

pub mod commands;
mod events;
mod refusals;

use serde::{Deserialize, Serialize};

pub use events::*;
pub use refusals::InboxRefusal;

/// How far one member has read; the stream's id is the member's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Inbox {
    read_up_to: u64,
}

impl Inbox {
    pub(crate) fn fold(&mut self, event: InboxEvent) {
        match event {
            InboxEvent::NotificationsRead(read) => self.read_up_to = read.up_to_family_seq,
        }
    }

    /// Everything up to this `family_seq` is read.
    pub fn read_up_to(&self) -> u64 {
        self.read_up_to
    }
}
