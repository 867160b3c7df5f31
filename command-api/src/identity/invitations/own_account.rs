//! Who signs in by a paired device gets an account of their own, and keeps what they have.
//!
//! A PIN is a child's sign-in. Who is an adult now has none any more, and a teen may want an address of their own. A parent invites them
//! to the place that they have already; with the code they choose an address and a password. The account stays the one it is: its place,
//! what it wrote, its trail and its export go on. What ends is what the parents had a hand in, the paired devices and their sessions.
//!
//! An adult who makes the code could use it themself, and keep the place when they are removed from the family. So as long as the place
//! is a teen's or child's, only a session of the very account takes it: on a paired device, newly unlocked. A grown-up's devices open
//! nothing any more, so for them the code is enough. And an adult could sit down at a device that they pair: nobody makes a code from
//! whom an account of the member's is hidden ([`super::super::pairing`]).
//!
//! Only accounts without any way in but paired devices are offered this, and only once: afterwards an invitation to the place is refused
//! as to any other that is taken.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::Response,
    routing::post,
};
use domain::{
    actor::Role,
    id::{FamilyId, MemberId, UserId},
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use service_kit::{auth::SignedIn, problem::Problem};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    super::{
        Identity, IdentityError, account,
        address::Client,
        body::Body,
        new_way_in,
        openapi::{Caller, MALFORMED, NOT_SIGNED_IN, Route, TOO_FAST, TOO_LARGE, schema},
        pairing,
        queue::Visitor,
        register::{normal_display_name, normal_email},
        security_events::{self, Kind, SecurityEvent},
        sessions::{self, Tokens},
        ways_in,
    },
    Offer,
    code::code_hash,
    end_of_gone_maker, mail,
};

/// Longest text that is looked up as a code, in bytes.
const CODE_BYTES_MAX: usize = 200;

/// A code, and how its person signs in from now on. It has no `Debug`: nothing may print it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OwnAccount {
    /// The invitation's code, in any case, with or without hyphens.
    #[schemars(length(max = 200))]
    code: String,
    /// As when registering; where the invitation was sent by mail, the address it was sent to.
    #[schemars(length(min = 3, max = 254), email)]
    email: String,
    /// As when registering.
    #[schemars(length(min = 8, max = 256))]
    password: String,
    /// How the person is called.
    #[schemars(length(min = 1, max = 100))]
    display_name: String,
}

pub(super) fn routes() -> Router<Identity> {
    Router::new().route("/api/v1/auth/join/own-account", post(take))
}

pub(super) fn path() -> Route {
    Route {
        path: "/api/v1/auth/join/own-account",
        method: "post",
        operation_id: "own-account",
        summary: "Sign in by an address and a password from now on, no more by paired devices",
        description: "Who may call: whoever holds the code of an invitation to the place of somebody who signs in by paired devices \
            only. As long as they are a teen or child, with an access token of that very account, which a paired device gets when it is \
            unlocked, and no more than ten minutes after that: an adult who holds the code takes nothing by it. Their account stays the \
            one it is, with all it has; its paired devices and their sessions end.",
        caller: Caller::Either,
        parameters: json!([]),
        body: Some((schema::<OwnAccount>(), true)),
        success: (201, "The first session by the new password.", Some(schema::<Tokens>())),
        problems: &[
            MALFORMED,
            NOT_SIGNED_IN,
            (
                403,
                "`paired-device-required`: a teen or child asks from a paired device of theirs; `step-up-required`: unlock it once more, \
                 then ask again; `email-not-verified`: addresses are verified here, so the invitation has to be sent by mail; or a \
                 parent has to consent first.",
            ),
            (404, "The code is unknown, over, or for something else."),
            (409, "`email-taken`: another account has the address."),
            TOO_LARGE,
            (422, "`weak-password`, with the reason in words."),
            TOO_FAST,
            (503, "The ledger cannot be reached just now."),
        ],
    }
}

