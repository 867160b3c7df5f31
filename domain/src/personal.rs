//! Personal texts: which texts of events tell something of somebody, and of whom.
//!
//! What people write, and what their bank writes about them, is sealed before it goes to the log, under a key of the person it
//! is of; erasing a person destroys that key (ADR 0031). Which texts these are is said beside each event in its `events!` list,
//! text by text:
//!
//! - a field that names a member: of that member; where it names nobody, of the family (`owner`, `offered_to`) or of whoever
//!   asked for the command (`entered_by`, `earned_by`);
//! - `actor`: of whoever asked for the command; of the family while that person is no member of it yet;
//! - `family`: of nobody in particular, and kept as long as the family is;
//! - `plain`: tells nothing of anybody (a provider's code, a zone, a hash), and is not sealed.
//!
//! `every_text_of_every_event_says_whose_it_is` below fails for a text that is not declared.

use crate::id::MemberId;

/// What is read in the place of a text whose key was destroyed.
pub const ERASED: &str = "erased";
/// What is read in the place of the name of somebody who was erased.
pub const ERASED_MEMBER: &str = "erased member";

/// Whose a text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// This member's.
    Member(MemberId),
    /// Whoever asked for the command's.
    Actor,
    /// The whole family's.
    Family,
}

/// A text of an event, while it is being visited.
pub struct Personal<'a> {
    /// Its field, with a dot where it is in a struct of the event: `reference.reference`. Keys are made of it: a text that is
    /// moved to another field keeps its old path.
    pub path: &'static str,
    /// Whose it is.
    pub subject: Subject,
    /// What is read in its place once it is erased.
    pub erased: &'static str,
    /// The text.
    pub text: &'a mut String,
}

/// What `events!` says of one text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeclaredText {
    /// Its field.
    pub path: &'static str,
    /// The word that says whose it is.
    pub whose: &'static str,
}

impl DeclaredText {
    /// Is it sealed?
    pub const fn is_personal(&self) -> bool {
        is_personal(self.whose)
    }
}

/// Is a text that is declared so sealed?
pub(crate) const fn is_personal(whose: &str) -> bool {
    !matches!(whose.as_bytes(), b"plain")
}

/// Marks texts in their event's schema: `x-personal` says whose each is, in the words of the declaration.
pub(crate) fn marked(mut schema: schemars::Schema, texts: &[(&str, &str, &[&str])]) -> schemars::Schema {
    for (whose, field, inner) in texts.iter().filter(|(whose, ..)| is_personal(whose)) {
        let property = match (definition_of(&schema, field), inner.first()) {
            (Some(definition), Some(inner)) => schema
                .get_mut("$defs")
                .and_then(|definitions| definitions.get_mut(definition)?.get_mut("properties")?.get_mut(*inner)),
            _ => schema
                .get_mut("properties")
                .and_then(|properties| properties.get_mut(*field)),
        };
        if let Some(property) = property.and_then(serde_json::Value::as_object_mut) {
            property.insert("x-personal".to_owned(), (*whose).into());
        }
    }
    schema
}

/// The definition that a property, or one of its alternatives, refers to.
fn definition_of(schema: &schemars::Schema, field: &str) -> Option<String> {
    let property = schema.get("properties")?.get(field)?;
    let alternatives = property.get("anyOf").and_then(serde_json::Value::as_array);
    let mut all = alternatives.into_iter().flatten().chain([property]);
    all.find_map(|one| one.get("$ref")?.as_str()?.strip_prefix("#/$defs/").map(str::to_owned))
}

impl From<&MemberId> for Subject {
    fn from(member: &MemberId) -> Self {
        Self::Member(*member)
    }
}

/// Of nobody in particular: of the family, unless the macro below knows better.
impl From<&Option<MemberId>> for Subject {
    fn from(member: &Option<MemberId>) -> Self {
        member.map_or(Self::Family, Self::Member)
    }
}

/// One line of a declaration at work: who the text is of, and the visit.
macro_rules! visit {
    ($event:ident, $visit:ident, plain, $field:ident $(. $inner:ident)?) => {};
    ($event:ident, $visit:ident, $whose:ident, $field:ident) => {
        $crate::personal::visit!($event, $visit, $whose, $field, "erased")
    };
    ($event:ident, $visit:ident, $whose:ident, $field:ident, $erased:literal) => {{
        let subject = $crate::personal::subject!($event, $whose);
        $visit($crate::personal::Personal {
            path: stringify!($field),
            subject,
            erased: $erased,
            text: &mut $event.$field,
        });
    }};
    ($event:ident, $visit:ident, $whose:ident, $field:ident . $inner:ident) => {{
        let subject = $crate::personal::subject!($event, $whose);
        if let Some(within) = &mut $event.$field {
            $visit($crate::personal::Personal {
                path: concat!(stringify!($field), ".", stringify!($inner)),
                subject,
                erased: $crate::personal::ERASED,
                text: &mut within.$inner,
            });
        }
    }};
}
pub(crate) use visit;

