//! Somebody came back from a provider, and is signed in: as who they were before, or as somebody new.
//!
//! | who the provider knows | here | what happens |
//! |---|---|---|
//! | issuer and subject linked before | an account | signed in to it; a second factor is asked for where there is one |
//! | unknown, with a proven address | no account has the address | a new account with the address, verified, without a password |
//! | unknown, with a proven address | an account has it | `link-required`: sign in there by its own ways and link it; nothing is made |
//! | unknown, without | whatever | a new account without an address: what is not proven is not kept |
//!
//! In the third row it makes no difference whether that account's address was ever verified. If it was not, somebody else may
//! have made it, waiting for the owner of the address: nothing of theirs ends up in it. They take the address back by resetting
//! the password with a mail, which ends whatever was linked before.

use axum::{
    Router,
    extract::{Path, State, rejection::PathRejection},
    http::{HeaderMap, StatusCode},
    response::Response,
    routing::post,
};
use connectors::sign_in::{Person, Return};
use domain::id::UserId;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use service_kit::problem::Problem;
use uuid::Uuid;

use super::{
    super::{
        Identity, IdentityError,
        address::Client,
        body::Body,
        factors::admission,
        openapi::{Caller, Route, TOO_LARGE, schema},
        register::{normal_display_name, normal_email},
        security_events::{self, Kind, SecurityEvent},
        sessions::Tokens,
    },
    BUSY, FAILED, SignInProvider, UNKNOWN,
    flows::{self, Linking},
    provider_parameter, redirect_uri,
};

/// How a federated sign-in is named in `amr`; RFC 8176 has no word for it.
const METHOD: &str = "fed";
/// Who brings no name is called this until they choose one.
const UNNAMED: &str = "Unnamed";

/// What stands on the page a provider sent the browser back to. It has no `Debug`: nothing may print it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Finish {
    /// As it came back.
    #[schemars(length(max = 64))]
    state: String,
    /// As it came back.
    #[schemars(length(max = 4096))]
    code: String,
    /// As it came back, where it did.
    #[schemars(length(max = 4096))]
    iss: Option<String>,
    /// As it came back, where it did: Apple's, once.
    #[schemars(length(max = 4096))]
    user: Option<String>,
    /// From starting; left out where the browser has it as a cookie.
    #[schemars(length(max = 64))]
    binding: Option<String>,
}

/// The answers to what a provider or a browser did wrong.
pub(super) const NOT_CONFIRMED: (u16, &str) = (
    401,
    "`unknown-sign-in`: it is over, used, or was begun elsewhere. `sign-in-refused`: the provider does not confirm it. When \
     signing in also `factor-required`, with a `challenge` to go on with at /api/v1/auth/login/factor.",
);
pub(super) const MALFORMED: (u16, &str) = (400, "The address, the body or the content type cannot be read.");

pub(super) fn routes() -> Router<Identity> {
    Router::new().route("/api/v1/auth/providers/{provider}/finish", post(finish))
}

pub(super) fn paths() -> Vec<Route> {
    vec![Route {
        path: "/api/v1/auth/providers/{provider}/finish",
        method: "post",
        operation_id: "finish-provider",
        summary: "Sign in with what a provider sent back",
        description: "Who may call: the browser that began. Somebody new gets an account without a password. An address that an \
            account has already opens nothing: sign in there first, and link the two.",
        caller: Caller::Anybody,
        parameters: json!([provider_parameter()]),
        body: Some((schema::<Finish>(), true)),
        success: (200, "A session.", Some(schema::<Tokens>())),
        problems: &[
            MALFORMED,
            NOT_CONFIRMED,
            UNKNOWN,
            (
                409,
                "`link-required`: an account has this address; sign in to it, then link the provider.",
            ),
            TOO_LARGE,
            FAILED,
            BUSY,
        ],
    }]
}

