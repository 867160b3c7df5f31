//! A person makes keys for their programs, and ends them.
//!
//! What a key may be used for, and where it is looked up, is told in `service_kit::auth`.

use axum::{
    Json, Router,
    extract::{Path, State, rejection::PathRejection},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{delete, post},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use domain::id::FamilyId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use service_kit::{
    auth::{API_KEY_PREFIX, Scope, SignedIn},
    problem::Problem,
};
use uuid::Uuid;

use super::{
    Identity, IdentityError,
    account::{letters, notices::Notice},
    address::Client,
    body::Body,
    factors::normal_name,
    new_way_in,
    openapi::{Caller, MALFORMED, NEW_WAY_IN, NOT_SIGNED_IN, Route, STEP_UP, TOO_LARGE, schema},
    private,
    security_events::{self, Kind, SecurityEvent},
    sessions::hash_of,
};

/// Keys of one person that count at once.
const KEYS_MAX: i64 = 50;
/// A key lives for so many days at most.
const DAYS_MAX: u16 = 365;
/// A key lives for so many days when nothing else is said.
const DAYS: u16 = 90;

/// A key to make.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NewKey {
    /// What it is for, in its owner's words.
    #[schemars(length(min = 1, max = 100))]
    name: String,
    /// What it may be used for, never more than its owner's own rights.
    #[schemars(length(min = 1, max = 4))]
    scopes: Vec<Scope>,
    /// The one family it is for; without it, every family its owner belongs to.
    family_id: Option<FamilyId>,
    /// Days until it ends: 90 when left out, 365 at most.
    #[schemars(range(min = 1, max = 365))]
    days: Option<u16>,
}

/// A key that was made. It has no `Debug`: nothing may print it.
#[derive(Serialize, JsonSchema)]
struct MadeKey {
    /// Its id, to end it by.
    api_key_id: Uuid,
    /// Sent as `Authorization: Bearer …`; shown only now.
    key: String,
    /// When it ends (UTC).
    expires_at: DateTime<Utc>,
}

/// A key, without itself.
#[derive(Serialize, JsonSchema)]
struct Key {
    /// Its id, to end it by.
    api_key_id: Uuid,
    /// What it is for.
    name: String,
    /// What it may be used for.
    scopes: Vec<String>,
    /// The one family it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    family_id: Option<FamilyId>,
    /// When it was made (UTC).
    created_at: DateTime<Utc>,
    /// When it ends (UTC).
    expires_at: DateTime<Utc>,
    /// When it was used last (UTC), to the minute.
    last_used_at: Option<DateTime<Utc>>,
}

/// One's own keys that count.
#[derive(Serialize, JsonSchema)]
struct Keys {
    /// The newest first.
    api_keys: Vec<Key>,
}

pub(super) fn routes() -> Router<Identity> {
    Router::new()
        .route("/api/v1/auth/api-keys", post(make).get(list))
        .route("/api/v1/auth/api-keys/{api_key_id}", delete(end))
}

pub(super) fn paths() -> Vec<Route> {
    vec![
        Route {
            path: "/api/v1/auth/api-keys",
            method: "post",
            operation_id: "make-api-key",
            summary: "Make a key for a program",
            description: "Who may call: any signed-in person with a fresh proof. The key acts for them, within its scopes and never \
                beyond their own rights; it opens nothing under /api/v1/auth and nothing that asks for a fresh proof, but exports \
                when it has that scope. A mail tells of it.",
            caller: Caller::SignedIn,
            parameters: json!([]),
            body: Some((schema::<NewKey>(), true)),
            success: (201, "The key, shown only now.", Some(schema::<MadeKey>())),
            problems: &[
                MALFORMED,
                NOT_SIGNED_IN,
                NEW_WAY_IN,
                (404, "There is no such family for this person."),
                (409, "There are fifty keys already."),
                TOO_LARGE,
                (503, "The ledger cannot be reached just now."),
            ],
        },
        Route {
            path: "/api/v1/auth/api-keys",
            method: "get",
            operation_id: "list-api-keys",
            summary: "One's own keys that count",
            description: "Who may call: any signed-in person, about their own.",
            caller: Caller::SignedIn,
            parameters: json!([]),
            body: None,
            success: (200, "The keys, without themselves.", Some(schema::<Keys>())),
            problems: &[NOT_SIGNED_IN],
        },
        Route {
            path: "/api/v1/auth/api-keys/{api_key_id}",
            method: "delete",
            operation_id: "end-api-key",
            summary: "End a key",
            description: "Who may call: any signed-in person with a fresh proof, about their own. It is refused here at once, and by \
                every other process within five seconds.",
            caller: Caller::SignedIn,
            parameters: json!([{
                "name": "api_key_id",
                "in": "path",
                "required": true,
                "description": "from the list of keys",
                "schema": { "type": "string", "format": "uuid" },
            }]),
            body: None,
            success: (204, "It opens nothing any more.", None),
            problems: &[MALFORMED, NOT_SIGNED_IN, STEP_UP, (404, "There is no such key.")],
        },
    ]
}

