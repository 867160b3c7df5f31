//! A signed-in person takes the place that an invitation opens.
//!
//! Two stores are touched, so the order matters: the code is taken in the database first, which only one person can do, then
//! the join goes into the log under a command id made from the code and the person. Whoever took the code may ask again after
//! any failure and joins once; nobody else can. When the log refuses the join for good, the code is given back.

use axum::{Json, extract::State, response::Response};
use chrono::{DateTime, Utc};
use domain::id::{CommandId, FamilyId, MemberId, UserId};
use schemars::JsonSchema;
use serde::Deserialize;
use service_kit::{auth::SignedIn, problem::Problem};
use uuid::Uuid;

use super::{
    Identity, IdentityError,
    address::Client,
    body::Body,
    invitations::{INVITE, code_hash},
    private,
    security_events::{self, Kind, SecurityEvent},
};

/// Longest text that is looked up as a code, in bytes.
const CODE_BYTES_MAX: usize = 200;
/// Names the command ids of joins: the same code and person, the same command.
const COMMANDS: Uuid = Uuid::from_u128(0x6b1e_d6e2_6a01_4c3e_9f55_9b1d_40a7_c0de);

/// The code somebody was given. It has no `Debug`: nothing may print it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Join {
    /// In any case, with or without hyphens.
    #[schemars(length(max = 200))]
    code: String,
}

struct Place {
    family_id: FamilyId,
    member_id: MemberId,
    invited_by: UserId,
    joined_at: Option<DateTime<Utc>>,
}

/// `POST /api/v1/auth/join`: any signed-in person with a code. Asked again by the same person, it answers alike.
pub(super) async fn join(
    State(identity): State<Identity>,
    signed_in: SignedIn,
    client: Client,
    Body(request): Body<Join>,
) -> Result<Response, Problem> {
    let user_id = signed_in.user_id;
    let attempt = identity
        .throttle()
        .admit(&format!("join {user_id}"), client.address, true)?;
    let hash = code_hash(&request.code);
    let taken = match request.code.len() {
        0..=CODE_BYTES_MAX => take(&identity, &hash, user_id).await,
        _ => Ok(None),
    };
    let place = match taken {
        Ok(Some(place)) => place,
        Ok(None) => {
            attempt.failed();
            return Err(unknown());
        }
        Err(error) => {
            attempt.forgiven();
            return Err(IdentityError::Database(error).into());
        }
    };
    attempt.forgiven();

    if place.joined_at.is_none() && !is_still_offered(&identity, &place).await? {
        give_back(&identity, &hash, user_id).await?;
        return Err(unknown());
    }
    let command_id = CommandId::from_uuid(Uuid::new_v5(
        &COMMANDS,
        &[&hash[..], user_id.uuid().as_bytes()].concat(),
    ));
    let joined = identity
        .families()
        .join(place.family_id, place.member_id, user_id, command_id)
        .await;
    let answer = match joined {
        Ok(answer) => answer,
        Err(problem) => {
            if is_final(&problem) {
                give_back(&identity, &hash, user_id).await?;
            }
            return Err(problem);
        }
    };
    if place.joined_at.is_none() {
        let event = SecurityEvent::about(Kind::Joined, user_id)
            .in_family(place.family_id)
            .in_session(signed_in.session_id)
            .from_address(identity.address_hash(client.address));
        finish(&identity, &hash, user_id, event).await?;
    }
    Ok(private(Json(answer)))
}

/// Takes the code for this person, or finds that they took it before.
async fn take(identity: &Identity, hash: &[u8; 32], user_id: UserId) -> Result<Option<Place>, sqlx::Error> {
    let row: Option<(Uuid, Uuid, Uuid, Option<DateTime<Utc>>)> = sqlx::query_as(
        "update identity.invitations
         set used_at = coalesce(used_at, clock_timestamp()), used_by = $2
         where code_hash = $1
             and (used_by = $2 or (used_by is null and expires_at > clock_timestamp()))
         returning family_id, member_id, created_by, joined_at",
    )
    .bind(hash)
    .bind(user_id.uuid())
    .fetch_optional(identity.pool())
    .await?;
    Ok(row.map(|(family_id, member_id, invited_by, joined_at)| Place {
        family_id: FamilyId::from_uuid(family_id),
        member_id: MemberId::from_uuid(member_id),
        invited_by: UserId::from_uuid(invited_by),
        joined_at,
    }))
}

/// An offer stands as long as whoever made it may still make it: an adult who left takes their codes with them.
async fn is_still_offered(identity: &Identity, place: &Place) -> Result<bool, Problem> {
    let role = identity.families().role_of(place.family_id, place.invited_by).await?;
    Ok(role.is_some_and(|(_, role)| INVITE.allows(role)))
}

/// A refusal that asking again will not change.
fn is_final(problem: &Problem) -> bool {
    let status = problem.status().as_u16();
    (400..500).contains(&status) && status != 429
}

async fn give_back(identity: &Identity, hash: &[u8; 32], user_id: UserId) -> Result<(), IdentityError> {
    sqlx::query(
        "update identity.invitations
         set used_at = null, used_by = null
         where code_hash = $1 and used_by = $2 and joined_at is null",
    )
    .bind(hash)
    .bind(user_id.uuid())
    .execute(identity.pool())
    .await?;
    Ok(())
}

async fn finish(
    identity: &Identity,
    hash: &[u8; 32],
    user_id: UserId,
    event: SecurityEvent,
) -> Result<(), IdentityError> {
    let mut tx = identity.pool().begin().await?;
    let done = sqlx::query(
        "update identity.invitations
         set joined_at = clock_timestamp()
         where code_hash = $1 and used_by = $2 and joined_at is null",
    )
    .bind(hash)
    .bind(user_id.uuid())
    .execute(&mut *tx)
    .await?;
    if done.rows_affected() == 1 {
        security_events::record(&mut *tx, event).await?;
    }
    tx.commit().await?;
    Ok(())
}

/// Unknown, expired and taken by somebody else read the same.
fn unknown() -> Problem {
    Problem::unknown("unknown-invitation", "this code opens nothing; ask for a new one")
}
