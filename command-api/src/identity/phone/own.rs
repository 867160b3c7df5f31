//! A person gives their account a number, and takes it away.

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{post, put},
};
use domain::id::UserId;
use serde_json::json;
use service_kit::{auth::SignedIn, problem::Problem};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    super::{
        Identity, IdentityError,
        account::letters,
        address::Client,
        body::Body,
        new_way_in,
        openapi::{Caller, MALFORMED, NEW_WAY_IN, NOT_SIGNED_IN, Route, STEP_UP, TOO_FAST, TOO_LARGE, schema},
        private,
        security_events::{self, Kind, SecurityEvent},
    },
    NO_SMS,
    codes::{self, Answered, Asked, Purpose, Tried, wrong_code},
    number::Number,
    sign_in::Start,
};

pub(super) fn routes() -> Router<Identity> {
    Router::new()
        .route("/api/v1/auth/profile/phone", put(ask).delete(remove))
        .route("/api/v1/auth/profile/phone/confirm", post(confirm))
}

pub(super) fn paths() -> Vec<Route> {
    vec![
        Route {
            path: "/api/v1/auth/profile/phone",
            method: "put",
            operation_id: "change-phone",
            summary: "Ask to sign in by a phone",
            description: "Who may call: any signed-in person with a fresh proof, about themself; nobody whom a parent paired. The number \
                gets a code, and counts once that was confirmed. Five messages an hour and ten a day for an account.",
            caller: Caller::SignedIn,
            parameters: json!([]),
            body: Some((schema::<Start>(), true)),
            success: (202, "A message is on its way.", Some(schema::<Asked>())),
            problems: &[MALFORMED, NOT_SIGNED_IN, NEW_WAY_IN, TOO_LARGE, NO_SMS, TOO_FAST],
        },
        Route {
            path: "/api/v1/auth/profile/phone/confirm",
            method: "post",
            operation_id: "confirm-phone",
            summary: "Confirm a phone by its code",
            description: "Who may call: the person who asked, within ten minutes and five tries. A mail tells of it; also another person \
                who had the number before, and signs in by it no more.",
            caller: Caller::SignedIn,
            parameters: json!([]),
            body: Some((schema::<Answered>(), true)),
            success: (204, "The number signs in from now on, in place of one before.", None),
            problems: &[
                MALFORMED,
                NOT_SIGNED_IN,
                (
                    403,
                    "`wrong-code`: it is wrong, over or used. `email-not-verified`: verify the address first; or the account has \
                     paired devices only.",
                ),
                (409, "`phone-taken`: somebody else confirmed it at this moment."),
                TOO_LARGE,
            ],
        },
        Route {
            path: "/api/v1/auth/profile/phone",
            method: "delete",
            operation_id: "remove-phone",
            summary: "Sign in by phone no more",
            description: "Who may call: any signed-in person with a fresh proof, about themself. A phone proves too little to be \
                anybody's last way in, so it can always go. A mail tells of it.",
            caller: Caller::SignedIn,
            parameters: json!([]),
            body: None,
            success: (204, "The number opens nothing any more.", None),
            problems: &[NOT_SIGNED_IN, STEP_UP, (404, "There is none.")],
        },
    ]
}

/// As much of somebody's number as tells them which it is.
pub(in super::super) async fn masked(identity: &Identity, user_id: UserId) -> Result<Option<String>, IdentityError> {
    let sealed: Option<(Vec<u8>,)> = sqlx::query_as("select sealed_number from identity.phones where user_id = $1")
        .bind(user_id.uuid())
        .fetch_optional(identity.pool())
        .await?;
    let Some((sealed,)) = sealed else {
        return Ok(None);
    };
    Ok(Some(open(identity, user_id, &sealed)?.masked()))
}

/// A number as it is kept with an account.
pub(super) fn open(identity: &Identity, user_id: UserId, sealed: &[u8]) -> Result<Number, IdentityError> {
    let clear = identity.phones().sealing.open(user_id.uuid().as_bytes(), sealed)?;
    Number::parse(&String::from_utf8_lossy(&clear)).map_err(|_| IdentityError::OtherSecret)
}

/// Takes an account's number away: whoever gave it may not be who has the account now.
pub(in super::super) async fn forget_in_tx(tx: &mut PgConnection, user_id: UserId) -> Result<(), sqlx::Error> {
    let ended = sqlx::query("delete from identity.phones where user_id = $1")
        .bind(user_id.uuid())
        .execute(&mut *tx)
        .await?;
    if ended.rows_affected() == 1 {
        security_events::record(&mut *tx, SecurityEvent::about(Kind::PhoneRemoved, user_id)).await?;
    }
    Ok(())
}