/// `POST /api/v1/auth/api-keys`: the person themself, with a fresh proof.
async fn make(
    State(identity): State<Identity>,
    client: Client,
    signed_in: SignedIn,
    Body(request): Body<NewKey>,
) -> Result<Response, Problem> {
    signed_in.require_step_up(identity.verifier().now())?;
    let user_id = signed_in.user_id;
    let name = normal_name(&request.name)?;
    let days = request.days.unwrap_or(DAYS);
    if !(1..=DAYS_MAX).contains(&days) {
        return Err(Problem::malformed(format!("days: 1 to {DAYS_MAX}")).with("field", "days"));
    }
    let mut scopes = request.scopes;
    scopes.sort_unstable();
    scopes.dedup();
    if scopes.is_empty() {
        return Err(Problem::malformed("scopes: at least one").with("field", "scopes"));
    }
    if let Some(family_id) = request.family_id {
        let place = identity.families().role_of(family_id, user_id).await?;
        place.ok_or_else(Problem::unknown_family)?;
    }
    let key = format!("{API_KEY_PREFIX}{}", URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()));
    let api_key_id = Uuid::new_v4();
    let mut tx = identity.pool().begin().await.map_err(IdentityError::Database)?;
    // Two requests at once come after one another here, so that the bound holds.
    new_way_in::require_in_tx(&mut tx, &identity, &signed_in).await?;
    let made: Option<(DateTime<Utc>,)> = sqlx::query_as(
        "insert into identity.api_keys (api_key_id, key_hash, user_id, family_id, name, scopes, expires_at)
         select $1, $2, $3, $4, $5, $6, clock_timestamp() + make_interval(days => $7)
         where (
             select count(*)
             from identity.api_keys
             where user_id = $3 and ended_at is null and expires_at > clock_timestamp()
         ) < $8
         returning expires_at",
    )
    .bind(api_key_id)
    .bind(hash_of(&key))
    .bind(user_id.uuid())
    .bind(request.family_id.map(|id| id.uuid()))
    .bind(&name)
    .bind(scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>())
    .bind(i32::from(days))
    .bind(KEYS_MAX)
    .fetch_optional(&mut *tx)
    .await
    .map_err(IdentityError::Database)?;
    let (expires_at,) = made.ok_or_else(|| {
        Problem::conflict(
            "too-many-api-keys",
            format!("there are {KEYS_MAX} keys already; end one first"),
        )
    })?;
    let event = about(Kind::ApiKeyMade, &signed_in, request.family_id)
        .from_address(identity.address_hash(client.address))
        .with("name", name);
    security_events::record(&mut *tx, event)
        .await
        .map_err(IdentityError::Database)?;
    let notice = Notice::of(&mut *tx, Kind::ApiKeyMade, user_id, letters::api_key_made())
        .await
        .map_err(IdentityError::Database)?;
    tx.commit().await.map_err(IdentityError::Database)?;
    notice.send(&identity);
    let made = MadeKey {
        api_key_id,
        key,
        expires_at,
    };
    Ok(private((StatusCode::CREATED, Json(made)).into_response()))
}

type Row = (
    Uuid,
    String,
    Vec<String>,
    Option<Uuid>,
    DateTime<Utc>,
    DateTime<Utc>,
    Option<DateTime<Utc>>,
);

/// `GET /api/v1/auth/api-keys`: the person themself.
async fn list(State(identity): State<Identity>, signed_in: SignedIn) -> Result<Response, Problem> {
    let rows: Vec<Row> = sqlx::query_as(
        "select api_key_id, name, scopes, family_id, created_at, expires_at, last_used_at
         from identity.api_keys
         where user_id = $1 and ended_at is null and expires_at > clock_timestamp()
         order by created_at desc, api_key_id",
    )
    .bind(signed_in.user_id.uuid())
    .fetch_all(identity.pool())
    .await
    .map_err(IdentityError::Database)?;
    let key = |(api_key_id, name, scopes, family_id, created_at, expires_at, last_used_at): Row| Key {
        api_key_id,
        name,
        scopes,
        family_id: family_id.map(FamilyId::from_uuid),
        created_at,
        expires_at,
        last_used_at,
    };
    let api_keys = rows.into_iter().map(key).collect();
    Ok(private(Json(Keys { api_keys })))
}

/// `DELETE /api/v1/auth/api-keys/{api_key_id}`: its owner, with a fresh proof.
async fn end(
    State(identity): State<Identity>,
    client: Client,
    signed_in: SignedIn,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    signed_in.require_step_up(identity.verifier().now())?;
    let Path(text) = path.map_err(|_| Problem::malformed("the address cannot be read"))?;
    // Unknown, ended and somebody else's read the same.
    let unknown = || Problem::unknown("unknown-api-key", "there is no such key");
    let api_key_id = Uuid::try_parse(&text).map_err(|_| unknown())?;
    let ended: Option<(String, Option<Uuid>)> = sqlx::query_as(
        "update identity.api_keys
         set ended_at = clock_timestamp()
         where api_key_id = $1 and user_id = $2 and ended_at is null
         returning name, family_id",
    )
    .bind(api_key_id)
    .bind(signed_in.user_id.uuid())
    .fetch_optional(identity.pool())
    .await
    .map_err(IdentityError::Database)?;
    let (name, family_id) = ended.ok_or_else(unknown)?;
    identity.verifier().forget_api_key(api_key_id);
    let event = about(Kind::ApiKeyEnded, &signed_in, family_id.map(FamilyId::from_uuid))
        .from_address(identity.address_hash(client.address))
        .with("name", name);
    security_events::record(identity.pool(), event)
        .await
        .map_err(IdentityError::Database)?;
    Ok(private(StatusCode::NO_CONTENT))
}

/// A key for one family concerns that family.
fn about(kind: Kind, signed_in: &SignedIn, family_id: Option<FamilyId>) -> SecurityEvent {
    let event = SecurityEvent::about(kind, signed_in.user_id).in_session(signed_in.session_id);
    match family_id {
        Some(family_id) => event.in_family(family_id),
        None => event,
    }
}
