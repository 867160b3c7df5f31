//! Invitations to places in a family: made, sent, listed and taken back.
//!
//! An invitation is a code that opens one place, once, within a week. The code is 140 random bits in letters and digits that cannot
//! be mistaken for each other (Crockford's base 32), stored as SHA-256. Either its maker is shown it, once, and passes it on; or it
//! is sent by mail, its maker never sees it, and only an account that has verified this address may use it ([`super::join`]).
//! Of the address a keyed hash is kept, and as much as a parent needs to tell one invitation from another.
//!
//! An invitation to a place whose holder signs in by paired devices only is for that holder, and gives them an account of their own
//! ([`own_account`]).
//!
//! It is over when it was used, when its week is, when a newer one for the same place was made, when a parent takes it back, when
//! its maker has left, was removed or may no longer invite to this place, and when the place has another role or is gone. The last is
//! looked at whenever somebody would use or list it, and written down then, so that it does not come back with its maker's role. One
//! that leads to the place of an auditor whose last day is over waits, as one does that waits for consent: a parent says another day.

pub(super) mod code;
mod invite;
mod list;
pub(super) mod mail;
mod own_account;

use axum::{
    Router,
    routing::{delete, get, post},
};
use domain::{
    access::{Cell, Row},
    id::{FamilyId, MemberId, UserId},
};
use service_kit::problem::Problem;
use sqlx::PgExecutor;
use uuid::Uuid;

use super::{Identity, openapi::Route};

/// Who may invite.
const INVITE: &Row = domain::access::route("invite");
/// What is true of an invitation that nobody used: nobody joined with it, and nobody is joining at this moment. Who took its code and
/// never came into the family, because a process ended in between, holds it for a minute.
const UNUSED: &str = "(joined_at is null and (used_at is null or used_at < clock_timestamp() - interval '1 minute'))";
/// Invitations are listed for so many days after they were made.
const LISTED_DAYS: i32 = 30;

pub(super) fn routes() -> Router<Identity> {
    Router::new()
        .route(
            "/api/v1/families/{family_id}/members/{member_id}/invitation",
            post(invite::invite),
        )
        .route("/api/v1/families/{family_id}/invitations", get(list::list))
        .route(
            "/api/v1/families/{family_id}/invitations/{invitation_id}",
            delete(list::revoke),
        )
        .merge(own_account::routes())
}

pub(super) fn paths() -> Vec<Route> {
    let mut paths = vec![invite::path(), own_account::path()];
    paths.extend(list::paths());
    paths
}

/// Who made an invitation, to which place.
pub(super) struct Offer {
    pub family_id: FamilyId,
    pub member_id: MemberId,
    pub made_by: UserId,
    /// The maker's own place then; none of what an older release made.
    pub made_from: Option<MemberId>,
    /// The role that the place had then; none of what an older release made.
    pub role: Option<String>,
}

impl Offer {
    /// An offer stands as long as whoever made it may still make it, to a place that is what it was.
    ///
    /// # Errors
    /// What the family says when it cannot be asked.
    pub(super) async fn stands(&self, identity: &Identity) -> Result<bool, Problem> {
        let families = identity.families();
        let maker = match families.role_of(self.family_id, self.made_by).await {
            Ok(maker) => maker,
            // Whoever waits for a parent's consent is no adult any more.
            Err(problem) if problem.status().as_u16() == 403 => None,
            Err(problem) => return Err(problem),
        };
        let Some((place, role)) = maker else {
            return Ok(false);
        };
        if self.made_from.is_some_and(|made_from| made_from != place) {
            return Ok(false);
        }
        let (role_now, _) = families.member(self.family_id, self.member_id).await?;
        if self.role.as_deref().is_some_and(|role| role != role_now.as_str()) {
            return Ok(false);
        }
        Ok(match INVITE.of(role) {
            Cell::No => false,
            Cell::Part => role_now.is_young() && !families.hides_from(self.family_id, self.member_id, place).await?,
            _ => true,
        })
    }
}

/// Writes down that an invitation is over because of who made it.
pub(super) async fn end_of_gone_maker(database: impl PgExecutor<'_>, invitation_id: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update identity.invitations
         set used_at = null, used_by = null, ended_at = clock_timestamp(), end_reason = 'maker-gone'
         where invitation_id = $1 and joined_at is null and ended_at is null",
    )
    .bind(invitation_id)
    .execute(database)
    .await?;
    Ok(())
}