/// `PUT /api/v1/auth/profile/phone`: any signed-in person with a fresh proof.
async fn ask(
    State(identity): State<Identity>,
    client: Client,
    signed_in: SignedIn,
    Body(request): Body<Start>,
) -> Result<Response, Problem> {
    signed_in.require_step_up(identity.verifier().now())?;
    let number = Number::parse(&request.number)?;
    let mut tx = identity.pool().begin().await.map_err(IdentityError::Database)?;
    new_way_in::require_in_tx(&mut tx, &identity, &signed_in).await?;
    tx.commit().await.map_err(IdentityError::Database)?;
    let purpose = Purpose::Add(signed_in.user_id);
    let asked = codes::ask(&identity, &number, purpose, &client, false).await?;
    Ok(private((StatusCode::ACCEPTED, Json(asked)).into_response()))
}

/// `POST /api/v1/auth/profile/phone/confirm`: the person who asked.
async fn confirm(
    State(identity): State<Identity>,
    client: Client,
    signed_in: SignedIn,
    Body(request): Body<Answered>,
) -> Result<Response, Problem> {
    let user_id = signed_in.user_id;
    let Tried::Right(used) = codes::take(&identity, &request, Some(user_id)).await? else {
        return Err(wrong_code(StatusCode::FORBIDDEN));
    };
    let mut tx = identity.pool().begin().await.map_err(IdentityError::Database)?;
    new_way_in::require_in_tx(&mut tx, &identity, &signed_in).await?;
    // Numbers are given to somebody else. Who has the telephone now has shown it; who had it signs in by it no more, and is told.
    let before: Option<(Uuid,)> =
        sqlx::query_as("delete from identity.phones where number_hash = $1 and user_id <> $2 returning user_id")
            .bind(&used.number_hash)
            .bind(user_id.uuid())
            .fetch_optional(&mut *tx)
            .await
            .map_err(IdentityError::Database)?;
    let mut had_it = None;
    if let Some((before,)) = before {
        let before = UserId::from_uuid(before);
        security_events::record(&mut *tx, SecurityEvent::about(Kind::PhoneRemoved, before))
            .await
            .map_err(IdentityError::Database)?;
        had_it = email_in_tx(&mut tx, before).await?;
    }
    let kept = sqlx::query(
        "insert into identity.phones (user_id, number_hash, sealed_number)
         values ($1, $2, $3)
         on conflict on constraint phones_pkey do update
         set number_hash = excluded.number_hash, sealed_number = excluded.sealed_number, verified_at = clock_timestamp()",
    )
    .bind(user_id.uuid())
    .bind(&used.number_hash)
    .bind(&used.sealed_number)
    .execute(&mut *tx)
    .await;
    if let Err(error) = kept {
        let is_taken = error
            .as_database_error()
            .is_some_and(|error| error.constraint() == Some("phones_number_unique"));
        return Err(if is_taken {
            Problem::conflict("phone-taken", "somebody else confirmed this number at this moment")
        } else {
            IdentityError::Database(error).into()
        });
    }
    let event = SecurityEvent::about(Kind::PhoneVerified, user_id)
        .in_session(signed_in.session_id)
        .from_address(identity.address_hash(client.address));
    security_events::record(&mut *tx, event)
        .await
        .map_err(IdentityError::Database)?;
    let email = email_in_tx(&mut tx, user_id).await?;
    tx.commit().await.map_err(IdentityError::Database)?;
    if let Some(email) = email {
        identity.postbox().post(&email, letters::phone_added());
    }
    if let Some(email) = had_it {
        identity.postbox().post(&email, letters::phone_moved());
    }
    Ok(private(StatusCode::NO_CONTENT))
}

/// `DELETE /api/v1/auth/profile/phone`: any signed-in person with a fresh proof.
async fn remove(State(identity): State<Identity>, client: Client, signed_in: SignedIn) -> Result<Response, Problem> {
    signed_in.require_step_up(identity.verifier().now())?;
    let user_id = signed_in.user_id;
    let mut tx = identity.pool().begin().await.map_err(IdentityError::Database)?;
    let removed = sqlx::query("delete from identity.phones where user_id = $1")
        .bind(user_id.uuid())
        .execute(&mut *tx)
        .await
        .map_err(IdentityError::Database)?;
    if removed.rows_affected() == 0 {
        return Err(Problem::unknown("unknown-phone", "this account has no phone"));
    }
    let event = SecurityEvent::about(Kind::PhoneRemoved, user_id)
        .in_session(signed_in.session_id)
        .from_address(identity.address_hash(client.address));
    security_events::record(&mut *tx, event)
        .await
        .map_err(IdentityError::Database)?;
    let email = email_in_tx(&mut tx, user_id).await?;
    tx.commit().await.map_err(IdentityError::Database)?;
    if let Some(email) = email {
        identity.postbox().post(&email, letters::phone_removed());
    }
    Ok(private(StatusCode::NO_CONTENT))
}

async fn email_in_tx(tx: &mut PgConnection, user_id: UserId) -> Result<Option<String>, IdentityError> {
    let (email,): (Option<String>,) = sqlx::query_as("select email from identity.users where user_id = $1")
        .bind(user_id.uuid())
        .fetch_one(tx)
        .await?;
    Ok(email)
}
