//! Sign-ins under way at a provider: bound to one browser, good once, for ten minutes.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use domain::id::UserId;
use service_kit::{auth::SignedIn, problem::Problem};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{
    super::{Identity, IdentityError, address::Client, secret::keyed_hash, sessions::hash_of},
    SignInProvider,
};

/// A sign-in at a provider may take so long.
pub(super) const SECONDS: i32 = 10 * 60;
/// Sign-ins from one address that are open at once; one more ends the oldest. So many that whoever begins them as fast as the edge
/// lets one address leaves its neighbours most of a minute.
const OPEN_MAX: i64 = 1_000;
/// What a binding begins with, so that one that leaked into a file can be found.
const BINDING_PREFIX: &str = "klb_";
/// What the cookie is called that a browser keeps it in, before a part of the state: each sign-in has its own, so that one in another
/// tab does not undo it. The prefix makes browsers refuse it from other hosts and without `Secure`.
const BINDING_COOKIE: &str = "__Host-kinledger-sign-in-";
/// So much of a state names its cookie.
const COOKIE_CHARACTERS: usize = 16;

fn cookie_name(state: &str) -> String {
    let part: String = state.chars().take(COOKIE_CHARACTERS).collect();
    format!("{BINDING_COOKIE}{part}")
}

/// Whose account is to be linked, in which session; none for a sign-in.
pub(super) type Linking = Option<(UserId, Uuid)>;

/// What linking begins and ends with.
pub(super) fn linking(signed_in: &SignedIn) -> Linking {
    Some((signed_in.user_id, signed_in.session_id))
}

/// A sign-in that begins.
pub(super) struct Begun {
    pub state: String,
    pub binding: String,
}

/// What is computed from both halves of a sign-in, and kept nowhere.
pub(super) struct Derived {
    pub nonce: String,
    pub verifier: String,
}

impl Derived {
    pub fn of(identity: &Identity, state: &str, binding: &str) -> Self {
        let derive = |purpose: &[u8]| {
            let key = &identity.providers().flow_key;
            URL_SAFE_NO_PAD.encode(keyed_hash(key, &[purpose, state.as_bytes(), binding.as_bytes()]))
        };
        Self {
            nonce: derive(b"nonce"),
            verifier: derive(b"verifier"),
        }
    }

    /// RFC 7636 §4.2, S256.
    pub fn challenge(&self) -> String {
        URL_SAFE_NO_PAD.encode(Sha256::digest(&self.verifier))
    }
}

impl Begun {
    /// The cookie that makes a browser keep the binding. Only our own pages' requests carry it.
    pub fn cookie(&self) -> Option<HeaderValue> {
        let (name, binding) = (cookie_name(&self.state), &self.binding);
        let text = format!("{name}={binding}; Path=/; Max-Age={SECONDS}; HttpOnly; Secure; SameSite=Strict");
        HeaderValue::from_str(&text).ok()
    }
}

/// The binding a browser shows for this sign-in.
pub(super) fn shown(headers: &HeaderMap, state: &str) -> Option<String> {
    let cookie = cookie_name(state);
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(name, value)| (name == cookie).then(|| value.to_owned()))
}

/// Begins one.
pub(super) async fn begin(
    identity: &Identity,
    provider: &SignInProvider,
    linking: Linking,
    client: &Client,
) -> Result<Begun, IdentityError> {
    let random = || URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
    let begun = Begun {
        state: random(),
        binding: format!("{BINDING_PREFIX}{}", random()),
    };
    let address_hash = identity.address_hash(client.address);
    sqlx::query(
        "with over as (
             delete from identity.provider_flows
             where state_hash in (
                 select state_hash
                 from identity.provider_flows
                 where address_hash = $6
                 order by created_at desc
                 offset $8
             )
         )
         insert into identity.provider_flows
             (state_hash, binding_hash, provider, user_id, session_id, address_hash, expires_at)
         values ($1, $2, $3, $4, $5, $6, clock_timestamp() + make_interval(secs => $7))",
    )
    .bind(hash_of(&begun.state))
    .bind(hash_of(&begun.binding))
    .bind(&provider.name)
    .bind(linking.map(|(user_id, _)| user_id.uuid()))
    .bind(linking.map(|(_, session_id)| session_id))
    .bind(address_hash)
    .bind(f64::from(SECONDS))
    .bind(OPEN_MAX - 1)
    .execute(identity.pool())
    .await?;
    Ok(begun)
}

/// Takes one: of two who do, one gets it.
///
/// # Errors
/// 401 `unknown-sign-in` when it is unknown, over, used, of another browser, provider or person: all of them read the same.
pub(super) async fn take(
    identity: &Identity,
    provider: &SignInProvider,
    state: &str,
    binding: &str,
    linking: Linking,
) -> Result<Derived, Problem> {
    let taken = sqlx::query(
        "delete from identity.provider_flows
         where state_hash = $1
             and binding_hash = $2
             and provider = $3
             and user_id is not distinct from $4
             and session_id is not distinct from $5
             and expires_at > clock_timestamp()",
    )
    .bind(hash_of(state))
    .bind(hash_of(binding))
    .bind(&provider.name)
    .bind(linking.map(|(user_id, _)| user_id.uuid()))
    .bind(linking.map(|(_, session_id)| session_id))
    .execute(identity.pool())
    .await
    .map_err(IdentityError::Database)?;
    if taken.rows_affected() == 1 {
        return Ok(Derived::of(identity, state, binding));
    }
    Err(Problem::new(
        StatusCode::UNAUTHORIZED,
        "unknown-sign-in",
        "this sign-in is over, or was begun elsewhere; begin again",
    ))
}
