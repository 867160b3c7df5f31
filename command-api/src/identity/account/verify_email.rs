//! Somebody shows that mail to their address reaches them, and that the account it is for is theirs ([`who_asked`]).

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::Response,
    routing::post,
};
use domain::id::UserId;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use service_kit::{auth::SignedIn, problem::Problem};
use sqlx::PgPool;

use super::{
    super::{
        Identity, IdentityError,
        address::Client,
        body::Body,
        openapi::{Caller, MALFORMED, NOT_SIGNED_IN, Route, TOO_FAST, TOO_LARGE, schema},
        private,
        security_events::{self, Kind, SecurityEvent},
    },
    letters,
    mail_tokens::{self, Asker, Purpose},
    postbox::Postbox,
    who_asked::{self, NOT_PROVEN},
};

/// What a mail brought. It has no `Debug`: nothing may print it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MailedToken {
    /// The token of the mail's link.
    #[schemars(length(max = 128))]
    pub token: String,
    /// The password of the account that the mail is about. It may be left out when an access token of that account is sent.
    #[serde(default)]
    #[schemars(length(max = 256))]
    pub password: Option<String>,
}

/// The answer to a token that is not good for this.
pub(super) const INVALID_TOKEN: (u16, &str) = (422, "`invalid-token`: it is unknown, over, or was used before.");
/// The answer where nobody set up mail.
pub(super) const NO_MAIL: (u16, &str) = (422, "`mail-not-configured`: this installation sends no mail.");

pub(super) fn routes() -> Router<Identity> {
    Router::new()
        .route("/api/v1/auth/verify-email", post(verify))
        .route("/api/v1/auth/verify-email/request", post(ask))
}

pub(super) fn paths() -> Vec<Route> {
    vec![
        Route {
            path: "/api/v1/auth/verify-email",
            method: "post",
            operation_id: "verify-email",
            summary: "Confirm an e-mail address by the token of a mail",
            description: "Who may call: whoever holds the token and shows that the account is theirs, by an access token of it or by its \
                password: whoever named somebody else's address cannot, and whoever only reads the mail confirms nothing. The token is \
                good for one use within 24 hours.",
            caller: Caller::Either,
            parameters: json!([]),
            body: Some((schema::<MailedToken>(), true)),
            success: (204, "The address is confirmed.", None),
            problems: &[MALFORMED, NOT_SIGNED_IN, NOT_PROVEN, TOO_LARGE, INVALID_TOKEN, TOO_FAST],
        },
        Route {
            path: "/api/v1/auth/verify-email/request",
            method: "post",
            operation_id: "request-email-verification",
            summary: "Send the mail that confirms the address once more",
            description: "Who may call: any signed-in person, for themself. Five mails an hour at most; further requests are \
                answered alike.",
            caller: Caller::SignedIn,
            parameters: json!([]),
            body: None,
            success: (
                202,
                "A mail is on its way, unless the address is confirmed already.",
                None,
            ),
            problems: &[NOT_SIGNED_IN, NO_MAIL],
        },
    ]
}

/// `POST /api/v1/auth/verify-email/request`: any signed-in person.
async fn ask(State(identity): State<Identity>, signed_in: SignedIn) -> Result<Response, Problem> {
    identity.postbox().require_mail()?;
    let unverified: Option<(String,)> = sqlx::query_as(
        "select email from identity.users where user_id = $1 and email is not null and email_verified_at is null",
    )
    .bind(signed_in.user_id.uuid())
    .fetch_optional(identity.pool())
    .await
    .map_err(IdentityError::Database)?;
    if let Some((email,)) = unverified {
        send_verification(&identity, signed_in.user_id, &email).await?;
    }
    Ok(private(StatusCode::ACCEPTED))
}

/// Sends the mail, where mail is set up.
pub(in super::super) async fn send_verification(
    identity: &Identity,
    user_id: UserId,
    email: &str,
) -> Result<(), IdentityError> {
    send(identity.pool(), identity.postbox(), user_id, email).await
}

pub(super) async fn send(pool: &PgPool, postbox: &Postbox, user_id: UserId, email: &str) -> Result<(), IdentityError> {
    if !postbox.has_mail() {
        return Ok(());
    }
    let mut tx = pool.begin().await?;
    let token = mail_tokens::make_in_tx(&mut tx, Purpose::VerifyEmail, user_id, email, Asker::Anybody).await?;
    tx.commit().await?;
    if let Some(token) = token {
        let link = postbox.link("verify-email", &token);
        postbox.post(email, letters::verify_email(&link, &token));
    }
    Ok(())
}

/// `POST /api/v1/auth/verify-email`: whoever holds the token and shows that the account is theirs.
async fn verify(
    State(identity): State<Identity>,
    client: Client,
    headers: HeaderMap,
    Body(request): Body<MailedToken>,
) -> Result<Response, Problem> {
    let holder = mail_tokens::holder(identity.pool(), Purpose::VerifyEmail, &request.token).await?;
    who_asked::require(&identity, &client, &headers, holder.user_id, request.password).await?;
    let mut tx = identity.pool().begin().await.map_err(IdentityError::Database)?;
    let holder = mail_tokens::take_in_tx(&mut tx, Purpose::VerifyEmail, &request.token).await?;
    // A token for the address of before says nothing about today's.
    let verified = sqlx::query(
        "update identity.users
         set email_verified_at = coalesce(email_verified_at, clock_timestamp())
         where user_id = $1 and email = $2",
    )
    .bind(holder.user_id.uuid())
    .bind(&holder.email)
    .execute(&mut *tx)
    .await
    .map_err(IdentityError::Database)?;
    if verified.rows_affected() == 1 {
        let event = SecurityEvent::about(Kind::EmailVerified, holder.user_id)
            .from_address(identity.address_hash(client.address));
        security_events::record(&mut *tx, event)
            .await
            .map_err(IdentityError::Database)?;
    }
    tx.commit().await.map_err(IdentityError::Database)?;
    Ok(private(StatusCode::NO_CONTENT))
}
