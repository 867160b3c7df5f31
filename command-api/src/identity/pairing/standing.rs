//! Whether a paired device opens anything: its member is still young, and somebody still answers for it.
//!
//! A PIN of six digits is for a child's rights. Who grows into another role has to sign in as adults do, so the device opens nothing
//! for them any more. And whoever paired a device may have kept it: when they are no longer among those who look after devices, or an
//! account of the member's is hidden from them, it waits until somebody who is unlocks it, and answers for it from then on.

use axum::http::StatusCode;
use domain::{
    actor::Role,
    id::{FamilyId, MemberId, UserId},
};
use service_kit::{access, problem::Problem};
use uuid::Uuid;

use super::{super::Identity, PAIR};

/// What became of the place and of who answers for the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// The member has this role, a young one.
    Opens(Role),
    /// The place is somebody else's, or nobody's.
    Gone,
    /// The member is a teen or a child no longer.
    Grown,
    /// Nobody who looks after devices answers for this one.
    Unattended,
}

impl Standing {
    /// The member's role when the device opens; `gone` is the answer to one that has nothing left to open. The others are told: only
    /// a device that signed comes here.
    pub fn require(self, gone: fn() -> Problem) -> Result<Role, Problem> {
        match self {
            Self::Opens(role) => Ok(role),
            Self::Gone => Err(gone()),
            Self::Grown => Err(Problem::new(
                StatusCode::FORBIDDEN,
                "not-young",
                "a PIN signs in teens and children only",
            )),
            Self::Unattended => Err(Problem::new(
                StatusCode::FORBIDDEN,
                "device-locked",
                "nobody who may pair devices answers for this one; a parent must unlock it",
            )),
        }
    }
}

pub(super) async fn of(
    identity: &Identity,
    family_id: FamilyId,
    user_id: UserId,
    paired_by: Option<Uuid>,
) -> Result<Standing, Problem> {
    let Some((member_id, role)) = identity.families().role_of(family_id, user_id).await? else {
        return Ok(Standing::Gone);
    };
    if !role.is_young() {
        return Ok(Standing::Grown);
    }
    Ok(if is_attended(identity, family_id, member_id, paired_by).await? {
        Standing::Opens(role)
    } else {
        Standing::Unattended
    })
}

/// Whether who answers for a device may still look after devices in this family, and has nothing of its member's hidden from them.
pub(super) async fn is_attended(
    identity: &Identity,
    family_id: FamilyId,
    member_id: MemberId,
    paired_by: Option<Uuid>,
) -> Result<bool, Problem> {
    let Some(paired_by) = paired_by else {
        return Ok(false);
    };
    let place = identity
        .families()
        .role_of(family_id, UserId::from_uuid(paired_by))
        .await?;
    match place {
        Some((place, role)) if access::check(PAIR, role).is_ok() => {
            Ok(!identity.families().hides_from(family_id, member_id, place).await?)
        }
        _ => Ok(false),
    }
}
