//! What is promised beyond this build: which crate may know which, what every stored event looks like, and what releases keep.

mod arrows;
mod fixtures;
mod guarantees;
mod previous;
mod purity;
mod released;
