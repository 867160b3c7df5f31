//! A person adds an authenticator app, and removes it.
//!
//! The seed is shown once. It counts only when a first code of the app has come back: who scanned nothing locks nobody out.

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::post,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use service_kit::{auth::SignedIn, problem::Problem};

use super::{
    super::{
        Identity, IdentityError,
        account::{letters, notices::Notice},
        address::Client,
        body::Body,
        new_way_in,
        openapi::{Caller, MALFORMED, NEW_WAY_IN, NOT_SIGNED_IN, Route, STEP_UP, TOO_FAST, TOO_LARGE, schema},
        private,
        security_events::{self, Kind, SecurityEvent},
    },
    CODE_BYTES_MAX, forget_recovery_codes_of_nothing, recovery, throttle_subject, totp, totp_check,
};

/// What an authenticator app needs. It has no `Debug`: nothing may print it.
#[derive(Serialize, JsonSchema)]
struct Seed {
    /// The seed in base 32, to type.
    secret: String,
    /// The same as an `otpauth:` address, to show as a QR code.
    otpauth_uri: String,
}

/// The first code of the app. It has no `Debug`: nothing may print it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct FirstCode {
    /// Six digits.
    #[schemars(length(max = 64))]
    code: String,
}

/// What comes with the first factor. It has no `Debug`: nothing may print it.
#[derive(Serialize, JsonSchema)]
pub(super) struct Added {
    /// Ten codes for the day the factor is lost, shown only now; empty for who has some already.
    pub recovery_codes: Vec<String>,
}

pub(super) fn routes() -> Router<Identity> {
    Router::new()
        .route("/api/v1/auth/factors/totp", post(begin).delete(remove))
        .route("/api/v1/auth/factors/totp/confirm", post(confirm))
}

pub(super) fn paths() -> Vec<Route> {
    vec![
        Route {
            path: "/api/v1/auth/factors/totp",
            method: "post",
            operation_id: "add-totp",
            summary: "Begin to add an authenticator app",
            description: "Who may call: any signed-in person with a fresh proof, about themself. The seed counts only after its \
                first right code; until then a new one takes its place.",
            caller: Caller::SignedIn,
            parameters: json!([]),
            body: None,
            success: (201, "The seed, shown only now.", Some(schema::<Seed>())),
            problems: &[
                NOT_SIGNED_IN,
                NEW_WAY_IN,
                (409, "There is an authenticator app already."),
            ],
        },
        Route {
            path: "/api/v1/auth/factors/totp/confirm",
            method: "post",
            operation_id: "confirm-totp",
            summary: "Finish adding an authenticator app with its first code",
            description: "Who may call: any signed-in person with a fresh proof, about themself. From now on the password alone \
                does not sign in. A mail tells of it.",
            caller: Caller::SignedIn,
            parameters: json!([]),
            body: Some((schema::<FirstCode>(), true)),
            success: (200, "The factor counts.", Some(schema::<Added>())),
            problems: &[
                MALFORMED,
                NOT_SIGNED_IN,
                NEW_WAY_IN,
                (404, "No authenticator app waits for its first code."),
                TOO_LARGE,
                (422, "The code is not what the app shows now."),
                TOO_FAST,
            ],
        },
        Route {
            path: "/api/v1/auth/factors/totp",
            method: "delete",
            operation_id: "remove-totp",
            summary: "Remove the authenticator app",
            description: "Who may call: any signed-in person with a fresh proof, about themself. A mail tells of it.",
            caller: Caller::SignedIn,
            parameters: json!([]),
            body: None,
            success: (204, "It is gone.", None),
            problems: &[NOT_SIGNED_IN, STEP_UP, (404, "There is none.")],
        },
    ]
}

/// `POST /api/v1/auth/factors/totp`: the person themself, with a fresh proof.
async fn begin(State(identity): State<Identity>, signed_in: SignedIn) -> Result<Response, Problem> {
    signed_in.require_step_up(identity.verifier().now())?;
    let user_id = signed_in.user_id;
    let seed: [u8; totp::SEED_BYTES] = rand::random();
    let sealed = identity.seeds().seal(user_id.uuid().as_bytes(), &seed)?;
    let mut tx = identity.pool().begin().await.map_err(IdentityError::Database)?;
    new_way_in::require_in_tx(&mut tx, &identity, &signed_in).await?;
    let email: Option<String> = sqlx::query_scalar(
        "with stored as (
             insert into identity.totp_factors (user_id, sealed_seed)
             select user_id, $2
             from identity.users
             where user_id = $1
             on conflict on constraint totp_factors_pkey do update
             set sealed_seed = excluded.sealed_seed, created_at = clock_timestamp(), last_step = 0, attempts = 0
             where totp_factors.confirmed_at is null
             returning user_id
         )
         select coalesce(users.email, users.display_name)
         from identity.users
         join stored on stored.user_id = users.user_id",
    )
    .bind(user_id.uuid())
    .bind(sealed)
    .fetch_optional(&mut *tx)
    .await
    .map_err(IdentityError::Database)?;
    tx.commit().await.map_err(IdentityError::Database)?;
    let email = email.ok_or_else(|| {
        Problem::conflict(
            "already-enrolled",
            "there is an authenticator app already; remove it first",
        )
    })?;
    let seed = Seed {
        secret: totp::base32(&seed),
        otpauth_uri: totp::otpauth_uri(&seed, &email),
    };
    Ok(private((StatusCode::CREATED, Json(seed)).into_response()))
}

