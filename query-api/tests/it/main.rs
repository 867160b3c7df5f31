//! Every view over HTTP, on seeded rows in a real database.

mod as_of;
mod conditional;
mod entries;
mod fresh;
mod home;
mod people;
mod redis;
mod statements;
mod storm;
mod sums;
mod walls;
