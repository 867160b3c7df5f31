//! What one member of a family gets to know of another's money: what is shared, and nothing besides.

mod answers;
mod history;
mod shares;
mod unseen;
mod ways_around;
mod world;
