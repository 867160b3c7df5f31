//! Edits that break and edits that do not, each on the schema of a real event.

use serde_json::json;

use super::*;

/// `BankTransactionBooked`, `ChoreOffered` and `StatementEntriesListed` in one: every kind of thing our events hold.
fn event() -> Value {
    json!({
        "type": "object",
        "properties": {
            "entry_id": {"type": "string", "pattern": "^(ent_)?[0-9a-f-]{36}$"},
            "booked_on": {"type": "string", "format": "date"},
            "points": {"type": "integer", "format": "uint32", "minimum": 0},
            "payee": {"type": "string", "default": ""},
            "owner": {"type": ["string", "null"]},
            "kind": {"$ref": "#/$defs/Kind"},
            "reward": {"anyOf": [{"$ref": "#/$defs/Money"}, {"type": "null"}]},
            "postings": {"type": "array", "items": {"$ref": "#/$defs/Posting"}},
            "entries": {"type": "array", "items": {"oneOf": [
                {"type": "object", "properties": {"what": {"type": "string", "const": "booked"}, "entry_id": {"type": "string"}}, "required": ["what", "entry_id"]},
                {"type": "object", "properties": {"what": {"type": "string", "const": "categorised"}, "to": {"type": "string"}}, "required": ["what", "to"]}
            ]}}
        },
        "required": ["entry_id", "booked_on", "points", "kind", "postings"],
        "$defs": {
            "Kind": {"oneOf": [{"type": "string", "const": "bank"}, {"type": "string", "const": "cash"}]},
            "Money": {"type": "object", "additionalProperties": false, "required": ["amount", "currency"],
                "properties": {"amount": {"type": "string", "maxLength": 41}, "currency": {"type": "string", "pattern": "^[A-Z]{3}$"}}},
            "Posting": {"type": "object", "required": ["ledger_account", "money"],
                "properties": {"ledger_account": {"type": "string"}, "money": {"$ref": "#/$defs/Money"}}}
        }
    })
}

/// The schema with the value at a pointer put in, or taken out with `Null`.
fn edited(edits: &[(&str, Value)]) -> Value {
    let mut schema = event();
    for (pointer, value) in edits {
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        let parent = schema
            .pointer_mut(parent)
            .unwrap_or_else(|| panic!("{pointer} is somewhere"));
        match (parent, value) {
            (Value::Object(fields), Value::Null) => assert!(fields.remove(name).is_some(), "{pointer}"),
            (Value::Object(fields), value) => drop(fields.insert(name.to_owned(), value.clone())),
            (Value::Array(items), Value::Null) => drop(items.remove(name.parse().unwrap())),
            (Value::Array(items), value) if name == "-" => items.push(value.clone()),
            (Value::Array(items), value) => items[name.parse::<usize>().unwrap()] = value.clone(),
            _ => panic!("{pointer}"),
        }
    }
    schema
}

fn required_without(name: &str) -> Value {
    let names = ["entry_id", "booked_on", "points", "kind", "postings"];
    json!(names.into_iter().filter(|other| *other != name).collect::<Vec<_>>())
}

fn required_with(name: &str) -> Value {
    json!(["entry_id", "booked_on", "points", "kind", "postings", name])
}

type Edit = (&'static str, Vec<(&'static str, Value)>, &'static str);

