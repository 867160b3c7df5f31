//! An adult invites somebody to a place in the family.

use axum::{
    Json,
    extract::{Path, State, rejection::PathRejection},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Utc};
use domain::{
    access::Cell,
    id::{FamilyId, MemberId, UserId},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use service_kit::{access, auth::SignedIn, problem::Problem};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    super::{
        Identity, IdentityError,
        account::letters,
        address::Client,
        body::OptionalBody,
        new_way_in,
        openapi::{Caller, MALFORMED, NOT_SIGNED_IN, Route, TOO_FAST, TOO_LARGE, id_parameter, schema},
        private,
        register::normal_email,
        security_events::{self, Kind, SecurityEvent},
    },
    INVITE, UNUSED,
    code::{code_hash, random_code},
    mail::{self, Address},
    own_account::place_to_invite_to,
};

/// A code opens its place for so many days.
const VALID_DAYS: i32 = 7;
/// Characters of a code, five bits each.
const CODE_CHARACTERS: usize = 28;
/// Invitations of a family that may be open at once.
const OPEN_MAX: i64 = 20;
/// Class of the locks under which a family's invitations are counted.
const LOCK_CLASS: i32 = 4730;

/// How the invitation reaches the person.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Invite {
    /// Where to send it. Only an account that has verified this address may use it then. Left out, the code is answered, to be
    /// passed on.
    #[schemars(length(min = 3, max = 254), email)]
    email: Option<String>,
}

/// An invitation. It has no `Debug`: nothing may print its code.
#[derive(Serialize, JsonSchema)]
pub(super) struct Invitation {
    /// What it is listed and taken back by.
    invitation_id: Uuid,
    /// For the invited person, by whatever way reaches only them; empty when it was sent by mail.
    code: String,
    /// The address it was sent to, as far as it is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    sent_to: Option<String>,
    /// Until when it opens the place (UTC).
    expires_at: DateTime<Utc>,
}

pub(super) fn path() -> Route {
    Route {
        path: "/api/v1/families/{family_id}/members/{member_id}/invitation",
        method: "post",
        operation_id: "invite",
        summary: "Invite somebody to a member's place, by a code or by mail",
        description: "Who may call: a parent of the family, a partner for teens and children, with a proof of the last ten \
            minutes. The code opens the place once, within a week; a new one for the same place ends the one before. It is shown \
            only in this answer; with `email` it is sent there and not shown at all, and only an account that has verified this \
            address may use it. To the place of somebody who signs in by paired devices only, it is for them, to have an account of \
            their own (`own-account`). A family has at most 20 open invitations, and sends at most 20 a day, 3 of them to one \
            address.",
        caller: Caller::SignedIn,
        parameters: json!([id_parameter("family_id", "fam"), id_parameter("member_id", "mem")]),
        body: Some((schema::<Invite>(), false)),
        success: (201, "The invitation.", Some(schema::<Invitation>())),
        problems: &[
            MALFORMED,
            NOT_SIGNED_IN,
            (
                403,
                "The person is neither parent nor partner, a fresh proof is asked for, or a parent has to consent first.",
            ),
            (404, "There is no such family for this person, or no such member in it."),
            TOO_LARGE,
            (
                422,
                "Somebody has taken the place, it is an auditor's whose last day is over, there are too many open invitations, or this \
                 installation sends no mail.",
            ),
            TOO_FAST,
            (503, "The ledger cannot be reached just now."),
        ],
    }
}

