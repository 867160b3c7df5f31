//! A signed-in person takes the place that an invitation opens.
//!
//! Two stores are touched, so the order matters: the code is taken in the database first, which only one person can do, then
//! the join goes into the log under a command id made from the code and the person. Whoever took the code may ask again after
//! any failure and joins once, until the invitation is over; nobody else can. When the log refuses the join for good, the code is
//! given back. A client that goes away does not break a join off; when a process does, the invitation is one that can be taken back,
//! replaced and run out again a minute later.
//!
//! A code that was sent by mail is taken only for an account that has verified the address it was sent to; to any other account it
//! reads as unknown, unless the account has this address and has not verified it yet: then it is told to.

use axum::{Json, extract::State, http::StatusCode, response::Response};
use chrono::{DateTime, Utc};
use domain::{
    actor::Role,
    id::{CommandId, FamilyId, MemberId, UserId},
};
use schemars::JsonSchema;
use serde::Deserialize;
use service_kit::{auth::SignedIn, problem::Problem};
use tracing::Instrument;
use uuid::Uuid;

use super::{
    Identity, IdentityError,
    address::Client,
    body::Body,
    invitations::{Offer, code::code_hash, end_of_gone_maker, mail},
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
    /// As whom the person means to come; to a place of another role they do not. A parent alone ends a teen's or child's place.
    role: Option<Role>,
}

struct Place {
    invitation_id: Uuid,
    offer: Offer,
    joined_at: Option<DateTime<Utc>>,
}

/// `POST /api/v1/auth/join`: any signed-in person with a code; not by a PIN, which would be their sign-in there, too. Asked again by the same person, it answers alike.
pub(super) async fn join(
    State(identity): State<Identity>,
    signed_in: SignedIn,
    client: Client,
    Body(request): Body<Join>,
) -> Result<Response, Problem> {
    signed_in.require_own_sign_in()?;
    let joining = tokio::spawn(take_place(identity, signed_in, client, request).in_current_span());
    joining.await.unwrap_or_else(|error| Err(Problem::ours(&error)))
}

async fn take_place(
    identity: Identity,
    signed_in: SignedIn,
    client: Client,
    request: Join,
) -> Result<Response, Problem> {
    let user_id = signed_in.user_id;
    let attempt = identity
        .throttle()
        .admit_session(&format!("join {user_id}"), signed_in.session_id)?;
    let hash = code_hash(&request.code);
    let taken = match request.code.len() {
        0..=CODE_BYTES_MAX => take(&identity, &hash, user_id).await,
        _ => Ok(Taken::Unknown),
    };
    let place = match taken {
        Ok(Taken::Place(place)) => place,
        Ok(Taken::Unverified) => {
            attempt.forgiven();
            return Err(unverified());
        }
        Ok(Taken::Unknown) => {
            attempt.failed();
            return Err(unknown());
        }
        Err(error) => {
            attempt.forgiven();
            return Err(IdentityError::Database(error).into());
        }
    };
    attempt.forgiven();

    if place.joined_at.is_some() && !is_in_it(&identity, &place, user_id).await? {
        return Err(unknown());
    }
    if place.joined_at.is_none() {
        match place.offer.stands(&identity).await {
            Ok(true) => {}
            Ok(false) => {
                end_of_gone_maker(identity.pool(), place.invitation_id)
                    .await
                    .map_err(IdentityError::Database)?;
                return Err(unknown());
            }
            Err(problem) => {
                if is_final(&problem) {
                    give_back(&identity, &hash, user_id).await?;
                }
                return Err(problem);
            }
        }
    }
    if let Some(expected) = request.role.filter(|_| place.joined_at.is_none()) {
        let (role, _) = identity
            .families()
            .place(place.offer.family_id, place.offer.member_id)
            .await?;
        if role != expected {
            give_back(&identity, &hash, user_id).await?;
            let detail = format!("this place is for a {}: nothing was taken", role.as_str());
            return Err(Problem::conflict("another-role", detail).with("role", role.as_str()));
        }
    }
    let command_id = CommandId::from_uuid(Uuid::new_v5(
        &COMMANDS,
        &[&hash[..], user_id.uuid().as_bytes()].concat(),
    ));
    let joined = identity
        .families()
        .join(place.offer.family_id, place.offer.member_id, user_id, command_id)
        .await;
    let answer = match joined {
        Ok(answer) => with_offer(answer, &place.offer),
        Err(problem) => {
            if is_final(&problem) {
                give_back(&identity, &hash, user_id).await?;
            }
            return Err(problem);
        }
    };
    if place.joined_at.is_none() {
        let event = SecurityEvent::about(Kind::Joined, user_id)
            .in_family(place.offer.family_id)
            .in_session(signed_in.session_id)
            .from_address(identity.address_hash(client.address));
        finish(&identity, &hash, user_id, event).await?;
    }
    Ok(private(Json(answer)))
}

