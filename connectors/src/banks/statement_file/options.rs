//! What a person may say about a file that the file does not say itself.

use domain::{
    Currency,
    parsing::{is_way, without_values},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the file does not say by itself. Everything is optional; what the file states wins over `currency`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// The currency of amounts for which the file names none, as an ISO 4217 code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub currency: Option<Currency>,
    /// How to read a CSV file, where it cannot be told from its contents.
    pub csv: CsvOptions,
}

/// How to read a CSV file. What is left out is told from the contents.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CsvOptions {
    /// What separates the cells: one ASCII character, or the word `tab`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 3))]
    pub delimiter: Option<String>,
    /// The order of day, month and year, written as an example of it: `DD/MM/YYYY`, `MM/DD/YY`, `YYYY-MM-DD`,
    /// `%d.%m.%Y`. Only the order counts; any separator and two or four digits of the year are read.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 20))]
    pub date_format: Option<String>,
    /// The mark before the decimals; the other one groups digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decimal: Option<DecimalMark>,
    /// The character encoding by its WHATWG label: `utf-8`, `windows-1252`, `iso-8859-2`. A byte order mark wins over
    /// it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40))]
    pub encoding: Option<String>,
    /// Which column holds what.
    pub columns: CsvColumns,
    /// Turns every amount and balance round: for card exports that count spending as positive.
    pub invert_sign: bool,
    /// Lines to skip before anything else is looked at.
    pub skip_lines: usize,
}

/// The mark between whole units and decimals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DecimalMark {
    /// `1.234,56`
    Comma,
    /// `1,234.56`
    Point,
}

/// Which column holds what: each by its heading (case and accents do not matter) or by its number, counted from 1. A
/// column that is left out is looked for by its usual headings; an empty text means that the file has no such column.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CsvColumns {
    /// Booking date.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub booked_on: Option<String>,
    /// Value date.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value_on: Option<String>,
    /// Signed amount.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount: Option<String>,
    /// Money out, where it has a column of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub debit: Option<String>,
    /// Money in, where it has a column of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credit: Option<String>,
    /// A fee that comes off besides the amount. Never looked for by itself: most files have it in the amount already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fee: Option<String>,
    /// The balance after the row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub balance: Option<String>,
    /// ISO 4217 code of the amount.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
    /// Debit or credit as a word, where the amount has no sign.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub direction: Option<String>,
    /// The other party; the creditor, where the debtor has a column of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counterparty: Option<String>,
    /// Who pays, where creditor and debtor have a column each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub debtor: Option<String>,
    /// Remittance information.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remittance: Option<String>,
    /// The bank's reference of the row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// The file's own category.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    /// The family's own account, where one file holds several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bank_account: Option<String>,
    /// Booked or pending.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
}

/// An option that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("option '{name}': {problem}")]
pub struct OptionError {
    /// The option, dotted: `csv.date_format`.
    pub name: String,
    /// What is wrong with it.
    pub problem: String,
}

impl Options {
    /// Reads options as a query string or a command line has them: `currency=EUR`, `csv.delimiter=;`,
    /// `csv.columns.amount=Betrag`.
    ///
    /// # Errors
    /// [`OptionError`] for a name that is none and a value that does not fit.
    pub fn from_pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, OptionError> {
        let mut options = Self::default();
        for (name, text) in pairs {
            options = options.with(name, text)?;
        }
        Ok(options)
    }

    /// The same options with one more set, by its dotted name.
    fn with(self, name: &str, text: &str) -> Result<Self, OptionError> {
        let wrong = |problem: String| OptionError {
            // What does not read like an option may be anything that somebody has pasted there.
            name: if is_way(name) { name.to_owned() } else { "?".to_owned() },
            problem,
        };
        let value = match name {
            "csv.invert_sign" => {
                serde_json::Value::Bool(text.parse().map_err(|_| wrong("'true' or 'false' is wanted".into()))?)
            }
            "csv.skip_lines" => text
                .parse::<u32>()
                .map_err(|_| wrong("a whole number is wanted".into()))?
                .into(),
            _ => text.into(),
        };
        let mut whole = serde_json::to_value(self).map_err(|error| wrong(error.to_string()))?;
        let mut place = &mut whole;
        for key in name.split('.') {
            let object = place
                .as_object_mut()
                .ok_or_else(|| wrong("there is no such option".into()))?;
            place = object.entry(key).or_insert(serde_json::Value::Null);
        }
        if place.is_object() {
            return Err(wrong("it is a group of options".into()));
        }
        *place = value;
        serde_json::from_value(whole).map_err(|error| wrong(without_values(&error.to_string())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_read_from_json_and_from_pairs() {
        let pairs = [
            ("currency", "EUR"),
            ("csv.delimiter", "tab"),
            ("csv.skip_lines", "3"),
            ("csv.columns.amount", "4"),
        ];
        let json = r#"{"currency":"EUR","csv":{"delimiter":"tab","skip_lines":3,"columns":{"amount":"4"}}}"#;
        assert_eq!(Options::from_pairs(pairs).ok(), serde_json::from_str(json).ok());
        assert_eq!(Options::from_pairs([]), Ok(Options::default()));
    }

    #[test]
    fn an_option_that_is_none_is_refused_by_name() {
        let wrong = [
            ("colour", "red"),
            ("csv", "x"),
            ("csv.skip_lines", "-1"),
            ("csv.columns.amount.more", "x"),
            ("currency", "euro"),
        ];
        for (name, text) in wrong {
            assert_eq!(
                Options::from_pairs([(name, text)]).map_err(|error| error.name),
                Err(name.to_owned()),
                "{name}"
            );
        }
    }

    #[test]
    fn every_option_has_its_description() {
        let schema = serde_json::to_value(schemars::schema_for!(Options)).expect("json");
        let groups = [
            &schema["properties"],
            &schema["$defs"]["CsvOptions"]["properties"],
            &schema["$defs"]["CsvColumns"]["properties"],
        ];
        for (name, property) in groups.into_iter().filter_map(|group| group.as_object()).flatten() {
            assert!(property["description"].is_string(), "{name}");
        }
    }
}
