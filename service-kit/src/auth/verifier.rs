//! Verifying access tokens: one algorithm, keys by `kid` from our own set, every claim required.

use std::{
    collections::HashMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use domain::id::UserId;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use sha2::{Digest, Sha256};
use sqlx::PgPool;
use uuid::Uuid;

use super::{
    AUDIENCE, AccessClaims, ISSUER, LEEWAY_SECONDS, PIN, POLL_SECONDS, SignedIn, TOKEN_BYTES_MAX, TOKEN_TYPE,
    api_keys::ApiKeys,
    cache::{TokenCache, Verified},
    clock::Clock,
    revocations::{self, Revocations},
    unknown_key::{Looks, NotRead},
};
use crate::shutdown::Shutdown;

/// After so many seconds without an answer from the database, a process no longer calls itself ready.
const STALE_SECONDS: i64 = 30;
/// A poll looks back so many seconds: longer than any transaction that ends a session may run.
const OVERLAP_SECONDS: i64 = 90;
/// The first poll, and one after a pause, looks back so many seconds: longer than an access token lives.
const LOOK_BACK_SECONDS: i64 = 20 * 60;

/// A key that access tokens may be signed with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    /// Its name in a token's header.
    pub kid: String,
    /// The 32 bytes of the Ed25519 public key.
    pub public_key: Vec<u8>,
}

/// Why a token was refused. What exactly is wrong with a forged one is nobody's business.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not one of ours: form, algorithm, key, signature or claims.
    #[error("the access token is not valid")]
    Invalid,
    /// Ours, and over.
    #[error("the access token has expired; refresh it")]
    Expired,
    /// Ours, but its session has ended.
    #[error("the session has ended; sign in again")]
    SessionEnded,
}

