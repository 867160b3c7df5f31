//! A person closes their account.
//!
//! They leave every family first, as an auditor also one whose term is over; what they recorded stays in its books, unless they ask for
//! it to be erased. Of the account nothing of theirs is left then: every way in ends, the e-mail address is free, and signing in answers
//! as for an address nobody has. Its number is kept for a month, until the last of its sessions is forgotten, so that every process
//! learns that they ended; the trail keeps, without words or addresses, what concerned a family, and that the account was closed. So do
//! the codes that it asked for to add phones, without their numbers, for the day that they are counted for.
//!
//! A teen or child does not leave a family by themself, and a family is never without a parent, so both are refused before
//! anything is done.

use axum::{Router, extract::State, http::StatusCode, response::Response, routing::post};
use domain::id::{CommandId, UserId};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use service_kit::{auth::SignedIn, problem::Problem};
use tracing::Instrument;
use uuid::Uuid;

use super::{
    super::{
        Identity, IdentityError, Place,
        address::Client,
        body::Body,
        factors::{self, Offered},
        openapi::{Caller, MALFORMED, NOT_SIGNED_IN, Route, TOO_FAST, TOO_LARGE, schema},
        private, step_up,
    },
    letters,
};

/// Names the command ids of leaving: the same person and place, the same command. Who comes into a family again has another place.
const COMMANDS: Uuid = Uuid::from_u128(0x51c3_0b8e_7a2f_4d06_8a1e_c0de_9d44_12ab);

/// Places are looked at so often: who founds or joins a family meanwhile leaves that too.
const ROUNDS_MAX: usize = 5;

/// Proof of who asks, in this very request. It has no `Debug`: nothing may print it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CloseAccount {
    /// The account's password; it does for who has no second factor.
    #[schemars(length(max = 256))]
    password: Option<String>,
    /// A second factor.
    factor: Option<Offered>,
    /// Erase what they wrote in their families, too, for good? Otherwise it stays in those families' books.
    #[serde(default)]
    erase: bool,
}

pub(super) fn routes() -> Router<Identity> {
    Router::new().route("/api/v1/auth/close", post(close))
}

pub(super) fn paths() -> Vec<Route> {
    vec![Route {
        path: "/api/v1/auth/close",
        method: "post",
        operation_id: "close-account-of-person",
        summary: "Close the account",
        description: "Who may call: any signed-in person, about themself, with a proof of the last ten minutes and one more in \
            the request. They leave their families, with `erase` after having what they wrote there erased, an auditor also when \
            their term is over; every way in ends, and the e-mail address is free.",
        caller: Caller::SignedIn,
        parameters: json!([]),
        body: Some((schema::<CloseAccount>(), true)),
        success: (204, "There is no such account any more.", None),
        problems: &[
            MALFORMED,
            NOT_SIGNED_IN,
            (
                403,
                "`step-up-required`, or the password or the factor is wrong, or a factor is asked for.",
            ),
            (
                409,
                "`last-parent` of the families that are named: hand them over first; or `young-member`: a parent ends that place.",
            ),
            TOO_LARGE,
            (
                422,
                "`last-parent`: the family's other parent went at this moment; other families may have been left already.",
            ),
            TOO_FAST,
            (503, "It is not known whether a family was left; ask again."),
        ],
    }]
}

/// `POST /api/v1/auth/close`: the person themself.
async fn close(
    State(identity): State<Identity>,
    client: Client,
    signed_in: SignedIn,
    Body(request): Body<CloseAccount>,
) -> Result<Response, Problem> {
    signed_in.require_step_up(identity.verifier().now())?;
    let proof = step_up::StepUp {
        password: request.password,
        factor: request.factor,
    };
    let user_id = signed_in.user_id;
    // Who signs in by an account elsewhere alone has nothing more to prove it with than the sign-in that was asked for above.
    if proof.password.is_some() || proof.factor.is_some() || has_more_to_prove(&identity, user_id).await? {
        step_up::proven(&identity, &client, &signed_in, proof).await?;
    }
    // A client that goes away leaves nobody half closed.
    let closing = tokio::spawn(leave_and_end(identity, user_id, request.erase).in_current_span());
    closing.await.unwrap_or_else(|error| Err(Problem::ours(&error)))
}

