//! Exports: a family's ledger in a form that others read, and check.
//!
//! A text export ends in balance assertions computed by [`domain::book::Book`], not by the text, so the other program's own
//! arithmetic has to come to our numbers or it refuses the file. Such a format is written in two passes over the same
//! prefix of the log: the first learns accounts, names and balances, the second writes one transaction per entry event.
//! Memory follows the number of accounts; chunks go through a bounded channel, so a slow reader slows the database down.
//!
//! Transactions stand in the order of the log, not of their days: an entry of last year that was entered today comes last. So a
//! file grows at its end, is held against the log event by event (docs/proofs.md), and needs neither an index by day, which
//! every append would pay for, nor a sort of the whole history. beancount and hledger order by day themselves and keep our order
//! within one; who wants the file so lets `hledger print` write it.
//!
//! Every format ends with a mark that says how many events there were. A file without it is not whole.

mod beancount;
mod chart;
mod hledger;
mod ndjson;
mod transaction;
pub mod whole;

use chrono::{DateTime, Utc};
use domain::{aggregate::LedgerEvent, id::FamilyId};
use tokio::sync::mpsc;

use crate::{
    Lane, Log, Record,
    replay::{AsOf, Pages, ReplayError},
};

pub use chart::{Chart, ChartAccount};
pub use ndjson::event_json;

/// Every format, one line each.
pub static FORMATS: &[&dyn Format] = &[&beancount::Beancount, &hledger::Hledger, &ndjson::Ndjson];

/// A format by its name in URLs and on the command line.
pub fn format(name: &str) -> Option<&'static dyn Format> {
    FORMATS.iter().copied().find(|format| format.name() == name)
}

/// One way to write a ledger down. The pieces are written in this order: the head once, every record, the end once.
pub trait Format: Send + Sync {
    /// The name in URLs and on the command line.
    fn name(&self) -> &'static str;
    /// The media type.
    fn content_type(&self) -> &'static str;
    /// The file name's ending, without the dot.
    fn extension(&self) -> &'static str;
    /// Does it need the chart of accounts before the first record? Then the log is read twice.
    fn needs_chart(&self) -> bool;
    /// What comes before the first record.
    fn head(&self, out: &mut String, whole: &Whole<'_>);
    /// One record within the bounds.
    fn record(&self, out: &mut String, record: &Record, event: &LedgerEvent, chart: &Chart);
    /// What comes after the last record, the end mark included.
    fn end(&self, out: &mut String, whole: &Whole<'_>, exported: &Exported);
}

/// What is known of the ledger when a head or an end is written.
pub struct Whole<'a> {
    /// Whose ledger.
    pub family: FamilyId,
    /// The bounds.
    pub as_of: AsOf,
    /// Accounts, names and balances; empty for formats that do without.
    pub chart: &'a Chart,
}

/// A piece of an export on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// The next characters of the file; empty while the first pass goes on.
    pub text: String,
    /// Events read so far, over all passes.
    pub events_read: i64,
    /// Events to read over all passes; none while that is not known.
    pub events_total: Option<i64>,
}

/// What an export came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Events written: lines of ndjson, transactions of a journal.
    pub written: i64,
    /// Events of the prefix.
    pub events: i64,
    /// The last of them.
    pub family_seq: i64,
    /// When it was recorded.
    pub recorded_at: Option<DateTime<Utc>>,
    /// Its chain hash.
    pub chain_hash: Option<[u8; 32]>,
}

/// Why an export did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The ledger cannot be replayed.
    #[error("cannot replay the ledger")]
    Replay(#[source] ReplayError),
    /// Nobody reads it any more.
    #[error("the reader went away")]
    ReaderGone,
    /// The two passes did not read the same history.
    #[error("the ledger changed between two readings of the same events")]
    Changed,
}

impl From<ReplayError> for ExportError {
    fn from(error: ReplayError) -> Self {
        Self::Replay(error)
    }
}

/// Writes a family's ledger into `out`, chunk by chunk. The export is whole only if this returns without an error.
///
/// # Errors
/// [`ExportError`].
pub async fn export(
    log: &Log,
    lane: Lane,
    family: FamilyId,
    format: &dyn Format,
    as_of: AsOf,
    out: mpsc::Sender<Chunk>,
) -> Result<Exported, ExportError> {
    let mut sending = Sending {
        out,
        events_read: 0,
        events_total: None,
    };
    let mut chart = Chart::new(as_of);
    let mut bounds = as_of;
    let mut first_pass = None;
    if format.needs_chart() {
        let mut pages = Pages::new(log, lane, family, as_of);
        while let Some(records) = pages.next().await? {
            for record in &records {
                chart.fold(record)?;
            }
            sending.page(String::new(), records.len()).await?;
        }
        // The second pass ends where the first did, however the log has grown since.
        bounds.family_seq = Some(pages.last().map_or(0, |last| last.family_seq));
        sending.events_total = bounds.family_seq.map(|events| 2 * events);
        first_pass = Some(pages.last());
    }

    let whole = Whole {
        family,
        as_of,
        chart: &chart,
    };
    let mut text = String::new();
    format.head(&mut text, &whole);
    let mut exported = Exported::default();
    // An export is of what there was when it was asked for, however long its reader takes.
    if bounds.family_seq.is_none() {
        let loaded = log.load(lane, family, &[]).await.map_err(ReplayError::Log)?;
        bounds.family_seq = Some(loaded.head.family_seq);
    }
    let mut pages = Pages::new(log, lane, family, bounds);
    while let Some(records) = pages.next().await? {
        for record in records.iter().filter(|record| as_of.counts(record.effective_on)) {
            let event = record.decode().map_err(|cause| ReplayError::Decode {
                family_seq: record.family_seq,
                cause,
            })?;
            let before = text.len();
            format.record(&mut text, record, &event, &chart);
            exported.written += i64::from(text.len() > before);
        }
        sending.page(std::mem::take(&mut text), records.len()).await?;
    }
    if first_pass.is_some_and(|last| last != pages.last()) {
        return Err(ExportError::Changed);
    }
    if let Some(last) = pages.last() {
        exported.events = last.family_seq;
        exported.family_seq = last.family_seq;
        exported.recorded_at = Some(last.recorded_at);
        exported.chain_hash = Some(last.chain_hash);
    }
    format.end(&mut text, &whole, &exported);
    sending.page(text, 0).await?;
    Ok(exported)
}

struct Sending {
    out: mpsc::Sender<Chunk>,
    events_read: i64,
    events_total: Option<i64>,
}

impl Sending {
    async fn page(&mut self, text: String, events: usize) -> Result<(), ExportError> {
        self.events_read += i64::try_from(events).unwrap_or(0);
        let chunk = Chunk {
            text,
            events_read: self.events_read,
            events_total: self.events_total,
        };
        self.out.send(chunk).await.map_err(|_| ExportError::ReaderGone)
    }
}
