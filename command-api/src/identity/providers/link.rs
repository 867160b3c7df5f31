//! A person links their account with one elsewhere, sees what is linked, and takes a link away.

use axum::{
    Router,
    extract::{Path, State, rejection::PathRejection},
    http::{HeaderMap, StatusCode},
    response::Response,
    routing::post,
};
use chrono::{DateTime, Utc};
use connectors::sign_in::Person;
use domain::id::UserId;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use service_kit::{auth::SignedIn, problem::Problem};
use sqlx::{PgConnection, PgPool};

use super::{
    super::{
        Identity, IdentityError,
        account::letters,
        address::Client,
        body::Body,
        new_way_in,
        openapi::{Caller, NEW_WAY_IN, NOT_SIGNED_IN, Route, STEP_UP, TOO_LARGE, schema},
        private,
        register::normal_email,
        security_events::{self, Kind, SecurityEvent},
        ways_in::{self, Way},
    },
    BUSY, FAILED, MALFORMED_ADDRESS, SignInProvider, UNKNOWN,
    finish::{Finish, MALFORMED, NOT_CONFIRMED, who_came_back},
    flows::linking,
    provider_parameter,
    start::{Started, begin},
};

/// An account elsewhere that signs in here.
#[derive(Serialize, JsonSchema, sqlx::FromRow)]
pub(in super::super) struct Linked {
    /// Which provider's.
    provider: String,
    /// Since when (UTC).
    linked_at: DateTime<Utc>,
    /// When somebody last signed in by it (UTC).
    last_used_at: Option<DateTime<Utc>>,
}

pub(super) fn routes() -> Router<Identity> {
    Router::new()
        .route("/api/v1/auth/providers/{provider}/link", post(start).delete(unlink))
        .route("/api/v1/auth/providers/{provider}/link/finish", post(finish))
}

pub(super) fn paths() -> Vec<Route> {
    vec![
        Route {
            path: "/api/v1/auth/providers/{provider}/link",
            method: "post",
            operation_id: "link-provider",
            summary: "Begin to link one's account with a provider's",
            description: "Who may call: any signed-in person with a fresh proof, about themself; nobody whom a parent paired. The \
                browser goes to `authorization_url` as for signing in.",
            caller: Caller::SignedIn,
            parameters: json!([provider_parameter()]),
            body: None,
            success: (200, "Where to go.", Some(schema::<Started>())),
            problems: &[MALFORMED_ADDRESS, NOT_SIGNED_IN, NEW_WAY_IN, UNKNOWN, FAILED, BUSY],
        },
        Route {
            path: "/api/v1/auth/providers/{provider}/link/finish",
            method: "post",
            operation_id: "finish-provider-link",
            summary: "Link one's account with what a provider sent back",
            description: "Who may call: the session that began, in the browser that began, while it is not ended. A mail tells of it.",
            caller: Caller::SignedIn,
            parameters: json!([provider_parameter()]),
            body: Some((schema::<Finish>(), true)),
            success: (204, "It signs in to this account from now on.", None),
            problems: &[
                MALFORMED,
                NOT_CONFIRMED,
                (
                    403,
                    "`email-not-verified`: verify the address first; or the account has paired devices only.",
                ),
                UNKNOWN,
                (
                    409,
                    "`sign-in-taken`: it signs in to another account. `provider-linked`: another of the provider's accounts is linked.",
                ),
                TOO_LARGE,
                FAILED,
                BUSY,
            ],
        },
        Route {
            path: "/api/v1/auth/providers/{provider}/link",
            method: "delete",
            operation_id: "unlink-provider",
            summary: "Take a provider's account off one's own",
            description: "Who may call: any signed-in person with a fresh proof, about themself. The last way to sign in stays. A mail \
                tells of it.",
            caller: Caller::SignedIn,
            parameters: json!([provider_parameter()]),
            body: None,
            success: (204, "It opens nothing any more.", None),
            problems: &[
                MALFORMED_ADDRESS,
                NOT_SIGNED_IN,
                STEP_UP,
                (404, "It is not linked, or there is no such provider."),
                (409, "`last-way-in`: add another way to sign in first."),
            ],
        },
    ]
}