/// `POST /api/v1/auth/factors/totp/confirm`: the person themself, with a fresh proof.
async fn confirm(
    State(identity): State<Identity>,
    client: Client,
    signed_in: SignedIn,
    Body(request): Body<FirstCode>,
) -> Result<Response, Problem> {
    signed_in.require_step_up(identity.verifier().now())?;
    if request.code.len() > CODE_BYTES_MAX {
        return Err(Problem::malformed(format!("code: at most {CODE_BYTES_MAX} bytes")));
    }
    let user_id = signed_in.user_id;
    let attempt = identity
        .throttle()
        .admit_session(&throttle_subject(user_id), signed_in.session_id)?;
    let waiting: Option<(Vec<u8>,)> =
        sqlx::query_as("select sealed_seed from identity.totp_factors where user_id = $1 and confirmed_at is null")
            .bind(user_id.uuid())
            .fetch_optional(identity.pool())
            .await
            .map_err(IdentityError::Database)?;
    let Some((sealed,)) = waiting else {
        attempt.forgiven();
        return Err(Problem::unknown(
            "no-enrolment",
            "no authenticator app waits for its first code",
        ));
    };
    let Some(step) = totp_check::matching_step(&identity, user_id, &sealed, &request.code)? else {
        attempt.failed();
        return Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "wrong-code",
            "this is not what the app shows now; look at the device's clock too",
        ));
    };
    attempt.succeeded();
    let mut tx = identity.pool().begin().await.map_err(IdentityError::Database)?;
    new_way_in::require_in_tx(&mut tx, &identity, &signed_in).await?;
    let confirmed = sqlx::query(
        "update identity.totp_factors
         set confirmed_at = clock_timestamp(), last_step = $3
         where user_id = $1 and sealed_seed = $2 and confirmed_at is null",
    )
    .bind(user_id.uuid())
    .bind(&sealed)
    .bind(step)
    .execute(&mut *tx)
    .await
    .map_err(IdentityError::Database)?;
    if confirmed.rows_affected() != 1 {
        return Err(Problem::unknown("no-enrolment", "the app was added at this moment"));
    }
    let recovery_codes = recovery::make_missing_in_tx(&mut tx, user_id)
        .await
        .map_err(IdentityError::Database)?;
    let event = SecurityEvent::about(Kind::FactorAdded, user_id)
        .in_session(signed_in.session_id)
        .from_address(identity.address_hash(client.address))
        .with("factor", "totp");
    security_events::record(&mut *tx, event)
        .await
        .map_err(IdentityError::Database)?;
    let notice = Notice::of(&mut *tx, Kind::FactorAdded, user_id, letters::authenticator_added())
        .await
        .map_err(IdentityError::Database)?;
    tx.commit().await.map_err(IdentityError::Database)?;
    notice.send(&identity);
    Ok(private(Json(Added { recovery_codes })))
}

/// `DELETE /api/v1/auth/factors/totp`: the person themself, with a fresh proof.
async fn remove(State(identity): State<Identity>, client: Client, signed_in: SignedIn) -> Result<Response, Problem> {
    signed_in.require_step_up(identity.verifier().now())?;
    let user_id = signed_in.user_id;
    let mut tx = identity.pool().begin().await.map_err(IdentityError::Database)?;
    let removed: Option<(bool,)> =
        sqlx::query_as("delete from identity.totp_factors where user_id = $1 returning confirmed_at is not null")
            .bind(user_id.uuid())
            .fetch_optional(&mut *tx)
            .await
            .map_err(IdentityError::Database)?;
    let (counted,) = removed.ok_or_else(|| Problem::unknown("unknown-factor", "there is no authenticator app"))?;
    let mut notice = None;
    if counted {
        let event = SecurityEvent::about(Kind::FactorRemoved, user_id)
            .in_session(signed_in.session_id)
            .from_address(identity.address_hash(client.address))
            .with("factor", "totp");
        security_events::record(&mut *tx, event)
            .await
            .map_err(IdentityError::Database)?;
        let told = Notice::of(&mut *tx, Kind::FactorRemoved, user_id, letters::authenticator_removed()).await;
        notice = Some(told.map_err(IdentityError::Database)?);
    }
    tx.commit().await.map_err(IdentityError::Database)?;
    if let Some(notice) = notice {
        notice.send(&identity);
        forget_recovery_codes_of_nothing(identity.pool(), user_id)
            .await
            .map_err(IdentityError::Database)?;
    }
    Ok(private(StatusCode::NO_CONTENT))
}
