//! Rows on their way into a table by COPY, in its text format.
//!
//! A table takes rows so several times faster than by statements, as long as it has no keys and no policies yet: that is how
//! a rebuild fills the large ones. What is written here is bounded by the caller, who sends it after every few thousand events.

use std::{collections::BTreeMap, fmt::Write};

use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};
use rust_decimal::Decimal;
use sqlx::PgConnection;
use uuid::Uuid;

/// A table, and the columns a projection gives, in the order it gives them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Columns {
    /// The table.
    pub table: &'static str,
    /// Column names, separated by commas.
    pub names: &'static str,
}

/// Rows of several tables.
#[derive(Debug, Default)]
pub struct Copies {
    rows: BTreeMap<Columns, String>,
}

impl Copies {
    /// The rows of one table.
    pub fn rows_of(&mut self, columns: Columns) -> Rows<'_> {
        Rows {
            text: self.rows.entry(columns).or_default(),
        }
    }

    /// Sends everything to the tables that the transaction finds; nothing is left behind.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn send(&mut self, tx: &mut PgConnection) -> Result<(), sqlx::Error> {
        for (columns, text) in &mut self.rows {
            if text.is_empty() {
                continue;
            }
            let statement = format!("copy {} ({}) from stdin", columns.table, columns.names);
            let mut copy = tx.copy_in_raw(&statement).await?;
            copy.send(text.as_bytes()).await?;
            copy.finish().await?;
            text.clear();
        }
        Ok(())
    }
}

/// Rows of one table, value by value; each ends with [`Rows::end`].
pub struct Rows<'a> {
    text: &'a mut String,
}

impl Rows<'_> {
    /// An id.
    pub fn id(&mut self, value: Uuid) -> &mut Self {
        self.plain(value)
    }

    /// An id, or nothing.
    pub fn maybe_id(&mut self, value: Option<Uuid>) -> &mut Self {
        self.maybe(value)
    }

    /// A number.
    pub fn number(&mut self, value: i64) -> &mut Self {
        self.plain(value)
    }

    /// A number, or nothing.
    pub fn maybe_number(&mut self, value: Option<i64>) -> &mut Self {
        self.maybe(value)
    }

    /// An exact amount.
    pub fn amount(&mut self, value: Decimal) -> &mut Self {
        self.plain(value)
    }

    /// An exact amount, or nothing.
    pub fn maybe_amount(&mut self, value: Option<Decimal>) -> &mut Self {
        self.maybe(value)
    }

    /// A day.
    pub fn day(&mut self, value: NaiveDate) -> &mut Self {
        self.plain(value)
    }

    /// A day that may be missing.
    pub fn maybe_day(&mut self, value: Option<NaiveDate>) -> &mut Self {
        self.maybe(value)
    }

    /// An instant, to the microsecond as the database keeps it.
    pub fn instant(&mut self, value: DateTime<Utc>) -> &mut Self {
        self.plain(value.to_rfc3339_opts(SecondsFormat::Micros, true))
    }

    /// Yes or no.
    pub fn flag(&mut self, value: bool) -> &mut Self {
        self.plain(value)
    }

    /// Text of any kind.
    pub fn text(&mut self, value: &str) -> &mut Self {
        for character in value.chars() {
            match character {
                '\\' => self.text.push_str("\\\\"),
                '\n' => self.text.push_str("\\n"),
                '\r' => self.text.push_str("\\r"),
                '\t' => self.text.push_str("\\t"),
                other => self.text.push(other),
            }
        }
        self.text.push('\t');
        self
    }

    /// Text, or nothing.
    pub fn maybe_text(&mut self, value: Option<&str>) -> &mut Self {
        match value {
            Some(value) => self.text(value),
            None => self.plain("\\N"),
        }
    }

    /// The end of a row.
    pub fn end(&mut self) {
        // The last value has put its separator.
        self.text.pop();
        self.text.push('\n');
    }

    fn maybe(&mut self, value: Option<impl std::fmt::Display>) -> &mut Self {
        match value {
            Some(value) => self.plain(value),
            None => self.plain("\\N"),
        }
    }

    /// What needs no escaping.
    fn plain(&mut self, value: impl std::fmt::Display) -> &mut Self {
        // Writing to a string cannot fail.
        write!(self.text, "{value}\t").unwrap_or_default();
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_separates_rows_and_columns_is_escaped_and_nothing_is_told_from_empty() {
        let mut copies = Copies::default();
        let columns = Columns {
            table: "t",
            names: "a, b, c",
        };
        copies
            .rows_of(columns)
            .text("a\tb\\N\nc\rd")
            .maybe_text(None)
            .text("")
            .end();
        copies
            .rows_of(columns)
            .flag(true)
            .maybe_number(Some(-3))
            .maybe_amount(None)
            .end();
        assert_eq!(copies.rows[&columns], "a\\tb\\\\N\\nc\\rd\t\\N\t\ntrue\t-3\t\\N\n");
    }
}
