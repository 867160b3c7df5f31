//! Children and teens sign in without e-mail, on a device that a parent has paired with their place in the family.
//!
//! 1. A parent, with a fresh proof, asks for a pairing of one named member: a secret of 256 bits for a QR code, and a short code to
//!    type. Both end after five minutes, or with the next pairing of that member.
//! 2. The device makes a key pair and claims the pairing, once, with a signature over what it read. It shows two digits.
//! 3. The parent sees the device's name, types the two digits, and so confirms. A wrong pair of digits ends the pairing: whoever
//!    photographed the QR code and was faster is on the line, not the child. Only now an account is made, if the member has none,
//!    without e-mail and password, and takes the member's place.
//! 4. The device sets its PIN and gets a session.
//!
//! From then on the PIN opens a session of twelve hours, only together with the device's signature over a challenge; a refresh
//! takes a signature over the refresh token. Five wrong PINs wait, ten are for a parent to unlock. Ending a device ends its
//! sessions. A device opens only while its member is young and somebody answers for it who may look after devices and from whom nothing
//! of the member's is hidden ([`standing`]); what it has opened ends within a second of either being so no longer ([`attending`]).
//! A passkey of the device opens it in place of the PIN, if its person has added one ([`passkey`]).
//! A pairing gives the member's own role, which is a child's or a teen's when it begins and when it is confirmed; an account with an
//! e-mail address of its own is never paired, for that would hand it to the parent.

mod attending;
mod challenges;
mod claim;
mod confirm;
mod device_key;
mod device_session;
mod devices;
mod finish;
mod passkey;
mod standing;
mod start;
mod tries;
mod unlock;

use axum::{Router, http::StatusCode};
use domain::{
    access::{Row, route},
    actor::Role,
    id::{FamilyId, MemberId, UserId},
};
use service_kit::{access, problem::Problem};

pub(super) use attending::attend;
pub(super) use device_session::{is_signed, may_refresh};
pub(super) use passkey::forget_of_ended_in_tx;

use super::{Identity, IdentityError, openapi::Route};

/// Who may pair devices, and look after them.
const PAIR: &Row = route("pair");

pub(super) fn routes() -> Router<Identity> {
    Router::new()
        .merge(claim::routes())
        .merge(confirm::routes())
        .merge(devices::routes())
        .merge(finish::routes())
        .merge(passkey::routes())
        .merge(start::routes())
        .merge(unlock::routes())
}

pub(super) fn paths() -> Vec<Route> {
    [
        claim::paths(),
        confirm::paths(),
        devices::paths(),
        finish::paths(),
        passkey::paths(),
        start::paths(),
        unlock::paths(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Lets only those on who may pair devices in this family, and says which member they are.
async fn require_parent(identity: &Identity, family_id: FamilyId, user_id: UserId) -> Result<MemberId, Problem> {
    let place = identity.families().role_of(family_id, user_id).await?;
    let (member_id, role) = place.ok_or_else(Problem::unknown_family)?;
    access::check(PAIR, role)?;
    Ok(member_id)
}

/// Whoever pairs a device could sit down at it: a pocket that is hidden from them would be open to them.
async fn check_hides_nothing(
    identity: &Identity,
    family_id: FamilyId,
    member_id: MemberId,
    from: MemberId,
) -> Result<(), Problem> {
    if identity.families().hides_from(family_id, member_id, from).await? {
        let detail = "an account of this member is hidden from you: a parent looks after their devices";
        return Err(Problem::new(StatusCode::FORBIDDEN, "accounts-hidden", detail));
    }
    Ok(())
}

/// The member whose device is to be paired: their role, and the account that holds their place, which signs in by devices only.
async fn young_member(
    identity: &Identity,
    family_id: FamilyId,
    member_id: MemberId,
) -> Result<(Role, Option<UserId>), Problem> {
    let (role, holder) = identity.families().member(family_id, member_id).await?;
    if !role.is_young() {
        return Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "not-young",
            "devices are paired with teens and children only; an adult is invited",
        ));
    }
    if let Some(user_id) = holder {
        let has_own_way_in: Option<(bool,)> = sqlx::query_as(
            "select
                 email is not null
                 or exists (select 1 from identity.linked_sign_ins where linked_sign_ins.user_id = users.user_id)
                 or exists (select 1 from identity.passkeys where passkeys.user_id = users.user_id)
             from identity.users
             where user_id = $1",
        )
        .bind(user_id.uuid())
        .fetch_optional(identity.pool())
        .await
        .map_err(IdentityError::Database)?;
        // No account at all is one that was not made yet, by a process that ended in between.
        if has_own_way_in == Some((true,)) {
            return Err(Problem::conflict(
                "has-own-account",
                "this member signs in with an account of their own",
            ));
        }
    }
    Ok((role, holder))
}
