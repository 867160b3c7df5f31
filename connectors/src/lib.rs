//! The outside world behind three ports: bank feeds, notification channels, and providers that know people.

pub mod banks;
pub mod channels;
pub mod sign_in;
