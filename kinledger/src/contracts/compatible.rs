//! Would a reader or writer of the earlier schema be hurt by the later one?
//!
//! A schema is a promise to somebody, and who that is decides what may change:
//!
//! | | who is on the other side | may change |
//! |---|---|---|
//! | event | every reader and every log, older and newer than this release | only: one more optional field, where fields are open |
//! | request | clients of the earlier release, who send what it took | whatever takes at least as much |
//! | response | clients of the earlier release, who read what it gave | whatever gives at least as much; new fields and new words are theirs to pass over |
//!
//! Descriptions, examples and the order of things are free. A keyword this file does not know counts as a break when it
//! differs: better one question too many.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// Whose promise a schema is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// An event's payload.
    Event,
    /// What a client sends.
    Request,
    /// What a client gets.
    Response,
}

/// One thing that would hurt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Break {
    /// Where in the JSON: `/postings/*/money`.
    pub place: String,
    /// What happened to it.
    pub what: String,
}

/// Says nothing about which values are taken.
const ANNOTATIONS: &[&str] = &[
    "$schema",
    "$defs",
    "$comment",
    "title",
    "description",
    "examples",
    "example",
    "deprecated",
    // Whose a text is says nothing of which texts there may be.
    "x-personal",
    "components",
];

/// Looked at by rules of their own.
const RULED: &[&str] = &[
    "$ref",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "type",
    "enum",
    "const",
    "oneOf",
    "anyOf",
    "default",
];

/// Schemas this deep are none of ours; the bound ends references in a circle.
const DEPTH_MAX: usize = 24;

/// Every break between two schemas. `earlier` and `later` are whole documents: their `$ref`s lead into themselves.
pub fn breaks(earlier: &Value, later: &Value, promise: Promise) -> Vec<Break> {
    let mut comparison = Comparison {
        roots: (earlier, later),
        promise,
        found: Vec::new(),
    };
    comparison.schema(earlier, later, "", 0);
    comparison.found
}

/// As [`breaks`], for two places within larger documents.
pub fn breaks_within(roots: (&Value, &Value), earlier: &Value, later: &Value, promise: Promise) -> Vec<Break> {
    let mut comparison = Comparison {
        roots,
        promise,
        found: Vec::new(),
    };
    comparison.schema(earlier, later, "", 0);
    comparison.found
}

struct Comparison<'a> {
    roots: (&'a Value, &'a Value),
    promise: Promise,
    found: Vec<Break>,
}

impl<'a> Comparison<'a> {
    fn found(&mut self, place: &str, what: impl Into<String>) {
        let place = if place.is_empty() { "/" } else { place };
        self.found.push(Break {
            place: place.to_owned(),
            what: what.into(),
        });
    }

    fn schema(&mut self, earlier: &'a Value, later: &'a Value, place: &str, depth: usize) {
        let earlier = resolved(self.roots.0, earlier);
        let later = resolved(self.roots.1, later);
        if depth > DEPTH_MAX || same(earlier, later) {
            return;
        }
        let (Some(old), Some(new)) = (as_keywords(earlier), as_keywords(later)) else {
            let takes_all = |schema: &Value| *schema == Value::Bool(true);
            let is_fine = match self.promise {
                Promise::Request => takes_all(later),
                Promise::Response => takes_all(earlier),
                Promise::Event => false,
            };
            if !is_fine {
                self.found(place, "it is another schema altogether");
            }
            return;
        };
        self.types(old, new, place);
        self.words(old, new, place);
        self.fields(old, new, place, depth);
        self.items(old, new, place, depth);
        self.variants(old, new, place, depth);
        if self.promise == Promise::Event && old.get("default") != new.get("default") {
            self.found(
                place,
                "its default differs, so events that leave it out would say something else",
            );
        }
        self.bounds(old, new, place);
    }

    fn types(&mut self, old: &Map<String, Value>, new: &Map<String, Value>, place: &str) {
        let (before, after) = (types_of(old), types_of(new));
        let is_fine = match (&before, &after) {
            (a, b) if a == b => true,
            (_, None) => self.promise == Promise::Request,
            (None, _) => self.promise == Promise::Response,
            (Some(before), Some(after)) => self.is_fine(before, after),
        };
        if !is_fine {
            let said = |names: &Option<BTreeSet<String>>| match names {
                Some(names) => names.iter().cloned().collect::<Vec<_>>().join(" or "),
                None => "anything".to_owned(),
            };
            self.found(place, format!("its type was {} and is {}", said(&before), said(&after)));
        }
    }

