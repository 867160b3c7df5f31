//! Everything there is at a moment, line by line: every view from its first page to its last, the book, and an end mark.
//!
//! ```text
//! {"view":"accounts","answer":{…}}
//! {"view":"entries","answer":{…}}          a line for each page
//! {"book":{…}}
//! {"end":true,"lines":17,"events":4711,"family_seq":4711,"chain_hash":"…"}
//! ```
//!
//! An answer stands in its line with the very bytes the view gives. Memory holds a page of a view, and the book. A dump without
//! its end mark is not whole; `event_store::export::whole` reads it back.

use std::io::{self, Write};

use domain::{book::BookRows, id::FamilyId};
use event_store::replay::{AsOf, Last};
use query_api::{
    view::{ViewEntry, Viewer},
    views::VIEWS,
};
use serde::Deserialize;
use serde_json::json;
use service_kit::problem::Problem;
use sqlx::PgConnection;

/// Rows of a page, where a view has pages: the most it gives.
const LIMIT: &str = "limit=200";

/// Why a dump did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum DumpError {
    /// A view gave no answer.
    #[error("the view {view} gives no answer: {detail}")]
    View {
        /// Which.
        view: &'static str,
        /// Its problem, in words.
        detail: String,
    },
    /// An answer is no JSON.
    #[error("an answer cannot be read")]
    Json(#[from] serde_json::Error),
    /// It cannot be written.
    #[error("the dump cannot be written")]
    Write(#[from] io::Error),
}

/// A dump in the making.
pub struct Dump<W> {
    out: W,
    lines: i64,
}

impl<W: Write> Dump<W> {
    /// Nothing written yet.
    pub fn new(out: W) -> Self {
        Self { out, lines: 0 }
    }

    /// Every page of every view that the viewer may see.
    ///
    /// # Errors
    /// [`DumpError`].
    pub async fn views(&mut self, rows: &mut PgConnection, viewer: &Viewer, as_of: &AsOf) -> Result<(), DumpError> {
        for view in VIEWS.iter().filter(|view| view.access.allows(viewer.role)) {
            let mut after = None;
            loop {
                let query = query(view, as_of, after.as_deref());
                let refused = |problem: Problem| DumpError::View {
                    view: view.name,
                    detail: problem.detail().to_owned(),
                };
                let answer = view.answer_to(rows, viewer, Some(&query)).await.map_err(refused)?;
                write!(self.out, r#"{{"view":"{}","answer":"#, view.name)?;
                self.out.write_all(&answer)?;
                self.line("}")?;
                match serde_json::from_slice::<Page>(&answer)?.next {
                    Some(next) => after = Some(next),
                    None => break,
                }
            }
        }
        Ok(())
    }

    /// The book, which no view had a part in.
    ///
    /// # Errors
    /// [`DumpError`].
    pub fn book(&mut self, rows: &BookRows) -> Result<(), DumpError> {
        let line = json!({"book": rows}).to_string();
        Ok(self.line(&line)?)
    }

    /// The mark that makes it whole.
    ///
    /// # Errors
    /// [`DumpError`].
    pub fn end(mut self, family: FamilyId, as_of: &AsOf, last: Option<Last>) -> Result<W, DumpError> {
        let family_seq = last.map_or(0, |last| last.family_seq);
        let mark = json!({
            "end": true,
            "lines": self.lines,
            "events": family_seq,
            "family_id": family,
            "as_of": as_of,
            "family_seq": family_seq,
            "chain_hash": last.map(|last| hex::encode(last.chain_hash)),
        });
        self.line(&mark.to_string())?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn line(&mut self, rest: &str) -> io::Result<()> {
        self.lines += 1;
        self.out.write_all(rest.as_bytes())?;
        self.out.write_all(b"\n")
    }
}

/// What is looked at of an answer.
#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    next: Option<String>,
}

/// The parameters that show most of a view.
fn query(view: &ViewEntry, as_of: &AsOf, after: Option<&str>) -> String {
    let mut parts: Vec<String> = match view.name {
        "chores" | "spending-requests" => vec!["status=all".to_owned(), LIMIT.to_owned()],
        "badges" | "entries" | "imports" | "notifications" => vec![LIMIT.to_owned()],
        "leaderboard" => vec!["period=all".to_owned()],
        "trend" => vec!["months=120".to_owned()],
        _ => Vec::new(),
    };
    parts.extend(after.map(|after| format!("after={after}")));
    let day = as_of.effective_on.filter(|_| view.by_day.is_some());
    parts.extend(day.map(|day| format!("effective_on={day}")));
    parts.join("&")
}