/// The place that somebody is to be invited to: an open one, or one whose holder signs in by paired devices only; then whose account.
///
/// # Errors
/// What the family says of the place; 403 `accounts-hidden`: who asks could look at what is hidden from them.
pub(super) async fn place_to_invite_to(
    identity: &Identity,
    family_id: FamilyId,
    member_id: MemberId,
    asked_from: MemberId,
) -> Result<(Role, Option<UserId>), Problem> {
    let taken = match identity.families().open_place(family_id, member_id).await {
        Ok(role) => return Ok((role, None)),
        Err(problem) if problem.code() == "already-joined" => problem,
        Err(problem) => return Err(problem),
    };
    let (role, holder) = identity.families().member(family_id, member_id).await?;
    let Some(user_id) = holder else {
        return Err(taken);
    };
    if !ways_in::are_paired_devices_only(identity.pool(), user_id).await? {
        return Err(taken);
    }
    if identity.families().hides_from(family_id, member_id, asked_from).await? {
        let detail = "an account of this member is hidden from you: another parent invites them";
        return Err(Problem::new(StatusCode::FORBIDDEN, "accounts-hidden", detail));
    }
    Ok((role, Some(user_id)))
}

struct Offered {
    invitation_id: Uuid,
    account: UserId,
    was_sent: bool,
    offer: Offer,
}

/// `POST /api/v1/auth/join/own-account`: whoever holds the code, and for a teen's or child's place is signed in to its account. Of two at
/// once, one does.
async fn take(
    State(identity): State<Identity>,
    client: Client,
    headers: HeaderMap,
    Body(request): Body<OwnAccount>,
) -> Result<Response, Problem> {
    let email = normal_email(&request.email)?;
    let display_name = normal_display_name(&request.display_name)?;
    let attempt = identity
        .throttle()
        .admit_registration(&format!("register {email}"), client.address)?;
    let offered = match offered(&identity, &request.code, &email).await {
        Ok(Some(offered)) => offered,
        Ok(None) => {
            attempt.failed();
            return Err(unknown());
        }
        Err(error) => {
            attempt.forgiven();
            return Err(error.into());
        }
    };
    attempt.succeeded();
    if identity.requires_verified_email() && !offered.was_sent {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "email-not-verified",
            "addresses are verified here: ask for the invitation to be sent to yours",
        ));
    }
    let role = check(&identity, &offered).await?;
    let signed_in = if role.is_young() {
        Some(on_own_device(&identity, &headers, offered.account).await?)
    } else {
        None
    };
    let password_hash = identity
        .passwords()
        .hash_new(
            request.password,
            &email,
            &display_name,
            Visitor::anybody(client.address),
        )
        .await?;

    let mut tx = identity.pool().begin().await.map_err(IdentityError::Database)?;
    if let Some(signed_in) = &signed_in {
        new_way_in::require_session_in_tx(&mut tx, signed_in).await?;
    }
    if !used_in_tx(&mut tx, &offered).await.map_err(IdentityError::Database)? {
        return Err(unknown());
    }
    let given = sqlx::query(
        "update identity.users
         set
             email = $2,
             email_verified_at = case when $3 then clock_timestamp() end,
             display_name = $4,
             password_hash = $5,
             password_changed_at = clock_timestamp()
         where user_id = $1 and email is null and password_hash is null and closed_at is null",
    )
    .bind(offered.account.uuid())
    .bind(&email)
    .bind(offered.was_sent)
    .bind(&display_name)
    .bind(&password_hash)
    .execute(&mut *tx)
    .await;
    match given {
        Ok(done) if done.rows_affected() == 1 => {}
        Ok(_) => return Err(unknown()),
        Err(error) if account::is_taken(&error) => {
            return Err(Problem::conflict(
                "email-taken",
                "there is another account with this e-mail address; take an address without one",
            ));
        }
        Err(error) => return Err(IdentityError::Database(error).into()),
    }
    let ended = end_devices_in_tx(&mut tx, &offered)
        .await
        .map_err(IdentityError::Database)?;
    let event = SecurityEvent::about(Kind::Registered, offered.account)
        .in_family(offered.offer.family_id)
        .from_address(identity.address_hash(client.address));
    security_events::record(&mut *tx, event)
        .await
        .map_err(IdentityError::Database)?;
    tx.commit().await.map_err(IdentityError::Database)?;
    for session_id in ended {
        identity.verifier().revoke(session_id);
    }
    if !offered.was_sent {
        account::send_verification(&identity, offered.account, &email).await?;
    }
    let tokens = sessions::open(&identity, offered.account, &["pwd"], &client).await?;
    Ok(sessions::handed_over(&identity, StatusCode::CREATED, tokens))
}

