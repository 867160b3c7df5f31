//! One sealed text: its envelope, and the key it has for itself.
//!
//! `sealed:1:<subject>:<generation>:<base64url of commitment ‖ ciphertext ‖ tag>`
//!
//! - value key: HMAC-SHA-256, under the subject's key, of the place: family, kind of stream, stream, sequence, event, field; each
//!   with its length before it. So one text can be disclosed by its value key, and nothing else with it.
//! - commitment: SHA-256 of `kinledger sealed text/1` and the value key, so that nobody can make an envelope that opens to two
//!   texts under two keys.
//! - ciphertext and tag: AES-256-GCM-SIV under the value key, nonce zero. A value key seals one place; should a place be sealed
//!   twice (a race that was lost and decided again), nothing but whether both were the same text can be seen.

use aws_lc_rs::{
    aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    digest::{SHA256, digest},
    hmac,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use uuid::Uuid;

/// What every envelope begins with.
pub(crate) const PREFIX: &str = "sealed:1:";
const COMMITMENT_LEN: usize = 32;
const TAG_LEN: usize = 16;

/// Where a text stands: what its key is made of, besides its field.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) family_id: Uuid,
    pub(crate) aggregate_type: &'a str,
    pub(crate) aggregate_id: Uuid,
    pub(crate) sequence: i64,
    pub(crate) event_type: &'a str,
}

/// A text that reads as an envelope.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Envelope {
    pub(crate) subject: Uuid,
    pub(crate) generation: i32,
    bytes: Vec<u8>,
}

/// The key of one text.
pub(crate) struct ValueKey([u8; 32]);

impl ValueKey {
    pub(crate) fn of(subject_key: &hmac::Key, place: &Place<'_>, path: &str) -> Self {
        let mut context = hmac::Context::with_key(subject_key);
        let mut part = |bytes: &[u8]| {
            context.update(&(bytes.len() as u64).to_be_bytes());
            context.update(bytes);
        };
        part(place.family_id.as_bytes());
        part(place.aggregate_type.as_bytes());
        part(place.aggregate_id.as_bytes());
        part(&place.sequence.to_be_bytes());
        part(place.event_type.as_bytes());
        part(path.as_bytes());
        let mut key = [0; 32];
        key.copy_from_slice(context.sign().as_ref());
        Self(key)
    }

    fn commitment(&self) -> [u8; COMMITMENT_LEN] {
        let committed = digest(&SHA256, &[b"kinledger sealed text/1".as_slice(), &self.0].concat());
        let mut commitment = [0; COMMITMENT_LEN];
        commitment.copy_from_slice(committed.as_ref());
        commitment
    }

    fn cipher(&self) -> LessSafeKey {
        let key = UnboundKey::new(&AES_256_GCM_SIV, &self.0).expect("the key has the algorithm's length");
        LessSafeKey::new(key)
    }

    /// The envelope of a text.
    pub(crate) fn seal(&self, subject: Uuid, generation: i32, text: &str) -> String {
        let mut bytes = text.as_bytes().to_vec();
        let nonce = Nonce::assume_unique_for_key([0; NONCE_LEN]);
        self.cipher()
            .seal_in_place_append_tag(nonce, Aad::empty(), &mut bytes)
            .expect("texts are far shorter than what can be sealed");
        let mut envelope = format!("{PREFIX}{subject}:{generation}:");
        URL_SAFE_NO_PAD.encode_string([self.commitment().as_slice(), &bytes].concat(), &mut envelope);
        envelope
    }

    /// The text; none when it was not sealed by this key.
    pub(crate) fn open(&self, envelope: &Envelope) -> Option<String> {
        let (commitment, sealed) = envelope.bytes.split_at_checked(COMMITMENT_LEN)?;
        if commitment != self.commitment() {
            return None;
        }
        let mut bytes = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key([0; NONCE_LEN]);
        let text = self.cipher().open_in_place(nonce, Aad::empty(), &mut bytes).ok()?;
        std::str::from_utf8(text).ok().map(str::to_owned)
    }
}

