//! The parent who began a pairing looks at the device that claimed it, and confirms it.

use axum::{
    Json, Router,
    extract::{Path, State, rejection::PathRejection},
    http::StatusCode,
    response::Response,
    routing::{get, post},
};
use domain::id::{CommandId, FamilyId, MemberId, UserId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use service_kit::{auth::SignedIn, problem::Problem};
use uuid::Uuid;

use super::{
    super::{
        Identity, IdentityError,
        address::Client,
        body::Body,
        new_way_in,
        openapi::{Caller, MALFORMED, NOT_SIGNED_IN, Route, TOO_LARGE, schema},
        private,
        security_events::{self, Kind, SecurityEvent},
    },
    check_hides_nothing, require_parent,
    start::PAIRING,
    young_member,
};

/// Devices of one member at most.
const DEVICES_MAX: i64 = 10;
/// How an account without e-mail is called.
const DISPLAY_NAME: &str = "Family member";

/// How far a pairing is.
#[derive(Serialize, JsonSchema)]
struct Progress {
    /// `waiting` for a device, `claimed` by one, or `confirmed`.
    state: &'static str,
    /// What the device calls itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    device_name: Option<String>,
}

/// What the device shows.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Confirmation {
    /// Two digits.
    #[schemars(length(min = 2, max = 2))]
    match_code: String,
}

#[derive(sqlx::FromRow)]
struct Claimed {
    family_id: Uuid,
    member_id: Uuid,
    match_code: Option<String>,
    device_name: Option<String>,
    algorithm: Option<String>,
    public_key: Option<Vec<u8>>,
    device_id: Option<Uuid>,
}

pub(super) fn routes() -> Router<Identity> {
    Router::new()
        .route("/api/v1/auth/pairings/{pairing_id}", get(look))
        .route("/api/v1/auth/pairings/{pairing_id}/confirm", post(confirm))
}

pub(super) fn paths() -> Vec<Route> {
    vec![
        Route {
            path: "/api/v1/auth/pairings/{pairing_id}",
            method: "get",
            operation_id: "pairing",
            summary: "How far a pairing is",
            description: "Who may call: the parent or partner who began it.",
            caller: Caller::SignedIn,
            parameters: json!([pairing_parameter()]),
            body: None,
            success: (
                200,
                "Its state, and the device's name once there is one.",
                Some(schema::<Progress>()),
            ),
            problems: &[
                MALFORMED,
                NOT_SIGNED_IN,
                (404, "There is no such pairing, or it is over."),
            ],
        },
        Route {
            path: "/api/v1/auth/pairings/{pairing_id}/confirm",
            method: "post",
            operation_id: "confirm-pairing",
            summary: "Confirm the device by the digits it shows",
            description: "Who may call: the parent or partner who began it, with a fresh proof. Wrong digits end the pairing. The \
                device gets the member's own role and never another.",
            caller: Caller::SignedIn,
            parameters: json!([pairing_parameter()]),
            body: Some((schema::<Confirmation>(), true)),
            success: (204, "The device may finish.", None),
            problems: &[
                MALFORMED,
                NOT_SIGNED_IN,
                PAIRING,
                (
                    404,
                    "There is no such pairing, it is over, or no device has claimed it.",
                ),
                (
                    409,
                    "The member has an account of their own, or ten devices; or something else changed the family.",
                ),
                TOO_LARGE,
                (
                    422,
                    "The digits are not those that the device shows, or the member is neither teen nor child.",
                ),
                (503, "The ledger cannot be reached just now; ask again."),
            ],
        },
    ]
}

fn pairing_parameter() -> Value {
    json!({
        "name": "pairing_id",
        "in": "path",
        "required": true,
        "description": "from the answer that began it",
        "schema": { "type": "string", "format": "uuid" },
    })
}

/// `GET /api/v1/auth/pairings/{pairing_id}`: who began it.
async fn look(
    State(identity): State<Identity>,
    signed_in: SignedIn,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let pairing_id = pairing_id(path)?;
    let pairing = own(&identity, pairing_id, signed_in.user_id).await?;
    let state = match (&pairing.device_id, &pairing.match_code) {
        (Some(_), _) => "confirmed",
        (None, Some(_)) => "claimed",
        (None, None) => "waiting",
    };
    Ok(private(Json(Progress {
        state,
        device_name: pairing.device_name,
    })))
}

