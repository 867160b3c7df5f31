//! The catalogue of events against what was planted: a text that is declared tomorrow and planted nowhere fails here.

use std::collections::{BTreeMap, BTreeSet};

use domain::event::LedgerEvent;
use serde_json::Value;

use super::Planted;
use crate::support::Household;

/// Every text of every event that is sealed holds a planted string in some event of this family: one that goes with a member, or
/// one that is the family's, as the catalogue says.
#[track_caller]
pub fn assert_every_declared_text_was_planted(family: &Household, planted: &Planted) {
    let events = recorded(family);
    let (mut texts, mut lacking) = (0, Vec::new());
    for kind in LedgerEvent::kinds() {
        for text in kind.texts.iter().filter(|text| text.is_personal()) {
            let among = if text.whose == "family" {
                &planted.of_family
            } else {
                &planted.texts
            };
            let mut payloads = events.get(kind.event_type).into_iter().flatten();
            let is_planted = payloads.any(|payload| {
                let read = text.path.split('.').fold(payload, |within, field| &within[field]);
                among.iter().any(|text| read == text)
            });
            texts += 1;
            if !is_planted {
                lacking.push(format!("{} {} ({})", kind.event_type, text.path, text.whose));
            }
        }
    }
    assert!(lacking.is_empty(), "declared, and never planted: {lacking:?}");
    println!("each of the {texts} texts that the catalogue seals was planted");
}

/// Payloads by their event's name, in the words that receipts give.
fn recorded(family: &Household) -> BTreeMap<String, Vec<Value>> {
    let commands: BTreeSet<String> = family
        .events()
        .iter()
        .map(|event| event["command_id"].as_str().unwrap().to_owned())
        .collect();
    let mut recorded: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for command in commands {
        let path = format!("{}/commands/{command}", family.path());
        let receipt = family.parent.client.get(&path).accepted();
        for event in receipt["events"].as_array().unwrap() {
            let name = event["type"].as_str().unwrap().to_owned();
            recorded.entry(name).or_default().push(event["payload"].clone());
        }
    }
    recorded
}
