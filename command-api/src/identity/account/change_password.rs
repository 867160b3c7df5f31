//! A signed-in person chooses another password. Every other session ends, and so does every sign-in that is under way; and no other
//! device is known any more, for somebody else may have known the password there.

use axum::{Router, extract::State, http::StatusCode, response::Response, routing::post};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use service_kit::{auth::SignedIn, problem::Problem};

use super::{
    super::{
        Identity, IdentityError,
        address::Client,
        body::Body,
        devices, factors,
        guesses::Guesser,
        new_way_in,
        openapi::{Caller, MALFORMED, NOT_SIGNED_IN, Route, TOO_FAST, TOO_LARGE, schema},
        passwords::{CHARACTERS_MAX, Verdict},
        private,
        queue::Visitor,
        security_events::{self, Kind, SecurityEvent},
    },
    letters, taking_back,
};

/// The old password, where there is one, and the new one. It has no `Debug`: nothing may print it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangePassword {
    /// The password until now; left out after a proof of the last ten minutes, which a second factor needs in any case.
    #[schemars(length(max = 256))]
    old_password: Option<String>,
    /// As when registering.
    #[schemars(length(min = 8, max = 256))]
    new_password: String,
}

pub(super) fn routes() -> Router<Identity> {
    Router::new().route("/api/v1/auth/change-password", post(change))
}

pub(super) fn paths() -> Vec<Route> {
    vec![Route {
        path: "/api/v1/auth/change-password",
        method: "post",
        operation_id: "change-password",
        summary: "Choose another password",
        description: "Who may call: any signed-in person, about themself, with a proof of the last ten minutes, or, where \
            there is no second factor, the old password. Every other session of the person ends, and changes of the address that were \
            asked for; and only the device that asks is known any more.",
        caller: Caller::SignedIn,
        parameters: json!([]),
        body: Some((schema::<ChangePassword>(), true)),
        success: (204, "The new password counts; other devices are signed out.", None),
        problems: &[
            MALFORMED,
            NOT_SIGNED_IN,
            (
                403,
                "The old password is wrong; `step-up-required`: there is none, or a second factor besides, and the last proof is too \
                 old.",
            ),
            TOO_LARGE,
            (422, "`weak-password`, with the reason in words."),
            TOO_FAST,
        ],
    }]
}

/// `POST /api/v1/auth/change-password`: any signed-in person.
async fn change(
    State(identity): State<Identity>,
    client: Client,
    signed_in: SignedIn,
    Body(request): Body<ChangePassword>,
) -> Result<Response, Problem> {
    let row: Option<(Option<String>, String, Option<String>)> =
        sqlx::query_as("select email, display_name, password_hash from identity.users where user_id = $1")
            .bind(signed_in.user_id.uuid())
            .fetch_optional(identity.pool())
            .await
            .map_err(IdentityError::Database)?;
    let (email, display_name, old_hash) =
        row.ok_or_else(|| Problem::not_signed_in("there is no such account any more"))?;
    let Some(email) = email else {
        return Err(Problem::not_allowed(
            "an account without an e-mail address has no password; add an address first",
        ));
    };
    match request.old_password {
        Some(old) => {
            prove(&identity, &client, &signed_in, &email, old, old_hash.clone()).await?;
            // Where there is a second factor, the password alone proves too little.
            let kinds = factors::kinds_of(identity.pool(), signed_in.user_id)
                .await
                .map_err(IdentityError::Database)?;
            if !kinds.is_empty() {
                signed_in.require_step_up(identity.verifier().now())?;
            }
        }
        None => signed_in.require_step_up(identity.verifier().now())?,
    }
    let new_hash = identity
        .passwords()
        .hash_new(
            request.new_password,
            &email,
            &display_name,
            Visitor::let_in_before(client.address),
        )
        .await?;

    let mut tx = identity.pool().begin().await.map_err(IdentityError::Database)?;
    new_way_in::require_session_in_tx(&mut tx, &signed_in).await?;
    // The hash that was compared must still be the one in force: of two changes at once, one is refused.
    let changed = sqlx::query(
        "update identity.users
         set password_hash = $3, password_changed_at = clock_timestamp()
         where user_id = $1 and password_hash is not distinct from $2",
    )
    .bind(signed_in.user_id.uuid())
    .bind(&old_hash)
    .bind(&new_hash)
    .execute(&mut *tx)
    .await
    .map_err(IdentityError::Database)?;
    if changed.rows_affected() == 0 {
        return Err(wrong_password());
    }
    let ended = taking_back::end_sign_ins_in_tx(
        &mut tx,
        signed_in.user_id,
        Some(signed_in.session_id),
        "password-changed",
    )
    .await
    .map_err(IdentityError::Database)?;
    devices::forget_others_in_tx(&mut tx, &client, &signed_in)
        .await
        .map_err(IdentityError::Database)?;
    let event = SecurityEvent::about(Kind::PasswordChanged, signed_in.user_id)
        .in_session(signed_in.session_id)
        .from_address(identity.address_hash(client.address));
    security_events::record(&mut *tx, event)
        .await
        .map_err(IdentityError::Database)?;
    tx.commit().await.map_err(IdentityError::Database)?;
    ended.refuse(&identity);
    // Strangers guessed at a password that is none any more, and the owner's other devices are strangers now.
    identity.throttle().forgive(&email, client.address);
    identity.guesses().forgive_strangers(&email).await;
    identity.postbox().post(&email, letters::password_changed());
    Ok(private(StatusCode::NO_CONTENT))
}

/// Guesses at the old password are counted for the session, apart from those of signing in.
async fn prove(
    identity: &Identity,
    client: &Client,
    signed_in: &SignedIn,
    email: &str,
    guess: String,
    stored: Option<String>,
) -> Result<(), Problem> {
    if guess.chars().count() > CHARACTERS_MAX {
        return Err(Problem::malformed(format!(
            "old_password: at most {CHARACTERS_MAX} characters"
        )));
    }
    let attempt = identity.throttle().admit_session(email, signed_in.session_id)?;
    let guesser = Guesser::Session(signed_in.session_id);
    let counted = match identity.guesses().count(email, guesser).await {
        Ok(counted) => counted,
        Err(problem) => {
            attempt.forgiven();
            return Err(problem);
        }
    };
    match identity
        .passwords()
        .verify(guess, stored, Visitor::let_in_before(client.address))
        .await
    {
        Ok(Verdict::Wrong) => attempt.failed(),
        Ok(_) => {
            attempt.succeeded();
            counted.take_back().await;
            return Ok(());
        }
        Err(busy) => {
            attempt.forgiven();
            counted.take_back().await;
            return Err(busy);
        }
    }
    let event = SecurityEvent::about(Kind::FactorFailed, signed_in.user_id)
        .in_session(signed_in.session_id)
        .from_address(identity.address_hash(client.address))
        .with("factor", "password");
    security_events::record(identity.pool(), event)
        .await
        .map_err(IdentityError::Database)?;
    Err(wrong_password())
}

fn wrong_password() -> Problem {
    Problem::new(StatusCode::FORBIDDEN, "wrong-credentials", "the old password is wrong")
}
