//! An adult invites somebody to a place in the family.
//!
//! The code is 140 random bits in letters and digits that cannot be mistaken for each other (Crockford's base 32). It is shown
//! once and stored as SHA-256; it opens one place, once, within a week. A new code for a place ends the one before.

use axum::{
    Json,
    extract::{Path, State, rejection::PathRejection},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Utc};
use domain::{
    access::{Cell, Row},
    id::{FamilyId, MemberId},
};
use schemars::JsonSchema;
use serde::Serialize;
use service_kit::{access, auth::SignedIn, problem::Problem};

use super::{
    Identity, IdentityError,
    address::Client,
    private,
    security_events::{self, Kind, SecurityEvent},
    sessions::hash_of,
};

/// Who may invite.
pub(super) const INVITE: &Row = domain::access::route("invite");
/// A code opens its place for so many days.
const VALID_DAYS: i32 = 7;
/// Characters of a code, five bits each.
const CODE_CHARACTERS: usize = 28;
/// Characters between two hyphens.
const GROUP_CHARACTERS: usize = 4;
/// Digits and letters without I, L, O and U.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// A code to pass on. It has no `Debug`: nothing may print it.
#[derive(Serialize, JsonSchema)]
pub(super) struct Invitation {
    /// For the invited person, by whatever way reaches only them.
    code: String,
    /// Until when it opens the place (UTC).
    expires_at: DateTime<Utc>,
}

/// `POST /api/v1/families/{family_id}/members/{member_id}/invitation`: a parent of the family, a partner for teens and children.
pub(super) async fn invite(
    State(identity): State<Identity>,
    signed_in: SignedIn,
    client: Client,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<Response, Problem> {
    access::check_proof(INVITE, signed_in, identity.verifier().now())?;
    let Path((family_id, member_id)) = path.map_err(|_| Problem::malformed("the address cannot be read"))?;
    let family_id: FamilyId = family_id.parse().map_err(|_| Problem::unknown_family())?;
    let (_, role) = identity
        .families()
        .role_of(family_id, signed_in.user_id)
        .await?
        .ok_or_else(Problem::unknown_family)?;
    let may = access::check(INVITE, role)?;
    let member_id: MemberId = member_id
        .parse()
        .map_err(|_| Problem::unknown("unknown-member", "there is no such member"))?;
    let place = identity.families().open_place(family_id, member_id).await?;
    if may == Cell::Part && !place.is_young() {
        return Err(Problem::not_allowed(format!(
            "a {} invites teens and children",
            role.as_str()
        )));
    }

    let code = random_code(CODE_CHARACTERS);
    let mut tx = identity.pool().begin().await.map_err(IdentityError::Database)?;
    sqlx::query(
        "update identity.invitations
         set expires_at = clock_timestamp()
         where family_id = $1 and member_id = $2 and used_at is null and expires_at > clock_timestamp()",
    )
    .bind(family_id.uuid())
    .bind(member_id.uuid())
    .execute(&mut *tx)
    .await
    .map_err(IdentityError::Database)?;
    let (expires_at,): (DateTime<Utc>,) = sqlx::query_as(
        "insert into identity.invitations (code_hash, family_id, member_id, created_by, expires_at)
         values ($1, $2, $3, $4, clock_timestamp() + make_interval(days => $5))
         returning expires_at",
    )
    .bind(code_hash(&code))
    .bind(family_id.uuid())
    .bind(member_id.uuid())
    .bind(signed_in.user_id.uuid())
    .bind(VALID_DAYS)
    .fetch_one(&mut *tx)
    .await
    .map_err(IdentityError::Database)?;
    let address_hash = identity.address_hash(client.address);
    let event = SecurityEvent::about(Kind::Invited, signed_in.user_id)
        .in_family(family_id)
        .in_session(signed_in.session_id)
        .from_address(address_hash)
        .with("member_id", member_id.to_string());
    security_events::record(&mut *tx, event)
        .await
        .map_err(IdentityError::Database)?;
    tx.commit().await.map_err(IdentityError::Database)?;
    Ok(private(
        (StatusCode::CREATED, Json(Invitation { code, expires_at })).into_response(),
    ))
}

/// A code of so many characters, five random bits each.
pub(super) fn random_code(characters: usize) -> String {
    let random: Vec<u8> = (0..characters).map(|_| rand::random()).collect();
    // 256 is a multiple of 32: every character is as likely as any other.
    let characters: Vec<char> = random
        .iter()
        .map(|byte| char::from(ALPHABET[usize::from(byte % 32)]))
        .collect();
    let groups: Vec<String> = characters
        .chunks(GROUP_CHARACTERS)
        .map(|group| group.iter().collect())
        .collect();
    groups.join("-")
}

/// The hash of a code however it was typed: in any case, with or without hyphens, O for 0 and I or L for 1.
pub(super) fn code_hash(typed: &str) -> [u8; 32] {
    let plain: String = typed
        .chars()
        .filter(|c| !c.is_whitespace() && *c != '-')
        .map(|c| match c.to_ascii_uppercase() {
            'O' => '0',
            'I' | 'L' => '1',
            other => other,
        })
        .collect();
    hash_of(&plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_typed_as_people_type() {
        let code = "01AB-CDEF-GHJK-MNPQ-RSTV-WXYZ-2345";
        assert_eq!(code_hash(code), code_hash("oiab cdef ghjk mnpq rstv wxyz 2345"));
        assert_ne!(code_hash(code), code_hash("01AB-CDEF-GHJK-MNPQ-RSTV-WXYZ-2346"));
    }

    #[test]
    fn codes_are_long_and_differ() {
        assert_eq!(random_code(CODE_CHARACTERS).len(), 34);
        assert_ne!(random_code(CODE_CHARACTERS), random_code(CODE_CHARACTERS));
    }
}
