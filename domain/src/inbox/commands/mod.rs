//! Every command of an inbox, one line each.

mod mark_notifications_read;

pub use mark_notifications_read::MarkNotificationsRead;
