//! A person changes their e-mail address: asked for with a fresh proof, confirmed by the new address, told to the old one.

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::Response,
    routing::post,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use service_kit::{auth::SignedIn, problem::Problem};

use super::{
    super::{
        Identity, IdentityError,
        address::Client,
        body::Body,
        new_way_in,
        openapi::{Caller, MALFORMED, NOT_SIGNED_IN, Route, TOO_FAST, TOO_LARGE, schema},
        private,
        register::normal_email,
        security_events::{self, Kind, SecurityEvent},
        ways_in,
    },
    letters,
    mail_tokens::{self, Asker, Purpose},
    verify_email::{INVALID_TOKEN, MailedToken, NO_MAIL},
    who_asked::{self, NOT_PROVEN},
};

/// The address somebody wants to have.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangeEmail {
    /// The new address; it changes nothing until its mail was read.
    #[schemars(length(min = 3, max = 254), email)]
    email: String,
}

pub(super) fn routes() -> Router<Identity> {
    Router::new()
        .route("/api/v1/auth/change-email", post(ask))
        .route("/api/v1/auth/change-email/confirm", post(confirm))
}

pub(super) fn paths() -> Vec<Route> {
    vec![
        Route {
            path: "/api/v1/auth/change-email",
            method: "post",
            operation_id: "change-email",
            summary: "Ask for another e-mail address",
            description: "Who may call: any signed-in person, about themself, with a proof of the last ten minutes. The new \
                address gets a mail that confirms it, and the old one a notice; until then nothing changes. The answer does not tell whether the address \
                is free.",
            caller: Caller::SignedIn,
            parameters: json!([]),
            body: Some((schema::<ChangeEmail>(), true)),
            success: (202, "A mail to the new address is on its way.", None),
            problems: &[
                MALFORMED,
                NOT_SIGNED_IN,
                (403, "`step-up-required`: prove once more who you are."),
                TOO_LARGE,
                NO_MAIL,
            ],
        },
        Route {
            path: "/api/v1/auth/change-email/confirm",
            method: "post",
            operation_id: "confirm-email-change",
            summary: "Confirm the new e-mail address by the token of its mail",
            description: "Who may call: whoever holds the token and shows that the account is theirs, by an access token of it or by its \
                password. The token is good for one use within 24 hours. The old address is told.",
            caller: Caller::Either,
            parameters: json!([]),
            body: Some((schema::<MailedToken>(), true)),
            success: (204, "The account has the new address.", None),
            problems: &[
                MALFORMED,
                NOT_SIGNED_IN,
                NOT_PROVEN,
                (409, "`email-taken`: somebody else has the address meanwhile."),
                TOO_LARGE,
                INVALID_TOKEN,
                TOO_FAST,
            ],
        },
    ]
}

/// `POST /api/v1/auth/change-email`: any signed-in person with a fresh proof.
async fn ask(
    State(identity): State<Identity>,
    client: Client,
    signed_in: SignedIn,
    Body(request): Body<ChangeEmail>,
) -> Result<Response, Problem> {
    signed_in.require_step_up(identity.verifier().now())?;
    identity.postbox().require_mail()?;
    let email = normal_email(&request.email)?;
    let (address,): (Option<String>,) = sqlx::query_as("select email from identity.users where user_id = $1")
        .bind(signed_in.user_id.uuid())
        .fetch_one(identity.pool())
        .await
        .map_err(IdentityError::Database)?;
    if ways_in::are_paired_devices_only(identity.pool(), signed_in.user_id).await? {
        return Err(Problem::not_allowed(
            "this account signs in by a paired device and has no e-mail address",
        ));
    }
    signed_in.require_own_sign_in()?;
    let mut tx = identity.pool().begin().await.map_err(IdentityError::Database)?;
    new_way_in::require_session_in_tx(&mut tx, &signed_in).await?;
    let token = mail_tokens::make_in_tx(&mut tx, Purpose::ChangeEmail, signed_in.user_id, &email, Asker::Anybody)
        .await
        .map_err(IdentityError::Database)?;
    let event = SecurityEvent::about(Kind::EmailChangeAsked, signed_in.user_id)
        .in_session(signed_in.session_id)
        .from_address(identity.address_hash(client.address));
    security_events::record(&mut *tx, event)
        .await
        .map_err(IdentityError::Database)?;
    tx.commit().await.map_err(IdentityError::Database)?;
    if let Some(token) = token {
        let link = identity.postbox().link("change-email", &token);
        identity.postbox().post(&email, letters::change_email(&link, &token));
        if let Some(address) = address {
            identity.postbox().post(&address, letters::email_change_asked());
        }
    }
    Ok(private(StatusCode::ACCEPTED))
}

/// `POST /api/v1/auth/change-email/confirm`: whoever holds the token and shows that the account is theirs.
async fn confirm(
    State(identity): State<Identity>,
    client: Client,
    headers: HeaderMap,
    Body(request): Body<MailedToken>,
) -> Result<Response, Problem> {
    let holder = mail_tokens::holder(identity.pool(), Purpose::ChangeEmail, &request.token).await?;
    who_asked::require(&identity, &client, &headers, holder.user_id, request.password).await?;
    let mut tx = identity.pool().begin().await.map_err(IdentityError::Database)?;
    let holder = mail_tokens::take_in_tx(&mut tx, Purpose::ChangeEmail, &request.token).await?;
    let (old,): (Option<String>,) = sqlx::query_as("select email from identity.users where user_id = $1 for update")
        .bind(holder.user_id.uuid())
        .fetch_one(&mut *tx)
        .await
        .map_err(IdentityError::Database)?;
    let changed = sqlx::query(
        "update identity.users
         set email = $2, email_verified_at = clock_timestamp()
         where user_id = $1",
    )
    .bind(holder.user_id.uuid())
    .bind(&holder.email)
    .execute(&mut *tx)
    .await;
    if let Err(error) = changed {
        return Err(if is_taken(&error) {
            Problem::conflict("email-taken", "somebody else has this address meanwhile")
        } else {
            IdentityError::Database(error).into()
        });
    }
    // Whoever reads the old address's mail has no further say.
    for purpose in [Purpose::ResetPassword, Purpose::VerifyEmail] {
        mail_tokens::end_in_tx(&mut tx, purpose, holder.user_id)
            .await
            .map_err(IdentityError::Database)?;
    }
    let event =
        SecurityEvent::about(Kind::EmailChanged, holder.user_id).from_address(identity.address_hash(client.address));
    security_events::record(&mut *tx, event)
        .await
        .map_err(IdentityError::Database)?;
    tx.commit().await.map_err(IdentityError::Database)?;
    if let Some(old) = old.filter(|old| *old != holder.email) {
        identity.postbox().post(&old, letters::email_changed());
    }
    Ok(private(StatusCode::NO_CONTENT))
}

/// Does somebody else have the address?
pub(in super::super) fn is_taken(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .is_some_and(|error| error.constraint() == Some("users_email_unique"))
}
