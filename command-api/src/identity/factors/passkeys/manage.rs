//! A person renames a passkey, and removes it.

use axum::{
    Router,
    extract::{Path, State, rejection::PathRejection},
    http::StatusCode,
    response::Response,
    routing::patch,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use service_kit::{auth::SignedIn, problem::Problem};
use uuid::Uuid;

use super::super::{
    super::{
        Identity, IdentityError,
        account::{letters, notices::Notice},
        address::Client,
        body::Body,
        openapi::{Caller, MALFORMED, NOT_SIGNED_IN, Route, STEP_UP, TOO_LARGE, schema},
        private,
        security_events::{self, Kind, SecurityEvent},
        ways_in::{self, Way},
    },
    forget_recovery_codes_of_nothing,
};

/// Longest name, in characters.
const NAME_CHARACTERS_MAX: usize = 100;

/// A passkey's new name.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Rename {
    /// What its owner calls it.
    #[schemars(length(min = 1, max = 100))]
    name: String,
}

pub(super) fn routes() -> Router<Identity> {
    Router::new().route(
        "/api/v1/auth/factors/passkeys/{passkey_id}",
        patch(rename).delete(remove),
    )
}

pub(super) fn paths() -> Vec<Route> {
    vec![
        Route {
            path: "/api/v1/auth/factors/passkeys/{passkey_id}",
            method: "patch",
            operation_id: "rename-passkey",
            summary: "Rename a passkey",
            description: "Who may call: any signed-in person with a fresh proof, about their own.",
            caller: Caller::SignedIn,
            parameters: json!([passkey_parameter()]),
            body: Some((schema::<Rename>(), true)),
            success: (204, "It has its new name.", None),
            problems: &[
                MALFORMED,
                NOT_SIGNED_IN,
                STEP_UP,
                (404, "There is no such passkey."),
                TOO_LARGE,
            ],
        },
        Route {
            path: "/api/v1/auth/factors/passkeys/{passkey_id}",
            method: "delete",
            operation_id: "remove-passkey",
            summary: "Remove a passkey",
            description: "Who may call: any signed-in person with a fresh proof, about their own. The last way to sign in stays. A \
                mail tells of it.",
            caller: Caller::SignedIn,
            parameters: json!([passkey_parameter()]),
            body: None,
            success: (204, "It opens nothing any more.", None),
            problems: &[
                MALFORMED,
                NOT_SIGNED_IN,
                STEP_UP,
                (404, "There is no such passkey."),
                (409, "It is the last way to sign in."),
            ],
        },
    ]
}

fn passkey_parameter() -> Value {
    json!({
        "name": "passkey_id",
        "in": "path",
        "required": true,
        "description": "from the list of factors",
        "schema": { "type": "string", "format": "uuid" },
    })
}

/// `PATCH /api/v1/auth/factors/passkeys/{passkey_id}`: its owner, with a fresh proof.
async fn rename(
    State(identity): State<Identity>,
    signed_in: SignedIn,
    path: Result<Path<String>, PathRejection>,
    Body(request): Body<Rename>,
) -> Result<Response, Problem> {
    signed_in.require_step_up(identity.verifier().now())?;
    let passkey_id = passkey_id(path)?;
    let name = normal_name(&request.name)?;
    let renamed = sqlx::query("update identity.passkeys set name = $3 where passkey_id = $1 and user_id = $2")
        .bind(passkey_id)
        .bind(signed_in.user_id.uuid())
        .bind(&name)
        .execute(identity.pool())
        .await
        .map_err(IdentityError::Database)?;
    if renamed.rows_affected() != 1 {
        return Err(unknown());
    }
    Ok(private(StatusCode::NO_CONTENT))
}

/// `DELETE /api/v1/auth/factors/passkeys/{passkey_id}`: its owner, with a fresh proof.
async fn remove(
    State(identity): State<Identity>,
    client: Client,
    signed_in: SignedIn,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    signed_in.require_step_up(identity.verifier().now())?;
    let passkey_id = passkey_id(path)?;
    let user_id = signed_in.user_id;
    let mut tx = identity.pool().begin().await.map_err(IdentityError::Database)?;
    let (is_there,): (bool,) =
        sqlx::query_as("select exists (select 1 from identity.passkeys where passkey_id = $1 and user_id = $2)")
            .bind(passkey_id)
            .bind(user_id.uuid())
            .fetch_one(&mut *tx)
            .await
            .map_err(IdentityError::Database)?;
    if !is_there {
        return Err(unknown());
    }
    ways_in::require_another_in_tx(&mut tx, &identity, user_id, Way::Passkey(passkey_id)).await?;
    let removed = sqlx::query("delete from identity.passkeys where passkey_id = $1 and user_id = $2")
        .bind(passkey_id)
        .bind(user_id.uuid())
        .execute(&mut *tx)
        .await
        .map_err(IdentityError::Database)?;
    if removed.rows_affected() != 1 {
        return Err(unknown());
    }
    let event = SecurityEvent::about(Kind::FactorRemoved, user_id)
        .in_session(signed_in.session_id)
        .from_address(identity.address_hash(client.address))
        .with("factor", "passkey");
    security_events::record(&mut *tx, event)
        .await
        .map_err(IdentityError::Database)?;
    let notice = Notice::of(&mut *tx, Kind::FactorRemoved, user_id, letters::passkey_removed())
        .await
        .map_err(IdentityError::Database)?;
    tx.commit().await.map_err(IdentityError::Database)?;
    notice.send(&identity);
    forget_recovery_codes_of_nothing(identity.pool(), user_id)
        .await
        .map_err(IdentityError::Database)?;
    Ok(private(StatusCode::NO_CONTENT))
}

/// The name somebody gives a passkey, a key or a device, as it is stored.
///
/// # Errors
/// 400 when it is empty, long, more than one line, or holds what does not show or turns the direction of the rest.
pub(in super::super::super) fn normal_name(text: &str) -> Result<String, Problem> {
    domain::text::name("name", text)
        .ok()
        .filter(|name| name.chars().count() <= NAME_CHARACTERS_MAX)
        .ok_or_else(|| {
            let detail = format!("name: expected 1 to {NAME_CHARACTERS_MAX} characters that show, on one line");
            Problem::malformed(detail).with("field", "name")
        })
}

/// What is no id names no passkey either.
fn passkey_id(path: Result<Path<String>, PathRejection>) -> Result<Uuid, Problem> {
    let Path(text) = path.map_err(|_| Problem::malformed("the address cannot be read"))?;
    Uuid::try_parse(&text).map_err(|_| unknown())
}

/// Unknown and somebody else's read the same.
fn unknown() -> Problem {
    Problem::unknown("unknown-passkey", "there is no such passkey")
}
