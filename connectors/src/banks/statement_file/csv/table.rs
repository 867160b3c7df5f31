//! A text as a table: its delimiter, its line of headings, which column holds what, and its records.

use domain::Currency;

use super::{
    super::{CsvColumns, FILE_ROWS_MAX, OptionError, Options, StatementError, text::Lines},
    columns::{Columns, by_number, columns},
    headings::{HEADINGS, OWN_ACCOUNT_HEADINGS, Role, fold},
};

/// Records among which the headings are looked for: banks write addresses and balances above them.
const HEADING_RECORDS_MAX: usize = 60;
/// Longest line, in bytes. Source: ours; it bounds how many cells one record can have.
const LINE_BYTES_MAX: usize = 1024 * 1024;
/// What may separate cells, when nobody says.
const DELIMITERS: &[u8] = b",;\t|";

/// A file's records with the meaning of their columns.
pub(super) struct Table {
    /// What stands above the headings.
    pub(super) preamble: Vec<Record>,
    /// The headings; none when the columns were named by number in a file without any.
    pub(super) headings: Option<Record>,
    /// Which column holds what.
    pub(super) columns: Columns,
    /// The records below, blank ones left out.
    pub(super) records: Vec<Record>,
}

/// A record and the line it begins on, counted from 1.
pub(super) struct Record {
    pub(super) line: usize,
    cells: ::csv::StringRecord,
}

impl Record {
    /// A cell, trimmed; empty where the record is shorter.
    pub(super) fn cell(&self, column: Option<usize>) -> &str {
        column
            .and_then(|column| self.cells.get(column))
            .unwrap_or_default()
            .trim()
    }

    /// Every cell, trimmed.
    pub(super) fn cells(&self) -> impl Iterator<Item = &str> {
        self.cells.iter().map(str::trim)
    }

    fn is_blank(&self) -> bool {
        self.cells().all(str::is_empty)
    }
}

/// Reads a text as a table.
///
/// # Errors
/// [`StatementError::NoColumn`] when a date or an amount has no column, [`StatementError::UnknownFormat`] when nothing
/// has one.
pub(super) fn table(text: &str, options: &Options) -> Result<Table, StatementError> {
    if text.lines().any(|line| line.len() > LINE_BYTES_MAX) {
        return Err(StatementError::Malformed {
            line: 1,
            problem: format!("a line is longer than {LINE_BYTES_MAX} bytes"),
        });
    }
    let (text, skipped, said) = skipped(text, options.csv.skip_lines);
    let candidates = match (&options.csv.delimiter, said) {
        (Some(asked), _) => vec![delimiter(asked)?],
        (None, Some(said)) => vec![said],
        (None, None) => DELIMITERS.to_vec(),
    };
    let heads = candidates
        .into_iter()
        .map(|delimiter| Ok((delimiter, records(text, skipped, delimiter, HEADING_RECORDS_MAX)?)));
    let heads = heads.collect::<Result<Vec<_>, StatementError>>()?;
    let (delimiter, headings) = found(&heads, &options.csv.columns)?;
    let mut preamble = records(text, skipped, delimiter, usize::MAX)?;
    let (place, columns) = match headings {
        Some((place, columns)) => (Some(place), columns),
        None => {
            let columns = by_number(&options.csv.columns);
            let has_digit = |column| {
                preamble
                    .first()
                    .is_some_and(|first| first.cell(column).contains(|c: char| c.is_ascii_digit()))
            };
            let is_row = columns.taken().any(|column| has_digit(Some(column)));
            ((!is_row && !preamble.is_empty()).then_some(0), columns)
        }
    };
    let records = preamble.split_off(place.map_or(0, |place| place + 1));
    let headings = place.and_then(|_| preamble.pop());
    let mut table = Table {
        preamble,
        headings,
        columns,
        records,
    };
    table.settle(&options.csv.columns);
    Ok(table)
}

impl Table {
    /// Decides on columns whose heading alone does not tell.
    fn settle(&mut self, asked: &CsvColumns) {
        let Some(headings) = &self.headings else { return };
        // A file put together from several has its headings again and again.
        self.records.retain(|record| !record.cells().eq(headings.cells()));
        let folded: Vec<String> = headings.cells().map(fold).collect();
        if asked.bank_account.is_none() {
            self.settle_bank_account(&folded);
        }
        if asked.value_on.is_none() {
            self.settle_valuta(&folded);
        }
        if asked.remittance.is_none() {
            self.settle_remittance(&folded);
        }
    }

    /// What may be the other party's account is ours only when every row has the same.
    fn settle_bank_account(&mut self, folded: &[String]) {
        let Some(column) = self.columns.get(Role::BankAccount) else {
            return;
        };
        let mut own = headings_of(Role::BankAccount).iter().take(OWN_ACCOUNT_HEADINGS);
        if own.any(|name| folded.get(column).is_some_and(|heading| heading == name)) {
            return;
        }
        let first = self.filled(column).next();
        if self.filled(column).any(|account| Some(account) != first) {
            self.columns.set(Role::BankAccount, None);
        }
    }

    /// `Valuta` is the value date in German and the currency in Dutch and Italian.
    fn settle_valuta(&mut self, folded: &[String]) {
        let Some(column) = self
            .columns
            .get(Role::ValueOn)
            .filter(|column| folded.get(*column).is_some_and(|heading| heading == "valuta"))
        else {
            return;
        };
        if self
            .filled(column)
            .next()
            .is_none_or(|cell| cell.parse::<Currency>().is_err())
        {
            return;
        }
        self.columns.set(Role::ValueOn, None);
        if self.columns.get(Role::Currency).is_none() {
            self.columns.set(Role::Currency, Some(column));
        }
    }

