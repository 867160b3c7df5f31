//! What a person proves who they are by, besides the password.
//!
//! Who has a second factor signs in in two steps: the right password is answered 401 `factor-required` with a challenge, a token
//! that is good for nothing but `POST /api/v1/auth/login/factor`, once, within five minutes. That holds however the first step was
//! taken: every sign-in ends in [`admission::admit`], and nothing else opens a session for who has a second factor.
//! A fresh proof (step-up) also takes one of the factors then; the password alone does not do.
//!
//! A code of an authenticator app counts once: its time step is stored by compare-and-set, and only a later one is accepted.
//! Guesses are counted twice: by the throttle, under the person and not under their e-mail address, and per day in the database,
//! where no restart forgives them. At sign-in only somebody who has the password gets to guess, so strangers lock nobody out by it;
//! a session's guesses count for that session alone, so who stole one locks nobody out either. Recovery codes and passkeys are
//! beyond guessing: they wait with the others, and no day's count is kept of them. Recovery codes stand in for a lost factor: ten
//! of them, 120 random bits each, good once.

pub(super) mod admission;
mod enrolment;
mod list;
pub(super) mod passkeys;
mod recovery;
mod second_step;
mod totp;
mod totp_check;

use axum::{Router, http::StatusCode};
use domain::id::UserId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use service_kit::problem::Problem;
use sqlx::PgPool;
use uuid::Uuid;

use passkeys::{Assertion, Purpose};

pub(super) use passkeys::normal_name;

use super::{Identity, IdentityError, openapi::Route};

/// Longest code that is looked at, in bytes.
const CODE_BYTES_MAX: usize = 64;
/// A passkey's name in `amr` (RFC 8176): proof of possession of a key.
pub(super) const PASSKEY_METHOD: &str = "pop";

/// A second factor, by its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum FactorKind {
    /// Codes of an authenticator app.
    Totp,
    /// A key on a device, or several.
    Passkey,
    /// One of the codes that were shown when the first factor was added.
    RecoveryCode,
}

/// A person's proof by a second factor: exactly one of these. It has no `Debug`: nothing may print it.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Offered {
    /// Six digits of the authenticator app.
    #[schemars(length(max = 64))]
    pub code: Option<String>,
    /// A recovery code, in any case, with or without hyphens.
    #[schemars(length(max = 64))]
    pub recovery_code: Option<String>,
    /// A passkey's assertion: `PublicKeyCredential.toJSON()`.
    pub passkey: Option<Assertion>,
}

/// One offered factor.
pub(super) enum Offer {
    Code(String),
    RecoveryCode(String),
    Passkey(Box<Assertion>),
}

impl Offered {
    /// None when nothing is offered.
    ///
    /// # Errors
    /// 400 when more than one is offered, or one is too long to be any.
    pub fn one(self) -> Result<Option<Offer>, Problem> {
        let mut offers = Vec::new();
        offers.extend(self.code.map(Offer::Code));
        offers.extend(self.recovery_code.map(Offer::RecoveryCode));
        offers.extend(self.passkey.map(|passkey| Offer::Passkey(Box::new(passkey))));
        if offers.len() > 1 {
            return Err(Problem::malformed("offer one factor, not several"));
        }
        let offer = offers.pop();
        if let Some(Offer::Code(code) | Offer::RecoveryCode(code)) = &offer
            && code.len() > CODE_BYTES_MAX
        {
            return Err(Problem::malformed(format!(
                "a code is at most {CODE_BYTES_MAX} bytes long"
            )));
        }
        Ok(offer)
    }
}

impl Offer {
    /// The method's name in `amr`: RFC 8176's, where it has one.
    pub const fn method(&self) -> &'static str {
        match self {
            Self::Code(_) => "otp",
            Self::RecoveryCode(_) => "recovery",
            Self::Passkey(_) => PASSKEY_METHOD,
        }
    }

    /// Whether it is this person's, now. What is right is used up by asking. `session` is the one it is offered in; none at
    /// sign-in.
    ///
    /// # Errors
    /// 429 until midnight (UTC) when the session has guessed too many codes today.
    pub async fn holds(&self, identity: &Identity, user_id: UserId, session: Option<Uuid>) -> Result<bool, Problem> {
        match (self, session) {
            (Self::Code(code), None) => Ok(totp_check::use_code(identity, user_id, code).await?),
            (Self::Code(code), Some(session_id)) => {
                totp_check::use_code_in_session(identity, user_id, session_id, code).await
            }
            (Self::RecoveryCode(code), _) => Ok(recovery::use_code(identity, user_id, code).await?),
            (Self::Passkey(passkey), _) => {
                let owner = passkeys::use_assertion(identity, Purpose::Prove(user_id), passkey).await?;
                Ok(owner == Some(user_id))
            }
        }
    }
}

/// The second factors somebody can sign in with; empty for who has none.
pub(super) async fn kinds_of(pool: &PgPool, user_id: UserId) -> Result<Vec<FactorKind>, sqlx::Error> {
    let (has_totp, has_passkey, has_recovery_codes): (bool, bool, bool) = sqlx::query_as(
        "select
             exists (select 1 from identity.totp_factors where user_id = $1 and confirmed_at is not null),
             exists (select 1 from identity.passkeys where user_id = $1),
             exists (select 1 from identity.recovery_codes where user_id = $1 and used_at is null)",
    )
    .bind(user_id.uuid())
    .fetch_one(pool)
    .await?;
    let mut kinds = Vec::new();
    if has_totp {
        kinds.push(FactorKind::Totp);
    }
    if has_passkey {
        kinds.push(FactorKind::Passkey);
    }
    // Recovery codes stand in for a factor; alone they are none.
    if has_recovery_codes && !kinds.is_empty() {
        kinds.push(FactorKind::RecoveryCode);
    }
    Ok(kinds)
}

/// Who has no factor left needs no recovery codes: they would open a door that is not there.
async fn forget_recovery_codes_of_nothing(pool: &PgPool, user_id: UserId) -> Result<(), sqlx::Error> {
    if kinds_of(pool, user_id).await?.is_empty() {
        sqlx::query("delete from identity.recovery_codes where user_id = $1")
            .bind(user_id.uuid())
            .execute(pool)
            .await?;
    }
    Ok(())
}

/// The throttle's subject: a count apart from that of the password.
pub(super) fn throttle_subject(user_id: UserId) -> String {
    format!("factor {user_id}")
}

/// The answer to a first step that needs a second, or to a password where a factor is asked for.
fn factor_required(status: StatusCode, kinds: &[FactorKind]) -> Problem {
    Problem::new(
        status,
        "factor-required",
        "the password alone does not do for this account; offer one of its other factors too",
    )
    .with("factors", serde_json::json!(kinds))
}

/// For step-up: where there is a second factor, the password alone proves too little.
pub(super) async fn refuse_password_alone(pool: &PgPool, user_id: UserId) -> Result<(), Problem> {
    let kinds = kinds_of(pool, user_id).await.map_err(IdentityError::Database)?;
    if kinds.is_empty() {
        return Ok(());
    }
    Err(factor_required(StatusCode::FORBIDDEN, &kinds))
}

pub(super) fn routes() -> Router<Identity> {
    Router::new()
        .merge(enrolment::routes())
        .merge(list::routes())
        .merge(passkeys::routes())
        .merge(recovery::routes())
        .merge(second_step::routes())
}

pub(super) fn paths() -> Vec<Route> {
    [
        enrolment::paths(),
        list::paths(),
        passkeys::paths(),
        recovery::paths(),
        second_step::paths(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
