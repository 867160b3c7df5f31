//! The outside world behind two ports: bank feeds and notification channels.

pub mod banks;
pub mod channels;
