//! What the authenticator says and signs: authenticator data (Web Authentication, section 6.1).

use sha2::{Digest, Sha256};

/// The person touched the device.
const USER_PRESENT: u8 = 0x01;
/// The device knows that it was its owner: by PIN, finger or face.
const USER_VERIFIED: u8 = 0x04;
/// A new key follows.
const HAS_CREDENTIAL: u8 = 0x40;
/// Extensions follow.
const HAS_EXTENSIONS: u8 = 0x80;
/// Hash, flags and counter.
const HEAD_BYTES: usize = 37;
/// The model of the authenticator, which we do not ask for.
const AAGUID_BYTES: usize = 16;

/// A key an authenticator has just made.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NewCredential<'a> {
    pub credential_id: &'a [u8],
    /// A COSE_Key, to its end.
    pub public_key: &'a [u8],
}

/// What counts in it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct AuthenticatorData<'a> {
    pub sign_count: u32,
    pub new_credential: Option<NewCredential<'a>>,
}

impl<'a> AuthenticatorData<'a> {
    /// Reads it: none unless it is for this relying party, well formed to its last byte, and its user was verified.
    pub fn read(bytes: &'a [u8], rp_id: &str) -> Option<Self> {
        let (head, rest) = bytes.split_at_checked(HEAD_BYTES)?;
        let (rp_id_hash, head) = head.split_at(32);
        let flags = head[0];
        let sign_count = u32::from_be_bytes(head[1..5].try_into().ok()?);
        let is_for_us = rp_id_hash == Sha256::digest(rp_id).as_slice();
        if !is_for_us || flags & USER_PRESENT == 0 || flags & USER_VERIFIED == 0 {
            return None;
        }
        let (new_credential, rest) = if flags & HAS_CREDENTIAL == 0 {
            (None, rest)
        } else {
            let (credential, rest) = credential(rest)?;
            (Some(credential), rest)
        };
        let rest = if flags & HAS_EXTENSIONS == 0 {
            rest
        } else {
            after_one_value(rest)?
        };
        rest.is_empty().then_some(Self {
            sign_count,
            new_credential,
        })
    }
}

fn credential(bytes: &[u8]) -> Option<(NewCredential<'_>, &[u8])> {
    let (_, rest) = bytes.split_at_checked(AAGUID_BYTES)?;
    let (length, rest) = rest.split_at_checked(2)?;
    let length = usize::from(u16::from_be_bytes(length.try_into().ok()?));
    let (credential_id, rest) = rest.split_at_checked(length)?;
    let after = after_one_value(rest)?;
    let public_key = &rest[..rest.len() - after.len()];
    let credential = NewCredential {
        credential_id,
        public_key,
    };
    Some((credential, after))
}

/// What follows one CBOR value.
fn after_one_value(bytes: &[u8]) -> Option<&[u8]> {
    let mut rest = bytes;
    ciborium::from_reader::<ciborium::Value, _>(&mut rest).ok()?;
    Some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(flags: u8, rest: &[u8]) -> Vec<u8> {
        let mut bytes = Sha256::digest("kin.example").to_vec();
        bytes.push(flags);
        bytes.extend(7_u32.to_be_bytes());
        bytes.extend(rest);
        bytes
    }

    #[test]
    fn presence_and_verification_are_both_asked_for() {
        let reads = |flags| AuthenticatorData::read(&data(flags, &[]), "kin.example").is_some();
        assert!(reads(0x05));
        assert!(!reads(0x01));
        assert!(!reads(0x04));
        assert!(!reads(0x00));
    }

    #[test]
    fn it_is_for_one_relying_party_and_read_to_its_last_byte() {
        let bytes = data(0x05, &[]);
        assert_eq!(AuthenticatorData::read(&bytes, "kin.example").unwrap().sign_count, 7);
        assert_eq!(AuthenticatorData::read(&bytes, "kin.example.evil"), None);
        assert_eq!(AuthenticatorData::read(&data(0x05, &[0]), "kin.example"), None);
        for length in 0..bytes.len() {
            assert_eq!(AuthenticatorData::read(&bytes[..length], "kin.example"), None);
        }
    }

    #[test]
    fn a_new_key_ends_where_its_value_ends() {
        // Sixteen bytes of model, two of length, the id, {1: 2}, and the extensions {}.
        let mut rest = vec![0; 16];
        rest.extend([0, 3, 1, 2, 3, 0xa1, 0x01, 0x02]);
        let alone = data(0x45, &rest);
        let read = AuthenticatorData::read(&alone, "kin.example").unwrap();
        let new = read.new_credential.unwrap();
        assert_eq!((new.credential_id, new.public_key), (&[1, 2, 3][..], &[0xa1, 1, 2][..]));
        rest.push(0xa0);
        let extended = data(0xc5, &rest);
        let read = AuthenticatorData::read(&extended, "kin.example").unwrap();
        assert_eq!(read.new_credential.unwrap().public_key, &[0xa1, 1, 2]);
        // The extensions' flag without them, and them without their flag.
        assert_eq!(
            AuthenticatorData::read(&data(0xc5, &rest[..rest.len() - 1]), "kin.example"),
            None
        );
        assert_eq!(AuthenticatorData::read(&data(0x45, &rest), "kin.example"), None);
        for length in 0..alone.len() {
            assert_eq!(AuthenticatorData::read(&alone[..length], "kin.example"), None);
        }
    }
}
