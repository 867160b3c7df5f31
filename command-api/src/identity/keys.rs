//! The keys that sign access tokens: made here, sealed in the database, changed monthly.
//!
//! A new key is published ten minutes before it signs, so that every process and every reader of
//! `/.well-known/jwks.json` has it by then. The old one verifies on until its last token has expired, and an hour more.
//! Processes that start together agree under an advisory lock.

use std::sync::{Arc, PoisonError, RwLock};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use service_kit::auth::{AccessClaims, TOKEN_TYPE};
use sha2::{Digest, Sha256};
use sqlx::{PgConnection, PgPool};

use super::{
    IdentityError, Secret,
    sealing::Sealing,
    security_events::{self, Kind, SecurityEvent},
};

/// A key signs for so many days.
const SIGNS_DAYS: i32 = 30;
/// It is published so many minutes before.
const PUBLISHED_MINUTES: i32 = 10;
/// The old one verifies for so many minutes after the new one has begun to sign.
const VERIFIES_ON_MINUTES: i32 = 75;
/// Held while a key is made. Relays own their lanes under 4712 for as long as they live, so it must not be that class.
const LOCK: (i32, i32) = (4715, 0);

/// The key that signs next.
#[derive(Clone, Debug)]
pub struct NextKey {
    /// Its name in a token's header.
    pub kid: String,
    /// From when it signs (UTC).
    pub signs_from: DateTime<Utc>,
}

/// Why a key is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    ByTheMonth,
    ByTheOperator,
}

/// Makes the next signing key now, for an operator who does not wait for the month to end. Nobody is signed out by it: it is
/// published ten minutes before it signs, and what the old key signed counts to its end. `pool` acts in identity's role.
///
/// # Errors
/// [`IdentityError`]: a secret that does not fit the database, or a database that does not answer.
pub async fn rotate_signing_key(pool: PgPool, secret: &Secret) -> Result<NextKey, IdentityError> {
    KeyRing::open(pool, secret).await?.rotate().await
}

/// All keys that verify, and the one that signs.
#[derive(Clone)]
pub(super) struct KeyRing {
    pool: PgPool,
    sealing: Sealing,
    keys: Arc<RwLock<Vec<SigningKey>>>,
}

#[derive(Clone)]
struct SigningKey {
    kid: String,
    public_key: Vec<u8>,
    private_key: EncodingKey,
    signs_from: DateTime<Utc>,
}

type Row = (String, Vec<u8>, Vec<u8>, DateTime<Utc>);

const LIVING: &str = "select kid, public_key, sealed_private_key, signs_from
    from identity.signing_keys
    where retires_at is null or retires_at > clock_timestamp()
    order by signs_from desc, kid";

impl KeyRing {
    /// Reads the keys, and makes the first one.
    pub async fn open(pool: PgPool, secret: &Secret) -> Result<Self, IdentityError> {
        let keys = Self {
            pool,
            sealing: Sealing::for_purpose(secret, "signing-keys/1"),
            keys: Arc::default(),
        };
        keys.refresh().await?;
        Ok(keys)
    }

    /// Reads the keys again, and makes a new one when the newest has served its time.
    pub async fn refresh(&self) -> Result<(), IdentityError> {
        if self.is_due(&mut *self.pool.acquire().await?).await? {
            self.make(Asked::ByTheMonth).await?;
        }
        let rows: Vec<Row> = sqlx::query_as(LIVING).fetch_all(&self.pool).await?;
        let keys = rows
            .into_iter()
            .map(|row| self.unseal(row))
            .collect::<Result<Vec<_>, _>>()?;
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
        Ok(())
    }

    /// Signs with the newest key whose time has come.
    pub fn sign(&self, claims: &AccessClaims) -> Result<String, IdentityError> {
        let now = Utc::now();
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        // A clock behind the database's may find no key whose time has come; the oldest one's has, everywhere.
        let key = keys
            .iter()
            .find(|key| key.signs_from <= now)
            .or(keys.last())
            .ok_or_else(|| IdentityError::Key("there is none".to_owned()))?;
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some(TOKEN_TYPE.to_owned());
        header.kid = Some(key.kid.clone());
        jsonwebtoken::encode(&header, claims, &key.private_key).map_err(|error| IdentityError::Key(error.to_string()))
    }

