//! Codes: made, sent, counted, used.

use std::time::Duration;

use axum::http::StatusCode;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use domain::id::UserId;
use rand::Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use service_kit::problem::Problem;
use uuid::Uuid;

use super::{
    super::{Identity, IdentityError, address::Client, sessions::hash_of},
    number::Number,
};

/// A code is good for so many seconds.
const SECONDS: i32 = 10 * 60;
/// And for so many tries.
const TRIES_MAX: i32 = 5;
/// Messages that one asker may ask for to one number, in an hour and in a day.
const PER_NUMBER: (i64, i64) = (3, 6);
/// Messages that one address may ask for to sign in, and as many to add numbers: neither uses up the other's.
const PER_ADDRESS: (i64, i64) = (10, 30);
/// Messages that one account may ask for to add a number.
const PER_ACCOUNT: (i64, i64) = (5, 10);
/// Messages that all accounts may ask for to add the same number: its telephone does not ring all day.
const ADDING_A_NUMBER: (i64, i64) = (6, 12);
/// Messages that all accounts may ask for to add numbers, whichever: no account has these yet, and a gateway bills each.
const ADDING: (i64, i64) = (60, 300);
/// Who adds comes after one another, for the bound above.
const ADDING_LOCK: [u8; 8] = *b"kl-phone";
/// What a challenge begins with, so that one that leaked into a file can be found.
const CHALLENGE_PREFIX: &str = "klt_";

/// What the asking client keeps. It has no `Debug`: nothing may print it.
#[derive(Serialize, JsonSchema)]
pub(super) struct Asked {
    /// Goes with the code of the message, and only with that one.
    challenge: String,
    /// Seconds until both are over.
    expires_in: i32,
}

/// A code and its challenge. It has no `Debug`: nothing may print it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Answered {
    /// From asking.
    #[schemars(length(max = 64))]
    pub challenge: String,
    /// Six digits of the message.
    #[schemars(length(max = 16))]
    code: String,
}

/// What a code is for.
#[derive(Clone, Copy)]
pub(super) enum Purpose {
    /// Signing in to the account of the number; none when there is none.
    SignIn(Option<UserId>),
    /// Giving a number to an account.
    Add(UserId),
}

/// What a right code was for.
#[derive(sqlx::FromRow)]
pub(super) struct Used {
    pub number_hash: Vec<u8>,
    pub sealed_number: Option<Vec<u8>>,
}

