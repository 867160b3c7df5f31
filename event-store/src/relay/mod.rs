//! Relay.
mod message;
pub use message::MessageError;
pub(crate) use message::record_of;