    /// Of several columns of words the first one with any words in it.
    fn settle_remittance(&mut self, folded: &[String]) {
        let places = headings_of(Role::Remittance)
            .iter()
            .filter_map(|name| folded.iter().position(|heading| heading == name));
        let mut free = places.filter(|column| {
            let is_its_own = self.columns.get(Role::Remittance) == Some(*column);
            is_its_own || !self.columns.is_taken(*column)
        });
        let filled = free.find(|column| self.filled(*column).next().is_some());
        if filled.is_some() {
            self.columns.set(Role::Remittance, filled);
        }
    }

    /// The cells of a column that are not blank.
    fn filled(&self, column: usize) -> impl Iterator<Item = &str> {
        self.records
            .iter()
            .map(move |record| record.cell(Some(column)))
            .filter(|cell| !cell.is_empty())
    }
}

fn headings_of(role: Role) -> &'static [&'static str] {
    HEADINGS
        .iter()
        .find(|(of, _)| *of == role)
        .map_or(&[], |(_, headings)| headings)
}

/// The text below the lines to skip, how many they are, and the delimiter that a first line `sep=;` states.
fn skipped(text: &str, lines: usize) -> (&str, usize, Option<u8>) {
    let mut rest = text;
    let mut count = 0;
    while count < lines && !rest.is_empty() {
        rest = rest.split_once('\n').map_or("", |(_, rest)| rest);
        count += 1;
    }
    let (first, below) = rest.split_once('\n').unwrap_or((rest, ""));
    match first.trim_end_matches(['\r', '"']).trim_start_matches('"').as_bytes() {
        [b's' | b'S', b'e' | b'E', b'p' | b'P', b'=', delimiter] if delimiter.is_ascii() => {
            (below, count + 1, Some(*delimiter))
        }
        _ => (rest, count, None),
    }
}

fn delimiter(asked: &str) -> Result<u8, OptionError> {
    match asked.as_bytes() {
        b"tab" | b"\\t" => Ok(b'\t'),
        [one] if one.is_ascii() && !matches!(one, b'"' | b'\n' | b'\r') && !one.is_ascii_alphanumeric() => Ok(*one),
        _ => Err(OptionError {
            name: "csv.delimiter".into(),
            problem: "one sign, or the word 'tab', is wanted".into(),
        }),
    }
}

/// The records of a text, blank ones left out, up to a number of them.
fn records(text: &str, lines_before: usize, delimiter: u8, records_max: usize) -> Result<Vec<Record>, StatementError> {
    let mut reader = ::csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .flexible(true)
        .has_headers(false)
        .from_reader(text.as_bytes());
    let mut lines = Lines::new(text);
    let mut records = Vec::new();
    while records.len() < records_max {
        let mut cells = ::csv::StringRecord::new();
        // The reader passes over blank lines before a record; the record begins after them.
        let start = usize::try_from(reader.position().byte())
            .unwrap_or(usize::MAX)
            .min(text.len());
        let blank = text.as_bytes()[start..]
            .iter()
            .take_while(|b| matches!(b, b'\r' | b'\n'))
            .count();
        let line = lines_before + lines.at(start + blank);
        let is_read = reader
            .read_record(&mut cells)
            .map_err(|error| StatementError::Malformed {
                line,
                problem: error.to_string(),
            })?;
        if !is_read {
            break;
        }
        let record = Record { line, cells };
        if !record.is_blank() {
            records.push(record);
        }
        // The headings and what stands above them are no rows.
        if records.len() > FILE_ROWS_MAX + HEADING_RECORDS_MAX {
            return Err(StatementError::TooManyRows);
        }
    }
    Ok(records)
}

/// Where the headings are, and what they mean; none in a file without any.
type Headings = Option<(usize, Columns)>;

/// The delimiter by which most columns are known, with the headings it gives.
fn found(heads: &[(u8, Vec<Record>)], asked: &CsvColumns) -> Result<(u8, Headings), StatementError> {
    let best = heads.iter().filter_map(|(delimiter, records)| {
        let columns = records.iter().map(|record| columns(record, asked));
        let (place, columns) = columns
            .enumerate()
            .find_map(|(place, columns)| Some((place, columns.filter(Columns::is_enough)?)))?;
        Some((*delimiter, place, columns))
    });
    // Of equals the first one.
    if let Some((delimiter, place, columns)) =
        best.reduce(|best, next| if next.2.count() > best.2.count() { next } else { best })
    {
        return Ok((delimiter, Some((place, columns))));
    }
    if by_number(asked).is_enough() {
        let widest = heads
            .iter()
            .max_by_key(|(_, records)| records.iter().map(|record| record.cells.len()).sum::<usize>());
        return Ok((widest.map_or(b',', |(delimiter, _)| *delimiter), None));
    }
    let partial: Vec<Columns> = heads
        .iter()
        .flat_map(|(_, records)| records)
        .filter_map(|record| columns(record, asked))
        .collect();
    let has_date = partial.iter().any(Columns::has_date);
    let has_amount = partial.iter().any(Columns::has_amount);
    match (has_date, has_amount) {
        (true, _) => Err(StatementError::NoColumn { wanted: "amount" }),
        (false, true) => Err(StatementError::NoColumn { wanted: "booking date" }),
        (false, false)
            if heads
                .iter()
                .any(|(_, records)| records.iter().any(|record| record.cells.len() > 1)) =>
        {
            Err(StatementError::NoColumn { wanted: "booking date" })
        }
        (false, false) => Err(StatementError::UnknownFormat),
    }
}
