//! The seal, held against a verifier that shares no code with it: checkpoints, proofs, packs, and what becomes of them when
//! somebody alters a pack, the database, or both.

mod ages;
mod altered_database;
mod altered_pack;
mod checkpoints;
mod hindered;
mod proofs;
mod restored;
mod sealed;
mod vectors;
mod witnesses;
