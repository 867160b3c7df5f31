//! Whoever reads a mail is asked to be who caused it.
//!
//! A mail that confirms an address is sent because somebody named that address, and anybody can name anybody's. Its reader who only
//! opens it would lend their address to an account that a stranger made and keeps the password of ("pre-hijacked accounts", Sudhodanan
//! and Paverd, 2022). So the mail's token counts together with something of the account that the mail is about: an access token of one
//! of its sessions, or its password. Who has neither takes the account over by resetting its password, and with that everything goes
//! that was made before ([`super::reset_password`]).
//!
//! Guesses at the password are for holders of a token only, and counted for the account by themselves: they slow no sign-in.

use std::sync::Arc;

use axum::http::{HeaderMap, StatusCode, header};
use domain::id::UserId;
use service_kit::problem::Problem;

use super::super::{
    Identity, IdentityError,
    address::Client,
    guesses::Guesser,
    passwords::{CHARACTERS_MAX, Verdict},
    queue::Visitor,
};

/// The answers to who reads the mail and shows nothing of its account.
pub(super) const NOT_PROVEN: (u16, &str) = (
    403,
    "`proof-required`: send an access token of the account that the mail is about, or its password; `wrong-credentials`: it has \
     another password.",
);

/// Asks for an access token or the password of the account that a mail is about.
///
/// # Errors
/// 401 for an access token that counts no more, 403 without a proof or with a wrong one, 429 for guesses in a hurry.
pub(super) async fn require(
    identity: &Identity,
    client: &Client,
    headers: &HeaderMap,
    user_id: UserId,
    password: Option<String>,
) -> Result<(), Problem> {
    if let Some(password) = password {
        return require_password(identity, client, user_id, password).await;
    }
    if headers.contains_key(header::AUTHORIZATION) {
        let signed_in = Arc::clone(identity.verifier()).signed_in(headers).await?;
        if signed_in.user_id == user_id {
            return Ok(());
        }
    }
    Err(Problem::new(
        StatusCode::FORBIDDEN,
        "proof-required",
        "send the password of the account that the mail is about, or an access token of it; if you made no such account, do nothing, \
         or reset its password and it is yours",
    ))
}

async fn require_password(
    identity: &Identity,
    client: &Client,
    user_id: UserId,
    password: String,
) -> Result<(), Problem> {
    if password.chars().count() > CHARACTERS_MAX {
        return Err(Problem::malformed(format!(
            "password: at most {CHARACTERS_MAX} characters"
        )));
    }
    let stored: Option<(Option<String>,)> =
        sqlx::query_as("select password_hash from identity.users where user_id = $1")
            .bind(user_id.uuid())
            .fetch_optional(identity.pool())
            .await
            .map_err(IdentityError::Database)?;
    let subject = format!("mail {user_id}");
    let attempt = identity.throttle().admit(&subject, client.address)?;
    let guess = match identity.guesses().count(&subject, Guesser::Stranger).await {
        Ok(guess) => guess,
        Err(problem) => {
            attempt.forgiven();
            return Err(problem);
        }
    };
    // Who has no password has none that is right, and it takes as long to say so.
    let stored = stored.and_then(|(password_hash,)| password_hash);
    match identity
        .passwords()
        .verify(password, stored, Visitor::anybody(client.address))
        .await
    {
        Ok(Verdict::Wrong) => {
            attempt.failed();
            Err(Problem::new(
                StatusCode::FORBIDDEN,
                "wrong-credentials",
                "the account that this mail is about has another password; if you made no such account, reset its password and it is \
                 yours",
            ))
        }
        Ok(_) => {
            attempt.succeeded();
            guess.take_back().await;
            Ok(())
        }
        Err(busy) => {
            attempt.forgiven();
            guess.take_back().await;
            Err(busy)
        }
    }
}
