//! Somebody who does not know their password any more chooses another, by a token that a mail or an operator gave them.
//!
//! The token stands for the password, and for nothing else: it does not sign in, ends whatever was opened before ([`taking_back`]),
//! and leaves second factors as they are, so that whoever reads somebody's mail has still to get past them.
//!
//! An account whose address nobody had verified may have been made by somebody else, waiting for the owner of the address to take it
//! over. Accounts elsewhere and phones that were linked with it until then sign in to it no more, and where mail could have verified
//! the address, its factors go too.
//!
//! Where the token came by mail, its holder reads the address's mail, and everything in the account is theirs from now on: that
//! verifies the address. It is also how the owner of an address comes by an account that somebody else began with it.
//!
//! Strangers who used up the day's guesses at the password before do not keep its owner from signing in with the new one.

use axum::{Router, extract::State, http::StatusCode, response::Response, routing::post};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use service_kit::problem::Problem;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use domain::id::UserId;

use super::{
    super::{
        Identity, IdentityError,
        address::Client,
        body::Body,
        devices,
        openapi::{Caller, MALFORMED, Route, TOO_FAST, TOO_LARGE, schema},
        phone, private, providers,
        queue::Visitor,
        register::normal_email,
        security_events::{self, Kind, SecurityEvent},
    },
    errands::Errand,
    letters,
    mail_tokens::{self, Asker, Holder, Purpose},
    taking_back,
    verify_email::{INVALID_TOKEN, NO_MAIL},
};

/// Whose password is forgotten.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ForgotPassword {
    /// The account's e-mail address, in any case.
    #[schemars(length(max = 254))]
    email: String,
}

/// A token and a new password. It has no `Debug`: nothing may print it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ResetPassword {
    /// The token of the mail's link, or what an operator handed over.
    #[schemars(length(max = 128))]
    token: String,
    /// As when registering.
    #[schemars(length(min = 8, max = 256))]
    new_password: String,
}

pub(super) fn routes() -> Router<Identity> {
    Router::new()
        .route("/api/v1/auth/forgot-password", post(forgot))
        .route("/api/v1/auth/reset-password", post(reset))
}

pub(super) fn paths() -> Vec<Route> {
    vec![
        Route {
            path: "/api/v1/auth/forgot-password",
            method: "post",
            operation_id: "forgot-password",
            summary: "Ask for a mail to reset a password",
            description: "Who may call: anybody. The answer is the same, and as quick, whether or not there is an account.",
            caller: Caller::Anybody,
            parameters: json!([]),
            body: Some((schema::<ForgotPassword>(), true)),
            success: (202, "If there is an account, a mail is on its way.", None),
            problems: &[MALFORMED, TOO_LARGE, TOO_FAST, NO_MAIL],
        },
        Route {
            path: "/api/v1/auth/reset-password",
            method: "post",
            operation_id: "reset-password",
            summary: "Choose a new password by the token of a mail",
            description: "Who may call: whoever holds the token. It is good for one use within 30 minutes, and verifies the address when \
                it came by mail. Nobody is signed in by it; every session and API key of the person ends, and changes of the address that were asked for. Second factors \
                stay, unless nobody had ever verified the address.",
            caller: Caller::Anybody,
            parameters: json!([]),
            body: Some((schema::<ResetPassword>(), true)),
            success: (204, "The new password counts.", None),
            problems: &[
                MALFORMED,
                TOO_LARGE,
                (
                    INVALID_TOKEN.0,
                    "`invalid-token`: it is unknown, over, or was used before; or `weak-password`.",
                ),
                TOO_FAST,
            ],
        },
    ]
}

/// `POST /api/v1/auth/forgot-password`: anybody.
async fn forgot(
    State(identity): State<Identity>,
    client: Client,
    Body(request): Body<ForgotPassword>,
) -> Result<Response, Problem> {
    identity.postbox().require_mail()?;
    let email = normal_email(&request.email)?;
    // A device of the account's owner waits for no stranger, and its mails are counted by themselves.
    let device_id = devices::known(identity.pool(), &email, &client)
        .await
        .map_err(IdentityError::Database)?;
    let subject = format!("forgot {email}");
    // Every request counts like a wrong guess, whoever's address it names.
    match device_id {
        Some(device_id) => identity.throttle().admit_device(&subject, device_id)?,
        None => identity.throttle().admit(&subject, client.address)?,
    }
    .failed();
    identity.errands().leave(Errand::ResetPassword {
        email,
        asker: device_id.map_or(Asker::Anybody, Asker::Device),
        address_hash: identity.address_hash(client.address),
    });
    Ok(private(StatusCode::ACCEPTED))
}

