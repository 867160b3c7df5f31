//! Which events of a family are by or about a member, and what of them is theirs to have.
//!
//! An event is theirs when they asked for it, when it names them, or when it moves or opens an account of their own; of their
//! entries and chores also what became of them. Nothing of an account that is hidden from them, or from whoever asks, is in it: a
//! posting there is left out, and with it those to equity, for of an exchange they tell what the hidden side paid; an event that is
//! about such an account alone or about a bank connected to it is not theirs.
//!
//! The log is read twice: first as it is stored, to learn which accounts, entries and chores are meant, then opened.

use std::collections::BTreeSet;

use domain::id::MemberId;
use event_store::Record;
use serde_json::{Value, json};
use uuid::Uuid;

/// What has to be known about a family and a member before the events that are theirs can be told.
pub(super) struct Theirs {
    member: String,
    is_young: bool,
    /// Ids, as events print them, of accounts that are hidden, and of connections and imports of those.
    hidden: BTreeSet<String>,
    /// Their own accounts.
    own: BTreeSet<String>,
    /// Entries and chores that are theirs.
    things: BTreeSet<Uuid>,
    /// Of these entries, those told so far: they move an account that is shown.
    shown: BTreeSet<Uuid>,
}

impl Theirs {
    pub fn new(member: MemberId, is_young: bool, hidden: impl IntoIterator<Item = String>) -> Self {
        Self {
            member: member.to_string(),
            is_young,
            hidden: hidden.into_iter().collect(),
            own: BTreeSet::new(),
            things: BTreeSet::new(),
            shown: BTreeSet::new(),
        }
    }

    /// Learns from one event, in the order of the log.
    pub fn learn(&mut self, record: &Record, payload: &Value) {
        match record.aggregate_type.as_str() {
            "ledger-account" if payload["owner"] == self.member.as_str() => {
                self.own.extend(payload["account_id"].as_str().map(str::to_owned));
            }
            "entry" | "chore" => {
                let touches_own = holds(payload, &|text| self.own.contains(text));
                if touches_own || self.is_by(record) || self.names(payload) {
                    self.things.insert(record.aggregate_id);
                }
            }
            // What belongs to a hidden account is hidden with it.
            "bank-connection" | "statement-import" if self.is_hidden(payload) => {
                let ids = ["connection_id", "import_id"]
                    .into_iter()
                    .filter_map(|name| payload[name].as_str());
                self.hidden.extend(ids.map(str::to_owned));
            }
            _ => {}
        }
    }

    /// The event as it is theirs to have; none when it is not. Asked in the order of the log.
    pub fn told(&mut self, record: &Record, mut payload: Value) -> Option<Value> {
        let is_by = self.is_by(record);
        let is_theirs = is_by || self.names(&payload);
        let is_told = match record.aggregate_type.as_str() {
            "ledger-account" => {
                let account = payload["account_id"].as_str().unwrap_or_default();
                !self.hidden.contains(account) && (is_theirs || self.own.contains(account))
            }
            "entry" => {
                self.things.contains(&record.aggregate_id) && self.left_of_entry(record.aggregate_id, &mut payload)
            }
            "chore" => {
                // What others did with a chore that was theirs for a while is not for the young.
                let is_offer = record.event_type == "ChoreOffered";
                self.things.contains(&record.aggregate_id) && (is_theirs || is_offer || !self.is_young)
            }
            _ => is_theirs && !self.is_hidden(&payload),
        };
        if !is_told {
            return None;
        }
        self.blank(&mut payload);
        Some(json!({
            "family_id": record.family_id,
            "family_seq": record.family_seq,
            "recorded_at": record.recorded_at,
            "effective_on": record.effective_on,
            "event": record.event_type,
            "version": record.event_version,
            "is_by_them": is_by,
            "details": payload,
        }))
    }

    fn is_by(&self, record: &Record) -> bool {
        record
            .metadata_entry("member_id")
            .is_some_and(|member| member == self.member)
    }

    fn names(&self, payload: &Value) -> bool {
        holds(payload, &|text| text == self.member)
    }

    fn is_hidden(&self, payload: &Value) -> bool {
        holds(payload, &|text| self.hidden.contains(text))
    }

    /// Leaves out postings to hidden accounts, and what those to equity would tell of them: the young see no posting to equity, as in
    /// their views. Does the entry move an account that is shown? One that was recategorised says so only by what it was before.
    fn left_of_entry(&mut self, entry: Uuid, payload: &mut Value) -> bool {
        let account = |posting: &Value| posting["ledger_account"].as_str().unwrap_or_default().to_owned();
        if payload["account_id"]
            .as_str()
            .is_some_and(|account| self.hidden.contains(account))
        {
            return false;
        }
        if let Some(postings) = payload["postings"].as_array_mut() {
            let all = postings.len();
            postings.retain(|posting| !self.hidden.contains(&account(posting)));
            if self.is_young || postings.len() < all {
                postings.retain(|posting| !account(posting).starts_with("equity:"));
            }
            if postings.iter().any(|posting| account(posting).starts_with("acc_")) {
                self.shown.insert(entry);
            }
        }
        self.shown.contains(&entry)
    }

    /// Whatever else names something hidden says nothing instead.
    fn blank(&self, value: &mut Value) {
        match value {
            Value::String(text) if self.hidden.contains(text.as_str()) => *value = Value::Null,
            Value::Array(values) => values.iter_mut().for_each(|value| self.blank(value)),
            Value::Object(fields) => fields.values_mut().for_each(|value| self.blank(value)),
            _ => {}
        }
    }
}

fn holds(value: &Value, is_meant: &dyn Fn(&str) -> bool) -> bool {
    match value {
        Value::String(text) => is_meant(text),
        Value::Array(values) => values.iter().any(|value| holds(value, is_meant)),
        Value::Object(fields) => fields.values().any(|value| holds(value, is_meant)),
        _ => false,
    }
}