/// The word of a declaration as a subject.
macro_rules! subject {
    ($event:ident, family) => {
        $crate::personal::Subject::Family
    };
    ($event:ident, actor) => {
        $crate::personal::Subject::Actor
    };
    ($event:ident, entered_by) => {
        $event
            .entered_by
            .map_or($crate::personal::Subject::Actor, $crate::personal::Subject::Member)
    };
    ($event:ident, earned_by) => {
        $event
            .earned_by
            .or($event.entered_by)
            .map_or($crate::personal::Subject::Actor, $crate::personal::Subject::Member)
    };
    ($event:ident, $field:ident) => {
        $crate::personal::Subject::from(&$event.$field)
    };
}
pub(crate) use subject;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;
    use uuid::Uuid;

    use super::*;
    use crate::{
        entry::{BankReference, EntryReversed, ExpenseAdded},
        event::LedgerEvent,
        family::MemberAdded,
        id::EntryId,
    };

    /// The texts a schema has: strings that are neither ids, dates, numbers nor words of a list.
    fn texts(schema: &Value, definitions: &Value, path: &str, found: &mut BTreeSet<String>) {
        if let Some(name) = schema["$ref"].as_str().and_then(|name| name.strip_prefix("#/$defs/")) {
            return texts(&definitions[name], definitions, path, found);
        }
        for alternatives in ["anyOf", "oneOf", "allOf"] {
            for one in schema[alternatives].as_array().into_iter().flatten() {
                texts(one, definitions, path, found);
            }
        }
        let is_string = schema["type"] == "string"
            || schema["type"]
                .as_array()
                .is_some_and(|types| types.contains(&Value::from("string")));
        let is_told = ["format", "pattern", "enum", "const"]
            .iter()
            .any(|word| schema.get(word).is_some());
        // The other side of a posting: an id with its kind before it.
        let is_posting_account = schema["examples"][0] == "equity:opening-balances";
        if is_string && !is_told && !is_posting_account {
            found.insert(path.to_owned());
        }
        texts_within(schema, definitions, path, found);
    }

    fn texts_within(schema: &Value, definitions: &Value, path: &str, found: &mut BTreeSet<String>) {
        for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
            let path = if path.is_empty() {
                name.clone()
            } else {
                format!("{path}.{name}")
            };
            texts(inner, definitions, &path, found);
        }
        if schema["items"].is_object() {
            texts(&schema["items"], definitions, &format!("{path}[]"), found);
        }
    }

    #[test]
    fn every_text_of_every_event_says_whose_it_is() {
        let mut sealed = 0;
        for kind in LedgerEvent::kinds() {
            let schema = (kind.schema)().to_value();
            let mut found = BTreeSet::new();
            texts(&schema, &schema["$defs"], "", &mut found);
            let declared: BTreeSet<String> = kind.texts.iter().map(|text| text.path.to_owned()).collect();
            assert_eq!(
                declared, found,
                "{}: texts declared in events!, and texts it has",
                kind.event_type
            );
            let marks = schema.to_string().matches("\"x-personal\":").count();
            let personal = kind.texts.iter().filter(|text| text.is_personal()).count();
            assert_eq!(marks, personal, "{}: texts marked in its schema", kind.event_type);
            sealed += kind.texts.iter().filter(|text| text.is_personal()).count();
        }
        assert!(sealed >= 19, "{sealed}");
    }

    fn visited(event: impl Into<LedgerEvent>) -> Vec<(&'static str, Subject, &'static str, String)> {
        let mut event = event.into();
        let mut seen = Vec::new();
        event.visit_personal(&mut |personal| {
            seen.push((personal.path, personal.subject, personal.erased, personal.text.clone()));
        });
        assert_eq!(event.is_personal(), !seen.is_empty());
        seen
    }

    #[test]
    fn a_text_is_of_whom_the_event_names() {
        let member_id = MemberId::from_uuid(Uuid::from_u128(7));
        let added = MemberAdded {
            member_id,
            display_name: "Ada".to_owned(),
            role: crate::actor::Role::Teen,
            on_leaderboard: false,
        };
        let of_ada = Subject::Member(member_id);
        let name = ("display_name", of_ada, ERASED_MEMBER, "Ada".to_owned());
        assert_eq!(visited(crate::family::FamilyEvent::from(added)), [name]);

        let mut expense = ExpenseAdded {
            entry_id: EntryId::from_uuid(Uuid::from_u128(1)),
            effective_on: chrono::NaiveDate::MIN,
            postings: Vec::new(),
            payee: "Baker".to_owned(),
            note: String::new(),
            entered_by: Some(member_id),
        };
        let whose = |expense: &ExpenseAdded| {
            let seen = visited(crate::entry::EntryEvent::from(expense.clone()));
            seen.into_iter().map(|(_, subject, ..)| subject).collect::<Vec<_>>()
        };
        assert_eq!(whose(&expense), [of_ada, of_ada]);
        expense.entered_by = None;
        assert_eq!(whose(&expense), [Subject::Actor, Subject::Actor]);
        let reversed = EntryReversed {
            entry_id: expense.entry_id,
            postings: Vec::new(),
            reason: "Twice".to_owned(),
        };
        let reason = ("reason", Subject::Actor, ERASED, "Twice".to_owned());
        assert_eq!(visited(crate::entry::EntryEvent::from(reversed)), [reason]);
    }

    #[test]
    fn a_text_within_a_struct_of_the_event_is_visited_when_it_is_there() {
        let booked = |reference| {
            let json = serde_json::json!({
                "entry_id": EntryId::from_uuid(Uuid::nil()), "account_id": crate::id::AccountId::from_uuid(Uuid::nil()),
                "import_id": crate::id::ImportId::from_uuid(Uuid::nil()), "booked_on": "2026-01-01",
                "amount": {"amount": "1.00", "currency": "EUR"}, "postings": [], "reference": reference,
            });
            let booked: crate::entry::BankTransactionBooked = serde_json::from_value(json).unwrap();
            let seen = visited(crate::entry::EntryEvent::from(booked));
            seen.into_iter()
                .map(|(path, subject, ..)| (path, subject))
                .collect::<Vec<_>>()
        };
        let reference = BankReference {
            source: "ofx".to_owned(),
            reference: "77".to_owned(),
        };
        let of_family = |path| (path, Subject::Family);
        assert_eq!(booked(None), ["counterparty", "remittance"].map(of_family));
        let all = ["counterparty", "remittance", "reference.reference"].map(of_family);
        assert_eq!(booked(Some(reference)), all);
    }
}