/// `POST /api/v1/auth/providers/{provider}/finish`: the browser that began.
async fn finish(
    State(identity): State<Identity>,
    client: Client,
    headers: HeaderMap,
    path: Result<Path<String>, PathRejection>,
    Body(request): Body<Finish>,
) -> Result<Response, Problem> {
    let provider = identity.providers().named(path)?;
    let person = who_came_back(&identity, &provider, &headers, request, None).await?;
    let identity_hash = identity.providers().identity_hash(&person.issuer, &person.subject);
    let methods = [METHOD, provider.name.as_str()];
    if let Some(user_id) = known(&identity, identity_hash).await? {
        return admission::admit(&identity, user_id, &methods, None, &client).await;
    }
    if let Some(user_id) = make_account(&identity, &provider, person, identity_hash, &client).await? {
        return admission::admit(&identity, user_id, &methods, None, &client).await;
    }
    // The same person was faster in another tab.
    let user_id = known(&identity, identity_hash).await?;
    let user_id = user_id.ok_or_else(|| Problem::unavailable(1, "this sign-in changed just now; try again"))?;
    admission::admit(&identity, user_id, &methods, None, &client).await
}

/// Whom the provider names, after state and binding were taken.
pub(super) async fn who_came_back(
    identity: &Identity,
    provider: &SignInProvider,
    headers: &HeaderMap,
    request: Finish,
    linking: Linking,
) -> Result<Person, Problem> {
    let binding = request
        .binding
        .or_else(|| flows::shown(headers, &request.state))
        .unwrap_or_default();
    let derived = flows::take(identity, provider, &request.state, &binding, linking).await?;
    let redirect_uri = redirect_uri(identity, provider);
    provider
        .ask(move |provider| {
            provider.person(&Return {
                code: &request.code,
                issuer: request.iss.as_deref(),
                introduction: request.user.as_deref(),
                redirect_uri: &redirect_uri,
                nonce: &derived.nonce,
                verifier: &derived.verifier,
            })
        })
        .await
}

async fn known(identity: &Identity, identity_hash: [u8; 32]) -> Result<Option<UserId>, IdentityError> {
    let row: Option<(Uuid,)> = sqlx::query_as(
        "update identity.linked_sign_ins
         set last_used_at = clock_timestamp()
         where identity_hash = $1
         returning user_id",
    )
    .bind(identity_hash)
    .fetch_optional(identity.pool())
    .await?;
    Ok(row.map(|(user_id,)| UserId::from_uuid(user_id)))
}

/// A new account, linked; none when the identity was linked meanwhile.
///
/// # Errors
/// 409 `link-required` when an account has the proven address.
async fn make_account(
    identity: &Identity,
    provider: &SignInProvider,
    person: Person,
    identity_hash: [u8; 32],
    client: &Client,
) -> Result<Option<UserId>, Problem> {
    let email = person.email.and_then(|email| normal_email(&email).ok());
    let name = person.display_name.and_then(|name| normal_display_name(&name).ok());
    let user_id = UserId::from_uuid(Uuid::new_v4());
    let mut tx = identity.pool().begin().await.map_err(IdentityError::Database)?;
    let made = sqlx::query(
        "insert into identity.users (user_id, email, email_verified_at, display_name)
         values ($1, $2, case when $2::text is not null then clock_timestamp() end, $3)
         on conflict on constraint users_email_unique do nothing",
    )
    .bind(user_id.uuid())
    .bind(&email)
    .bind(name.as_deref().unwrap_or(UNNAMED))
    .execute(&mut *tx)
    .await
    .map_err(IdentityError::Database)?;
    if made.rows_affected() == 0 {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "link-required",
            "there is an account with your e-mail address; sign in to it, and link this provider in your profile",
        ));
    }
    let linked = sqlx::query(
        "insert into identity.linked_sign_ins (identity_hash, user_id, provider, last_used_at)
         values ($1, $2, $3, clock_timestamp())
         on conflict do nothing",
    )
    .bind(identity_hash)
    .bind(user_id.uuid())
    .bind(&provider.name)
    .execute(&mut *tx)
    .await
    .map_err(IdentityError::Database)?;
    if linked.rows_affected() == 0 {
        return Ok(None);
    }
    let event = SecurityEvent::about(Kind::Registered, user_id)
        .from_address(identity.address_hash(client.address))
        .with("provider", provider.name.as_str());
    security_events::record(&mut *tx, event)
        .await
        .map_err(IdentityError::Database)?;
    tx.commit().await.map_err(IdentityError::Database)?;
    Ok(Some(user_id))
}
