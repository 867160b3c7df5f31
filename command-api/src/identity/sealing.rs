//! What has to be read again, and must not be readable from a copy of the database: sealed with AES-256-GCM.
//!
//! Sealed bytes are 12 bytes of nonce, the ciphertext, and the tag. What they belong to (a key's id, a person's) is authenticated
//! with them, so that they cannot be moved to somebody else's row.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};

use super::{IdentityError, Secret};

/// A key for one purpose. It has no `Debug`: nothing may print it.
#[derive(Clone)]
pub(super) struct Sealing([u8; 32]);

impl Sealing {
    pub fn for_purpose(secret: &Secret, purpose: &str) -> Self {
        Self(secret.derive(purpose))
    }

    /// Seals bytes that belong to `owner`.
    pub fn seal(&self, owner: &[u8], clear: &[u8]) -> Result<Vec<u8>, IdentityError> {
        let mut bytes = clear.to_vec();
        let nonce = self
            .key()?
            .seal_in_place_append_tag(Aad::from(owner), &mut bytes)
            .map_err(unsealable)?;
        Ok([nonce.as_ref().as_slice(), &bytes].concat())
    }

    /// The bytes again. Those of another owner, of another secret or altered ones are [`IdentityError::OtherSecret`].
    pub fn open(&self, owner: &[u8], sealed: &[u8]) -> Result<Vec<u8>, IdentityError> {
        let (nonce, rest) = sealed.split_at_checked(NONCE_LEN).ok_or(IdentityError::OtherSecret)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(unsealable)?;
        let mut bytes = rest.to_vec();
        let clear = self
            .key()?
            .open_in_place(nonce, Aad::from(owner), &mut bytes)
            .map_err(unsealable)?;
        Ok(clear.to_vec())
    }

    fn key(&self) -> Result<RandomizedNonceKey, IdentityError> {
        RandomizedNonceKey::new(&AES_256_GCM, &self.0).map_err(unsealable)
    }
}

fn unsealable(_: aws_lc_rs::error::Unspecified) -> IdentityError {
    IdentityError::OtherSecret
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_purpose_and_owner_open_what_was_sealed() {
        let secret = Secret::new([1; 32]);
        let sealing = Sealing::for_purpose(&secret, "one");
        let sealed = sealing.seal(b"ada", b"seed").unwrap();
        assert_eq!(sealing.open(b"ada", &sealed).unwrap(), b"seed");
        assert!(sealing.open(b"eve", &sealed).is_err());
        assert!(Sealing::for_purpose(&secret, "two").open(b"ada", &sealed).is_err());
        assert!(sealing.open(b"ada", &sealed[..10]).is_err());
        let mut altered = sealed.clone();
        altered[13] ^= 1;
        assert!(sealing.open(b"ada", &altered).is_err());
        assert_ne!(sealing.seal(b"ada", b"seed").unwrap(), sealed);
    }
}