    /// The public keys as a JSON Web Key Set (RFC 7517, RFC 8037).
    pub fn jwks(&self) -> Value {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let keys: Vec<Value> = keys
            .iter()
            .map(|key| {
                json!({
                    "kty": "OKP",
                    "crv": "Ed25519",
                    "alg": "EdDSA",
                    "use": "sig",
                    "kid": key.kid,
                    "x": URL_SAFE_NO_PAD.encode(&key.public_key),
                })
            })
            .collect();
        json!({ "keys": keys })
    }

    async fn is_due(&self, connection: &mut PgConnection) -> Result<bool, IdentityError> {
        let (is_due,) = sqlx::query_as(
            "select not exists (
                select 1
                from identity.signing_keys
                where retires_at is null and signs_from > clock_timestamp() - make_interval(days => $1)
            )",
        )
        .bind(SIGNS_DAYS)
        .fetch_one(connection)
        .await?;
        Ok(is_due)
    }

    /// Makes the next key before the month is over. One that is published and does not sign yet is the next key already.
    async fn rotate(&self) -> Result<NextKey, IdentityError> {
        self.make(Asked::ByTheOperator).await?;
        let (kid, signs_from) = sqlx::query_as(
            "select kid, signs_from from identity.signing_keys where retires_at is null order by signs_from desc limit 1",
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(NextKey { kid, signs_from })
    }

    async fn make(&self, asked: Asked) -> Result<(), IdentityError> {
        let mut tx = self.pool.begin().await?;
        sqlx::query("select pg_advisory_xact_lock($1, $2)")
            .bind(LOCK.0)
            .bind(LOCK.1)
            .execute(&mut *tx)
            .await?;
        let is_wanted = match asked {
            Asked::ByTheMonth => self.is_due(&mut tx).await?,
            Asked::ByTheOperator => !is_one_waiting(&mut tx).await?,
        };
        if !is_wanted {
            return Ok(());
        }
        let failed = |_| IdentityError::Key("cannot be made".to_owned());
        let pair = Ed25519KeyPair::generate().map_err(failed)?;
        let public_key = pair.public_key().as_ref();
        let kid = hex::encode(&Sha256::digest(public_key)[..8]);
        let sealed = self
            .sealing
            .seal(kid.as_bytes(), pair.to_pkcs8().map_err(failed)?.as_ref())?;
        let (signs_from,): (DateTime<Utc>,) = sqlx::query_as(
            "insert into identity.signing_keys (kid, public_key, sealed_private_key, signs_from)
             select $1, $2, $3, clock_timestamp() + case
                 when exists (select 1 from identity.signing_keys) then make_interval(mins => $4)
                 else interval '0'
             end
             returning signs_from",
        )
        .bind(&kid)
        .bind(public_key)
        .bind(&sealed)
        .bind(PUBLISHED_MINUTES)
        .fetch_one(&mut *tx)
        .await?;
        let before = sqlx::query(
            "update identity.signing_keys
             set retires_at = $2 + make_interval(mins => $3)
             where retires_at is null and kid <> $1",
        )
        .bind(&kid)
        .bind(signs_from)
        .bind(VERIFIES_ON_MINUTES)
        .execute(&mut *tx)
        .await?;
        if before.rows_affected() > 0 {
            let event = SecurityEvent::about_all(Kind::KeyRotated).with("key", "signing");
            security_events::record(&mut *tx, event).await?;
        }
        sqlx::query("delete from identity.signing_keys where retires_at < clock_timestamp() - interval '1 day'")
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        tracing::info!(key.id = %kid, "made a signing key");
        Ok(())
    }

    fn unseal(&self, (kid, public_key, sealed, signs_from): Row) -> Result<SigningKey, IdentityError> {
        let private_key = EncodingKey::from_ed_der(&self.sealing.open(kid.as_bytes(), &sealed)?);
        Ok(SigningKey {
            kid,
            public_key,
            private_key,
            signs_from,
        })
    }
}

/// Is one published that does not sign yet?
async fn is_one_waiting(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let (is_waiting,) = sqlx::query_as(
        "select exists (select 1 from identity.signing_keys where retires_at is null and signs_from > clock_timestamp())",
    )
    .fetch_one(connection)
    .await?;
    Ok(is_waiting)
}
