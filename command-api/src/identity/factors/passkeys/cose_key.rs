//! The public keys authenticators make: COSE_Key (RFC 9052, RFC 9053, RFC 8812) of three algorithms.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use ciborium::Value;

/// The algorithms we ask for, by preference: EdDSA, ES256, and RS256 for older Windows.
pub(super) const ALGORITHMS: [i32; 3] = [-8, -7, -257];

/// Longest key that is stored, in bytes.
const BYTES_MAX: usize = 1_024;

/// A key that verifies.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum CoseKey {
    /// ECDSA over P-256 with SHA-256: an uncompressed point.
    Es256(Vec<u8>),
    /// Ed25519.
    EdDsa(Vec<u8>),
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256 { modulus: Vec<u8>, exponent: Vec<u8> },
}

impl CoseKey {
    /// Reads one; none when it is not of these algorithms, or not whole.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > BYTES_MAX {
            return None;
        }
        let mut rest = bytes;
        let Value::Map(members) = ciborium::from_reader::<Value, _>(&mut rest).ok()? else {
            return None;
        };
        let member = |label: i64| {
            let mut found = members.iter().filter(|(key, _)| *key == Value::from(label));
            let first = found.next().map(|(_, value)| value);
            // Twice the same label reads differently to different readers.
            first.filter(|_| found.next().is_none())
        };
        let number = |label| i64::try_from(member(label)?.as_integer()?).ok();
        let bytes = |label| member(label)?.as_bytes().cloned();
        match (number(1)?, number(3)?) {
            (2, -7) if number(-1)? == 1 => {
                let (x, y) = (bytes(-2)?, bytes(-3)?);
                (x.len() == 32 && y.len() == 32).then(|| Self::Es256([&[4], x.as_slice(), &y].concat()))
            }
            (1, -8) if number(-1)? == 6 => bytes(-2).filter(|x| x.len() == 32).map(Self::EdDsa),
            (3, -257) => {
                let (modulus, exponent) = (bytes(-1)?, bytes(-2)?);
                let is_sound = (256..=512).contains(&modulus.len()) && (1..=4).contains(&exponent.len());
                is_sound.then_some(Self::Rs256 { modulus, exponent })
            }
            _ => None,
        }
    }

    /// Whether the key's owner signed this message.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Es256(point) => UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point)
                .verify(message, signature)
                .is_ok(),
            Self::EdDsa(key) => UnparsedPublicKey::new(&ED25519, key).verify(message, signature).is_ok(),
            Self::Rs256 { modulus, exponent } => RsaPublicKeyComponents {
                n: modulus,
                e: exponent,
            }
            .verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
            .is_ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::{
        rand::SystemRandom,
        rsa::KeySize,
        signature::{Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair},
    };

    use super::*;

    fn written(members: Vec<(i64, Value)>) -> Vec<u8> {
        let map = members
            .into_iter()
            .map(|(label, value)| (Value::from(label), value))
            .collect();
        let mut bytes = Vec::new();
        ciborium::into_writer(&Value::Map(map), &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn a_key_on_the_edwards_curve_verifies_its_own_signatures_only() {
        let pair = Ed25519KeyPair::generate().unwrap();
        let public = pair.public_key().as_ref().to_vec();
        let members = vec![
            (1, 1.into()),
            (3, (-8).into()),
            (-1, 6.into()),
            (-2, Value::Bytes(public)),
        ];
        let key = CoseKey::read(&written(members)).unwrap();
        let signature = pair.sign(b"message");
        assert!(key.verifies(b"message", signature.as_ref()));
        assert!(!key.verifies(b"massage", signature.as_ref()));
    }

    #[test]
    fn an_rsa_key_verifies_its_own_signatures_only() {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let public: aws_lc_rs::signature::RsaPublicKeyComponents<Vec<u8>> = pair.public_key().into();
        let members = vec![
            (1, 3.into()),
            (3, (-257).into()),
            (-1, Value::Bytes(public.n)),
            (-2, Value::Bytes(public.e)),
        ];
        let key = CoseKey::read(&written(members)).unwrap();
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), b"message", &mut signature)
            .unwrap();
        assert!(key.verifies(b"message", &signature));
        signature[9] ^= 1;
        assert!(!key.verifies(b"message", &signature));
    }

    #[test]
    fn other_algorithms_curves_lengths_and_labels_given_twice_are_no_keys() {
        let point = |length| Value::Bytes(vec![1; length]);
        let sound = vec![
            (1, 2.into()),
            (3, (-7).into()),
            (-1, 1.into()),
            (-2, point(32)),
            (-3, point(32)),
        ];
        assert!(CoseKey::read(&written(sound.clone())).is_some());
        for (label, value) in [
            (1, 1.into()),
            (3, (-35).into()),
            (-1, 2.into()),
            (-2, point(31)),
            (-3, point(33)),
        ] {
            let mut wrong = sound.clone();
            let member = wrong.iter_mut().find(|(found, _)| *found == label).unwrap();
            member.1 = value;
            assert_eq!(CoseKey::read(&written(wrong)), None, "{label}");
        }
        let mut twice = sound.clone();
        twice.push((3, (-8).into()));
        assert_eq!(CoseKey::read(&written(twice)), None);
        assert_eq!(CoseKey::read(&[0xff; 40]), None);
        assert_eq!(CoseKey::read(&vec![0x81; BYTES_MAX]), None);
    }
}
