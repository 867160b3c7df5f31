//! JSON that is sound but for something in it.

use rand::{Rng, seq::IndexedRandom};
use serde_json::{Value, json};

use super::generate::{DAYS, Generator, IDS};

const AMOUNTS: &[&str] = &[
    "1e5",
    "-1",
    "0",
    "1.234",
    "99999999999999999999999999999",
    " 1",
    "NaN",
    "\u{663}",
    "1,5",
    "",
    ".",
    "1.",
    "+",
    "--1",
    "0x1",
    "1000000000001",
    "1_000",
];
const CURRENCIES: &[&str] = &["XXX", "eur", "", "€", "EURO", "XAU", "JPY", "\u{0}"];

impl Generator<'_> {
    /// JSON with something in it that does not belong there.
    pub fn odd_json(&mut self, sound: &[u8]) -> Vec<u8> {
        let Ok(mut value) = serde_json::from_slice::<Value>(sound) else {
            return self.odd_bytes(sound);
        };
        if self.random.random_range(0..8) == 0 {
            let text = value.to_string();
            // Twice the same key: the second one says otherwise.
            return text
                .replacen('{', "{\"name\":1,\"account_id\":null,\"name\":2,\"account_id\":3,", 1)
                .into_bytes();
        }
        let places = count(&value);
        let at = self.random.random_range(0..places.max(1));
        let wrong = self.wrong_value();
        replace(&mut value, &mut { at }, &wrong);
        if let Some(object) = value.as_object_mut().filter(|_| self.random.random_range(0..6) == 0) {
            object.insert(self.pick(&["extra", "", "__proto__", "type", "\u{0}"]), wrong);
        }
        let raw = [
            "NaN",
            "Infinity",
            "1e999",
            "-0",
            "\"\\ud800\"",
            "\"\\u0000\"",
            "0123",
            "'x'",
            "undefined",
            "123456789012345678901234567890",
        ];
        let raw = raw.choose(&mut self.random).copied().unwrap_or_default();
        value.to_string().replace("\"RAW\"", raw).into_bytes()
    }

    fn wrong_value(&mut self) -> Value {
        let money = |amount: &str, currency: &str| json!({"amount": amount, "currency": currency});
        match self.random.random_range(0..14) {
            0 => Value::Null,
            1 => json!(-1),
            2 => json!(1.5e300),
            3 => json!(true),
            4 => json!([]),
            5 => json!({}),
            6 => json!("RAW"),
            7 => json!("y".repeat(10_000)),
            8 => money(&self.pick(AMOUNTS), "EUR"),
            9 => money("1", &self.pick(CURRENCIES)),
            10 => json!(self.pick(DAYS)),
            11 => json!(self.pick(IDS)),
            12 => json!("line\nbreak\t\u{7}\u{202e}\u{0}"),
            _ => json!(u64::MAX),
        }
    }
}

/// Values in a document, itself included.
fn count(value: &Value) -> usize {
    1 + match value {
        Value::Object(object) => object.values().map(count).sum(),
        Value::Array(items) => items.iter().map(count).sum::<usize>(),
        _ => 0,
    }
}

/// Puts `wrong` in the place of the value with this number.
fn replace(value: &mut Value, at: &mut usize, wrong: &Value) {
    if *at == 0 {
        *value = wrong.clone();
        *at = usize::MAX;
        return;
    }
    *at -= 1;
    let inner: Vec<&mut Value> = match value {
        Value::Object(object) => object.values_mut().collect(),
        Value::Array(items) => items.iter_mut().collect(),
        _ => Vec::new(),
    };
    for value in inner {
        replace(value, at, wrong);
    }
}
