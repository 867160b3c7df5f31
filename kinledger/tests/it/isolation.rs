//! Nobody sees, guesses or changes what is not theirs: another family's anything, or the adults' money as a child.
//!
//! The walk is over the OpenAPI document, so a route that is added is walked too, and a command that is added fails here until
//! it is said what its body looks like.

mod apart;
mod bodies;
mod database;
mod expired;
mod matrix;
mod roles;
mod strangers;
mod world;

pub use bodies::body as body_of;
pub use world::{Ids, Route, furnish, routes};