/// What was recorded, with the role of the place and who invited to it.
fn with_offer(mut answer: serde_json::Value, offer: &Offer) -> serde_json::Value {
    if let Some(answer) = answer.as_object_mut() {
        answer.extend(offer.role.clone().map(|role| ("role".to_owned(), role.into())));
        let invited_by = offer.made_from.map(|place| place.to_string().into());
        answer.extend(invited_by.map(|place| ("invited_by".to_owned(), place)));
    }
    answer
}

/// What a code is to a person.
enum Taken {
    Place(Place),
    /// It was sent to the address that they say is theirs.
    Unverified,
    Unknown,
}

/// As the table has it: the invitation, family, place and its role, who made it and from which place, and when it was joined with.
type Row = (
    Uuid,
    Uuid,
    Uuid,
    Option<String>,
    Uuid,
    Option<Uuid>,
    Option<DateTime<Utc>>,
);

/// Takes the code for this person, or finds that they took it before.
async fn take(identity: &Identity, hash: &[u8; 32], user_id: UserId) -> Result<Taken, sqlx::Error> {
    let account: Option<(Option<String>, bool)> = sqlx::query_as(
        "select email, email_verified_at is not null
         from identity.users
         where user_id = $1 and closed_at is null",
    )
    .bind(user_id.uuid())
    .fetch_optional(identity.pool())
    .await?;
    // The account was closed, and this process has not heard of it.
    let Some((email, is_verified)) = account else {
        return Ok(Taken::Unknown);
    };
    let address = email.map(|email| mail::hash(identity, &email));
    let row: Option<Row> = sqlx::query_as(
        "update identity.invitations
         set used_at = case when joined_at is null then clock_timestamp() else used_at end, used_by = $2
         where code_hash = $1
             and for_account is null
             and (
                 (used_by = $2 and (joined_at is not null or expires_at > clock_timestamp()))
                 or (
                     used_by is null and ended_at is null and expires_at > clock_timestamp()
                     and (sent_to is null or ($4 and sent_to = $3))
                 )
             )
         returning invitation_id, family_id, member_id, role, created_by, made_from, joined_at",
    )
    .bind(hash)
    .bind(user_id.uuid())
    .bind(address)
    .bind(is_verified)
    .fetch_optional(identity.pool())
    .await?;
    if let Some((invitation_id, family_id, member_id, role, made_by, made_from, joined_at)) = row {
        return Ok(Taken::Place(Place {
            invitation_id,
            offer: Offer {
                family_id: FamilyId::from_uuid(family_id),
                member_id: MemberId::from_uuid(member_id),
                made_by: UserId::from_uuid(made_by),
                made_from: made_from.map(MemberId::from_uuid),
                role,
            },
            joined_at,
        }));
    }
    let (is_theirs_unverified,): (bool,) = sqlx::query_as(
        "select not $3 and exists (
             select from identity.invitations
             where code_hash = $1 and sent_to = $2 and used_by is null and ended_at is null
                 and expires_at > clock_timestamp()
         )",
    )
    .bind(hash)
    .bind(address)
    .bind(is_verified)
    .fetch_one(identity.pool())
    .await?;
    Ok(if is_theirs_unverified {
        Taken::Unverified
    } else {
        Taken::Unknown
    })
}

/// Who joined with the code is told so again as long as they are in the place: it tells of a family, and they may have left.
async fn is_in_it(identity: &Identity, place: &Place, user_id: UserId) -> Result<bool, Problem> {
    let held = identity.families().role_of(place.offer.family_id, user_id).await?;
    Ok(held.is_some_and(|(member_id, _)| member_id == place.offer.member_id))
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

/// Unknown, over, taken by somebody else and sent to somebody else read the same.
fn unknown() -> Problem {
    Problem::unknown("unknown-invitation", "this code opens nothing; ask for a new one")
}

fn unverified() -> Problem {
    Problem::new(
        StatusCode::FORBIDDEN,
        "email-not-verified",
        "this code was sent to your e-mail address: verify the address first",
    )
}