    /// The words of an enum, however it is written: `enum`, or one `const` per variant.
    fn words(&mut self, old: &Map<String, Value>, new: &Map<String, Value>, place: &str) {
        let (before, after) = (words_of(old), words_of(new));
        if before == after {
            return;
        }
        let (Some(before), Some(after)) = (before, after) else {
            let is_fine = match self.promise {
                Promise::Request => words_of(new).is_none() && new.get("oneOf").is_none(),
                Promise::Response => words_of(old).is_none() && old.get("oneOf").is_none(),
                Promise::Event => false,
            };
            if !is_fine {
                self.found(place, "it has a list of words on one side only");
            }
            return;
        };
        let listed = |words: Vec<&String>| words.into_iter().cloned().collect::<Vec<_>>().join(", ");
        let gone: Vec<_> = before.difference(&after).collect();
        let added: Vec<_> = after.difference(&before).collect();
        // A word that a response no longer says hurts nobody who knew it.
        if !gone.is_empty() && self.promise != Promise::Response {
            self.found(place, format!("it no longer takes {}", listed(gone)));
        }
        if !added.is_empty() && self.promise == Promise::Event {
            self.found(
                place,
                format!("it may now be {}, which earlier readers refuse", listed(added)),
            );
        }
    }

    fn fields(&mut self, old: &'a Map<String, Value>, new: &'a Map<String, Value>, place: &str, depth: usize) {
        let none = Map::new();
        let before = old.get("properties").and_then(Value::as_object);
        let after = new.get("properties").and_then(Value::as_object);
        let was_required = names(old.get("required")).unwrap_or_default();
        let is_required = names(new.get("required")).unwrap_or_default();
        let (was_closed, is_closed) = (is_closed(old), is_closed(new));
        for (name, earlier) in before.into_iter().flatten() {
            let at = format!("{place}/{name}");
            match after.and_then(|after| after.get(name)) {
                Some(later) => self.schema(earlier, later, &at, depth + 1),
                None => self.found(&at, "the field is gone"),
            }
            if after.is_none_or(|after| !after.contains_key(name)) {
                continue;
            }
            match (was_required.contains(name), is_required.contains(name)) {
                (true, false) if self.promise != Promise::Request => {
                    self.found(&at, "it may now be missing, and earlier readers need it");
                }
                (false, true) if self.promise != Promise::Response => {
                    self.found(&at, "it is now required, and earlier writers may leave it out");
                }
                _ => {}
            }
        }
        for name in after.unwrap_or(&none).keys() {
            if before.is_some_and(|before| before.contains_key(name)) {
                continue;
            }
            let at = format!("{place}/{name}");
            if is_required.contains(name) && self.promise != Promise::Response {
                self.found(&at, "a new field is required, and earlier writers do not know it");
            } else if was_closed && self.promise == Promise::Event {
                self.found(&at, "a new field where earlier readers refuse fields they do not know");
            }
        }
        if !was_closed && is_closed && self.promise != Promise::Response {
            self.found(place, "fields it does not know are now refused");
        }
        let value_of = |schema: &'a Map<String, Value>| schema.get("additionalProperties").filter(|v| v.is_object());
        match (value_of(old), value_of(new)) {
            (Some(earlier), Some(later)) => self.schema(earlier, later, &format!("{place}/*"), depth + 1),
            (Some(_), None) | (None, Some(_)) if !was_closed && !is_closed => {
                self.found(place, "the values of its free fields have another schema");
            }
            _ => {}
        }
    }

    fn items(&mut self, old: &'a Map<String, Value>, new: &'a Map<String, Value>, place: &str, depth: usize) {
        match (old.get("items"), new.get("items")) {
            (Some(earlier), Some(later)) => self.schema(earlier, later, &format!("{place}/*"), depth + 1),
            (None, None) => {}
            (Some(_), None) if self.promise == Promise::Request => {}
            (None, Some(_)) if self.promise == Promise::Response => {}
            _ => self.found(place, "its items have a schema on one side only"),
        }
    }

    /// Every variant of before must still be taken, and an event has no new ones; every variant that a response gives now it
    /// must have given before.
    fn variants(&mut self, old: &'a Map<String, Value>, new: &'a Map<String, Value>, place: &str, depth: usize) {
        // Lists of words are compared as words.
        if words_of(old).is_some() || words_of(new).is_some() {
            return;
        }
        for keyword in ["oneOf", "anyOf"] {
            let (before, after) = (list(old.get(keyword)), list(new.get(keyword)));
            let of_before = |(earlier, later)| (earlier, later);
            let of_after = |(later, earlier)| (earlier, later);
            let unmet = if self.promise == Promise::Response {
                self.unmet(after, before, of_after, place, depth)
            } else {
                self.unmet(before, after, of_before, place, depth)
            };
            if let Some(nearest) = unmet {
                let what = match self.promise {
                    Promise::Response => "one of its variants is new or differs",
                    _ => "one of its variants is gone or differs",
                };
                self.found(place, what);
                self.found.extend(nearest);
            } else if self.promise == Promise::Event && self.unmet(after, before, of_after, place, depth).is_some() {
                self.found(place, "it has a new variant, which earlier readers refuse");
            }
        }
    }