/// What is linked with somebody's account, the oldest first.
pub(in super::super) async fn linked(pool: &PgPool, user_id: UserId) -> Result<Vec<Linked>, sqlx::Error> {
    sqlx::query_as(
        "select provider, linked_at, last_used_at
         from identity.linked_sign_ins
         where user_id = $1
         order by linked_at, provider",
    )
    .bind(user_id.uuid())
    .fetch_all(pool)
    .await
}

/// Ends every link of an account: whoever made them may not be who has it now.
pub(in super::super) async fn forget_in_tx(tx: &mut PgConnection, user_id: UserId) -> Result<(), sqlx::Error> {
    let ended: Vec<(String,)> =
        sqlx::query_as("delete from identity.linked_sign_ins where user_id = $1 returning provider")
            .bind(user_id.uuid())
            .fetch_all(&mut *tx)
            .await?;
    for (provider,) in ended {
        let event = SecurityEvent::about(Kind::SignInUnlinked, user_id).with("provider", provider);
        security_events::record(&mut *tx, event).await?;
    }
    Ok(())
}

/// `POST /api/v1/auth/providers/{provider}/link`: any signed-in person with a fresh proof.
async fn start(
    State(identity): State<Identity>,
    client: Client,
    signed_in: SignedIn,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    signed_in.require_step_up(identity.verifier().now())?;
    let provider = identity.providers().named(path)?;
    let mut tx = identity.pool().begin().await.map_err(IdentityError::Database)?;
    new_way_in::require_in_tx(&mut tx, &identity, &signed_in).await?;
    tx.commit().await.map_err(IdentityError::Database)?;
    begin(&identity, &provider, linking(&signed_in), &client).await
}

/// `POST /api/v1/auth/providers/{provider}/link/finish`: the session that began.
async fn finish(
    State(identity): State<Identity>,
    client: Client,
    signed_in: SignedIn,
    headers: HeaderMap,
    path: Result<Path<String>, PathRejection>,
    Body(request): Body<Finish>,
) -> Result<Response, Problem> {
    let provider = identity.providers().named(path)?;
    let person = who_came_back(&identity, &provider, &headers, request, linking(&signed_in)).await?;
    let mut tx = identity.pool().begin().await.map_err(IdentityError::Database)?;
    // The provider took its time: what began may be taken back, or closed, by now.
    new_way_in::require_in_tx(&mut tx, &identity, &signed_in).await?;
    if link_in_tx(&mut tx, &identity, &provider, signed_in.user_id, &person).await? {
        let event = SecurityEvent::about(Kind::SignInLinked, signed_in.user_id)
            .in_session(signed_in.session_id)
            .from_address(identity.address_hash(client.address))
            .with("provider", provider.name.as_str());
        security_events::record(&mut *tx, event)
            .await
            .map_err(IdentityError::Database)?;
        let email = verified_by_in_tx(&mut tx, signed_in.user_id, &person)
            .await
            .map_err(IdentityError::Database)?;
        tx.commit().await.map_err(IdentityError::Database)?;
        if let Some(email) = email {
            identity.postbox().post(&email, letters::sign_in_linked());
        }
    }
    Ok(private(StatusCode::NO_CONTENT))
}

