//! Recovery codes: ten at a time, shown once, good once each. What is stored is their SHA-256, which is enough for 120 random bits.

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::post,
};
use domain::id::UserId;
use serde_json::json;
use service_kit::{auth::SignedIn, problem::Problem};
use sqlx::PgConnection;

use super::{
    super::{
        Identity, IdentityError,
        account::{letters, notices::Notice},
        address::Client,
        invitations::code::{code_hash, random_code},
        openapi::{Caller, NOT_SIGNED_IN, Route, STEP_UP, schema},
        private,
        security_events::{self, Kind, SecurityEvent},
    },
    enrolment::Added,
    kinds_of,
};

/// Codes made at a time.
const CODES: usize = 10;
/// Characters of a code, five random bits each.
const CODE_CHARACTERS: usize = 24;

pub(super) fn routes() -> Router<Identity> {
    Router::new().route("/api/v1/auth/factors/recovery-codes", post(renew))
}

pub(super) fn paths() -> Vec<Route> {
    vec![Route {
        path: "/api/v1/auth/factors/recovery-codes",
        method: "post",
        operation_id: "renew-recovery-codes",
        summary: "Make ten new recovery codes",
        description: "Who may call: any signed-in person who has a second factor, with a fresh proof. The codes of before end. A mail \
            tells of it.",
        caller: Caller::SignedIn,
        parameters: json!([]),
        body: None,
        success: (201, "The codes, shown only now.", Some(schema::<Added>())),
        problems: &[
            NOT_SIGNED_IN,
            STEP_UP,
            (409, "There is no second factor that they could stand in for."),
        ],
    }]
}

/// `POST /api/v1/auth/factors/recovery-codes`: the person themself, with a fresh proof.
async fn renew(State(identity): State<Identity>, client: Client, signed_in: SignedIn) -> Result<Response, Problem> {
    signed_in.require_step_up(identity.verifier().now())?;
    let user_id = signed_in.user_id;
    let kinds = kinds_of(identity.pool(), user_id)
        .await
        .map_err(IdentityError::Database)?;
    if kinds.is_empty() {
        return Err(Problem::conflict(
            "no-factor",
            "recovery codes stand in for a second factor; add one first",
        ));
    }
    let event = SecurityEvent::about(Kind::RecoveryCodesMade, user_id)
        .in_session(signed_in.session_id)
        .from_address(identity.address_hash(client.address));
    let made = async {
        let mut tx = identity.pool().begin().await?;
        // Two requests at once come after one another here, so that ten codes count and not twenty.
        sqlx::query("select 1 from identity.users where user_id = $1 for update")
            .bind(user_id.uuid())
            .execute(&mut *tx)
            .await?;
        sqlx::query("delete from identity.recovery_codes where user_id = $1")
            .bind(user_id.uuid())
            .execute(&mut *tx)
            .await?;
        let codes = make_in_tx(&mut tx, user_id).await?;
        security_events::record(&mut *tx, event).await?;
        let notice = Notice::of(
            &mut *tx,
            Kind::RecoveryCodesMade,
            user_id,
            letters::recovery_codes_made(),
        )
        .await?;
        tx.commit().await?;
        Ok::<_, sqlx::Error>((codes, notice))
    };
    let (recovery_codes, notice) = made.await.map_err(IdentityError::Database)?;
    notice.send(&identity);
    Ok(private(
        (StatusCode::CREATED, Json(Added { recovery_codes })).into_response(),
    ))
}

/// Ten codes for who has none that is unused; otherwise nothing, for the old ones were shown and still count.
pub(super) async fn make_missing_in_tx(tx: &mut PgConnection, user_id: UserId) -> Result<Vec<String>, sqlx::Error> {
    let (has_some,): (bool,) =
        sqlx::query_as("select exists (select 1 from identity.recovery_codes where user_id = $1 and used_at is null)")
            .bind(user_id.uuid())
            .fetch_one(&mut *tx)
            .await?;
    if has_some {
        return Ok(Vec::new());
    }
    make_in_tx(tx, user_id).await
}

async fn make_in_tx(tx: &mut PgConnection, user_id: UserId) -> Result<Vec<String>, sqlx::Error> {
    let codes: Vec<String> = (0..CODES).map(|_| random_code(CODE_CHARACTERS)).collect();
    let hashes: Vec<Vec<u8>> = codes.iter().map(|code| code_hash(code).to_vec()).collect();
    sqlx::query("insert into identity.recovery_codes (code_hash, user_id) select unnest($1::bytea[]), $2")
        .bind(hashes)
        .bind(user_id.uuid())
        .execute(tx)
        .await?;
    Ok(codes)
}

/// Whether it is one of this person's that was not used. A right one is used up.
pub(super) async fn use_code(identity: &Identity, user_id: UserId, code: &str) -> Result<bool, IdentityError> {
    // Together, so that a code whose use could not be written down is good still.
    let mut tx = identity.pool().begin().await?;
    let used = sqlx::query(
        "update identity.recovery_codes
         set used_at = clock_timestamp()
         where code_hash = $1 and user_id = $2 and used_at is null",
    )
    .bind(code_hash(code))
    .bind(user_id.uuid())
    .execute(&mut *tx)
    .await?;
    if used.rows_affected() != 1 {
        return Ok(false);
    }
    let event = SecurityEvent::about(Kind::RecoveryCodeUsed, user_id);
    security_events::record(&mut *tx, event).await?;
    let letter = letters::recovery_code_used();
    let notice = Notice::of(&mut *tx, Kind::RecoveryCodeUsed, user_id, letter).await?;
    tx.commit().await?;
    notice.send(identity);
    Ok(true)
}
