//! The key-encryption key: what wraps the keys of members. A port, so that a key management service can hold it; here it is a
//! key in memory, from the installation's secret or from a file.

use std::sync::Arc;

use async_trait::async_trait;
use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey},
    digest::{SHA256, digest},
};
use sqlx::PgPool;

use super::KeysError;

/// What wraps members' keys and unwraps them again.
#[async_trait]
pub trait KeyEncryption: Send + Sync {
    /// Which key this is, without telling it; stored beside everything it wraps.
    fn id(&self) -> &str;

    /// Wraps a key. `context` says whose it is; unwrapping needs the same.
    ///
    /// # Errors
    /// [`KeysError::Encryption`].
    async fn wrap(&self, context: &[u8], key: &[u8; 32]) -> Result<Vec<u8>, KeysError>;

    /// Unwraps it; none when it was not wrapped by this key, in this context.
    ///
    /// # Errors
    /// [`KeysError::Encryption`] when it cannot be asked just now.
    async fn unwrap(&self, context: &[u8], wrapped: &[u8]) -> Result<Option<[u8; 32]>, KeysError>;
}

/// A key-encryption key in this process' memory: AES-256-GCM.
pub struct LocalKey {
    id: String,
    key: RandomizedNonceKey,
}

impl LocalKey {
    /// From 32 random bytes.
    pub fn new(key: &[u8; 32]) -> Self {
        let named = digest(&SHA256, &[b"kinledger key-encryption key/1".as_slice(), key].concat());
        Self {
            id: format!("local-{}", hex::encode(&named.as_ref()[..8])),
            key: RandomizedNonceKey::new(&AES_256_GCM, key).expect("the key has the algorithm's length"),
        }
    }
}

#[async_trait]
impl KeyEncryption for LocalKey {
    fn id(&self) -> &str {
        &self.id
    }

    async fn wrap(&self, context: &[u8], key: &[u8; 32]) -> Result<Vec<u8>, KeysError> {
        let mut bytes = key.to_vec();
        let nonce = self
            .key
            .seal_in_place_append_tag(Aad::from(context), &mut bytes)
            .map_err(|_| KeysError::Encryption("a key could not be wrapped".to_owned()))?;
        Ok([nonce.as_ref().as_slice(), &bytes].concat())
    }

    async fn unwrap(&self, context: &[u8], wrapped: &[u8]) -> Result<Option<[u8; 32]>, KeysError> {
        let Some((nonce, rest)) = wrapped.split_at_checked(NONCE_LEN) else {
            return Ok(None);
        };
        let Ok(nonce) = Nonce::try_assume_unique_for_key(nonce) else {
            return Ok(None);
        };
        let mut bytes = rest.to_vec();
        let opened = self.key.open_in_place(nonce, Aad::from(context), &mut bytes);
        Ok(opened.ok().and_then(|key| <[u8; 32]>::try_from(&*key).ok()))
    }
}

/// The key-encryption keys of an installation: the one that wraps, and those that still unwrap until a rotation is over.
#[derive(Clone)]
pub struct KeyEncryptions {
    current: Arc<dyn KeyEncryption>,
    retiring: Vec<Arc<dyn KeyEncryption>>,
}

impl KeyEncryptions {
    /// One key.
    pub fn new(current: Arc<dyn KeyEncryption>) -> Self {
        Self {
            current,
            retiring: Vec::new(),
        }
    }

    /// A key in memory.
    pub fn local(key: &[u8; 32]) -> Self {
        Self::new(Arc::new(LocalKey::new(key)))
    }

    /// Unwraps with this key, too. What it wrapped is wrapped anew by [`super::rotate::rotate`].
    #[must_use]
    pub fn and_old(mut self, old: Arc<dyn KeyEncryption>) -> Self {
        if old.id() != self.current.id() {
            self.retiring.push(old);
        }
        self
    }

    pub(super) fn current(&self) -> &dyn KeyEncryption {
        &*self.current
    }

    pub(super) fn by_id(&self, id: &str) -> Option<&dyn KeyEncryption> {
        let mut all = std::iter::once(&self.current).chain(&self.retiring);
        all.find(|one| one.id() == id).map(|one| &**one)
    }

    /// Is every key of the database wrapped by one that is known here? To be asked before any work: the alternative is to find
    /// out in the middle of it.
    ///
    /// # Errors
    /// [`KeysError::Other`] when not; [`KeysError::Database`].
    pub async fn check(&self, pool: &PgPool) -> Result<(), KeysError> {
        // One look into the index per key-encryption key, however many keys it wraps.
        let statement = "with recursive ids as (
                (select kek_id from keys.member_keys where kek_id is not null order by kek_id limit 1)
                union all
                select (select k.kek_id from keys.member_keys k where k.kek_id > ids.kek_id order by k.kek_id limit 1)
                from ids
                where ids.kek_id is not null
            )
            select kek_id from ids where kek_id is not null";
        let stored: Vec<String> = sqlx::query_scalar(statement).fetch_all(pool).await?;
        match stored.into_iter().find(|id| self.by_id(id).is_none()) {
            Some(stored) => Err(self.other(stored)),
            None => Ok(()),
        }
    }

    pub(super) fn other(&self, stored: String) -> KeysError {
        KeysError::Other {
            stored,
            given: self.current.id().to_owned(),
        }
    }
}
