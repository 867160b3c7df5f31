//! The key of a paired device, which never leaves it: what it signs, it signs as the device.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ED25519, UnparsedPublicKey};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Longest signature that is looked at, in characters.
const SIGNATURE_CHARACTERS_MAX: usize = 200;

/// What a device can sign with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Algorithm {
    /// Ed25519 (RFC 8032).
    Ed25519,
    /// ECDSA over P-256 with SHA-256; signatures are r and s, 32 bytes each, as Web Cryptography writes them.
    P256,
}

/// A device's public key.
pub(in super::super) struct DeviceKey {
    pub(super) algorithm: Algorithm,
    pub(super) public_key: Vec<u8>,
}

impl Algorithm {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ed25519 => "ed25519",
            Self::P256 => "p256",
        }
    }
}

impl DeviceKey {
    /// From base64url: 32 bytes, or the 65 of an uncompressed point.
    pub(super) fn read(algorithm: Algorithm, text: &str) -> Option<Self> {
        let public_key = URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()?;
        let fits = match algorithm {
            Algorithm::Ed25519 => public_key.len() == 32,
            Algorithm::P256 => public_key.len() == 65 && public_key[0] == 4,
        };
        fits.then_some(Self { algorithm, public_key })
    }

    /// As it is stored.
    pub fn stored(algorithm: &str, public_key: Vec<u8>) -> Self {
        let algorithm = if algorithm == "p256" {
            Algorithm::P256
        } else {
            Algorithm::Ed25519
        };
        Self { algorithm, public_key }
    }

    /// Whether the device signed `text` for `purpose`: the bytes `kinledger/{purpose}/1`, a line feed, and the text. The signature is
    /// in base64url.
    pub fn signed(&self, purpose: &str, text: &str, signature: &str) -> bool {
        if signature.len() > SIGNATURE_CHARACTERS_MAX {
            return false;
        }
        let Ok(signature) = URL_SAFE_NO_PAD.decode(signature.trim_end_matches('=')) else {
            return false;
        };
        let message = format!("kinledger/{purpose}/1\n{text}");
        let verified = match self.algorithm {
            Algorithm::Ed25519 => {
                UnparsedPublicKey::new(&ED25519, &self.public_key).verify(message.as_bytes(), &signature)
            }
            Algorithm::P256 => UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &self.public_key)
                .verify(message.as_bytes(), &signature),
        };
        verified.is_ok()
    }
}