/// Keys and ended sessions could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read signing keys and ended sessions")]
pub struct VerifierError(#[from] sqlx::Error);

/// Turns access tokens into signed-in people. One for each process, shared by all its parts.
pub struct TokenVerifier {
    keys: RwLock<HashMap<String, DecodingKey>>,
    cache: TokenCache,
    api_keys: ApiKeys,
    revocations: Revocations,
    validation: Validation,
    clock: Clock,
    /// Of `clock`.
    polled_at: AtomicI64,
    /// Where keys are read from; none where they were given once for all.
    source: Option<PgPool>,
    looks: Looks,
    /// Held while keys are read, so that none that were read earlier take the place of newer ones.
    polling: tokio::sync::Mutex<()>,
}

impl TokenVerifier {
    /// Knows these keys and no ended session.
    pub fn new(keys: Vec<PublicKey>) -> Self {
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.leeway = LEEWAY_SECONDS as u64;
        // Beginning and end are compared with our own clock, which the machine's does not move.
        validation.validate_exp = false;
        validation.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[AUDIENCE]);
        let verifier = Self {
            keys: RwLock::default(),
            cache: TokenCache::new(),
            api_keys: ApiKeys::new(),
            revocations: Revocations::new(),
            validation,
            clock: Clock::default(),
            polled_at: AtomicI64::new(0),
            source: None,
            looks: Looks::new(),
            polling: tokio::sync::Mutex::default(),
        };
        verifier.replace_keys(keys);
        verifier
    }

    /// Reads keys and ended sessions from the database. Reader, projector and writer may; a private key none of the first two.
    ///
    /// # Errors
    /// [`VerifierError`] when the database does not answer.
    pub async fn load(pool: &PgPool) -> Result<Arc<Self>, VerifierError> {
        let verifier = Self {
            source: Some(pool.clone()),
            ..Self::new(Vec::new())
        };
        verifier.poll(pool).await?;
        Ok(Arc::new(verifier))
    }

    pub(super) fn api_keys(&self) -> &ApiKeys {
        &self.api_keys
    }

    /// Where keys are read from.
    pub(super) fn source(&self) -> Option<&PgPool> {
        self.source.as_ref()
    }

    /// Exactly these keys verify from now on. When one goes, what it signed goes with it.
    pub fn replace_keys(&self, keys: Vec<PublicKey>) {
        let keys: HashMap<String, DecodingKey> = keys
            .into_iter()
            .map(|key| (key.kid, DecodingKey::from_ed_der(&key.public_key)))
            .collect();
        let mut current = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        let lost_one = current.keys().any(|kid| !keys.contains_key(kid));
        *current = keys;
        drop(current);
        if lost_one {
            self.cache.clear();
        }
    }

    /// Refuses every access token of this session from now on, in this process.
    pub fn revoke(&self, session_id: Uuid) {
        self.revocations.insert(session_id, self.now());
    }

    /// The time by which tokens are issued and verified, in seconds since 1970; see [`Clock`].
    pub fn now(&self) -> i64 {
        self.clock.now()
    }

    /// The person an access token names.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn verify(&self, token: &str) -> Result<SignedIn, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::Invalid);
        }
        let now = self.now();
        let key: [u8; 32] = Sha256::digest(token).into();
        let verified = match self.cache.get(&key) {
            Some(verified) => verified,
            None => {
                let verified = self.check(token)?;
                self.cache.insert(key, verified, now);
                verified
            }
        };
        if verified.expires_at + LEEWAY_SECONDS < now {
            self.cache.remove(&key);
            return Err(TokenError::Expired);
        }
        if self
            .revocations
            .refuses(verified.signed_in.session_id, verified.issued_at)
        {
            return Err(TokenError::SessionEnded);
        }
        Ok(verified.signed_in)
    }

    /// Is it a token of ours in form, of a key that is not known, where keys can be read again?
    pub(super) fn may_be_of_a_new_key(&self, token: &str) -> bool {
        if self.source.is_none() || token.len() > TOKEN_BYTES_MAX {
            return false;
        }
        let kid = our_header(token).and_then(|header| header.kid);
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        kid.is_some_and(|kid| !keys.contains_key(&kid))
    }

    /// Reads the keys once more, with whoever else waits for them.
    pub(super) async fn read_keys(&self) -> Result<(), NotRead> {
        let Some(pool) = &self.source else { return Err(NotRead) };
        self.looks.wait(async || self.poll(pool).await).await
    }

    /// Signature and claims. `jku`, `jwk` and their like are never looked at; a critical extension is one we do not know.
    fn check(&self, token: &str) -> Result<Verified, TokenError> {
        let kid = our_header(token)
            .and_then(|header| header.kid)
            .ok_or(TokenError::Invalid)?;
        let key = {
            let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
            keys.get(&kid).cloned().ok_or(TokenError::Invalid)?
        };
        let claims = jsonwebtoken::decode::<AccessClaims>(token, &key, &self.validation)
            .map_err(|_| TokenError::Invalid)?
            .claims;
        // Whether it is over is `verify`'s to say, of cached ones too.
        if claims.nbf > self.now() + LEEWAY_SECONDS {
            return Err(TokenError::Invalid);
        }
        let user_id: UserId = claims.sub.parse().map_err(|_| TokenError::Invalid)?;
        Ok(Verified {
            signed_in: SignedIn {
                user_id,
                session_id: claims.sid,
                // Nobody proves anything in the future; a token that says so was signed by a clock that ran ahead.
                proven_at: claims.auth_time.min(claims.iat),
                is_paired: claims.paired || claims.amr.iter().any(|method| method == PIN),
            },
            issued_at: claims.iat,
            expires_at: claims.exp,
        })
    }

    /// Keeps keys and ended sessions current until shutdown. While the database is away, what is known stays in force.
    pub async fn watch_revocations(self: Arc<Self>, pool: PgPool, mut shutdown: Shutdown) {
        let mut ticks = tokio::time::interval(Duration::from_secs(POLL_SECONDS));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut is_well = true;
        while !*shutdown.borrow_and_update() {
            tokio::select! {
                _ = ticks.tick() => {}
                changed = shutdown.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    continue;
                }
            }
            match self.poll(&pool).await {
                Ok(()) => is_well = true,
                Err(error) if is_well => {
                    is_well = false;
                    tracing::warn!(error = %error, "ended sessions cannot be read; trying again");
                }
                Err(_) => {}
            }
        }
    }

    /// Whether the last look at the database is recent enough, for `/readyz`.
    ///
    /// # Errors
    /// In words, how long ago it was.
    pub fn is_current(&self) -> Result<(), String> {
        let age_s = self.now() - self.polled_at.load(Ordering::SeqCst);
        if age_s > STALE_SECONDS {
            return Err(format!("ended sessions were last read {age_s} s ago"));
        }
        Ok(())
    }

    /// Reads keys and ended sessions once.
    async fn poll(&self, pool: &PgPool) -> Result<(), VerifierError> {
        let _alone = self.polling.lock().await;
        let database_now: i64 = sqlx::query_scalar("select extract(epoch from clock_timestamp())::bigint")
            .fetch_one(pool)
            .await?;
        let now = self.clock.set(database_now);
        let since_last_s = now - self.polled_at.load(Ordering::SeqCst);
        let is_recent = (0..OVERLAP_SECONDS / 2).contains(&since_last_s);
        let look_back_s = if is_recent { OVERLAP_SECONDS } else { LOOK_BACK_SECONDS };

        let keys: Vec<(String, Vec<u8>)> = sqlx::query_as("select kid, public_key from identity.public_keys")
            .fetch_all(pool)
            .await?;
        // The age is reckoned by the database's clock, which is also the one that stamped the end.
        let ended: Vec<(Uuid,)> = sqlx::query_as(
            "select session_id from identity.revoked_sessions
             where revoked_at > clock_timestamp() - make_interval(secs => $1::int4)
             order by revoked_at
             limit $2",
        )
        .bind(look_back_s as i32)
        .bind(revocations::ENTRIES_MAX as i64 + 1)
        .fetch_all(pool)
        .await?;

        self.replace_keys(
            keys.into_iter()
                .map(|(kid, public_key)| PublicKey { kid, public_key })
                .collect(),
        );
        self.revocations.forget_old();
        if ended.len() > revocations::ENTRIES_MAX {
            self.revocations.refuse_all_issued_until(now);
        } else {
            for (session_id,) in ended {
                self.revocations.insert(session_id, now);
            }
        }
        self.polled_at.store(now, Ordering::SeqCst);
        Ok(())
    }
}

/// The header of a token in our form.
fn our_header(token: &str) -> Option<jsonwebtoken::Header> {
    let header = jsonwebtoken::decode_header(token).ok()?;
    let is_ours = header.alg == Algorithm::EdDSA
        && header
            .typ
            .as_deref()
            .is_some_and(|typ| typ.eq_ignore_ascii_case(TOKEN_TYPE))
        && header.crit.is_none();
    is_ours.then_some(header)
}

#[cfg(test)]
mod tests;
