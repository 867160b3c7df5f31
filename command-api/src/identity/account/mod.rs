//! The life of an account after it was made: its address is verified and changed, its password changed and reset.
//!
//! What a mail carries is a token of 256 random bits for one purpose, one person, one address and one use ([`mail_tokens`]).
//! Whoever holds one has read that address's mail, and no more than that: a mail never signs anybody in, and never stands for a
//! second factor; and what confirms an address asks for something of the account beside ([`who_asked`]). Links begin with the configured address of the installation, never with what a request's `Host` says, and carry
//! the token behind `#`, where no server on the way and no `Referer` sees it.
//!
//! Where the same answer must come whether or not there is an account, the work is done behind the answer ([`errands`]).

mod change_email;
mod change_password;
mod close;
pub(super) mod errands;
pub(super) mod letters;
mod mail_tokens;
pub(super) mod notices;
pub(super) mod postbox;
mod reset_password;
pub(super) mod taking_back;
mod verify_email;
mod who_asked;

use axum::Router;

use super::{Identity, openapi::Route};

pub(super) use change_email::is_taken;
pub use reset_password::operators_reset_token;
pub(super) use verify_email::send_verification;

pub(super) fn routes() -> Router<Identity> {
    Router::new()
        .merge(change_email::routes())
        .merge(change_password::routes())
        .merge(close::routes())
        .merge(reset_password::routes())
        .merge(verify_email::routes())
}

pub(super) fn paths() -> Vec<Route> {
    [
        change_email::paths(),
        change_password::paths(),
        close::paths(),
        reset_password::paths(),
        verify_email::paths(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