/// `POST /api/v1/families/{family_id}/members/{member_id}/invitation`: a parent of the family, a partner for teens and children.
pub(super) async fn invite(
    State(identity): State<Identity>,
    signed_in: SignedIn,
    client: Client,
    path: Result<Path<(String, String)>, PathRejection>,
    OptionalBody(request): OptionalBody<Invite>,
) -> Result<Response, Problem> {
    access::check_proof(INVITE, signed_in, identity.verifier().now())?;
    let Path((family_id, member_id)) = path.map_err(|_| Problem::malformed("the address cannot be read"))?;
    let family_id: FamilyId = family_id.parse().map_err(|_| Problem::unknown_family())?;
    let (made_from, role) = identity
        .families()
        .role_of(family_id, signed_in.user_id)
        .await?
        .ok_or_else(Problem::unknown_family)?;
    let may = access::check(INVITE, role)?;
    let member_id: MemberId = member_id
        .parse()
        .map_err(|_| Problem::unknown("unknown-member", "there is no such member"))?;
    let (place, for_account) = place_to_invite_to(&identity, family_id, member_id, made_from).await?;
    if may == Cell::Part && !place.is_young() {
        return Err(Problem::not_allowed(format!(
            "a {} invites teens and children",
            role.as_str()
        )));
    }
    if may == Cell::Part && identity.families().hides_from(family_id, member_id, made_from).await? {
        let detail = "an account of this member is hidden from you: a parent invites them";
        return Err(Problem::new(StatusCode::FORBIDDEN, "accounts-hidden", detail));
    }
    let address = match request.email {
        Some(email) => {
            identity.postbox().require_mail()?;
            Some(Address::new(&identity, normal_email(&email)?))
        }
        None => None,
    };

    let code = random_code(CODE_CHARACTERS);
    let mut tx = identity.pool().begin().await.map_err(IdentityError::Database)?;
    new_way_in::require_session_in_tx(&mut tx, &signed_in).await?;
    make_room(family_id, member_id, &mut tx).await?;
    if let Some(address) = &address {
        mail::may_be_sent(family_id.uuid(), address, &mut tx).await?;
    }
    let (invitation_id, expires_at): (Uuid, DateTime<Utc>) = sqlx::query_as(
        "insert into identity.invitations
             (code_hash, family_id, member_id, created_by, expires_at, role, made_from, sent_to, sent_to_shown,
              for_account)
         values ($1, $2, $3, $4, clock_timestamp() + make_interval(days => $5), $6, $7, $8, $9, $10)
         returning invitation_id, expires_at",
    )
    .bind(code_hash(&code))
    .bind(family_id.uuid())
    .bind(member_id.uuid())
    .bind(signed_in.user_id.uuid())
    .bind(VALID_DAYS)
    .bind(place.as_str())
    .bind(made_from.uuid())
    .bind(address.as_ref().map(|address| address.hash))
    .bind(address.as_ref().map(|address| address.shown.as_str()))
    .bind(for_account.map(UserId::uuid))
    .fetch_one(&mut *tx)
    .await
    .map_err(IdentityError::Database)?;
    let event = SecurityEvent::about(Kind::Invited, signed_in.user_id)
        .in_family(family_id)
        .in_session(signed_in.session_id)
        .from_address(identity.address_hash(client.address))
        .with("member_id", member_id.to_string());
    security_events::record(&mut *tx, event)
        .await
        .map_err(IdentityError::Database)?;
    tx.commit().await.map_err(IdentityError::Database)?;

    let answer = match address {
        Some(address) => {
            let letter = match for_account {
                None => letters::invited(&identity.postbox().link("join", &code), &code, place),
                Some(_) => letters::own_account(&identity.postbox().link("own-account", &code), &code),
            };
            identity.postbox().post(&address.email, letter);
            Invitation {
                invitation_id,
                code: String::new(),
                sent_to: Some(address.shown),
                expires_at,
            }
        }
        None => Invitation {
            invitation_id,
            code,
            sent_to: None,
            expires_at,
        },
    };
    Ok(private((StatusCode::CREATED, Json(answer)).into_response()))
}

/// Ends earlier invitations to the place, and sees that one more may be open. One at a time in a family, so that the count is right.
async fn make_room(family_id: FamilyId, member_id: MemberId, tx: &mut PgConnection) -> Result<(), Problem> {
    let counted = async {
        sqlx::query("select pg_advisory_xact_lock($1, hashtext($2))")
            .bind(LOCK_CLASS)
            .bind(family_id.uuid().to_string())
            .execute(&mut *tx)
            .await?;
        sqlx::query(&format!(
            "update identity.invitations
             set used_at = null, used_by = null, ended_at = clock_timestamp(), end_reason = 'replaced'
             where family_id = $1 and member_id = $2 and {UNUSED} and ended_at is null
                 and expires_at > clock_timestamp()",
        ))
        .bind(family_id.uuid())
        .bind(member_id.uuid())
        .execute(&mut *tx)
        .await?;
        let (open,): (i64,) = sqlx::query_as(&format!(
            "select count(*)
             from identity.invitations
             where family_id = $1 and {UNUSED} and ended_at is null and expires_at > clock_timestamp()",
        ))
        .bind(family_id.uuid())
        .fetch_one(&mut *tx)
        .await?;
        Ok::<_, sqlx::Error>(open)
    };
    if counted.await.map_err(IdentityError::Database)? >= OPEN_MAX {
        return Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invitations-max",
            format!("a family has at most {OPEN_MAX} open invitations; take one back first"),
        ));
    }
    Ok(())
}