/// `POST /api/v1/auth/pairings/{pairing_id}/confirm`: who began it, with a fresh proof. Asked again, it answers alike.
async fn confirm(
    State(identity): State<Identity>,
    client: Client,
    signed_in: SignedIn,
    path: Result<Path<String>, PathRejection>,
    Body(request): Body<Confirmation>,
) -> Result<Response, Problem> {
    signed_in.require_step_up(identity.verifier().now())?;
    let pairing_id = pairing_id(path)?;
    let pairing = own(&identity, pairing_id, signed_in.user_id).await?;
    if pairing.device_id.is_some() {
        return Ok(private(StatusCode::NO_CONTENT));
    }
    let (Some(match_code), Some(name), Some(algorithm), Some(public_key)) = (
        pairing.match_code,
        pairing.device_name,
        pairing.algorithm,
        pairing.public_key,
    ) else {
        return Err(unknown());
    };
    if request.match_code != match_code {
        let event = SecurityEvent::about_family(Kind::FactorFailed, FamilyId::from_uuid(pairing.family_id))
            .by(signed_in.user_id)
            .in_session(signed_in.session_id)
            .from_address(identity.address_hash(client.address))
            .with("factor", "match-code")
            .with("member_id", MemberId::from_uuid(pairing.member_id).to_string());
        end_for_other_digits(&identity, pairing_id, event)
            .await
            .map_err(IdentityError::Database)?;
        return Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "wrong-match-code",
            "the device shows other digits; the pairing has ended, begin again",
        ));
    }
    let family_id = FamilyId::from_uuid(pairing.family_id);
    let member_id = MemberId::from_uuid(pairing.member_id);
    let asking = require_parent(&identity, family_id, signed_in.user_id).await?;
    let (_, holder) = young_member(&identity, family_id, member_id).await?;
    check_hides_nothing(&identity, family_id, member_id, asking).await?;
    let user_id = match holder {
        Some(user_id) => user_id,
        None => join(&identity, pairing_id, family_id, member_id).await?,
    };
    has_account(&identity, user_id).await?;
    let device_id = Uuid::new_v5(&pairing_id, b"device");
    let mut tx = identity.pool().begin().await.map_err(IdentityError::Database)?;
    new_way_in::require_session_in_tx(&mut tx, &signed_in).await?;
    let stored = async {
        let added = sqlx::query(
            "insert into identity.paired_devices
                 (device_id, user_id, family_id, member_id, name, algorithm, public_key, paired_by)
             select $1, $2, $3, $4, $5, $6, $7, $8
             where (
                 select count(*)
                 from identity.paired_devices
                 where user_id = $2 and revoked_at is null
             ) < $9
             on conflict on constraint paired_devices_pkey do nothing",
        )
        .bind(device_id)
        .bind(user_id.uuid())
        .bind(family_id.uuid())
        .bind(member_id.uuid())
        .bind(&name)
        .bind(&algorithm)
        .bind(&public_key)
        .bind(signed_in.user_id.uuid())
        .bind(DEVICES_MAX)
        .execute(&mut *tx)
        .await?;
        if added.rows_affected() == 0 {
            return Ok(false);
        }
        // The device has five minutes more to choose its PIN.
        sqlx::query(
            "update identity.pairings
             set device_id = $2, expires_at = clock_timestamp() + make_interval(mins => $3)
             where pairing_id = $1",
        )
        .bind(pairing_id)
        .bind(device_id)
        .bind(super::start::MINUTES)
        .execute(&mut *tx)
        .await?;
        let event = SecurityEvent::about(Kind::DevicePaired, user_id)
            .in_family(family_id)
            .by(signed_in.user_id)
            .in_session(signed_in.session_id)
            .from_address(identity.address_hash(client.address))
            // Not its name: what somebody typed would stay in the trail after an erasure.
            .with("device_id", device_id.to_string());
        security_events::record(&mut *tx, event).await?;
        tx.commit().await?;
        Ok::<_, sqlx::Error>(true)
    };
    if !stored.await.map_err(IdentityError::Database)? {
        return Err(Problem::conflict(
            "too-many-devices",
            format!("the member has {DEVICES_MAX} devices already; end one first"),
        ));
    }
    Ok(private(StatusCode::NO_CONTENT))
}

/// Another device than the one in sight may have claimed the pairing: it ends, once, and the family's parents read of it.
async fn end_for_other_digits(identity: &Identity, pairing_id: Uuid, event: SecurityEvent) -> Result<(), sqlx::Error> {
    let mut tx = identity.pool().begin().await?;
    let ended = sqlx::query("delete from identity.pairings where pairing_id = $1 and device_id is null")
        .bind(pairing_id)
        .execute(&mut *tx)
        .await?;
    if ended.rows_affected() == 1 {
        security_events::record(&mut *tx, event).await?;
    }
    tx.commit().await
}

/// Puts somebody new in the member's place. Who that is follows from the pairing, so that asking again after any failure joins once.
async fn join(
    identity: &Identity,
    pairing_id: Uuid,
    family_id: FamilyId,
    member_id: MemberId,
) -> Result<UserId, Problem> {
    let user_id = UserId::from_uuid(Uuid::new_v5(&pairing_id, b"account"));
    let command_id = CommandId::from_uuid(Uuid::new_v5(&pairing_id, b"join"));
    identity
        .families()
        .join(family_id, member_id, user_id, command_id)
        .await?;
    Ok(user_id)
}

/// An account without e-mail and password, if the member has none. It is made once the family has let them in, so that a refused
/// join leaves none; a process that ends in between leaves a member without one, who gets it with the next pairing.
async fn has_account(identity: &Identity, user_id: UserId) -> Result<(), Problem> {
    sqlx::query(
        "insert into identity.users (user_id, email, display_name, password_hash)
         values ($1, null, $2, null)
         on conflict on constraint users_pkey do nothing",
    )
    .bind(user_id.uuid())
    .bind(DISPLAY_NAME)
    .execute(identity.pool())
    .await
    .map_err(IdentityError::Database)?;
    Ok(())
}

async fn own(identity: &Identity, pairing_id: Uuid, user_id: UserId) -> Result<Claimed, Problem> {
    let found: Option<Claimed> = sqlx::query_as(
        "select family_id, member_id, match_code, device_name, algorithm, public_key, device_id
         from identity.pairings
         where pairing_id = $1 and created_by = $2 and expires_at > clock_timestamp()",
    )
    .bind(pairing_id)
    .bind(user_id.uuid())
    .fetch_optional(identity.pool())
    .await
    .map_err(IdentityError::Database)?;
    found.ok_or_else(unknown)
}

fn pairing_id(path: Result<Path<String>, PathRejection>) -> Result<Uuid, Problem> {
    let Path(text) = path.map_err(|_| Problem::malformed("the address cannot be read"))?;
    Uuid::try_parse(&text).map_err(|_| unknown())
}

/// Unknown, over and somebody else's read the same.
fn unknown() -> Problem {
    Problem::unknown("unknown-pairing", "there is no such pairing; begin again")
}