/// What the code offers to who says this is their address.
async fn offered(identity: &Identity, code: &str, email: &str) -> Result<Option<Offered>, IdentityError> {
    if code.len() > CODE_BYTES_MAX {
        return Ok(None);
    }
    #[derive(sqlx::FromRow)]
    struct Row {
        invitation_id: Uuid,
        for_account: Uuid,
        was_sent: bool,
        family_id: Uuid,
        member_id: Uuid,
        created_by: Uuid,
        made_from: Option<Uuid>,
        role: Option<String>,
    }
    let row: Option<Row> = sqlx::query_as(
        "select
             invitation_id,
             for_account,
             sent_to is not null as was_sent,
             family_id,
             member_id,
             created_by,
             made_from,
             role
         from identity.invitations
         where code_hash = $1
             and for_account is not null
             and used_at is null
             and ended_at is null
             and expires_at > clock_timestamp()
             and (sent_to is null or sent_to = $2)",
    )
    .bind(code_hash(code))
    .bind(mail::hash(identity, email))
    .fetch_optional(identity.pool())
    .await?;
    Ok(row.map(|row| Offered {
        invitation_id: row.invitation_id,
        account: UserId::from_uuid(row.for_account),
        was_sent: row.was_sent,
        offer: Offer {
            family_id: FamilyId::from_uuid(row.family_id),
            member_id: MemberId::from_uuid(row.member_id),
            made_by: UserId::from_uuid(row.created_by),
            made_from: row.made_from.map(MemberId::from_uuid),
            role: row.role,
        },
    }))
}

/// Whoever made the offer may still make it, to whom it was made; the role of the place.
async fn check(identity: &Identity, offered: &Offered) -> Result<Role, Problem> {
    let Offer {
        family_id, member_id, ..
    } = offered.offer;
    let (role, holder) = identity.families().member(family_id, member_id).await?;
    if holder == Some(offered.account) && offered.offer.stands(identity).await? {
        let hides = match offered.offer.made_from {
            Some(place) => identity.families().hides_from(family_id, member_id, place).await?,
            None => true,
        };
        if !hides {
            return Ok(role);
        }
    }
    end_of_gone_maker(identity.pool(), offered.invitation_id)
        .await
        .map_err(IdentityError::Database)?;
    Err(unknown())
}

/// Whoever asks is signed in to the account that the code is for; as this account has no other way in, by a paired device.
///
/// # Errors
/// 401 for an access token that counts no more, 403 `paired-device-required` without one and with one of another account,
/// `step-up-required` when the device was unlocked more than ten minutes ago.
async fn on_own_device(identity: &Identity, headers: &HeaderMap, account: UserId) -> Result<SignedIn, Problem> {
    if headers.contains_key(header::AUTHORIZATION) {
        let signed_in = Arc::clone(identity.verifier()).signed_in(headers).await?;
        if signed_in.user_id == account {
            signed_in.require_step_up(identity.verifier().now())?;
            return Ok(signed_in);
        }
    }
    Err(Problem::new(
        StatusCode::FORBIDDEN,
        "paired-device-required",
        "this code is for a teen or child: unlock a paired device of theirs, and use the code there",
    ))
}

async fn used_in_tx(tx: &mut PgConnection, offered: &Offered) -> Result<bool, sqlx::Error> {
    let used = sqlx::query(
        "update identity.invitations
         set used_at = clock_timestamp(), used_by = $2, joined_at = clock_timestamp()
         where invitation_id = $1 and used_at is null and ended_at is null and expires_at > clock_timestamp()",
    )
    .bind(offered.invitation_id)
    .bind(offered.account.uuid())
    .execute(tx)
    .await?;
    Ok(used.rows_affected() == 1)
}

/// Ends what parents paired, and what it has opened; which sessions those were.
async fn end_devices_in_tx(tx: &mut PgConnection, offered: &Offered) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query(
        "update identity.paired_devices
         set revoked_at = clock_timestamp()
         where user_id = $1 and revoked_at is null",
    )
    .bind(offered.account.uuid())
    .execute(&mut *tx)
    .await?;
    pairing::forget_of_ended_in_tx(&mut *tx, offered.account).await?;
    sqlx::query("delete from identity.pairings where family_id = $1 and member_id = $2")
        .bind(offered.offer.family_id.uuid())
        .bind(offered.offer.member_id.uuid())
        .execute(&mut *tx)
        .await?;
    // A browser that was paired is none that the new account was signed in to on.
    account::taking_back::forget_devices_in_tx(&mut *tx, offered.account).await?;
    sessions::end_all_in_tx(tx, offered.account, None, "own-account").await
}

/// Unknown, over, used, and sent to somebody else read the same.
fn unknown() -> Problem {
    Problem::unknown("unknown-invitation", "this code opens nothing; ask for a new one")
}