async fn leave_and_end(identity: Identity, user_id: UserId, erase: bool) -> Result<Response, Problem> {
    for _ in 0..ROUNDS_MAX {
        let places = identity.families().places_of(user_id).await?;
        check(&places)?;
        if places.is_empty() {
            end(&identity, user_id).await?;
            return Ok(private(StatusCode::NO_CONTENT));
        }
        for place in &places {
            let name = format!("{}/{}/{user_id}/{erase}", place.family_id, place.member_id);
            let command_id = CommandId::from_uuid(Uuid::new_v5(&COMMANDS, name.as_bytes()));
            if erase {
                identity.families().erase(place.family_id, user_id, command_id).await?;
            } else {
                identity.families().leave(place.family_id, user_id, command_id).await?;
            }
        }
    }
    Err(Problem::unavailable(
        1,
        "you come into families faster than you leave them; ask again",
    ))
}

async fn has_more_to_prove(identity: &Identity, user_id: UserId) -> Result<bool, IdentityError> {
    let password: Option<(bool,)> =
        sqlx::query_as("select password_hash is not null from identity.users where user_id = $1")
            .bind(user_id.uuid())
            .fetch_optional(identity.pool())
            .await?;
    Ok(password != Some((false,)) || !factors::kinds_of(identity.pool(), user_id).await?.is_empty())
}

/// May somebody with these places go?
fn check(places: &[Place]) -> Result<(), Problem> {
    let of = |is_so: fn(&Place) -> bool| -> Vec<String> {
        let places = places.iter().filter(|place| is_so(place));
        places.map(|place| place.family_id.to_string()).collect()
    };
    let last = of(|place| place.is_last_parent);
    if !last.is_empty() {
        let detail = "you are the last parent of a family: hand it over first";
        return Err(Problem::conflict("last-parent", detail).with("families", last));
    }
    let young = of(|place| place.role.is_young());
    if !young.is_empty() {
        let detail = "a teen or child does not leave a family alone: a parent ends their place first";
        return Err(Problem::conflict("young-member", detail).with("families", young));
    }
    Ok(())
}

async fn end(identity: &Identity, user_id: UserId) -> Result<(), Problem> {
    let mut tx = identity.pool().begin().await.map_err(IdentityError::Database)?;
    // An address that nobody verified may be somebody else's, who is told nothing of it.
    let address: Option<Option<String>> = sqlx::query_scalar(
        "select case when email_verified_at is not null then email end
         from identity.users
         where user_id = $1
         for update",
    )
    .bind(user_id.uuid())
    .fetch_optional(&mut *tx)
    .await
    .map_err(IdentityError::Database)?;
    let keys: Vec<(Uuid,)> = sqlx::query_as("select api_key_id from identity.api_keys where user_id = $1")
        .bind(user_id.uuid())
        .fetch_all(&mut *tx)
        .await
        .map_err(IdentityError::Database)?;
    let ended: Vec<(Uuid,)> = sqlx::query_as("select session_id from identity.close_account($1) as session_id")
        .bind(user_id.uuid())
        .fetch_all(&mut *tx)
        .await
        .map_err(IdentityError::Database)?;
    tx.commit().await.map_err(IdentityError::Database)?;
    for (session_id,) in ended {
        identity.verifier().revoke(session_id);
    }
    for (api_key_id,) in keys {
        identity.verifier().forget_api_key(api_key_id);
    }
    if let Some(email) = address.flatten() {
        identity.postbox().post(&email, letters::account_closed());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use domain::{
        actor::Role,
        id::{FamilyId, MemberId},
    };

    use super::*;

    #[test]
    fn the_last_parent_and_the_young_stay_and_everybody_else_may_go() {
        let place = |role, is_last_parent| Place {
            family_id: FamilyId::from_uuid(Uuid::new_v4()),
            member_id: MemberId::from_uuid(Uuid::new_v4()),
            role,
            is_last_parent,
        };
        let code = |places: &[Place]| check(places).err().map(|problem| problem.code().to_owned());
        assert_eq!(code(&[]), None);
        assert_eq!(code(&[place(Role::Parent, false), place(Role::Auditor, false)]), None);
        let last = code(&[place(Role::Partner, false), place(Role::Parent, true)]);
        assert!(last.is_some_and(|code| code.ends_with("last-parent")));
        assert!(code(&[place(Role::Teen, false)]).is_some_and(|code| code.ends_with("young-member")));
    }
}
