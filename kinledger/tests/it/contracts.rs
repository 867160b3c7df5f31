//! What is promised beyond this build: which crate may know which, what every stored event looks like, and what releases keep.

mod arrows;
mod fixtures;
mod previous;
mod released;
