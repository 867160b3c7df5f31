//! For people: one page that needs nothing else, runs nothing, and can be printed.
//!
//! Everything that comes from data is escaped in one place, [`escaped`]. The page's own policy lets it load nothing and names its
//! one style by hash, so it looks and behaves the same from a disk and from a server that sends a policy of its own.

use std::fmt::Write;

use base64::{Engine, prelude::BASE64_STANDARD};
use chrono::{DateTime, Utc};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::form::{Form, Section};

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#1b1b1b;\
                     background:#fff}h2{margin-top:2.5rem;border-bottom:1px solid #999}table{border-collapse:collapse;width:100%}\
                     th,td{text-align:left;vertical-align:top;padding:.35rem .6rem;border-bottom:1px solid #ddd;\
                     overflow-wrap:anywhere}th{background:#f2f2f2}\
                     @media print{body{margin:0;max-width:none;font-size:11px}tr{break-inside:avoid}thead{display:table-header-group}}";

#[derive(Default)]
pub(super) struct Html {
    section: Option<&'static Section>,
    is_in_table: bool,
    has_rows: bool,
    rows: u64,
}

impl Html {
    fn table_ended(&mut self) -> &'static str {
        if std::mem::take(&mut self.is_in_table) {
            "</tbody></table>\n"
        } else {
            ""
        }
    }

    fn section_ended(&mut self) -> String {
        let table = self.table_ended();
        match (self.section.take(), self.has_rows) {
            (None, _) => String::new(),
            (Some(_), true) => format!("{table}</section>\n"),
            (Some(_), false) => "<p>Nothing is kept.</p>\n</section>\n".to_owned(),
        }
    }
}

impl Form for Html {
    fn name(&self) -> &'static str {
        "html"
    }

    fn content_type(&self) -> &'static str {
        "text/html; charset=utf-8"
    }

    fn begin(&mut self, made_at: DateTime<Utc>) -> String {
        let hash = BASE64_STANDARD.encode(Sha256::digest(STYLE));
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'sha256-{hash}'; \
             base-uri 'none'; form-action 'none'\">\n<meta name=\"viewport\" content=\"width=device-width\">\n\
             <title>What Kinledger keeps about a person</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
             <h1>What Kinledger keeps about you</h1>\n<p>Written on {}. Passwords, codes and keys are kept as hashes or sealed and \
             are not shown; that they are there is.</p>\n",
            moment(made_at)
        )
    }

    fn section(&mut self, section: &'static Section) -> String {
        let ended = self.section_ended();
        self.section = Some(section);
        self.has_rows = false;
        format!("{ended}<section>\n<h2>{}</h2>\n", escaped(section.heading))
    }

    fn group(&mut self, heading: &str) -> String {
        format!("{}<h3>{}</h3>\n", self.table_ended(), escaped(heading))
    }

    fn row(&mut self, row: &Value) -> String {
        let columns = self.section.map_or(&[][..], |section| section.columns);
        let mut text = String::new();
        if !std::mem::replace(&mut self.is_in_table, true) {
            text.push_str("<table>\n<thead><tr>");
            for column in columns {
                text.push_str(&format!("<th scope=\"col\">{}</th>", escaped(&words(column))));
            }
            text.push_str("</tr></thead>\n<tbody>\n");
        }
        self.has_rows = true;
        self.rows += 1;
        text.push_str("<tr>");
        for column in columns {
            text.push_str(&format!("<td>{}</td>", escaped(&said(&row[*column]))));
        }
        text.push_str("</tr>\n");
        text
    }

    fn end(&mut self) -> String {
        let ended = self.section_ended();
        format!(
            "{ended}<p>This is the end; it is whole. Rows: {}.</p>\n</body>\n</html>\n",
            self.rows
        )
    }
}

/// Text as a page shows it and never runs it, in elements and in quoted attributes.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // What would turn the reading direction of the rest of the page around is shown as what it is.
            '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' => escaped.push('\u{FFFD}'),
            c if c.is_control() && c != '\n' => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

