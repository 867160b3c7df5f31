//! What is promised beyond this build: which crate may know which, and what every stored event looks like.

mod arrows;
mod fixtures;
mod guarantees;