fn breaking() -> Vec<Edit> {
    vec![
        (
            "a field taken away",
            vec![("/properties/payee", Value::Null)],
            "/payee: the field is gone",
        ),
        (
            "a field given another name",
            vec![
                ("/properties/payee", Value::Null),
                ("/properties/paid_to", json!({"type": "string", "default": ""})),
            ],
            "/payee: the field is gone",
        ),
        (
            "a new field that is required",
            vec![
                ("/properties/value_on", json!({"type": "string"})),
                ("/required", required_with("value_on")),
            ],
            "/value_on: a new field is required",
        ),
        (
            "a field now required",
            vec![("/required", required_with("payee"))],
            "/payee: it is now required",
        ),
        (
            "a field no longer required",
            vec![("/required", required_without("points"))],
            "/points: it may now be missing",
        ),
        (
            "another type",
            vec![("/properties/points/type", json!("string"))],
            "/points: its type was integer and is string",
        ),
        (
            "null where it was not",
            vec![("/properties/payee/type", json!(["string", "null"]))],
            "/payee: its type was string and is null or string",
        ),
        (
            "no null where it was",
            vec![("/properties/owner/type", json!("string"))],
            "/owner: its type was null or string and is string",
        ),
        (
            "a list of one's own",
            vec![(
                "/properties/payee",
                json!({"type": "array", "items": {"type": "string"}}),
            )],
            "/payee: its type was string and is array",
        ),
        (
            "a word taken out of an enum",
            vec![("/$defs/Kind/oneOf/1", Value::Null)],
            "/kind: it no longer takes cash",
        ),
        (
            "a word added to an enum",
            vec![("/$defs/Kind/oneOf/-", json!({"type": "string", "const": "card"}))],
            "/kind: it may now be card",
        ),
        (
            "free text made an enum",
            vec![("/properties/payee/enum", json!(["a"]))],
            "/payee: it has a list of words on one side only",
        ),
        (
            "a narrower pattern",
            vec![("/properties/entry_id/pattern", json!("^ent_"))],
            "/entry_id: its pattern",
        ),
        (
            "another format",
            vec![("/properties/booked_on/format", json!("date-time"))],
            "/booked_on: its format was \"date\" and is \"date-time\"",
        ),
        (
            "no format",
            vec![("/properties/booked_on/format", Value::Null)],
            "/booked_on: its format was \"date\" and is none",
        ),
        (
            "a smaller number",
            vec![("/properties/points/format", json!("uint8"))],
            "/points: its format",
        ),
        (
            "a bound",
            vec![("/properties/points/maximum", json!(9))],
            "/points: its maximum was none and is 9",
        ),
        (
            "another default",
            vec![("/properties/payee/default", json!("?"))],
            "/payee: its default differs",
        ),
        (
            "a field in a closed object",
            vec![("/$defs/Money/properties/scale", json!({"type": "integer"}))],
            "/scale: a new field where earlier readers refuse",
        ),
        (
            "an object closed",
            vec![("/$defs/Posting/additionalProperties", json!(false))],
            "/postings/*: fields it does not know are now refused",
        ),
        (
            "a change deep inside",
            vec![("/$defs/Money/properties/amount/type", json!("number"))],
            "/postings/*/money/amount: its type was string and is number",
        ),
        (
            "another reference",
            vec![("/properties/postings/items", json!({"$ref": "#/$defs/Money"}))],
            "/postings/*/ledger_account: the field is gone",
        ),
        (
            "a variant taken away",
            vec![("/properties/entries/items/oneOf/1", Value::Null)],
            "/entries/*: one of its variants is gone",
        ),
        (
            "a variant added",
            vec![(
                "/properties/entries/items/oneOf/-",
                json!({"type": "object", "properties": {"what": {"const": "reversed"}}, "required": ["what"]}),
            )],
            "/entries/*: it has a new variant",
        ),
        (
            "what may be nothing must be something",
            vec![("/properties/reward/anyOf/1", Value::Null)],
            "/reward: one of its variants is gone",
        ),
        (
            "a keyword nobody knows",
            vec![("/properties/postings/uniqueItems", json!(true))],
            "/postings: its uniqueItems was none and is true",
        ),
        (
            "anything goes",
            vec![("/properties/payee", json!(true))],
            "/payee: it is another schema altogether",
        ),
    ]
}

#[test]
fn every_breaking_edit_of_an_event_is_named_with_its_field() {
    for (edit, edits, expected) in breaking() {
        let found = breaks(&event(), &edited(&edits), Promise::Event);
        let said: Vec<_> = found
            .iter()
            .map(|found| format!("{}: {}", found.place, found.what))
            .collect();
        assert!(said.iter().any(|line| line.contains(expected)), "{edit}: {said:?}");
    }
}