/// Makes a code and sends it, or seems to.
///
/// # Errors
/// 429 when the number, the address or the account has had its messages; 422 where none are sent.
pub(super) async fn ask(
    identity: &Identity,
    number: &Number,
    purpose: Purpose,
    client: &Client,
    is_owners_device: bool,
) -> Result<Asked, Problem> {
    identity.postbox().require_sms()?;
    let phones = identity.phones();
    let number_hash = phones.hash(&[b"number", number.as_str().as_bytes()]);
    // Strangers do not use up the owner's messages, nor do accounts that add a number. All devices of the owner are one asker: who
    // signs in makes as many of them as they like.
    let asker_hash = match purpose {
        Purpose::SignIn(Some(owner)) if is_owners_device => {
            phones.hash(&[b"owner", &number_hash, owner.uuid().as_bytes()])
        }
        Purpose::SignIn(_) => phones.hash(&[b"asker", &number_hash]),
        Purpose::Add(user_id) => phones.hash(&[b"adding", &number_hash, user_id.uuid().as_bytes()]),
    };
    let challenge = format!(
        "{CHALLENGE_PREFIX}{}",
        URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
    );
    let code = format!("{:06}", rand::rng().random_range(0..1_000_000));
    let (adds_to, sealed_number) = match purpose {
        Purpose::SignIn(_) => (None, None),
        Purpose::Add(user_id) => {
            let owner = user_id.uuid();
            let sealed = phones.sealing.seal(owner.as_bytes(), number.as_str().as_bytes())?;
            (Some(owner), Some(sealed))
        }
    };
    let address_hash = identity.address_hash(client.address);
    // Strangers and an owner who asks on a device of theirs share an address, and neither is counted against the other.
    let counted_address = address_hash.filter(|_| !is_owners_device);
    let mut tx = identity.pool().begin().await.map_err(IdentityError::Database)?;
    // One at a time for a number and for an address, or their limits could be passed by asking at once.
    let head = |hash: [u8; 32]| hash.first_chunk::<8>().copied();
    let adding = adds_to.map(|_| ADDING_LOCK);
    for key in [adding, head(number_hash), counted_address.and_then(head)]
        .into_iter()
        .flatten()
    {
        sqlx::query("select pg_advisory_xact_lock($1)")
            .bind(i64::from_be_bytes(key))
            .execute(&mut *tx)
            .await
            .map_err(IdentityError::Database)?;
    }
    let (is_too_much, is_full): (bool, bool) = sqlx::query_as(
        "with lately as (
             select
                 asker_hash = $1 as of_asker,
                 address_hash is not distinct from $2 and $2 is not null
                     and (adds_to is null) = ($3 is null) as of_address,
                 adds_to is not distinct from $3 and $3 is not null as of_account,
                 adds_to is not null and number_hash = $10 and $3 is not null as of_number,
                 adds_to is not null and $3 is not null as of_adding,
                 created_at > clock_timestamp() - interval '1 hour' as of_hour
             from identity.phone_codes
             where created_at > clock_timestamp() - interval '1 day'
                 and (asker_hash = $1 or address_hash = $2 or adds_to = $3 or (adds_to is not null and $3 is not null))
         )
         select
             count(*) filter (where of_asker and of_hour) >= $4 or count(*) filter (where of_asker) >= $5
             or count(*) filter (where of_address and of_hour) >= $6 or count(*) filter (where of_address) >= $7
             or count(*) filter (where of_account and of_hour) >= $8 or count(*) filter (where of_account) >= $9
             or count(*) filter (where of_number and of_hour) >= $11 or count(*) filter (where of_number) >= $12,
             count(*) filter (where of_adding and of_hour) >= $13 or count(*) filter (where of_adding) >= $14
         from lately",
    )
    .bind(asker_hash)
    .bind(counted_address)
    .bind(adds_to)
    .bind(PER_NUMBER.0)
    .bind(PER_NUMBER.1)
    .bind(PER_ADDRESS.0)
    .bind(PER_ADDRESS.1)
    .bind(PER_ACCOUNT.0)
    .bind(PER_ACCOUNT.1)
    .bind(number_hash)
    .bind(ADDING_A_NUMBER.0)
    .bind(ADDING_A_NUMBER.1)
    .bind(ADDING.0)
    .bind(ADDING.1)
    .fetch_one(&mut *tx)
    .await
    .map_err(IdentityError::Database)?;
    if is_full {
        tracing::warn!("so many ask to add phones that no more messages are sent for it just now");
    }
    if is_too_much || is_full {
        return Err(Problem::too_fast(
            60 * 60,
            "too many messages were asked for; try again later, or sign in another way",
        ));
    }
    sqlx::query(
        "insert into identity.phone_codes
             (challenge_hash, code_hash, number_hash, asker_hash, address_hash, adds_to, sealed_number, expires_at)
         values ($1, $2, $3, $4, $5, $6, $7, clock_timestamp() + make_interval(secs => $8))",
    )
    .bind(hash_of(&challenge))
    .bind(phones.hash(&[b"code", challenge.as_bytes(), code.as_bytes()]))
    .bind(number_hash)
    .bind(asker_hash)
    .bind(counted_address)
    .bind(adds_to)
    .bind(sealed_number)
    .bind(f64::from(SECONDS))
    .execute(&mut *tx)
    .await
    .map_err(IdentityError::Database)?;
    tx.commit().await.map_err(IdentityError::Database)?;
    if !matches!(purpose, Purpose::SignIn(None)) {
        identity.postbox().text(
            number.as_str(),
            format!("{code} is your code for Kinledger, good for ten minutes. Nobody of us ever asks you for it."),
            Duration::from_secs(SECONDS.unsigned_abs().into()),
        );
    }
    Ok(Asked {
        challenge,
        expires_in: SECONDS,
    })
}

/// What came of a try.
pub(super) enum Tried {
    Right(Used),
    /// Wrong, over, used, or for something else.
    Wrong {
        /// The first wrong try at a code that was good: once for each.
        is_first: bool,
    },
}

/// Uses a code up. A try counts before it is looked at.
pub(super) async fn take(
    identity: &Identity,
    answered: &Answered,
    adds_to: Option<UserId>,
) -> Result<Tried, IdentityError> {
    let code_hash = identity
        .phones()
        .hash(&[b"code", answered.challenge.as_bytes(), answered.code.trim().as_bytes()]);
    let adds_to: Option<Uuid> = adds_to.map(|user_id| user_id.uuid());
    let tried: Option<(i32,)> = sqlx::query_as(
        "update identity.phone_codes
         set attempts = attempts + 1
         where challenge_hash = $1
             and adds_to is not distinct from $2
             and used_at is null
             and attempts < $3
             and expires_at > clock_timestamp()
         returning attempts",
    )
    .bind(hash_of(&answered.challenge))
    .bind(adds_to)
    .bind(TRIES_MAX)
    .fetch_optional(identity.pool())
    .await?;
    let Some((attempts,)) = tried else {
        return Ok(Tried::Wrong { is_first: false });
    };
    // Of two who offer the right code at once, one uses it.
    let used: Option<Used> = sqlx::query_as(
        "update identity.phone_codes
         set used_at = clock_timestamp()
         where challenge_hash = $1 and code_hash = $2 and used_at is null
         returning number_hash, sealed_number",
    )
    .bind(hash_of(&answered.challenge))
    .bind(code_hash)
    .fetch_optional(identity.pool())
    .await?;
    Ok(used.map_or(
        Tried::Wrong {
            is_first: attempts == 1,
        },
        Tried::Right,
    ))
}

/// Wrong, over, used, of another client: all of them read the same.
pub(super) fn wrong_code(status: StatusCode) -> Problem {
    Problem::new(
        status,
        "wrong-code",
        "this code is wrong or over; after five tries ask for another",
    )
}
