//! For programs: one object, a list for each section.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::Value;

use super::form::{Form, Section};

/// The version of the form.
pub(super) const FORMAT: &str = "kinledger-person/1";

#[derive(Default)]
pub(super) struct Json {
    is_in_section: bool,
    has_rows: bool,
}

impl Json {
    fn ended(&mut self) -> &'static str {
        if std::mem::take(&mut self.is_in_section) {
            "]"
        } else {
            ""
        }
    }
}

impl Form for Json {
    fn name(&self) -> &'static str {
        "json"
    }

    fn content_type(&self) -> &'static str {
        "application/json"
    }

    fn begin(&mut self, made_at: DateTime<Utc>) -> String {
        let made_at = made_at.to_rfc3339_opts(SecondsFormat::Micros, true);
        format!(r#"{{"format":"{FORMAT}","made_at":"{made_at}""#)
    }

    fn section(&mut self, section: &'static Section) -> String {
        let begun = format!("{},\n\"{}\":[", self.ended(), section.name);
        (self.is_in_section, self.has_rows) = (true, false);
        begun
    }

    fn group(&mut self, _: &str) -> String {
        String::new()
    }

    fn row(&mut self, row: &Value) -> String {
        let comma = if std::mem::replace(&mut self.has_rows, true) {
            ","
        } else {
            ""
        };
        format!("{comma}\n{row}")
    }

    fn end(&mut self) -> String {
        format!("{},\n\"complete\":true}}\n", self.ended())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    static FIRST: Section = Section {
        name: "first",
        heading: "First",
        columns: &[],
    };
    static SECOND: Section = Section {
        name: "second",
        heading: "Second",
        columns: &[],
    };

    #[test]
    fn it_is_one_object_whatever_the_rows_hold_and_says_at_its_end_that_it_is_whole() {
        let mut form = Json::default();
        let mut text = form.begin(DateTime::UNIX_EPOCH);
        text += &form.section(&FIRST);
        text += &form.section(&SECOND);
        text += &form.group("a heading");
        text += &form.row(&json!({"text": "</script>\"\n"}));
        text += &form.row(&json!({"text": "two"}));
        text += &form.end();
        let read: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read["format"], FORMAT);
        assert_eq!(read["first"], json!([]));
        assert_eq!(read["second"], json!([{"text": "</script>\"\n"}, {"text": "two"}]));
        assert_eq!(read["complete"], true);
    }
}
