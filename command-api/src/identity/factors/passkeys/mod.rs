//! Passkeys: a device signs a challenge with a key that never leaves it (W3C Web Authentication, level 2 and up).
//!
//! A passkey signs somebody in by itself, or is the second factor beside a password. A ceremony has two requests. The first gets
//! options with a fresh challenge of 256 bits, good once, for five minutes, for one purpose; its SHA-256 is kept here. The second
//! brings what the authenticator made of it. [`ceremony`] checks what is asked of both kinds: type, challenge, the exact origin,
//! the hash of the exact relying party id, and that the device has verified its user by PIN or body. Attestation is not asked
//! for: which maker's devices people use is theirs to choose. Signatures are verified by aws-lc-rs.
//!
//! An authenticator that counts its signatures counts up. One that goes back is a copy: it is refused and written down.
//!
//! The passkey of a device that a parent paired is checked alike and kept elsewhere: [`super::super::pairing`] tells why.

mod add;
mod authenticator_data;
mod ceremony;
mod challenges;
mod client_data;
mod cose_key;
mod manage;
mod relying_party;
mod sign_in;

use axum::Router;

pub(in super::super) use add::{CreationOptions, creation_options};
pub(in super::super) use ceremony::{Assertion, Attestation, not_made_here};
pub(in super::super) use manage::normal_name;
pub(in super::super) use relying_party::RelyingParty;

pub(super) use ceremony::use_assertion;
pub(super) use challenges::Purpose;
pub(super) use sign_in::{RequestOptions, request_options};

use super::super::{Identity, openapi::Route};

/// Passkeys of one person at most.
const PASSKEYS_MAX: i64 = 20;

pub(super) fn routes() -> Router<Identity> {
    Router::new()
        .merge(add::routes())
        .merge(manage::routes())
        .merge(sign_in::routes())
}

pub(super) fn paths() -> Vec<Route> {
    [add::paths(), manage::paths(), sign_in::paths()]
        .into_iter()
        .flatten()
        .collect()
}