    /// The first of `each` that is compatible with none of `among`: how it differs from the nearest one.
    fn unmet(
        &self,
        each: &'a [Value],
        among: &'a [Value],
        in_order: impl Fn((&'a Value, &'a Value)) -> (&'a Value, &'a Value),
        place: &str,
        depth: usize,
    ) -> Option<Vec<Break>> {
        each.iter().find_map(|one| {
            let mut nearest: Option<Vec<Break>> = None;
            for other in among {
                let mut inner = Comparison {
                    roots: self.roots,
                    promise: self.promise,
                    found: Vec::new(),
                };
                let (earlier, later) = in_order((one, other));
                inner.schema(earlier, later, place, depth + 1);
                if inner.found.is_empty() {
                    return None;
                }
                if nearest.as_ref().is_none_or(|nearest| inner.found.len() < nearest.len()) {
                    nearest = Some(inner.found);
                }
            }
            Some(nearest.unwrap_or_default())
        })
    }

    /// `pattern`, `format`, `maxLength` and whatever else says which values are taken.
    fn bounds(&mut self, old: &Map<String, Value>, new: &Map<String, Value>, place: &str) {
        let keywords: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        for keyword in keywords {
            if ANNOTATIONS.contains(&keyword.as_str()) || RULED.contains(&keyword.as_str()) {
                continue;
            }
            let (before, after) = (old.get(keyword), new.get(keyword));
            if before == after || self.is_looser(keyword, before, after) {
                continue;
            }
            let said = |value: Option<&Value>| value.map_or_else(|| "none".to_owned(), Value::to_string);
            self.found(
                place,
                format!("its {keyword} was {} and is {}", said(before), said(after)),
            );
        }
    }

    /// Does the change of a bound go the way that hurts nobody?
    fn is_looser(&self, keyword: &str, before: Option<&Value>, after: Option<&Value>) -> bool {
        // From the side of who must take what the other sends.
        let (narrow, wide) = match self.promise {
            Promise::Event => return false,
            Promise::Request => (before, after),
            Promise::Response => (after, before),
        };
        let (Some(narrow), Some(wide)) = (narrow, wide) else {
            return wide.is_none();
        };
        match (narrow.as_f64(), wide.as_f64()) {
            (Some(narrow), Some(wide)) if keyword.starts_with("max") => narrow <= wide,
            (Some(narrow), Some(wide)) if keyword.starts_with("min") => narrow >= wide,
            _ => false,
        }
    }

    fn is_fine(&self, before: &BTreeSet<String>, after: &BTreeSet<String>) -> bool {
        match self.promise {
            Promise::Event => before == after,
            Promise::Request => after.is_superset(before),
            Promise::Response => after.is_subset(before),
        }
    }
}

/// Follows a reference within its document.
fn resolved<'a>(root: &'a Value, mut schema: &'a Value) -> &'a Value {
    for _ in 0..DEPTH_MAX {
        let target = schema.get("$ref").and_then(Value::as_str);
        let Some(found) = target.and_then(|target| root.pointer(target.trim_start_matches('#'))) else {
            break;
        };
        schema = found;
    }
    schema
}

/// The same text, and nothing in it that leads elsewhere.
fn same(earlier: &Value, later: &Value) -> bool {
    earlier == later && !earlier.to_string().contains("\"$ref\"")
}

fn as_keywords(schema: &Value) -> Option<&Map<String, Value>> {
    schema.as_object()
}

fn is_closed(schema: &Map<String, Value>) -> bool {
    schema.get("additionalProperties") == Some(&Value::Bool(false))
}

fn list(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// One name or a list of them.
fn names(value: Option<&Value>) -> Option<BTreeSet<String>> {
    match value? {
        Value::String(name) => Some(BTreeSet::from([name.clone()])),
        Value::Array(names) => Some(names.iter().filter_map(Value::as_str).map(str::to_owned).collect()),
        _ => None,
    }
}

/// The types a schema takes. A list of words is text, whether its schema says so once or per word.
fn types_of(schema: &Map<String, Value>) -> Option<BTreeSet<String>> {
    let said = names(schema.get("type"));
    said.or_else(|| words_of(schema).map(|_| BTreeSet::from(["string".to_owned()])))
}

/// The words a schema takes, when it takes words alone.
fn words_of(schema: &Map<String, Value>) -> Option<BTreeSet<String>> {
    let word = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    if let Some(constant) = schema.get("const") {
        return Some(BTreeSet::from([word(constant)]));
    }
    if let Some(words) = schema.get("enum").and_then(Value::as_array) {
        return Some(words.iter().map(word).collect());
    }
    let variants = list(schema.get("oneOf"));
    if variants.is_empty() {
        return None;
    }
    let mut words = BTreeSet::new();
    for variant in variants {
        let variant = variant.as_object()?;
        if variant.contains_key("properties") || variant.contains_key("$ref") {
            return None;
        }
        words.extend(words_of(variant)?);
    }
    Some(words)
}

#[cfg(test)]
#[path = "compatible_tests.rs"]
mod tests;
