//! What was planted, and how often each kind of it was used.

use std::collections::{BTreeMap, BTreeSet};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use serde_json::Value;

use crate::{
    erasure::searching::{Place, found},
    support::Reply,
};

/// Fewest bytes of a secret made of chance; a token's are looked for by themselves too.
const RANDOM_BYTES_MIN: usize = 16;

#[derive(Default)]
pub struct Planted {
    kinds: BTreeMap<String, &'static str>,
    /// The first of each kind, as it was given out.
    first: BTreeMap<&'static str, String>,
    secrets: usize,
    used: BTreeMap<&'static str, Uses>,
    answers: Vec<Place>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Uses {
    rightly: usize,
    wrongly: usize,
}

impl Planted {
    /// A secret as it reads and, of a token, the bytes that it was made of.
    pub fn secret(&mut self, kind: &'static str, text: &str) -> String {
        assert!(text.len() >= 6, "{kind} is too short to be looked for");
        // Of an access token nobody but its signer could make the end.
        let own = if kind == "access token" {
            text.rsplit('.').next().unwrap_or(text)
        } else {
            text
        };
        self.secrets += usize::from(!self.kinds.contains_key(own));
        self.kinds.insert(own.to_owned(), kind);
        self.first.entry(kind).or_insert_with(|| text.to_owned());
        let random = own.split_once('_').map_or(own, |(_, rest)| rest);
        if let Ok(bytes) = URL_SAFE_NO_PAD.decode(random)
            && bytes.len() >= RANDOM_BYTES_MIN
        {
            self.kinds.insert(hex::encode(&bytes), kind);
            self.kinds.insert(STANDARD_NO_PAD.encode(&bytes), kind);
        }
        text.to_owned()
    }

    /// It was taken.
    #[track_caller]
    pub fn right(&mut self, kind: &'static str, reply: &Reply) -> Value {
        assert!(
            (200..300).contains(&reply.status),
            "{kind}: {} {}",
            reply.status,
            reply.text()
        );
        self.used.entry(kind).or_default().rightly += 1;
        serde_json::from_slice(&reply.body).unwrap_or_default()
    }

    /// It was not taken, or is of no use; what was answered is looked through in the end.
    #[track_caller]
    pub fn wrong(&mut self, kind: &'static str, reply: &Reply, status: u16) {
        assert_eq!(reply.status, status, "{kind}: {}", reply.text());
        self.used.entry(kind).or_default().wrongly += 1;
        if status >= 400 {
            self.refusal(kind, reply.body.clone());
        }
    }

    /// The body of a refusal.
    pub fn refusal(&mut self, about: &str, body: Vec<u8>) {
        self.answers
            .push((format!("answer {} about {about}", self.answers.len()), body));
    }

    /// Every refusal there was.
    pub fn refusals(&mut self) -> Vec<Place> {
        std::mem::take(&mut self.answers)
    }

    #[track_caller]
    pub fn assert_each_was_used(&self, kinds: &[&'static str]) {
        for kind in kinds {
            let uses = self.used.get(kind).copied().unwrap_or_default();
            assert!(uses.rightly > 0 && uses.wrongly > 0, "{kind}: {uses:?}");
            assert!(
                self.kinds.values().any(|planted| planted == kind),
                "{kind} was not planted"
            );
        }
        println!("{:?}", self.used);
    }

    pub fn count(&self) -> usize {
        self.secrets
    }

    pub fn kinds(&self) -> usize {
        self.kinds.values().collect::<BTreeSet<_>>().len()
    }

    /// Secrets of these kinds, one of each, as whoever holds it would paste it.
    pub fn one_of_each(&self, kinds: &[&'static str]) -> Vec<String> {
        let one = |kind: &&'static str| self.first.get(kind).unwrap_or_else(|| panic!("no {kind}")).clone();
        kinds.iter().map(one).collect()
    }

    /// Which kinds are in which places. Codes of digits alone are looked for as numbers of their own: as parts of longer ones and of
    /// hashes they are there by chance.
    pub fn seen(&self, places: &[Place]) -> Vec<String> {
        let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let texts: Vec<String> = self.kinds.keys().filter(|text| !is_number(text)).cloned().collect();
        let mut seen: Vec<String> = found(&texts, places)
            .into_iter()
            .map(|(text, places)| format!("{}: {text} in {places:?}", self.kinds[&text]))
            .collect();
        let numbers: BTreeSet<&[u8]> = self
            .kinds
            .keys()
            .filter(|text| is_number(text))
            .map(|text| text.as_bytes())
            .collect();
        for (name, bytes) in places {
            let words = bytes.split(|byte| !byte.is_ascii_alphanumeric() && *byte != b'.');
            seen.extend(
                words
                    .filter(|word| numbers.contains(word.strip_suffix(b".").unwrap_or(word)))
                    .map(|word| format!("the number {} in {name}", String::from_utf8_lossy(word))),
            );
        }
        seen
    }
}
