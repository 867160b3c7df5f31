//! Signing in by a code that a text message brings.
//!
//! A code has six digits, is good for ten minutes, five tries and one use, and only together with the challenge that the asking
//! client got. What it proves is little: numbers are taken over, and messages are read on locked screens. So it opens a session and
//! counts as no fresh proof; it is no second factor, and where there is one, that is asked for.
//!
//! Messages cost money, and people are paid for causing them. A code to sign in is sent to numbers of accounts only, while every
//! number is answered and counted alike; a number, an address and an account have a few each an hour and a day ([`codes`]). Who asks
//! from a device of the number's owner has a count of their own, so that strangers do not use up the owner's.

mod codes;
mod number;
mod own;
mod sign_in;

use axum::Router;
use domain::id::UserId;

use super::{Identity, IdentityError, Secret, openapi::Route, sealing::Sealing, secret::keyed_hash};

pub(super) use own::{forget_in_tx, masked};

/// The method's name in `amr` (RFC 8176).
pub(super) const METHOD: &str = "sms";

/// The answer where nobody set up text messages.
const NO_SMS: (u16, &str) = (422, "`sms-not-configured`: this installation sends no text messages.");

/// What numbers are looked up and kept by.
pub(super) struct Phones {
    hash_key: [u8; 32],
    sealing: Sealing,
}

impl Phones {
    pub fn new(secret: &Secret) -> Self {
        Self {
            hash_key: secret.derive("phone-numbers/1"),
            sealing: Sealing::for_purpose(secret, "phone-numbers/sealed/1"),
        }
    }

    fn hash(&self, parts: &[&[u8]]) -> [u8; 32] {
        keyed_hash(&self.hash_key, parts)
    }
}

impl Identity {
    /// The number that is kept with an account, whole: for its person alone.
    pub(crate) fn phone_number(&self, user_id: UserId, sealed: &[u8]) -> Result<String, IdentityError> {
        Ok(own::open(self, user_id, sealed)?.as_str().to_owned())
    }
}

pub(super) fn routes() -> Router<Identity> {
    Router::new().merge(own::routes()).merge(sign_in::routes())
}

pub(super) fn paths() -> Vec<Route> {
    own::paths().into_iter().chain(sign_in::paths()).collect()
}
