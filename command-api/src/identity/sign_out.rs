//! A person signs out: here, or everywhere.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::Response,
};
use domain::id::UserId;
use schemars::JsonSchema;
use serde::Deserialize;
use service_kit::{auth::STEP_UP_SECONDS_MAX, problem::Problem};
use uuid::Uuid;

use super::{
    Identity, IdentityError,
    account::taking_back,
    address::Client,
    body::OptionalBody,
    pairing, private,
    refresh::TOKEN_BYTES_MAX,
    security_events::{self, Kind, SecurityEvent},
    sessions::hash_of,
};

/// Which session to end. It has no `Debug`: nothing may print it.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct SignOut {
    /// A refresh token of the session, when there is no access token at hand.
    #[schemars(length(max = 128))]
    refresh_token: Option<String>,
    /// Only for sessions of a paired device, to end all of them by a refresh token: its signature, as for refreshing.
    #[schemars(length(max = 200))]
    device_signature: Option<String>,
    /// Ends all of the person's sessions and API keys, not only this session; after a fresh proof no device is known either.
    everywhere: bool,
}

struct Ending {
    user_id: UserId,
    session_id: Uuid,
    may_end_all: bool,
    is_proven: bool,
}

/// `POST /api/v1/auth/logout`: whoever holds an access token, or a refresh token of the session.
///
/// An old refresh token ends its own session only, and so does one of a paired device without the device's signature; ending all
/// takes one that could be exchanged. No proof is asked for, since ending what one does not know must be quick; but without one of
/// the last ten minutes devices stay known, see [`taking_back`].
pub(super) async fn sign_out(
    State(identity): State<Identity>,
    client: Client,
    headers: HeaderMap,
    OptionalBody(request): OptionalBody<SignOut>,
) -> Result<Response, Problem> {
    let everywhere = request.everywhere;
    let Some(ending) = ending(&identity, &headers, request).await? else {
        return Ok(private(StatusCode::NO_CONTENT));
    };
    let everywhere = everywhere && ending.may_end_all;
    let address_hash = identity.address_hash(client.address);
    if everywhere {
        everywhere_of(&identity, &ending, address_hash)
            .await
            .map_err(IdentityError::Database)?;
    } else {
        here(&identity, &ending, address_hash)
            .await
            .map_err(IdentityError::Database)?;
    }
    Ok(private(StatusCode::NO_CONTENT))
}

async fn everywhere_of(
    identity: &Identity,
    ending: &Ending,
    address_hash: Option<[u8; 32]>,
) -> Result<(), sqlx::Error> {
    let mut tx = identity.pool().begin().await?;
    let ended = taking_back::end_all_in_tx(&mut tx, ending.user_id, "signed-out-everywhere").await?;
    if ending.is_proven {
        taking_back::forget_devices_in_tx(&mut tx, ending.user_id).await?;
    }
    let event = SecurityEvent::about(Kind::SignedOutEverywhere, ending.user_id)
        .in_session(ending.session_id)
        .from_address(address_hash);
    security_events::record(&mut *tx, event).await?;
    tx.commit().await?;
    ended.refuse(identity);
    Ok(())
}

async fn here(identity: &Identity, ending: &Ending, address_hash: Option<[u8; 32]>) -> Result<(), sqlx::Error> {
    let ended = sqlx::query(
        "update identity.sessions
         set revoked_at = clock_timestamp(), revoke_reason = 'signed-out'
         where user_id = $1 and session_id = $2 and revoked_at is null",
    )
    .bind(ending.user_id.uuid())
    .bind(ending.session_id)
    .execute(identity.pool())
    .await?;
    if ended.rows_affected() == 1 {
        identity.verifier().revoke(ending.session_id);
    }
    let event = SecurityEvent::about(Kind::SignedOut, ending.user_id)
        .in_session(ending.session_id)
        .from_address(address_hash);
    security_events::record(identity.pool(), event).await
}

/// None when the token names no session that could be ended: it is over already, which is what was asked for.
async fn ending(identity: &Identity, headers: &HeaderMap, request: SignOut) -> Result<Option<Ending>, Problem> {
    let Some(token) = request.refresh_token else {
        let signed_in = Arc::clone(identity.verifier()).signed_in(headers).await?;
        let (user_id, session_id) = (signed_in.user_id, signed_in.session_id);
        return Ok(Some(Ending {
            user_id,
            session_id,
            may_end_all: true,
            is_proven: signed_in.require_step_up(identity.verifier().now()).is_ok(),
        }));
    };
    if headers.contains_key(header::AUTHORIZATION) {
        return Err(Problem::malformed("send an access token or a refresh token, not both"));
    }
    if token.len() > TOKEN_BYTES_MAX {
        return Ok(None);
    }
    let row: Option<(Uuid, Uuid, bool, bool)> = sqlx::query_as(
        "select
             session.user_id,
             session.session_id,
             token.used_at is null
                 and token.expires_at > clock_timestamp()
                 and session.expires_at > clock_timestamp(),
             session.proven_at >= clock_timestamp() - make_interval(secs => $2)
         from identity.refresh_tokens as token
         join identity.sessions as session on session.session_id = token.session_id
         where token.token_hash = $1 and session.revoked_at is null",
    )
    .bind(hash_of(&token))
    .bind(STEP_UP_SECONDS_MAX as f64)
    .fetch_optional(identity.pool())
    .await
    .map_err(IdentityError::Database)?;
    let Some((user_id, session_id, is_newest, is_proven)) = row else {
        return Ok(None);
    };
    let signature = request.device_signature.as_deref();
    Ok(Some(Ending {
        user_id: UserId::from_uuid(user_id),
        session_id,
        may_end_all: is_newest && pairing::is_signed(identity, &token, signature).await?,
        is_proven,
    }))
}