/// `display_name` as words, and `MemberAdded` too.
fn words(name: &str) -> String {
    let mut words = String::new();
    for c in name.chars() {
        if c == '_' || c == '-' {
            words.push(' ');
        } else if c.is_uppercase() && !words.is_empty() {
            words.push(' ');
            words.extend(c.to_lowercase());
        } else if words.is_empty() {
            words.extend(c.to_uppercase());
        } else {
            words.push(c);
        }
    }
    words
}

fn moment(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// A value in words: money with its currency, moments without fractions, lists and objects in one line.
fn said(value: &Value) -> String {
    match value {
        Value::Null => "–".to_owned(),
        Value::Bool(is_so) => if *is_so { "yes" } else { "no" }.to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => match DateTime::parse_from_rfc3339(text) {
            Ok(at) => moment(at.with_timezone(&Utc)),
            Err(_) => text.clone(),
        },
        Value::Array(values) => values.iter().map(said).collect::<Vec<_>>().join(", "),
        Value::Object(fields) => match (fields.len(), fields.get("amount"), fields.get("currency")) {
            (2, Some(Value::String(amount)), Some(Value::String(currency))) => format!("{amount} {currency}"),
            _ => {
                let mut text = String::new();
                for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
                    let separator = if text.is_empty() { "" } else { "; " };
                    let _ = write!(text, "{separator}{}: {}", words(name), said(value));
                }
                text
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    static THINGS: Section = Section {
        name: "things",
        heading: "Things",
        columns: &["display_name", "money", "at"],
    };

    fn page(row: &Value) -> String {
        let mut form = Html::default();
        let mut text = form.begin(DateTime::UNIX_EPOCH);
        text += &form.section(&THINGS);
        text += &form.group("<b>Family</b>");
        text += &form.row(row);
        text += &form.end();
        text
    }

    #[test]
    fn whatever_data_hold_is_text_on_the_page() {
        let nasty = "<script>alert(1)</script><img src=x onerror=\"alert('2')\">&lt;\u{202E}";
        let text = page(
            &json!({"display_name": nasty, "money": {"amount": nasty, "currency": nasty}, "at": {nasty: [nasty]}}),
        );
        for active in ["<script", "<img", "onerror=\"", "<b>", "\u{202E}"] {
            assert!(!text.contains(active), "{active}: {text}");
        }
        assert_eq!(
            text.matches("&lt;script&gt;alert(1)&lt;/script&gt;").count(),
            5,
            "{text}"
        );
        assert!(text.contains("&amp;lt;") && text.contains("&quot;alert(&#39;2&#39;)&quot;"));
    }

    #[test]
    fn money_moments_and_names_are_written_for_people() {
        let text = page(&json!({
            "display_name": null,
            "money": {"amount": "12.50", "currency": "EUR"},
            "at": "2026-11-21T17:03:04.567890Z",
        }));
        assert!(text.contains("<th scope=\"col\">Display name</th>"), "{text}");
        assert!(
            text.contains("<td>–</td><td>12.50 EUR</td><td>2026-11-21 17:03:04 UTC</td>"),
            "{text}"
        );
        assert_eq!(words("MemberRoleChanged"), "Member role changed");
    }

    #[test]
    fn it_loads_nothing_and_its_style_is_the_one_its_policy_names() {
        let text = page(&json!({}));
        for outside in ["http://", "https://", "src=", "href=", "<link", "@import", "url("] {
            assert!(!text.contains(outside), "{outside}");
        }
        let (_, rest) = text.split_once("<style>").unwrap();
        let (style, _) = rest.split_once("</style>").unwrap();
        assert!(text.contains(&BASE64_STANDARD.encode(Sha256::digest(style))));
        assert!(text.ends_with("Rows: 1.</p>\n</body>\n</html>\n"));
    }
}
