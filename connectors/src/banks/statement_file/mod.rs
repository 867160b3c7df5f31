//! The `statement_file` provider: bytes of a bank's file in, statements out.
//!
//! The format is told from the contents, never from the name. What can be read is read: a row that cannot is named by
//! line and field, a statement that cannot is named by its line, and the rest is kept. Only a file of which nothing can
//! be used is an error. Balances are proved but not judged here: the importer refuses what has [`Proof::Failed`].
//!
//! Every bound is stated below. No reader recurses into its input, expands an entity or looks anything up.

mod camt;
mod csv;
mod decimal;
mod mt940;
mod ofx;
mod options;
mod text;

use std::{borrow::Cow, fmt};

use schemars::JsonSchema;
use serde::Serialize;

pub use self::options::{CsvColumns, CsvOptions, DecimalMark, OptionError, Options};
use super::{BankFeed, Feed, FeedError, Source};
pub use super::{
    proof::{Proof, ProofError, join_by_account, prove},
    reading::{BrokenRow, RefusedStatement, Remark, StatementReading, StatementRefusal},
};

/// Largest file, in bytes. Source: ours; eleven years of a household are a third of a megabyte.
pub const FILE_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Most rows in one file; pending and broken ones count, and every statement counts as one more. Source: ours.
pub const FILE_ROWS_MAX: usize = 100_000;

/// Statement files that a person downloaded.
#[derive(Clone, Copy, Debug)]
pub struct StatementFile;

/// What was read of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Reading {
    /// The format it was read as.
    pub format: Format,
    /// Statements in the file's order; pages of one statement are already one.
    pub statements: Vec<StatementReading>,
    /// Statements of which nothing can be used, each with its reason.
    pub refused: Vec<RefusedStatement>,
}

/// A format of statement files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// ISO 20022 CAMT.052, 053 and 054, any version.
    Camt,
    /// Character-separated values.
    Csv,
    /// SWIFT MT940 and MT942, as banks really write them.
    Mt940,
    /// Open Financial Exchange 1.x (SGML) and 2.x (XML), QFX included.
    Ofx,
}

/// Why nothing of a file can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// Nothing but white space.
    #[error("the file is empty")]
    Empty,
    /// Beyond [`FILE_BYTES_MAX`].
    #[error("the file is larger than {FILE_BYTES_MAX} bytes")]
    TooLarge,
    /// Beyond [`FILE_ROWS_MAX`].
    #[error("the file has more than {FILE_ROWS_MAX} rows and statements")]
    TooManyRows,
    /// None of [`Format`].
    #[error("the file is none of OFX, CSV, CAMT and MT940")]
    UnknownFormat,
    /// The characters cannot be read in this encoding, or the encoding does not exist.
    #[error("the file cannot be read as '{label}'")]
    Encoding {
        /// The encoding's label.
        label: String,
    },
    /// The format is known, and there is no statement in the file.
    #[error("the {0} file holds no statement")]
    NoStatement(Format),
    /// The file is not well formed from some place on: cut off, or altered.
    #[error("line {line}: {problem}")]
    Malformed {
        /// Counted from 1.
        line: usize,
        /// What is wrong there.
        problem: String,
    },
    /// A CSV file in which a column that every row needs was not found.
    #[error("no {wanted} column was found; name it in `csv.columns`")]
    NoColumn {
        /// What the column would hold.
        wanted: &'static str,
    },
    /// A CSV file whose dates can all be read as day/month and as month/day.
    #[error("'{example}' may be day/month or month/day, and so may every date of the file; state `csv.date_format`")]
    AmbiguousDate {
        /// The first such date.
        example: String,
    },
    /// A CSV file whose amounts can all be read in two ways.
    #[error(
        "the mark in '{example}' may be of decimals or of thousands, and so may every one of the file; state `csv.decimal`"
    )]
    AmbiguousDecimal {
        /// The first such amount.
        example: String,
    },
    /// An option does not fit.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// The file holds statements, and none can be used; this is the first one's reason.
    #[error(transparent)]
    Refused(#[from] StatementRefusal),
}

/// Reads a file.
///
/// # Errors
/// [`StatementError`] when nothing of it can be used. A broken row, a refused statement among others and a failed proof
/// are no errors here; they stand in the [`Reading`].
pub fn read(bytes: &[u8], options: &Options) -> Result<Reading, StatementError> {
    if bytes.len() > FILE_BYTES_MAX {
        return Err(StatementError::TooLarge);
    }
    let asked = options.csv.encoding.as_deref();
    let text = text::decode(bytes, asked)?;
    let text: Cow<'_, str> = if text.contains('\n') {
        text
    } else {
        text.replace('\r', "\n").into()
    };
    if text.trim().is_empty() {
        return Err(StatementError::Empty);
    }
    let format = detect(&text)?;
    let feed = match format {
        Format::Camt => camt::read(&text, options)?,
        Format::Csv => csv::read(&text, options)?,
        Format::Mt940 => mt940::read(&text, options)?,
        Format::Ofx => ofx::read(&text, options)?,
    };
    if feed.statements.is_empty() {
        let first = feed.refused.into_iter().next();
        return Err(first.map_or(StatementError::NoStatement(format), |refused| refused.refusal.into()));
    }
    Ok(Reading {
        format,
        statements: feed.statements,
        refused: feed.refused,
    })
}

/// Tells the format by what only that format has.
fn detect(text: &str) -> Result<Format, StatementError> {
    let head: String = text.chars().take(4_096).collect::<String>().to_uppercase();
    let head = head.trim_start();
    if head.contains("<OFX>") || head.contains("<OFX ") || head.starts_with("OFXHEADER") {
        return Ok(Format::Ofx);
    }
    if mt940::is_mt940(head) {
        return Ok(Format::Mt940);
    }
    if head.starts_with('<') {
        return if camt::is_camt(text) {
            Ok(Format::Camt)
        } else {
            Err(StatementError::UnknownFormat)
        };
    }
    // Stray control characters occur in files of people; files of machines are full of them.
    let strays = head.chars().filter(|c| c.is_control() && !c.is_whitespace()).count();
    if head.starts_with(['{', '[', '%']) || head.contains('\0') || strays * 50 > head.len() {
        return Err(StatementError::UnknownFormat);
    }
    Ok(Format::Csv)
}

impl BankFeed for StatementFile {
    fn name(&self) -> &'static str {
        "statement-file"
    }

    fn read(&self, source: &Source<'_>) -> Result<Feed, FeedError> {
        let Source::File { bytes, options } = source;
        let reading = read(bytes, options).map_err(FeedError::StatementFile)?;
        Ok(Feed {
            statements: reading.statements,
            refused: reading.refused,
        })
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Camt => "CAMT",
            Self::Csv => "CSV",
            Self::Mt940 => "MT940",
            Self::Ofx => "OFX",
        })
    }
}