/// `POST /api/v1/auth/reset-password`: whoever holds the token.
async fn reset(
    State(identity): State<Identity>,
    client: Client,
    Body(request): Body<ResetPassword>,
) -> Result<Response, Problem> {
    // Looked at first, used last: a password that is refused leaves the token good, and no guess at a token costs a hash.
    let holder = mail_tokens::holder(identity.pool(), Purpose::ResetPassword, &request.token).await?;
    let (display_name,): (String,) = sqlx::query_as("select display_name from identity.users where user_id = $1")
        .bind(holder.user_id.uuid())
        .fetch_one(identity.pool())
        .await
        .map_err(IdentityError::Database)?;
    let new_hash = identity
        .passwords()
        .hash_new(
            request.new_password,
            &holder.email,
            &display_name,
            Visitor::anybody(client.address),
        )
        .await?;

    let mut tx = identity.pool().begin().await.map_err(IdentityError::Database)?;
    let holder = mail_tokens::take_in_tx(&mut tx, Purpose::ResetPassword, &request.token).await?;
    let was_verified = choose_in_tx(&mut tx, &holder, &new_hash)
        .await
        .map_err(IdentityError::Database)?;
    if !was_verified {
        providers::forget_in_tx(&mut tx, holder.user_id)
            .await
            .map_err(IdentityError::Database)?;
        phone::forget_in_tx(&mut tx, holder.user_id)
            .await
            .map_err(IdentityError::Database)?;
    }
    let ended = taking_back::end_all_in_tx(&mut tx, holder.user_id, "password-reset")
        .await
        .map_err(IdentityError::Database)?;
    taking_back::forget_devices_in_tx(&mut tx, holder.user_id)
        .await
        .map_err(IdentityError::Database)?;
    if !was_verified && identity.postbox().has_mail() {
        taking_back::forget_factors_in_tx(&mut tx, holder.user_id)
            .await
            .map_err(IdentityError::Database)?;
    }
    let address_hash = identity.address_hash(client.address);
    let mut kinds = vec![Kind::PasswordReset];
    if !was_verified && holder.is_mailed {
        kinds.push(Kind::EmailVerified);
    }
    for kind in kinds {
        let event = SecurityEvent::about(kind, holder.user_id).from_address(address_hash);
        security_events::record(&mut *tx, event)
            .await
            .map_err(IdentityError::Database)?;
    }
    tx.commit().await.map_err(IdentityError::Database)?;
    ended.refuse(&identity);
    identity.throttle().forgive(&holder.email, client.address);
    identity.guesses().forgive_strangers(&holder.email).await;
    identity.postbox().post(&holder.email, letters::password_changed());
    Ok(private(StatusCode::NO_CONTENT))
}

/// Puts the new password in force, and verifies the address when its mail was read; whether it was verified before.
async fn choose_in_tx(tx: &mut PgConnection, holder: &Holder, new_hash: &str) -> Result<bool, sqlx::Error> {
    let (was_verified,): (bool,) =
        sqlx::query_as("select email_verified_at is not null from identity.users where user_id = $1")
            .bind(holder.user_id.uuid())
            .fetch_one(&mut *tx)
            .await?;
    sqlx::query(
        "update identity.users
         set
             password_hash = $2,
             password_changed_at = clock_timestamp(),
             email_verified_at = case when $3 then coalesce(email_verified_at, clock_timestamp()) else email_verified_at end
         where user_id = $1",
    )
    .bind(holder.user_id.uuid())
    .bind(new_hash)
    .bind(holder.is_mailed)
    .execute(&mut *tx)
    .await?;
    if holder.is_mailed {
        mail_tokens::end_in_tx(tx, Purpose::VerifyEmail, holder.user_id).await?;
    }
    Ok(was_verified)
}

/// For an operator without mail: a token that resets the password of whoever has this address. None when nobody has.
///
/// # Errors
/// When the address is none, or the database does not answer. `pool` acts in identity's role.
pub async fn operators_reset_token(pool: &PgPool, email: &str) -> Result<Option<String>, IdentityError> {
    let email = normal_email(email).map_err(|problem| IdentityError::Settings(problem.detail().to_owned()))?;
    let account: Option<(Uuid,)> = sqlx::query_as("select user_id from identity.users where email = $1")
        .bind(&email)
        .fetch_optional(pool)
        .await?;
    let Some((user_id,)) = account else {
        return Ok(None);
    };
    let user_id = UserId::from_uuid(user_id);
    let mut tx = pool.begin().await?;
    let Some(token) =
        mail_tokens::make_in_tx(&mut tx, Purpose::ResetPassword, user_id, &email, Asker::Operator).await?
    else {
        return Ok(None);
    };
    let event = SecurityEvent::about(Kind::PasswordResetAsked, user_id).with("by", "operator");
    security_events::record(&mut *tx, event).await?;
    tx.commit().await?;
    Ok(Some(token))
}
