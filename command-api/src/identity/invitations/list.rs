//! Parents see a family's invitations and take them back.

use axum::{
    Json,
    extract::{Path, State, rejection::PathRejection},
    http::StatusCode,
    response::Response,
};
use chrono::{DateTime, Utc};
use domain::{
    access::Row,
    id::{FamilyId, MemberId, UserId},
};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use service_kit::{access, auth::SignedIn, problem::Problem};
use uuid::Uuid;

use super::{
    super::{
        Identity, IdentityError,
        address::Client,
        openapi::{Caller, NOT_SIGNED_IN, Route, id_parameter, schema},
        private,
        security_events::{self, Kind, SecurityEvent},
    },
    LISTED_DAYS, Offer, UNUSED, end_of_gone_maker,
};

const LIST: &Row = domain::access::route("invitations");
const REVOKE: &Row = domain::access::route("revoke-invitation");
/// Most invitations of one answer, the newest.
const LISTED_MAX: i64 = 100;

/// The family's invitations of the last thirty days, the newest first.
#[derive(Serialize, JsonSchema)]
pub(super) struct Invitations {
    invitations: Vec<Listed>,
}

/// One of them. Its code is in nobody's hands but the invited person's.
#[derive(Serialize, JsonSchema)]
struct Listed {
    /// What it is taken back by.
    invitation_id: Uuid,
    /// The place it is for.
    member_id: String,
    /// The role of the place when it was made; absent of what an older release made.
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<String>,
    /// Who made it; absent of what an older release made.
    #[serde(skip_serializing_if = "Option::is_none")]
    invited_by: Option<String>,
    /// Where it was sent, as far as that is shown; absent of a code that was passed on.
    #[serde(skip_serializing_if = "Option::is_none")]
    sent_to: Option<String>,
    /// When it was made (UTC).
    created_at: DateTime<Utc>,
    /// When it ends by itself (UTC).
    expires_at: DateTime<Utc>,
    /// `open`; `used` by somebody who joined, or is joining; over because it `expired`, was `revoked` by a parent or `replaced` by a
    /// newer one; or `maker-gone`: whoever made it may no longer invite.
    #[schemars(extend("enum" = ["open", "used", "expired", "revoked", "replaced", "maker-gone"]))]
    state: String,
}

#[derive(sqlx::FromRow)]
struct Stored {
    invitation_id: Uuid,
    member_id: Uuid,
    created_by: Uuid,
    role: Option<String>,
    made_from: Option<Uuid>,
    sent_to_shown: Option<String>,
    created_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    state: String,
}

pub(super) fn paths() -> Vec<Route> {
    vec![
        Route {
            path: "/api/v1/families/{family_id}/invitations",
            method: "get",
            operation_id: "invitations",
            summary: "The family's invitations of the last thirty days",
            description: "Who may call: a parent of the family. The newest first, at most 100; never their codes.",
            caller: Caller::SignedIn,
            parameters: json!([id_parameter("family_id", "fam")]),
            body: None,
            success: (200, "The invitations.", Some(schema::<Invitations>())),
            problems: &[
                NOT_SIGNED_IN,
                (403, "The person is no parent."),
                (404, "There is no such family for this person."),
                (503, "The ledger cannot be reached just now."),
            ],
        },
        Route {
            path: "/api/v1/families/{family_id}/invitations/{invitation_id}",
            method: "delete",
            operation_id: "revoke-invitation",
            summary: "Take an invitation back",
            description: "Who may call: a parent of the family. From the answer on its code opens nothing; asked again, it answers \
                alike.",
            caller: Caller::SignedIn,
            parameters: json!([id_parameter("family_id", "fam"), {
                "name": "invitation_id",
                "in": "path",
                "required": true,
                "description": "from the list",
                "schema": { "type": "string", "format": "uuid" },
            }]),
            body: None,
            success: (204, "It opens nothing any more.", None),
            problems: &[
                NOT_SIGNED_IN,
                (403, "The person is no parent."),
                (
                    404,
                    "There is no such family for this person, or no such invitation in it.",
                ),
                (409, "`invitation-used`: somebody has used it already."),
                (503, "The ledger cannot be reached just now."),
            ],
        },
    ]
}