#[test]
fn a_compatible_edit_of_an_event_passes() {
    let edits: Vec<(&str, Vec<(&str, Value)>)> = vec![
        ("none", vec![]),
        (
            "a new optional field",
            vec![(
                "/properties/value_on",
                json!({"type": ["string", "null"], "format": "date"}),
            )],
        ),
        (
            "a new optional field inside",
            vec![(
                "/$defs/Posting/properties/note",
                json!({"type": "string", "default": ""}),
            )],
        ),
        (
            "a new optional field of a variant",
            vec![(
                "/properties/entries/items/oneOf/0/properties/note",
                json!({"type": "string"}),
            )],
        ),
        (
            "another description",
            vec![
                ("/description", json!("Money left the family.")),
                ("/properties/payee/description", json!("Who.")),
            ],
        ),
        (
            "other examples",
            vec![("/properties/payee/examples", json!(["Harbour fair"]))],
        ),
        (
            "words in another order",
            vec![(
                "/$defs/Kind/oneOf",
                json!([{"type": "string", "const": "cash"}, {"type": "string", "const": "bank"}]),
            )],
        ),
        (
            "an enum written otherwise",
            vec![("/$defs/Kind", json!({"type": "string", "enum": ["bank", "cash"]}))],
        ),
        (
            "fields in another order",
            vec![(
                "/required",
                json!(["postings", "kind", "points", "booked_on", "entry_id"]),
            )],
        ),
        (
            "another name of a definition",
            vec![
                ("/$defs/Amount", event()["$defs"]["Money"].clone()),
                ("/$defs/Posting/properties/money", json!({"$ref": "#/$defs/Amount"})),
            ],
        ),
        (
            "a definition written out",
            vec![("/$defs/Posting/properties/money", event()["$defs"]["Money"].clone())],
        ),
    ];
    for (edit, edits) in edits {
        assert_eq!(breaks(&event(), &edited(&edits), Promise::Event), [], "{edit}");
    }
}

#[test]
fn a_request_may_take_more_and_a_response_give_more() {
    let more_optional: &[(&str, Value)] = &[("/properties/value_on", json!({"type": "string"}))];
    let more_required: &[(&str, Value)] = &[
        ("/properties/value_on", json!({"type": "string"})),
        ("/required", required_with("value_on")),
    ];
    let less_required: &[(&str, Value)] = &[("/required", required_without("points"))];
    let gone: &[(&str, Value)] = &[("/properties/payee", Value::Null)];
    let more_words: &[(&str, Value)] = &[("/$defs/Kind/oneOf/-", json!({"type": "string", "const": "card"}))];
    let fewer_words: &[(&str, Value)] = &[("/$defs/Kind/oneOf/1", Value::Null)];
    let more_types: &[(&str, Value)] = &[("/properties/payee/type", json!(["string", "null"]))];
    let fewer_types: &[(&str, Value)] = &[("/properties/owner/type", json!("string"))];
    let longer: &[(&str, Value)] = &[("/$defs/Money/properties/amount/maxLength", json!(80))];
    let shorter: &[(&str, Value)] = &[("/$defs/Money/properties/amount/maxLength", json!(20))];
    let closed: &[(&str, Value)] = &[("/$defs/Posting/additionalProperties", json!(false))];
    // Edit, whether a request keeps its promise, whether a response does.
    for (edits, request, response) in [
        (more_optional, true, true),
        (more_required, false, true),
        (less_required, true, false),
        (gone, false, false),
        (more_words, true, true),
        (fewer_words, false, true),
        (more_types, true, false),
        (fewer_types, false, true),
        (longer, true, false),
        (shorter, false, true),
        (closed, false, true),
    ] {
        let later = edited(edits);
        assert_eq!(
            breaks(&event(), &later, Promise::Request).is_empty(),
            request,
            "request: {edits:?}"
        );
        assert_eq!(
            breaks(&event(), &later, Promise::Response).is_empty(),
            response,
            "response: {edits:?}"
        );
    }
}

#[test]
fn schemas_that_refer_in_circles_come_to_an_end() {
    let circle = |kind: &str| json!({"$ref": "#/$defs/Node", "$defs": {"Node": {"type": kind, "properties": {"next": {"$ref": "#/$defs/Node"}}}}});
    assert_eq!(breaks(&circle("object"), &circle("object"), Promise::Event), []);
    assert!(!breaks(&circle("object"), &circle("array"), Promise::Event).is_empty());
    let nowhere = json!({"$ref": "#/$defs/Missing"});
    assert_eq!(breaks(&nowhere, &nowhere, Promise::Event), []);
}
