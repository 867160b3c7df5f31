//! What a signed-in person sees of their own account, and may change of it at any time.

use axum::{Json, extract::State, response::Response};
use chrono::{DateTime, Utc};
use domain::id::UserId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use service_kit::{auth::SignedIn, problem::Problem};
use uuid::Uuid;

use super::{
    Identity, IdentityError,
    body::Body,
    phone, private,
    providers::{Linked, linked},
    register::normal_display_name,
    ways_in,
};

/// The account.
#[derive(Serialize, JsonSchema)]
pub(super) struct Profile {
    /// Who this is.
    user_id: UserId,
    /// How they sign in; empty for who signs in without one.
    email: String,
    /// When the address was confirmed (UTC); none when it was not.
    email_verified_at: Option<DateTime<Utc>>,
    /// How they are called.
    display_name: String,
    /// Their language, and country perhaps, as a BCP 47 tag.
    locale: String,
    /// When the account was made (UTC).
    created_at: DateTime<Utc>,
    /// The session that asks.
    session_id: Uuid,
    /// The accounts elsewhere that sign in to this one, the oldest first.
    linked: Vec<Linked>,
    /// The phone that signs in by codes, all but its first and last digits left out; none without one.
    phone: Option<String>,
}

/// What a person may change of themself at any time; the whole of it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewProfile {
    /// How they are called from now on.
    #[schemars(length(min = 1, max = 100))]
    display_name: String,
    /// Their language, and country perhaps, as a BCP 47 tag such as `de-AT`.
    #[schemars(length(min = 2, max = 35))]
    locale: String,
}

#[derive(sqlx::FromRow)]
struct Row {
    email: String,
    email_verified_at: Option<DateTime<Utc>>,
    display_name: String,
    locale: String,
    created_at: DateTime<Utc>,
}

/// `GET /api/v1/auth/profile`: the person themself.
pub(super) async fn profile(State(identity): State<Identity>, signed_in: SignedIn) -> Result<Response, Problem> {
    let row = sqlx::query_as(
        "select coalesce(email, '') as email, email_verified_at, display_name, locale, created_at
         from identity.users
         where user_id = $1",
    )
    .bind(signed_in.user_id.uuid())
    .fetch_optional(identity.pool())
    .await
    .map_err(IdentityError::Database)?;
    answer(&identity, &signed_in, row).await
}

/// `PUT /api/v1/auth/profile`: the person themself. An account of paired devices has no name of its own: what its member is called is
/// the family's to say, and goes with an erasure.
pub(super) async fn change_profile(
    State(identity): State<Identity>,
    signed_in: SignedIn,
    Body(request): Body<NewProfile>,
) -> Result<Response, Problem> {
    let display_name = normal_display_name(&request.display_name)?;
    let locale = normal_locale(&request.locale)?;
    let (name,): (String,) = sqlx::query_as("select display_name from identity.users where user_id = $1")
        .bind(signed_in.user_id.uuid())
        .fetch_one(identity.pool())
        .await
        .map_err(IdentityError::Database)?;
    if name != display_name && ways_in::are_paired_devices_only(identity.pool(), signed_in.user_id).await? {
        return Err(Problem::not_allowed(
            "this account signs in by paired devices: the family gives its member a name",
        ));
    }
    let row = sqlx::query_as(
        "update identity.users
         set display_name = $2, locale = $3
         where user_id = $1 and closed_at is null
         returning coalesce(email, '') as email, email_verified_at, display_name, locale, created_at",
    )
    .bind(signed_in.user_id.uuid())
    .bind(display_name)
    .bind(locale)
    .fetch_optional(identity.pool())
    .await
    .map_err(IdentityError::Database)?;
    answer(&identity, &signed_in, row).await
}

async fn answer(identity: &Identity, signed_in: &SignedIn, row: Option<Row>) -> Result<Response, Problem> {
    let row = row.ok_or_else(|| Problem::not_signed_in("there is no such account any more"))?;
    let linked = linked(identity.pool(), signed_in.user_id)
        .await
        .map_err(IdentityError::Database)?;
    Ok(private(Json(Profile {
        user_id: signed_in.user_id,
        email: row.email,
        email_verified_at: row.email_verified_at,
        display_name: row.display_name,
        locale: row.locale,
        created_at: row.created_at,
        session_id: signed_in.session_id,
        linked,
        phone: phone::masked(identity, signed_in.user_id).await?,
    })))
}

/// The form of a language tag, not whether there is such a language (RFC 5646 §2.1, without its oldest tags).
fn normal_locale(text: &str) -> Result<String, Problem> {
    let is_sound = (2..=35).contains(&text.len())
        && text.split('-').enumerate().all(|(index, part)| match index {
            0 => (2..=3).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphabetic()),
            _ => (1..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric()),
        });
    if is_sound {
        Ok(text.to_owned())
    } else {
        Err(Problem::malformed("locale: expected a tag like en or de-AT").with("field", "locale"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locale_is_a_language_tag() {
        for tag in ["en", "de-AT", "zh-Hant-TW", "sl-rozaj-biske-1994"] {
            assert_eq!(normal_locale(tag).unwrap(), tag);
        }
        for text in [
            "",
            "e",
            "de_AT",
            "de-",
            "-de",
            "1de",
            "de-AT ",
            "de-abcdefghi",
            &"de-a".repeat(10),
        ] {
            assert!(normal_locale(text).is_err(), "{text:?}");
        }
    }
}