/// `GET /api/v1/families/{family_id}/invitations`: a parent.
pub(super) async fn list(
    State(identity): State<Identity>,
    signed_in: SignedIn,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let Path(family_id) = path.map_err(|_| Problem::malformed("the address cannot be read"))?;
    let family_id = family_of(&identity, LIST, signed_in, &family_id).await?;
    let mut stored = stored(&identity, family_id).await?;
    for one in stored.iter_mut().filter(|one| one.state == "open") {
        let offer = Offer {
            family_id,
            member_id: MemberId::from_uuid(one.member_id),
            made_by: UserId::from_uuid(one.created_by),
            made_from: one.made_from.map(MemberId::from_uuid),
            role: one.role.clone(),
        };
        let stands = match offer.stands(&identity).await {
            Ok(stands) => stands,
            // Consent that was taken back may be given again, and a place that is gone has nobody to join.
            Err(problem) if (400..500).contains(&problem.status().as_u16()) => problem.status().as_u16() == 403,
            Err(problem) => return Err(problem),
        };
        if !stands {
            let ended = async {
                let mut tx = identity.about(family_id).await?;
                end_of_gone_maker(&mut *tx, one.invitation_id).await?;
                tx.commit().await
            };
            ended.await.map_err(IdentityError::Database)?;
            "maker-gone".clone_into(&mut one.state);
        }
    }
    let listed = |one: Stored| Listed {
        invitation_id: one.invitation_id,
        member_id: MemberId::from_uuid(one.member_id).to_string(),
        role: one.role,
        invited_by: one.made_from.map(|place| MemberId::from_uuid(place).to_string()),
        sent_to: one.sent_to_shown,
        created_at: one.created_at,
        expires_at: one.expires_at,
        state: one.state,
    };
    Ok(private(Json(Invitations {
        invitations: stored.into_iter().map(listed).collect(),
    })))
}

async fn stored(identity: &Identity, family_id: FamilyId) -> Result<Vec<Stored>, Problem> {
    let mut tx = identity.about(family_id).await.map_err(IdentityError::Database)?;
    let stored = sqlx::query_as(&format!(
        "select invitation_id, member_id, created_by, role, made_from, sent_to_shown, created_at, expires_at,
             case
                 when not {UNUSED} then 'used'
                 when ended_at is not null then end_reason
                 when expires_at <= clock_timestamp() then 'expired'
                 else 'open'
             end as state
         from identity.invitations
         where family_id = $1 and created_at > clock_timestamp() - make_interval(days => $2)
         order by created_at desc, invitation_id
         limit $3",
    ))
    .bind(family_id.uuid())
    .bind(LISTED_DAYS)
    .bind(LISTED_MAX)
    .fetch_all(&mut *tx)
    .await
    .map_err(IdentityError::Database)?;
    Ok(stored)
}

/// `DELETE /api/v1/families/{family_id}/invitations/{invitation_id}`: a parent. No fresh proof is asked for: taking a way in back
/// cannot wait. Using it and taking it back are updates of one row, so one of them is first and the other finds it so.
pub(super) async fn revoke(
    State(identity): State<Identity>,
    signed_in: SignedIn,
    client: Client,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<Response, Problem> {
    let Path((family_id, invitation_id)) = path.map_err(|_| Problem::malformed("the address cannot be read"))?;
    let family_id = family_of(&identity, REVOKE, signed_in, &family_id).await?;
    let unknown = || Problem::unknown("unknown-invitation", "there is no such invitation");
    let invitation_id = Uuid::try_parse(&invitation_id).map_err(|_| unknown())?;
    let mut tx = identity.about(family_id).await.map_err(IdentityError::Database)?;
    let ended = sqlx::query(&format!(
        "update identity.invitations
         set used_at = null, used_by = null, ended_at = clock_timestamp(), end_reason = 'revoked'
         where family_id = $1 and invitation_id = $2 and {UNUSED} and ended_at is null
             and expires_at > clock_timestamp()",
    ))
    .bind(family_id.uuid())
    .bind(invitation_id)
    .execute(&mut *tx)
    .await
    .map_err(IdentityError::Database)?;
    if ended.rows_affected() == 0 {
        let found: Option<(bool,)> = sqlx::query_as(&format!(
            "select not {UNUSED}
             from identity.invitations
             where family_id = $1 and invitation_id = $2",
        ))
        .bind(family_id.uuid())
        .bind(invitation_id)
        .fetch_optional(&mut *tx)
        .await
        .map_err(IdentityError::Database)?;
        return match found {
            None => Err(unknown()),
            Some((true,)) => Err(Problem::conflict(
                "invitation-used",
                "somebody has used it already: remove the member instead",
            )),
            Some((false,)) => Ok(private(StatusCode::NO_CONTENT)),
        };
    }
    let event = SecurityEvent::about(Kind::InvitationRevoked, signed_in.user_id)
        .in_family(family_id)
        .in_session(signed_in.session_id)
        .from_address(identity.address_hash(client.address));
    security_events::record(&mut *tx, event)
        .await
        .map_err(IdentityError::Database)?;
    tx.commit().await.map_err(IdentityError::Database)?;
    Ok(private(StatusCode::NO_CONTENT))
}

/// The family, of a member whose role may do this.
async fn family_of(identity: &Identity, row: &Row, signed_in: SignedIn, family: &str) -> Result<FamilyId, Problem> {
    let family_id: FamilyId = family.parse().map_err(|_| Problem::unknown_family())?;
    let (_, role) = identity
        .families()
        .role_of(family_id, signed_in.user_id)
        .await?
        .ok_or_else(Problem::unknown_family)?;
    access::check(row, role)?;
    Ok(family_id)
}
