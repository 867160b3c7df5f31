//! How an export is written down: sections of rows, piece by piece.

use chrono::{DateTime, Utc};
use serde_json::Value;

/// A list of things of one kind.
pub(super) struct Section {
    /// Its name in JSON.
    pub name: &'static str,
    /// Its heading on the page.
    pub heading: &'static str,
    /// What a page shows of each row, in this order; JSON has all of it.
    pub columns: &'static [&'static str],
}

/// A way to write it down. Pieces come in this order: the beginning, each section with its rows, the end.
pub(super) trait Form: Send {
    /// Its name in addresses, and the ending of the file.
    fn name(&self) -> &'static str;
    /// The media type.
    fn content_type(&self) -> &'static str;
    /// What comes first.
    fn begin(&mut self, made_at: DateTime<Utc>) -> String;
    /// A section begins, and the one before has ended.
    fn section(&mut self, section: &'static Section) -> String;
    /// The rows that follow belong together.
    fn group(&mut self, heading: &str) -> String;
    /// One row.
    fn row(&mut self, row: &Value) -> String;
    /// What comes last, with the mark that it is whole.
    fn end(&mut self) -> String;
}