impl Envelope {
    /// Reads an envelope; none for a text that is none. It has one spelling.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix(PREFIX)?;
        let mut parts = rest.splitn(3, ':');
        let (subject, generation, bytes) = (parts.next()?, parts.next()?, parts.next()?);
        let (subject_id, number) = (Uuid::try_parse(subject).ok()?, generation.parse::<i32>().ok()?);
        let bytes = URL_SAFE_NO_PAD.decode(bytes).ok()?;
        let is_spelled = subject_id.to_string() == subject && number > 0 && number.to_string() == generation;
        // An empty text is not sealed, so there is at least one byte.
        (is_spelled && bytes.len() > COMMITMENT_LEN + TAG_LEN).then_some(Self {
            subject: subject_id,
            generation: number,
            bytes,
        })
    }
}

/// Might a payload hold an envelope? Says no quickly, where most payloads hold none.
pub(crate) fn is_possible_in(payload: &str) -> bool {
    payload.contains("\"sealed:1:")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn place(sequence: i64) -> Place<'static> {
        Place {
            family_id: Uuid::from_u128(1),
            aggregate_type: "entry",
            aggregate_id: Uuid::from_u128(2),
            sequence,
            event_type: "ExpenseAdded",
        }
    }

    fn key(byte: u8) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &[byte; 32])
    }

    proptest! {
        #[test]
        fn what_is_sealed_is_opened_at_its_place_and_nowhere_else(text in ".{1,600}", sequence in 1_i64.., member: u128) {
            let subject = Uuid::from_u128(member);
            let value_key = ValueKey::of(&key(7), &place(sequence), "note");
            let sealed = value_key.seal(subject, 1, &text);
            let envelope = Envelope::parse(&sealed).expect("an envelope");
            prop_assert_eq!((envelope.subject, envelope.generation), (subject, 1));
            prop_assert_eq!(value_key.open(&envelope), Some(text));
            prop_assert_eq!(ValueKey::of(&key(8), &place(sequence), "note").open(&envelope), None);
            prop_assert_eq!(ValueKey::of(&key(7), &place(sequence - 1), "note").open(&envelope), None);
            prop_assert_eq!(ValueKey::of(&key(7), &place(sequence), "payee").open(&envelope), None);
        }

        #[test]
        fn every_changed_byte_is_noticed(text in "[a-z]{1,20}", at: prop::sample::Index, bit in 0_u8..8) {
            let value_key = ValueKey::of(&key(7), &place(1), "note");
            let mut envelope = Envelope::parse(&value_key.seal(Uuid::nil(), 1, &text)).expect("an envelope");
            let at = at.index(envelope.bytes.len());
            envelope.bytes[at] ^= 1 << bit;
            prop_assert_eq!(value_key.open(&envelope), None);
        }
    }

    #[test]
    fn what_only_looks_like_an_envelope_is_none() {
        let sealed = ValueKey::of(&key(7), &place(1), "note").seal(Uuid::from_u128(3), 1, "x");
        assert!(Envelope::parse(&sealed).is_some());
        let subject = Uuid::from_u128(3).to_string();
        for text in [
            String::new(),
            "sealed:1:".to_owned(),
            "sealed by the notary".to_owned(),
            format!("sealed:1:{subject}:1:"),
            format!("sealed:1:{subject}:1:AAAA"),
            format!("sealed:1:{subject}:1:not base64"),
            sealed.replace(":1:00", ":2:00"),
            sealed.replace("sealed:1", "sealed:2"),
            sealed.replace(&format!("{subject}:1:"), &format!("{subject}:0:")),
            sealed.replace(&format!("{subject}:1:"), &format!("{subject}:01:")),
            format!("{sealed} "),
        ] {
            assert_eq!(Envelope::parse(&text), None, "{text}");
        }
    }
}