/// Whether the link is new.
///
/// # Errors
/// 409 when the identity is somebody else's, or the person has another one of this provider.
async fn link_in_tx(
    tx: &mut PgConnection,
    identity: &Identity,
    provider: &SignInProvider,
    user_id: UserId,
    person: &Person,
) -> Result<bool, Problem> {
    let identity_hash = identity.providers().identity_hash(&person.issuer, &person.subject);
    let made = sqlx::query(
        "insert into identity.linked_sign_ins (identity_hash, user_id, provider)
         values ($1, $2, $3)
         on conflict do nothing",
    )
    .bind(identity_hash)
    .bind(user_id.uuid())
    .bind(&provider.name)
    .execute(&mut *tx)
    .await
    .map_err(IdentityError::Database)?;
    if made.rows_affected() == 1 {
        return Ok(true);
    }
    let owner: Option<(bool,)> =
        sqlx::query_as("select user_id = $2 from identity.linked_sign_ins where identity_hash = $1")
            .bind(identity_hash)
            .bind(user_id.uuid())
            .fetch_optional(&mut *tx)
            .await
            .map_err(IdentityError::Database)?;
    match owner {
        Some((true,)) => Ok(false),
        Some((false,)) => Err(Problem::conflict(
            "sign-in-taken",
            "this sign-in belongs to another account here",
        )),
        None => Err(Problem::conflict(
            "provider-linked",
            "another account of this provider is linked already; unlink it first",
        )),
    }
}

/// A proven address that is the account's own has now been proven here too. The account's address comes back, to tell of the link.
async fn verified_by_in_tx(
    tx: &mut PgConnection,
    user_id: UserId,
    person: &Person,
) -> Result<Option<String>, sqlx::Error> {
    let proven = person.email.as_deref().and_then(|email| normal_email(email).ok());
    let verified = sqlx::query(
        "update identity.users
         set email_verified_at = clock_timestamp()
         where user_id = $1 and email = $2 and email_verified_at is null",
    )
    .bind(user_id.uuid())
    .bind(proven)
    .execute(&mut *tx)
    .await?;
    if verified.rows_affected() == 1 {
        security_events::record(&mut *tx, SecurityEvent::about(Kind::EmailVerified, user_id)).await?;
    }
    let (email,): (Option<String>,) = sqlx::query_as("select email from identity.users where user_id = $1")
        .bind(user_id.uuid())
        .fetch_one(&mut *tx)
        .await?;
    Ok(email)
}

/// `DELETE /api/v1/auth/providers/{provider}/link`: any signed-in person with a fresh proof. A link of a provider that is not set up any
/// more can be taken away too.
async fn unlink(
    State(identity): State<Identity>,
    client: Client,
    signed_in: SignedIn,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    signed_in.require_step_up(identity.verifier().now())?;
    let Path(provider) = path.map_err(|_| Problem::malformed("the address cannot be read"))?;
    let unknown = || Problem::unknown("unknown-provider", "no account of this provider is linked");
    if provider.chars().any(char::is_control) {
        return Err(unknown());
    }
    let user_id = signed_in.user_id;
    let mut tx = identity.pool().begin().await.map_err(IdentityError::Database)?;
    ways_in::require_another_in_tx(&mut tx, &identity, user_id, Way::Provider(&provider)).await?;
    let ended = sqlx::query("delete from identity.linked_sign_ins where user_id = $1 and provider = $2")
        .bind(user_id.uuid())
        .bind(&provider)
        .execute(&mut *tx)
        .await
        .map_err(IdentityError::Database)?;
    if ended.rows_affected() == 0 {
        return Err(unknown());
    }
    let event = SecurityEvent::about(Kind::SignInUnlinked, user_id)
        .in_session(signed_in.session_id)
        .from_address(identity.address_hash(client.address))
        .with("provider", provider);
    security_events::record(&mut *tx, event)
        .await
        .map_err(IdentityError::Database)?;
    let (email,): (Option<String>,) = sqlx::query_as("select email from identity.users where user_id = $1")
        .bind(user_id.uuid())
        .fetch_one(&mut *tx)
        .await
        .map_err(IdentityError::Database)?;
    tx.commit().await.map_err(IdentityError::Database)?;
    if let Some(email) = email {
        identity.postbox().post(&email, letters::sign_in_unlinked());
    }
    Ok(private(StatusCode::NO_CONTENT))
}
